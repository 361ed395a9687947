// quantize_activation: x rounded to fp8 and back, with the scale of its row and group of columns: a warp has a group, or the block the whole row. x passes
// its prologue twice. Every operation is the evaluator's in the evaluator's order (ir/eval_float8.c), because rounding to three bits makes small differences
// visible: the results are the same bits.
#define QUANTIZE_LARGEST (KERNEL_ATTR_mantissa_bits == 3 ? 448.0f : 57344.0f)

// The fp8 number nearest to v, ties to even; magnitudes beyond the largest become it, NaN stays.
//
// 1.5 * 2^(e + 23 - mantissa_bits), e the exponent of v but at least that of the smallest normal number, is a float whose last place is fp8's at v: adding it
// rounds as fp8 does, and taking it off again is exact. What is left is the sign of a zero.
DEVICE float quantize_round(float v) {
    const u32 sign = float_bits(v) & 0x80000000u;
    v = v > QUANTIZE_LARGEST ? QUANTIZE_LARGEST : v < -QUANTIZE_LARGEST ? -QUANTIZE_LARGEST : v;
    const u32 least = (u32)(KERNEL_ATTR_mantissa_bits == 3 ? 127 - 6 : 127 - 14) << 23;
    const u32 exponent = max_u32(float_bits(v) & 0x7f800000u, least);
    const u32 magic = (exponent + ((u32)(23 - KERNEL_ATTR_mantissa_bits) << 23)) | 0x400000u;
    const float rounded = (v + bits_float(magic)) - bits_float(magic);
    return bits_float(float_bits(rounded) | sign);
}

// The given scale where it is positive, else that of the largest magnitude.
DEVICE float quantize_scale(float given, u32 largest_bits) {
    const float maximum = bits_float(largest_bits), least = (float)KERNEL_ATTR_floor;
    return given > 0.0f ? given : (maximum > least ? maximum : least) / QUANTIZE_LARGEST;
}

KERNEL BOUNDS(KERNEL_THREADS_quantize_activation, KERNEL_BLOCKS_quantize_activation)
void quantize_activation(const kernel_env env) {
    const i64 row = block_index_x(), columns = kernel_dim_0_1(&env);
#if KERNEL_ATTR_group == 0
    const i64 group = 0, first = 0, end = columns;
    const i32 member = thread_index(), n_members = block_threads();
#else
    const i64 group = (i64)block_index_y() * (block_threads() / 32) + warp_index();
    const i64 first = min_i64(group * KERNEL_ATTR_group, columns);
    const i64 end = min_i64(first + KERNEL_ATTR_group, columns);
    const i32 member = lane_index(), n_members = 32;
#endif
    u32 largest = 0;
    for (i64 c = first + member; c < end; c += n_members)
        largest = max_u32(largest, magnitude_bits(kernel_load_0(&env, row, c)));
#if KERNEL_ATTR_group == 0
    largest = block_max_u32(largest);
#else
    largest = warp_max_u32(largest);
#endif
    float given = 0.0f;
#if KERNEL_HAS_1
    if (first < end) given = ((const float *)kernel_pointer_1(&env))[group];
#endif
    const float scale = quantize_scale(given, largest);
    for (i64 c = first + member; c < end; c += n_members) {
        const float rounded = quantize_round(kernel_load_0(&env, row, c) / scale);
        kernel_store_0(&env, row, c, rounded * scale);
    }
}
