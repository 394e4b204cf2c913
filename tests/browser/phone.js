// A telephone in a page: SIP over a websocket (RFC 7118), one call, its media by WebRTC. What becomes of it is posted back
// to the server of the page as JSON. Parameters of the page: `sip` (ws://…), `to` (sip:…), `codec` (opus or PCMU).
"use strict";

const query = new URLSearchParams(location.search);
const random = () => Math.random().toString(36).slice(2);
const call = { id: random(), tag: random(), host: random() + ".invalid", cseq: 1 };

function report(kind, details) {
  return fetch("/report", { method: "POST", body: JSON.stringify({ kind, ...details }) });
}

function request(method, cseq, toTag, extra, body) {
  const to = query.get("to");
  return [
    `${method} ${call.target || to} SIP/2.0`,
    `Via: SIP/2.0/WS ${call.host};branch=z9hG4bK${random()}`,
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
  // Chromium's microphone beeps from the beginning, and an agent lets a caller who speaks finish first.
  const track = await microphone();
  track.enabled = false;
  connection.addTrack(track);
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
      return;
    }
    const status = Number(head.split(" ")[1]);
    if (status < 200 || !/INVITE/.test(header(data, "cseq"))) {
      return;
    }
    const tag = /;tag=([^;\s]+)/.exec(header(data, "to"))[1];
    if (status < 300) {
      call.target = /<([^>]+)>/.exec(header(data, "contact"))[1];
    }
    socket.send(request("ACK", 1, tag, [], ""));
    if (status >= 300) {
      report("failed", { why: head.split("\r\n")[0] });
      return;
    }
    await connection.setRemoteDescription({ type: "answer", sdp });
    let secondsLeft = 30;
    while (secondsLeft > 0) {
      await new Promise((done) => setTimeout(done, 1000));
      const now = await statistics(connection);
      await report("statistics", now);
      secondsLeft -= 1;
      if (now.packets > 150 && now.energy > 0.0001 && now.sent > 150 && !track.enabled) {
        track.enabled = true;
        secondsLeft = 3;
      }
    }
    socket.send(request("BYE", 2, tag, [], ""));
    await report("over", await statistics(connection));
  };
}

main().catch((error) => report("failed", { why: String(error) }));
