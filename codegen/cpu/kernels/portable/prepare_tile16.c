// prepare_tile16: stored pieces of a weight [N, K] become its tile16 form (codegen/cuda/kernels/tile16.h); one item is one tile of 16 rows.
// The pieces are those that prepare_panel16.c draws; enum kernel_stored says which of them a dtype has.
//
// Work goes by octets: eight neighbouring slots of one row, which are eight neighbouring k unless the format has empty slots.
#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/stored_codes.h"
#include "codegen/cuda/kernels/tile16.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DTYPE(0);

// One tile.
typedef struct prepare_job {
    tile16_format format;
    int32_t stored; // enum kernel_stored
    const void *const *pieces;
    int64_t n, k, n_groups;
    int64_t row, n_rows; // the tile's first row, and how many it has
} prepare_job;

// ---- plain ------------------------------------------------------------------------------------------------------------------

KERNEL_INLINE void prepare_plain(const prepare_job *job, char *unit, int64_t first_k) {
    const tile16_format f = job->format;
    for (int32_t r = 0; r < 16; r++) {
        for (int32_t slot = 0; slot < 32; slot++) {
            const bool inside = r < job->n_rows && first_k + slot < job->k;
            const int64_t index = (job->row + r) * job->k + first_k + slot;
            const int32_t at = tile16_code_at(f, r, slot);
            if (f.scale == KERNEL_F32)
                ((uint32_t *)(void *)unit)[at / 32] =
                    inside ? ((const uint32_t *)job->pieces[0])[index] : 0;
            else
                ((uint16_t *)(void *)unit)[at / 16] =
                    inside ? ((const uint16_t *)job->pieces[0])[index] : 0;
        }
    }
}

// ---- 4 bits and fewer -------------------------------------------------------------------------------------------------------

// The code of one element by AWQ's order: eight rows of one k share a word, row r at nibble r % 2 * 4 + r / 2.
KERNEL_INLINE uint32_t prepare_awq_code(const uint32_t *words, int64_t row) {
    return words[row / 8] >> (4 * (row % 2 * 4 + row % 8 / 2)) & 15u;
}

// The code of one int3 element: ten to a word, four words to a group of 40.
KERNEL_INLINE uint32_t prepare_int3_code(const prepare_job *job, int64_t row, int64_t k) {
    const int64_t word = k / 10;
    const uint32_t *words = (const uint32_t *)job->pieces[0];
    const int64_t index =
        job->stored == KERNEL_STORED_COLUMNS ? word * job->n + row : row * job->n_groups * 4 + word;
    return words[index] >> (3 * (k % 10)) & 7u;
}

// Eight codes of a row, low nibble first, k a multiple of 8 and below K.
KERNEL_INLINE uint32_t prepare_natural_word(const prepare_job *job, int64_t row, int64_t k) {
    const uint32_t *words = (const uint32_t *)job->pieces[0];
    const int64_t word = k / 8;
    if (job->stored == KERNEL_STORED_COLUMNS) return words[word * job->n + row];
    if (job->stored == KERNEL_STORED_FT)
        return stored_ft_word(words + stored_ft_at(row, word, job->k / 8), word % 4);
    if (job->stored == KERNEL_STORED_AWQ) {
        uint32_t codes = 0;
        for (int64_t i = 0; i < 8 && k + i < job->k; i++)
            codes |= prepare_awq_code(words + (k + i) * (job->n / 8), row) << (uint32_t)(4 * i);
        return codes;
    }
    return words[row * job->n_groups * (job->format.group / 8) + word];
}

// Nibble i of a word to nibble i / 2 + 4 * (i % 2).
KERNEL_INLINE uint32_t prepare_spread(uint32_t word) {
    uint32_t even = word & 0x0f0f0f0fu, odd = word >> 4 & 0x0f0f0f0fu;
    even = (even | even >> 4) & 0x00ff00ffu;
    odd = (odd | odd >> 4) & 0x00ff00ffu;
    even = (even | even >> 8) & 0xffffu;
    odd = (odd | odd >> 8) & 0xffffu;
    return even | odd << 16;
}

KERNEL_INLINE void prepare_int4(const prepare_job *job, char *unit, int64_t first_slot) {
    const tile16_format f = job->format;
    const uint32_t zero = f.zero == TILE16_ZERO_STORED ? 0 : (uint32_t)f.zero;
    for (int32_t slot = 0; slot < tile16_unit_slots(f); slot += 8) {
        const int64_t k = tile16_slot_k(f, first_slot + slot);
        for (int32_t r = 0; r < 16; r++) {
            uint32_t word = zero * 0x11111111u;
            if (f.group != f.group_slots) {
                for (int32_t i = 0; i < 8; i++) {
                    const int64_t code_k = tile16_slot_k(f, first_slot + slot + i);
                    if (r >= job->n_rows || code_k < 0 || code_k >= job->k) continue;
                    const uint32_t code = prepare_int3_code(job, job->row + r, code_k);
                    word = (word & ~(15u << (4 * i))) | code << (4 * i);
                }
            } else if (r < job->n_rows && k < job->k) {
                const int64_t n_codes = job->k - k < 8 ? job->k - k : 8;
                const uint32_t kept = (uint32_t)((1ull << (4 * n_codes)) - 1);
                word = (prepare_natural_word(job, job->row + r, k) & kept) | (word & ~kept);
            }
            ((uint32_t *)(void *)unit)[tile16_code_at(f, r, slot) / 32] = prepare_spread(word);
        }
    }
}

