// calibrate: the scales of a model's activations, measured on sample texts (the function behind
// `mlcc calibrate`).
//
// MLC LLM's three steps: weights and library are made with e4m3_e4m3_f16_max_calibrate; calibrate
// runs samples through that library, which records the largest |x| that every quantized linear gets,
// and writes the scales into the weight store; a library compiled with e4m3_e4m3_f16 then uses them,
// without a second conversion. A store converted with e4m3_e4m3_f16 is fine, too: its markers ("0:
// scales at run time") are replaced.
//
//   <module>.q_calibration_scale  float32 [1] = max(fp16(maximum) / 448, 1 / (512 * 448)) in float16
//                                 arithmetic: how MLC scales a weight (quant_fp8_scale)
//
// Sources: mlc-llm python/mlc_llm/interface/calibrate.py,
// quantization/per_tensor_quantization.py. The same model, texts, seed and library give the same
// bytes. The store changes in one instant at the very end (tensor_cache_update.h); a run that ends
// early changes nothing.
#ifndef MLCC_DIST_ARTIFACT_CALIBRATE_H
#define MLCC_DIST_ARTIFACT_CALIBRATE_H

#include "runtime/base/arena.h"
#include "runtime/base/status.h"
#include "runtime/mlcc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Longest sample in tokens, as MLC has it.
#define ARTIFACT_CALIBRATE_MAX_TOKENS 2048

typedef struct artifact_calibrate_options {
    const char *directory;     // model directory with tokenizer, config and weights
    const char *dataset;       // calibration_data.h
    const char *conv_template; // likewise
    int64_t n_samples;         // ≥ 1
    uint64_t seed;
    int64_t max_tokens; // longest sample; 0 = 2048; never more than the context window
    const char *output; // directory whose store receives the scales; NULL = `directory`
    // Library that records maxima. NULL: DIRECTORY/lib.so if it does, else one is compiled for the
    // occasion in a temporary folder, with `opt` and `overrides` of compile.h.
    const char *library;
    const char *opt, *overrides;
    int32_t n_threads;  // 0 = physical cores
    bool verify;        // check the md5 of every weight shard first
    const char *device; // of mlcc_model_options
    mlcc_progress
        *progress; // phases of mlcc_model_open, then "calibrating" with tokens; may be NULL
    void *progress_user;
} artifact_calibrate_options;

typedef struct artifact_calibrated {
    const char *name; // "model.layers.0.mlp.down_proj.q_calibration_scale"
    float maximum, scale;
} artifact_calibrated;

typedef struct artifact_calibrate_result {
    artifact_calibrated *rows; // [n_rows], in the order of the library
    size_t n_rows;
    float min_scale, median_scale, max_scale;
    size_t n_samples, n_entries;
    int64_t n_tokens;
    bool has_compiled; // a library was made for the occasion
    size_t n_replaced, n_added;
    bool is_unchanged; // the store held exactly these scales
    const char *shard; // file that holds them now; NULL when unchanged
    double run_s, seconds;
} artifact_calibrate_result;

// `result` lives in `keep`. Errors: INVALID for the directory, the dataset and their content (no
// store in the output directory, another mode, no usable text), MISMATCH when library and weights do
// not belong together or the library records nothing; those of compile, mlcc_model_open and
// artifact_store_update.
mlcc_status *artifact_calibrate(
    const artifact_calibrate_options *options, mlcc_arena *keep, artifact_calibrate_result *result);

#endif
