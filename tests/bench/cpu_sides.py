"""The two sides of tests/bench/cpu.py: how mlcc and llama.cpp are asked for tokens a second, and what their answers mean.

A side takes a Case and returns samples (tokens/s). What goes wrong is a Failure whose text says what to do about it; an absent program is None.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

# name in LLAMA_GGUF -> preset of mlcc, stored parameters in 10^9 (for the time that is left)
SHAPES = {
    "tinyllama": ("tinyllama_1b_chat_v1.0", 1.1),
    "qwen05": ("qwen2_0_5b", 0.5),
    "llama7": ("llama2_7b", 6.7),
}
# mode of mlcc -> file in LLAMA_GGUF/<shape>/, bytes a parameter
MODES = {"q4f16_1": ("q4_0", 0.57), "q8f16_1": ("q8_0", 1.07), "q0f16": ("f16", 2.0)}
# The variants of a test behind a filled cache: llama.cpp as it comes, and as it is fastest there.
DEEP_VARIANTS = {"default": [], "best": ["-fa", "1", "-ctk", "q8_0", "-ctv", "q8_0"]}
CONTEXT = 4096


class Failure(Exception):
    pass


@dataclass(frozen=True)
class Test:
    name: str
    prompt: int = 0
    gen: int = 0
    depth: int = 0
    batch: int = 1


def parse_test(name):
    """prefill-N, decode-N, decode-N-at-DEPTH, batch-B (64 steps of B sequences)."""
    if match := re.fullmatch(r"prefill-(\d+)", name):
        test = Test(name, prompt=int(match[1]))
    elif match := re.fullmatch(r"decode-(\d+)(?:-at-(\d+))?", name):
        test = Test(name, gen=int(match[1]), depth=int(match[2] or 0))
    elif match := re.fullmatch(r"batch-(\d+)", name):
        test = Test(name, gen=64, batch=int(match[1]))
    else:
        raise ValueError(f"test '{name}'; accepted: prefill-N, decode-N, decode-N-at-DEPTH, batch-B")
    if not 0 < test.prompt + test.gen + test.depth <= CONTEXT or not 0 < test.batch <= 128:
        raise ValueError(f"test '{name}' asks for {test.prompt + test.gen + test.depth} tokens, 1 to {CONTEXT} fit, in batches of 1 to 128")
    return test


@dataclass(frozen=True)
class Case:
    shape: str
    preset: str
    mode: str
    threads: int
    test: Test


class Processes:
    """Runs one child at a time, in a process group of its own, so that it can be ended with all that it started."""

    def __init__(self, timeout_s):
        self.timeout_s = timeout_s
        self.child = None

    def run(self, command, environment=None):
        """Standard output. A program that cannot be started, fails or takes too long is a Failure."""
        what = os.path.basename(command[0])
        try:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                start_new_session=True, env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise Failure(f"{what} cannot be started: {error.strerror}") from error
        try:
            output, errors = self.child.communicate(timeout=self.timeout_s)
            code = self.child.returncode
        except subprocess.TimeoutExpired as error:
            raise Failure(f"{what} took longer than {self.timeout_s} s (--timeout)") from error
        finally:
            self.end()
        if code != 0:
            said = [line for line in errors.strip().splitlines() if line] or ["nothing on standard error"]
            wrong = [line for line in said if "error" in line.lower()] or said
            raise Failure(f"{what} ended with exit code {code}: {wrong[-1]}")
        return output

    def end(self):
        """Ends a child that still runs."""
        child, self.child = self.child, None
        if child is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                break
            try:
                os.killpg(child.pid, sign)
                child.wait(timeout=5)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        for stream in (child.stdout, child.stderr):
            stream.close()


def read_json(what, text):
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failure(f"{what} did not print JSON but: {text.strip()[:80] or 'nothing'}") from error


def rates(what, values):
    """Tokens/s, all of them real."""
    if not isinstance(values, list) or not values or not all(isinstance(v, (int, float)) and not isinstance(v, bool) and v > 0 for v in values):
        raise Failure(f"{what}: expected a list of rates above zero, found {json.dumps(values)[:80]}")
    return [float(value) for value in values]


class Mlcc:
    """Models of the shapes' presets with random weights, made when first asked for."""

    def __init__(self, program, folder, keep, target, processes, say):
        self.program, self.folder, self.keep, self.target, self.processes, self.say = program, folder, keep, target, processes, say
        self.environment = {"MLCC_CACHE_DIR": os.path.join(folder, "cache")}
        self.ready = None

    def _run(self, *words):
        return self.processes.run([self.program, *words], self.environment)

    def model(self, case):
        """The case's model directory. Weights that --models keeps are used again; the library is compiled anew, for it is what is measured."""
        path = os.path.join(self.folder, f"{case.shape}-{case.mode}")
        if self.ready == path:
            return path
        self.drop()
        config = ["--quantization", case.mode, "--conv-template", "LM", "--context-window-size", str(CONTEXT), "-o", path]
        if not os.path.exists(os.path.join(path, "tensor-cache.json")):
            self.say(f"making {case.shape} {case.mode}")
            self._run("bench", "--preset", case.preset, "--quantization", case.mode, "--keep", path, "-p", "1", "-n", "0", "-r", "1")
        self._run("gen_config", case.preset, *config)
        self._run("compile", path, "--target", self.target)
        # The first start prepares the weights for this library.
        self._run("bench", path, "-p", "1", "-n", "0", "-r", "1")
        self.ready = path
        return path

    def drop(self):
        """Gives the last model's disk space back."""
        if self.ready and not self.keep:
            shutil.rmtree(self.ready, ignore_errors=True)
            shutil.rmtree(self.environment["MLCC_CACHE_DIR"], ignore_errors=True)
        self.ready = None

    def measure(self, case, repetitions):
        """(samples, the row as mlcc bench prints it)"""
        test = case.test
        options = {"-p": test.prompt, "-n": test.gen, "-d": test.depth, "-b": test.batch, "-t": case.threads, "-r": repetitions, "--format": "json"}
        rows = read_json("mlcc bench", self._run("bench", self.model(case), *[str(word) for pair in options.items() for word in pair]))
        if len(rows) != 1:
            raise Failure(f"mlcc bench printed {len(rows)} rows, expected one")
        return rates("mlcc bench", rows[0]["samples_tokens_per_s"]), rows[0]


