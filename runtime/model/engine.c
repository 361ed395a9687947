// The engine: sequences over one model, and the ragged step (runtime/mlcc.h).
//
// Everything a step needs is made in mlcc_engine_create. The one exception is the buffer that
// collects logits of steps that take several passes: it grows with the largest such step.
// A pass: its inputs are pushed to the device, the library's function runs there, the logits that
// somebody wants are pulled, or the tokens that the device chose from them.
#include "runtime/base/str.h"
#include "runtime/model/batch.h"
#include "runtime/model/device_sampler.h"
#include "runtime/model/engine_trace.h"
#include "runtime/model/kv_cache.h"
#include "runtime/model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mlcc_engine {
    mlcc_model *model;
    mlcc_kv_cache cache;
    mlcc_batch batch;
    int64_t context_window; // longest sequence
    int64_t step;           // number of the step that is being checked
    int64_t *last_step;     // [max_sequences]: the step in which a sequence was last named
    mlcc_block last_step_block;
    mlcc_runner *runner;
    mlcc_mirror pass_logits; // [max_rows of a pass, vocab]
    mlcc_block step_logits;  // [rows of a step with several passes, vocab]
    void **args;             // [n_args]; the inputs' addresses never change
    int64_t *dims;           // [n_symbols]
    mlcc_mirror observed;    // [n_observations, OBSERVATION_FLOATS]: what calls raise in place
    float *observations;     // [n_observations]: the same without gaps, for whoever asks
    mlcc_device_sampler sampler;
};

// A step whose tokens the device chooses: as in mlcc_engine_sample.
typedef struct token_choice {
    mlcc_sampler *const *samplers; // [n_items]; may be NULL
    int32_t *tokens;               // [n_items]
} token_choice;

// Inputs of a call lie at multiples of 64 bytes.
enum { OBSERVATION_FLOATS = 64 / sizeof(float) };

static mlcc_status *no_memory(const char *what) {
    return MLCC_ERROR(NO_MEMORY, "memory for %s cannot be had", what);
}

// Pages for max_tokens however the sequences share them, or for a full context of each.
static int64_t count_pages(
    const mlcc_engine_options *options, int64_t n_sequences, int64_t context) {
    int64_t n_pages = 0;
    if (options->max_tokens == 0) {
        if (!mlcc_i64_mul(n_sequences, mlcc_kv_pages_of(context), &n_pages)) return INT64_MAX;
        return n_pages;
    }
    // Every sequence may leave all but one token of its last page unused; with this many pages
    // max_tokens always fit.
    int64_t unused = n_sequences * (MLCC_PAGE_TOKENS - 1);
    n_pages = options->max_tokens / MLCC_PAGE_TOKENS + unused / MLCC_PAGE_TOKENS;
    return n_pages +
           (options->max_tokens % MLCC_PAGE_TOKENS + unused % MLCC_PAGE_TOKENS) / MLCC_PAGE_TOKENS;
}

static size_t logits_bytes(const mlcc_forward *forward) {
    return (size_t)forward->bounds[MLCC_SYMBOL_N_LOGITS] * (size_t)forward->vocab * sizeof(float);
}

// What a device with memory of its own must hold; the message says how many tokens would fit.
static mlcc_status *check_room(const mlcc_engine *engine, int64_t n_pages) {
    const mlcc_model *model = engine->model;
    const mlcc_forward *forward = &model->forward;
    uint64_t workspace_bytes = forward->function->workspace_bytes, free_bytes = 0;
    uint64_t page_bytes = (uint64_t)forward->kv_bytes_per_token * MLCC_PAGE_TOKENS;
    uint64_t kv_bytes = UINT64_MAX;
    if (page_bytes == 0 || (uint64_t)n_pages <= UINT64_MAX / page_bytes)
        kv_bytes = (uint64_t)n_pages * page_bytes;
    MLCC_TRY(mlcc_device_free_bytes(model->device, &free_bytes));
    uint64_t other_bytes = workspace_bytes + logits_bytes(forward), fitting = 0;
    if (free_bytes > other_bytes && page_bytes > 0)
        fitting = (free_bytes - other_bytes) / page_bytes * MLCC_PAGE_TOKENS;
    char cache[64], advice[160];
    snprintf(
        cache, sizeof cache, "KV cache of %" PRId64 " tokens",
        n_pages > INT64_MAX / MLCC_PAGE_TOKENS ? INT64_MAX : n_pages * MLCC_PAGE_TOKENS);
    snprintf(
        advice, sizeof advice,
        "a KV cache of about %" PRIu64
        " tokens fits: lower max_tokens (--context or --max-tokens of a command)",
        fitting);
    const mlcc_memory_item items[] = {
        {"weights", mlcc_weights_bytes(model->library.abi), true},
        {cache, kv_bytes, false},
        {"workspace", workspace_bytes, false},
        {"logits", logits_bytes(forward), false},
    };
    return mlcc_device_check_room(model->device, items, sizeof items / sizeof items[0], advice);
}

