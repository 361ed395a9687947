// prepare_panel16: stored pieces of a weight [N, K] become its panel16 form; one item is one panel of 16 rows.
//
// Pieces as quantization/formats has them (G groups, W words a row):
//
//   ROWS     plain: elements [N, K]; integers: u32 words [N, W], scales [N, G]
//   COLUMNS  u32 words [W, N], scales [G, N]
//   AWQ      u32 [K, N / 8], u32 zeros [G, N / 8], f16 scales [G, N]; element 8i + r in word i at nibble r % 2 * 4 + r / 2
//   FT       bytes [K, N / 2] in the order of stored_ft_word, f16 scales [1, N]
//   TENSOR   e4m3 [N, K], f32 scale [1]
//   BLOCKS   e4m3 [N, K], f32 scales [ceil(N / 128), ceil(K / 128)]
//   BARE     e5m2 [N, K]
#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/simd.h"
#include "codegen/cpu/kernels/stored_codes.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DTYPE(0);

// One panel.
typedef struct prepare_job {
    kernel_panel16_format format;
    const void *const *pieces;
    int64_t n, k, n_groups;
    int64_t row, n_rows; // the panel's first row, and how many it has
} prepare_job;

// 64 bytes of 16 rows, stride_bytes apart: columns[j] holds the u32 j of every row.
KERNEL_INLINE void prepare_transpose(const void *source, int64_t stride_bytes, u32x16 columns[16]) {
    f32x16 rows[16];
    for (int64_t r = 0; r < 16; r++)
        __builtin_memcpy(&rows[r], (const char *)source + r * stride_bytes, sizeof rows[r]);
    simd_transpose(rows);
    for (int64_t j = 0; j < 16; j++) columns[j] = (u32x16)rows[j];
}

// The low halves of 16 numbers, then the high ones.
KERNEL_INLINE void prepare_halves(u32x16 column, void *target) {
    const u16x16 low = __builtin_convertvector(column & 0xffffu, u16x16);
    const u16x16 high = __builtin_convertvector(column >> 16, u16x16);
    __builtin_memcpy(target, &low, sizeof low);
    __builtin_memcpy((char *)target + 32, &high, sizeof high);
}

// ---- plain ------------------------------------------------------------------------------------------------------------------

KERNEL_INLINE void prepare_u32(const prepare_job *job, uint32_t *target) {
    const uint32_t *source = (const uint32_t *)job->pieces[0] + job->row * job->k;
    int64_t i = 0;
    for (; job->n_rows == 16 && i + 16 <= job->k; i += 16) {
        u32x16 columns[16];
        prepare_transpose(source + i, job->k * 4, columns);
        for (int64_t j = 0; j < 16; j++)
            __builtin_memcpy(target + (i + j) * 16, &columns[j], sizeof columns[j]);
    }
    for (; i < job->k; i++) {
        for (int64_t r = 0; r < 16; r++)
            target[i * 16 + r] = r < job->n_rows ? source[r * job->k + i] : 0;
    }
}

KERNEL_INLINE void prepare_u16(const prepare_job *job, uint16_t *target) {
    const uint16_t *source = (const uint16_t *)job->pieces[0] + job->row * job->k;
    int64_t i = 0;
    for (; job->n_rows == 16 && i + 32 <= job->k; i += 32) {
        u32x16 columns[16];
        prepare_transpose(source + i, job->k * 2, columns);
        for (int64_t j = 0; j < 16; j++) prepare_halves(columns[j], target + (i + 2 * j) * 16);
    }
    for (; i < job->k; i++) {
        for (int64_t r = 0; r < 16; r++)
            target[i * 16 + r] = r < job->n_rows ? source[r * job->k + i] : 0;
    }
}

