// fp8_direct: codes times codes on matrix instructions for fp8 (sm_89, sm_120; on sm_90 to sm_110 the same instruction is a conversion to f16 at
// every use, which fp8_halves does better). One of fp8_direct and fp8_halves stands before linear_fp8; tile16_decode.h before it.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_FP8_H
#define MLCC_CODEGEN_CUDA_KERNELS_FP8_H

// What a lane feeds of 16 rows x 32 k of weights, and of 32 k x 8 tokens.
typedef struct fp8_weights {
    u32 a[4];
} fp8_weights;

typedef struct fp8_tokens {
    u32 b[2];
} fp8_tokens;

// What a sum of products must be multiplied by besides the scales: those of e4m3 weights are stored times 256.
DEVICE float fp8_factor(tile16_format f) {
    return f.code == TILE16_E4M3 ? 0.00390625f : 1.0f;
}

// The bytes of a line in the order of k.
DEVICE fp8_weights fp8_weights_of(tile16_format f, u32x4 line) {
    (void)f;
    fp8_weights w;
    w.a[0] = permute_bytes(line.x, 0, 0x2031);
    w.a[1] = permute_bytes(line.z, 0, 0x2031);
    w.a[2] = permute_bytes(line.y, 0, 0x2031);
    w.a[3] = permute_bytes(line.w, 0, 0x2031);
    return w;
}

// `eight`: codes of a token at the lane's eight slots.
DEVICE fp8_tokens fp8_tokens_of(tile16_format f, u32x2 eight) {
    (void)f;
    fp8_tokens x;
    x.b[0] = eight.x;
    x.b[1] = eight.y;
    return x;
}

DEVICE void fp8_multiply(tile16_format f, float d[4], const fp8_weights *w, const fp8_tokens *x) {
    if (f.code == TILE16_E4M3)
        mma_e4m3_16x8x32(d, w->a, x->b);
    else
        mma_e5m2_16x8x32(d, w->a, x->b);
}

#endif
