// sample: a token for each row of logits, a block per row. What is computed is defined in runtime/base/chance.h and repeated here step by step; sums are
// whole numbers, so threads may add in any order and the token is the one that the host draws.
//
// A greedy row is read once, one without top-k and top-p twice. The last candidate that top-k or top-p keeps is found like a radix sort begins, from the
// highest bits of the distance down: how many candidates, and how much weight, have these bits? Where few are left after the first bits, as is usual,
// they are listed in shared memory, and the row is not read any more; else it is read for each question. Nothing is sorted.
//
// Tokens of the history, which have penalties, are marked by a bit in shared memory: walks over the row leave them out, and then walk over the history.
// A list is such a history, of a row in which nothing else is left.

#define SAMPLE_THREADS KERNEL_THREADS_sample
#define SAMPLE_PIECES  32 // of a row, one for each warp, in which the token is looked for
#define SAMPLE_BATCH   8  // logits on the way at a time
#define SAMPLE_BINS    2048
#define SAMPLE_LISTED  2048 // candidates that a list has room for
#define SAMPLE_NONE    0xffffffffu

typedef struct sample_row {
    const float *logits; // [vocab]
    i32 vocab;
    i32 n_walked;      // tokens that walks over the row look at: vocab, or 0 when there is a list
    const i32 *tokens; // [n_history], or the list's
    const float *subtracted;
    i32 n_history;
    const float *listed; // logits of the list, with their penalties
    u32 *is_past; // one bit for each token of the vocabulary
    float repetition, octaves, best;
    // What is kept: candidates up to this one in their order, of at least this weight.
    u32 last_distance;
    i32 last_token;
    u64 least;
} sample_row;

// How many candidates there are, and what they weigh.
typedef struct sample_sum {
    u64 weight;
    u32 count;
} sample_sum;

// ---- numbers of 64 bits among threads -----------------------------------------------------------------------

DEVICE u64 sample_warp_sum(u64 value) {
    UNROLL
    for (i32 mask = 16; mask != 0; mask >>= 1) {
        const u32 low = shuffle_xor_u32((u32)value, mask), high = shuffle_xor_u32((u32)(value >> 32), mask);
        value += (u64)high << 32 | low;
    }
    return value;
}

// Adds to a number of two words in shared memory; what the low word carries goes on to the high one.
DEVICE void sample_atomic_add(u32 *low, u32 *high, u64 value) {
    const u32 before = atomic_add_u32(low, (u32)value);
    const u32 rest = (u32)(value >> 32) + (before + (u32)value < before);
    if (rest != 0) atomic_add_u32(high, rest);
}

// ---- the arithmetic of chance.h -----------------------------------------------------------------------------

// The logit of the history's or list's entry i.
DEVICE float sample_penalized(const sample_row *row, i32 i) {
    if (row->n_walked == 0) return row->listed[i];
    const float value = row->logits[row->tokens[i]] - row->subtracted[i];
    return value > 0.0f ? value / row->repetition : value * row->repetition;
}

DEVICE u32 sample_distance(const sample_row *row, float logit) {
    const float distance = logit == row->best ? 0.0f : (row->best - logit) * row->octaves;
    return distance < 40.0f ? (u32)(distance * 67108864.0f) : SAMPLE_NONE;
}

DEVICE u32 sample_step(u32 coefficient, u64 p, u32 f) {
    return coefficient - (u32)(p * f >> 32);
}

DEVICE u64 sample_weight(u32 distance) {
    const u32 f = distance << 6;
    u32 p = sample_step(5547538u, 493577u, f);
    p = sample_step(41218952u, p, f);
    p = sample_step(238367376u, p, f);
    p = sample_step(1031763206u, p, f);
    p = sample_step(2977044447u, p, f);
    const u64 power = ((u64)1 << 32) - ((u64)p * f >> 32);
    return power << 8 >> (distance >> 26);
}

DEVICE u64 sample_part(u64 sum, float part) {
    const u64 factor = (u64)(part * 4294967296.0f);
    return (sum >> 32) * factor + ((sum & 0xffffffffu) * factor >> 32);
}

