#include "codegen/cpu/cpu_cost.h"

#include "codegen/artifact.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/kernels/panel16.h"

#include <string.h>

// Rows of x that stand for decode and for prefill.
enum { FEW_ROWS = 1, MANY_ROWS = 128 };
// From so many rows on a kernel with tile registers uses them.
enum { TILE_ROWS = 16 };
// Threads that chunks are dealt to: what a library will run with is not known.
enum { THREADS = 4 };
// Part of its share by which one of the threads is late, in the mean.
static const double late = 0.25;

static const cpu_cost_machine machines[] = {
#define COST_CPU(name, mhz, l1d, l2, latency, read, width, pipes, multiply, tiles) \
    {name, mhz, l1d, l2, latency, read, width, pipes, multiply, tiles},
#include "codegen/cpu/cost_cpus.def"
};
enum { N_MACHINES = sizeof machines / sizeof machines[0] };

// What a weight costs by: the kind of its codes (enum kernel_code), and one more for bfloat16, which lies in pairs.
enum { BF16_COLUMN = KERNEL_CODE_E5M2 + 1, N_COLUMNS };

typedef struct kernel_cost {
    const char *name;
    int32_t vector_bytes, tile_rows;
    double decode[N_COLUMNS]; // negative: not taken
    double multiply, other;
    bool tiles;
} kernel_cost;

static const kernel_cost kernels[] = {
#define COST_KERNEL(name, vector, rows, plain, bf16, int3, int4, int8, f8, multiply, other, tiles) \
    {name, vector, rows, {-1, plain, int3, int4, int8, f8, f8, bf16}, multiply, other, tiles},
#include "codegen/cpu/cost_kernels.def"
};
enum { N_KERNELS = sizeof kernels / sizeof kernels[0] };

static const cpu_cost_machine *find_machine(const char *name) {
    for (size_t i = 0; i < N_MACHINES; i++) {
        if (strcmp(machines[i].name, name) == 0) return &machines[i];
    }
    return NULL;
}

const cpu_cost_machine *cpu_cost_machine_of(const codegen_cpu *cpu) {
    const cpu_cost_machine *machine = find_machine(cpu->llvm_cpu);
    if (machine != NULL) return machine;
    if (!codegen_cpu_is_x86(cpu)) return find_machine("aarch64");
    return find_machine(
        codegen_cpu_has(cpu, "avx512f") ? "x86-64-v4"
        : codegen_cpu_has(cpu, "avx2")  ? "x86-64-v3"
                                        : "x86-64-v2");
}

static const kernel_cost *find_kernel(const char *name) {
    for (size_t i = 0; i < N_KERNELS; i++) {
        if (strcmp(kernels[i].name, name) == 0) return &kernels[i];
    }
    return NULL;
}

bool cpu_cost_shape_of(const ir_function *group, cpu_cost_shape *shape) {
    const ir_node *anchor = codegen_group_anchor(group);
    if (anchor == NULL || (anchor->op != IR_OP_LINEAR && anchor->op != IR_OP_LINEAR_SCALED))
        return false;
    const ir_type *weight = &anchor->operands[1]->type;
    *shape = (cpu_cost_shape){weight->dims[0].value, weight->dims[1].value, weight->dtype};
    return true;
}

// ---- time ---------------------------------------------------------------------------------------------

// Turns of a pipe that one instruction of 64 bytes takes in vectors of another size.
static double turns_of(const cpu_cost_machine *machine, const kernel_cost *kernel) {
    const double instructions = 64.0 / kernel->vector_bytes;
    const bool is_wide = kernel->vector_bytes > machine->pipe_bytes;
    return is_wide ? instructions * kernel->vector_bytes / machine->pipe_bytes : instructions;
}

