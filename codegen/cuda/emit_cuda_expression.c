// Element-wise ops as CUDA C. An op computes in float32; its result is rounded to its dtype when another op reads it or it is stored, as
// ir/eval does, so that fusing changes nothing. Pairs of columns are computed side by side: two floats for one 4-byte load of 16-bit elements.
#include "codegen/cuda/emit_cuda_inside.h"

#include <string.h>

// ---- small builders -----------------------------------------------------------------------------------

static const char *new_name(emit_cuda *e) {
    return mlcc_arena_printf(e->keep, "v%d", e->n_names++);
}

// The float of a variable: "v3", of a pair "v3.x" and "v3.y".
static const char *part(const emit_cuda *e, const char *name, int32_t width, int32_t index) {
    return width == 1 ? name : mlcc_arena_printf(e->keep, "%s.%c", name, "xy"[index]);
}

// Declares a new variable from one expression per float.
static const char *declare(emit_cuda *e, int32_t width, const char *const *values) {
    const char *name = new_name(e);
    if (width == 1) {
        mlcc_str_printf(e->out, "    const float %s = %s;\n", name, values[0]);
    } else {
        mlcc_str_printf(e->out, "    const f32x2 %s = {%s, %s};\n", name, values[0], values[1]);
    }
    return name;
}

static const char *shifted(const emit_cuda *e, const char *column, int64_t by) {
    if (by == 0) return column;
    return mlcc_arena_printf(e->keep, "(%s + %lld)", column, (long long)by);
}

// ---- memory and number formats ------------------------------------------------------------------------

// How elements of a dtype lie in memory and become float. `pair` and `pack` take and give both elements of a 4-byte word.
typedef struct element_row {
    ir_dtype dtype;
    const char *type;
    const char *load, *store; // with the value for %s; store NULL: never stored
    const char *pair, *pack;
} element_row;

static const element_row elements[] = {
    {IR_F32, "float", "%s", "%s", NULL, NULL},
    {IR_F16, "u16", "f16_to_f32(%s)", "f32_to_f16(%s)", "unpack_f16x2(%s)",
     "pack_f16x2(%s.x, %s.y)"},
    {IR_BF16, "u16", "bf16_to_f32(%s)", "f32_to_bf16(%s)", "unpack_bf16x2(%s)",
     "pack_bf16x2(%s.x, %s.y)"},
    {IR_I32, "i32", "(float)%s", NULL, NULL, NULL},
    {IR_U32, "u32", "(float)%s", NULL, NULL, NULL},
    {IR_I8, "i8", "(float)%s", NULL, NULL, NULL},
    {IR_U8, "u8", "(float)%s", NULL, NULL, NULL},
};

static const element_row *element_of(ir_dtype dtype) {
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        if (elements[i].dtype == dtype) return &elements[i];
    }
    return NULL;
}

bool emit_cuda_has_elements(const ir_type *type) {
    return element_of(type->dtype) != NULL && (type->rank == 1 || type->rank == 2);
}

// A pattern with its first %s replaced by `first` and every later one by `second`.
static const char *fill_two(
    const emit_cuda *e, const char *pattern, const char *first, const char *second) {
    mlcc_str text = {0};
    const char *next = first;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '%' && p[1] == 's') {
            mlcc_str_puts(&text, next);
            next = second;
            p++;
        } else {
            mlcc_str_putc(&text, *p);
        }
    }
    const char *result = mlcc_arena_strdup(e->keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return result;
}

static const char *fill(const emit_cuda *e, const char *pattern, const char *value) {
    return fill_two(e, pattern, value, value);
}

// Index of an element: rank 2 is [row, column], rank 1 a row vector that every row sees. In 32 bits where the tensor allows it.
static const char *element_index(const emit_cuda *e, const ir_type *type, cuda_place place) {
    if (type->rank == 1) return place.column;
    int64_t n_elements = 0;
    const bool is_small = ir_type_bound_elements(type, &n_elements) && n_elements <= INT32_MAX;
    const char *index_type = is_small ? "(i32)" : "(i64)";
    return mlcc_arena_printf(
        e->keep, "%s%s * %s%s + %s%s", index_type, place.row, index_type,
        emit_cuda_dim(e, type->dims[1]), index_type, place.column);
}

// Whether the two elements of a pair lie in one aligned word: rows of even length.
static bool pairs_are_aligned(const ir_type *type) {
    const ir_dim columns = type->dims[type->rank - 1];
    return type->rank == 1 || (columns.symbol == NULL && columns.value % 2 == 0);
}

