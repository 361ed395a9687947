// linear_experts_tile16: out[t, j*N … j*N+N-1] = x times w[e] of [E, N, K] transposed, plus bias[e], e = experts[t, j], on the tensor cores
// (linear_halves.cu): w in tile16 form, N a multiple of 16, so that an expert's tiles are its own; x f16 or bf16, sums in f32.
//
//   linear_experts_few    up to 16 rows, where most experts have few: a column of blocks for each slot, the first, ninth, … slot of an expert works for
//                         those that follow. Weights that nobody has chosen are not read, others once for eight slots.
//   linear_experts_many   any number: blocks for every expert and 128 outputs take its slots in rising order, 64 at a time, in turn

KERNEL BOUNDS(
    KERNEL_THREADS_linear_experts_few,
    KERNEL_BLOCKS_linear_experts_few) void linear_experts_few(const kernel_env env) {
    SHARED(shared);
    SHARED_ARRAY(i32, found, LINEAR_FEW_TOKENS + 1);
    SHARED_ARRAY(i32, x_rows, LINEAR_FEW_TOKENS);
    grid_wait();
    grid_release();
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_2(&env), n_outputs = kernel_dim_1_1(&env);
    const i64 n_chosen = kernel_dim_2_1(&env), slot = block_index_x();
    const i32 *experts = (const i32 *)kernel_pointer_2(&env);
    const i64 expert = experts[slot];
    if (expert < 0 || expert >= kernel_dim_1_0(&env)) return;
    const i64 tile_index = expert * (n_outputs / TILE16_ROWS) + block_index_y();
    const char *tile =
        (const char *)kernel_pointer_1(&env) + tile_index * tile16_tile_bytes(f, n_k);

    // Weights are under way while the slots are looked for.
    tile16_lane lanes[4];
    const tile16_at at = tile16_at_unit(f, tile + warp_index() * tile16_unit_bytes(f));
    linear_few_start(f, at, (i32)tile16_units(f, n_k), lanes);
    if (warp_index() == 0)
        linear_experts_find(
            experts, kernel_dim_2_0(&env) * n_chosen, slot, LINEAR_FEW_TOKENS, found);
    block_sync();
    const i32 n_found = found[LINEAR_FEW_TOKENS];
    if (n_found == 0) return;
    if (thread_index() < n_found)
        x_rows[thread_index()] = linear_experts_row(&env, found[thread_index()], n_k);
    block_sync();

    const linear_rows rows = linear_rows_chosen(n_k, x_rows, n_found);
    float sum[4];
    linear_few_rows(&env, f, at, lanes, &rows, shared, sum);
    const float total = linear_few_all(f, tile, &lanes[0], sum, shared);
    const i32 place = thread_index() / TILE16_ROWS;
    const i64 output = (i64)block_index_y() * TILE16_ROWS + thread_index() % TILE16_ROWS;
    if (place >= n_found) return;
    const i64 row = found[place] / n_chosen, part = found[place] % n_chosen;
    kernel_store_0(
        &env, row, part * n_outputs + output, total + kernel_load_3(&env, expert, output));
}

// The slots of an expert as the block's warps see them: each looks through one of equal spans of all slots.
typedef struct linear_experts_span {
    i64 begin, end;
    i32 before, all; // slots of the expert in the spans before, in all of them
} linear_experts_span;

// All threads must call; `counts` holds a number for every warp.
DEVICE linear_experts_span
linear_experts_span_of(const i32 *experts, i64 n_slots, i32 expert, i32 *counts) {
    linear_experts_span span;
    const i64 length = (n_slots + LINEAR_MANY_THREADS - 1) / LINEAR_MANY_THREADS * 32;
    span.begin = min_i64(warp_index() * length, n_slots);
    span.end = min_i64(span.begin + length, n_slots);
    i32 count = 0;
    for (i64 at = span.begin + lane_index(); at < span.end; at += 32)
        count += experts[at] == expert;
    for (i32 mask = 16; mask != 0; mask >>= 1) count += (i32)shuffle_xor_u32((u32)count, mask);
    if (lane_index() == 0) counts[warp_index()] = count;
    block_sync();
    span.before = span.all = 0;
    UNROLL
    for (i32 w = 0; w < LINEAR_MANY_WARPS; w++) {
        if (w < warp_index()) span.before += counts[w];
        span.all += counts[w];
    }
    return span;
}

