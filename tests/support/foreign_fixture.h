// foreign_fixture: random weights in the canonical form, and stored ones read back whole, for tests of
// quantization/foreign and of whoever reads such checkpoints.
#ifndef MLCC_TESTS_SUPPORT_FOREIGN_FIXTURE_H
#define MLCC_TESTS_SUPPORT_FOREIGN_FIXTURE_H

#include "quantization/foreign/foreign.h"

typedef struct foreign_fixture {
    quant_canon canon;
    quant_canon_rows rows; // all of them
} foreign_fixture;

typedef struct foreign_fixture_options {
    int64_t n_rows, columns, group; // group 0: the whole row
    int32_t bits;                   // 0: 4
    bool is_symmetric;              // every zero in the middle
    int32_t min_zero;               // else zeros are min_zero … 2^bits - 1
    bool has_map;                   // act-order: a random map with full groups
    uint64_t seed;
} foreign_fixture_options;

// Codes and zeros uniform; scales numbers of float16, some of them negative, none zero.
foreign_fixture foreign_fixture_make(mlcc_arena *keep, const foreign_fixture_options *options);
// describe, check and unpack of a stored weight, in blocks of `block` rows (0: all at once). Fails the
// test when a step does.
foreign_fixture foreign_fixture_read(
    mlcc_arena *keep, quant_foreign_weight *weight, const quant_foreign_hints *hints,
    int64_t block);
void foreign_fixture_assert_equal(const foreign_fixture *a, const foreign_fixture *b);
// quant_foreign_detect on the parts of a stored weight, in reverse order, together with tensors that
// are no parts.
const quant_foreign_layout *foreign_fixture_detect(
    const quant_foreign_weight *weight, const char *format_hint);
// Asserts code and that every text (NULL ends) is in the message; ends the status.
void foreign_fixture_assert_error(mlcc_status *status, mlcc_code code, ...);
uint32_t foreign_fixture_random(uint64_t *seed);

#endif
