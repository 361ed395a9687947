// regex: regular expressions of tokenizer.json, which are written for Oniguruma with Ruby's syntax. The only door to PCRE2.
//
// mlcc_regex_translate rewrites a pattern where the two differ (Unicode classes, what a line is, set operations inside
// brackets); matching is with Unicode properties, `^` and `$` at every line, compiled to machine code where the system allows
// it. Each search has a limit on steps, so that a hostile pattern ends with an error and not in an endless loop.
// Thread rule: a regex may be used by many threads, a scratch by one.
#ifndef MLCC_RUNTIME_TEXT_REGEX_H
#define MLCC_RUNTIME_TEXT_REGEX_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"

#include <stdbool.h>
#include <stddef.h>

// The items of a bracket expression for what \w means in Rust: Oniguruma's, the two joiners, and the letters in circles and squares.
#define MLCC_RUST_WORD_ITEMS \
    "\\w\\u200C\\u200D\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-" \
    "\\x{1F189}"

typedef struct mlcc_regex mlcc_regex;
typedef struct mlcc_regex_scratch mlcc_regex_scratch; // what one thread needs for searching

// `pattern` is valid UTF-8. Errors: INVALID with the reason and the place in the pattern; UNSUPPORTED for syntax that has no
// counterpart.
mlcc_status *mlcc_regex_compile(const char *pattern, size_t length, mlcc_regex **out);
void mlcc_regex_free(mlcc_regex *regex);
// The pattern it was compiled from.
const char *mlcc_regex_source(const mlcc_regex *regex, size_t *length);

mlcc_regex_scratch *mlcc_regex_scratch_create(void); // NULL when memory ends
void mlcc_regex_scratch_free(mlcc_regex_scratch *scratch);

// The leftmost match at or after `from`; `text` is valid UTF-8 and is all that assertions see. *found false: there is none.
mlcc_status *mlcc_regex_find(
    const mlcc_regex *regex, mlcc_regex_scratch *scratch, const char *text, size_t length,
    size_t from, bool *found, size_t *begin, size_t *end);

// Whether PCRE2 knows a script of this name: "Han".
bool mlcc_regex_is_script(const char *name, size_t length);
// Appends the PCRE2 pattern that means the same as `pattern` does to Oniguruma (regex_syntax.c).
mlcc_status *mlcc_regex_translate(const char *pattern, size_t length, mlcc_bytes *out);
// The part for one bracket expression (regex_class.c): *position stands on its '[' and is moved behind its ']'.
mlcc_status *mlcc_regex_translate_class(
    const char *pattern, size_t length, size_t *position, mlcc_bytes *out);
// The items for a bracket expression that "\s", "\w", … and "\p{NAME}" stand for. `letter`: d s w h; NULL when unknown.
const char *mlcc_regex_shorthand(char letter);
// Reads "{NAME}" or "{^NAME}" at *position; appends "\p{…}" or "\P{…}" in PCRE2's spelling.
mlcc_status *mlcc_regex_translate_property(
    const char *pattern, size_t length, size_t *position, bool is_negated, mlcc_bytes *out);

#endif
