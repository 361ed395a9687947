// pattern: what a tokenizer.json may search for: a literal string, a regular expression, or a kind of character.
//
// mlcc_pattern_split covers a text with pieces, alternating as needed between matches and what lies between them, in order and
// without gaps. Empty matches are kept, except right behind another match (as in Rust's onig crate, FindMatches).
#ifndef MLCC_RUNTIME_TEXT_PATTERN_H
#define MLCC_RUNTIME_TEXT_PATTERN_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/pack.h"
#include "runtime/text/regex.h"
#include "runtime/text/word_scan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef bool mlcc_character_test(uint32_t code);

typedef struct mlcc_pattern {
    const char *literal; // used when all below are NULL
    size_t literal_bytes;
    mlcc_regex *regex;              // owned
    mlcc_character_test *is_member; // every such character is a match of its own
    mlcc_word_scan *scan;           // a regular expression that is written out in word_scan.c
} mlcc_pattern;

// Literal text lives in `keep`. An empty literal matches everywhere, as an empty regular expression does.
mlcc_status *mlcc_pattern_of_literal(
    const char *literal, size_t length, mlcc_arena *keep, mlcc_pattern *out);
mlcc_status *mlcc_pattern_of_regex(const char *regex, size_t length, mlcc_pattern *out);
mlcc_pattern mlcc_pattern_of_test(mlcc_character_test *is_member);
void mlcc_pattern_free(mlcc_pattern *pattern);
// Whether there is anything to look for; an all-zero pattern is none, and must not be searched for.
bool mlcc_pattern_is_set(const mlcc_pattern *pattern);
void mlcc_pattern_pack(const mlcc_pattern *pattern, mlcc_bytes *out);
// *out is all zeros where none was packed, or when the reader has failed; a literal stays in the packed bytes. Errors as of compiling.
mlcc_status *mlcc_pattern_unpack(mlcc_unpacker *in, mlcc_pattern *out);

// Appends to `out`; at_start is not set. Nothing is appended for an empty text.
mlcc_status *mlcc_pattern_split(
    const mlcc_pattern *pattern, mlcc_regex_scratch *scratch, const char *text, size_t length,
    mlcc_pieces *out);
// Appends `text` with every match replaced by `content`. `pieces` is working memory. INVALID, and nothing is appended, where that would be more
// than max_bytes: files may ask for replacements that feed each other.
mlcc_status *mlcc_pattern_replace(
    const mlcc_pattern *pattern, mlcc_regex_scratch *scratch, const char *text, size_t length,
    const char *content, size_t content_bytes, size_t max_bytes, mlcc_pieces *pieces,
    mlcc_bytes *out);

#endif
