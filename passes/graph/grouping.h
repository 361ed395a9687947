// grouping: a set of nodes of an entry function becomes a call of a group function. What fuse_norm and fuse_elementwise share:
// the passes decide which nodes belong together, this moves them.
#ifndef MLCC_PASSES_GRAPH_GROUPING_H
#define MLCC_PASSES_GRAPH_GROUPING_H

#include "passes/pass.h"

#define GROUPING_MAX_NODES 32

typedef struct grouping {
    ir_node *nodes[GROUPING_MAX_NODES]; // in any order, same function, each once
    int32_t n_nodes;
} grouping;

bool grouping_contains(const grouping *set, const ir_node *node);
// False when the set is full or holds the node already.
bool grouping_add(grouping *set, ir_node *node);
// True when every use of every result of `node` lies in the set (returns of the function are outside).
bool grouping_owns_uses(const grouping *set, const ir_node *node);
// Whether all nodes may run at the place of the last one: nobody outside reads a result before it, and nobody outside changes, in place,
// memory that a moved node reads.
bool grouping_can_move(const grouping *set);
// Replaces the nodes by one call at the place of the last. Inputs (params included) become arguments in order of first use, values
// read outside become results in node order. Equal groups share one function. `name` is its stem.
mlcc_status *grouping_extract(const grouping *set, const char *name, mlcc_arena *scratch);

#endif
