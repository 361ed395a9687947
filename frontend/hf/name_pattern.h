// name_pattern: the regular expressions that quantization configs use to name modules ("re:.*mlp\\.gate$").
//
// The subset that such files hold, with the meaning of Python's re.match (anchored at the start, not at the end): literals, '.', '\' before
// punctuation, \d \w \s, classes [a-z0-9_] and [^…], the quantifiers * + ? (lazy or not: only whether it matches counts), groups (…) and (?:…),
// alternatives a|b, ^ and $. Anything else (look-ahead, counted repetition, back references) is refused by name. Matching takes time proportional to
// pattern times name, whatever the pattern (Thompson 1968).
#ifndef MLCC_FRONTEND_HF_NAME_PATTERN_H
#define MLCC_FRONTEND_HF_NAME_PATTERN_H

#include "runtime/base/status.h"

#include <stdbool.h>

// UNSUPPORTED: the pattern uses something else; names it and the place.
mlcc_status *hf_name_pattern_matches(const char *pattern, const char *name, bool *out);

#endif
