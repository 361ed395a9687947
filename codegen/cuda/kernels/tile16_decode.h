// tile16_decode: tile16 weights (tile16.h) from global memory into the registers of a warp, and there into fragments of the matrix instruction
// or into floats. Everything about the format is constant, so what remains of each function is a few instructions.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_TILE16_DECODE_H
#define MLCC_CODEGEN_CUDA_KERNELS_TILE16_DECODE_H

// What a lane holds of a unit: its 16 bytes of every line, and the piece of the header of its rows g and g + 8.
typedef struct tile16_lane {
    u32x4 lines[TILE16_MAX_LINES];
    u32 header[8];
} tile16_lane;

// ---- loading ----------------------------------------------------------------------------------------------

// Where a lane reads a unit. Pointers of its own that only ever move by constants, so that loads have constant offsets from them.
typedef struct tile16_at {
    const char *lines, *header;
} tile16_at;

DEVICE tile16_at tile16_at_unit(tile16_format f, const char *unit) {
    tile16_at at;
    at.lines = unit + tile16_word_at(f, 0, lane_index(), 0);
    at.header = unit + lane_index() / 4 * tile16_piece_bytes(f);
    return at;
}

// The same in the unit `n_units` further on.
DEVICE tile16_at tile16_after(tile16_format f, tile16_at at, i32 n_units) {
    at.lines += n_units * tile16_unit_bytes(f);
    at.header += n_units * tile16_unit_bytes(f);
    return at;
}

DEVICE void tile16_load_line(tile16_at at, i32 line, tile16_lane *into) {
    into->lines[line] = load_global_u32x4(at.lines + line * TILE16_LINE_BYTES);
}

DEVICE void tile16_load_header(tile16_format f, tile16_at at, tile16_lane *into) {
    const i32 n_words = tile16_piece_bytes(f) / 4;
    if (n_words == 1) into->header[0] = load_global_u32(at.header);
    if (n_words == 2) {
        const u32x2 two = load_global_u32x2(at.header);
        into->header[0] = two.x;
        into->header[1] = two.y;
    }
    UNROLL
    for (i32 i = 0; i + 4 <= n_words; i += 4) {
        const u32x4 four = load_global_u32x4(at.header + i * 4);
        into->header[i] = four.x;
        into->header[i + 1] = four.y;
        into->header[i + 2] = four.z;
        into->header[i + 3] = four.w;
    }
}

DEVICE void tile16_load_unit(tile16_format f, tile16_at at, tile16_lane *into) {
    UNROLL
    for (i32 line = 0; line < tile16_unit_lines(f); line++) tile16_load_line(at, line, into);
    tile16_load_header(f, at, into);
}

// First line that blocks of 32 slots after `block` need: lines below are used up once the blocks below are.
DEVICE i32 tile16_block_line(tile16_format f, i32 block) {
    return block * tile16_block_bytes(f) / TILE16_LINE_BYTES;
}

// The lines that a block has used up.
DEVICE void tile16_load_block(tile16_format f, tile16_at at, i32 block, tile16_lane *into) {
    UNROLL
    for (i32 line = tile16_block_line(f, block); line < tile16_block_line(f, block + 1); line++)
        tile16_load_line(at, line, into);
}

// Scale of row g + 8 * half in group `group` of the unit.
DEVICE float tile16_scale(tile16_format f, const tile16_lane *lane, i32 half, i32 group) {
    const i32 index = half * f.unit_groups + group;
    if (f.scale == KERNEL_F32) return bits_float(lane->header[index]);
    const u16 bits = (u16)(lane->header[index / 2] >> (index % 2 * 16));
    return f.scale == KERNEL_F16 ? f16_to_f32(bits) : bf16_to_f32(bits);
}

// The same twice, side by side; 16-bit scales only.
DEVICE u32 tile16_scale_pair(tile16_format f, const tile16_lane *lane, i32 half, i32 group) {
    const i32 index = half * f.unit_groups + group;
    return permute_bytes(lane->header[index / 2], 0, index % 2 == 0 ? 0x1010 : 0x3232);
}

// The zero twice, side by side, as u16.
DEVICE u32 tile16_zero_pair(tile16_format f, const tile16_lane *lane, i32 half, i32 group) {
    if (f.zero != TILE16_ZERO_STORED) return (u32)f.zero * 0x10001u;
    const i32 index = tile16_zeros_at(f) / 2 + half * f.unit_groups + group;
    return permute_bytes(lane->header[index / 2], 0, index % 2 == 0 ? 0x1010 : 0x3232);
}

// ---- codes without their scale, as pairs of 16-bit floats -------------------------------------------------

