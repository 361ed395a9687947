// What kernels/linear_chain.cu asks for besides the hooks of its linear: the norm's rows, the gate, the cache. Results are rounded as the separate
// groups round them: a value that one launch would store and another load is rounded to its dtype in between.
#include "codegen/cuda/cuda_chain.h"
#include "codegen/cuda/emit_cuda_inside.h"
#include "ir/walk.h"

typedef struct chain_emitter {
    emit_cuda *e;
    cuda_chain chain;
} chain_emitter;

static const char *const widths[] = {"", "2"}; // of one column and of two in the names of hooks
static const char *const types[] = {"float", "f32x2"};

static void begin_hook(
    emit_cuda *e, const char *result, const char *name, int32_t width, const char *more) {
    e->n_names = 0;
    e->n_memo = 0;
    e->pushed = NULL;
    e->pushed_elsewhere = NULL;
    mlcc_str_printf(
        e->out,
        "DEVICE %s chain_%s%s(const kernel_env *env, i64 row, i64 col%s) {\n"
        "    (void)env, (void)row, (void)col;\n",
        result, name, widths[width - 1], more);
}

static void push(emit_cuda *e, const ir_value *value, cuda_place place, const char *elsewhere) {
    e->pushed = value;
    e->pushed_place = place;
    e->pushed_elsewhere = elsewhere;
    mlcc_str_printf(e->out, "    (void)value%s;\n", elsewhere != NULL ? ", (void)other" : "");
}

static void end_hook(emit_cuda *e) {
    mlcc_str_puts(e->out, "}\n");
    e->pushed = NULL;
    e->pushed_elsewhere = NULL;
}

static void define(const emit_cuda *e, const char *name, int64_t value) {
    mlcc_str_printf(e->out, "#define CHAIN_%s %lld\n", name, (long long)value);
}

static mlcc_status *store_return(emit_cuda *e, int32_t index, cuda_place place) {
    const ir_value *value = e->group->returns[index];
    const char *name = NULL;
    MLCC_TRY(emit_cuda_expression(e, value, place, &name));
    emit_cuda_store(e, &value->type, emit_cuda_return_memory(e, index), place, name);
    return NULL;
}

// ---- norm ---------------------------------------------------------------------------------------------

static mlcc_status *emit_load(
    emit_cuda *e, const char *name, const ir_value *value, int32_t width) {
    begin_hook(e, types[width - 1], name, width, "");
    const char *loaded = NULL;
    MLCC_TRY(emit_cuda_operand(e, value, (cuda_place){"row", "col", width}, &loaded));
    mlcc_str_printf(e->out, "    return %s;\n", loaded);
    end_hook(e);
    return NULL;
}

// Stores the returns that are rows before the norm, or its result.
static mlcc_status *emit_keep(
    const chain_emitter *c, const char *name, bool is_normed, int32_t width) {
    emit_cuda *e = c->e;
    const ir_node *norm = c->chain.norm;
    const cuda_place place = {"row", "col", width};
    begin_hook(e, "void", name, width, width == 2 ? ", f32x2 value" : ", float value");
    push(e, is_normed ? norm->results[0] : norm->operands[0], place, NULL);
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        const ir_value *value = e->group->returns[r];
        const bool is_result = value == norm->results[0];
        const bool is_row = ir_value_depends(e->group, norm->operands[0], value);
        if (is_normed ? is_result : is_row) MLCC_TRY(store_return(e, r, place));
    }
    end_hook(e);
    return NULL;
}

static mlcc_status *emit_norm(const chain_emitter *c) {
    const ir_node *norm = c->chain.norm;
    mlcc_str_puts(c->e->out, "#define CHAIN_EPS (");
    mlcc_str_put_f64(c->e->out, ir_attr_f64(norm, "eps"));
    mlcc_str_puts(c->e->out, ")\n");
    for (int32_t width = 1; width <= 2; width++) {
        MLCC_TRY(emit_load(c->e, "row", norm->operands[0], width));
        MLCC_TRY(emit_load(c->e, "gain", norm->operands[1], width));
        MLCC_TRY(emit_keep(c, "keep", false, width));
        MLCC_TRY(emit_keep(c, "keep_normed", true, width));
    }
    return NULL;
}

// ---- the linear's result ------------------------------------------------------------------------------

