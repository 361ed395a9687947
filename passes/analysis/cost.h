// cost: arithmetic and weight traffic of one forward pass: what a speed is compared with. Reads IR, changes nothing.
#ifndef MLCC_PASSES_ANALYSIS_COST_H
#define MLCC_PASSES_ANALYSIS_COST_H

#include "ir/ir.h"

// Products with weights only: attention depends on the length of the cache, everything else is small beside them.
typedef struct cost_step {
    int64_t flop_per_token; // 2 N K of every linear whose rows are tokens
    int64_t
        flop_per_logits_row; // of every other linear: it runs on the rows whose logits are wanted
    int64_t
        weight_bytes_per_step; // stored bytes of all linear weights: read once a step, however many tokens
} cost_step;

// Adds what `launch` does, a node of a PLAN-level entry function. Errors: a weight without a storage format.
mlcc_status *cost_add_launch(const ir_node *launch, cost_step *cost);
// `function` is an entry function of a PLAN-level module. Errors as above.
mlcc_status *cost_of_step(const ir_function *function, cost_step *out);

#endif
