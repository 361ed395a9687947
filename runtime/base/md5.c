// MD5 as RFC 1321 defines it, unrolled: the 64 steps then keep the state in registers.
#include "runtime/base/hash.h"

#include "runtime/base/md5_steps.h"

#include <string.h>

static uint32_t load_le32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void md5_blocks(uint32_t state[4], const unsigned char *data, size_t n_blocks) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (; n_blocks != 0; n_blocks--, data += 64) {
        uint32_t x[16];
        for (size_t i = 0; i < 16; i++) x[i] = load_le32(data + 4 * i);
        const uint32_t old_a = a, old_b = b, old_c = c, old_d = d;
        MD5_STEPS(a, b, c, d, x);
        a += old_a;
        b += old_b;
        c += old_c;
        d += old_d;
    }
    state[0] = a;
    state[1] = b;
    state[2] = c;
    state[3] = d;
}

void mlcc_md5_init(mlcc_md5 *md5) {
    *md5 = (mlcc_md5){.state = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u}};
}

void mlcc_md5_update(mlcc_md5 *md5, const void *data, size_t size_bytes) {
    if (size_bytes == 0) return; // data may be NULL then
    const unsigned char *bytes = data;
    size_t fill = (size_t)(md5->length_bytes % 64);
    md5->length_bytes += size_bytes;
    if (fill != 0) {
        size_t part = 64 - fill < size_bytes ? 64 - fill : size_bytes;
        memcpy(md5->block + fill, bytes, part);
        if (fill + part < 64) return;
        md5_blocks(md5->state, md5->block, 1);
        bytes += part;
        size_bytes -= part;
    }
    md5_blocks(md5->state, bytes, size_bytes / 64);
    if (size_bytes % 64 != 0) {
        memcpy(md5->block, bytes + size_bytes / 64 * 64, size_bytes % 64);
    }
}

void mlcc_md5_hex(mlcc_md5 *md5, char text[33]) {
    // Padding (RFC 1321, 3.1 and 3.2): a one bit, zeros up to 56 bytes of a block, the length in
    // bits.
    uint64_t length_bits = md5->length_bytes * 8;
    unsigned char tail[72] = {0x80};
    size_t fill = (size_t)(md5->length_bytes % 64);
    size_t padding = fill < 56 ? 56 - fill : 120 - fill;
    for (size_t i = 0; i < 8; i++) tail[padding + i] = (unsigned char)(length_bits >> (8 * i));
    mlcc_md5_update(md5, tail, padding + 8);
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 16; i++) {
        unsigned byte = md5->state[i / 4] >> (8 * (i % 4)) & 0xff;
        text[2 * i] = digits[byte >> 4];
        text[2 * i + 1] = digits[byte & 15];
    }
    text[32] = '\0';
}
