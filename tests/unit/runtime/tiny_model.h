// tiny_model: writes the model directory that tests/unit/runtime/handwritten_lib.c belongs to, and
// says what it must compute. Every test program makes its own directory below $TMPDIR and removes
// it at the end.
#ifndef MLCC_TESTS_UNIT_RUNTIME_TINY_MODEL_H
#define MLCC_TESTS_UNIT_RUNTIME_TINY_MODEL_H

// cmocka wants these before itself
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"
#include "runtime/mlcc.h"
#include "tests/support/test_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TINY_VOCAB = 23,
    TINY_CONTEXT = 96,
    TINY_CHUNK = 8,
    TINY_SEQS = 4,
    TINY_ROWS = 4,
    TINY_BAD_TOKEN = 22
};

// What may differ from the sound store; all zeros is the sound one.
typedef struct tiny_store {
    bool embed_as_bf16;     // "f32-to-bf16", two bytes an element
    bool embed_unaligned;   // the embedding does not start at a multiple of 64 bytes
    bool without_mix_scale; // a tensor is missing
    bool wide_embed;        // [23, 24] instead of [23, 23]
    bool old_name;          // ndarray-cache.json
    bool without_md5;
} tiny_store;

static inline float tiny_embed(int id, int v) {
    return (float)((id * 7 + v * 3) % 19 - 9);
}
static inline int8_t tiny_mix_q(int v) {
    return (int8_t)(v % 5 - 2);
}
static inline float tiny_mix(int v) {
    return (float)tiny_mix_q(v) * 2.0f;
}

// Logits of the last of `n` tokens of a sequence.
static inline void tiny_expected(const int32_t *tokens, int64_t n, float *logits) {
    float sum = 0.0f;
    for (int64_t j = 0; j < n; j++) sum += (float)(j + 1) * (float)(tokens[j] + 1);
    for (int v = 0; v < TINY_VOCAB; v++) {
        logits[v] =
            tiny_embed(tokens[n - 1], v) + 3.0f * (float)(n - 1) + tiny_mix(v) * sum + (float)n;
    }
}

// Ends a test program's patience with an unexpected error.
static inline void tiny_ok(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    fail_msg("%s", text);
    free(text);
}

// The status must have this code and all these parts somewhere in its text; it is freed.
static inline void tiny_refused(
    mlcc_status *status, mlcc_code code, const char *part, const char *other) {
    assert_non_null(status);
    char *text = mlcc_status_format(status, 0);
    if (mlcc_status_code(status) != code || strstr(text, part) == NULL ||
        strstr(text, other) == NULL) {
        fail_msg("expected code %d with '%s' and '%s', got: %s", (int)code, part, other, text);
    }
    free(text);
    mlcc_status_free(status);
}

// Path of a variant of the handwritten library: build/lib beside build/bin.
static inline char *tiny_library(mlcc_arena *keep, const char *variant) {
    char *bin = mlcc_path_dir(keep, mlcc_path_self(keep));
    return mlcc_arena_printf(keep, "%s/../lib/handwritten_%s.so", bin, variant);
}

static inline void tiny_write(
    const char *dir, const char *name, const void *data, size_t size_bytes) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void tiny_write_text(const char *dir, const char *name, const char *text) {
    tiny_write(dir, name, text, strlen(text));
}

static inline void tiny_put_record(
    mlcc_str *json, const char *name, const char *shape, const char *dtype, const char *format,
    size_t nbytes, size_t offset) {
    mlcc_str_printf(
        json,
        "%s{\"name\": \"%s\", \"shape\": %s, \"dtype\": \"%s\", \"format\": \"%s\", \"nbytes\": "
        "%zu, \"byteOffset\": %zu}",
        json->data[json->length - 1] == '[' ? "" : ", ", name, shape, dtype, format, nbytes,
        offset);
}

