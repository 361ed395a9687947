#include "runtime/model/forward.h"

#include "runtime/base/str.h"
#include "runtime/model/library.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// clang-format off
static const char *const symbol_names[MLCC_N_SYMBOLS] = {
    [MLCC_SYMBOL_N_TOKENS]     = "n_tokens",
    [MLCC_SYMBOL_N_SEQS]       = "n_seqs",
    [MLCC_SYMBOL_N_PAGES]      = "n_pages",
    [MLCC_SYMBOL_N_PAGE_SLOTS] = "n_page_slots",
    [MLCC_SYMBOL_N_LOGITS]     = "n_logits",
    [MLCC_SYMBOL_N_HISTORY]    = "n_history",
};

static const struct {
    const char *name;
    uint32_t rank;
    mlcc_symbol_id dims[2];
    int64_t columns; // where the second is no symbol
} arg_rows[MLCC_ARG_KV] = {
    [MLCC_ARG_IDS]         = {"ids",         1, {MLCC_SYMBOL_N_TOKENS}, 0},
    [MLCC_ARG_POSITIONS]   = {"positions",   1, {MLCC_SYMBOL_N_TOKENS}, 0},
    [MLCC_ARG_SEQ_IDS]     = {"seq_ids",     1, {MLCC_SYMBOL_N_TOKENS}, 0},
    [MLCC_ARG_PAGE_TABLE]  = {"page_table",  2, {MLCC_SYMBOL_N_SEQS, MLCC_SYMBOL_N_PAGE_SLOTS}, 0},
    [MLCC_ARG_LOGIT_ROWS]  = {"logit_rows",  1, {MLCC_SYMBOL_N_LOGITS}, 0},
    [MLCC_ARG_TOKEN_TYPES] = {"token_types", 1, {MLCC_SYMBOL_N_TOKENS}, 0},
    [MLCC_ARG_SEGMENTS]    = {"segments",    2, {MLCC_SYMBOL_N_TOKENS}, 2},
};
// clang-format on

static mlcc_status *unknown(const char *what, const char *name) {
    return MLCC_ERROR(
        MISMATCH,
        "the library's function has %s '%s', which this runtime does not know: compile the "
        "model with the mlcc that belongs to this runtime",
        what, name);
}

static mlcc_status *bind_symbols(const mlcc_abi_model *abi, mlcc_arena *keep, mlcc_forward *out) {
    out->n_symbols = abi->n_symbols;
    out->symbols = MLCC_NEW_ARRAY(keep, mlcc_symbol_id, (size_t)abi->n_symbols + 1);
    for (int32_t id = 0; id < MLCC_N_SYMBOLS; id++) out->bounds[id] = INT64_MAX;
    for (uint32_t i = 0; i < abi->n_symbols; i++) {
        int32_t id = 0;
        while (id < MLCC_N_SYMBOLS && strcmp(symbol_names[id], abi->symbols[i].name) != 0) id++;
        if (id == MLCC_N_SYMBOLS) return unknown("the symbol", abi->symbols[i].name);
        out->symbols[i] = (mlcc_symbol_id)id;
        // The cache's size is the engine's choice, whatever the compiler wrote as a bound.
        bool is_free = id == MLCC_SYMBOL_N_PAGES || id == MLCC_SYMBOL_N_PAGE_SLOTS;
        if (!is_free && abi->symbols[i].bound > 0) out->bounds[id] = abi->symbols[i].bound;
    }
    return NULL;
}

static bool is_symbol(
    const mlcc_forward *forward, const mlcc_abi_tensor *tensor, uint32_t axis, mlcc_symbol_id id) {
    int32_t symbol = tensor->symbols[axis];
    return symbol >= 0 && forward->symbols[symbol] == id;
}

static bool is_kv(const char *name, int32_t *layer) {
    if (!mlcc_text_starts_with(name, "kv.") || strspn(name + 3, "0123456789") != strlen(name + 3))
        return false;
    if (strlen(name + 3) < 1 || strlen(name + 3) > 6) return false;
    *layer = (int32_t)strtol(name + 3, NULL, 10);
    return true;
}

