"""Writes a small quantized checkpoint as others write it, and beside it the float model that it stands for.

  write_checkpoint.py OUT ARCHITECTURE LAYOUT [SEED]

OUT/quantized   config.json, tokenizer files, weights in the layout
OUT/float       the same model in float32, every quantized linear as (q - z) * s
OUT/ids.json    a prompt's token ids and the logits of its last token, computed here in double precision

ARCHITECTURE: llama, qwen2 (biases of q, k, v; tied), mistral (sliding window). LAYOUT: a key of LAYOUTS below. Only the standard library is used, and
nothing of mlcc's: formats, dequantization and the transformer are written a second time.
"""
import json
import math
import operator
import os
import random
import shutil
import struct
import sys

import containers
import layouts
from narrow import E4M3, f16, f32

TOKENIZER = "tests/tiny/model"
D, HEADS, KV_HEADS, HEAD_DIM, FF, LAYERS, VOCAB = 128, 4, 2, 32, 256, 2, 512
TEXT = "One day Tom saw a red kite near the river"
PROMPT = [1, 447, 288, 467, 284, 89, 261, 415, 269, 501, 384, 263, 415, 75, 303]  # by the tokenizer of TOKENIZER
WINDOW = 6

# bits, group size (-1: the row), whether zeros are free, writer, its options, quantization_config, container
AWQ = {"quant_method": "awq", "bits": 4, "zero_point": True, "modules_to_not_convert": None}
GPTQ = {"quant_method": "gptq", "damp_percent": 0.01, "true_sequential": True, "static_groups": False}
LAYOUTS = {
    "awq-gemm": (4, 64, True, layouts.awq_gemm, {}, dict(AWQ, group_size=64, version="gemm"), "safetensors"),
    "awq-gemm-row": (4, -1, True, layouts.awq_gemm, {}, dict(AWQ, group_size=-1, version="GEMM"), "sharded"),
    "awq-gemm-torch": (4, 128, True, layouts.awq_gemm, {}, dict(AWQ, group_size=128, version="gemm"), "torch"),
    "awq-gemv": (4, 64, True, layouts.awq_gemv, {"group_size": 64}, dict(AWQ, group_size=64, version="gemv"), "safetensors"),
    "awq-gemv-fast": (4, 128, True, layouts.awq_gemv_fast, {"group_size": 128}, dict(AWQ, group_size=128, version="gemv_fast"), "safetensors"),
    "llm-awq-v2": (4, 128, True, layouts.llm_awq_v2, {"group_size": 128}, None, "torch"),
    "awq-marlin": (4, 128, False, layouts.awq_marlin, {}, dict(AWQ, group_size=128, version="marlin", zero_point=False), "safetensors"),
    "gptq": (4, 32, True, layouts.gptq, {"bits": 4}, dict(GPTQ, bits=4, group_size=32, desc_act=False, sym=False), "safetensors"),
    "gptq-act-order": (4, 32, True, layouts.gptq, {"bits": 4, "act_order": True}, dict(GPTQ, bits=4, group_size=32, desc_act=True, sym=False), "safetensors"),
    "gptq-v2": (4, 128, True, layouts.gptq, {"bits": 4, "version": 2}, dict(GPTQ, bits=4, group_size=128, desc_act=False, sym=True, checkpoint_format="gptq_v2"), "safetensors"),
    "gptq-2bit": (2, 64, True, layouts.gptq, {"bits": 2}, dict(GPTQ, bits=2, group_size=64, desc_act=False, sym=False), "safetensors"),
    "gptq-3bit": (3, 64, True, layouts.gptq, {"bits": 3}, dict(GPTQ, bits=3, group_size=64, desc_act=False, sym=False), "safetensors"),
    "gptq-8bit": (8, 32, True, layouts.gptq, {"bits": 8}, dict(GPTQ, bits=8, group_size=32, desc_act=False, sym=False), "safetensors"),
    "ct-pack": (4, 32, False, layouts.compressed_tensors, {"bits": 4, "symmetric": True}, "compressed-tensors", "safetensors"),
    "ct-pack-asymmetric": (4, 128, True, layouts.compressed_tensors, {"bits": 4}, "compressed-tensors", "safetensors"),
    "ct-pack-8bit": (8, -1, False, layouts.compressed_tensors, {"bits": 8, "symmetric": True}, "compressed-tensors", "safetensors"),
    "llmc-vllm": (4, 128, False, layouts.compressed_tensors, {"bits": 4, "symmetric": True, "has_shape": False}, "llmc", "safetensors"),
    "fp8-tensor": (0, 0, False, layouts.fp8, {"kind": "tensor"}, {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}, "safetensors"),
    "fp8-static": (0, 0, False, layouts.fp8, {"kind": "tensor", "static": True}, {"quant_method": "fp8", "activation_scheme": "static", "ignored_layers": [["lm_head"]]}, "safetensors"),
    "fp8-channel": (0, 0, False, layouts.fp8, {"kind": "channel"}, "compressed-tensors-fp8", "safetensors"),
    "fp8-block": (0, 0, False, layouts.fp8, {"kind": "block"}, {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128]}, "safetensors"),
}


