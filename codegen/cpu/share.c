#include "codegen/cpu/share.h"

#include "codegen/cpu/cpu_kernels.h"
#include "ir/tables.h"

#include <string.h>

// ---- the values of a group, numbered ------------------------------------------------------------------

// Inputs of the instance, then the results of its nodes in order.
typedef struct numbering {
    const codegen_instance *instance;
    ir_value **values;
    const ir_type **types; // of the values
    int32_t n_values;
} numbering;

static numbering number_values(const codegen_instance *instance, mlcc_arena *keep) {
    numbering n = {.instance = instance};
    size_t capacity = (size_t)instance->n_inputs + 1;
    for (const ir_node *node = instance->group->first; node != NULL; node = node->next)
        capacity += (size_t)node->n_results;
    n.values = MLCC_NEW_ARRAY(keep, ir_value *, capacity);
    for (int32_t i = 0; i < instance->n_inputs; i++)
        n.values[n.n_values++] = (ir_value *)(uintptr_t)instance->inputs[i];
    for (const ir_node *node = instance->group->first; node != NULL; node = node->next) {
        for (int32_t i = 0; i < node->n_results; i++) n.values[n.n_values++] = node->results[i];
    }
    n.types = MLCC_NEW_ARRAY(keep, const ir_type *, capacity);
    for (int32_t i = 0; i < n.n_values; i++) n.types[i] = &n.values[i]->type;
    return n;
}

static int32_t number_of(const numbering *n, const ir_value *value) {
    for (int32_t i = 0; i < n->n_values; i++) {
        if (n->values[i] == value) return i;
    }
    return -1;
}

// ---- what may be shared -------------------------------------------------------------------------------

// Whose inner loops know no extent but how often they run.
static bool is_product(ir_op op) {
    return op == IR_OP_LINEAR || op == IR_OP_LINEAR_SCALED || op == IR_OP_LINEAR_EXPERTS ||
           op == IR_OP_LINEAR_SCALED_EXPERTS;
}

// Element-wise ops whose expressions take constants from the shape of what they read.
static bool has_constant_columns(ir_op op) {
    return op == IR_OP_SLICE || op == IR_OP_ROPE || op == IR_OP_COMBINE_EXPERTS;
}

// Constant extents may differ; of other instances only symbols, which are no constants anyway.
static bool is_extent_free(const codegen_instance *instance) {
    const ir_node *anchor = codegen_group_anchor(instance->group);
    if (anchor == NULL || !is_product(anchor->op)) return false;
    for (const ir_node *node = instance->group->first; node != NULL; node = node->next) {
        if (has_constant_columns(node->op)) return false;
    }
    return true;
}

// Memory that threads share is measured by the bounds of the group's own symbols.
static bool is_shareable(const codegen_instance *instance) {
    const kernel_row *row = cpu_kernel_find(instance->kernel);
    return !instance->is_chain && row != NULL && cpu_kernel_shared_bytes(row, instance->group) == 0;
}

// Rows of x that belong to one expert each have as many columns as its weight; others are read by several.
static bool has_row_per_slot(const codegen_instance *instance) {
    const ir_node *anchor = codegen_group_anchor(instance->group);
    const ir_type *x = &anchor->operands[0]->type, *weight = &anchor->operands[1]->type;
    return weight->rank == 3 && x->rank == 2 && !ir_dim_equal(x->dims[1], weight->dims[2]);
}

// Products of codes pack their rows of x; the others read them where they lie, so that K is an offset in the loads of their inner loops.
static bool has_constant_depth(const codegen_instance *instance) {
    const ir_op op = codegen_group_anchor(instance->group)->op;
    return op == IR_OP_LINEAR || op == IR_OP_LINEAR_EXPERTS;
}

static bool has_same_depth(const codegen_instance *a, const codegen_instance *b) {
    const ir_type *x = &codegen_group_anchor(a->group)->operands[1]->type,
                  *y = &codegen_group_anchor(b->group)->operands[1]->type;
    return ir_dim_equal(x->dims[x->rank - 1], y->dims[y->rank - 1]);
}

