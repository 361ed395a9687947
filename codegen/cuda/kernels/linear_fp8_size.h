// linear_fp8_size: how linear_fp8 divides its work besides what linear_tile16_size.h says of blocks: shared by the kernels and by the host code that
// sizes launches. Plain C that is also C++; tile16.h and linear_tile16_size.h must stand before it.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LINEAR_FP8_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_LINEAR_FP8_SIZE_H

// k of a unit of every fp8 format of tile16, and of a group of activations that has a scale of its own.
#define LINEAR_FP8_UNIT 128

// ---- few tokens: one block a tile; warps take its units in turn ---------------------------------------------

// Shared bytes for codes: eight tokens of 32 units, their rows 32 bytes more than a multiple of 128 apart, so that the quads of half a warp,
// each reading 32 bytes of its own row, meet no bank twice.
#define LINEAR_FP8_FEW_STAGE_BYTES (LINEAR_FEW_TOKENS * (32 * LINEAR_FP8_UNIT + 32))
#define LINEAR_FP8_FEW_MAX_CHUNK   128

// Bytes from one token's codes to the next.
TILE16_FUNCTION int linear_fp8_few_pitch(int n_units) {
    return n_units * LINEAR_FP8_UNIT + 32;
}

// Units whose codes are in shared memory at a time; a multiple of the warps.
TILE16_FUNCTION int linear_fp8_few_chunk(int n_tokens) {
    const int n_units = (LINEAR_FP8_FEW_STAGE_BYTES / n_tokens - 32) / LINEAR_FP8_UNIT;
    const int chunk = n_units / LINEAR_FEW_WARPS * LINEAR_FEW_WARPS;
    return chunk < LINEAR_FP8_FEW_MAX_CHUNK ? chunk : LINEAR_FP8_FEW_MAX_CHUNK;
}

// Codes of n_tokens x n_units, then scales f32 [unit][LINEAR_FEW_TOKENS].
TILE16_FUNCTION int linear_fp8_few_scales_at(int n_tokens, int n_units) {
    return n_tokens * linear_fp8_few_pitch(n_units);
}

TILE16_FUNCTION int linear_fp8_few_bytes(int n_tokens, int n_units) {
    return linear_fp8_few_scales_at(n_tokens, n_units) + n_units * LINEAR_FEW_TOKENS * 4;
}

// ---- many tokens: a block makes 64 tokens x 128 outputs -----------------------------------------------------

#define LINEAR_FP8_MANY_RING        4 // units in shared memory at a time
#define LINEAR_FP8_MANY_STAGE_BYTES (LINEAR_MANY_TOKENS * LINEAR_FP8_UNIT)
// Behind the stages: scales f32 of this unit and of the next, [2][token].
#define LINEAR_FP8_MANY_SCALES_AT   (LINEAR_FP8_MANY_RING * LINEAR_FP8_MANY_STAGE_BYTES)
#define LINEAR_FP8_MANY_BYTES       (LINEAR_FP8_MANY_SCALES_AT + 2 * LINEAR_MANY_TOKENS * 4)

#endif
