"""Sends the damaged streams to rtpengine and to ffmpeg in real time, all at once, and writes down what they make of them.

rtpengine codes each stream anew, and what it sends is written down with its times, for `hear` to listen to. ffmpeg waits
for packets that are out of order, as long as it does by default, and has gaps filled with silence; it plays each stream
into a file. Drift takes three rounds to be noticed, and neither corrects it, so those streams are left out.
"""

import glob
import heapq
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time

work = sys.argv[1]
# The payload type of a codec, what SDP calls it, and the rate of its RTP clock.
CODECS = {"PCMU": (0, "PCMU/8000", 8000), "PCMA": (8, "PCMA/8000", 8000), "G722": (9, "G722/8000", 8000),
          "opus": (96, "opus/48000/2", 48000)}
# As what rtpengine is to send it; Opus as we do: 24,000 bit/s.
OTHERS = {"PCMU": ["PCMA", "G722", "opus"], "PCMA": ["PCMU"], "G722": ["PCMU"], "opus": ["PCMU"]}
ASKED = {"PCMU": "PCMU", "PCMA": "PCMA", "G722": "G722", "opus": "opus/48000/2/24000"}


def sdp(port, codec):
    number, rtpmap, _ = CODECS[codec]
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


def udp():
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", 0))
    return end


class Stream:
    """One of them: its packets, and where they go."""

    def __init__(self, path):
        self.name = os.path.basename(path)[: -len(".packets")]
        self.codec = self.name.split("__")[0]
        self.packets, at, data = [], 0, open(path, "rb").read()
        while at < len(data):
            arrives, sequence, length = struct.unpack(">IHH", data[at : at + 8])
            self.packets.append((arrives / 1e6, sequence, data[at + 8 : at + 8 + length]))
            at += 8 + length
        self.to = []

    def send(self, index):
        _, sequence, payload = self.packets[index]
        number, _, clock = CODECS[self.codec]
        packet = struct.pack(">BBHII", 0x80, number, sequence, sequence * (clock // 50), 7) + payload
        for sender, to in self.to:
            sender.sendto(packet, to)


class Coded:
    """A stream that rtpengine codes anew."""

    def __init__(self, stream, other, control):
        self.name, self.other, self.received = f"{stream.name}__{other}", other, []
        sender, self.receiver = udp(), udp()
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        call = {"call-id": self.name, "from-tag": "a", "ICE": "remove"}
        codec = {"transcode": [ASKED[other]], "mask": ["all"]}
        offer = sdp(sender.getsockname()[1], stream.codec)
        ask(control, call | {"command": "offer", "sdp": offer, "codec": codec})
        answer = sdp(self.receiver.getsockname()[1], other)
        answered = ask(control, call | {"command": "answer", "to-tag": "b", "sdp": answer})
        stream.to.append((sender, ("127.0.0.1", int(answered.split("m=audio ")[1].split(" ")[0]))))

    def receive(self, now):
        packet = self.receiver.recv(4096)
        if len(packet) > 12 and packet[1] & 0x7F == CODECS[self.other][0]:
            self.received.append(struct.pack(">I", now) + packet[2:8] + struct.pack(">H", len(packet) - 12) + packet[12:])

    def write(self):
        with open(f"{work}/received/{self.name}.packets", "wb") as file:
            file.write(b"".join(self.received))


class Played:
    """A stream that ffmpeg plays."""

    def __init__(self, stream, port):
        path = f"{work}/received/{stream.name}.sdp"
        with open(path, "w") as file:
            file.write(sdp(port, stream.codec))
        rate = "8000" if stream.codec.startswith("PCM") else "16000"
        command = "ffmpeg -nostdin -y -loglevel error -protocol_whitelist file,udp,rtp -analyzeduration 0 -probesize 32"
        command = command.split() + ["-i", path, "-af", "aresample=async=1:min_hard_comp=0.01:first_pts=0"]
        command += ["-ac", "1", "-ar", rate, "-flush_packets", "1", "-f", "s16le", f"{work}/heard/{stream.name}__ffmpeg.raw"]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        stream.to.append((udp(), ("127.0.0.1", port)))

    def end(self):
        # It would wait for packets for ever; what it has played is in the file.
        self.process.kill()
        self.process.wait()


def free_ports():
    """Even ones whose odd neighbours are free too, outside of what the kernel gives to others."""
    for port in range(24_000, 30_000, 2):
        try:
            for it in (port, port + 1):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", it))
        except OSError:
            continue
        yield port


def wait_until_bound(ports):
    wanted = {f":{it:04X}" for it in ports}
    for _ in range(300):
        bound = {line.split()[1][8:] for line in open("/proc/net/udp").read().splitlines()[1:]}
        if wanted <= bound:
            return
        time.sleep(0.1)
    sys.exit("ffmpeg does not listen")


def run(streams, coded):
    poll = select.poll()
    by_socket = {}
    for it in coded:
        poll.register(it.receiver, select.POLLIN)
        by_socket[it.receiver.fileno()] = it
    due = [(stream.packets[0][0], number, 0) for number, stream in enumerate(streams)]
    heapq.heapify(due)
    start = time.monotonic() + 0.1

    def listen(milliseconds):
        for file, _ in poll.poll(milliseconds):
            by_socket[file].receive(max(0, int((time.monotonic() - start) * 1e6)))

    while due:
        at, number, index = due[0]
        left = start + at - time.monotonic()
        if left <= 0:
            heapq.heappop(due)
            streams[number].send(index)
            if index + 1 < len(streams[number].packets):
                heapq.heappush(due, (streams[number].packets[index + 1][0], number, index + 1))
        listen(max(0, int(left * 1000)))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        listen(100)


paths = [it for it in sorted(glob.glob(f"{work}/sent/*.packets")) if "drift" not in it]
streams = [Stream(it) for it in paths]
coded, played, rtpengine = [], [], None
try:
    if shutil.which("ffmpeg"):
        ports = free_ports()
        used = [next(ports) for _ in streams]
        played = [Played(stream, port) for stream, port in zip(streams, used)]
        wait_until_bound(used)
    if shutil.which("rtpengine"):
        probe = udp()
        port = probe.getsockname()[1]
        probe.close()
        options = "--config-file=none --foreground --table=-1 --interface=127.0.0.1 --log-level=2 --log-stderr".split()
        options += [f"--listen-ng=127.0.0.1:{port}", "--port-min=30000", "--port-max=31999"]
        quiet = subprocess.DEVNULL
        rtpengine = subprocess.Popen(["rtpengine"] + options, stdout=quiet, stderr=quiet)
        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        control.settimeout(0.5)
        control.connect(("127.0.0.1", port))
        coded = [Coded(stream, other, control) for stream in streams for other in OTHERS[stream.codec]]
    run(streams, coded)
    for it in coded:
        it.write()
finally:
    for it in played:
        it.end()
    if rtpengine:
        rtpengine.terminate()
        rtpengine.wait()
