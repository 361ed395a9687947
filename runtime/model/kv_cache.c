#include "runtime/model/kv_cache.h"

#include "runtime/base/str.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

// Places four lists in one block: offsets in `at`, all multiples of 64.
static bool lay_out(
    const size_t counts[4], const size_t element_bytes[4], size_t at[4], size_t *total) {
    *total = 0;
    for (int i = 0; i < 4; i++) {
        size_t list_bytes = 0;
        at[i] = *total;
        if (!mlcc_size_mul(counts[i], element_bytes[i], &list_bytes)) return false;
        if (!mlcc_size_add(list_bytes, 63, &list_bytes)) return false;
        if (!mlcc_size_add(*total, list_bytes / 64 * 64, total)) return false;
    }
    return true;
}

static mlcc_status *create_lists(mlcc_kv_cache *cache) {
    size_t n_sequences = (size_t)cache->max_sequences, n_table = 0, at[4], total = 0;
    bool fits = mlcc_size_mul(n_sequences, (size_t)cache->max_slots, &n_table);
    const size_t counts[4] = {(size_t)cache->n_pages, n_table, n_sequences, n_sequences};
    const size_t element_bytes[4] = {
        sizeof(int32_t), sizeof(int32_t), sizeof(int64_t), sizeof(bool)};
    if (!fits || !lay_out(counts, element_bytes, at, &total)) {
        return MLCC_ERROR(NO_MEMORY, "the page tables of the KV cache exceed 64 bits of bytes");
    }
    MLCC_TRY(mlcc_block_alloc(total, "the page tables of the KV cache", &cache->block));
    char *data = cache->block.data;
    cache->free_pages = (int32_t *)(void *)(data + at[0]);
    cache->pages = (int32_t *)(void *)(data + at[1]);
    cache->lengths = (int64_t *)(void *)(data + at[2]);
    cache->is_live = (bool *)(void *)(data + at[3]);
    cache->n_free = cache->n_pages;
    for (int64_t i = 0; i < cache->n_pages; i++)
        cache->free_pages[i] = (int32_t)(cache->n_pages - 1 - i);
    return NULL;
}

static mlcc_status *create_tensors(mlcc_kv_cache *cache, const size_t *page_bytes) {
    cache->tensors = calloc((size_t)cache->n_layers + 1, sizeof *cache->tensors);
    if (cache->tensors == NULL)
        return MLCC_ERROR(NO_MEMORY, "the list of cache tensors cannot be had");
    for (int64_t layer = 0; layer < cache->n_layers; layer++) {
        size_t size_bytes = 0;
        if (!mlcc_size_mul((size_t)cache->n_pages, page_bytes[layer], &size_bytes)) {
            return MLCC_ERROR(
                NO_MEMORY, "%" PRId64 " pages of %zu bytes exceed 64 bits", cache->n_pages,
                page_bytes[layer]);
        }
        MLCC_TRY(mlcc_device_alloc(
            cache->device, size_bytes, "the KV cache of one layer", &cache->tensors[layer]));
    }
    return NULL;
}

mlcc_status *mlcc_kv_cache_create(
    mlcc_device *device, int64_t n_layers, const size_t *page_bytes, int64_t n_pages,
    int32_t max_sequences, int64_t max_slots, mlcc_kv_cache *out) {
    *out = (mlcc_kv_cache){0};
    assert(n_layers >= 0 && max_sequences >= 1 && max_slots >= 1);
    if (n_pages < 1 || n_pages > INT32_MAX) {
        return MLCC_ERROR(
            INVALID,
            "a KV cache of %" PRId64
            " pages is not possible; accepted are 1 … %d (of %d tokens each)",
            n_pages, INT32_MAX, MLCC_PAGE_TOKENS);
    }
    out->device = device;
    out->n_layers = n_layers;
    out->n_pages = n_pages;
    out->max_sequences = max_sequences;
    out->max_slots = max_slots;
    mlcc_status *status = create_lists(out);
    if (status == NULL) status = create_tensors(out, page_bytes);
    if (status != NULL) mlcc_kv_cache_free(out);
    return status;
}

void mlcc_kv_cache_free(mlcc_kv_cache *cache) {
    for (int64_t layer = 0; cache->tensors != NULL && layer < cache->n_layers; layer++) {
        mlcc_device_free(cache->device, &cache->tensors[layer]);
    }
    free(cache->tensors);
    mlcc_block_free(&cache->block);
    *cache = (mlcc_kv_cache){0};
}

int32_t mlcc_kv_cache_add(mlcc_kv_cache *cache) {
    for (int32_t sequence = 0; sequence < cache->max_sequences; sequence++) {
        if (cache->is_live[sequence]) continue;
        cache->is_live[sequence] = true;
        cache->lengths[sequence] = 0;
        return sequence;
    }
    return -1;
}

void mlcc_kv_cache_remove(mlcc_kv_cache *cache, int32_t sequence) {
    mlcc_kv_cache_truncate(cache, sequence, 0);
    cache->is_live[sequence] = false;
}

bool mlcc_kv_cache_is_live(const mlcc_kv_cache *cache, int32_t sequence) {
    return sequence >= 0 && sequence < cache->max_sequences && cache->is_live[sequence];
}

int64_t mlcc_kv_cache_missing(const mlcc_kv_cache *cache, int32_t sequence, int64_t n_new) {
    int64_t length = cache->lengths[sequence];
    return mlcc_kv_pages_of(length + n_new) - mlcc_kv_pages_of(length);
}

void mlcc_kv_cache_grow(mlcc_kv_cache *cache, int32_t sequence, int64_t n_new) {
    int64_t n_missing = mlcc_kv_cache_missing(cache, sequence, n_new);
    int64_t n_held = mlcc_kv_pages_of(cache->lengths[sequence]);
    assert(n_missing <= cache->n_free && n_held + n_missing <= cache->max_slots);
    int32_t *pages = cache->pages + sequence * cache->max_slots;
    for (int64_t i = 0; i < n_missing; i++) pages[n_held + i] = cache->free_pages[--cache->n_free];
    cache->lengths[sequence] += n_new;
}

void mlcc_kv_cache_truncate(mlcc_kv_cache *cache, int32_t sequence, int64_t n_tokens) {
    assert(n_tokens >= 0 && n_tokens <= cache->lengths[sequence]);
    const int32_t *pages = cache->pages + sequence * cache->max_slots;
    int64_t n_kept = mlcc_kv_pages_of(n_tokens);
    for (int64_t i = mlcc_kv_pages_of(cache->lengths[sequence]); i > n_kept; i--) {
        cache->free_pages[cache->n_free++] = pages[i - 1];
    }
    cache->lengths[sequence] = n_tokens;
}
