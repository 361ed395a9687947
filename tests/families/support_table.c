// The README's table of model types, quantization modes and targets, as Markdown on standard output: the first preset of every type is planned in every
// mode for the CPU and for CUDA devices, up to the kernel of every group (what `mlcc compile PRESET --dry-run` does). A cell is what a weight takes on
// average, in bits; modes that agree in every row share a column. Types without a graph have no row.
//
// support_table [TYPE]    exit code 1: something does not compile, or a type has no preset; 77: no NVRTC
#include "codegen/cuda/nvrtc.h"
#include "dist/artifact/compile.h"
#include "frontend/arch/arch.h"
#include "frontend/arch/presets.h"
#include "frontend/hf/model_config.h"
#include "quantization/mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_BYTES = 16 };

typedef struct table {
    const char *const *types;
    const quant_mode *modes;
    size_t n_types, n_modes;
    char (*cells)[CELL_BYTES]; // [n_types, n_modes]
    int n_failures;
} table;

static const char *cell(const table *t, size_t type, size_t mode) {
    return t->cells[type * t->n_modes + mode];
}

static const char *preset_of(const char *type) {
    size_t n = 0;
    const char *const *names = arch_preset_names(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(arch_preset_model_type(names[i]), type) == 0) return names[i];
    }
    return NULL;
}

static bool plan(
    const char *preset, const char *mode, const char *device, artifact_compile_result *result) {
    const artifact_compile_options options = {
        .model = preset,
        .quantization = mode,
        .device = device,
        .target = "x86-64-v3",
        .plan_only = true};
    mlcc_status *status = artifact_compile(&options, result);
    if (status == NULL) return true;
    char *text = mlcc_status_format(status, 0);
    fprintf(stderr, "%s %s %s: %s\n", preset, mode, device, text);
    free(text);
    mlcc_status_free(status);
    return false;
}

static void fill_row(table *t, size_t type) {
    const char *preset = preset_of(t->types[type]);
    if (preset == NULL) {
        fprintf(stderr, "%s: no preset\n", t->types[type]);
        t->n_failures++;
    }
    for (size_t i = 0; i < t->n_modes; i++) {
        char *text = t->cells[type * t->n_modes + i];
        artifact_compile_result cpu, cuda;
        const char *mode = t->modes[i].name;
        if (preset == NULL || !plan(preset, mode, "cpu", &cpu) ||
            !plan(preset, mode, "cuda:compute_80", &cuda) ||
            cpu.weight_bytes != cuda.weight_bytes) {
            snprintf(text, CELL_BYTES, "no");
            t->n_failures++;
            continue;
        }
        snprintf(text, CELL_BYTES, "%.1f", 8.0 * (double)cpu.weight_bytes / (double)cpu.n_weights);
    }
}

static bool equal_columns(const table *t, size_t a, size_t b) {
    for (size_t i = 0; i < t->n_types; i++)
        if (strcmp(cell(t, i, a), cell(t, i, b)) != 0) return false;
    return true;
}

static bool is_first_of_its_kind(const table *t, size_t mode) {
    for (size_t i = 0; i < mode; i++)
        if (equal_columns(t, i, mode)) return false;
    return true;
}

static void print_table(const table *t) {
    printf("| `model_type` |");
    for (size_t i = 0; i < t->n_modes; i++) {
        if (!is_first_of_its_kind(t, i)) continue;
        const char *space = " ";
        for (size_t j = i; j < t->n_modes; j++) {
            if (!equal_columns(t, i, j)) continue;
            printf("%s`%s`", space, t->modes[j].name);
            space = ", ";
        }
        printf(" |");
    }
    printf("\n|---|");
    for (size_t i = 0; i < t->n_modes; i++)
        if (is_first_of_its_kind(t, i)) printf("---|");
    printf("\n");
    for (size_t type = 0; type < t->n_types; type++) {
        printf("| %s |", t->types[type]);
        for (size_t i = 0; i < t->n_modes; i++)
            if (is_first_of_its_kind(t, i)) printf(" %s |", cell(t, type, i));
        printf("\n");
    }
}

static void list_types(table *t, mlcc_arena *keep) {
    size_t n_all = 0;
    const char *const *all = arch_model_types(&n_all);
    const char **types = mlcc_arena_alloc_array(keep, n_all, sizeof *types);
    for (size_t i = 0; i < n_all; i++)
        if (arch_has_graph(arch_find(all[i]))) types[t->n_types++] = all[i];
    t->types = types;
}

static bool has_nvrtc(void) {
    nvrtc_library *nvrtc = NULL;
    mlcc_status *status = nvrtc_open(&nvrtc);
    nvrtc_close(nvrtc);
    mlcc_status_free(status);
    return status == NULL;
}

int main(int argc, char **argv) {
    if (!has_nvrtc()) {
        fprintf(stderr, "skipped: no NVRTC\n");
        return 77;
    }
    mlcc_arena *keep = mlcc_arena_create();
    table t = {0};
    list_types(&t, keep);
    t.modes = quant_mode_table(&t.n_modes);
    const char *only = argc > 1 ? argv[1] : NULL;
    if (only != NULL && arch_find(only) != NULL && arch_has_graph(arch_find(only))) {
        t.types = &only;
        t.n_types = 1;
    }
    t.cells = mlcc_arena_alloc_array(keep, t.n_types * t.n_modes, sizeof *t.cells);
    for (size_t i = 0; i < t.n_types; i++) fill_row(&t, i);
    print_table(&t);
    mlcc_arena_free(keep);
    return t.n_failures > 0;
}
