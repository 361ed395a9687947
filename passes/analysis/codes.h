// codes: which products want the rows that they read as codes with scales.
#ifndef MLCC_PASSES_ANALYSIS_CODES_H
#define MLCC_PASSES_ANALYSIS_CODES_H

#include "passes/pass.h"

// Whether `node` is a linear or linear_experts whose operand 0 the target wants as codes of so many mantissa bits, with a scale for `group` columns. Where
// operand 0 holds a part for every chosen expert, no group may lie in two parts. `target` must take codes (pass.h).
bool codes_are_wanted(
    const pass_target *target, const ir_node *node, int64_t mantissa_bits, int64_t group);

#endif
