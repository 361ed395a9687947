#include "runtime/model/weights.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/model/forward.h"
#include "runtime/model/library.h"
#include "runtime/model/prepared_cache.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

// How one param comes about.
typedef struct param_plan {
    const mlcc_tensor_record *records[MLCC_ABI_MAX_PIECES];
    bool is_direct;      // the mapped piece is the param
    size_t offset_bytes; // otherwise: place in the block
} param_plan;

typedef struct load_plan {
    const mlcc_abi_model *abi;
    param_plan *params; // [n_params]
    size_t block_bytes;
} load_plan;

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

static mlcc_status *make_plan(
    const mlcc_abi_model *abi, const mlcc_tensor_cache *store, mlcc_arena *scratch,
    load_plan *plan) {
    plan->abi = abi;
    plan->params = MLCC_NEW_ARRAY(scratch, param_plan, (size_t)abi->n_params + 1);
    for (uint32_t i = 0; i < abi->n_params; i++) {
        const mlcc_abi_param *param = &abi->params[i];
        param_plan *mine = &plan->params[i];
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
        if (mine->is_direct) continue;
        mine->offset_bytes = plan->block_bytes;
        if (!mlcc_size_add(plan->block_bytes, param->prepared_bytes, &plan->block_bytes)) {
            return MLCC_ERROR(INVALID, "the library's params need more than 64 bits of bytes");
        }
    }
    return NULL;
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
    const mlcc_abi_param *param, const param_plan *plan, const mlcc_tensor_cache *store,
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

static mlcc_status *prepare_block(
    const load_plan *plan, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_weights *weights) {
    MLCC_TRY(mlcc_block_alloc(plan->block_bytes, "the prepared weights", &weights->block));
    uint64_t done_bytes = 0;
    for (uint32_t i = 0; i < plan->abi->n_params; i++) {
        const mlcc_abi_param *param = &plan->abi->params[i];
        if (plan->params[i].is_direct) continue;
        char *prepared = (char *)weights->block.data + plan->params[i].offset_bytes;
        MLCC_TRY_NOTE(
            prepare_param(param, &plan->params[i], weights->store, pool, prepared),
            "preparing param '%s'", param->name);
        // The stored form has served: a first start needs hardly more memory than a later one.
        for (uint32_t j = 0; j < param->n_pieces; j++) {
            mlcc_tensor_cache_release(weights->store, plan->params[i].records[j]);
        }
        done_bytes += param->prepared_bytes;
        if (options->progress != NULL) {
            options->progress(options->progress_user, "preparing", done_bytes, plan->block_bytes);
        }
    }
    return NULL;
}

// A cache that cannot be written costs time at the next start, nothing else.
static void keep_block(const char *path, mlcc_hash128 key, const mlcc_block *block) {
    mlcc_status *status = mlcc_prepared_cache_write(path, key, block->data, block->size_bytes);
    if (status == NULL) {
        mlcc_log(MLCC_LOG_INFO, "weights", "prepared weights are kept in %s", path);
        return;
    }
    mlcc_log(
        MLCC_LOG_WARN, "weights", "prepared weights cannot be kept in %s: %s", path,
        mlcc_status_message(status));
    mlcc_status_free(status);
}

static mlcc_status *fill_block(
    const load_plan *plan, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_weights *weights, const char **block) {
    mlcc_hash128 key = mlcc_prepared_cache_key(
        plan->abi->layout_fingerprint, mlcc_tensor_cache_identity(weights->store));
    const char *path = mlcc_prepared_cache_path(weights->arena, options->cache_directory, key);
    const void *payload = NULL;
    if (!options->no_cache &&
        mlcc_prepared_cache_map(
            path, key, plan->block_bytes, options->verify, &weights->cache, &payload)) {
        weights->from_cache = true;
        *block = payload;
        return NULL;
    }
    MLCC_TRY(mlcc_tensor_cache_map(weights->store));
    MLCC_TRY(prepare_block(plan, options, pool, weights));
    if (!options->no_cache) keep_block(path, key, &weights->block);
    *block = weights->block.data;
    return NULL;
}

// What was only read to prepare need not stay in the address space.
static void unmap_unused_shards(const load_plan *plan, mlcc_weights *weights, mlcc_arena *scratch) {
    mlcc_tensor_cache *store = weights->store;
    bool *is_used = MLCC_NEW_ARRAY(scratch, bool, store->n_shards + 1);
    for (uint32_t i = 0; i < plan->abi->n_params; i++) {
        if (plan->params[i].is_direct) is_used[plan->params[i].records[0]->shard] = true;
    }
    for (size_t i = 0; i < store->n_shards; i++) {
        if (!is_used[i]) mlcc_tensor_cache_unmap(store, i);
    }
}

static mlcc_status *load(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_arena *scratch, mlcc_weights *weights) {
    load_plan plan = {0};
    MLCC_TRY(mlcc_tensor_cache_open(options->directory, &weights->store));
    MLCC_TRY(make_plan(abi, weights->store, scratch, &plan));
    if (options->verify) {
        MLCC_TRY(mlcc_tensor_cache_map(weights->store));
        MLCC_TRY(mlcc_tensor_cache_verify(
            weights->store, pool, options->progress, options->progress_user));
    }
    const char *block = NULL;
    if (plan.block_bytes > 0) MLCC_TRY(fill_block(&plan, options, pool, weights, &block));
    weights->params =
        mlcc_arena_alloc_array(weights->arena, (size_t)abi->n_params + 1, sizeof(void *));
    for (uint32_t i = 0; i < abi->n_params; i++) {
        const param_plan *mine = &plan.params[i];
        if (mine->is_direct) MLCC_TRY(mlcc_tensor_cache_map(weights->store));
        weights->params[i] = mine->is_direct
                                 ? mlcc_tensor_cache_data(weights->store, mine->records[0])
                                 : block + mine->offset_bytes;
        weights->prepared_bytes += abi->params[i].prepared_bytes;
    }
    unmap_unused_shards(&plan, weights, scratch);
    return NULL;
}

mlcc_status *mlcc_weights_load(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_weights *out) {
    *out = (mlcc_weights){.arena = mlcc_arena_create()};
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = load(abi, options, pool, scratch, out);
    mlcc_arena_free(scratch);
    if (status != NULL) mlcc_weights_free(out);
    return mlcc_status_note(status, "loading the weights of %s", options->directory);
}

// ---- a device's copy

enum { DEVICE_ALIGNMENT = 256 };

static uint64_t device_bytes(const mlcc_abi_param *param) {
    return (param->prepared_bytes + DEVICE_ALIGNMENT - 1) / DEVICE_ALIGNMENT * DEVICE_ALIGNMENT;
}

uint64_t mlcc_weights_bytes(const mlcc_abi_model *abi) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) total += device_bytes(&abi->params[i]);
    return total;
}

