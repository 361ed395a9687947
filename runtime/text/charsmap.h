// charsmap: SentencePiece's table of replacements ("precompiled_charsmap"), and the two ways in which it is applied.
//
// The table is a double-array trie (darts-clone: 32-bit units, bit 8 "a member ends here", bits 10… the offset, bit 9 shifts it by 8) from
// bytes to places in a blob of NUL-terminated replacement texts. It comes from a file: every step is checked against its size, and a place
// outside the blob is no rule.
//   mlcc_charsmap_normalize   as Hugging Face's normalizer "Precompiled" does (spm_precompiled 0.1): grapheme by grapheme, and the
//                             shortest rule counts, not the longest
//   mlcc_sentencepiece_normalize   as SentencePiece itself does (normalizer.cc): the longest rule; white space, dummy prefix, escaping
#ifndef MLCC_RUNTIME_TEXT_CHARSMAP_H
#define MLCC_RUNTIME_TEXT_CHARSMAP_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/trie.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_charsmap {
    const uint32_t *units; // [n_units]
    size_t n_units;
    const char *texts; // valid UTF-8, NUL-terminated each
    size_t text_bytes;
} mlcc_charsmap;

// The rules of a SentencePiece model's normalizer_spec.
typedef struct mlcc_sentencepiece_rules {
    mlcc_charsmap charsmap;    // n_units 0: none
    const mlcc_trie *verbatim; // user-defined pieces, which nothing changes; NULL: none
    bool adds_dummy_prefix;    // a space in front
    bool removes_extra_spaces; // at the ends, and all but one of a row
    bool escapes_spaces;       // ' ' becomes '▁'
} mlcc_sentencepiece_rules;

// Reads the binary form; the tables are copied into `keep`. An empty blob is an empty table. INVALID: sizes that contradict each other, a
// text that is no UTF-8.
mlcc_status *mlcc_charsmap_read(
    const char *blob, size_t size_bytes, mlcc_arena *keep, mlcc_charsmap *out);
// The replacement for the start of the text; false: no rule. *rule_bytes of text are replaced.
bool mlcc_charsmap_find(
    const mlcc_charsmap *map, const char *text, size_t length, bool takes_longest,
    const char **replacement, size_t *rule_bytes);
// Both append to `out`; the text is valid UTF-8.
void mlcc_charsmap_normalize(
    const mlcc_charsmap *map, const char *text, size_t length, mlcc_bytes *out);
void mlcc_sentencepiece_normalize(
    const mlcc_sentencepiece_rules *rules, const char *text, size_t length, mlcc_bytes *out);

#endif
