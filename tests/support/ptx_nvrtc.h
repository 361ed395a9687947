// ptx_nvrtc: CUDA C through NVRTC into the PTX interpreter (tests/support/ptx). Tests that need NVRTC are skipped where it is not installed.
#ifndef MLCC_TESTS_SUPPORT_PTX_NVRTC_H
#define MLCC_TESTS_SUPPORT_PTX_NVRTC_H

#include "codegen/cuda/nvrtc.h"
#include "tests/support/ptx/ptx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

// The test ends here, skipped, where NVRTC is absent; else it ends with nvrtc_close.
static inline nvrtc_library *ptx_nvrtc_open(void) {
    nvrtc_library *library = NULL;
    mlcc_status *absent = nvrtc_open(&library);
    if (absent != NULL) {
        print_message("skipped: %s\n", mlcc_status_message(absent));
        mlcc_status_free(absent);
        skip();
    }
    return library;
}

// `name` stands in messages; the caller frees the module.
static inline ptx_module *ptx_nvrtc_compile(
    const nvrtc_library *library, const char *name, const char *source, const char *arch) {
    nvrtc_output output;
    ptx_module *module = NULL;
    mlcc_status *status = nvrtc_compile(library, name, source, arch, &output);
    if (status == NULL) status = ptx_module_load(output.ptx, strlen(output.ptx), &module);
    if (status != NULL) fail_msg("%s: %s", arch, mlcc_status_message(status));
    nvrtc_output_free(&output);
    return module;
}

#endif
