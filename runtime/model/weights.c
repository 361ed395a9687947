#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/model/forward.h"
#include "runtime/model/library.h"
#include "runtime/model/weights_inside.h"

#include <stdint.h>
#include <string.h>

static mlcc_status *missing_piece(
    const mlcc_abi_model *abi, const mlcc_tensor_cache *store, const mlcc_abi_param *param,
    const mlcc_abi_piece *piece) {
    size_t n_missing = 0, n_pieces = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        for (uint32_t j = 0; j < abi->params[i].n_pieces; j++) {
            n_pieces++;
            if (mlcc_tensor_cache_find(store, abi->params[i].pieces[j].name) == NULL) n_missing++;
        }
    }
    // The weights fit, what was measured on them is not there yet.
    if (mlcc_text_ends_with(piece->name, MLCC_OBSERVATION_SUFFIX)) {
        return MLCC_ERROR(
            MISMATCH,
            "param '%s' needs the activation scale '%s', which %s does not hold: run mlcc "
            "calibrate on this directory, or convert the weights for the library's mode",
            param->name, piece->name, store->path);
    }
    return MLCC_ERROR(
        MISMATCH,
        "param '%s' needs the tensor '%s', which %s does not hold (%zu of the library's %zu "
        "tensors "
        "are missing): the library was compiled for another model or quantization; compile it for "
        "this directory",
        param->name, piece->name, store->path, n_missing, n_pieces);
}

static bool piece_fits(const mlcc_abi_piece *piece, const mlcc_tensor_record *record) {
    return piece->dtype == record->abi_dtype && piece->rank == record->rank &&
           memcmp(piece->dims, record->dims, piece->rank * sizeof piece->dims[0]) == 0;
}

static mlcc_status *wrong_piece(
    const mlcc_tensor_cache *store, const mlcc_abi_param *param, const mlcc_abi_piece *piece,
    const mlcc_tensor_record *record) {
    mlcc_str expected = {0}, found = {0};
    mlcc_tensor_shape_text(mlcc_abi_dtype_text(piece->dtype), piece->rank, piece->dims, &expected);
    mlcc_tensor_shape_text(record->dtype, record->rank, record->dims, &found);
    mlcc_status *status = MLCC_ERROR(
        MISMATCH,
        "param '%s' needs '%s' as %s, but %s holds it as %s: the library was compiled for another "
        "model or quantization; compile it for this directory",
        param->name, piece->name, mlcc_str_text(&expected), store->path, mlcc_str_text(&found));
    mlcc_str_free(&expected);
    mlcc_str_free(&found);
    return status;
}

static mlcc_status *too_many_bytes(void) {
    return MLCC_ERROR(INVALID, "the library's params need more than 64 bits of bytes");
}

static mlcc_status *make_plan(
    const mlcc_abi_model *abi, const mlcc_tensor_cache *store, mlcc_arena *scratch,
    mlcc_weights_plan *plan) {
    plan->abi = abi;
    plan->params = MLCC_NEW_ARRAY(scratch, mlcc_param_plan, (size_t)abi->n_params + 1);
    for (uint32_t i = 0; i < abi->n_params; i++) {
        const mlcc_abi_param *param = &abi->params[i];
        mlcc_param_plan *mine = &plan->params[i];
        for (uint32_t j = 0; j < param->n_pieces; j++) {
            const mlcc_abi_piece *piece = &param->pieces[j];
            mine->records[j] = mlcc_tensor_cache_find(store, piece->name);
            if (mine->records[j] == NULL) return missing_piece(abi, store, param, piece);
            if (!piece_fits(piece, mine->records[j]))
                return wrong_piece(store, param, piece, mine->records[j]);
        }
        // A mapping starts at a page, so the offset in the shard decides about alignment.
        mine->is_direct = param->prepare == NULL && !mine->records[0]->is_bf16_halves &&
                          mine->records[0]->offset_bytes % 64 == 0;
        size_t *total = mine->is_direct ? &plan->direct_bytes : &plan->payload_bytes;
        mine->offset_bytes = *total;
        if (!mlcc_size_add(*total, param->prepared_bytes, total)) return too_many_bytes();
    }
    size_t all = 0;
    return mlcc_size_add(plan->payload_bytes, plan->direct_bytes, &all) ? NULL : too_many_bytes();
}

