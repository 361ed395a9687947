#include "codegen/cpu/cpu_kernels.h"

#include "codegen/artifact.h"
#include "codegen/cpu/bitcode.h"
#include "codegen/cpu/features.h"
#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/scratch.h"

#include <string.h>

#define TEXT_OF(number)  TEXT_OF_(number)
#define TEXT_OF_(number) #number

// ---- what kernels refuse ------------------------------------------------------------------------------

static const ir_type *anchor_type(const ir_function *group, int32_t operand) {
    return &codegen_group_anchor(group)->operands[operand]->type;
}

#define takes_all NULL

static bool has_panel16(const ir_type *type) {
    int64_t size_bytes = 0;
    const ir_type flat = ir_type_flat(type);
    return flat.rank == 2 &&
           kernel_panel16_size(
               (int32_t)flat.dtype, flat.dims[0].value, flat.dims[1].value, &size_bytes);
}

static const char *refuse_table(const ir_function *group) {
    return has_panel16(anchor_type(group, 1)) ? NULL : "the table has no panel16 form";
}

static const char *refuse_weight(const ir_function *group) {
    return has_panel16(anchor_type(group, 1)) ? NULL : "the weight has no panel16 form";
}

static const char *refuse_linear(const ir_function *group) {
    if (anchor_type(group, 0)->dtype != IR_F32) return "operand 0 is not f32";
    return refuse_weight(group);
}

static const char *refuse_linear_integer(const ir_function *group) {
    const ir_dtype dtype = anchor_type(group, 1)->dtype;
    if (kernel_panel16_format_of((int32_t)dtype).code != KERNEL_CODE_INT4) {
        return "the weight's codes are not 4-bit integers";
    }
    return refuse_linear(group);
}

static bool is_bf16_weight(const ir_type *weight) {
    const ir_type flat = ir_type_flat(weight);
    return weight->dtype == IR_BF16 && has_panel16(weight) &&
           flat.dims[1].value <= KERNEL_LINEAR_BF16_MAX_K;
}

static const char *refuse_linear_bf16(const ir_function *group) {
    if (anchor_type(group, 0)->dtype != IR_BF16) return "operand 0 is not bf16";
    return is_bf16_weight(anchor_type(group, 1))
               ? NULL
               : "the weight is not bf16 of 131072 columns at most";
}

static bool is_byte_weight(const ir_type *weight) {
    const int32_t code = kernel_panel16_format_of((int32_t)weight->dtype).code;
    return (code == KERNEL_CODE_INT4 || code == KERNEL_CODE_INT8) && has_panel16(weight);
}

// K of a weight or of a stack of them.
static int64_t weight_columns(const ir_type *weight) {
    return weight->dims[weight->rank - 1].value;
}

static const char *refuse_linear_scaled(const ir_function *group) {
    const ir_type *weight = anchor_type(group, 1);
    if (anchor_type(group, 0)->dtype != IR_I8 ||
        ir_attr_i64(codegen_group_anchor(group), "group") != 32)
        return "operand 0 is not i8 with a scale for 32 columns";
    if (!is_byte_weight(weight)) return "the weight's codes are not integers of 4 or 8 bits";
    return weight_columns(weight) <= KERNEL_LINEAR_SCALED_MAX_K
               ? NULL
               : "rows have more than 131072 columns";
}

static const char *refuse_experts_scaled(const ir_function *group) {
    const char *refusal = refuse_linear_scaled(group);
    if (refusal != NULL) return refusal;
    const ir_dim depth = anchor_type(group, 1)->dims[2];
    const bool has_parts = !ir_dim_equal(anchor_type(group, 0)->dims[1], depth);
    return has_parts && depth.value % 32 != 0 ? "a scale stands for columns of two experts" : NULL;
}

static const char *refuse_encode(const ir_function *group) {
    const ir_node *anchor = codegen_group_anchor(group);
    return ir_attr_i64(anchor, "mantissa_bits") == 7 && ir_attr_i64(anchor, "group") == 32
               ? NULL
               : "codes are not i8 with a scale for 32 columns";
}

