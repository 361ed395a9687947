// fp8_halves: codes times codes as f16 times f16, exactly: what fp8_direct does where there is no matrix instruction for fp8. With fp8_convert before
// it one instruction makes two f16 of two e4m3; else shifts make an e4m3's 256th.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_FP8_H
#define MLCC_CODEGEN_CUDA_KERNELS_FP8_H

#ifndef FP8_CONVERTS
#    define FP8_CONVERTS 0
#endif

// What a lane feeds in two steps of 16 rows x 16 k of weights, and of 16 k x 8 tokens.
typedef struct fp8_weights {
    u32 a[2][4];
} fp8_weights;

typedef struct fp8_tokens {
    u32 b[2][2];
} fp8_tokens;

// What a sum of products must be multiplied by besides the scales: those of e4m3 weights are stored times 256. Shifted, weight and activation are a
// 256th each.
DEVICE float fp8_factor(tile16_format f) {
    if (f.code != TILE16_E4M3) return 1.0f;
    return FP8_CONVERTS ? 0.00390625f : 256.0f;
}

// Four codes in the order of k as two pairs of f16; which codes a pair has does not matter, as long as all words are taken apart alike.
DEVICE void fp8_pairs(tile16_format f, u32 word, u32 pairs[2]) {
    if (f.code == TILE16_E5M2) {
        pairs[0] = word & 0xff00ff00u;
        pairs[1] = permute_bytes(word, 0, 0x2404);
        return;
    }
#if FP8_CONVERTS
    pairs[0] = f16x2_of_e4m3x2(word);
    pairs[1] = f16x2_of_e4m3x2(word >> 16);
#else
    pairs[0] = tile16_e4m3_pair(word, false);
    pairs[1] = tile16_e4m3_pair(word << 8, false);
#endif
}

DEVICE fp8_weights fp8_weights_of(tile16_format f, u32x4 line) {
    const u32 words[4] = {line.x, line.z, line.y, line.w}; // step 0: rows g and g + 8; step 1
    fp8_weights w;
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        u32 pairs[2];
        fp8_pairs(f, permute_bytes(words[i], 0, 0x2031), pairs);
        w.a[i / 2][i % 2] = pairs[0];
        w.a[i / 2][i % 2 + 2] = pairs[1];
    }
    return w;
}

// `eight`: codes of a token at the lane's eight slots.
DEVICE fp8_tokens fp8_tokens_of(tile16_format f, u32x2 eight) {
    fp8_tokens x;
    fp8_pairs(f, eight.x, x.b[0]);
    fp8_pairs(f, eight.y, x.b[1]);
    return x;
}

DEVICE void fp8_multiply(tile16_format f, float d[4], const fp8_weights *w, const fp8_tokens *x) {
    (void)f;
    UNROLL
    for (i32 s = 0; s < 2; s++) mma_f16_16x8x16(d, w->a[s], x->b[s]);
}

#endif
