#include "codegen/artifact.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/attention_size.h"

// Blocks that share a prefill tile of many sequences, where the tokens are so few that tiles are, too.
enum { TILE_BLOCKS = 4 };

static int64_t head_dim_of(const ir_function *group) {
    return cuda_operand_type(group, 1)->dims[4].value;
}

static int64_t n_kv_heads_of(const ir_function *group) {
    return cuda_operand_type(group, 1)->dims[2].value;
}

static int64_t n_heads_of(const ir_function *group) {
    return cuda_operand_type(group, 0)->dims[1].value / head_dim_of(group);
}

// Query heads of a kv head.
static int64_t n_grouped_of(const ir_function *group) {
    return n_heads_of(group) / n_kv_heads_of(group);
}

static cuda_extent tokens_of(const ir_function *group, int64_t multiplier, int64_t divisor) {
    return cuda_extent_of(cuda_operand_type(group, 0)->dims[0], multiplier, divisor);
}

// ---- which groups -------------------------------------------------------------------------------------

const char *cuda_refuse_attention(const ir_function *group) {
    const ir_type *q = cuda_operand_type(group, 0);
    const ir_type *cache = cuda_operand_type(group, 1);
    if (q->dims[1].symbol != NULL || cache->dims[2].symbol != NULL ||
        cache->dims[4].symbol != NULL) {
        return "the number or width of heads is not constant";
    }
    if (cache->dims[3].symbol != NULL || cache->dims[3].value != ATTENTION_PAGE) {
        return "a cache page does not hold 16 tokens";
    }
    if (cache->dims[4].value > ATTENTION_ANY_HEAD_DIM) return "heads are wider than 512";
    if (cache->dtype != IR_F32 && cache->dtype != IR_F16 && cache->dtype != IR_BF16) {
        return "the cache is not f32, f16 or bf16";
    }
    return NULL;
}

// Queries become the cache's dtype; that must not cost precision.
const char *cuda_refuse_attention_mma(const ir_function *group) {
    const char *reason = cuda_refuse_attention(group);
    if (reason != NULL) return reason;
    const ir_dtype cache = cuda_operand_type(group, 1)->dtype;
    const ir_dtype q = cuda_operand_type(group, 0)->dtype;
    if (cache == IR_F32) return "the cache is f32";
    if (q != cache && q != IR_BF16) return "queries are more precise than the cache";
    const int64_t head_dim = head_dim_of(group);
    if (head_dim % 8 != 0) return "the head is not a multiple of 8 wide";
    if (head_dim > ATTENTION_MAX_HEAD_DIM) return "heads are wider than 256";
    return NULL;
}

// ---- grids --------------------------------------------------------------------------------------------

void cuda_grid_attention_generic(const ir_function *group, cuda_extent grid[3]) {
    const int64_t warps = ATTENTION_GENERIC_WARPS;
    grid[0] = tokens_of(group, 1, 1);
    grid[1] = cuda_extent_constant((n_heads_of(group) + warps - 1) / warps);
    grid[2] = cuda_extent_constant(1);
}

void cuda_grid_attention_decode(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = tokens_of(group, 1, 1);
    grid[1] = cuda_extent_constant(n_kv_heads_of(group));
    grid[2] = cuda_extent_constant((n_grouped_of(group) + ATTENTION_HEADS - 1) / ATTENTION_HEADS);
}

void cuda_grid_attention_prefill(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = tokens_of(group, n_grouped_of(group), ATTENTION_QUERIES);
    grid[1] = cuda_extent_constant(n_kv_heads_of(group));
    grid[2] = cuda_extent_constant(1);
}

void cuda_grid_attention_batch(const ir_function *group, cuda_extent grid[3]) {
    cuda_grid_attention_prefill(group, grid);
    grid[2] = cuda_extent_constant(TILE_BLOCKS);
}

// ---- shared memory ------------------------------------------------------------------------------------

int64_t cuda_shared_attention_generic(const ir_function *group) {
    return ATTENTION_GENERIC_SHARED(head_dim_of(group));
}

int64_t cuda_shared_attention_decode(const ir_function *group) {
    return ATTENTION_DECODE_SHARED(head_dim_of(group));
}

int64_t cuda_shared_attention_prefill(const ir_function *group) {
    return ATTENTION_PREFILL_SHARED(head_dim_of(group));
}
