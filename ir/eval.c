// eval: runs functions. Results are numbered once; a tensor's memory goes back to a pool after its
// last use, so that a whole model needs little more than its widest place.
#include "ir/eval.h"

#include "ir/eval_ops.h"
#include "ir/text.h"
#include "runtime/base/map.h"
#include "runtime/base/str.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- a run -------------------------------------------------------------------------------------

enum { N_POOL_CLASSES = 48, MAX_DEPTH = 4 };

typedef struct pool_block {
    struct pool_block *next;
    void *elements;
} pool_block;

typedef struct run {
    const ir_eval_options *options;   // NULL: no params
    mlcc_arena *keep;                 // results
    mlcc_arena *scratch;              // everything else
    mlcc_map *globals;                // param or constant → its tensor
    pool_block *pool[N_POOL_CLASSES]; // free blocks of 2^i elements
    pool_block *unused;               // list items without a block
    int32_t depth;
} run;

static size_t pool_class(int64_t count) {
    size_t size_class = 6;
    while (((int64_t)1 << size_class) < count) size_class++;
    return size_class;
}

static void pool_give(run *r, const ir_tensor *tensor) {
    size_t size_class = pool_class(ir_tensor_count(tensor));
    pool_block *block = r->unused;
    if (block != NULL)
        r->unused = block->next;
    else
        block = MLCC_NEW(r->scratch, pool_block);
    block->elements = eval_is_int(tensor->dtype) ? (void *)tensor->i32 : (void *)tensor->f32;
    block->next = r->pool[size_class];
    r->pool[size_class] = block;
}

static ir_tensor *pool_take(run *r, ir_dtype dtype, int32_t rank, const int64_t *dims) {
    ir_tensor *tensor = eval_tensor_head(r->scratch, dtype, rank, dims);
    size_t size_class = pool_class(ir_tensor_count(tensor));
    void *elements = NULL;
    pool_block *block = r->pool[size_class];
    if (block != NULL) {
        r->pool[size_class] = block->next;
        block->next = r->unused;
        r->unused = block;
        elements = block->elements;
    } else {
        elements = mlcc_arena_alloc_array(r->scratch, (size_t)1 << size_class, 4);
    }
    if (eval_is_int(dtype))
        tensor->i32 = elements;
    else
        tensor->f32 = elements;
    return tensor;
}

static int64_t *unbound_symbols(mlcc_arena *scratch, const ir_module *module) {
    int64_t *symbols = MLCC_NEW_ARRAY(scratch, int64_t, module->n_symbols);
    for (size_t i = 0; i < module->n_symbols; i++) symbols[i] = -1;
    return symbols;
}

static mlcc_status *global_tensor(run *r, ir_value *value, ir_tensor **out) {
    uint64_t address = 0;
    if (mlcc_map_get(r->globals, &value, sizeof value, &address)) {
        *out = (ir_tensor *)(uintptr_t)address;
        return NULL;
    }
    const ir_param *param = ir_param_of(value);
    if (param == NULL) {
        *out = eval_const_tensor(r->scratch, ir_const_of(value));
    } else {
        if (r->options == NULL || r->options->param == NULL) {
            return MLCC_ERROR(INVALID, "param '%s' has no value", value->name);
        }
        MLCC_TRY(r->options->param(r->options->user, param, r->scratch, out));
        MLCC_TRY(eval_bind_type(&value->type, *out, NULL, value->name));
    }
    mlcc_map_set(r->globals, &value, sizeof value, (uint64_t)(uintptr_t)*out);
    return NULL;
}

// ---- nodes -------------------------------------------------------------------------------------

static mlcc_status *eval_body(
    run *r, const ir_function *function, ir_tensor *const *args, ir_tensor **results);

