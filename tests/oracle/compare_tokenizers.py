#!/usr/bin/env python3
"""Compares mlcc's tokenizer with the libraries it must agree with, on random texts.

  compare_tokenizers.py --library build/lib/libmlcc_runtime.so FOLDER…        ids with and without special tokens and both decodings, beside Hugging
                                                                     Face tokenizers (FOLDER/tokenizer.json), or beside sentencepiece or
                                                                     tiktoken where the folder has only their file
  --count N    texts per folder (10000)
  --bench FILE MB/s of both on this text, in turn, best and median of --rounds rounds

Needs tokenizers, and for the other files sentencepiece or tiktoken. Nothing here is needed to build or to test mlcc.
"""
import argparse, base64, ctypes, os, random, statistics, sys, time

STARTS = [0x20, 0x41, 0x61, 0x30, 0xC0, 0x300, 0x370, 0x400, 0x590, 0x600, 0x900, 0xE00, 0x1100, 0x1E00, 0x2000, 0x2460, 0x2600, 0x3040,
          0x30A0, 0x4E00, 0xAC00, 0xF900, 0xFB00, 0xFE00, 0xFF00, 0x1D400, 0x1F300, 0x1F600, 0x1F900, 0x20000, 0xE0100]
WORDS = ["the", "Hello", "world", "don't", "I'LL", "we've", "naïve", "straße", "İstanbul", "ΑΣΣ", "日本語", "привет", "عربى", "ไทย", "नमस्ते",
         "한국어", "123456", "3.14", "x+=1;", "if(a)", "\n\n", "\r\n", "\t", "   ", "  ", "\u00A0", "\u3000", "\u200B", "\u200D", "\uFEFF", "▁",
         "▁▁", "👩‍👩‍👧", "🇫🇷", "e\u0301", "ﬁ", "①", "Ａ", "ﷺ", "\u0000", "\x01", "\x7F", "\uFFFD", "<0x41>", "##ing", " .", "n't", "…", "—",
         "http://a.b/c?d=e", "CamelCaseWord", "SHOUTING", "ǅ", "\u0345", "\u2028", "\x85"]


def random_text(rng, added):
    parts = []
    for _ in range(rng.randint(0, 24)):
        kind = rng.random()
        if kind < 0.45:
            parts.append(rng.choice(WORDS))
        elif kind < 0.85:
            first = rng.choice(STARTS)
            text = [chr(first + rng.randrange(96)) for _ in range(rng.randint(1, 6))]
            parts.append("".join(text))
        elif kind < 0.9 and added:
            parts.append(rng.choice(added))
        else:
            code = rng.randrange(0x110000)
            parts.append(chr(code) if not 0xD800 <= code < 0xE000 else "?")
        if rng.random() < 0.5:
            parts.append(" ")
    data = "".join(parts).encode("utf-8")
    if data and rng.random() < 0.1:  # broken UTF-8
        at = rng.randrange(len(data))
        data = data[:at] + bytes([rng.randrange(256)]) + data[at + rng.randint(0, 2):]
    return data


class Mlcc:
    def __init__(self, library, folder):
        self.lib = ctypes.CDLL(library)
        self.lib.mlcc_status_format.restype = ctypes.c_void_p
        for name in ("open_with", "encode", "decode"):
            getattr(self.lib, "mlcc_tokenizer_" + name).restype = ctypes.c_void_p
        self.free = ctypes.CDLL(None).free
        self.free.argtypes = [ctypes.c_void_p]
        self.handle = ctypes.c_void_p()
        # mlcc_tokenizer_options: directory, no_cache (the folders stay as they are), cache_directory
        options = (ctypes.c_void_p * 3)(ctypes.cast(ctypes.c_char_p(folder.encode()), ctypes.c_void_p), 1, None)
        self.require(self.lib.mlcc_tokenizer_open_with(ctypes.byref(options), ctypes.byref(self.handle)))

    def require(self, status):
        if status:
            raise RuntimeError(ctypes.string_at(self.lib.mlcc_status_format(ctypes.c_void_p(status), 1)).decode())

    def encode(self, data, special):
        ids, n = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        self.require(self.lib.mlcc_tokenizer_encode(self.handle, data, ctypes.c_size_t(len(data)), ctypes.c_bool(special),
                                                    ctypes.byref(ids), ctypes.byref(n)))
        result = ids[:n.value]
        self.free(ids)
        return result

    def count(self, data):
        ids, n = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        self.require(self.lib.mlcc_tokenizer_encode(self.handle, data, ctypes.c_size_t(len(data)), ctypes.c_bool(False),
                                                    ctypes.byref(ids), ctypes.byref(n)))
        self.free(ids)
        return n.value

    def decode(self, ids, skip):
        text, n = ctypes.c_void_p(), ctypes.c_size_t()
        self.require(self.lib.mlcc_tokenizer_decode(self.handle, (ctypes.c_int32 * len(ids))(*ids), ctypes.c_size_t(len(ids)),
                                                    ctypes.c_bool(skip), ctypes.byref(text), ctypes.byref(n)))
        result = ctypes.string_at(text, n.value)
        self.free(text)
        return result


