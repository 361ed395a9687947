// Any bytes as tensor-cache.json: a status or an index whose records lie inside their shards, never
// a crash.
#include "runtime/model/tensor_cache.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes) {
    mlcc_tensor_cache *cache = NULL;
    mlcc_status *status =
        mlcc_tensor_cache_parse((const char *)data, size_bytes, "dir/tensor-cache.json", &cache);
    if (status != NULL) {
        char *text = mlcc_status_format(status, 1);
        free(text);
        mlcc_status_free(status);
        if (cache != NULL) abort();
        return 0;
    }
    for (size_t i = 0; i < cache->n_records; i++) {
        const mlcc_tensor_record *record = &cache->records[i];
        if (record->shard >= cache->n_shards) abort();
        uint64_t shard_bytes = cache->shards[record->shard].size_bytes;
        if (record->offset_bytes > shard_bytes ||
            record->size_bytes > shard_bytes - record->offset_bytes)
            abort();
        if (mlcc_tensor_cache_find(cache, record->name) != record) abort();
    }
    (void)mlcc_tensor_cache_identity(cache);
    mlcc_tensor_cache_close(cache);
    return 0;
}
