// prepare_panel16: stored pieces of a weight [N, K] become its panel16 form; one item is one panel of 16 rows.
//
// pieces, Q4G32_F16: [0] q_weight u32 [N, 4 G], [1] q_scale f16 [N, G], G = ceil(K / 32). Other dtypes: [0] elements [N, K].
// The hooks are constants and are called with NULL: there is no launch yet.
#include "codegen/cpu/kernels/panel16.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DTYPE(0);

KERNEL_INLINE void prepare_f32(
    const uint32_t *source, uint32_t *target, int64_t n_rows, int64_t k) {
    for (int64_t i = 0; i < k; i++) {
        for (int64_t r = 0; r < 16; r++) target[i * 16 + r] = r < n_rows ? source[r * k + i] : 0;
    }
}

KERNEL_INLINE void prepare_f16(
    const uint16_t *source, uint16_t *target, int64_t n_rows, int64_t k) {
    for (int64_t i = 0; i < k; i++) {
        for (int64_t r = 0; r < 16; r++) target[i * 16 + r] = r < n_rows ? source[r * k + i] : 0;
    }
}

// Word w of a row's group with the codes of k >= K replaced by 7: the file holds zeros there.
KERNEL_INLINE uint32_t prepare_word(uint32_t word, int64_t first_k, int64_t k) {
    for (int64_t i = 0; i < 8; i++) {
        if (first_k + i >= k) word = (word & ~(15u << (4 * i))) | 7u << (4 * i);
    }
    return word;
}

// One group of a panel; words and scales: of the panel's first row at this group, n_groups groups to a row.
KERNEL_INLINE void prepare_group(
    const uint32_t *words, const uint16_t *scales, int64_t n_groups, int64_t n_rows,
    int64_t first_k, int64_t k, uint32_t *group_words, uint16_t *group_scales) {
    for (int64_t r = 0; r < 16; r++) {
        const int stored = first_k < k && r < n_rows;
        group_scales[r] = stored ? scales[r * n_groups] : 0;
        for (int64_t w = 0; w < 4; w++) {
            const uint32_t word = stored ? words[r * n_groups * 4 + w] : 0x77777777u;
            group_words[w * 16 + r] =
                first_k + 32 <= k ? word : prepare_word(word, first_k + w * 8, k);
        }
    }
}

KERNEL_INLINE void prepare_q4(
    const uint32_t *words, const uint16_t *scales, char *target, int64_t n_rows, int64_t k) {
    const int64_t n_groups = (k + 31) / 32;
    for (int64_t group = 0; group < kernel_panel16_units(k) * 2; group++) {
        char *unit = target + group / 2 * KERNEL_PANEL16_UNIT_BYTES;
        uint16_t *group_scales = (uint16_t *)(void *)unit + group % 2 * 16;
        uint32_t *group_words =
            (uint32_t *)(void *)(unit + KERNEL_PANEL16_UNIT_WORDS) + group % 2 * 64;
        prepare_group(
            words + group * 4, scales + group, n_groups, n_rows, group * 32, k, group_words,
            group_scales);
    }
}

void kernel_prepare_panel16(const void *const *pieces, void *prepared, int64_t begin, int64_t end);

void kernel_prepare_panel16(const void *const *pieces, void *prepared, int64_t begin, int64_t end) {
    const int64_t n = kernel_dim_0_0(NULL), k = kernel_dim_0_1(NULL);
    const int32_t dtype = kernel_dtype_0(NULL);
    const int64_t n_groups = (k + 31) / 32;
    for (int64_t panel = begin; panel < end; panel++) {
        const int64_t row = panel * 16;
        const int64_t n_rows = n - row < 16 ? n - row : 16;
        char *target = (char *)prepared + panel * kernel_panel16_panel_bytes(dtype, k);
        if (dtype == KERNEL_Q4G32_F16) {
            prepare_q4(
                (const uint32_t *)pieces[0] + row * n_groups * 4,
                (const uint16_t *)pieces[1] + row * n_groups, target, n_rows, k);
        } else if (dtype == KERNEL_F32) {
            prepare_f32(
                (const uint32_t *)pieces[0] + row * k, (uint32_t *)(void *)target, n_rows, k);
        } else {
            prepare_f16(
                (const uint16_t *)pieces[0] + row * k, (uint16_t *)(void *)target, n_rows, k);
        }
    }
}
