// compile_metadata: what lib.so tells about itself: MLC's `_metadata` keys (reference 6.5) and,
// under "mlcc", what mlcc adds.
#ifndef MLCC_DIST_ARTIFACT_COMPILE_METADATA_H
#define MLCC_DIST_ARTIFACT_COMPILE_METADATA_H

#include "codegen/target.h"
#include "frontend/hf/model_config.h"
#include "quantization/mode.h"
#include "runtime/base/str.h"

typedef struct compile_facts {
    const hf_model_config *config;
    const quant_mode *mode;
    const codegen_cpu *cpu;
    const char *cuda_archs;  // "sm_80,compute_80"; NULL: a library for the CPU
    const char *cpu_levels;  // names of all CPU levels, "x86-64-v3,x86-64-v4"; NULL: there is one
    const ir_module *module; // PLAN level
    int64_t max_tokens, max_sequences;
    int64_t active_vocab_size;                 // -1 = unknown
    const char *model_task;                    // "chat", "embedding"
    const mlcc_json_value *embedding_metadata; // of mlc-chat-config.json, as found; NULL: none
    ir_dtype kv_dtype;
} compile_facts;

// One line of JSON.
mlcc_status *compile_metadata_json(const compile_facts *facts, mlcc_str *out);

#endif