cpu_cost cpu_cost_of(
    const codegen_cpu *cpu, const char *name, const cpu_cost_shape *shape, int64_t n_rows) {
    const cpu_cost unknown = {0, "unknown"};
    const kernel_cost *kernel = find_kernel(name);
    int64_t weight_bytes = 0;
    if (kernel == NULL ||
        !kernel_panel16_size((int32_t)shape->dtype, shape->n, shape->k, &weight_bytes))
        return unknown;
    const bool is_bf16 = shape->dtype == IR_BF16;
    const int32_t code = kernel_panel16_format_of((int32_t)shape->dtype).code;
    double decode = kernel->decode[is_bf16 ? (int32_t)BF16_COLUMN : code];
    if (decode < 0) return unknown;
    if (shape->dtype == IR_F32) decode = 0; // multiplied as it comes
    const cpu_cost_machine *machine = cpu_cost_machine_of(cpu);
    const double vectors = (double)shape->n * (double)shape->k / 16;
    const double rows = (double)n_rows, turns = vectors * turns_of(machine, kernel);
    const bool uses_tiles = kernel->tiles && machine->tile_products > 0 && n_rows >= TILE_ROWS;
    const int64_t decodes = uses_tiles ? 1 : (n_rows + kernel->tile_rows - 1) / kernel->tile_rows;
    // In tile registers the scales of groups are all that the vector pipes have beside decoding: a conversion and two multiplications for 32 k; with
    // bfloat16, of which a cycle multiplies half as many, nothing.
    const double scaling = is_bf16 ? 0 : 3.0 / 32;
    const double per_row = uses_tiles ? scaling : kernel->multiply + kernel->other;
    const double per_cycle = is_bf16 ? machine->tile_products / 2.0 : machine->tile_products;
    const double products = uses_tiles ? vectors * 16 * rows / per_cycle
                                       : turns * kernel->multiply * rows / machine->multiply_pipes;
    const double instructions =
        turns * (decode * (double)decodes + per_row * rows) / machine->pipes;
    const double cycles = products > instructions ? products : instructions;
    const double busy_s = cycles / (machine->mhz * 1e6);
    const double read_s = (double)weight_bytes / (machine->read_gb_s * 1e9);
    if (read_s >= busy_s) return (cpu_cost){read_s, "memory"};
    return (cpu_cost){busy_s, products >= instructions ? "products" : "instructions"};
}

// ---- rows ---------------------------------------------------------------------------------------------

// What choices minimise; 0: unknown.
static double score_of(const codegen_cpu *cpu, const char *kernel, const cpu_cost_shape *shape) {
    return cpu_cost_of(cpu, kernel, shape, FEW_ROWS).seconds *
           cpu_cost_of(cpu, kernel, shape, MANY_ROWS).seconds;
}

const char *cpu_cost_choose_row(
    const codegen_cpu *cpu, const char *const *names, size_t n_names, const ir_function *group) {
    const char *best = names[n_names - 1];
    cpu_cost_shape shape;
    if (n_names == 1 || !cpu_cost_shape_of(group, &shape)) return best;
    double best_score = score_of(cpu, best, &shape);
    if (best_score <= 0) return best;
    for (size_t i = n_names - 1; i-- > 0;) {
        const double score = score_of(cpu, names[i], &shape);
        // A score is two times multiplied.
        if (score <= 0 || score >= best_score * 0.95 * 0.95) continue;
        best = names[i];
        best_score = score;
    }
    return best;
}

// ---- knobs --------------------------------------------------------------------------------------------

// Requests must run as far ahead as a core reads while one is on its way.
static int64_t choose_ahead(const cpu_cost_machine *machine, cpu_knob knob) {
    const int32_t n = cpu_knob_candidates(knob);
    const int64_t *candidates = cpu_knob_get(knob)->candidates;
    for (int32_t i = 0; i < n; i++) {
        if (candidates[i] >= (int64_t)machine->latency_ns * machine->read_gb_s)
            return candidates[i];
    }
    return candidates[n - 1];
}

// The longest block of a panel's weights that leaves, with x of one tile, half of the first cache free.
static int64_t choose_block(
    const cpu_cost_machine *machine, const kernel_cost *kernel, const cpu_cost_shape *shape) {
    const cpu_knob knob = CPU_KNOB_scaled_block;
    const int64_t *candidates = cpu_knob_get(knob)->candidates;
    const kernel_panel16_format format = kernel_panel16_format_of((int32_t)shape->dtype);
    const int64_t group_bytes = (int64_t)kernel_panel16_unit_bytes(format) * 32 / format.unit_k +
                                (int64_t)kernel->tile_rows * 40; // codes, start, scale
    int64_t chosen = candidates[0];
    for (int32_t i = 0; i < cpu_knob_candidates(knob); i++) {
        if (candidates[i] * group_bytes * 2 <= (int64_t)machine->l1d_kib * 1024)
            chosen = candidates[i];
    }
    return chosen;
}

