// ir_fixture: what the tests of ir/ share: cmocka, parsing a text that must be good, comparing
// messages.
#ifndef MLCC_TESTS_UNIT_IR_FIXTURE_H
#define MLCC_TESTS_UNIT_IR_FIXTURE_H

#include "ir/builder.h"
#include "ir/eval.h"
#include "ir/fingerprint.h"
#include "ir/text.h"
#include "ir/verify.h"
#include "ir/walk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) ((int32_t)(sizeof(array) / sizeof *(array)))

// Fails with the whole chain of messages.
static inline void expect_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    print_error("%s", text);
    free(text);
    mlcc_status_free(status);
    fail();
}

// The innermost message of an error; ends its life.
static inline void expect_error(mlcc_status *status, const char *message) {
    assert_non_null(status);
    assert_string_equal(mlcc_status_message(status), message);
    assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
    mlcc_status_free(status);
}

static inline ir_module *parse_good(mlcc_arena *keep, const char *text) {
    ir_module *module = NULL;
    expect_ok(ir_parse_module(text, strlen(text), "test.mlcir", keep, &module));
    expect_ok(ir_verify(module, module->level));
    return module;
}

static inline void expect_equal_modules(const ir_module *a, const ir_module *b) {
    mlcc_str text_a = {0};
    mlcc_str text_b = {0};
    ir_print_module(a, &text_a);
    ir_print_module(b, &text_b);
    assert_string_equal(mlcc_str_text(&text_a), mlcc_str_text(&text_b));
    assert_true(mlcc_hash128_equal(ir_fingerprint_module(a), ir_fingerprint_module(b)));
    mlcc_str_free(&text_a);
    mlcc_str_free(&text_b);
}

// Tensors from literals: the numbers are copied.
static inline ir_tensor *tensor_f32(
    mlcc_arena *keep, int64_t rows, int64_t columns, const float *data) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_F32, 2, (const int64_t[]){rows, columns});
    if (data != NULL) memcpy(tensor->f32, data, (size_t)(rows * columns) * sizeof *data);
    return tensor;
}

static inline ir_tensor *vector_f32(mlcc_arena *keep, int64_t length, const float *data) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_F32, 1, &length);
    if (data != NULL) memcpy(tensor->f32, data, (size_t)length * sizeof *data);
    return tensor;
}

static inline ir_tensor *vector_i32(mlcc_arena *keep, int64_t length, const int32_t *data) {
    ir_tensor *tensor = ir_tensor_create(keep, IR_I32, 1, &length);
    if (data != NULL) memcpy(tensor->i32, data, (size_t)length * sizeof *data);
    return tensor;
}

static inline void expect_floats(
    const ir_tensor *tensor, const double *expected, double tolerance) {
    int64_t count = ir_tensor_count(tensor);
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)tensor->f32[i] - expected[i]);
        if (difference <= tolerance || (double)tensor->f32[i] == expected[i]) continue;
        print_error(
            "element %lld is %.9g, expected %.9g\n", (long long)i, (double)tensor->f32[i],
            expected[i]);
        fail();
    }
}

#endif
