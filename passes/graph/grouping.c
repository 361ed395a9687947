#include "passes/graph/grouping.h"

#include "ir/builder.h"
#include "ir/fingerprint.h"
#include "ir/walk.h"

#include <stdlib.h>
#include <string.h>

bool grouping_contains(const grouping *set, const ir_node *node) {
    for (int32_t i = 0; i < set->n_nodes; i++) {
        if (set->nodes[i] == node) return true;
    }
    return false;
}

bool grouping_add(grouping *set, ir_node *node) {
    if (set->n_nodes == GROUPING_MAX_NODES || grouping_contains(set, node)) return false;
    set->nodes[set->n_nodes++] = node;
    return true;
}

static bool reads(const ir_node *node, const ir_value *value) {
    for (int32_t i = 0; i < node->n_operands; i++) {
        if (node->operands[i] == value) return true;
    }
    return false;
}

static bool is_returned(const ir_function *function, const ir_value *value) {
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return true;
    }
    return false;
}

static bool is_read_outside(const grouping *set, const ir_value *value) {
    const ir_function *function = value->def->function;
    if (is_returned(function, value)) return true;
    for (const ir_node *node = value->def->next; node != NULL; node = node->next) {
        if (reads(node, value) && !grouping_contains(set, node)) return true;
    }
    return false;
}

bool grouping_owns_uses(const grouping *set, const ir_node *node) {
    for (int32_t r = 0; r < node->n_results; r++) {
        if (is_read_outside(set, node->results[r])) return false;
    }
    return true;
}

static ir_node *first_of(const grouping *set) {
    ir_node *first = set->nodes[0];
    for (int32_t i = 1; i < set->n_nodes; i++) {
        if (ir_node_precedes(set->nodes[i], first)) first = set->nodes[i];
    }
    return first;
}

static ir_node *last_of(const grouping *set) {
    ir_node *last = set->nodes[0];
    for (int32_t i = 1; i < set->n_nodes; i++) {
        if (ir_node_precedes(last, set->nodes[i])) last = set->nodes[i];
    }
    return last;
}

static bool reads_group_result(const grouping *set, const ir_node *node) {
    for (int32_t i = 0; i < node->n_operands; i++) {
        const ir_value *operand = node->operands[i];
        if (operand->kind == IR_VALUE_RESULT && grouping_contains(set, operand->def)) return true;
    }
    return false;
}

// Whether `node` changes, in place, memory that `reader` reads.
static bool changes_operand_of(const ir_node *node, const ir_node *reader) {
    for (int32_t r = 0; r < node->n_results; r++) {
        const ir_value *memory = ir_value_memory_root(node->results[r]);
        if (memory == node->results[r]) continue;
        for (int32_t i = 0; i < reader->n_operands; i++) {
            if (ir_value_memory_root(reader->operands[i]) == memory) return true;
        }
    }
    return false;
}

bool grouping_can_move(const grouping *set) {
    const ir_node *last = last_of(set);
    for (const ir_node *node = first_of(set); node != last; node = node->next) {
        if (grouping_contains(set, node)) continue;
        if (reads_group_result(set, node)) return false;
        // The members in front of `node` move behind it: what they read must not change there.
        for (int32_t i = 0; i < set->n_nodes; i++) {
            if (ir_node_precedes(set->nodes[i], node) && changes_operand_of(node, set->nodes[i])) {
                return false;
            }
        }
    }
    return true;
}

static int by_position(const void *a, const void *b) {
    const ir_node *const *left = a, *const *right = b;
    if (*left == *right) return 0;
    return ir_node_precedes(*left, *right) ? -1 : 1;
}

// The group function's value for `value` of the entry function: an argument (added on first use) or a copied node's result.
typedef struct extraction {
    ir_function *group;
    ir_value **from, **to; // pairs
    int32_t n_pairs;
    ir_value **inputs; // what the call passes, in argument order
    int32_t n_inputs;
    mlcc_arena *scratch;
} extraction;

