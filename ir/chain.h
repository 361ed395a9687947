// chain: launches that follow one another and are one kernel where their rows are few.
//
//     %1, %2 = launch %x, %r, @gain {callee = "add_rms_norm", kernel = "rms_norm__sm80", chain = 2, chain_rows = 8, chain_kernel = "linear_chain__sm80"}
//     %3 = launch %2, @w            {callee = "linear", kernel = "linear_tile16__sm80"}
//
// With up to chain_rows rows the device runs chain_kernel and neither launch; with more rows both launches, as they stand. What a chain computes is
// what its launches compute one after another, with the same roundings, so who evaluates a module need not know of chains; who plans memory must:
// all launches of a chain happen at one time.
#ifndef MLCC_IR_CHAIN_H
#define MLCC_IR_CHAIN_H

#include "ir/ir.h"

// For walks over a function's nodes: whether `node` happens together with the node before it. `*n_left` starts at 0 and is the walk's own.
bool ir_chain_continues(const ir_node *node, int64_t *n_left);

// A chain as one function.
typedef struct ir_chain {
    // The bodies of the launches' groups one behind the other; it holds several anchors and belongs to no module's list.
    ir_function *function;
    ir_value **inputs; // of the caller, one per argument
    ir_value *
        *results; // of the caller, one per return: those that somebody outside of the chain reads
} ir_chain;

// The `n_launches` from `first` on, marked as a chain or not. Equal chains have equal fingerprints. Lives in `keep`; the module stays as it is.
ir_chain ir_chain_join(const ir_node *first, int64_t n_launches, mlcc_arena *keep);

#endif
