// post_process: special tokens around the encoded text ("<s>" in front), as `post_processor` of tokenizer.json asks.
//
// Each step is a template: a row of fixed ids and of places where the text's ids go.
#ifndef MLCC_RUNTIME_TEXT_POST_PROCESS_H
#define MLCC_RUNTIME_TEXT_POST_PROCESS_H

#include "runtime/base/status.h"
#include "runtime/text/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mlcc_template_part {
    bool is_text;       // the ids so far
    const int32_t *ids; // else these
    size_t n_ids;
} mlcc_template_part;

typedef struct mlcc_template {
    mlcc_template_part *parts;
    size_t n_parts, capacity;
} mlcc_template;

typedef struct mlcc_post_processor {
    mlcc_template *steps;
    size_t n_steps, capacity;
} mlcc_post_processor;

// Appends to `out` the ids with what the steps put around them; without `add_special` only the places of the text count.
// `scratch` is two working lists.
mlcc_status *mlcc_post_process(
    const mlcc_post_processor *processor, const int32_t *ids, size_t n_ids, bool add_special,
    mlcc_ids scratch[2], mlcc_ids *out);

#endif
