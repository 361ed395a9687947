// cuda_chain: reading a joined function. Everything that is not recognised is a refusal: its launches then stay apart.
#include "codegen/cuda/cuda_chain.h"

#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/tile16.h"
#include "ir/walk.h"

static bool is_elementwise(const ir_value *value) {
    return value->kind == IR_VALUE_RESULT &&
           (ir_op_get(value->def->op)->flags & IR_ELEMENTWISE) != 0;
}

static bool same_rows(const ir_value *value, const ir_value *of) {
    return value->type.rank == 2 && ir_dim_equal(value->type.dims[0], of->type.dims[0]);
}

static int64_t n_columns(const ir_value *value) {
    return value->type.dims[value->type.rank - 1].value;
}

// ---- anchors ------------------------------------------------------------------------------------------

static const char *find_anchors(const ir_function *function, cuda_chain *chain) {
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if ((ir_op_get(node->op)->flags & IR_ANCHOR) == 0) continue;
        const ir_node **at = node->op == IR_OP_LINEAR      ? &chain->linear
                             : node->op == IR_OP_RMS_NORM  ? &chain->norm
                             : node->op == IR_OP_KV_APPEND ? &chain->append
                                                           : NULL;
        if (at == NULL) return "an anchor is neither norm, linear nor kv_append";
        if (*at != NULL) return "an anchor stands twice";
        *at = node;
    }
    return chain->linear == NULL ? "there is no linear" : NULL;
}

// Only element-wise ops between the arguments and `value`.
static bool comes_from_arguments(const ir_function *function, const ir_value *value) {
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if ((ir_op_get(node->op)->flags & IR_ANCHOR) == 0) continue;
        if (ir_value_depends(function, value, node->results[0])) return false;
    }
    return true;
}

static const char *check_linear(const cuda_chain *chain) {
    const ir_node *linear = chain->linear;
    const ir_value *x = linear->operands[0], *w = linear->operands[1];
    for (int32_t i = 1; i < linear->n_operands; i++) {
        if (linear->operands[i]->kind == IR_VALUE_RESULT) return "the weight or bias is computed";
    }
    if (x->type.rank != 2 || x->type.dims[1].symbol != NULL || w->type.dims[0].symbol != NULL) {
        return "the linear has no constant extents";
    }
    const int code = tile16_format_of((int)w->type.dtype).code;
    if (code == TILE16_E4M3 || code == TILE16_E5M2)
        return "float8 weights have kernels of their own";
    if (x->kind != IR_VALUE_RESULT) return NULL;
    return chain->norm != NULL && x == chain->norm->results[0]
               ? NULL
               : "something stands between norm and linear";
}

static const char *check_norm(const ir_function *function, const cuda_chain *chain) {
    const ir_node *norm = chain->norm;
    if (norm == NULL) return NULL;
    if (chain->linear->operands[0] != norm->results[0]) return "the linear reads no norm";
    if (!comes_from_arguments(function, norm->operands[0]) ||
        norm->operands[1]->kind == IR_VALUE_RESULT) {
        return "the norm reads more than arguments";
    }
    if (ir_attr_i64(norm, "group") != 0) return "the norm works on groups of columns";
    const ir_dtype gain = norm->operands[1]->type.dtype;
    if (gain != IR_F16 && gain != IR_BF16 && gain != IR_F32) return "the gain is no float";
    return n_columns(norm->results[0]) % 2 == 0 ? NULL : "rows have an odd number of columns";
}

// ---- gate ---------------------------------------------------------------------------------------------

// Whether everything behind the linear reads it as one column of either half.
static bool reads_halves(const ir_function *function, const ir_value *whole) {
    const int64_t half = n_columns(whole) / 2;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (node == whole->def || !ir_value_depends(function, node->results[0], whole)) continue;
        if ((ir_op_get(node->op)->flags & IR_ELEMENTWISE) == 0) return false;
        bool reads_whole = false;
        for (int32_t i = 0; i < node->n_operands; i++) reads_whole |= node->operands[i] == whole;
        if (node->op == IR_OP_SLICE) {
            const int64_t begin = ir_attr_i64(node, "begin");
            const bool is_half = begin == 0 || begin == half;
            if (ir_attr_i64(node, "parts") != 1) return false;
            if (!reads_whole || !is_half || ir_attr_i64(node, "end") != begin + half) return false;
        } else if (reads_whole || node->op == IR_OP_ROPE) {
            return false;
        }
    }
    return true;
}

static const char *read_gate(const ir_function *function, cuda_chain *chain) {
    const ir_value *whole = chain->linear->results[0];
    const int64_t half = n_columns(whole) / 2;
    if (!reads_halves(function, whole)) return "what follows reads more than a column of each half";
    if (half % TILE16_ROWS != 0) return "half a row is no multiple of 16 columns";
    chain->has_gate = true;
    chain->partner = CUDA_CHAIN_OTHER_TILE;
    chain->distance = half / TILE16_ROWS;
    return NULL;
}

// ---- append -------------------------------------------------------------------------------------------

