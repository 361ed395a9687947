// Reading through libzip with one open entry: sequential reads go on where the last one ended.
#include "frontend/hf/torch_archive.h"

#include "frontend/hf/lfs_pointer.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#define MAX_ENTRIES      ((zip_int64_t)1 << 20)
#define MAX_TEXT_BYTES   16 // of the entries version and byteorder
#define MAX_VERSION      10 // of the file format, as of torch 2.x
#define N_HEAD_BYTES     64
#define SKIP_BLOCK_BYTES ((size_t)64 << 10)
#define PICKLE_NAME      "data.pkl"
#define SCRIPT_NAME      "constants.pkl"

struct hf_torch_archive {
    zip_t *zip;
    char *what;
    char *prefix; // "archive/"
    uint64_t file_bytes;
    zip_file_t *open; // the entry that was read last, or NULL
    uint64_t open_entry;
    uint64_t position;    // of the next byte of `open`
    bool is_sequential;   // every byte of `open` so far was read: its checksum will be checked
    mlcc_str name_buffer; // of the entry that is being looked for
};

// ---- bytes of entries ----------------------------------------------------------------------------------------------------------------------

static mlcc_status *zip_failure(hf_torch_archive *self, const char *action, const char *name) {
    return MLCC_ERROR(
        INVALID, "%s entry '%s' failed: %s", action, name,
        zip_error_strerror(zip_get_error(self->zip)));
}

static mlcc_status *read_failure(hf_torch_archive *self, const char *name) {
    zip_error_t *error = zip_file_get_error(self->open);
    if (zip_error_code_zip(error) == ZIP_ER_CRC)
        return MLCC_ERROR(
            INVALID, "entry '%s' does not match its checksum: the file is damaged", name);
    return MLCC_ERROR(INVALID, "reading entry '%s' failed: %s", name, zip_error_strerror(error));
}

static mlcc_status *read_on(
    hf_torch_archive *self, const char *name, uint64_t size_bytes, void *buffer) {
    char *to = buffer;
    while (size_bytes > 0) {
        const zip_int64_t n = zip_fread(self->open, to, size_bytes);
        if (n < 0) return read_failure(self, name);
        if (n == 0)
            return MLCC_ERROR(
                INVALID, "entry '%s' ends after %llu bytes; %llu more are expected", name,
                (unsigned long long)self->position, (unsigned long long)size_bytes);
        to += n;
        self->position += (uint64_t)n;
        size_bytes -= (uint64_t)n;
    }
    return NULL;
}

static mlcc_status *skip(hf_torch_archive *self, const char *name, uint64_t size_bytes) {
    void *waste = malloc(SKIP_BLOCK_BYTES);
    if (waste == NULL) return MLCC_ERROR(NO_MEMORY, "no memory to skip compressed data");
    mlcc_status *status = NULL;
    while (size_bytes > 0 && status == NULL) {
        const uint64_t n = size_bytes < SKIP_BLOCK_BYTES ? size_bytes : SKIP_BLOCK_BYTES;
        status = read_on(self, name, n, waste);
        size_bytes -= n;
    }
    free(waste);
    return status;
}

// Makes `offset` the next byte to be read of the entry.
static mlcc_status *seek(
    hf_torch_archive *self, uint64_t entry, const zip_stat_t *stat, uint64_t offset) {
    const bool is_stored = stat->comp_method == ZIP_CM_STORE;
    if (self->open == NULL || self->open_entry != entry || offset < self->position) {
        if (self->open != NULL) (void)zip_fclose(self->open);
        self->position = 0;
        self->open_entry = entry;
        self->open = zip_fopen_index(self->zip, entry, 0);
        if (self->open == NULL) return zip_failure(self, "opening", stat->name);
        self->is_sequential = true;
    }
    if (offset == self->position) return NULL;
    if (!is_stored) return skip(self, stat->name, offset - self->position);
    self->is_sequential = false;
    if (offset > INT64_MAX || zip_fseek(self->open, (zip_int64_t)offset, SEEK_SET) != 0)
        return read_failure(self, stat->name);
    self->position = offset;
    return NULL;
}

// At the end of an entry: nothing may follow, and libzip compares the checksum when it sees the end.
static mlcc_status *check_end(hf_torch_archive *self, const char *name) {
    char byte;
    const zip_int64_t n = zip_fread(self->open, &byte, 1);
    if (n == 0) return NULL;
    if (n < 0) return read_failure(self, name);
    return MLCC_ERROR(
        INVALID, "entry '%s' goes on after the %llu bytes that it claims", name,
        (unsigned long long)self->position);
}

