// torch_archive: good archives, and what zip files can lie about; a good one is written and then bent byte by byte.
#include "frontend/hf/torch_archive.h"
#include "tests/unit/frontend/fixture.h"

#include <zip.h>

typedef struct entry {
    const char *name;
    const void *data;
    size_t size_bytes;
    zip_int32_t method;
    bool is_encrypted;
} entry;

static unsigned char numbers[1000];

// clang-format off
static const entry plain[] = {
    {"archive/data.pkl",  "pickle", 6,  ZIP_CM_STORE,   false},
    {"archive/byteorder", "little", 6,  ZIP_CM_STORE,   false},
    {"archive/data/0",    numbers, 1000, ZIP_CM_STORE,   false},
    {"archive/data/1",    numbers, 1000, ZIP_CM_DEFLATE, false},
    {"archive/version",   "3\n",    2,  ZIP_CM_STORE,   false},
};
// clang-format on
#define N_PLAIN (sizeof plain / sizeof plain[0])

static const char *write_zip(fixture *self, const entry *entries, size_t n_entries) {
    for (size_t i = 0; i < sizeof numbers; i++) numbers[i] = (unsigned char)(i * i % 7);
    const char *path = fixture_path(self, "x.bin");
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    for (size_t i = 0; i < n_entries; i++) {
        zip_source_t *source = zip_source_buffer(zip, entries[i].data, entries[i].size_bytes, 0);
        const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
        assert_true(index >= 0);
        zip_set_file_compression(zip, (zip_uint64_t)index, entries[i].method, 9);
        if (entries[i].is_encrypted)
            zip_file_set_encryption(zip, (zip_uint64_t)index, ZIP_EM_TRAD_PKWARE, "secret");
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void must_open_and_read(hf_torch_archive *archive) {
    uint64_t stored = 0, deflated = 0;
    unsigned char bytes[1000];
    void *pickle = NULL;
    size_t n_pickle_bytes = 0;
    expect_ok(hf_torch_archive_read_pickle(archive, 6, &pickle, &n_pickle_bytes));
    assert_int_equal(n_pickle_bytes, 6);
    assert_memory_equal(pickle, "pickle", 6);
    free(pickle);
    expect_ok(hf_torch_archive_find(archive, "0", 1000, &stored));
    expect_ok(hf_torch_archive_find(archive, "1", 1000, &deflated));
    const uint64_t entries[] = {stored, deflated};
    for (size_t i = 0; i < 2; i++) {
        expect_ok(hf_torch_archive_read(archive, entries[i], 0, 1000, bytes));
        assert_memory_equal(bytes, numbers, 1000);
        // Forwards with a gap, backwards, and between the two entries.
        expect_ok(hf_torch_archive_read(archive, entries[i], 3, 100, bytes));
        assert_memory_equal(bytes, numbers + 3, 100);
        expect_ok(hf_torch_archive_read(archive, entries[i], 700, 300, bytes));
        assert_memory_equal(bytes, numbers + 700, 300);
        expect_ok(hf_torch_archive_read(archive, entries[i ^ 1], 999, 1, bytes));
        assert_int_equal(bytes[0], numbers[999]);
        expect_ok(hf_torch_archive_read(archive, entries[i], 1000, 0, bytes));
        expect_error(
            hf_torch_archive_read(archive, entries[i], 1, 1000, bytes), MLCC_INTERNAL, "lie beyond",
            NULL);
    }
    expect_error(
        hf_torch_archive_find(archive, "0", 999, &stored), MLCC_INVALID,
        "entry 'archive/data/0' of", "has 1000 bytes; the pickle expects 999", NULL);
    expect_error(
        hf_torch_archive_find(archive, "2", 1, &stored), MLCC_INVALID,
        "has no entry 'archive/data/2'", NULL);
    expect_error(
        hf_torch_archive_read_pickle(archive, 5, &pickle, &n_pickle_bytes), MLCC_UNSUPPORTED,
        "has 6 bytes; at most 5", NULL);
    assert_null(pickle);
}

static void test_good(void **state) {
    fixture *self = *state;
    const char *path = write_zip(self, plain, N_PLAIN);
    hf_torch_archive *archive = NULL;
    expect_ok(hf_torch_archive_open(path, &archive));
    must_open_and_read(archive);
    hf_torch_archive_close(archive);

    char *data = NULL;
    size_t size_bytes = 0;
    expect_ok(mlcc_file_read(path, 0, &data, &size_bytes));
    expect_ok(hf_torch_archive_open_memory(data, size_bytes, "memory", &archive));
    must_open_and_read(archive);
    hf_torch_archive_close(archive);
    free(data);
    hf_torch_archive_close(NULL);
}

typedef struct bad_archive {
    entry entries[3];
    size_t n_entries;
    mlcc_code code;
    const char *message;
} bad_archive;

static void test_other_archives(void **state) {
    // clang-format off
    static const bad_archive cases[] = {
        {{{"word/document.xml", "x", 1, ZIP_CM_STORE, false}}, 1, MLCC_INVALID, "1 entries and none is <folder>/data.pkl"},
        {{{"data.pkl", "x", 1, ZIP_CM_STORE, false}}, 1, MLCC_INVALID, "none is <folder>/data.pkl"},
        {{{"a/b/data.pkl", "x", 1, ZIP_CM_STORE, false}}, 1, MLCC_INVALID, "none is <folder>/data.pkl"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"b/data.pkl", "x", 1, ZIP_CM_STORE, false}}, 2, MLCC_INVALID,
         "more than one data.pkl"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/constants.pkl", "x", 1, ZIP_CM_STORE, false}}, 2, MLCC_UNSUPPORTED,
         "TorchScript"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/byteorder", "big", 3, ZIP_CM_STORE, false}}, 2, MLCC_UNSUPPORTED,
         "byte order 'big'"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/byteorder", numbers, 17, ZIP_CM_STORE, false}}, 2, MLCC_INVALID,
         "entry 'a/byteorder' has 17 bytes"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/version", "11\n", 3, ZIP_CM_STORE, false}}, 2, MLCC_UNSUPPORTED,
         "version is '11'; accepted are 1 to 10"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/version", "x", 1, ZIP_CM_STORE, false}}, 2, MLCC_UNSUPPORTED,
         "version is 'x'"},
        {{{"a/data.pkl", "x", 1, ZIP_CM_STORE, false}, {"a/version", "3", 1, ZIP_CM_STORE, true}}, 2, MLCC_INVALID,
         "entry 'a/version' is encrypted"},
    };
    // clang-format on
    fixture *self = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_zip(self, cases[i].entries, cases[i].n_entries);
        hf_torch_archive *archive = NULL;
        expect_error(
            hf_torch_archive_open(path, &archive), cases[i].code, cases[i].message, "x.bin", NULL);
        assert_null(archive);
    }
}

