// kv_cache: the paged cache of keys and values, and who owns which page.
//
// A page holds MLCC_PAGE_TOKENS tokens of one sequence. Page p is the same place in the cache
// tensor of every layer, so one page list per sequence serves all layers. The tensors lie in the
// device's memory at their full size; the CPU's takes memory only where pages are touched. The lists
// are the host's. Pages are handed out lowest first, so equal steps give equal page tables. After
// creation nothing is allocated.
// Thread rule: one thread at a time.
#ifndef MLCC_RUNTIME_MODEL_KV_CACHE_H
#define MLCC_RUNTIME_MODEL_KV_CACHE_H

#include "runtime/abi.h"
#include "runtime/base/status.h"
#include "runtime/device/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_kv_cache {
    mlcc_device *device;
    int64_t n_layers;
    mlcc_memory *tensors; // [n_layers], each [n_pages, page bytes of the layer]
    int64_t n_pages, n_free;
    int32_t *free_pages; // [n_pages], a stack: the next page is free_pages[n_free - 1]
    int32_t max_sequences;
    int64_t max_slots; // longest page list of a sequence
    int32_t *pages;    // [max_sequences, max_slots]
    int64_t *lengths;  // [max_sequences], tokens
    bool *is_live;     // [max_sequences]
    mlcc_block block;  // what the four lists lie in
} mlcc_kv_cache;

// Pages that n_tokens of one sequence take.
static inline int64_t mlcc_kv_pages_of(int64_t n_tokens) {
    return n_tokens / MLCC_PAGE_TOKENS + (n_tokens % MLCC_PAGE_TOKENS != 0);
}

// `page_bytes`: [n_layers]. `max_slots` ≥ 1 bounds the pages of one sequence. NO_MEMORY when the
// tables or tensors cannot be had. `device` must outlive the cache.
mlcc_status *mlcc_kv_cache_create(
    mlcc_device *device, int64_t n_layers, const size_t *page_bytes, int64_t n_pages,
    int32_t max_sequences, int64_t max_slots, mlcc_kv_cache *out);
void mlcc_kv_cache_free(mlcc_kv_cache *cache); // all zeros is fine

// The lowest sequence number that is not in use, now live with length 0; -1 when all are in use.
int32_t mlcc_kv_cache_add(mlcc_kv_cache *cache);
void mlcc_kv_cache_remove(mlcc_kv_cache *cache, int32_t sequence);
// False for any number out of range.
bool mlcc_kv_cache_is_live(const mlcc_kv_cache *cache, int32_t sequence);
// Pages to be taken before `n_new` tokens more fit.
int64_t mlcc_kv_cache_missing(const mlcc_kv_cache *cache, int32_t sequence, int64_t n_new);
// Lengthens a sequence; the missing pages must be free and its list long enough.
void mlcc_kv_cache_grow(mlcc_kv_cache *cache, int32_t sequence, int64_t n_new);
// Shortens a sequence to `n_tokens` ≤ its length and gives back the pages it no longer needs.
void mlcc_kv_cache_truncate(mlcc_kv_cache *cache, int32_t sequence, int64_t n_tokens);

#endif
