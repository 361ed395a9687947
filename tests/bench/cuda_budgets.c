// cuda_budgets: what the kernels of a model promise on GPUs that are not here, read off their cubins: registers, spills, shared memory, and two
// budgets that every streaming kernel must meet.
//
//   issue slots      a multiprocessor issues 4 warp instructions a clock, so a loop of I instructions for each 16-byte load consumes at most
//                    4 * 512 / I bytes a clock; of one with I instructions for each m16n8k16 matrix instruction 4 / I of them start a clock
//   bytes in flight  to stream B bytes/s with latency L, B * L bytes must be under way; the loads of one turn of the inner loop, of all
//                    threads that fit a multiprocessor, are
//
// Both are given in percent of the data sheet (gpu_sheet.c) or of the bytes wanted; above 100 the budget does not bind.
//
// usage: cuda_budgets [MODEL [MODE …]]       default: llama3_1_8b and the four modes that are benchmarked
// Exit code 77: no NVRTC.
#include "codegen/cuda/cubin.h"
#include "codegen/cuda/cuda_target.h"
#include "codegen/target.h"
#include "dist/cli/run/gpu_sheet.h"
#include "passes/pipeline.h"
#include "runtime/base/str.h"
#include "tests/support/import_preset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE "cuda:sm_80,sm_89,sm_90a"
static const double latency_s = 600e-9; // of a load while the memory is busy

typedef struct budget {
    const cuda_kernel_row *row;
    const cuda_entry *entry;
    const ir_function *group;
    const cubin_kernel *kernel;
    int arch, spill_bytes;
    int64_t shared_bytes; // static and dynamic
} budget;

// The machines of an architecture that the table shows, in its columns' order.
static const char *const machines[] = {"A100", "RTX 4090", "H100", "H200"};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

// ---- a model's kernels --------------------------------------------------------------------------------

static mlcc_status *plan_model(
    const char *model, const char *mode_name, codegen_target *target, mlcc_arena *keep,
    codegen_artifact **out) {
    const quant_mode *mode = NULL;
    ir_module *module = NULL;
    MLCC_TRY(import_preset(model, mode_name, keep, &mode, &module));
    mlcc_arena *scratch = mlcc_arena_create();
    const pass_target questions = {
        .user = target,
        .choose_kernel = codegen_choose_kernel,
        .choose_layout = codegen_choose_layout,
        .choose_chain = codegen_choose_chain,
        .takes_codes = codegen_takes_codes};
    pass_context context = {.scratch = scratch, .mode = mode, .target = &questions};
    const pass_options passes = {.limit = -1};
    mlcc_status *status = pass_pipeline_run(module, &passes, &context);
    if (status == NULL) status = codegen_artifact_build(module, keep, out);
    mlcc_arena_free(scratch);
    return status;
}

// What ptxas says of static shared memory: "… used 40 registers, …, 4096 bytes smem".
static int64_t static_shared_bytes(const char *log, const char *entry) {
    const char *line = strstr(log, entry);
    const char *used = line != NULL ? strstr(line, "Used ") : NULL;
    if (used == NULL && line != NULL) used = strstr(line, "used ");
    const char *end = used != NULL ? strchr(used, '\n') : NULL;
    const char *smem = used != NULL ? strstr(used, " bytes smem") : NULL;
    if (smem == NULL || (end != NULL && smem > end)) return 0;
    while (smem > used && smem[-1] >= '0' && smem[-1] <= '9') smem--;
    return strtoll(smem, NULL, 10);
}

// ---- budgets ------------------------------------------------------------------------------------------

// Blocks that fit one multiprocessor.
static int64_t resident_blocks(const budget *b, const gpu_sheet *sheet) {
    const int64_t warps = b->entry->threads / 32;
    const int64_t registers_of_warp = (b->kernel->registers * 32 + 255) / 256 * 256;
    const int64_t limits[] = {
        65536 / (registers_of_warp * warps), sheet->max_threads / b->entry->threads,
        sheet->max_blocks, sheet->shared_kib * 1024 / (b->shared_bytes + 1024)};
    int64_t n = limits[0];
    for (int i = 1; i < 4; i++) n = limits[i] < n ? limits[i] : n;
    return n;
}

// The inner loop that streams: the one with most 16-byte loads, among those that multiply where any does both; loops that only fill shared memory
// beforehand do not count then. NULL: no loop has such loads.
static const cubin_counts *streaming_loop(const cubin_kernel *kernel) {
    const cubin_counts *best = NULL;
    for (int32_t i = 0; i < kernel->n_loops; i++) {
        const cubin_counts *counts = &kernel->loops[i].counts;
        if (counts->n_wide_loads == 0) continue;
        const bool multiplies = counts->n_matrix > 0,
                   best_does = best != NULL && best->n_matrix > 0;
        if (best == NULL || multiplies > best_does ||
            (multiplies == best_does && counts->n_wide_loads > best->n_wide_loads)) {
            best = counts;
        }
    }
    return best;
}

