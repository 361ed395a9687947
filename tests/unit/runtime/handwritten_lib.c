// A tiny model written by hand in the form that the code generator produces (runtime/abi.h): the
// runtime is tested without the compiler, and the contract has an example that compiles.
//
// Vocabulary V = 23, two layers, one KV head of two elements. Token `id` at position p of a
// sequence gives, for every v,
//
//   logits[v] = embed[id][v] + 3 p + mix[v] * sum over positions j = 0 … p of (j + 1) * (id_j + 1)
//   + layer 1's count of positions
//
// where the sum reads the tokens from the paged cache of layer 0 through the page table, so a wrong
// page, position, sequence or row shows. All numbers are small integers: float32 is exact and any
// order of work gives the same bits. The model refuses token V - 1 with code 7, so that tests see a
// pass fail.
//
// Compile definitions make variants that must be refused: HANDWRITTEN_VERSION,
// HANDWRITTEN_FEATURES, HANDWRITTEN_QUERY. HANDWRITTEN_OBSERVING makes one that records maxima, of
// id + 1 for module "embed" and of position + 1 for module "mix". HANDWRITTEN_SAMPLES makes one with a
// function "sample": the best token with its penalties, or, so that the random number shows, token
// random % V of rows that are not greedy. Its history has room for 40 tokens. HANDWRITTEN_LEVELS makes one with the CPU levels that the
// environment variable HANDWRITTEN_LEVELS lists, "name:features;name:features": a level "old" has another ABI version, "stranger" other params,
// "broken" no metadata, and where "late" is the first, the list of levels begins with the second.
#include "runtime/base/chance.h"
#include "tests/unit/runtime/handwritten_tables.h"

#ifdef HANDWRITTEN_LEVELS
#    include <stdio.h>
#    include <stdlib.h>
#endif
#include <string.h>

#ifndef HANDWRITTEN_VERSION
#    define HANDWRITTEN_VERSION MLCC_ABI_VERSION
#endif
#ifndef HANDWRITTEN_FEATURES
#    define HANDWRITTEN_FEATURES ""
#endif
#ifndef HANDWRITTEN_QUERY
#    define HANDWRITTEN_QUERY mlcc_model_query
#endif

enum { FAILS_ON = VOCAB - 1, FAILURE = 7, BROKEN_CONTRACT = 8 };

// Element `e` of key (0) or value (1) of a token in a cache tensor [n_pages, 2, 1,
// MLCC_PAGE_TOKENS, HEAD_DIM].
static float *cache_at(
    const mlcc_abi_call *call, int cache, int which, int32_t sequence, int32_t position, int e) {
    const int32_t *table = call->args[PAGE_TABLE]; // [n_seqs, n_page_slots]
    int64_t slot = sequence * call->dims[N_PAGE_SLOTS] + position / MLCC_PAGE_TOKENS;
    int64_t row = (int64_t)table[slot] * 2 + which;
    float *data = call->args[cache];
    return data + (row * MLCC_PAGE_TOKENS + position % MLCC_PAGE_TOKENS) * HEAD_DIM + e;
}

static void append_token(const mlcc_abi_call *call, int64_t t) {
    int32_t id = ((const int32_t *)call->args[IDS])[t];
    int32_t position = ((const int32_t *)call->args[POSITIONS])[t];
    int32_t sequence = ((const int32_t *)call->args[SEQ_IDS])[t];
    *cache_at(call, KV_0, 0, sequence, position, 0) = (float)(id + 1);
    *cache_at(call, KV_0, 1, sequence, position, 1) = (float)(position + 1);
    *cache_at(call, KV_1, 1, sequence, position, 0) = 1.0f;
    ((float *)(void *)call->workspace)[t] = 3.0f * (float)position;
}

static void compute_row(const mlcc_abi_call *call, int64_t row, int32_t thread) {
    int32_t t = ((const int32_t *)call->args[LOGIT_ROWS])[row];
    int32_t id = ((const int32_t *)call->args[IDS])[t];
    int32_t position = ((const int32_t *)call->args[POSITIONS])[t];
    int32_t sequence = ((const int32_t *)call->args[SEQ_IDS])[t];
    float sum = 0.0f, count = 0.0f;
    for (int32_t j = 0; j <= position; j++) {
        sum += *cache_at(call, KV_0, 0, sequence, j, 0) * *cache_at(call, KV_0, 1, sequence, j, 1);
        count += *cache_at(call, KV_1, 1, sequence, j, 0);
    }
    const float *embed = call->params[EMBED]; // [VOCAB, VOCAB]
    const float *mix = call->params[MIX];     // [VOCAB]
    float *out = (float *)(void *)call->scratch[thread];
    float shift = ((const float *)(void *)call->workspace)[t];
    for (int v = 0; v < VOCAB; v++) out[v] = embed[id * VOCAB + v] + shift + mix[v] * sum + count;
    memcpy((float *)call->results[0] + row * VOCAB, out, VOCAB * sizeof *out);
}