static mlcc_status *create_cache(mlcc_engine *engine, const mlcc_engine_options *options) {
    const mlcc_forward *forward = &engine->model->forward;
    int64_t context = engine->model->info.context_window;
    int64_t n_sequences = options->max_sequences == 0 ? 1 : options->max_sequences;
    if (n_sequences < 0 || options->max_tokens < 0) {
        return MLCC_ERROR(
            INVALID,
            "max_sequences %d and max_tokens %" PRId64 " must not be negative; 0 means the default",
            options->max_sequences, options->max_tokens);
    }
    if (context < 1 && options->max_tokens == 0) {
        return MLCC_ERROR(
            INVALID, "the model has no context window: give max_tokens, the capacity of the KV "
                     "cache in tokens");
    }
    if (context < 1) context = INT32_MAX;
    engine->context_window = context;
    int64_t n_pages = count_pages(options, n_sequences, context);
    int64_t max_slots = mlcc_kv_pages_of(context) < n_pages ? mlcc_kv_pages_of(context) : n_pages;
    MLCC_TRY(check_room(engine, n_pages));
    MLCC_TRY(mlcc_kv_cache_create(
        engine->model->device, forward->n_layers, forward->page_bytes, n_pages,
        (int32_t)n_sequences, max_slots, &engine->cache));
    return mlcc_batch_create(engine->model->device, forward, max_slots, &engine->batch);
}

static void *address_of(mlcc_engine *engine, const mlcc_forward_arg *arg) {
    const mlcc_batch *batch = &engine->batch;
    switch (arg->id) {
    case MLCC_ARG_IDS: return mlcc_batch_address(batch, batch->ids);
    case MLCC_ARG_POSITIONS: return mlcc_batch_address(batch, batch->positions);
    case MLCC_ARG_SEQ_IDS: return mlcc_batch_address(batch, batch->seq_ids);
    case MLCC_ARG_PAGE_TABLE: return mlcc_batch_address(batch, batch->page_table);
    case MLCC_ARG_LOGIT_ROWS: return mlcc_batch_address(batch, batch->logit_rows);
    case MLCC_ARG_OBSERVATION:
        return (float *)engine->observed.memory.address +
               (ptrdiff_t)arg->index * OBSERVATION_FLOATS;
    case MLCC_ARG_TOKEN_TYPES: // of encoders only
    case MLCC_ARG_SEGMENTS:
    case MLCC_ARG_KV:
    case MLCC_N_ARGS: break;
    }
    return engine->cache.tensors[arg->index].address;
}

static mlcc_status *create_call_memory(mlcc_engine *engine) {
    const mlcc_model *model = engine->model;
    const mlcc_forward *forward = &model->forward;
    const mlcc_abi_function *function = forward->function;
    uint32_t index = (uint32_t)(function - model->library.abi->functions);
    MLCC_TRY(mlcc_runner_create(model->device, index, model->weights.params, &engine->runner));
    MLCC_TRY(
        mlcc_device_sampler_create(model->device, model->library.abi, forward, &engine->sampler));
    MLCC_TRY(mlcc_device_alloc_mirror(
        model->device, logits_bytes(forward), "the logits of one pass", &engine->pass_logits));
    MLCC_TRY(mlcc_block_alloc(
        (size_t)engine->cache.max_sequences * sizeof(int64_t), "the list of sequences",
        &engine->last_step_block));
    engine->last_step = engine->last_step_block.data;
    MLCC_TRY(mlcc_device_alloc_mirror(
        model->device, (size_t)forward->n_observations * OBSERVATION_FLOATS * sizeof(float),
        "the observations", &engine->observed));
    engine->observations =
        calloc((size_t)forward->n_observations + 1, sizeof *engine->observations);
    engine->args = calloc((size_t)function->n_args + 1, sizeof *engine->args);
    engine->dims = calloc((size_t)forward->n_symbols + 1, sizeof *engine->dims);
    if (engine->args == NULL || engine->dims == NULL || engine->observations == NULL)
        return no_memory("the call tables");
    for (uint32_t i = 0; i < function->n_args; i++)
        engine->args[i] = address_of(engine, &forward->args[i]);
    return NULL;
}

