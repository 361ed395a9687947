// Plain formats: every pair of float types, both instances, and modes.def.
#include "quantization/formats/plain.h"
#include "quantization/formats/vector.h"
#include "quantization/mode.h"
#include "quantization/round.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ALL(rows, columns) (&(quant_range){0, rows, rows, columns})

enum { COUNT = 1003 };

static void casts_are_the_scalar_ones(void **state) {
    (void)state;
    float f32[COUNT];
    uint16_t f16[COUNT], bf16[COUNT], out16[COUNT];
    float out32[COUNT];
    uint64_t seed = 7;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        f32[i] = quant_float((uint32_t)(seed >> 32));
        if (f32[i] != f32[i]) f32[i] = 0.0f;
        f16[i] = quant_f32_to_f16(f32[i]);
        bf16[i] = quant_f32_to_bf16(f32[i]);
    }
    for (quant_vector level = QUANT_VECTOR_BASELINE; level < QUANT_VECTOR_AUTO; level++) {
        quant_vector_set(level);
        quant_format_F16.encode(f32, IR_F32, ALL(1, COUNT), 0, (void *[]){out16});
        assert_memory_equal(out16, f16, sizeof f16);
        quant_format_BF16.encode(f32, IR_F32, ALL(COUNT, 1), 0, (void *[]){out16});
        assert_memory_equal(out16, bf16, sizeof bf16);
        quant_format_F32.encode(f32, IR_F32, ALL(17, 59), 0, (void *[]){out32});
        assert_memory_equal(out32, f32, sizeof f32);
        quant_format_F16.encode(f16, IR_F16, ALL(17, 59), 0, (void *[]){out16});
        assert_memory_equal(out16, f16, sizeof f16);
        quant_format_F32.encode(f16, IR_F16, ALL(1, COUNT), 0, (void *[]){out32});
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(quant_bits(out32[i]), quant_bits(quant_f16_to_f32(f16[i])));
        quant_format_F32.encode(bf16, IR_BF16, ALL(1, COUNT), 0, (void *[]){out32});
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(quant_bits(out32[i]), (uint32_t)bf16[i] << 16);
        quant_format_F16.encode(bf16, IR_BF16, ALL(1, COUNT), 0, (void *[]){out16});
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(out16[i], quant_f32_to_f16(quant_bf16_to_f32(bf16[i])));
        quant_format_BF16.encode(f16, IR_F16, ALL(1, COUNT), 0, (void *[]){out16});
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(out16[i], quant_f32_to_bf16(quant_f16_to_f32(f16[i])));
        quant_format_BF16.decode((const void *[]){bf16}, ALL(1, COUNT), out32);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(quant_bits(out32[i]), (uint32_t)bf16[i] << 16);
    }
    quant_vector_set(QUANT_VECTOR_AUTO);
}

static void pieces_keep_the_shape(void **state) {
    (void)state;
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n = 0;
    const ir_type vector = {.dtype = IR_F16, .rank = 1, .dims = {{NULL, 64}}};
    assert_null(quant_format_F16.pieces(&vector, pieces, &n));
    assert_int_equal(n, 1);
    assert_null(pieces[0].suffix);
    assert_int_equal(pieces[0].rank, 1);
    assert_int_equal(pieces[0].dims[0], 64);
    assert_int_equal(pieces[0].size_bytes, 128);
    assert_int_equal(pieces[0].row_bytes, 2);
    int64_t n_rows = 0, columns = 0;
    assert_null(quant_rows_of(&vector, &n_rows, &columns));
    assert_int_equal(n_rows, 64);
    assert_int_equal(columns, 1);
    mlcc_arena *keep = mlcc_arena_create();
    assert_string_equal(
        quant_piece_name(keep, "model.norm.weight", &pieces[0]), "model.norm.weight");
    mlcc_arena_free(keep);
}

static void modes(void **state) {
    (void)state;
    const quant_mode *mode = NULL;
    assert_null(quant_mode_find("q4f16_1", &mode));
    assert_string_equal(mode->kind, "group-quant");
    assert_int_equal(mode->linear, IR_Q4G32_F16);
    assert_int_equal(mode->model, IR_F16);
    size_t n = 0;
    const quant_mode *table = quant_mode_table(&n);
    for (size_t i = 0; i < n; i++) {
        assert_null(quant_mode_find(table[i].name, &mode));
        assert_ptr_equal(mode, &table[i]);
        assert_non_null(quant_format_of(table[i].linear));
        assert_non_null(quant_format_of(table[i].embedding));
        assert_non_null(quant_format_of(table[i].head));
        assert_non_null(quant_format_of(table[i].model));
    }
    mlcc_status *status = quant_mode_find("q4f16_7", &mode);
    assert_null(mode);
    assert_int_equal(mlcc_status_code(status), MLCC_UNSUPPORTED);
    assert_non_null(strstr(mlcc_status_message(status), "'q4f16_7'"));
    assert_non_null(strstr(mlcc_status_message(status), "q4f16_1"));
    assert_non_null(strstr(mlcc_status_message(status), "q0f32"));
    mlcc_status_free(status);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(casts_are_the_scalar_ones),
        cmocka_unit_test(pieces_keep_the_shape),
        cmocka_unit_test(modes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
