// Grids of the kernels that read tile16 weights, and what they refuse.
#include "codegen/artifact.h"
#include "codegen/cuda/cuda_chain.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/tile16.h"

#include "codegen/cuda/kernels/linear_tile16_size.h"

#include "codegen/cuda/kernels/linear_fp8_size.h"

static const ir_type *weight_of(const ir_function *group) {
    return cuda_operand_type(group, 1);
}

static tile16_format format_of(const ir_function *group) {
    return tile16_format_of((int)weight_of(group)->dtype);
}

// Of a weight or a stack of them.
static int64_t columns_of(const ir_function *group) {
    const ir_type *weight = weight_of(group);
    return weight->dims[weight->rank - 1].value;
}

static int64_t max_i64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

// ---- grids --------------------------------------------------------------------------------------------

// Tiles of 16 outputs go along x where each block makes one, and `tokens` tokens a block along y.
static void set_tiles(const ir_function *group, cuda_extent grid[3], cuda_extent tokens) {
    grid[0] = cuda_extent_of(weight_of(group)->dims[0], 1, TILE16_ROWS);
    grid[1] = tokens;
    grid[2] = cuda_extent_constant(1);
}

// cuda_grid_linear_few and cuda_grid_linear_many are linear_fp8's too.
void cuda_grid_linear_few(const ir_function *group, cuda_extent grid[3]) {
    set_tiles(group, grid, cuda_extent_constant(1));
}

void cuda_grid_linear_generic(const ir_function *group, cuda_extent grid[3]) {
    const ir_dim tokens = cuda_operand_type(group, 0)->dims[0];
    set_tiles(group, grid, cuda_extent_of(tokens, 1, LINEAR_GENERIC_TOKENS));
}

// A column for each chosen expert of each token, and the tiles that one expert lies in, at most.
void cuda_grid_linear_experts(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *experts = cuda_operand_type(group, 2);
    const int64_t n = weight_of(group)->dims[1].value;
    grid[0] = cuda_extent_of(experts->dims[0], experts->dims[1].value, 1);
    grid[1] = cuda_extent_constant(tile16_tiles(n % TILE16_ROWS == 0 ? n : n + TILE16_ROWS - 1));
    grid[2] = cuda_extent_constant(1);
}

// Of an expert that has twice as many slots as in the mean every 64 have a block of their own; blocks of others take several in turn. They go along
// x, so that those which read the same weights run at the same time.
void cuda_grid_linear_experts_many(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *experts = cuda_operand_type(group, 2), *weight = weight_of(group);
    grid[0] = cuda_extent_of(
        experts->dims[0], 2 * experts->dims[1].value, LINEAR_MANY_TOKENS * weight->dims[0].value);
    grid[1] = cuda_extent_of(weight->dims[1], 1, LINEAR_MANY_OUTPUTS);
    grid[2] = cuda_extent_constant(weight->dims[0].value);
}

// Tokens go along x, so that blocks which read the same weights run at the same time.
void cuda_grid_linear_many(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = cuda_extent_of(cuda_operand_type(group, 0)->dims[0], 1, LINEAR_MANY_TOKENS);
    grid[1] = cuda_extent_of(weight_of(group)->dims[0], 1, LINEAR_MANY_OUTPUTS);
    grid[2] = cuda_extent_constant(1);
}

// Blocks go through spans of 2 * distance tiles; the last span may hold only half of its tiles where the distance is 1.
void cuda_grid_linear_chain(const ir_function *chain, cuda_extent grid[3]) {
    cuda_chain read;
    cuda_chain_read(chain, &read);
    const int64_t n_tiles = tile16_tiles(weight_of(chain)->dims[0].value);
    const int64_t n_spans = (n_tiles + 2 * read.distance - 1) / (2 * read.distance);
    grid[0] = cuda_extent_constant(n_spans * read.distance);
    grid[1] = cuda_extent_constant(1);
    grid[2] = cuda_extent_constant(1);
}

void cuda_grid_embedding_tile16(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = cuda_extent_of(cuda_operand_type(group, 0)->dims[0], 1, 1);
    grid[1] = cuda_extent_of(weight_of(group)->dims[1], 1, 256);
    grid[2] = cuda_extent_constant(1);
}

// ---- dynamic shared memory ----------------------------------------------------------------------------

int64_t cuda_shared_linear_few(const ir_function *group) {
    const tile16_format f = format_of(group);
    const int64_t n_units = tile16_units(f, columns_of(group));
    int64_t size_bytes = LINEAR_FEW_SUM_BYTES;
    for (int n_tokens = 1; n_tokens <= LINEAR_FEW_TOKENS; n_tokens++) {
        const int chunk = linear_few_chunk(f, n_tokens);
        const int n_here = n_units < chunk ? (int)n_units : chunk;
        size_bytes = max_i64(
            size_bytes, (int64_t)n_tokens * linear_few_pitch(n_here * tile16_unit_slots(f)));
    }
    return size_bytes;
}