static mlcc_status *emit_store(const chain_emitter *c) {
    emit_cuda *e = c->e;
    const ir_value *whole = c->chain.linear->results[0];
    const cuda_place place = {"row", "col", 1};
    begin_hook(e, "void", "store", 1, ", float value");
    push(e, whole, place, NULL);
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        if (e->group->returns[r] == whole) MLCC_TRY(store_return(e, r, place));
    }
    end_hook(e);
    return NULL;
}

static mlcc_status *emit_gate(const chain_emitter *c) {
    emit_cuda *e = c->e;
    const ir_value *whole = c->chain.linear->results[0];
    const cuda_place place = {"row", "col", 1};
    begin_hook(e, "void", "gate", 1, ", float value, float other");
    push(e, whole, place, "other");
    for (int32_t r = 0; r < e->group->n_returns; r++) {
        const ir_value *value = e->group->returns[r];
        if (value == whole || !ir_value_depends(e->group, value, whole)) continue;
        MLCC_TRY(store_return(e, r, place));
    }
    end_hook(e);
    return NULL;
}

// ---- append -------------------------------------------------------------------------------------------

// Element of a key or value: of the linear's result at the same column, and a rotated key of one more.
static mlcc_status *emit_part(
    const chain_emitter *c, const char *name, const ir_value *part, int64_t begin) {
    emit_cuda *e = c->e;
    begin_hook(e, "float", name, 1, ", float value, float other");
    const char *column = mlcc_arena_printf(e->keep, "(col + %lld)", (long long)begin);
    push(e, c->chain.linear->results[0], (cuda_place){"row", column, 1}, "other");
    const char *result = NULL;
    MLCC_TRY(emit_cuda_operand(e, part, (cuda_place){"row", "col", 1}, &result));
    mlcc_str_printf(e->out, "    return %s;\n", result);
    end_hook(e);
    return NULL;
}

static void emit_input(
    const emit_cuda *e, const char *name, const char *type, const ir_value *value) {
    mlcc_str_printf(
        e->out, "DEVICE %s chain_%s(const kernel_env *env) { return (%s)env->in[%d]; }\n", type,
        name, type, emit_cuda_input(e, value));
}

static mlcc_status *emit_append(const chain_emitter *c) {
    const emit_cuda *e = c->e;
    const ir_node *append = c->chain.append;
    const ir_type *cache = &append->operands[0]->type;
    define(e, "KEY_BEGIN", c->chain.key_begin);
    define(e, "VALUE_BEGIN", c->chain.value_begin);
    define(e, "CACHE_DTYPE", (int64_t)cache->dtype);
    define(e, "HEADS", cache->dims[2].value);
    define(e, "PAGE_TOKENS", cache->dims[3].value);
    define(e, "HEAD_DIM", cache->dims[4].value);
    emit_input(e, "cache", "void *", append->operands[0]);
    emit_input(e, "page_table", "const i32 *", append->operands[3]);
    emit_input(e, "sequences", "const i32 *", append->operands[4]);
    emit_input(e, "positions", "const i32 *", append->operands[5]);
    mlcc_str_printf(
        e->out, "DEVICE i64 chain_page_slots(const kernel_env *env) { (void)env; return %s; }\n",
        emit_cuda_dim(e, append->operands[3]->type.dims[1]));
    MLCC_TRY(emit_part(c, "key", append->operands[1], c->chain.key_begin));
    return emit_part(c, "value", append->operands[2], c->chain.value_begin);
}

// ---- all ----------------------------------------------------------------------------------------------

mlcc_status *emit_cuda_chain(emit_cuda *e) {
    chain_emitter c = {.e = e};
    const char *refusal = cuda_chain_read(e->group, &c.chain);
    if (refusal != NULL) {
        return MLCC_ERROR(
            INTERNAL, "'%s' is no chain for kernel '%s': %s", e->group->name, e->row->name,
            refusal);
    }
    define(e, "HAS_NORM", c.chain.norm != NULL);
    define(e, "HAS_GATE", c.chain.has_gate);
    define(e, "HAS_APPEND", c.chain.append != NULL);
    define(e, "DISTANCE", c.chain.distance);
    define(e, "PARTNER_TILE", c.chain.partner == CUDA_CHAIN_OTHER_TILE);
    define(e, "PARTNER_ROW", c.chain.partner == CUDA_CHAIN_OTHER_ROW);
    if (c.chain.norm != NULL) MLCC_TRY(emit_norm(&c));
    MLCC_TRY(emit_store(&c));
    if (c.chain.has_gate) MLCC_TRY(emit_gate(&c));
    return c.chain.append != NULL ? emit_append(&c) : NULL;
}
