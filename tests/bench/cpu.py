#!/usr/bin/env python3
"""mlcc and llama.cpp beside each other on this machine's CPU: one run, measured in turn, so that noise hits both alike.

usage: ./run bench cpu [OPTION …]      (or python3 tests/bench/cpu.py, with MLCC_BIN naming the folder of the programs)

The rival comes from the environment; what is unset is skipped and said to be:
  LLAMA_BENCH          llama-bench, or a script that calls it
  LLAMA_GGUF           folder with <shape>/f16.gguf, <shape>/q4_0.gguf, <shape>/q8_0.gguf; <shape> as in --shapes
  LLAMA_BATCHED_BENCH  llama-batched-bench, for the tests batch-N
Modes are compared q4f16_1 : Q4_0, q8f16_1 : Q8_0, q0f16 : F16. Behind a filled cache llama.cpp runs twice: as it comes, and with flash attention and
a q8_0 cache. mlcc's models have random weights in the shape's dimensions; llama.cpp's are whatever the files hold.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cpu_sides as sides  # noqa: E402
import cpu_table as table  # noqa: E402

TESTS = "prefill-16,prefill-128,prefill-512,decode-64,decode-64-at-2048,batch-4"
QUICK = {"shapes": "tinyllama", "modes": "q4f16_1", "threads": "2", "tests": "prefill-128,decode-64", "rounds": 1}


def say(text):
    print(text, file=sys.stderr, flush=True)


def options():
    parser = argparse.ArgumentParser(prog="./run bench cpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(sides.SHAPES), help=f"of {', '.join(sides.SHAPES)}; NAME=CONFIG for another preset or config [%(default)s]")
    parser.add_argument("--modes", default=",".join(sides.MODES), help="[%(default)s]")
    parser.add_argument("--threads", default="1,2", help="[%(default)s]")
    parser.add_argument("--tests", default=TESTS, help="prefill-N, decode-N, decode-N-at-DEPTH, batch-B [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each row; a turn is one run of mlcc and one of llama.cpp [%(default)s]")
    parser.add_argument("--repetitions", type=int, default=2, help="samples of a run [%(default)s]")
    parser.add_argument("--quick", action="store_true", help="one shape, one mode, two threads, two tests, one round")
    parser.add_argument("--models", metavar="DIR", help="keep mlcc's models here and use them again; without it each is removed when its rows are done")
    parser.add_argument("--target", default="native", help="what mlcc compiles for; with x86-64-v3 let LLAMA_BENCH be a llama.cpp without AVX-512 [%(default)s]")
    parser.add_argument("--output", metavar="FILE.json", help="[tests/bench/results/cpu_<processor>_<time>.json]")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds that one run may take [%(default)s]")
    chosen = parser.parse_args()
    if chosen.quick:
        for key, value in QUICK.items():
            if getattr(chosen, key) == parser.get_default(key):
                setattr(chosen, key, value)
    try:
        chosen.cases = cases(chosen)
    except ValueError as error:
        parser.error(str(error))
    if chosen.rounds < 1 or chosen.repetitions < 1:
        parser.error("--rounds and --repetitions are at least 1")
    return chosen


def cases(chosen):
    """In an order in which every model is made once."""
    shapes = {}
    for word in chosen.shapes.split(","):
        name, _, config = word.partition("=")
        if not config and name not in sides.SHAPES:
            raise ValueError(f"shape '{name}'; accepted: {', '.join(sides.SHAPES)}, NAME=CONFIG")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ValueError(f"shape '{name}': letters, digits and ._- make a name")
        shapes[name] = config or sides.SHAPES[name][0]
    modes = chosen.modes.split(",")
    for mode in modes:
        if mode not in sides.MODES:
            raise ValueError(f"mode '{mode}'; accepted: {', '.join(sides.MODES)}")
    tests = [sides.parse_test(name) for name in chosen.tests.split(",")]
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", chosen.threads):
        raise ValueError(f"threads '{chosen.threads}'; accepted: numbers from 1, comma separated")
    threads = [int(word) for word in chosen.threads.split(",")]
    return [sides.Case(name, shapes[name], mode, n, test) for name in shapes for mode in modes for n in threads for test in tests]


def processor():
    """The machine in words that name no one."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return re.search(r"^model name\s*: (.*)$", file.read(), re.M)[1].strip()
    except (OSError, TypeError):
        return "unknown processor"


class Clock:
    """Time left, from guesses of each case's share: bytes to read for every step, operations for every token."""

    def __init__(self, chosen):
        self.start_s = time.monotonic()
        self.total = sum(self.work(case) for case in chosen.cases) * chosen.rounds
        self.done = 0.0

    @staticmethod
    def work(case):
        test = case.test
        parameters, size = sides.SHAPES.get(case.shape, ("", 0.5))[1], sides.MODES[case.mode][1]
        return 1 + parameters * (0.3 * size * test.gen + 0.06 * (test.prompt + test.depth) * test.batch) / case.threads

    def advance(self, case):
        self.done += self.work(case)

    def left(self):
        if not self.done:
            return "time left is known after the first turn"
        seconds = (time.monotonic() - self.start_s) / self.done * (self.total - self.done)
        return f"{100 * self.done / self.total:.0f} % done, {int(seconds) // 60} min {int(seconds) % 60} s left"


