// verify_plan: the memory rules of PLAN level, for one function that verify.c has found sound.
#ifndef MLCC_IR_VERIFY_PLAN_H
#define MLCC_IR_VERIFY_PLAN_H

#include "ir/ir.h"

// "PROBLEM", with the note "while checking 'NODE'".
mlcc_status *ir_verify_node_error(const ir_node *node, const char *format, ...) MLCC_PRINTF(2, 3);

// Offsets are checked once the function has a workspace size, layouts once any param has a layout
// or there is a workspace: the plan passes fill the module step by step, and each step is verified.
mlcc_status *ir_verify_plan(const ir_function *function);

#endif
