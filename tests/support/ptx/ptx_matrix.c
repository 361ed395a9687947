// Tensor-core instructions of a warp: mma.sync, ldmatrix, stmatrix. Fragment layouts: PTX ISA, "Matrix fragments for mma.m16n8k…".
//
// g = lane / 4, t = lane % 4. A fragment's register r of 16-bit elements holds row g + 8 (r & 1), columns 2t, 2t+1 (+ 8 (r >> 1)); of 8-bit
// elements, columns 4t … 4t+3 (+ 16 (r >> 1)). B: the same with n = g for the row and k for the column, without r & 1. C: row g + 8 (r >> 1),
// columns 2t + (r & 1).
#include "ir/eval.h"
#include "tests/support/ptx/numbers.h"
#include "tests/support/ptx/ptx_decode.h"
#include "tests/support/ptx/ptx_space.h"

#define M_ROWS 16
#define N_COLS 8
#define MAX_K  32

typedef struct tile {
    float a[M_ROWS][MAX_K];
    float b[MAX_K][N_COLS];
    float d[M_ROWS][N_COLS];
} tile;

// detail[0]: element type of A; element_bits: of B; detail[1]: f16 accumulators; detail[2]: k; PTX_SAT: integer sums stay in their range
enum element { ELEMENT_F16, ELEMENT_BF16, ELEMENT_E4M3, ELEMENT_E5M2, ELEMENT_S8, ELEMENT_U8 };

static float element_value(uint8_t type, uint32_t word, int index) {
    switch (type) {
    case ELEMENT_F16: return ptx_from_f16((uint16_t)(word >> 16 * index));
    case ELEMENT_BF16: return ptx_from_bf16((uint16_t)(word >> 16 * index));
    case ELEMENT_E4M3: return ir_f8e4m3_to_f32((uint8_t)(word >> 8 * index));
    case ELEMENT_E5M2: return ir_f8e5m2_to_f32((uint8_t)(word >> 8 * index));
    case ELEMENT_S8: return (float)(int8_t)(word >> 8 * index);
    default: return (float)(uint8_t)(word >> 8 * index);
    }
}

// A and B; accumulators only of floats.
static void load_tile(const ptx_warp *warp, const ptx_insn *insn, tile *out) {
    const uint8_t type = insn->detail[0], type_of_b = insn->element_bits;
    const int per_word = type >= ELEMENT_E4M3 ? 4 : 2;
    const int half_k = 4 * per_word; // columns of one register of A over the four lanes of a row
    const int n_a = insn->detail[2] == half_k ? 2 : 4, n_b = n_a / 2;
    for (int r = 0; r < n_a; r++) {
        const uint32_t *words = ptx_source(warp, insn, r);
        const int row = 8 * (r & 1), column = half_k * (r >> 1);
        PTX_EACH_LANE for (int i = 0; i < per_word; i++)
            out->a[row + lane / 4][column + per_word * (lane % 4) + i] =
            element_value(type, words[lane], i);
    }
    for (int r = 0; r < n_b; r++) {
        const uint32_t *words = ptx_source(warp, insn, n_a + r);
        PTX_EACH_LANE for (int i = 0; i < per_word; i++)
            out->b[half_k * r + per_word * (lane % 4) + i][lane / 4] =
            element_value(type_of_b, words[lane], i);
    }
    if (type >= ELEMENT_S8) return;
    const int n_c = insn->detail[1] != 0 ? 2 : 4;
    for (int r = 0; r < n_c; r++) {
        const uint32_t *words = ptx_source(warp, insn, n_a + n_b + r);
        PTX_EACH_LANE {
            const int column = 2 * (lane % 4);
            if (insn->detail[1] != 0) {
                float *row = out->d[8 * r + lane / 4];
                row[column] = element_value(ELEMENT_F16, words[lane], 0);
                row[column + 1] = element_value(ELEMENT_F16, words[lane], 1);
            } else {
                out->d[8 * (r >> 1) + lane / 4][column + (r & 1)] = ptx_float(words[lane]);
            }
        }
    }
}

