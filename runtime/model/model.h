// model: what an open model consists of; the inside of mlcc_model (runtime/mlcc.h), shared by
// model.c and engine.c.
#ifndef MLCC_RUNTIME_MODEL_MODEL_H
#define MLCC_RUNTIME_MODEL_MODEL_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/threads.h"
#include "runtime/device/device.h"
#include "runtime/mlcc.h"
#include "runtime/model/forward.h"
#include "runtime/model/library.h"
#include "runtime/model/weights.h"

struct mlcc_model {
    mlcc_arena *arena;
    mlcc_library library;
    mlcc_forward forward;
    mlcc_json *metadata;
    mlcc_pool *pool;
    mlcc_device *device; // runs the engines' work and holds their data
    mlcc_weights weights;
    mlcc_model_info info;
};

#endif
