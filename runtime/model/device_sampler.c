#include "runtime/model/device_sampler.h"

#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>

enum { N_SETTINGS = 5, N_ARGS = 6, VOCAB = -1, NO_COLUMNS = 0 };

// clang-format off
static const struct {
    const char *name;
    uint32_t dtype;
    mlcc_symbol_id rows;
    int64_t columns;
} arg_rows[N_ARGS] = {
    {"logits",     MLCC_ABI_F32, MLCC_SYMBOL_N_LOGITS,  VOCAB},
    {"settings",   MLCC_ABI_F32, MLCC_SYMBOL_N_LOGITS,  N_SETTINGS},
    {"random",     MLCC_ABI_I32, MLCC_SYMBOL_N_LOGITS,  2},
    {"ranges",     MLCC_ABI_I32, MLCC_SYMBOL_N_LOGITS,  2},
    {"tokens",     MLCC_ABI_I32, MLCC_SYMBOL_N_HISTORY, NO_COLUMNS},
    {"subtracted", MLCC_ABI_F32, MLCC_SYMBOL_N_HISTORY, NO_COLUMNS},
};
// clang-format on

int32_t mlcc_device_sampler_function(const mlcc_abi_model *abi) {
    for (uint32_t i = 0; i < abi->n_functions; i++) {
        if (strcmp(abi->functions[i].name, "sample") == 0) return (int32_t)i;
    }
    return -1;
}

static bool is_tensor(
    const mlcc_forward *forward, const mlcc_abi_tensor *tensor, uint32_t dtype, mlcc_symbol_id rows,
    int64_t columns) {
    uint32_t rank = columns == NO_COLUMNS ? 1 : 2;
    if (tensor->dtype != dtype || tensor->rank != rank || tensor->symbols[0] < 0 ||
        forward->symbols[tensor->symbols[0]] != rows) {
        return false;
    }
    return rank == 1 || tensor->dims[1] == (columns == VOCAB ? forward->vocab : columns);
}

static mlcc_status *check_function(const mlcc_abi_function *function, const mlcc_forward *forward) {
    bool fits =
        function->n_args == N_ARGS && function->n_results == 1 &&
        is_tensor(forward, &function->results[0], MLCC_ABI_I32, MLCC_SYMBOL_N_LOGITS, NO_COLUMNS);
    const char *name = "tokens";
    for (uint32_t i = 0; fits && i < N_ARGS; i++) {
        name = arg_rows[i].name;
        fits = strcmp(function->args[i].name, name) == 0 &&
               is_tensor(
                   forward, &function->args[i], arg_rows[i].dtype, arg_rows[i].rows,
                   arg_rows[i].columns);
    }
    if (fits && forward->bounds[MLCC_SYMBOL_N_HISTORY] <= INT32_MAX) return NULL;
    return MLCC_ERROR(
        MISMATCH,
        "the library's function 'sample' is not the one that this runtime knows ('%s' differs): "
        "compile the model with the mlcc that belongs to this runtime",
        name);
}

// Each list at a multiple of 64 bytes, the history last.
static mlcc_status *create_inputs(mlcc_device_sampler *out, size_t max_rows) {
    size_t max_history = (size_t)out->max_history;
    const size_t counts[] = {
        max_rows * N_SETTINGS, max_rows * 2, max_rows * 2, max_history, max_history};
    size_t at[sizeof counts / sizeof counts[0]], total = 0;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        at[i] = total;
        total += (counts[i] * 4 + 63) / 64 * 64;
    }
    MLCC_TRY(
        mlcc_device_alloc_mirror(out->device, total, "the settings of sampling", &out->inputs));
    char *host = out->inputs.host;
    out->settings = (float *)(void *)(host + at[0]);
    out->random = (int32_t *)(void *)(host + at[1]);
    out->ranges = (int32_t *)(void *)(host + at[2]);
    out->history = (int32_t *)(void *)(host + at[3]);
    out->subtracted = (float *)(void *)(host + at[4]);
    out->row_bytes = at[3];
    out->sent = calloc(1, out->row_bytes);
    if (out->sent == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a sampler cannot be had");
    return mlcc_device_alloc_mirror(
        out->device, max_rows * sizeof(int32_t), "the tokens of one pass", &out->tokens);
}

