// pretokenize: cuts normalised text into words, as `pre_tokenizer` of tokenizer.json asks. No merge crosses a word.
#ifndef MLCC_RUNTIME_TEXT_PRETOKENIZE_H
#define MLCC_RUNTIME_TEXT_PRETOKENIZE_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/pattern.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum mlcc_pretokenize_kind {
    MLCC_PRETOKENIZE_SPLIT,      // by pattern; also Digits, Punctuation, Whitespace, …
    MLCC_PRETOKENIZE_BYTE_LEVEL, // by pattern when it has one, then bytes become GPT-2's alphabet
    MLCC_PRETOKENIZE_METASPACE,  // ' ' becomes `replacement`, which begins words
    MLCC_N_PRETOKENIZE_KINDS,
} mlcc_pretokenize_kind;

// What becomes of the matches of a split on '-' in "the-final--countdown".
typedef enum mlcc_split_behavior {
    MLCC_SPLIT_REMOVED,              // the final countdown
    MLCC_SPLIT_ISOLATED,             // the - final - - countdown
    MLCC_SPLIT_MERGED_WITH_PREVIOUS, // the- final- - countdown
    MLCC_SPLIT_MERGED_WITH_NEXT,     // the -final - -countdown
    MLCC_SPLIT_CONTIGUOUS,           // the - final -- countdown
    MLCC_N_SPLIT_BEHAVIORS,
} mlcc_split_behavior;

typedef enum mlcc_prepend_scheme {
    MLCC_PREPEND_ALWAYS,
    MLCC_PREPEND_FIRST, // only where the whole text begins
    MLCC_PREPEND_NEVER,
    MLCC_N_PREPEND_SCHEMES,
} mlcc_prepend_scheme;

typedef struct mlcc_pretokenize_step {
    mlcc_pretokenize_kind kind;
    mlcc_pattern pattern;
    bool has_pattern;
    mlcc_split_behavior behavior;
    bool inverts;    // what lies between matches counts as the match
    bool adds_space; // BYTE_LEVEL: ' ' before every piece that has none
    mlcc_prepend_scheme scheme;
    const char *replacement; // METASPACE: one character
    size_t replacement_bytes;
} mlcc_pretokenize_step;

typedef struct mlcc_pretokenizer {
    mlcc_pretokenize_step *steps;
    size_t n_steps, capacity;
} mlcc_pretokenizer;

typedef struct mlcc_pretokenize_scratch {
    mlcc_bytes buffers[2];
    mlcc_pieces words[2];
    mlcc_pieces matches;
    mlcc_regex_scratch *regex; // borrowed
} mlcc_pretokenize_scratch;

// *out and *words point into the scratch, until the next call. No word is empty.
mlcc_status *mlcc_pretokenize(
    const mlcc_pretokenizer *pretokenizer, mlcc_pretokenize_scratch *scratch, const char *text,
    size_t length, bool at_start, const char **out, const mlcc_pieces **words);
void mlcc_pretokenize_scratch_free(mlcc_pretokenize_scratch *scratch);
// The stretches of one script each: what UnicodeScripts cuts by (unicode_scripts.c).
mlcc_status *mlcc_pattern_of_scripts(mlcc_pattern *out);
void mlcc_pretokenizer_free(mlcc_pretokenizer *pretokenizer); // the steps' patterns

#endif
