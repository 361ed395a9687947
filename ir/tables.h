// tables: the rows of attrs.def, for the rooms inside ir. Ops and dtypes are read with ir_op_get
// and ir_dtype_get (ir.h).
#ifndef MLCC_IR_TABLES_H
#define MLCC_IR_TABLES_H

#include "ir/ir.h"

// Rows of attrs.def: room for the attributes of any op.
enum {
    IR_MAX_ATTRS = 0
#define ATTR(op, name, kind, default_value) +1
#include "ir/attrs.def"
};

typedef struct ir_attr_row {
    ir_op op;
    bool required;   // must be written; `initial` then holds no meaning
    ir_attr initial; // name, kind and default
} ir_attr_row;

// The attributes of `op` in attrs.def order (the rows of one op stand together); NULL and 0 when it
// has none.
const ir_attr_row *ir_attr_rows(ir_op op, int32_t *n_rows);
// "an integer", "a number", "true or false", "a text in quotes"
const char *ir_attr_kind_text(ir_attr_kind kind);
// Same kind and the same bits: -0.0 differs from 0.0.
bool ir_attr_equal(const ir_attr *a, const ir_attr *b);

#endif
