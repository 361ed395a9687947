// linear_experts_generic: out[t, j*N … j*N+N-1] = x times w[e] of [E, N, K] transposed, plus bias[e], e = experts[t, j], for every dtype of x and w,
// products and sums in f32. A block makes 16 outputs of up to eight slots (t, j) with the same expert: a grid column stands for a slot, and the first,
// ninth, … slot of an expert works for those that follow. So weights that nobody has chosen are not read, and others once for eight slots.
//
// A stack lies as one weight [E*N, K]. Where N is no multiple of 16 an expert begins inside a tile that it shares; the neighbour's outputs are
// computed and not stored.

KERNEL BOUNDS(
    KERNEL_THREADS_linear_experts_generic,
    KERNEL_BLOCKS_linear_experts_generic) void linear_experts_generic(const kernel_env env) {
    SHARED(bytes);
    SHARED_ARRAY(i32, found, LINEAR_GENERIC_TOKENS + 1);
    SHARED_ARRAY(i32, x_rows, LINEAR_GENERIC_TOKENS);
    grid_wait();
    grid_release();
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_2(&env), n_outputs = kernel_dim_1_1(&env);
    const i64 n_chosen = kernel_dim_2_1(&env);
    const i32 *experts = (const i32 *)kernel_pointer_2(&env);
    const i64 expert = experts[block_index_x()];
    if (expert < 0 || expert >= kernel_dim_1_0(&env)) return;
    const i64 tile = expert * n_outputs / TILE16_ROWS + block_index_y();
    // Output of the tile's first row.
    const i64 first = tile * TILE16_ROWS - expert * n_outputs;
    if (first >= n_outputs) return;
    if (warp_index() == 0)
        linear_experts_find(
            experts, kernel_dim_2_0(&env) * n_chosen, block_index_x(), LINEAR_GENERIC_TOKENS,
            found);
    block_sync();
    const i32 n_found = found[LINEAR_GENERIC_TOKENS];
    if (n_found == 0) return;
    if (thread_index() < n_found)
        x_rows[thread_index()] = linear_experts_row(&env, found[thread_index()], n_k);
    block_sync();

    const linear_rows rows = linear_rows_chosen(n_k, x_rows, n_found);
    const char *weights = (const char *)kernel_pointer_1(&env) + tile * tile16_tile_bytes(f, n_k);
    const float total = linear_generic_tile(&env, f, weights, &rows, (float *)bytes);
    const i32 place = thread_index() / TILE16_ROWS;
    const i64 output = first + thread_index() % TILE16_ROWS;
    if (place >= n_found || output < 0 || output >= n_outputs) return;
    const i64 row = found[place] / n_chosen, part = found[place] % n_chosen;
    kernel_store_0(
        &env, row, part * n_outputs + output, total + kernel_load_3(&env, expert, output));
}