typedef struct prepare_work {
    mlcc_abi_prepare *prepare;
    const void *const *pieces;
    void *prepared;
} prepare_work;

static void run_prepare(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const prepare_work *work = arg;
    work->prepare(work->pieces, work->prepared, begin, end);
}

typedef struct convert_work {
    const char *source; // stored bytes
    char *target;
    bool is_bf16_halves; // widen, else copy
    uint64_t n_units;    // elements to widen, or bytes to copy
} convert_work;

enum { CONVERT_CHUNK = 1 << 18 };

static void run_convert(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const convert_work *work = arg;
    uint64_t first = (uint64_t)begin * CONVERT_CHUNK, limit = (uint64_t)end * CONVERT_CHUNK;
    if (limit > work->n_units) limit = work->n_units;
    if (work->is_bf16_halves) {
        mlcc_tensor_widen_halves(
            work->source + first * sizeof(uint16_t), limit - first,
            work->target + first * sizeof(float));
    } else {
        memcpy(work->target + first, work->source + first, limit - first);
    }
}

// The piece as the library wants it, in `target`.
static void convert_piece(
    mlcc_pool *pool, const mlcc_tensor_cache *store, const mlcc_tensor_record *record,
    void *target) {
    convert_work work = {
        .source = mlcc_tensor_cache_data(store, record),
        .target = target,
        .is_bf16_halves = record->is_bf16_halves,
        .n_units = record->is_bf16_halves ? record->n_elements : record->size_bytes,
    };
    int64_t n_chunks = (int64_t)((work.n_units + CONVERT_CHUNK - 1) / CONVERT_CHUNK);
    mlcc_pool_for(pool, n_chunks, 1, run_convert, &work);
}

static mlcc_status *prepare_param(
    const mlcc_abi_param *param, const mlcc_param_plan *plan, const mlcc_tensor_cache *store,
    mlcc_pool *pool, char *prepared) {
    if (param->prepare == NULL) {
        convert_piece(pool, store, plan->records[0], prepared);
        return NULL;
    }
    mlcc_status *status = NULL;
    mlcc_block widened[MLCC_ABI_MAX_PIECES] = {{0}};
    const void *pieces[MLCC_ABI_MAX_PIECES] = {NULL};
    for (uint32_t i = 0; i < param->n_pieces; i++) {
        const mlcc_tensor_record *record = plan->records[i];
        pieces[i] = mlcc_tensor_cache_data(store, record);
        // Prepare functions read whole elements: a record at an odd offset is copied, too.
        size_t element_bytes = mlcc_abi_dtype_bytes(param->pieces[i].dtype);
        if (!record->is_bf16_halves && (uintptr_t)pieces[i] % element_bytes == 0) continue;
        MLCC_GOTO(
            mlcc_block_alloc(param->pieces[i].size_bytes, "a widened tensor", &widened[i]), done);
        convert_piece(pool, store, record, widened[i].data);
        pieces[i] = widened[i].data;
    }
    prepare_work work = {.prepare = param->prepare, .pieces = pieces, .prepared = prepared};
    // Several chunks a thread, so that a thread that was interrupted does not hold up the others.
    int64_t chunk = param->n_prepare_items / (8 * (int64_t)mlcc_pool_size(pool));
    mlcc_pool_for(pool, param->n_prepare_items, chunk < 1 ? 1 : chunk, run_prepare, &work);
done:
    for (uint32_t i = 0; i < param->n_pieces; i++) mlcc_block_free(&widened[i]);
    return status;
}

mlcc_status *mlcc_weights_prepare(
    const mlcc_weights_plan *plan, uint32_t index, const mlcc_tensor_cache *store, mlcc_pool *pool,
    void *prepared) {
    const mlcc_abi_param *param = &plan->abi->params[index];
    const mlcc_param_plan *mine = &plan->params[index];
    MLCC_TRY_NOTE(
        prepare_param(param, mine, store, pool, prepared), "preparing param '%s'", param->name);
    // The stored form has served: a first start needs hardly more memory than a later one.
    for (uint32_t i = 0; i < param->n_pieces; i++)
        mlcc_tensor_cache_release(store, mine->records[i]);
    return NULL;
}

