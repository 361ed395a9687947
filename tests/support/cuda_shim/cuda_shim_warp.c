// What 32 lanes do together, on the words that each of them brought. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16" and
// "ldmatrix".
#include "tests/support/cuda_shim/cuda_shim.h"

#include "ir/eval.h"

#include <stdio.h>
#include <string.h>

typedef uint32_t (*lane_words)[CUDA_SHIM_WARP_WORDS];

CUDA_SHIM_OWN_ARRAYS static inline float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

CUDA_SHIM_OWN_ARRAYS static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

const float *cuda_shim_values(cuda_shim_element element) {
    static float halves[65536], e4m3[256], e5m2[256];
    static bool is_ready;
    for (uint32_t i = 0; i < 65536 && !is_ready; i++) halves[i] = ir_f16_to_f32((uint16_t)i);
    for (uint32_t i = 0; i < 256 && !is_ready; i++) {
        e4m3[i] = ir_f8e4m3_to_f32((uint8_t)i);
        e5m2[i] = ir_f8e5m2_to_f32((uint8_t)i);
    }
    is_ready = true;
    return element == CUDA_SHIM_F16    ? halves
           : element == CUDA_SHIM_E4M3 ? e4m3
           : element == CUDA_SHIM_E5M2 ? e5m2
                                       : NULL;
}

CUDA_SHIM_OWN_ARRAYS int cuda_shim_elements(
    cuda_shim_element element, const float *table, uint32_t word, float values[4]) {
    switch (element) {
    case CUDA_SHIM_F16:
        for (int i = 0; i < 2; i++) values[i] = table[word >> (16 * i) & 0xffffu];
        return 2;
    case CUDA_SHIM_BF16:
        for (int i = 0; i < 2; i++) values[i] = bits_float(word >> (16 * i) << 16);
        return 2;
    default:
        for (int i = 0; i < 4; i++) values[i] = table[word >> (8 * i) & 0xffu];
        return 4;
    }
}

static cuda_shim_element element_of(cuda_shim_warp_op op) {
    return op == CUDA_SHIM_MMA_F16    ? CUDA_SHIM_F16
           : op == CUDA_SHIM_MMA_BF16 ? CUDA_SHIM_BF16
           : op == CUDA_SHIM_MMA_E4M3 ? CUDA_SHIM_E4M3
                                      : CUDA_SHIM_E5M2;
}

// A row of d: its eight columns side by side.
typedef float eight __attribute__((vector_size(32)));

// Lane 4 g + t holds of a: rows g and g + 8, columns 2t, 2t + 1 and those plus 8; of b: rows 2t, 2t + 1 and those plus 8 of column g;
// of d: rows g and g + 8, columns 2t, 2t + 1. The same with bytes, 4t … 4t + 3 and those plus 16 of a and b. Every sum is made in rising order of k.
CUDA_SHIM_OWN_ARRAYS static void compute_mma(cuda_shim_warp_op op, lane_words words[32]) {
    const cuda_shim_element element = element_of(op);
    const float *table = cuda_shim_values(element);
    float a[16][32];
    eight b[32]; // [k]
    int n = 2;   // elements of a word
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        float values[4];
        for (int r = 0; r < 4; r++) {
            n = cuda_shim_elements(element, table, (*words[lane])[4 + r], values);
            for (int i = 0; i < n; i++) a[g + r % 2 * 8][n * (t + r / 2 * 4) + i] = values[i];
        }
        for (int r = 0; r < 2; r++) {
            n = cuda_shim_elements(element, table, (*words[lane])[8 + r], values);
            for (int i = 0; i < n; i++) b[n * (t + r * 4) + i][g] = values[i];
        }
    }
    for (int row = 0; row < 16; row++) {
        eight sum = {0};
        for (int k = 0; k < 8 * n; k++) sum += a[row][k] * b[k];
        for (int t = 0; t < 4; t++) {
            uint32_t *d = *words[row % 8 * 4 + t] + row / 8 * 2;
            for (int i = 0; i < 2; i++) d[i] = float_bits(bits_float(d[i]) + sum[2 * t + i]);
        }
    }
}

// Lane l brings the address of row l % 8 of matrix l / 8 and gets elements 2t, 2t + 1 of row g of every matrix; transposed, elements g of rows
// 2t and 2t + 1.
static void compute_ldmatrix(bool transposes, lane_words words[32]) {
    uint16_t matrices[4][8][8];
    for (int lane = 0; lane < 32; lane++) {
        const uintptr_t address =
            (uintptr_t)((uint64_t)(*words[lane])[1] << 32 | (*words[lane])[0]);
        memcpy(matrices[lane / 8][lane % 8], (const void *)address, 16);
    }
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int m = 0; m < 4; m++) {
            const uint16_t low = transposes ? matrices[m][2 * t][g] : matrices[m][g][2 * t];
            const uint16_t high =
                transposes ? matrices[m][2 * t + 1][g] : matrices[m][g][2 * t + 1];
            (*words[lane])[m] = low | (uint32_t)high << 16;
        }
    }
}

bool cuda_shim_warp_compute(cuda_shim_warp_op op, lane_words words[32], char message[128]) {
    uint32_t values[32], bits = 0;
    switch (op) {
    case CUDA_SHIM_SHUFFLE:
        for (int lane = 0; lane < 32; lane++) {
            const uint32_t source = (*words[lane])[1];
            if (source > 31) {
                snprintf(message, 128, "shuffles from lane %d", (int)source);
                return false;
            }
            values[lane] = (*words[source])[0];
        }
        for (int lane = 0; lane < 32; lane++) (*words[lane])[0] = values[lane];
        return true;
    case CUDA_SHIM_BALLOT:
        for (int lane = 0; lane < 32; lane++) bits |= (uint32_t)((*words[lane])[0] != 0) << lane;
        for (int lane = 0; lane < 32; lane++) (*words[lane])[0] = bits;
        return true;
    case CUDA_SHIM_MMA_F16:
    case CUDA_SHIM_MMA_BF16:
    case CUDA_SHIM_MMA_E4M3:
    case CUDA_SHIM_MMA_E5M2: compute_mma(op, words); return true;
    case CUDA_SHIM_LDMATRIX:
    case CUDA_SHIM_LDMATRIX_TRANS:
        compute_ldmatrix(op == CUDA_SHIM_LDMATRIX_TRANS, words);
        return true;
    default: return true;
    }
}
