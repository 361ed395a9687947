#include "tests/support/layout_prepare.h"

#include "codegen/cpu/kernels/portable/prepare_tile16.c"

#include <string.h>

// What the hooks know.
struct kernel_env {
    const ir_type *type;
};

int64_t kernel_dim_0_0(const kernel_env *env) {
    return env->type->dims[0].value;
}

int64_t kernel_dim_0_1(const kernel_env *env) {
    return env->type->dims[1].value;
}

int32_t kernel_dtype_0(const kernel_env *env) {
    return (int32_t)env->type->dtype;
}

bool layout_prepare(
    const char *layout, const ir_type *type, const void *const *pieces, void *prepared,
    int64_t begin, int64_t end) {
    if (strcmp(layout, "tile16") != 0) return false;
    const kernel_env env = {.type = type};
    kernel_prepare_tile16(&env, pieces, prepared, begin, end);
    return true;
}