static const char *refuse_observed(const ir_function *group) {
    return anchor_type(group, 1)->rank == 2 ? NULL : "operand 1 is no matrix";
}

static const char *refuse_row(const ir_function *group) {
    return ir_dim_bound(anchor_type(group, 0)->dims[1]) <= KERNEL_ROW_MAX_COLUMNS
               ? NULL
               : "rows have more than 65536 columns";
}

static const char *refuse_attention(const ir_function *group) {
    const ir_type *cache = anchor_type(group, 1);
    if (ir_dim_bound(cache->dims[4]) > KERNEL_ATTENTION_MAX_HEAD_DIM) {
        return "heads are wider than 512";
    }
    if (cache->dims[3].symbol != NULL || cache->dims[3].value != KERNEL_ATTENTION_PAGE) {
        return "a cache page does not hold 16 tokens";
    }
    return NULL;
}

static const char *refuse_segments(const ir_function *group) {
    return ir_attr_i64(codegen_group_anchor(group), "head_dim") <= KERNEL_SEGMENT_MAX_HEAD_DIM
               ? NULL
               : "heads are wider than 512";
}

static const char *refuse_latents(const ir_function *group) {
    const ir_type *cache = anchor_type(group, 2);
    if (cache->dims[2].value > KERNEL_LATENT_MAX_WIDTH) return "cached rows are wider than 2048";
    return cache->dims[1].value == KERNEL_ATTENTION_PAGE ? NULL
                                                         : "a cache page does not hold 16 tokens";
}

// ---- variants -----------------------------------------------------------------------------------------

#define one_variant NULL

// Of the kind of the weight's codes; the names are kernels.cmake's.
static const char *code_variant(const ir_function *group) {
    static const char *const names[] = {
        [KERNEL_CODE_NONE] = "",      [KERNEL_CODE_PLAIN] = ".plain", [KERNEL_CODE_INT3] = ".int3",
        [KERNEL_CODE_INT4] = ".int4", [KERNEL_CODE_INT8] = ".int8",   [KERNEL_CODE_E4M3] = ".e4m3",
        [KERNEL_CODE_E5M2] = ".e5m2",
    };
    return names[kernel_panel16_format_of((int32_t)anchor_type(group, 1)->dtype).code];
}

const char *cpu_kernel_bitcode(const kernel_row *row, const ir_function *group, mlcc_arena *keep) {
    if (row->variant == NULL) return row->bitcode;
    return mlcc_arena_printf(keep, "%s%s", row->bitcode, row->variant(group));
}

// ---- scratch ------------------------------------------------------------------------------------------

#define no_scratch NULL

static int64_t linear_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_LINEAR_SCRATCH_BYTES;
}

// The slots of one expert stand behind what the product needs.
static int64_t slots_bytes(const ir_function *group) {
    const ir_type *experts = anchor_type(group, 2);
    return ir_dim_bound(experts->dims[0]) * experts->dims[1].value * (int64_t)sizeof(int32_t);
}

static int64_t experts_scratch(const ir_function *group) {
    return KERNEL_LINEAR_SCRATCH_BYTES + slots_bytes(group);
}

static int64_t scaled_experts_scratch(const ir_function *group) {
    return KERNEL_LINEAR_SCALED_SCRATCH_BYTES + slots_bytes(group);
}

static int64_t amx_experts_scratch(const ir_function *group) {
    return KERNEL_LINEAR_AMX_SCRATCH_BYTES + slots_bytes(group);
}

static int64_t route_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_ROUTE_SCRATCH_BYTES;
}

static int64_t scaled_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_LINEAR_SCALED_SCRATCH_BYTES;
}

// The VNNI kernel, which it falls back on, needs less.
_Static_assert(
    (int64_t)KERNEL_LINEAR_AMX_SCRATCH_BYTES >= (int64_t)KERNEL_LINEAR_SCALED_SCRATCH_BYTES,
    "enough for both");

