// verify_plan: offsets, lifetimes and layouts.
#include "ir/verify_plan.h"

#include "ir/chain.h"
#include "ir/walk.h"
#include "runtime/base/map.h"

#include <stdlib.h>

enum { OFFSET_ALIGNMENT = 64 };

// A piece of workspace and the nodes between which it is in use, both included. The launches of a chain happen together and have one number.
typedef struct span {
    const ir_value *value;
    int64_t begin_bytes, end_bytes;
    int64_t first_node, last_node;
} span;

// The value whose bytes a value is, and whether the caller gives that memory.
static bool is_returned(const ir_function *function, ir_value *value) {
    for (int32_t i = 0; i < function->n_returns; i++) {
        if (function->returns[i] == value) return true;
    }
    return false;
}

static mlcc_status *check_offset(
    const ir_function *function, const ir_node *node, int32_t i, span *out) {
    ir_value *result = node->results[i];
    bool in_place = ir_value_memory_root(result) != result;
    bool returned = is_returned(function, result);
    if (in_place || returned) {
        if (result->offset_bytes < 0) return NULL;
        return ir_verify_node_error(
            node, "result %d is %s and must not have an offset", i,
            in_place ? "written in place" : "returned");
    }
    int64_t size_bytes = 0;
    if (!ir_type_bound_bytes(&result->type, &size_bytes)) {
        return ir_verify_node_error(node, "result %d has too many bytes", i);
    }
    long long offset_bytes = result->offset_bytes;
    if (offset_bytes < 0) return ir_verify_node_error(node, "result %d has no offset", i);
    if (offset_bytes % OFFSET_ALIGNMENT != 0) {
        return ir_verify_node_error(
            node, "offset %lld of result %d is not a multiple of %d", offset_bytes, i,
            OFFSET_ALIGNMENT);
    }
    if (size_bytes > function->workspace_bytes ||
        offset_bytes > function->workspace_bytes - size_bytes) {
        return ir_verify_node_error(
            node, "result %d needs bytes %lld … %lld of a workspace of %lld bytes", i, offset_bytes,
            offset_bytes + (long long)size_bytes, (long long)function->workspace_bytes);
    }
    *out = (span){
        .value = result,
        .begin_bytes = offset_bytes,
        .end_bytes = offset_bytes + size_bytes,
    };
    return NULL;
}

// Last node that reads a value or something that lies in its memory, by address of the value.
static mlcc_map *find_last_uses(const ir_function *function) {
    mlcc_map *last = mlcc_map_create(256);
    uint64_t place = 0;
    int64_t n_left = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (!ir_chain_continues(node, &n_left)) place++;
        for (int32_t i = 0; i < node->n_operands; i++) {
            const ir_value *root = ir_value_memory_root(node->operands[i]);
            mlcc_map_set(last, &root, sizeof root, place);
        }
        for (int32_t i = 0; i < node->n_results; i++) {
            const ir_value *root = ir_value_memory_root(node->results[i]);
            mlcc_map_set(last, &root, sizeof root, place);
        }
    }
    for (int32_t i = 0; i < function->n_returns; i++) {
        const ir_value *root = ir_value_memory_root(function->returns[i]);
        mlcc_map_set(last, &root, sizeof root, place + 1);
    }
    return last;
}

// Adds a span to those alive; drops the ones that ended before it begins.
static mlcc_status *add_span(span *alive, size_t *n_alive, span added) {
    size_t n_left = 0;
    for (size_t i = 0; i < *n_alive; i++) {
        if (alive[i].last_node < added.first_node) continue;
        alive[n_left++] = alive[i];
        if (added.begin_bytes < alive[i].end_bytes && alive[i].begin_bytes < added.end_bytes) {
            return ir_verify_node_error(
                added.value->def,
                "result %d at %lld … %lld overlaps a value at %lld … %lld that is still in use",
                added.value->index, (long long)added.begin_bytes, (long long)added.end_bytes,
                (long long)alive[i].begin_bytes, (long long)alive[i].end_bytes);
        }
    }
    alive[n_left++] = added;
    *n_alive = n_left;
    return NULL;
}

static mlcc_status *check_offsets(const ir_function *function, const mlcc_map *last, span *alive) {
    size_t n_alive = 0;
    int64_t place = 0, n_left = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (!ir_chain_continues(node, &n_left)) place++;
        for (int32_t i = 0; i < node->n_results; i++) {
            span added = {0};
            MLCC_TRY(check_offset(function, node, i, &added));
            if (added.value == NULL || added.begin_bytes == added.end_bytes) continue;
            uint64_t last_node = (uint64_t)place;
            mlcc_map_get(last, &added.value, sizeof added.value, &last_node);
            added.first_node = place;
            added.last_node = (int64_t)last_node;
            MLCC_TRY(add_span(alive, &n_alive, added));
        }
    }
    return NULL;
}

// A chain holds two launches or more, all in this function, and none of them begins another.
static mlcc_status *check_chains(const ir_function *function) {
    int64_t n_left = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        if (node->op != IR_OP_LAUNCH) continue;
        const int64_t n_launches = ir_attr_i64(node, "chain");
        const int64_t max_rows = ir_attr_i64(node, "chain_rows");
        const bool is_named = *ir_attr_text(node, "chain_kernel") != '\0';
        const bool is_inside = ir_chain_continues(node, &n_left);
        if (n_launches == 0 && max_rows == 0 && !is_named) continue;
        if (is_inside) return ir_verify_node_error(node, "a chain begins inside of another");
        if (n_launches < 2 || max_rows < 1 || !is_named) {
            return ir_verify_node_error(
                node, "a chain has two launches or more, a largest number of rows and a kernel");
        }
    }
    if (n_left == 0) return NULL;
    return MLCC_ERROR(
        INVALID, "the last chain wants %lld launches more than follow", (long long)n_left);
}

static mlcc_status *check_layouts(const ir_function *function) {
    const ir_module *module = function->module;
    bool laid_out = function->workspace_bytes >= 0;
    for (size_t i = 0; i < module->n_params; i++)
        laid_out = laid_out || module->params[i]->layout != NULL;
    if (!laid_out) return NULL;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_operands; i++) {
            const ir_param *param = ir_param_of(node->operands[i]);
            if (param == NULL || param->layout != NULL) continue;
            return ir_verify_node_error(node, "param '%s' has no layout", param->value.name);
        }
    }
    return NULL;
}

mlcc_status *ir_verify_plan(const ir_function *function) {
    MLCC_TRY(check_layouts(function));
    if (function->is_group) {
        for (const ir_node *node = function->first; node != NULL; node = node->next) {
            for (int32_t i = 0; i < node->n_results; i++) {
                if (node->results[i]->offset_bytes < 0) continue;
                return ir_verify_node_error(
                    node, "result %d lies inside a group and has an offset", i);
            }
        }
        return NULL;
    }
    MLCC_TRY(check_chains(function));
    size_t n_results = 0;
    bool any = false;
    for (const ir_node *node = function->first; node != NULL; node = node->next) {
        n_results += (size_t)node->n_results;
        for (int32_t i = 0; i < node->n_results; i++)
            any = any || node->results[i]->offset_bytes >= 0;
    }
    if (function->workspace_bytes < 0) {
        if (!any) return NULL;
        return MLCC_ERROR(INVALID, "results have offsets, but the function has no workspace size");
    }
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_map *last = find_last_uses(function);
    mlcc_status *status =
        check_offsets(function, last, MLCC_NEW_ARRAY(scratch, span, n_results + 1));
    mlcc_map_free(last);
    mlcc_arena_free(scratch);
    return status;
}