static void test_no_archives(void **state) {
    static const struct {
        const char *text;
        size_t size_bytes;
        mlcc_code code;
        const char *message;
    } cases[] = {
        {"", 0, MLCC_INVALID, "has 0 bytes and begins with nothing"},
        {"PK", 2, MLCC_INVALID, "begins with 50 4b; a torch checkpoint is a zip archive"},
        {"\x80\x02}.", 4, MLCC_INVALID, "begins with 80 02 7d 2e"},
        {"PK\3\4 and no more", 16, MLCC_INVALID, "cannot be opened"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, MLCC_INVALID, "git-LFS pointer"},
        {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.", 21,
         MLCC_UNSUPPORTED, "before version 1.6"},
    };
    fixture *self = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = fixture_write(self, "x.bin", cases[i].text, cases[i].size_bytes);
        hf_torch_archive *archive = NULL;
        expect_error(
            hf_torch_archive_open(path, &archive), cases[i].code, cases[i].message, "x.bin", NULL);
        assert_null(archive);
    }
    hf_torch_archive *archive = NULL;
    expect_error(
        hf_torch_archive_open(fixture_path(self, "none"), &archive), MLCC_IO, "none", NULL);
}

// Offset of the central directory's row for an entry, which is what readers believe.
static size_t find_row(const char *data, size_t size_bytes, const char *name) {
    for (size_t i = 0; i + 46 + strlen(name) <= size_bytes; i++)
        if (memcmp(data + i, "PK\1\2", 4) == 0 && memcmp(data + i + 46, name, strlen(name)) == 0)
            return i;
    fail_msg("no row for %s", name);
    return 0;
}

static void put_u32(char *to, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) to[i] = (char)(value >> (8 * i) & 0xff);
}

// Where in a row of the central directory.
enum { ROW_METHOD = 10, ROW_CRC = 16, ROW_COMPRESSED = 20, ROW_SIZE = 24, ROW_OFFSET = 42 };

typedef struct bend {
    const char *entry;
    size_t field;
    uint32_t value;
    size_t field2; // 0 = none
    uint32_t value2;
    const char *key; // of the storage that is read
    const char *message;
} bend;