class Run:
    def __init__(self, chosen, folder):
        self.chosen = chosen
        self.processes = sides.Processes(chosen.timeout)
        binaries = os.environ.get("MLCC_BIN", "build/bin")
        self.mlcc = sides.Mlcc(os.path.join(binaries, "mlcc"), folder, chosen.models is not None, chosen.target, self.processes, say)
        self.llama = sides.Llama(os.environ, self.processes)
        self.rows, self.remarks = [], []
        self.found = {}
        self.interrupted = False

    def content(self):
        """What is kept: nothing in it names a user, a host or a path."""
        return {
            "processor": processor(), "cpus": len(os.sched_getaffinity(0)), "target": self.chosen.target, "date": time.strftime("%Y-%m-%d"), "interrupted": self.interrupted,
            "rounds": self.chosen.rounds, "repetitions": self.chosen.repetitions, "llama_cpp": self.llama.build,
            "ceilings": self.found, "notes": self.remarks,
            "rows": [{key: value for key, value in row.items() if not key.endswith("_samples")} for row in self.rows],
        }

    def save(self):
        self.found = table.finish(self.rows)
        table.write_json(self.chosen.output, self.content())

    def remark(self, case, text):
        # A file below LLAMA_GGUF is named without the folder, a program without its own.
        text = text.replace((self.llama.folder or "\0").rstrip("/"), "$LLAMA_GGUF").replace(self.mlcc.folder, "$MODELS")
        if not text.startswith("LLAMA_"):  # what is not set is said once
            text = f"{case.shape} {case.mode} {case.test.name}: {text}"
        if text not in self.remarks:
            self.remarks.append(text)
            say(f"  {text}")

    def turn(self, case, row):
        """One run of each; a side that failed once is not asked again for this row."""
        if not row["failed"]:
            try:
                samples, measured = self.mlcc.measure(case, self.chosen.repetitions)
                row["mlcc_samples"] += samples
                row["measured"].append(measured)
                say(f"  mlcc {max(samples):.1f} tokens/s")
            except sides.Failure as failure:
                row["failed"] = str(failure)
                self.remark(case, str(failure))
        for name in list(row["llama_samples"]):
            try:
                samples = self.llama.measure(case, self.chosen.repetitions, self.llama.variants(case.test)[name])
                row["llama_samples"][name] += samples
                say(f"  llama.cpp {name} {max(samples):.1f} tokens/s")
            except sides.Failure as failure:
                del row["llama_samples"][name]
                self.remark(case, str(failure))

    def measure(self):
        clock = Clock(self.chosen)
        for number, case in enumerate(self.chosen.cases, 1):
            skipped = self.llama.skips(case)
            if skipped:
                self.remark(case, f"{skipped}: llama.cpp left out")
            variants = [] if skipped else list(self.llama.variants(case.test))
            row = {
                "shape": case.shape, "mode": case.mode, "threads": case.threads, "test": case.test.name, "variants": variants, "measured": [],
                "mlcc_samples": [], "llama_samples": {name: [] for name in variants}, "failed": "",
            }
            self.rows.append(row)
            for i in range(self.chosen.rounds):
                say(f"[{number}/{len(self.chosen.cases)}] {case.shape} {case.mode} threads {case.threads} {case.test.name}, round {i + 1}; {clock.left()}")
                self.turn(case, row)
                clock.advance(case)
            self.save()

    def go(self):
        """Exit code: 0 all measured, 1 something failed, 130 interrupted."""
        try:
            self.measure()
        except KeyboardInterrupt:
            # A second Ctrl-C would cut the table off.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self.interrupted = True
            say("interrupted; what is there:")
        finally:
            self.processes.end()
            self.mlcc.drop()
        self.save()
        table.print_table(self.rows, self.found, self.remarks)
        say(f"wrote {self.chosen.output}")
        if self.interrupted:
            return 130
        return 1 if any(row["failed"] for row in self.rows) else 0


def main():
    chosen = options()
    if chosen.output is None:
        slug = re.sub(r"[^a-z0-9]+", "-", processor().lower()).strip("-")
        chosen.output = os.path.join("tests/bench/results", f"cpu_{slug}_{time.strftime('%Y%m%d-%H%M%S')}.json")
    os.makedirs(os.path.dirname(chosen.output) or ".", exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = chosen.models or tempfile.mkdtemp(prefix="mlcc-bench-cpu-")
    os.makedirs(folder, exist_ok=True)
    try:
        return Run(chosen, folder).go()
    finally:
        if chosen.models is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
