// Device layouts of params. There is one besides rows: tile16 (kernels/tile16.h), which linear and embedding read, so that a table that is also
// the head's weight lies in memory once.
#include "codegen/cuda/cuda_kernels.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/tile16.h"

#include <string.h>

#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

static int64_t tile16_bytes(const ir_type *stored) {
    const ir_type type = ir_type_flat(stored);
    if (type.rank != 2 || type.dims[0].symbol != NULL || type.dims[1].symbol != NULL) return -1;
    return tile16_size((int)type.dtype, type.dims[0].value, type.dims[1].value);
}

const char *cuda_layout_choose(ir_op op, int32_t operand, const ir_type *type) {
    const bool is_weight = (op == IR_OP_LINEAR || op == IR_OP_LINEAR_SCALED ||
                            op == IR_OP_EMBEDDING || op == IR_OP_LINEAR_EXPERTS) &&
                           operand == 1;
    return is_weight && tile16_bytes(type) >= 0 ? "tile16" : "rows";
}

bool cuda_layout_measure(
    const char *layout, const ir_type *type, int64_t *prepared_bytes, int64_t *n_items) {
    if (strcmp(layout, "tile16") != 0) return false;
    const int64_t size_bytes = tile16_bytes(type);
    if (size_bytes < 0) return false;
    *prepared_bytes = size_bytes;
    *n_items = tile16_tiles(type->dims[0].value);
    return true;
}

const char *cuda_layout_version(void) {
    return "tile16." TEXT_OF(TILE16_VERSION);
}
