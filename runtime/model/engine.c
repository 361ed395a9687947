// The engine: sequences over one model, and the ragged step (runtime/mlcc.h).
//
// Everything a step needs is made in mlcc_engine_create. The one exception is the buffer that
// collects logits of steps that take several passes: it grows with the largest such step.
#include "runtime/base/str.h"
#include "runtime/model/batch.h"
#include "runtime/model/kv_cache.h"
#include "runtime/model/model.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct mlcc_engine {
    mlcc_model *model;
    mlcc_kv_cache cache;
    mlcc_batch batch;
    int64_t context_window; // longest sequence
    int64_t step;           // number of the step that is being checked
    int64_t *last_step;     // [max_sequences]: the step in which a sequence was last named
    mlcc_block last_step_block, workspace, scratch, counters;
    mlcc_block pass_logits; // [max_rows of a pass, vocab]
    mlcc_block step_logits; // [rows of a step with several passes, vocab]
    void **args;            // [n_args]; the inputs' addresses never change
    char **thread_scratch;  // [n_threads]
    int64_t *dims;          // [n_symbols]
    mlcc_block observed;    // [n_observations, OBSERVATION_FLOATS]: what calls raise in place
    float *observations;    // [n_observations]: the same without gaps, for whoever asks
};

// Inputs of a call lie at multiples of 64 bytes.
enum { OBSERVATION_FLOATS = 64 / sizeof(float) };

static mlcc_status *no_memory(const char *what) {
    return MLCC_ERROR(NO_MEMORY, "memory for %s cannot be had", what);
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
    int64_t n_pages = 0;
    if (options->max_tokens == 0) {
        if (!mlcc_i64_mul(n_sequences, mlcc_kv_pages_of(context), &n_pages)) n_pages = INT64_MAX;
    } else {
        // Every sequence may leave all but one token of its last page unused; with this many pages
        // max_tokens always fit.
        int64_t unused = n_sequences * (MLCC_PAGE_TOKENS - 1);
        n_pages = options->max_tokens / MLCC_PAGE_TOKENS + unused / MLCC_PAGE_TOKENS;
        n_pages +=
            (options->max_tokens % MLCC_PAGE_TOKENS + unused % MLCC_PAGE_TOKENS) / MLCC_PAGE_TOKENS;
    }
    int64_t max_slots = mlcc_kv_pages_of(context) < n_pages ? mlcc_kv_pages_of(context) : n_pages;
    MLCC_TRY(mlcc_kv_cache_create(
        forward->n_layers, forward->page_bytes, n_pages, (int32_t)n_sequences, max_slots,
        &engine->cache));
    return mlcc_batch_create(forward, max_slots, &engine->batch);
}

static void *address_of(mlcc_engine *engine, const mlcc_forward_arg *arg) {
    switch (arg->id) {
    case MLCC_ARG_IDS: return engine->batch.ids;
    case MLCC_ARG_POSITIONS: return engine->batch.positions;
    case MLCC_ARG_SEQ_IDS: return engine->batch.seq_ids;
    case MLCC_ARG_PAGE_TABLE: return engine->batch.page_table;
    case MLCC_ARG_LOGIT_ROWS: return engine->batch.logit_rows;
    case MLCC_ARG_OBSERVATION:
        return (float *)engine->observed.data + (ptrdiff_t)arg->index * OBSERVATION_FLOATS;
    case MLCC_ARG_KV:
    case MLCC_N_ARGS: break;
    }
    return engine->cache.tensors[arg->index].data;
}

