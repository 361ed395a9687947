// hash: XXH3-64 and XXH3-128 (the only door to xxHash), and MD5 for MLC's tensor-cache.json (RFC 1321; a file check, no security).
#ifndef MLCC_RUNTIME_BASE_HASH_H
#define MLCC_RUNTIME_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_hash128 {
    uint64_t low;
    uint64_t high;
} mlcc_hash128;

uint64_t mlcc_hash64(const void *data, size_t size_bytes);
mlcc_hash128 mlcc_hash128_of(const void *data, size_t size_bytes);
int mlcc_hash128_equal(mlcc_hash128 a, mlcc_hash128 b);
// 32 lower-case hex digits and a NUL, high half first (xxhsum's canonical form).
void mlcc_hash128_hex(mlcc_hash128 hash, char text[33]);

typedef struct mlcc_hasher mlcc_hasher; // XXH3-128 in pieces
mlcc_hasher *mlcc_hasher_create(void);
void mlcc_hasher_update(mlcc_hasher *hasher, const void *data, size_t size_bytes);
mlcc_hash128 mlcc_hasher_digest(const mlcc_hasher *hasher);
void mlcc_hasher_free(mlcc_hasher *hasher);

typedef struct mlcc_md5 {
    uint32_t state[4];
    uint64_t length_bytes;
    unsigned char block[64];
} mlcc_md5;
void mlcc_md5_init(mlcc_md5 *md5);
void mlcc_md5_update(mlcc_md5 *md5, const void *data, size_t size_bytes);
// Several sums at once: one vector instruction does a step of all of them, which takes little longer
// than one sum alone. Advances each by n_blocks * 64 bytes. Every one must stand at a multiple of 64
// bytes; entries with data NULL are left alone.
enum { MLCC_MD5_LANES = 8 };
void mlcc_md5_update_lanes(
    mlcc_md5 *const md5[MLCC_MD5_LANES], const void *const data[MLCC_MD5_LANES], size_t n_blocks);
void mlcc_md5_hex(mlcc_md5 *md5, char text[33]); // finishes; 32 lower-case hex digits and a NUL

#endif