static mlcc_status *eval_callee(
    run *r, const ir_node *node, ir_tensor *const *operands, ir_tensor **results) {
    const char *name = ir_attr_text(node, "callee");
    const ir_function *callee = ir_module_find(node->function->module, name);
    if (callee == NULL || callee->n_args != node->n_operands ||
        callee->n_returns != node->n_results) {
        return MLCC_ERROR(INVALID, "group @%s does not fit its call", name);
    }
    if (r->depth == MAX_DEPTH) return MLCC_ERROR(INVALID, "groups call each other too deeply");
    r->depth++;
    mlcc_status *status = eval_body(r, callee, operands, results);
    r->depth--;
    return status;
}

// A new op without its case is an error here, and without its evaluator one of the linker.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
static mlcc_status *eval_op(
    run *r, const ir_node *node, ir_tensor *const *operands, ir_tensor **results) {
    const eval_call call = {
        .node = node, .operands = operands, .results = results, .scratch = r->scratch};
    switch (node->op) {
    case IR_OP_EMBEDDING: return ir_eval_embedding(&call);
    case IR_OP_LINEAR: return ir_eval_linear(&call);
    case IR_OP_RMS_NORM: return ir_eval_rms_norm(&call);
    case IR_OP_LAYER_NORM: return ir_eval_layer_norm(&call);
    case IR_OP_ADD: return ir_eval_add(&call);
    case IR_OP_MUL: return ir_eval_mul(&call);
    case IR_OP_SCALE: return ir_eval_scale(&call);
    case IR_OP_SILU: return ir_eval_silu(&call);
    case IR_OP_GELU: return ir_eval_gelu(&call);
    case IR_OP_GELU_TANH: return ir_eval_gelu_tanh(&call);
    case IR_OP_RELU: return ir_eval_relu(&call);
    case IR_OP_SIGMOID: return ir_eval_sigmoid(&call);
    case IR_OP_SOFTCAP: return ir_eval_softcap(&call);
    case IR_OP_CLAMP: return ir_eval_clamp(&call);
    case IR_OP_CAST: return ir_eval_cast(&call);
    case IR_OP_SLICE: return ir_eval_slice(&call);
    case IR_OP_ROPE_TABLE: return ir_eval_rope_table(&call);
    case IR_OP_ROPE: return ir_eval_rope(&call);
    case IR_OP_KV_APPEND: return ir_eval_kv_append(&call);
    case IR_OP_PAGED_ATTENTION: return ir_eval_paged_attention(&call);
    case IR_OP_SEGMENT_ATTENTION: return ir_eval_segment_attention(&call);
    case IR_OP_LATENT_APPEND: return ir_eval_latent_append(&call);
    case IR_OP_LATENT_ATTENTION: return ir_eval_latent_attention(&call);
    case IR_OP_TAKE_ROWS: return ir_eval_take_rows(&call);
    case IR_OP_QUANTIZE_ACTIVATION: return ir_eval_quantize_activation(&call);
    case IR_OP_ENCODE_ACTIVATION: return ir_eval_encode_activation(&call);
    case IR_OP_LINEAR_SCALED: return ir_eval_linear_scaled(&call);
    case IR_OP_OBSERVE_MAX: return ir_eval_observe_max(&call);
    case IR_OP_SAMPLE: return ir_eval_sample(&call);
    case IR_OP_ROUTE_EXPERTS: return ir_eval_route_experts(&call);
    case IR_OP_LINEAR_EXPERTS: return ir_eval_linear_experts(&call);
    case IR_OP_LINEAR_SCALED_EXPERTS: return ir_eval_linear_scaled_experts(&call);
    case IR_OP_LINEAR_HEADS: return ir_eval_linear_heads(&call);
    case IR_OP_COMBINE_EXPERTS: return ir_eval_combine_experts(&call);
    case IR_OP_CALL:
    case IR_OP_LAUNCH: return eval_callee(r, node, operands, results);
    case IR_N_OPS: break;
    }
    return MLCC_ERROR(INTERNAL, "op %d has no evaluator", (int)node->op);
}
#pragma GCC diagnostic pop

