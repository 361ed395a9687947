// Helpers of the artifact tests: folders that go away, files, a Hugging Face folder made on the
// spot, and what a store holds.
#ifndef MLCC_TESTS_UNIT_ARTIFACT_FIXTURE_H
#define MLCC_TESTS_UNIT_ARTIFACT_FIXTURE_H

#include "runtime/base/json.h"
#include "runtime/model/tensor_cache.h"
#include "tests/support/test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE __attribute__((unused)) static

FIXTURE void must(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    mlcc_status_free(status);
    fail_msg("%s", text);
}

// Frees the status after checking its code and that its message holds `part`.
FIXTURE void must_fail(mlcc_status *status, mlcc_code code, const char *part) {
    assert_non_null(status);
    char *text = mlcc_status_format(status, 0);
    if (mlcc_status_code(status) != code || strstr(text, part) == NULL)
        fail_msg("expected '%s' (%s) in: %s", part, mlcc_code_text(code), text);
    free(text);
    mlcc_status_free(status);
}

FIXTURE void write_file(const char *dir, const char *name, const void *data, size_t size_bytes) {
    mlcc_arena *scratch = mlcc_arena_create();
    must(mlcc_file_write_atomic(mlcc_path_join(scratch, dir, name), data, size_bytes));
    mlcc_arena_free(scratch);
}

FIXTURE void write_text(const char *dir, const char *name, const char *text) {
    write_file(dir, name, text, strlen(text));
}

// The names in a folder, sorted, joined by spaces.
FIXTURE const char *names_in(const char *dir, mlcc_arena *keep) {
    char **names = NULL;
    size_t n = 0;
    must(mlcc_dir_list(dir, keep, &names, &n));
    char *text = mlcc_arena_strdup(keep, "");
    for (size_t i = 0; i < n; i++)
        text = mlcc_arena_printf(keep, "%s%s%s", text, i == 0 ? "" : " ", names[i]);
    return text;
}

FIXTURE mlcc_tensor_cache *open_store(const char *dir) {
    mlcc_tensor_cache *cache = NULL;
    mlcc_pool *pool = NULL;
    must(mlcc_tensor_cache_open(dir, &cache));
    must(mlcc_tensor_cache_map(cache));
    must(mlcc_pool_create(1, &pool));
    must(mlcc_tensor_cache_verify(cache, pool, NULL, NULL));
    mlcc_pool_free(pool);
    return cache;
}

// ---- a safetensors file -------------------------------------------------------------------------

typedef struct made_tensor {
    const char *name, *dtype; // "F32"
    int64_t rows, columns;    // columns 0: a vector
    const void *data;         // NULL: zeros (a hole in the file)
} made_tensor;

FIXTURE uint64_t made_bytes(const made_tensor *tensor) {
    const uint64_t element = strcmp(tensor->dtype, "F32") == 0   ? 4
                             : strcmp(tensor->dtype, "I64") == 0 ? 8
                                                                 : 2;
    return (uint64_t)tensor->rows * (uint64_t)(tensor->columns == 0 ? 1 : tensor->columns) *
           element;
}

FIXTURE void write_safetensors(const char *path, const made_tensor *tensors, size_t n) {
    mlcc_str header = {0};
    uint64_t offset = 0;
    mlcc_str_putc(&header, '{');
    for (size_t i = 0; i < n; i++) {
        mlcc_str_printf(
            &header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%lld", i == 0 ? "" : ",",
            tensors[i].name, tensors[i].dtype, (long long)tensors[i].rows);
        if (tensors[i].columns != 0)
            mlcc_str_printf(&header, ",%lld", (long long)tensors[i].columns);
        mlcc_str_printf(
            &header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
            (unsigned long long)(offset + made_bytes(&tensors[i])));
        offset += made_bytes(&tensors[i]);
    }
    mlcc_str_putc(&header, '}');
    while (header.length % 8 != 0) mlcc_str_putc(&header, ' ');
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    const uint64_t length = header.length;
    assert_int_equal(fwrite(&length, sizeof length, 1, file), 1);
    assert_int_equal(fwrite(header.data, header.length, 1, file), 1);
    uint64_t at = 8 + header.length;
    for (size_t i = 0; i < n; i++) {
        const uint64_t size_bytes = made_bytes(&tensors[i]);
        if (tensors[i].data != NULL) {
            assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
            assert_int_equal(fwrite(tensors[i].data, size_bytes, 1, file), 1);
        }
        at += size_bytes;
    }
    assert_int_equal(fflush(file), 0);
    assert_int_equal(ftruncate(fileno(file), (off_t)at), 0);
    fclose(file);
    mlcc_str_free(&header);
}

#endif
