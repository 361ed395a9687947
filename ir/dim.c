// dim: constants and symbols as tensor extents.
#include "ir/dim.h"

#include <stddef.h>
#include <string.h>

ir_dim ir_dim_const(int64_t value) {
    return (ir_dim){.symbol = NULL, .value = value};
}

ir_dim ir_dim_symbol(const ir_symbol *symbol) {
    return (ir_dim){.symbol = symbol, .value = 0};
}

bool ir_dim_equal(ir_dim a, ir_dim b) {
    if (a.symbol == NULL || b.symbol == NULL) return a.symbol == b.symbol && a.value == b.value;
    return a.symbol == b.symbol || strcmp(a.symbol->name, b.symbol->name) == 0;
}

int64_t ir_dim_bound(ir_dim dim) {
    return dim.symbol != NULL ? dim.symbol->bound : dim.value;
}
