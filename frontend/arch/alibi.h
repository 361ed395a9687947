// alibi: the slopes of heads that know positions by them alone (ALiBi).
#ifndef MLCC_FRONTEND_ARCH_ALIBI_H
#define MLCC_FRONTEND_ARCH_ALIBI_H

#include <stdint.h>

// slopes[n_heads] times `factor`: 2^(-8 h / n) for h = 1 … n where n_heads is a power of two n; else those of the largest power of two n below it,
// then every other one of 2 n.
// Source: Press et al. 2021 (arXiv 2108.12409), section 3, and get_slopes of its code.
void arch_alibi_slopes(int64_t n_heads, double factor, float *slopes);

#endif
