// shape_inside: what the files of rules share: words for messages, checks of operands and attributes, and the rules that do not stand beside the
// table. A check returns the message that names op, operand, what was found and what is expected.
#ifndef MLCC_IR_SHAPE_INSIDE_H
#define MLCC_IR_SHAPE_INSIDE_H

#include "ir/shape.h"
#include "ir/tables.h"
#include "ir/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct shape_results {
    ir_type *types;
    int32_t n;
} shape_results;
typedef mlcc_status *shape_rule(const ir_shape_query *query, shape_results *results);

// ---- words for messages ------------------------------------------------------------------------

static inline const char *op_text(const ir_shape_query *query) {
    return ir_op_get(query->op)->text;
}

// "linear: operand 1 @w is f32[3, 5], expected …": what every message about an operand begins with.
static inline mlcc_status *operand_error(
    const ir_shape_query *query, int32_t operand, const char *expected) {
    const ir_value *value = query->operands[operand];
    mlcc_str text = {0};
    ir_print_type(&value->type, &text);
    const char *sigil = value->kind == IR_VALUE_ARG ? " %" : " @";
    bool named = value->kind != IR_VALUE_RESULT;
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s: operand %d%s%s is %s, expected %s", op_text(query), operand,
        named ? sigil : "", named ? value->name : "", mlcc_str_text(&text), expected);
    mlcc_str_free(&text);
    return status;
}

// The same, when what is expected is an extent that another operand or attribute gives.
static inline mlcc_status *extent_error(
    const ir_shape_query *query, int32_t operand, const char *what, ir_dim dim, const char *why) {
    char expected[256];
    if (dim.symbol != NULL)
        snprintf(expected, sizeof expected, "%s %s %s", what, dim.symbol->name, why);
    else
        snprintf(expected, sizeof expected, "%s %lld %s", what, (long long)dim.value, why);
    return operand_error(query, operand, expected);
}

static inline const ir_type *operand_type(const ir_shape_query *query, int32_t operand) {
    return &query->operands[operand]->type;
}

static inline ir_dtype_kind dtype_kind(const ir_type *type) {
    return ir_dtype_get(type->dtype)->kind;
}

// ---- checks that rules share -------------------------------------------------------------------

static inline mlcc_status *need_float(const ir_shape_query *query, int32_t operand, int32_t rank) {
    const ir_type *type = operand_type(query, operand);
    if (dtype_kind(type) == IR_KIND_FLOAT && type->rank == rank) return NULL;
    return operand_error(
        query, operand,
        rank == 1   ? "a float vector"
        : rank == 2 ? "a float matrix"
                    : "a float kv cache of rank 5");
}

static inline mlcc_status *need_float_tensor(const ir_shape_query *query, int32_t operand) {
    const ir_type *type = operand_type(query, operand);
    if (dtype_kind(type) == IR_KIND_FLOAT && (type->rank == 1 || type->rank == 2)) return NULL;
    return operand_error(query, operand, "a float matrix or vector");
}

static inline mlcc_status *need_i32(const ir_shape_query *query, int32_t operand, int32_t rank) {
    const ir_type *type = operand_type(query, operand);
    if (type->dtype == IR_I32 && type->rank == rank) return NULL;
    return operand_error(query, operand, rank == 1 ? "an i32 vector" : "an i32 matrix");
}

// A weight: FLOAT or GROUPED matrix of constant extents.
static inline mlcc_status *need_weight(const ir_shape_query *query, int32_t operand) {
    const ir_type *type = operand_type(query, operand);
    bool constant = type->rank == 2 && type->dims[0].symbol == NULL && type->dims[1].symbol == NULL;
    const ir_dtype_kind kind = dtype_kind(type);
    if (constant && (kind == IR_KIND_FLOAT || kind == IR_KIND_GROUPED)) return NULL;
    return operand_error(query, operand, "a weight matrix with constant extents");
}

static inline mlcc_status *need_extent(
    const ir_shape_query *query, int32_t operand, int32_t axis, ir_dim dim, const char *what,
    const char *why) {
    if (ir_dim_equal(operand_type(query, operand)->dims[axis], dim)) return NULL;
    return extent_error(query, operand, what, dim, why);
}

static inline const ir_attr *attr_of(const ir_shape_query *query, const char *name) {
    int32_t n_rows = 0;
    (void)ir_attr_rows(query->op, &n_rows);
    for (int32_t i = 0; i < n_rows; i++) {
        if (strcmp(query->attrs[i].name, name) == 0) return &query->attrs[i];
    }
    return NULL;
}

static inline mlcc_status *need_attr_finite(
    const ir_shape_query *query, const char *name, double least) {
    double value = attr_of(query, name)->as.f64;
    if (isfinite(value) && value >= least) return NULL;
    if (!isfinite(value)) {
        return MLCC_ERROR(
            INVALID, "%s: attribute '%s' is %g, expected a finite number", op_text(query), name,
            value);
    }
    return MLCC_ERROR(
        INVALID, "%s: attribute '%s' is %g, expected at least %g", op_text(query), name, value,
        least);
}

static inline mlcc_status *need_attr_i64(
    const ir_shape_query *query, const char *name, int64_t least) {
    long long value = attr_of(query, name)->as.i64;
    if (value >= least) return NULL;
    return MLCC_ERROR(
        INVALID, "%s: attribute '%s' is %lld, expected at least %lld", op_text(query), name, value,
        (long long)least);
}

// The result dtype that was asked for, or `normal`.
static inline mlcc_status *free_dtype(const ir_shape_query *query, ir_dtype normal, ir_dtype *out) {
    *out = query->result_dtype == IR_N_DTYPES ? normal : query->result_dtype;
    if (ir_dtype_get(*out)->kind == IR_KIND_FLOAT) return NULL;
    return MLCC_ERROR(
        INVALID, "%s: result dtype is %s, expected a float dtype", op_text(query),
        ir_dtype_get(*out)->text);
}

static inline mlcc_status *one_result(shape_results *results, ir_type type) {
    results->types[0] = type;
    results->n = 1;
    return NULL;
}

// page_table [S, n], seq_ids [T], positions [T] from operand `first` on; T = rows of operand
// `rows`.
static inline mlcc_status *need_places(const ir_shape_query *query, int32_t first, int32_t rows) {
    MLCC_TRY(need_i32(query, first, 2));
    ir_dim n_tokens = operand_type(query, rows)->dims[0];
    for (int32_t i = first + 1; i <= first + 2; i++) {
        MLCC_TRY(need_i32(query, i, 1));
        MLCC_TRY(need_extent(query, i, 0, n_tokens, "length", "(one entry per token)"));
    }
    return NULL;
}

// shape_latent.c
shape_rule ir_shape_latent_append, ir_shape_latent_attention, ir_shape_linear_heads;

#endif
