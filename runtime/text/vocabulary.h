// vocabulary: the pieces of a model and their ids, as three plain arrays without pointers, so that a tokenizer cache can hold them as they
// are used. A hash table of 32-bit numbers of entries points into the entries, these into one text. Order of insertion is kept.
//
// Thread rule: many readers or one writer. Pointers to pieces end with the next addition.
#ifndef MLCC_RUNTIME_TEXT_VOCABULARY_H
#define MLCC_RUNTIME_TEXT_VOCABULARY_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/pack.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_vocabulary mlcc_vocabulary;

mlcc_vocabulary *mlcc_vocabulary_create(
    size_t expected_pieces); // stops the program when memory ends
void mlcc_vocabulary_free(mlcc_vocabulary *vocabulary);
size_t mlcc_vocabulary_count(const mlcc_vocabulary *vocabulary);
// Adds a piece, whose id is not negative; false (and nothing changed) when it was there.
bool mlcc_vocabulary_add(mlcc_vocabulary *vocabulary, const char *piece, size_t length, int32_t id);
// Adds it or gives it this id.
void mlcc_vocabulary_set(mlcc_vocabulary *vocabulary, const char *piece, size_t length, int32_t id);
// The id, or -1.
int32_t mlcc_vocabulary_find(const mlcc_vocabulary *vocabulary, const char *piece, size_t length);
// Entry `index` in order of insertion: the piece with a NUL behind it, and its id.
const char *mlcc_vocabulary_piece(
    const mlcc_vocabulary *vocabulary, size_t index, size_t *length, int32_t *id);

// Writes all of it, and reads it back as a view of the packed bytes, which must outlive it and cannot be added to. What is read is checked:
// every piece is valid UTF-8 inside the text, every id below n_tokens. NULL: damaged (and the reader says so).
void mlcc_vocabulary_pack(const mlcc_vocabulary *vocabulary, mlcc_bytes *out);
mlcc_vocabulary *mlcc_vocabulary_unpack(mlcc_unpacker *in, size_t n_tokens);

#endif
