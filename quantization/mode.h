// mode: the rows of modes.def. A mode decides the element format of every param; the graph keeps
// saying `linear`.
#ifndef MLCC_QUANTIZATION_MODE_H
#define MLCC_QUANTIZATION_MODE_H

#include "ir/ir.h"

typedef struct quant_mode {
    const char *name;
    const char *kind;
    ir_dtype model, linear, embedding, head;
    const char *meaning;
} quant_mode;

// Unknown: UNSUPPORTED, with the nearest name and the list of accepted ones.
mlcc_status *quant_mode_find(const char *name, const quant_mode **out);
const quant_mode *quant_mode_table(size_t *n_modes);

#endif
