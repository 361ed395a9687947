// foreign_parts: checks and messages that the layouts share.
#include "quantization/foreign/foreign_parts.h"

#include "quantization/round.h"
#include "runtime/base/str.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_DIM ((int64_t)INT32_MAX)

bool quant_part_exists(const quant_foreign_weight *weight, int32_t part) {
    return weight->parts[part].rank >= 0;
}

bool quant_part_has_data(const quant_foreign_weight *weight, int32_t part) {
    return quant_part_exists(weight, part) && weight->parts[part].data != NULL;
}

const char *quant_part_name(const quant_foreign_weight *weight, int32_t part) {
    const quant_foreign_part *row = &weight->layout->parts[part];
    return weight->uses_alternative[part] && row->alternative != NULL ? row->alternative
                                                                      : row->suffix;
}

static const char *name_of(const quant_foreign_weight *weight) {
    return weight->name != NULL ? weight->name : "weight";
}

int64_t quant_part_elements(const quant_foreign_tensor *tensor) {
    int64_t n = 1;
    for (int32_t i = 0; i < tensor->rank; i++) n *= tensor->dims[i];
    return n;
}

static void put_dims(mlcc_str *text, int32_t rank, const int64_t *dims) {
    mlcc_str_puts(text, "[");
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == QUANT_ANY_DIM) {
            mlcc_str_puts(text, i > 0 ? ", any" : "any");
        } else {
            mlcc_str_printf(text, i > 0 ? ", %lld" : "%lld", (long long)dims[i]);
        }
    }
    mlcc_str_puts(text, "]");
}

static const char *dtype_text(ir_dtype dtype) {
    return (uint32_t)dtype < (uint32_t)IR_N_DTYPES ? ir_dtype_get(dtype)->text : "unknown type";
}

quant_part_text quant_part_describe(const quant_foreign_tensor *tensor) {
    quant_part_text out;
    mlcc_str text = {0};
    mlcc_str_puts(&text, dtype_text(tensor->dtype));
    if (tensor->rank >= 0 && tensor->rank <= IR_MAX_RANK)
        put_dims(&text, tensor->rank, tensor->dims);
    snprintf(out.text, sizeof out.text, "%s", mlcc_str_text(&text));
    mlcc_str_free(&text);
    return out;
}

