// tokenizer_build: the steps that every reader of tokenizer files shares (tokenizer_json, sentencepiece, tiktoken).
//
//   mlcc_tokenizer_begin ─► pieces, by mlcc_tokenizer_add_piece ─► added tokens, by mlcc_tokenizer_place_added ─► model_type and model ─►
//   mlcc_tokenizer_finish; the lists of steps at any time before that
// After an error the caller closes what it has so far.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_BUILD_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_BUILD_H

#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_config.h"

mlcc_status *mlcc_tokenizer_begin(mlcc_tokenizer **out); // *out is NULL after an error
// Room for ids below n_tokens; false when memory ends.
bool mlcc_tokenizer_reserve_ids(mlcc_tokenizer *tokenizer, size_t n_tokens);
// The vocabulary's map must have been created. The text is copied. The first id of equal texts stays with `keeps_first`, else the last.
mlcc_status *mlcc_tokenizer_add_piece(
    mlcc_tokenizer *tokenizer, const char *file, const char *text, size_t length, int32_t id,
    bool keeps_first);
// `token` is the next free one of added_tokens, which must have room. A content that the vocabulary has keeps the id it has there.
// INVALID: its content was added before, its id belongs to another text. `place` names it in errors: "added_tokens[3]".
mlcc_status *mlcc_tokenizer_place_added(
    mlcc_tokenizer *tokenizer, const char *file, const char *place, mlcc_added_token *token);
// Adds the post-processor that puts BOS in front and EOS behind, where the configuration or the kind of tokenizer asks for it. `bos` and `eos`
// are the usual names, for a configuration that has none.
mlcc_status *mlcc_tokenizer_add_ends(
    mlcc_tokenizer *tokenizer, const mlcc_tokenizer_config *config, const char *bos,
    const char *eos);
mlcc_status *mlcc_tokenizer_finish(mlcc_tokenizer *tokenizer);

#endif