static mlcc_status *create_call_memory(mlcc_engine *engine) {
    const mlcc_forward *forward = &engine->model->forward;
    const mlcc_abi_function *function = forward->function;
    size_t n_threads = (size_t)mlcc_pool_size(engine->model->pool);
    size_t scratch_bytes = 0, all_scratch = 0, logits_bytes = 0;
    if (!mlcc_size_add(function->scratch_bytes, 63, &scratch_bytes) ||
        !mlcc_size_mul(scratch_bytes / 64 * 64, n_threads, &all_scratch) ||
        !mlcc_size_mul(
            (size_t)engine->batch.max_rows, (size_t)forward->vocab * sizeof(float),
            &logits_bytes)) {
        return no_memory("scratch and logits (the sizes exceed 64 bits)");
    }
    MLCC_TRY(mlcc_block_alloc(function->workspace_bytes, "the workspace", &engine->workspace));
    MLCC_TRY(mlcc_block_alloc(all_scratch, "the scratch memory of the threads", &engine->scratch));
    MLCC_TRY(mlcc_block_alloc(
        function->n_counters * sizeof(uint32_t), "the counters", &engine->counters));
    MLCC_TRY(mlcc_block_alloc(logits_bytes, "the logits of one pass", &engine->pass_logits));
    MLCC_TRY(mlcc_block_alloc(
        (size_t)engine->cache.max_sequences * sizeof(int64_t), "the list of sequences",
        &engine->last_step_block));
    engine->last_step = engine->last_step_block.data;
    MLCC_TRY(mlcc_block_alloc(
        (size_t)forward->n_observations * OBSERVATION_FLOATS * sizeof(float), "the observations",
        &engine->observed));
    engine->observations =
        calloc((size_t)forward->n_observations + 1, sizeof *engine->observations);
    engine->args = calloc((size_t)function->n_args + 1, sizeof *engine->args);
    engine->thread_scratch = calloc(n_threads, sizeof *engine->thread_scratch);
    engine->dims = calloc((size_t)forward->n_symbols + 1, sizeof *engine->dims);
    if (engine->args == NULL || engine->thread_scratch == NULL || engine->dims == NULL ||
        engine->observations == NULL) {
        return no_memory("the call tables");
    }
    for (uint32_t i = 0; i < function->n_args; i++)
        engine->args[i] = address_of(engine, &forward->args[i]);
    for (size_t i = 0; i < n_threads; i++) {
        engine->thread_scratch[i] = (char *)engine->scratch.data + i * (scratch_bytes / 64 * 64);
    }
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
    mlcc_kv_cache_free(&engine->cache);
    mlcc_batch_free(&engine->batch);
    mlcc_block *blocks[] = {&engine->last_step_block, &engine->workspace,   &engine->scratch,
                            &engine->counters,        &engine->pass_logits, &engine->step_logits,
                            &engine->observed};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) mlcc_block_free(blocks[i]);
    free(engine->args);
    free(engine->thread_scratch);
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

typedef struct run_work {
    const mlcc_abi_function *function;
    mlcc_abi_call call;
    atomic_int result; // of the first thread that failed
} run_work;

static void run_thread(void *arg, int32_t thread, int32_t n_threads) {
    run_work *work = arg;
    int result = work->function->run(&work->call, thread, n_threads);
    int expected = 0;
    if (result != 0) (void)atomic_compare_exchange_strong(&work->result, &expected, result);
}

static void wait_for_all(void *pool) {
    mlcc_pool_barrier(pool);
}