static const char *load_element(
    emit_cuda *e, const char *memory, const ir_type *type, cuda_place place) {
    const element_row *row = element_of(type->dtype);
    const char *index = element_index(e, type, place);
    const char *element =
        mlcc_arena_printf(e->keep, "((const %s *)%s)[%s]", row->type, memory, index);
    return fill(e, row->load, element);
}

static const char *load_input(emit_cuda *e, int32_t input, const ir_type *type, cuda_place place) {
    const element_row *row = element_of(type->dtype);
    const char *memory = mlcc_arena_printf(e->keep, "env->in[%d]", input);
    if (place.width == 2 && pairs_are_aligned(type) &&
        (row->pair != NULL || type->dtype == IR_F32)) {
        const char *name = new_name(e);
        const char *index = element_index(e, type, place);
        const char *word = mlcc_arena_printf(
            e->keep, "((const %s *)%s)[(%s) >> 1]", row->pair != NULL ? "u32" : "f32x2", memory,
            index);
        mlcc_str_printf(
            e->out, "    const f32x2 %s = %s;\n", name,
            row->pair != NULL ? fill(e, row->pair, word) : word);
        return name;
    }
    const char *values[2];
    for (int32_t i = 0; i < place.width; i++) {
        const cuda_place one = {place.row, shifted(e, place.column, i), 1};
        values[i] = load_element(e, memory, type, one);
    }
    return declare(e, place.width, values);
}

void emit_cuda_store(
    emit_cuda *e, const ir_type *type, const char *memory, cuda_place place, const char *name) {
    const element_row *row = element_of(type->dtype);
    if (place.width == 2 && pairs_are_aligned(type) &&
        (row->pack != NULL || type->dtype == IR_F32)) {
        mlcc_str_printf(
            e->out, "    ((%s *)%s)[(%s) >> 1] = %s;\n", row->pack != NULL ? "u32" : "f32x2",
            memory, element_index(e, type, place),
            row->pack != NULL ? fill(e, row->pack, name) : name);
        return;
    }
    for (int32_t i = 0; i < place.width; i++) {
        const cuda_place one = {place.row, shifted(e, place.column, i), 1};
        mlcc_str_printf(
            e->out, "    ((%s *)%s)[%s] = %s;\n", row->type, memory, element_index(e, type, one),
            fill(e, row->store, part(e, name, place.width, i)));
    }
}

// ---- rope ---------------------------------------------------------------------------------------------

// Where the columns of a rotated tensor find their partners and angles. Fields are C expressions.
typedef struct rope {
    int64_t head_dim, half;
    bool is_interleaved;
    const char *inside;  // column within its head
    const char *rotated; // condition that the column takes part; NULL: all do
} rope;

static rope open_rope(emit_cuda *e, const ir_node *node, const char *column) {
    rope r = {
        .head_dim = ir_attr_i64(node, "head_dim"),
        .half = node->operands[1]->type.dims[1].value / 2,
        .is_interleaved = ir_attr_bool(node, "interleaved"),
        .inside = new_name(e),
    };
    mlcc_str_printf(
        e->out, "    const i32 %s = (i32)((u32)%s %% %lluu);\n", r.inside, column,
        (unsigned long long)r.head_dim);
    if (2 * r.half < r.head_dim) {
        r.rotated = mlcc_arena_printf(e->keep, "%s < %lld", r.inside, (long long)(2 * r.half));
    }
    return r;
}

// Declares an integer variable; columns that are not rotated must not read beyond the tensor or the table.
static const char *rope_index(
    emit_cuda *e, const rope *r, const char *type, const char *value, const char *otherwise) {
    const char *name = new_name(e);
    if (r->rotated == NULL) {
        mlcc_str_printf(e->out, "    const %s %s = %s;\n", type, name, value);
    } else {
        mlcc_str_printf(
            e->out, "    const %s %s = %s ? (%s)(%s) : (%s)(%s);\n", type, name, r->rotated, type,
            value, type, otherwise);
    }
    return name;
}

static mlcc_status *rope_angles(
    emit_cuda *e, const ir_node *node, const rope *r, cuda_place place, const char *angle,
    const char **cosine, const char **sine) {
    const ir_value *table = node->operands[1];
    const cuda_place at_cosine = {place.row, angle, place.width};
    const cuda_place at_sine = {place.row, shifted(e, angle, r->half), place.width};
    MLCC_TRY(emit_cuda_operand(e, table, at_cosine, cosine));
    return emit_cuda_operand(e, table, at_sine, sine);
}