def compressed_config(bits, group, symmetric):
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "channel" if group == -1 else "group", "group_size": None if group == -1 else group}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": None}}
    return {"quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head"], "config_groups": groups}


def fp8_config():
    weights = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
    activations = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "token", "dynamic": True}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": activations}}
    return {"quant_method": "compressed-tensors", "format": "float-quantized", "ignore": ["re:.*lm_head"], "config_groups": groups}


def model_config(architecture):
    config = {
        "model_type": architecture, "hidden_size": D, "intermediate_size": FF, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "num_hidden_layers": LAYERS, "vocab_size": VOCAB, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "max_position_embeddings": 128,
        "hidden_act": "silu", "tie_word_embeddings": architecture == "qwen2", "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float16",
    }
    if architecture == "mistral":
        config.update(sliding_window=WINDOW, head_dim=HEAD_DIM)
    if architecture == "llama":
        config.update(head_dim=HEAD_DIM, attention_bias=False, mlp_bias=False, rope_scaling=None)
    if architecture == "qwen2":
        config.update(use_sliding_window=False, sliding_window=WINDOW, max_window_layers=LAYERS)
    return config


LINEARS = {
    "self_attn.q_proj": (HEADS * HEAD_DIM, D), "self_attn.k_proj": (KV_HEADS * HEAD_DIM, D), "self_attn.v_proj": (KV_HEADS * HEAD_DIM, D),
    "self_attn.o_proj": (D, HEADS * HEAD_DIM), "mlp.gate_proj": (FF, D), "mlp.up_proj": (FF, D), "mlp.down_proj": (D, FF),
}