class Llama:
    """llama-bench, and where it is there llama-batched-bench."""

    def __init__(self, environment, processes):
        self.bench = environment.get("LLAMA_BENCH")
        self.batched = environment.get("LLAMA_BATCHED_BENCH")
        self.folder = environment.get("LLAMA_GGUF")
        self.processes = processes
        self.build = None

    def absent(self):
        """Why there is nothing to compare with, or None."""
        names = [name for name, value in (("LLAMA_BENCH", self.bench), ("LLAMA_GGUF", self.folder)) if not value]
        return f"{' and '.join(names)} not set" if names else None

    def variants(self, test):
        return DEEP_VARIANTS if test.depth > 0 else {"default": []}

    def skips(self, case):
        """Why this case has no figure of llama.cpp's, or None."""
        if self.absent():
            return self.absent()
        if case.test.batch > 1 and not self.batched:
            return "LLAMA_BATCHED_BENCH not set"
        path = self.file(case)
        return None if os.path.exists(path) else f"{path} is not there"

    def file(self, case):
        return os.path.join(self.folder, case.shape, MODES[case.mode][0] + ".gguf")

    def measure(self, case, repetitions, words):
        if case.test.batch > 1:
            return self._batched(case)
        test = case.test
        options = {"-m": self.file(case), "-p": test.prompt, "-n": test.gen, "-t": case.threads, "-r": repetitions, "-o": "json"}
        if test.depth > 0:
            options["-d"] = test.depth
        rows = read_json("llama-bench", self.processes.run([self.bench, *[str(word) for pair in options.items() for word in pair], *words]))
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            raise Failure("llama-bench printed JSON, but not a list of one row; accepted is the form of its -o json")
        row = rows[0]
        for key, wanted in (("n_prompt", test.prompt), ("n_gen", test.gen), ("n_depth", test.depth)):
            if row.get(key, wanted) != wanted:
                raise Failure(f"llama-bench measured {key} {row[key]}, asked was {wanted}")
        if "samples_ts" not in row:
            raise Failure(f"llama-bench's row has no samples_ts, only {', '.join(sorted(row))[:80]}: a newer llama-bench has it")
        self.build = {key: row[key] for key in ("build_number", "build_commit", "backends") if key in row}
        return rates("llama-bench's samples_ts", row["samples_ts"])

    def _batched(self, case):
        test = case.test
        options = {
            "-m": self.file(case), "-c": (16 + test.gen) * test.batch, "-npp": 16, "-ntg": test.gen, "-npl": test.batch,
            "-t": case.threads, "-tb": case.threads, "--output-format": "jsonl",
        }
        lines = self.processes.run([self.batched, *[str(word) for pair in options.items() for word in pair]]).splitlines()
        rows = [read_json("llama-batched-bench", line) for line in lines if line.startswith("{")]
        if len(rows) != 1:
            raise Failure(f"llama-batched-bench printed {len(rows)} rows, expected one")
        return rates("llama-batched-bench's speed_tg", [rows[0].get("speed_tg")])
