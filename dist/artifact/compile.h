// compile: a model configuration becomes lib.so (the function behind `mlcc compile`). Needs no
// weights.
//
// mlc-chat-config.json -> IR module -> the whole pass pipeline, with the target answering its
// questions -> metadata -> code generation. The same options and tools give the same bytes,
// wherever it runs; with --opt tune the tuning cache is one of the inputs, and the machine when it is empty.
#ifndef MLCC_DIST_ARTIFACT_COMPILE_H
#define MLCC_DIST_ARTIFACT_COMPILE_H

#include "ir/ir.h"
#include "runtime/base/str.h"

#include <stdbool.h>
#include <stdio.h>

typedef struct artifact_compile_options {
    // Model directory or mlc-chat-config.json; with `quantization` also a Hugging Face folder, its
    // config.json, or a preset.
    const char *model;
    const char *quantization; // NULL: the config's
    const char *model_type;   // NULL or "auto": the config's
    // NULL, "auto", "cpu"; "cuda" or "cuda:sm_80,…" (codegen/cuda/cuda_archs.h), "cuda:native" (compile_device.h)
    const char *device;
    // The CPU, in a CUDA library the one that prepares weights; names in codegen/target.h. A list holds the CPU levels of one library
    // (codegen_split_levels), not for CUDA. NULL: "native", for CUDA the oldest CPU of this machine's family
    const char *target;
    const char *overrides; // "key=value;key=value" of compile_options.h; NULL = none
    const char *opt;       // compile_options.h; NULL = "O2"
    const char
        *output; // file ending in ".so" in an existing directory; not looked at where plan_only
    // Everything but code: reads the config, imports the model, runs the passes, chooses a kernel for every group. Writes no library.
    bool plan_only;
    const char *linker;        // NULL: MLCC_LINKER, ld.lld-19, ld.lld, ld
    const char *debug_dump;    // directory that receives IR, LLVM IR and report; NULL = none
    const char *dump_ir;       // "after:PASS[,PASS]", "before:PASS", "all", "changed"; NULL = none
    FILE *dump_stream;         // where dump_ir goes when there is no debug_dump; NULL = stdout
    bool time_passes;          // log seconds per pass at info level
    mlcc_str *explain_kernels; // receives one paragraph per group; NULL = none
    const char *tune_dir; // where --opt tune keeps what it found; NULL = the user's cache folder
    // Called while --opt tune times kernels, with candidates done and in all; NULL = silent.
    void (*tune_progress)(void *user, const char *phase, uint64_t done, uint64_t total);
    void *tune_user;
} artifact_compile_options;

typedef struct artifact_compile_result {
    uint64_t workspace_bytes;      // of the largest function
    uint64_t library_bytes;        // 0 where plan_only
    uint64_t weight_bytes;         // of all params as convert_weight stores them
    uint64_t n_weights;            // their elements
    uint64_t n_groups, n_launches; // of the last CPU level, as is workspace_bytes
    uint64_t n_levels;
    int64_t max_tokens, max_sequences; // of one step
    double frontend_s, passes_s, codegen_s, seconds;
} artifact_compile_result;

// `result` may be NULL. Errors: config, mode, overrides, opt, target, output suffix (UNSUPPORTED
// for the kinds that MLC can write and mlcc cannot).
mlcc_status *artifact_compile(
    const artifact_compile_options *options, artifact_compile_result *result);

#endif
