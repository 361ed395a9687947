// sentences: what sentence-transformers' files beside config.json say about making one vector of a text: modules.json (the chain of modules),
// 1_Pooling/config.json (or the folder that modules.json names), sentence_bert_config.json (length).
//
// Without modules.json the answer is MLC LLM's for its BERT models: the first token's row, normalized.
#ifndef MLCC_FRONTEND_HF_SENTENCES_H
#define MLCC_FRONTEND_HF_SENTENCES_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct hf_sentences {
    const char *pooling; // static: "cls", "mean", "max", "mean_sqrt_len", "weighted_mean", "last"
    bool normalizes;
    int64_t max_tokens; // of a text; 0 = not said
} hf_sentences;

// `directory` may be NULL (a preset). UNSUPPORTED: another module (a dense layer behind the pooling), no or several ways of pooling at once.
mlcc_status *hf_sentences_read(const char *directory, mlcc_arena *keep, hf_sentences *out);

#endif
