// Group formats in KN layout: the transpose of the NK format, whole and in ranges.
#include "quantization/formats/group_int.h"
#include "quantization/formats/vector.h"
#include "tests/support/integer_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 1;

typedef struct transposed_case {
    const quant_format *format, *of;
} transposed_case;

#define CASE(id, of) {&quant_format_##id, &quant_format_##of},
static const transposed_case cases[] = {QUANT_GROUP_INT_TRANSPOSED_FORMATS(CASE)};
enum { N_CASES = sizeof cases / sizeof cases[0] };

static ir_type matrix(ir_dtype dtype, int64_t rows, int64_t columns) {
    return (ir_type){.dtype = dtype, .rank = 2, .dims = {{NULL, rows}, {NULL, columns}}};
}

// Memory of exactly the pieces' sizes, so that the address sanitizer sees every step outside.
static void allocate(
    const quant_format *format, const ir_type *type, quant_piece *pieces, void **memory) {
    int32_t n_pieces = 0;
    assert_null(format->pieces(type, pieces, &n_pieces));
    assert_int_equal(n_pieces, 2);
    for (int32_t i = 0; i < n_pieces; i++) {
        memory[i] = malloc(pieces[i].size_bytes);
        assert_non_null(memory[i]);
        memset(memory[i], 0xee, pieces[i].size_bytes);
    }
}

static void is_transposed(const quant_piece *piece, const void *got, const void *of) {
    const size_t size = ir_dtype_bytes(piece->dtype);
    const int64_t rows = piece->dims[0], columns = piece->dims[1];
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t n = 0; n < columns; n++) {
            const char *a = (const char *)got + (size_t)(i * columns + n) * size,
                       *b = (const char *)of + (size_t)(n * rows + i) * size;
            if (memcmp(a, b, size) != 0) fail_msg("element %d of row %d differs", (int)i, (int)n);
        }
    }
}

static void check(
    const transposed_case *of, ir_dtype source_dtype, int64_t n_rows, int64_t columns) {
    quant_piece pieces[2], plain_pieces[2];
    void *memory[2], *plain[2];
    const size_t row_bytes = (size_t)columns * ir_dtype_bytes(source_dtype);
    const size_t count = (size_t)(n_rows * columns);
    char *source = malloc((size_t)n_rows * row_bytes);
    float *values = malloc(count * sizeof values[0]), *expected = malloc(count * sizeof values[0]);
    const ir_type type = matrix(of->format->dtype, n_rows, columns),
                  plain_type = matrix(of->of->dtype, n_rows, columns);
    const quant_range all = quant_range_all(n_rows, columns);
    oracle_fill(source_dtype, n_rows * columns, 0, &seed, source);
    allocate(of->format, &type, pieces, memory);
    allocate(of->of, &plain_type, plain_pieces, plain);
    of->of->encode(source, source_dtype, &all, 0, plain);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pieces[i].dims[0], plain_pieces[i].dims[1]);
        assert_int_equal(pieces[i].dims[1], n_rows);
        assert_int_equal(pieces[i].dtype, plain_pieces[i].dtype);
        assert_string_equal(pieces[i].suffix, plain_pieces[i].suffix);
    }
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        for (int64_t step = of->format->row_multiple; step <= 4096; step *= 16) {
            for (int i = 0; i < 2; i++) memset(memory[i], 0xee, pieces[i].size_bytes);
            for (int64_t row = 0; row < n_rows; row += step) {
                const quant_range range = {
                    row, n_rows - row < step ? n_rows - row : step, n_rows, columns};
                of->format->encode(
                    source + (size_t)row * row_bytes, source_dtype, &range, 0, memory);
            }
            for (int i = 0; i < 2; i++) is_transposed(&pieces[i], memory[i], plain[i]);
        }
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
    of->of->decode((const void *const *)plain, &all, expected);
    for (int64_t row = 0; row < n_rows; row += 48) {
        const quant_range range = {row, n_rows - row < 48 ? n_rows - row : 48, n_rows, columns};
        of->format->decode((const void *const *)memory, &range, values + row * columns);
    }
    assert_memory_equal(values, expected, count * sizeof values[0]);
    for (int i = 0; i < 2; i++) {
        free(memory[i]);
        free(plain[i]);
    }
    free(source);
    free(values);
    free(expected);
}

static void equals_the_transpose(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1},    {16, 32},   {37, 50},
                                        {64, 172}, {130, 400}, {17, 330}};
    static const ir_dtype sources[] = {IR_F16, IR_BF16, IR_F32};
    for (int c = 0; c < N_CASES; c++) {
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            check(&cases[c], sources[((size_t)c + i) % 3], shapes[i][0], shapes[i][1]);
    }
}

// All zeros, a row of NaN, a row with infinity: as the NK format has them, and nothing outside.
static void hostile_numbers(void **state) {
    (void)state;
    enum { N = 19, K = 41 };
    float source[N * K] = {0};
    for (int k = 0; k < K; k++) source[3 * K + k] = nanf("");
    source[4 * K + 40] = INFINITY;
    source[5 * K] = -0x1p-24f;
    for (int c = 0; c < N_CASES; c++) {
        const ir_type type = matrix(cases[c].format->dtype, N, K),
                      plain_type = matrix(cases[c].of->dtype, N, K);
        quant_piece pieces[2], plain_pieces[2];
        void *memory[2], *plain[2];
        allocate(cases[c].format, &type, pieces, memory);
        allocate(cases[c].of, &plain_type, plain_pieces, plain);
        const quant_range all = quant_range_all(N, K);
        cases[c].format->encode(source, IR_F32, &all, 0, memory);
        cases[c].of->encode(source, IR_F32, &all, 0, plain);
        for (int i = 0; i < 2; i++) {
            is_transposed(&pieces[i], memory[i], plain[i]);
            free(memory[i]);
            free(plain[i]);
        }
    }
}

static void refused_shapes(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    for (int c = 0; c < N_CASES; c++) {
        ir_type type = matrix(cases[c].format->dtype, 64, 172);
        assert_true(quant_format_accepts(cases[c].format, &type));
        type.rank = 3;
        type.dims[2] = (ir_dim){NULL, 40};
        assert_false(quant_format_accepts(cases[c].format, &type));
        mlcc_status *status = cases[c].format->pieces(&type, pieces, &n);
        assert_non_null(status);
        assert_int_equal(mlcc_status_code(status), MLCC_INVALID);
        assert_non_null(strstr(mlcc_status_message(status), "matrices only"));
        mlcc_status_free(status);
        type = matrix(cases[c].format->dtype, INT64_MAX / 2, INT64_MAX / 2);
        status = cases[c].format->pieces(&type, pieces, &n);
        assert_non_null(status);
        mlcc_status_free(status);
        assert_false(cases[c].format->is_streamed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_transpose),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(refused_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