// One turned float: own * cos -/+ other * sin, where the column takes part.
static const char *turned(
    const emit_cuda *e, const rope *r, const char *own, const char *other, const char *cosine,
    const char *sine, const char *sign) {
    const char *value =
        mlcc_arena_printf(e->keep, "%s * %s + %s%s * %s", own, cosine, sign, other, sine);
    if (r->rotated == NULL) return value;
    return mlcc_arena_printf(e->keep, "(%s ? %s : %s)", r->rotated, value, own);
}

// Pairs (i, i + half): a column of the first half meets the one half a rotation further.
static mlcc_status *emit_rope_halves(
    emit_cuda *e, const ir_node *node, cuda_place place, const char **name) {
    const ir_value *x = node->operands[0];
    const rope r = open_rope(e, node, place.column);
    const long long half = (long long)r.half;
    const char *first = mlcc_arena_printf(e->keep, "%s < %lld", r.inside, half);
    const char *partner = rope_index(
        e, &r, "i64",
        mlcc_arena_printf(
            e->keep, "%s ? %s + %lld : %s - %lld", first, place.column, half, place.column, half),
        place.column);
    const char *angle = rope_index(
        e, &r, "i32",
        mlcc_arena_printf(e->keep, "%s ? %s : %s - %lld", first, r.inside, r.inside, half), "0");
    const char *own = NULL, *other = NULL, *cosine = NULL, *sine = NULL;
    MLCC_TRY(emit_cuda_operand(e, x, place, &own));
    MLCC_TRY(emit_cuda_operand(e, x, (cuda_place){place.row, partner, place.width}, &other));
    MLCC_TRY(rope_angles(e, node, &r, place, angle, &cosine, &sine));
    const char *values[2];
    for (int32_t i = 0; i < place.width; i++) {
        const char *sign = mlcc_arena_printf(e->keep, "(%s ? -1.0f : 1.0f) * ", first);
        values[i] = turned(
            e, &r, part(e, own, place.width, i), part(e, other, place.width, i),
            part(e, cosine, place.width, i), part(e, sine, place.width, i), sign);
    }
    *name = declare(e, place.width, values);
    return NULL;
}

// Pairs (2i, 2i + 1). A place of two columns is such a pair and needs one angle.
static mlcc_status *emit_rope_interleaved(
    emit_cuda *e, const ir_node *node, cuda_place place, const char **name) {
    const ir_value *x = node->operands[0];
    const rope r = open_rope(e, node, place.column);
    const char *angle =
        rope_index(e, &r, "i32", mlcc_arena_printf(e->keep, "%s / 2", r.inside), "0");
    const char *own = NULL, *other = NULL, *cosine = NULL, *sine = NULL;
    const cuda_place at_angle = {place.row, angle, 1};
    MLCC_TRY(rope_angles(e, node, &r, at_angle, angle, &cosine, &sine));
    MLCC_TRY(emit_cuda_operand(e, x, place, &own));
    if (place.width == 2) {
        const char *a = part(e, own, 2, 0), *b = part(e, own, 2, 1);
        const char *values[2] = {
            turned(e, &r, a, b, cosine, sine, "-"), turned(e, &r, b, a, cosine, sine, "")};
        *name = declare(e, 2, values);
        return NULL;
    }
    const char *first = mlcc_arena_printf(e->keep, "%s %% 2 == 0", r.inside);
    const char *partner = rope_index(
        e, &r, "i64",
        mlcc_arena_printf(e->keep, "%s ? %s + 1 : %s - 1", first, place.column, place.column),
        place.column);
    MLCC_TRY(emit_cuda_operand(e, x, (cuda_place){place.row, partner, 1}, &other));
    const char *sign = mlcc_arena_printf(e->keep, "(%s ? -1.0f : 1.0f) * ", first);
    const char *value = turned(e, &r, own, other, cosine, sine, sign);
    *name = declare(e, 1, &value);
    return NULL;
}

// Whether both columns of a pair stand in the same half of the same head.
static bool rope_keeps_pairs(const ir_node *node) {
    const int64_t half = node->operands[1]->type.dims[1].value / 2;
    const bool is_even = ir_attr_i64(node, "head_dim") % 2 == 0;
    return is_even && (half % 2 == 0 || ir_attr_bool(node, "interleaved"));
}

static mlcc_status *emit_rope(
    emit_cuda *e, const ir_node *node, cuda_place place, const char **name) {
    if (node->operands[1]->type.dims[1].value / 2 == 0) {
        return emit_cuda_operand(e, node->operands[0], place, name);
    }
    return ir_attr_bool(node, "interleaved") ? emit_rope_interleaved(e, node, place, name)
                                             : emit_rope_halves(e, node, place, name);
}