int64_t cuda_shared_linear_chain(const ir_function *chain) {
    return max_i64(2 * LINEAR_FEW_SUM_BYTES, cuda_shared_linear_few(chain));
}

int64_t cuda_shared_linear_many(const ir_function *group) {
    const tile16_format f = format_of(group);
    return max_i64(
        LINEAR_MANY_SUM_BYTES, (int64_t)linear_many_ring(f) * linear_many_stage_bytes(f));
}

int64_t cuda_shared_linear_generic(const ir_function *group) {
    (void)group;
    return LINEAR_GENERIC_STAGE_BYTES;
}

int64_t cuda_shared_linear_fp8_few(const ir_function *group) {
    const int64_t n_units = tile16_units(format_of(group), weight_of(group)->dims[1].value);
    int64_t size_bytes = LINEAR_FEW_SUM_BYTES;
    for (int n_tokens = 1; n_tokens <= LINEAR_FEW_TOKENS; n_tokens++) {
        const int chunk = linear_fp8_few_chunk(n_tokens);
        const int n_here = n_units < chunk ? (int)n_units : chunk;
        size_bytes = max_i64(size_bytes, linear_fp8_few_bytes(n_tokens, n_here));
    }
    return size_bytes;
}

int64_t cuda_shared_linear_fp8_many(const ir_function *group) {
    (void)group;
    return max_i64(LINEAR_MANY_SUM_BYTES, LINEAR_FP8_MANY_BYTES);
}

// ---- what kernels refuse ------------------------------------------------------------------------------

static bool has_tile16(const ir_type *weight) {
    const ir_type flat = ir_type_flat(weight);
    return flat.rank == 2 &&
           tile16_size((int)flat.dtype, flat.dims[0].value, flat.dims[1].value) >= 0;
}

const char *cuda_refuse_tile16(const ir_function *group) {
    return has_tile16(weight_of(group)) ? NULL : "the weight has no tile16 form";
}

const char *cuda_refuse_linear_tile16(const ir_function *group) {
    const char *refusal = cuda_refuse_tile16(group);
    if (refusal != NULL) return refusal;
    const ir_dtype x = cuda_operand_type(group, 0)->dtype;
    const ir_dtype weight = weight_of(group)->dtype;
    if (x != IR_F16 && x != IR_BF16) return "operand 0 is neither f16 nor bf16";
    if (columns_of(group) >= 1 << 24) return "rows have 2^24 columns or more";
    const tile16_format f = format_of(group);
    if (f.code == TILE16_PLAIN && weight != x) return "the weight's dtype is not operand 0's";
    // The largest e5m2 numbers and infinity have no place in the bf16 that a shift makes.
    if (f.code == TILE16_E5M2 && x != IR_F16) return "an e5m2 weight wants f16 activations";
    return NULL;
}

const char *cuda_refuse_experts_tile16(const ir_function *group) {
    const char *refusal = cuda_refuse_linear_tile16(group);
    if (refusal != NULL) return refusal;
    return weight_of(group)->dims[1].value % TILE16_ROWS == 0 ? NULL
                                                              : "experts share tiles of 16 outputs";
}

// What linear_fp8 multiplies, by the codes' format and the columns of x that share a scale.
static const char *fp8_refusal(const ir_type *weight, ir_dtype codes, int64_t group) {
    const int code = tile16_format_of((int)weight->dtype).code;
    if (code != TILE16_E4M3 && code != TILE16_E5M2) return "the weight is not fp8";
    if ((code == TILE16_E4M3) != (codes == IR_F8E4M3)) return "weight and codes differ in format";
    if (group != 0 && group != LINEAR_FP8_UNIT) return "groups have neither 128 columns nor all";
    if (weight->dims[1].value >= 1 << 24) return "rows have 2^24 columns or more";
    return NULL;
}

const char *cuda_refuse_linear_fp8(const ir_function *group) {
    const char *refusal = cuda_refuse_tile16(group);
    if (refusal != NULL) return refusal;
    return fp8_refusal(
        weight_of(group), cuda_operand_type(group, 0)->dtype,
        ir_attr_i64(codegen_group_anchor(group), "group"));
}

bool cuda_takes_codes(const ir_type *weight, int64_t mantissa_bits, int64_t group) {
    return weight->rank == 2 && has_tile16(weight) &&
           fp8_refusal(weight, mantissa_bits == 3 ? IR_F8E4M3 : IR_F8E5M2, group) == NULL;
}

const char *cuda_refuse_linear_chain(const ir_function *chain) {
    cuda_chain read;
    const char *refusal = cuda_chain_read(chain, &read);
    if (refusal == NULL) refusal = cuda_refuse_linear_tile16(chain);
    if (refusal != NULL) return refusal;
    const ir_dim rows = read.linear->operands[0]->type.dims[0];
    if (rows.symbol == NULL && rows.value > LINEAR_FEW_TOKENS) return "there are more than 8 rows";
    return NULL;
}
