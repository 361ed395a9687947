// latent_append: writes latents and rotated columns of new tokens into the paged cache of latents [P, page, width] (F32, F16 or BF16), both through
// their prologues. One block per token.

DEVICE void latent_append_store(void *row, i64 d, float value) {
#if KERNEL_DTYPE_0 == KERNEL_F16
    ((u16 *)row)[d] = f32_to_f16(value);
#elif KERNEL_DTYPE_0 == KERNEL_BF16
    ((u16 *)row)[d] = f32_to_bf16(value);
#else
    ((float *)row)[d] = value;
#endif
}

KERNEL BOUNDS(KERNEL_THREADS_latent_append, KERNEL_BLOCKS_latent_append) void latent_append(const kernel_env env) {
    grid_wait();
    grid_release();
    const i64 page_tokens = kernel_dim_0_1(&env), width = kernel_dim_0_2(&env);
    const i64 rank = kernel_dim_1_1(&env), n_slots = kernel_dim_3_1(&env);
    const i64 token = block_index_x();
    const i64 sequence = ((const i32 *)kernel_pointer_4(&env))[token];
    const i64 position = ((const i32 *)kernel_pointer_5(&env))[token];
    const i64 page = ((const i32 *)kernel_pointer_3(&env))[sequence * n_slots + position / page_tokens];
    const i64 element_bytes = KERNEL_DTYPE_0 == KERNEL_F32 ? 4 : 2;
    u8 *row = (u8 *)kernel_result_pointer_0(&env) + (page * page_tokens + position % page_tokens) * width * element_bytes;
    for (i64 d = thread_index(); d < rank; d += block_threads())
        latent_append_store(row, d, kernel_load_1(&env, token, d));
    for (i64 d = thread_index(); d < width - rank; d += block_threads())
        latent_append_store(row, rank + d, kernel_load_2(&env, token, d));
}