// Room for the logits of a step with several passes; what the block held before is lost.
static mlcc_status *reserve_step_logits(mlcc_engine *engine, int64_t n_rows) {
    size_t size_bytes = 0;
    if (!mlcc_size_mul(
            (size_t)n_rows, (size_t)engine->model->forward.vocab * sizeof(float), &size_bytes)) {
        return no_memory("the logits of one step (the size exceeds 64 bits)");
    }
    if (size_bytes <= engine->step_logits.size_bytes) return NULL;
    mlcc_block_free(&engine->step_logits);
    return mlcc_block_alloc(size_bytes, "the logits of one step", &engine->step_logits);
}

// A decode step of all sequences never allocates, even where it takes several passes.
static mlcc_status *reserve_decode_logits(mlcc_engine *engine) {
    int64_t n_sequences = engine->cache.max_sequences;
    bool is_single = n_sequences <= engine->batch.max_seqs && n_sequences <= engine->batch.max_rows;
    return is_single ? NULL : reserve_step_logits(engine, n_sequences);
}

mlcc_status *mlcc_engine_create(
    mlcc_model *model, const mlcc_engine_options *options, mlcc_engine **out) {
    static const mlcc_engine_options defaults = {0};
    *out = NULL;
    if (model->forward.is_encoder)
        return MLCC_ERROR(
            UNSUPPORTED,
            "the model is an encoder (model_type '%s'): it turns text into vectors and writes "
            "none; use mlcc embed, or mlcc_encoder_create",
            model->info.model_type);
    mlcc_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL) return no_memory("an engine");
    engine->model = model;
    mlcc_status *status = create_cache(engine, options == NULL ? &defaults : options);
    if (status == NULL) status = create_call_memory(engine);
    if (status == NULL) status = reserve_decode_logits(engine);
    if (status != NULL) {
        mlcc_engine_free(engine);
        return mlcc_status_note(status, "creating an engine");
    }
    *out = engine;
    return NULL;
}

void mlcc_engine_free(mlcc_engine *engine) {
    if (engine == NULL) return;
    mlcc_device *device = engine->model->device;
    mlcc_runner_free(engine->runner);
    mlcc_device_sampler_free(&engine->sampler);
    mlcc_kv_cache_free(&engine->cache);
    mlcc_batch_free(&engine->batch);
    mlcc_device_free_mirror(device, &engine->pass_logits);
    mlcc_device_free_mirror(device, &engine->observed);
    mlcc_block_free(&engine->last_step_block);
    mlcc_block_free(&engine->step_logits);
    free(engine->args);
    free(engine->dims);
    free(engine->observations);
    free(engine);
}

mlcc_status *mlcc_engine_add_sequence(mlcc_engine *engine, int32_t *sequence) {
    *sequence = mlcc_kv_cache_add(&engine->cache);
    if (*sequence >= 0) return NULL;
    return MLCC_ERROR(
        INVALID,
        "all %d sequences of the engine are in use: remove one or create the engine with more "
        "max_sequences",
        engine->cache.max_sequences);
}

void mlcc_engine_remove_sequence(mlcc_engine *engine, int32_t sequence) {
    if (mlcc_kv_cache_is_live(&engine->cache, sequence))
        mlcc_kv_cache_remove(&engine->cache, sequence);
}

int64_t mlcc_engine_sequence_length(const mlcc_engine *engine, int32_t sequence) {
    return mlcc_kv_cache_is_live(&engine->cache, sequence) ? engine->cache.lengths[sequence] : -1;
}

static mlcc_status *check_live(const mlcc_engine *engine, int32_t sequence) {
    if (mlcc_kv_cache_is_live(&engine->cache, sequence)) return NULL;
    return MLCC_ERROR(
        INVALID, "there is no sequence %d: it was never added, or it was removed", sequence);
}

mlcc_status *mlcc_engine_truncate(mlcc_engine *engine, int32_t sequence, int64_t n_tokens) {
    MLCC_TRY(check_live(engine, sequence));
    int64_t length = engine->cache.lengths[sequence];
    if (n_tokens < 0 || n_tokens > length) {
        return MLCC_ERROR(
            INVALID,
            "sequence %d cannot be truncated to %" PRId64 " tokens; accepted are 0 … %" PRId64
            ", its length",
            sequence, n_tokens, length);
    }
    mlcc_kv_cache_truncate(&engine->cache, sequence, n_tokens);
    return NULL;
}