#ifdef HANDWRITTEN_OBSERVING
static void raise_to(float *maximum, float value) {
    if (value > *maximum) *maximum = value;
}

static void observe(const mlcc_abi_call *call) {
    for (int64_t t = 0; t < call->dims[N_TOKENS]; t++) {
        raise_to(call->args[EMBED_MAX], (float)(((const int32_t *)call->args[IDS])[t] + 1));
        raise_to(call->args[MIX_MAX], (float)(((const int32_t *)call->args[POSITIONS])[t] + 1));
    }
}
#endif

static int is_aligned(const void *pointer) {
    return (uintptr_t)pointer % 64 == 0;
}

// What the contract promises of every call.
static int keeps_contract(const mlcc_abi_call *call, int32_t n_threads) {
    int keeps = is_aligned(call->results[0]) && is_aligned(call->workspace);
    for (int i = 0; i < N_ARGS; i++) keeps = keeps && is_aligned(call->args[i]);
    for (int i = 0; i < N_PARAMS; i++) keeps = keeps && is_aligned(call->params[i]);
    for (int32_t i = 0; i < n_threads; i++) keeps = keeps && is_aligned(call->scratch[i]);
    for (int i = 0; i < N_SYMBOLS; i++) {
        int64_t bound = symbols[i].bound == 0 ? INT64_MAX : symbols[i].bound;
        keeps = keeps && call->dims[i] >= 1 && call->dims[i] <= bound;
    }
    return keeps;
}

static int32_t forward(const mlcc_abi_call *call, int32_t thread, int32_t n_threads) {
    if (!keeps_contract(call, n_threads)) return BROKEN_CONTRACT;
    // Every thread sees the same ids, so either all return here or none.
    for (int64_t t = 0; t < call->dims[N_TOKENS]; t++) {
        if (((const int32_t *)call->args[IDS])[t] == FAILS_ON) return FAILURE;
    }
    for (int64_t t = thread; t < call->dims[N_TOKENS]; t += n_threads) append_token(call, t);
#ifdef HANDWRITTEN_OBSERVING
    if (thread == n_threads - 1) observe(call);
#endif
    call->barrier(call->barrier_state);
    // Rows are handed out one by one.
    for (;;) {
        int64_t row = (int64_t)__atomic_fetch_add(&call->counters[0], 1, __ATOMIC_RELAXED);
        if (row >= call->dims[N_LOGITS]) break;
        compute_row(call, row, thread);
    }
    return 0;
}

// ---- sample
// ----------------------------------------------------------------------------------------
#ifdef HANDWRITTEN_SAMPLES
enum { LOGITS, SETTINGS, RANDOM, RANGES, TOKENS, SUBTRACTED, N_SAMPLE_ARGS, N_SETTINGS = 5 };
static const mlcc_abi_tensor sample_args[N_SAMPLE_ARGS] = {
    {"logits", MLCC_ABI_F32, 2, {-1, VOCAB}, {N_LOGITS, -1}},
    {"settings", MLCC_ABI_F32, 2, {-1, N_SETTINGS}, {N_LOGITS, -1}},
    {"random", MLCC_ABI_I32, 2, {-1, 2}, {N_LOGITS, -1}},
    {"ranges", MLCC_ABI_I32, 2, {-1, 2}, {N_LOGITS, -1}},
    {"tokens", MLCC_ABI_I32, 1, {-1}, {N_HISTORY}},
    {"subtracted", MLCC_ABI_F32, 1, {-1}, {N_HISTORY}},
};
static const mlcc_abi_tensor sample_results[] = {
    {"tokens", MLCC_ABI_I32, 1, {-1}, {N_LOGITS}},
};

