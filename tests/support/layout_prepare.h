// layout_prepare: the prepare functions of CUDA layouts, which are CPU kernels, as plain functions: what lib.so has as constants of a param is read
// from its type here, so that one compiled copy serves every param of every test.
#ifndef MLCC_TESTS_SUPPORT_LAYOUT_PREPARE_H
#define MLCC_TESTS_SUPPORT_LAYOUT_PREPARE_H

#include "ir/ir.h"

#include <stdbool.h>
#include <stdint.h>

// Items [begin, end) of a weight of the flat `type`, from its stored pieces into `prepared` (cuda_layout_measure says how large it is and how many items
// there are). False: no such layout.
bool layout_prepare(
    const char *layout, const ir_type *type, const void *const *pieces, void *prepared,
    int64_t begin, int64_t end);

#endif
