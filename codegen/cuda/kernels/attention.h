// attention: what the attention kernels share: which positions a token sees, where the cache holds them, and scores as powers of two.
// The group's constants and hooks follow this header, so functions take what they need and the macros name it.
#ifndef MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_H
#define MLCC_CODEGEN_CUDA_KERNELS_ATTENTION_H

#define HEAD_DIM   ((i32)KERNEL_ATTR_head_dim)
#define N_KV_HEADS ((i32)KERNEL_DIM_1_2)
#define GROUP \
    ((i32)(KERNEL_DIM_0_1 / KERNEL_ATTR_head_dim / KERNEL_DIM_1_2)) // query heads of a kv head

// Below every score; finite, so that the difference of two of them is 0 and not NaN.
#define NO_SCORE -1e30f

// The token sees positions begin … end-1 of its sequence.
typedef struct attention_span {
    i32 begin, end;
} attention_span;

#define token_span(env, token) \
    attention_span_at(((const i32 *)kernel_pointer_4(env))[token], (i32)KERNEL_ATTR_window)

DEVICE attention_span attention_span_at(i32 position, i32 window) {
    attention_span span;
    span.end = position + 1;
    span.begin = window > 0 ? max_i32(span.end - window, 0) : 0;
    return span;
}

// The pages of a token's sequence.
#define token_pages(env, token) \
    ((const i32 *)kernel_pointer_2(env) + \
     ((const i32 *)kernel_pointer_3(env))[token] * kernel_dim_2_1(env))

// First element of the keys of a page and kv head in the cache; its values begin TO_VALUES elements later.
#define key_place(page, kv_head) \
    (((i64)(page) * 2 * N_KV_HEADS + (kv_head)) * (ATTENTION_PAGE * HEAD_DIM))
#define TO_VALUES ((i64)N_KV_HEADS * (ATTENTION_PAGE * HEAD_DIM))

// The exponent e of a product q k: softmax is 2^(e - largest) over its sum.
#define score_exponent(product) attention_exponent(product, KERNEL_ATTR_scale, KERNEL_ATTR_softcap)

DEVICE float attention_exponent(float product, double scale, double softcap) {
    const double log2_e = 1.4426950408889634;
    if (softcap > 0.0) {
        // cap tanh(s / cap), with tanh(x) = 1 - 2 / (1 + 2^(2 x log2 e)).
        const float power = exp2_f32(product * (float)(2.0 * log2_e * scale / softcap));
        return (1.0f - 2.0f * reciprocal_f32(1.0f + power)) * (float)(softcap * log2_e);
    }
    return product * (float)(scale * log2_e);
}

// The same with one instruction less for each product: where exponents grow with products, these are compared as they are and the scale is
// part of the subtraction. weight = score_weight(score_measure(product), score_offset(largest measure)). What a new largest measure does to
// sums is a factor of its own: without a change it must be 1.
#define SCORES_ARE_PRODUCTS           (KERNEL_ATTR_softcap <= 0.0 && KERNEL_ATTR_scale > 0.0)
#define SCORE_UNIT                    (SCORES_ARE_PRODUCTS ? (float)(KERNEL_ATTR_scale * 1.4426950408889634) : 1.0f)
#define score_measure(product)        (SCORES_ARE_PRODUCTS ? (product) : score_exponent(product))
#define score_offset(largest)         (-(largest) * SCORE_UNIT)
#define score_weight(measure, offset) exp2_f32(fma_f32(measure, SCORE_UNIT, offset))
#define score_factor(largest, now)    exp2_f32(((largest) - (now)) * SCORE_UNIT)

// Optional operands, as exponents. A head's sink is where one of the parts that its softmax is made of begins: its largest exponent and, in
// one lane, its total; -inf is no sink. Its slope times what attention_distance says belongs to every score (ALiBi).
#define HAS_SINKS             KERNEL_HAS_5
#define HAS_SLOPES            KERNEL_HAS_6
#define head_sink(env, head)  max_f32(kernel_load_5(env, 0, head) * 1.4426950408889634f, NO_SCORE)
#define head_slope(env, head) (kernel_load_6(env, 0, head) * 1.4426950408889634f)

DEVICE float sink_total(float sink) {
    return sink > NO_SCORE ? 1.0f : 0.0f;
}

// From the token back to the position: 0 or less.
DEVICE float attention_distance(i32 position, attention_span span) {
    return (float)(position + 1 - span.end);
}

#endif
