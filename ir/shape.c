// shape: one rule per name in the `rule` column of ops.def. A rule sees operands whose number is
// right, checks dtypes, extents and attribute values, and writes the result types. The table at the
// end names every rule, so a row without its rule does not compile.
#include "ir/shape.h"

#include "ir/shape_inside.h"
#include "runtime/base/chance.h"

#include <math.h>
#include <string.h>

// ---- rules: rows and columns -------------------------------------------------------------------

static mlcc_status *ir_shape_embedding(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_i32(query, 0, 1));
    MLCC_TRY(need_weight(query, 1));
    const ir_type *table = operand_type(query, 1);
    ir_dtype dtype = IR_F32;
    MLCC_TRY(free_dtype(query, ir_dtype_get(table->dtype)->scale, &dtype));
    return one_result(
        results, ir_type_matrix(dtype, operand_type(query, 0)->dims[0], table->dims[1]));
}

static mlcc_status *ir_shape_linear(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_weight(query, 1));
    const ir_type *x = operand_type(query, 0);
    const ir_type *weight = operand_type(query, 1);
    MLCC_TRY(need_extent(query, 1, 1, x->dims[1], "[N, K] with K =", "(the columns of operand 0)"));
    if (query->n_operands == 3) {
        MLCC_TRY(need_float(query, 2, 1));
        MLCC_TRY(need_extent(query, 2, 0, weight->dims[0], "length", "(the rows of operand 1)"));
    }
    ir_dtype dtype = IR_F32;
    MLCC_TRY(free_dtype(query, x->dtype, &dtype));
    return one_result(results, ir_type_matrix(dtype, x->dims[0], weight->dims[0]));
}

static mlcc_status *check_rms_norm(const ir_shape_query *query) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_float(query, 1, 1));
    MLCC_TRY(need_attr_i64(query, "group", 0));
    const int64_t group = attr_of(query, "group")->as.i64;
    const ir_dim columns = operand_type(query, 0)->dims[1];
    if (group == 0) {
        MLCC_TRY(need_extent(query, 1, 0, columns, "length", "(the columns of operand 0)"));
        return need_attr_finite(query, "eps", 0.0);
    }
    if (columns.symbol != NULL || columns.value % group != 0) {
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(group), "(group)");
    }
    MLCC_TRY(need_extent(query, 1, 0, ir_dim_const(group), "length", "(group)"));
    return need_attr_finite(query, "eps", 0.0);
}

// Gain and bias have an entry for every column, or one for every column of a group.
static mlcc_status *check_layer_norm(const ir_shape_query *query) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_attr_i64(query, "group", 0));
    const ir_dim group = ir_dim_const(attr_of(query, "group")->as.i64);
    const ir_dim columns = operand_type(query, 0)->dims[1];
    if (group.value > 0 && (columns.symbol != NULL || columns.value % group.value != 0)) {
        return extent_error(query, 0, "columns that are a multiple of", group, "(group)");
    }
    for (int32_t i = 1; i < query->n_operands; i++) {
        MLCC_TRY(need_float(query, i, 1));
        if (group.value > 0 && ir_dim_equal(operand_type(query, i)->dims[0], group)) continue;
        MLCC_TRY(need_extent(query, i, 0, columns, "length", "(the columns of operand 0)"));
    }
    return need_attr_finite(query, "eps", 0.0);
}

static mlcc_status *check_rope(const ir_shape_query *query) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_float(query, 1, 2));
    MLCC_TRY(need_attr_i64(query, "head_dim", 1));
    int64_t head_dim = attr_of(query, "head_dim")->as.i64;
    const ir_type *x = operand_type(query, 0);
    const ir_type *table = operand_type(query, 1);
    ir_dim columns = x->dims[1];
    if (columns.symbol != NULL || columns.value % head_dim != 0) {
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(head_dim), "(head_dim)");
    }
    MLCC_TRY(need_extent(query, 1, 0, x->dims[0], "rows", "(the rows of operand 0)"));
    ir_dim rotated = table->dims[1];
    if (rotated.symbol != NULL || rotated.value % 2 != 0 || rotated.value > head_dim) {
        return extent_error(
            query, 1, "an even number of columns, at most", ir_dim_const(head_dim), "(head_dim)");
    }
    return NULL;
}

