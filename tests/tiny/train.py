#!/usr/bin/env python3
"""Trains the tiny model of this folder and writes it as a Hugging Face folder: a byte-level BPE tokenizer and a Llama decoder.

Needs numpy and jax (PyPI); neither is needed to build, test or use mlcc.    usage: train.py OUT_DIR [N_STEPS]
"""
import collections
import functools
import json
import os
import random
import re
import struct
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from make_text import story

VOCAB, D_MODEL, N_LAYERS, N_HEADS, N_KV_HEADS, HEAD_DIM, D_FF, CONTEXT = 512, 128, 4, 4, 2, 32, 344, 256
THETA, EPS = 10000.0, 1e-5
SPECIAL = ["<unk>", "<s>", "</s>"]
# The GPT-2 split, in the syntax of Python's re for ASCII text; tokenizer.json says ByteLevel with use_regex, which is the same pattern.
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_letters():
    """The printable letter that byte-level BPE writes for each byte."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, extra = {}, 0
    for byte in range(256):
        if byte in keep:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + extra)
            extra += 1
    return letters


LETTERS = byte_letters()


def train_bpe(texts):
    """Greedy merges by pair frequency; ties by the pair itself, so that the result is always the same."""
    words = collections.Counter()
    for text in texts:
        for piece in SPLIT.findall(text):
            words["".join(LETTERS[b] for b in piece.encode())] += 1
    vocab = SPECIAL + sorted(LETTERS.values())
    merges, splits = [], {w: list(w) for w in words}
    while len(vocab) < VOCAB:
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(splits[word], splits[word][1:]):
                pairs[pair] += count
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(best)
        vocab.append(best[0] + best[1])
        for word, parts in splits.items():
            i, joined = 0, []
            while i < len(parts):
                if tuple(parts[i:i + 2]) == best:
                    joined.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            splits[word] = joined
    return vocab, merges


def encoder(vocab, merges):
    ids, ranks = {t: i for i, t in enumerate(vocab)}, {m: i for i, m in enumerate(merges)}

    @functools.lru_cache(None)
    def encode_piece(piece):
        parts = [LETTERS[b] for b in piece.encode()]
        while len(parts) > 1:
            rank, at = min((ranks.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        return [ids[p] for p in parts]

    return lambda text: [i for piece in SPLIT.findall(text) for i in encode_piece(piece)]


def init(key):
    shapes = {"model.embed_tokens.weight": (VOCAB, D_MODEL), "model.norm.weight": (D_MODEL,)}
    for i in range(N_LAYERS):
        p = f"model.layers.{i}."
        shapes.update({
            p + "self_attn.q_proj.weight": (N_HEADS * HEAD_DIM, D_MODEL),
            p + "self_attn.k_proj.weight": (N_KV_HEADS * HEAD_DIM, D_MODEL),
            p + "self_attn.v_proj.weight": (N_KV_HEADS * HEAD_DIM, D_MODEL),
            p + "self_attn.o_proj.weight": (D_MODEL, N_HEADS * HEAD_DIM),
            p + "mlp.gate_proj.weight": (D_FF, D_MODEL),
            p + "mlp.up_proj.weight": (D_FF, D_MODEL),
            p + "mlp.down_proj.weight": (D_MODEL, D_FF),
            p + "input_layernorm.weight": (D_MODEL,),
            p + "post_attention_layernorm.weight": (D_MODEL,),
        })
    params = {}
    for name, shape in shapes.items():
        key, sub = jax.random.split(key)
        params[name] = jnp.ones(shape) if len(shape) == 1 else jax.random.normal(sub, shape) * shape[-1] ** -0.5 * 0.7
    return params


def norm(x, gain):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * gain


def rope(x):  # [batch, n_tokens, heads, head_dim]; pairs (i, i + head_dim / 2)
    frequency = THETA ** (-jnp.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angle = jnp.arange(x.shape[1])[:, None] * frequency
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def forward(params, ids):  # [batch, n_tokens] -> logits
    x = params["model.embed_tokens.weight"][ids]
    n = ids.shape[1]
    mask = jnp.where(jnp.tril(jnp.ones((n, n), bool)), 0.0, -1e9)
    for i in range(N_LAYERS):
        w = lambda name: params[f"model.layers.{i}.{name}.weight"]
        h = norm(x, w("input_layernorm"))
        q = rope((h @ w("self_attn.q_proj").T).reshape(*ids.shape, N_HEADS, HEAD_DIM))
        k = rope((h @ w("self_attn.k_proj").T).reshape(*ids.shape, N_KV_HEADS, HEAD_DIM))
        v = (h @ w("self_attn.v_proj").T).reshape(*ids.shape, N_KV_HEADS, HEAD_DIM)
        k, v = (jnp.repeat(t, N_HEADS // N_KV_HEADS, 2) for t in (k, v))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) * HEAD_DIM ** -0.5 + mask
        a = jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(scores), v).reshape(*ids.shape, -1)
        x = x + a @ w("self_attn.o_proj").T
        h = norm(x, w("post_attention_layernorm"))
        x = x + (jax.nn.silu(h @ w("mlp.gate_proj").T) * (h @ w("mlp.up_proj").T)) @ w("mlp.down_proj").T
    return norm(x, params["model.norm.weight"]) @ params["model.embed_tokens.weight"].T


def loss(params, ids):
    logits = jax.nn.log_softmax(forward(params, ids[:, :-1]))
    target = ids[:, 1:]
    nll = -jnp.take_along_axis(logits, target[..., None], -1)[..., 0]
    weight = (target != 0).astype(jnp.float32)
    return (nll * weight).sum() / weight.sum()


@jax.jit
def step(params, m, v, ids, t, rate):  # AdamW (Loshchilov and Hutter 2019)
    value, grad = jax.value_and_grad(loss)(params, ids)
    size = jnp.sqrt(sum((g * g).sum() for g in grad.values()))
    grad = {k: g * jnp.minimum(1.0, 1.0 / size) for k, g in grad.items()}
    m = {k: 0.9 * m[k] + 0.1 * g for k, g in grad.items()}
    v = {k: 0.98 * v[k] + 0.02 * g * g for k, g in grad.items()}
    def update(k):
        direction = m[k] / (1 - 0.9 ** t) / (jnp.sqrt(v[k] / (1 - 0.98 ** t)) + 1e-8)
        decay = 0.05 * params[k] if params[k].ndim > 1 else 0.0
        return params[k] - rate * (direction + decay)
    return {k: update(k) for k in params}, m, v, value


def write_safetensors(path, tensors):
    header, offset, data = {"__metadata__": {"format": "pt"}}, 0, []
    for name in sorted(tensors):
        raw = np.asarray(tensors[name], np.float16).tobytes()
        header[name] = {"dtype": "F16", "shape": list(tensors[name].shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        data.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")


def write_folder(out, params, vocab, merges):
    os.makedirs(out, exist_ok=True)
    write_safetensors(f"{out}/model.safetensors", params)
    write_json(f"{out}/config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "mlp_bias": False,
        "bos_token_id": 1, "eos_token_id": 2, "head_dim": HEAD_DIM, "hidden_act": "silu", "hidden_size": D_MODEL,
        "intermediate_size": D_FF, "max_position_embeddings": CONTEXT, "num_attention_heads": N_HEADS,
        "num_hidden_layers": N_LAYERS, "num_key_value_heads": N_KV_HEADS, "rms_norm_eps": EPS, "rope_scaling": None,
        "rope_theta": THETA, "tie_word_embeddings": True, "torch_dtype": "float16", "vocab_size": VOCAB})
    write_json(f"{out}/generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, t in enumerate(SPECIAL)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    a, b = ({"Sequence": {"id": s, "type_id": t}} for s, t in (("A", 0), ("B", 1)))
    write_json(f"{out}/tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {"type": "TemplateProcessing", "single": [bos, a], "pair": [bos, a, b],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(vocab)}, "merges": [list(m) for m in merges]}})
    write_json(f"{out}/tokenizer_config.json", {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
        "clean_up_tokenization_spaces": False, "model_max_length": CONTEXT, "tokenizer_class": "PreTrainedTokenizerFast"})


def main():
    out, n_steps = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1500
    source = random.Random(7)
    vocab, merges = train_bpe([story(source) for _ in range(4000)])
    encode = encoder(vocab, merges)
    params = init(jax.random.PRNGKey(7))
    m = {k: jnp.zeros_like(p) for k, p in params.items()}
    v = dict(m)
    batch, length, start = 24, 176, time.time()
    for t in range(1, n_steps + 1):
        ids = np.zeros((batch, length), np.int32)
        for row in ids:
            line = ([1] + encode(story(source)) + [2])[:length]
            row[:len(line)] = line
        rate = 3e-3 * min(1.0, t / 60) * (0.5 + 0.5 * np.cos(np.pi * t / n_steps)) + 2e-5
        params, m, v, value = step(params, m, v, jnp.asarray(ids), float(t), float(rate))
        if t % 50 == 0:
            print(f"step {t}: loss {float(value):.4f}, {time.time() - start:.0f} s", flush=True)
            write_folder(out, params, vocab, merges)
    write_folder(out, params, vocab, merges)


if __name__ == "__main__":
    main()
