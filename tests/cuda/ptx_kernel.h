// Kernels of sm_90a written by hand around a body, for the tests of the PTX interpreter: run_well(body, threads) must end well, CHECK_BROKEN must say
// what is wrong. Static functions in a header: the tests are programs of their own.
#ifndef MLCC_TESTS_CUDA_PTX_KERNEL_H
#define MLCC_TESTS_CUDA_PTX_KERNEL_H

#include "runtime/base/str.h"
#include "tests/support/ptx/ptx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// %rd0 in, %rd1 out, %r0 thread, %r1 the shared array `fixed`, %r2 the mbarriers `bar`, %r3 dynamic memory `dyn`; %rd4 out + 4 thread, %r4 fixed + 4
// thread, %p0: thread 0.
#define KERNEL \
    ".version 8.6\n.target sm_90a\n.address_size 64\n" \
    ".extern .shared .align 1024 .b8 dyn[];\n" \
    ".visible .entry k(.param .u64 in, .param .u64 out)\n{\n" \
    ".shared .align 1024 .b8 fixed[4096];\n.shared .align 8 .b8 bar[64];\n" \
    ".reg .pred %p<8>;\n.reg .b16 %h<8>;\n.reg .b32 %r<40>;\n.reg .b64 %rd<16>;\n.reg .f32 " \
    "%f<80>;\n" \
    "ld.param.u64 %rd0, [in];\nld.param.u64 %rd1, [out];\nmov.u32 %r0, %tid.x;\n" \
    "mov.u32 %r1, fixed;\nmov.u32 %r2, bar;\nmov.u32 %r3, dyn;\nshl.b32 %r5, %r0, 2;\n" \
    "cvt.u64.u32 %rd3, %r5;\nadd.s64 %rd4, %rd1, %rd3;\nadd.u32 %r4, %r1, %r5;\n" \
    "setp.eq.u32 %p0, %r0, 0;\n"
#define KERNEL_END "\nret;\n}\n"
#define N_WORDS    16384

typedef struct words {
    _Alignas(128) uint32_t in[N_WORDS], out[N_WORDS];
} words;

static words data;

static inline mlcc_status *run_kernel(
    const char *body, uint32_t n_threads, const ptx_options *options) {
    mlcc_str text = {0};
    ptx_module *module = NULL;
    const ptx_function *function = NULL;
    mlcc_str_printf(&text, "%s%s%s", KERNEL, body, KERNEL_END);
    mlcc_status *status = ptx_module_load(text.data, text.length, &module);
    if (status == NULL) status = ptx_module_function(module, "k", &function);
    if (status != NULL) fail_msg("%s\n%s", mlcc_status_message(status), body);
    ptx_memory *memory = ptx_memory_create();
    ptx_memory_add(memory, data.in, sizeof data.in, "in");
    ptx_memory_add(memory, data.out, sizeof data.out, "out");
    const uint64_t params[2] = {(uint64_t)(uintptr_t)data.in, (uint64_t)(uintptr_t)data.out};
    const ptx_shape shape = {{1, 1, 1}, {n_threads, 1, 1}, 65536};
    status = ptx_launch(function, &shape, params, sizeof params, memory, options);
    ptx_memory_free(memory);
    ptx_module_free(module);
    mlcc_str_free(&text);
    return status;
}

static inline void fill_words(void) {
    for (uint32_t i = 0; i < N_WORDS; i++) {
        data.in[i] = i * 3 + 1;
        data.out[i] = 0;
    }
}

static inline void run_well(const char *body, uint32_t n_threads) {
    mlcc_status *status = run_kernel(body, n_threads, NULL);
    if (status != NULL) fail_msg("%s: %s", body, mlcc_status_message(status));
}

typedef struct broken {
    const char *body;
    const char *reports; // part of the message
} broken;

static inline void check_broken(const broken *snippets, size_t n_snippets, uint32_t n_threads) {
    const ptx_options options = {.checks = PTX_CHECK_ALL, .max_block_instructions = 20000000};
    for (size_t i = 0; i < n_snippets; i++) {
        fill_words();
        mlcc_status *status = run_kernel(snippets[i].body, n_threads, &options);
        if (status == NULL) fail_msg("nothing is reported: %s", snippets[i].body);
        assert_int_equal(mlcc_status_code(status), MLCC_DEVICE);
        if (strstr(mlcc_status_message(status), snippets[i].reports) == NULL)
            fail_msg("%s: %s", snippets[i].body, mlcc_status_message(status));
        mlcc_status_free(status);
    }
}
#define CHECK_BROKEN(table, n_threads) \
    check_broken(table, sizeof table / sizeof table[0], n_threads)

#endif
