// linear_experts: how a block finds the slots (t, j), number t*k + j, whose expert it multiplies. Nothing sorts them beforehand: reading all numbers of
// experts takes less time than a launch would.

DEVICE i32 linear_experts_count(u32 bits) {
    i32 count = 0;
    for (; bits != 0; bits &= bits - 1) count++;
    return count;
}

// The row of x, as linear_rows has it, that a slot reads.
DEVICE i32 linear_experts_row(const kernel_env *env, i32 slot, i64 n_k) {
    return kernel_dim_0_1(env) == n_k ? (i32)(slot / kernel_dim_2_1(env)) : slot;
}

// One warp, of a grid with a column for each slot: the slots that the column works for, `most` at most; found[most] is how many. The first slot of an
// expert works for as many as follow, the next for those behind; 0: an earlier column does it.
DEVICE void linear_experts_find(const i32 *experts, i64 n_slots, i64 slot, i32 most, i32 *found) {
    const i32 expert = experts[slot], lane = lane_index();
    i32 n_before = 0, n_found = 0;
    for (i64 base = 0; base < slot; base += 32) {
        const i64 at = base + lane;
        n_before += linear_experts_count(ballot(at < slot && experts[at] == expert));
    }
    const bool is_first = n_before % most == 0;
    for (i64 base = slot; is_first && base < n_slots && n_found < most; base += 32) {
        const i64 at = base + lane;
        const bool is_same = at < n_slots && experts[at] == expert;
        const u32 same = ballot(is_same);
        const i32 place = n_found + linear_experts_count(same & ((1u << lane) - 1));
        if (is_same && place < most) found[place] = (i32)at;
        n_found += linear_experts_count(same);
    }
    if (lane == 0) found[most] = min_i32(n_found, most);
}
