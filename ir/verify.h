// verify: what each level promises. Run after every pass; an error says which node broke which rule and is an INTERNAL error after a pass,
// INVALID after parsing.
//
//   GRAPH  every op's operand count, dtypes and inferred shapes hold; operands are defined before use in the same function; names are unique;
//          attributes in range; no call, no launch
//   FUSED  as GRAPH, and entry functions may hold calls; every callee is a group function that precedes its callers; operand and result types match; a
//          group contains at most one anchor, all other ops element-wise; every group argument is used
//   PLAN   entry functions hold launches only; every result that is neither returned nor in place has an offset, offsets are multiples of 64, lie within
//          workspace_bytes, and no two values that are alive together overlap; every param that a group reads has a layout.
//          Offsets are checked once the function has a workspace size, layouts once any param has one: the plan passes fill them in step by step
//
// Broken modules are INVALID errors: the message says what is wrong, the notes which node, function and module.
#ifndef MLCC_IR_VERIFY_H
#define MLCC_IR_VERIFY_H

#include "ir/ir.h"

mlcc_status *ir_verify(const ir_module *module, ir_level level);

#endif
