// Made-up weights: numbers of a plausible size without a store, so that the speed of any library can be measured at once. Every param comes from
// made-up pieces through its own prepare function, as a real one does; params of the same kind get the same bytes, which are made once.
#include "runtime/model/weights_inside.h"

#include "runtime/model/library.h"

#include <string.h>

enum { FILL_CHUNK_BYTES = 1 << 18 };

// Mixing steps of SplitMix64 (Steele, Lea, Flood 2014) over a counter.
static uint64_t mix(uint64_t index) {
    uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

// Random bits in `keep`, the others as in `fixed`: sign and mantissa random, the exponent given.
typedef struct fill_rule {
    uint32_t dtype; // enum mlcc_abi_dtype
    uint64_t keep, fixed, fixed_of_gains;
} fill_rule;

// clang-format off
static const fill_rule rules[] = {
    {MLCC_ABI_F32,    0x807fffff807fffffu, 0x3a0000003a000000u, 0x3f8000003f800000u}, // 0.0005 … 0.001; gains 1 … 2
    {MLCC_ABI_F16,    0x83ff83ff83ff83ffu, 0x2000200020002000u, 0x3c003c003c003c00u}, // 0.008 … 0.016
    {MLCC_ABI_BF16,   0x807f807f807f807fu, 0x3c003c003c003c00u, 0x3f803f803f803f80u},
    {MLCC_ABI_F8E4M3, 0xbfbfbfbfbfbfbfbfu, 0x0000000000000000u, 0x3838383838383838u}, // below 2
    {MLCC_ABI_F8E5M2, 0xbfbfbfbfbfbfbfbfu, 0x0000000000000000u, 0x3c3c3c3c3c3c3c3cu},
};
// clang-format on

typedef struct fill_work {
    char *data;
    size_t size_bytes;
    uint64_t keep, fixed;
} fill_work;

static void run_fill(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const fill_work *work = arg;
    size_t first = (size_t)begin * FILL_CHUNK_BYTES, limit = (size_t)end * FILL_CHUNK_BYTES;
    if (limit > work->size_bytes) limit = work->size_bytes;
    for (size_t at = first; at < limit; at += sizeof(uint64_t)) {
        const uint64_t word = (mix(at) & work->keep) | work->fixed;
        memcpy(work->data + at, &word, limit - at < sizeof word ? limit - at : sizeof word);
    }
}

// Codes of integers are any bits. A vector of floats that no kernel lays out anew is a norm's gain, without signs.
static void fill_piece(mlcc_pool *pool, const mlcc_abi_piece *piece, bool is_gain, void *data) {
    fill_work work = {.data = data, .size_bytes = (size_t)piece->size_bytes, .keep = UINT64_MAX};
    const uint64_t signs = 0x8080808080808080u;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (rules[i].dtype != piece->dtype) continue;
        work.keep = is_gain ? rules[i].keep & ~signs & 0x007f007f007f007fu : rules[i].keep;
        work.fixed = is_gain ? rules[i].fixed_of_gains : rules[i].fixed;
    }
    const size_t n_chunks = (work.size_bytes + FILL_CHUNK_BYTES - 1) / FILL_CHUNK_BYTES;
    mlcc_pool_for(pool, (int64_t)n_chunks, 1, run_fill, &work);
}

// ---- one param

typedef struct prepare_work {
    const mlcc_abi_param *param;
    const void *const *pieces;
    void *prepared;
} prepare_work;

static void run_prepare(void *arg, int64_t begin, int64_t end, int32_t thread) {
    (void)thread;
    const prepare_work *work = arg;
    work->param->prepare(work->pieces, work->prepared, begin, end);
}

// `prepared`: prepared_bytes of zeros.
static mlcc_status *make_param(mlcc_pool *pool, const mlcc_abi_param *param, void *prepared) {
    if (param->prepare == NULL) {
        fill_piece(pool, &param->pieces[0], param->pieces[0].rank == 1, prepared);
        return NULL;
    }
    mlcc_status *status = NULL;
    mlcc_block blocks[MLCC_ABI_MAX_PIECES] = {{0}};
    const void *pieces[MLCC_ABI_MAX_PIECES] = {NULL};
    for (uint32_t i = 0; i < param->n_pieces; i++) {
        MLCC_GOTO(
            mlcc_block_alloc(param->pieces[i].size_bytes, "a made-up tensor", &blocks[i]), done);
        fill_piece(pool, &param->pieces[i], false, blocks[i].data);
        pieces[i] = blocks[i].data;
    }
    prepare_work work = {param, pieces, prepared};
    int64_t chunk = param->n_prepare_items / (8 * (int64_t)mlcc_pool_size(pool));
    mlcc_pool_for(pool, param->n_prepare_items, chunk < 1 ? 1 : chunk, run_prepare, &work);
done:
    for (uint32_t i = 0; i < param->n_pieces; i++) mlcc_block_free(&blocks[i]);
    return status;
}