static void free_host_side(mlcc_weights *weights) {
    mlcc_block_free(&weights->block);
    mlcc_file_unmap(&weights->cache);
    for (size_t i = 0; i < weights->store->n_shards; i++)
        mlcc_tensor_cache_unmap(weights->store, i);
}

static mlcc_status *upload_params(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_weights *weights) {
    size_t at = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        const mlcc_abi_param *param = &abi->params[i];
        // A mapped piece ends before its param's padding does.
        uint64_t size_bytes =
            param->prepare == NULL ? param->pieces[0].size_bytes : param->prepared_bytes;
        MLCC_TRY_NOTE(
            mlcc_device_upload(
                weights->device, &weights->memory, at, weights->params[i], (size_t)size_bytes),
            "uploading param '%s'", param->name);
        at += (size_t)device_bytes(param);
        if (options->progress != NULL) {
            options->progress(options->progress_user, "uploading", at, weights->memory.size_bytes);
        }
    }
    return NULL;
}

mlcc_status *mlcc_weights_upload(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_device *device,
    mlcc_weights *weights) {
    if (mlcc_device_get_info(device)->is_host) return NULL;
    MLCC_TRY(mlcc_device_alloc(
        device, (size_t)mlcc_weights_bytes(abi), "the weights", &weights->memory));
    weights->device = device;
    mlcc_status *status = upload_params(abi, options, weights);
    mlcc_status *end = mlcc_device_end_uploads(device);
    if (status != NULL || end != NULL) {
        if (status != NULL) mlcc_status_free(end);
        return status != NULL ? status : end;
    }
    const char *address = weights->memory.address;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        weights->params[i] = address;
        address += device_bytes(&abi->params[i]);
    }
    free_host_side(weights);
    return NULL;
}

void mlcc_weights_free(mlcc_weights *weights) {
    if (weights->device != NULL) mlcc_device_free(weights->device, &weights->memory);
    mlcc_tensor_cache_close(weights->store);
    mlcc_block_free(&weights->block);
    mlcc_file_unmap(&weights->cache);
    mlcc_arena_free(weights->arena);
    *weights = (mlcc_weights){0};
}