static ir_value *translate(extraction *e, ir_value *value) {
    for (int32_t i = 0; i < e->n_pairs; i++) {
        if (e->from[i] == value) return e->to[i];
    }
    const char *name = mlcc_arena_printf(e->scratch, "a%d", e->n_inputs);
    ir_value *arg = ir_function_add_arg(e->group, name, value->type);
    e->from[e->n_pairs] = value;
    e->to[e->n_pairs++] = arg;
    e->inputs[e->n_inputs++] = value;
    return arg;
}

static mlcc_status *copy_node(extraction *e, const ir_node *node) {
    ir_value *operands[IR_MAX_OPERANDS];
    for (int32_t i = 0; i < node->n_operands; i++) operands[i] = translate(e, node->operands[i]);
    ir_build b = ir_build_start(e->group);
    ir_node *copy = ir_build_node(
        &b, node->op, operands, node->n_operands, node->attrs, node->n_attrs,
        node->results[0]->type.dtype);
    MLCC_TRY(b.status);
    for (int32_t r = 0; r < node->n_results; r++) {
        e->from[e->n_pairs] = node->results[r];
        e->to[e->n_pairs++] = copy->results[r];
    }
    return NULL;
}

// An earlier group with the same body, or NULL.
static ir_function *find_equal(const ir_module *module, const ir_function *group) {
    mlcc_hash128 wanted = ir_fingerprint_function(group);
    for (size_t f = 0; f < module->n_functions; f++) {
        ir_function *other = module->functions[f];
        if (other == group || !other->is_group || other->n_args != group->n_args) continue;
        if (mlcc_hash128_equal(ir_fingerprint_function(other), wanted)) return other;
    }
    return NULL;
}

mlcc_status *grouping_extract(const grouping *set, const char *name, mlcc_arena *scratch) {
    grouping ordered = *set;
    qsort(ordered.nodes, (size_t)ordered.n_nodes, sizeof *ordered.nodes, by_position);
    ir_node *last = ordered.nodes[ordered.n_nodes - 1];
    ir_function *function = last->function;
    ir_module *module = function->module;

    size_t max_pairs = (size_t)ordered.n_nodes * (IR_MAX_OPERANDS + 8);
    extraction e = {
        .group = ir_module_add_function(module, ir_module_fresh_name(module, name), true),
        .from = MLCC_NEW_ARRAY(scratch, ir_value *, max_pairs),
        .to = MLCC_NEW_ARRAY(scratch, ir_value *, max_pairs),
        .inputs = MLCC_NEW_ARRAY(scratch, ir_value *, max_pairs),
        .scratch = scratch,
    };
    for (int32_t i = 0; i < ordered.n_nodes; i++) MLCC_TRY(copy_node(&e, ordered.nodes[i]));

    ir_value *outer[GROUPING_MAX_NODES], *inner[GROUPING_MAX_NODES];
    int32_t n_results = 0;
    for (int32_t i = 0; i < ordered.n_nodes; i++) {
        for (int32_t r = 0; r < ordered.nodes[i]->n_results; r++) {
            ir_value *value = ordered.nodes[i]->results[r];
            if (!is_read_outside(&ordered, value)) continue;
            outer[n_results] = value;
            inner[n_results++] = translate(&e, value);
        }
    }
    ir_function_set_returns(e.group, inner, n_results);

    ir_function *callee = find_equal(module, e.group);
    if (callee != NULL) {
        ir_module_remove_function(module, e.group);
    } else {
        callee = e.group;
        ir_module_move_function(module, callee, function);
    }
    ir_build b = ir_build_start(function);
    b.before = last;
    ir_node *call = ir_call(&b, callee, e.inputs, e.n_inputs);
    MLCC_TRY(b.status);
    for (int32_t r = 0; r < n_results; r++) ir_value_replace(function, outer[r], call->results[r]);
    for (int32_t i = ordered.n_nodes; i-- > 0;) ir_node_erase(ordered.nodes[i]);
    if (module->level < IR_LEVEL_FUSED) module->level = IR_LEVEL_FUSED;
    return NULL;
}
