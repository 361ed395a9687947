#include "frontend/hf/lfs_pointer.h"

#include <string.h>

// The first line of every pointer, see the specification of git-lfs.
#define LFS_MARK "version https://git-lfs.github.com/spec/"

bool hf_is_lfs_pointer(const void *data, size_t size_bytes) {
    return size_bytes >= strlen(LFS_MARK) && memcmp(data, LFS_MARK, strlen(LFS_MARK)) == 0;
}

mlcc_status *hf_lfs_pointer_error(void) {
    return MLCC_ERROR(
        INVALID, "this is a git-LFS pointer, not the weights; fetch them with 'git lfs pull'");
}
