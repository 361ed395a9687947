// wordpiece: greedy longest match from the left (google-research/bert, tokenization.py), and the model that only knows whole words.
//
// A word that is too long or has a part that matches nothing becomes one unknown token. Results equal those of Hugging Face tokenizers
// 0.23, models/wordpiece and models/wordlevel.
#ifndef MLCC_RUNTIME_TEXT_WORDPIECE_H
#define MLCC_RUNTIME_TEXT_WORDPIECE_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/vocabulary.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_wordpiece mlcc_wordpiece;
typedef struct mlcc_wordlevel mlcc_wordlevel;

// `vocab` (piece → id) is needed during the call only; `prefix` marks pieces that continue a word ("##").
mlcc_status *mlcc_wordpiece_create(
    const mlcc_vocabulary *vocab, int32_t unknown_id, const char *prefix, size_t max_characters,
    mlcc_wordpiece **out);
void mlcc_wordpiece_free(mlcc_wordpiece *wordpiece);
// `forbidden` as in word_model.h.
mlcc_status *mlcc_wordpiece_encode(
    const mlcc_wordpiece *wordpiece, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out);

// `vocab` must outlive the model. unknown_id -1: a word that is not in it is an error.
mlcc_status *mlcc_wordlevel_create(
    const mlcc_vocabulary *vocab, int32_t unknown_id, mlcc_wordlevel **out);
void mlcc_wordlevel_free(mlcc_wordlevel *wordlevel);
mlcc_status *mlcc_wordlevel_encode(
    const mlcc_wordlevel *wordlevel, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out);

// For the tokenizer cache; rules as in word_model.h.
void mlcc_wordpiece_pack(const mlcc_wordpiece *wordpiece, mlcc_bytes *out);
mlcc_status *mlcc_wordpiece_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_wordpiece **out);
// For the tokenizer cache; rules as in word_model.h.
void mlcc_wordlevel_pack(const mlcc_wordlevel *wordlevel, mlcc_bytes *out);
mlcc_status *mlcc_wordlevel_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_wordlevel **out);

#endif