// bfloat16: two neighbouring k of a row are a word.
KERNEL_INLINE void prepare_pairs(const prepare_job *job, uint16_t *target) {
    const uint16_t *source = (const uint16_t *)job->pieces[0] + job->row * job->k;
    const int64_t unit_k = job->format.unit_k;
    int64_t i = 0;
    for (; job->n_rows == 16 && i + 32 <= job->k; i += 32) {
        u32x16 columns[16];
        prepare_transpose(source + i, job->k * 2, columns);
        __builtin_memcpy(target + i * 16, columns, sizeof columns);
    }
    for (; i < kernel_panel16_units(job->format, job->k) * unit_k; i++) {
        for (int64_t r = 0; r < 16; r++)
            target[i / 2 * 32 + 2 * r + i % 2] =
                r < job->n_rows && i < job->k ? source[r * job->k + i] : 0;
    }
}

// ---- integers ---------------------------------------------------------------------------------------------------------------

// A word of codes with those of k >= K replaced by the constant zero: files hold 0 there.
KERNEL_INLINE uint32_t prepare_tail(const prepare_job *job, uint32_t word, int64_t first_k) {
    const int32_t bits = kernel_code_bits(job->format.code),
                  per_line = kernel_code_per_line(job->format.code);
    const uint32_t zero = job->format.zero == KERNEL_ZERO_STORED ? 0 : (uint32_t)job->format.zero;
    for (int64_t i = 0; i < per_line; i++) {
        if (first_k + i >= job->k)
            word = (word & ~(((1u << bits) - 1u) << (bits * i))) | zero << (bits * i);
    }
    return word;
}

// Scale `index` of the second piece; 0 where index is -1.
KERNEL_INLINE void prepare_scale(
    const prepare_job *job, char *unit, int64_t group, int64_t r, int64_t index) {
    if (job->format.scale == KERNEL_F32)
        ((uint32_t *)(void *)unit)[group * 16 + r] =
            index < 0 ? 0 : ((const uint32_t *)job->pieces[1])[index];
    else
        ((uint16_t *)(void *)unit)[group * 16 + r] =
            index < 0 ? 0 : ((const uint16_t *)job->pieces[1])[index];
}

// Line `word` of the panel, counted over all units.
KERNEL_INLINE char *prepare_line(const prepare_job *job, char *target, int64_t word) {
    const int64_t unit_lines = job->format.unit_k / kernel_code_per_line(job->format.code);
    return target + word / unit_lines * kernel_panel16_unit_bytes(job->format) +
           kernel_panel16_lines_at(job->format) + word % unit_lines * KERNEL_PANEL16_LINE;
}

// ROWS and COLUMNS: the words are the file's, only moved.
KERNEL_INLINE void prepare_words(const prepare_job *job, char *target) {
    const bool is_columns = job->format.stored == KERNEL_STORED_COLUMNS;
    const int64_t per_line = kernel_code_per_line(job->format.code);
    const int64_t n_stored = job->n_groups * kernel_panel16_group_lines(job->format),
                  n_whole = job->k / per_line, // words without a tail
        n_words = kernel_panel16_units(job->format, job->k) * job->format.unit_k / per_line;
    const uint32_t *words = (const uint32_t *)job->pieces[0];
    int64_t word = 0;
    for (; !is_columns && job->n_rows == 16 && word + 16 <= n_whole; word += 16) {
        u32x16 columns[16];
        prepare_transpose(words + job->row * n_stored + word, n_stored * 4, columns);
        for (int64_t j = 0; j < 16; j++)
            __builtin_memcpy(prepare_line(job, target, word + j), &columns[j], sizeof columns[j]);
    }
    for (; word < n_words; word++) {
        uint32_t *line = (uint32_t *)(void *)prepare_line(job, target, word);
        for (int64_t r = 0; r < 16; r++) {
            const bool stored = word < n_stored && r < job->n_rows;
            const int64_t row = job->row + r;
            const uint32_t found =
                stored ? words[is_columns ? word * job->n + row : row * n_stored + word] : 0;
            line[r] = stored && word < n_whole
                          ? found
                          : prepare_tail(job, found, stored ? word * per_line : job->k);
        }
    }
}

