// liveness: when every intermediate of an entry function is first written and last read. Reads IR, changes nothing.
#ifndef MLCC_PASSES_ANALYSIS_LIVENESS_H
#define MLCC_PASSES_ANALYSIS_LIVENESS_H

#include "ir/ir.h"

// One value that needs memory: a launch's result that is neither returned nor the memory of an operand.
typedef struct liveness_interval {
    ir_value *value;
    // Node numbers, both included: a result never shares memory with an operand of its own launch. The launches of a chain have one number.
    int32_t first, last;
    int64_t size_bytes; // with every symbol at its bound, rounded up to 64
} liveness_interval;

// Intervals in order of `first`. Errors: a size that 63 bits do not hold.
mlcc_status *liveness_intervals(
    const ir_function *function, mlcc_arena *scratch, liveness_interval **out, int32_t *n_out);

#endif
