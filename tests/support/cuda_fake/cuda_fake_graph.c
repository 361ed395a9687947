// Capture and graphs of the fake driver: a graph is the launches that a stream would have got, in their order.
#include "tests/support/cuda_fake/cuda_fake.h"

#include <stdlib.h>
#include <string.h>

struct mlcc_cu_graph {
    fake_launch *launches;
    size_t n_launches, capacity;
};

struct mlcc_cu_graph_exec {
    mlcc_cu_graph graph;
};

static int n_graphs, n_captures, n_graph_launches;
static _Thread_local mlcc_cu_stream *captured; // by this thread

int fake_n_graphs(void) {
    return __atomic_load_n(&n_graphs, __ATOMIC_RELAXED);
}

int cuda_fake_n_captures(void) {
    return __atomic_load_n(&n_captures, __ATOMIC_RELAXED);
}

int cuda_fake_n_graph_launches(void) {
    return __atomic_load_n(&n_graph_launches, __ATOMIC_RELAXED);
}

bool fake_is_capturing(const char *call) {
    if (captured != NULL) fake_fault("%s while a stream is captured", call);
    return captured != NULL;
}

static fake_launch copy_launch(const fake_launch *launch) {
    fake_launch copy = *launch;
    copy.arguments = malloc(launch->arguments_bytes + 1);
    if (copy.arguments == NULL) abort();
    memcpy(copy.arguments, launch->arguments, launch->arguments_bytes);
    return copy;
}

static void add_launch(mlcc_cu_graph *graph, fake_launch launch) {
    if (graph->n_launches == graph->capacity) {
        graph->capacity = graph->capacity * 2 + 16;
        graph->launches = realloc(graph->launches, graph->capacity * sizeof *graph->launches);
        if (graph->launches == NULL) abort();
    }
    graph->launches[graph->n_launches++] = launch;
}

static void free_launches(mlcc_cu_graph *graph) {
    for (size_t i = 0; i < graph->n_launches; i++) free(graph->launches[i].arguments);
    free(graph->launches);
}

void fake_record_launch(mlcc_cu_stream *stream, fake_launch launch) {
    add_launch(stream->capture, launch);
}

mlcc_cu_result cuStreamBeginCapture_v2(mlcc_cu_stream *stream, int mode) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (stream == NULL || mode != MLCC_CU_CAPTURE_THREAD_LOCAL) return MLCC_CU_INVALID_VALUE;
    if (fake_is_capturing("cuStreamBeginCapture") || stream->capture != NULL)
        return MLCC_CU_CAPTURE_UNSUPPORTED;
    stream->capture = calloc(1, sizeof *stream->capture);
    if (stream->capture == NULL) abort();
    captured = stream;
    __atomic_add_fetch(&n_graphs, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuStreamEndCapture(mlcc_cu_stream *stream, mlcc_cu_graph **graph) {
    *graph = NULL;
    if (stream != captured || stream->capture == NULL) {
        fake_fault("a stream that this thread did not begin to capture");
        return MLCC_CU_INVALID_VALUE;
    }
    mlcc_cu_graph *taken = stream->capture;
    stream->capture = NULL;
    captured = NULL;
    mlcc_cu_result state = fake_context_state();
    if (state == MLCC_CU_SUCCESS && fake_fails(&fake_settings_now.capture))
        state = fake_settings_now.capture.code;
    if (state != MLCC_CU_SUCCESS) {
        (void)cuGraphDestroy(taken);
        return state;
    }
    __atomic_add_fetch(&n_captures, 1, __ATOMIC_RELAXED);
    *graph = taken;
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuGraphInstantiateWithFlags(
    mlcc_cu_graph_exec **exec, mlcc_cu_graph *graph, unsigned long long flags) {
    mlcc_cu_result state = fake_context_state();
    *exec = NULL;
    if (state != MLCC_CU_SUCCESS) return state;
    if (flags != 0) return MLCC_CU_INVALID_VALUE;
    if (fake_fails(&fake_settings_now.instantiate)) return fake_settings_now.instantiate.code;
    *exec = calloc(1, sizeof **exec);
    if (*exec == NULL) abort();
    for (size_t i = 0; i < graph->n_launches; i++)
        add_launch(&(*exec)->graph, copy_launch(&graph->launches[i]));
    __atomic_add_fetch(&n_graphs, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuGraphDestroy(mlcc_cu_graph *graph) {
    free_launches(graph);
    free(graph);
    __atomic_sub_fetch(&n_graphs, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuGraphLaunch(mlcc_cu_graph_exec *exec, mlcc_cu_stream *stream) {
    mlcc_cu_result state = fake_context_state();
    if (state != MLCC_CU_SUCCESS) return state;
    if (stream == NULL || stream->capture != NULL) return MLCC_CU_INVALID_VALUE;
    if (fake_fails(&fake_settings_now.graph)) return fake_settings_now.graph.code;
    for (size_t i = 0; i < exec->graph.n_launches; i++) {
        fake_launch launch = copy_launch(&exec->graph.launches[i]);
        // The first of a graph has nobody in it to begin before.
        launch.is_early = launch.is_early && i > 0;
        fake_enqueue_launch(launch);
    }
    __atomic_add_fetch(&n_graph_launches, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}

mlcc_cu_result cuGraphExecDestroy(mlcc_cu_graph_exec *exec) {
    free_launches(&exec->graph);
    free(exec);
    __atomic_sub_fetch(&n_graphs, 1, __ATOMIC_RELAXED);
    return MLCC_CU_SUCCESS;
}
