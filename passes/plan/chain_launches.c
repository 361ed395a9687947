// chain_launches: launches that follow one another are marked as one kernel for few rows, where the target has it.
//
//     %1, %2 = launch %x, %r, @gain {callee = "add_rms_norm", …}      becomes   … {callee = "add_rms_norm", …, chain = 2, chain_rows = 8, chain_kernel = …}
//     %3 = launch %2, @w {callee = "linear", …}                                 … {callee = "linear", …}
//
// While decoding, a launch costs as much as it reads; with many rows the launches are better apart, since then each value is computed once. So both
// stay, and the number of rows decides in every run. The longest chain wins.
// Needs: plan level, before plan_memory: the launches of a chain share one moment, so that no result lies where a launch of the chain still reads.
// Cost: a few questions per launch.
#include "ir/chain.h"
#include "passes/pass.h"

#include <string.h>

enum { MAX_LAUNCHES = 4 };

// Chains of one function by what they do, for --explain-kernels.
typedef struct chain_count {
    const char *name, *kernel;
    int64_t max_rows, n_launches, n_chains;
} chain_count;

typedef struct chaining {
    pass_context *context;
    chain_count *counts;
    size_t n_counts;
} chaining;

static void count_chain(
    chaining *c, const char *name, const char *kernel, int64_t max_rows, int64_t n_launches) {
    for (size_t i = 0; i < c->n_counts; i++) {
        chain_count *other = &c->counts[i];
        if (strcmp(other->name, name) != 0 || strcmp(other->kernel, kernel) != 0) continue;
        other->n_chains++;
        return;
    }
    c->counts[c->n_counts++] = (chain_count){name, kernel, max_rows, n_launches, 1};
}

static int64_t count_following(const ir_node *first) {
    int64_t n = 0;
    for (const ir_node *node = first; node != NULL && n < MAX_LAUNCHES; node = node->next) n++;
    return n;
}

// Marks the longest chain that begins with `first`; returns the node behind it, or behind `first`.
static ir_node *chain_from(chaining *c, ir_node *first) {
    const pass_target *target = c->context->target;
    for (int64_t n = count_following(first); n >= 2; n--) {
        const ir_chain chain = ir_chain_join(first, n, c->context->scratch);
        int64_t max_rows = 0;
        const char *kernel = target->choose_chain(target->user, chain.function, &max_rows);
        if (kernel == NULL) continue;
        ir_attr_set_i64(first, "chain", n);
        ir_attr_set_i64(first, "chain_rows", max_rows);
        ir_attr_set_text(first, "chain_kernel", kernel);
        count_chain(c, chain.function->name, kernel, max_rows, n);
        for (int64_t i = 0; i < n; i++) first = first->next;
        return first;
    }
    return first->next;
}

static void explain(const chaining *c, const ir_function *function) {
    if (c->context->explain == NULL) return;
    int64_t n_many = 0, n_few = 0;
    for (const ir_node *node = function->first; node != NULL; node = node->next) n_many++;
    n_few = n_many;
    for (size_t i = 0; i < c->n_counts; i++) {
        const chain_count *chain = &c->counts[i];
        n_few -= chain->n_chains * (chain->n_launches - 1);
        mlcc_str_printf(
            c->context->explain, "%s: %s, up to %lld rows (%lld times)\n", chain->name,
            chain->kernel, (long long)chain->max_rows, (long long)chain->n_chains);
    }
    if (c->n_counts == 0) return;
    mlcc_str_printf(
        c->context->explain, "function %s: %lld launches, %lld where rows are few\n",
        function->name, (long long)n_many, (long long)n_few);
}

mlcc_status *pass_chain_launches(ir_module *module, pass_context *context) {
    if (context->target == NULL) {
        return MLCC_ERROR(
            INVALID, "no target is given; pass --target, for example --target native");
    }
    if (context->target->choose_chain == NULL) return NULL;
    for (size_t f = 0; f < module->n_functions; f++) {
        ir_function *function = module->functions[f];
        if (function->is_group) continue;
        size_t n_nodes = 0;
        for (const ir_node *node = function->first; node != NULL; node = node->next) n_nodes++;
        chaining c = {
            .context = context,
            .counts = MLCC_NEW_ARRAY(context->scratch, chain_count, n_nodes + 1)};
        for (ir_node *node = function->first; node != NULL;) node = chain_from(&c, node);
        explain(&c, function);
    }
    return NULL;
}