// Eight 4-bit codes less their zero. f16: a code under the mantissa of 1024 is 1024 + code, sixteen times a code 1024 + 16 code; both
// subtractions are exact. bf16: 128 + code.
DEVICE void tile16_int4_pairs(u32 word, u32 zero, bool is_bf16, u32 pairs[4]) {
    if (is_bf16) {
        UNROLL
        for (i32 i = 0; i < 4; i++) {
            const u32 biased = and_or(word >> (4 * i), 0x000f000fu, 0x43004300u);
            pairs[i] = bf162_fma(biased, 0x3f803f80u, zero | 0xc300c300u);
        }
        return;
    }
    const u32 high = word >> 8, offset = zero | 0x64006400u, offset16 = zero << 4 | 0xd400d400u;
    pairs[0] = half2_sub(and_or(word, 0x000f000fu, 0x64006400u), offset);
    pairs[1] = half2_fma(and_or(word, 0x00f000f0u, 0x64006400u), 0x2c002c00u, offset16);
    pairs[2] = half2_sub(and_or(high, 0x000f000fu, 0x64006400u), offset);
    pairs[3] = half2_fma(and_or(high, 0x00f000f0u, 0x64006400u), 0x2c002c00u, offset16);
}

// Four bytes: pairs[0] of bytes 1 and 3, pairs[1] of bytes 0 and 2.
DEVICE void tile16_int8_pairs(u32 word, i32 zero, bool is_bf16, u32 pairs[2]) {
    if (is_bf16) {
        // A code under the mantissa of 2^23 as f32; what remains has eight significant bits.
        const float offset = (float)(0x800000 + zero);
        float values[4];
        UNROLL
        for (i32 i = 0; i < 4; i++)
            values[i] = bits_float(permute_bytes(word, 0x4b000000u, 0x7440u + (u32)i)) - offset;
        pairs[0] = pack_bf16x2(values[1], values[3]);
        pairs[1] = pack_bf16x2(values[0], values[2]);
        return;
    }
    const u32 offset = (0x6400u + (u32)zero) * 0x10001u;
    pairs[0] = half2_sub(permute_bytes(word, 0x64646464u, 0x4341), offset);
    pairs[1] = half2_sub(permute_bytes(word, 0x64646464u, 0x4240), offset);
}

// The value / 256. bf16: exponent and fraction in its fields give the value times 2^-120, exactly.
DEVICE u32 tile16_e4m3_pair(u32 high_bytes, bool is_bf16) {
    const u32 sign = high_bytes & 0x80008000u;
    if (!is_bf16) return and_or(high_bytes >> 1, 0x3f803f80u, sign);
    return bf162_fma(and_or(high_bytes >> 4, 0x07f007f0u, sign), 0x77807780u, 0x80008000u);
}

// Eight slots of one row: of 4-bit codes the first word counts, of bytes both. pairs[i]: slots 2 i and 2 i + 1.
DEVICE void tile16_octet_pairs(
    tile16_format f, u32 first, u32 second, u32 zero, bool is_bf16, u32 pairs[4]) {
    if (f.code == TILE16_INT4) {
        tile16_int4_pairs(first, zero, is_bf16, pairs);
    } else if (f.code == TILE16_INT8) {
        tile16_int8_pairs(first, f.zero, is_bf16, pairs);
        tile16_int8_pairs(second, f.zero, is_bf16, pairs + 2);
    } else if (f.code == TILE16_E4M3) {
        pairs[0] = tile16_e4m3_pair(first, is_bf16);
        pairs[1] = tile16_e4m3_pair(first << 8, is_bf16);
        pairs[2] = tile16_e4m3_pair(second, is_bf16);
        pairs[3] = tile16_e4m3_pair(second << 8, is_bf16);
    } else { // E5M2 is the high byte of an f16
        pairs[0] = first & 0xff00ff00u;
        pairs[1] = permute_bytes(first, 0, 0x2404);
        pairs[2] = second & 0xff00ff00u;
        pairs[3] = permute_bytes(second, 0, 0x2404);
    }
}

