// added_tokens: tokens that are cut out of the text before anything else happens to it ("<s>", "<|im_start|>", "\n\n").
//
// The longest of those that begin leftmost wins. Tokens with `normalized` are looked for in the normalised text (in their own
// normalised form), the others in the text as it came. Behaviour follows Hugging Face tokenizers 0.23, added_vocabulary.rs.
#ifndef MLCC_RUNTIME_TEXT_ADDED_TOKENS_H
#define MLCC_RUNTIME_TEXT_ADDED_TOKENS_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"
#include "runtime/text/buffer.h"
#include "runtime/text/regex.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_added_token {
    const char *content;
    size_t content_bytes;
    const char *pattern; // what is looked for: the content, or its normalised form
    size_t pattern_bytes;
    int32_t id;
    bool single_word; // not beside a letter, digit or underscore
    bool lstrip;      // takes the white space before it
    bool rstrip;      // takes the white space behind it
    bool is_normalized;
    bool is_special;
} mlcc_added_token;

// A stretch of text: an added token, or (token NULL) ordinary text.
typedef struct mlcc_span {
    size_t begin;
    size_t end;
    const mlcc_added_token *token;
} mlcc_span;

typedef struct mlcc_spans {
    mlcc_span *items;
    size_t n;
    size_t capacity;
} mlcc_spans;

typedef struct mlcc_added_tokens mlcc_added_tokens; // one of the two sets

// The set of the tokens whose is_normalized equals `normalized`; `tokens` must outlive it.
mlcc_status *mlcc_added_tokens_create(
    const mlcc_added_token *tokens, size_t n_tokens, bool normalized, mlcc_added_tokens **out);
void mlcc_added_tokens_free(mlcc_added_tokens *set);
// Replaces `out` with spans that cover the text. `scratch` is used for tokens with single_word. A special token that lies in a
// guarded range, even partly, is not found; the ranges are in order, not empty and do not overlap.
mlcc_status *mlcc_added_tokens_split(
    const mlcc_added_tokens *set, mlcc_regex_scratch *scratch, const char *text, size_t length,
    const mlcc_text_range *guarded, size_t n_guarded, mlcc_spans *out);
// Whether a special token is among them.
bool mlcc_added_tokens_have_special(const mlcc_added_tokens *set);
void mlcc_spans_free(mlcc_spans *spans);

#endif
