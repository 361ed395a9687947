// word_model: what a model does for the tokenizer: a word (normalised and cut by the pre-tokenizer) becomes ids. One row per model.type of
// tokenizer.json; the rows are in word_model.c, each model in a file of its own.
//
// Thread rule: a model may be used by many threads, a scratch by one.
#ifndef MLCC_RUNTIME_TEXT_WORD_MODEL_H
#define MLCC_RUNTIME_TEXT_WORD_MODEL_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/vocabulary.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_word_model_type {
    const char *name;
    // Appends the ids of a word (valid UTF-8, not empty). `forbidden`, [n_tokens] by id, marks the tokens that must not come out because the
    // word spells them (the unknown token may still stand for what has no other); NULL: none.
    mlcc_status *(*encode)(
        const void *model, void *scratch, const char *word, size_t length, const uint8_t *forbidden,
        mlcc_ids *out);
    void (*free)(void *model);
    void *(*scratch_create)(void); // NULL when memory ends
    void (*scratch_free)(void *scratch);
    // Writes the model for the tokenizer cache, and reads it back: what is big stays in the packed bytes, which must outlive the model. Reading
    // leaves *model NULL when the reader has failed; every id that the model can give is below n_tokens.
    void (*pack)(const void *model, mlcc_bytes *out);
    mlcc_status *(*unpack)(
        mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, void **model);
} mlcc_word_model_type;

extern const mlcc_word_model_type mlcc_word_model_bpe, mlcc_word_model_unigram,
    mlcc_word_model_wordpiece, mlcc_word_model_wordlevel;
// The row with this name, or NULL.
const mlcc_word_model_type *mlcc_word_model_of(const char *name);

#endif
