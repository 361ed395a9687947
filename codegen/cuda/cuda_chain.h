// cuda_chain: what a chain of launches (ir/chain.h) consists of, where the kernel linear_chain can be it: a linear, and what stands around it.
//
//   norm     a row norm in front: every block computes the factors of all rows, which costs less than waiting for a launch that does it once
//   gate     element-wise ops behind that read both halves of a row: silu(gate) * up
//   append   kv_append behind: keys are rotated and stored with the values by the blocks that compute them
//
// A block makes two tiles of 16 outputs, `distance` tiles apart, such that what is computed together lies in it: gate and up of one channel, or a
// key's element and the one it is rotated with. Blocks go through spans of 2 * distance tiles one after another.
#ifndef MLCC_CODEGEN_CUDA_CUDA_CHAIN_H
#define MLCC_CODEGEN_CUDA_CUDA_CHAIN_H

#include "ir/ir.h"

// Where the second number of a pair of outputs is computed.
typedef enum cuda_chain_partner {
    CUDA_CHAIN_NO_PARTNER,
    CUDA_CHAIN_OTHER_TILE, // the same row of the block's other tile
    CUDA_CHAIN_OTHER_ROW,  // the neighbouring row of the same tile: 2 i and 2 i + 1
} cuda_chain_partner;

typedef struct cuda_chain {
    const ir_node *linear;
    const ir_node *norm;   // or NULL
    const ir_node *append; // or NULL
    bool has_gate;
    cuda_chain_partner partner;
    int64_t distance;               // in tiles
    int64_t key_begin, value_begin; // of append: columns of the linear's result
} cuda_chain;

// A reason why linear_chain is no kernel for this function, or NULL.
const char *cuda_chain_read(const ir_function *function, cuda_chain *chain);

#endif