mlcc_status *mlcc_device_sampler_create(
    mlcc_device *device, const mlcc_abi_model *abi, const mlcc_forward *forward,
    mlcc_device_sampler *out) {
    *out = (mlcc_device_sampler){0};
    int32_t index = mlcc_device_sampler_function(abi);
    if (index < 0) return NULL;
    MLCC_TRY(check_function(&abi->functions[index], forward));
    out->device = device;
    out->max_history = forward->bounds[MLCC_SYMBOL_N_HISTORY];
    mlcc_status *status = create_inputs(out, (size_t)forward->bounds[MLCC_SYMBOL_N_LOGITS]);
    // The function reads no params.
    if (status == NULL) status = mlcc_runner_create(device, (uint32_t)index, NULL, &out->runner);
    if (status != NULL) mlcc_device_sampler_free(out);
    return status;
}

void mlcc_device_sampler_free(mlcc_device_sampler *sampler) {
    if (sampler->device == NULL) return;
    mlcc_runner_free(sampler->runner);
    mlcc_device_free_mirror(sampler->device, &sampler->inputs);
    mlcc_device_free_mirror(sampler->device, &sampler->tokens);
    free(sampler->sent);
    *sampler = (mlcc_device_sampler){0};
}

void mlcc_device_sampler_begin(mlcc_device_sampler *sampler) {
    sampler->n_rows = 0;
    sampler->n_history = 0;
}

void mlcc_device_sampler_add(mlcc_device_sampler *sampler, const mlcc_sampler *row) {
    static const mlcc_sampling greedy = {.top_p = 1.0f, .repetition_penalty = 1.0f};
    const mlcc_sampling *s = row == NULL ? &greedy : mlcc_sampler_get_sampling(row);
    // A greedy row draws nothing; what it brings stays the same from step to step.
    bool draws = row != NULL && !mlcc_sampler_is_greedy(row);
    uint64_t random = draws ? mlcc_sampler_next_random(row) : 0;
    int64_t n_history = row == NULL ? 0 : mlcc_sampler_n_history(row);
    // Above 2^24 a float does not hold every number, but no vocabulary is as large.
    const float settings[N_SETTINGS] = {
        s->temperature, s->top_p, (float)s->top_k, s->min_p, s->repetition_penalty};
    int64_t r = sampler->n_rows++;
    memcpy(sampler->settings + r * N_SETTINGS, settings, sizeof settings);
    const uint32_t words[2] = {(uint32_t)random, (uint32_t)(random >> 32)};
    memcpy(sampler->random + r * 2, words, sizeof words);
    if (n_history > 0) {
        mlcc_sampler_get_history(
            row, sampler->history + sampler->n_history, sampler->subtracted + sampler->n_history);
    }
    sampler->ranges[r * 2] = n_history > 0 ? (int32_t)sampler->n_history : 0;
    sampler->n_history += n_history;
    sampler->ranges[r * 2 + 1] = n_history > 0 ? (int32_t)sampler->n_history : 0;
}

static size_t offset_of(const mlcc_device_sampler *sampler, const void *array) {
    return (size_t)((const char *)array - (const char *)sampler->inputs.host);
}

static mlcc_status *push(mlcc_device_sampler *sampler) {
    const mlcc_mirror *inputs = &sampler->inputs;
    if (!sampler->is_sent || memcmp(sampler->sent, inputs->host, sampler->row_bytes) != 0) {
        sampler->is_sent = false;
        MLCC_TRY(mlcc_device_push(sampler->device, inputs, 0, sampler->row_bytes));
        memcpy(sampler->sent, inputs->host, sampler->row_bytes);
        sampler->is_sent = true;
    }
    if (sampler->n_history == 0) return NULL;
    size_t n_bytes = (size_t)sampler->n_history * 4;
    size_t tokens = offset_of(sampler, sampler->history);
    size_t subtracted = offset_of(sampler, sampler->subtracted);
    MLCC_TRY(mlcc_device_push(sampler->device, inputs, tokens, tokens + n_bytes));
    return mlcc_device_push(sampler->device, inputs, subtracted, subtracted + n_bytes);
}

mlcc_status *mlcc_device_sampler_run(
    mlcc_device_sampler *sampler, void *logits, const int64_t *dims, const int32_t **tokens) {
    MLCC_TRY(push(sampler));
    const void *const lists[] = {
        sampler->settings, sampler->random, sampler->ranges, sampler->history, sampler->subtracted};
    void *args[N_ARGS] = {logits};
    for (size_t i = 0; i + 1 < N_ARGS; i++)
        args[i + 1] = (char *)sampler->inputs.memory.address + offset_of(sampler, lists[i]);
    void *results[1] = {sampler->tokens.memory.address};
    MLCC_TRY(mlcc_runner_run(sampler->runner, args, results, dims));
    *tokens = sampler->tokens.host;
    return mlcc_device_pull(
        sampler->device, &sampler->tokens, 0, (size_t)sampler->n_rows * sizeof(int32_t));
}
