// awq-marlin: symmetric 4-bit weights in Marlin's tile order: AutoAWQ's marlin, AutoGPTQ's marlin and
// IST's own files (tensors B and s).
//
//   qweight  i32 [K / 16, 2 N]   row kt holds 16 inputs; 128 words hold 64 outputs (below)
//   scales   f16 [G, N]          columns permuted (below); no zeros: the zero is 8
//
// Word 4 lane + tile of a block of 64 outputs (lane 0 … 31, tile 0 … 3), nibble i, e = (0, 2, 4, 6, 1, 3, 5, 7)[i]:
//   input 16 kt + 2 (lane mod 4) + (e mod 2) + 8 ((e mod 4) div 2), output 16 tile + lane div 4 + 8 (e div 4)
// Scales, more than one group: in every 64 columns position 8 a + b holds output a + 8 b.
// One group: in every 32, position 8 a + t holds output 2 a + (0, 1, 8, 9, 16, 17, 24, 25)[t].
#include "quantization/foreign/foreign_parts.h"
#include "quantization/foreign/layouts.h"
#include "quantization/foreign/packed_bits.h"

enum { QWEIGHT, SCALES };
enum { BLOCK = 64, TILE = 16, BLOCK_WORDS = 128 };

static int64_t scale_column(int64_t n, int64_t n_groups) {
    if (n_groups > 1) return (n & ~(int64_t)63) + 8 * (n & 7) + ((n & 63) >> 3);
    // n mod 32 = 8 q + 2 a + r: pair a of run q.
    const int64_t run = (n & 31) >> 3, pair = (n & 7) >> 1;
    return (n & ~(int64_t)31) + 8 * pair + 2 * run + (n & 1);
}

static mlcc_status *describe(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon) {
    const quant_foreign_tensor *parts = weight->parts;
    *canon = (quant_canon){0};
    MLCC_TRY(quant_part_begin(weight));
    MLCC_TRY(quant_part_expect(
        weight, SCALES, QUANT_TYPES_SCALE, 2, QUANT_ANY_DIM, QUANT_ANY_DIM, "[groups, N]"));
    const int64_t n_groups = parts[SCALES].dims[0], n_rows = parts[SCALES].dims[1];
    MLCC_TRY(quant_part_expect(
        weight, QWEIGHT, QUANT_TYPES_WORD, 2, QUANT_ANY_DIM, 2 * n_rows, "[K / 16, 2 * N]"));
    const int64_t columns = TILE * parts[QWEIGHT].dims[0];
    MLCC_TRY(quant_part_check_bits(weight, QWEIGHT, hints, 4));
    if (n_rows % BLOCK != 0) {
        return quant_part_refuse(
            weight, SCALES, "N = %lld, expected a multiple of %d for layout awq-marlin",
            (long long)n_rows, (int)BLOCK);
    }
    int64_t group = 0;
    MLCC_TRY(
        quant_part_group(weight, SCALES, hints, columns, n_groups, QUANT_GROUP_DIVIDES, &group));
    return quant_part_finish(weight, QUANT_CANON_INT, n_rows, columns, 4, group, n_groups, canon);
}

static mlcc_status *check(
    quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
    mlcc_arena *keep) {
    (void)hints, (void)canon, (void)keep;
    return quant_part_check_finite(weight, SCALES);
}

// One tile of 64 outputs and 16 inputs.
static void unpack_tile(const uint32_t *restrict words, uint8_t codes[BLOCK][TILE]) {
    for (int32_t lane = 0; lane < 32; lane++) {
        for (int32_t tile = 0; tile < 4; tile++) {
            const uint32_t word = words[4 * lane + tile];
            for (int32_t i = 0; i < 8; i++) {
                const int32_t e = quant_awq_order[i];
                const int32_t k = 2 * (lane % 4) + e % 2 + 8 * (e % 4 / 2);
                const int32_t n = TILE * tile + lane / 4 + 8 * (e / 4);
                codes[n][k] = (uint8_t)((word >> (4 * i)) & 15u);
            }
        }
    }
}