static int64_t amx_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_LINEAR_AMX_SCRATCH_BYTES;
}

static int64_t bf16_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_LINEAR_BF16_SCRATCH_BYTES;
}

static int64_t row_scratch(const ir_function *group) {
    return ir_dim_bound(anchor_type(group, 0)->dims[1]) * (int64_t)sizeof(float);
}

static int64_t attention_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_ATTENTION_SCRATCH_BYTES;
}

static int64_t segment_scratch(const ir_function *group) {
    (void)group;
    return KERNEL_SEGMENT_SCRATCH_BYTES;
}

// As latent_scratch_of divides it (kernels/latent_attention_body.h).
static int64_t latent_scratch(const ir_function *group) {
    const int64_t padded = (anchor_type(group, 2)->dims[2].value + 15) / 16 * 16;
    const int64_t n_floats = (2 * KERNEL_LATENT_ROWS + 2 * KERNEL_LATENT_STEP) * padded +
                             KERNEL_LATENT_ROWS * (KERNEL_LATENT_STEP + 16 + 2);
    return n_floats * (int64_t)sizeof(float);
}

static int64_t heads_scratch(const ir_function *group) {
    return KERNEL_HEADS_ROWS * anchor_type(group, 1)->dims[2].value * (int64_t)sizeof(float);
}

// ---- shared memory ------------------------------------------------------------------------------------

// The stretches of all heads for as many tokens as take part, at the longest context or window that the model is compiled for, as far as
// there is room; the kernel looks what fits. One stretch needs nothing. Rows are those of kernels/paged_attention_whole.h.
static int64_t attention_shared(const ir_function *group) {
    const int64_t most = KERNEL_ATTENTION_SHARED_BYTES;
    const ir_node *anchor = codegen_group_anchor(group);
    const int64_t head_dim = ir_attr_i64(anchor, "head_dim"),
                  window = ir_attr_i64(anchor, "window");
    const int64_t n_slots = ir_dim_bound(anchor_type(group, 2)->dims[1]);
    int64_t n_tokens = ir_dim_bound(anchor_type(group, 0)->dims[0]);
    if (n_tokens > KERNEL_ATTENTION_SHARED_TOKENS) n_tokens = KERNEL_ATTENTION_SHARED_TOKENS;
    const int64_t stretch_slots = KERNEL_ATTENTION_STRETCH / KERNEL_ATTENTION_PAGE;
    int64_t n_stretches = n_slots / stretch_slots + (n_slots % stretch_slots != 0);
    if (window > 0 && window / KERNEL_ATTENTION_STRETCH + 2 < n_stretches)
        n_stretches = window / KERNEL_ATTENTION_STRETCH + 2;
    if (n_stretches < 2) return 0;
    const int64_t n_heads = anchor_type(group, 0)->dims[1].value / head_dim;
    const int64_t row_bytes = ((head_dim + 15) / 16 * 16 + 32) * (int64_t)sizeof(float);
    const int64_t stretch_bytes = n_tokens * n_heads * row_bytes;
    return n_stretches < most / stretch_bytes ? n_stretches * stretch_bytes : most;
}

int64_t cpu_kernel_shared_bytes(const kernel_row *row, const ir_function *group) {
    return row->op == IR_OP_PAGED_ATTENTION ? attention_shared(group) : 0;
}

// ---- the table ----------------------------------------------------------------------------------------

#define IR_OP_N_OPS IR_N_OPS
static const kernel_row rows[] = {
#define KERNEL(name, op, symbol, bitcode, variant, needs, refuses, scratch, meaning) \
    {name, IR_OP_##op, symbol, bitcode, variant, needs, refuses, scratch, meaning},
#include "codegen/cpu/cpu_kernels.def"
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

const kernel_row *cpu_kernel_table(size_t *n_rows) {
    *n_rows = N_ROWS;
    return rows;
}

const kernel_row *cpu_kernel_find(const char *name) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    }
    return NULL;
}

