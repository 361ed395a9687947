"""Writes a small model of an architecture with random weights as a Hugging Face folder, and the logits that Hugging Face transformers computes.

  write_model.py [--seed N] [--layers N] [--tokens N] OUT [NAME …]        NAME: a key of MODELS below; none: all of them

OUT/NAME/config.json, model.safetensors (float16, names as on the hub), expected.safetensors: ids i32 [T], logits f32 [T, vocab].

Weights are rounded to float16 first, so that the file and the model hold the same numbers; the model then runs in float64. Types that transformers does
not have are run by one that computes the same, under other names (`like`); `rename` and `rearrange` say how its weights become the type's own.
Needs transformers, torch and safetensors; nothing of mlcc's is used.
"""
import argparse
import copy
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.bloom.modeling_bloom import _get_alibi_slopes as get_alibi_slopes

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


def qwen(weights, config):
    for layer in range(config.num_hidden_layers):
        joined(weights, "model.layers.%d.self_attn." % layer, QKV, "c_attn")
    return renamed(weights, [("model.layers", "transformer.h"), ("self_attn.", "attn."), ("o_proj", "c_proj"), ("mlp.up_proj", "mlp.w1"), ("mlp.gate_proj", "mlp.w2"),
                             ("mlp.down_proj", "mlp.c_proj"), ("input_layernorm", "ln_1"), ("post_attention_layernorm", "ln_2"),
                             ("model.embed_tokens", "transformer.wte"), ("model.norm", "transformer.ln_f")])


def with_images(weights, config):
    """Beside the language model a tensor of the one that sees."""
    return dict(weights, **{"model.vision_embed_tokens.sub_GN": torch.ones(1, 1, 1, 8)})


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


def baichuan_13b(weights, config):
    return baichuan(weights, config)


def with_slopes(model):
    """A Llama that does not turn, with a mask that is BLOOM's bias by distance."""
    n_heads = model.config.num_attention_heads
    forward = model.forward

    def with_mask(ids, **kwargs):
        at = torch.arange(ids.shape[1])
        bias = get_alibi_slopes(n_heads, ids.device).double()[:, None, None] * (at[None, :] - at[:, None])
        bias = bias.masked_fill(at[None, :] > at[:, None], float("-inf"))
        return forward(ids, attention_mask=bias[None], **kwargs)

    model.model.rotary_emb.inv_freq.zero_()
    model.forward = with_mask


baichuan_13b.prepare = with_slopes


def composite(language, others, head=""):
    """A language model's weights below `language`, beside those of a model of images."""
    def rearrange(weights, config):
        out = {"%s%s" % (language, name[len("model."):]) if name.startswith("model.") else head + name: tensor for name, tensor in weights.items()}
        return {**out, **{name: torch.zeros(2, 3) for name in others}}
    return rearrange


# ---- mixtures of experts: transformers holds stacks, files on the hub mostly the matrices of each expert ----


def unstacked(weights, stacks, expert, names):
    """Stacks [E, 2F, D] of gate and up and [E, D, F] of down become matrices with names (gate, up, down) below `expert`."""
    for key in [k for k in weights if k.endswith(stacks + "gate_up_proj")]:
        layer = key[:-len(stacks + "gate_up_proj")]
        gate_up, down = weights.pop(key), weights.pop(layer + stacks + "down_proj")
        for e in range(len(down)):
            gate, up = gate_up[e].chunk(2)
            for name, tensor in zip(names, (gate, up, down[e])):
                weights["%s%s%d.%s.weight" % (layer, expert, e, name)] = tensor.clone()
    return weights


def qwen_moe(weights, config):
    return unstacked(weights, "mlp.experts.", "mlp.experts.", ("gate_proj", "up_proj", "down_proj"))


def deepseek(weights, config):
    """The shared experts of Qwen 2 with a gate that is always 1/2."""
    for name in [k for k in weights if k.endswith("shared_expert_gate.weight")]:
        del weights[name]
    for name in [k for k in weights if k.endswith("shared_expert.down_proj.weight")]:
        weights[name] = weights[name] / 2
    return renamed(qwen_moe(weights, config), [("shared_expert.", "shared_experts.")])


def open_gates(model):
    for name, parameter in model.named_parameters():
        if name.endswith("shared_expert_gate.weight"):
            parameter.data.zero_()


deepseek.prepare = open_gates


def deepseek_v3(weights, config):
    return qwen_moe(weights, config)


