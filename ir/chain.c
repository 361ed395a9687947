// chain: the launches' bodies joined into one function.
#include "ir/chain.h"

#include "ir/builder.h"
#include "ir/module.h"
#include "runtime/base/map.h"

bool ir_chain_continues(const ir_node *node, int64_t *n_left) {
    if (*n_left > 0) {
        --*n_left;
        return true;
    }
    if (node->op == IR_OP_LAUNCH) {
        const int64_t n_launches = ir_attr_i64(node, "chain");
        *n_left = n_launches > 0 ? n_launches - 1 : 0;
    }
    return false;
}

// Values of the caller and of the launches' groups, and what stands for them in the joined function.
typedef struct joiner {
    ir_chain chain;
    mlcc_arena *keep;
    mlcc_map *values; // address of a value → address of the joined function's
} joiner;

static ir_value *find(const joiner *j, const ir_value *value) {
    uint64_t address = 0;
    const bool found = mlcc_map_get(j->values, &value, sizeof value, &address);
    return found ? (ir_value *)(uintptr_t)address : NULL;
}

static void set(joiner *j, const ir_value *value, ir_value *joined) {
    mlcc_map_set(j->values, &value, sizeof value, (uint64_t)(uintptr_t)joined);
}

// A function of a module that is like the launches' own but for its functions: what is made lies in `keep`.
static ir_function *create_function(const ir_module *module, const char *name, mlcc_arena *keep) {
    ir_module *shell = MLCC_NEW(keep, ir_module);
    *shell = *module;
    shell->keep = keep;
    shell->functions = NULL;
    shell->n_functions = shell->functions_capacity = 0;
    ir_function *function = MLCC_NEW(keep, ir_function);
    *function =
        (ir_function){.name = name, .is_group = true, .workspace_bytes = -1, .module = shell};
    return function;
}

// What a launch passes to its group: an argument of the joined function, made on first use, or what a launch before it has made.
static ir_value *translate_operand(joiner *j, ir_value *value) {
    ir_value *joined = find(j, value);
    if (joined != NULL) return joined;
    ir_function *function = j->chain.function;
    const char *name = mlcc_arena_printf(j->keep, "a%d", function->n_args);
    j->chain.inputs[function->n_args] = value;
    joined = ir_function_add_arg(function, name, value->type);
    set(j, value, joined);
    return joined;
}

static void copy_node(joiner *j, const ir_node *node) {
    ir_value **operands = MLCC_NEW_ARRAY(j->keep, ir_value *, (size_t)node->n_operands + 1);
    ir_type *types = MLCC_NEW_ARRAY(j->keep, ir_type, (size_t)node->n_results + 1);
    for (int32_t i = 0; i < node->n_operands; i++) {
        ir_value *joined = find(j, node->operands[i]);
        // Params and constants that the body names stay.
        operands[i] = joined != NULL ? joined : node->operands[i];
    }
    for (int32_t i = 0; i < node->n_results; i++) types[i] = node->results[i]->type;
    const ir_node *copy = ir_function_insert(
        j->chain.function, NULL, node->op, operands, node->n_operands, node->attrs, node->n_attrs,
        types, node->n_results);
    for (int32_t i = 0; i < node->n_results; i++) set(j, node->results[i], copy->results[i]);
}

static const ir_function *callee_of(const ir_node *launch) {
    return ir_module_find(launch->function->module, ir_attr_text(launch, "callee"));
}

// Launches of one group meet in the map, so each one's values are set anew.
static void join_launch(joiner *j, const ir_node *launch) {
    const ir_function *group = callee_of(launch);
    for (int32_t i = 0; i < group->n_args; i++) {
        set(j, group->args[i], translate_operand(j, launch->operands[i]));
    }
    for (const ir_node *node = group->first; node != NULL; node = node->next) copy_node(j, node);
    for (int32_t r = 0; r < group->n_returns; r++) {
        set(j, launch->results[r], find(j, group->returns[r]));
    }
}

// Whether a node behind the chain or the function's return reads the value.
static bool is_read_behind(const ir_value *value, const ir_node *behind) {
    const ir_function *function = value->def->function;
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return true;
    }
    for (const ir_node *node = behind; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            if (node->operands[i] == value) return true;
        }
    }
    return false;
}

static const char *join_names(const ir_node *first, int64_t n_launches, mlcc_arena *keep) {
    const char *names = ir_attr_text(first, "callee");
    const ir_node *node = first->next;
    for (int64_t i = 1; i < n_launches; i++, node = node->next) {
        names = mlcc_arena_printf(keep, "%s + %s", names, ir_attr_text(node, "callee"));
    }
    return names;
}

ir_chain ir_chain_join(const ir_node *first, int64_t n_launches, mlcc_arena *keep) {
    const char *name = join_names(first, n_launches, keep);
    joiner j = {.keep = keep, .values = mlcc_map_create(64)};
    j.chain.function = create_function(first->function->module, name, keep);
    size_t n_operands = 0, n_results = 0;
    const ir_node *node = first;
    for (int64_t i = 0; i < n_launches; i++, node = node->next) {
        n_operands += (size_t)node->n_operands;
        n_results += (size_t)node->n_results;
    }
    const ir_node *behind = node;
    j.chain.inputs = MLCC_NEW_ARRAY(keep, ir_value *, n_operands + 1);
    j.chain.results = MLCC_NEW_ARRAY(keep, ir_value *, n_results + 1);
    for (node = first; node != behind; node = node->next) join_launch(&j, node);

    ir_value **returns = MLCC_NEW_ARRAY(keep, ir_value *, n_results + 1);
    int32_t n_returns = 0;
    for (node = first; node != behind; node = node->next) {
        for (int32_t r = 0; r < node->n_results; r++) {
            if (!is_read_behind(node->results[r], behind)) continue;
            j.chain.results[n_returns] = node->results[r];
            returns[n_returns++] = find(&j, node->results[r]);
        }
    }
    ir_function_set_returns(j.chain.function, returns, n_returns);
    mlcc_map_free(j.values);
    return j.chain;
}
