// safetensors: no header makes the reader step outside the file, and whatever is accepted lies inside it and does not overlap.
// Input that begins with '{' is a header text, put into a file with the right length and 64 bytes of data; other input is the file itself.
#include "frontend/hf/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#define N_DATA_BYTES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const hf_safetensors_header *header, size_t file_bytes) {
    uint64_t claimed_bytes = 0;
    for (size_t i = 0; i < header->n_entries; i++) {
        const hf_safetensors_entry *entry = &header->entries[i];
        if (entry->offset_bytes > file_bytes ||
            entry->tensor.size_bytes > file_bytes - entry->offset_bytes)
            abort();
        if (entry->tensor.rank < 0 || entry->tensor.rank > IR_MAX_RANK ||
            entry->tensor.name[0] == '\0')
            abort();
        claimed_bytes += entry->tensor.size_bytes;
        if (i > 500) continue; // pairs, where they are few enough
        for (size_t k = 0; k < i; k++) {
            const hf_safetensors_entry *other = &header->entries[k];
            if (entry->tensor.size_bytes > 0 && other->tensor.size_bytes > 0 &&
                entry->offset_bytes < other->offset_bytes + other->tensor.size_bytes &&
                other->offset_bytes < entry->offset_bytes + entry->tensor.size_bytes)
                abort();
        }
    }
    if (claimed_bytes + header->unclaimed_bytes > file_bytes) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool is_header = size > 0 && data[0] == '{';
    size_t file_bytes = is_header ? 8 + size + N_DATA_BYTES : size;
    unsigned char *file =
        calloc(1, file_bytes + 1); // its own allocation, so that reading beyond it is seen
    if (file == NULL) return 0;
    if (is_header)
        for (size_t i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)size >> (8 * i));
    if (size > 0) memcpy(file + (is_header ? 8 : 0), data, size);

    mlcc_arena *keep = mlcc_arena_create();
    hf_safetensors_header header;
    mlcc_status *status = hf_safetensors_header_parse(file, file_bytes, "fuzz", keep, &header);
    if (status == NULL) check(&header, file_bytes);
    mlcc_status_free(status);
    mlcc_arena_free(keep);
    free(file);
    return 0;
}
