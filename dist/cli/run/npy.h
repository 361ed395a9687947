// npy: writes a float32 array as NumPy's .npy, format version 1.0 (numpy/lib/format.py).
#ifndef MLCC_DIST_CLI_RUN_NPY_H
#define MLCC_DIST_CLI_RUN_NPY_H

#include "runtime/base/status.h"

#include <stdint.h>

// values [rows, cols], C order.
mlcc_status *npy_write_f32(const char *path, const float *values, int64_t rows, int64_t cols);

#endif
