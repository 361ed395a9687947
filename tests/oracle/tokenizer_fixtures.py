#!/usr/bin/env python3
"""Writes tests/unit/runtime/tokenizer_kinds/: tiny tokenizers of every kind, trained here on the text below, with the ids and texts that Hugging Face
tokenizers, sentencepiece and tiktoken give for a list of strings.

  tokenizer_fixtures.py [FOLDER]

Needs tokenizers, sentencepiece (with protobuf) and tiktoken. Nothing here is needed to build or to test mlcc.
"""
import base64, io, json, os, random, shutil, struct, sys

import sentencepiece
import tiktoken
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizers import Regex

CORPUS = ["the quick brown fox jumps over the lazy dog", "Once upon a time there was a little girl who lived in a small house", "don't stop, we've won!",
          "l'été est arrivé à Paris", "straße und grüße", "日本語のテキスト", "東京都に行きました", "привет мир", "1234567890 3.14", "x = y + 1;  z--",
          "the theory of the thing is that there is nothing there", "she sells sea shells by the sea shore", "hello world hello there"] * 8
TEXTS = ["", " ", "  ", "the", " the", "the quick brown fox", "Hello WORLD, don't!", "  two  spaces  ", "tab\tand\nline\r\nend", "l'été à Paris e\u0301",
         "日本語と東京", "привет 世界", "3.14159 and 1e10", "unknown ☃ snow ☃☃ man", "👩‍👩‍👧 family", "naïve ﬁ ① Ａ", "<s>the</s>", "[CLS] x [SEP]",
         "[MASK]", "the[MASK]the", "a [MASK] b", "<extra>", "x<extra>y <extra> z", "\u0000\u0001", "▁the▁", "##ing", "hellohellohello" * 12,
         "\u3000wide\u00A0space\u200Bzero", "ÀÉÎõü", "don't we've I'll he'd", "...!!!???", "a-b_c.d", "ｶﾞ ㍿", "가각힣", "\uFEFFbom", "<0x41>", "the\u0301 x"]

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BASIC_SPECIALS = ["<unk>", "<s>", "</s>", "<pad>"]


def charsmap():
    """The nmt_nfkc_cf table is 300 KB; this one is small: a model trained with rules of our own."""
    rules = "/tmp/mlcc_rules.tsv"
    with open(rules, "w", encoding="utf-8") as out:
        for source, target in (("ﬁ", "fi"), ("①", "1"), ("Ａ", "A"), ("\u3000", " "), ("\u00A0", " "), ("\t", " "), ("\n", " "), ("\r", " "),
                               ("e\u0301", "é"), ("\u200B", ""), ("㍿", "株式会社"), ("ｶﾞ", "ガ"), ("ｶ", "カ"), ("\u0001", "")):
            out.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
    return rules


def train_sentencepiece(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(CORPUS), model_writer=model, minloglevel=2, num_threads=1,
                                             hard_vocab_limit=False, **options)
    return model.getvalue()


def train(model, trainer, **parts):
    tokenizer = Tokenizer(model)
    for key, part in parts.items():
        if key != "decoder" and key != "post_processor":
            setattr(tokenizer, key, part)
    tokenizer.train_from_iterator(CORPUS, trainer)
    if "decoder" in parts:
        tokenizer.decoder = parts["decoder"]
    return tokenizer