// Where in the linear's result `value` begins, a part of it as wide as all heads; -1: it is none.
static int64_t part_begin(const cuda_chain *chain, const ir_value *value, int64_t width) {
    const ir_value *whole = chain->linear->results[0];
    if (value == whole) return n_columns(whole) == width ? 0 : -1;
    if (value->kind != IR_VALUE_RESULT || value->def->op != IR_OP_SLICE) return -1;
    const int64_t begin = ir_attr_i64(value->def, "begin");
    const bool fits = value->def->operands[0] == whole && ir_attr_i64(value->def, "parts") == 1 &&
                      ir_attr_i64(value->def, "end") == begin + width && begin > 0;
    return fits ? begin : -1;
}

static const char *read_rope(cuda_chain *chain, const ir_node *rope, int64_t head_dim) {
    const int64_t n_outputs = n_columns(chain->linear->results[0]);
    if (ir_attr_i64(rope, "head_dim") != head_dim) return "rope and cache differ in head_dim";
    if (rope->operands[1]->kind == IR_VALUE_RESULT || n_columns(rope->operands[1]) != head_dim) {
        return "rope does not rotate whole heads";
    }
    if (ir_attr_bool(rope, "interleaved")) {
        chain->partner = CUDA_CHAIN_OTHER_ROW;
        return head_dim % 2 == 0 && chain->key_begin % 2 == 0 ? NULL : "pairs are not aligned";
    }
    chain->partner = CUDA_CHAIN_OTHER_TILE;
    chain->distance = head_dim / 2 / TILE16_ROWS;
    if (head_dim % (2 * TILE16_ROWS) != 0) return "half a head is no multiple of 16 columns";
    return chain->key_begin % head_dim == 0 && n_outputs % head_dim == 0
               ? NULL
               : "keys do not begin with a head";
}

static const char *read_append(cuda_chain *chain) {
    const ir_node *append = chain->append;
    const ir_type *cache = &append->operands[0]->type;
    for (int32_t i = 0; i < append->n_operands; i++) {
        const bool is_part = i == 1 || i == 2;
        if (!is_part && append->operands[i]->kind == IR_VALUE_RESULT) {
            return "kv_append reads more than the linear's result";
        }
    }
    for (int32_t axis = 2; axis < 5; axis++) {
        if (cache->dims[axis].symbol != NULL) return "the cache has no constant extents";
    }
    const int64_t head_dim = cache->dims[4].value, width = cache->dims[2].value * head_dim;
    const ir_value *key = append->operands[1];
    const bool is_rotated = key->kind == IR_VALUE_RESULT && key->def->op == IR_OP_ROPE;
    chain->key_begin = part_begin(chain, is_rotated ? key->def->operands[0] : key, width);
    chain->value_begin = part_begin(chain, append->operands[2], width);
    if (chain->key_begin <= 0 || chain->value_begin <= 0) {
        return "keys and values are no parts of the linear's result";
    }
    return is_rotated ? read_rope(chain, key->def, head_dim) : NULL;
}

// ---- returns ------------------------------------------------------------------------------------------

// What the kernel's hooks can store: the cache, the norm's rows and what they are computed from, the linear's result and its gate.
static const char *check_return(
    const ir_function *function, const cuda_chain *chain, const ir_value *value) {
    const ir_value *whole = chain->linear->results[0];
    if (chain->append != NULL && value == chain->append->results[0]) return NULL;
    if (ir_value_depends(function, value, whole)) {
        const bool is_gate =
            chain->has_gate && same_rows(value, whole) && n_columns(value) * 2 == n_columns(whole);
        return value == whole || is_gate ? NULL : "a result is no part of the linear's";
    }
    if (chain->norm != NULL && value == chain->norm->results[0]) return NULL;
    if (chain->norm != NULL && is_elementwise(value) &&
        ir_value_depends(function, chain->norm->operands[0], value) &&
        ir_type_equal(&value->type, &chain->norm->operands[0]->type)) {
        return NULL;
    }
    return "a result is computed by none of the chain's anchors";
}

static bool has_gate(const ir_function *function, const cuda_chain *chain) {
    const ir_value *whole = chain->linear->results[0];
    for (int32_t r = 0; r < function->n_returns; r++) {
        const ir_value *value = function->returns[r];
        if (chain->append != NULL && value == chain->append->results[0]) continue;
        if (value != whole && ir_value_depends(function, value, whole)) return true;
    }
    return false;
}

const char *cuda_chain_read(const ir_function *function, cuda_chain *chain) {
    enum { MAX_NODES = 64 };
    *chain = (cuda_chain){.distance = 1};
    int32_t n_nodes = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) n_nodes++;
    if (n_nodes > MAX_NODES) return "too many ops";
    const char *refusal = find_anchors(function, chain);
    if (refusal == NULL) refusal = check_linear(chain);
    if (refusal == NULL) refusal = check_norm(function, chain);
    if (refusal != NULL) return refusal;
    if (has_gate(function, chain)) {
        refusal =
            chain->append != NULL ? "gate and kv_append in one chain" : read_gate(function, chain);
    } else if (chain->append != NULL) {
        refusal = read_append(chain);
    }
    for (int32_t r = 0; refusal == NULL && r < function->n_returns; r++) {
        refusal = check_return(function, chain, function->returns[r]);
    }
    return refusal;
}
