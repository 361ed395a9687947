// linear_experts_panel16: the product of one expert is this machine's linear_panel16.
#define LINEAR_EXPERTS
#include "codegen/cpu/kernels/portable/linear_panel16.c"
