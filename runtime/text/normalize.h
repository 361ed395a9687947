// normalize: the text before it is split: what `normalizer` of tokenizer.json asks for, as a list of steps.
#ifndef MLCC_RUNTIME_TEXT_NORMALIZE_H
#define MLCC_RUNTIME_TEXT_NORMALIZE_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/charsmap.h"
#include "runtime/text/pattern.h"
#include "runtime/text/unicode.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum mlcc_normalize_kind {
    MLCC_NORMALIZE_PREPEND, // content before a text that is not empty
    MLCC_NORMALIZE_REPLACE, // pattern by content
    MLCC_NORMALIZE_FORM,    // a Unicode normal form
    MLCC_NORMALIZE_LOWERCASE,
    MLCC_NORMALIZE_STRIP,            // white space at one or both ends
    MLCC_NORMALIZE_STRIP_ACCENTS,    // drops all marks
    MLCC_NORMALIZE_BYTE_LEVEL,       // bytes as GPT-2's alphabet
    MLCC_NORMALIZE_NMT,              // control characters away, special white space to ' '
    MLCC_NORMALIZE_BERT_CLEAN,       // the same after BERT's rules
    MLCC_NORMALIZE_BERT_CHINESE,     // spaces around every Chinese character
    MLCC_NORMALIZE_STRIP_NONSPACING, // drops marks without a width (BERT's accents)
    MLCC_NORMALIZE_PRECOMPILED,      // by charsmap
    MLCC_NORMALIZE_SENTENCEPIECE,    // all that SentencePiece does, by its rules
    MLCC_N_NORMALIZE_KINDS,
} mlcc_normalize_kind;

typedef struct mlcc_normalize_step {
    mlcc_normalize_kind kind;
    mlcc_pattern pattern;
    const char *content;
    size_t content_bytes;
    mlcc_unicode_form form;
    bool strips_left, strips_right;
    const mlcc_charsmap *charsmap;
    const mlcc_sentencepiece_rules *rules;
} mlcc_normalize_step;

typedef struct mlcc_normalizer {
    mlcc_normalize_step *steps;
    size_t n_steps, capacity;
} mlcc_normalizer;

typedef struct mlcc_normalize_scratch {
    mlcc_bytes buffers[2];
    mlcc_pieces pieces;
    mlcc_bytes part;           // while ranges are followed
    mlcc_ranges moved;         // likewise
    mlcc_regex_scratch *regex; // borrowed
    size_t max_bytes;          // what a text may grow to; set by mlcc_normalize_ranges
} mlcc_normalize_scratch;

// *out points into the scratch (until the next call) or, when nothing changes, is `text` itself.
// *drops_start: the beginning of the text was stripped.
mlcc_status *mlcc_normalize(
    const mlcc_normalizer *normalizer, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const char **out, size_t *out_length, bool *drops_start);
// The same, and `ranges` of the text become the ranges of *out that come from them, at least: a character that is made from both
// sides of a border belongs to the range (normalize_follow.c).
mlcc_status *mlcc_normalize_ranges(
    const mlcc_normalizer *normalizer, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, mlcc_ranges *ranges, const char **out, size_t *out_length, bool *drops_start);
// One step, appended to `out`; not for STRIP, which only narrows the text.
mlcc_status *mlcc_normalize_step_run(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, mlcc_bytes *out);
// Moves the ranges over the step that has just made `out` of the text.
mlcc_status *mlcc_normalize_follow(
    const mlcc_normalize_step *step, mlcc_normalize_scratch *scratch, const char *text,
    size_t length, const mlcc_bytes *out, mlcc_ranges *ranges);
void mlcc_normalize_scratch_free(mlcc_normalize_scratch *scratch);
void mlcc_normalizer_free(
    mlcc_normalizer *normalizer); // the steps' patterns; the list lives in an arena

#endif
