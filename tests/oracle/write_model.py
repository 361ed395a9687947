"""Writes a small model of an architecture with random weights as a Hugging Face folder, and the logits that Hugging Face transformers computes.

  write_model.py OUT [NAME …]        NAME: a key of MODELS below; none: all of them

OUT/NAME/config.json, model.safetensors (float16, names as on the hub), expected.safetensors: ids i32 [T], logits f32 [T, vocab].

Weights are rounded to float16 first, so that the file and the model hold the same numbers; the model then runs in float64. Types that transformers does
not have are run by one that computes the same, under other names (`like`); `rename` and `rearrange` say how its weights become the type's own.
Needs transformers, torch and safetensors; nothing of mlcc's is used.
"""
import copy
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

N_TOKENS = 21
BASE = {"vocab_size": 53, "hidden_size": 24, "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "rope_theta": 10000.0}
RMS = {"rms_norm_eps": 1e-5}
LAYER = {"layer_norm_eps": 1e-5}
GPT = {"vocab_size": 53, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64, "layer_norm_epsilon": 1e-5, "bos_token_id": 1, "eos_token_id": 2}


def base(**changes):
    return {k: v for k, v in dict(BASE, **changes).items() if v is not None}


def gpt(**changes):
    return {k: v for k, v in dict(GPT, **changes).items() if v is not None}


# ---- weights of a type from those of its like ----


def grouped(q, k, v, groups, head_dim):
    """Rows of q, k, v as groups of (heads of q, one of k, one of v)."""
    parts = [t.reshape(groups, -1, head_dim, *t.shape[1:]) for t in (q, k, v)]
    return torch.cat(parts, 1).reshape(-1, *q.shape[1:])


def joined(weights, prefix, names, target, join=lambda *t: torch.cat(t)):
    for kind in ("weight", "bias"):
        parts = [weights.pop("%s%s.%s" % (prefix, n, kind), None) for n in names]
        if parts[0] is not None:
            weights["%s%s.%s" % (prefix, target, kind)] = join(*parts)


def renamed(weights, pairs):
    out = {}
    for name, tensor in weights.items():
        for old, new in pairs:
            name = name.replace(old, new)
        out[name] = tensor
    return out


QKV = ("q_proj", "k_proj", "v_proj")


def internlm2(weights, config):
    for layer in range(config.num_hidden_layers):
        joined(weights, "model.layers.%d.self_attn." % layer, QKV, "wqkv", lambda q, k, v: grouped(q, k, v, config.num_key_value_heads, config.head_dim))
    return renamed(weights, [("self_attn.", "attention."), ("o_proj", "wo"), ("mlp.gate_proj", "feed_forward.w1"), ("mlp.up_proj", "feed_forward.w3"),
                             ("mlp.down_proj", "feed_forward.w2"), ("input_layernorm", "attention_norm"), ("post_attention_layernorm", "ffn_norm"),
                             ("embed_tokens", "tok_embeddings"), ("lm_head", "output")])


def baichuan(weights, config):
    for layer in range(config.num_hidden_layers):
        joined(weights, "model.layers.%d.self_attn." % layer, QKV, "W_pack")
    return weights


def chatglm(weights, config):
    for layer in range(config.num_hidden_layers):
        joined(weights, "model.layers.%d.self_attn." % layer, QKV, "query_key_value")
    return renamed(weights, [("model.embed_tokens", "transformer.embedding.word_embeddings"), ("model.norm", "transformer.encoder.final_layernorm"),
                             ("model.layers", "transformer.encoder.layers"), ("self_attn.", "self_attention."), ("o_proj", "dense"),
                             ("mlp.gate_up_proj", "mlp.dense_h_to_4h"), ("mlp.down_proj", "mlp.dense_4h_to_h"), ("lm_head", "transformer.output_layer")])


def as_they_are(weights, config):
    return weights


def phi_msft(weights, config):
    for layer in range(config.num_hidden_layers):
        joined(weights, "model.layers.%d.self_attn." % layer, QKV, "Wqkv")
    return renamed(weights, [("model.layers", "transformer.h"), ("self_attn.", "mixer."), ("mixer.dense", "mixer.out_proj"), ("input_layernorm", "ln"),
                             ("lm_head", "lm_head.linear"), ("model.final_layernorm", "lm_head.ln"), ("model.embed_tokens", "transformer.embd.wte")])


def gpt_neox(weights, config):
    return renamed(weights, [("lm_head", "embed_out")])


def without_prefix(weights, config):
    return renamed(weights, [("transformer.", "")])


# ---- the models: config.json, and where transformers lacks the type: the config of its like, and its weights' way into the type ----

SU = {"rope_type": "longrope", "short_factor": [1.0, 1.25, 1.5], "long_factor": [1.0, 2.5, 6.0]}
GEMMA = base(hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, head_dim=8)
CHATGLM = {"num_layers": 2, "hidden_size": 24, "kv_channels": 8, "num_attention_heads": 4, "ffn_hidden_size": 36, "layernorm_epsilon": 1e-5,
           "multi_query_attention": True, "add_bias_linear": False, "add_qkv_bias": True, "padded_vocab_size": 53, "seq_length": 64, "rmsnorm": True,
           "post_layer_norm": True, "original_rope": True, "tie_word_embeddings": False, "apply_residual_connection_post_layernorm": False}
GLM = base(rms_norm_eps=1e-5, head_dim=8, partial_rotary_factor=0.5, attention_bias=True, hidden_act="silu", tie_word_embeddings=False)
FALCON = {"vocab_size": 53, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "layer_norm_epsilon": 1e-5, "alibi": False, "parallel_attn": True,
          "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64, "rope_theta": 10000.0}

PHI3_LONG = base(**RMS, num_key_value_heads=4, hidden_size=32, partial_rotary_factor=0.75, original_max_position_embeddings=8, rope_scaling=SU, tie_word_embeddings=True)

MODELS = {
    "llama_gqa": ("llama", base(**RMS, num_key_value_heads=2, rope_scaling={"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16})),
    "llama_biases": ("llama", base(**RMS, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "llama_yarn": ("llama", base(**RMS, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "mistral_window": ("mistral", base(**RMS, num_key_value_heads=2, head_dim=8, sliding_window=7)),
    "qwen2_biases": ("qwen2", base(**RMS, num_key_value_heads=2, use_sliding_window=False, tie_word_embeddings=True)),
    "qwen3_gqa": ("qwen3", base(**RMS, num_key_value_heads=2, head_dim=10, attention_bias=False, tie_word_embeddings=True)),
    "qwen3_biases": ("qwen3", base(**RMS, num_key_value_heads=4, head_dim=8, attention_bias=True, tie_word_embeddings=False)),
    "gemma_mqa": ("gemma", dict(GEMMA, num_key_value_heads=1)),
    "gemma_biases": ("gemma", dict(GEMMA, num_key_value_heads=4, head_dim=6, attention_bias=True)),
    "gemma2_window": ("gemma2", dict(GEMMA, num_hidden_layers=3, num_key_value_heads=2, sliding_window=5, query_pre_attn_scalar=11, attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma2_plain": ("gemma2", dict(GEMMA, num_key_value_heads=4, sliding_window=40, query_pre_attn_scalar=8, attn_logit_softcapping=None, final_logit_softcapping=None)),
    "gemma3_text_layers": ("gemma3_text", dict(GEMMA, num_hidden_layers=4, num_key_value_heads=1, sliding_window=6, sliding_window_pattern=3, rope_theta=1000000.0, rope_local_base_freq=10000.0, query_pre_attn_scalar=9, intermediate_size=20)),
    "gemma3_text_scaled": ("gemma3_text", dict(GEMMA, num_key_value_heads=2, sliding_window=4, rope_theta=1000000.0, rope_local_base_freq=10000.0, query_pre_attn_scalar=8, rope_scaling={"rope_type": "linear", "factor": 8.0}, layer_types=["sliding_attention", "full_attention"])),
    "phi3_short": ("phi3", base(**RMS, num_key_value_heads=2, head_dim=None, original_max_position_embeddings=64, max_position_embeddings=64, rope_scaling=SU)),
    "phi3_long": ("phi3", PHI3_LONG, None, as_they_are),
    "phi3_window": ("phi3", base(**RMS, num_key_value_heads=4, original_max_position_embeddings=64, sliding_window=6)),
    "olmo2_gqa": ("olmo2", base(rms_norm_eps=1e-6, num_key_value_heads=2)),
    "olmo2_tied": ("olmo2", base(rms_norm_eps=1e-6, num_key_value_heads=4, tie_word_embeddings=True)),
    "olmo_gqa": ("olmo", base(num_key_value_heads=2)),
    "olmo_tied": ("olmo", base(tie_word_embeddings=True)),
    "granite_gqa": ("granite", base(**RMS, num_key_value_heads=2, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.2, logits_scaling=8.0)),
    "granite_biases": ("granite", base(**RMS, num_key_value_heads=4, embedding_multiplier=3, residual_multiplier=0.5, attention_multiplier=0.4, logits_scaling=2, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "internlm_biases": ("internlm", base(**RMS, bias=True, rope_theta=None), base(model_type="llama", **RMS, attention_bias=True), as_they_are),
    "internlm_plain": ("internlm", base(**RMS, bias=False, rope_theta=None), base(model_type="llama", **RMS), as_they_are),
    "internlm2_gqa": ("internlm2", base(**RMS, bias=False, num_key_value_heads=2), base(model_type="llama", **RMS, num_key_value_heads=2), internlm2),
    "internlm2_mha": ("internlm2", base(**RMS, bias=True, num_key_value_heads=4), base(model_type="llama", **RMS, attention_bias=True), internlm2),
    "baichuan_7b": ("baichuan", base(**RMS, rope_theta=None), base(model_type="llama", **RMS), baichuan),
    "starcoder2_gqa": ("starcoder2", base(norm_epsilon=1e-5, num_key_value_heads=2, use_bias=True, sliding_window=6)),
    "starcoder2_plain": ("starcoder2", base(norm_epsilon=1e-5, num_key_value_heads=4, use_bias=False, sliding_window=None, tie_word_embeddings=False)),
    "stablelm_gqa": ("stablelm", base(**LAYER, num_key_value_heads=2, hidden_size=32, partial_rotary_factor=0.25, use_qkv_bias=True)),
    "stablelm_parallel": ("stablelm", base(**LAYER, num_key_value_heads=4, partial_rotary_factor=0.5, hidden_size=32, use_parallel_residual=True, tie_word_embeddings=True)),
    "phi_half": ("phi", base(**LAYER, hidden_size=32, partial_rotary_factor=0.5)),
    "phi_gqa": ("phi", base(**LAYER, num_key_value_heads=2, partial_rotary_factor=0.7)),
    "phi_msft_mha": ("phi-msft", gpt(n_embd=32, rotary_dim=4, n_inner=36, n_head_kv=None, activation_function="gelu_new", tie_word_embeddings=False),
                     base(model_type="phi", **LAYER, hidden_size=32, partial_rotary_factor=0.5), phi_msft),
    "phi_msft_gqa": ("phi-msft", gpt(rotary_dim=6, n_head_kv=2, tie_word_embeddings=False),
                     base(model_type="phi", **LAYER, num_key_value_heads=2, intermediate_size=96, partial_rotary_factor=1.0), phi_msft),
    "gpt_neox_parallel": ("gpt_neox", base(**LAYER, rotary_pct=0.25, hidden_size=32, use_parallel_residual=True, tie_word_embeddings=False), None, gpt_neox),
    "gpt_neox_serial": ("gpt_neox", base(**LAYER, rotary_pct=1.0, use_parallel_residual=False, hidden_act="gelu_new", tie_word_embeddings=False), None, gpt_neox),
    "gpt2_plain": ("gpt2", gpt(activation_function="gelu_new")),
    "gpt2_hub": ("gpt2", gpt(n_inner=40, n_positions=32), None, without_prefix),
    "gpt_bigcode_mqa": ("gpt_bigcode", gpt(n_inner=40)),
    "gpt_bigcode_mha": ("gpt_bigcode", gpt(multi_query=False, activation_function="gelu")),
    "gptj_part": ("gptj", gpt(n_embd=32, rotary_dim=4, tie_word_embeddings=False)),
    "gptj_whole": ("gptj", gpt(rotary_dim=6, n_inner=40, tie_word_embeddings=False)),
    "cohere_gqa": ("cohere", base(**LAYER, num_key_value_heads=2, logit_scale=0.0625)),
    "cohere_untied": ("cohere", base(**LAYER, num_key_value_heads=4, logit_scale=0.5, attention_bias=True, tie_word_embeddings=False)),
    "nemotron_gqa": ("nemotron", base(norm_eps=1e-5, num_key_value_heads=2, head_dim=8, partial_rotary_factor=0.5, hidden_act="relu2")),
    "nemotron_biases": ("nemotron", base(norm_eps=1e-5, num_key_value_heads=4, head_dim=8, partial_rotary_factor=1.0, hidden_act="relu2", attention_bias=True, mlp_bias=True)),
    "minicpm_tied": ("minicpm", base(**RMS, scale_emb=12, scale_depth=1.4, dim_model_base=8, tie_word_embeddings=True),
                     base(model_type="granite", **RMS, embedding_multiplier=12, residual_multiplier=1.4 / math.sqrt(2), logits_scaling=3, attention_multiplier=1 / math.sqrt(6), tie_word_embeddings=True), as_they_are),
    "minicpm_gqa": ("minicpm", base(**RMS, num_key_value_heads=2, scale_emb=2, scale_depth=0.7, dim_model_base=12, tie_word_embeddings=False),
                    base(model_type="granite", **RMS, num_key_value_heads=2, embedding_multiplier=2, residual_multiplier=0.7 / math.sqrt(2), logits_scaling=2, attention_multiplier=1 / math.sqrt(6)), as_they_are),
    "orion_mha": ("orion", base(**RMS), base(model_type="stablelm", **LAYER, num_key_value_heads=4, partial_rotary_factor=1.0), as_they_are),
    "orion_gqa": ("orion", base(**RMS, num_key_value_heads=2), base(model_type="stablelm", **LAYER, num_key_value_heads=2, partial_rotary_factor=1.0), as_they_are),
    "falcon_7b": ("falcon", dict(FALCON, multi_query=True, new_decoder_architecture=False, bias=False, ffn_hidden_size=40)),
    "falcon_40b": ("falcon", dict(FALCON, num_kv_heads=2, new_decoder_architecture=True, bias=False, ffn_hidden_size=40, tie_word_embeddings=False)),
    "falcon_biases": ("falcon", dict(FALCON, multi_query=False, new_decoder_architecture=False, bias=True, ffn_hidden_size=40)),
    "chatglm_gqa": ("chatglm", dict(CHATGLM, multi_query_group_num=2), dict(GLM, model_type="glm", num_key_value_heads=2), chatglm),
    "chatglm_mha": ("chatglm", dict(CHATGLM, multi_query_attention=False, add_qkv_bias=False), dict(GLM, model_type="glm", num_key_value_heads=4, attention_bias=False), chatglm),
}


def randomize(model, generator):
    for name, parameter in model.named_parameters():
        spread = 0.3 if parameter.dim() == 2 else 0.5
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * spread
        if parameter.dim() == 1 and "bias" not in name:
            values = parameter.data.double() + values / 2
        parameter.data = values.half().double()


def with_rope_parameters(config):
    """A partial rotation in the place where today's transformers reads it; files on the hub have it at the top."""
    part = config.get("partial_rotary_factor", config.get("rotary_pct"))
    if part is not None:
        scaling = config.pop("rope_scaling", None) or {"rope_type": "default"}
        config["rope_parameters"] = dict(scaling, rope_theta=config["rope_theta"], partial_rotary_factor=part)
    return config


def write(out, name, row):
    model_type, config, like, rearrange = row if len(row) == 4 else row + (None, as_they_are)
    config = dict(model_type=model_type, **config)
    run = with_rope_parameters(copy.deepcopy(like or config))  # transformers writes into it
    parsed = AutoConfig.for_model(run.pop("model_type"), **run)
    parsed._attn_implementation = "eager"
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(parsed, attn_implementation="eager").double().eval()
    generator = torch.Generator().manual_seed(sum(name.encode()))
    randomize(model, generator)
    model.tie_weights()
    ids = torch.randint(0, 53, (N_TOKENS,), generator=generator)
    with torch.no_grad():
        logits = model(ids[None], use_cache=False).logits[0]
    if getattr(parsed, "head_dim", None) is None and hasattr(parsed, "hidden_size"):
        parsed.head_dim = parsed.hidden_size // parsed.num_attention_heads
    weights = {k: v.clone() for k, v in model.state_dict().items() if v.is_floating_point()}
    if config.get("tie_word_embeddings", parsed.tie_word_embeddings):
        weights = {k: v for k, v in weights.items() if k != "lm_head.weight"}
    weights = rearrange(weights, parsed)
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
        file.write("\n")
    save_file({k: v.half().contiguous() for k, v in weights.items()}, os.path.join(folder, "model.safetensors"))
    save_file({"ids": ids.int(), "logits": logits.float().contiguous()}, os.path.join(folder, "expected.safetensors"))


def main():
    out, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    for name in names:
        try:
            write(out, name, MODELS[name])
        except Exception as error:
            sys.exit("%s: %s: %s" % (name, type(error).__name__, error))
        print(name)


if __name__ == "__main__":
    main()
