// weights: brings a model directory's tensors into the form that a library's kernels read.
//
// For every param of the library its pieces are looked up by name and compared in dtype and shape.
// Then
//   * a param without prepare function whose piece is stored as it is used, at a multiple of 64
//     bytes, is direct: nothing need be done to it;
//   * everything else is the payload (64-byte aligned params in table order): float32 pieces
//     stored as bf16 are widened, then the param's prepare function (or a copy) runs in parallel
//     over its items. The payload is kept in the disk cache (prepared_cache.h), so that the second
//     start never touches the shards.
// In the host's memory, direct params and a kept payload are either used in their mapped files or read
// into one block, payload first (weights_memory.h says when).
// A device with memory of its own gets every param as soon as it is prepared: the host never holds
// them all.
// Thread rule: read-only after loading; any number of readers.
#ifndef MLCC_RUNTIME_MODEL_WEIGHTS_H
#define MLCC_RUNTIME_MODEL_WEIGHTS_H

#include "runtime/abi.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/threads.h"
#include "runtime/device/device.h"
#include "runtime/mlcc.h"
#include "runtime/model/tensor_cache.h"

#include <stdbool.h>

typedef struct mlcc_weights {
    // [n_params], 64-byte aligned, in the library's order; in the device's memory
    const void **params;
    uint64_t prepared_bytes; // over all params
    uint64_t mapped_bytes;   // of these, in mapped files
    bool from_cache;         // the payload came from the disk cache
    mlcc_arena *arena;
    mlcc_tensor_cache *store; // shards that no param needs any more are unmapped
    mlcc_block block;
    mlcc_mapping cache;
    mlcc_device *device; // that holds `memory`; NULL: the host
    mlcc_memory memory;  // of all params, 256-byte aligned in table order
} mlcc_weights;

// What all params of a library take in a device's memory.
uint64_t mlcc_weights_bytes(const mlcc_abi_model *abi);

// Uses directory, verify, no_cache, cache_directory, weights_memory, progress of `options`. Phases of
// progress: "verifying", "preparing", "keeping", "reading"; on a device with memory of its own "preparing" counts what is prepared
// and on its way, and "uploading" what needs no preparation. With made_up_weights no store is read,
// and the phase is "making up". `device` must outlive the weights; NULL: the host's memory.
// MISMATCH: the library was compiled for other weights (names the first param that does not fit).
mlcc_status *mlcc_weights_load(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *out);
void mlcc_weights_free(mlcc_weights *weights); // all zeros is fine

#endif
