// compile_options: the texts that MLC's compile command takes: --overrides and --opt, and the
// suffix of -o.
#ifndef MLCC_DIST_ARTIFACT_COMPILE_OPTIONS_H
#define MLCC_DIST_ARTIFACT_COMPILE_OPTIONS_H

#include "frontend/hf/model_config.h"

// "key=value;key=value" with the keys context_window_size, sliding_window_size, prefill_chunk_size,
// attention_sink_size, max_batch_size, tensor_parallel_shards, pipeline_parallel_stages (integers)
// and disaggregation (true, 1, yes; false, 0, no). NULL and "" = none. -1 for the two window keys
// is MLC's "off" and leaves the field alone. Unknown keys, repeated keys and other values are
// INVALID.
mlcc_status *compile_overrides_parse(
    const char *text, hf_config_overrides *out, bool *disaggregation);
// What --opt asks for beyond MLC's.
typedef struct compile_opt {
    bool exact; // activations are rounded only where the mode says so
    bool tune;  // knobs of kernels are chosen by timing on this machine
} compile_opt;
// "O0" … "O3", "exact", "tune", or knobs "name=0;name=1" with exact and tune among them. MLC's are only checked, because every one of them
// names a GPU library. NULL = "O2".
mlcc_status *compile_opt_parse(const char *text, compile_opt *out);
// INVALID or UNSUPPORTED (with the reason) unless `path` ends in ".so" and its directory exists.
mlcc_status *compile_output_check(const char *path, mlcc_arena *scratch);

#endif
