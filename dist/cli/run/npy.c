#include "dist/cli/run/npy.h"

#include "runtime/base/file.h"
#include "runtime/base/str.h"

mlcc_status *npy_write_f32(const char *path, const float *values, int64_t rows, int64_t cols) {
    mlcc_str header = {0};
    mlcc_str_append(&header, "\x93NUMPY\x01\x00\x00\x00", 10);
    mlcc_str_printf(
        &header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
        (long long)rows, (long long)cols);
    // The data begins at a multiple of 64 bytes: spaces, then a newline.
    while ((header.length + 1) % 64 != 0) mlcc_str_putc(&header, ' ');
    mlcc_str_putc(&header, '\n');
    size_t text_bytes = header.length - 10;
    header.data[8] = (char)(text_bytes & 0xff);
    header.data[9] = (char)(text_bytes >> 8);
    mlcc_writer *writer;
    mlcc_status *status = mlcc_writer_open(path, &writer);
    if (status == NULL) {
        status = mlcc_writer_write(writer, header.data, header.length);
        if (status == NULL) {
            status = mlcc_writer_write(writer, values, (size_t)(rows * cols) * sizeof(float));
        }
        if (status == NULL) {
            status = mlcc_writer_commit(writer);
        } else {
            mlcc_writer_abandon(writer);
        }
    }
    mlcc_str_free(&header);
    return status;
}