// Why this CPU cannot use the row, whatever the group, or NULL when it can.
static const char *machine_refusal(
    const kernel_row *row, const codegen_cpu *cpu, mlcc_arena *keep) {
    bool is_x86 = codegen_cpu_is_x86(cpu);
    bool is_for_x86 = mlcc_text_starts_with(row->bitcode, "x86_");
    bool is_for_arm = mlcc_text_starts_with(row->bitcode, "arm_");
    if ((is_for_x86 && !is_x86) || (is_for_arm && is_x86)) return "is for another machine family";
    const char *missing = codegen_cpu_lacks(cpu, row->needs, keep);
    return missing != NULL ? mlcc_arena_printf(keep, "needs '%s'", missing) : NULL;
}

const char *cpu_kernel_refusal(
    const kernel_row *row, const codegen_cpu *cpu, const ir_function *group, mlcc_arena *keep) {
    const char *refusal = machine_refusal(row, cpu, keep);
    if (refusal != NULL) return refusal;
    refusal = row->refuses != NULL ? row->refuses(group) : NULL;
    if (refusal != NULL) return refusal;
    return codegen_bitcode_find(cpu_kernel_bitcode(row, group, keep), codegen_cpu_is_x86(cpu)) ==
                   NULL
               ? "is not part of this build"
               : NULL;
}

bool cpu_takes_codes(
    const codegen_cpu *cpu, const ir_type *weight, int64_t mantissa_bits, int64_t group,
    mlcc_arena *keep) {
    if (mantissa_bits != 7 || group != 32 || !is_byte_weight(weight)) return false;
    if (weight_columns(weight) > KERNEL_LINEAR_SCALED_MAX_K) return false;
    const ir_op op = weight->rank == 3 ? IR_OP_LINEAR_SCALED_EXPERTS : IR_OP_LINEAR_SCALED;
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].op == op && machine_refusal(&rows[i], cpu, keep) == NULL) return true;
    }
    return false;
}

bool cpu_takes_dtype(
    const codegen_cpu *cpu, const ir_type *weight, ir_dtype dtype, mlcc_arena *keep) {
    if (dtype != IR_BF16 || !is_bf16_weight(weight)) return false;
    for (size_t i = 0; i < N_ROWS; i++) {
        const bool is_bf16 = rows[i].refuses == refuse_linear_bf16;
        if (is_bf16 && machine_refusal(&rows[i], cpu, keep) == NULL) return true;
    }
    return false;
}

// ---- layouts ------------------------------------------------------------------------------------------

static bool measure_panel16(const ir_type *type, int64_t *prepared_bytes, int64_t *n_items) {
    if (!has_panel16(type)) return false;
    *n_items = kernel_panel16_panels(type->dims[0].value);
    return kernel_panel16_size(
        (int32_t)type->dtype, type->dims[0].value, type->dims[1].value, prepared_bytes);
}

static const cpu_layout layouts[] = {
    {"panel16", measure_panel16, "panels of 16 rows, K-major (kernels/panel16.h)"},
};

const cpu_layout *cpu_layout_find(const char *name) {
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (strcmp(layouts[i].name, name) == 0) return &layouts[i];
    }
    return NULL;
}

const char *cpu_layout_choose(ir_op op, int32_t operand, const ir_type *type) {
    bool is_weight = (op == IR_OP_LINEAR || op == IR_OP_LINEAR_SCALED || op == IR_OP_EMBEDDING ||
                      op == IR_OP_LINEAR_EXPERTS || op == IR_OP_LINEAR_SCALED_EXPERTS ||
                      op == IR_OP_LINEAR_HEADS) &&
                     operand == 1;
    return is_weight && has_panel16(type) ? "panel16" : "rows";
}

const char *cpu_layout_version(void) {
    return "panel16." TEXT_OF(KERNEL_PANEL16_VERSION);
}
