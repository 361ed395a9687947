// kv_append: writes keys and values of new tokens into the paged cache [P, 2, Hkv, page, head_dim] (F32, F16 or BF16), k and v through their prologues.
// One block per head of a token.

// Two neighbouring elements, or one where head_dim is odd.
DEVICE void kv_append_store2(void *row, i64 d, f32x2 pair) {
#if KERNEL_DTYPE_0 == KERNEL_F16
    ((u32 *)row)[d / 2] = pack_f16x2(pair.x, pair.y);
#elif KERNEL_DTYPE_0 == KERNEL_BF16
    ((u32 *)row)[d / 2] = pack_bf16x2(pair.x, pair.y);
#else
    ((f32x2 *)row)[d / 2] = pair;
#endif
}

DEVICE void kv_append_store(void *row, i64 d, float value) {
#if KERNEL_DTYPE_0 == KERNEL_F16
    ((u16 *)row)[d] = f32_to_f16(value);
#elif KERNEL_DTYPE_0 == KERNEL_BF16
    ((u16 *)row)[d] = f32_to_bf16(value);
#else
    ((float *)row)[d] = value;
#endif
}

KERNEL BOUNDS(KERNEL_THREADS_kv_append, KERNEL_BLOCKS_kv_append)
void kv_append(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 n_heads = kernel_dim_0_2(&env), page_tokens = kernel_dim_0_3(&env);
    const i64 head_dim = kernel_dim_0_4(&env), n_slots = kernel_dim_3_1(&env);
    const i64 element_bytes = KERNEL_DTYPE_0 == KERNEL_F32 ? 4 : 2;
    const i64 token = block_index_x(), head = block_index_y();
    const i64 sequence = ((const i32 *)kernel_pointer_4(&env))[token];
    const i64 position = ((const i32 *)kernel_pointer_5(&env))[token];
    const i64 page = ((const i32 *)kernel_pointer_3(&env))[sequence * n_slots + position / page_tokens];
    const i64 row = (page * 2 * n_heads + head) * page_tokens + position % page_tokens;
    u8 *keys = (u8 *)kernel_result_pointer_0(&env) + row * head_dim * element_bytes;
    u8 *values = keys + n_heads * page_tokens * head_dim * element_bytes;
    const i64 column = head * head_dim;
    if (head_dim % 2 == 0) {
        for (i64 d = 2 * thread_index(); d < head_dim; d += 2 * block_threads()) {
            kv_append_store2(keys, d, kernel_load2_1(&env, token, column + d));
            kv_append_store2(values, d, kernel_load2_2(&env, token, column + d));
        }
    } else {
        for (i64 d = thread_index(); d < head_dim; d += block_threads()) {
            kv_append_store(keys, d, kernel_load_1(&env, token, column + d));
            kv_append_store(values, d, kernel_load_2(&env, token, column + d));
        }
    }
}