// Same pieces, same preparation: the same bytes.
static bool is_same_kind(const mlcc_abi_param *a, const mlcc_abi_param *b) {
    if (a->prepare != b->prepare || a->n_pieces != b->n_pieces ||
        a->prepared_bytes != b->prepared_bytes || strcmp(a->format, b->format) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < a->n_pieces; i++) {
        const mlcc_abi_piece *x = &a->pieces[i], *y = &b->pieces[i];
        if (x->dtype != y->dtype || x->rank != y->rank ||
            memcmp(x->dims, y->dims, x->rank * sizeof x->dims[0]) != 0) {
            return false;
        }
    }
    return true;
}

static uint32_t first_of_kind(const mlcc_abi_model *abi, uint32_t index) {
    uint32_t first = 0;
    while (!is_same_kind(&abi->params[first], &abi->params[index])) first++;
    return first;
}

// ---- into the host's memory, and a device's

typedef struct make_work {
    const mlcc_abi_model *abi;
    const mlcc_model_options *options;
    mlcc_pool *pool;
    mlcc_weights *weights;
} make_work;

static void report(const make_work *work, uint64_t done_bytes) {
    if (work->options->progress == NULL) return;
    work->options->progress(
        work->options->progress_user, "making up", done_bytes, work->weights->prepared_bytes);
}

static mlcc_status *make_on_host(const make_work *work) {
    mlcc_weights *weights = work->weights;
    MLCC_TRY(mlcc_block_alloc((size_t)weights->prepared_bytes, "made-up weights", &weights->block));
    mlcc_block_spread(&weights->block);
    size_t at = 0;
    for (uint32_t i = 0; i < work->abi->n_params; i++) {
        const mlcc_abi_param *param = &work->abi->params[i];
        char *prepared = (char *)weights->block.data + at;
        uint32_t first = first_of_kind(work->abi, i);
        if (first == i) {
            MLCC_TRY(make_param(work->pool, param, prepared));
        } else {
            memcpy(prepared, weights->params[first], (size_t)param->prepared_bytes);
        }
        weights->params[i] = prepared;
        at += (size_t)param->prepared_bytes;
        report(work, at);
    }
    return NULL;
}

// All params of one kind together, so that the host holds the bytes of one.
static mlcc_status *make_kind(
    const make_work *work, uint32_t first, const size_t *offsets, uint64_t *done_bytes) {
    const mlcc_abi_param *param = &work->abi->params[first];
    mlcc_weights *weights = work->weights;
    MLCC_TRY(mlcc_block_alloc((size_t)param->prepared_bytes, "a made-up param", &weights->block));
    mlcc_status *status = make_param(work->pool, param, weights->block.data);
    for (uint32_t i = first; status == NULL && i < work->abi->n_params; i++) {
        if (first_of_kind(work->abi, i) != first) continue;
        weights->params[i] = (char *)weights->memory.address + offsets[i];
        status = mlcc_device_upload(
            weights->device, &weights->memory, offsets[i], weights->block.data,
            (size_t)param->prepared_bytes);
        report(work, *done_bytes += param->prepared_bytes);
    }
    mlcc_block_free(&weights->block);
    return status;
}

static mlcc_status *make_on_device(const make_work *work, mlcc_device *device) {
    const mlcc_abi_model *abi = work->abi;
    mlcc_weights *weights = work->weights;
    MLCC_TRY(mlcc_device_alloc(
        device, (size_t)mlcc_weights_bytes(abi), "the weights", &weights->memory));
    weights->device = device;
    size_t *offsets = mlcc_arena_alloc_array(weights->arena, abi->n_params, sizeof *offsets);
    size_t at = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        offsets[i] = at;
        at += (size_t)mlcc_weights_device_bytes(&abi->params[i]);
    }
    uint64_t done_bytes = 0;
    for (uint32_t i = 0; i < abi->n_params; i++) {
        if (first_of_kind(abi, i) == i) MLCC_TRY(make_kind(work, i, offsets, &done_bytes));
    }
    return mlcc_device_end_uploads(device);
}

mlcc_status *mlcc_weights_make_up(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *weights) {
    const make_work work = {abi, options, pool, weights};
    if (device == NULL || mlcc_device_get_info(device)->is_host) return make_on_host(&work);
    return make_on_device(&work, device);
}
