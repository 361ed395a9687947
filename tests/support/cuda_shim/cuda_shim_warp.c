// What 32 lanes do together, on the words that each of them brought. Fragment layouts: PTX ISA, "Matrix Fragments for mma.m16n8k16" and
// "ldmatrix".
#include "tests/support/cuda_shim/cuda_shim.h"

#include "ir/eval.h"

#include <stdio.h>
#include <string.h>

typedef uint32_t (*lane_words)[CUDA_SHIM_WARP_WORDS];

static float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

// f16 codes as float32, computed once.
static const float *f16_values(void) {
    static float values[65536];
    static bool is_ready;
    for (uint32_t i = 0; i < 65536 && !is_ready; i++) values[i] = ir_f16_to_f32((uint16_t)i);
    is_ready = true;
    return values;
}

// Elements in a word: two halves or four codes.
static int elements_of_word(cuda_shim_warp_op op) {
    return op == CUDA_SHIM_MMA_E4M3 || op == CUDA_SHIM_MMA_E5M2 ? 4 : 2;
}

static float element(cuda_shim_warp_op op, const float *halves, uint32_t word, int i) {
    switch (op) {
    case CUDA_SHIM_MMA_F16: return halves[word >> (16 * i) & 0xffffu];
    case CUDA_SHIM_MMA_BF16: return bits_float(word >> (16 * i) << 16);
    case CUDA_SHIM_MMA_E4M3: return ir_f8e4m3_to_f32((uint8_t)(word >> (8 * i)));
    default: return ir_f8e5m2_to_f32((uint8_t)(word >> (8 * i)));
    }
}

// Lane 4 g + t holds of a: rows g and g + 8, columns 2t, 2t + 1 and those plus 8; of b: rows 2t, 2t + 1 and those plus 8 of column g;
// of d: rows g and g + 8, columns 2t, 2t + 1. The same with bytes, 4t … 4t + 3 and those plus 16 of a and b.
static void compute_mma(cuda_shim_warp_op op, lane_words words[32]) {
    const float *halves = f16_values();
    const int n = elements_of_word(op), n_k = 8 * n;
    float a[16][32], b[8][32]; // b by columns
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int i = 0; i < n; i++) {
            for (int r = 0; r < 4; r++)
                a[g + r % 2 * 8][n * t + i + r / 2 * 4 * n] =
                    element(op, halves, (*words[lane])[4 + r], i);
            for (int r = 0; r < 2; r++)
                b[g][n * t + i + r * 4 * n] = element(op, halves, (*words[lane])[8 + r], i);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        const int g = lane / 4, t = lane % 4;
        for (int r = 0; r < 4; r++) {
            const float *row = a[g + r / 2 * 8], *column = b[2 * t + r % 2];
            float sum = 0.0f;
            for (int k = 0; k < n_k; k++) sum += row[k] * column[k];
            (*words[lane])[r] = float_bits(bits_float((*words[lane])[r]) + sum);
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
