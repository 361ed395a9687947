// ceiling_units: what the arithmetic units of one core do at most, as loops that do nothing else. A row per way to multiply: the instruction, the
// operand width it stands for, and the CPU features it needs, so that a library is compared with what it was allowed to use.
#ifndef MLCC_DIST_CLI_RUN_CEILING_UNITS_H
#define MLCC_DIST_CLI_RUN_CEILING_UNITS_H

#include <stddef.h>
#include <stdint.h>

typedef enum ceiling_arithmetic {
    CEILING_F32,
    CEILING_BF16, // pairs of bfloat16 into float32
    CEILING_INT8, // bytes into 32-bit integers
} ceiling_arithmetic;

// Memory of one thread for the units that cannot keep their operands in registers: larger than a first-level cache, smaller than a second.
enum { CEILING_OPERAND_BYTES = 512 << 10, CEILING_MAX_UNITS = 16 };

// `steps` rounds; the value keeps them alive. `operands` is 64-byte aligned.
typedef uint32_t ceiling_loop(int64_t steps, const void *operands);

typedef struct ceiling_unit {
    const char *name; // "int8 AVX-512 VNNI"
    ceiling_arithmetic arithmetic;
    const char *features;       // comma separated, as mlcc_cpu_missing takes them
    double operations_per_step; // a multiply-add is two
    ceiling_loop *loop;
} ceiling_unit;

// At most CEILING_MAX_UNITS rows.
extern const ceiling_unit ceiling_units[];
extern const size_t n_ceiling_units;

#endif
