// The tables that the program is built from: quantization modes, kernels, passes, ops, presets, templates, targets, architectures.
#include "codegen/cpu/features.h"
#include "codegen/cuda/cuda_kernels.h"
#include "codegen/target.h"
#include "dist/cli/compile/inspect.h"
#include "frontend/arch/presets.h"
#include "frontend/chat/conv_templates.h"
#include "ir/tables.h"
#include "passes/pipeline.h"
#include "quantization/format.h"
#include "quantization/mode.h"
#include "runtime/base/arena.h"
#include "runtime/base/str.h"

#include <string.h>

static const char *dtype_text(ir_dtype dtype) {
    return ir_dtype_get(dtype)->text;
}

static const char *activation_text(quant_activation activation) {
    switch (activation) {
    case QUANT_ACTIVATION_NONE: break;
    case QUANT_ACTIVATION_E5M2: return "e5m2";
    case QUANT_ACTIVATION_E4M3_CALIBRATED: return "e4m3, calibrated";
    case QUANT_ACTIVATION_E4M3_OBSERVED: return "e4m3, observed";
    case QUANT_ACTIVATION_E4M3_BLOCK: return "e4m3, blocks";
    case QUANT_ACTIVATION_E4M3_BLOCK_STATIC: return "e4m3, stored blocks";
    }
    return NULL;
}

// What a weight of a large linear takes in the store, scales and zeros with it: of a square matrix
// whose side all group sizes divide.
static bool bits_per_weight(ir_dtype dtype, double *bits) {
    const int64_t side = 5120;
    const ir_type type = {
        .dtype = dtype, .rank = 2, .dims = {ir_dim_const(side), ir_dim_const(side)}};
    quant_piece pieces[QUANT_MAX_PIECES];
    int32_t n_pieces = 0;
    mlcc_status *status = quant_format_of(dtype)->pieces(&type, pieces, &n_pieces);
    *bits = 0.0;
    for (int32_t i = 0; i < n_pieces; i++)
        *bits += 8.0 * (double)pieces[i].size_bytes / (double)(side * side);
    mlcc_status_free(status);
    return status == NULL;
}

// Old names of a mode, with commas.
static void put_mode_aliases(inspect_report *report, const char *name) {
    static const struct {
        const char *alias, *name;
    } aliases[] = {
#define MODE(...)
#define MODE_ALIAS(alias, name) {alias, name},
#include "quantization/modes.def"
    };
    mlcc_str text = {0};
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(aliases[i].name, name) == 0)
            mlcc_str_printf(&text, "%s%s", text.length > 0 ? ", " : "", aliases[i].alias);
    }
    inspect_cell_text(report, mlcc_str_text(&text));
    mlcc_str_free(&text);
}

static void put_modes(inspect_report *report) {
    static const inspect_column columns[] = {
        {"name", false},       {"kind", false},      {"bits_per_weight", true}, {"model", false},
        {"linear", false},     {"embedding", false}, {"head", false},           {"fallback", false},
        {"activation", false}, {"aliases", false},   {"meaning", false}};
    size_t n = 0;
    const quant_mode *modes = quant_mode_table(&n);
    inspect_table(report, "modes", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        inspect_cell_text(report, modes[i].name);
        inspect_cell_text(report, modes[i].kind);
        double bits = 0.0;
        if (bits_per_weight(modes[i].linear, &bits)) {
            inspect_cell_real(report, bits, 2);
        } else {
            inspect_cell_text(report, NULL);
        }
        inspect_cell_text(report, dtype_text(modes[i].model));
        inspect_cell_text(report, dtype_text(modes[i].linear));
        inspect_cell_text(report, dtype_text(modes[i].embedding));
        inspect_cell_text(report, dtype_text(modes[i].head));
        inspect_cell_text(report, dtype_text(modes[i].fallback));
        inspect_cell_text(report, activation_text(modes[i].activation));
        put_mode_aliases(report, modes[i].name);
        inspect_cell_text(report, modes[i].meaning);
    }
    inspect_table_end(report);
}

static void put_cuda_kernels(inspect_report *report) {
    size_t n = 0;
    const cuda_kernel_row *rows = cuda_kernel_table(&n);
    mlcc_str text = {0};
    for (size_t i = 0; i < n; i++) {
        const cuda_kernel_row *row = &rows[i];
        inspect_cell_text(report, row->name);
        inspect_cell_text(report, row->op < IR_N_OPS ? ir_op_get(row->op)->text : NULL);
        mlcc_str_clear(&text);
        mlcc_str_printf(&text, "cuda/%s", row->file);
        inspect_cell_text(report, mlcc_str_text(&text));
        mlcc_str_clear(&text);
        mlcc_str_printf(&text, "sm_%d%s", row->min_arch, row->needs_arch_specific ? "a" : "");
        inspect_cell_text(report, mlcc_str_text(&text));
        inspect_cell_text(report, row->meaning);
    }
    mlcc_str_free(&text);
}

