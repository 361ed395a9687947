// row_modules: modules that the tests of kernel rows run on every device.
#ifndef MLCC_TESTS_SUPPORT_ROW_MODULES_H
#define MLCC_TESTS_SUPPORT_ROW_MODULES_H

#include <stdint.h>
#include <stdio.h>

typedef struct row_module {
    char text[1024];
} row_module;

// layer_norm of n columns of `name`: with gain (of dtype `gain`) and bias behind a sum, with a gain alone, with neither.
static inline row_module row_module_layer_norm(const char *name, const char *gain, int n) {
    row_module module;
    snprintf(
        module.text, sizeof module.text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
        "param @shift.weight : f32[%d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d]) {\n"
        "  %%0 = add %%x, %%y : %s[n_tokens, %d]\n"
        "  %%1 = layer_norm %%0, @gain.weight, @shift.weight : %s[n_tokens, %d]\n"
        "  %%2 = layer_norm %%x, @gain.weight {eps = 0.1} : %s[n_tokens, %d]\n"
        "  %%3 = layer_norm %%x {eps = 0.001} : %s[n_tokens, %d]\n"
        "  return %%0, %%1, %%2, %%3\n}\n",
        gain, n, n, name, n, name, n, name, n, name, n, name, n, name, n);
    return module;
}

// Heads by themselves: a gain for all columns, behind a sum that is returned as well; gain and shift for the columns of any head.
static inline row_module row_module_layer_norm_groups(
    const char *name, const char *gain, int n_heads, int head) {
    const int n = n_heads * head;
    row_module module;
    snprintf(
        module.text, sizeof module.text,
        "module @m level=graph\nsymbol n_tokens <= 256\nparam @gain.weight : %s[%d]\n"
        "param @head.weight : f32[%d]\nparam @shift.weight : %s[%d]\n"
        "func @forward(%%x: %s[n_tokens, %d], %%y: %s[n_tokens, %d]) {\n"
        "  %%0 = add %%x, %%y : %s[n_tokens, %d]\n"
        "  %%1 = layer_norm %%0, @gain.weight {group = %d} : %s[n_tokens, %d]\n"
        "  %%2 = layer_norm %%x, @head.weight, @shift.weight {group = %d} : %s[n_tokens, %d]\n"
        "  return %%0, %%1, %%2\n}\n",
        gain, n, head, gain, head, name, n, name, n, name, n, head, name, n, head, name, n);
    return module;
}

#endif