// ---- the prepared cache

mlcc_weights_cache mlcc_weights_find_cache(
    const mlcc_weights_plan *plan, const mlcc_model_options *options, mlcc_weights *weights) {
    mlcc_weights_cache cache = {0};
    cache.key = mlcc_prepared_cache_key(
        plan->abi->layout_fingerprint, mlcc_tensor_cache_identity(weights->store));
    cache.path = mlcc_prepared_cache_path(weights->arena, options->cache_directory, cache.key);
    return cache;
}

const char *mlcc_weights_map_cache(
    const mlcc_weights_cache *cache, const mlcc_weights_plan *plan,
    const mlcc_model_options *options, mlcc_weights *weights) {
    const void *payload = NULL;
    if (options->no_cache) return NULL;
    weights->from_cache = mlcc_prepared_cache_map(
        cache->path, cache->key, plan->payload_bytes, options->verify, &weights->cache, &payload);
    return payload;
}

// A cache that cannot be written costs time at the next start, nothing else.
static void not_kept(mlcc_weights_cache *cache, mlcc_status *status) {
    mlcc_log(
        MLCC_LOG_WARN, "weights", "prepared weights cannot be kept in %s: %s", cache->path,
        mlcc_status_message(status));
    mlcc_status_free(status);
    mlcc_prepared_cache_abandon(cache->writer);
    cache->writer = NULL;
}

void mlcc_weights_keep_begin(mlcc_weights_cache *cache) {
    mlcc_status *status = mlcc_prepared_cache_begin(cache->path, cache->key, &cache->writer);
    if (status != NULL) not_kept(cache, status);
}

void mlcc_weights_keep(mlcc_weights_cache *cache, const void *data, size_t size_bytes) {
    if (cache->writer == NULL) return;
    mlcc_status *status = mlcc_prepared_cache_append(cache->writer, data, size_bytes);
    if (status != NULL) not_kept(cache, status);
}

void mlcc_weights_keep_end(mlcc_weights_cache *cache) {
    if (cache->writer == NULL) return;
    mlcc_status *status = mlcc_prepared_cache_commit(cache->writer);
    cache->writer = NULL;
    if (status != NULL) {
        not_kept(cache, status);
        return;
    }
    mlcc_log(MLCC_LOG_INFO, "weights", "prepared weights are kept in %s", cache->path);
}

// ---- into the host's memory

typedef struct host_work {
    const mlcc_weights_plan *plan;
    const mlcc_model_options *options;
    mlcc_weights *weights;
    mlcc_weights_reading reading;
    mlcc_weights_choice copied; // what does not stay in mapped files
} host_work;

static mlcc_status *prepare_payload(const host_work *work, char *payload) {
    const mlcc_weights_plan *plan = work->plan;
    const mlcc_model_options *options = work->options;
    uint64_t done_bytes = 0;
    MLCC_TRY(mlcc_tensor_cache_map(work->weights->store));
    for (uint32_t i = 0; i < plan->abi->n_params; i++) {
        if (plan->params[i].is_direct) continue;
        MLCC_TRY(mlcc_weights_prepare(
            plan, i, work->weights->store, work->reading.pool,
            payload + plan->params[i].offset_bytes));
        done_bytes += plan->abi->params[i].prepared_bytes;
        if (options->progress != NULL) {
            options->progress(options->progress_user, "preparing", done_bytes, plan->payload_bytes);
        }
    }
    return NULL;
}

