#include "codegen/report.h"

#include <string.h>

static int32_t count_launches(const codegen_artifact *artifact, int32_t instance) {
    int32_t n = 0;
    for (int32_t f = 0; f < artifact->n_functions; f++) {
        for (int32_t i = 0; i < artifact->functions[f].n_launches; i++) {
            n += artifact->functions[f].launches[i].instance == instance;
        }
    }
    return n;
}

static void put_group(const codegen_instance *instance, mlcc_str *out) {
    for (const ir_node *node = instance->group->first; node != NULL; node = node->next) {
        mlcc_str_printf(
            out, "%s%s", node == instance->group->first ? "" : " + ", ir_op_get(node->op)->text);
    }
}

static void put_instances(
    const codegen_artifact *artifact, const cpu_share *shares, mlcc_str *out) {
    mlcc_str_puts(out, "\nlaunches  kernel                              group\n");
    for (int32_t i = 0; i < artifact->n_instances; i++) {
        const codegen_instance *instance = &artifact->instances[i];
        mlcc_str_printf(
            out, "%8d  %-34s  %s: ", count_launches(artifact, i), instance->kernel,
            instance->group->name);
        put_group(instance, out);
        const int32_t owner = shares != NULL ? shares[i].owner : i;
        if (owner != i)
            mlcc_str_printf(out, ", code of %s", artifact->instances[owner].group->name);
        mlcc_str_putc(out, '\n');
    }
}

// Launches of a run with few rows, where chains stand for their members, or of one with many.
static int32_t count_of_run(const codegen_function *function, bool has_many_rows) {
    int32_t n = 0;
    for (int32_t i = 0; i < function->n_launches; i++) {
        const codegen_launch *launch = &function->launches[i];
        n += has_many_rows ? launch->max_rows == 0 : launch->min_rows == 0;
    }
    return n;
}

static void put_functions(const codegen_artifact *artifact, mlcc_str *out) {
    for (int32_t f = 0; f < artifact->n_functions; f++) {
        const codegen_function *function = &artifact->functions[f];
        int32_t n_waits = 0;
        for (int32_t i = 0; i < function->n_launches; i++) {
            n_waits += function->launches[i].waits ? 1 : 0;
        }
        mlcc_str_printf(
            out,
            "\nfunction '%s': %d launches, %d waits, workspace %lld bytes, shared %lld bytes, "
            "scratch %lld bytes a thread\n",
            function->function->name, count_of_run(function, true), n_waits,
            (long long)function->function->workspace_bytes, (long long)function->shared_bytes,
            (long long)function->scratch_bytes);
        const int32_t n_few = count_of_run(function, false);
        if (n_few != count_of_run(function, true)) {
            mlcc_str_printf(out, "  %d launches where rows are few: chains are one\n", n_few);
        }
    }
}

static void put_params(const codegen_artifact *artifact, mlcc_str *out) {
    int64_t total_bytes = 0;
    mlcc_str_printf(out, "\nparams    format      layout      prepared bytes\n");
    for (int32_t i = 0; i < artifact->n_params; i++) {
        const codegen_param *param = &artifact->params[i];
        total_bytes += param->prepared_bytes;
        mlcc_str_printf(
            out, "%8d  %-10s  %-10s  %14lld  %s\n", i,
            ir_dtype_get(param->param->value.type.dtype)->text, param->param->layout,
            (long long)param->prepared_bytes, param->param->value.name);
    }
    mlcc_str_printf(out, "in all %lld bytes\n", (long long)total_bytes);
}

void codegen_report(
    const codegen_artifact *artifact, const cpu_share *shares, const codegen_cpu *cpu,
    const char *linker, size_t object_bytes, mlcc_str *out) {
    mlcc_str_printf(
        out, "target %s (%s)\nfeatures %s\nlinker %s\nobject %zu bytes\n", cpu->name, cpu->triple,
        cpu->features, linker, object_bytes);
    put_instances(artifact, shares, out);
    put_functions(artifact, out);
    put_params(artifact, out);
}
