// quantize_group: what quantize_activation and encode_activation share: the columns of a row that have one scale, the threads that have them (a warp a
// group, or the block the whole row), and the scale.

typedef struct quantize_group {
    i64 row, index;        // of the group in its row
    i64 first, end;        // its columns; none beyond the row
    i32 member, n_members; // of its threads
} quantize_group;

DEVICE quantize_group quantize_group_here(const kernel_env *env) {
    const i64 columns = kernel_dim_0_1(env);
    quantize_group here;
    here.row = block_index_x();
#if KERNEL_ATTR_group == 0
    here.index = 0;
    here.first = 0;
    here.end = columns;
    here.member = thread_index();
    here.n_members = block_threads();
#else
    here.index = (i64)block_index_y() * (block_threads() / 32) + warp_index();
    here.first = min_i64(here.index * KERNEL_ATTR_group, columns);
    here.end = min_i64(here.first + KERNEL_ATTR_group, columns);
    here.member = lane_index();
    here.n_members = 32;
#endif
    return here;
}

// The largest of all threads of the group.
DEVICE u32 quantize_group_max(u32 value) {
#if KERNEL_ATTR_group == 0
    return block_max_u32(value);
#else
    return warp_max_u32(value);
#endif
}

// `largest`: magnitude_bits of the columns that this thread has.
DEVICE float quantize_group_scale(const kernel_env *env, const quantize_group *here, u32 largest) {
    float given = 0.0f;
    largest = quantize_group_max(largest);
#if KERNEL_HAS_1
    if (here->first < here->end) given = ((const float *)kernel_pointer_1(env))[here->index];
#endif
    return quantize_scale(KERNEL_ATTR_mantissa_bits, given, largest, (float)KERNEL_ATTR_floor);
}
