// linear_wgmma_size: how linear_wgmma divides its work: shared by the kernel and by the host code that sizes launches. Plain C that is also C++;
// tile16.h must stand before it. `block_tokens` is 128 or 256, what a block makes of tokens.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_LINEAR_WGMMA_SIZE_H
#define MLCC_CODEGEN_CUDA_KERNELS_LINEAR_WGMMA_SIZE_H

#define LINEAR_WGMMA_PRODUCERS          4 // warps
#define LINEAR_WGMMA_CONSUMERS          8
#define LINEAR_WGMMA_THREADS            (32 * (LINEAR_WGMMA_PRODUCERS + LINEAR_WGMMA_CONSUMERS))
// Registers of a thread: launched with 168, what 12 warps may have of 65536; then the producers give and the consumers take.
#define LINEAR_WGMMA_REGISTERS          168
#define LINEAR_WGMMA_PRODUCER_REGISTERS 104
#define LINEAR_WGMMA_CONSUMER_REGISTERS 200
#define LINEAR_WGMMA_OUTPUTS            (LINEAR_WGMMA_CONSUMERS * TILE16_ROWS)
#define LINEAR_WGMMA_STEP_SLOTS         128 // of a step: what a lane holds of weights
#define LINEAR_WGMMA_MAX_STAGES         6
// Sums of 128 tokens at a time, token-major.
#define LINEAR_WGMMA_SUM_TOKENS         128
#define LINEAR_WGMMA_SUM_PITCH          (LINEAR_WGMMA_OUTPUTS + 4)

TILE16_FUNCTION int linear_wgmma_stages(int block_tokens) {
    return block_tokens == 256 ? 4 : 6;
}

TILE16_FUNCTION int linear_wgmma_stage_bytes(int block_tokens) {
    return block_tokens * 128;
}

// Behind the stages: a barrier "full" and one "empty" for each, and the consumers' own.
TILE16_FUNCTION int linear_wgmma_barriers_at(int block_tokens) {
    return linear_wgmma_stages(block_tokens) * linear_wgmma_stage_bytes(block_tokens);
}

TILE16_FUNCTION int linear_wgmma_shared_bytes(int block_tokens) {
    return linear_wgmma_barriers_at(block_tokens) + (2 * LINEAR_WGMMA_MAX_STAGES + 1) * 8;
}

// The format with units of a step: of 16-bit plain weights four units are one, for they have no headers.
TILE16_FUNCTION tile16_format linear_wgmma_format(int dtype) {
    tile16_format f = tile16_format_of(dtype);
    if (f.code == TILE16_PLAIN) f.unit_groups = LINEAR_WGMMA_STEP_SLOTS / f.group_slots;
    return f;
}

#endif
