// takes and pack of the integer formats: what they agree to store decodes to exactly the canon's
// values; what would lose something is refused.
#include "quantization/format.h"
#include "quantization/round.h"
#include "tests/support/integer_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t seed = 1;

// What a format stores: codes less zero in low … high; zeros that go with any codes of 4 bits.
typedef struct pack_case {
    ir_dtype dtype, scale;
    int64_t group; // 0 = the row
    int32_t low, high;
    bool has_zeros;
} pack_case;

static const pack_case cases[] = {
    {IR_Q4G32_F16, IR_F16, 32, -7, 7, false},    {IR_Q4G32_BF16, IR_BF16, 32, -7, 7, false},
    {IR_Q4G32_F32, IR_F32, 32, -7, 7, false},    {IR_Q4G32T_F16, IR_F16, 32, -7, 7, false},
    {IR_Q4G32T_BF16, IR_BF16, 32, -7, 7, false}, {IR_Q3G40_F16, IR_F16, 40, -3, 3, false},
    {IR_Q3G40T_F16, IR_F16, 40, -3, 3, false},   {IR_Q8G32_F16, IR_F16, 32, -127, 127, false},
    {IR_U4G32_F16, IR_F16, 32, -15, 15, true},   {IR_U4G64_F16, IR_F16, 64, -15, 15, true},
    {IR_U4G128_F16, IR_F16, 128, -15, 15, true}, {IR_Q4FT_F16, IR_F16, 0, -8, 7, false},
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct canon_weight {
    quant_canon canon;
    quant_canon_rows rows;
} canon_weight;

static int32_t between(int32_t low, int32_t high) {
    return low + (int32_t)(oracle_random(&seed) % (uint32_t)(high - low + 1));
}

static float random_scale(ir_dtype dtype) {
    const float sign = oracle_random(&seed) % 4 == 0 ? -1.0f : 1.0f;
    const double value = ldexp(1.0 + (oracle_random(&seed) >> 8) * 0x1p-24, between(-16, 3));
    return oracle_random(&seed) % 16 == 0 ? 0.0f : sign * oracle_round(dtype, value);
}

// A weight that the format can hold: groups of canon_group columns.
static canon_weight random_weight(
    const pack_case *of, int64_t n_rows, int64_t columns, int64_t canon_group) {
    canon_weight w = {
        .canon =
            {.kind = QUANT_CANON_INT,
             .n_rows = n_rows,
             .columns = columns,
             .bits = of->high > 15 ? 8 : 4,
             .group = canon_group,
             .n_groups = (columns + canon_group - 1) / canon_group},
        .rows = {.n_rows = n_rows}};
    size_t codes = 0, zeros = 0, scales = 0;
    assert_true(quant_canon_bytes(&w.canon, n_rows, &codes, &zeros, &scales));
    w.rows.codes = malloc(codes);
    w.rows.zeros = malloc(zeros);
    w.rows.scales = malloc(scales);
    for (int64_t i = 0; i < n_rows * w.canon.n_groups; i++) {
        const int64_t row = i / w.canon.n_groups, j = i % w.canon.n_groups;
        const int32_t zero = of->has_zeros ? between(0, 15) : between(-of->low, 255 - of->high);
        w.rows.zeros[i] = (int16_t)zero;
        w.rows.scales[i] = random_scale(of->scale);
        for (int64_t k = j * canon_group; k < columns && k < (j + 1) * canon_group; k++) {
            w.rows.codes[row * columns + k] =
                (uint8_t)(of->has_zeros ? between(0, 15) : zero + between(of->low, of->high));
        }
    }
    return w;
}

static void free_weight(canon_weight *w) {
    free(w->rows.codes);
    free(w->rows.zeros);
    free(w->rows.scales);
}

static bool takes(const pack_case *of, const canon_weight *w) {
    float memory = 0;
    const quant_range range = quant_range_all(w->canon.n_rows, w->canon.columns);
    return quant_format_of(of->dtype)->takes(&w->canon, &w->rows, &range, &memory);
}

// Packs in ranges of `step` rows, decodes all, compares bit by bit.
static void packs_exactly(const pack_case *of, const canon_weight *w, int64_t step) {
    const int64_t n_rows = w->canon.n_rows, columns = w->canon.columns;
    const quant_format *format = quant_format_of(of->dtype);
    const ir_type type = {.dtype = of->dtype, .rank = 2, .dims = {{NULL, n_rows}, {NULL, columns}}};
    quant_piece pieces[QUANT_MAX_PIECES];
    void *memory[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    assert_null(format->pieces(&type, pieces, &n_pieces));
    for (int32_t i = 0; i < n_pieces; i++) {
        memory[i] = malloc(pieces[i].size_bytes);
        memset(memory[i], 0xee, pieces[i].size_bytes);
    }
    for (int64_t row = 0; row < n_rows; row += step) {
        const quant_range range = {row, n_rows - row < step ? n_rows - row : step, n_rows, columns};
        const quant_canon_rows part = {
            .first_row = row,
            .n_rows = range.n_rows,
            .codes = w->rows.codes + row * columns,
            .zeros = w->rows.zeros + row * w->canon.n_groups,
            .scales = w->rows.scales + row * w->canon.n_groups};
        float held = 0;
        assert_true(format->takes(&w->canon, &part, &range, &held));
        void *outputs[QUANT_MAX_PIECES];
        memcpy(outputs, memory, sizeof outputs);
        if (format->is_streamed) {
            outputs[0] = (char *)memory[0] + (size_t)row * (pieces[0].size_bytes / (size_t)n_rows);
        }
        format->pack(&w->canon, &part, &range, held, outputs);
    }
    const size_t size = (size_t)(n_rows * columns) * sizeof(float);
    float *expected = malloc(size), *got = malloc(size);
    const quant_range all = quant_range_all(n_rows, columns);
    quant_canon_decode(&w->canon, &w->rows, expected);
    format->decode((const void *const *)memory, &all, got);
    for (int64_t i = 0; i < n_rows * columns; i++) {
        if (quant_bits(got[i]) != quant_bits(expected[i])) {
            fail_msg(
                "%s, row %d, column %d: got %08x, expected %08x", ir_dtype_get(of->dtype)->text,
                (int)(i / columns), (int)(i % columns), quant_bits(got[i]),
                quant_bits(expected[i]));
        }
    }
    free(expected);
    free(got);
    for (int32_t i = 0; i < n_pieces; i++) free(memory[i]);
}

static int64_t group_of(const pack_case *of, int64_t columns) {
    return of->group > 0 ? of->group : columns;
}

static void pack_then_decode_is_the_canon(void **state) {
    (void)state;
    static const int64_t columns[] = {64, 128, 320, 192};
    for (int c = 0; c < N_CASES; c++) {
        const pack_case *of = &cases[c];
        const int64_t multiple = quant_format_of(of->dtype)->row_multiple;
        for (int i = 0; i < 4; i++) {
            // ft holds multiples of 64 only; the others short groups, too.
            const bool is_ft = of->dtype == IR_Q4FT_F16;
            const int64_t k = is_ft ? columns[i] : columns[i] - 20, n_rows = is_ft ? 128 : 72;
            const int64_t group = group_of(of, k);
            const int64_t canon_groups[] = {group, group * 3, k, k + 5};
            for (int g = 0; g < 4; g++) {
                canon_weight w = random_weight(of, n_rows, k, canon_groups[g]);
                assert_true(takes(of, &w));
                packs_exactly(of, &w, n_rows);
                packs_exactly(of, &w, multiple);
                free_weight(&w);
            }
        }
    }
}

static void what_would_be_lost_is_refused(void **state) {
    (void)state;
    for (int c = 0; c < N_CASES; c++) {
        const pack_case *of = &cases[c];
        enum { K = 256 };
        const int64_t group = group_of(of, K);
        canon_weight w = random_weight(of, 64, K, group);
        const int64_t last = 64 * K - 1, last_group = 64 * w.canon.n_groups - 1;
        const int64_t short_group = K - (w.canon.n_groups - 1) * group;
        assert_true(takes(of, &w));

        // A code beyond the range, in the last place.
        for (int i = 0; i < 2 && !of->has_zeros; i++) {
            const int32_t zero = i == 0 ? 150 : 100, limit = i == 0 ? of->low : of->high;
            w.rows.zeros[last_group] = (int16_t)zero;
            for (int64_t k = 0; k < short_group; k++) w.rows.codes[last - k] = (uint8_t)zero;
            w.rows.codes[last] = (uint8_t)(zero + limit);
            assert_true(takes(of, &w));
            w.rows.codes[last] = (uint8_t)(zero + limit + (i == 0 ? -1 : 1));
            assert_false(takes(of, &w));
            w.rows.codes[last] = (uint8_t)zero;
        }
        // Scales that are no numbers, or not of the type.
        const float kept = w.rows.scales[last_group];
        static const float bad[] = {NAN, INFINITY, -INFINITY};
        for (int i = 0; i < 3; i++) {
            w.rows.scales[last_group] = bad[i];
            assert_false(takes(of, &w));
        }
        w.rows.scales[last_group] = 0x1.000002p-3f;
        assert_int_equal(takes(of, &w), of->scale == IR_F32);
        w.rows.scales[last_group] = 0x1p-26f; // below float16
        assert_int_equal(takes(of, &w), of->scale != IR_F16);
        w.rows.scales[last_group] = 0x1p17f; // above
        assert_int_equal(takes(of, &w), of->scale != IR_F16);
        w.rows.scales[last_group] = 0x1p-24f;
        assert_true(takes(of, &w));
        w.rows.scales[last_group] = kept;

        // A map of columns to groups that says nothing new, and one that does.
        int32_t map[K];
        for (int k = 0; k < K; k++) map[k] = (int32_t)(k / group);
        w.canon.group_of_column = map;
        assert_true(takes(of, &w));
        packs_exactly(of, &w, 64);
        if (w.canon.n_groups > 1) {
            map[0] = 1;
            assert_false(takes(of, &w));
        }
        w.canon.group_of_column = NULL;

        // Codes that are fp8.
        w.canon.kind = QUANT_CANON_E4M3;
        assert_false(takes(of, &w));
        free_weight(&w);

        // Groups that are too small.
        w = random_weight(of, 8, K, 16);
        assert_false(takes(of, &w));
        free_weight(&w);
    }
}

// AWQ formats move zero and codes together where that brings both to 0 … 15.
static void awq_shifts(void **state) {
    (void)state;
    static const struct {
        int32_t low, high, zero;
        bool fits;
    } groups[] = {
        {0, 15, 15, true},      {0, 15, 0, true},      {1, 15, 16, true},  {0, 15, 16, false},
        {0, 3, 4, true},        {120, 135, 128, true}, {0, 15, -1, false}, {0, 14, -1, true},
        {120, 135, 110, false}, {0, 255, 128, false},  {7, 7, 7, true},    {0, 7, 8, true},
        {1, 16, 8, true},       {0, 16, 8, false},
    };
    const pack_case *of = &cases[8];
    assert_int_equal(of->dtype, IR_U4G32_F16);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        enum { N = 16, K = 96 };
        canon_weight w = random_weight(of, N, K, 32);
        for (int k = 32; k < 64; k++) {
            w.rows.codes[5 * K + k] = (uint8_t)(k % 2 ? groups[i].low : groups[i].high);
            w.rows.zeros[5 * 3 + 1] = (int16_t)groups[i].zero;
        }
        assert_int_equal(takes(of, &w), groups[i].fits);
        if (groups[i].fits) packs_exactly(of, &w, N);
        free_weight(&w);
    }
}

// Codes and zeros that are in range are stored as they are.
static void awq_keeps_codes(void **state) {
    (void)state;
    enum { N = 24, K = 100, G = 4 };
    canon_weight w = random_weight(&cases[8], N, K, 32);
    uint32_t codes[K * N / 8], zeros[G * N / 8];
    uint16_t scales[G * N];
    const quant_range all = quant_range_all(N, K);
    quant_format_of(IR_U4G32_F16)
        ->pack(&w.canon, &w.rows, &all, 0, (void *[]){codes, zeros, scales});
    static const int nibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    for (int n = 0; n < N; n++) {
        for (int k = 0; k < K; k++) {
            assert_int_equal(
                codes[k * (N / 8) + n / 8] >> (4 * nibble[n % 8]) & 15u, w.rows.codes[n * K + k]);
        }
        for (int j = 0; j < G; j++) {
            assert_int_equal(
                zeros[j * (N / 8) + n / 8] >> (4 * nibble[n % 8]) & 15u, w.rows.zeros[n * G + j]);
        }
    }
    free_weight(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_then_decode_is_the_canon),
        cmocka_unit_test(what_would_be_lost_is_refused),
        cmocka_unit_test(awq_shifts),
        cmocka_unit_test(awq_keeps_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
