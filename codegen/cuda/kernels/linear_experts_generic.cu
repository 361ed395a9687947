// linear_experts_generic: out[t, j*N … j*N+N-1] = x times w[e] of [E, N, K] transposed, plus bias[e], e = experts[t, j], for every dtype of x and w,
// products and sums in f32. A block makes 16 outputs of up to eight slots (t, j) with the same expert: a grid column stands for a slot, and the first,
// ninth, … slot of an expert works for those that follow. So weights that nobody has chosen are not read, and others once for eight slots.
//
// A stack lies as one weight [E*N, K]. Where N is no multiple of 16 an expert begins inside a tile that it shares; the neighbour's outputs are
// computed and not stored. Order of summation: as in linear_generic.

DEVICE i32 linear_experts_count(u32 bits) {
    i32 count = 0;
    for (; bits != 0; bits &= bits - 1) count++;
    return count;
}

// One warp: the slots that the block of `slot` works for; found[LINEAR_GENERIC_TOKENS] is how many, 0 where an earlier block does it.
DEVICE void linear_experts_find(const i32 *experts, i64 n_slots, i64 slot, i32 *found) {
    const i32 expert = experts[slot], lane = lane_index();
    i32 n_before = 0, n_found = 0;
    for (i64 base = 0; base < slot; base += 32) {
        const i64 at = base + lane;
        n_before += linear_experts_count(ballot(at < slot && experts[at] == expert));
    }
    const bool is_first = n_before % LINEAR_GENERIC_TOKENS == 0;
    for (i64 base = slot; is_first && base < n_slots && n_found < LINEAR_GENERIC_TOKENS;
         base += 32) {
        const i64 at = base + lane;
        const bool is_same = at < n_slots && experts[at] == expert;
        const u32 same = ballot(is_same);
        const i32 place = n_found + linear_experts_count(same & ((1u << lane) - 1));
        if (is_same && place < LINEAR_GENERIC_TOKENS) found[place] = (i32)at;
        n_found += linear_experts_count(same);
    }
    if (lane == 0) found[LINEAR_GENERIC_TOKENS] = min_i32(n_found, LINEAR_GENERIC_TOKENS);
}

// Elements for units [begin, end) of the block's slots to shared memory, as f32 [slot][element].
DEVICE void linear_experts_stage(
    const kernel_env *env, tile16_format f, float *shared, const i32 *found, i32 n_found, i32 begin,
    i32 end) {
    const i64 n_chosen = kernel_dim_2_1(env), n_k = kernel_dim_1_2(env);
    const i64 step = kernel_dim_0_1(env) == n_k ? 0 : n_k;
    const i32 n_elements = (end - begin) * tile16_unit_slots(f);
    const i32 pitch = linear_generic_chunk(f) * tile16_unit_slots(f);
    for (i32 s = 0; s < n_found; s++) {
        const i64 row = found[s] / n_chosen, first = found[s] % n_chosen * step;
        for (i32 i = thread_index(); i < n_elements; i += LINEAR_GENERIC_THREADS) {
            const i64 k = tile16_slot_k(f, (i64)begin * tile16_unit_slots(f) + i);
            shared[s * pitch + i] = k >= 0 && k < n_k ? kernel_load_0(env, row, first + k) : 0.0f;
        }
    }
}

KERNEL BOUNDS(KERNEL_THREADS_linear_experts_generic, KERNEL_BLOCKS_linear_experts_generic)
void linear_experts_generic(const kernel_env env) {
    SHARED(bytes);
    SHARED_ARRAY(i32, found, LINEAR_GENERIC_TOKENS + 1);
    grid_wait();
    grid_release();
    float *shared = (float *)bytes;
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
        linear_experts_find(experts, kernel_dim_2_0(&env) * n_chosen, block_index_x(), found);
    block_sync();
    const i32 n_found = found[LINEAR_GENERIC_TOKENS];
    if (n_found == 0) return;

    const i32 n_units = (i32)tile16_units(f, n_k), chunk = linear_generic_chunk(f);
    const i32 warp = warp_index(), t = lane_index() % 4;
    const char *weights = (const char *)kernel_pointer_1(&env) + tile * tile16_tile_bytes(f, n_k);
    float sums[2][LINEAR_GENERIC_TOKENS];
    UNROLL
    for (i32 i = 0; i < 2 * LINEAR_GENERIC_TOKENS; i++)
        sums[i / LINEAR_GENERIC_TOKENS][i % LINEAR_GENERIC_TOKENS] = 0.0f;
    for (i32 begin = 0; begin < n_units; begin += chunk) {
        const i32 end = min_i32(begin + chunk, n_units);
        if (begin > 0) block_sync();
        linear_experts_stage(&env, f, shared, found, n_found, begin, end);
        block_sync();
        NO_UNROLL
        for (i32 unit = begin + warp; unit < end; unit += LINEAR_GENERIC_WARPS) {
            linear_generic_unit(
                f, weights + (i64)unit * tile16_unit_bytes(f),
                shared + (unit - begin) * tile16_unit_slots(f) + t * 8, n_found, sums);
        }
    }

    const float total = linear_generic_total(sums, shared);
    const i32 place = thread_index() / TILE16_ROWS;
    const i64 output = first + thread_index() % TILE16_ROWS;
    if (place >= n_found || output < 0 || output >= n_outputs) return;
    const i64 row = found[place] / n_chosen, part = found[place] % n_chosen;
    kernel_store_0(
        &env, row, part * n_outputs + output, total + kernel_load_3(&env, expert, output));
}