mlcc_status *quant_part_refuse(
    const quant_foreign_weight *weight, int32_t part, const char *format, ...) {
    mlcc_str text = {0};
    char message[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    mlcc_str_printf(&text, "%s.%s: %s", name_of(weight), quant_part_name(weight, part), message);
    mlcc_status *status = MLCC_ERROR(MISMATCH, "%s", mlcc_str_text(&text));
    mlcc_str_free(&text);
    return status;
}

mlcc_status *quant_part_begin(const quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = weight->layout;
    for (int32_t i = 0; i < QUANT_FOREIGN_MAX_PARTS && layout->parts[i].suffix != NULL; i++) {
        const quant_foreign_tensor *tensor = &weight->parts[i];
        if (tensor->rank < 0) {
            if (!layout->parts[i].is_required) continue;
            return quant_part_refuse(
                weight, i, "missing; a weight of layout %s needs it", layout->name);
        }
        if (tensor->rank > 2) {
            return quant_part_refuse(
                weight, i, "expected at most 2 dimensions, found %d", (int)tensor->rank);
        }
        for (int32_t k = 0; k < tensor->rank; k++) {
            if (tensor->dims[k] >= 1 && tensor->dims[k] <= MAX_DIM) continue;
            return quant_part_refuse(
                weight, i, "dimension %d is %lld, expected 1 to %lld", (int)k,
                (long long)tensor->dims[k], (long long)MAX_DIM);
        }
    }
    return NULL;
}

mlcc_status *quant_part_expect(
    const quant_foreign_weight *weight, int32_t part, uint32_t types, int32_t rank, int64_t d0,
    int64_t d1, const char *meaning) {
    const quant_foreign_tensor *tensor = &weight->parts[part];
    const int64_t wanted[2] = {d0, d1};
    bool fits = (uint32_t)tensor->dtype < 32 && (types & (1u << (uint32_t)tensor->dtype)) != 0 &&
                tensor->rank == rank;
    for (int32_t i = 0; fits && i < rank; i++)
        fits = wanted[i] == QUANT_ANY_DIM || wanted[i] == tensor->dims[i];
    if (fits) return NULL;
    mlcc_str text = {0};
    bool is_first = true;
    for (int32_t t = 0; t < IR_N_DTYPES; t++) {
        if (t >= 32 || (types & (1u << (uint32_t)t)) == 0) continue;
        mlcc_str_printf(&text, is_first ? "%s" : " or %s", dtype_text((ir_dtype)t));
        is_first = false;
    }
    put_dims(&text, rank, wanted);
    mlcc_status *status = quant_part_refuse(
        weight, part, "expected %s = %s for layout %s, found %s", mlcc_str_text(&text), meaning,
        weight->layout->name, quant_part_describe(tensor).text);
    mlcc_str_free(&text);
    return status;
}

mlcc_status *quant_part_check_bits(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int32_t bits) {
    if (hints->bits == 0 || hints->bits == bits) return NULL;
    return quant_part_refuse(
        weight, part, "%s holds %d-bit codes (layout %s), but the configuration says %d bits",
        quant_part_describe(&weight->parts[part]).text, (int)bits, weight->layout->name,
        (int)hints->bits);
}

static int64_t groups_of(int64_t columns, int64_t group) {
    return columns / group + (columns % group != 0);
}

// The power of two, 16 or more, that makes so many groups with a short last one; there is at most
// one. 0: none.
static int64_t usual_group(int64_t columns, int64_t n_groups) {
    for (int64_t group = 1024; n_groups > 1 && group >= 16; group /= 2) {
        if (columns % group != 0 && groups_of(columns, group) == n_groups) return group;
    }
    return 0;
}

mlcc_status *quant_part_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int64_t columns, int64_t n_groups, quant_group_rule rule, int64_t *group) {
    const quant_part_text shape = quant_part_describe(&weight->parts[part]);
    *group = 0;
    if (hints->group_size != 0) {
        const int64_t wanted = hints->group_size < 0 ? columns : hints->group_size;
        if (rule == QUANT_GROUP_DIVIDES && columns % wanted != 0) {
            return quant_part_refuse(
                weight, part,
                "group size %lld of the configuration does not divide K = %lld; found %s, %lld "
                "groups",
                (long long)wanted, (long long)columns, shape.text, (long long)n_groups);
        }
        if (groups_of(columns, wanted) != n_groups) {
            return quant_part_refuse(
                weight, part,
                "%s holds %lld groups of K = %lld columns, but group size %lld of the "
                "configuration "
                "makes %lld",
                shape.text, (long long)n_groups, (long long)columns, (long long)hints->group_size,
                (long long)groups_of(columns, wanted));
        }
        *group = wanted < columns ? wanted : columns;
        return NULL;
    }
    if (columns % n_groups == 0) {
        *group = columns / n_groups;
        return NULL;
    }
    *group = rule == QUANT_GROUP_MAY_TAIL ? usual_group(columns, n_groups) : 0;
    if (*group != 0) return NULL;
    return quant_part_refuse(
        weight, part, "%s holds %lld groups, which do not divide K = %lld columns", shape.text,
        (long long)n_groups, (long long)columns);
}

mlcc_status *quant_part_check_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    const quant_canon *canon) {
    const int64_t other = usual_group(canon->columns, canon->n_groups);
    if (hints->group_size != 0 || other == 0 || other == canon->group) return NULL;
    return MLCC_ERROR(
        INVALID,
        "%s.%s: %lld groups of K = %lld columns may be groups of %lld or of %lld; name group_size "
        "in "
        "quantization_config",
        name_of(weight), quant_part_name(weight, part), (long long)canon->n_groups,
        (long long)canon->columns, (long long)canon->group, (long long)other);
}

mlcc_status *quant_part_finish(
    const quant_foreign_weight *weight, quant_canon_kind kind, int64_t n_rows, int64_t columns,
    int32_t bits, int64_t group, int64_t n_groups, quant_canon *canon) {
    *canon = (quant_canon){0};
    if (n_rows > MAX_DIM || columns > MAX_DIM) {
        return MLCC_ERROR(
            MISMATCH, "%s: %lld x %lld elements (layout %s), expected at most %lld in a dimension",
            name_of(weight), (long long)n_rows, (long long)columns, weight->layout->name,
            (long long)MAX_DIM);
    }
    *canon = (quant_canon){kind, n_rows, columns, bits, group, n_groups, NULL};
    return NULL;
}

// ---- data ---------------------------------------------------------------------------------------

