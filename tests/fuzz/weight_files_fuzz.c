// weight_files: no safetensors file breaks the whole way from its bytes to dequantized rows: header, layouts found by name and shape, checks of the
// data, folded activation scales. Whatever is listed can be read to its last byte or gives an error.
#include "frontend/hf/weight_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_ELEMENTS = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_tensor(hf_weight_source *source, const hf_tensor *tensor) {
    const hf_quantized *quantized = NULL;
    unsigned char ends[2][24];
    const void *view = NULL;
    mlcc_status *status = NULL;
    if (source->quantized != NULL) {
        status = source->quantized(source, tensor, &quantized);
        if (status != NULL && quantized != NULL) abort();
        mlcc_status_free(status);
        if (quantized != NULL && (quantized->canon.n_rows != tensor->dims[0] ||
                                  quantized->canon.columns != tensor->dims[1]))
            abort();
    }
    const uint64_t n = tensor->size_bytes < sizeof ends[0] ? tensor->size_bytes : sizeof ends[0];
    mlcc_status_free(source->read(source, tensor, 0, n, ends[0], NULL));
    mlcc_status_free(source->read(source, tensor, tensor->size_bytes - n, n, ends[1], NULL));
    if (tensor->size_bytes <= MAX_ELEMENTS * sizeof(float))
        mlcc_status_free(source->read(source, tensor, 0, tensor->size_bytes, NULL, &view));
    if (source->release != NULL) source->release(source, tensor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    const int file = memfd_create("fuzz", 0);
    if (file < 0) return 0;
    mlcc_arena *keep = mlcc_arena_create();
    hf_weight_source *source = NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    mlcc_status *status = NULL;
    if (write(file, data, size) == (ssize_t)size)
        status = hf_weight_files_open(path, "auto", NULL, keep, &source);
    if (status != NULL && source != NULL) abort();
    mlcc_status_free(status);
    for (size_t i = 0; source != NULL && i < source->n_tensors; i++)
        read_tensor(source, &source->tensors[i]);
    if (source != NULL) source->close(source);
    mlcc_arena_free(keep);
    close(file);
    return 0;
}
