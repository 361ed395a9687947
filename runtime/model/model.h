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

// What the model directory says about embeddings (key "embedding_metadata" of mlc-chat-config.json, else of the library's metadata).
typedef struct mlcc_embedding_defaults {
    mlcc_pooling pooling;
    bool normalizes;
    int64_t max_tokens; // of one text; 0 = the context window
} mlcc_embedding_defaults;

struct mlcc_model {
    mlcc_arena *arena;
    mlcc_library library;
    mlcc_forward forward;
    mlcc_json *metadata;
    mlcc_pool *pool;
    mlcc_device *device; // runs the engines' work and holds their data
    mlcc_weights weights;
    mlcc_model_info info;
    mlcc_embedding_defaults embedding; // of an encoder
};

#endif