static mlcc_status *check_clamp(const ir_shape_query *query) {
    const double min = attr_of(query, "min")->as.f64, max = attr_of(query, "max")->as.f64;
    if (min <= max) return NULL; // false for NaN
    return MLCC_ERROR(
        INVALID, "clamp: attributes 'min' = %g, 'max' = %g, expected min <= max", min, max);
}

// The result looks like operand 0.
static mlcc_status *ir_shape_same(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float_tensor(query, 0));
    if (query->op == IR_OP_RMS_NORM) MLCC_TRY(check_rms_norm(query));
    if (query->op == IR_OP_LAYER_NORM) MLCC_TRY(check_layer_norm(query));
    if (query->op == IR_OP_ROPE) MLCC_TRY(check_rope(query));
    if (query->op == IR_OP_SCALE) MLCC_TRY(need_attr_finite(query, "factor", -HUGE_VAL));
    if (query->op == IR_OP_CLAMP) MLCC_TRY(check_clamp(query));
    if (query->op == IR_OP_SOFTCAP) {
        MLCC_TRY(need_attr_finite(query, "cap", 0.0));
        if (attr_of(query, "cap")->as.f64 == 0.0) {
            return MLCC_ERROR(INVALID, "softcap: attribute 'cap' is 0, expected more than 0");
        }
    }
    return one_result(results, *operand_type(query, 0));
}

static mlcc_status *ir_shape_broadcast(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float_tensor(query, 0));
    MLCC_TRY(need_float_tensor(query, 1));
    const ir_type *a = operand_type(query, 0);
    const ir_type *b = operand_type(query, 1);
    bool same = a->rank == b->rank;
    for (int32_t i = 0; same && i < a->rank; i++) same = ir_dim_equal(a->dims[i], b->dims[i]);
    bool row = a->rank == 2 && b->rank == 1 && ir_dim_equal(a->dims[1], b->dims[0]);
    if (!same && !row) {
        return operand_error(query, 1, "the shape of operand 0 or a vector as long as its rows");
    }
    return one_result(results, *a);
}

static mlcc_status *ir_shape_cast(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float_tensor(query, 0));
    ir_type type = *operand_type(query, 0);
    MLCC_TRY(free_dtype(query, type.dtype, &type.dtype));
    return one_result(results, type);
}

static mlcc_status *ir_shape_slice(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    ir_type type = *operand_type(query, 0);
    if (type.dims[1].symbol != NULL) {
        return operand_error(query, 0, "a constant number of columns");
    }
    long long begin = attr_of(query, "begin")->as.i64;
    long long end = attr_of(query, "end")->as.i64;
    long long parts = attr_of(query, "parts")->as.i64;
    MLCC_TRY(need_attr_i64(query, "parts", 1));
    if (type.dims[1].value % parts != 0) {
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(parts), "(parts)");
    }
    const long long columns = type.dims[1].value / parts;
    if (begin < 0 || begin >= end || end > columns) {
        return MLCC_ERROR(
            INVALID, "slice: begin = %lld, end = %lld do not lie within the %lld columns of %s",
            begin, end, columns, parts == 1 ? "operand 0" : "a part of operand 0");
    }
    type.dims[1] = ir_dim_const(parts * (end - begin));
    return one_result(results, type);
}

static mlcc_status *ir_shape_take_rows(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_i32(query, 1, 1));
    ir_type type = *operand_type(query, 0);
    type.dims[0] = operand_type(query, 1)->dims[0];
    return one_result(results, type);
}

// ---- rules: fp8 activations --------------------------------------------------------------------

// An f32 vector of `length` entries; `what` says of what, in parentheses.
static mlcc_status *need_numbers(
    const ir_shape_query *query, int32_t operand, int64_t length, const char *what) {
    MLCC_TRY(need_float(query, operand, 1));
    if (operand_type(query, operand)->dtype != IR_F32) {
        return operand_error(query, operand, "an f32 vector");
    }
    return need_extent(query, operand, 0, ir_dim_const(length), "length", what);
}

static int64_t group_count(int64_t columns, int64_t group) {
    return group == 0 ? 1 : columns / group + (columns % group != 0);
}

