"""Sends the damaged streams of G.711 through rtpengine in real time, all at once, and writes down what it makes of them.

rtpengine codes each stream anew by the other law: it has no linear samples to offer. What it sends is placed by its
timestamps, and where it sends nothing there is silence. Ours through the same second coding is `coded again`.
"""

import glob
import heapq
import os
import select
import socket
import struct
import subprocess
import sys
import time

work = sys.argv[1]
# The payload type and its name, and those of the other law.
CODECS = {"PCMU": (0, "PCMU", 8, "PCMA"), "PCMA": (8, "PCMA", 0, "PCMU")}


def u_law(code):
    code ^= 0xFF
    value = (((code & 15) << 3) + 0x84 << (code >> 4 & 7)) - 0x84
    return -value if code & 0x80 else value


def a_law(code):
    code ^= 0x55
    exponent, value = code >> 4 & 7, (code & 15) << 4
    value = value + 8 if exponent == 0 else value + 0x108 << exponent - 1
    return value if code & 0x80 else -value


DECODED = {0: [u_law(it) for it in range(256)], 8: [a_law(it) for it in range(256)]}


def sdp(port, number, rtpmap):
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {number}\r\na=rtpmap:{number} {rtpmap}/8000\r\na=ptime:20\r\n"
    )


def bencoded(value):
    if isinstance(value, str):
        return f"{len(value)}:{value}"
    if isinstance(value, list):
        return "l" + "".join(map(bencoded, value)) + "e"
    return "d" + "".join(bencoded(key) + bencoded(value[key]) for key in sorted(value)) + "e"


def ask(control, command):
    for _ in range(50):
        try:
            control.send(f"c{time.monotonic_ns()} {bencoded(command)}".encode())
            return control.recv(65536).decode()
        except (ConnectionRefusedError, TimeoutError):
            time.sleep(0.1)
    sys.exit("rtpengine does not answer")


def port_of(answer):
    return int(answer.split("m=audio ")[1].split(" ")[0])


class Stream:
    """One of them: its packets, our two sockets, and what came back."""

    def __init__(self, path, control):
        self.name = os.path.basename(path)[: -len(".packets")]
        self.number, name, self.other, other = CODECS[self.name.split("__")[0]]
        self.packets, at, data = [], 0, open(path, "rb").read()
        while at < len(data):
            arrives, sequence, length = struct.unpack(">IHH", data[at : at + 8])
            self.packets.append((arrives / 1e6, sequence, data[at + 8 : at + 8 + length]))
            at += 8 + length
        self.sender, self.receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (self.sender, self.receiver):
            end.bind(("127.0.0.1", 0))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        call = {"call-id": self.name, "from-tag": "a", "ICE": "remove"}
        offer = sdp(self.sender.getsockname()[1], self.number, name)
        codec = {"transcode": [other], "mask": ["all"]}
        ask(control, call | {"command": "offer", "sdp": offer, "codec": codec})
        answer = sdp(self.receiver.getsockname()[1], self.other, other)
        answered = ask(control, call | {"command": "answer", "to-tag": "b", "sdp": answer})
        self.to = ("127.0.0.1", port_of(answered))
        self.first, self.heard = None, []

    def send(self, index):
        _, sequence, payload = self.packets[index]
        timestamp = sequence * 160
        header = struct.pack(">BBHII", 0x80, self.number, sequence, timestamp, 7)
        self.sender.sendto(header + payload, self.to)

    def receive(self):
        packet = self.receiver.recv(4096)
        if len(packet) <= 12 or packet[1] & 0x7F != self.other:
            return
        timestamp = struct.unpack(">I", packet[4:8])[0]
        if self.first is None:
            self.first = timestamp
        at = timestamp - self.first & 0xFFFFFFFF
        if at > 10_000_000:
            return
        end = at + len(packet) - 12
        self.heard.extend([0] * (end - len(self.heard)))
        self.heard[at:end] = [DECODED[self.other][it] for it in packet[12:]]

    def write(self):
        with open(f"{work}/heard/{self.name}__rtpengine.raw", "wb") as file:
            file.write(struct.pack(f"<{len(self.heard)}h", *self.heard))


def run(control):
    # Drift takes three rounds to be noticed, and whoever holds nothing back does not notice it.
    paths = [it for it in sorted(glob.glob(f"{work}/sent/PCM*.packets")) if "drift" not in it]
    streams = [Stream(path, control) for path in paths]
    poll = select.poll()
    by_socket = {}
    for stream in streams:
        poll.register(stream.receiver, select.POLLIN)
        by_socket[stream.receiver.fileno()] = stream
    due = [(stream.packets[0][0], number, 0) for number, stream in enumerate(streams)]
    heapq.heapify(due)
    start = time.monotonic() + 0.1
    while due:
        at, number, index = due[0]
        left = start + at - time.monotonic()
        if left <= 0:
            heapq.heappop(due)
            streams[number].send(index)
            if index + 1 < len(streams[number].packets):
                heapq.heappush(due, (streams[number].packets[index + 1][0], number, index + 1))
        for file, _ in poll.poll(max(0, int(left * 1000))):
            by_socket[file].receive()
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for file, _ in poll.poll(100):
            by_socket[file].receive()
    for stream in streams:
        stream.write()


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
options = ["--config-file=none", "--foreground", "--table=-1", "--interface=127.0.0.1", "--log-level=2", "--log-stderr"]
options += [f"--listen-ng=127.0.0.1:{port}", "--port-min=24000", "--port-max=31999"]
rtpengine = subprocess.Popen(["rtpengine"] + options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.settimeout(0.5)
    control.connect(("127.0.0.1", port))
    run(control)
finally:
    rtpengine.terminate()
    rtpengine.wait()
