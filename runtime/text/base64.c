#include "runtime/text/base64.h"

#include <stdint.h>

static int value_of(char digit) {
    if (digit >= 'A' && digit <= 'Z') return digit - 'A';
    if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9') return digit - '0' + 52;
    if (digit == '+') return 62;
    return digit == '/' ? 63 : -1;
}

bool mlcc_base64_decode(const char *text, size_t length, mlcc_bytes *out) {
    if (length % 4 != 0) return false;
    size_t n_padding = 0;
    while (n_padding < 2 && n_padding < length && text[length - 1 - n_padding] == '=') n_padding++;
    uint32_t bits = 0;
    for (size_t i = 0; i < length - n_padding; i++) {
        int value = value_of(text[i]);
        if (value < 0) return false;
        bits = (bits << 6) | (uint32_t)value;
        if (i % 4 != 3) continue;
        mlcc_bytes_put(out, (char)(unsigned char)(bits >> 16 & 0xFF));
        mlcc_bytes_put(out, (char)(unsigned char)(bits >> 8 & 0xFF));
        mlcc_bytes_put(out, (char)(unsigned char)(bits & 0xFF));
        bits = 0;
    }
    if (n_padding == 1) {
        mlcc_bytes_put(out, (char)(unsigned char)(bits >> 10 & 0xFF));
        mlcc_bytes_put(out, (char)(unsigned char)(bits >> 2 & 0xFF));
    } else if (n_padding == 2) {
        mlcc_bytes_put(out, (char)(unsigned char)(bits >> 4 & 0xFF));
    }
    return true;
}