static void keep_payload(const host_work *work, mlcc_weights_cache *cache, const char *payload) {
    enum { KEEP_BYTES = 16 << 20 };
    const mlcc_model_options *options = work->options;
    const size_t total_bytes = work->plan->payload_bytes;
    mlcc_weights_keep_begin(cache);
    for (size_t done = 0; cache->writer != NULL && done < total_bytes; done += KEEP_BYTES) {
        // The end is reached when the disk has everything.
        if (options->progress != NULL)
            options->progress(options->progress_user, "keeping", done, total_bytes);
        const size_t left = total_bytes - done;
        mlcc_weights_keep(cache, payload + done, left < KEEP_BYTES ? left : KEEP_BYTES);
    }
    mlcc_weights_keep_end(cache);
    if (options->progress != NULL)
        options->progress(options->progress_user, "keeping", total_bytes, total_bytes);
}

// Into memory of the process: from the cache where it is to be copied, else prepared.
static mlcc_status *fill_payload(host_work *work, mlcc_weights_cache *cache, char *payload) {
    const mlcc_model_options *options = work->options;
    mlcc_weights *weights = work->weights;
    const size_t payload_bytes = work->plan->payload_bytes;
    if (work->copied.payload && !options->no_cache) {
        weights->from_cache = mlcc_prepared_cache_read(
            cache->path, cache->key, payload_bytes, options->verify, &work->reading, payload);
        work->reading.done_bytes += payload_bytes;
        if (weights->from_cache) return NULL;
        // A file that was found damaged at its end leaves what was read before.
        memset(payload, 0, payload_bytes);
    }
    MLCC_TRY(prepare_payload(work, payload));
    if (!options->no_cache) keep_payload(work, cache, payload);
    return NULL;
}

// *payload: where it lies; *rest: memory for the direct params, if they are to be copied.
static mlcc_status *load_payload(host_work *work, const char **payload, char **rest) {
    const mlcc_weights_plan *plan = work->plan;
    mlcc_weights *weights = work->weights;
    mlcc_weights_cache cache = {0};
    if (plan->payload_bytes > 0) cache = mlcc_weights_find_cache(plan, work->options, weights);
    if (plan->payload_bytes > 0 && !work->copied.payload)
        *payload = mlcc_weights_map_cache(&cache, plan, work->options, weights);
    if (*payload != NULL) weights->mapped_bytes += plan->payload_bytes;
    const size_t payload_bytes = *payload == NULL ? plan->payload_bytes : 0;
    const size_t rest_bytes = work->copied.direct ? plan->direct_bytes : 0;
    if (payload_bytes + rest_bytes == 0) return NULL;
    MLCC_TRY(mlcc_block_alloc(payload_bytes + rest_bytes, "the weights", &weights->block));
    mlcc_block_spread(&weights->block);
    *rest = (char *)weights->block.data + payload_bytes;
    if (payload_bytes == 0) return NULL;
    *payload = weights->block.data;
    return fill_payload(work, &cache, weights->block.data);
}

static mlcc_status *copy_direct(host_work *work, uint32_t index, char *target) {
    const mlcc_tensor_record *record = work->plan->params[index].records[0];
    mlcc_weights_source source = {
        .path = work->weights->store->shards[record->shard].path,
        .offset_bytes = record->offset_bytes,
        .size_bytes = record->size_bytes,
    };
    uint64_t file_bytes = 0;
    MLCC_TRY(mlcc_file_open(source.path, &source.file, &file_bytes));
    mlcc_status *status = mlcc_weights_read(&work->reading, &source, target);
    mlcc_file_close(source.file);
    work->reading.done_bytes += work->plan->abi->params[index].prepared_bytes;
    return status;
}

static mlcc_status *load_direct(host_work *work, uint32_t index, char *rest) {
    const mlcc_param_plan *mine = &work->plan->params[index];
    mlcc_weights *weights = work->weights;
    if (work->copied.direct) {
        weights->params[index] = rest + mine->offset_bytes;
        return copy_direct(work, index, rest + mine->offset_bytes);
    }
    MLCC_TRY(mlcc_tensor_cache_map(weights->store));
    weights->params[index] = mlcc_tensor_cache_data(weights->store, mine->records[0]);
    weights->mapped_bytes += work->plan->abi->params[index].prepared_bytes;
    return NULL;
}

