// protobuf: the fields of a message in Protocol Buffers' wire format, one after the other (protobuf.dev/programming-guides/encoding).
//
// A reader is a stretch of bytes that it never leaves; nested messages are read by a reader over the field's bytes. Groups, which ended with
// proto2, are refused. The caller knows its schema and ignores fields that it does not know.
#ifndef MLCC_RUNTIME_TEXT_PROTOBUF_H
#define MLCC_RUNTIME_TEXT_PROTOBUF_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mlcc_protobuf_wire {
    MLCC_PROTOBUF_VARINT = 0,
    MLCC_PROTOBUF_FIXED64 = 1,
    MLCC_PROTOBUF_BYTES = 2,
    MLCC_PROTOBUF_FIXED32 = 5,
} mlcc_protobuf_wire;

typedef struct mlcc_protobuf_reader {
    const unsigned char *bytes;
    size_t length;
    size_t at;
} mlcc_protobuf_reader;

typedef struct mlcc_protobuf_field {
    uint32_t number;
    mlcc_protobuf_wire wire;
    uint64_t value;    // of the numbers
    const char *bytes; // of MLCC_PROTOBUF_BYTES, inside the message
    size_t length;
} mlcc_protobuf_field;

mlcc_protobuf_reader mlcc_protobuf_open(const void *bytes, size_t length);
// *found false: the message ends here. INVALID names the byte where the message makes no sense.
mlcc_status *mlcc_protobuf_next(
    mlcc_protobuf_reader *reader, mlcc_protobuf_field *field, bool *found);
float mlcc_protobuf_float(const mlcc_protobuf_field *field); // of MLCC_PROTOBUF_FIXED32

#endif