// The pairs of row g + 8 * half in block `block` of the unit; not for f32.
DEVICE void tile16_pairs(
    tile16_format f, const tile16_lane *lane, i32 block, i32 half, bool is_bf16, u32 pairs[4]) {
    if (f.code == TILE16_PLAIN) {
        const u32x4 low = lane->lines[2 * block], high = lane->lines[2 * block + 1];
        pairs[0] = half == 0 ? low.x : low.y;
        pairs[1] = half == 0 ? low.z : low.w;
        pairs[2] = half == 0 ? high.x : high.y;
        pairs[3] = half == 0 ? high.z : high.w;
    } else if (f.code == TILE16_INT4) {
        const u32x4 line = lane->lines[block / 2];
        const u32 word =
            block % 2 == 0 ? (half == 0 ? line.x : line.y) : (half == 0 ? line.z : line.w);
        const i32 steps = f.group_slots / 16;
        if (2 * block / steps == (2 * block + 1) / steps) {
            const u32 zero = tile16_zero_pair(f, lane, half, 2 * block / steps);
            tile16_octet_pairs(f, word, 0, zero, is_bf16, pairs);
        } else { // two groups, which then have a constant zero
            tile16_octet_pairs(f, word, 0, (u32)f.zero * 0x10001u, is_bf16, pairs);
        }
    } else {
        const u32x4 line = lane->lines[block];
        tile16_octet_pairs(
            f, half == 0 ? line.x : line.z, half == 0 ? line.y : line.w, 0, is_bf16, pairs);
    }
}

// Fragments of A for both steps of a block.
DEVICE void tile16_fragments(
    tile16_format f, const tile16_lane *lane, i32 block, bool is_bf16, u32 a[2][4]) {
    u32 low[4], high[4];
    tile16_pairs(f, lane, block, 0, is_bf16, low);
    tile16_pairs(f, lane, block, 1, is_bf16, high);
    UNROLL
    for (i32 s = 0; s < 2; s++) {
        a[s][0] = low[2 * s];
        a[s][1] = high[2 * s];
        a[s][2] = low[2 * s + 1];
        a[s][3] = high[2 * s + 1];
    }
}

// ---- floats -----------------------------------------------------------------------------------------------

// Eight slots of row g + 8 * half in block `block`, with their scales.
DEVICE void tile16_floats(
    tile16_format f, const tile16_lane *lane, i32 block, i32 half, float values[8]) {
    if (f.code == TILE16_PLAIN && f.scale == KERNEL_F32) {
        UNROLL
        for (i32 i = 0; i < 2; i++) {
            const u32x4 line = lane->lines[4 * block + 2 * half + i];
            values[4 * i] = bits_float(line.x);
            values[4 * i + 1] = bits_float(line.y);
            values[4 * i + 2] = bits_float(line.z);
            values[4 * i + 3] = bits_float(line.w);
        }
        return;
    }
    u32 pairs[4];
    tile16_pairs(f, lane, block, half, false, pairs);
    const bool is_bf16 = f.code == TILE16_PLAIN && f.scale == KERNEL_BF16;
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        const f32x2 two = is_bf16 ? unpack_bf16x2(pairs[i]) : unpack_f16x2(pairs[i]);
        values[2 * i] = two.x;
        values[2 * i + 1] = two.y;
    }
    if (f.code == TILE16_PLAIN) return;
    UNROLL
    for (i32 i = 0; i < 8; i++)
        values[i] *= tile16_scale(f, lane, half, tile16_slot_group(f, 32 * block + i));
}

// One element: row r of the tile at `tile`.
DEVICE float tile16_element(tile16_format f, const char *tile, i32 r, i64 k) {
    const i64 slot = tile16_slot_of(f, k);
    const char *unit = tile + slot / tile16_unit_slots(f) * tile16_unit_bytes(f);
    const i32 inside = (i32)(slot % tile16_unit_slots(f)), at = tile16_code_at(f, r, inside);
    if (f.code == TILE16_PLAIN) {
        if (f.scale == KERNEL_F32) return *(const float *)(unit + at / 8);
        const u16 bits = *(const u16 *)(unit + at / 8);
        return f.scale == KERNEL_F16 ? f16_to_f32(bits) : bf16_to_f32(bits);
    }
    const i32 group = tile16_slot_group(f, inside);
    const char *stored = unit + tile16_scale_at(f, r, group);
    const float scale = f.scale == KERNEL_F32   ? *(const float *)stored
                        : f.scale == KERNEL_F16 ? f16_to_f32(*(const u16 *)stored)
                                                : bf16_to_f32(*(const u16 *)stored);
    const u32 byte = *(const u8 *)(unit + at / 8);
    if (f.code == TILE16_E4M3) return f16_to_f32((u16)tile16_e4m3_pair(byte << 8, false)) * scale;
    if (f.code == TILE16_E5M2) return f16_to_f32((u16)(byte << 8)) * scale;
    const i32 code = f.code == TILE16_INT8 ? (i32)byte : (i32)(byte >> (at % 8) & 15u);
    const i32 zero = f.zero == TILE16_ZERO_STORED
                         ? (i32) * (const u16 *)(unit + tile16_zero_at(f, r, group))
                         : f.zero;
    return (float)(code - zero) * scale;
}

#endif