static inline void tiny_put_shard(
    mlcc_str *json, const char *name, const mlcc_str *bytes, bool with_md5) {
    mlcc_md5 md5;
    char hex[33];
    mlcc_md5_init(&md5);
    mlcc_md5_update(&md5, bytes->data, bytes->length);
    mlcc_md5_hex(&md5, hex);
    mlcc_str_printf(
        json, "], \"dataPath\": \"%s\", \"format\": \"raw-shard\", \"nbytes\": %zu", name,
        bytes->length);
    if (with_md5) mlcc_str_printf(json, ", \"md5sum\": \"%s\"", hex);
    mlcc_str_puts(json, "}");
}

// params_shard_0.bin: mix, then padding, then nothing; params_shard_1.bin: embed.
static inline void tiny_write_store(const char *dir, tiny_store kind) {
    mlcc_str json = {0}, first = {0}, second = {0};
    for (int v = 0; v < TINY_VOCAB; v++) mlcc_str_putc(&first, (char)tiny_mix_q(v));
    const float scale = 2.0f;
    mlcc_str_append(
        &first, (const char *)&scale, sizeof scale); // at offset 23: not even aligned for a float
    if (kind.embed_unaligned) mlcc_str_append(&second, "\0\0\0\0", 4);
    int columns = kind.wide_embed ? TINY_VOCAB + 1 : TINY_VOCAB;
    for (int id = 0; id < TINY_VOCAB; id++) {
        for (int v = 0; v < columns; v++) {
            float value = tiny_embed(id, v);
            uint32_t word;
            memcpy(&word, &value, sizeof word);
            uint16_t half = (uint16_t)(word >> 16); // exact for small integers
            if (kind.embed_as_bf16) {
                mlcc_str_append(&second, (const char *)&half, sizeof half);
            } else {
                mlcc_str_append(&second, (const char *)&value, sizeof value);
            }
        }
    }
    size_t offset = kind.embed_unaligned ? 4 : 0;
    mlcc_str_puts(
        &json, "{\"metadata\": {\"ParamSize\": 3, \"ParamBytes\": 2143.0, \"BitsPerParam\": 31.0}, "
               "\"records\": [{\"records\": [");
    tiny_put_record(&json, "mix.q_weight", "[23]", "int8", "f32-to-bf16", TINY_VOCAB, 0);
    if (!kind.without_mix_scale)
        tiny_put_record(&json, "mix.q_scale", "[1]", "float32", "raw", 4, TINY_VOCAB);
    tiny_put_shard(&json, "params_shard_0.bin", &first, !kind.without_md5);
    mlcc_str_puts(&json, ", {\"records\": [");
    tiny_put_record(
        &json, "embed.weight", kind.wide_embed ? "[23, 24]" : "[23, 23]", "float32",
        kind.embed_as_bf16 ? "f32-to-bf16" : "raw", second.length - offset, offset);
    tiny_put_shard(&json, "params_shard_1.bin", &second, !kind.without_md5);
    mlcc_str_puts(&json, "]}");
    tiny_write(dir, "params_shard_0.bin", first.data, first.length);
    tiny_write(dir, "params_shard_1.bin", second.data, second.length);
    tiny_write(
        dir, kind.old_name ? "ndarray-cache.json" : "tensor-cache.json", json.data, json.length);
    mlcc_str_free(&json);
    mlcc_str_free(&first);
    mlcc_str_free(&second);
}

// A model directory with a store and its own cache folder.
typedef struct tiny_dir {
    mlcc_arena *arena;
    char *path, *cache;
} tiny_dir;

static inline tiny_dir tiny_dir_make(tiny_store kind) {
    tiny_dir dir = {.arena = mlcc_arena_create()};
    dir.path = test_folder_make(dir.arena);
    dir.cache = mlcc_path_join(dir.arena, dir.path, "cache");
    tiny_write_store(dir.path, kind);
    return dir;
}

static inline void tiny_dir_remove(tiny_dir *dir) {
    tiny_ok(mlcc_dir_remove_tree(dir->path));
    mlcc_arena_free(dir->arena);
}

static inline mlcc_model_options tiny_options(const tiny_dir *dir, int32_t n_threads) {
    return (mlcc_model_options){
        .directory = dir->path,
        .library = tiny_library(dir->arena, "plain"),
        .n_threads = n_threads,
        .cache_directory = dir->cache,
    };
}

#endif
