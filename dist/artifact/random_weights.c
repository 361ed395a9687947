#include "dist/artifact/random_weights.h"

#include "quantization/round.h"
#include "runtime/base/hash.h"
#include "runtime/base/str.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_ITEMS = 4096, LANES = 4 };

typedef struct random_source {
    hf_weight_source source; // first, so that the pointer casts back
    uint16_t weights[TABLE_ITEMS], gains[TABLE_ITEMS];
} random_source;

// Quantile of the normal distribution: P. J. Acklam's rational approximation, relative error below
// 1.2e-9.
static double normal_quantile(double p) {
    static const double a[6] = {-3.969683028665376e+01, 2.209460984245205e+02,
                                -2.759285104469687e+02, 1.383577518672690e+02,
                                -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[6] = {-5.447609879822406e+01, 1.615858368580409e+02,
                                -1.556989798598866e+02, 6.680131188771972e+01,
                                -1.328068155288572e+01, 1.0};
    static const double c[6] = {-7.784894002430293e-03, -3.223964580411365e-01,
                                -2.400758277161838e+00, -2.549732539343734e+00,
                                4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[5] = {
        7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00,
        1.0};
    const double tail = p < 0.5 ? p : 1.0 - p;
    double numerator = 0.0, denominator = 0.0;
    if (tail >= 0.02425) {
        const double q = p - 0.5;
        for (int i = 0; i < 6; i++) {
            numerator = numerator * q * q + a[i];
            denominator = denominator * q * q + b[i];
        }
        return numerator * q / denominator;
    }
    const double q = sqrt(-2.0 * log(tail));
    for (int i = 0; i < 6; i++) numerator = numerator * q + c[i];
    for (int i = 0; i < 5; i++) denominator = denominator * q + d[i];
    return p < 0.5 ? numerator / denominator : -numerator / denominator;
}

static void fill_tables(random_source *self) {
    for (int i = 0; i < TABLE_ITEMS; i++) {
        const double z = normal_quantile((i + 0.5) / (double)TABLE_ITEMS);
        self->weights[i] = quant_f32_to_f16((float)(0.02 * z));
        self->gains[i] = quant_f32_to_f16((float)(1.0 + 0.05 * z));
    }
}

// Mixing steps of SplitMix64 (Steele, Lea, Flood 2014) over a counter: element 4 i + j takes 12
// bits of number i.
QUANT_INLINE uint64_t mix(uint64_t seed, uint64_t index) {
    uint64_t x = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void fill(
    const uint16_t *table, uint64_t seed, uint64_t first, uint64_t count, uint16_t *output) {
    const uint64_t end = first + count;
    uint64_t element = first;
    while (element < end) {
        uint64_t bits = mix(seed, element / LANES);
        if (element % LANES == 0 && end - element >= LANES) {
            for (int lane = 0; lane < LANES; lane++)
                output[lane] = table[bits >> (12 * lane) & (TABLE_ITEMS - 1)];
            element += LANES;
            output += LANES;
        } else {
            *output++ = table[bits >> (12 * (element % LANES)) & (TABLE_ITEMS - 1)];
            element++;
        }
    }
}

static bool is_gain(const hf_tensor *tensor) {
    return tensor->rank == 1 && mlcc_text_ends_with(tensor->name, ".weight");
}

static mlcc_status *random_read(
    hf_weight_source *source, const hf_tensor *tensor, uint64_t offset, uint64_t size_bytes,
    void *buffer, const void **view) {
    random_source *self = (random_source *)(void *)source;
    if (view != NULL) *view = NULL;
    if (buffer == NULL || offset % 2 != 0 || size_bytes % 2 != 0 || offset > tensor->size_bytes ||
        size_bytes > tensor->size_bytes - offset) {
        return MLCC_ERROR(
            INTERNAL, "bytes %llu + %llu of made-up tensor '%s' (%llu bytes) cannot be read",
            (unsigned long long)offset, (unsigned long long)size_bytes, tensor->name,
            (unsigned long long)tensor->size_bytes);
    }
    fill(
        is_gain(tensor) ? self->gains : self->weights,
        mlcc_hash64(tensor->name, strlen(tensor->name)), offset / 2, size_bytes / 2, buffer);
    if (view != NULL) *view = buffer;
    return NULL;
}

static void random_close(hf_weight_source *source) {
    (void)source;
}

static int by_name(const void *a, const void *b) {
    const hf_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

mlcc_status *artifact_random_weights_open(
    const ir_module *module, const char *description, mlcc_arena *keep, hf_weight_source **out) {
    *out = NULL;
    random_source *self = MLCC_NEW(keep, random_source);
    hf_tensor *tensors = MLCC_NEW_ARRAY(keep, hf_tensor, module->n_params + 1);
    for (size_t i = 0; i < module->n_params; i++) {
        const ir_param *param = module->params[i];
        const ir_type *type = &param->value.type;
        int64_t n_elements = 0;
        if (param->n_sources != 1 || !ir_type_bound_elements(type, &n_elements) ||
            n_elements > INT64_MAX / 2) {
            return MLCC_ERROR(
                INVALID, "no weights can be made up for param '%s'", param->value.name);
        }
        tensors[i] = (hf_tensor){.name = mlcc_arena_strdup(keep, param->sources[0]),
                                 .dtype = IR_F16,
                                 .rank = type->rank,
                                 .size_bytes = (uint64_t)n_elements * 2};
        for (int32_t d = 0; d < type->rank; d++) tensors[i].dims[d] = ir_dim_bound(type->dims[d]);
    }
    qsort(tensors, module->n_params, sizeof *tensors, by_name);
    fill_tables(self);
    self->source = (hf_weight_source){
        .tensors = tensors,
        .n_tensors = module->n_params,
        .description = mlcc_arena_printf(keep, "random weights of %s", description),
        .read = random_read,
        .close = random_close};
    *out = &self->source;
    return NULL;
}
