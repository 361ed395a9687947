#include "runtime/text/pack.h"

#include "runtime/base/str.h"
#include "runtime/text/unicode.h"

#include <string.h>

// ---- writing -------------------------------------------------------------------------------------------------

void mlcc_pack_u32(mlcc_bytes *out, uint32_t value) {
    const char bytes[4] = {
        (char)(value & 0xFF), (char)(value >> 8 & 0xFF), (char)(value >> 16 & 0xFF),
        (char)(value >> 24)};
    mlcc_bytes_append(out, bytes, sizeof bytes);
}

void mlcc_pack_f64(mlcc_bytes *out, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    mlcc_pack_u32(out, (uint32_t)bits);
    mlcc_pack_u32(out, (uint32_t)(bits >> 32));
}

void mlcc_pack_text(mlcc_bytes *out, const char *text, size_t length) {
    mlcc_pack_u32(out, (uint32_t)length);
    if (length != 0) mlcc_bytes_append(out, text, length);
    mlcc_bytes_put(out, '\0');
}

void mlcc_pack_array(mlcc_bytes *out, const void *items, size_t n, size_t item_bytes) {
    mlcc_pack_u32(out, (uint32_t)n);
    while (!out->failed && out->length % MLCC_PACK_ALIGNMENT != 0) mlcc_bytes_put(out, '\0');
    if (n != 0) mlcc_bytes_append(out, items, n * item_bytes);
}

// ---- reading -------------------------------------------------------------------------------------------------

bool mlcc_unpack_require(mlcc_unpacker *in, bool is_good) {
    in->has_failed = in->has_failed || !is_good;
    return !in->has_failed;
}

// The next n_bytes, or NULL.
static const char *take(mlcc_unpacker *in, size_t n_bytes) {
    if (!mlcc_unpack_require(in, n_bytes <= in->length - in->at)) return NULL;
    const char *bytes = in->data + in->at;
    in->at += n_bytes;
    return bytes;
}

uint32_t mlcc_unpack_u32(mlcc_unpacker *in) {
    const unsigned char *bytes = (const unsigned char *)take(in, 4);
    if (bytes == NULL) return 0;
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

uint32_t mlcc_unpack_below(mlcc_unpacker *in, size_t limit) {
    uint32_t value = mlcc_unpack_u32(in);
    return mlcc_unpack_require(in, value < limit) ? value : 0;
}

bool mlcc_unpack_bool(mlcc_unpacker *in) {
    return mlcc_unpack_below(in, 2) != 0;
}

double mlcc_unpack_f64(mlcc_unpacker *in) {
    uint64_t low = mlcc_unpack_u32(in);
    uint64_t bits = low | (uint64_t)mlcc_unpack_u32(in) << 32;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

const char *mlcc_unpack_text(mlcc_unpacker *in, size_t *length) {
    size_t n_bytes = mlcc_unpack_u32(in);
    const char *text = take(in, n_bytes);
    const char *end = take(in, 1);
    bool is_good = end != NULL && *end == '\0' && mlcc_utf8_is_valid(text, n_bytes);
    if (!mlcc_unpack_require(in, is_good)) {
        n_bytes = 0;
        text = "";
    }
    if (length != NULL) *length = n_bytes;
    return text;
}

const void *mlcc_unpack_array(mlcc_unpacker *in, size_t item_bytes, size_t *n) {
    *n = 0;
    size_t count = mlcc_unpack_u32(in);
    size_t padding = (MLCC_PACK_ALIGNMENT - in->at % MLCC_PACK_ALIGNMENT) % MLCC_PACK_ALIGNMENT;
    size_t n_bytes;
    take(in, padding);
    if (!mlcc_unpack_require(in, mlcc_size_mul(count, item_bytes, &n_bytes))) return NULL;
    const void *items = take(in, n_bytes);
    if (items != NULL) *n = count;
    return items;
}

const int32_t *mlcc_unpack_ids(mlcc_unpacker *in, int32_t lowest, size_t n_tokens, size_t *n) {
    const int32_t *ids = mlcc_unpack_array(in, sizeof *ids, n);
    int32_t least = 0, most = -1;
    for (size_t i = 0; i < *n; i++) {
        least = ids[i] < least ? ids[i] : least;
        most = ids[i] > most ? ids[i] : most;
    }
    if (!mlcc_unpack_require(in, least >= lowest && (most < 0 || (size_t)most < n_tokens))) *n = 0;
    return ids;
}
