// canon: what every user of the canonical form needs.
#include "quantization/canon.h"

#include "ir/eval.h"
#include "runtime/base/str.h"

// The value of every code of a float8 kind: a call of decode looks up far more codes than there are.
static void fill_table(quant_canon_kind kind, float table[256]) {
    for (int32_t code = 0; code < 256; code++) {
        table[code] = kind == QUANT_CANON_E4M3 ? ir_f8e4m3_to_f32((uint8_t)code)
                                               : ir_f8e5m2_to_f32((uint8_t)code);
    }
}

// `count` codes that share a scale.
static void decode_group(
    const float *table, const uint8_t *restrict codes, int64_t count, int16_t zero, float scale,
    float *restrict output) {
    if (table == NULL) {
        for (int64_t k = 0; k < count; k++) output[k] = (float)((int32_t)codes[k] - zero) * scale;
    } else {
        for (int64_t k = 0; k < count; k++) output[k] = table[codes[k]] * scale;
    }
}

void quant_canon_decode(const quant_canon *canon, const quant_canon_rows *rows, float *output) {
    float values[256];
    const float *table = canon->kind == QUANT_CANON_INT ? NULL : values;
    if (table != NULL) fill_table(canon->kind, values);
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const uint8_t *codes = rows->codes + r * canon->columns;
        const int16_t *zeros = rows->zeros + r * canon->n_groups;
        const float *scales = rows->scales + r * canon->n_groups;
        float *values_of_row = output + r * canon->columns;
        if (canon->group_of_column != NULL) {
            for (int64_t k = 0; k < canon->columns; k++) {
                const int32_t j = canon->group_of_column[k];
                decode_group(table, codes + k, 1, zeros[j], scales[j], values_of_row + k);
            }
            continue;
        }
        for (int64_t k = 0, j = 0; k < canon->columns; k += canon->group, j++) {
            const int64_t left = canon->columns - k;
            decode_group(
                table, codes + k, left < canon->group ? left : canon->group, zeros[j], scales[j],
                values_of_row + k);
        }
    }
}

bool quant_canon_has_groups_of(const quant_canon *canon, int64_t group) {
    if (canon->group_of_column != NULL) {
        for (int64_t k = 0; k < canon->columns; k++) {
            if (canon->group_of_column[k] != k / canon->group) return false;
        }
    }
    return canon->group >= canon->columns || canon->group % group == 0;
}

bool quant_canon_bytes(
    const quant_canon *canon, int64_t n_rows, size_t *codes_bytes, size_t *zeros_bytes,
    size_t *scales_bytes) {
    if (n_rows < 0 || canon->columns < 0 || canon->n_groups < 0) return false;
    size_t n_groups = 0;
    return mlcc_size_mul((size_t)n_rows, (size_t)canon->columns, codes_bytes) &&
           mlcc_size_mul((size_t)n_rows, (size_t)canon->n_groups, &n_groups) &&
           mlcc_size_mul(n_groups, sizeof(int16_t), zeros_bytes) &&
           mlcc_size_mul(n_groups, sizeof(float), scales_bytes);
}
