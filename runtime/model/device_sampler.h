// device_sampler: lets the device choose the tokens, where the library has a function "sample": of a step come 4 bytes a sequence then, not vocab × 4.
//
//   logits      f32 [n_logits, vocab]   what "forward" returned, where it lies
//   settings    f32 [n_logits, 5]       temperature, top_p, top_k, min_p, repetition penalty
//   random      i32 [n_logits, 2]       low and high word of the sampler's next random number
//   ranges      i32 [n_logits, 2]       begin and end of the row's part of the history
//   tokens      i32 [n_history]         tokens that penalties change, each once in a row's part
//   subtracted  f32 [n_history]         what presence and frequency take from their logits
//   → tokens    i32 [n_logits]          those that mlcc_sampler_sample would choose (runtime/base/chance.h)
//
// What a call reads is sent when it differs from what was sent before: a greedy step sends nothing.
// Nothing is allocated after creation. Thread rule: one thread at a time.
#ifndef MLCC_RUNTIME_MODEL_DEVICE_SAMPLER_H
#define MLCC_RUNTIME_MODEL_DEVICE_SAMPLER_H

#include "runtime/device/device.h"
#include "runtime/model/forward.h"
#include "runtime/model/sampler.h"

typedef struct mlcc_device_sampler {
    mlcc_device *device;
    mlcc_runner *runner; // NULL: the library has no function "sample"
    int64_t max_history;
    mlcc_mirror inputs; // what the next five lie in, host's side
    float *settings;
    int32_t *random, *ranges, *history;
    float *subtracted;
    size_t row_bytes; // what rows have in inputs, before the history
    void *sent;       // [row_bytes]: as the device has it
    bool is_sent;
    mlcc_mirror tokens; // [n_logits, at its bound]
    int64_t n_rows, n_history;
} mlcc_device_sampler;

// Index of the function "sample"; -1 where the library has none.
int32_t mlcc_device_sampler_function(const mlcc_abi_model *abi);
// MISMATCH where the library's function is not as above. All zeros where it has none.
mlcc_status *mlcc_device_sampler_create(
    mlcc_device *device, const mlcc_abi_model *abi, const mlcc_forward *forward,
    mlcc_device_sampler *out);
void mlcc_device_sampler_free(mlcc_device_sampler *sampler); // all zeros is fine

// A pass: its rows one after the other, the run with the values of the library's symbols (n_history is
// max_history), then the tokens of the rows. `row` NULL: greedy.
void mlcc_device_sampler_begin(mlcc_device_sampler *sampler);
void mlcc_device_sampler_add(mlcc_device_sampler *sampler, const mlcc_sampler *row);
mlcc_status *mlcc_device_sampler_run(
    mlcc_device_sampler *sampler, void *logits, const int64_t *dims, const int32_t **tokens);

#endif