// The error may come when the entry is found or when it is read, but it must come, and name the entry.
static void test_lying(void **state) {
    static const bend cases[] = {
        {"archive/data/0", ROW_SIZE, 2000, 0, 0, "0",
         "claims 2000 bytes and stores 1000 uncompressed"},
        {"archive/data/0", ROW_SIZE, 500, 0, 0, "0", "claims 500 bytes and stores 1000"},
        {"archive/data/0", ROW_SIZE, 1200, ROW_COMPRESSED, 1200, "0",
         "has 1200 bytes; the pickle expects 1000"},
        {"archive/data/0", ROW_SIZE, 0xfffffffeu, ROW_COMPRESSED, 0xfffffffeu, "0",
         "claims 4294967294 bytes of a file that has"},
        {"archive/data/0", ROW_CRC, 0x12345678u, 0, 0, "0", "does not match its checksum"},
        {"archive/data/1", ROW_CRC, 0x12345678u, 0, 0, "1", "does not match its checksum"},
        {"archive/data/1", ROW_SIZE, 1001, 0, 0, "1", "has 1001 bytes; the pickle expects 1000"},
        {"archive/data/1", ROW_COMPRESSED, 5, 0, 0, "1", "entry 'archive/data/1'"},
        {"archive/data/1", ROW_METHOD, 14, 0, 0, "1", "is compressed by method"},
        {"archive/data/0", ROW_OFFSET, 0x7fffffffu, 0, 0, "0", "archive"},
        {"archive/data/0", ROW_OFFSET, 5, 0, 0, "0", "archive"},
    };
    fixture *self = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_zip(self, plain, N_PLAIN);
        char *data = NULL;
        size_t size_bytes = 0;
        expect_ok(mlcc_file_read(path, 0, &data, &size_bytes));
        const size_t row = find_row(data, size_bytes, cases[i].entry);
        if (cases[i].field == ROW_METHOD)
            data[row + ROW_METHOD] = (char)cases[i].value;
        else
            put_u32(data + row + cases[i].field, cases[i].value);
        if (cases[i].field2 != 0) put_u32(data + row + cases[i].field2, cases[i].value2);
        path = fixture_write(self, "x.bin", data, size_bytes);

        hf_torch_archive *archive = NULL;
        uint64_t found = 0;
        unsigned char bytes[1000];
        mlcc_status *status = hf_torch_archive_open(path, &archive);
        if (status == NULL) status = hf_torch_archive_find(archive, cases[i].key, 1000, &found);
        if (status == NULL) status = hf_torch_archive_read(archive, found, 0, 1000, bytes);
        expect_error(status, MLCC_INVALID, cases[i].message, "x.bin", NULL);
        hf_torch_archive_close(archive);
        free(data);
    }
}

// Entries that hold more or less than the directory and the pickle say together.
static void test_lying_consistently(void **state) {
    static const struct {
        const char *entry, *key;
        bool is_stored;
        uint32_t claimed;
        const char *message;
    } cases[] = {
        {"archive/data/0", "0", true, 1200, "entry 'archive/data/0' does not match its checksum"},
        {"archive/data/0", "0", true, 900, "entry 'archive/data/0' does not match its checksum"},
        {"archive/data/1", "1", false, 990, "entry 'archive/data/1'"},
        {"archive/data/1", "1", false, 1010, "entry 'archive/data/1'"},
    };
    fixture *self = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_zip(self, plain, N_PLAIN);
        char *data = NULL;
        size_t size_bytes = 0;
        expect_ok(mlcc_file_read(path, 0, &data, &size_bytes));
        const size_t row = find_row(data, size_bytes, cases[i].entry);
        put_u32(data + row + ROW_SIZE, cases[i].claimed);
        if (cases[i].is_stored) put_u32(data + row + ROW_COMPRESSED, cases[i].claimed);
        path = fixture_write(self, "x.bin", data, size_bytes);
        free(data);
        hf_torch_archive *archive = NULL;
        uint64_t found = 0;
        unsigned char bytes[1200];
        expect_ok(hf_torch_archive_open(path, &archive));
        expect_ok(hf_torch_archive_find(archive, cases[i].key, cases[i].claimed, &found));
        expect_error(
            hf_torch_archive_read(archive, found, 0, cases[i].claimed, bytes), MLCC_INVALID,
            cases[i].message, "x.bin", NULL);
        hf_torch_archive_close(archive);
    }
}

// Every beginning of a file is an error and nothing worse.
static void test_truncated(void **state) {
    fixture *self = *state;
    const char *path = write_zip(self, plain, N_PLAIN);
    char *data = NULL;
    size_t size_bytes = 0;
    expect_ok(mlcc_file_read(path, 0, &data, &size_bytes));
    for (size_t n = 0; n < size_bytes; n += n < 1200 ? 37 : 5) {
        char *part = malloc(n + 1);
        memcpy(part, data, n);
        hf_torch_archive *archive = NULL;
        expect_error(
            hf_torch_archive_open_memory(part, n, "x.bin", &archive), MLCC_INVALID, "x.bin", NULL);
        free(part);
    }
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_other_archives, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_archives, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lying, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lying_consistently, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_truncated, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