static bool is_same_node(
    const ir_node *a, const numbering *of_a, const ir_node *b, const numbering *of_b) {
    if (a->op != b->op || a->n_operands != b->n_operands || a->n_results != b->n_results ||
        a->n_attrs != b->n_attrs)
        return false;
    for (int32_t i = 0; i < a->n_attrs; i++) {
        if (!ir_attr_equal(&a->attrs[i], &b->attrs[i])) return false;
    }
    for (int32_t i = 0; i < a->n_operands; i++) {
        if (number_of(of_a, a->operands[i]) != number_of(of_b, b->operands[i])) return false;
    }
    return true;
}

static bool is_same_interface(const numbering *a, const numbering *b) {
    const codegen_instance *x = a->instance, *y = b->instance;
    if (strcmp(x->kernel, y->kernel) != 0 || x->n_inputs != y->n_inputs ||
        a->n_values != b->n_values || x->group->n_returns != y->group->n_returns)
        return false;
    for (int32_t i = 0; i < x->group->n_returns; i++) {
        if (x->in_place[i] != y->in_place[i] ||
            number_of(a, x->group->returns[i]) != number_of(b, y->group->returns[i]))
            return false;
    }
    for (int32_t i = 0; i < a->n_values; i++) {
        const ir_type *s = a->types[i], *t = b->types[i];
        if (s->dtype != t->dtype || s->rank != t->rank) return false;
    }
    return true;
}

static bool differs_in_symbols_only(const numbering *a, const numbering *b) {
    for (int32_t i = 0; i < a->n_values; i++) {
        for (int32_t axis = 0; axis < a->types[i]->rank; axis++) {
            const ir_dim s = a->types[i]->dims[axis], t = b->types[i]->dims[axis];
            if ((s.symbol == NULL || t.symbol == NULL) && !ir_dim_equal(s, t)) return false;
        }
    }
    return true;
}

// Of extent-free instances: the same dimensions where the kernel's code does depend on them.
static bool has_same_form(const codegen_instance *a, const codegen_instance *b) {
    return has_row_per_slot(a) == has_row_per_slot(b) &&
           (!has_constant_depth(a) || has_same_depth(a, b));
}

// Equal but for the dimensions of values.
static bool is_alike(const numbering *a, const numbering *b) {
    const codegen_instance *one = a->instance, *other = b->instance;
    if (!is_same_interface(a, b)) return false;
    const ir_node *x = one->group->first, *y = other->group->first;
    for (; x != NULL && y != NULL; x = x->next, y = y->next) {
        if (!is_same_node(x, a, y, b)) return false;
    }
    if (x != y) return false;
    return is_extent_free(one) ? has_same_form(one, other) : differs_in_symbols_only(a, b);
}

// ---- extents ------------------------------------------------------------------------------------------

// What shares a function: members, the first is the owner, each with the types of its tensors in the same order.
typedef struct share_class {
    const ir_type ***types; // [n_members][n_types]
    int32_t *indices;       // of the members
    int32_t n_members, n_types;
    cpu_extent **extents; // [n_members][n_extents]
    int32_t n_extents;
} share_class;

static share_class open_class(int32_t capacity, int32_t n_types, mlcc_arena *keep) {
    return (share_class){.types = MLCC_NEW_ARRAY(keep, const ir_type **, (size_t)capacity),
                         .indices = MLCC_NEW_ARRAY(keep, int32_t, (size_t)capacity),
                         .n_types = n_types};
}

static void add_member(share_class *c, int32_t index, const ir_type **types) {
    c->indices[c->n_members] = index;
    c->types[c->n_members++] = types;
}

static bool differs(const share_class *c, int32_t type, int32_t axis) {
    for (int32_t m = 1; m < c->n_members; m++) {
        if (!ir_dim_equal(c->types[0][type]->dims[axis], c->types[m][type]->dims[axis]))
            return true;
    }
    return false;
}

// The extent that is this dimension in every member, or -1.
static int32_t find_extent(const share_class *c, int32_t type, int32_t axis) {
    for (int32_t i = 0; i < c->n_extents; i++) {
        int32_t m = 0;
        while (m < c->n_members &&
               ir_dim_equal(c->extents[m][i].dim, c->types[m][type]->dims[axis]))
            m++;
        if (m == c->n_members) return i;
    }
    return -1;
}

// The largest power of two that divides the dimension in every member; 0 where a count of such units would not fit 31 bits.
static int64_t common_unit(const share_class *c, int32_t type, int32_t axis) {
    uint64_t all = 0;
    for (int32_t m = 0; m < c->n_members; m++) {
        const ir_dim dim = c->types[m][type]->dims[axis];
        if (dim.symbol != NULL || dim.value <= 0 || dim.value > INT32_MAX) return 0;
        all |= (uint64_t)dim.value;
    }
    return (int64_t)(all & (~all + 1));
}

