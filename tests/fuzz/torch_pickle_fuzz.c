// torch_pickle: no program makes the interpreter step outside its input, and every tensor it accepts lies inside its storage.
#include "frontend/hf/torch_pickle.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hf_torch_pickle *pickle) {
    for (size_t i = 0; i < pickle->n_tensors; i++) {
        const hf_torch_tensor *stored = &pickle->tensors[i];
        if (stored->storage >= pickle->n_storages) abort();
        if (stored->tensor.name == NULL || stored->tensor.name[0] == '\0') abort();
        if (stored->tensor.rank < 0 || stored->tensor.rank > IR_MAX_RANK) abort();
        const uint64_t storage_bytes = pickle->storages[stored->storage].size_bytes;
        if (stored->offset_bytes > storage_bytes ||
            stored->span_bytes > storage_bytes - stored->offset_bytes)
            abort();
        if (stored->is_contiguous && stored->span_bytes != stored->tensor.size_bytes) abort();
        if (stored->tensor.dtype > IR_N_DTYPES) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mlcc_arena *keep = mlcc_arena_create();
    hf_torch_pickle pickle;
    mlcc_status *status = hf_torch_pickle_parse(data, size, "fuzz", keep, &pickle);
    if (status == NULL) check(&pickle);
    mlcc_status_free(status);
    mlcc_arena_free(keep);
    return 0;
}
