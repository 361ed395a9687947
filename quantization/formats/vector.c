// vector: which instance of the encoders this machine runs.
#include "quantization/formats/vector.h"

#include <stdatomic.h>

static atomic_int chosen = QUANT_VECTOR_AUTO;

static quant_vector best(void) {
#if QUANT_HAS_AVX2
    if (__builtin_cpu_supports("avx2")) return QUANT_VECTOR_AVX2;
#endif
    return QUANT_VECTOR_BASELINE;
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
