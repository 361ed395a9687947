// pipeline: runs the rows of passes.def in order; after each row it verifies the level that the row promises, dumps, times, and notes the
// pass name in any error. The pass itself knows nothing of this.
#ifndef MLCC_PASSES_PIPELINE_H
#define MLCC_PASSES_PIPELINE_H

#include "passes/pass.h"

#include <stdio.h>

typedef struct pass_options {
    const char *const *only; // names, in the order to run them; NULL = all rows that fit
    size_t n_only;
    const char *stop_after; // name, or NULL
    const char *start_at;   // name, or NULL
    int32_t limit;          // run at most so many passes (bisecting); -1 = all
    const char *dump;       // "after:NAME[,NAME]", "before:NAME", "all", "changed"; NULL = none
    const char *dump_dir;   // NN-name.mlcir files; NULL = dump_stream
    FILE *dump_stream;
    bool times; // log seconds per pass at info level
} pass_options;

// Runs the rows in order. Default ones whose `needs` level lies below the module's level are skipped, so a dumped module can be fed back.
// Unknown pass names are INVALID with the nearest name.
mlcc_status *pass_pipeline_run(
    ir_module *module, const pass_options *options, pass_context *context);
const pass_info *pass_table(size_t *n_passes);
const pass_info *pass_find(const char *name); // NULL when unknown

#endif