// [n_pages, 2, n_kv_heads, page, head_dim], or [n_pages, page, width] of latents, which all heads share.
static bool has_cache_shape(const mlcc_forward *forward, const mlcc_abi_tensor *arg) {
    if (arg->rank != 3 && arg->rank != 5) return false;
    if (!is_symbol(forward, arg, 0, MLCC_SYMBOL_N_PAGES)) return false;
    for (uint32_t axis = 1; axis < arg->rank; axis++)
        if (arg->dims[axis] < 1) return false;
    return arg->dims[arg->rank - 2] == MLCC_PAGE_TOKENS && (arg->rank == 3 || arg->dims[1] == 2);
}

static mlcc_status *bind_kv(const mlcc_abi_tensor *arg, int32_t layer, mlcc_forward *out) {
    bool is_float =
        arg->dtype == MLCC_ABI_F32 || arg->dtype == MLCC_ABI_F16 || arg->dtype == MLCC_ABI_BF16;
    if (!is_float || !has_cache_shape(out, arg)) {
        return MLCC_ERROR(
            MISMATCH,
            "the library's cache input '%s' is not a float [n_pages, 2, n_kv_heads, %d, head_dim] "
            "or [n_pages, %d, width]",
            arg->name, MLCC_PAGE_TOKENS, MLCC_PAGE_TOKENS);
    }
    if (layer >= out->n_layers || out->page_bytes[layer] != 0) {
        return MLCC_ERROR(
            MISMATCH,
            "the library's cache inputs are not kv.0 … kv.%" PRId64 " once each: found '%s'",
            out->n_layers - 1, arg->name);
    }
    size_t size_bytes = mlcc_abi_dtype_bytes(arg->dtype);
    for (uint32_t axis = 1; axis < arg->rank; axis++) {
        if (!mlcc_size_mul(size_bytes, (size_t)arg->dims[axis], &size_bytes)) {
            return MLCC_ERROR(
                INVALID, "a page of the library's cache input '%s' exceeds 64 bits", arg->name);
        }
    }
    out->page_bytes[layer] = size_bytes;
    out->kv_bytes_per_token += size_bytes / MLCC_PAGE_TOKENS;
    if (layer == 0) {
        out->n_kv_heads = arg->rank == 5 ? arg->dims[2] : 1;
        out->head_dim = arg->dims[arg->rank - 1];
    }
    return NULL;
}

static bool is_observation(const char *name) {
    return mlcc_text_ends_with(name, MLCC_OBSERVATION_SUFFIX) &&
           strlen(name) > strlen(MLCC_OBSERVATION_SUFFIX);
}

static mlcc_status *bind_observation(
    const mlcc_abi_tensor *arg, mlcc_forward *out, mlcc_forward_arg *mine) {
    if (arg->dtype != MLCC_ABI_F32 || arg->rank != 1 || arg->dims[0] != 1)
        return MLCC_ERROR(MISMATCH, "the library's input '%s' is not a float32 [1]", arg->name);
    mine->id = MLCC_ARG_OBSERVATION;
    mine->index = out->n_observations;
    out->observation_names[out->n_observations++] = arg->name;
    return NULL;
}

static mlcc_status *bind_arg(
    const mlcc_abi_tensor *arg, mlcc_forward *out, mlcc_forward_arg *mine) {
    if (is_kv(arg->name, &mine->index)) {
        mine->id = MLCC_ARG_KV;
        return bind_kv(arg, mine->index, out);
    }
    if (is_observation(arg->name)) return bind_observation(arg, out, mine);
    int32_t id = 0;
    while (id < MLCC_ARG_KV && strcmp(arg_rows[id].name, arg->name) != 0) id++;
    if (id == MLCC_ARG_KV) return unknown("the input", arg->name);
    mine->id = (mlcc_arg_id)id;
    bool fits = arg->dtype == MLCC_ABI_I32 && arg->rank == arg_rows[id].rank;
    const int64_t columns = arg_rows[id].columns;
    for (uint32_t axis = 0; fits && axis < arg->rank; axis++) {
        fits = axis == 1 && columns > 0 ? arg->symbols[1] < 0 && arg->dims[1] == columns
                                        : is_symbol(out, arg, axis, arg_rows[id].dims[axis]);
    }
    if (!fits) {
        return MLCC_ERROR(
            MISMATCH, "the library's input '%s' is not an int32 [%s%s%s]", arg->name,
            symbol_names[arg_rows[id].dims[0]], arg_rows[id].rank == 2 ? ", " : "",
            arg_rows[id].rank < 2 ? ""
            : columns > 0         ? "2"
                                  : symbol_names[arg_rows[id].dims[1]]);
    }
    return NULL;
}

