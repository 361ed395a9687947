// calibration_data: the texts that a model is calibrated with: read, filtered and drawn.
//
// A dataset is one of
//   a JSON list           of objects with "conversations" (ShareGPT: [{"from": …, "value": …}, …]),
//                         "messages" ([{"role": …, "content": …}, …]) or "text", or of plain strings
//   JSON lines            one such object or string a line
//   text                  names that end in .txt, .text or .md, and whatever begins with neither `[`
//                         nor `{`: paragraphs (blank lines between), in pieces of at most 2048 bytes
//
// A sample is, as in MLC LLM, the first two turns of a conversation: the prompt, put into the model's
// conversation template (its own Jinja template where mlc-chat-config.json names one, as in `mlcc
// chat`; or the one that was asked for), and after it the reference answer. (MLC lets the model answer, as many
// tokens as the reference has; feeding the reference is deterministic, needs one pass, and shows the
// layers text of the same kind.) System turns in front are skipped. Dropped are prompts or answers of
// fewer than 4 tokens, prompts of more than 1024, and what exceeds `max_tokens` in all. A text is fed
// as it is after the tokenizer's special tokens, cut at `max_tokens`, and dropped below 4 tokens.
//
// Drawing: the dataset's entries are put into a random order (Fisher-Yates; entry i changes places
// with one of i … n - 1, by the high half of 128 bits of splitmix64(seed) times n - i) and taken one
// after the other, dropped ones left out, until there are enough: every usable entry is equally
// likely, and only those that are looked at are tokenized. Samples keep that order.
#ifndef MLCC_DIST_ARTIFACT_CALIBRATION_DATA_H
#define MLCC_DIST_ARTIFACT_CALIBRATION_DATA_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"

#include <stddef.h>
#include <stdint.h>

typedef struct calibration_options {
    const char *path;
    const char *directory; // model directory: its mlc-chat-config.json tells the template
    // NULL or "auto": what the configuration says; else the name of one of MLC LLM's templates
    const char *conv_template;
    const mlcc_tokenizer *tokenizer;
    int64_t n_samples; // ≥ 1
    uint64_t seed;
    int64_t max_tokens; // longest sample
} calibration_options;

typedef struct calibration_sample {
    const int32_t *ids;
    int64_t n_ids;
    size_t entry; // which of the dataset, from 0
} calibration_sample;

typedef struct calibration_data {
    calibration_sample *samples; // fewer than n_samples when the dataset has no more usable ones
    size_t n_samples;
    size_t n_entries; // of the dataset
    int64_t n_tokens; // over all samples
} calibration_data;

// Everything lives in `keep`. Errors: INVALID when the file is empty, no valid JSON (with the entry
// and its line), or holds no usable entry (with the reasons and how often each). IO.
mlcc_status *calibration_data_read(
    const calibration_options *options, mlcc_arena *keep, calibration_data *out);

#endif
