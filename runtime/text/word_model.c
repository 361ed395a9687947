#include "runtime/text/word_model.h"

#include "runtime/text/bpe.h"
#include "runtime/text/unigram.h"
#include "runtime/text/wordpiece.h"

#include <string.h>

static mlcc_status *bpe_encode(
    const void *model, void *scratch, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    return mlcc_bpe_encode(model, scratch, word, length, forbidden, out);
}

static void bpe_free(void *model) {
    mlcc_bpe_free(model);
}

static void *bpe_scratch_create(void) {
    return mlcc_bpe_scratch_create();
}

static void bpe_scratch_free(void *scratch) {
    mlcc_bpe_scratch_free(scratch);
}

static mlcc_status *unigram_encode(
    const void *model, void *scratch, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    return mlcc_unigram_encode(model, scratch, word, length, forbidden, out);
}

static void unigram_free(void *model) {
    mlcc_unigram_free(model);
}

static void *unigram_scratch_create(void) {
    return mlcc_unigram_scratch_create();
}

static void unigram_scratch_free(void *scratch) {
    mlcc_unigram_scratch_free(scratch);
}

static mlcc_status *wordpiece_encode(
    const void *model, void *scratch, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    (void)scratch;
    return mlcc_wordpiece_encode(model, word, length, forbidden, out);
}

static void wordpiece_free(void *model) {
    mlcc_wordpiece_free(model);
}

static mlcc_status *wordlevel_encode(
    const void *model, void *scratch, const char *word, size_t length, const uint8_t *forbidden,
    mlcc_ids *out) {
    (void)scratch;
    return mlcc_wordlevel_encode(model, word, length, forbidden, out);
}

static void wordlevel_free(void *model) {
    mlcc_wordlevel_free(model);
}

static void bpe_pack(const void *model, mlcc_bytes *out) {
    mlcc_bpe_pack(model, out);
}

static mlcc_status *bpe_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, void **model) {
    mlcc_bpe *own = NULL;
    mlcc_status *status = mlcc_bpe_unpack(in, vocab, n_tokens, &own);
    *model = own;
    return status;
}

static void unigram_pack(const void *model, mlcc_bytes *out) {
    mlcc_unigram_pack(model, out);
}

static mlcc_status *unigram_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, void **model) {
    mlcc_unigram *own = NULL;
    mlcc_status *status = mlcc_unigram_unpack(in, vocab, n_tokens, &own);
    *model = own;
    return status;
}

static void wordpiece_pack(const void *model, mlcc_bytes *out) {
    mlcc_wordpiece_pack(model, out);
}

static mlcc_status *wordpiece_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, void **model) {
    mlcc_wordpiece *own = NULL;
    mlcc_status *status = mlcc_wordpiece_unpack(in, vocab, n_tokens, &own);
    *model = own;
    return status;
}

static void wordlevel_pack(const void *model, mlcc_bytes *out) {
    mlcc_wordlevel_pack(model, out);
}

static mlcc_status *wordlevel_unpack(
    mlcc_unpacker *in, const mlcc_vocabulary *vocab, size_t n_tokens, void **model) {
    mlcc_wordlevel *own = NULL;
    mlcc_status *status = mlcc_wordlevel_unpack(in, vocab, n_tokens, &own);
    *model = own;
    return status;
}

// clang-format off
const mlcc_word_model_type
    mlcc_word_model_bpe       = {"BPE",       bpe_encode,       bpe_free,       bpe_scratch_create,     bpe_scratch_free,     bpe_pack,       bpe_unpack},
    mlcc_word_model_unigram   = {"Unigram",   unigram_encode,   unigram_free,   unigram_scratch_create, unigram_scratch_free, unigram_pack,   unigram_unpack},
    mlcc_word_model_wordpiece = {"WordPiece", wordpiece_encode, wordpiece_free, NULL,                   NULL,                 wordpiece_pack, wordpiece_unpack},
    mlcc_word_model_wordlevel = {"WordLevel", wordlevel_encode, wordlevel_free, NULL,                   NULL,                 wordlevel_pack, wordlevel_unpack};
// clang-format on

const mlcc_word_model_type *mlcc_word_model_of(const char *name) {
    static const mlcc_word_model_type *const types[] = {
        &mlcc_word_model_bpe, &mlcc_word_model_unigram, &mlcc_word_model_wordpiece,
        &mlcc_word_model_wordlevel};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i]->name, name) == 0) return types[i];
    }
    return NULL;
}
