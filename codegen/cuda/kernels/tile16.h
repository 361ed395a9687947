// tile16: the device layout of weights [N, K] (and of embedding tables [V, D]) on CUDA devices. Shared by kernels, by the prepare function
// (CPU bitcode) and by the host code that plans sizes, so it is plain C that is also C++ and includes nothing; KERNEL_F32 … must be known.
//
// The matrix instruction m16n8k16 multiplies 16 rows x 16 k of A (weights) with 16 k x 8 columns of B (tokens). Lane 4 g + t holds of A, for
// rows g and g + 8, four k; which k these are is free as long as B holds the same. So 32 k go to the lanes like this: lane t of a quad
// takes k = 8 t … 8 t + 7 of two rows, its first four in one step, the others in the next. Its piece of x is then 16 bytes in natural
// order, and a weight's bytes lie so that what a lane loads is what it feeds: no shuffles, no shared memory.
//
//   tile   16 rows, K-major; tile p holds rows 16 p … 16 p + 15; tiles follow each other without gaps
//   unit   unit_slots of k of a tile: a header, then lines of 512 bytes: 16 bytes for each lane
//   slot   where an element of k lies: k itself, unless a group is no multiple of 16 (int3: 40 k take 48 slots, 8 of them empty)
//
//   header  for every g a piece of tile16_header_bytes(format) / 8 bytes: scale [half][group of the unit], and where zeros are stored u16
//           zero [half][group]; half 0 is row g, half 1 row g + 8
//   line    u32 word [lane][4]. An octet is the eight slots 32 b + 8 t … + 7 of one row; b counts in the unit:
//             INT4           one word; line b / 2, word b % 2 * 2 + half; code i stands at nibble i / 2 + 4 * (i % 2)
//             INT8 E4M3 E5M2 two words; line b, words 2 * half + i / 4; code i at byte 1, 3, 0, 2 for i % 4 = 0 … 3
//             16-bit plain   four words; line 2 b + i / 4, word i % 4 / 2 * 2 + half, i % 2 = 1 in the high half: A's registers
//             f32            eight words; line 4 b + 2 * half + i / 4, word i % 4
//
//   value = (code - zero) * scale for integers, f16(code) * scale for E4M3 and E5M2. An e4m3 code as f16 is its value / 256, so its scale is
//   stored times 256; an e4m3 NaN makes all scales of its row NaN: what any product with it gives.
//
// Empty slots, and all beyond K and N, hold the constant zero (or 0); scales beyond N and of groups wholly beyond K are 0. So every slot may be
// used without a test as long as x is 0 in empty slots and beyond K. (A started group keeps its scale and its stored zero.)
//
// To add a format of known codes: a row in tile16_format_of, its way out of storage in prepare_tile16.c.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_TILE16_H
#define MLCC_CODEGEN_CUDA_KERNELS_TILE16_H

// Changes when the bytes of a prepared weight change: part of the key of prepared caches.
#define TILE16_VERSION 1

#define TILE16_ROWS       16
#define TILE16_LINE_BYTES 512
#define TILE16_MAX_LINES  8 // of a unit, or of the plain units that a kernel takes together

// What the numbers of a format are.
#define TILE16_NONE  0 // no tile16 form
#define TILE16_PLAIN 1
#define TILE16_INT4  2
#define TILE16_INT8  3
#define TILE16_E4M3  4
#define TILE16_E5M2  5

#define TILE16_ZERO_STORED (-1)

typedef struct tile16_format {
    int code;
    int group;       // k that share a scale
    int group_slots; // slots of a group, a multiple of 16
    int unit_groups;
    int scale; // dtype of the scales; plain: of the elements
    int zero;  // what every integer code has too much, or TILE16_ZERO_STORED
    // One scale along all of K: the group is only how the layout divides K.
    int is_one_scale;
} tile16_format;

#ifdef __CUDACC_RTC__
#    define TILE16_FUNCTION static __device__ __forceinline__
#else
#    define TILE16_FUNCTION static inline
#endif

