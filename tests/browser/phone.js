// A telephone in a page: SIP over a websocket (RFC 7118), one call, its media by WebRTC. What becomes of it is posted back
// to the server of the page as JSON. Parameters of the page: `sip` (ws://… or wss://…), `to` (sip:…), `codec` (opus or
// PCMU), `keys` (what is pressed once the greeting is heard), `ends` (us or them), `noise` (1: the microphone is on from the
// beginning), `stays` (for how many seconds after the greeting).
"use strict";

const query = new URLSearchParams(location.search);
const random = () => Math.random().toString(36).slice(2);
const call = { id: random(), tag: random(), host: random() + ".invalid" };
const via = query.get("sip").startsWith("wss:") ? "WSS" : "WS";

function report(kind, details) {
  return fetch("/report", { method: "POST", body: JSON.stringify({ kind, ...details }) });
}

function request(method, cseq, toTag, extra, body) {
  const to = query.get("to");
  return [
    `${method} ${call.target || to} SIP/2.0`,
    `Via: SIP/2.0/${via} ${call.host};branch=z9hG4bK${random()}`,
    "Max-Forwards: 70",
    `From: <sip:page@${call.host}>;tag=${call.tag}`,
    `To: <${to}>${toTag ? `;tag=${toTag}` : ""}`,
    `Call-ID: ${call.id}`,
    `CSeq: ${cseq} ${method}`,
    `Contact: <sip:page@${call.host};transport=ws>`,
    ...(call.routes || []).map((route) => `Route: ${route}`),
    ...extra,
    `Content-Length: ${body.length}`,
    "",
    body,
  ].join("\r\n");
}

function header(message, name) {
  const line = message.split("\r\n\r\n")[0].split("\r\n").find((it) => it.toLowerCase().startsWith(`${name}:`));
  return line && line.slice(name.length + 1).trim();
}

function answer(request, socket) {
  const copied = request
    .split("\r\n\r\n")[0]
    .split("\r\n")
    .filter((it) => /^(via|from|to|call-id|cseq):/i.test(it));
  socket.send(["SIP/2.0 200 OK", ...copied, "Content-Length: 0", "", ""].join("\r\n"));
}

async function microphone() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  return stream.getTracks()[0];
}

async function offered(connection) {
  const transceiver = connection.getTransceivers()[0];
  const wanted = query.get("codec") || "opus";
  const codecs = RTCRtpSender.getCapabilities("audio").codecs;
  const is = (it, name) => it.mimeType.toLowerCase() === `audio/${name.toLowerCase()}`;
  transceiver.setCodecPreferences(codecs.filter((it) => is(it, wanted) || is(it, "telephone-event")));
  await connection.setLocalDescription(await connection.createOffer());
  while (connection.iceGatheringState !== "complete") {
    await new Promise((done) => connection.addEventListener("icegatheringstatechange", done, { once: true }));
  }
  return connection.localDescription.sdp;
}

async function statistics(connection) {
  const found = { packets: 0, sent: 0, energy: 0, codec: "" };
  for (const it of (await connection.getStats()).values()) {
    if (it.type === "inbound-rtp") {
      found.packets = it.packetsReceived;
      found.energy = it.totalAudioEnergy;
    } else if (it.type === "outbound-rtp") {
      found.sent = it.packetsSent;
    } else if (it.type === "codec") {
      found.codec = it.mimeType;
    }
  }
  return found;
}

async function main() {
  const connection = new RTCPeerConnection();
  // Chromium's microphone beeps.
  const track = await microphone();
  track.enabled = query.get("noise") === "1";
  const sender = connection.addTrack(track);
  connection.ontrack = ({ track }) => {
    // Chromium decodes what is played only.
    const audio = new Audio();
    audio.srcObject = new MediaStream([track]);
    audio.play();
  };
  connection.onconnectionstatechange = () => report("connection", { state: connection.connectionState });
  const body = await offered(connection);
  const socket = new WebSocket(query.get("sip"), "sip");
  socket.onerror = () => report("failed", { why: "websocket" });
  socket.onopen = () => socket.send(request("INVITE", 1, "", ["Content-Type: application/sdp"], body));
  socket.onmessage = async ({ data }) => {
    const [head, sdp] = data.split("\r\n\r\n");
    if (!head.startsWith("SIP/2.0 ")) {
      answer(data, socket);
      if (head.startsWith("BYE ")) {
        await over("them", connection);
      }
      return;
    }
    const status = Number(head.split(" ")[1]);
    if (status < 200) {
      return;
    }
    if (/BYE/.test(header(data, "cseq"))) {
      await over(status === 200 ? "us" : `BYE was answered ${status}`, connection);
      return;
    }
    const tag = /;tag=([^;\s]+)/.exec(header(data, "to"))[1];
    if (status < 300) {
      call.target = /<([^>]+)>/.exec(header(data, "contact"))[1];
    }
    socket.send(request("ACK", 1, tag, [], ""));
    if (status >= 300) {
      await report("failed", { why: head.split("\r\n")[0] });
      return;
    }
    await connection.setRemoteDescription({ type: "answer", sdp });
    await converse(connection, sender);
    if (query.get("ends") !== "them") {
      socket.send(request("BYE", 2, tag, [], ""));
    }
  };
}

// Waits until the greeting is heard, and presses keys.
async function converse(connection, sender) {
  const started = Date.now();
  let heard = false;
  for (let seconds = 0; seconds < 30 && !heard; seconds += 1) {
    await new Promise((done) => setTimeout(done, 1000));
    const now = await statistics(connection);
    await report("statistics", now);
    heard = now.packets > 150 && now.energy > 0.0001 && now.sent > 150;
  }
  call.heardMs = heard ? Date.now() - started : null;
  await new Promise((done) => setTimeout(done, 1000 * Number(query.get("stays") || 0)));
  const keys = query.get("keys");
  if (keys) {
    await report("keys", { possible: sender.dtmf.canInsertDTMF });
    sender.dtmf.insertDTMF(keys, 200, 100);
  }
}

async function over(by, connection) {
  await report("over", { by, heardMs: call.heardMs, ...(await statistics(connection)) });
}

main().catch((error) => report("failed", { why: String(error) }));
