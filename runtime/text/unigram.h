// unigram: the segmentation of a word with the highest sum of scores (Kudo 2018, arXiv:1804.10959), by Viterbi's algorithm over a trie.
//
// A character that begins no piece of just its length may stand alone as unknown, ten below the worst score. Rows of unknown characters
// are one unknown text; with byte fallback it becomes "<0x0A>" pieces where all of them exist. Results equal those of Hugging Face
// tokenizers 0.23, models/unigram, and in single precision those of SentencePiece 0.2 (unigram_model.cc, EncodeOptimized).
#ifndef MLCC_RUNTIME_TEXT_UNIGRAM_H
#define MLCC_RUNTIME_TEXT_UNIGRAM_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/vocabulary.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_unigram mlcc_unigram;
typedef struct mlcc_unigram_scratch mlcc_unigram_scratch;

typedef struct mlcc_unigram_piece {
    const char *text;
    size_t length;
    double score;
    bool is_verbatim; // user-defined: its score does not count for the worst
    bool
        is_hidden; // has an id, but no text is made of it (control pieces of SentencePiece, and its bytes)
} mlcc_unigram_piece;

typedef struct mlcc_unigram_options {
    const mlcc_unigram_piece *
        pieces; // [n_pieces] by id; of equal texts the last one counts; needed only during the call
    size_t n_pieces;
    int32_t unknown_id; // -1: a text with unknown characters is an error
    bool has_byte_fallback;
    bool rounds_to_single; // adds scores as SentencePiece does
} mlcc_unigram_options;

// INVALID: unknown_id is beyond the pieces, a score is no number.
mlcc_status *mlcc_unigram_create(const mlcc_unigram_options *options, mlcc_unigram **out);
void mlcc_unigram_free(mlcc_unigram *unigram);
mlcc_unigram_scratch *mlcc_unigram_scratch_create(void); // NULL when memory ends
void mlcc_unigram_scratch_free(mlcc_unigram_scratch *scratch);
// Appends the ids of a word; `forbidden` as in word_model.h. INVALID: an unknown character and no unknown token.
mlcc_status *mlcc_unigram_encode(
    const mlcc_unigram *unigram, mlcc_unigram_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out);

// For the tokenizer cache; rules as in word_model.h.
void mlcc_unigram_pack(const mlcc_unigram *unigram, mlcc_bytes *out);
mlcc_status *mlcc_unigram_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_unigram **out);

#endif