static int wide_loads(const cubin_kernel *kernel) {
    const cubin_counts *loop = streaming_loop(kernel);
    return loop != NULL ? loop->n_wide_loads : 0;
}

static double issue_per_load(const cubin_kernel *kernel) {
    const cubin_counts *loop = streaming_loop(kernel);
    return loop != NULL ? (double)loop->n_instructions / loop->n_wide_loads : 0.0;
}

// Bound by the bytes it reads, not by what it computes with them.
static bool is_streaming(const budget *b) {
    enum { FEW_ROWS = 8 };
    if (issue_per_load(b->kernel) == 0.0) return false;
    if (b->row->op == IR_OP_PAGED_ATTENTION) return strstr(b->entry->symbol, "decode") != NULL;
    return b->entry->max_rows > 0 && b->entry->max_rows <= FEW_ROWS;
}

static double issue_share_of_bytes(const budget *b, const gpu_sheet *sheet) {
    const double issue = issue_per_load(b->kernel);
    return sheet->n_multiprocessors * 4 * 512 / issue * sheet->clock_ghz / sheet->gb_per_s;
}

// Of matrix instructions of one warp, 4096 operations each; sm_90 has larger ones for four warps together.
static double issue_share_of_flop(const budget *b, const gpu_sheet *sheet) {
    const double issue = cubin_issue_per_unit(b->kernel, CUBIN_MATRIX);
    return sheet->n_multiprocessors * 4 * 4096.0 / issue * sheet->clock_ghz * 1e-3 /
           sheet->f16_tflop_per_s;
}

static bool is_of_warpgroups(const budget *b) {
    return strstr(b->entry->symbol, "wgmma") != NULL;
}

static void put_share(double share, mlcc_str *out) {
    mlcc_str_printf(out, " %5.0f%%", share * 100);
}

static void put_machine(const budget *b, const gpu_sheet *sheet, mlcc_str *out) {
    if (sheet->arch != b->arch) {
        mlcc_str_printf(out, " %20s", "");
        return;
    }
    const int64_t blocks = resident_blocks(b, sheet);
    mlcc_str_printf(out, " %4lld", (long long)blocks);
    if (is_streaming(b)) {
        const double wanted = sheet->gb_per_s * 1e9 * latency_s / sheet->n_multiprocessors;
        const double in_flight =
            (double)(wide_loads(b->kernel) * 16) * (double)(b->entry->threads * blocks);
        put_share(issue_share_of_bytes(b, sheet), out);
        mlcc_str_printf(out, " %7.0f%%", in_flight / wanted * 100);
    } else if (cubin_issue_per_unit(b->kernel, CUBIN_MATRIX) > 0 && !is_of_warpgroups(b)) {
        put_share(issue_share_of_flop(b, sheet), out);
        mlcc_str_printf(out, " %8s", "");
    } else {
        mlcc_str_printf(out, " %6s %8s", "", "");
    }
}

static void put_ratio(double ratio, mlcc_str *out) {
    if (ratio > 0.0) {
        mlcc_str_printf(out, " %6.1f", ratio);
    } else {
        mlcc_str_printf(out, " %6s", "-");
    }
}

// "28672x4096 q4g32_f16" of a linear, else the anchor's operand.
static void describe(const ir_function *group, char text[48]) {
    const ir_node *anchor = codegen_group_anchor(group);
    if (anchor == NULL) {
        snprintf(text, 48, "element-wise");
        return;
    }
    const bool has_weight = anchor->op == IR_OP_LINEAR || anchor->op == IR_OP_LINEAR_SCALED ||
                            anchor->op == IR_OP_EMBEDDING;
    const ir_type *type = &anchor->operands[has_weight ? 1 : 0]->type;
    const ir_dim *last = &type->dims[type->rank - 1];
    if (has_weight) {
        snprintf(
            text, 48, "%lldx%lld %s", (long long)type->dims[0].value, (long long)last->value,
            ir_dtype_get(type->dtype)->text);
    } else {
        snprintf(text, 48, "%s", ir_op_get(anchor->op)->text);
    }
}

// Groups of one model often give the same code: a line whose numbers stand in `printed` already is left out.
static void print_budget(const budget *b, mlcc_str *printed) {
    char what[48];
    mlcc_str line = {0};
    describe(b->group, what);
    mlcc_str_printf(
        &line, " %-23s %4d %4d %6lld %4d", b->entry->symbol, b->kernel->registers, b->spill_bytes,
        (long long)b->shared_bytes, b->entry->threads);
    put_ratio(issue_per_load(b->kernel), &line);
    put_ratio(cubin_issue_per_unit(b->kernel, CUBIN_MATRIX), &line);
    mlcc_str_printf(&line, " %4d", wide_loads(b->kernel));
    for (int i = 0; i < N_MACHINES; i++) put_machine(b, gpu_sheet_find(machines[i]), &line);
    mlcc_str_putc(&line, '\n');
    if (strstr(mlcc_str_text(printed), mlcc_str_text(&line)) == NULL) {
        printf("sm_%-3d %-24s%s", b->arch, what, mlcc_str_text(&line));
        mlcc_str_append(printed, mlcc_str_text(&line), line.length);
    }
    mlcc_str_free(&line);
}