static void keep_tile(ptx_warp *warp, const ptx_insn *insn, const tile *from) {
    for (int r = 0; r < insn->n_results; r++) {
        uint32_t words[PTX_LANES];
        PTX_EACH_LANE {
            const int column = 2 * (lane % 4);
            if (insn->detail[1] != 0) {
                const float *row = from->d[8 * r + lane / 4];
                words[lane] = ptx_to_f16(row[column]) | (uint32_t)ptx_to_f16(row[column + 1]) << 16;
            } else {
                words[lane] = ptx_bits(from->d[8 * (r >> 1) + lane / 4][column + (r & 1)]);
            }
        }
        ptx_keep32(warp, insn, r, words, PTX_ALL_LANES);
    }
}

static bool has_all_lanes(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    if (mask != PTX_ALL_LANES) ptx_fail(warp, insn, mask, "needs all 32 lanes of the warp");
    return mask == PTX_ALL_LANES;
}

static void multiply(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    tile work;
    if (!has_all_lanes(warp, insn, mask)) return;
    load_tile(warp, insn, &work);
    for (int m = 0; m < M_ROWS; m++)
        for (int k = 0; k < insn->detail[2]; k++)
            for (int n = 0; n < N_COLS; n++) work.d[m][n] += work.a[m][k] * work.b[k][n];
    keep_tile(warp, insn, &work);
    warp->block->counters->matrix_instructions++;
}

static int32_t keep_in_range(int64_t value) {
    return (int32_t)(value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value);
}

// Sums go round at 2^32 unless they are kept in range. Products of bytes and their sums over k are exact in f32.
static void multiply_integers(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    tile work;
    if (!has_all_lanes(warp, insn, mask)) return;
    load_tile(warp, insn, &work);
    for (int r = 0; r < 4; r++) {
        uint32_t words[PTX_LANES];
        const uint32_t *before = ptx_source(warp, insn, insn->n_sources - 5 + r);
        PTX_EACH_LANE {
            float sum = 0;
            const int m = 8 * (r >> 1) + lane / 4, n = 2 * (lane % 4) + (r & 1);
            for (int k = 0; k < insn->detail[2]; k++) sum += work.a[m][k] * work.b[k][n];
            const int64_t total = (int64_t)(int32_t)before[lane] + (int64_t)sum;
            words[lane] = (insn->flags & PTX_SAT) != 0 ? (uint32_t)keep_in_range(total)
                                                       : (uint32_t)(uint64_t)total;
        }
        ptx_keep32(warp, insn, r, words, PTX_ALL_LANES);
    }
    warp->block->counters->matrix_instructions++;
}

static int find_element(const char *name) {
    static const char *const names[] = {"f16", "bf16", "e4m3", "e5m2", "s8", "u8"};
    for (int i = 0; i < 6; i++)
        if (strcmp(name, names[i]) == 0) return i;
    return -1;
}

// m16n8k16 or k8 of 16 bits, k32 or k16 of 8 bits: A has 4 registers or 2.
static uint32_t registers_of_a(const char *shape, bool is_8_bit) {
    if (strcmp(shape, is_8_bit ? "m16n8k32" : "m16n8k16") == 0) return 4;
    return strcmp(shape, is_8_bit ? "m16n8k16" : "m16n8k8") == 0 ? 2 : 0;
}

