// pass: what a pass is, and what it is given. One pass = one file `passes/<graph|plan>/<name>.c` = one function `pass_<name>` = one row in
// passes.def = one golden folder `tests/golden/passes/<name>/`. A pass changes the module in place through ir/walk and ir/builder, allocates
// results in module->keep and helpers in context->scratch (emptied after every pass), and never verifies, dumps or prints: the pipeline does.
#ifndef MLCC_PASSES_PASS_H
#define MLCC_PASSES_PASS_H

#include "ir/ir.h"
#include "quantization/mode.h"
#include "runtime/base/str.h"

// What the plan passes ask the target; dist connects it to codegen, tests to a stub. Passes never see codegen.
typedef struct pass_target {
    void *user;
    // Kernel for a group function, e.g. "linear_panel16__x86_avx512"; `why` (may be NULL) receives one line per row that was refused.
    mlcc_status *(*choose_kernel)(
        void *user, const ir_function *group, const char **kernel, mlcc_str *why);
    // Device layout of a param that operand `operand` of `op` reads: "rows", "panel16", …
    const char *(*choose_layout)(void *user, ir_op op, int32_t operand, const ir_type *type);
    // Whether linears of this weight want rounded activations as codes with scales (linear_scaled; linear_scaled_experts for a stack): fp8 with 3 or 2
    // mantissa bits, i8 with 7. NULL: none does.
    bool (*takes_codes)(void *user, const ir_type *weight, int64_t mantissa_bits, int64_t group);
    // Whether linears of this weight are faster with rows of this dtype than with f32, which they are before. NULL: none is.
    bool (*takes_dtype)(void *user, const ir_type *weight, ir_dtype dtype);
    // Kernel for a chain of launches (ir/chain.h) and its largest number of rows; NULL where none fits. May be NULL itself: the target has no chains.
    const char *(*choose_chain)(void *user, const ir_function *chain, int64_t *max_rows);
} pass_target;

typedef struct pass_context {
    mlcc_arena *scratch;
    const quant_mode *mode;    // quantization mode; NULL: `quantize` leaves the module as it is
    const pass_target *target; // NULL: plan passes report an error
    bool exact;                // only the mode itself may round activations (--opt exact)
    mlcc_str *explain;         // kernel choices are appended when not NULL (--explain-kernels)
} pass_context;

typedef mlcc_status *pass_function(ir_module *module, pass_context *context);

// One prototype per row: a row without its function does not link.
#define PASS(name, needs, leaves, why) pass_function pass_##name;
#include "passes/passes.def"

typedef struct pass_info {
    const char *name;
    pass_function *function;
    ir_level needs, leaves;
    const char *why;
} pass_info;

#endif