def move_choices(model):
    """The bias of the choice is a buffer; it is as large as the scores that it moves."""
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(torch.randn(buffer.shape, generator=torch.Generator().manual_seed(buffer.numel())).half() / 4)


deepseek_v3.prepare = move_choices


def mixtral(weights, config):
    weights = unstacked(weights, "mlp.experts.", "block_sparse_moe.experts.", ("w1", "w3", "w2"))
    return renamed(weights, [("mlp.gate.", "block_sparse_moe.gate.")])


def granitemoe(weights, config):
    return renamed(weights, [("experts.gate_up_proj", "input_linear.weight"), ("experts.down_proj", "output_linear.weight"), ("router.weight", "router.layer.weight")])


def minicpm_moe(weights, config):
    weights = unstacked(weights, "block_sparse_moe.experts.", "mlp.experts.", ("w1", "w3", "w2"))
    return renamed(weights, [("block_sparse_moe.router.weight", "mlp.gate.weight")])


FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0], dtype=torch.float64)


def stacks_of(names):
    return [name for name in names if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]


def gpt_oss_mxfp4(weights, config):
    """Stacks [E, K, N] as codes: the first power of two that turns all 32 numbers of a block into ones that FP4 has."""
    for name in stacks_of(list(weights)):
        rows = weights.pop(name).transpose(1, 2)
        blocks = rows.reshape(*rows.shape[:2], -1, 32)
        codes, scales = torch.zeros(blocks.shape, dtype=torch.uint8), torch.zeros(blocks.shape[:3], dtype=torch.uint8)
        for at in torch.cartesian_prod(*(torch.arange(n) for n in blocks.shape[:3])):
            at = tuple(at.tolist())
            for scale in range(115, 135):
                same = blocks[at][:, None] == FP4[None] * 2.0 ** (scale - 127)
                if same.any(1).all():
                    codes[at], scales[at] = same.int().argmax(1), scale
                    break
            else:
                raise ValueError("no scale for " + name)
        weights[name + "_blocks"] = codes[..., 0::2] | codes[..., 1::2] << 4
        weights[name + "_scales"] = scales
    return weights


def take_fp4_numbers(model):
    generator = torch.Generator().manual_seed(9)
    named = dict(model.named_parameters())
    for name in stacks_of(named):
        shape = named[name].transpose(1, 2).shape
        codes = torch.randint(0, 16, shape, generator=generator).reshape(*shape[:2], -1, 32)
        scales = torch.randint(122, 126, (*codes.shape[:3], 1), generator=generator)
        named[name].data = (FP4[codes] * 2.0 ** (scales - 127)).reshape(shape).transpose(1, 2).contiguous()


gpt_oss_mxfp4.prepare = take_fp4_numbers


# ---- the models: config.json, and where transformers lacks the type: the config of its like, and its weights' way into the type ----

SU = {"rope_type": "longrope", "short_factor": [1.0, 1.25, 1.5], "long_factor": [1.0, 2.5, 6.0]}
LONGROPE = {"short_factor": [1.0, 1.25, 1.5, 1.75], "long_factor": [1.0, 2.5, 6.0, 7.0]}
PHI3_V = dict(RMS, num_key_value_heads=4, hidden_size=32, original_max_position_embeddings=8, tie_word_embeddings=False)
GEMMA = base(hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, head_dim=8)
CHATGLM = {"num_layers": 2, "hidden_size": 24, "kv_channels": 8, "num_attention_heads": 4, "ffn_hidden_size": 36, "layernorm_epsilon": 1e-5,
           "multi_query_attention": True, "add_bias_linear": False, "add_qkv_bias": True, "padded_vocab_size": 53, "seq_length": 64, "rmsnorm": True,
           "post_layer_norm": True, "original_rope": True, "tie_word_embeddings": False, "apply_residual_connection_post_layernorm": False}
