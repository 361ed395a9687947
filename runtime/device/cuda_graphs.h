// cuda_graphs: runs of one runner that repeat, kept as graphs of the driver, so that a decode step is
// one call instead of a launch per kernel.
//
// A run is known by its key: the addresses of args and results and the values of the symbols; all
// else that launches depend on is fixed or lies in the device's memory. The third run of a key is
// captured from the stream of its launches; the MLCC_CUDA_GRAPHS_KEPT keys that ran last are
// remembered. A driver that cannot capture, or fails to, costs speed and nothing else.
// Thread rule: one thread at a time; the device's context must be current.
#ifndef MLCC_RUNTIME_DEVICE_CUDA_GRAPHS_H
#define MLCC_RUNTIME_DEVICE_CUDA_GRAPHS_H

#include "runtime/device/device_cuda.h"

enum { MLCC_CUDA_GRAPHS_KEPT = 16, MLCC_CUDA_GRAPHS_CAPTURED_RUN = 3 };

typedef struct mlcc_cuda_graph {
    uint64_t *key;
    uint64_t n_runs;           // 0: the place is free
    uint64_t last_run;         // of all runs
    mlcc_cu_graph_exec *graph; // NULL: not captured yet
} mlcc_cuda_graph;

typedef struct mlcc_cuda_graphs {
    mlcc_cuda_device *device;
    size_t n_key_words;
    uint64_t *keys; // of all graphs, and that of the run at hand
    mlcc_cuda_graph graphs[MLCC_CUDA_GRAPHS_KEPT];
    uint64_t n_runs;
    mlcc_cu_stream *stream; // only ever captured: what others ask of the device's own stays theirs
    bool is_off;
} mlcc_cuda_graphs;

mlcc_status *mlcc_cuda_graphs_create(
    mlcc_cuda_device *device, size_t n_key_words, mlcc_cuda_graphs *out);
void mlcc_cuda_graphs_free(mlcc_cuda_graphs *graphs); // all zeros is fine

// Where the run at hand writes its n_key_words; NULL when graphs are not used.
uint64_t *mlcc_cuda_graphs_key(mlcc_cuda_graphs *graphs);
// Counts a run with that key.
mlcc_cuda_graph *mlcc_cuda_graphs_find(mlcc_cuda_graphs *graphs);

// Asks the launches of one run of `stream`.
typedef mlcc_status *mlcc_cuda_launch_all(void *user, mlcc_cu_stream *stream);
// Makes graph->graph of what `launch` asks; where that fails it stays NULL, and the log says why.
void mlcc_cuda_graphs_capture(
    mlcc_cuda_graphs *graphs, mlcc_cuda_graph *graph, mlcc_cuda_launch_all *launch, void *user);

#endif
