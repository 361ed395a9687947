// walk: uses, replacement, erasure, order. Passes change IR only through these and the builder.
#ifndef MLCC_IR_WALK_H
#define MLCC_IR_WALK_H

#include "ir/ir.h"

// for (ir_node *n = f->first; n; n = n->next) walks in order; take `next` first when erasing.
// operands and returns
int32_t ir_value_count_uses(const ir_function *function, const ir_value *value);
// Whether `value` is computed from `source` (or is it), inside one function. Writes value.user of results.
bool ir_value_depends(const ir_function *function, const ir_value *value, const ir_value *source);
// Every operand and return of the function that is `from` becomes `to`.
void ir_value_replace(ir_function *function, ir_value *from, ir_value *to);
void ir_node_erase(ir_node *node); // results must be unused (assert)
void ir_node_move_before(ir_node *node, ir_node *position);
bool ir_node_precedes(const ir_node *a, const ir_node *b); // same function
// Moves a function in the module's list to just before `before` (callees precede callers).
void ir_module_move_function(ir_module *module, ir_function *function, const ir_function *before);
void ir_module_remove_function(ir_module *module, ir_function *function);
// renumbers value.index of the rest
void ir_module_remove_param(ir_module *module, ir_param *param);
// Moves a param to place `index` of the module's list and renumbers value.index of all.
void ir_module_move_param(ir_module *module, ir_param *param, size_t index);
void ir_module_remove_const(ir_module *module, ir_const *constant);
// The value whose memory `value` is: follows in-place results (kv_append, also through the group that a call or launch names) to the operand
// that they write into; any other value is its own root.
ir_value *ir_value_memory_root(ir_value *value);
// Copies the body of `source` into `target` before node `before` (NULL = end); `map_args` gives a value per argument. Returns the values that
// `source` returns, in `results` (n_returns entries).
void ir_function_inline(
    const ir_function *source, ir_function *target, ir_node *before, ir_value *const *map_args,
    ir_value **results);
ir_module *ir_module_clone(const ir_module *module, mlcc_arena *keep);

#endif
