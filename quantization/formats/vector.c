// vector: which instance of the encoders this machine runs.
#include "quantization/formats/vector.h"

#include <stdatomic.h>

static atomic_int chosen = QUANT_VECTOR_AUTO;

static quant_vector best(void) {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("f16c"))
        return QUANT_VECTOR_BASELINE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return QUANT_VECTOR_AVX512;
    return QUANT_VECTOR_AVX2;
#else
    return QUANT_VECTOR_BASELINE;
#endif
}

void quant_vector_set(quant_vector level) {
    if (level != QUANT_VECTOR_AUTO && level > best()) return;
    atomic_store_explicit(&chosen, (int)level, memory_order_relaxed);
}

quant_vector quant_vector_level(void) {
    int level = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (level == QUANT_VECTOR_AUTO) {
        level = (int)best();
        atomic_store_explicit(&chosen, level, memory_order_relaxed);
    }
    return (quant_vector)level;
}