static int32_t sample_row(const mlcc_abi_call *call, int64_t row) {
    float logits[VOCAB];
    const float *settings = (const float *)call->args[SETTINGS] + row * N_SETTINGS;
    const uint32_t *random = (const uint32_t *)call->args[RANDOM] + row * 2;
    const int32_t *range = (const int32_t *)call->args[RANGES] + row * 2;
    if (settings[0] > MLCC_CHANCE_GREEDY)
        return (int32_t)(((uint64_t)random[1] << 32 | random[0]) % VOCAB);
    memcpy(logits, (const float *)call->args[LOGITS] + row * VOCAB, sizeof logits);
    for (int32_t i = range[0]; i < range[1]; i++) {
        int32_t token = ((const int32_t *)call->args[TOKENS])[i];
        float subtracted = ((const float *)call->args[SUBTRACTED])[i];
        logits[token] = mlcc_chance_penalized(logits[token], subtracted, settings[4]);
    }
    int32_t best = 0;
    for (int32_t v = 1; v < VOCAB; v++) best = logits[v] > logits[best] ? v : best;
    return best;
}

static int32_t sample(const mlcc_abi_call *call, int32_t thread, int32_t n_threads) {
    for (int i = 0; i < N_SAMPLE_ARGS; i++)
        if ((uintptr_t)call->args[i] % 64 != 0) return BROKEN_CONTRACT;
    for (int64_t row = thread; row < call->dims[N_LOGITS]; row += n_threads)
        ((int32_t *)call->results[0])[row] = sample_row(call, row);
    return 0;
}
#endif

static const mlcc_abi_function functions[] = {
    {.name = "forward",
     .run = forward,
     .args = forward_args,
     .results = forward_results,
     .n_args = N_ARGS,
     .n_results = 1,
     .workspace_bytes = MAX_TOKENS * sizeof(float),
     .scratch_bytes = VOCAB * sizeof(float),
     .n_counters = 1},
#ifdef HANDWRITTEN_SAMPLES
    {.name = "sample",
     .run = sample,
     .args = sample_args,
     .results = sample_results,
     .n_args = HANDWRITTEN_SAMPLES,
     .n_results = 1},
#endif
};

static const mlcc_abi_model model = {
    .magic = MLCC_ABI_MAGIC,
    .version = HANDWRITTEN_VERSION,
    .struct_bytes = sizeof(mlcc_abi_model),
    .target = "handwritten",
    .cpu_features = HANDWRITTEN_FEATURES,
    .metadata =
        "{\"model_type\": \"handwritten\", \"quantization\": \"q8\", \"context_window_size\": 96}",
    .param_fingerprint = {1, 2, 3},
    .layout_fingerprint = {4, 5, 6},
    .symbols = symbols,
    .params = params,
    .functions = functions,
    .n_symbols = N_SYMBOLS,
    .n_params = N_PARAMS,
    .n_functions = sizeof functions / sizeof functions[0],
};

#ifdef HANDWRITTEN_LEVELS
enum { MAX_LEVELS = 12 };
static mlcc_abi_model levels[MAX_LEVELS];
static const mlcc_abi_model *level_list[MAX_LEVELS + 1];
static char level_text[512];

static void make_levels(void) {
    const char *text = getenv("HANDWRITTEN_LEVELS");
    char *name_state = NULL;
    int n = 0;
    snprintf(level_text, sizeof level_text, "%s", text != NULL ? text : "handwritten:");
    for (char *name = strtok_r(level_text, ";", &name_state); name != NULL && n < MAX_LEVELS;
         name = strtok_r(NULL, ";", &name_state)) {
        char *features = strchr(name, ':');
        *features++ = '\0';
        levels[n] = model;
        levels[n].target = name;
        levels[n].cpu_features = features;
        if (strcmp(name, "old") == 0) levels[n].version = 99;
        if (strcmp(name, "stranger") == 0) levels[n].param_fingerprint[0] = 9;
        if (strcmp(name, "broken") == 0) levels[n].metadata = NULL;
        level_list[n] = &levels[n];
        level_list[++n] = NULL;
    }
}

mlcc_abi_levels mlcc_model_levels;
__attribute__((visibility("default"))) const mlcc_abi_model *const *mlcc_model_levels(void) {
    return strcmp(levels[0].target, "late") == 0 ? level_list + 1 : level_list;
}
#endif

mlcc_abi_query HANDWRITTEN_QUERY;
__attribute__((visibility("default"))) const mlcc_abi_model *HANDWRITTEN_QUERY(void) {
#ifdef HANDWRITTEN_LEVELS
    make_levels();
    return &levels[0];
#else
    return &model;
#endif
}