// False: no such form. Types are the last four parts: D, A, B, C.
static bool read_mma(ptx_decoder *decoder, uint32_t *n_a, uint32_t *n_c) {
    ptx_insn *insn = &decoder->insn;
    const bool has_sat = ptx_has_part(decoder, "satfinite");
    if (decoder->n_parts != 10u + has_sat) return false;
    const char *const *types = decoder->parts + 6 + has_sat;
    const int a = find_element(types[1]), b = find_element(types[2]);
    if (a < 0 || b < 0 || strcmp(types[0], types[3]) != 0) return false;
    const bool is_integer = a >= ELEMENT_S8, is_8_bit = a >= ELEMENT_E4M3;
    if (is_integer != (b >= ELEMENT_S8) || (!is_8_bit && a != b) ||
        is_8_bit != (b >= ELEMENT_E4M3) || (has_sat && !is_integer))
        return false;
    const bool is_f16 = strcmp(types[0], "f16") == 0;
    if (strcmp(
            types[0], is_integer ? "s32"
                      : is_f16   ? "f16"
                                 : "f32") != 0 ||
        (is_f16 && a == ELEMENT_BF16))
        return false;
    if (strcmp(decoder->parts[1], "sync") != 0 || strcmp(decoder->parts[2], "aligned") != 0 ||
        strcmp(decoder->parts[4], "row") != 0 || strcmp(decoder->parts[5], "col") != 0 ||
        (has_sat && strcmp(decoder->parts[6], "satfinite") != 0))
        return false;
    *n_a = registers_of_a(decoder->parts[3], is_8_bit);
    *n_c = is_f16 ? 2 : 4;
    insn->detail[0] = (uint8_t)a;
    insn->element_bits = (uint8_t)b;
    insn->detail[1] = is_f16;
    insn->detail[2] = (uint8_t)(*n_a * (is_8_bit ? 8 : 4));
    insn->run = is_integer ? multiply_integers : multiply;
    if (has_sat) insn->flags |= PTX_SAT;
    return *n_a != 0;
}

// mma.sync.aligned.m16n8k32.row.col{.satfinite}.f32.e4m3.e5m2.f32 d, a, b, c
mlcc_status *ptx_decode_mma(ptx_decoder *decoder) {
    uint32_t n_a = 0, n_c = 0;
    if (!read_mma(decoder, &n_a, &n_c)) return ptx_unsupported(decoder);
    MLCC_TRY(ptx_expect_args(decoder, 4, 4));
    MLCC_TRY(ptx_add_results(decoder, &decoder->args[0], n_c, 32));
    MLCC_TRY(ptx_add_sources(decoder, &decoder->args[1], n_a, 32));
    MLCC_TRY(ptx_add_sources(decoder, &decoder->args[2], n_a / 2, 32));
    MLCC_TRY(ptx_add_sources(decoder, &decoder->args[3], n_c, 32));
    return ptx_need_whole_warp(decoder);
}

// ---- ldmatrix, stmatrix ------------------------------------------------------------------------------------------------------------------------

#define ROW_BYTES 16 // of an 8x8 matrix of 16-bit elements

// Lane 8 i + r gives the address of row r of matrix i.
static bool locate_rows(
    ptx_warp *warp, const ptx_insn *insn, ptx_use use, ptx_location *rows, uint64_t *addresses) {
    for (int lane = 0; lane < 8 * insn->n_elements; lane++) {
        addresses[lane] = ptx_lane_value(warp, insn, 0, lane) + (uint64_t)insn->offset;
        if (!ptx_locate(
                warp, insn, lane, insn->space, addresses[lane], ROW_BYTES, use, &rows[lane]))
            return false;
        if (!rows[lane].is_shared) {
            ptx_fail(warp, insn, 1u << lane, "the address is not in shared memory");
            return false;
        }
    }
    const int n_lanes = 8 * insn->n_elements;
    ptx_count_shared(
        warp->block, addresses, n_lanes == 32 ? PTX_ALL_LANES : (1u << n_lanes) - 1, ROW_BYTES);
    return true;
}

// Rows of the matrix, or of its transpose, from which a lane holds two neighbours.
static void element_place(const ptx_insn *insn, int lane, int which, int *row, int *column) {
    const bool is_transposed = (insn->flags & PTX_EXTRA) != 0;
    *row = is_transposed ? 2 * (lane % 4) + which : lane / 4;
    *column = is_transposed ? lane / 4 : 2 * (lane % 4) + which;
}