static mlcc_status *read_entry(
    hf_torch_archive *self, uint64_t entry, uint64_t offset, uint64_t size_bytes, void *buffer) {
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(self->zip, entry, 0, &stat) != 0 || offset > stat.size ||
        size_bytes > stat.size - offset)
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu lie beyond entry %llu", (unsigned long long)offset,
            (unsigned long long)size_bytes, (unsigned long long)entry);
    MLCC_TRY(seek(self, entry, &stat, offset));
    MLCC_TRY(read_on(self, stat.name, size_bytes, buffer));
    if (self->position == stat.size && self->is_sequential) MLCC_TRY(check_end(self, stat.name));
    return NULL;
}

// ---- what kind of file it is ----------------------------------------------------------------------------------------------------------------

// 0x1950a86a20f9469cfc6c, pickled: what torch.save wrote before version 1.6.
static const unsigned char legacy_mark[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                            0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

static mlcc_status *check_head(const unsigned char *head, size_t n_head, uint64_t file_bytes) {
    static const char zip_mark[] = {'P', 'K', 3, 4};
    if (hf_is_lfs_pointer(head, n_head)) return hf_lfs_pointer_error();
    if (n_head >= sizeof legacy_mark && memcmp(head, legacy_mark, sizeof legacy_mark) == 0)
        return MLCC_ERROR(
            UNSUPPORTED,
            "this is torch's format from before version 1.6; only its zip format is read: load the "
            "file with torch and save the weights as safetensors");
    if (n_head >= sizeof zip_mark && memcmp(head, zip_mark, sizeof zip_mark) == 0) return NULL;
    mlcc_str found = {0};
    for (size_t i = 0; i < n_head && i < 4; i++) mlcc_str_printf(&found, " %02x", head[i]);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "the file has %llu bytes and begins with%s; a torch checkpoint is a zip archive",
        (unsigned long long)file_bytes, found.length > 0 ? found.data : " nothing");
    mlcc_str_free(&found);
    return status;
}

// ---- entries --------------------------------------------------------------------------------------------------------------------------------

// Name of an entry behind the prefix; holds until the next call.
static const char *entry_name(hf_torch_archive *self, const char *folder, const char *name) {
    mlcc_str_clear(&self->name_buffer);
    mlcc_str_printf(&self->name_buffer, "%s%s%s", self->prefix, folder, name);
    return self->name_buffer.data;
}

static mlcc_status *stat_entry(
    hf_torch_archive *self, const char *name, uint64_t entry, zip_stat_t *stat) {
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_init(stat);
    if (zip_stat_index(self->zip, entry, 0, stat) != 0)
        return zip_failure(self, "looking at", name);
    if ((stat->valid & needed) != needed)
        return MLCC_ERROR(INVALID, "entry '%s' does not tell its size and method", name);
    if ((stat->valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && stat->encryption_method != ZIP_EM_NONE)
        return MLCC_ERROR(INVALID, "entry '%s' is encrypted", name);
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE)
        return MLCC_ERROR(
            INVALID, "entry '%s' is compressed by method %u; accepted are stored and deflated",
            name, (unsigned)stat->comp_method);
    if (stat->comp_size > self->file_bytes)
        return MLCC_ERROR(
            INVALID, "entry '%s' claims %llu bytes of a file that has %llu", name,
            (unsigned long long)stat->comp_size, (unsigned long long)self->file_bytes);
    if (stat->comp_method == ZIP_CM_STORE && stat->size != stat->comp_size)
        return MLCC_ERROR(
            INVALID, "entry '%s' claims %llu bytes and stores %llu uncompressed", name,
            (unsigned long long)stat->size, (unsigned long long)stat->comp_size);
    return NULL;
}

// Whether a name is PREFIX/`base` with exactly one folder; sets the length of "PREFIX/".
static bool is_in_prefix(const char *name, const char *base, size_t *prefix_length) {
    const char *slash = strchr(name, '/');
    if (slash == NULL || slash == name || strcmp(slash + 1, base) != 0) return false;
    *prefix_length = (size_t)(slash + 1 - name);
    return true;
}