static mlcc_status *bind_args(mlcc_arena *keep, mlcc_forward *out) {
    const mlcc_abi_function *function = out->function;
    int32_t layer = 0;
    size_t n_observations = 0;
    bool is_present[MLCC_N_ARGS] = {false};
    for (uint32_t i = 0; i < function->n_args; i++) {
        if (is_kv(function->args[i].name, &layer)) out->n_layers++;
        if (is_observation(function->args[i].name)) n_observations++;
    }
    out->observation_names = MLCC_NEW_ARRAY(keep, const char *, n_observations + 1);
    out->args = MLCC_NEW_ARRAY(keep, mlcc_forward_arg, (size_t)function->n_args + 1);
    out->page_bytes = MLCC_NEW_ARRAY(keep, size_t, (size_t)out->n_layers + 1);
    for (uint32_t i = 0; i < function->n_args; i++) {
        MLCC_TRY(bind_arg(&function->args[i], out, &out->args[i]));
        is_present[out->args[i].id] = true;
    }
    if (!is_present[MLCC_ARG_IDS])
        return MLCC_ERROR(
            MISMATCH, "the library's function '%s' has no input 'ids'", function->name);
    return NULL;
}

static mlcc_status *bind_logits(mlcc_forward *out) {
    const mlcc_abi_tensor *logits = out->function->results;
    if (out->function->n_results != 1 || logits->dtype != MLCC_ABI_F32 || logits->rank != 2 ||
        !is_symbol(out, logits, 0, MLCC_SYMBOL_N_LOGITS) || logits->dims[1] < 1 ||
        logits->dims[1] > INT32_MAX) {
        return MLCC_ERROR(
            MISMATCH,
            "the library's function 'forward' does not return logits, float32 [n_logits, vocab]");
    }
    out->vocab = logits->dims[1];
    return NULL;
}

static mlcc_status *bind_rows(mlcc_forward *out) {
    const mlcc_abi_tensor *rows = out->function->results;
    if (out->function->n_results != 1 || rows->dtype != MLCC_ABI_F32 || rows->rank != 2 ||
        !is_symbol(out, rows, 0, MLCC_SYMBOL_N_TOKENS) || rows->dims[1] < 1 ||
        rows->dims[1] > INT32_MAX) {
        return MLCC_ERROR(
            MISMATCH,
            "the library's function 'embed' does not return a row per token, float32 [n_tokens, "
            "width]");
    }
    if (out->n_layers > 0 || out->n_observations > 0) {
        return MLCC_ERROR(
            MISMATCH, "the library's function 'embed' has caches or observations, which an encoder "
                      "has not");
    }
    out->width = rows->dims[1];
    return NULL;
}

static mlcc_status *need_bound(const mlcc_forward *forward, mlcc_symbol_id symbol) {
    if (forward->bounds[symbol] <= INT32_MAX) return NULL;
    return MLCC_ERROR(
        MISMATCH,
        "the library gives no bound for the symbol '%s': its workspace cannot have been planned",
        symbol_names[symbol]);
}

mlcc_status *mlcc_forward_bind(const mlcc_abi_model *abi, mlcc_arena *keep, mlcc_forward *out) {
    *out = (mlcc_forward){0};
    for (uint32_t i = 0; i < abi->n_functions; i++) {
        const char *name = abi->functions[i].name;
        out->is_encoder = strcmp(name, "embed") == 0;
        if (out->is_encoder || strcmp(name, "forward") == 0) out->function = &abi->functions[i];
        if (out->function != NULL) break;
    }
    if (out->function == NULL) {
        return MLCC_ERROR(
            MISMATCH, "the library has no function 'forward' or 'embed': it runs no model");
    }
    MLCC_TRY(bind_symbols(abi, keep, out));
    MLCC_TRY(bind_args(keep, out));
    MLCC_TRY(out->is_encoder ? bind_rows(out) : bind_logits(out));
    MLCC_TRY(need_bound(out, MLCC_SYMBOL_N_TOKENS));
    if (!out->is_encoder) MLCC_TRY(need_bound(out, MLCC_SYMBOL_N_LOGITS));
    // More sequences than tokens never share a call.
    if (out->bounds[MLCC_SYMBOL_N_SEQS] > out->bounds[MLCC_SYMBOL_N_TOKENS]) {
        out->bounds[MLCC_SYMBOL_N_SEQS] = out->bounds[MLCC_SYMBOL_N_TOKENS];
    }
    return NULL;
}