def kinds():
    bert = train(models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(vocab_size=300, special_tokens=BERT_SPECIALS, show_progress=False),
                 normalizer=normalizers.BertNormalizer(), pre_tokenizer=pre_tokenizers.BertPreTokenizer(), decoder=decoders.WordPiece())
    bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    bert.add_special_tokens([AddedToken("[MASK]", lstrip=True, special=True)])
    yield "wordpiece", bert

    cased = train(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20),
                  trainers.WordPieceTrainer(vocab_size=260, special_tokens=BERT_SPECIALS, show_progress=False),
                  normalizer=normalizers.BertNormalizer(lowercase=False, strip_accents=True, handle_chinese_chars=False, clean_text=False),
                  pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]),
                  decoder=decoders.WordPiece(cleanup=False))
    yield "wordpiece_cased", cased

    level = train(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=120, special_tokens=BASIC_SPECIALS, show_progress=False),
                  normalizer=normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()]),
                  pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous")]))
    level.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    level.add_tokens([AddedToken("<extra>", single_word=True, normalized=True)])
    yield "wordlevel", level

    specials = [(t, 0.0) for t in BASIC_SPECIALS]
    unigram = train(models.Unigram(), trainers.UnigramTrainer(vocab_size=260, special_tokens=BASIC_SPECIALS, unk_token="<unk>", show_progress=False),
                    normalizer=normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
                    pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="always"), decoder=decoders.Metaspace())
    unigram.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    yield "unigram", unigram

    model = json.loads(unigram.to_str())
    pieces = model["model"]["vocab"]
    model["model"]["vocab"] = pieces + [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    model["model"]["byte_fallback"] = True
    model["normalizer"] = None
    model["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    model["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                                                                                      "split": False}]}
    yield "unigram_bytes", Tokenizer.from_str(json.dumps(model))

    sp = train_sentencepiece(model_type="unigram", vocab_size=200, normalization_rule_tsv=charsmap())
    from sentencepiece import sentencepiece_model_pb2
    proto = sentencepiece_model_pb2.ModelProto.FromString(sp)
    blob = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    model["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": blob},
                                                               {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    model["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
                                                                     {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]}
    model["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    model["model"] = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [[p.piece, p.score] for p in proto.pieces]}
    model["added_tokens"] = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                             for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    model["post_processor"] = None
    yield "precompiled", Tokenizer.from_str(json.dumps(model))

    clip = train(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True),
                 trainers.BpeTrainer(vocab_size=300, special_tokens=BASIC_SPECIALS, end_of_word_suffix="</w>", show_progress=False),
                 normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
                 pre_tokenizer=pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
                 decoder=decoders.BPEDecoder(suffix="</w>"))
    yield "bpe_suffix", clip

    level = train(models.BPE(), trainers.BpeTrainer(vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>", "</s>"],
                                                    show_progress=False),
                  pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True), decoder=decoders.ByteLevel())
    level.add_tokens([AddedToken("<extra>", lstrip=True, rstrip=True, normalized=False)])
    level.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                                processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])])
    yield "bpe_byte_level", level

    fixed = train(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=150, special_tokens=BASIC_SPECIALS, show_progress=False),
                  pre_tokenizer=pre_tokenizers.FixedLength(length=3), decoder=decoders.CTC(pad_token="<pad>", word_delimiter_token=" "))
    yield "fixed_length_ctc", fixed

    scripts = train(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=100, special_tokens=BASIC_SPECIALS, show_progress=False),
                    pre_tokenizer=pre_tokenizers.Sequence([pre_tokenizers.UnicodeScripts(), pre_tokenizers.CharDelimiterSplit(" ")]))
    yield "scripts", scripts


def write(folder, name, vectors):
    with open(os.path.join(folder, name, "vectors.json"), "w", encoding="utf-8") as out:
        out.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in vectors) + "\n]\n")


def put(folder, name, file, data):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(os.path.join(folder, name, file), "wb") as out:
        out.write(data)


def hf_vectors(tokenizer):
    for text in TEXTS:
        try:
            ids, plain = (tokenizer.encode(text, add_special_tokens=s).ids for s in (True, False))
        except Exception:
            continue
        yield {"text": text, "ids": ids, "ids_without_special": plain, "decoded": tokenizer.decode(ids),
               "decoded_with_special": tokenizer.decode(ids, skip_special_tokens=False)}


def plain_texts():
    return [t for t in TEXTS if "<s>" not in t and "\u0000" not in t]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "tests/unit/runtime/tokenizer_kinds"
    shutil.rmtree(folder, ignore_errors=True)
    for name, tokenizer in kinds():
        text = json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":"))
        put(folder, name, "tokenizer.json", text.encode())
        write(folder, name, list(hf_vectors(Tokenizer.from_str(text))))
    models_of_ours = {
        "sp_bpe": dict(model_type="bpe", vocab_size=420, byte_fallback=True, user_defined_symbols=["<extra>", "the  quick"],
                       normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.995),
        "sp_unigram": dict(model_type="unigram", vocab_size=200, normalization_rule_tsv=charsmap(), user_defined_symbols=["<extra>"]),
    }
    for name, options in models_of_ours.items():
        data = train_sentencepiece(**options)
        put(folder, name, "tokenizer.model", data)
        model = sentencepiece.SentencePieceProcessor(model_proto=data)
        write(folder, name, [{"text": t, "ids_without_special": model.encode(t)} for t in plain_texts()])
    ranks = {bytes([byte]): byte for byte in range(256)}
    words = sorted({w[:n].encode() for line in CORPUS for w in line.replace(" ", "\n ").split("\n") for n in range(2, len(w) + 1)}, key=lambda w: (len(w), w))
    for word in words[:400]:
        ranks.setdefault(word, len(ranks))
    put(folder, "cl100k", "cl100k_base.tiktoken", b"".join(base64.b64encode(k) + b" %d\n" % v for k, v in ranks.items()))
    import tiktoken_ext.openai_public  # noqa: F401  (the pattern is the encoding's own)
    pattern = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    encoding = tiktoken.Encoding("cl100k", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    write(folder, "cl100k", [{"text": t, "ids_without_special": encoding.encode_ordinary(t)} for t in plain_texts()])


if __name__ == "__main__":
    main()
