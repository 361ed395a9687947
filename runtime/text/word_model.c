#include "runtime/text/word_model.h"

#include "runtime/text/bpe.h"
#include "runtime/text/unigram.h"
#include "runtime/text/wordpiece.h"

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

// clang-format off
const mlcc_word_model_type
    mlcc_word_model_bpe       = {"BPE",       bpe_encode,       bpe_free,       bpe_scratch_create,     bpe_scratch_free},
    mlcc_word_model_unigram   = {"Unigram",   unigram_encode,   unigram_free,   unigram_scratch_create, unigram_scratch_free},
    mlcc_word_model_wordpiece = {"WordPiece", wordpiece_encode, wordpiece_free, NULL,                   NULL},
    mlcc_word_model_wordlevel = {"WordLevel", wordlevel_encode, wordlevel_free, NULL,                   NULL};
// clang-format on