DEVICE u64 sample_mark(u64 sum, u32 low, u32 high) {
    const u64 sum_low = sum & 0xffffffffu, sum_high = sum >> 32;
    const u64 first = high * sum_low + (low * sum_low >> 32);
    const u64 second = low * sum_high + (first & 0xffffffffu);
    return high * sum_high + (first >> 32) + (second >> 32);
}

// ---- walking over a row -------------------------------------------------------------------------------------

DEVICE bool sample_is_past(const sample_row *row, i32 token) {
    return row->n_history > 0 && (row->is_past[token >> 5] >> (token & 31) & 1) != 0;
}

// Logits of tokens first, first + step, … below `end`: NaN where there is none, or where the history has it.
DEVICE void sample_load(const sample_row *row, i32 first, i32 step, i32 end, float values[SAMPLE_BATCH]) {
    UNROLL
    for (i32 i = 0; i < SAMPLE_BATCH; i++) {
        const i32 token = first + i * step;
        values[i] = NAN_F32;
        if (token < end) values[i] = row->logits[token];
    }
    if (row->n_history == 0) return;
    UNROLL
    for (i32 i = 0; i < SAMPLE_BATCH; i++) {
        const i32 token = first + i * step;
        if (token < end && sample_is_past(row, token)) values[i] = NAN_F32;
    }
}

// ---- the best -----------------------------------------------------------------------------------------------

