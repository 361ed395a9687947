// MD5 as RFC 1321 defines it, unrolled: the 64 steps then keep the state in registers.
#include "runtime/base/hash.h"

#include <string.h>

// The four auxiliary functions (RFC 1321, 3.4); F and G in forms that need one operation less.
#define F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define G(x, y, z) (((x) & (z)) + ((y) & ~(z)))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))

#define STEP(f, a, b, c, d, k, shift, constant) \
    (a) += f((b), (c), (d)) + x[k] + (constant); \
    (a) = ((a) << (shift)) | ((a) >> (32 - (shift))); \
    (a) += (b)

static uint32_t load_le32(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void md5_blocks(uint32_t state[4], const unsigned char *data, size_t n_blocks) {
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (; n_blocks != 0; n_blocks--, data += 64) {
        uint32_t x[16];
        for (size_t i = 0; i < 16; i++) x[i] = load_le32(data + 4 * i);
        const uint32_t old_a = a, old_b = b, old_c = c, old_d = d;
        // clang-format off
        STEP(F, a, b, c, d,  0,  7, 0xd76aa478u); STEP(F, d, a, b, c,  1, 12, 0xe8c7b756u);
        STEP(F, c, d, a, b,  2, 17, 0x242070dbu); STEP(F, b, c, d, a,  3, 22, 0xc1bdceeeu);
        STEP(F, a, b, c, d,  4,  7, 0xf57c0fafu); STEP(F, d, a, b, c,  5, 12, 0x4787c62au);
        STEP(F, c, d, a, b,  6, 17, 0xa8304613u); STEP(F, b, c, d, a,  7, 22, 0xfd469501u);
        STEP(F, a, b, c, d,  8,  7, 0x698098d8u); STEP(F, d, a, b, c,  9, 12, 0x8b44f7afu);
        STEP(F, c, d, a, b, 10, 17, 0xffff5bb1u); STEP(F, b, c, d, a, 11, 22, 0x895cd7beu);
        STEP(F, a, b, c, d, 12,  7, 0x6b901122u); STEP(F, d, a, b, c, 13, 12, 0xfd987193u);
        STEP(F, c, d, a, b, 14, 17, 0xa679438eu); STEP(F, b, c, d, a, 15, 22, 0x49b40821u);

        STEP(G, a, b, c, d,  1,  5, 0xf61e2562u); STEP(G, d, a, b, c,  6,  9, 0xc040b340u);
        STEP(G, c, d, a, b, 11, 14, 0x265e5a51u); STEP(G, b, c, d, a,  0, 20, 0xe9b6c7aau);
        STEP(G, a, b, c, d,  5,  5, 0xd62f105du); STEP(G, d, a, b, c, 10,  9, 0x02441453u);
        STEP(G, c, d, a, b, 15, 14, 0xd8a1e681u); STEP(G, b, c, d, a,  4, 20, 0xe7d3fbc8u);
        STEP(G, a, b, c, d,  9,  5, 0x21e1cde6u); STEP(G, d, a, b, c, 14,  9, 0xc33707d6u);
        STEP(G, c, d, a, b,  3, 14, 0xf4d50d87u); STEP(G, b, c, d, a,  8, 20, 0x455a14edu);
        STEP(G, a, b, c, d, 13,  5, 0xa9e3e905u); STEP(G, d, a, b, c,  2,  9, 0xfcefa3f8u);
        STEP(G, c, d, a, b,  7, 14, 0x676f02d9u); STEP(G, b, c, d, a, 12, 20, 0x8d2a4c8au);

        STEP(H, a, b, c, d,  5,  4, 0xfffa3942u); STEP(H, d, a, b, c,  8, 11, 0x8771f681u);
        STEP(H, c, d, a, b, 11, 16, 0x6d9d6122u); STEP(H, b, c, d, a, 14, 23, 0xfde5380cu);
        STEP(H, a, b, c, d,  1,  4, 0xa4beea44u); STEP(H, d, a, b, c,  4, 11, 0x4bdecfa9u);
        STEP(H, c, d, a, b,  7, 16, 0xf6bb4b60u); STEP(H, b, c, d, a, 10, 23, 0xbebfbc70u);
        STEP(H, a, b, c, d, 13,  4, 0x289b7ec6u); STEP(H, d, a, b, c,  0, 11, 0xeaa127fau);
        STEP(H, c, d, a, b,  3, 16, 0xd4ef3085u); STEP(H, b, c, d, a,  6, 23, 0x04881d05u);
        STEP(H, a, b, c, d,  9,  4, 0xd9d4d039u); STEP(H, d, a, b, c, 12, 11, 0xe6db99e5u);
        STEP(H, c, d, a, b, 15, 16, 0x1fa27cf8u); STEP(H, b, c, d, a,  2, 23, 0xc4ac5665u);

        STEP(I, a, b, c, d,  0,  6, 0xf4292244u); STEP(I, d, a, b, c,  7, 10, 0x432aff97u);
        STEP(I, c, d, a, b, 14, 15, 0xab9423a7u); STEP(I, b, c, d, a,  5, 21, 0xfc93a039u);
        STEP(I, a, b, c, d, 12,  6, 0x655b59c3u); STEP(I, d, a, b, c,  3, 10, 0x8f0ccc92u);
        STEP(I, c, d, a, b, 10, 15, 0xffeff47du); STEP(I, b, c, d, a,  1, 21, 0x85845dd1u);
        STEP(I, a, b, c, d,  8,  6, 0x6fa87e4fu); STEP(I, d, a, b, c, 15, 10, 0xfe2ce6e0u);
        STEP(I, c, d, a, b,  6, 15, 0xa3014314u); STEP(I, b, c, d, a, 13, 21, 0x4e0811a1u);
        STEP(I, a, b, c, d,  4,  6, 0xf7537e82u); STEP(I, d, a, b, c, 11, 10, 0xbd3af235u);
        STEP(I, c, d, a, b,  2, 15, 0x2ad7d2bbu); STEP(I, b, c, d, a,  9, 21, 0xeb86d391u);
        // clang-format on
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
