// decode: from tokens back to text, as `decoder` of tokenizer.json asks: a chain of steps, each turning a row of tokens into
// another row.
//
// The chain runs on a stream: a token is pushed, and what can no longer change comes out at once. Whole texts are decoded by the
// same code, so the pieces that a stream gives are, put together, the decoded whole. What comes out is always valid UTF-8.
// Some steps must wait: a row of byte tokens is text or U+FFFD depending on the last of them; a Strip at the end and a
// BPEDecoder need to know which token is the last.
#ifndef MLCC_RUNTIME_TEXT_DECODE_H
#define MLCC_RUNTIME_TEXT_DECODE_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"
#include "runtime/text/pattern.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum mlcc_decode_kind {
    MLCC_DECODE_JOIN,          // ' ' between tokens: what happens without a decoder
    MLCC_DECODE_BYTE_LEVEL,    // GPT-2's alphabet to bytes, all tokens to one
    MLCC_DECODE_REPLACE,       // pattern by content, in each token
    MLCC_DECODE_BYTE_FALLBACK, // "<0x0A>" to bytes
    MLCC_DECODE_FUSE,          // all tokens to one
    MLCC_DECODE_STRIP,         // up to `start` and `stop` times `content` at the ends of each token
    MLCC_DECODE_METASPACE,     // content to ' ', in the first token to nothing when `drops_first`
    MLCC_DECODE_SUFFIX,        // content (BPEDecoder's "</w>") to ' ', in the last token to nothing
    MLCC_DECODE_WORDPIECE, // without content ("##") in front after a token, else ' ' before all but the first
    MLCC_DECODE_CTC, // no token twice in a row, content (padding) to nothing, delimiter to ' '
    MLCC_N_DECODE_KINDS,
} mlcc_decode_kind;

typedef struct mlcc_decode_step {
    mlcc_decode_kind kind;
    mlcc_pattern pattern;
    const char *content;
    size_t content_bytes;
    size_t start, stop;
    bool drops_first;
    bool cleans;           // WORDPIECE, CTC: " ." to ".", " n't" to "n't", …
    const char *delimiter; // CTC
    size_t delimiter_bytes;
} mlcc_decode_step;

typedef struct mlcc_decoder {
    mlcc_decode_step *steps;
    size_t n_steps, capacity;
} mlcc_decoder;

typedef struct mlcc_decode_state mlcc_decode_state; // one running text

void mlcc_decoder_free(mlcc_decoder *decoder); // the steps' patterns

// `decoder` must outlive the state.
mlcc_status *mlcc_decode_state_create(const mlcc_decoder *decoder, mlcc_decode_state **out);
void mlcc_decode_state_free(mlcc_decode_state *state);
void mlcc_decode_reset(mlcc_decode_state *state); // forgets the running text
// Appends to `out` what is certain after this token.
mlcc_status *mlcc_decode_push(
    mlcc_decode_state *state, const char *token, size_t length, mlcc_bytes *out);
// Appends the rest and begins a new text.
mlcc_status *mlcc_decode_finish(mlcc_decode_state *state, mlcc_bytes *out);

#endif
