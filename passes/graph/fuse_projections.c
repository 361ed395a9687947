// fuse_projections: linears that read the same rows become one, under MLC's name for the joined weight.
//
//     %1 = linear %0, @q_proj.weight           %1 = linear %0, @qkv_proj.weight
//     %2 = linear %0, @k_proj.weight  becomes  %2 = slice %1 {begin = 0, end = Nq}
//     %3 = linear %0, @v_proj.weight           %3 = slice %1 {begin = Nq, end = Nq + Nk} …
//
// Which weights belong together is data of the front end: params with the same `fused_name`. The joined weight is the
// concatenation of the sources along axis 0 in the order of the params; a bias joins likewise. A member whose weight is read
// elsewhere too keeps its group apart.
// Needs: graph level, before quantize (the joined tensor is quantized as one, as MLC does). Cost: for every linear a walk over
// the nodes behind it and one over the module.
#include "ir/builder.h"
#include "ir/walk.h"
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

#define MAX_MEMBERS 8

static int32_t count_uses_in_module(const ir_module *module, const ir_value *value) {
    int32_t n_uses = 0;
    for (size_t i = 0; i < module->n_functions; i++) {
        n_uses += ir_value_count_uses(module->functions[i], value);
    }
    return n_uses;
}

static ir_param *weight_of(const ir_node *node) {
    return ir_param_of(node->operands[1]);
}
static ir_param *bias_of(const ir_node *node) {
    return node->n_operands > 2 ? ir_param_of(node->operands[2]) : NULL;
}

static bool is_candidate(const ir_node *node) {
    if (node->op != IR_OP_LINEAR) return false;
    const ir_param *weight = weight_of(node);
    if (weight == NULL || weight->fused_name == NULL) return false;
    if (weight->value.type.dims[0].symbol != NULL) return false;
    return node->n_operands <= 2 || (bias_of(node) != NULL && bias_of(node)->fused_name != NULL);
}

// A walk over the module: the last question to ask.
static bool is_read_once(const ir_module *module, const ir_node *node) {
    return count_uses_in_module(module, &weight_of(node)->value) == 1;
}

static bool joins_with(const ir_node *a, const ir_node *b) {
    return a->operands[0] == b->operands[0] && a->n_operands == b->n_operands &&
           a->results[0]->type.dtype == b->results[0]->type.dtype &&
           weight_of(a)->value.type.dtype == weight_of(b)->value.type.dtype &&
           strcmp(weight_of(a)->fused_name, weight_of(b)->fused_name) == 0;
}

static int by_param_order(const void *a, const void *b) {
    const ir_node *const *left = a, *const *right = b;
    return weight_of(*left)->value.index < weight_of(*right)->value.index ? -1 : 1;
}

// Joins `n` params along axis 0 into a new one that stands where the first stood.
static mlcc_status *join_params(
    ir_module *module, ir_param *const *members, int32_t n_members, ir_param **out) {
    const char *sources[MAX_MEMBERS * 4];
    int32_t n_sources = 0;
    ir_type type = members[0]->value.type;
    int64_t rows = 0;
    for (int32_t i = 0; i < n_members; i++) {
        rows += members[i]->value.type.dims[0].value;
        for (int32_t s = 0; s < members[i]->n_sources; s++) {
            if (n_sources == MAX_MEMBERS * 4) {
                return MLCC_ERROR(
                    INTERNAL, "'%s' joins more than %d tensors", members[0]->fused_name,
                    MAX_MEMBERS * 4);
            }
            sources[n_sources++] = members[i]->sources[s];
        }
    }
    type.dims[0] = ir_dim_const(rows);
    ir_param *joined =
        ir_module_add_param(module, members[0]->fused_name, type, sources, n_sources);
    if (joined == NULL) {
        return MLCC_ERROR(INTERNAL, "the name '%s' is taken", members[0]->fused_name);
    }
    ir_module_move_param(module, joined, (size_t)members[0]->value.index);
    *out = joined;
    return NULL;
}

static mlcc_status *join_group(ir_module *module, ir_node **nodes, int32_t n_nodes) {
    ir_function *function = nodes[0]->function;
    ir_node *position = nodes[0];
    for (int32_t i = 1; i < n_nodes; i++) {
        if (ir_node_precedes(nodes[i], position)) position = nodes[i];
    }
    qsort(nodes, (size_t)n_nodes, sizeof *nodes, by_param_order);

    ir_param *members[MAX_MEMBERS], *weight, *bias = NULL;
    for (int32_t i = 0; i < n_nodes; i++) members[i] = weight_of(nodes[i]);
    MLCC_TRY(join_params(module, members, n_nodes, &weight));
    if (nodes[0]->n_operands > 2) {
        for (int32_t i = 0; i < n_nodes; i++) members[i] = bias_of(nodes[i]);
        MLCC_TRY(join_params(module, members, n_nodes, &bias));
    }
    ir_build b = ir_build_start(function);
    b.before = position;
    ir_value *joined = ir_linear(
        &b, nodes[0]->operands[0], &weight->value, bias ? &bias->value : NULL,
        nodes[0]->results[0]->type.dtype);
    int64_t begin = 0;
    ir_value *parts[MAX_MEMBERS];
    for (int32_t i = 0; i < n_nodes; i++) {
        int64_t end = begin + weight_of(nodes[i])->value.type.dims[0].value;
        parts[i] = ir_slice(&b, joined, begin, end);
        begin = end;
    }
    MLCC_TRY(b.status);
    for (int32_t i = 0; i < n_nodes; i++) {
        ir_param *old_weight = weight_of(nodes[i]), *old_bias = bias_of(nodes[i]);
        ir_value_replace(function, nodes[i]->results[0], parts[i]);
        ir_node_erase(nodes[i]);
        ir_module_remove_param(module, old_weight);
        if (old_bias != NULL && count_uses_in_module(module, &old_bias->value) == 0) {
            ir_module_remove_param(module, old_bias);
        }
    }
    return NULL;
}

// `node` and the later linears of its function that it may join; returns how many.
static int32_t collect_members(const ir_module *module, ir_node *node, ir_node **members) {
    int32_t n_members = 0;
    if (!is_candidate(node) || !is_read_once(module, node)) return 0;
    for (ir_node *other = node; other != NULL && n_members < MAX_MEMBERS; other = other->next) {
        if (is_candidate(other) && joins_with(node, other) && is_read_once(module, other))
            members[n_members++] = other;
    }
    return n_members;
}

static mlcc_status *join_in_function(ir_function *function) {
    ir_node *node = function->first;
    while (node != NULL) {
        ir_node *members[MAX_MEMBERS], *before = node->prev;
        int32_t n_members = collect_members(function->module, node, members);
        if (n_members > 1) {
            // All members vanish: go on where the first stood.
            MLCC_TRY(join_group(function->module, members, n_members));
            node = before != NULL ? before->next : function->first;
        }
        node = node->next;
    }
    return NULL;
}

mlcc_status *pass_fuse_projections(ir_module *module, pass_context *context) {
    (void)context;
    for (size_t f = 0; f < module->n_functions; f++) {
        MLCC_TRY(join_in_function(module->functions[f]));
    }
    return NULL;
}