static void find_extents(share_class *c, mlcc_arena *keep) {
    const size_t capacity = (size_t)c->n_types * IR_MAX_RANK;
    c->extents = MLCC_NEW_ARRAY(keep, cpu_extent *, (size_t)c->n_members);
    for (int32_t m = 0; m < c->n_members; m++)
        c->extents[m] = MLCC_NEW_ARRAY(keep, cpu_extent, capacity);
    for (int32_t t = 0; t < c->n_types; t++) {
        for (int32_t axis = 0; axis < c->types[0][t]->rank; axis++) {
            if (!differs(c, t, axis) || find_extent(c, t, axis) >= 0) continue;
            const int64_t unit = common_unit(c, t, axis);
            for (int32_t m = 0; m < c->n_members; m++)
                c->extents[m][c->n_extents] = (cpu_extent){c->types[m][t]->dims[axis], unit};
            c->n_extents++;
        }
    }
}

static int64_t largest_bound(const share_class *c, int32_t extent) {
    int64_t bound = 1;
    for (int32_t m = 0; m < c->n_members; m++) {
        const int64_t own = ir_dim_bound(c->extents[m][extent].dim);
        if (own > bound) bound = own;
    }
    return bound;
}

// One for every extent, numbered from `first` on.
static ir_symbol *make_symbols(const share_class *c, size_t first, mlcc_arena *keep) {
    ir_symbol *symbols = MLCC_NEW_ARRAY(keep, ir_symbol, (size_t)c->n_extents + 1);
    for (int32_t i = 0; i < c->n_extents; i++) {
        symbols[i] = (ir_symbol){.name = mlcc_arena_printf(keep, "extent.%d", i),
                                 .bound = largest_bound(c, i),
                                 .index = (int32_t)first + i};
    }
    return symbols;
}

// Symbols for what differs.
static void substitute(
    const share_class *c, int32_t index, const ir_symbol *symbols, ir_type *type) {
    for (int32_t axis = 0; axis < type->rank; axis++) {
        if (differs(c, index, axis))
            type->dims[axis] = ir_dim_symbol(&symbols[find_extent(c, index, axis)]);
    }
}

// ---- the copy -----------------------------------------------------------------------------------------

static ir_value **copy_values(const share_class *c, const numbering *first, mlcc_arena *keep) {
    const size_t n_symbols = first->instance->group->module->n_symbols;
    const ir_symbol *symbols = make_symbols(c, n_symbols, keep);
    ir_value **copies = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)first->n_values);
    for (int32_t v = 0; v < first->n_values; v++) {
        copies[v] = mlcc_arena_memdup(keep, first->values[v], sizeof **copies);
        substitute(c, v, symbols, &copies[v]->type);
    }
    return copies;
}

// The same values of another list.
static ir_value **copy_list(
    const numbering *n, ir_value *const *copies, ir_value *const *list, int32_t length,
    mlcc_arena *keep) {
    ir_value **out = MLCC_NEW_ARRAY(keep, ir_value *, (size_t)length + 1);
    for (int32_t i = 0; i < length; i++) out[i] = copies[number_of(n, list[i])];
    return out;
}

static ir_function *copy_group(const numbering *n, ir_value *const *copies, mlcc_arena *keep) {
    const ir_function *group = n->instance->group;
    ir_function *copy = mlcc_arena_memdup(keep, group, sizeof *copy);
    copy->args = copy_list(n, copies, group->args, group->n_args, keep);
    copy->returns = copy_list(n, copies, group->returns, group->n_returns, keep);
    copy->first = copy->last = NULL;
    for (const ir_node *node = group->first; node != NULL; node = node->next) {
        ir_node *same = mlcc_arena_memdup(keep, node, sizeof *same);
        same->operands = copy_list(n, copies, node->operands, node->n_operands, keep);
        same->results = copy_list(n, copies, node->results, node->n_results, keep);
        for (int32_t i = 0; i < node->n_results; i++) same->results[i]->def = same;
        same->function = copy;
        same->prev = copy->last;
        same->next = NULL;
        *(copy->last != NULL ? &copy->last->next : &copy->first) = same;
        copy->last = same;
    }
    return copy;
}