class HuggingFace:
    def __init__(self, folder):
        import tokenizers
        self.tokenizer = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
        self.added = [t.content for t in self.tokenizer.get_added_tokens_decoder().values()]
        self.decodes = True

    def encode(self, text, special):
        return self.tokenizer.encode(text, add_special_tokens=special).ids

    def decode(self, ids, skip):
        return self.tokenizer.decode(ids, skip_special_tokens=skip)


class SentencePiece:
    def __init__(self, folder):
        import sentencepiece
        self.model = sentencepiece.SentencePieceProcessor(model_file=folder + "/tokenizer.model")
        self.added, self.decodes = [], False

    def encode(self, text, special):
        return None if special else self.model.encode(text)


class Tiktoken:
    def __init__(self, path, pattern):
        import tiktoken
        ranks = {base64.b64decode(a): int(b) for a, b in (line.split() for line in open(path, "rb") if line.strip())}
        self.encoding = tiktoken.Encoding("given", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        self.added, self.decodes = [], False

    def encode(self, text, special):
        return None if special else self.encoding.encode_ordinary(text)


def reference_of(folder, pattern):
    if os.path.exists(folder + "/tokenizer.json"):
        return HuggingFace(folder)
    if pattern:
        return Tiktoken(os.path.join(folder, [n for n in os.listdir(folder) if n.endswith(".tiktoken")][0]), pattern)
    return SentencePiece(folder)


def compare(folder, mine, theirs, count, seed):
    rng = random.Random(seed)
    differences = 0
    for number in range(count):
        data = random_text(rng, theirs.added)
        text = data.decode("utf-8", errors="replace")
        for special in (False, True):
            try:
                expected = theirs.encode(text, special)
            except Exception as error:  # what the reference cannot encode
                expected = None
            if expected is None:
                continue
            got = mine.encode(data, special)
            shown = None
            if got != expected:
                shown = ("ids", expected, got)
            elif theirs.decodes:
                wanted = theirs.decode(expected, not special).encode("utf-8", errors="replace")
                decoded = mine.decode(got, not special)
                if wanted != decoded:
                    shown = ("text", wanted, decoded)
            if shown:
                differences += 1
                if differences <= 5:
                    print(f"{folder} {number}: {data!r}\n  {shown[0]} expected {shown[1]}\n  {shown[0]} got      {shown[2]}")
                break
    print(f"{folder}: {count} texts, {differences} differences")
    return differences


def bench(folder, mine, theirs, path, rounds):
    data = open(path, "rb").read()
    text = data.decode("utf-8", errors="replace")
    rates = {"mlcc": [], "reference": []}
    for _ in range(rounds):
        for name, run in (("mlcc", lambda: mine.count(data)), ("reference", lambda: theirs.encode(text, False))):
            start = time.perf_counter()
            run()
            rates[name].append(len(data) / 1e6 / (time.perf_counter() - start))
    print(f"{folder}: MB/s best and median: " + ", ".join(
        f"{name} {max(values):.1f} {statistics.median(values):.1f}" for name, values in rates.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--library", default="build/lib/libmlcc_runtime.so")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pattern", help="tiktoken: the pattern of the encoding")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    differences = 0
    for folder in arguments.folders:
        mine, theirs = Mlcc(os.path.abspath(arguments.library), folder), reference_of(folder, arguments.pattern)
        if arguments.bench:
            bench(folder, mine, theirs, arguments.bench, arguments.rounds)
        else:
            differences += compare(folder, mine, theirs, arguments.count, arguments.seed)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
