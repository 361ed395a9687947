// What a GPU can do at most, for cuda_bench: reading memory, and multiplying matrices with mma.sync from registers.
typedef unsigned int u32;
typedef unsigned long long u64;

// Every 16-byte word of `data` once, four loads of a thread under way at a time.
extern "C" __global__ void read_all(const uint4 *data, u64 n_words, u32 *result) {
    const u64 n_threads = (u64)gridDim.x * blockDim.x;
    const u64 thread = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    u32 sum = 0;
    u64 i = thread;
    for (; i + 3 * n_threads < n_words; i += 4 * n_threads) {
        const uint4 a = data[i], b = data[i + n_threads], c = data[i + 2 * n_threads], d = data[i + 3 * n_threads];
        sum ^= a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w;
        sum ^= c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
    }
    for (; i < n_words; i += n_threads) sum ^= data[i].x;
    if (sum == 0x12345678u) result[0] = sum; // never; keeps the loads
}

// Eight independent sums a warp, enough to keep the matrix units busy.
extern "C" __global__ void multiply(u64 n_steps, u64 unused, float *result) {
    float sums[8][4];
    u32 a[4], b[2];
    for (int i = 0; i < 4; i++) a[i] = 0x2c002c00u + threadIdx.x * 0x00010003u;
    for (int i = 0; i < 2; i++) b[i] = 0x2c00ac00u + threadIdx.x * 0x00030001u;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        for (int i = 0; i < 4; i++) sums[k][i] = (float)(k + i);
    }
    for (u64 step = 0; step < n_steps; step++) {
#pragma unroll
        for (int k = 0; k < 8; k++) {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(sums[k][0]), "+f"(sums[k][1]), "+f"(sums[k][2]), "+f"(sums[k][3])
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
        }
    }
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < 8; k++) total += sums[k][0] + sums[k][1] + sums[k][2] + sums[k][3];
    if (unused == 0) result[blockIdx.x * blockDim.x + threadIdx.x] = total;
}