static void put_kernels(inspect_report *report) {
    static const inspect_column columns[] = {
        {"name", false}, {"op", false}, {"file", false}, {"needs", false}, {"meaning", false}};
    size_t n = 0;
    const kernel_row *rows = codegen_kernel_table(&n);
    inspect_table(report, "kernels", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        inspect_cell_text(report, rows[i].name);
        inspect_cell_text(report, rows[i].op < IR_N_OPS ? ir_op_get(rows[i].op)->text : NULL);
        inspect_cell_text(report, rows[i].bitcode);
        inspect_cell_text(report, rows[i].needs);
        inspect_cell_text(report, rows[i].meaning);
    }
    put_cuda_kernels(report);
    inspect_table_end(report);
}

static void put_passes(inspect_report *report) {
    static const inspect_column columns[] = {
        {"name", false}, {"needs", false}, {"leaves", false}, {"why", false}};
    size_t n = 0;
    const pass_info *passes = pass_table(&n);
    inspect_table(report, "passes", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        inspect_cell_text(report, passes[i].name);
        inspect_cell_text(report, ir_level_text(passes[i].needs));
        inspect_cell_text(report, ir_level_text(passes[i].leaves));
        inspect_cell_text(report, passes[i].why);
    }
    inspect_table_end(report);
}

static void put_ops(inspect_report *report) {
    static const inspect_column columns[] = {
        {"name", false},
        {"level", false},
        {"operands", false},
        {"attributes", false},
        {"meaning", false}};
    inspect_table(report, "ops", columns, sizeof columns / sizeof columns[0]);
    for (int op = 0; op < IR_N_OPS; op++) {
        const ir_op_info *info = ir_op_get((ir_op)op);
        int32_t n_attrs = 0;
        const ir_attr_row *attrs = ir_attr_rows((ir_op)op, &n_attrs);
        mlcc_str operands = {0}, names = {0};
        mlcc_str_printf(&operands, "%d", info->min_operands);
        if (info->max_operands > info->min_operands)
            mlcc_str_printf(&operands, " to %d", info->max_operands);
        for (int32_t i = 0; i < n_attrs; i++)
            mlcc_str_printf(&names, "%s%s", i > 0 ? ", " : "", attrs[i].initial.name);
        inspect_cell_text(report, info->text);
        inspect_cell_text(report, ir_level_text(info->level));
        inspect_cell_text(report, mlcc_str_text(&operands));
        inspect_cell_text(report, mlcc_str_text(&names));
        inspect_cell_text(report, info->meaning);
        mlcc_str_free(&operands);
        mlcc_str_free(&names);
    }
    inspect_table_end(report);
}

static void put_presets(inspect_report *report) {
    static const inspect_column columns[] = {{"name", false}, {"model_type", false}};
    size_t n = 0;
    const char *const *names = arch_preset_names(&n);
    inspect_table(report, "presets", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        inspect_cell_text(report, names[i]);
        inspect_cell_text(report, arch_preset_model_type(names[i]));
    }
    inspect_table_end(report);
}

static void put_templates(inspect_report *report) {
    static const inspect_column columns[] = {
        {"name", false}, {"user", false}, {"assistant", false}, {"system_template", false}};
    size_t n = 0;
    const conv_template *rows = conv_template_table(&n);
    inspect_table(report, "templates", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const char *const *roles = rows[i].roles;
        inspect_cell_text(report, rows[i].name);
        inspect_cell_text(report, roles[CONV_USER]);
        inspect_cell_text(report, roles[CONV_ASSISTANT]);
        inspect_cell_text(report, rows[i].system_template);
    }
    inspect_table_end(report);
}

static void put_architectures(inspect_report *report) {
    static const struct {
        const char *name, *task, *traits;
    } rows[] = {
#define ARCH(id, text, task, traits) {text, task, traits},
#include "frontend/arch/arch.def"
    };
    static const inspect_column columns[] = {{"name", false}, {"task", false}, {"traits", false}};
    inspect_table(report, "architectures", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        inspect_cell_text(report, rows[i].name);
        inspect_cell_text(report, rows[i].task);
        inspect_cell_text(report, rows[i].traits);
    }
    inspect_table_end(report);
}

static void put_targets(inspect_report *report) {
    static const char *const names[] = {
        "native",
#define CPU(name, family, level, features, since) name,
#include "codegen/cpu/cpus.def"
    };
    static const inspect_column columns[] = {
        {"name", false}, {"triple", false}, {"cpu", false}, {"features", false}};
    mlcc_arena *scratch = mlcc_arena_create();
    inspect_table(report, "targets", columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        codegen_cpu cpu;
        mlcc_status *status = codegen_cpu_resolve(names[i], scratch, &cpu);
        mlcc_status_free(status);
        if (status != NULL) continue; // native on a machine that no row describes
        inspect_cell_text(report, names[i]);
        inspect_cell_text(report, cpu.triple);
        inspect_cell_text(report, cpu.llvm_cpu);
        inspect_cell_text(report, cpu.features);
    }
    inspect_table_end(report);
    mlcc_arena_free(scratch);
}

void inspect_builtin_table(inspect_report *report, const char *name) {
    static const struct {
        const char *name;
        void (*put)(inspect_report *report);
    } tables[] = {
        {"modes", put_modes},     {"kernels", put_kernels},
        {"passes", put_passes},   {"ops", put_ops},
        {"presets", put_presets}, {"templates", put_templates},
        {"targets", put_targets}, {"architectures", put_architectures},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(tables[i].name, name) == 0) tables[i].put(report);
    }
}