static mlcc_status *run_pass(mlcc_engine *engine, float *logits) {
    mlcc_model *model = engine->model;
    const mlcc_forward *forward = &model->forward;
    const mlcc_batch *batch = &engine->batch;
    const int64_t values[MLCC_N_SYMBOLS] = {
        [MLCC_SYMBOL_N_TOKENS] = batch->n_tokens,
        [MLCC_SYMBOL_N_SEQS] = batch->n_seqs,
        [MLCC_SYMBOL_N_PAGES] = engine->cache.n_pages,
        [MLCC_SYMBOL_N_PAGE_SLOTS] = batch->n_page_slots,
        [MLCC_SYMBOL_N_LOGITS] = batch->n_rows == 0 ? 1 : batch->n_rows,
    };
    for (uint32_t i = 0; i < forward->n_symbols; i++) engine->dims[i] = values[forward->symbols[i]];
    memset(engine->counters.data, 0, forward->function->n_counters * sizeof(uint32_t));
    void *results[1] = {logits};
    run_work work = {
        .function = forward->function,
        .call =
            {
                .args = engine->args,
                .results = results,
                .params = model->weights.params,
                .dims = engine->dims,
                .workspace = engine->workspace.data,
                .scratch = engine->thread_scratch,
                .counters = engine->counters.data,
                .barrier = wait_for_all,
                .barrier_state = model->pool,
            },
    };
    pthread_mutex_lock(&model->pool_lock);
    mlcc_pool_run(model->pool, run_thread, &work);
    pthread_mutex_unlock(&model->pool_lock);
    int result = atomic_load(&work.result);
    if (result == 0) return NULL;
    return MLCC_ERROR(DEVICE, "the library's function 'forward' failed with code %d", result);
}

// Runs every pass of a step. With several passes the rows are collected behind each other in
// step_logits: directly where the place is aligned as generated code expects, else by way of
// pass_logits.
static mlcc_status *run_passes(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, bool is_single) {
    mlcc_batch *batch = &engine->batch;
    float *pass_logits = engine->pass_logits.data;
    float *next = engine->step_logits.data;
    size_t row_floats = (size_t)engine->model->forward.vocab;
    mlcc_batch_rewind(batch);
    while (mlcc_batch_next(batch, items, n_items, &engine->cache)) {
        bool is_direct = !is_single && batch->n_rows > 0 && (uintptr_t)next % 64 == 0;
        MLCC_TRY(run_pass(engine, is_direct ? next : pass_logits));
        if (is_single || batch->n_rows == 0) continue;
        size_t n_floats = (size_t)batch->n_rows * row_floats;
        if (!is_direct) memcpy(next, pass_logits, n_floats * sizeof(float));
        next += n_floats;
    }
    return NULL;
}

mlcc_status *mlcc_engine_step(
    mlcc_engine *engine, const mlcc_batch_item *items, int32_t n_items, const float **logits,
    int64_t *n_rows) {
    int64_t rows = 0;
    if (logits != NULL) *logits = NULL;
    if (n_rows != NULL) *n_rows = 0;
    MLCC_TRY(check_step(engine, items, n_items, &rows));
    bool is_single = mlcc_batch_is_single(&engine->batch, items, n_items);
    if (!is_single) MLCC_TRY(reserve_step_logits(engine, rows));
    for (int32_t i = 0; i < n_items; i++) {
        mlcc_kv_cache_grow(&engine->cache, items[i].sequence, items[i].n_tokens);
    }
    mlcc_status *status = run_passes(engine, items, n_items, is_single);
    if (status != NULL) {
        for (int32_t i = n_items; i > 0; i--) {
            const mlcc_batch_item *item = &items[i - 1];
            int64_t length = engine->cache.lengths[item->sequence];
            mlcc_kv_cache_truncate(&engine->cache, item->sequence, length - item->n_tokens);
        }
        return status;
    }
    if (logits != NULL && rows > 0)
        *logits = is_single ? engine->pass_logits.data : engine->step_logits.data;
    if (n_rows != NULL) *n_rows = rows;
    return NULL;
}

void mlcc_engine_observations(
    mlcc_engine *engine, size_t *n_observations, const char *const **names, const float **values) {
    const mlcc_forward *forward = &engine->model->forward;
    const float *observed = engine->observed.data;
    for (int32_t i = 0; i < forward->n_observations; i++)
        engine->observations[i] = observed[(ptrdiff_t)i * OBSERVATION_FLOATS];
    *n_observations = (size_t)forward->n_observations;
    if (names != NULL) *names = forward->observation_names;
    if (values != NULL) *values = engine->observations;
}