// Of the codes with so many bits; IR_N_DTYPES: there are none.
static ir_dtype code_dtype(const ir_shape_query *query) {
    switch (attr_of(query, "mantissa_bits")->as.i64) {
    case 2: return IR_F8E5M2;
    case 3: return IR_F8E4M3;
    case 7: return IR_I8;
    default: return IR_N_DTYPES;
    }
}

static mlcc_status *ir_shape_quantize_activation(
    const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    const ir_dim columns = operand_type(query, 0)->dims[1];
    MLCC_TRY(need_attr_i64(query, "mantissa_bits", 2));
    MLCC_TRY(need_attr_i64(query, "group", 0));
    // From a smaller one a scale could become zero, and a row of zeros NaN.
    MLCC_TRY(need_attr_finite(query, "floor", 1e-30));
    const int64_t group = attr_of(query, "group")->as.i64;
    if (code_dtype(query) == IR_N_DTYPES) {
        return MLCC_ERROR(
            INVALID, "%s: attribute 'mantissa_bits' is %lld, expected 3 (e4m3), 2 (e5m2) or 7 (i8)",
            op_text(query), (long long)attr_of(query, "mantissa_bits")->as.i64);
    }
    if (columns.symbol != NULL) return operand_error(query, 0, "a constant number of columns");
    if (query->n_operands > 1) {
        const int64_t n_groups = group_count(columns.value, group);
        MLCC_TRY(need_numbers(query, 1, n_groups, "(one entry per group of columns)"));
    }
    return one_result(results, *operand_type(query, 0));
}

static mlcc_status *ir_shape_encode_activation(
    const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(ir_shape_quantize_activation(query, results));
    ir_type type = *operand_type(query, 0);
    type.dtype = code_dtype(query);
    results->types[0] = type;
    const int64_t n_groups = group_count(type.dims[1].value, attr_of(query, "group")->as.i64);
    results->types[1] = ir_type_matrix(IR_F32, type.dims[0], ir_dim_const(n_groups));
    results->n = 2;
    return NULL;
}

static mlcc_status *need_codes(const ir_shape_query *query) {
    const ir_type *x = operand_type(query, 0);
    if ((dtype_kind(x) != IR_KIND_FLOAT8 && x->dtype != IR_I8) || x->rank != 2) {
        return operand_error(query, 0, "a matrix of fp8 or i8 codes");
    }
    return need_attr_i64(query, "group", 0);
}

// Of operand 0, whose number of columns the weight has shown to be constant.
static mlcc_status *need_scales(const ir_shape_query *query, int32_t operand) {
    const ir_type *x = operand_type(query, 0), *scales = operand_type(query, operand);
    if (scales->dtype != IR_F32 || scales->rank != 2) {
        return operand_error(query, operand, "an f32 matrix");
    }
    const int64_t n_groups = group_count(x->dims[1].value, attr_of(query, "group")->as.i64);
    MLCC_TRY(need_extent(query, operand, 0, x->dims[0], "rows", "(the rows of operand 0)"));
    return need_extent(
        query, operand, 1, ir_dim_const(n_groups), "columns",
        "(the groups of operand 0's columns)");
}

static mlcc_status *ir_shape_linear_scaled(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_codes(query));
    MLCC_TRY(need_weight(query, 1));
    const ir_type *x = operand_type(query, 0), *weight = operand_type(query, 1);
    MLCC_TRY(need_extent(query, 1, 1, x->dims[1], "[N, K] with K =", "(the columns of operand 0)"));
    MLCC_TRY(need_scales(query, 2));
    if (query->n_operands == 4) {
        MLCC_TRY(need_float(query, 3, 1));
        MLCC_TRY(need_extent(query, 3, 0, weight->dims[0], "length", "(the rows of operand 1)"));
    }
    ir_dtype dtype = IR_F32;
    MLCC_TRY(free_dtype(query, IR_F32, &dtype));
    return one_result(results, ir_type_matrix(dtype, x->dims[0], weight->dims[0]));
}

static mlcc_status *ir_shape_observe_max(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_numbers(query, 0, 1, "(one maximum)"));
    MLCC_TRY(need_float_tensor(query, 1));
    return one_result(results, *operand_type(query, 0));
}

// ---- rules: positions and attention ------------------------------------------------------------