// Slots number [first, first + LINEAR_MANY_TOKENS) of the expert to `slots`, the rows of x that they read to `x_rows`.
DEVICE void linear_experts_collect(
    const kernel_env *env, const i32 *experts, const linear_experts_span *span, i32 expert,
    i32 first, i64 n_k, i32 *slots, i32 *x_rows) {
    i32 n = span->before;
    for (i64 base = span->begin; base < span->end && n < first + LINEAR_MANY_TOKENS; base += 32) {
        const i64 at = base + lane_index();
        const bool is_same = at < span->end && experts[at] == expert;
        const u32 same = ballot(is_same);
        const i32 place = n + linear_experts_count(same & ((1u << lane_index()) - 1)) - first;
        if (is_same && place >= 0 && place < LINEAR_MANY_TOKENS) {
            slots[place] = (i32)at;
            x_rows[place] = linear_experts_row(env, (i32)at, n_k);
        }
        n += linear_experts_count(same);
    }
}

KERNEL BOUNDS(
    KERNEL_THREADS_linear_experts_many,
    KERNEL_BLOCKS_linear_experts_many) void linear_experts_many(const kernel_env env) {
    SHARED(shared);
    SHARED_ARRAY(i32, counts, LINEAR_MANY_WARPS);
    SHARED_ARRAY(i32, slots, LINEAR_MANY_TOKENS);
    SHARED_ARRAY(i32, x_rows, LINEAR_MANY_TOKENS);
    const tile16_format f = tile16_format_of(KERNEL_DTYPE_1);
    const i64 n_k = kernel_dim_1_2(&env), n_outputs = kernel_dim_1_1(&env);
    const i64 n_chosen = kernel_dim_2_1(&env),
              first_output = (i64)block_index_y() * LINEAR_MANY_OUTPUTS;
    const i32 expert = block_index_z();
    const i32 *experts = (const i32 *)kernel_pointer_2(&env);
    const char *weights = (const char *)kernel_pointer_1(&env) +
                          expert * (n_outputs / TILE16_ROWS) * tile16_tile_bytes(f, n_k);
    grid_wait();
    grid_release();
    const linear_experts_span span =
        linear_experts_span_of(experts, kernel_dim_2_0(&env) * n_chosen, expert, counts);
    const i64 output = first_output + thread_index();
    const float bias = output < n_outputs ? kernel_load_3(&env, expert, output) : 0.0f;

    NO_UNROLL
    for (i32 first = block_index_x() * LINEAR_MANY_TOKENS; first < span.all;
         first += block_count_x() * LINEAR_MANY_TOKENS) {
        tile16_lane lanes[LINEAR_MANY_TILES];
        tile16_at tiles[LINEAR_MANY_TILES];
        linear_many_start(f, weights, n_outputs, n_k, first_output, tiles, lanes);
        // Nobody reads the sums and slots of the turn before any more.
        block_sync();
        linear_experts_collect(&env, experts, &span, expert, first, n_k, slots, x_rows);
        block_sync();
        const i32 n_here = min_i32(span.all - first, LINEAR_MANY_TOKENS);
        const linear_rows rows = linear_rows_chosen(n_k, x_rows, n_here);
        float sums[LINEAR_MANY_TILES][LINEAR_MANY_TOKENS / 8][4];
        linear_many_rows(&env, f, tiles, lanes, &rows, shared, sums);

        block_sync();
        float *turned = (float *)shared; // [slot][output]
        linear_many_turn(f, 1.0f, lanes, sums, turned);
        block_sync();
        for (i32 i = 0; i < n_here && output < n_outputs; i++) {
            const i64 row = slots[i] / n_chosen, part = slots[i] % n_chosen;
            const float total = turned[i * LINEAR_MANY_SUM_PITCH + thread_index()];
            kernel_store_0(&env, row, part * n_outputs + output, total + bias);
        }
    }
}