GLM = base(rms_norm_eps=1e-5, head_dim=8, partial_rotary_factor=0.5, attention_bias=True, hidden_act="silu", tie_word_embeddings=False)
FALCON = {"vocab_size": 53, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "layer_norm_epsilon": 1e-5, "alibi": False, "parallel_attn": True,
          "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64, "rope_theta": 10000.0}

PHI3_LONG = base(**RMS, num_key_value_heads=4, hidden_size=32, partial_rotary_factor=0.75, original_max_position_embeddings=8, rope_scaling=SU, tie_word_embeddings=True)

QWEN_MOE = base(rms_norm_eps=1e-6, hidden_act="silu", num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12, decoder_sparse_step=1, use_sliding_window=False)
DEEPSEEK = base(rms_norm_eps=1e-6, hidden_act="silu", n_routed_experts=6, num_experts_per_tok=3, moe_intermediate_size=10, n_shared_experts=2, moe_layer_freq=1, first_k_dense_replace=1,
                norm_topk_prob=False, scoring_func="softmax", attention_bias=False, tie_word_embeddings=False, num_key_value_heads=4)
DEEPSEEK_LIKE = base(model_type="qwen2_moe", rms_norm_eps=1e-6, hidden_act="silu", num_experts=6, num_experts_per_tok=3, moe_intermediate_size=10, shared_expert_intermediate_size=20,
                     qkv_bias=False, use_sliding_window=False)
YARN = {"type": "yarn", "factor": 4, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 16}
DEEPSEEK_V2 = base(**RMS, hidden_act="silu", n_routed_experts=6, num_experts_per_tok=3, moe_intermediate_size=10, n_shared_experts=2, moe_layer_freq=1, first_k_dense_replace=1, num_key_value_heads=4,
                   norm_topk_prob=False, scoring_func="softmax", topk_method="greedy", n_group=1, topk_group=1, routed_scaling_factor=1.0, kv_lora_rank=20, qk_rope_head_dim=6, qk_nope_head_dim=10,
                   v_head_dim=7, attention_bias=False, tie_word_embeddings=False)
DEEPSEEK_V3 = dict(DEEPSEEK_V2, n_routed_experts=8, n_shared_experts=1, norm_topk_prob=True, scoring_func="sigmoid", topk_method="noaux_tc", n_group=4, topk_group=2, routed_scaling_factor=2.5, q_lora_rank=14)
GPT_OSS = base(**RMS, hidden_act="silu", num_key_value_heads=2, head_dim=8, intermediate_size=20, num_local_experts=4, num_experts_per_tok=2, sliding_window=5, attention_bias=True,
               tie_word_embeddings=False, rope_theta=150000.0,
               rope_scaling={"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 16})
GROWING = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 8,
           "llama_4_scaling_beta": 0.1}
MINISTRAL3 = base(**RMS, num_key_value_heads=2, head_dim=8, rope_theta=None, rope_parameters=GROWING, tie_word_embeddings=False)
VISION = {"model_type": "clip_vision_model", "hidden_size": 8, "image_size": 14, "patch_size": 7, "num_hidden_layers": 1, "num_attention_heads": 2}
BLOOM = {"vocab_size": 53, "hidden_size": 24, "n_layer": 2, "n_head": 4, "layer_norm_epsilon": 1e-5, "seq_length": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}

MODELS = {
    "gpt_oss_stacks": ("gpt_oss", dict(GPT_OSS, num_hidden_layers=3, swiglu_limit=0.75)),
    "gpt_oss_mxfp4": ("gpt_oss", dict(GPT_OSS, hidden_size=32, intermediate_size=64, num_key_value_heads=4, num_local_experts=3, num_experts_per_tok=1, swiglu_limit=7.0,
                                      layer_types=["full_attention", "sliding_attention"], quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}),
                      dict(GPT_OSS, model_type="gpt_oss", hidden_size=32, intermediate_size=64, num_key_value_heads=4, num_local_experts=3, num_experts_per_tok=1,
                           layer_types=["full_attention", "sliding_attention"]), gpt_oss_mxfp4),
    "deepseek_v2_lite": ("deepseek_v2", dict(DEEPSEEK_V2, q_lora_rank=None, rope_scaling=dict(YARN, mscale=0.707, mscale_all_dim=0.707)), None, qwen_moe),
    "deepseek_v2_groups": ("deepseek_v2", dict(DEEPSEEK_V2, num_hidden_layers=3, q_lora_rank=12, num_experts_per_tok=2, topk_method="group_limited_greedy", n_group=3, topk_group=2, routed_scaling_factor=1.7,
                                               attention_bias=True, kv_lora_rank=32, v_head_dim=16, qk_nope_head_dim=16, qk_rope_head_dim=8), None, qwen_moe),
    "deepseek_v3_yarn": ("deepseek_v3", dict(DEEPSEEK_V3, rope_scaling=dict(YARN, mscale=1.0, mscale_all_dim=1.0)), None, deepseek_v3),
    "deepseek_v3_whole": ("deepseek_v3", dict(DEEPSEEK_V3, num_hidden_layers=3, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=None, n_group=2, topk_group=1, norm_topk_prob=False, n_shared_experts=2,
                                              kv_lora_rank=18, attention_bias=True), None, deepseek_v3),
    "mixtral_window": ("mixtral", base(**RMS, hidden_act="silu", intermediate_size=20, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, sliding_window=6, tie_word_embeddings=False), None, mixtral),
    "qwen2_moe_shared": ("qwen2_moe", dict(QWEN_MOE, num_key_value_heads=2, shared_expert_intermediate_size=20, norm_topk_prob=False, tie_word_embeddings=False), None, qwen_moe),
    "qwen2_moe_dense_between": ("qwen2_moe", dict(QWEN_MOE, num_hidden_layers=4, num_key_value_heads=4, shared_expert_intermediate_size=9, norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[1],
                                                  tie_word_embeddings=True), None, qwen_moe),
    "qwen3_moe_gqa": ("qwen3_moe", dict(QWEN_MOE, num_key_value_heads=2, head_dim=10, num_experts=7, num_experts_per_tok=3, norm_topk_prob=True, attention_bias=False, tie_word_embeddings=False), None, qwen_moe),
    "qwen3_moe_biases": ("qwen3_moe", dict(QWEN_MOE, num_hidden_layers=3, num_key_value_heads=4, head_dim=8, norm_topk_prob=False, mlp_only_layers=[0], attention_bias=True, tie_word_embeddings=True), None, qwen_moe),
    "granitemoe_gqa": ("granitemoe", base(**RMS, intermediate_size=14, num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2, embedding_multiplier=12.0, residual_multiplier=0.22, attention_multiplier=0.2,
                                          logits_scaling=6.0, tie_word_embeddings=True), None, granitemoe),
    "granitemoe_biases": ("granitemoe", base(**RMS, intermediate_size=9, num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=8, embedding_multiplier=3, residual_multiplier=0.5, attention_multiplier=0.4,
                                             logits_scaling=2, attention_bias=True, tie_word_embeddings=False), None, granitemoe),
    "deepseek_first_dense": ("deepseek", DEEPSEEK, dict(DEEPSEEK_LIKE, num_key_value_heads=4, mlp_only_layers=[0]), deepseek),
    "deepseek_every_second": ("deepseek", dict(DEEPSEEK, num_hidden_layers=4, num_key_value_heads=2, moe_layer_freq=2, norm_topk_prob=True),
                              dict(DEEPSEEK_LIKE, num_hidden_layers=4, num_key_value_heads=2, norm_topk_prob=True, mlp_only_layers=[0, 1, 3]), deepseek),
    "minicpm_experts": ("minicpm", base(**RMS, intermediate_size=14, num_key_value_heads=2, num_experts=4, num_experts_per_tok=2, scale_emb=12, scale_depth=1.4, dim_model_base=8, tie_word_embeddings=True),
                        base(model_type="granitemoe", **RMS, intermediate_size=14, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, embedding_multiplier=12, residual_multiplier=1.4 / math.sqrt(2),
                             logits_scaling=3, attention_multiplier=1 / math.sqrt(6), tie_word_embeddings=True), minicpm_moe),
    "llama_gqa": ("llama", base(**RMS, num_key_value_heads=2, rope_scaling={"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16})),
    "llama_biases": ("llama", base(**RMS, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "llama_yarn": ("llama", base(**RMS, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    "mistral_window": ("mistral", base(**RMS, num_key_value_heads=2, head_dim=8, sliding_window=7)),
    "qwen_plain": ("qwen", base(intermediate_size=72, rms_norm_eps=None, layer_norm_epsilon=1e-5, rope_theta=None, rotary_emb_base=10000, kv_channels=6, scale_attn_weights=True, no_bias=True, tie_word_embeddings=False), base(model_type="qwen2", **RMS, num_key_value_heads=4), qwen),
    "qwen_narrow": ("qwen", base(hidden_size=30, num_attention_heads=3, intermediate_size=34, layer_norm_epsilon=1e-6, rope_theta=None, rotary_emb_base=1000, kv_channels=10, scale_attn_weights=True, no_bias=True, use_dynamic_ntk=True, use_logn_attn=True, seq_length=64, tie_word_embeddings=False), base(model_type="qwen2", rms_norm_eps=1e-6, hidden_size=30, num_attention_heads=3, num_key_value_heads=3, intermediate_size=17, rope_theta=1000.0), qwen),
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
    "phi3_v_long": ("phi3_v", base(**PHI3_V, rope_scaling=dict(LONGROPE, type="su"), img_processor={"name": "clip_vision_model"}), base(model_type="phi3", **PHI3_V, rope_scaling=dict(LONGROPE, rope_type="longrope")), with_images),
    "phi3_v_plain": ("phi3_v", base(**RMS, num_key_value_heads=2, img_processor={"name": "clip_vision_model"}), base(model_type="phi3", **RMS, num_key_value_heads=2), with_images),
    "phi3_window": ("phi3", base(**RMS, num_key_value_heads=4, original_max_position_embeddings=64, sliding_window=6)),
    "olmo2_gqa": ("olmo2", base(rms_norm_eps=1e-6, num_key_value_heads=2)),
    "olmo2_tied": ("olmo2", base(rms_norm_eps=1e-6, num_key_value_heads=4, tie_word_embeddings=True)),
    "olmo_gqa": ("olmo", base(num_key_value_heads=2)),
    "olmo_tied": ("olmo", base(tie_word_embeddings=True)),
    "olmo_clipped": ("olmo", base(num_key_value_heads=2, clip_qkv=0.75, tie_word_embeddings=True)),
    "olmo_clipped_mha": ("olmo", base(clip_qkv=1.25)),
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
    "stablelm_normed": ("stablelm", base(**LAYER, num_key_value_heads=2, hidden_size=32, partial_rotary_factor=0.5, qk_layernorm=True)),
    "stablelm_normed_parallel": ("stablelm", base(**LAYER, num_attention_heads=2, num_key_value_heads=2, partial_rotary_factor=1.0, qk_layernorm=True, use_qkv_bias=True, use_parallel_residual=True)),
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
    "cohere_normed": ("cohere", base(**LAYER, num_key_value_heads=2, logit_scale=0.0625, use_qk_norm=True)),
    "cohere_normed_mha": ("cohere", base(**LAYER, num_attention_heads=3, num_key_value_heads=3, logit_scale=0.25, use_qk_norm=True, attention_bias=True, tie_word_embeddings=False)),
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
    "falcon_11b": ("falcon", dict(FALCON, num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1, bias=False, ffn_hidden_size=40, tie_word_embeddings=False)),
    "falcon_biases": ("falcon", dict(FALCON, multi_query=False, new_decoder_architecture=False, bias=True, ffn_hidden_size=40)),
    "falcon_rw": ("falcon", dict(FALCON, alibi=True, parallel_attn=False, multi_query=False, new_decoder_architecture=False, bias=True, ffn_hidden_size=40)),
    "falcon_alibi_groups": ("falcon", dict(FALCON, alibi=True, num_kv_heads=2, num_attention_heads=8, hidden_size=48, new_decoder_architecture=True, bias=False, ffn_hidden_size=40, tie_word_embeddings=False)),
    "bloom_mha": ("bloom", BLOOM),
    "bloom_untied": ("bloom", dict(BLOOM, hidden_size=30, n_head=6, n_layer=3, tie_word_embeddings=False), None, without_prefix),
    "baichuan_13b": ("baichuan", base(**RMS, rope_theta=None, max_position_embeddings=None, model_max_length=64), base(model_type="llama", **RMS), baichuan_13b),
    "baichuan_13b_odd": ("baichuan", base(**RMS, hidden_size=30, num_attention_heads=5, intermediate_size=22, rope_theta=None, max_position_embeddings=None, model_max_length=48),
                         base(model_type="llama", **RMS, hidden_size=30, num_attention_heads=5, intermediate_size=22), baichuan_13b),
    "ministral3_gqa": ("ministral3", base(**RMS, num_key_value_heads=2, head_dim=10, rope_theta=None, rope_parameters=GROWING, tie_word_embeddings=True)),
    "ministral3_window": ("ministral3", base(**RMS, num_key_value_heads=4, head_dim=6, num_hidden_layers=3, sliding_window=6, rope_theta=None, rope_parameters=dict(GROWING, llama_4_scaling_beta=0.5, mscale_all_dim=0.5), tie_word_embeddings=False)),
    "ministral3_composite": ("mistral3", dict(text_config=dict(MINISTRAL3, model_type="ministral3"), vision_config=VISION, image_token_index=10, projector_hidden_act="gelu", spatial_merge_size=2,
                                              vision_feature_layer=-1, tie_word_embeddings=False),
                             dict(MINISTRAL3, model_type="ministral3"), composite("language_model.model.", ["vision_tower.patch_conv.weight", "multi_modal_projector.linear_1.weight"], "language_model.")),
    "llava_llama": ("llava", dict(text_config=base(model_type="llama", **RMS), vision_config=VISION, image_token_index=32, vision_feature_layer=-2, vision_feature_select_strategy="default",
                                  tie_word_embeddings=False),
                    base(model_type="llama", **RMS), composite("language_model.model.", ["vision_tower.vision_model.embeddings.class_embedding", "multi_modal_projector.linear_1.bias"], "language_model.")),
    "llava_mistral": ("llava", dict(text_config=base(model_type="mistral", **RMS, num_key_value_heads=2, head_dim=8, sliding_window=7), vision_config=VISION, image_token_index=32, vocab_size=53),
                      base(model_type="mistral", **RMS, num_key_value_heads=2, head_dim=8, sliding_window=7), composite("model.language_model.", ["model.vision_tower.patch.weight", "model.image_newline"])),
    "chatglm_gqa": ("chatglm", dict(CHATGLM, multi_query_group_num=2), dict(GLM, model_type="glm", num_key_value_heads=2), chatglm),
    "chatglm_mha": ("chatglm", dict(CHATGLM, multi_query_attention=False, add_qkv_bias=False), dict(GLM, model_type="glm", num_key_value_heads=4, attention_bias=False), chatglm),
}


def randomize(model, generator):
    for name, parameter in model.named_parameters():
        spread = 0.3 if parameter.dim() > 1 else 0.5
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


LAYERS = ("num_hidden_layers", "n_layer", "num_layers")
CONTEXTS = ("max_position_embeddings", "n_positions", "model_max_length", "seq_length")


def deeper(config, n_layers):
    """The config with so many layers; lists with a word for each layer go on as they began."""
    if "text_config" in config:
        return {**config, "text_config": deeper(config["text_config"], n_layers)}
    old = next((config[key] for key in LAYERS if key in config), None)
    if not n_layers or not old:
        return config
    longer = {key: (value * n_layers)[:n_layers] for key, value in config.items() if isinstance(value, list) and len(value) == old}
    return {**config, **longer, **{key: n_layers for key in LAYERS if key in config}}


def length_within(config, n_tokens, room=4):
    """Tokens of a text that leaves room in the model's context for those that the test lets it write."""
    config = config.get("text_config", config)
    context = next((config[key] for key in CONTEXTS if key in config), None)
    return min(n_tokens, context - room) if context else n_tokens


def write(out, name, row, chosen):
    model_type, config, like, rearrange = row if len(row) == 4 else row + (None, as_they_are)
    config = dict(model_type=model_type, **deeper(config, chosen.layers))
    like = like and deeper(like, chosen.layers)
    if model_type == "minicpm":  # which divides by the root of the number of layers; its like has the quotient
        like = dict(like, residual_multiplier=config["scale_depth"] / math.sqrt(config["num_hidden_layers"]))
    run = with_rope_parameters(copy.deepcopy(like or config))  # transformers writes into it
    parsed = AutoConfig.for_model(run.pop("model_type"), **run)
    attention = "sdpa" if config.get("alibi") else "eager"  # the other one adds Falcon's slopes twice
    parsed._attn_implementation = attention
    parsed._experts_implementation = "eager"  # the others have no float64
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(parsed, attn_implementation=attention).double().eval()
    generator = torch.Generator().manual_seed(sum(name.encode()) + chosen.seed)
    randomize(model, generator)
    getattr(rearrange, "prepare", lambda model: None)(model)
    model.tie_weights()
    ids = torch.randint(0, 53, (length_within(config, chosen.tokens),), generator=generator)
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
    save_file({k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}, os.path.join(folder, "model.safetensors"))
    save_file({"ids": ids.int(), "logits": logits.float().contiguous()}, os.path.join(folder, "expected.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="other weights and tokens [%(default)s]")
    parser.add_argument("--layers", type=int, default=0, help="0 = as MODELS says [%(default)s]")
    parser.add_argument("--tokens", type=int, default=21, help="[%(default)s]")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("names", metavar="NAME", nargs="*")
    chosen = parser.parse_args()
    for name in chosen.names or MODELS:
        try:
            write(chosen.out, name, MODELS[name], chosen)
        except Exception as error:
            sys.exit("%s: %s: %s" % (name, type(error).__name__, error))
        print(name, flush=True)


if __name__ == "__main__":
    main()