static mlcc_status *ir_shape_rope_table(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_i32(query, 0, 1));
    const ir_type *frequencies = operand_type(query, 1);
    if (frequencies->dtype != IR_F32 || frequencies->rank != 1 ||
        frequencies->dims[0].symbol != NULL || frequencies->dims[0].value > INT32_MAX) {
        return operand_error(query, 1, "an f32 vector of constant length");
    }
    MLCC_TRY(need_attr_finite(query, "magnitude", -HUGE_VAL));
    MLCC_TRY(need_attr_finite(query, "growth", 0.0));
    MLCC_TRY(need_attr_i64(query, "period", 1));
    ir_dim columns = ir_dim_const(2 * frequencies->dims[0].value);
    return one_result(results, ir_type_matrix(IR_F32, operand_type(query, 0)->dims[0], columns));
}

// A cache [P, 2, Hkv, page, hd] with only P symbolic.
static mlcc_status *need_cache(const ir_shape_query *query, int32_t operand) {
    MLCC_TRY(need_float(query, operand, 5));
    const ir_type *cache = operand_type(query, operand);
    bool good = ir_dim_equal(cache->dims[1], ir_dim_const(2));
    for (int32_t i = 2; i < 5; i++) {
        good = good && cache->dims[i].symbol == NULL && cache->dims[i].value > 0;
    }
    if (good) return NULL;
    return operand_error(query, operand, "a kv cache [P, 2, n_kv_heads, page, head_dim]");
}

static mlcc_status *ir_shape_kv_append(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_cache(query, 0));
    const ir_type *cache = operand_type(query, 0);
    int64_t columns = 0;
    if (!mlcc_i64_mul(cache->dims[2].value, cache->dims[4].value, &columns)) {
        return operand_error(query, 0, "a smaller kv cache");
    }
    for (int32_t i = 1; i <= 2; i++) {
        MLCC_TRY(need_float(query, i, 2));
        MLCC_TRY(need_extent(
            query, i, 1, ir_dim_const(columns), "columns", "(n_kv_heads * head_dim of operand 0)"));
    }
    MLCC_TRY(need_extent(
        query, 2, 0, operand_type(query, 1)->dims[0], "rows", "(the rows of operand 1)"));
    MLCC_TRY(need_places(query, 3, 1));
    return one_result(results, *cache);
}

static mlcc_status *ir_shape_paged_attention(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_cache(query, 1));
    MLCC_TRY(need_places(query, 2, 0));
    MLCC_TRY(need_attr_i64(query, "head_dim", 1));
    MLCC_TRY(need_attr_i64(query, "window", 0));
    MLCC_TRY(need_attr_finite(query, "scale", -HUGE_VAL));
    MLCC_TRY(need_attr_finite(query, "softcap", 0.0));
    const ir_type *q = operand_type(query, 0);
    const ir_type *cache = operand_type(query, 1);
    int64_t head_dim = attr_of(query, "head_dim")->as.i64;
    MLCC_TRY(need_extent(query, 1, 4, ir_dim_const(head_dim), "head_dim", "(the attribute)"));
    int64_t columns = 0;
    bool fits = mlcc_i64_mul(cache->dims[2].value, head_dim, &columns);
    if (!fits || q->dims[1].symbol != NULL || q->dims[1].value % columns != 0) {
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(fits ? columns : head_dim),
            "(n_kv_heads * head_dim of operand 1)");
    }
    const ir_dim n_heads = ir_dim_const(q->dims[1].value / head_dim);
    for (int32_t i = 5; i < query->n_operands; i++) {
        MLCC_TRY(need_float(query, i, 1));
        MLCC_TRY(need_extent(query, i, 0, n_heads, "length", "(the heads of operand 0)"));
    }
    return one_result(results, *q);
}

