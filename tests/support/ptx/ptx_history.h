// ptx_history: the inside of the histories of ptx.h.
#ifndef MLCC_TESTS_PTX_PTX_HISTORY_H
#define MLCC_TESTS_PTX_PTX_HISTORY_H

#include "tests/support/ptx/ptx.h"

void ptx_history_add(ptx_history *history, uint64_t address, uint64_t n_bytes, bool is_write);
void ptx_history_merge(ptx_history *into, const ptx_history *from);
// Whether any of the words was written, or read.
bool ptx_history_has(const ptx_history *history, uint64_t address, uint64_t n_bytes, bool is_write);

#endif
