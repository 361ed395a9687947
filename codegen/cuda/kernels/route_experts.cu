// route_experts: the k best experts of a row of logits and their weights (ir/attrs.def says how), a warp per row. In shared memory: the row's scores,
// the keys that the choice is made among, those of groups, and marks of the experts that are out of it.

enum { ROUTE_SOFTMAX, ROUTE_SIGMOID, ROUTE_CHOSEN };

// NaN counts as -inf.
DEVICE float route_key(float value) {
    return value == value ? value : -INFINITY_F32;
}

// The best of [begin, end) that is not out, the first of equals; the same for all lanes.
DEVICE i32 route_best(const float *keys, const u8 *is_out, i32 begin, i32 end) {
    i32 best = -1;
    float key = 0.0f;
    for (i32 i = begin + lane_index(); i < end; i += 32) {
        if (is_out[i] != 0 || (best >= 0 && !(keys[i] > key))) continue;
        best = i;
        key = keys[i];
    }
    for (i32 mask = 16; mask > 0; mask /= 2) {
        const i32 other = (i32)shuffle_xor_u32((u32)best, mask);
        const float other_key = shuffle_xor_f32(key, mask);
        const bool is_better = other_key > key || (other_key == key && other < best);
        if (other >= 0 && (best < 0 || is_better)) {
            best = other;
            key = other_key;
        }
    }
    return best;
}

DEVICE void route_mark(u8 *marks, i32 index) {
    warp_sync();
    if (lane_index() == 0) marks[index] = 1;
    warp_sync();
}

// exp(value - largest) in place; returns their sum.
DEVICE float route_exp(float *values, i32 n) {
    float largest = -INFINITY_F32, sum = 0.0f;
    for (i32 i = lane_index(); i < n; i += 32) largest = values[i] > largest ? values[i] : largest;
    largest = warp_max_f32(largest);
    for (i32 i = lane_index(); i < n; i += 32) {
        values[i] = kernel_exp(values[i] - largest);
        sum += values[i];
    }
    return warp_sum_f32(sum);
}

// Softmax and sigmoid keep the order of logits: without a bias or sums over a group the logits themselves decide.
DEVICE void route_score(const kernel_env *env, i64 row, float *scores, float *keys, u8 *is_out) {
    const i32 n = (i32)kernel_dim_0_1(env);
    for (i32 i = lane_index(); i < n; i += 32) {
        scores[i] = kernel_load_0(env, row, i);
        keys[i] = route_key(scores[i]);
        is_out[i] = 0;
    }
    if (KERNEL_ATTR_scoring == ROUTE_SOFTMAX) {
        const float factor = 1.0f / route_exp(scores, n);
        for (i32 i = lane_index(); i < n; i += 32) scores[i] *= factor;
    } else if (KERNEL_ATTR_scoring == ROUTE_SIGMOID) {
        for (i32 i = lane_index(); i < n; i += 32) scores[i] = kernel_sigmoid(scores[i]);
    }
    if (KERNEL_HAS_1 || KERNEL_ATTR_group_best > 1) {
        for (i32 i = lane_index(); i < n; i += 32)
            keys[i] = route_key(scores[i] + kernel_load_1(env, 0, i));
    }
    warp_sync();
}

// Leaves experts of the top groups only.
DEVICE void route_groups(i32 n, const float *keys, u8 *is_out, float *groups, u8 *is_chosen) {
    const i32 n_groups = KERNEL_ATTR_n_groups, members = n / n_groups;
    for (i32 g = 0; g < n_groups; g++) {
        float score = 0.0f;
        for (i32 i = 0; i < KERNEL_ATTR_group_best; i++) {
            const i32 best = route_best(keys, is_out, g * members, (g + 1) * members);
            score += keys[best];
            route_mark(is_out, best);
        }
        if (lane_index() == 0) {
            groups[g] = route_key(score);
            is_chosen[g] = 0;
        }
    }
    warp_sync();
    for (i32 i = 0; i < KERNEL_ATTR_top_groups; i++)
        route_mark(is_chosen, route_best(groups, is_chosen, 0, n_groups));
    for (i32 i = lane_index(); i < n; i += 32) is_out[i] = is_chosen[i / members] == 0;
    warp_sync();
}

// By one lane.
DEVICE void route_weigh(float *weights) {
    const i32 k = KERNEL_ATTR_k;
    float sum = 0.0f, factor = (float)KERNEL_ATTR_scale;
    if (KERNEL_ATTR_scoring == ROUTE_CHOSEN) {
        float largest = -INFINITY_F32, total = 0.0f;
        for (i32 j = 0; j < k; j++) largest = weights[j] > largest ? weights[j] : largest;
        for (i32 j = 0; j < k; j++) total += weights[j] = kernel_exp(weights[j] - largest);
        for (i32 j = 0; j < k; j++) weights[j] *= 1.0f / total;
    }
    for (i32 j = 0; j < k; j++) sum += weights[j];
    if (KERNEL_ATTR_renormalize) factor /= sum + 1e-20f;
    for (i32 j = 0; j < k; j++) weights[j] *= factor;
}

KERNEL BOUNDS(KERNEL_THREADS_route_experts, KERNEL_BLOCKS_route_experts)
void route_experts(const kernel_env env) {
    SHARED(bytes);
    grid_wait();
    grid_release();
    const i32 n = (i32)kernel_dim_0_1(&env), k = KERNEL_ATTR_k;
    const i64 row = block_index_x();
    float *scores = (float *)bytes, *keys = scores + n, *groups = keys + n;
    // Marks of groups are read while marks of experts are written: they share no word.
    u8 *is_out = (u8 *)(groups + n), *is_chosen = is_out + (n + 3) / 4 * 4;
    i32 *experts = (i32 *)kernel_result_pointer_0(&env) + row * k;
    float *weights = (float *)kernel_result_pointer_1(&env) + row * k;
    route_score(&env, row, scores, keys, is_out);
    if (KERNEL_ATTR_top_groups < KERNEL_ATTR_n_groups)
        route_groups(n, keys, is_out, groups, is_chosen);
    for (i32 j = 0; j < k; j++) {
        const i32 best = route_best(keys, is_out, 0, n);
        route_mark(is_out, best);
        if (lane_index() != 0) continue;
        experts[j] = best;
        weights[j] = scores[best];
    }
    if (lane_index() == 0) route_weigh(weights);
}
