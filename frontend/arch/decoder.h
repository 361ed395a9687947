// decoder: the skeleton that all decoder-only models share. A family is a table of weights plus a few choices; the skeleton declares the params
// and builds @forward from them:
//
//   x = embedding(ids)
//   per layer:   h = rms_norm(x);  q, k, v = linear(h);  q, k = rope(q), rope(k);  cache' = kv_append(cache, k, v)
//                x = x + linear(paged_attention(q, cache'))                scale 1/sqrt(head_dim), the config's sliding window
//                h = rms_norm(x);  x = x + linear(activation(gate) * up)
//   at the end:  logits = linear(rms_norm(take_rows(x, logit_rows)), head) as f32
//
// Rows are taken before the last norm, so that a prefill norms and projects only the rows whose logits somebody reads.
// Projections stand alone; those that MLC LLM stores joined carry the joined name in `fused_name`, for the pass fuse_projections.
#ifndef MLCC_FRONTEND_ARCH_DECODER_H
#define MLCC_FRONTEND_ARCH_DECODER_H

#include "frontend/arch/experts.h"
#include "frontend/hf/model_config.h"
#include "frontend/import.h"

#define ARCH_PAGE_TOKENS 16 // tokens in one page of the KV cache; runtime/abi.h has the same number

// What a weight of one layer is for. The skeleton asks for it by role; biases may be absent.
typedef enum arch_role {
    ARCH_Q,
    ARCH_K,
    ARCH_V,
    ARCH_O,
    ARCH_Q_BIAS,
    ARCH_K_BIAS,
    ARCH_V_BIAS,
    ARCH_O_BIAS,
    ARCH_GATE,
    ARCH_UP,
    ARCH_DOWN,
    ARCH_INPUT_NORM,
    ARCH_POST_ATTENTION_NORM,
    ARCH_EXPERTS, // the place of arch_decoder.experts among the params; the row has no name
    ARCH_N_ROLES
} arch_role;

// A dimension of a weight, in terms of the config.
typedef enum arch_extent {
    ARCH_ABSENT, // second dimension of a vector
    ARCH_D_MODEL,
    ARCH_D_FF,
    ARCH_Q_WIDTH, // n_heads * head_dim
    ARCH_KV_WIDTH // n_kv_heads * head_dim
} arch_extent;

typedef struct arch_weight {
    arch_role role;
    const char
        *name; // below the layer, in MLC's file and in Hugging Face's: "self_attn.q_proj.weight"
    const char *fused_name; // "self_attn.qkv_proj.weight"; NULL = stays alone
    arch_extent rows, columns;
} arch_weight;

typedef struct arch_decoder {
    const char *embedding;  // "model.embed_tokens.weight"
    const char *layers;     // "model.layers."; the layer's number and a dot follow
    const char *final_norm; // "model.norm.weight"
    const char *
        head; // "lm_head.weight"; a tied model uses the embedding, which its file may store under this name
    const arch_weight *layer; // in the order of MLC's modules, which is the order of the params
    size_t n_layer_weights;
    const arch_experts *experts; // instead of gate, up and down; NULL: none
    ir_op activation;            // of the gate: IR_OP_SILU, …
    const char *const *
        unused; // endings of source names that nobody reads, NULL-terminated: derived tables that old files store
} arch_decoder;

// A verified-by-construction module at GRAPH level, in `keep`.
mlcc_status *arch_decoder_build(
    const arch_decoder *decoder, const hf_model_config *config, const import_options *options,
    mlcc_arena *keep, ir_module **out);

#endif
