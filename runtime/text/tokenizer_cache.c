#include "runtime/text/tokenizer_cache.h"

#include "runtime/base/log.h"
#include "runtime/text/tokenizer_pack.h"

#include <stddef.h>
#include <string.h>

#define HEADER_MAGIC "mlcctokn"

enum { PAYLOAD_OFFSET = 4096 };

typedef struct cache_header {
    char magic[8];
    uint32_t version; // a machine of the other byte order reads another one
    uint32_t payload_offset;
    uint64_t key_low, key_high;
    uint64_t payload_bytes;
    uint64_t payload_hash_low, payload_hash_high; // XXH3-128
    uint64_t header_hash;                         // XXH3-64 of everything before
} cache_header;

static uint64_t hash_of_header(const cache_header *header) {
    return mlcc_hash64(header, offsetof(cache_header, header_hash));
}

// ---- keys ------------------------------------------------------------------------------------------------------

static void add_number(mlcc_hasher *key, uint64_t number) {
    mlcc_hasher_update(key, &number, sizeof number);
}

mlcc_hasher *mlcc_tokenizer_cache_key_begin(void) {
    static const char program[] = "mlcc " MLCC_VERSION;
    mlcc_hasher *key = mlcc_hasher_create();
    mlcc_hasher_update(key, program, sizeof program);
    add_number(key, MLCC_TOKENIZER_PACK_VERSION);
    return key;
}

void mlcc_tokenizer_cache_key_add(
    mlcc_hasher *key, const char *name, const void *content, size_t size_bytes) {
    add_number(key, strlen(name));
    mlcc_hasher_update(key, name, strlen(name));
    add_number(key, size_bytes);
    if (size_bytes != 0) mlcc_hasher_update(key, content, size_bytes);
}

char *mlcc_tokenizer_cache_path(mlcc_arena *keep, const char *directory, mlcc_hash128 key) {
    char hex[33];
    mlcc_hash128_hex(key, hex);
    if (directory == NULL) directory = mlcc_path_cache(keep);
    return mlcc_arena_printf(keep, "%s/tokenizers/%s.tokenizer", directory, hex);
}

// ---- reading ---------------------------------------------------------------------------------------------------

// NULL when the file can be used, else why not. *is_stale: it is sound, but of other files.
static const char *refuse(const mlcc_mapping *mapping, mlcc_hash128 key, bool *is_stale) {
    cache_header header;
    *is_stale = false;
    if (mapping->size_bytes < PAYLOAD_OFFSET) return "it is too short";
    memcpy(&header, mapping->data, sizeof header);
    if (memcmp(header.magic, HEADER_MAGIC, sizeof header.magic) != 0) return "it is something else";
    if (header.header_hash != hash_of_header(&header)) return "its header is damaged";
    *is_stale = header.version != MLCC_TOKENIZER_PACK_VERSION || header.key_low != key.low ||
                header.key_high != key.high;
    if (*is_stale) return "it belongs to other files or another version";
    if (header.payload_offset != PAYLOAD_OFFSET ||
        header.payload_bytes != mapping->size_bytes - PAYLOAD_OFFSET)
        return "it has another size";
    const mlcc_hash128 expected = {
        .low = header.payload_hash_low, .high = header.payload_hash_high};
    const mlcc_hash128 hash =
        mlcc_hash128_of((const char *)mapping->data + PAYLOAD_OFFSET, header.payload_bytes);
    return mlcc_hash128_equal(hash, expected) ? NULL : "its content is damaged";
}

bool mlcc_tokenizer_cache_load(const char *path, mlcc_hash128 key, mlcc_tokenizer **out) {
    *out = NULL;
    if (!mlcc_file_exists(path)) return false;
    mlcc_mapping mapping = {0};
    bool is_stale = false;
    mlcc_status *status = mlcc_file_map(path, &mapping);
    const char *why = status == NULL ? refuse(&mapping, key, &is_stale) : NULL;
    if (status == NULL && why == NULL) {
        status = mlcc_tokenizer_unpack(
            (const char *)mapping.data + PAYLOAD_OFFSET, mapping.size_bytes - PAYLOAD_OFFSET, out);
    }
    if (status == NULL && why == NULL) {
        (*out)->mapping = mapping;
        return true;
    }
    mlcc_log(
        is_stale ? MLCC_LOG_INFO : MLCC_LOG_WARN, "text", "%s is ignored: %s", path,
        status != NULL ? mlcc_status_message(status) : why);
    mlcc_status_free(status);
    mlcc_file_unmap(&mapping);
    return false;
}

// ---- writing ---------------------------------------------------------------------------------------------------

static mlcc_status *write_file(
    const char *path, const cache_header *header, const mlcc_bytes *payload) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = mlcc_dir_make(mlcc_path_dir(scratch, path));
    mlcc_arena_free(scratch);
    if (status != NULL) return status;
    char page[PAYLOAD_OFFSET] = {0};
    memcpy(page, header, sizeof *header);
    mlcc_writer *writer;
    MLCC_TRY(mlcc_writer_open(path, &writer));
    status = mlcc_writer_write(writer, page, sizeof page);
    if (status == NULL) status = mlcc_writer_write(writer, payload->data, payload->length);
    if (status == NULL) return mlcc_writer_commit(writer);
    mlcc_writer_abandon(writer);
    return status;
}

mlcc_status *mlcc_tokenizer_cache_store(
    const char *path, mlcc_hash128 key, const mlcc_tokenizer *tokenizer) {
    mlcc_bytes payload = {0};
    mlcc_status *status = mlcc_tokenizer_pack(tokenizer, &payload);
    if (status == NULL) {
        const mlcc_hash128 hash = mlcc_hash128_of(payload.data, payload.length);
        cache_header header = {
            .magic = HEADER_MAGIC,
            .version = MLCC_TOKENIZER_PACK_VERSION,
            .payload_offset = PAYLOAD_OFFSET,
            .key_low = key.low,
            .key_high = key.high,
            .payload_bytes = payload.length,
            .payload_hash_low = hash.low,
            .payload_hash_high = hash.high,
        };
        header.header_hash = hash_of_header(&header);
        status = write_file(path, &header, &payload);
    }
    mlcc_bytes_free(&payload);
    return status;
}