static void print_heading(const char *model, const char *mode) {
    printf("\n%s, %s\n%110s", model, mode, "");
    for (int i = 0; i < N_MACHINES; i++) printf(" %-20s", machines[i]);
    printf(
        "\n%-6s %-24s %-23s %4s %4s %6s %4s %6s %6s %4s", "", "", "entry", "regs", "spil", "shared",
        "thr", "I/16B", "I/mma", "16B");
    for (int i = 0; i < N_MACHINES; i++) printf(" %4s %6s %8s", "blks", "issue", "inflight");
    printf("\n");
}

// ---- all of it ----------------------------------------------------------------------------------------

static void print_image(
    const cuda_module *module, const ir_function *group, const cuda_image *image,
    mlcc_arena *scratch, mlcc_str *printed) {
    cubin *code = NULL;
    mlcc_status_free(cubin_read(image->data, image->size_bytes, scratch, &code));
    for (int32_t e = 0; code != NULL && e < module->row->n_entries; e++) {
        const cuda_entry *entry = &module->row->entries[e];
        // One function may stand twice, with two grids.
        if (e > 0 && strcmp(entry->symbol, entry[-1].symbol) == 0) continue;
        cuda_usage usage = {0};
        const cubin_kernel *kernel = cubin_find(code, entry->symbol);
        if (kernel == NULL || !cuda_log_usage(image->log, entry->symbol, &usage)) continue;
        const budget b = {
            .row = module->row,
            .entry = entry,
            .group = group,
            .kernel = kernel,
            .arch = code->arch,
            .spill_bytes = usage.spill_store_bytes + usage.spill_load_bytes,
            .shared_bytes = static_shared_bytes(image->log, entry->symbol) +
                            (entry->shared_bytes != NULL ? entry->shared_bytes(group) : 0)};
        print_budget(&b, printed);
    }
}

static mlcc_status *print_mode(const char *model, const char *mode, mlcc_arena *keep) {
    const codegen_options options = {.device = DEVICE, .target = "native"};
    codegen_target *target = NULL;
    cuda_target *cuda = NULL;
    codegen_artifact *artifact = NULL;
    cuda_modules modules = {0};
    mlcc_status *status = codegen_open(&options, keep, &target);
    if (status == NULL) status = cuda_target_open(DEVICE, keep, &cuda);
    if (status == NULL) status = plan_model(model, mode, target, keep, &artifact);
    if (status == NULL) status = cuda_target_compile(cuda, artifact, NULL, keep, &modules);
    if (status == NULL) print_heading(model, mode);
    mlcc_str printed = {0};
    for (int32_t m = 0; status == NULL && m < modules.n_modules; m++) {
        const cuda_module *module = &modules.modules[m];
        for (size_t a = 0; a < module->unit.n_archs; a++) {
            print_image(
                module, artifact->instances[module->instance].group, &module->unit.images[a], keep,
                &printed);
        }
    }
    mlcc_str_free(&printed);
    if (target != NULL) codegen_close(target);
    cuda_target_close(cuda);
    return status;
}

int main(int argc, char **argv) {
    static const char *const usual[] = {"q4f16_1", "q4f16_autoawq", "q0f16", "e4m3_e4m3_f16"};
    const char *model = argc > 1 ? argv[1] : "llama3_1_8b";
    const int n_modes = argc > 2 ? argc - 2 : 4;
    printf(
        "issue: issue slots, percent of the data sheet's bandwidth (few rows) or f16 rate (many); "
        "inflight: bytes in flight, percent of bandwidth * %.0f ns; blks: blocks that fit a "
        "multiprocessor; 16B: 16-byte loads of one turn of the inner loop\n",
        latency_s * 1e9);
    for (int i = 0; i < n_modes; i++) {
        mlcc_arena *keep = mlcc_arena_create();
        mlcc_status *status = print_mode(model, argc > 2 ? argv[i + 2] : usual[i], keep);
        mlcc_arena_free(keep);
        if (status == NULL) continue;
        const bool is_absent = mlcc_status_code(status) == MLCC_UNSUPPORTED;
        char *text = mlcc_status_format(status, 1);
        fprintf(stderr, "%s%s", is_absent ? "skipped: " : "", text);
        free(text);
        mlcc_status_free(status);
        return is_absent ? 77 : 1;
    }
    return 0;
}
