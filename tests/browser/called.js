// A telephone in a page that registers (RFC 3261 §10, digest with SHA-256), is called once, says a tone of 1,000 Hz and
// tells what it hears. Parameters of the page: `sip` (ws://… or wss://…), `user`, `password`, `hears` (the tone in hertz that
// it waits for), `steps` (what it does once it hears that, one after the other: restart, hold, resume, hang-up; silence and
// sound, for which it waits; or leave, before it is called), `answers` (no: it rings only), `tones` (in the place of `hears` and
// `steps`: it tells which of these are heard, whenever others are, until the call is over), `calls` (a number that it calls
// itself, in the place of being called).
"use strict";

const query = new URLSearchParams(location.search);
const random = () => Math.random().toString(36).slice(2);
const host = random() + ".invalid";
const own = `<sip:${query.get("user")}@${host};transport=ws>`;
const via = query.get("sip").startsWith("wss:") ? "WSS" : "WS";
const server = new URL(query.get("sip").replace(/^wss?:/, "http:")).hostname;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const call = { cseq: 0, waiting: new Map() };

function report(kind, details) {
  return fetch("/report", { method: "POST", body: JSON.stringify({ kind, ...details }) });
}

function header(message, name) {
  return headers(message, name)[0];
}

function headers(message, name) {
  const lines = message.split("\r\n\r\n")[0].split("\r\n").slice(1);
  const wanted = lines.filter((it) => it.toLowerCase().startsWith(`${name.toLowerCase()}:`));
  return wanted.map((it) => it.slice(name.length + 1).trim());
}

function write(start, lines, body) {
  const type = body ? ["Content-Type: application/sdp"] : [];
  call.socket.send([start, ...lines, ...type, `Content-Length: ${body.length}`, "", body].join("\r\n"));
}

async function sha256(text) {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(hash)].map((it) => it.toString(16).padStart(2, "0")).join("");
}

function register(authorization) {
  const user = `<sip:${query.get("user")}@${server}>`;
  call.registering ??= { tag: random(), id: random(), cseq: 0 };
  call.registering.cseq += 1;
  write(`REGISTER sip:${server} SIP/2.0`, [
    `Via: SIP/2.0/${via} ${host};branch=z9hG4bK${random()}`,
    "Max-Forwards: 70",
    `From: ${user};tag=${call.registering.tag}`,
    `To: ${user}`,
    `Call-ID: ${call.registering.id}`,
    `CSeq: ${call.registering.cseq} REGISTER`,
    `Contact: ${own}`,
    "Expires: 600",
    ...authorization,
  ], "");
}

async function registered(response) {
  const status = Number(response.split(" ")[1]);
  if (status === 200) {
    await report("registered", {});
    if (query.get("steps") === "leave") {
      call.socket.close();
      await report("over", { by: "us" });
    }
    if (query.has("calls")) {
      await dial(`sip:${query.get("calls")}@${server}`);
    }
    return;
  }
  if (status !== 401 || call.registering.cseq > 1) {
    throw new Error(response.split("\r\n")[0]);
  }
  const challenge = header(response, "www-authenticate");
  const value = (name) => new RegExp(`${name}="([^"]*)"`).exec(challenge)[1];
  const [realm, nonce, uri, cnonce] = [value("realm"), value("nonce"), `sip:${server}`, random()];
  const secret = await sha256(`${query.get("user")}:${realm}:${query.get("password")}`);
  const what = await sha256(`REGISTER:${uri}`);
  const proof = await sha256(`${secret}:${nonce}:00000001:${cnonce}:auth:${what}`);
  register([
    `Authorization: Digest username="${query.get("user")}", realm="${realm}", nonce="${nonce}", uri="${uri}", ` +
      `response="${proof}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="${cnonce}"`,
  ]);
}

function respond(request, status, body = "") {
  const copied = ["Via", "From", "Call-ID", "CSeq"].flatMap((name) => headers(request, name).map((it) => `${name}: ${it}`));
  const to = header(request, "to");
  const tag = to.includes("tag=") ? "" : `;tag=${(call.tag ??= random())}`;
  const routes = headers(request, "record-route").map((it) => `Record-Route: ${it}`);
  write(`SIP/2.0 ${status}`, [...copied, ...routes, `To: ${to}${tag}`, `Contact: ${own}`], body);
}

// A request of ours within the call; its final response.
function ask(method, body = "") {
  call.cseq += 1;
  ask.within(method, call.cseq, body);
  return new Promise((done) => call.waiting.set(`${call.cseq} ${method}`, done));
}