static mlcc_status *check_item(mlcc_engine *engine, const mlcc_batch_item *item) {
    MLCC_TRY(check_live(engine, item->sequence));
    if (engine->last_step[item->sequence] == engine->step) {
        return MLCC_ERROR(
            INVALID, "sequence %d appears twice in one step: join its tokens", item->sequence);
    }
    engine->last_step[item->sequence] = engine->step;
    if (item->tokens == NULL || item->n_tokens < 1) {
        return MLCC_ERROR(
            INVALID, "sequence %d brings no tokens; at least 1 is needed", item->sequence);
    }
    if (item->logits != MLCC_LOGITS_NONE && item->logits != MLCC_LOGITS_LAST &&
        item->logits != MLCC_LOGITS_ALL) {
        return MLCC_ERROR(
            INVALID, "sequence %d asks for logits %d; accepted are none, last and all",
            item->sequence, (int)item->logits);
    }
    int64_t length = engine->cache.lengths[item->sequence];
    if (item->n_tokens > engine->context_window - length) {
        return MLCC_ERROR(
            INVALID,
            "sequence %d has %" PRId64 " tokens and brings %" PRId64
            ", the context window is %" PRId64
            " tokens: shorten it, or raise 'context_window_size' in mlc-chat-config.json",
            item->sequence, length, item->n_tokens, engine->context_window);
    }
    int64_t vocab = engine->model->forward.vocab;
    for (int64_t i = 0; i < item->n_tokens; i++) {
        if (item->tokens[i] >= 0 && item->tokens[i] < vocab) continue;
        return MLCC_ERROR(
            INVALID, "token %" PRId64 " of sequence %d is %d; accepted are 0 … %" PRId64, i,
            item->sequence, item->tokens[i], vocab - 1);
    }
    return NULL;
}

static mlcc_status *check_step(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, int64_t *n_rows) {
    if (items == NULL || n_items < 1) return MLCC_ERROR(INVALID, "a step needs at least one item");
    engine->step++;
    int64_t n_pages = 0;
    for (int32_t i = 0; i < n_items; i++) {
        MLCC_TRY(check_item(engine, &items[i]));
        n_pages += mlcc_kv_cache_missing(&engine->cache, items[i].sequence, items[i].n_tokens);
        *n_rows += mlcc_batch_rows_of(&items[i]);
    }
    if (n_pages > engine->cache.n_free) {
        return MLCC_ERROR(
            NO_MEMORY,
            "the KV cache is full: the step needs %" PRId64 " pages of %d tokens, %" PRId64
            " of %" PRId64 " are free; remove a sequence or create the engine with more max_tokens",
            n_pages, MLCC_PAGE_TOKENS, engine->cache.n_free, engine->cache.n_pages);
    }
    return NULL;
}

// The values of the library's symbols in the pass at hand. The history has always the size of its
// memory: a device keeps the launches of calls with equal dimensions.
static const int64_t *pass_dims(mlcc_engine *engine) {
    const mlcc_forward *forward = &engine->model->forward;
    const mlcc_batch *batch = &engine->batch;
    const int64_t values[MLCC_N_SYMBOLS] = {
        [MLCC_SYMBOL_N_TOKENS] = batch->n_tokens,
        [MLCC_SYMBOL_N_SEQS] = batch->n_seqs,
        [MLCC_SYMBOL_N_PAGES] = engine->cache.n_pages,
        [MLCC_SYMBOL_N_PAGE_SLOTS] = batch->n_page_slots,
        [MLCC_SYMBOL_N_LOGITS] = batch->n_rows == 0 ? 1 : batch->n_rows,
        [MLCC_SYMBOL_N_HISTORY] = forward->bounds[MLCC_SYMBOL_N_HISTORY],
    };
    for (uint32_t i = 0; i < forward->n_symbols; i++) engine->dims[i] = values[forward->symbols[i]];
    return engine->dims;
}

