#include "runtime/model/prepared_cache.h"

#include "runtime/base/log.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MAGIC "mlccprep"

enum { HEADER_VERSION = 1, PAYLOAD_OFFSET = 4096 };

typedef struct prepared_header {
    char magic[8];
    uint32_t version;
    uint32_t payload_offset;
    uint64_t key_low, key_high;
    uint64_t payload_bytes;
    uint64_t payload_hash_low, payload_hash_high; // XXH3-128
    uint64_t header_hash;                         // XXH3-64 of everything before
} prepared_header;

static uint64_t hash_of_header(const prepared_header *header) {
    return mlcc_hash64(header, offsetof(prepared_header, header_hash));
}

mlcc_hash128 mlcc_prepared_cache_key(
    const unsigned char layout_fingerprint[16], mlcc_hash128 store_identity) {
    unsigned char bytes[16 + sizeof store_identity.low + sizeof store_identity.high];
    memcpy(bytes, layout_fingerprint, 16);
    memcpy(bytes + 16, &store_identity.low, sizeof store_identity.low);
    memcpy(bytes + 24, &store_identity.high, sizeof store_identity.high);
    return mlcc_hash128_of(bytes, sizeof bytes);
}

char *mlcc_prepared_cache_path(mlcc_arena *keep, const char *directory, mlcc_hash128 key) {
    char hex[33];
    mlcc_hash128_hex(key, hex);
    if (directory == NULL) directory = mlcc_path_cache(keep);
    return mlcc_arena_printf(keep, "%s/prepared/%s.weights", directory, hex);
}

// NULL when the file can be used, else why not. `header`: its first PAYLOAD_OFFSET bytes.
static const char *refuse(
    const prepared_header *header, uint64_t file_bytes, mlcc_hash128 key, size_t payload_bytes) {
    if (memcmp(header->magic, HEADER_MAGIC, sizeof header->magic) != 0)
        return "it is something else";
    if (header->header_hash != hash_of_header(header)) return "its header is damaged";
    if (header->version != HEADER_VERSION || header->payload_offset != PAYLOAD_OFFSET)
        return "it has another version";
    if (header->key_low != key.low || header->key_high != key.high) return "it has another key";
    if (header->payload_bytes != payload_bytes || file_bytes - PAYLOAD_OFFSET != payload_bytes)
        return "it has another size";
    return NULL;
}

// NULL when the payload is what was written.
static const char *check_payload(
    const prepared_header *header, const void *payload, size_t payload_bytes) {
    const mlcc_hash128 hash = mlcc_hash128_of(payload, payload_bytes);
    const mlcc_hash128 expected = {
        .low = header->payload_hash_low, .high = header->payload_hash_high};
    return mlcc_hash128_equal(hash, expected) ? NULL : "its content is damaged";
}

// Says why a file is not used; consumes `status`.
static void ignore(const char *path, const char *why, mlcc_status *status) {
    mlcc_log(
        MLCC_LOG_WARN, "prepared_cache", "%s is ignored: %s", path,
        status != NULL ? mlcc_status_message(status) : why);
    mlcc_status_free(status);
}

static const char *refuse_mapping(
    const mlcc_mapping *mapping, mlcc_hash128 key, size_t payload_bytes, bool verify) {
    prepared_header header;
    if (mapping->size_bytes < PAYLOAD_OFFSET) return "it is too short";
    memcpy(&header, mapping->data, sizeof header);
    const char *why = refuse(&header, mapping->size_bytes, key, payload_bytes);
    if (why != NULL || !verify) return why;
    return check_payload(&header, (const char *)mapping->data + PAYLOAD_OFFSET, payload_bytes);
}

bool mlcc_prepared_cache_map(
    const char *path, mlcc_hash128 key, size_t payload_bytes, bool verify, mlcc_mapping *mapping,
    const void **payload) {
    *mapping = (mlcc_mapping){0};
    *payload = NULL;
    if (!mlcc_file_exists(path)) return false;
    mlcc_status *status = mlcc_file_map(path, mapping);
    const char *why = status == NULL ? refuse_mapping(mapping, key, payload_bytes, verify) : NULL;
    if (status != NULL || why != NULL) {
        ignore(path, why, status);
        mlcc_file_unmap(mapping);
        return false;
    }
    *payload = (const char *)mapping->data + PAYLOAD_OFFSET;
    return true;
}