ask.within = (method, cseq, body) => {
  const target = /<([^>]+)>/.exec(header(call.invite, "contact"))[1];
  write(`${method} ${target} SIP/2.0`, [
    `Via: SIP/2.0/${via} ${host};branch=z9hG4bK${random()}`,
    "Max-Forwards: 70",
    `From: ${header(call.invite, "to")};tag=${call.tag}`,
    `To: ${header(call.invite, "from")}`,
    `Call-ID: ${header(call.invite, "call-id")}`,
    `CSeq: ${cseq} ${method}`,
    `Contact: ${own}`,
  ], body);
};

async function gathered() {
  const { connection } = call;
  while (connection.iceGatheringState !== "complete") {
    await new Promise((done) => connection.addEventListener("icegatheringstatechange", done, { once: true }));
  }
  return connection.localDescription.sdp;
}

// A tone to say, and an ear for what comes.
async function open() {
  const sound = new AudioContext();
  await sound.resume();
  const [tone, quieter, said] = [sound.createOscillator(), sound.createGain(), sound.createMediaStreamDestination()];
  tone.frequency.value = 1000;
  quieter.gain.value = 0.3;
  tone.connect(quieter).connect(said);
  tone.start();
  call.connection = new RTCPeerConnection();
  call.connection.ontrack = ({ track }) => {
    const stream = new MediaStream([track]);
    // Chromium decodes what is played only.
    const audio = new Audio();
    audio.srcObject = stream;
    audio.muted = true;
    audio.play();
    call.ear = sound.createAnalyser();
    call.ear.fftSize = 4096;
    call.ear.smoothingTimeConstant = 0;
    sound.createMediaStreamSource(stream).connect(call.ear);
  };
  call.connection.onconnectionstatechange = () => report("connection", { state: call.connection.connectionState });
  call.track = said.stream.getTracks()[0];
}

async function answered(offer) {
  const { connection } = call;
  await connection.setRemoteDescription({ type: "offer", sdp: offer });
  const transceiver = connection.getTransceivers()[0];
  transceiver.direction = "sendrecv";
  await transceiver.sender.replaceTrack(call.track);
  await connection.setLocalDescription(await connection.createAnswer());
  return gathered();
}

async function invited(request) {
  if (call.invite) {
    respond(request, "200 OK", await answered(request.split("\r\n\r\n")[1]));
    return;
  }
  call.invite = request;
  respond(request, "180 Ringing");
  await report("ringing", { profile: /m=audio \d+ (\S+)/.exec(request)[1] });
  if (query.get("answers") === "no") {
    return;
  }
  await open();
  respond(request, "200 OK", await answered(request.split("\r\n\r\n")[1]));
}

async function dial(uri) {
  await open();
  call.connection.addTransceiver(call.track, { direction: "sendrecv" });
  await call.connection.setLocalDescription(await call.connection.createOffer());
  const [tag, id, from] = [random(), random(), `<sip:${query.get("user")}@${server}>`];
  const send = (method, target, to, body) =>
    write(`${method} ${target} SIP/2.0`, [
      `Via: SIP/2.0/${via} ${host};branch=z9hG4bK${random()}`,
      "Max-Forwards: 70",
      `From: ${from};tag=${tag}`,
      `To: ${to}`,
      `Call-ID: ${id}`,
      `CSeq: 1 ${method}`,
      `Contact: ${own}`,
    ], body);
  send("INVITE", uri, `<${uri}>`, await gathered());
  const response = await new Promise((done) => call.waiting.set("1 INVITE", done));
  if (!response.startsWith("SIP/2.0 200 ")) {
    throw new Error(response.split("\r\n")[0]);
  }
  send("ACK", /<([^>]+)>/.exec(header(response, "contact"))[1], header(response, "to"), "");
  await call.connection.setRemoteDescription({ type: "answer", sdp: response.split("\r\n\r\n")[1] });
  await converse();
}

// The loudest tone of right now, or 0 in silence.
function heard() {
  if (!call.ear) {
    return 0;
  }
  const levels = new Float32Array(call.ear.frequencyBinCount);
  call.ear.getFloatFrequencyData(levels);
  const loudest = levels.reduce((best, it, index) => (it > levels[best] ? index : best), 1);
  return levels[loudest] > -50 ? (loudest * call.ear.context.sampleRate) / call.ear.fftSize : 0;
}

// Waits until the tone, or silence, has been heard for a second.
async function hears(hz, step) {
  const recent = [];
  for (let tenths = 0; tenths < 250; tenths += 1) {
    await pause(100);
    recent.push(Math.round(heard()));
    if (recent.length >= 10 && recent.slice(-10).every((it) => Math.abs(it - hz) < 30)) {
      return report("step", { step, ...(await statistics()) });
    }
  }
  throw new Error(`${step}: ${hz} Hz is not heard, but ${recent.slice(-20)}`);
}

