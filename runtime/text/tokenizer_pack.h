// tokenizer_pack: a whole tokenizer, of whatever file it came from, as one row of bytes that is used where it lies: what tokenizer_cache keeps.
//
//   sections   tokens, added tokens, normalizer, pre-tokenizer, decoder, post-processor, model; each begins with its number
//
// Vocabulary, pairs, tries and scores stay in the bytes; what is small (added tokens, steps) is built from them with the functions that read
// tokenizer.json. Every number is checked, so that any bytes are either refused or make a tokenizer that is safe to use: ids below
// n_tokens, places inside their texts, texts in UTF-8, hash tables with a free slot at which searches end.
#ifndef MLCC_RUNTIME_TEXT_TOKENIZER_PACK_H
#define MLCC_RUNTIME_TEXT_TOKENIZER_PACK_H

#include "runtime/text/pack.h"
#include "runtime/text/tokenizer.h"

// To be raised when the bytes mean something else, or when a reader makes something else of the same files.
enum { MLCC_TOKENIZER_PACK_VERSION = 1 };

mlcc_status *mlcc_tokenizer_pack(const mlcc_tokenizer *tokenizer, mlcc_bytes *out);
// The bytes must be aligned as pack.h asks and outlive the tokenizer. INVALID: damaged.
mlcc_status *mlcc_tokenizer_unpack(const char *data, size_t length, mlcc_tokenizer **out);

#endif