KERNEL_INLINE void prepare_scales(const prepare_job *job, char *target) {
    const bool is_columns = job->format.stored == KERNEL_STORED_COLUMNS;
    const int64_t unit_groups = kernel_panel16_unit_groups(job->format);
    const int64_t n_groups = kernel_panel16_units(job->format, job->k) * unit_groups;
    for (int64_t group = 0; group < n_groups; group++) {
        char *unit = target + group / unit_groups * kernel_panel16_unit_bytes(job->format);
        for (int64_t r = 0; r < 16; r++) {
            const bool stored = group < job->n_groups && r < job->n_rows;
            const int64_t row = job->row + r;
            const int64_t index = is_columns ? group * job->n + row : row * job->n_groups + group;
            prepare_scale(job, unit, group % unit_groups, r, stored ? index : -1);
        }
    }
}

// The codes of 16 rows from one or two words of AWQ's order; N is a multiple of 8.
KERNEL_INLINE u32x16 prepare_awq_codes(const prepare_job *job, const uint32_t *words) {
    const uint32_t low = words[0], high = job->n_rows > 8 ? words[1] : 0;
    const u32x16 shifts = {0, 16, 4, 20, 8, 24, 12, 28, 0, 16, 4, 20, 8, 24, 12, 28};
    const u32x16 both = {low,  low,  low,  low,  low,  low,  low,  low,
                         high, high, high, high, high, high, high, high};
    return both >> shifts & 15u;
}

KERNEL_INLINE void prepare_awq(const prepare_job *job, char *target) {
    const kernel_panel16_format format = job->format;
    const int64_t unit_groups = kernel_panel16_unit_groups(format), row_words = job->n / 8;
    const uint32_t *words = (const uint32_t *)job->pieces[0] + job->row / 8;
    const uint32_t *zeros = (const uint32_t *)job->pieces[1] + job->row / 8;
    const uint16_t *scales = (const uint16_t *)job->pieces[2] + job->row;
    for (int64_t u = 0; u < kernel_panel16_units(format, job->k); u++) {
        char *unit = target + u * kernel_panel16_unit_bytes(format);
        for (int64_t g = 0; g < unit_groups; g++) {
            const int64_t group = u * unit_groups + g;
            const bool stored = group < job->n_groups;
            const u32x16 zero =
                stored ? prepare_awq_codes(job, zeros + group * row_words) : (u32x16){0};
            for (int64_t r = 0; r < 16; r++) {
                const bool inside = stored && r < job->n_rows;
                ((uint16_t *)(void *)unit)[g * 16 + r] = inside ? scales[group * job->n + r] : 0;
                ((uint8_t *)unit)[kernel_panel16_zeros_at(format) + g * 16 + r] = (uint8_t)zero[r];
            }
        }
        for (int64_t w = 0; w < format.unit_k / 8; w++) {
            u32x16 line = {0};
            for (int64_t i = 0; i < 8; i++) {
                const int64_t k = u * format.unit_k + w * 8 + i;
                if (k < job->k)
                    line |= prepare_awq_codes(job, words + k * row_words) << (uint32_t)(4 * i);
            }
            __builtin_memcpy(unit + kernel_panel16_lines_at(format) + w * 64, &line, sizeof line);
        }
    }
}

KERNEL_INLINE void prepare_ft(const prepare_job *job, char *target) {
    const kernel_panel16_format format = job->format;
    const uint32_t *words = (const uint32_t *)job->pieces[0];
    const uint16_t *scales = (const uint16_t *)job->pieces[1];
    const int64_t column_words = job->k / 8;
    for (int64_t u = 0; u < kernel_panel16_units(format, job->k); u++) {
        char *unit = target + u * kernel_panel16_unit_bytes(format);
        uint32_t *line = (uint32_t *)(void *)(unit + kernel_panel16_lines_at(format));
        for (int64_t r = 0; r < 16; r++) {
            const int64_t row = job->row + r;
            const bool inside = r < job->n_rows;
            ((uint16_t *)(void *)unit)[r] = inside ? scales[row] : 0;
            for (int64_t w = 0; w < 16; w++) {
                const int64_t word = u * 16 + w; // of the column in natural order
                const int64_t at = stored_ft_at(row, word, column_words);
                line[w * 16 + r] = inside && word < column_words
                                       ? stored_ft_word(words + at, word % 4)
                                       : 0x88888888u;
            }
        }
    }
}