static mlcc_status *ir_shape_segment_attention(
    const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_attr_i64(query, "head_dim", 1));
    MLCC_TRY(need_attr_finite(query, "scale", -HUGE_VAL));
    const ir_type *q = operand_type(query, 0);
    for (int32_t i = 0; i < 3; i++) {
        MLCC_TRY(need_float(query, i, 2));
        MLCC_TRY(need_extent(query, i, 0, q->dims[0], "rows", "(the rows of operand 0)"));
        MLCC_TRY(need_extent(query, i, 1, q->dims[1], "columns", "(those of operand 0)"));
    }
    const ir_dim head_dim = ir_dim_const(attr_of(query, "head_dim")->as.i64);
    if (q->dims[1].symbol != NULL || q->dims[1].value % head_dim.value != 0)
        return extent_error(
            query, 0, "columns that are a multiple of", head_dim, "(the attribute head_dim)");
    MLCC_TRY(need_i32(query, 3, 2));
    MLCC_TRY(need_extent(query, 3, 0, q->dims[0], "rows", "(one per token)"));
    MLCC_TRY(need_extent(query, 3, 1, ir_dim_const(2), "columns", "(first row, end)"));
    return one_result(results, *q);
}

// ---- rules: sampling ---------------------------------------------------------------------------

// A matrix of `columns` columns with a row for every row of operand 0.
static mlcc_status *need_per_row(const ir_shape_query *query, int32_t operand, int64_t columns) {
    MLCC_TRY(need_extent(
        query, operand, 0, operand_type(query, 0)->dims[0], "rows", "(the rows of operand 0)"));
    return need_extent(
        query, operand, 1, ir_dim_const(columns), "columns", "(what a row of it holds)");
}

static mlcc_status *ir_shape_sample(const ir_shape_query *query, shape_results *results) {
    const ir_type *logits = operand_type(query, 0);
    const ir_dim columns = logits->rank == 2 ? logits->dims[1] : ir_dim_const(0);
    if (logits->dtype != IR_F32 || columns.symbol != NULL || columns.value < 1 ||
        columns.value > MLCC_CHANCE_MAX_VOCAB) {
        return operand_error(
            query, 0, "an f32 matrix with 1 to 8388608 columns, a constant number of them");
    }
    const ir_type *settings = operand_type(query, 1);
    if (settings->dtype != IR_F32 || settings->rank != 2)
        return operand_error(query, 1, "an f32 matrix");
    MLCC_TRY(need_per_row(query, 1, 5));
    for (int32_t i = 2; i <= 3; i++) {
        MLCC_TRY(need_i32(query, i, 2));
        MLCC_TRY(need_per_row(query, i, 2));
    }
    MLCC_TRY(need_i32(query, 4, 1));
    const ir_type *subtracted = operand_type(query, 5);
    if (subtracted->dtype != IR_F32 || subtracted->rank != 1)
        return operand_error(query, 5, "an f32 vector");
    MLCC_TRY(need_extent(
        query, 5, 0, operand_type(query, 4)->dims[0], "length", "(the length of operand 4)"));
    return one_result(results, ir_type_vector(IR_I32, logits->dims[0]));
}

// ---- rules: mixture of experts -----------------------------------------------------------------

// experts i32 or weights f32 [T, k]: rows as operand 0, a constant k.
static mlcc_status *need_choice(
    const ir_shape_query *query, int32_t operand, ir_dtype dtype, int64_t *k) {
    const ir_type *type = operand_type(query, operand);
    const bool fits = type->dtype == dtype && type->rank == 2 && type->dims[1].symbol == NULL &&
                      type->dims[1].value >= 1 && type->dims[1].value <= IR_MAX_CHOSEN_EXPERTS;
    if (!fits) {
        return operand_error(
            query, operand,
            dtype == IR_I32 ? "an i32 matrix of 1 to 64 columns"
                            : "an f32 matrix of 1 to 64 columns");
    }
    *k = type->dims[1].value;
    return need_extent(
        query, operand, 0, operand_type(query, 0)->dims[0], "rows", "(the rows of operand 0)");
}

static mlcc_status *attr_range_error(const ir_shape_query *query, const char *name, int64_t most) {
    return MLCC_ERROR(
        INVALID, "%s: attribute '%s' is %lld, expected 1 to %lld", op_text(query), name,
        (long long)attr_of(query, name)->as.i64, (long long)most);
}

