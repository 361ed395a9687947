// convert_weight: a Hugging Face model folder becomes the weight store of a model directory (the
// function behind `mlcc convert_weight`).
//
// config -> IR module -> graph passes (fusion, quantization) -> plan -> stream. What the params are
// called, which are joined and which format they get is decided by the same passes that compile
// runs; this file only moves numbers. Peak memory: 2 x the largest tensor + 64 MiB. On failure the
// output directory is as it was; on success it holds the complete new store (tensor_cache_write.h
// tells how).
#ifndef MLCC_DIST_ARTIFACT_CONVERT_WEIGHT_H
#define MLCC_DIST_ARTIFACT_CONVERT_WEIGHT_H

#include "dist/artifact/convert_report.h"
#include "dist/artifact/tensor_cache_write.h"
#include "frontend/hf/weight_source.h"

// Called by the calling thread; `phase` is "check" (finished shards that are read again, with
// `resume`), "convert" (done and total in source bytes) and then "publish".
typedef void artifact_progress(
    void *user, const char *phase, uint64_t done_bytes, uint64_t total_bytes);

typedef struct artifact_convert_options {
    const char *config;       // Hugging Face directory, config.json, or preset name
    const char *quantization; // a mode of quantization/modes.def
    const char *model_type;   // NULL or "auto": the config's
    // Directory, weight file or index; NULL or "auto": the directory of the config.
    const char *source;
    const char *source_format; // NULL or "auto"; names in hf_weight_formats
    hf_weight_source *weights; // instead of `source`: an open source, which stays open; NULL = none
    // Instead of `source`: made-up weights in the config's shape (random_weights.h).
    bool random_weights;
    const char *output; // model directory
    bool f32_as_bf16;   // float32 as MLC stores it
    // Goes on with what a killed conversion of the same inputs left in the directory, and keeps what
    // is finished when this one fails or is interrupted (artifact_store_options).
    bool resume;
    int32_t n_threads;           // 0 = physical cores
    artifact_progress *progress; // may be NULL
    void *progress_user;
} artifact_convert_options;

typedef struct artifact_convert_result {
    artifact_store_totals totals;
    uint64_t source_bytes;
    uint64_t n_params;
    convert_report report; // without the params of shards that were finished before
    double seconds;
} artifact_convert_result;

// `result` may be NULL. Errors: everything that is wrong with config, mode, source (missing tensors
// all at once, shapes, element types) and output.
mlcc_status *artifact_convert_weight(
    const artifact_convert_options *options, artifact_convert_result *result);

#endif
