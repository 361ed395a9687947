// model: what an open model consists of; the inside of mlcc_model (runtime/mlcc.h), shared by
// model.c and engine.c.
#ifndef MLCC_RUNTIME_MODEL_MODEL_H
#define MLCC_RUNTIME_MODEL_MODEL_H

#include "runtime/base/arena.h"
#include "runtime/base/json.h"
#include "runtime/base/threads.h"
#include "runtime/mlcc.h"
#include "runtime/model/forward.h"
#include "runtime/model/library.h"
#include "runtime/model/weights.h"

#include <pthread.h>

struct mlcc_model {
    mlcc_arena *arena;
    mlcc_library library;
    mlcc_forward forward;
    mlcc_json *metadata;
    mlcc_pool *pool;
    pthread_mutex_t pool_lock; // the pool serves one engine at a time
    mlcc_weights weights;
    mlcc_model_info info;
};

#endif