def random_integer_weight(rng, n, k, bits, group, free_zeros, act_order):
    """Codes, zeros, scales, the group of every column, and the float weight."""
    size = k if group == -1 else group
    groups = k // size
    levels = 1 << bits
    q = [[rng.randrange(levels) for _ in range(k)] for _ in range(n)]
    if free_zeros:
        # GPTQ v1 stores zero - 1, so its zeros begin at 1.
        z = [[rng.randrange(1, levels) for _ in range(groups)] for _ in range(n)]
    else:
        z = [[levels // 2] * groups for _ in range(n)]
    step = 2.0 / (levels * math.sqrt(k))
    s = [[f16(step * rng.uniform(0.5, 1.5)) for _ in range(groups)] for _ in range(n)]
    group_of_column = [i // size for i in range(k)]
    if act_order:
        rng.shuffle(group_of_column)
    weight = [[layouts.exact((q[r][c] - z[r][group_of_column[c]]) * s[r][group_of_column[c]]) for c in range(k)] for r in range(n)]
    return q, z, s, group_of_column, weight


def random_fp8_weight(rng, n, k, kind):
    usable = [code for code, value in E4M3.items() if abs(value) <= 64]
    codes = [[rng.choice(usable) for _ in range(k)] for _ in range(n)]
    scale = lambda: f32(rng.uniform(0.5, 1.5) / (16 * math.sqrt(k)))
    if kind == "tensor":
        scales = scale()
        at = lambda r, c: scales
    elif kind == "channel":
        scales = [scale() for _ in range(n)]
        at = lambda r, c: scales[r]
    else:
        scales = [[scale() for _ in range((k + 127) // 128)] for _ in range((n + 127) // 128)]
        at = lambda r, c: scales[r // 128][c // 128]
    weight = [[f32(E4M3[codes[r][c]] * at(r, c)) for c in range(k)] for r in range(n)]
    return codes, scales, weight


def float_tensor(rows, dtype):
    values = rows if not isinstance(rows[0], list) else layouts.flat(rows)
    shape = [len(rows)] if not isinstance(rows[0], list) else [len(rows), len(rows[0])]
    if dtype == "F16":
        return ("F16", shape, layouts.half(values))
    return ("F32", shape, struct.pack("<%df" % len(values), *values))


def build(architecture, layout, rng):
    bits, group, free_zeros, writer, options, _, _ = LAYOUTS[layout]
    act_order = options.get("act_order", False)
    model, stored = {}, {}

    def plain(name, rows):
        model[name] = rows
        stored[name] = float_tensor(rows, "F16")

    plain("model.embed_tokens.weight", [[f16(rng.gauss(0, 0.5)) for _ in range(D)] for _ in range(VOCAB)])
    for layer in range(LAYERS):
        prefix = "model.layers.%d." % layer
        plain(prefix + "input_layernorm.weight", [f16(rng.uniform(0.5, 1.5)) for _ in range(D)])
        plain(prefix + "post_attention_layernorm.weight", [f16(rng.uniform(0.5, 1.5)) for _ in range(D)])
        for linear, (n, k) in LINEARS.items():
            name = prefix + linear
            if writer is layouts.fp8:
                codes, scales, weight = random_fp8_weight(rng, n, k, options["kind"])
                parts = writer(codes, scales, options["kind"])
                if options.get("static"):
                    parts["input_scale"] = ("F32", [1], struct.pack("<f", f32(rng.uniform(0.01, 0.02))))
            else:
                q, z, s, group_of_column, weight = random_integer_weight(rng, n, k, bits, group, free_zeros, act_order)
                parts = writer(q, z, s, group_of_column=group_of_column if act_order else None, **{o: v for o, v in options.items() if o != "act_order"})
            model[name + ".weight"] = weight
            for suffix, tensor in parts.items():
                stored[name + "." + suffix] = tensor
            if architecture == "qwen2" and linear in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
                plain(name + ".bias", [f16(rng.gauss(0, 0.3)) for _ in range(n)])
    plain("model.norm.weight", [f16(rng.uniform(0.5, 1.5)) for _ in range(D)])
    if architecture != "qwen2":
        plain("lm_head.weight", [[f16(rng.gauss(0, 0.1)) for _ in range(D)] for _ in range(VOCAB)])
    return model, stored


# ---- the transformer, in double precision ----


def dot(a, b):
    return math.fsum(map(operator.mul, a, b))


def norm(x, gain):
    scale = 1 / math.sqrt(dot(x, x) / len(x) + 1e-05)
    return [v * scale * g for v, g in zip(x, gain)]


def rotate(x, position):
    out = list(x)
    half_dim = HEAD_DIM // 2
    for first in range(0, len(x), HEAD_DIM):
        for i in range(half_dim):
            angle = position * 10000.0 ** (-2 * i / HEAD_DIM)
            a, b = x[first + i], x[first + half_dim + i]
            out[first + i] = a * math.cos(angle) - b * math.sin(angle)
            out[first + half_dim + i] = b * math.cos(angle) + a * math.sin(angle)
    return out


def logits(model, architecture, ids):
    def linear(name, x):
        bias = model.get(name + ".bias")
        y = [dot(row, x) for row in model[name + ".weight"]]
        return y if bias is None else [v + b for v, b in zip(y, bias)]

    rows = [list(model["model.embed_tokens.weight"][i]) for i in ids]
    window = WINDOW if architecture == "mistral" else len(ids)
    for layer in range(LAYERS):
        prefix = "model.layers.%d." % layer
        inputs = [norm(x, model[prefix + "input_layernorm.weight"]) for x in rows]
        q = [rotate(linear(prefix + "self_attn.q_proj", x), t) for t, x in enumerate(inputs)]
        k = [rotate(linear(prefix + "self_attn.k_proj", x), t) for t, x in enumerate(inputs)]
        v = [linear(prefix + "self_attn.v_proj", x) for x in inputs]
        for t in range(len(ids)):
            mixed = []
            for head in range(HEADS):
                mine = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
                kv = head * KV_HEADS // HEADS
                theirs = slice(kv * HEAD_DIM, (kv + 1) * HEAD_DIM)
                seen = range(max(0, t - window + 1), t + 1)
                scores = [dot(q[t][mine], k[u][theirs]) / math.sqrt(HEAD_DIM) for u in seen]
                largest = max(scores)
                weights = [math.exp(score - largest) for score in scores]
                total = math.fsum(weights)
                for i in range(HEAD_DIM):
                    mixed.append(math.fsum(w * v[u][theirs][i] for w, u in zip(weights, seen)) / total)
            rows[t] = [a + b for a, b in zip(rows[t], linear(prefix + "self_attn.o_proj", mixed))]
        for t, x in enumerate(rows):
            h = norm(x, model[prefix + "post_attention_layernorm.weight"])
            gate, up = linear(prefix + "mlp.gate_proj", h), linear(prefix + "mlp.up_proj", h)
            rows[t] = [a + b for a, b in zip(x, linear(prefix + "mlp.down_proj", [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]))]
    last = norm(rows[-1], model["model.norm.weight"])
    head = model.get("lm_head.weight", model["model.embed_tokens.weight"])
    return [dot(row, last) for row in head]


def write_folder(directory, config, tensors, container):
    os.makedirs(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(os.path.join(TOKENIZER, name), directory)
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    if container == "torch":
        containers.write_torch(os.path.join(directory, "pytorch_model.bin"), tensors)
    elif container == "sharded":
        containers.write_sharded_safetensors(directory, tensors, 3)
    else:
        containers.write_safetensors(os.path.join(directory, "model.safetensors"), tensors)


def main(out, architecture, layout, seed="1"):
    rng = random.Random("%s %s %s" % (architecture, layout, seed))
    bits, group, free_zeros, _, _, quantization, container = LAYOUTS[layout]
    model, stored = build(architecture, layout, rng)
    config = model_config(architecture)
    write_folder(os.path.join(out, "float"), config, {name: float_tensor(rows, "F32") for name, rows in model.items()}, "safetensors")
    if quantization == "compressed-tensors":
        config["quantization_config"] = compressed_config(bits, group, not free_zeros)
    elif quantization == "llmc":
        config["compression_config"] = compressed_config(bits, group, True)
    elif quantization == "compressed-tensors-fp8":
        config["quantization_config"] = fp8_config()
    elif quantization is not None:
        config["quantization_config"] = quantization
    write_folder(os.path.join(out, "quantized"), config, stored, container)
    with open(os.path.join(out, "ids.json"), "w") as file:
        json.dump({"text": TEXT, "ids": PROMPT, "logits": logits(model, architecture, PROMPT)}, file)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(__doc__ + "\nlayouts: " + " ".join(LAYOUTS))
    main(*sys.argv[1:])
