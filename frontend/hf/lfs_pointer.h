// lfs_pointer: recognises the little text file that git leaves in the place of a large one.
#ifndef MLCC_FRONTEND_HF_LFS_POINTER_H
#define MLCC_FRONTEND_HF_LFS_POINTER_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

// By the first bytes of a file.
bool hf_is_lfs_pointer(const void *data, size_t size_bytes);
// INVALID, with what to do.
mlcc_status *hf_lfs_pointer_error(void);

#endif
