// Weights into the memory of a device: one param after the other is prepared in memory that the
// device copies from, and is on its way while the next one is prepared. The host holds two params at
// a time, however large the model is.
#include "runtime/model/weights_inside.h"

#include <string.h>

enum { DEVICE_ALIGNMENT = 256, CLEAR_CHUNK_BYTES = 1 << 20 };
// Larger params are prepared in memory that is not page-locked, and copied piece by piece.
static const size_t max_stage_bytes = (size_t)256 << 20;

uint64_t mlcc_weights_device_bytes(const mlcc_abi_param *param) {
    return (param->prepared_bytes + DEVICE_ALIGNMENT - 1) / DEVICE_ALIGNMENT * DEVICE_ALIGNMENT;
}

uint64_t mlcc_weights_bytes(const mlcc_abi_model *abi) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < abi->n_params; i++)
        total += mlcc_weights_device_bytes(&abi->params[i]);
    return total;
}

typedef struct load_work {
    const mlcc_weights_plan *plan;
    const mlcc_model_options *options;
    mlcc_pool *pool;
    mlcc_weights *weights;
    const char *block;        // mapped from the prepared cache, or NULL
    mlcc_weights_cache cache; // where params that are prepared now are kept
} load_work;

typedef struct clear_work {
    char *data;
    size_t size_bytes;
} clear_work;

static void run_clear(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const clear_work *work = arg;
    size_t first = (size_t)begin * CLEAR_CHUNK_BYTES, limit = (size_t)end * CLEAR_CHUNK_BYTES;
    if (limit > work->size_bytes) limit = work->size_bytes;
    memset(work->data + first, 0, limit - first);
}

// Prepare functions write what is not zero, and the file in the cache must not depend on what was
// here before.
static void clear(mlcc_pool *pool, void *data, size_t size_bytes) {
    clear_work work = {data, size_bytes};
    int64_t n_chunks = (int64_t)((size_bytes + CLEAR_CHUNK_BYTES - 1) / CLEAR_CHUNK_BYTES);
    mlcc_pool_for(pool, n_chunks, 1, run_clear, &work);
}

static mlcc_status *prepare_large(load_work *work, uint32_t index, size_t at) {
    mlcc_weights *weights = work->weights;
    size_t size_bytes = (size_t)work->plan->abi->params[index].prepared_bytes;
    MLCC_TRY(mlcc_block_alloc(size_bytes, "a prepared param", &weights->block));
    mlcc_status *status =
        mlcc_weights_prepare(work->plan, index, weights->store, work->pool, weights->block.data);
    if (status == NULL) {
        mlcc_weights_keep(&work->cache, weights->block.data, size_bytes);
        status = mlcc_device_upload(
            weights->device, &weights->memory, at, weights->block.data, size_bytes);
    }
    mlcc_block_free(&weights->block);
    return status;
}

static mlcc_status *prepare_staged(load_work *work, uint32_t index, size_t at) {
    mlcc_weights *weights = work->weights;
    size_t size_bytes = (size_t)work->plan->abi->params[index].prepared_bytes;
    void *stage = NULL;
    MLCC_TRY(mlcc_device_stage(weights->device, size_bytes, &stage));
    clear(work->pool, stage, size_bytes);
    MLCC_TRY(mlcc_weights_prepare(work->plan, index, weights->store, work->pool, stage));
    MLCC_TRY(mlcc_device_send(weights->device, &weights->memory, at, size_bytes));
    // The device only reads it.
    mlcc_weights_keep(&work->cache, stage, size_bytes);
    return NULL;
}

static mlcc_status *load_param(load_work *work, uint32_t index, size_t at) {
    const mlcc_abi_param *param = &work->plan->abi->params[index];
    const mlcc_param_plan *mine = &work->plan->params[index];
    mlcc_weights *weights = work->weights;
    if (mine->is_direct || work->block == NULL) MLCC_TRY(mlcc_tensor_cache_map(weights->store));
    if (mine->is_direct) { // a mapped piece ends before its param's padding does
        const mlcc_tensor_record *record = mine->records[0];
        MLCC_TRY(mlcc_device_upload(
            weights->device, &weights->memory, at, mlcc_tensor_cache_data(weights->store, record),
            (size_t)param->pieces[0].size_bytes));
        mlcc_tensor_cache_release(weights->store, record);
        return NULL;
    }
    if (work->block != NULL) {
        return mlcc_device_upload(
            weights->device, &weights->memory, at, work->block + mine->offset_bytes,
            (size_t)param->prepared_bytes);
    }
    return param->prepared_bytes > max_stage_bytes ? prepare_large(work, index, at)
                                                   : prepare_staged(work, index, at);
}

static mlcc_status *load_params(load_work *work) {
    const mlcc_abi_model *abi = work->plan->abi;
    const mlcc_model_options *options = work->options;
    mlcc_weights *weights = work->weights;
    bool is_prepared = work->block != NULL || work->plan->payload_bytes == 0;
    size_t at = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        MLCC_TRY_NOTE(load_param(work, i, at), "uploading param '%s'", abi->params[i].name);
        weights->params[i] = (char *)weights->memory.address + at;
        at += (size_t)mlcc_weights_device_bytes(&abi->params[i]);
        if (options->progress != NULL) {
            options->progress(
                options->progress_user, is_prepared ? "uploading" : "preparing", at,
                weights->memory.size_bytes);
        }
    }
    return NULL;
}

static void free_host_side(mlcc_weights *weights) {
    mlcc_file_unmap(&weights->cache);
    for (size_t i = 0; i < weights->store->n_shards; i++)
        mlcc_tensor_cache_unmap(weights->store, i);
}

mlcc_status *mlcc_weights_load_to_device(
    const mlcc_weights_plan *plan, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *weights) {
    load_work work = {.plan = plan, .options = options, .pool = pool, .weights = weights};
    MLCC_TRY(mlcc_device_alloc(
        device, (size_t)mlcc_weights_bytes(plan->abi), "the weights", &weights->memory));
    weights->device = device;
    if (plan->payload_bytes > 0) {
        work.cache = mlcc_weights_find_cache(plan, options, weights);
        work.block = mlcc_weights_map_cache(&work.cache, plan, options, weights);
    }
    bool is_kept = plan->payload_bytes > 0 && work.block == NULL && !options->no_cache;
    if (is_kept) mlcc_weights_keep_begin(&work.cache);
    mlcc_status *status = load_params(&work);
    mlcc_status *end = mlcc_device_end_uploads(device);
    if (status == NULL) {
        status = end;
    } else {
        mlcc_status_free(end);
    }
    if (status != NULL) {
        mlcc_prepared_cache_abandon(work.cache.writer);
        return status;
    }
    mlcc_weights_keep_end(&work.cache);
    free_host_side(weights);
    return NULL;
}