// ---- bytes ------------------------------------------------------------------------------------------------------------------

KERNEL_INLINE void prepare_bytes(const prepare_job *job, char *unit, int64_t first_k) {
    const tile16_format f = job->format;
    // Codes of int8 lie four to a word, low byte first: bytes too.
    const int64_t row_bytes = f.code == TILE16_INT8 ? job->n_groups * f.group : job->k;
    for (int32_t r = 0; r < 16; r++) {
        const uint8_t *codes = (const uint8_t *)job->pieces[0] + (job->row + r) * row_bytes;
        for (int32_t slot = 0; slot < tile16_unit_slots(f); slot++) {
            const int64_t k = first_k + slot;
            ((uint8_t *)unit)[tile16_code_at(f, r, slot) / 8] =
                r < job->n_rows && k < job->k ? codes[k] : (uint8_t)f.zero;
        }
    }
}

// ---- scales and zeros -------------------------------------------------------------------------------------------------------

KERNEL_INLINE void prepare_integer_header(const prepare_job *job, char *unit, int64_t first_group) {
    const tile16_format f = job->format;
    const void *scales = job->pieces[job->stored == KERNEL_STORED_AWQ ? 2 : 1];
    for (int32_t g = 0; g < f.unit_groups; g++) {
        const int64_t group = first_group + g;
        for (int32_t r = 0; r < 16; r++) {
            const bool inside = r < job->n_rows && group < job->n_groups;
            const int64_t row = job->row + r;
            const int64_t index = job->stored == KERNEL_STORED_ROWS ? row * job->n_groups + group
                                  : job->stored == KERNEL_STORED_FT ? row
                                                                    : group * job->n + row;
            char *scale = unit + tile16_scale_at(f, r, g);
            if (f.scale == KERNEL_F32)
                *(uint32_t *)(void *)scale = inside ? ((const uint32_t *)scales)[index] : 0;
            else
                *(uint16_t *)(void *)scale = inside ? ((const uint16_t *)scales)[index] : 0;
            if (f.zero != TILE16_ZERO_STORED) continue;
            const uint32_t *zeros = (const uint32_t *)job->pieces[1] + group * (job->n / 8);
            *(uint16_t *)(void *)(unit + tile16_zero_at(f, r, g)) =
                inside ? (uint16_t)prepare_awq_code(zeros, row) : 0;
        }
    }
}

// 256: what an e4m3 code as a half is worth less.
KERNEL_INLINE float prepare_float8_scale(const prepare_job *job, int64_t group) {
    if (job->stored == KERNEL_STORED_BARE) return 1.0f;
    const int64_t index =
        job->stored == KERNEL_STORED_BLOCKS ? job->row / 128 * job->n_groups + group : 0;
    return ((const float *)job->pieces[1])[index] * 256.0f;
}

KERNEL_INLINE void prepare_float8_headers(const prepare_job *job, char *target, int64_t n_units) {
    const tile16_format f = job->format;
    for (int32_t r = 0; r < 16; r++) {
        const bool inside = r < job->n_rows;
        const bool is_nan =
            inside && f.code == TILE16_E4M3 &&
            stored_has_nan((const uint8_t *)job->pieces[0] + (job->row + r) * job->k, job->k);
        for (int64_t u = 0; u < n_units; u++) {
            const float scale = inside ? prepare_float8_scale(job, u) : 0.0f;
            *(float *)(void *)(target + u * tile16_unit_bytes(f) + tile16_scale_at(f, r, 0)) =
                is_nan ? __builtin_nanf("") : scale;
        }
    }
}

// ---- tiles ------------------------------------------------------------------------------------------------------------------

void kernel_prepare_tile16(
    const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin, int64_t end);

void kernel_prepare_tile16(
    const kernel_env *env, const void *const *pieces, void *prepared, int64_t begin, int64_t end) {
    prepare_job job = {.pieces = pieces, .n = kernel_dim_0_0(env), .k = kernel_dim_0_1(env)};
    const tile16_format f = tile16_format_of(kernel_dtype_0(env));
    job.format = f;
    job.stored = kernel_panel16_format_of(kernel_dtype_0(env)).stored;
    job.n_groups = (job.k + f.group - 1) / f.group;
    const int64_t n_units = tile16_units(f, job.k);
    for (int64_t tile = begin; tile < end; tile++) {
        job.row = tile * 16;
        job.n_rows = job.n - job.row < 16 ? job.n - job.row : 16;
        char *target = (char *)prepared + tile * tile16_tile_bytes(f, job.k);
        for (int64_t u = 0; u < n_units; u++) {
            char *unit = target + u * tile16_unit_bytes(f);
            if (f.code == TILE16_PLAIN)
                prepare_plain(&job, unit, u * tile16_unit_k(f));
            else if (f.code == TILE16_INT4)
                prepare_int4(&job, unit, u * tile16_unit_slots(f));
            else
                prepare_bytes(&job, unit, u * tile16_unit_k(f));
            if (f.code == TILE16_INT4 || f.code == TILE16_INT8)
                prepare_integer_header(&job, unit, u * f.unit_groups);
        }
        if (f.code == TILE16_E4M3 || f.code == TILE16_E5M2)
            prepare_float8_headers(&job, target, n_units);
    }
}