// Reads a run of floats; the type is chosen once per run.
void quant_part_floats(
    const quant_foreign_tensor *tensor, int64_t first, int64_t count, float *restrict output) {
    if (tensor->dtype == IR_F16) {
        const uint16_t *restrict in = (const uint16_t *)tensor->data + first;
        for (int64_t i = 0; i < count; i++) output[i] = quant_f16_to_f32(in[i]);
    } else if (tensor->dtype == IR_BF16) {
        const uint16_t *restrict in = (const uint16_t *)tensor->data + first;
        for (int64_t i = 0; i < count; i++) output[i] = quant_bf16_to_f32(in[i]);
    } else {
        assert(tensor->dtype == IR_F32);
        memcpy(output, (const float *)tensor->data + first, (size_t)count * sizeof *output);
    }
}

mlcc_status *quant_part_check_finite(const quant_foreign_weight *weight, int32_t part) {
    const quant_foreign_tensor *tensor = &weight->parts[part];
    if (!quant_part_has_data(weight, part)) return NULL;
    const int64_t n = quant_part_elements(tensor);
    float run[512];
    for (int64_t first = 0; first < n; first += 512) {
        const int64_t count = n - first < 512 ? n - first : 512;
        quant_part_floats(tensor, first, count, run);
        for (int64_t i = 0; i < count; i++) {
            const uint32_t magnitude = quant_bits(run[i]) & 0x7fffffffu;
            if (magnitude < 0x7f800000u) continue;
            char place[64] = "";
            const int64_t at = first + i;
            if (tensor->rank == 2) {
                const int64_t row = at / tensor->dims[1];
                snprintf(
                    place, sizeof place, "[%lld, %lld]", (long long)row,
                    (long long)(at - row * tensor->dims[1]));
            } else if (tensor->rank == 1) {
                snprintf(place, sizeof place, "[%lld]", (long long)at);
            }
            return MLCC_ERROR(
                INVALID,
                "%s.%s%s is %s, expected finite numbers: the file is damaged or its quantization "
                "diverged",
                name_of(weight), quant_part_name(weight, part), place,
                magnitude > 0x7f800000u ? "nan"
                : run[i] < 0.0f         ? "-inf"
                                        : "inf");
        }
    }
    return NULL;
}

mlcc_status *quant_part_check_map(
    const quant_foreign_weight *weight, int32_t part, const quant_canon *canon, bool may_be_unset,
    const int32_t **map) {
    *map = NULL;
    if (!quant_part_has_data(weight, part)) return NULL;
    const int32_t *entries = weight->parts[part].data;
    const int64_t n = canon->columns;
    int64_t n_unset = 0;
    while (may_be_unset && n_unset < n && entries[n_unset] == -1) n_unset++;
    if (n_unset == n) return NULL;
    bool is_plain = true;
    int64_t group = 0, left = canon->group;
    for (int64_t k = 0; k < n; k++) {
        if (entries[k] < 0 || entries[k] >= canon->n_groups) {
            return MLCC_ERROR(
                INVALID, "%s.%s[%lld] is %ld, expected a group from 0 to %lld", name_of(weight),
                quant_part_name(weight, part), (long long)k, (long)entries[k],
                (long long)(canon->n_groups - 1));
        }
        if (left == 0) group++, left = canon->group;
        left--;
        is_plain = is_plain && entries[k] == group;
    }
    if (!is_plain) *map = entries;
    return NULL;
}

void quant_part_scales_transposed(
    const quant_foreign_tensor *tensor, int64_t total_rows, const quant_canon *canon,
    quant_canon_rows *rows) {
    float run[256];
    for (int64_t begin = 0; begin < rows->n_rows; begin += 256) {
        const int64_t count = rows->n_rows - begin < 256 ? rows->n_rows - begin : 256;
        for (int64_t j = 0; j < canon->n_groups; j++) {
            quant_part_floats(tensor, j * total_rows + rows->first_row + begin, count, run);
            float *output = rows->scales + begin * canon->n_groups + j;
            for (int64_t r = 0; r < count; r++) output[r * canon->n_groups] = run[r];
        }
    }
}

void quant_zeros_fill(const quant_canon *canon, quant_canon_rows *rows, int16_t zero) {
    const int64_t n = rows->n_rows * canon->n_groups;
    for (int64_t i = 0; i < n; i++) rows->zeros[i] = zero;
}
