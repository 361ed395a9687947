// dim: one dimension of a tensor: a constant, or a named symbol with an upper bound.
#ifndef MLCC_IR_DIM_H
#define MLCC_IR_DIM_H

#include <stdbool.h>
#include <stdint.h>

// A symbol belongs to its module; equal names are one object. `bound` is the largest value that memory is planned for.
typedef struct ir_symbol {
    const char *name; // "n_tokens"
    int64_t bound;    // > 0
    int32_t index;    // place in the module's symbol list, and in abi.h's dims array
} ir_symbol;

typedef struct ir_dim {
    const ir_symbol *symbol; // NULL: constant
    int64_t value;           // the constant; 0 for a symbol
} ir_dim;

ir_dim ir_dim_const(int64_t value);
ir_dim ir_dim_symbol(const ir_symbol *symbol);
bool ir_dim_equal(ir_dim a, ir_dim b); // symbols by name
int64_t ir_dim_bound(ir_dim dim);      // the constant or the symbol's bound

#endif
