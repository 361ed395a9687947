// handwritten_tables: what the handwritten models for the CPU (handwritten_lib.c) and for CUDA devices (tests/cuda/handwritten_cuda_lib.c) have in common,
// so that both read the same store and take the same arguments: symbols, params, arguments and results of "forward".
//
// HANDWRITTEN_OBSERVING adds arguments for maxima, HANDWRITTEN_SAMPLES a symbol for the sampler's history.
#ifndef MLCC_TESTS_UNIT_RUNTIME_HANDWRITTEN_TABLES_H
#define MLCC_TESTS_UNIT_RUNTIME_HANDWRITTEN_TABLES_H

#include "runtime/abi.h"

enum { VOCAB = 23, HEAD_DIM = 2, MAX_TOKENS = 8, MAX_SEQS = 4, MAX_LOGITS = 4 };

// ---- symbols
#ifdef HANDWRITTEN_SAMPLES
enum { N_TOKENS, N_SEQS, N_PAGES, N_PAGE_SLOTS, N_LOGITS, N_HISTORY, N_SYMBOLS };
#else
enum { N_TOKENS, N_SEQS, N_PAGES, N_PAGE_SLOTS, N_LOGITS, N_SYMBOLS };
#endif
static const mlcc_abi_symbol symbols[N_SYMBOLS] = {
    {"n_tokens", MAX_TOKENS}, {"n_seqs", MAX_SEQS},     {"n_pages", 0},
    {"n_page_slots", 0},      {"n_logits", MAX_LOGITS},
#ifdef HANDWRITTEN_SAMPLES
    {"n_history", 40},
#endif
};

// ---- params
static const mlcc_abi_piece embed_pieces[] = {
    {"embed.weight", MLCC_ABI_F32, 2, {VOCAB, VOCAB}, VOCAB *VOCAB * sizeof(float)},
};
static const mlcc_abi_piece mix_pieces[] = {
    {"mix.q_weight", MLCC_ABI_I8, 1, {VOCAB}, VOCAB},
    {"mix.q_scale", MLCC_ABI_F32, 1, {1}, sizeof(float)},
};

// mix: stored as bytes with one scale, prepared as floats.
static void prepare_mix(const void *const *pieces, void *prepared, int64_t begin, int64_t end) {
    const int8_t *q_weight = pieces[0];
    const float *q_scale = pieces[1];
    float *mix = prepared;
    for (int64_t i = begin; i < end; i++) mix[i] = (float)q_weight[i] * q_scale[0];
}

enum { EMBED, MIX, N_PARAMS };
static const mlcc_abi_param params[N_PARAMS] = {
    {.name = "embed.weight",
     .format = "f32",
     .layout = "rows",
     .n_pieces = 1,
     .pieces = embed_pieces,
     .prepared_bytes = (VOCAB * VOCAB * sizeof(float) + 63) / 64 * 64},
    {.name = "mix.weight",
     .format = "q8_f32",
     .layout = "table",
     .n_pieces = 2,
     .pieces = mix_pieces,
     .prepare = prepare_mix,
     .n_prepare_items = VOCAB,
     .prepared_bytes = (VOCAB * sizeof(float) + 63) / 64 * 64},
};

// ---- forward
#ifdef HANDWRITTEN_OBSERVING
enum { IDS, POSITIONS, SEQ_IDS, MIX_MAX, PAGE_TABLE, LOGIT_ROWS, KV_0, KV_1, EMBED_MAX, N_ARGS };
#else
enum { IDS, POSITIONS, SEQ_IDS, PAGE_TABLE, LOGIT_ROWS, KV_0, KV_1, N_ARGS };
#endif
#define KV(name) \
    {name, MLCC_ABI_F32, 5, {-1, 2, 1, MLCC_PAGE_TOKENS, HEAD_DIM}, {N_PAGES, -1, -1, -1, -1, -1}}
static const mlcc_abi_tensor forward_args[N_ARGS] = {
    {"ids", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
    {"positions", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
    {"seq_ids", MLCC_ABI_I32, 1, {-1}, {N_TOKENS}},
#ifdef HANDWRITTEN_OBSERVING
    {"mix.q_calibration_scale", MLCC_ABI_F32, 1, {1}, {-1}},
#endif
    {"page_table", MLCC_ABI_I32, 2, {-1, -1}, {N_SEQS, N_PAGE_SLOTS}},
    {"logit_rows", MLCC_ABI_I32, 1, {-1}, {N_LOGITS}},
    KV("kv.0"),
    KV("kv.1"),
#ifdef HANDWRITTEN_OBSERVING
    {"embed.q_calibration_scale", MLCC_ABI_F32, 1, {1}, {-1}},
#endif
};
static const mlcc_abi_tensor forward_results[] = {
    {"logits", MLCC_ABI_F32, 2, {-1, VOCAB}, {N_LOGITS, -1}},
};

#endif
