// module: growing a module without looking for taken names. For the builder and the parser, which
// know that a name is free; everybody else uses builder.h.
#ifndef MLCC_IR_MODULE_H
#define MLCC_IR_MODULE_H

#include "ir/ir.h"

ir_symbol *ir_module_append_symbol(ir_module *module, const char *name, int64_t bound);
ir_param *ir_module_append_param(
    ir_module *module, const char *name, ir_type type, const char *const *sources,
    int32_t n_sources);
// `data` is kept, not copied: it must live in module->keep.
ir_const *ir_module_append_const(ir_module *module, const char *name, ir_type type, void *data);
// A group goes before the first entry function, so that groups always precede their callers.
ir_function *ir_module_append_function(ir_module *module, const char *name, bool is_group);

// Makes a node out of checked parts: `operands` and `attrs` are copied, result values made from
// `types`; inserted before `before` (NULL = at the end).
ir_node *ir_function_insert(
    ir_function *function, ir_node *before, ir_op op, ir_value *const *operands, int32_t n_operands,
    const ir_attr *attrs, int32_t n_attrs, const ir_type *types, int32_t n_results);

#endif
