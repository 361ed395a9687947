#include "runtime/device/cuda_graphs.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <stdlib.h>
#include <string.h>

mlcc_status *mlcc_cuda_graphs_create(
    mlcc_cuda_device *device, size_t n_key_words, mlcc_cuda_graphs *out) {
    *out = (mlcc_cuda_graphs){.device = device, .n_key_words = n_key_words};
    out->is_off = !device->has_graphs;
    if (out->is_off) return NULL;
    out->keys = calloc((MLCC_CUDA_GRAPHS_KEPT + 1) * n_key_words + 1, sizeof *out->keys);
    if (out->keys == NULL) return MLCC_ERROR(NO_MEMORY, "memory for a list of runs cannot be had");
    for (size_t i = 0; i < MLCC_CUDA_GRAPHS_KEPT; i++)
        out->graphs[i].key = out->keys + (i + 1) * n_key_words;
    return NULL;
}

static void forget(mlcc_cuda_graphs *graphs, mlcc_cuda_graph *graph) {
    if (graph->graph != NULL) (void)graphs->device->driver.graph_exec_destroy(graph->graph);
    *graph = (mlcc_cuda_graph){.key = graph->key};
}

void mlcc_cuda_graphs_free(mlcc_cuda_graphs *graphs) {
    for (size_t i = 0; i < MLCC_CUDA_GRAPHS_KEPT; i++) forget(graphs, &graphs->graphs[i]);
    if (graphs->stream != NULL) (void)graphs->device->driver.stream_destroy(graphs->stream);
    free(graphs->keys);
    *graphs = (mlcc_cuda_graphs){0};
}

uint64_t *mlcc_cuda_graphs_key(mlcc_cuda_graphs *graphs) {
    return graphs->is_off ? NULL : graphs->keys;
}

mlcc_cuda_graph *mlcc_cuda_graphs_find(mlcc_cuda_graphs *graphs) {
    const size_t key_bytes = graphs->n_key_words * sizeof *graphs->keys;
    mlcc_cuda_graph *oldest = &graphs->graphs[0], *found = NULL;
    for (size_t i = 0; found == NULL && i < MLCC_CUDA_GRAPHS_KEPT; i++) {
        mlcc_cuda_graph *graph = &graphs->graphs[i];
        if (graph->n_runs > 0 && memcmp(graph->key, graphs->keys, key_bytes) == 0) found = graph;
        if (graph->last_run < oldest->last_run) oldest = graph;
    }
    if (found == NULL) {
        forget(graphs, oldest);
        memcpy(oldest->key, graphs->keys, key_bytes);
        found = oldest;
    }
    found->n_runs++;
    found->last_run = ++graphs->n_runs;
    return found;
}

// The launches of `stream` between begin and end; a capture that began is always ended.
static mlcc_status *capture_stream(
    mlcc_cuda_graphs *graphs, mlcc_cuda_launch_all *launch, void *user, mlcc_cu_graph **captured) {
    mlcc_cuda_device *device = graphs->device;
    const mlcc_cuda_driver *driver = &device->driver;
    if (graphs->stream == NULL) {
        MLCC_TRY(mlcc_cuda_done(
            device, driver->stream_create(&graphs->stream, MLCC_CU_STREAM_NON_BLOCKING),
            "making a stream"));
    }
    MLCC_TRY(mlcc_cuda_done(
        device, driver->stream_begin_capture(graphs->stream, MLCC_CU_CAPTURE_THREAD_LOCAL),
        "beginning a capture"));
    mlcc_status *status = launch(user, graphs->stream);
    mlcc_cu_result result = driver->stream_end_capture(graphs->stream, captured);
    if (status != NULL) return status;
    return mlcc_cuda_done(device, result, "ending a capture");
}

void mlcc_cuda_graphs_capture(
    mlcc_cuda_graphs *graphs, mlcc_cuda_graph *graph, mlcc_cuda_launch_all *launch, void *user) {
    mlcc_cuda_device *device = graphs->device;
    mlcc_cu_graph *captured = NULL;
    mlcc_status *status = capture_stream(graphs, launch, user, &captured);
    if (status == NULL) {
        status = mlcc_cuda_done(
            device, device->driver.graph_instantiate(&graph->graph, captured, 0),
            "instantiating a graph");
    }
    if (captured != NULL) (void)device->driver.graph_destroy(captured);
    if (status == NULL) return;
    graph->graph = NULL;
    graphs->is_off = true;
    char *text = mlcc_status_format(status, 0);
    mlcc_log(MLCC_LOG_DEBUG, "device", "kernels are launched one by one: %s", text);
    free(text);
    mlcc_status_free(status);
}