static mlcc_status *note_node(mlcc_status *status, const ir_node *node) {
    if (status == NULL) return NULL;
    mlcc_str text = {0};
    ir_print_node(node, &text);
    mlcc_status_note(status, "evaluating '%s' in @%s", mlcc_str_text(&text), node->function->name);
    mlcc_str_free(&text);
    return status;
}

// ---- functions ---------------------------------------------------------------------------------

// What is known of one result while its function runs.
typedef struct slot {
    ir_tensor *tensor;
    int32_t n_uses; // still to come
    bool pooled;    // its memory goes back after the last use
} slot;

typedef struct frame {
    run *r;
    const ir_function *function;
    ir_tensor *const *args;
    ir_tensor **results;
    int64_t *symbols;
    mlcc_map *places; // result → index of its slot
    slot *slots;
} frame;

static slot *slot_of(const frame *f, const ir_value *value) {
    uint64_t place = 0;
    bool found = mlcc_map_get(f->places, &value, sizeof value, &place);
    return found ? &f->slots[place] : NULL;
}

static mlcc_status *number_slots(frame *f) {
    for (const ir_node *node = f->function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_results; i++) {
            mlcc_map_set(
                f->places, &node->results[i], sizeof node->results[i], mlcc_map_count(f->places));
        }
    }
    f->slots = MLCC_NEW_ARRAY(f->r->scratch, slot, mlcc_map_count(f->places));
    for (const ir_node *node = f->function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (node->operands[i]->kind != IR_VALUE_RESULT) continue;
            slot *used = slot_of(f, node->operands[i]);
            if (used == NULL)
                return MLCC_ERROR(INVALID, "@%s uses a foreign value", f->function->name);
            used->n_uses++;
        }
    }
    // A returned result is made where the caller wants it.
    for (int32_t i = 0; i < f->function->n_returns; i++) {
        if (f->function->returns[i]->kind != IR_VALUE_RESULT) continue;
        slot *returned = slot_of(f, f->function->returns[i]);
        if (returned == NULL)
            return MLCC_ERROR(INVALID, "@%s returns a foreign value", f->function->name);
        if (returned->tensor == NULL) returned->tensor = f->results[i];
    }
    return NULL;
}

static mlcc_status *value_tensor(const frame *f, ir_value *value, ir_tensor **out) {
    switch (value->kind) {
    case IR_VALUE_ARG: *out = f->args[value->index]; return NULL;
    case IR_VALUE_RESULT: {
        const slot *found = slot_of(f, value);
        *out = found != NULL ? found->tensor : NULL;
        if (*out == NULL) return MLCC_ERROR(INVALID, "a value is used before it is defined");
        return NULL;
    }
    case IR_VALUE_PARAM:
    case IR_VALUE_CONST: break;
    }
    return global_tensor(f->r, value, out);
}

static void release(const frame *f, slot *used) {
    if (used->n_uses == 0 && used->pooled) pool_give(f->r, used->tensor);
}

static mlcc_status *eval_frame_node(const frame *f, const ir_node *node) {
    ir_tensor *operands[IR_MAX_OPERANDS];
    ir_tensor *results[IR_MAX_OPERANDS];
    for (int32_t i = 0; i < node->n_operands; i++) {
        MLCC_TRY(value_tensor(f, node->operands[i], &operands[i]));
    }
    for (int32_t i = 0; i < node->n_results; i++) {
        slot *result = slot_of(f, node->results[i]);
        if (result->tensor == NULL) {
            const ir_type *type = &node->results[i]->type;
            int64_t dims[IR_MAX_RANK];
            MLCC_TRY(eval_resolve_dims(type, f->symbols, dims));
            result->tensor = pool_take(f->r, type->dtype, type->rank, dims);
            result->pooled = true;
        }
        results[i] = result->tensor;
    }
    MLCC_TRY(eval_op(f->r, node, operands, results));
    for (int32_t i = 0; i < node->n_operands; i++) {
        if (node->operands[i]->kind != IR_VALUE_RESULT) continue;
        slot *used = slot_of(f, node->operands[i]);
        used->n_uses--;
        release(f, used);
    }
    for (int32_t i = 0; i < node->n_results; i++) release(f, slot_of(f, node->results[i]));
    return NULL;
}

