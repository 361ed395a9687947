#include "codegen/artifact.h"
#include "codegen/cuda/cuda_grid.h"
#include "codegen/cuda/kernels/attention_size.h"
#include "codegen/cuda/kernels/kernel.h"
#include "codegen/cuda/kernels/segment_size.h"

_Static_assert(
    ATTENTION_MANY_TOKENS *(ATTENTION_SPLIT_BLOCKS / 2) * 4 <= KERNEL_COUNTER_BYTES,
    "a counter for each token and set of heads that is split");

// Blocks that share a prefill tile of many sequences, where the tokens are so few that tiles are, too.
enum { TILE_BLOCKS = 8 };

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

// Sets of query heads that share what they read, of all kv heads.
static int64_t n_sets_of(const ir_function *group) {
    const int64_t n_sets = (n_grouped_of(group) + ATTENTION_HEADS - 1) / ATTENTION_HEADS;
    return n_kv_heads_of(group) * n_sets;
}

// Of one token, from the shape alone: what else runs does not change a token's result.
static int64_t n_splits_of(const ir_function *group) {
    const int64_t n = ATTENTION_SPLIT_BLOCKS / n_sets_of(group);
    return n < 1 ? 1 : n > ATTENTION_MAX_SPLITS ? ATTENTION_MAX_SPLITS : n;
}

static int64_t n_batch_splits_of(const ir_function *group) {
    const int64_t n = n_splits_of(group) * ATTENTION_FEW_TOKENS / ATTENTION_MANY_TOKENS;
    return n < 1 ? 1 : n;
}

static void decode_grid(const ir_function *group, int64_t n_splits, cuda_extent grid[3]) {
    grid[0] = tokens_of(group, 1, 1);
    grid[1] = cuda_extent_constant(n_sets_of(group));
    grid[2] = cuda_extent_constant(n_splits);
}

void cuda_grid_attention_decode(const ir_function *group, cuda_extent grid[3]) {
    decode_grid(group, n_splits_of(group), grid);
}

void cuda_grid_attention_decode_batch(const ir_function *group, cuda_extent grid[3]) {
    decode_grid(group, n_batch_splits_of(group), grid);
}

void cuda_grid_attention_prefill(const ir_function *group, cuda_extent grid[3]) {
    grid[0] = tokens_of(group, n_grouped_of(group), ATTENTION_QUERIES(head_dim_of(group)));
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
    return ATTENTION_DECODE_SHARED(head_dim_of(group), n_grouped_of(group));
}

int64_t cuda_shared_attention_prefill(const ir_function *group) {
    return ATTENTION_PREFILL_SHARED(head_dim_of(group), n_grouped_of(group));
}

// ---- scratch memory -----------------------------------------------------------------------------------

// Parts of all splits. Where there is more than one, ATTENTION_SPLIT_BLOCKS bounds sets, and so the counters: one for each token and set.
static int64_t parts_bytes(const ir_function *group, int64_t n_tokens, int64_t n_splits) {
    if (n_splits < 2) return 0;
    const int64_t part_bytes = ATTENTION_PART_BYTES(head_dim_of(group), n_grouped_of(group));
    return n_tokens * n_sets_of(group) * n_splits * part_bytes;
}

int64_t cuda_scratch_attention_decode(const ir_function *group) {
    return parts_bytes(group, ATTENTION_FEW_TOKENS, n_splits_of(group));
}

int64_t cuda_scratch_attention_decode_batch(const ir_function *group) {
    return parts_bytes(group, ATTENTION_MANY_TOKENS, n_batch_splits_of(group));
}

// ---- whole sequences, without a cache -----------------------------------------------------------------

static int64_t segment_head_dim(const ir_function *group) {
    return ir_attr_i64(codegen_group_anchor(group), "head_dim");
}

const char *cuda_refuse_segments(const ir_function *group) {
    return segment_head_dim(group) <= SEGMENT_MAX_HEAD_DIM ? NULL : "heads are wider than 256";
}

void cuda_grid_segment_attention(const ir_function *group, cuda_extent grid[3]) {
    const ir_type *q = cuda_operand_type(group, 0);
    grid[0] = cuda_extent_of(q->dims[0], 1, SEGMENT_TOKENS);
    grid[1] = cuda_extent_constant(q->dims[1].value / segment_head_dim(group));
    grid[2] = cuda_extent_constant(1);
}

int64_t cuda_shared_segment_attention(const ir_function *group) {
    return SEGMENT_SHARED(segment_head_dim(group));
}
