// linear_scaled_experts_panel16: the product of one expert is this machine's linear_scaled_panel16.
#define LINEAR_EXPERTS
#include "codegen/cpu/kernels/x86_avxvnni/linear_scaled_panel16.c"