// The row of a dtype; constant wherever the dtype is.
TILE16_FUNCTION tile16_format tile16_format_of(int dtype) {
    tile16_format f = {TILE16_NONE, 32, 32, 1, KERNEL_F32, 0, 0};
    // clang-format off
#define TILE16_ROW(dtype_, code_, group_, slots_, groups_, scale_, zero_, one_) \
    case dtype_: f.code = code_; f.group = group_; f.group_slots = slots_; f.unit_groups = groups_; f.scale = scale_; f.zero = zero_; f.is_one_scale = one_; break;
    switch (dtype) {
    //          dtype                code          group slots groups scale       zero                one scale
    TILE16_ROW( KERNEL_F32,          TILE16_PLAIN,  32,   32,  1,     KERNEL_F32,  0,                  1 )
    TILE16_ROW( KERNEL_F16,          TILE16_PLAIN,  32,   32,  1,     KERNEL_F16,  0,                  1 )
    TILE16_ROW( KERNEL_BF16,         TILE16_PLAIN,  32,   32,  1,     KERNEL_BF16, 0,                  1 )
    TILE16_ROW( KERNEL_Q4G32_F16,    TILE16_INT4,   32,   32,  4,     KERNEL_F16,  7,                  0 )
    TILE16_ROW( KERNEL_Q4G32_BF16,   TILE16_INT4,   32,   32,  4,     KERNEL_BF16, 7,                  0 )
    TILE16_ROW( KERNEL_Q4G32_F32,    TILE16_INT4,   32,   32,  4,     KERNEL_F32,  7,                  0 )
    TILE16_ROW( KERNEL_Q4G32T_F16,   TILE16_INT4,   32,   32,  4,     KERNEL_F16,  7,                  0 )
    TILE16_ROW( KERNEL_Q4G32T_BF16,  TILE16_INT4,   32,   32,  4,     KERNEL_BF16, 7,                  0 )
    TILE16_ROW( KERNEL_Q3G40_F16,    TILE16_INT4,   40,   48,  4,     KERNEL_F16,  3,                  0 )
    TILE16_ROW( KERNEL_Q3G40T_F16,   TILE16_INT4,   40,   48,  4,     KERNEL_F16,  3,                  0 )
    TILE16_ROW( KERNEL_Q8G32_F16,    TILE16_INT8,   32,   32,  4,     KERNEL_F16,  127,                0 )
    TILE16_ROW( KERNEL_U4G32_F16,    TILE16_INT4,   32,   32,  4,     KERNEL_F16,  TILE16_ZERO_STORED, 0 )
    TILE16_ROW( KERNEL_U4G64_F16,    TILE16_INT4,   64,   64,  2,     KERNEL_F16,  TILE16_ZERO_STORED, 0 )
    TILE16_ROW( KERNEL_U4G128_F16,   TILE16_INT4,  128,  128,  1,     KERNEL_F16,  TILE16_ZERO_STORED, 0 )
    TILE16_ROW( KERNEL_Q4FT_F16,     TILE16_INT4,  128,  128,  1,     KERNEL_F16,  8,                  1 )
    TILE16_ROW( KERNEL_E4M3_F32,     TILE16_E4M3,  128,  128,  1,     KERNEL_F32,  0,                  1 )
    TILE16_ROW( KERNEL_E4M3B128_F32, TILE16_E4M3,  128,  128,  1,     KERNEL_F32,  0,                  0 )
    TILE16_ROW( KERNEL_E5M2,         TILE16_E5M2,  128,  128,  1,     KERNEL_F32,  0,                  1 )
    default: break;
    }
#undef TILE16_ROW
    // clang-format on
    return f;
}

// ---- what follows from a row ------------------------------------------------------------------------------

TILE16_FUNCTION int tile16_scale_bytes(tile16_format f) {
    return f.scale == KERNEL_F32 ? 4 : 2;
}

TILE16_FUNCTION int tile16_unit_slots(tile16_format f) {
    return f.group_slots * f.unit_groups;
}

// k of a unit.
TILE16_FUNCTION int tile16_unit_k(tile16_format f) {
    return f.group * f.unit_groups;
}

// Bytes of the stored form of 32 slots of 16 rows.
TILE16_FUNCTION int tile16_block_bytes(tile16_format f) {
    if (f.code == TILE16_PLAIN) return 512 * tile16_scale_bytes(f);
    return f.code == TILE16_INT4 ? 256 : 512;
}

TILE16_FUNCTION int tile16_unit_lines(tile16_format f) {
    return tile16_unit_slots(f) / 32 * tile16_block_bytes(f) / TILE16_LINE_BYTES;
}

// Offset of the zeros in a g's piece of the header.
TILE16_FUNCTION int tile16_zeros_at(tile16_format f) {
    return 2 * f.unit_groups * tile16_scale_bytes(f);
}

// Bytes of a g's piece of the header: 0, 4, 8, 16 or 32.
TILE16_FUNCTION int tile16_piece_bytes(tile16_format f) {
    if (f.code == TILE16_PLAIN) return 0;
    return tile16_zeros_at(f) + (f.zero == TILE16_ZERO_STORED ? 4 * f.unit_groups : 0);
}

TILE16_FUNCTION int tile16_header_bytes(tile16_format f) {
    return 8 * tile16_piece_bytes(f);
}

TILE16_FUNCTION int tile16_unit_bytes(tile16_format f) {
    return tile16_header_bytes(f) + tile16_unit_lines(f) * TILE16_LINE_BYTES;
}

