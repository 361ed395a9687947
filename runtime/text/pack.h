// pack: numbers, texts and arrays in a row of bytes, for the tokenizer cache. Writing and reading go through the same order; numbers are little
// endian, arrays start at multiples of 16 bytes and are used where they lie.
//
// Nothing that is read is trusted: after the first value that does not fit, the reader has failed and everything else reads as 0, "" or
// an empty array. Who reads checks ids and indices against their limits (mlcc_unpack_below, mlcc_unpack_require) before use.
#ifndef MLCC_RUNTIME_TEXT_PACK_H
#define MLCC_RUNTIME_TEXT_PACK_H

#include "runtime/text/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MLCC_PACK_ALIGNMENT = 16 };

void mlcc_pack_u32(mlcc_bytes *out, uint32_t value);
void mlcc_pack_f64(mlcc_bytes *out, double value);
// At most 4 GiB; may hold NUL characters. A NUL follows.
void mlcc_pack_text(mlcc_bytes *out, const char *text, size_t length);
void mlcc_pack_array(mlcc_bytes *out, const void *items, size_t n, size_t item_bytes);

typedef struct mlcc_unpacker {
    const char *data; // aligned to MLCC_PACK_ALIGNMENT
    size_t length;
    size_t at;
    bool has_failed;
} mlcc_unpacker;

uint32_t mlcc_unpack_u32(mlcc_unpacker *in);
uint32_t mlcc_unpack_below(mlcc_unpacker *in, size_t limit); // fails when it is not below
bool mlcc_unpack_bool(mlcc_unpacker *in);
double mlcc_unpack_f64(mlcc_unpacker *in);
// Valid UTF-8 with a NUL behind it, inside the data. `length` may be NULL.
const char *mlcc_unpack_text(mlcc_unpacker *in, size_t *length);
const void *mlcc_unpack_array(mlcc_unpacker *in, size_t item_bytes, size_t *n);
// Fails unless it is true; returns whether all was well so far.
bool mlcc_unpack_require(mlcc_unpacker *in, bool is_good);
// An array of ids from `lowest` (0, or -1 for none) to n_tokens - 1.
const int32_t *mlcc_unpack_ids(mlcc_unpacker *in, int32_t lowest, size_t n_tokens, size_t *n);

#endif
