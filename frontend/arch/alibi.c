#include "frontend/arch/alibi.h"

#include <math.h>

void arch_alibi_slopes(int64_t n_heads, double factor, float *slopes) {
    int64_t power = 1;
    while (2 * power <= n_heads) power *= 2;
    for (int64_t i = 0; i < n_heads; i++) {
        const double step = i < power ? (double)(i + 1) : (double)(i - power) + 0.5;
        slopes[i] = (float)(factor * exp2(-8 * step / (double)power));
    }
}
