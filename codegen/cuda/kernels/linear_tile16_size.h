// linear_tile16_size: how linear_tile16 and linear_generic divide their work, and blocks of linear_fp8: shared by the kernels and by the host code
// that sizes launches. Plain C that is also C++; tile16.h must stand before it.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LINEAR_TILE16_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_LINEAR_TILE16_SIZE_H

// ---- few tokens: one block a tile; warps take its units in turn ---------------------------------------------

#define LINEAR_FEW_TOKENS      8
#define LINEAR_FEW_WARPS       8
#define LINEAR_FEW_THREADS     (32 * LINEAR_FEW_WARPS)
// Shared bytes for activations: eight tokens of 2048 slots, their rows 64 bytes more than a multiple of 128 apart, so that the quads of a
// warp, each reading 64 bytes of its own row, meet no bank twice. Small enough for three blocks on a multiprocessor with 100 KB.
#define LINEAR_FEW_STAGE_BYTES (LINEAR_FEW_TOKENS * (2048 * 2 + 64))
// Sums of the warps: token-major, 20 floats apart for the same reason.
#define LINEAR_FEW_SUM_PITCH   (TILE16_ROWS + 4)
#define LINEAR_FEW_SUM_BYTES   (LINEAR_FEW_WARPS * LINEAR_FEW_TOKENS * LINEAR_FEW_SUM_PITCH * 4)

// Units whose lines a lane has under way at a time: four 16-byte loads or nearly so.
TILE16_FUNCTION int linear_few_ring(tile16_format f) {
    return 4 / tile16_unit_lines(f);
}

// Bytes from one token's activations to the next.
TILE16_FUNCTION int linear_few_pitch(int n_slots) {
    return ((n_slots * 2 + 127) & ~127) + 64;
}

// Units whose activations fit the shared memory at a time; a multiple of what all warps have under way.
TILE16_FUNCTION int linear_few_chunk(tile16_format f, int n_tokens) {
    const int round = LINEAR_FEW_WARPS * linear_few_ring(f);
    const int n_slots = (LINEAR_FEW_STAGE_BYTES / n_tokens - 64) / 128 * 64;
    return n_slots / tile16_unit_slots(f) / round * round;
}

// ---- many tokens: a block makes 64 tokens x 128 outputs -----------------------------------------------------

#define LINEAR_MANY_TOKENS    64
#define LINEAR_MANY_WARPS     4
#define LINEAR_MANY_THREADS   (32 * LINEAR_MANY_WARPS)
#define LINEAR_MANY_TILES     2 // of a warp
#define LINEAR_MANY_OUTPUTS   (LINEAR_MANY_WARPS * LINEAR_MANY_TILES * TILE16_ROWS)
#define LINEAR_MANY_SUM_PITCH (LINEAR_MANY_OUTPUTS + 4)
#define LINEAR_MANY_SUM_BYTES (LINEAR_MANY_TOKENS * LINEAR_MANY_SUM_PITCH * 4)

// Slots of a step: a unit, or several that have 128 together.
TILE16_FUNCTION int linear_many_slots(tile16_format f) {
    return tile16_unit_slots(f) < 128 ? 128 : tile16_unit_slots(f);
}

// Steps in shared memory at a time: what 48 KB hold, three at most.
TILE16_FUNCTION int linear_many_ring(tile16_format f) {
    return linear_many_slots(f) == 128 ? 3 : 2;
}

TILE16_FUNCTION int linear_many_stage_bytes(tile16_format f) {
    return LINEAR_MANY_TOKENS * linear_many_slots(f) * 2;
}

// ---- generic: one block a tile and eight tokens ---------------------------------------------------------------

#define LINEAR_GENERIC_TOKENS      8
#define LINEAR_GENERIC_WARPS       8
#define LINEAR_GENERIC_THREADS     (32 * LINEAR_GENERIC_WARPS)
#define LINEAR_GENERIC_STAGE_BYTES 32768

// Units whose activations, as f32, fit the shared memory at a time.
TILE16_FUNCTION int linear_generic_chunk(tile16_format f) {
    return LINEAR_GENERIC_STAGE_BYTES / (LINEAR_GENERIC_TOKENS * 4) / tile16_unit_slots(f);
}

#endif