static mlcc_status *find_prefix(hf_torch_archive *self) {
    const zip_int64_t n_entries = zip_get_num_entries(self->zip, 0);
    if (n_entries > MAX_ENTRIES)
        return MLCC_ERROR(
            INVALID, "the archive has %lld entries; at most %lld are accepted",
            (long long)n_entries, (long long)MAX_ENTRIES);
    for (zip_int64_t i = 0; i < n_entries; i++) {
        const char *name = zip_get_name(self->zip, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        size_t length = 0;
        if (name == NULL || !is_in_prefix(name, PICKLE_NAME, &length)) continue;
        if (self->prefix != NULL)
            return MLCC_ERROR(INVALID, "the archive holds more than one %s", PICKLE_NAME);
        self->prefix = strndup(name, length);
        if (self->prefix == NULL)
            return MLCC_ERROR(NO_MEMORY, "no memory for the name of an entry");
    }
    if (self->prefix == NULL)
        return MLCC_ERROR(
            INVALID,
            "the archive has %lld entries and none is <folder>/%s; it was not written by "
            "torch.save",
            (long long)n_entries, PICKLE_NAME);
    if (zip_name_locate(self->zip, entry_name(self, "", SCRIPT_NAME), ZIP_FL_ENC_RAW) >= 0)
        return MLCC_ERROR(
            UNSUPPORTED, "this is a TorchScript program; save its state_dict as safetensors");
    return NULL;
}

// A short text entry without its line end; "" when it is absent.
static mlcc_status *read_text_entry(hf_torch_archive *self, const char *base, char *text) {
    text[0] = '\0';
    const char *name = entry_name(self, "", base);
    const zip_int64_t entry = zip_name_locate(self->zip, name, ZIP_FL_ENC_RAW);
    if (entry < 0) return NULL;
    zip_stat_t stat;
    MLCC_TRY(stat_entry(self, name, (uint64_t)entry, &stat));
    if (stat.size > MAX_TEXT_BYTES)
        return MLCC_ERROR(
            INVALID, "entry '%s' has %llu bytes; expected at most %d", name,
            (unsigned long long)stat.size, MAX_TEXT_BYTES);
    MLCC_TRY(read_entry(self, (uint64_t)entry, 0, stat.size, text));
    text[stat.size] = '\0';
    for (size_t i = 0; i < stat.size; i++)
        if (text[i] < ' ' || text[i] > '~') text[i] = '\0';
    return NULL;
}

static mlcc_status *check_format(hf_torch_archive *self) {
    char text[MAX_TEXT_BYTES + 1];
    MLCC_TRY(read_text_entry(self, "byteorder", text));
    if (text[0] != '\0' && strcmp(text, "little") != 0)
        return MLCC_ERROR(
            UNSUPPORTED, "the numbers are stored in byte order '%s'; only 'little' is read", text);
    MLCC_TRY(read_text_entry(self, "version", text));
    char *end = text;
    const long version = strtol(text, &end, 10);
    if (text[0] != '\0' && (*end != '\0' || version < 1 || version > MAX_VERSION))
        return MLCC_ERROR(
            UNSUPPORTED, "the archive's version is '%s'; accepted are 1 to %d", text, MAX_VERSION);
    return NULL;
}

// ---- life -----------------------------------------------------------------------------------------------------------------------------------

void hf_torch_archive_close(hf_torch_archive *archive) {
    if (archive == NULL) return;
    if (archive->open != NULL) (void)zip_fclose(archive->open);
    if (archive->zip != NULL) zip_discard(archive->zip);
    mlcc_str_free(&archive->name_buffer);
    free(archive->prefix);
    free(archive->what);
    free(archive);
}

// Takes the opened zip, or the reason why there is none.
static mlcc_status *finish_open(
    zip_t *zip, zip_error_t *error, const char *what, uint64_t file_bytes, hf_torch_archive **out) {
    if (zip == NULL) {
        mlcc_status *status =
            MLCC_ERROR(INVALID, "the zip archive cannot be opened: %s", zip_error_strerror(error));
        zip_error_fini(error);
        return status;
    }
    hf_torch_archive *self = calloc(1, sizeof *self);
    if (self == NULL) {
        zip_discard(zip);
        return MLCC_ERROR(NO_MEMORY, "no memory to open an archive");
    }
    self->zip = zip;
    self->file_bytes = file_bytes;
    self->what = strdup(what);
    mlcc_status *status =
        self->what == NULL ? MLCC_ERROR(NO_MEMORY, "no memory to open an archive") : NULL;
    if (status == NULL) status = find_prefix(self);
    if (status == NULL) status = check_format(self);
    if (status == NULL)
        *out = self;
    else
        hf_torch_archive_close(self);
    return status;
}

static mlcc_status *open_path(const char *path, hf_torch_archive **out) {
    uint64_t file_bytes = 0;
    unsigned char head[N_HEAD_BYTES];
    MLCC_TRY(mlcc_file_size(path, &file_bytes));
    FILE *file = fopen(path, "rb");
    if (file == NULL) return MLCC_ERROR(IO, "%s cannot be opened: %s", path, strerror(errno));
    const size_t n_head = fread(head, 1, sizeof head, file);
    (void)fclose(file);
    MLCC_TRY(check_head(head, n_head, file_bytes));
    int code = 0;
    zip_error_t error;
    zip_error_init(&error);
    zip_t *zip = zip_open(path, ZIP_RDONLY, &code);
    if (zip == NULL) zip_error_init_with_code(&error, code);
    return finish_open(zip, &error, path, file_bytes, out);
}

mlcc_status *hf_torch_archive_open(const char *path, hf_torch_archive **out) {
    *out = NULL;
    return mlcc_status_note(open_path(path, out), "reading %s", path);
}

static mlcc_status *open_memory(
    const void *data, size_t size_bytes, const char *what, hf_torch_archive **out) {
    MLCC_TRY(check_head(data, size_bytes < N_HEAD_BYTES ? size_bytes : N_HEAD_BYTES, size_bytes));
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(data, size_bytes, 0, &error);
    zip_t *zip = source != NULL ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    if (zip == NULL && source != NULL) zip_source_free(source);
    return finish_open(zip, &error, what, size_bytes, out);
}

mlcc_status *hf_torch_archive_open_memory(
    const void *data, size_t size_bytes, const char *what, hf_torch_archive **out) {
    *out = NULL;
    return mlcc_status_note(open_memory(data, size_bytes, what, out), "reading %s", what);
}

// ---- reading --------------------------------------------------------------------------------------------------------------------------------

mlcc_status *hf_torch_archive_read(
    hf_torch_archive *archive, uint64_t entry, uint64_t offset, uint64_t size_bytes, void *buffer) {
    mlcc_status *status = read_entry(archive, entry, offset, size_bytes, buffer);
    if (status == NULL) return NULL;
    // After a failure the position is unknown; the next read starts afresh.
    if (archive->open != NULL) (void)zip_fclose(archive->open);
    archive->open = NULL;
    return mlcc_status_note(status, "reading %s", archive->what);
}

mlcc_status *hf_torch_archive_read_pickle(
    hf_torch_archive *archive, size_t max_bytes, void **data, size_t *size_bytes) {
    *data = NULL;
    *size_bytes = 0;
    const char *name = entry_name(archive, "", PICKLE_NAME);
    const zip_int64_t entry = zip_name_locate(archive->zip, name, ZIP_FL_ENC_RAW);
    zip_stat_t stat;
    if (entry < 0) return zip_failure(archive, "looking for", name);
    MLCC_TRY_NOTE(stat_entry(archive, name, (uint64_t)entry, &stat), "reading %s", archive->what);
    if (stat.size > max_bytes)
        return MLCC_ERROR(
            UNSUPPORTED, "entry '%s' of %s has %llu bytes; at most %zu are accepted", name,
            archive->what, (unsigned long long)stat.size, max_bytes);
    void *buffer = malloc(stat.size + 1);
    if (buffer == NULL)
        return MLCC_ERROR(
            NO_MEMORY, "no memory for %llu bytes of pickle", (unsigned long long)stat.size);
    mlcc_status *status = hf_torch_archive_read(archive, (uint64_t)entry, 0, stat.size, buffer);
    if (status != NULL) {
        free(buffer);
        return status;
    }
    *data = buffer;
    *size_bytes = stat.size;
    return NULL;
}

mlcc_status *hf_torch_archive_find(
    hf_torch_archive *archive, const char *key, uint64_t expected_bytes, uint64_t *entry) {
    const char *name = entry_name(archive, "data/", key);
    const zip_int64_t index = zip_name_locate(archive->zip, name, ZIP_FL_ENC_RAW);
    *entry = 0;
    if (index < 0)
        return MLCC_ERROR(INVALID, "%s has no entry '%s' for a storage", archive->what, name);
    zip_stat_t stat;
    MLCC_TRY_NOTE(stat_entry(archive, name, (uint64_t)index, &stat), "reading %s", archive->what);
    if (stat.size != expected_bytes)
        return MLCC_ERROR(
            INVALID, "entry '%s' of %s has %llu bytes; the pickle expects %llu", name,
            archive->what, (unsigned long long)stat.size, (unsigned long long)expected_bytes);
    *entry = (uint64_t)index;
    return NULL;
}
