// panel16_codes: elements of a panel16 weight, one by one or 16 rows at a time, for kernels that are not bound by decoding. (The
// linear_panel16_* paths unroll lines in their own ways.)
#ifndef MLCC_CODEGEN_CPU_KERNELS_PANEL16_CODES_H
#define MLCC_CODEGEN_CPU_KERNELS_PANEL16_CODES_H

#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/simd.h"

// Where k lies in its panel.
typedef struct panel16_place {
    const char *unit;
    const char *line;
    int32_t group; // of the unit
    int32_t code;  // of the line
} panel16_place;

KERNEL_INLINE panel16_place
panel16_place_of(kernel_panel16_format format, const char *panel, int64_t k) {
    const int32_t inside = (int32_t)(k % format.unit_k),
                  per_line = kernel_code_per_line(format.code);
    panel16_place place;
    place.unit = panel + k / format.unit_k * kernel_panel16_unit_bytes(format);
    place.line =
        place.unit + kernel_panel16_lines_at(format) + inside / per_line * KERNEL_PANEL16_LINE;
    place.group = inside / format.group;
    place.code = inside % per_line;
    return place;
}

// Scales and zeros of 16 rows in group `group` of a unit.
KERNEL_INLINE f32x16 panel16_scales(kernel_panel16_format format, const char *unit, int64_t group) {
    return simd_load_as_f32(unit, format.scale, group * 16);
}

KERNEL_INLINE i32x16 panel16_zeros(kernel_panel16_format format, const char *unit, int64_t group) {
    typedef uint8_t u8x16 __attribute__((vector_size(16)));
    u8x16 zeros;
    __builtin_memcpy(&zeros, unit + kernel_panel16_zeros_at(format) + group * 16, sizeof zeros);
    return __builtin_convertvector(zeros, i32x16);
}

// The bits of an fp8 code, in the high byte of `bits`, as a half (panel16.h says what it is worth).
KERNEL_INLINE uint16_t panel16_half_of(int32_t code, uint16_t bits) {
    // e4m3: a copy of the sign comes in from the left and is masked off again; exponent and fraction move into their fields.
    return code == KERNEL_CODE_E4M3 ? (uint16_t)((int16_t)bits >> 1 & 0xbf80) : (bits & 0xff00u);
}

// k of a line of a plain dtype, 16 rows each.
KERNEL_INLINE int64_t panel16_plain_step(int32_t dtype) {
    return dtype == KERNEL_BF16 ? 2 : 1;
}

// Such a line as float32; bfloat16 is the high half of it.
KERNEL_INLINE void panel16_plain_line(int32_t dtype, const char *line, f32x16 weights[2]) {
    if (dtype == KERNEL_BF16) {
        const u32x16 pairs = simd_load_u32(line);
        weights[0] = (f32x16)(pairs << 16);
        weights[1] = (f32x16)(pairs & 0xffff0000u);
    } else {
        weights[0] = simd_load_as_f32(line, dtype, 0);
    }
}

// ---- one element ------------------------------------------------------------------------------------------------------------

KERNEL_INLINE float panel16_element(
    kernel_panel16_format format, const char *panel, int64_t r, int64_t k) {
    if (format.code == KERNEL_CODE_PLAIN)
        return kernel_load_as_f32(
            panel, format.scale,
            format.scale == KERNEL_BF16 ? k / 2 * 32 + 2 * r + k % 2 : k * 16 + r);
    const panel16_place place = panel16_place_of(format, panel, k);
    const float scale = kernel_load_as_f32(place.unit, format.scale, place.group * 16 + r);
    if (!kernel_code_is_int(format.code)) {
        const uint8_t bits =
            ((const uint8_t *)place.line)[place.code / 2 * 32 + 2 * r + place.code % 2];
        const uint16_t half = panel16_half_of(format.code, (uint16_t)(bits << 8));
        return kernel_f16_to_f32(half) * scale;
    }
    const int32_t bits = kernel_code_bits(format.code);
    const uint32_t word = ((const uint32_t *)(const void *)place.line)[r];
    const int32_t code = (int32_t)(word >> (bits * place.code) & ((1u << bits) - 1u));
    const int32_t zero =
        format.zero != KERNEL_ZERO_STORED
            ? format.zero
            : ((const uint8_t *)place.unit)[kernel_panel16_zeros_at(format) + place.group * 16 + r];
    return (float)(code - zero) * scale;
}

// ---- 16 rows ----------------------------------------------------------------------------------------------------------------

// Elements of 16 rows at k, without their scales.
KERNEL_INLINE f32x16 panel16_unscaled(kernel_panel16_format format, const char *panel, int64_t k) {
    if (format.code == KERNEL_CODE_PLAIN) {
        const int64_t step = panel16_plain_step(format.scale);
        f32x16 weights[2];
        panel16_plain_line(
            format.scale, panel + k / step * step * 16 * kernel_panel16_scale_bytes(format),
            weights);
        return k % step == 0 ? weights[0] : weights[1];
    }
    const panel16_place place = panel16_place_of(format, panel, k);
    if (!kernel_code_is_int(format.code)) {
        u16x16 pairs;
        __builtin_memcpy(&pairs, place.line + place.code / 2 * 32, sizeof pairs);
        if (place.code % 2 == 0) pairs <<= 8;
        return simd_f16_to_f32(
            format.code == KERNEL_CODE_E4M3 ? (u16x16)((i16x16)pairs >> 1) & 0xbf80u
                                            : pairs & 0xff00u);
    }
    const int32_t bits = kernel_code_bits(format.code);
    const u32x16 words = simd_load_u32(place.line);
    const i32x16 codes = (i32x16)(words >> (uint32_t)(bits * place.code) & ((1u << bits) - 1u));
    const i32x16 zeros = format.zero == KERNEL_ZERO_STORED
                             ? panel16_zeros(format, place.unit, place.group)
                             : (i32x16){0} + format.zero;
    return __builtin_convertvector(codes - zeros, f32x16);
}

// Scales of 16 rows at k; 1 for plain dtypes.
KERNEL_INLINE f32x16 panel16_scales_at(kernel_panel16_format format, const char *panel, int64_t k) {
    if (format.code == KERNEL_CODE_PLAIN) return simd_splat(1.0f);
    const panel16_place place = panel16_place_of(format, panel, k);
    return panel16_scales(format, place.unit, place.group);
}

#endif