// The device chooses a token for every row of the pass, whose logits lie in its memory.
static mlcc_status *choose_tokens(mlcc_engine *engine, void *logits, const token_choice *choice) {
    const mlcc_batch *batch = &engine->batch;
    mlcc_device_sampler *sampler = &engine->sampler;
    const int32_t *tokens = NULL;
    if (batch->n_rows == 0) return mlcc_device_synchronize(engine->model->device);
    mlcc_device_sampler_begin(sampler);
    for (int64_t s = 0; s < batch->n_seqs; s++) {
        const mlcc_batch_slice *slice = &batch->slices[s];
        if (slice->n_rows == 0) continue;
        mlcc_device_sampler_add(
            sampler, choice->samplers == NULL ? NULL : choice->samplers[slice->item]);
    }
    MLCC_TRY(mlcc_device_sampler_run(sampler, logits, engine->dims, &tokens));
    for (int64_t s = 0; s < batch->n_seqs; s++) {
        if (batch->slices[s].n_rows > 0) choice->tokens[batch->slices[s].item] = *tokens++;
    }
    return NULL;
}

// The logits of a pass go to `logits` in the device's memory. They are there when it returns; on a
// device with memory of its own they are in pass_logits.host then, unless the device has chosen.
static mlcc_status *run_pass(mlcc_engine *engine, void *logits, const token_choice *choice) {
    mlcc_device *device = engine->model->device;
    const mlcc_forward *forward = &engine->model->forward;
    const mlcc_batch *batch = &engine->batch;
    MLCC_TRY(mlcc_batch_push(batch));
    void *results[1] = {logits};
    MLCC_TRY(mlcc_runner_run(engine->runner, engine->args, results, pass_dims(engine)));
    if (choice != NULL) return choose_tokens(engine, logits, choice);
    size_t wanted_bytes = (size_t)batch->n_rows * (size_t)forward->vocab * sizeof(float);
    return mlcc_device_pull(device, &engine->pass_logits, 0, wanted_bytes);
}

// Runs every pass of a step. With several passes the rows are collected behind each other in
// step_logits: directly where device memory is host memory and the place is aligned as generated code
// expects, else by way of pass_logits.
static mlcc_status *run_passes(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, bool is_single,
    const token_choice *choice) {
    mlcc_batch *batch = &engine->batch;
    const bool is_host = mlcc_device_get_info(engine->model->device)->is_host;
    float *next = engine->step_logits.data;
    size_t row_floats = (size_t)engine->model->forward.vocab;
    mlcc_batch_rewind(batch);
    while (mlcc_batch_next(batch, items, n_items, &engine->cache)) {
        bool is_kept = !is_single && batch->n_rows > 0 && choice == NULL;
        bool is_direct = is_host && is_kept && (uintptr_t)next % 64 == 0;
        MLCC_TRY(run_pass(engine, is_direct ? next : engine->pass_logits.memory.address, choice));
        if (!is_kept) continue;
        size_t n_floats = (size_t)batch->n_rows * row_floats;
        if (!is_direct) memcpy(next, engine->pass_logits.host, n_floats * sizeof(float));
        next += n_floats;
    }
    size_t observed_bytes = engine->observed.memory.size_bytes;
    if (observed_bytes == 0) return NULL;
    return mlcc_device_pull(engine->model->device, &engine->observed, 0, observed_bytes);
}

// `choice` NULL: the logits come to the host, where *logits tells.
static mlcc_status *run_step(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, const token_choice *choice,
    const float **logits, int64_t *n_rows) {
    int64_t rows = 0;
    MLCC_TRY(check_step(engine, items, n_items, &rows));
    bool is_single = mlcc_batch_is_single(&engine->batch, items, n_items);
    if (!is_single && choice == NULL) MLCC_TRY(reserve_step_logits(engine, rows));
    for (int32_t i = 0; i < n_items; i++) {
        mlcc_kv_cache_grow(&engine->cache, items[i].sequence, items[i].n_tokens);
    }
    mlcc_status *status = run_passes(engine, items, n_items, is_single, choice);
    if (status != NULL) {
        for (int32_t i = n_items; i > 0; i--) {
            const mlcc_batch_item *item = &items[i - 1];
            int64_t length = engine->cache.lengths[item->sequence];
            mlcc_kv_cache_truncate(&engine->cache, item->sequence, length - item->n_tokens);
        }
        return status;
    }
    if (rows > 0) *logits = is_single ? engine->pass_logits.host : engine->step_logits.data;
    *n_rows = rows;
    return NULL;
}

mlcc_status *mlcc_engine_step(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, const float **logits,
    int64_t *n_rows) {
    const float *unwanted_logits;
    int64_t unwanted_rows;
    if (logits == NULL) logits = &unwanted_logits;
    if (n_rows == NULL) n_rows = &unwanted_rows;
    *logits = NULL;
    *n_rows = 0;
    return run_step(engine, items, n_items, NULL, logits, n_rows);
}

// ---- sampling

