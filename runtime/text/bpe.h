// bpe: byte pair encoding. A word becomes symbols (characters, or bytes where the vocabulary lacks a character), and the
// neighbouring pair with the lowest rank is merged until no pair has a rank (Sennrich et al. 2016, arXiv:1508.07909).
//
// Results equal those of Hugging Face tokenizers 0.23, models/bpe, for every option but dropout. Short words are merged by
// scanning, long ones with a heap in O(n log n); results are remembered per scratch.
// Thread rule: a model may be used by many threads, a scratch by one.
#ifndef MLCC_RUNTIME_TEXT_BPE_H
#define MLCC_RUNTIME_TEXT_BPE_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/trie.h"
#include "runtime/text/vocabulary.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_bpe mlcc_bpe;
typedef struct mlcc_bpe_scratch mlcc_bpe_scratch;

typedef struct mlcc_bpe_options {
    const mlcc_vocabulary *vocab; // piece → id; must outlive the model
    int32_t unknown_id;           // -1: unknown characters are dropped
    const char
        *prefix; // continuing_subword_prefix, before every character but the first; "" = none
    const char *suffix;     // end_of_word_suffix, behind the last character; "" = none
    bool fuses_unknown;     // a row of unknown characters gives one id
    bool has_byte_fallback; // unknown characters become "<0x0A>" pieces where all of them exist
    bool ignores_merges;    // a word that is in the vocabulary stays whole
    size_t n_merges;
} mlcc_bpe_options;

// Merges are added afterwards, in order of rank.
mlcc_status *mlcc_bpe_create(const mlcc_bpe_options *options, mlcc_bpe **out);
void mlcc_bpe_free(mlcc_bpe *bpe);
// At most n_merges times. The merged piece is left + right without the prefix. A pair that is given again takes the new rank.
// Errors: INVALID, naming the piece that is not in the vocabulary.
mlcc_status *mlcc_bpe_add_merge(
    mlcc_bpe *bpe, const char *left, size_t left_bytes, const char *right, size_t right_bytes);
// The same by ids, with a rank of its own: pairs of one rank are merged from the left (SentencePiece, tiktoken). The text of the merged
// piece tells whether words may be cut at '▁'.
mlcc_status *mlcc_bpe_add_pair(
    mlcc_bpe *bpe, int32_t left, int32_t right, int32_t merged, const char *merged_text,
    size_t merged_bytes, uint32_t rank);
// Pieces that are never cut and never merged, wherever they stand (SentencePiece's user-defined symbols). Owned by the model.
void mlcc_bpe_set_verbatim(mlcc_bpe *bpe, mlcc_trie *verbatim);
// Ends loading.
void mlcc_bpe_finish(mlcc_bpe *bpe);

mlcc_bpe_scratch *mlcc_bpe_scratch_create(void); // NULL when memory ends
void mlcc_bpe_scratch_free(mlcc_bpe_scratch *scratch);

// Appends the ids of a word (valid UTF-8, not empty); `forbidden` as in word_model.h.
mlcc_status *mlcc_bpe_encode(
    const mlcc_bpe *bpe, mlcc_bpe_scratch *scratch, const char *word, size_t length,
    const uint8_t *forbidden, mlcc_ids *out);

// For the tokenizer cache; rules as in word_model.h.
void mlcc_bpe_pack(const mlcc_bpe *bpe, mlcc_bytes *out);
mlcc_status *mlcc_bpe_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, mlcc_bpe **out);

#endif
