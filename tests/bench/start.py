#!/usr/bin/env python3
"""How long a program takes from its start to the first token, beside the prefill itself, and what memory it needs at most.

usage: ./run bench start DIR [--rounds N] [--threads N] [--program PROGRAM]       DIR: a model directory with weights, tokenizer and lib.so

The ways to hold the weights (--weights-memory map, copy, auto) are run in turn, so that noise hits all alike. The first start, which prepares the
weights and keeps them, is run before and told apart. MLCC_BIN names the folder of the programs, default build/bin.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

WAYS = ("map", "copy", "auto")


def start(program, directory, way, threads):
    """(seconds to the first token without the prefill, seconds of loading, bytes at most)"""
    words = [program, "generate", directory, "--prompt", "a", "--max-tokens", "1", "--json", "--weights-memory", way, "--threads", str(threads)]
    begin = time.perf_counter()
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wall_s = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"{os.path.basename(program)} ended with exit code {done.returncode}: {done.stderr.strip()}")
    result = json.loads(done.stdout)
    return wall_s - result["prefill_s"], result["load_s"], result["peak_rss_bytes"]


def main():
    parser = argparse.ArgumentParser(prog="./run bench start", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=9, help="starts of each way [%(default)s]")
    parser.add_argument("--threads", type=int, default=0, help="0 = physical cores allowed [%(default)s]")
    parser.add_argument("--program", default="mlcc-run", help="mlcc-run or mlcc [%(default)s]")
    chosen = parser.parse_args()
    program = os.path.join(os.environ.get("MLCC_BIN", "build/bin"), chosen.program)
    first = start(program, chosen.directory, "auto", chosen.threads)
    found = {way: [] for way in WAYS}
    for _ in range(chosen.rounds):
        for way in WAYS:
            found[way].append(start(program, chosen.directory, way, chosen.threads))
    print(f"{chosen.program}, seconds from its start to the first token beside the prefill; {chosen.rounds} rounds in turn")
    print(f"first start: {first[0]:.3f} s")
    print("weights  median   least   loading  peak memory")
    for way, samples in found.items():
        beside, loading, peak = zip(*samples)
        print(f"{way:7}  {statistics.median(beside):6.3f}  {min(beside):6.3f}  {statistics.median(loading):8.3f}  {max(peak) / 1e6:8.0f} MB")


if __name__ == "__main__":
    main()
