// text: the module as readable text (.mlcir) and back. Laws, each a fuzz property: parse(print(m)) is structurally equal to m; printing
// renumbers results so that equal modules give equal bytes; numbers are printed with the fewest digits that read back to the same bits.
// The grammar stands in ir/README.md.
#ifndef MLCC_IR_TEXT_H
#define MLCC_IR_TEXT_H

#include "ir/ir.h"
#include "runtime/base/str.h"

void ir_print_module(const ir_module *module, mlcc_str *out);
void ir_print_function(const ir_function *function, mlcc_str *out);
void ir_print_type(const ir_type *type, mlcc_str *out);
// One line, for error messages: "%3 = linear %2, @w : f32[n_tokens, 64]".
void ir_print_node(const ir_node *node, mlcc_str *out);
// `what` names the text in errors ("file.mlcir"). Errors carry line and column. Limits: 64 MiB, 1 M nodes, 4 M constant elements. The result is not yet verified.
mlcc_status *ir_parse_module(
    const char *text, size_t length, const char *what, mlcc_arena *keep, ir_module **out);

#endif
