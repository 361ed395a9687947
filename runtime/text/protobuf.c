#include "runtime/text/protobuf.h"

#include <inttypes.h>
#include <string.h>

enum { FIELD_NUMBER_MAX = (1 << 29) - 1 };

mlcc_protobuf_reader mlcc_protobuf_open(const void *bytes, size_t length) {
    return (mlcc_protobuf_reader){.bytes = bytes, .length = length};
}

static mlcc_status *read_varint(mlcc_protobuf_reader *reader, uint64_t *out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (reader->at == reader->length) {
            return MLCC_ERROR(INVALID, "a number is cut off at byte %zu", reader->at);
        }
        unsigned char byte = reader->bytes[reader->at++];
        if (shift == 63 && byte > 1) break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *out = value;
            return NULL;
        }
    }
    return MLCC_ERROR(INVALID, "a number before byte %zu has more than 64 bits", reader->at);
}

static mlcc_status *take(
    mlcc_protobuf_reader *reader, uint64_t length, uint32_t number, const char **out) {
    if (length > reader->length - reader->at) {
        return MLCC_ERROR(
            INVALID, "field %u at byte %zu has %" PRIu64 " bytes, but only %zu are left", number,
            reader->at, length, reader->length - reader->at);
    }
    *out = (const char *)reader->bytes + reader->at;
    reader->at += (size_t)length;
    return NULL;
}

static mlcc_status *read_fixed(
    mlcc_protobuf_reader *reader, size_t n_bytes, mlcc_protobuf_field *field) {
    const char *bytes = NULL;
    MLCC_TRY(take(reader, n_bytes, field->number, &bytes));
    for (size_t i = n_bytes; i-- > 0;) {
        field->value = (field->value << 8) | (unsigned char)bytes[i];
    }
    return NULL;
}

mlcc_status *mlcc_protobuf_next(
    mlcc_protobuf_reader *reader, mlcc_protobuf_field *field, bool *found) {
    *field = (mlcc_protobuf_field){0};
    *found = reader->at < reader->length;
    if (!*found) return NULL;
    size_t begin = reader->at;
    uint64_t key;
    MLCC_TRY(read_varint(reader, &key));
    if (key >> 3 == 0 || key >> 3 > FIELD_NUMBER_MAX) {
        return MLCC_ERROR(
            INVALID, "the field at byte %zu has the number %" PRIu64, begin, key >> 3);
    }
    field->number = (uint32_t)(key >> 3);
    field->wire = (mlcc_protobuf_wire)(key & 7);
    switch (field->wire) {
    case MLCC_PROTOBUF_VARINT: return read_varint(reader, &field->value);
    case MLCC_PROTOBUF_FIXED64: return read_fixed(reader, 8, field);
    case MLCC_PROTOBUF_FIXED32: return read_fixed(reader, 4, field);
    case MLCC_PROTOBUF_BYTES: {
        uint64_t length;
        MLCC_TRY(read_varint(reader, &length));
        field->length = (size_t)length;
        return take(reader, length, field->number, &field->bytes);
    }
    }
    return MLCC_ERROR(
        INVALID, "field %u at byte %zu has the wire type %u, accepted are 0, 1, 2 and 5",
        field->number, begin, (unsigned)(key & 7));
}

float mlcc_protobuf_float(const mlcc_protobuf_field *field) {
    uint32_t bits = (uint32_t)field->value;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
