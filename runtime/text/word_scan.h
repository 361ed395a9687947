// word_scan: the patterns by which most byte-level tokenizers cut text into words (GPT-2's, Llama 3's, Qwen's, o200k of GPT-4o,
// gpt-oss and Llama 4, Mistral's Tekken), written out by hand. They are known by
// their text; every other pattern is left to PCRE2, which takes about four times as long.
//
// These patterns match at every place, so a text is a row of matches without gaps.
#ifndef MLCC_RUNTIME_TEXT_WORD_SCAN_H
#define MLCC_RUNTIME_TEXT_WORD_SCAN_H

#include <stddef.h>

// Where the match that begins at `at` ends; at < length, valid UTF-8, a character begins at `at`.
typedef size_t mlcc_word_scan(const char *text, size_t length, size_t at);

// The scanner for a regular expression, or NULL.
mlcc_word_scan *mlcc_word_scan_of(const char *regex, size_t length);
// A regular expression that has this scanner.
const char *mlcc_word_scan_regex(mlcc_word_scan *scan);

#endif