static void load_matrices(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_location rows[PTX_LANES];
    uint64_t addresses[PTX_LANES];
    if (!has_all_lanes(warp, insn, mask)) return;
    if (!locate_rows(warp, insn, PTX_READS, rows, addresses)) return;
    for (int lane = 0; lane < 8 * insn->n_elements; lane++)
        ptx_shadow_read(warp, insn, lane, rows[lane].offset, ROW_BYTES);
    for (int i = 0; i < insn->n_elements; i++) {
        uint32_t words[PTX_LANES] = {0};
        PTX_EACH_LANE for (int which = 0; which < 2; which++) {
            int row = 0, column = 0;
            uint16_t element;
            element_place(insn, lane, which, &row, &column);
            memcpy(&element, rows[8 * i + row].data + 2 * column, sizeof element);
            words[lane] |= (uint32_t)element << 16 * which;
        }
        ptx_keep32(warp, insn, i, words, PTX_ALL_LANES);
    }
}

static void store_matrices(ptx_warp *warp, const ptx_insn *insn, uint32_t mask) {
    ptx_location rows[PTX_LANES];
    uint64_t addresses[PTX_LANES];
    if (!has_all_lanes(warp, insn, mask)) return;
    if (!locate_rows(warp, insn, PTX_WRITES, rows, addresses)) return;
    for (int i = 0; i < insn->n_elements; i++) {
        uint16_t matrix[8][8];
        const uint32_t *words = ptx_source(warp, insn, 1 + i);
        PTX_EACH_LANE for (int which = 0; which < 2; which++) {
            int row = 0, column = 0;
            element_place(insn, lane, which, &row, &column);
            matrix[row][column] = (uint16_t)(words[lane] >> 16 * which);
        }
        for (int row = 0; row < 8; row++) {
            const ptx_location *target = &rows[8 * i + row];
            const uint8_t *bytes = (const uint8_t *)matrix[row];
            ptx_shadow_write(warp, insn, 8 * i + row, target->offset, ROW_BYTES, bytes);
            memcpy(target->data, bytes, ROW_BYTES);
        }
    }
}

// ldmatrix.sync.aligned.m8n8.x4{.trans}.shared.b16 {…}, [p];  stmatrix: the other way round
mlcc_status *ptx_decode_matrix(ptx_decoder *decoder) {
    ptx_insn *insn = &decoder->insn;
    const bool is_load = decoder->parts[0][0] == 'l';
    for (size_t i = 1; i < decoder->n_parts; i++) {
        const char *part = decoder->parts[i];
        if (part[0] == 'x' && (part[1] == '1' || part[1] == '2' || part[1] == '4') &&
            part[2] == '\0')
            insn->n_elements = (uint8_t)(part[1] - '0');
        else if (strcmp(part, "trans") == 0)
            insn->flags |= PTX_EXTRA;
        else if (
            strcmp(part, "sync") != 0 && strcmp(part, "aligned") != 0 &&
            strcmp(part, "m8n8") != 0 && strcmp(part, "shared") != 0 &&
            strcmp(part, "shared::cta") != 0 && strcmp(part, "b16") != 0)
            return ptx_unsupported(decoder);
    }
    if (insn->n_elements == 0) return ptx_unsupported(decoder);
    insn->space = ptx_has_part(decoder, "shared") || ptx_has_part(decoder, "shared::cta")
                      ? PTX_SPACE_SHARED
                      : PTX_SPACE_GENERIC;
    insn->run = is_load ? load_matrices : store_matrices;
    MLCC_TRY(ptx_expect_args(decoder, 2, 2));
    if (is_load) MLCC_TRY(ptx_add_results(decoder, &decoder->args[0], insn->n_elements, 32));
    MLCC_TRY(ptx_add_address(decoder, &decoder->args[is_load ? 1 : 0]));
    if (!is_load) MLCC_TRY(ptx_add_sources(decoder, &decoder->args[1], insn->n_elements, 32));
    return ptx_need_whole_warp(decoder);
}
