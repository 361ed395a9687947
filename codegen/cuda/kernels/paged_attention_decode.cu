// paged_attention_decode: blocks per token, kv head and 8 of its query heads. The pages that a token sees are cut by their number into at most as
// many splits as the grid is deep; blocks beyond the last one leave at once. A block's warps take every 4th page of its split, keys and values
// coming straight into the registers that the matrix instructions want: values of a page and keys of the next are on their way at a time. The
// warps' softmaxes are joined through shared memory and left in scratch memory; the block that arrives last joins all splits, in their order. A
// context of 4 pages or less is one split and needs no scratch.

#define DECODE_THREADS (ATTENTION_DECODE_WARPS * 32)
#define JOINED_AT_ONCE 16 // splits whose sums a thread has on their way

// Pages begin_slot … end_slot-1 are a split's, of n_splits that have any.
typedef struct page_split {
    i32 begin_slot, end_slot, n_splits;
} page_split;

// Every warp of a block has the same number of pages, but for the last block.
DEVICE page_split page_split_at(attention_span span, i32 split, i32 most_splits) {
    const i32 first = span.begin / ATTENTION_PAGE;
    const i32 count = (span.end + ATTENTION_PAGE - 1) / ATTENTION_PAGE - first;
    const i32 of_warp = (count + most_splits * ATTENTION_DECODE_WARPS - 1) / (most_splits * ATTENTION_DECODE_WARPS);
    const i32 of_split = of_warp * ATTENTION_DECODE_WARPS;
    page_split range;
    range.begin_slot = first + split * of_split;
    range.end_slot = min_i32(range.begin_slot + of_split, first + count);
    range.n_splits = (count + of_split - 1) / of_split;
    return range;
}

// The block's part of its warps' parts.
DEVICE void join_warps(const float *parts, float *part, i32 n_heads) {
    NO_UNROLL
    for (i32 i = thread_index(); i < n_heads * (HEAD_DIM / 2); i += DECODE_THREADS) {
        const i32 head = i / (HEAD_DIM / 2), d = i % (HEAD_DIM / 2) * 2;
        const joined_part all = join_parts(parts, ATTENTION_DECODE_WARPS, head, d);
        *(f32x2 *)(part + part_sums(head) + d) = all.sum;
        if (d == 0) {
            part[head] = all.largest;
            part[ATTENTION_HEADS + head] = all.total;
        }
    }
}

// The result out of the splits' parts. `factors` is shared memory, [n_heads][ATTENTION_MAX_SPLITS].
DEVICE void store_splits(
    const kernel_env *env, const float *splits, i32 n_splits, float *factors, i32 token, i32 first_head,
    i32 n_heads) {
    const i32 lane = lane_index();
    NO_UNROLL
    for (i32 head = warp_index(); head < n_heads; head += ATTENTION_DECODE_WARPS) {
        float own[2], totals[2], largest = NO_SCORE;
        UNROLL
        for (i32 k = 0; k < 2; k++) {
            const i32 split = lane + 32 * k;
            own[k] = split < n_splits ? splits[split * PART + head] : NO_SCORE;
            totals[k] = split < n_splits ? splits[split * PART + ATTENTION_HEADS + head] : 0.0f;
            largest = max_f32(largest, own[k]);
        }
        largest = warp_max_f32(largest);
        UNROLL
        for (i32 k = 0; k < 2; k++) own[k] = exp2_f32(own[k] - largest);
        const float total = warp_sum_f32(own[0] * totals[0] + own[1] * totals[1]);
        UNROLL
        for (i32 k = 0; k < 2; k++) {
            // Beyond the last split too, where the factor is zero.
            factors[head * ATTENTION_MAX_SPLITS + lane + 32 * k] = own[k] / total;
        }
    }
    block_sync();
    NO_UNROLL
    for (i32 i = thread_index(); i < n_heads * (HEAD_DIM / 4); i += DECODE_THREADS) {
        const i32 head = i / (HEAD_DIM / 4), d = i % (HEAD_DIM / 4) * 4;
        const float *columns = splits + part_sums(head) + d, *factor = factors + head * ATTENTION_MAX_SPLITS;
        f32x2 sum[2] = {{0.0f, 0.0f}, {0.0f, 0.0f}};
        NO_UNROLL
        for (i32 base = 0; base < n_splits; base += JOINED_AT_ONCE) {
            const f32x2 zero = {0.0f, 0.0f};
            f32x2 part[JOINED_AT_ONCE][2];
            UNROLL
            for (i32 k = 0; k < 2 * JOINED_AT_ONCE; k++) {
                const f32x2 *pair = (const f32x2 *)(columns + (base + k / 2) * PART) + k % 2;
                part[k / 2][k % 2] = base + k / 2 < n_splits ? *pair : zero;
            }
            UNROLL
            for (i32 k = 0; k < 2 * JOINED_AT_ONCE; k++) {
                sum[k % 2].x += factor[base + k / 2] * part[k / 2][k % 2].x;
                sum[k % 2].y += factor[base + k / 2] * part[k / 2][k % 2].y;
            }
        }
        UNROLL
        for (i32 k = 0; k < 2; k++)
            kernel_store2_0(env, token, (i64)(first_head + head) * HEAD_DIM + d + 2 * k, sum[k]);
    }
}

// Grid: tokens, sets of query heads of all kv heads, splits.
KERNEL BOUNDS(KERNEL_THREADS_paged_attention_decode, IS_WIDE ? 1 : KERNEL_BLOCKS_paged_attention_decode) void
paged_attention_decode(const kernel_env env) {
    SHARED(shared);
    grid_wait();
    grid_release();
    float *parts = (float *)(shared + QUERY);
    const i32 thread = thread_index(), warp = warp_index();
    const i32 token = block_index_x(), kv_head = block_index_y() / SETS, first = block_index_y() % SETS * ATTENTION_HEADS;
    const i32 n_heads = min_i32(GROUP - first, ATTENTION_HEADS), first_head = kv_head * GROUP + first;
    const attention_span span = token_span(&env, token);
    const page_split split = page_split_at(span, block_index_z(), block_count_z());
    if (split.begin_slot >= split.end_slot) return; // all threads of it
    page_walk walk;
    walk_start(
        &env, &walk, token, kv_head, first_head, span, split.begin_slot + warp, split.end_slot,
        ATTENTION_DECODE_WARPS);
    stage_queries(&env, (u32 *)shared, thread, DECODE_THREADS, token, first_head, n_heads);
    block_sync();
    head_state state;
    attend_pages(&env, &walk, shared, &state);
    store_part(&state, parts + warp * PART);
    block_sync();
    if (split.n_splits == 1) {
        store_joined(
            &env, parts, ATTENTION_DECODE_WARPS, thread, DECODE_THREADS, token, first_head, n_heads);
        return;
    }
    const i32 place = token * block_count_y() + block_index_y();
    u32 *counter = (u32 *)kernel_scratch(&env) + place;
    float *splits =
        (float *)(kernel_scratch(&env) + KERNEL_COUNTER_BYTES) + (i64)place * block_count_z() * PART;
    join_warps(parts, splits + block_index_z() * PART, n_heads);
    if (arrive_last(counter, (u32)split.n_splits, (u32 *)shared))
        store_splits(&env, splits, split.n_splits, parts, token, first_head, n_heads);
}
