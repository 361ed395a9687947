// torch_archive: no zip file makes the reader step outside it; what it accepts is read through, pickle and storages.
#include "frontend/hf/torch_archive.h"
#include "frontend/hf/torch_pickle.h"

#include <stdlib.h>

#define MAX_PICKLE_BYTES ((size_t)1 << 20)
#define MAX_READ_BYTES   ((size_t)64 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop(mlcc_status *status) {
    mlcc_status_free(status);
}

// Back, forth and over the end of one storage.
static void read_storage(hf_torch_archive *archive, const hf_torch_storage *storage, char *buffer) {
    uint64_t entry = 0;
    mlcc_status *status = hf_torch_archive_find(archive, storage->key, storage->size_bytes, &entry);
    if (status == NULL) {
        const uint64_t n =
            storage->size_bytes < MAX_READ_BYTES ? storage->size_bytes : MAX_READ_BYTES;
        drop(hf_torch_archive_read(archive, entry, 0, n, buffer));
        drop(hf_torch_archive_read(archive, entry, n / 2, n - n / 2, buffer));
        drop(hf_torch_archive_read(archive, entry, n / 3, n / 3, buffer));
        mlcc_status *beyond = hf_torch_archive_read(archive, entry, 1, storage->size_bytes, buffer);
        if (mlcc_status_code(beyond) != MLCC_INTERNAL) abort();
        drop(beyond);
    }
    drop(status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hf_torch_archive *archive = NULL;
    mlcc_status *status = hf_torch_archive_open_memory(data, size, "fuzz", &archive);
    void *program = NULL;
    size_t n_program_bytes = 0;
    hf_torch_pickle pickle = {0};
    mlcc_arena *keep = mlcc_arena_create();
    if (status == NULL)
        status =
            hf_torch_archive_read_pickle(archive, MAX_PICKLE_BYTES, &program, &n_program_bytes);
    if (status == NULL)
        status = hf_torch_pickle_parse(program, n_program_bytes, "fuzz", keep, &pickle);
    if (status == NULL) {
        char *buffer = malloc(MAX_READ_BYTES);
        for (size_t i = 0; i < pickle.n_storages && i < 16; i++)
            read_storage(archive, &pickle.storages[i], buffer);
        free(buffer);
    }
    drop(status);
    free(program);
    mlcc_arena_free(keep);
    hf_torch_archive_close(archive);
    return 0;
}
