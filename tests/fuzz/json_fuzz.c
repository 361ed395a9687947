// json: any bytes are either refused with a message or read, and what was read survives being
// written and read again.
#include "runtime/base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_value(mlcc_str *out, const mlcc_json_value *value, int indent, bool ascii_only) {
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, out, indent, ascii_only);
    mlcc_json_put_value(&writer, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mlcc_json *json;
    mlcc_status *status = mlcc_json_parse((const char *)data, size, "input", 1 << 16, &json);
    if (status != NULL) {
        if (mlcc_status_message(status)[0] == '\0') abort();
        mlcc_status_free(status);
        return 0;
    }
    mlcc_str first = {0};
    write_value(&first, mlcc_json_root(json), 2, true);
    mlcc_json_free(json);
    status = mlcc_json_parse(first.data, first.length, "own output", 0, &json);
    if (status != NULL) abort();
    mlcc_str second = {0};
    write_value(&second, mlcc_json_root(json), 0, false);
    mlcc_json_free(json);
    status = mlcc_json_parse(second.data, second.length, "own output", 0, &json);
    if (status != NULL) abort();
    mlcc_str third = {0};
    write_value(&third, mlcc_json_root(json), 2, true);
    mlcc_json_free(json);
    if (third.length != first.length || memcmp(third.data, first.data, first.length) != 0) abort();
    mlcc_str_free(&first);
    mlcc_str_free(&second);
    mlcc_str_free(&third);
    return 0;
}