async function statistics() {
  const found = { codec: "", port: 0, sent: 0, packets: 0 };
  const all = await call.connection.getStats();
  for (const it of all.values()) {
    if (it.type === "outbound-rtp") {
      found.codec = all.get(it.codecId)?.mimeType;
      found.sent = it.packetsSent;
    } else if (it.type === "inbound-rtp") {
      found.packets = it.packetsReceived;
    } else if (it.type === "transport") {
      found.port = all.get(all.get(it.selectedCandidatePairId)?.localCandidateId)?.port;
      found.ufrag = it.iceLocalUsernameFragment;
    }
  }
  return found;
}

async function change() {
  const { connection } = call;
  await connection.setLocalDescription(await connection.createOffer());
  const response = await ask("INVITE", await gathered());
  ask.within("ACK", call.cseq, "");
  if (!response.startsWith("SIP/2.0 200 ")) {
    throw new Error(response.split("\r\n")[0]);
  }
  await connection.setRemoteDescription({ type: "answer", sdp: response.split("\r\n\r\n")[1] });
}

const steps = {
  // With another codec than that of the call so far.
  restart: async () => {
    const codecs = RTCRtpReceiver.getCapabilities("audio").codecs;
    call.connection.getTransceivers()[0].setCodecPreferences(codecs.filter((it) => /opus|telephone-event/.test(it.mimeType)));
    call.connection.restartIce();
    await change();
  },
  hold: async () => {
    call.connection.getTransceivers()[0].direction = "inactive";
    await change();
  },
  resume: async () => {
    call.connection.getTransceivers()[0].direction = "sendrecv";
    await change();
  },
  // What the other side does meanwhile.
  silence: async () => {},
  sound: async () => {},
  "hang-up": async () => {
    await ask("BYE");
    await report("over", { by: "us" });
  },
};

function level(hz) {
  const levels = new Float32Array(call.ear.frequencyBinCount);
  call.ear.getFloatFrequencyData(levels);
  const at = Math.round((hz * call.ear.fftSize) / call.ear.context.sampleRate);
  return Math.max(...levels.slice(at - 1, at + 2));
}

// Tells which of the tones are heard, once they have been the same for more than half a second.
async function listen(tones) {
  let [told, before, same] = [undefined, "", 0];
  while (!call.isOver) {
    await pause(100);
    const now = tones.filter((hz) => call.ear && level(hz) > -40).join(" ");
    same = now === before ? same + 1 : 0;
    before = now;
    if (same >= 6 && now !== told) {
      told = now;
      await report("hears", { tones: now, ...(await statistics()) });
    }
  }
}

async function converse() {
  if (query.has("tones")) {
    await listen(query.get("tones").split(",").map(Number));
    return;
  }
  const tone = Number(query.get("hears"));
  await hears(tone, "answered");
  for (const step of (query.get("steps") || "").split(",").filter((it) => it)) {
    await report("begins", { step });
    await steps[step]();
    if (step !== "hang-up") {
      await hears(step === "hold" || step === "silence" ? 0 : tone, step);
    }
  }
}

const requests = {
  INVITE: invited,
  ACK: async () => {
    if (!call.isAnswered) {
      call.isAnswered = true;
      await converse();
    }
  },
  BYE: async (request) => {
    call.isOver = true;
    respond(request, "200 OK");
    await report("over", { by: "them" });
  },
  CANCEL: async (request) => {
    respond(request, "200 OK");
    respond(call.invite, "487 Request Terminated");
    await report("over", { by: "them" });
  },
};

function main() {
  call.socket = new WebSocket(query.get("sip"), "sip");
  call.socket.onerror = () => report("failed", { why: "websocket" });
  call.socket.onopen = () => register([]);
  call.socket.onmessage = async ({ data }) => {
    const failed = (error) => report("failed", { why: String(error) });
    if (!data.startsWith("SIP/2.0 ")) {
      await (requests[data.split(" ")[0]] ?? (async () => respond(data, "501 Not Implemented")))(data).catch(failed);
      return;
    }
    const cseq = header(data, "cseq");
    if (/REGISTER/.test(cseq)) {
      await registered(data).catch(failed);
    } else if (Number(data.split(" ")[1]) >= 200) {
      call.waiting.get(cseq)?.(data);
      call.waiting.delete(cseq);
    }
  };
}

main();
