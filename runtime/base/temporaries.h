// temporaries: the names that a broken-off run must not leave behind.
//
// Private to runtime/base. A fixed table, because a signal handler reads it: it can neither lock
// nor allocate.
#ifndef MLCC_RUNTIME_BASE_TEMPORARIES_H
#define MLCC_RUNTIME_BASE_TEMPORARIES_H

#include <stdbool.h>

// Notes a file that this process is writing and gives its slot; -1 when the table is full or the
// path too long.
int mlcc_temporary_add(const char *path);
void mlcc_temporary_forget(int slot);
// Removes a directory with everything in it, without following links. Async-signal-safe. False when
// something is left; errno then says why.
bool mlcc_remove_tree(const char *path);

#endif
