// buffer: growable bytes, pieces and ids for the work between text and tokens.
//
// A failed allocation sets `failed` and leaves the contents as they were: appending goes on as a no-op, offsets taken from
// `length` stay inside the data, and the code that owns the buffer asks mlcc_bytes_check (…) once per stage.
// An empty buffer is all zeros. No buffer grows beyond 2 GiB, so offsets fit 32 bits.
#ifndef MLCC_RUNTIME_TEXT_BUFFER_H
#define MLCC_RUNTIME_TEXT_BUFFER_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_bytes {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} mlcc_bytes;

// A stretch [begin, end) of some text.
typedef struct mlcc_piece {
    uint32_t begin;
    uint32_t end;
    bool is_match; // found by the pattern, as opposed to lying between two matches
    bool at_start; // begins where the caller's whole text begins (Metaspace prepends only there)
} mlcc_piece;

typedef struct mlcc_pieces {
    mlcc_piece *items;
    size_t n;
    size_t capacity;
    bool failed;
} mlcc_pieces;

typedef struct mlcc_ids {
    int32_t *items;
    size_t n;
    size_t capacity;
    bool failed;
} mlcc_ids;

// Stretches of a text in order, none empty, none touching another.
typedef struct mlcc_ranges {
    mlcc_text_range *items;
    size_t n;
    size_t capacity;
    bool failed;
} mlcc_ranges;

void mlcc_bytes_append(mlcc_bytes *bytes, const char *data, size_t length);
void mlcc_bytes_put(mlcc_bytes *bytes, char byte);
// Room for `extra` more bytes behind `length`; false (and failed) when there is none.
bool mlcc_bytes_reserve(mlcc_bytes *bytes, size_t extra);
void mlcc_bytes_clear(mlcc_bytes *bytes); // length 0, memory kept, failure forgotten
void mlcc_bytes_free(mlcc_bytes *bytes);
mlcc_status *mlcc_bytes_check(const mlcc_bytes *bytes); // NO_MEMORY after a failure

// A copy in `keep` with a NUL behind it; the data may hold NUL bytes.
const char *mlcc_bytes_keep(mlcc_arena *keep, const char *data, size_t length);

void mlcc_pieces_push(mlcc_pieces *pieces, mlcc_piece piece);
void mlcc_pieces_clear(mlcc_pieces *pieces);
void mlcc_pieces_free(mlcc_pieces *pieces);
mlcc_status *mlcc_pieces_check(const mlcc_pieces *pieces);

void mlcc_ids_push(mlcc_ids *ids, int32_t id);
void mlcc_ids_append(mlcc_ids *ids, const int32_t *items, size_t n);
void mlcc_ids_clear(mlcc_ids *ids);
void mlcc_ids_free(mlcc_ids *ids);
mlcc_status *mlcc_ids_check(const mlcc_ids *ids);

// Adds a range at the end: nothing when it is empty, more of the last one when it begins where that ends or before.
void mlcc_ranges_push(mlcc_ranges *ranges, size_t begin, size_t end);
void mlcc_ranges_clear(mlcc_ranges *ranges);
void mlcc_ranges_free(mlcc_ranges *ranges);
mlcc_status *mlcc_ranges_check(const mlcc_ranges *ranges);

#endif
