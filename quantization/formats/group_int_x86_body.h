// group_int_x86_body: one group, one block and every format's encoder, over vectors of LANES
// float32. group_int_x86.c includes it once for each instruction set, after defining
//
//   LANES, LANES_TARGET, LANES_NAME(x) = x##_<instruction set>
//   types floats, ints and the primitives named below, all through LANES_NAME
//
// `count` is the constant `group` for whole groups, so that their instance has no masks.

// Elements [0, left) of `source` as the model dtype, then zeros; NaN becomes 0, which gets the same
// code and, like NaN, takes no part in the maximum.
LANES_TARGET QUANT_INLINE LANES_NAME(floats) LANES_NAME(load)(
    ir_dtype scale_dtype, const void *source, ir_dtype source_dtype, int64_t first, int32_t left) {
    LANES_NAME(floats) w = LANES_NAME(all)(0.0f);
    if (left <= 0) {
        return w;
    } else if (source_dtype == IR_F32) {
        w = LANES_NAME(load_f32)((const float *)source + first, left);
    } else if (source_dtype == IR_F16) {
        w = LANES_NAME(load_f16)((const uint16_t *)source + first, left);
    } else {
        w = LANES_NAME(load_bf16)((const uint16_t *)source + first, left);
    }
    w = LANES_NAME(without_nan)(w);
    return source_dtype == scale_dtype ? w : LANES_NAME(round_to)(scale_dtype, w);
}

// `n_groups` (1 or GROUPS_AT_ONCE) groups, the last with `count` elements. What one group does is a
// long chain of dependent instructions; several side by side keep the machine busy.
LANES_TARGET QUANT_INLINE void LANES_NAME(encode_groups)(
    int32_t bits, int32_t group, ir_dtype scale_dtype, const void *source, ir_dtype source_dtype,
    int64_t first, int32_t n_groups, int32_t count, uint32_t *words, void *scales) {
    enum { MOST = (40 + LANES - 1) / LANES };
    const int32_t n = (group + LANES - 1) / LANES, max_code = (1 << (bits - 1)) - 1;
    const int32_t n_words = (group + 32 / bits - 1) / (32 / bits);
    const bool multiplies = scale_dtype == IR_F16;
    LANES_NAME(floats) weights[GROUPS_AT_ONCE][MOST];
    uint8_t codes[GROUPS_AT_ONCE][MOST * LANES];
    float factors[GROUPS_AT_ONCE] = {0};
    for (int32_t g = 0; g < n_groups; g++) {
        LANES_NAME(floats) largest = LANES_NAME(all)(0.0f);
        for (int32_t i = 0; i < n; i++) {
            weights[g][i] = LANES_NAME(load)(
                scale_dtype, source, source_dtype, first + g * group + i * LANES,
                count - i * LANES);
            largest = LANES_NAME(larger_magnitude)(largest, weights[g][i]);
        }
        factors[g] = LANES_NAME(largest_of)(largest);
    }
    scales_of(scale_dtype, max_code, multiplies, n_groups, factors, scales);
    const LANES_NAME(floats) middle = LANES_NAME(all)((float)max_code);
    for (int32_t g = 0; g < n_groups; g++) {
        const LANES_NAME(floats) factor = LANES_NAME(all)(factors[g]);
        uint32_t *out = words + g * n_words;
        for (int32_t i = 0; i < n; i++) {
            LANES_NAME(floats) code = weights[g][i];
            code =
                multiplies ? LANES_NAME(multiply)(code, factor) : LANES_NAME(divide)(code, factor);
            code = LANES_NAME(round_to)(scale_dtype, LANES_NAME(without_nan)(code));
            code = LANES_NAME(round_to)(scale_dtype, LANES_NAME(add)(code, middle));
            const LANES_NAME(ints) integers = LANES_NAME(first_lanes)(
                LANES_NAME(nearest)(LANES_NAME(clamp)(code, (float)(2 * max_code))),
                count - i * LANES);
            if (bits == 4) {
                LANES_NAME(store_nibbles)(integers, out + i * (LANES / 8));
            } else if (bits == 8) {
                LANES_NAME(store_bytes)(integers, (uint8_t *)(out + i * (LANES / 4)));
            } else {
                LANES_NAME(store_bytes)(integers, codes[g] + i * LANES);
            }
        }
    }
    // Words of ten codes do not fit into vectors; by now the codes have left the store buffer.
    for (int32_t g = 0; g < n_groups && bits == 3; g++)
        quant_words_of_codes(3, n_words, codes[g], words + g * n_words);
}

LANES_TARGET QUANT_INLINE void LANES_NAME(encode_block)(
    int32_t bits, int32_t group, ir_dtype scale_dtype, ir_dtype source_dtype,
    const quant_group_block *block) {
    const int32_t per_word = 32 / bits, n_words = (group + per_word - 1) / per_word;
    const int64_t scale_bytes = scale_dtype == IR_F32 ? 4 : 2;
    const void *source = block->source;
    uint32_t *words = block->words;
    char *scales = block->scales;
    for (int64_t row = 0; row < block->n_rows; row++) {
        int64_t first = row * block->stride, left = block->columns;
        for (int64_t step = 0; left > 0; left -= step, first += step) {
            int64_t n_groups = 1;
            if (left >= GROUPS_AT_ONCE * group) {
                n_groups = GROUPS_AT_ONCE;
                LANES_NAME(encode_groups)(
                    bits, group, scale_dtype, source, source_dtype, first, GROUPS_AT_ONCE, group,
                    words, scales);
            } else {
                LANES_NAME(encode_groups)(
                    bits, group, scale_dtype, source, source_dtype, first, 1,
                    (int32_t)(left < group ? left : group), words, scales);
            }
            step = left < n_groups * group ? left : n_groups * group;
            words += n_groups * n_words;
            scales += n_groups * scale_bytes;
        }
    }
}

#define ENCODER(id, bits, group, scale) \
    LANES_TARGET void LANES_NAME(quant_group_encode_##id)(const quant_group_block *block) { \
        switch (block->source_dtype) { \
        case IR_F32: LANES_NAME(encode_block)(bits, group, IR_##scale, IR_F32, block); break; \
        case IR_F16: LANES_NAME(encode_block)(bits, group, IR_##scale, IR_F16, block); break; \
        default: LANES_NAME(encode_block)(bits, group, IR_##scale, IR_BF16, block); break; \
        } \
    }
QUANT_GROUP_INT_FORMATS(ENCODER)
#undef ENCODER
#undef LANES
#undef LANES_TARGET
#undef LANES_NAME