// *why: NULL when `payload` is complete.
static mlcc_status *read_payload(
    const mlcc_weights_source *source, uint64_t file_bytes, mlcc_hash128 key, bool verify,
    const mlcc_weights_reading *reading, void *payload, const char **why) {
    prepared_header header;
    *why = "it is too short";
    if (file_bytes < PAYLOAD_OFFSET) return NULL;
    MLCC_TRY(mlcc_file_read_at(source->file, source->path, 0, &header, sizeof header));
    *why = refuse(&header, file_bytes, key, source->size_bytes);
    if (*why != NULL) return NULL;
    MLCC_TRY(mlcc_weights_read(reading, source, payload));
    if (verify) *why = check_payload(&header, payload, source->size_bytes);
    return NULL;
}

bool mlcc_prepared_cache_read(
    const char *path, mlcc_hash128 key, size_t payload_bytes, bool verify,
    const mlcc_weights_reading *reading, void *payload) {
    if (!mlcc_file_exists(path)) return false;
    const char *why = NULL;
    uint64_t file_bytes = 0;
    mlcc_weights_source source = {
        .path = path, .offset_bytes = PAYLOAD_OFFSET, .size_bytes = payload_bytes};
    mlcc_status *status = mlcc_file_open(path, &source.file, &file_bytes);
    if (status == NULL)
        status = read_payload(&source, file_bytes, key, verify, reading, payload, &why);
    mlcc_file_close(source.file);
    if (status == NULL && why == NULL) return true;
    ignore(path, why, status);
    return false;
}

// ---- writing

struct mlcc_prepared_writer {
    mlcc_writer *file;
    mlcc_hasher *hasher;
    mlcc_hash128 key;
    uint64_t payload_bytes;
};

static mlcc_status *open_file(mlcc_prepared_writer *writer, const char *path) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = mlcc_dir_make(mlcc_path_dir(scratch, path));
    mlcc_arena_free(scratch);
    if (status == NULL) status = mlcc_writer_open(path, &writer->file);
    if (status != NULL) return status;
    // The header follows at the end: it holds the payload's hash.
    const char page[PAYLOAD_OFFSET] = {0};
    return mlcc_writer_write(writer->file, page, sizeof page);
}

mlcc_status *mlcc_prepared_cache_begin(
    const char *path, mlcc_hash128 key, mlcc_prepared_writer **out) {
    *out = NULL;
    mlcc_prepared_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) return MLCC_ERROR(NO_MEMORY, "memory for writing %s cannot be had", path);
    writer->key = key;
    writer->hasher = mlcc_hasher_create();
    mlcc_status *status = open_file(writer, path);
    if (status != NULL) {
        mlcc_prepared_cache_abandon(writer);
        return status;
    }
    *out = writer;
    return NULL;
}

mlcc_status *mlcc_prepared_cache_append(
    mlcc_prepared_writer *writer, const void *data, size_t size_bytes) {
    mlcc_hasher_update(writer->hasher, data, size_bytes);
    writer->payload_bytes += size_bytes;
    return mlcc_writer_write(writer->file, data, size_bytes);
}

mlcc_status *mlcc_prepared_cache_commit(mlcc_prepared_writer *writer) {
    const mlcc_hash128 hash = mlcc_hasher_digest(writer->hasher);
    prepared_header header = {
        .magic = HEADER_MAGIC,
        .version = HEADER_VERSION,
        .payload_offset = PAYLOAD_OFFSET,
        .key_low = writer->key.low,
        .key_high = writer->key.high,
        .payload_bytes = writer->payload_bytes,
        .payload_hash_low = hash.low,
        .payload_hash_high = hash.high,
    };
    header.header_hash = hash_of_header(&header);
    mlcc_status *status = mlcc_writer_rewrite(writer->file, 0, &header, sizeof header);
    if (status == NULL) {
        status = mlcc_writer_commit(writer->file);
        writer->file = NULL;
    }
    mlcc_prepared_cache_abandon(writer);
    return status;
}

void mlcc_prepared_cache_abandon(mlcc_prepared_writer *writer) {
    if (writer == NULL) return;
    mlcc_writer_abandon(writer->file);
    mlcc_hasher_free(writer->hasher);
    free(writer);
}
