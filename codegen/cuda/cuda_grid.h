// cuda_grid: how large a launch of a group is, and which groups a kernel refuses: the functions that cuda_kernels.def names. Their bodies stand in
// cuda_grid_<topic>.c. Everything here is pure and depends on shapes only.
#ifndef MLCC_CODEGEN_CUDA_CUDA_GRID_H
#define MLCC_CODEGEN_CUDA_CUDA_GRID_H

#include "codegen/cuda/cuda_kernels.h"

// ---- helpers
// Type of operand `operand` of the group's anchor; NULL when the optional operand is absent. A group without anchor: its first return.
const ir_type *cuda_operand_type(const ir_function *group, int32_t operand);
// Extent of an axis as it is: rows of a matrix as blocks is cuda_extent_of(type->dims[0], 1, 16) for 16 rows a block.
cuda_extent cuda_extent_of(ir_dim dim, int64_t multiplier, int64_t divisor);
cuda_extent cuda_extent_constant(int64_t value);

// ---- cuda_grid_rows.c: element-wise groups, rows, tables
void cuda_grid_elementwise(const ir_function *group, cuda_extent grid[3]); // rows, 512 columns
void cuda_grid_take_rows(const ir_function *group, cuda_extent grid[3]); // taken rows, 512 columns
void cuda_grid_rms_norm(const ir_function *group, cuda_extent grid[3]);  // rows, groups of columns
const char *cuda_refuse_rms_norm(const ir_function *group);
void cuda_grid_rope_table(const ir_function *group, cuda_extent grid[3]); // tokens
void cuda_grid_kv_append(const ir_function *group, cuda_extent grid[3]);  // tokens, heads
void cuda_grid_quantize_activation(
    const ir_function *group, cuda_extent grid[3]); // rows, 8 groups of columns
void cuda_grid_observe_max(const ir_function *group, cuda_extent grid[3]); // rows, 4096 columns
void cuda_grid_sample(const ir_function *group, cuda_extent grid[3]);      // rows
int64_t cuda_shared_sample(const ir_function *group);
void cuda_grid_route_experts(const ir_function *group, cuda_extent grid[3]); // rows
int64_t cuda_shared_route_experts(const ir_function *group);
const char *cuda_refuse_sample(const ir_function *group);
const char *cuda_refuse_elementwise(const ir_function *group);
const char *cuda_refuse_observe_max(const ir_function *group);

// ---- cuda_grid_linear.c
void cuda_grid_linear_few(const ir_function *group, cuda_extent grid[3]);  // tiles
void cuda_grid_linear_many(const ir_function *group, cuda_extent grid[3]); // 64 tokens, 128 outputs
void cuda_grid_linear_generic(const ir_function *group, cuda_extent grid[3]); // tiles, 8 tokens
void cuda_grid_linear_experts(const ir_function *group, cuda_extent grid[3]); // slots, tiles
void cuda_grid_linear_experts_many(
    const ir_function *group, cuda_extent grid[3]); // sets of 64 slots, 128 outputs, experts
void cuda_grid_embedding_tile16(
    const ir_function *group, cuda_extent grid[3]); // tokens, 256 columns
int64_t cuda_shared_linear_few(const ir_function *group);
int64_t cuda_shared_linear_many(const ir_function *group);
int64_t cuda_shared_linear_generic(const ir_function *group);
int64_t cuda_shared_linear_fp8_few(const ir_function *group);
int64_t cuda_shared_linear_fp8_many(const ir_function *group);
const char *cuda_refuse_linear_fp8(const ir_function *group);
const char *cuda_refuse_tile16(const ir_function *group);
const char *cuda_refuse_linear_tile16(const ir_function *group);
const char *cuda_refuse_experts_tile16(const ir_function *group);
void cuda_grid_linear_chain(const ir_function *chain, cuda_extent grid[3]); // pairs of tiles
int64_t cuda_shared_linear_chain(const ir_function *chain);
const char *cuda_refuse_linear_chain(const ir_function *chain);

// ---- cuda_grid_wgmma.c
void cuda_grid_linear_wgmma_128(const ir_function *group, cuda_extent grid[3]); // 128, 128 outputs
void cuda_grid_linear_wgmma_256(const ir_function *group, cuda_extent grid[3]); // 256, 128 outputs
int64_t cuda_shared_linear_wgmma_128(const ir_function *group);
int64_t cuda_shared_linear_wgmma_256(const ir_function *group);
const char *cuda_refuse_linear_wgmma(const ir_function *group);
const char *cuda_refuse_linear_fp8_wgmma(const ir_function *group);

// ---- cuda_grid_latent.c
const char *cuda_refuse_latent_attention(const ir_function *group);
const char *cuda_refuse_linear_heads(const ir_function *group);
void cuda_grid_latent_append(const ir_function *group, cuda_extent grid[3]);    // tokens
void cuda_grid_latent_attention(const ir_function *group, cuda_extent grid[3]); // tokens, 8 heads
void cuda_grid_linear_heads(
    const ir_function *group, cuda_extent grid[3]); // 8 tokens, heads, 32 outputs
void cuda_grid_latent_attention_few(
    const ir_function *group, cuda_extent grid[3]); // and splits of the context
int64_t cuda_scratch_latent_attention_few(const ir_function *group);
int64_t cuda_shared_latent_attention(const ir_function *group);
int64_t cuda_shared_linear_heads(const ir_function *group);

// ---- cuda_grid_attention.c
const char *cuda_refuse_attention(const ir_function *group);
const char *cuda_refuse_attention_mma(const ir_function *group);
void cuda_grid_attention_generic(const ir_function *group, cuda_extent grid[3]);
void cuda_grid_attention_decode(const ir_function *group, cuda_extent grid[3]);
void cuda_grid_attention_decode_batch(const ir_function *group, cuda_extent grid[3]);
void cuda_grid_attention_batch(const ir_function *group, cuda_extent grid[3]);
void cuda_grid_attention_prefill(const ir_function *group, cuda_extent grid[3]);
int64_t cuda_shared_attention_generic(const ir_function *group);
int64_t cuda_shared_attention_decode(const ir_function *group);
int64_t cuda_shared_attention_prefill(const ir_function *group);
int64_t cuda_scratch_attention_decode(const ir_function *group);
int64_t cuda_scratch_attention_decode_batch(const ir_function *group);
const char *cuda_refuse_segments(const ir_function *group);
void cuda_grid_segment_attention(const ir_function *group, cuda_extent grid[3]); // 8 tokens, heads
int64_t cuda_shared_segment_attention(const ir_function *group);

#endif