// Time of a launch cut into `chunks` a thread, in panels of 16 outputs: every chunk packs x, which takes as long as a panel, and at the end
// the threads wait for a late one, on average for half of its last chunk.
static double chunked(int64_t chunks, const cpu_cost_shape *shape, int64_t n_rows) {
    const double share = (double)kernel_panel16_panels(shape->n) / (double)THREADS;
    const double least = n_rows < 8 ? 4.0 * (double)n_rows : 32; // as the kernel has it
    double length = share / (double)chunks;
    if (length < least) length = share < least ? share : least;
    return share + share / length + late * length / 2;
}

static double chunks_score(int64_t chunks, const cpu_cost_shape *shape) {
    return chunked(chunks, shape, FEW_ROWS) * chunked(chunks, shape, MANY_ROWS);
}

static int64_t choose_chunks(cpu_knob knob, const cpu_cost_shape *shape) {
    const cpu_knob_row *row = cpu_knob_get(knob);
    int64_t chosen = row->fallback;
    double best = chunks_score(chosen, shape) * 0.98 * 0.98;
    for (int32_t i = 0; i < cpu_knob_candidates(knob); i++) {
        const double score = chunks_score(row->candidates[i], shape);
        if (score >= best) continue;
        chosen = row->candidates[i];
        best = score;
    }
    return chosen;
}

cpu_knobs cpu_cost_choose_knobs(
    const codegen_cpu *cpu, const char *name, const ir_function *group) {
    cpu_knobs knobs = cpu_knobs_fallback();
    const kernel_cost *kernel = find_kernel(name);
    cpu_cost_shape shape;
    if (kernel == NULL || !cpu_cost_shape_of(group, &shape)) return knobs;
    const cpu_cost_machine *machine = cpu_cost_machine_of(cpu);
    static const cpu_knob aheads[] = {CPU_KNOB_scaled_ahead, CPU_KNOB_panel_ahead};
    for (size_t i = 0; i < sizeof aheads / sizeof aheads[0]; i++) {
        if (cpu_knob_belongs(aheads[i], name))
            knobs.values[aheads[i]] = choose_ahead(machine, aheads[i]);
    }
    if (cpu_knob_belongs(CPU_KNOB_scaled_block, name)) {
        knobs.values[CPU_KNOB_scaled_block] = choose_block(machine, kernel, &shape);
        knobs.values[CPU_KNOB_scaled_chunks] = choose_chunks(CPU_KNOB_scaled_chunks, &shape);
    }
    return knobs;
}

// ---- explanation --------------------------------------------------------------------------------------

static void put_time(mlcc_str *out, cpu_cost cost) {
    mlcc_str_printf(out, "%.3g us (%s)", cost.seconds * 1e6, cost.limit);
}

void cpu_cost_explain(
    const codegen_cpu *cpu, const char *kernel, const ir_function *group, mlcc_str *out) {
    cpu_cost_shape shape;
    if (!cpu_cost_shape_of(group, &shape)) return;
    const cpu_cost few = cpu_cost_of(cpu, kernel, &shape, FEW_ROWS);
    const cpu_cost many = cpu_cost_of(cpu, kernel, &shape, MANY_ROWS);
    if (few.seconds <= 0) return;
    mlcc_str_printf(
        out, "  model: %s [%lld, %lld] on one core of %s, at best: %d row ",
        ir_dtype_get(shape.dtype)->text, (long long)shape.n, (long long)shape.k,
        cpu_cost_machine_of(cpu)->name, FEW_ROWS);
    put_time(out, few);
    mlcc_str_printf(out, ", %d rows ", MANY_ROWS);
    put_time(out, many);
    mlcc_str_puts(out, "\n");
    const cpu_knobs knobs = cpu_cost_choose_knobs(cpu, kernel, group);
    const char *before = "  knobs: ";
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (!cpu_knob_belongs((cpu_knob)i, kernel)) continue;
        mlcc_str_printf(
            out, "%s%s %lld", before, cpu_knob_get((cpu_knob)i)->name, (long long)knobs.values[i]);
        before = ", ";
    }
    if (before[0] == ',') mlcc_str_puts(out, "\n");
}