// ---- float8 -----------------------------------------------------------------------------------------------------------------

// The stored scale of the panel's rows in a unit; 256: what an e4m3 code as a half is worth less.
KERNEL_INLINE float prepare_float8_scale(const prepare_job *job, int64_t unit) {
    if (job->format.stored == KERNEL_STORED_BARE) return 1.0f;
    const float *scales = (const float *)job->pieces[1];
    const int64_t n_blocks = (job->k + 127) / 128;
    const int64_t index =
        job->format.stored == KERNEL_STORED_BLOCKS ? job->row / 128 * n_blocks + unit : 0;
    return scales[index] * 256.0f;
}

KERNEL_INLINE void prepare_float8(const prepare_job *job, char *target) {
    const kernel_panel16_format format = job->format;
    const uint8_t *codes = (const uint8_t *)job->pieces[0] + job->row * job->k;
    for (int64_t u = 0; u < kernel_panel16_units(format, job->k); u++) {
        char *unit = target + u * kernel_panel16_unit_bytes(format);
        uint8_t *lines = (uint8_t *)unit + kernel_panel16_lines_at(format);
        const float scale = prepare_float8_scale(job, u);
        const int64_t first = u * format.unit_k;
        const int64_t n_k = job->k - first < format.unit_k ? job->k - first : format.unit_k;
        int64_t i = 0;
        for (; job->n_rows == 16 && i + 64 <= n_k; i += 64) {
            u32x16 columns[16];
            prepare_transpose(codes + first + i, job->k, columns);
            for (int64_t j = 0; j < 16; j++) prepare_halves(columns[j], lines + (i + 4 * j) * 16);
        }
        for (; i < format.unit_k; i++) {
            for (int64_t r = 0; r < 16; r++)
                lines[i / 2 * 32 + 2 * r + i % 2] =
                    r < job->n_rows && i < n_k ? codes[r * job->k + first + i] : 0;
        }
        for (int64_t r = 0; r < 16; r++) {
            const bool inside = r < job->n_rows;
            const bool is_nan = inside && format.code == KERNEL_CODE_E4M3 &&
                                stored_has_nan(codes + r * job->k + first, n_k);
            ((float *)(void *)unit)[r] = is_nan ? __builtin_nanf("") : inside ? scale : 0.0f;
        }
    }
}

// ---- panels -----------------------------------------------------------------------------------------------------------------

void kernel_prepare_panel16(
    const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin, int64_t end);

void kernel_prepare_panel16(
    const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin, int64_t end) {
    prepare_job job = {.pieces = pieces, .n = kernel_dim_0_0(env), .k = kernel_dim_0_1(env)};
    job.format = kernel_panel16_format_of(kernel_dtype_0(env));
    job.n_groups = (job.k + job.format.group - 1) / job.format.group;
    for (int64_t panel = begin; panel < end; panel++) {
        job.row = panel * 16;
        job.n_rows = job.n - job.row < 16 ? job.n - job.row : 16;
        char *target = (char *)prepared + panel * kernel_panel16_panel_bytes(job.format, job.k);
        if (job.format.code == KERNEL_CODE_PLAIN) {
            if (job.format.scale == KERNEL_F32)
                prepare_u32(&job, (uint32_t *)(void *)target);
            else if (job.format.scale == KERNEL_BF16)
                prepare_pairs(&job, (uint16_t *)(void *)target);
            else
                prepare_u16(&job, (uint16_t *)(void *)target);
            continue;
        }
        switch (job.format.stored) {
        case KERNEL_STORED_AWQ: prepare_awq(&job, target); break;
        case KERNEL_STORED_FT: prepare_ft(&job, target); break;
        case KERNEL_STORED_TENSOR:
        case KERNEL_STORED_BLOCKS:
        case KERNEL_STORED_BARE: prepare_float8(&job, target); break;
        default:
            prepare_words(&job, target);
            prepare_scales(&job, target);
            break;
        }
    }
}