static mlcc_status *eval_frame(frame *f) {
    const ir_function *function = f->function;
    for (int32_t i = 0; i < function->n_args; i++) {
        const ir_value *arg = function->args[i];
        MLCC_TRY(eval_bind_type(&arg->type, f->args[i], f->symbols, arg->name));
    }
    for (int32_t i = 0; i < function->n_returns; i++) {
        const ir_type *type = &function->returns[i]->type;
        int64_t dims[IR_MAX_RANK];
        if (f->results[i] != NULL) continue;
        MLCC_TRY(eval_resolve_dims(type, f->symbols, dims));
        f->results[i] = ir_tensor_create(f->r->keep, type->dtype, type->rank, dims);
    }
    MLCC_TRY(number_slots(f));
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        mlcc_status *status = eval_frame_node(f, node);
        if (status != NULL) return note_node(status, node);
    }
    for (int32_t i = 0; i < function->n_returns; i++) {
        ir_tensor *value = NULL;
        MLCC_TRY(value_tensor(f, function->returns[i], &value));
        if (value != f->results[i]) eval_tensor_copy(f->results[i], value);
    }
    return NULL;
}

// Entries of `results` that are NULL are made in r->keep, the others filled.
static mlcc_status *eval_body(
    run *r, const ir_function *function, ir_tensor *const *args, ir_tensor **results) {
    frame f = {
        .r = r,
        .function = function,
        .args = args,
        .results = results,
        .symbols = unbound_symbols(r->scratch, function->module),
        .places = mlcc_map_create(64),
    };
    mlcc_status *status = eval_frame(&f);
    mlcc_map_free(f.places);
    return status;
}

static void run_start(run *r, const ir_eval_options *options, mlcc_arena *keep) {
    *r = (run){
        .options = options,
        .keep = keep,
        .scratch = mlcc_arena_create(),
        .globals = mlcc_map_create(64),
    };
}

static void run_end(run *r) {
    mlcc_map_free(r->globals);
    mlcc_arena_free(r->scratch);
}

mlcc_status *ir_eval_function(
    const ir_function *function, ir_tensor *const *args, const ir_eval_options *options,
    mlcc_arena *keep, ir_tensor **results) {
    run r;
    run_start(&r, options, keep);
    for (int32_t i = 0; i < function->n_returns; i++) results[i] = NULL;
    mlcc_status *status = eval_body(&r, function, args, results);
    run_end(&r);
    return status;
}

static mlcc_status *eval_single(
    run *r, const ir_node *node, ir_tensor *const *operands, ir_tensor **results) {
    int64_t *symbols = unbound_symbols(r->scratch, node->function->module);
    for (int32_t i = 0; i < node->n_operands; i++) {
        char what[32];
        snprintf(what, sizeof what, "operand %d", i);
        MLCC_TRY(eval_bind_type(&node->operands[i]->type, operands[i], symbols, what));
    }
    for (int32_t i = 0; i < node->n_results; i++) {
        const ir_type *type = &node->results[i]->type;
        int64_t dims[IR_MAX_RANK];
        MLCC_TRY(eval_resolve_dims(type, symbols, dims));
        results[i] = ir_tensor_create(r->keep, type->dtype, type->rank, dims);
    }
    return eval_op(r, node, operands, results);
}

mlcc_status *ir_eval_node(
    const ir_node *node, ir_tensor *const *operands, mlcc_arena *keep, ir_tensor **results) {
    run r;
    run_start(&r, NULL, keep);
    for (int32_t i = 0; i < node->n_results; i++) results[i] = NULL;
    mlcc_status *status = note_node(eval_single(&r, node, operands, results), node);
    run_end(&r);
    return status;
}
