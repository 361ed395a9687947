// encode_activation: x as fp8 codes, with the scale of each row and group of columns beside; a thread takes four columns at a
// time. x passes its prologue twice.
#define ENCODE_BITS KERNEL_ATTR_mantissa_bits

// Whether four columns that start at a multiple of four after the group's first lie in one group, and their codes in one word.
#define ENCODE_HAS_FOURS (KERNEL_DIM_0_1 % 4 == 0 && KERNEL_ATTR_group % 4 == 0)

// Columns c … c + 3 of a row; zeros from `end` on.
DEVICE void encode_load(const kernel_env *env, i64 row, i64 c, i64 end, float four[4]) {
    UNROLL
    for (i32 i = 0; i < 4; i += 2) {
        if (ENCODE_HAS_FOURS) {
            const f32x2 two = kernel_load2_0(env, row, c + i);
            four[i] = two.x;
            four[i + 1] = two.y;
        } else {
            four[i] = c + i < end ? kernel_load_0(env, row, c + i) : 0.0f;
            four[i + 1] = c + i + 1 < end ? kernel_load_0(env, row, c + i + 1) : 0.0f;
        }
    }
}

DEVICE void encode_store(u8 *codes, i64 n_left, u32 word) {
    if (ENCODE_HAS_FOURS) {
        *(u32 *)codes = word;
        return;
    }
    UNROLL
    for (i32 i = 0; i < 4; i++) {
        if (i < n_left) codes[i] = (u8)(word >> (8 * i));
    }
}

KERNEL BOUNDS(KERNEL_THREADS_encode_activation, KERNEL_BLOCKS_encode_activation)
void encode_activation(const kernel_env env) {
    grid_wait();
    grid_release();
    const quantize_group here = quantize_group_here(&env);
    u32 largest = 0;
    for (i64 c = here.first + here.member * 4; c < here.end; c += here.n_members * 4) {
        float four[4];
        encode_load(&env, here.row, c, here.end, four);
        UNROLL
        for (i32 i = 0; i < 4; i++) largest = max_u32(largest, magnitude_bits(four[i]));
    }
    const float scale = quantize_group_scale(&env, &here, largest);
    u8 *codes = (u8 *)kernel_result_pointer_0(&env) + here.row * kernel_dim_0_1(&env);
    u32 has_nan = 0;
    for (i64 c = here.first + here.member * 4; c < here.end; c += here.n_members * 4) {
        float four[4];
        u32 word = 0;
        encode_load(&env, here.row, c, here.end, four);
        UNROLL
        for (i32 i = 0; i < 4; i++) {
            const float rounded = quantize_round(ENCODE_BITS, four[i] / scale);
            if (rounded != rounded && c + i < here.end) has_nan = 1;
            word |= quantize_code(ENCODE_BITS, rounded) << (8 * i);
        }
        encode_store(codes + c, here.end - c, word);
    }
#if KERNEL_RESULT_MEMORY_1
    has_nan = quantize_group_max(has_nan);
    const i64 n_groups = KERNEL_ATTR_group == 0 ? 1 : kernel_result_dim_1_1(&env);
    if (here.member == 0 && here.first < here.end)
        ((float *)kernel_result_pointer_1(&env))[here.row * n_groups + here.index] =
            has_nan ? NAN_F32 : scale;
#endif
}
