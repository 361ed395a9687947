// tiktoken: a tokenizer from a *.tiktoken file (openai/tiktoken: lines of "BASE64 RANK"), the form in which Qwen 1, Llama 3 as Meta gives it
// and OpenAI's encodings come.
//
// The file holds bytes and ranks only. The pattern that cuts words, the normal form and the special tokens belong to the family, which is
// known by tokenizer_class or by the file's name (a table in tiktoken.c); tokens that tokenizer_config.json names come first.
// Ids of ordinary text are those of tiktoken 0.14.
#ifndef MLCC_RUNTIME_TEXT_TIKTOKEN_H
#define MLCC_RUNTIME_TEXT_TIKTOKEN_H

#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_config.h"

// Whether the bytes look like the beginning of such a file.
bool mlcc_tiktoken_is_file(const char *bytes, size_t length);
// `what` names the file in errors. UNSUPPORTED: no family is known.
mlcc_status *mlcc_tiktoken_load(
    const char *bytes, size_t length, const char *what, const mlcc_tokenizer_config *config,
    mlcc_tokenizer **out);

#endif