// ---- ops ----------------------------------------------------------------------------------------------

// Ops of one float each: the pattern's first %s is operand 0, the second operand 1 or the attributes as constants, with commas between.
typedef struct op_row {
    ir_op op;
    const char *pattern;
    const char *attrs[2]; // NULL: none
} op_row;

static const op_row ops[] = {
    {IR_OP_ADD, "%s + %s", {NULL}},
    {IR_OP_MUL, "%s * %s", {NULL}},
    {IR_OP_SCALE, "%s * %s", {"factor"}},
    {IR_OP_SILU, "kernel_silu(%s)", {NULL}},
    {IR_OP_GELU, "kernel_gelu(%s)", {NULL}},
    {IR_OP_GELU_TANH, "kernel_gelu_tanh(%s)", {NULL}},
    {IR_OP_RELU, "kernel_relu(%s)", {NULL}},
    {IR_OP_SIGMOID, "kernel_sigmoid(%s)", {NULL}},
    {IR_OP_SOFTCAP, "kernel_softcap(%s, %s)", {"cap"}},
    {IR_OP_CLAMP, "kernel_clamp(%s, %s)", {"min", "max"}},
    {IR_OP_CAST, "%s", {NULL}}, // whoever reads or stores the result rounds it
};

static const char *constants_of(const emit_cuda *e, const ir_node *node, const op_row *row) {
    const char *text = NULL;
    for (int32_t i = 0; i < 2 && row->attrs[i] != NULL; i++) {
        const char *constant = emit_cuda_f32(e, ir_attr_f64(node, row->attrs[i]));
        text = i == 0 ? constant : mlcc_arena_printf(e->keep, "%s, %s", text, constant);
    }
    return text;
}

static mlcc_status *emit_row(
    emit_cuda *e, const ir_node *node, const op_row *row, cuda_place place, const char **name) {
    const char *operands[2] = {NULL, NULL};
    for (int32_t i = 0; i < node->n_operands && i < 2; i++) {
        MLCC_TRY(emit_cuda_operand(e, node->operands[i], place, &operands[i]));
    }
    const char *constants = constants_of(e, node, row);
    const char *values[2];
    for (int32_t i = 0; i < place.width; i++) {
        const char *second = operands[1] != NULL ? part(e, operands[1], place.width, i) : constants;
        values[i] = fill_two(e, row->pattern, part(e, operands[0], place.width, i), second);
    }
    *name = declare(e, place.width, values);
    return NULL;
}

// Whether a pair of the op's result is computed from pairs of its operands.
static bool keeps_pairs(const ir_node *node) {
    if (node->op == IR_OP_ROPE) return rope_keeps_pairs(node);
    if (node->op == IR_OP_COMBINE_EXPERTS) return node->results[0]->type.dims[1].value % 2 == 0;
    if (node->op != IR_OP_SLICE) return true;
    const int64_t parts = ir_attr_i64(node, "parts"), begin = ir_attr_i64(node, "begin");
    const bool parts_keep = (ir_attr_i64(node, "end") - begin) % 2 == 0 &&
                            node->operands[0]->type.dims[1].value / parts % 2 == 0;
    return begin % 2 == 0 && (parts == 1 || parts_keep);
}

// Column of the operand that a slice's `column` shows.
static const char *sliced_column(emit_cuda *e, const ir_node *node, const char *column) {
    const int64_t begin = ir_attr_i64(node, "begin"), parts = ir_attr_i64(node, "parts");
    const int64_t columns = ir_attr_i64(node, "end") - begin;
    const int64_t gap = node->operands[0]->type.dims[1].value / parts - columns;
    if (parts == 1 || gap == 0) return shifted(e, column, begin);
    const char *name = new_name(e);
    mlcc_str_printf(
        e->out, "    const i64 %s = (i64)%s + (i64)((u32)%s / %lluu) * %lld + %lld;\n", name,
        column, column, (unsigned long long)columns, (long long)gap, (long long)begin);
    return name;
}

static mlcc_status *emit_combine(
    emit_cuda *e, const ir_node *node, cuda_place place, const char **name) {
    const ir_value *y = node->operands[0], *weights = node->operands[1];
    const int64_t k = weights->type.dims[1].value, columns = y->type.dims[1].value / k;
    for (int64_t j = 0; j < k; j++) {
        const char *row = NULL, *weight = NULL, *values[2] = {NULL, NULL};
        const cuda_place at = {place.row, shifted(e, place.column, j * columns), place.width};
        const char *index = mlcc_arena_printf(e->keep, "%lld", (long long)j);
        MLCC_TRY(emit_cuda_operand(e, y, at, &row));
        MLCC_TRY(emit_cuda_operand(e, weights, (cuda_place){place.row, index, 1}, &weight));
        for (int32_t i = 0; i < place.width; i++) {
            const char *product =
                mlcc_arena_printf(e->keep, "%s * %s", weight, part(e, row, place.width, i));
            values[i] = j == 0 ? product
                               : mlcc_arena_printf(
                                     e->keep, "%s + %s", part(e, *name, place.width, i), product);
        }
        *name = declare(e, place.width, values);
    }
    return NULL;
}

