// linear_scaled_panel16 with USDOT: unsigned by signed bytes.
#include "codegen/cpu/kernels/linear_scaled_neon.h"

KERNEL_INLINE int32x4_t neon_dot4(int32x4_t sum, uint32x4_t codes, int8x16_t x) {
    return vusdotq_s32(sum, vreinterpretq_u8_u32(codes), x);
}
