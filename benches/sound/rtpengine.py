"""Sends the damaged streams through rtpengine in real time, all at once, and writes down what it makes of them.

rtpengine decodes each stream to linear samples of the same rate, which it sends to us. It holds no packet back and so puts
none in order: what it sends is placed by its timestamps, and where it sends nothing there is silence.
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
CODECS = {
    "PCMU": (0, "PCMU/8000", 8000, 8000),
    "PCMA": (8, "PCMA/8000", 8000, 8000),
    "G722": (9, "G722/8000", 8000, 16000),
    "opus": (96, "opus/48000/2", 48000, 16000),
}


def sdp(port, number, rtpmap):
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {number}\r\na=rtpmap:{number} {rtpmap}\r\na=ptime:20\r\n"
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
        self.number, rtpmap, self.clock, self.rate = CODECS[self.name.split("__")[0]]
        self.packets, at, data = [], 0, open(path, "rb").read()
        while at < len(data):
            arrives, sequence, length = struct.unpack(">IHH", data[at : at + 8])
            self.packets.append((arrives / 1e6, sequence, data[at + 8 : at + 8 + length]))
            at += 8 + length
        self.sender, self.receiver = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end in (self.sender, self.receiver):
            end.bind(("127.0.0.1", 0))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        linear = f"L16/{self.rate}"
        call = {"call-id": self.name, "from-tag": "a", "ICE": "remove"}
        offer = sdp(self.sender.getsockname()[1], self.number, rtpmap)
        offered = ask(control, call | {"command": "offer", "sdp": offer, "codec": {"transcode": [linear], "strip": ["all"]}})
        lines = [line for line in offered.replace("\\r\\n", "\r\n").split("\r\n") if linear in line]
        if not lines:
            sys.exit(f"rtpengine does not offer {linear}: {offered}")
        payload_type = int(lines[0].split(":")[1].split(" ")[0])
        answer = sdp(self.receiver.getsockname()[1], payload_type, linear)
        answered = ask(control, call | {"command": "answer", "to-tag": "b", "sdp": answer})
        self.to = ("127.0.0.1", port_of(answered))
        self.first, self.heard = None, bytearray()

    def send(self, index):
        _, sequence, payload = self.packets[index]
        timestamp = sequence * self.clock // 50 & 0xFFFFFFFF
        header = struct.pack(">BBHII", 0x80, self.number, sequence, timestamp, 7)
        self.sender.sendto(header + payload, self.to)

    def receive(self):
        packet = self.receiver.recv(4096)
        if len(packet) <= 12 or 200 <= packet[1] <= 204:
            return
        timestamp = struct.unpack(">I", packet[4:8])[0]
        if self.first is None:
            self.first = timestamp
        at = (timestamp - self.first & 0xFFFFFFFF) * 2
        if at > 40_000_000:
            return
        if len(self.heard) < at:
            self.heard.extend(bytes(at - len(self.heard)))
        self.heard[at : at + len(packet) - 12] = packet[12:]

    def write(self):
        big = bytes(self.heard[: len(self.heard) // 2 * 2])
        little = bytearray(len(big))
        little[0::2], little[1::2] = big[1::2], big[0::2]
        # Drift is judged in the last of three rounds, as everywhere.
        said = os.path.getsize(f"{work}/{'narrow' if self.rate == 8000 else 'wide'}.raw")
        begin = 2 * said if "drift" in self.name else 0
        with open(f"{work}/heard/{self.name}__rtpengine.raw", "wb") as file:
            file.write(little[begin:])


def run(control):
    streams = [Stream(path, control) for path in sorted(glob.glob(f"{work}/sent/*.packets"))]
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
