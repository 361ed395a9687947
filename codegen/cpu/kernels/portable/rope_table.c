// rope_table: cosines and sines of positions times frequencies, [T, R]: columns 0 … R/2-1 hold m * cos, the rest m * sin,
// where m = magnitude * (1 + growth * ln(1 + position / period)), the quotient being whole. An item is a token. Angles are products in double, exact for every position below 2^27.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/simd.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(1, 0);
KERNEL_POINTER(0);
KERNEL_POINTER(1);
KERNEL_STORE(0);
KERNEL_ATTR_F64(magnitude);
KERNEL_ATTR_F64(growth);
KERNEL_ATTR_I64(period);

int64_t kernel_rope_table_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_rope_table_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// ln of a number from 1 to 2^31, within 1e-11: that of a power of two and 2 artanh s, s = (m - 1) / (m + 1), for the rest
// m, which lies around 1.
KERNEL_INLINE double rope_table_log(int64_t number) {
    int exponent = 0;
    while (number >> exponent > 1) exponent++;
    double m = (double)number / (double)((int64_t)1 << exponent);
    if (m > 1.5) m *= 0.5, exponent++;
    const double s = (m - 1) / (m + 1), q = s * s;
    double series = 1.0 / 13;
    for (int k = 11; k >= 1; k -= 2) series = series * q + 1.0 / k;
    return exponent * 0.69314718055994530942 + 2 * s * series;
}

void kernel_rope_table(const kernel_env *env, int64_t begin, int64_t end) {
    const int32_t *positions = (const int32_t *)kernel_pointer_0(env);
    const float *frequencies = (const float *)kernel_pointer_1(env);
    const int64_t half = kernel_dim_1_0(env);
    const double growth = kernel_attr_growth(env);
    for (int64_t token = begin; token < end; token++) {
        double magnitude = kernel_attr_magnitude(env);
        if (growth > 0)
            magnitude *=
                1 + growth * rope_table_log(1 + positions[token] / kernel_attr_period(env));
        KERNEL_VECTOR_LOOP for (int64_t i = 0; i < half; i++) {
            double sine, cosine;
            kernel_sincos((double)positions[token] * (double)frequencies[i], &sine, &cosine);
            kernel_store_0(env, token, i, (float)(magnitude * cosine));
            kernel_store_0(env, token, half + i, (float)(magnitude * sine));
        }
    }
}