// What was only read need not stay in the address space.
static void unmap_unused_shards(const host_work *work, mlcc_arena *scratch) {
    const mlcc_weights_plan *plan = work->plan;
    mlcc_tensor_cache *store = work->weights->store;
    bool *is_used = MLCC_NEW_ARRAY(scratch, bool, store->n_shards + 1);
    for (uint32_t i = 0; i < plan->abi->n_params; i++) {
        if (plan->params[i].is_direct && !work->copied.direct)
            is_used[plan->params[i].records[0]->shard] = true;
    }
    for (size_t i = 0; i < store->n_shards; i++) {
        if (!is_used[i]) mlcc_tensor_cache_unmap(store, i);
    }
}

static void choose(host_work *work) {
    const mlcc_weights_plan *plan = work->plan;
    const mlcc_weights_circumstances around = mlcc_weights_look_around();
    work->copied = mlcc_weights_choose(
        work->options->weights_memory, &around, plan->payload_bytes, plan->direct_bytes);
    if (work->copied.payload) work->reading.total_bytes += plan->payload_bytes;
    if (work->copied.direct) work->reading.total_bytes += plan->direct_bytes;
}

static mlcc_status *load_to_host(
    const mlcc_weights_plan *plan, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_arena *scratch, mlcc_weights *weights) {
    host_work work = {
        .plan = plan,
        .options = options,
        .weights = weights,
        .reading = {pool, options->progress, options->progress_user, 0, 0},
    };
    choose(&work);
    const char *payload = NULL;
    char *rest = NULL;
    MLCC_TRY(load_payload(&work, &payload, &rest));
    for (uint32_t i = 0; i < plan->abi->n_params; i++) {
        if (plan->params[i].is_direct) {
            MLCC_TRY(load_direct(&work, i, rest));
        } else {
            weights->params[i] = payload + plan->params[i].offset_bytes;
        }
    }
    unmap_unused_shards(&work, scratch);
    mlcc_log(
        MLCC_LOG_INFO, "weights", "%.1f of %.1f MiB are used in mapped files",
        (double)weights->mapped_bytes / 1048576.0, (double)weights->prepared_bytes / 1048576.0);
    return NULL;
}

// ---- both

static mlcc_status *load(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_arena *scratch, mlcc_weights *weights) {
    weights->params =
        mlcc_arena_alloc_array(weights->arena, (size_t)abi->n_params + 1, sizeof(void *));
    for (uint32_t i = 0; i < abi->n_params; i++)
        weights->prepared_bytes += abi->params[i].prepared_bytes;
    if (options->made_up_weights) return mlcc_weights_make_up(abi, options, pool, device, weights);
    mlcc_weights_plan plan = {0};
    MLCC_TRY(mlcc_tensor_cache_open(options->directory, &weights->store));
    MLCC_TRY(make_plan(abi, weights->store, scratch, &plan));
    if (options->verify) {
        MLCC_TRY(mlcc_tensor_cache_map(weights->store));
        MLCC_TRY(mlcc_tensor_cache_verify(
            weights->store, pool, options->progress, options->progress_user));
        // Read once: what is needed again comes back, what is not need not lie here twice.
        for (size_t i = 0; i < weights->store->n_shards; i++)
            mlcc_tensor_cache_unmap(weights->store, i);
    }
    if (device == NULL || mlcc_device_get_info(device)->is_host)
        return load_to_host(&plan, options, pool, scratch, weights);
    return mlcc_weights_load_to_device(&plan, options, pool, device, weights);
}

mlcc_status *mlcc_weights_load(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *out) {
    *out = (mlcc_weights){.arena = mlcc_arena_create()};
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = load(abi, options, pool, device, scratch, out);
    mlcc_arena_free(scratch);
    if (status != NULL) mlcc_weights_free(out);
    return mlcc_status_note(status, "loading the weights of %s", options->directory);
}

void mlcc_weights_free(mlcc_weights *weights) {
    if (weights->device != NULL) mlcc_device_free(weights->device, &weights->memory);
    mlcc_tensor_cache_close(weights->store);
    mlcc_block_free(&weights->block);
    mlcc_file_unmap(&weights->cache);
    mlcc_arena_free(weights->arena);
    *weights = (mlcc_weights){0};
}
