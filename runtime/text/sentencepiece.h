// sentencepiece: a tokenizer from SentencePiece's own file, tokenizer.model (google/sentencepiece, sentencepiece_model.proto): BPE and
// Unigram, its normalizer, byte fallback, user-defined and control pieces.
//
// Ordinary text gives the ids of SentencePiece 0.2. Control pieces and what the configuration adds are found in texts, as Hugging Face's
// tokenizers do and SentencePiece does not; each stretch between them is a text of its own, with its own dummy prefix.
#ifndef MLCC_RUNTIME_TEXT_SENTENCEPIECE_H
#define MLCC_RUNTIME_TEXT_SENTENCEPIECE_H

#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_config.h"

// `what` names the file in errors; nothing points into `bytes` afterwards.
mlcc_status *mlcc_sentencepiece_load(
    const char *bytes, size_t length, const char *what, const mlcc_tokenizer_config *config,
    mlcc_tokenizer **out);

#endif
