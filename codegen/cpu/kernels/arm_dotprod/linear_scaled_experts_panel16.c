// linear_scaled_experts_panel16: the product of one expert is this machine's linear_scaled_panel16.
#define LINEAR_EXPERTS
#include "codegen/cpu/kernels/arm_dotprod/linear_scaled_panel16.c"
