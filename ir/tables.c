// tables: everything that is read out of ops.def, attrs.def and dtypes.def, and the small functions
// on types that go with it.
#include "ir/tables.h"

#include "runtime/base/str.h"

#include <assert.h>
#include <math.h>
#include <string.h>

// clang-format off
static const ir_dtype_info dtype_table[IR_N_DTYPES] = {
#define DTYPE(id, text, kind, bits, group, scale, meaning) \
    [IR_##id] = {text, IR_KIND_##kind, bits, group, IR_##scale, meaning},
#include "ir/dtypes.def"
};

static const ir_op_info op_table[IR_N_OPS] = {
#define OP(id, text, level, min, max, results, flags, prologue, rule, meaning) \
    [IR_OP_##id] = {text, IR_LEVEL_##level, min, max, results, flags, prologue, meaning},
#include "ir/ops.def"
};

#define REQUIRED INT64_MIN
#define ROW_I64(name, value)  ((value) == INT64_MIN), {name, IR_ATTR_I64, {.i64 = (value)}}
#define ROW_F64(name, value)  false, {name, IR_ATTR_F64, {.f64 = (value)}}
#define ROW_BOOL(name, value) false, {name, IR_ATTR_BOOL, {.boolean = (value)}}
#define ROW_TEXT(name, value) ((value) == INT64_MIN), {name, IR_ATTR_TEXT, {.text = ""}}
static const ir_attr_row attr_table[] = {
#define ATTR(op, name, kind, default_value) {IR_OP_##op, ROW_##kind(#name, default_value)},
#include "ir/attrs.def"
};
// clang-format on
#define N_ATTR_ROWS (sizeof attr_table / sizeof *attr_table)

const ir_dtype_info *ir_dtype_get(ir_dtype dtype) {
    assert(dtype < IR_N_DTYPES);
    return &dtype_table[dtype];
}

bool ir_dtype_parse(const char *text, ir_dtype *out) {
    for (int dtype = 0; dtype < IR_N_DTYPES; dtype++) {
        if (strcmp(dtype_table[dtype].text, text) == 0) {
            *out = (ir_dtype)dtype;
            return true;
        }
    }
    return false;
}

size_t ir_dtype_bytes(ir_dtype dtype) {
    const ir_dtype_info *info = ir_dtype_get(dtype);
    assert(info->kind != IR_KIND_GROUPED);
    return (size_t)info->bits / 8;
}

const ir_op_info *ir_op_get(ir_op op) {
    assert(op < IR_N_OPS);
    return &op_table[op];
}

bool ir_op_parse(const char *text, ir_op *out) {
    for (int op = 0; op < IR_N_OPS; op++) {
        if (strcmp(op_table[op].text, text) == 0) {
            *out = (ir_op)op;
            return true;
        }
    }
    return false;
}

// ---- attributes --------------------------------------------------------------------------------

const ir_attr_row *ir_attr_rows(ir_op op, int32_t *n_rows) {
    const ir_attr_row *first = NULL;
    *n_rows = 0;
    for (size_t i = 0; i < N_ATTR_ROWS; i++) {
        if (attr_table[i].op != op) continue;
        if (first == NULL) first = &attr_table[i];
        (*n_rows)++;
    }
    return first;
}

const char *ir_attr_kind_text(ir_attr_kind kind) {
    switch (kind) {
    case IR_ATTR_I64: return "an integer";
    case IR_ATTR_F64: return "a number";
    case IR_ATTR_BOOL: return "true or false";
    case IR_ATTR_TEXT: return "a text in quotes";
    }
    return "";
}

bool ir_attr_equal(const ir_attr *a, const ir_attr *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case IR_ATTR_I64: return a->as.i64 == b->as.i64;
    case IR_ATTR_F64: return memcmp(&a->as.f64, &b->as.f64, sizeof a->as.f64) == 0;
    case IR_ATTR_BOOL: return a->as.boolean == b->as.boolean;
    case IR_ATTR_TEXT:
        if (a->as.text == NULL || b->as.text == NULL) return a->as.text == b->as.text;
        return strcmp(a->as.text, b->as.text) == 0;
    }
    return false;
}

static ir_attr *find_attr(const ir_node *node, const char *name, ir_attr_kind kind) {
    for (int32_t i = 0; i < node->n_attrs; i++) {
        if (strcmp(node->attrs[i].name, name) != 0) continue;
        assert(node->attrs[i].kind == kind);
        return &node->attrs[i];
    }
    assert(name == NULL && "no such attribute");
    static ir_attr none; // only reached when asserts are off: reads as 0 and false
    none = (ir_attr){.name = name, .kind = kind};
    return &none;
}

int64_t ir_attr_i64(const ir_node *node, const char *name) {
    return find_attr(node, name, IR_ATTR_I64)->as.i64;
}

double ir_attr_f64(const ir_node *node, const char *name) {
    return find_attr(node, name, IR_ATTR_F64)->as.f64;
}

bool ir_attr_bool(const ir_node *node, const char *name) {
    return find_attr(node, name, IR_ATTR_BOOL)->as.boolean;
}

const char *ir_attr_text(const ir_node *node, const char *name) {
    return find_attr(node, name, IR_ATTR_TEXT)->as.text;
}

void ir_attr_set_i64(ir_node *node, const char *name, int64_t value) {
    find_attr(node, name, IR_ATTR_I64)->as.i64 = value;
}

void ir_attr_set_f64(ir_node *node, const char *name, double value) {
    find_attr(node, name, IR_ATTR_F64)->as.f64 = value;
}

void ir_attr_set_bool(ir_node *node, const char *name, bool value) {
    find_attr(node, name, IR_ATTR_BOOL)->as.boolean = value;
}

void ir_attr_set_text(ir_node *node, const char *name, const char *value) {
    find_attr(node, name, IR_ATTR_TEXT)->as.text =
        mlcc_arena_strdup(node->function->module->keep, value);
}

// ---- types -------------------------------------------------------------------------------------

bool ir_type_equal(const ir_type *a, const ir_type *b) {
    return a->dtype == b->dtype && ir_type_same_shape(a, b);
}

bool ir_type_same_shape(const ir_type *a, const ir_type *b) {
    if (a->rank != b->rank) return false;
    for (int32_t i = 0; i < a->rank; i++) {
        if (!ir_dim_equal(a->dims[i], b->dims[i])) return false;
    }
    return true;
}

ir_type ir_type_vector(ir_dtype dtype, ir_dim d0) {
    ir_type type = {.dtype = dtype, .rank = 1};
    type.dims[0] = d0;
    return type;
}

ir_type ir_type_flat(const ir_type *type) {
    int64_t rows = 0;
    if (type->rank != 3 || type->dims[0].symbol != NULL || type->dims[1].symbol != NULL ||
        !mlcc_i64_mul(type->dims[0].value, type->dims[1].value, &rows)) {
        return *type;
    }
    return ir_type_matrix(type->dtype, ir_dim_const(rows), type->dims[2]);
}

ir_type ir_type_matrix(ir_dtype dtype, ir_dim d0, ir_dim d1) {
    ir_type type = {.dtype = dtype, .rank = 2};
    type.dims[0] = d0;
    type.dims[1] = d1;
    return type;
}

bool ir_type_bound_elements(const ir_type *type, int64_t *elements) {
    int64_t product = 1;
    for (int32_t i = 0; i < type->rank; i++) {
        if (!mlcc_i64_mul(product, ir_dim_bound(type->dims[i]), &product)) return false;
    }
    *elements = product;
    return true;
}

bool ir_type_bound_bytes(const ir_type *type, int64_t *size_bytes) {
    int64_t elements = 0;
    if (!ir_type_bound_elements(type, &elements)) return false;
    return mlcc_i64_mul(elements, (int64_t)ir_dtype_bytes(type->dtype), size_bytes);
}

const char *ir_level_text(ir_level level) {
    static const char *const texts[] = {"graph", "fused", "plan"};
    return texts[level];
}
