// passes: every GRAPH module that verifies goes through the passes without a crash, and what comes out of each pass verifies again (the pipeline
// looks) and reads back from its own text. The first byte chooses the quantization mode.
#include "ir/text.h"
#include "ir/verify.h"
#include "passes/pipeline.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Big shapes are no harder for a pass, but folding evaluates constants.
static bool is_small(const ir_module *module) {
    for (size_t i = 0; i < module->n_functions; i++) {
        for (const ir_node *node = module->functions[i]->first; node != NULL; node = node->next) {
            for (int32_t k = 0; k < node->n_results; k++) {
                int64_t n_elements = 0;
                if (!ir_type_bound_elements(&node->results[k]->type, &n_elements) ||
                    n_elements > 1 << 16)
                    return false;
            }
        }
    }
    return true;
}

static void run(ir_module *module, const quant_mode *mode, mlcc_arena *keep) {
    mlcc_arena *scratch = mlcc_arena_create();
    pass_context context = {.scratch = scratch, .mode = mode};
    const pass_options options = {.stop_after = "fuse_elementwise", .limit = -1};
    mlcc_status *status = pass_pipeline_run(module, &options, &context);
    if (status != NULL) {
        if (mlcc_status_code(status) == MLCC_INTERNAL) abort();
        mlcc_status_free(status);
    } else {
        mlcc_str text = {0};
        ir_module *again = NULL;
        ir_print_module(module, &text);
        if (ir_parse_module(text.data, text.length, "printed", keep, &again) != NULL) abort();
        if (ir_verify(again, IR_LEVEL_FUSED) != NULL) abort();
        mlcc_str_free(&text);
    }
    mlcc_arena_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    size_t n_modes = 0;
    const quant_mode *modes = quant_mode_table(&n_modes);
    const size_t choice = data[0] % (n_modes + 1);
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    mlcc_status *status =
        ir_parse_module((const char *)data + 1, size - 1, "fuzz.mlcir", keep, &module);
    if (status == NULL && module->level == IR_LEVEL_GRAPH && is_small(module)) {
        status = ir_verify(module, IR_LEVEL_GRAPH);
        if (status == NULL) run(module, choice < n_modes ? &modes[choice] : NULL, keep);
    }
    mlcc_status_free(status);
    mlcc_arena_free(keep);
    return 0;
}
