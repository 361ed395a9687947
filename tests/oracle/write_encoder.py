"""Writes a small encoder with random weights as a Hugging Face folder with sentence-transformers' files, and what transformers and plain torch make of some texts.

  write_encoder.py OUT [NAME …]        NAME: a key of MODELS below; none: all of them

OUT/NAME/config.json, model.safetensors (float16), tokenizer.json (WordPiece), texts.txt (a text each line), modules.json and 1_Pooling/config.json and
sentence_bert_config.json where MODELS says so; expected.safetensors:
  ids i32 [T], lengths i32 [n]                what the tokenizer makes of the texts, one after the other
  rows f32 [T, d]                             last hidden states
  pooled.<mode> f32 [n, d]                    every way of pooling, not normalized
  embedding f32 [n, d]                        as the folder's files say

Weights are rounded to float16 first, so that the file and the model hold the same numbers; the model then runs in float64, every text alone, token types 0.
Needs transformers, torch, tokenizers and safetensors; nothing of mlcc's is used.
"""
import json
import os
import sys

import tokenizers
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForMaskedLM

LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789.,!?")
WORDS = ["the", "cat", "sat", "on", "mat", "dog", "un", "##happy", "##ing", "##s", "##er", "comp", "##il", "what", "is"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + LETTERS + ["##" + c for c in LETTERS[:36]] + WORDS
TEXTS = ["The cat sat on the mat.", "what is a compiler?", "Unhappy dogs!", "a", "x1 y22 z333, the end of a somewhat longer line", "caf\u00e9 \u4f60\u597d \U0001f600"]
BASE = {"vocab_size": len(VOCAB) + 3, "num_hidden_layers": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_dropout_prob": 0.1}

# name: (config, prefix, pooling or None, normalizes, max_seq_length)
MODELS = {
    "bert_mean": (dict(BASE, hidden_size=36, num_attention_heads=3, intermediate_size=50, max_position_embeddings=64, type_vocab_size=3, hidden_act="gelu"), "", "mean", True, 56),
    "bert_cls": (dict(BASE, hidden_size=35, num_attention_heads=5, intermediate_size=44, max_position_embeddings=80, type_vocab_size=2, hidden_act="gelu_new"), "bert.", "cls", False, None),
    "bert_hub": (dict(BASE, hidden_size=64, num_attention_heads=2, intermediate_size=96, max_position_embeddings=128, type_vocab_size=2, hidden_act="gelu"), "old", None, True, None),
}


def randomize(model, generator):
    for name, parameter in model.named_parameters():
        spread = 0.3 if parameter.dim() > 1 else 0.5
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * spread
        if parameter.dim() == 1 and "bias" not in name:
            values = parameter.data.double() + values / 2
        parameter.data = values.half().double()


def tokenizer():
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({t: i for i, t in enumerate(VOCAB)}, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer()
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.decoder = tokenizers.decoders.WordPiece()
    made.add_special_tokens(VOCAB[:5])
    return made


def pool(rows):
    n = rows.shape[0]
    weights = torch.arange(1, n + 1, dtype=torch.float64)[:, None]
    return {"cls": rows[0], "mean": rows.mean(0), "max": rows.max(0).values, "mean_sqrt_len": rows.sum(0) / n ** 0.5,
            "weighted_mean": (rows * weights).sum(0) / weights.sum(), "last": rows[-1]}


def stored_names(weights, prefix):
    if prefix == "":  # as sentence-transformers publish: the encoder and its pooler
        return {k[len("bert."):]: v for k, v in weights.items() if k.startswith("bert.")}
    if prefix == "old":  # as the first files have it
        return {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in weights.items()}
    return weights


def write_sentence_files(folder, config, pooling, normalizes, length):
    if pooling is None:
        return
    kind = "sentence_transformers.models."
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")] + ([("2_Normalize", "Normalize")] if normalizes else [])
    keys = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "mean_sqrt_len": "mean_sqrt_len_tokens", "weighted_mean": "weightedmean_tokens", "last": "lasttoken"}
    files = {"modules.json": [{"idx": i, "name": str(i), "path": path, "type": kind + name} for i, (path, name) in enumerate(modules)],
             "1_Pooling/config.json": dict({"word_embedding_dimension": config["hidden_size"]}, **{"pooling_mode_" + key: mode == pooling for mode, key in keys.items()})}
    if length is not None:
        files["sentence_bert_config.json"] = {"max_seq_length": length, "do_lower_case": False}
    os.makedirs(os.path.join(folder, "1_Pooling"), exist_ok=True)
    for name, value in files.items():
        with open(os.path.join(folder, name), "w") as file:
            json.dump(value, file, indent=1)
            file.write("\n")


def write(out, name, row):
    config, prefix, pooling, normalizes, length = row
    model = BertForMaskedLM._from_config(BertConfig(**config), attn_implementation="eager").double().eval()
    generator = torch.Generator().manual_seed(sum(name.encode()))
    randomize(model, generator)
    model.tie_weights()
    made = tokenizer()
    encoded = [made.encode(text).ids for text in TEXTS]
    with torch.no_grad():
        rows = [model.bert(torch.tensor(ids)[None]).last_hidden_state[0] for ids in encoded]
    expected = {"ids": torch.tensor(sum(encoded, [])).int(), "lengths": torch.tensor([len(ids) for ids in encoded]).int(), "rows": torch.cat(rows).float()}
    pooled = [pool(r) for r in rows]
    for mode in pooled[0]:
        expected["pooled." + mode] = torch.stack([p[mode] for p in pooled]).float()
    embedding = torch.stack([p[pooling or "cls"] for p in pooled])
    expected["embedding"] = (torch.nn.functional.normalize(embedding, dim=1) if normalizes else embedding).float()
    weights = {k: v for k, v in model.state_dict().items() if v.is_floating_point() and k != "cls.predictions.decoder.weight"}
    if prefix == "":
        weights["bert.pooler.dense.weight"] = torch.zeros(config["hidden_size"], config["hidden_size"])
        weights["bert.pooler.dense.bias"] = torch.zeros(config["hidden_size"])
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(dict({"architectures": ["BertModel"], "model_type": "bert"}, **config), file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "texts.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(TEXTS) + "\n")
    made.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    write_sentence_files(folder, config, pooling, normalizes, length)
    save_file({k: v.half().contiguous() for k, v in stored_names(weights, prefix).items()}, os.path.join(folder, "model.safetensors"))
    save_file({k: v.contiguous() for k, v in expected.items()}, os.path.join(folder, "expected.safetensors"))


def main():
    out, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    for name in names:
        write(out, name, MODELS[name])
        print(name)


if __name__ == "__main__":
    main()
