#include "runtime/base/hash.h"

#include "runtime/base/memory.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

uint64_t mlcc_hash64(const void *data, size_t size_bytes) {
    return XXH3_64bits(data, size_bytes);
}

static mlcc_hash128 from_xxh(XXH128_hash_t hash) {
    return (mlcc_hash128){.low = hash.low64, .high = hash.high64};
}

mlcc_hash128 mlcc_hash128_of(const void *data, size_t size_bytes) {
    return from_xxh(XXH3_128bits(data, size_bytes));
}

int mlcc_hash128_equal(mlcc_hash128 a, mlcc_hash128 b) {
    return a.low == b.low && a.high == b.high;
}

void mlcc_hash128_hex(mlcc_hash128 hash, char text[33]) {
    snprintf(
        text, 33, "%016llx%016llx", (unsigned long long)hash.high, (unsigned long long)hash.low);
}

// mlcc_hasher is xxHash's own state under another name: the header then needs no xxhash.h.
mlcc_hasher *mlcc_hasher_create(void) {
    XXH3_state_t *state = XXH3_createState();
    if (state == NULL) mlcc_memory_stop(sizeof(uint64_t) * 72);
    XXH3_128bits_reset(state);
    return (mlcc_hasher *)state;
}

void mlcc_hasher_update(mlcc_hasher *hasher, const void *data, size_t size_bytes) {
    // XXH3's update has one failure, a NULL input, which for zero bytes is none.
    if (size_bytes != 0) XXH3_128bits_update((XXH3_state_t *)hasher, data, size_bytes);
}

mlcc_hash128 mlcc_hasher_digest(const mlcc_hasher *hasher) {
    return from_xxh(XXH3_128bits_digest((const XXH3_state_t *)hasher));
}

void mlcc_hasher_free(mlcc_hasher *hasher) {
    XXH3_freeState((XXH3_state_t *)hasher);
}
