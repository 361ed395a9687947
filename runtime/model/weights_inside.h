// weights_inside: what weights.c (plan, preparation, the host's memory), weights_device.c (a device's
// memory) and weights_made_up.c share; private to them.
#ifndef MLCC_RUNTIME_MODEL_WEIGHTS_INSIDE_H
#define MLCC_RUNTIME_MODEL_WEIGHTS_INSIDE_H

#include "runtime/model/prepared_cache.h"
#include "runtime/model/weights.h"

// How one param comes about.
typedef struct mlcc_param_plan {
    const mlcc_tensor_record *records[MLCC_ABI_MAX_PIECES];
    bool is_direct; // the piece as it is stored is the param
    // place in the payload; of a direct param: among the direct ones, which follow in a block that
    // holds both
    size_t offset_bytes;
} mlcc_param_plan;

// What a param takes in a device's memory: whole 256 bytes, so that all begin at multiples of them.
uint64_t mlcc_weights_device_bytes(const mlcc_abi_param *param);

typedef struct mlcc_weights_plan {
    const mlcc_abi_model *abi;
    mlcc_param_plan *params; // [n_params]
    size_t payload_bytes;    // of the prepared cache
    size_t direct_bytes;
} mlcc_weights_plan;

// Param `index`, which is not direct, in `prepared`: its prepared_bytes of zeros. The store must be
// mapped.
mlcc_status *mlcc_weights_prepare(
    const mlcc_weights_plan *plan, uint32_t index, const mlcc_tensor_cache *store, mlcc_pool *pool,
    void *prepared);

// The file of the prepared cache that belongs to a plan.
typedef struct mlcc_weights_cache {
    mlcc_hash128 key;
    const char *path;
    mlcc_prepared_writer *writer; // NULL: nothing is being kept
} mlcc_weights_cache;

mlcc_weights_cache mlcc_weights_find_cache(
    const mlcc_weights_plan *plan, const mlcc_model_options *options, mlcc_weights *weights);
// The payload in weights->cache, or NULL when there is none yet.
const char *mlcc_weights_map_cache(
    const mlcc_weights_cache *cache, const mlcc_weights_plan *plan,
    const mlcc_model_options *options, mlcc_weights *weights);
// Keeps the payload piece by piece, in order. What fails is logged and ends the keeping.
void mlcc_weights_keep_begin(mlcc_weights_cache *cache);
void mlcc_weights_keep(mlcc_weights_cache *cache, const void *data, size_t size_bytes);
void mlcc_weights_keep_end(mlcc_weights_cache *cache);

// Numbers of a plausible size instead of a store's: options->made_up_weights. Fills weights->params.
mlcc_status *mlcc_weights_make_up(
    const mlcc_abi_model *abi, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *weights);

// Fills weights->params with addresses of the device.
mlcc_status *mlcc_weights_load_to_device(
    const mlcc_weights_plan *plan, const mlcc_model_options *options, mlcc_pool *pool,
    mlcc_device *device, mlcc_weights *weights);

#endif