static mlcc_status *emit_op(
    emit_cuda *e, const ir_node *node, cuda_place place, const char **name) {
    if (place.width == 2 && !keeps_pairs(node)) {
        const char *values[2];
        for (int32_t i = 0; i < 2; i++) {
            const cuda_place one = {place.row, shifted(e, place.column, i), 1};
            MLCC_TRY(emit_op(e, node, one, &values[i]));
        }
        *name = declare(e, 2, values);
        return NULL;
    }
    if (node->op == IR_OP_ROPE) return emit_rope(e, node, place, name);
    if (node->op == IR_OP_SLICE) {
        place.column = sliced_column(e, node, place.column);
        return emit_cuda_operand(e, node->operands[0], place, name);
    }
    if (node->op == IR_OP_COMBINE_EXPERTS) return emit_combine(e, node, place, name);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        if (ops[i].op == node->op) return emit_row(e, node, &ops[i], place, name);
    }
    return MLCC_ERROR(
        INTERNAL, "element-wise op '%s' has no expression in codegen/cuda (group '%s')",
        ir_op_get(node->op)->text, e->group->name);
}

// ---- elements -----------------------------------------------------------------------------------------

static bool same_place(cuda_place a, cuda_place b) {
    return a.width == b.width && strcmp(a.row, b.row) == 0 && strcmp(a.column, b.column) == 0;
}

static mlcc_status *compute(
    emit_cuda *e, const ir_value *value, cuda_place place, const char **name) {
    const int32_t input = emit_cuda_input(e, value);
    if (input >= 0) {
        if (!emit_cuda_has_elements(&value->type)) {
            return MLCC_ERROR(
                INTERNAL,
                "kernel '%s' loads elements of a tensor %s of rank %d, which it can only take as a "
                "pointer",
                e->row->name, ir_dtype_get(value->type.dtype)->text, value->type.rank);
        }
        *name = load_input(e, input, &value->type, place);
        return NULL;
    }
    if (value->kind == IR_VALUE_RESULT && (ir_op_get(value->def->op)->flags & IR_ELEMENTWISE)) {
        return emit_op(e, value->def, place, name);
    }
    return MLCC_ERROR(
        INTERNAL,
        "group '%s' needs an element of its anchor's result that kernel '%s' has not computed yet",
        e->group->name, e->row->name);
}

mlcc_status *emit_cuda_expression(
    emit_cuda *e, const ir_value *value, cuda_place place, const char **name) {
    if (value == e->pushed && same_place(place, e->pushed_place)) {
        *name = "value";
        return NULL;
    }
    if (value == e->pushed && e->pushed_elsewhere != NULL) {
        *name = e->pushed_elsewhere;
        return NULL;
    }
    // A value that is read several times is computed once; without this a chain of squares would double at every link.
    for (size_t i = 0; i < e->n_memo; i++) {
        if (e->memo[i].value == value && same_place(e->memo[i].place, place)) {
            *name = e->memo[i].name;
            return NULL;
        }
    }
    MLCC_TRY(compute(e, value, place, name));
    MLCC_ARENA_GROW(e->keep, e->memo, e->n_memo, e->memo_capacity);
    e->memo[e->n_memo++] = (cuda_memo){.value = value, .place = place, .name = *name};
    return NULL;
}

mlcc_status *emit_cuda_operand(
    emit_cuda *e, const ir_value *value, cuda_place place, const char **name) {
    MLCC_TRY(emit_cuda_expression(e, value, place, name));
    // What was loaded is exact, and so is float32.
    if (value->kind != IR_VALUE_RESULT || emit_cuda_input(e, value) >= 0) return NULL;
    const element_row *row = element_of(value->type.dtype);
    if (row == NULL || row->pair == NULL) return NULL;
    const char *values[2];
    for (int32_t i = 0; i < place.width; i++) {
        values[i] = fill(e, row->load, fill(e, row->store, part(e, *name, place.width, i)));
    }
    *name = declare(e, place.width, values);
    return NULL;
}