static void pack_tile(const uint8_t codes[BLOCK][TILE], uint32_t *restrict words) {
    for (int32_t lane = 0; lane < 32; lane++) {
        for (int32_t tile = 0; tile < 4; tile++) {
            uint32_t word = 0;
            for (int32_t i = 0; i < 8; i++) {
                const int32_t e = quant_awq_order[i];
                const int32_t k = 2 * (lane % 4) + e % 2 + 8 * (e % 4 / 2);
                const int32_t n = TILE * tile + lane / 4 + 8 * (e / 4);
                word |= (uint32_t)codes[n][k] << (4 * i);
            }
            words[4 * lane + tile] = word;
        }
    }
}

static void unpack(
    const quant_foreign_weight *weight, const quant_foreign_hints *hints, const quant_canon *canon,
    quant_canon_rows *rows) {
    (void)hints;
    const uint32_t *words = weight->parts[QWEIGHT].data;
    const int64_t first = rows->first_row, end = rows->first_row + rows->n_rows;
    uint8_t codes[BLOCK][TILE];
    for (int64_t block = first / BLOCK; BLOCK * block < end; block++) {
        const int64_t begin = BLOCK * block > first ? BLOCK * block : first;
        const int64_t stop = BLOCK * (block + 1) < end ? BLOCK * (block + 1) : end;
        for (int64_t kt = 0; kt < canon->columns / TILE; kt++) {
            unpack_tile(words + kt * 2 * canon->n_rows + BLOCK_WORDS * block, codes);
            for (int64_t n = begin; n < stop; n++) {
                memcpy(
                    rows->codes + (n - first) * canon->columns + TILE * kt,
                    codes[n - BLOCK * block], TILE);
            }
        }
    }
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const int64_t column = scale_column(first + r, canon->n_groups);
        for (int64_t j = 0; j < canon->n_groups; j++) {
            quant_part_floats(
                &weight->parts[SCALES], j * canon->n_rows + column, 1,
                rows->scales + r * canon->n_groups + j);
        }
    }
    quant_zeros_fill(canon, rows, 8);
}

static mlcc_status *pack(
    const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
    quant_foreign_weight *weight) {
    const quant_foreign_layout *layout = &quant_foreign_awq_marlin;
    MLCC_TRY(quant_pack_check(
        layout, canon, rows,
        &(quant_pack_limits){.kind = QUANT_CANON_INT,
                             .bits = 1u << 4,
                             .rows_multiple = BLOCK,
                             .columns_multiple = TILE,
                             .min_zero = 8,
                             .max_zero = 8}));
    quant_pack_begin(weight, layout);
    const ir_dtype dtype = quant_pack_scale_dtype(canon, rows);
    uint32_t *words =
        quant_pack_new(weight, QWEIGHT, keep, IR_I32, 2, canon->columns / TILE, 2 * canon->n_rows);
    void *scales = quant_pack_new(weight, SCALES, keep, dtype, 2, canon->n_groups, canon->n_rows);
    uint8_t codes[BLOCK][TILE];
    for (int64_t kt = 0; kt < canon->columns / TILE; kt++) {
        for (int64_t block = 0; block < canon->n_rows / BLOCK; block++) {
            for (int64_t n = 0; n < BLOCK; n++) {
                memcpy(
                    codes[n], rows->codes + (BLOCK * block + n) * canon->columns + TILE * kt, TILE);
            }
            pack_tile(
                (const uint8_t(*)[TILE])codes,
                words + kt * 2 * canon->n_rows + BLOCK_WORDS * block);
        }
    }
    for (int64_t n = 0; n < canon->n_rows; n++) {
        for (int64_t j = 0; j < canon->n_groups; j++) {
            quant_pack_float(
                scales, dtype, j * canon->n_rows + scale_column(n, canon->n_groups),
                rows->scales[n * canon->n_groups + j]);
        }
    }
    return NULL;
}

const quant_foreign_layout quant_foreign_awq_marlin = {
    .name = "awq-marlin",
    .family = "awq",
    .other_family = "gptq",
    .meaning = "Marlin: symmetric, 16 x 16 tiles in tensor-core order, permuted scales",
    .formats = {"marlin"},
    .parts =
        {{.suffix = "qweight", .alternative = "B", .is_required = true},
         {.suffix = "scales", .alternative = "s", .is_required = true}},
    .describe = describe,
    .check = check,
    .unpack = unpack,
    .pack = pack,
};
