// Eight MD5 sums side by side: word w of all lanes is one vector. The steps of one message depend on
// each other, so one alone leaves most of a processor idle.
#include "runtime/base/hash.h"

#include "runtime/base/md5_steps.h"

#include <string.h>

typedef uint32_t lanes __attribute__((vector_size(4 * MLCC_MD5_LANES)));

static inline __attribute__((always_inline)) void run_lanes(
    mlcc_md5 *const *md5, const unsigned char *const *data, size_t n_blocks) {
    lanes state[4];
    for (int w = 0; w < 4; w++) {
        for (int lane = 0; lane < MLCC_MD5_LANES; lane++) state[w][lane] = md5[lane]->state[w];
    }
    for (size_t block = 0; block < n_blocks; block++) {
        lanes x[16];
        for (int k = 0; k < 16; k++) {
            uint32_t words[MLCC_MD5_LANES];
            for (int lane = 0; lane < MLCC_MD5_LANES; lane++)
                memcpy(&words[lane], data[lane] + 64 * block + 4 * (size_t)k, sizeof words[lane]);
            memcpy(&x[k], words, sizeof words);
        }
        lanes a = state[0], b = state[1], c = state[2], d = state[3];
        MD5_STEPS(a, b, c, d, x);
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
    }
    for (int w = 0; w < 4; w++) {
        for (int lane = 0; lane < MLCC_MD5_LANES; lane++) md5[lane]->state[w] = state[w][lane];
    }
}

static void run_baseline(mlcc_md5 *const *md5, const unsigned char *const *data, size_t n_blocks) {
    run_lanes(md5, data, n_blocks);
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void run_avx2(
    mlcc_md5 *const *md5, const unsigned char *const *data, size_t n_blocks) {
    run_lanes(md5, data, n_blocks);
}

// Rotations and three-operand logic are one instruction each.
__attribute__((target("avx2,avx512f,avx512vl"))) static void run_avx512(
    mlcc_md5 *const *md5, const unsigned char *const *data, size_t n_blocks) {
    run_lanes(md5, data, n_blocks);
}
#endif

void mlcc_md5_update_lanes(
    mlcc_md5 *const md5[MLCC_MD5_LANES], const void *const data[MLCC_MD5_LANES], size_t n_blocks) {
    mlcc_md5 unused = {.state = {0}};
    mlcc_md5 *sums[MLCC_MD5_LANES];
    const unsigned char *bytes[MLCC_MD5_LANES];
    const unsigned char *any = NULL;
    for (int i = 0; i < MLCC_MD5_LANES; i++) any = data[i] != NULL ? data[i] : any;
    if (any == NULL) return;
    for (int i = 0; i < MLCC_MD5_LANES; i++) {
        sums[i] = data[i] != NULL ? md5[i] : &unused;
        bytes[i] = data[i] != NULL ? data[i] : any;
        if (data[i] != NULL) md5[i]->length_bytes += 64 * (uint64_t)n_blocks;
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512vl")) {
        run_avx512(sums, bytes, n_blocks);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        run_avx2(sums, bytes, n_blocks);
        return;
    }
#endif
    run_baseline(sums, bytes, n_blocks);
}
