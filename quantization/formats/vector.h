// vector: one loop in C, compiled once for the baseline and once for each wider instruction set,
// chosen at run time.
//
// The encoders are plain branch-free loops; what a wider machine gains is wider registers, so the
// same always-inline body is instantiated under target attributes instead of being written twice.
// All instances compute the same bits (no contraction, no reassociation), and the tests compare
// them through quant_vector_set.
#ifndef MLCC_QUANTIZATION_FORMATS_VECTOR_H
#define MLCC_QUANTIZATION_FORMATS_VECTOR_H

#include <stdint.h>

typedef enum quant_vector {
    QUANT_VECTOR_BASELINE,
    QUANT_VECTOR_AVX2,   // and F16C
    QUANT_VECTOR_AVX512, // F, BW, DQ, VL
    QUANT_VECTOR_AUTO
} quant_vector;

// The instance that encoders use; AUTO at start. Setting one that the machine lacks has no effect.
// For tests and benches, before threads start.
void quant_vector_set(quant_vector level);
quant_vector quant_vector_level(void); // never AUTO

#if defined(__x86_64__)
#    define QUANT_TARGET_AVX2 __attribute__((target("avx2,f16c")))
#    define QUANT_TARGET_AVX512 \
        __attribute__((target("avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
// Calls MACRO(name, variant, attribute) for every instance.
#    define QUANT_FOR_VARIANTS(MACRO, name) \
        MACRO(name, baseline, ) \
        MACRO(name, avx2, QUANT_TARGET_AVX2) \
        MACRO(name, avx512, QUANT_TARGET_AVX512)
#    define QUANT_CHOOSE(prefix) \
        (quant_vector_level() == QUANT_VECTOR_AVX512 ? prefix##_avx512 \
         : quant_vector_level() == QUANT_VECTOR_AVX2 ? prefix##_avx2 \
                                                     : prefix##_baseline)
#else
#    define QUANT_FOR_VARIANTS(MACRO, name) MACRO(name, baseline, )
#    define QUANT_CHOOSE(prefix)            prefix##_baseline
#endif

#endif