TILE16_FUNCTION long long tile16_units(tile16_format f, long long k) {
    return k / tile16_unit_k(f) + (k % tile16_unit_k(f) != 0);
}

TILE16_FUNCTION long long tile16_tiles(long long n) {
    return n / TILE16_ROWS + (n % TILE16_ROWS != 0);
}

// Bytes of one tile; n and k must have passed tile16_size.
TILE16_FUNCTION long long tile16_tile_bytes(tile16_format f, long long k) {
    return tile16_units(f, k) * tile16_unit_bytes(f);
}

// Bytes of a prepared weight [n, k], a multiple of 256; -1: the dtype has no tile16 form, or 63 bits do not hold the size.
TILE16_FUNCTION long long tile16_size(int dtype, long long n, long long k) {
    const tile16_format f = tile16_format_of(dtype);
    const long long limit = 0x7fffffffffffff00ll;
    if (f.code == TILE16_NONE || n < 0 || k < 0) return -1;
    // No unit takes more than 64 bytes for a k of 16 rows; the last unit of a tile may be nearly empty.
    if (k > (limit >> 6) - 256) return -1;
    const long long tile_bytes = tile16_tile_bytes(f, k), n_tiles = tile16_tiles(n);
    if (tile_bytes != 0 && n_tiles > limit / tile_bytes) return -1;
    return (n_tiles * tile_bytes + 255) & ~255ll;
}

// ---- where things lie -------------------------------------------------------------------------------------

// k of a slot, or -1 for an empty one.
TILE16_FUNCTION long long tile16_slot_k(tile16_format f, long long slot) {
    if (f.group == f.group_slots) return slot;
    const int steps = f.group_slots / 16, inside = (int)(slot % tile16_unit_slots(f));
    const int step = inside / 32 * 2 + inside % 8 / 4; // of the unit
    const int k = step % steps * 16 + inside % 32 / 8 * 4 + inside % 4;
    if (k >= f.group) return -1;
    return slot / tile16_unit_slots(f) * tile16_unit_k(f) + step / steps * f.group + k;
}

// Slot of a k: the inverse.
TILE16_FUNCTION long long tile16_slot_of(tile16_format f, long long k) {
    if (f.group == f.group_slots) return k;
    const int inside = (int)(k % tile16_unit_k(f)), in_group = inside % f.group;
    const int step = inside / f.group * (f.group_slots / 16) + in_group / 16;
    return k / tile16_unit_k(f) * tile16_unit_slots(f) + step / 2 * 32 + in_group % 16 / 4 * 8 +
           step % 2 * 4 + in_group % 4;
}

// Group, counted in the unit, of a slot counted in the unit.
TILE16_FUNCTION int tile16_slot_group(tile16_format f, int slot) {
    return (slot / 32 * 2 + slot % 8 / 4) / (f.group_slots / 16);
}

// Byte offset in a unit of word `word` of lane `lane` in line `line`.
TILE16_FUNCTION int tile16_word_at(tile16_format f, int line, int lane, int word) {
    return tile16_header_bytes(f) + line * TILE16_LINE_BYTES + lane * 16 + word * 4;
}

// Bit offset from the start of a unit of the code (or plain element) of row r of the tile at `slot` of the unit.
TILE16_FUNCTION int tile16_code_at(tile16_format f, int r, int slot) {
    const int block = slot / 32, i = slot % 8, half = r / 8;
    const int lane = r % 8 * 4 + slot % 32 / 8;
    if (f.code == TILE16_INT4) {
        return tile16_word_at(f, block / 2, lane, block % 2 * 2 + half) * 8 +
               (i / 2 + 4 * (i % 2)) * 4;
    }
    if (f.code != TILE16_PLAIN)
        return tile16_word_at(f, block, lane, 2 * half + i / 4) * 8 +
               ((0x2031 >> (i % 4 * 4)) & 3) * 8;
    if (f.scale == KERNEL_F32)
        return tile16_word_at(f, 4 * block + 2 * half + i / 4, lane, i % 4) * 8;
    return tile16_word_at(f, 2 * block + i / 4, lane, i % 4 / 2 * 2 + half) * 8 + i % 2 * 16;
}

// Byte offset in a unit of the scale of row r in group `group` of the unit; of the zero likewise.
TILE16_FUNCTION int tile16_scale_at(tile16_format f, int r, int group) {
    return r % 8 * tile16_piece_bytes(f) + (r / 8 * f.unit_groups + group) * tile16_scale_bytes(f);
}

TILE16_FUNCTION int tile16_zero_at(tile16_format f, int r, int group) {
    return r % 8 * tile16_piece_bytes(f) + tile16_zeros_at(f) + (r / 8 * f.unit_groups + group) * 2;
}

#endif
