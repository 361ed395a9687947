// forward: what the library's function "forward" wants to be fed, understood once at open; of an encoder's library the function "embed".
//
// Inputs are known by name and may come in any order; every one of them must be known to this
// runtime:
//
//   ids         i32 [n_tokens]              token ids, sequence after sequence
//   positions   i32 [n_tokens]              place of each token in its sequence, from 0
//   seq_ids     i32 [n_tokens]              row of page_table that the token's sequence has here
//   page_table  i32 [n_seqs, n_page_slots]  pages of each sequence in order, then zeros
//   logit_rows  i32 [n_logits]              tokens (rows of this call) whose logits are wanted
//   token_types i32 [n_tokens]              kind of each token's text; 0
//   segments    i32 [n_tokens, 2]           first and one-past-last row that the token sees
//   kv.<i>      float [n_pages, 2, n_kv_heads, MLCC_PAGE_TOKENS, head_dim]
//                                           cache of layer i, keys then values; f32, f16 or bf16
//           or float [n_pages, MLCC_PAGE_TOKENS, width]
//                                           cache of latents, from which all heads make both
//   <module>.q_calibration_scale  f32 [1]   largest |x| that the module's input had so far, raised in
//                                           place (libraries that observe for `mlcc calibrate`)
//
// The only result is logits f32 [n_logits, vocab], of "embed" f32 [n_tokens, width]. All symbols of a call are ≥ 1: where no logits
// are wanted, one row is computed and dropped.
#ifndef MLCC_RUNTIME_MODEL_FORWARD_H
#define MLCC_RUNTIME_MODEL_FORWARD_H

#include "runtime/abi.h"
#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// How the names of observations end, and the records that keep the scales made from them.
#define MLCC_OBSERVATION_SUFFIX ".q_calibration_scale"

typedef enum mlcc_symbol_id {
    MLCC_SYMBOL_N_TOKENS,
    MLCC_SYMBOL_N_SEQS,
    MLCC_SYMBOL_N_PAGES,
    MLCC_SYMBOL_N_PAGE_SLOTS,
    MLCC_SYMBOL_N_LOGITS,
    MLCC_SYMBOL_N_HISTORY, // of the function "sample" (device_sampler.h)
    MLCC_N_SYMBOLS
} mlcc_symbol_id;

typedef enum mlcc_arg_id {
    MLCC_ARG_IDS,
    MLCC_ARG_POSITIONS,
    MLCC_ARG_SEQ_IDS,
    MLCC_ARG_PAGE_TABLE,
    MLCC_ARG_LOGIT_ROWS,
    MLCC_ARG_TOKEN_TYPES,
    MLCC_ARG_SEGMENTS,
    MLCC_ARG_KV,
    MLCC_ARG_OBSERVATION,
    MLCC_N_ARGS
} mlcc_arg_id;

typedef struct mlcc_forward_arg {
    mlcc_arg_id id;
    int32_t index; // of MLCC_ARG_KV: the layer; of MLCC_ARG_OBSERVATION: its number, in call order
} mlcc_forward_arg;

typedef struct mlcc_forward {
    const mlcc_abi_function *function;
    mlcc_forward_arg *args;  // [function->n_args]
    mlcc_symbol_id *symbols; // [n_symbols] of the library, in its order
    uint32_t n_symbols;
    int64_t bounds[MLCC_N_SYMBOLS];         // largest values of one call; INT64_MAX = no limit
    bool is_encoder;                        // the function is "embed"
    int64_t vocab;                          // of "embed" 0: the metadata says it
    int64_t width;                          // columns of what "embed" returns
    int64_t n_layers, n_kv_heads, head_dim; // n_kv_heads, head_dim of layer 0; of latents: 1, width
    size_t *page_bytes;                     // [n_layers]: one page of a layer's cache
    size_t kv_bytes_per_token;              // over all layers
    const char **observation_names;         // [n_observations]
    int32_t n_observations;
} mlcc_forward;

// MISMATCH names what this runtime does not know.
mlcc_status *mlcc_forward_bind(const mlcc_abi_model *abi, mlcc_arena *keep, mlcc_forward *out);

#endif
