// base64: RFC 4648, section 4, as tokenizer files hold it (a precompiled charsmap, the tokens of a *.tiktoken).
#ifndef MLCC_RUNTIME_TEXT_BASE64_H
#define MLCC_RUNTIME_TEXT_BASE64_H

#include "runtime/text/buffer.h"

#include <stdbool.h>
#include <stddef.h>

// Appends the bytes; false (and nothing that counts appended) when `text` is not base64 with its padding. The caller checks `out` for memory.
bool mlcc_base64_decode(const char *text, size_t length, mlcc_bytes *out);

#endif