// Bits that order like the numbers; those of anything above -inf are not 0. -0 is 0.
DEVICE u32 sample_ordered(float value) {
    const u32 bits = float_bits(value + 0.0f);
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

DEVICE void sample_better(float value, i32 token, float *best, i32 *best_token) {
    if (!(value > *best || (value == *best && token < *best_token && value > -INFINITY_F32))) return;
    *best = value;
    *best_token = token;
}

// Sets row->best; gives the first token that has it, -1 where no logit is above -inf.
DEVICE i32 sample_find_best(sample_row *row) {
    float best = -INFINITY_F32;
    i32 token = 0x7fffffff;
    NO_UNROLL
    for (i32 first = thread_index(); first < row->vocab; first += SAMPLE_BATCH * SAMPLE_THREADS) {
        float values[SAMPLE_BATCH];
        sample_load(row, first, SAMPLE_THREADS, row->vocab, values);
        UNROLL
        for (i32 i = 0; i < SAMPLE_BATCH; i++) sample_better(values[i], first + i * SAMPLE_THREADS, &best, &token);
    }
    NO_UNROLL
    for (i32 i = thread_index(); i < row->n_history; i += SAMPLE_THREADS)
        sample_better(sample_penalized(row, i), row->tokens[i], &best, &token);
    const u32 mine = best > -INFINITY_F32 ? sample_ordered(best) : 0;
    const u32 largest = block_max_u32(mine);
    if (largest == 0) return -1;
    row->best = bits_float((largest & 0x80000000u) != 0 ? largest & 0x7fffffffu : ~largest);
    // The lowest token is the one whose complement is largest.
    return (i32)~block_max_u32(mine == largest ? ~(u32)token : 0);
}

// ---- a token by its place in the order of the ids -----------------------------------------------------------

// What a logit counts: 1 for a tie (a candidate of the last distance), or its weight if it is kept.
DEVICE u64 sample_measure(const sample_row *row, bool is_tie, i32 token, float logit) {
    const u32 distance = sample_distance(row, logit);
    if (is_tie) return distance == row->last_distance;
    if (distance > row->last_distance || distance == SAMPLE_NONE) return 0;
    if (distance == row->last_distance && token > row->last_token) return 0;
    const u64 weight = sample_weight(distance);
    return weight < row->least ? 0 : weight;
}

// The warp's sum over tokens begin … end-1.
DEVICE u64 sample_piece(const sample_row *row, bool is_tie, i32 begin, i32 end) {
    u64 sum = 0;
    NO_UNROLL
    const i32 walked = min_i32(end, row->n_walked);
    for (i32 first = begin + lane_index(); first < walked; first += SAMPLE_BATCH * 32) {
        float values[SAMPLE_BATCH];
        sample_load(row, first, 32, walked, values);
        UNROLL
        for (i32 i = 0; i < SAMPLE_BATCH; i++) sum += sample_measure(row, is_tie, first + i * 32, values[i]);
    }
    NO_UNROLL
    for (i32 i = lane_index(); i < row->n_history; i += 32) {
        const i32 token = row->tokens[i];
        if (token < begin || token >= end) continue;
        sum += sample_measure(row, is_tie, token, sample_penalized(row, i));
    }
    return sample_warp_sum(sum);
}

// The first token with which the sum of the measures is above a mark: for ties the number `low`, else the random number's part of the whole sum.
DEVICE i32 sample_find(const sample_row *row, bool is_tie, u32 low, u32 high) {
    SHARED_ARRAY(u64, sums, SAMPLE_PIECES);
    i32 begin = 0, end = row->vocab;
    u64 mark = low;
    bool is_marked = is_tie;
    NO_UNROLL
    while (end - begin > 1 || !is_marked) {
        const i32 size = (end - begin + SAMPLE_PIECES - 1) / SAMPLE_PIECES;
        const i32 first = min_i32(begin + warp_index() * size, end);
        const u64 sum = sample_piece(row, is_tie, first, min_i32(first + size, end));
        if (lane_index() == 0) sums[warp_index()] = sum;
        block_sync();
        if (!is_marked) {
            u64 total = 0;
            for (i32 p = 0; p < SAMPLE_PIECES; p++) total += sums[p];
            mark = sample_mark(total, low, high);
            is_marked = true;
        }
        i32 piece = 0;
        while (piece < SAMPLE_PIECES - 1 && sums[piece] <= mark) mark -= sums[piece++];
        begin = min_i32(begin + piece * size, end - 1);
        end = min_i32(begin + size, end);
        block_sync(); // the sums are written again
    }
    return begin;
}

// ---- the last candidate that top-k or top-p keeps -----------------------------------------------------------

// Counts of candidates and sums of their weights by some bits of the distance.
typedef struct sample_bins {
    u32 *counts, *low, *high; // [SAMPLE_BINS], shared
} sample_bins;

// Puts a candidate into the bin of its distance's bits from `shift` on, where the bits above are those of `prefix`.
DEVICE void sample_put(const sample_bins *bins, u32 distance, i32 shift, u32 mask, u32 prefix) {
    if (distance == SAMPLE_NONE || ((distance ^ prefix) & ~(mask << shift | ((1u << shift) - 1))) != 0) return;
    const u32 bin = distance >> shift & mask;
    atomic_add_u32(&bins->counts[bin], 1);
    sample_atomic_add(&bins->low[bin], &bins->high[bin], sample_weight(distance));
}

DEVICE void sample_fill_bins(const sample_row *row, const sample_bins *bins, i32 shift, u32 mask, u32 prefix) {
    for (i32 i = thread_index(); i < SAMPLE_BINS; i += SAMPLE_THREADS) {
        bins->counts[i] = 0;
        bins->low[i] = 0;
        bins->high[i] = 0;
    }
    block_sync();
    NO_UNROLL
    for (i32 first = thread_index(); first < row->n_walked; first += SAMPLE_BATCH * SAMPLE_THREADS) {
        float values[SAMPLE_BATCH];
        sample_load(row, first, SAMPLE_THREADS, row->n_walked, values);
        UNROLL
        for (i32 i = 0; i < SAMPLE_BATCH; i++) sample_put(bins, sample_distance(row, values[i]), shift, mask, prefix);
    }
    NO_UNROLL
    for (i32 i = thread_index(); i < row->n_history; i += SAMPLE_THREADS)
        sample_put(bins, sample_distance(row, sample_penalized(row, i)), shift, mask, prefix);
    block_sync();
}

DEVICE u64 sample_bin_weight(const sample_bins *bins, i32 bin) {
    return (u64)bins->high[bin] << 32 | bins->low[bin];
}

// The first bin with which count (is_count) or weight reaches `target`; `before` grows by the bins before it. Warps add up 64 bins each, then every
// thread counts off the same warps and bins.
DEVICE i32 sample_find_bin(const sample_bins *bins, bool is_count, u64 target, sample_sum *before) {
    SHARED_ARRAY(u64, weights, 32);
    SHARED_ARRAY(u32, counts, 32);
    const i32 n_warps = SAMPLE_THREADS / 32, n_each = SAMPLE_BINS / n_warps;
    const i32 first = warp_index() * n_each;
    sample_sum mine = {0, 0};
    for (i32 i = lane_index(); i < n_each; i += 32) {
        mine.weight += sample_bin_weight(bins, first + i);
        mine.count += bins->counts[first + i];
    }
    mine.weight = sample_warp_sum(mine.weight);
    mine.count = (u32)sample_warp_sum(mine.count);
    if (lane_index() == 0) {
        weights[warp_index()] = mine.weight;
        counts[warp_index()] = mine.count;
    }
    block_sync();
    i32 bin = 0;
    for (i32 w = 0; w < n_warps - 1; w++) {
        const u64 reached = is_count ? before->count + counts[w] : before->weight + weights[w];
        if (reached >= target) break;
        before->count += counts[w];
        before->weight += weights[w];
        bin += n_each;
    }
    for (const i32 end = bin + n_each - 1; bin < end; bin++) {
        const u64 weight = sample_bin_weight(bins, bin);
        const u64 reached = is_count ? before->count + bins->counts[bin] : before->weight + weight;
        if (reached >= target) break;
        before->count += bins->counts[bin];
        before->weight += weight;
    }
    return bin;
}

// The weight of all bins.
DEVICE u64 sample_total(const sample_bins *bins) {
    SHARED_ARRAY(u64, totals, 32);
    u64 sum = 0;
    for (i32 i = thread_index(); i < SAMPLE_BINS; i += SAMPLE_THREADS) sum += sample_bin_weight(bins, i);
    sum = sample_warp_sum(sum);
    if (lane_index() == 0) totals[warp_index()] = sum;
    block_sync();
    sum = 0;
    for (i32 w = 0; w < SAMPLE_THREADS / 32; w++) sum += totals[w];
    return sum;
}

typedef struct sample_list {
    u32 *n;        // shared
    i32 *tokens;   // [SAMPLE_LISTED], shared
    float *logits; // [SAMPLE_LISTED], shared
} sample_list;

DEVICE void sample_note(const sample_list *list, const sample_row *row, u32 limit, i32 token, float logit) {
    const u32 distance = sample_distance(row, logit);
    if (distance > limit || distance == SAMPLE_NONE) return;
    const u32 at = atomic_add_u32(list->n, 1);
    list->tokens[at] = token;
    list->logits[at] = logit;
}

// Lists the candidates up to this distance, at most SAMPLE_LISTED, instead of the row. Their order is by chance, and does not count.
DEVICE void sample_make_list(sample_row *row, const sample_list *list, u32 limit) {
    if (thread_index() == 0) *list->n = 0;
    block_sync();
    NO_UNROLL
    for (i32 first = thread_index(); first < row->n_walked; first += SAMPLE_BATCH * SAMPLE_THREADS) {
        float values[SAMPLE_BATCH];
        sample_load(row, first, SAMPLE_THREADS, row->n_walked, values);
        UNROLL
        for (i32 i = 0; i < SAMPLE_BATCH; i++) sample_note(list, row, limit, first + i * SAMPLE_THREADS, values[i]);
    }
    NO_UNROLL
    for (i32 i = thread_index(); i < row->n_history; i += SAMPLE_THREADS)
        sample_note(list, row, limit, row->tokens[i], sample_penalized(row, i));
    block_sync();
    row->n_walked = 0;
    row->n_history = (i32)*list->n;
    row->tokens = list->tokens;
    row->listed = list->logits;
}

// Keeps the fewest candidates whose count (is_count) is `target`, or whose weight is `part` of `target`, which is 0 for the weight of all candidates.
// Gives what the kept ones weigh. Where fewer candidates are there than `target` the search ends behind all of them, at a distance of no weight.
DEVICE u64 sample_keep(
    sample_row *row, const sample_bins *bins, const sample_list *list, bool is_count, u64 target, float part) {
    sample_sum before = {0, 0};
    u32 distance = 0, n_equal = 0;
    NO_UNROLL
    for (i32 level = 0; level < 3; level++) {
        const i32 shift = level == 0 ? 21 : level == 1 ? 10 : 0;
        const u32 mask = level == 2 ? 1023u : 2047u;
        sample_fill_bins(row, bins, shift, mask, distance);
        if (level == 0 && !is_count) {
            target = sample_part(target == 0 ? sample_total(bins) : target, part);
            if (target == 0) target = 1;
        }
        const i32 bin = sample_find_bin(bins, is_count, target, &before);
        distance |= (u32)bin << shift;
        n_equal = bins->counts[bin];
        if (level == 0 && row->n_walked > 0 && before.count + n_equal <= SAMPLE_LISTED)
            sample_make_list(row, list, distance | ((1u << shift) - 1));
        block_sync(); // the bins are written again
    }
    // Candidates of this distance weigh the same; the first of them are kept.
    const u64 weight = sample_weight(distance);
    const u64 n_kept = is_count ? target - before.count : (target - before.weight + weight - 1) / weight;
    row->last_distance = distance;
    row->last_token = 0x7fffffff;
    if (n_kept < n_equal) row->last_token = sample_find(row, true, (u32)n_kept - 1, 0);
    return before.weight + n_kept * weight;
}

// ---- the row ------------------------------------------------------------------------------------------------

// settings: temperature, top_p, top_k, min_p, repetition.
DEVICE i32 sample_choose(
    sample_row *row, const sample_bins *bins, const sample_list *list, const float *settings, const u32 *random) {
    const i32 best = sample_find_best(row);
    const float temperature = settings[0], top_p = settings[1], top_k = settings[2];
    if (best < 0) return 0;
    if (temperature <= 1e-5f) return best;
    row->octaves = 1.44269504f / temperature;
    row->least = (u64)(settings[3] * 1099511627776.0f);
    row->last_distance = SAMPLE_NONE;
    row->last_token = 0x7fffffff;
    const bool has_top_k = top_k > 0.0f && top_k < (float)row->vocab, has_top_p = top_p < 1.0f;
    u64 kept = 0;
    NO_UNROLL
    for (i32 question = has_top_k ? 0 : 1; question < (has_top_p ? 2 : 1); question++) {
        const bool is_count = question == 0;
        kept = sample_keep(row, bins, list, is_count, is_count ? (u64)top_k : kept, top_p);
    }
    return sample_find(row, false, random[0], random[1]);
}

// The part of the history that is this row's, with a bit for each of its tokens.
DEVICE void sample_open_history(const kernel_env *env, i64 index, sample_row *row) {
    const i32 *range = (const i32 *)kernel_pointer_3(env) + index * 2;
    row->tokens = (const i32 *)kernel_pointer_4(env) + range[0];
    row->subtracted = (const float *)kernel_pointer_5(env) + range[0];
    row->n_history = range[1] - range[0];
    if (row->n_history == 0) return;
    for (i32 i = thread_index(); i < (row->vocab + 31) / 32; i += SAMPLE_THREADS) row->is_past[i] = 0;
    block_sync();
    for (i32 i = thread_index(); i < row->n_history; i += SAMPLE_THREADS) {
        const i32 token = row->tokens[i];
        atomic_add_u32(&row->is_past[token >> 5], 1u << (token & 31));
    }
    block_sync();
}

KERNEL BOUNDS(KERNEL_THREADS_sample, KERNEL_BLOCKS_sample)
void sample(const kernel_env env) {
    SHARED(shared);
    u32 *words = (u32 *)shared;
    const sample_bins bins = {words, words + SAMPLE_BINS, words + 2 * SAMPLE_BINS};
    u32 *const entries = words + 3 * SAMPLE_BINS;
    SHARED_ARRAY(u32, n_listed, 1);
    const sample_list list = {n_listed, (i32 *)entries, (float *)(entries + SAMPLE_LISTED)};
    const i64 index = block_index_x();
    grid_wait();
    const float *settings = (const float *)kernel_pointer_1(&env) + index * 5;
    sample_row row;
    row.vocab = KERNEL_DIM_0_1;
    row.logits = (const float *)kernel_pointer_0(&env) + index * row.vocab;
    row.n_walked = row.vocab;
    row.is_past = entries + 2 * SAMPLE_LISTED;
    row.repetition = settings[4];
    sample_open_history(&env, index, &row);
    const i32 token = sample_choose(&row, &bins, &list, settings, (const u32 *)kernel_pointer_2(&env) + index * 2);
    if (thread_index() == 0) ((i32 *)kernel_result_pointer_0(&env))[index] = token;
    grid_release();
}