// k experts can be chosen out of E, also where only some groups take part.
static mlcc_status *check_route_counts(const ir_shape_query *query, int64_t n_experts) {
    const int64_t k = attr_of(query, "k")->as.i64, n_groups = attr_of(query, "n_groups")->as.i64;
    const int64_t top = attr_of(query, "top_groups")->as.i64;
    const int64_t best = attr_of(query, "group_best")->as.i64;
    if (n_groups < 1 || n_groups > n_experts) return attr_range_error(query, "n_groups", n_experts);
    if (n_experts % n_groups != 0) {
        return MLCC_ERROR(
            INVALID, "route_experts: %lld experts do not divide into %lld groups",
            (long long)n_experts, (long long)n_groups);
    }
    const int64_t members = n_experts / n_groups;
    if (top < 1 || top > n_groups) return attr_range_error(query, "top_groups", n_groups);
    if (best < 1 || best > members) return attr_range_error(query, "group_best", members);
    const int64_t most =
        top * members < IR_MAX_CHOSEN_EXPERTS ? top * members : IR_MAX_CHOSEN_EXPERTS;
    return k < 1 || k > most ? attr_range_error(query, "k", most) : NULL;
}

static mlcc_status *ir_shape_route_experts(const ir_shape_query *query, shape_results *results) {
    const ir_type *logits = operand_type(query, 0);
    const ir_dim experts = logits->rank == 2 ? logits->dims[1] : ir_dim_const(0);
    if (logits->dtype != IR_F32 || experts.symbol != NULL || experts.value < 1 ||
        experts.value > IR_MAX_EXPERTS) {
        return operand_error(
            query, 0, "an f32 matrix with 1 to 4096 columns, a constant number of them");
    }
    if (query->n_operands == 2) {
        MLCC_TRY(need_numbers(query, 1, experts.value, "(the columns of operand 0)"));
    }
    const int64_t scoring = attr_of(query, "scoring")->as.i64;
    if (scoring < 0 || scoring > 2) {
        return MLCC_ERROR(
            INVALID,
            "route_experts: attribute 'scoring' is %lld, expected 0 (softmax), 1 (sigmoid) or 2 "
            "(softmax over the chosen)",
            (long long)scoring);
    }
    MLCC_TRY(need_attr_finite(query, "scale", -HUGE_VAL));
    MLCC_TRY(check_route_counts(query, experts.value));
    const ir_dim k = ir_dim_const(attr_of(query, "k")->as.i64);
    results->types[0] = ir_type_matrix(IR_I32, logits->dims[0], k);
    results->types[1] = ir_type_matrix(IR_F32, logits->dims[0], k);
    results->n = 2;
    return NULL;
}

// What products with chosen weights have in common: the stack, the choice and a bias behind `n_needed` operands.
static mlcc_status *shape_chosen(
    const ir_shape_query *query, int32_t n_needed, ir_dtype fallback, shape_results *results) {
    const ir_type *x = operand_type(query, 0), *weight = operand_type(query, 1);
    bool constant = weight->rank == 3;
    for (int32_t i = 0; constant && i < 3; i++) constant = weight->dims[i].symbol == NULL;
    const ir_dtype_kind kind = dtype_kind(weight);
    if (!constant || (kind != IR_KIND_FLOAT && kind != IR_KIND_GROUPED)) {
        return operand_error(query, 1, "a stack of weights [E, N, K] with constant extents");
    }
    int64_t k = 0, columns = 0;
    MLCC_TRY(need_choice(query, 2, IR_I32, &k));
    const ir_dim depth = weight->dims[2];
    const bool is_whole = mlcc_i64_mul(k, depth.value, &columns);
    if (!ir_dim_equal(x->dims[1], depth) &&
        (!is_whole || !ir_dim_equal(x->dims[1], ir_dim_const(columns)))) {
        return extent_error(
            query, 0, "columns", depth, "(K of operand 1), or that for each column of operand 2");
    }
    if (query->n_operands > n_needed) {
        MLCC_TRY(need_float(query, n_needed, 2));
        MLCC_TRY(need_extent(query, n_needed, 0, weight->dims[0], "rows", "(E of operand 1)"));
        MLCC_TRY(need_extent(query, n_needed, 1, weight->dims[1], "columns", "(N of operand 1)"));
    }
    ir_dtype dtype = IR_F32;
    MLCC_TRY(free_dtype(query, fallback, &dtype));
    if (!mlcc_i64_mul(k, weight->dims[1].value, &columns)) {
        return operand_error(query, 1, "a smaller stack of weights");
    }
    return one_result(results, ir_type_matrix(dtype, x->dims[0], ir_dim_const(columns)));
}

