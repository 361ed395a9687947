// cuda_ptx: a cuda_subject whose launches run NVRTC's PTX in the interpreter (tests/support/ptx) instead of the host's code.
//
//   cuda_ptx_modules modules;
//   cuda_ptx_compile(&subject, nvrtc, "compute_89", &modules);
//   cuda_subject_check(&subject, args, 1e-6, 1e-6);
//   cuda_ptx_free(&subject, &modules);
#ifndef MLCC_TESTS_SUPPORT_CUDA_PTX_H
#define MLCC_TESTS_SUPPORT_CUDA_PTX_H

#include "tests/support/cuda_group.h"
#include "tests/support/ptx_nvrtc.h"

// By instance.
typedef struct cuda_ptx_modules {
    ptx_module **all;
} cuda_ptx_modules;

static inline void cuda_ptx_memory(
    ptx_memory *memory, const cuda_buffer *buffer, const char *name) {
    if (buffer->memory != NULL && buffer->size_bytes > 0)
        ptx_memory_add(memory, buffer->memory, buffer->size_bytes, name);
}

static inline bool cuda_ptx_launch(
    const cuda_subject_call *call, int32_t instance, const char *symbol,
    const cuda_shim_launch *launch, size_t n_words, char message[256]) {
    const cuda_ptx_modules *modules = call->subject->launcher_user;
    ptx_memory *memory = ptx_memory_create();
    for (size_t i = 0; i < call->subject->module->n_params; i++)
        cuda_ptx_memory(memory, &call->subject->params[i], "a param");
    for (size_t i = 0; i < call->n_buffers; i++)
        cuda_ptx_memory(memory, &call->buffers[i], "a tensor");
    cuda_ptx_memory(memory, call->scratch, "scratch");
    ptx_shape shape = {
        .block = {(uint32_t)launch->n_threads, 1, 1},
        .dynamic_shared_bytes = (uint32_t)launch->shared_bytes};
    for (int i = 0; i < 3; i++) shape.grid[i] = (uint32_t)launch->grid[i];
    const ptx_function *function = NULL;
    mlcc_status *status = ptx_module_function(modules->all[instance], symbol, &function);
    if (status == NULL)
        status = ptx_launch(function, &shape, launch->words, n_words * 8, memory, NULL);
    ptx_memory_free(memory);
    if (status == NULL) return true;
    snprintf(message, 256, "%s", mlcc_status_message(status));
    mlcc_status_free(status);
    return false;
}

static inline void cuda_ptx_compile(
    cuda_subject *s, const nvrtc_library *nvrtc, const char *arch, cuda_ptx_modules *modules) {
    const size_t n = (size_t)s->artifact->n_instances;
    modules->all = MLCC_NEW_ARRAY(s->keep, ptx_module *, n + 1);
    for (size_t i = 0; i < n; i++)
        modules->all[i] =
            ptx_nvrtc_compile(nvrtc, s->rows[i]->name, mlcc_str_text(&s->sources[i]), arch);
    s->launcher = cuda_ptx_launch;
    s->launcher_user = modules;
}

// The subject stays open.
static inline void cuda_ptx_free(const cuda_subject *s, cuda_ptx_modules *modules) {
    for (int32_t i = 0; i < s->artifact->n_instances; i++) ptx_module_free(modules->all[i]);
}

#endif