static mlcc_sampler *sampler_of(const token_choice *choice, int32_t item) {
    return choice->samplers == NULL ? NULL : choice->samplers[item];
}

// Also counts the history of all rows together.
static mlcc_status *check_choice(
    const mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items,
    const token_choice *choice, int64_t *n_history) {
    int64_t vocab = engine->model->forward.vocab;
    for (int32_t i = 0; i < n_items; i++) {
        const mlcc_sampler *sampler = sampler_of(choice, i);
        if (items[i].logits == MLCC_LOGITS_ALL) {
            return MLCC_ERROR(
                INVALID, "sequence %d asks for all logits, but a step that samples brings none",
                items[i].sequence);
        }
        if (sampler == NULL) continue;
        if (mlcc_sampler_vocab(sampler) != vocab) {
            return MLCC_ERROR(
                INVALID,
                "the sampler of sequence %d is for %" PRId64 " tokens, the model has %" PRId64,
                items[i].sequence, mlcc_sampler_vocab(sampler), vocab);
        }
        *n_history += mlcc_sampler_n_history(sampler);
    }
    bool is_twice = false;
    for (int32_t i = 0; choice->samplers != NULL && i < n_items; i++) {
        mlcc_sampler *sampler = choice->samplers[i];
        if (sampler != NULL && mlcc_sampler_set_in_step(sampler, true)) is_twice = true;
    }
    for (int32_t i = 0; choice->samplers != NULL && i < n_items; i++) {
        if (choice->samplers[i] != NULL) (void)mlcc_sampler_set_in_step(choice->samplers[i], false);
    }
    if (!is_twice) return NULL;
    return MLCC_ERROR(INVALID, "a sampler stands twice in one step; each sequence needs its own");
}

static mlcc_status *sample_on_device(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items,
    const token_choice *choice) {
    const float *logits = NULL;
    int64_t n_rows = 0;
    MLCC_TRY(run_step(engine, items, n_items, choice, &logits, &n_rows));
    for (int32_t i = 0; i < n_items; i++) {
        mlcc_sampler *sampler = sampler_of(choice, i);
        if (sampler != NULL && items[i].logits == MLCC_LOGITS_LAST)
            mlcc_sampler_accept(sampler, choice->tokens[i]);
    }
    return NULL;
}

static mlcc_status *sample_on_host(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items,
    const token_choice *choice) {
    const float *logits = NULL;
    int64_t n_rows = 0, vocab = engine->model->forward.vocab;
    MLCC_TRY(run_step(engine, items, n_items, NULL, &logits, &n_rows));
    for (int32_t i = 0; i < n_items; i++) {
        mlcc_sampler *sampler = sampler_of(choice, i);
        if (items[i].logits == MLCC_LOGITS_NONE) continue;
        choice->tokens[i] = sampler == NULL ? mlcc_sampler_greedy(logits, vocab)
                                            : mlcc_sampler_sample(sampler, logits);
        logits += vocab;
    }
    return NULL;
}

mlcc_status *mlcc_engine_sample(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items,
    mlcc_sampler *const *samplers, int32_t *tokens) {
    const token_choice choice = {.samplers = samplers, .tokens = tokens};
    int64_t n_history = 0;
    if (items == NULL || n_items < 1) return MLCC_ERROR(INVALID, "a step needs at least one item");
    MLCC_TRY(check_choice(engine, items, n_items, &choice, &n_history));
    for (int32_t i = 0; i < n_items; i++) tokens[i] = -1;
    // A history beyond what the device has room for is rare, and the host's sampler chooses the same.
    bool is_on_device = engine->sampler.runner != NULL && n_history <= engine->sampler.max_history;
    return is_on_device ? sample_on_device(engine, items, n_items, &choice)
                        : sample_on_host(engine, items, n_items, &choice);
}

void mlcc_engine_observations(
    mlcc_engine *engine, size_t *n_observations, const char *const **names, const float **values) {
    const mlcc_forward *forward = &engine->model->forward;
    const float *observed = engine->observed.host;
    for (int32_t i = 0; i < forward->n_observations; i++)
        engine->observations[i] = observed[(ptrdiff_t)i * OBSERVATION_FLOATS];
    *n_observations = (size_t)forward->n_observations;
    if (names != NULL) *names = forward->observation_names;
    if (values != NULL) *values = engine->observations;
}

void mlcc_engine_trace(mlcc_engine *engine, mlcc_run_trace *trace) {
    mlcc_runner_trace(engine->runner, trace);
}