static const codegen_instance *copy_instance(
    const share_class *c, const numbering *first, mlcc_arena *keep) {
    ir_value **copies = copy_values(c, first, keep);
    codegen_instance *copy = mlcc_arena_memdup(keep, first->instance, sizeof *copy);
    copy->group = copy_group(first, copies, keep);
    copy->inputs = (const ir_value **)(void *)copies;
    return copy;
}

// ---- classes ------------------------------------------------------------------------------------------

static bool is_same_knobs(const cpu_knobs *knobs, int32_t a, int32_t b) {
    return knobs == NULL || memcmp(&knobs[a], &knobs[b], sizeof *knobs) == 0;
}

cpu_share *cpu_share_nothing(const codegen_artifact *artifact, mlcc_arena *keep) {
    cpu_share *shares = MLCC_NEW_ARRAY(keep, cpu_share, (size_t)artifact->n_instances + 1);
    for (int32_t i = 0; i < artifact->n_instances; i++)
        shares[i] = (cpu_share){.owner = i, .instance = &artifact->instances[i]};
    return shares;
}

// The instances that `first` can share its function with, none of which is in a class yet.
static share_class class_of(
    const codegen_artifact *artifact, const cpu_knobs *knobs, const numbering *all, int32_t first,
    const cpu_share *shares, mlcc_arena *keep) {
    const int32_t n = artifact->n_instances;
    share_class c = open_class(n - first, all[first].n_values, keep);
    for (int32_t i = first; i < n; i++) {
        if (shares[i].owner == i && is_shareable(&artifact->instances[i]) &&
            is_same_knobs(knobs, first, i) && is_alike(&all[first], &all[i]))
            add_member(&c, i, all[i].types);
    }
    find_extents(&c, keep);
    return c;
}

cpu_share *cpu_share_instances(
    const codegen_artifact *artifact, const cpu_knobs *knobs, mlcc_arena *keep) {
    const int32_t n = artifact->n_instances;
    cpu_share *shares = cpu_share_nothing(artifact, keep);
    numbering *all = MLCC_NEW_ARRAY(keep, numbering, (size_t)n + 1);
    for (int32_t i = 0; i < n; i++) all[i] = number_values(&artifact->instances[i], keep);
    for (int32_t i = 0; i < n; i++) {
        if (shares[i].owner != i || !is_shareable(&artifact->instances[i])) continue;
        const share_class c = class_of(artifact, knobs, all, i, shares, keep);
        if (c.n_members == 1) continue;
        for (int32_t m = 0; m < c.n_members; m++) {
            cpu_share *share = &shares[c.indices[m]];
            share->owner = i;
            share->extents = c.extents[m];
            share->n_extents = c.n_extents;
        }
        shares[i].instance = copy_instance(&c, &all[i], keep);
    }
    return shares;
}

cpu_prepare_share *cpu_share_prepares(const codegen_artifact *artifact, mlcc_arena *keep) {
    const int32_t n = artifact->n_prepares;
    cpu_prepare_share *shares = MLCC_NEW_ARRAY(keep, cpu_prepare_share, (size_t)n + 1);
    const ir_type **types = MLCC_NEW_ARRAY(keep, const ir_type *, (size_t)n + 1);
    for (int32_t i = 0; i < n; i++) {
        shares[i] = (cpu_prepare_share){.owner = -1, .type = artifact->prepares[i].type};
        types[i] = &artifact->prepares[i].type;
    }
    for (int32_t i = 0; i < n; i++) {
        if (shares[i].owner >= 0) continue;
        share_class c = open_class(n - i, 1, keep);
        for (int32_t j = i; j < n; j++) {
            if (strcmp(artifact->prepares[i].layout, artifact->prepares[j].layout) == 0 &&
                types[i]->dtype == types[j]->dtype && types[i]->rank == types[j]->rank)
                add_member(&c, j, &types[j]);
        }
        find_extents(&c, keep);
        for (int32_t m = 0; m < c.n_members; m++) {
            cpu_prepare_share *share = &shares[c.indices[m]];
            share->owner = i;
            share->extents = c.extents[m];
            share->n_extents = c.n_extents;
        }
        substitute(&c, 0, make_symbols(&c, 0, keep), &shares[i].type);
    }
    return shares;
}
