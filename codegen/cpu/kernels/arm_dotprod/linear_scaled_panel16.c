// linear_scaled_panel16 with SDOT: signed by signed bytes. Codes of four bits are signed bytes as they are; those of eight bits are used less 128.
#define LINEAR_SCALED_SIGNED 1
#include "codegen/cpu/kernels/linear_scaled_neon.h"

KERNEL_INLINE int32x4_t neon_dot4(int32x4_t sum, uint32x4_t codes, int8x16_t x) {
    return vdotq_s32(sum, vreinterpretq_s8_u32(codes), x);
}
