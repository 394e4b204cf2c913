"""Scores what was heard against what was said, sentence by sentence, and prints the means as a table."""

import glob
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy
from pesq import NoUtterancesError, pesq

work = sys.argv[1]
# What is coded again is compared at 8 kHz, whatever it has been through.
RATES = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "opus": 16000, "PCMU to PCMA": 8000, "PCMA to PCMU": 8000,
         "PCMU to G722": 8000, "G722 to PCMU": 8000, "PCMU to opus": 8000, "opus to PCMU": 8000}
ORDER = ["clean", "loss 1 %", "loss 3 %", "loss 5 %", "loss 10 %", "bursts of 3", "jitter 40 ms",
         "drift +200 ppm", "drift -200 ppm", "through Opus", "through G.722"]


def samples(path):
    return numpy.fromfile(path, dtype="<i2")


def sentences(said, rate):
    """Where sentences are: runs of sound with less than half a second of silence in them."""
    loud = numpy.abs(said.reshape(-1, rate // 50)[:, :]).max(axis=1) > 150
    found, start, quiet = [], None, 0
    for index, is_loud in enumerate(loud):
        if is_loud:
            start = index if start is None else start
            quiet = 0
        elif start is not None:
            quiet += 1
            if quiet == 35:
                found.append((start, index - 34))
                start = None
    return [(max(0, a - 10) * rate // 50, (b + 10) * rate // 50) for a, b in found]


def score(path):
    codec, condition, receiver = os.path.basename(path)[:-4].split("__")
    rate = RATES[codec]
    said = samples(f"{work}/{'narrow' if rate == 8000 else 'wide'}.raw")
    said = said[: len(said) // (rate // 50) * (rate // 50)]
    heard = samples(path)
    scores = []
    for begin, end in sentences(said, rate):
        # What is heard comes up to a quarter of a second later; PESQ aligns the rest.
        piece = heard[begin : end + rate // 4]
        if len(piece) < (end - begin) // 2:
            scores.append(1.0)
            continue
        try:
            scores.append(pesq(rate, said[begin:end], piece, "nb" if rate == 8000 else "wb"))
        except NoUtterancesError:
            scores.append(1.0)
    return codec, condition, receiver, float(numpy.mean(scores)), len(scores)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with ProcessPoolExecutor() as pool:
        results = list(pool.map(score, sorted(glob.glob(f"{work}/heard/*.raw"))))
    table = {(codec, condition, receiver): mean for codec, condition, receiver, mean, _ in results}
    receivers = ["ours", "repetition", "ffmpeg", "rtpengine", "rtpengine, then ours"]
    print(f"Means over {results[0][4]} sentences; G722 and opus: PESQ-WB (P.862.2), all others: PESQ (P.862.1).")
    groups = [["PCMU", "PCMA", "G722", "opus"], ["PCMU to PCMA", "PCMA to PCMU"], ["PCMU to G722", "G722 to PCMU"],
              ["PCMU to opus", "opus to PCMU"]]
    for group in groups:
        columns = [(it, receiver) for it in group for receiver in receivers
                   if any((key[0], key[2]) == (it, receiver) for key in table)]
        print("\n| " + " | ".join(["Network"] + [f"{it} {receiver}" for it, receiver in columns]) + " |")
        print("|---|" + "---|" * len(columns))
        for condition in ORDER:
            cells = [table.get((it, condition, receiver)) for it, receiver in columns]
            if any(it is not None for it in cells):
                print(f"| {condition} | " + " | ".join("" if it is None else f"{it:.2f}" for it in cells) + " |")
