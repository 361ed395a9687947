// model_library: a compiled lib.so, opened and run by hand through runtime/abi.h, without the runtime: own threads, own barrier, weights
// encoded, prepared and decoded here, so that the answers can be compared with ir/eval on the very same numbers.
//
//   model_weights *weights = model_weights_random(module, NULL, keep);
//   model_library *library = model_library_open(path, weights, keep);
//   model_library_run(library, module, function, args, 2, keep, results);
//   … ir_eval_function(function, args, &(ir_eval_options){.param = model_weights_eval, .user = weights}, keep, expected) …
//   model_library_close(library);
//
// Buffers have 64-byte guard zones; a write beyond a tensor ends the test with a message. Results and workspace are NaN before a run.
#ifndef MLCC_TESTS_SUPPORT_MODEL_LIBRARY_H
#define MLCC_TESTS_SUPPORT_MODEL_LIBRARY_H

#include "ir/eval.h"
#include "quantization/format.h"
#include "runtime/abi.h"
#include "runtime/base/str.h"

// Values of every param of a module: as stored pieces and as what these pieces decode to.
typedef struct model_weight {
    const char *name;
    void *pieces[QUANT_MAX_PIECES];
    ir_tensor *decoded;
} model_weight;

typedef struct model_weights {
    model_weight *weights;
    size_t n_weights;
} model_weights;

// `value` gives float32 values (ir_eval_param), NULL: uniform in -1 … 1, from the param's name.
model_weights *model_weights_make(const ir_module *module, ir_eval_param *value, mlcc_arena *keep);
// Fails the test when there is none.
const model_weight *model_weights_find(const model_weights *weights, const char *name);
// ir_eval_param with the weights as `user`.
mlcc_status *model_weights_eval(
    void *user, const ir_param *param, mlcc_arena *keep, ir_tensor **out);

typedef struct model_library {
    void *handle;
    const mlcc_abi_model *abi;
    const void **prepared; // per param of the ABI
} model_library;

// Every failure here is a failed assertion of the test.
model_library *model_library_open(const char *path, const model_weights *weights, mlcc_arena *keep);
// CPU level `level` of a library that has several; NULL when it has no such level.
model_library *model_library_open_level(
    const char *path, int32_t level, const model_weights *weights, mlcc_arena *keep);
// Runs the ABI's function of the same name as `function`. `args` as for ir_eval_function; they stay as they are. `results` receives n_returns
// tensors: values that the function changes in place come from copies of the arguments.
void model_library_run(
    const model_library *library, const ir_function *function, ir_tensor *const *args,
    int32_t n_threads, mlcc_arena *keep, ir_tensor **results);
void model_library_close(model_library *library);

// The same run on another machine, through tests/e2e/freestanding_driver.c: `model_library_pack` writes what the driver reads, from the tables of
// the library for this machine; `model_library_unpack` reads what it wrote.
void model_library_pack(
    const model_library *library, const model_weights *weights, const ir_function *function,
    ir_tensor *const *args, mlcc_arena *scratch, mlcc_str *out);
void model_library_unpack(
    const model_library *library, const ir_function *function, ir_tensor *const *args,
    const char *data, size_t size_bytes, mlcc_arena *keep, ir_tensor **results);

// A tensor's elements in its dtype, and back into out->f32 or out->i32.
void model_encode(const ir_tensor *tensor, void *out);
void model_decode(const void *data, ir_tensor *out);
// The argument of the entry function (PLAN level) whose memory `value` is, or NULL.
const ir_value *model_in_place_arg(const ir_value *value);

// Fails the test unless |actual - expected| ≤ absolute + relative |expected| for every element (both NaN, or equal infinities, agree).
void assert_tensors_near(
    const ir_tensor *actual, const ir_tensor *expected, double absolute, double relative,
    const char *what);

#endif