static mlcc_status *ir_shape_linear_experts(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    return shape_chosen(query, 3, operand_type(query, 0)->dtype, results);
}

static mlcc_status *ir_shape_linear_scaled_experts(
    const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_codes(query));
    MLCC_TRY(shape_chosen(query, 4, IR_F32, results));
    return need_scales(query, 3);
}

static mlcc_status *ir_shape_combine_experts(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    int64_t k = 0;
    MLCC_TRY(need_choice(query, 1, IR_F32, &k));
    ir_type type = *operand_type(query, 0);
    if (type.dims[1].symbol != NULL || type.dims[1].value % k != 0) {
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(k),
            "(the columns of operand 1)");
    }
    type.dims[1] = ir_dim_const(type.dims[1].value / k);
    return one_result(results, type);
}

// ---- rules: calls ------------------------------------------------------------------------------

static mlcc_status *ir_shape_call(const ir_shape_query *query, shape_results *results) {
    const ir_function *callee = query->callee;
    const char *name = attr_of(query, "callee")->as.text;
    if (callee == NULL || !callee->is_group) {
        return MLCC_ERROR(
            INVALID, "%s: '%s' is not a group function defined before", op_text(query), name);
    }
    if (query->n_operands != callee->n_args) {
        return MLCC_ERROR(
            INVALID, "%s: group @%s takes %d operands, found %d", op_text(query), name,
            callee->n_args, query->n_operands);
    }
    for (int32_t i = 0; i < callee->n_args; i++) {
        if (ir_type_equal(operand_type(query, i), &callee->args[i]->type)) continue;
        mlcc_str expected = {0};
        ir_print_type(&callee->args[i]->type, &expected);
        mlcc_str_printf(&expected, " as group @%s says", name);
        mlcc_status *status = operand_error(query, i, mlcc_str_text(&expected));
        mlcc_str_free(&expected);
        return status;
    }
    if (callee->n_returns > IR_MAX_OPERANDS) {
        return MLCC_ERROR(
            INVALID, "%s: group @%s returns %d values, at most %d are possible", op_text(query),
            name, callee->n_returns, IR_MAX_OPERANDS);
    }
    for (int32_t i = 0; i < callee->n_returns; i++) {
        results->types[i] = callee->returns[i]->type;
    }
    results->n = callee->n_returns;
    return NULL;
}

// ---- the table ---------------------------------------------------------------------------------

// clang-format off
static shape_rule *const rule_table[IR_N_OPS] = {
#define OP(id, text, level, min, max, results, flags, prologue, rule, meaning) [IR_OP_##id] = ir_shape_##rule,
#include "ir/ops.def"
};
// clang-format on

static mlcc_status *check_operand_count(const ir_shape_query *query) {
    const ir_op_info *info = ir_op_get(query->op);
    int32_t n_operands = query->n_operands;
    if (n_operands >= info->min_operands && n_operands <= info->max_operands) return NULL;
    if (info->min_operands == info->max_operands) {
        return MLCC_ERROR(
            INVALID, "%s takes %d operand%s, found %d", info->text, info->min_operands,
            info->min_operands == 1 ? "" : "s", n_operands);
    }
    return MLCC_ERROR(
        INVALID, "%s takes %d to %d operands, found %d", info->text, info->min_operands,
        info->max_operands, n_operands);
}

bool ir_shape_dtype_is_free(ir_op op) {
    return op == IR_OP_CAST || op == IR_OP_LINEAR || op == IR_OP_LINEAR_SCALED ||
           op == IR_OP_EMBEDDING || op == IR_OP_LINEAR_EXPERTS || op == IR_OP_LINEAR_SCALED_EXPERTS;
}

mlcc_status *ir_shape_infer(const ir_shape_query *query, ir_type *results, int32_t *n_results) {
    shape_results found = {.types = results, .n = 0};
    *n_results = 0;
    MLCC_TRY(check_operand_count(query));
    MLCC_TRY(rule_table[query->op](query, &found));
    for (int32_t i = 0; i < found.n; i++) {
        int64_t elements = 0;
        if (!ir_type_bound_elements(&results[i], &elements) || elements > INT64_MAX / 8) {
            return MLCC_ERROR(INVALID, "%s: result %d has too many elements", op_text(query), i);
        }
    }
    *n_results = found.n;
    return NULL;
}
