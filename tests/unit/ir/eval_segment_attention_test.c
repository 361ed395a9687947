// eval: segment_attention against sums written out for two sequences side by side, and places that do not exist.
#include "tests/unit/ir/ir_fixture.h"

#include <math.h>

enum { N_TOKENS = 5, HEADS = 2, HEAD_DIM = 3, COLUMNS = HEADS * HEAD_DIM };

static const char text[] =
    "module @m level=graph\nsymbol t <= 8\n"
    "func @f(%q: f32[t, 6], %k: f32[t, 6], %v: f32[t, 6], %s: i32[t, 2]) {\n"
    "    %0 = segment_attention %q, %k, %v, %s {head_dim = 3, scale = 0.5} : f32[t, 6]\n"
    "    return %0\n}\n";

// Rows 0 and 1 are one sequence, 2 … 4 the other.
static const int32_t segments[2 * N_TOKENS] = {0, 2, 0, 2, 2, 5, 2, 5, 2, 5};

static void make_args(mlcc_arena *keep, ir_tensor *args[4]) {
    for (int i = 0; i < 3; i++) {
        args[i] = ir_tensor_create(keep, IR_F32, 2, (int64_t[]){N_TOKENS, COLUMNS});
        for (int e = 0; e < N_TOKENS * COLUMNS; e++)
            args[i]->f32[e] = (float)sin(1.7 * (double)(e + 1) + (double)i);
    }
    args[3] = ir_tensor_create(keep, IR_I32, 2, (int64_t[]){N_TOKENS, 2});
    memcpy(args[3]->i32, segments, sizeof segments);
}

// Column `column` of row `token`: softmax over the rows of its sequence.
static double expected_at(ir_tensor *const args[4], int token, int column) {
    const int head = column / HEAD_DIM * HEAD_DIM;
    double sum = 0, total = 0;
    for (int row = segments[2 * token]; row < segments[2 * token + 1]; row++) {
        double score = 0;
        for (int d = 0; d < HEAD_DIM; d++)
            score += (double)args[0]->f32[token * COLUMNS + head + d] *
                     (double)args[1]->f32[row * COLUMNS + head + d];
        const double weight = exp(0.5 * score);
        total += weight;
        sum += weight * (double)args[2]->f32[row * COLUMNS + column];
    }
    return sum / total;
}

static void values(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    ir_module *module = NULL;
    ir_tensor *args[4], *result = NULL;
    expect_ok(ir_parse_module(text, strlen(text), "segments", keep, &module));
    make_args(keep, args);
    args[1]->f32[3 * COLUMNS] = NAN; // of the second sequence, first head
    expect_ok(ir_eval_function(ir_module_find(module, "f"), args, NULL, keep, &result));
    for (int t = 0; t < N_TOKENS; t++)
        for (int c = 0; c < COLUMNS; c++) {
            const double found = (double)result->f32[t * COLUMNS + c];
            if (t >= 2 && c < HEAD_DIM) {
                assert_true(isnan(found));
                continue;
            }
            assert_true(fabs(found - expected_at(args, t, c)) < 1e-6);
        }
    mlcc_arena_free(keep);
}

static void wrong_rows(void **state) {
    (void)state;
    static const int32_t wrong[][2] = {{-1, 2}, {2, 2}, {3, 1}, {0, 6}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        ir_module *module = NULL;
        ir_tensor *args[4], *result = NULL;
        expect_ok(ir_parse_module(text, strlen(text), "segments", keep, &module));
        make_args(keep, args);
        memcpy(args[3]->i32 + 2, wrong[i], sizeof wrong[i]);
        expect_error(
            ir_eval_function(ir_module_find(module, "f"), args, NULL, keep, &result),
            mlcc_arena_printf(
                keep,
                "segment_attention: token 1 has rows %d to %d, the tensor has 5; accepted are 0 <= "
                "first < end",
                wrong[i][0], wrong[i][1]));
        mlcc_arena_free(keep);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(wrong_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
