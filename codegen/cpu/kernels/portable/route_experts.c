// route_experts: the k best experts of a row of logits and their weights (ir/attrs.def says how); an item is a row. In scratch: the
// row's scores, the keys that the choice is made among, and marks of the experts that are out of it. An expert that is chosen or in a
// group without a place is marked, so that no number can bring it back.
#include "codegen/cpu/kernels/math.h"
#include "codegen/cpu/kernels/scratch.h"

KERNEL_DIM(0, 0);
KERNEL_DIM(0, 1);
KERNEL_DTYPE(1);
KERNEL_POINTER(1);
KERNEL_LOAD(0);
KERNEL_SCRATCH;
KERNEL_RESULT_POINTER(0);
KERNEL_RESULT_POINTER(1);
KERNEL_ATTR_I64(k);
KERNEL_ATTR_I64(scoring);
KERNEL_ATTR_I64(renormalize);
KERNEL_ATTR_I64(n_groups);
KERNEL_ATTR_I64(top_groups);
KERNEL_ATTR_I64(group_best);
KERNEL_ATTR_F64(scale);

enum { ROUTE_SOFTMAX, ROUTE_SIGMOID, ROUTE_CHOSEN };

typedef struct route_scratch {
    float scores[KERNEL_ROUTE_MAX_EXPERTS];
    float keys[KERNEL_ROUTE_MAX_EXPERTS];
    float groups[KERNEL_ROUTE_MAX_EXPERTS];
    uint8_t is_out[KERNEL_ROUTE_MAX_EXPERTS];
    uint8_t group_is_out[KERNEL_ROUTE_MAX_EXPERTS];
} route_scratch;

_Static_assert(sizeof(route_scratch) <= KERNEL_ROUTE_SCRATCH_BYTES, "scratch.h promises enough");

int64_t kernel_route_experts_items(const kernel_env *env) {
    return kernel_dim_0_0(env);
}

int64_t kernel_route_experts_chunk(const kernel_env *env, int64_t n_threads) {
    const int64_t chunk = kernel_dim_0_0(env) / (n_threads * 4);
    return chunk < 1 ? 1 : chunk;
}

// exp(value - largest) in place; returns their sum.
KERNEL_INLINE float route_exp(float *values, int64_t n) {
    float largest = -__builtin_inff(), sum = 0.0f;
    for (int64_t i = 0; i < n; i++) largest = values[i] > largest ? values[i] : largest;
    for (int64_t i = 0; i < n; i++) {
        values[i] = kernel_exp(values[i] - largest);
        sum += values[i];
    }
    return sum;
}

// The best of [begin, end) that is not out, the first of equals.
KERNEL_INLINE int64_t
route_best(const float *keys, const uint8_t *is_out, int64_t begin, int64_t end) {
    int64_t best = -1;
    for (int64_t i = begin; i < end; i++) {
        if (!is_out[i] && (best < 0 || keys[i] > keys[best])) best = i;
    }
    return best;
}

KERNEL_INLINE float route_key(float value) {
    return value == value ? value : -__builtin_inff();
}

// Softmax and sigmoid keep the order of logits: without a bias or sums over a group the logits themselves decide.
KERNEL_INLINE void route_score(const kernel_env *env, route_scratch *s, int64_t row) {
    const int64_t n = kernel_dim_0_1(env), scoring = kernel_attr_scoring(env);
    const void *bias = kernel_pointer_1(env);
    for (int64_t i = 0; i < n; i++) {
        s->scores[i] = kernel_load_0(env, row, i);
        s->keys[i] = route_key(s->scores[i]);
        s->is_out[i] = 0;
    }
    if (scoring == ROUTE_SOFTMAX) {
        const float factor = 1.0f / route_exp(s->scores, n);
        for (int64_t i = 0; i < n; i++) s->scores[i] *= factor;
    } else if (scoring == ROUTE_SIGMOID) {
        for (int64_t i = 0; i < n; i++) s->scores[i] = kernel_sigmoid(s->scores[i]);
    }
    if (bias == NULL && kernel_attr_group_best(env) == 1) return;
    for (int64_t i = 0; i < n; i++) {
        const float more = bias != NULL ? kernel_load_as_f32(bias, kernel_dtype_1(env), i) : 0.0f;
        s->keys[i] = route_key(s->scores[i] + more);
    }
}

// Leaves experts of the top groups only.
KERNEL_INLINE void route_groups(const kernel_env *env, route_scratch *s) {
    const int64_t n_groups = kernel_attr_n_groups(env), top = kernel_attr_top_groups(env);
    const int64_t members = kernel_dim_0_1(env) / n_groups;
    for (int64_t g = 0; g < n_groups; g++) {
        float score = 0.0f;
        for (int64_t i = 0; i < kernel_attr_group_best(env); i++) {
            const int64_t best = route_best(s->keys, s->is_out, g * members, (g + 1) * members);
            score += s->keys[best];
            s->is_out[best] = 1;
        }
        s->groups[g] = route_key(score);
        s->group_is_out[g] = 0;
    }
    for (int64_t i = 0; i < top; i++) {
        const int64_t best = route_best(s->groups, s->group_is_out, 0, n_groups);
        s->group_is_out[best] = 1;
    }
    // Marked groups are the chosen ones.
    for (int64_t i = 0; i < n_groups * members; i++) s->is_out[i] = !s->group_is_out[i / members];
}

KERNEL_INLINE void route_weigh(const kernel_env *env, float *weights) {
    const int64_t k = kernel_attr_k(env);
    float sum = 0.0f;
    if (kernel_attr_scoring(env) == ROUTE_CHOSEN) {
        const float factor = 1.0f / route_exp(weights, k);
        for (int64_t j = 0; j < k; j++) weights[j] *= factor;
    }
    for (int64_t j = 0; j < k; j++) sum += weights[j];
    const float scale = (float)kernel_attr_scale(env);
    const float factor = kernel_attr_renormalize(env) ? scale / (sum + 1e-20f) : scale;
    for (int64_t j = 0; j < k; j++) weights[j] *= factor;
}

void kernel_route_experts(const kernel_env *env, int64_t begin, int64_t end) {
    route_scratch *s = (route_scratch *)kernel_scratch(env);
    const int64_t k = kernel_attr_k(env);
    for (int64_t row = begin; row < end; row++) {
        int32_t *experts = (int32_t *)kernel_result_pointer_0(env) + row * k;
        float *weights = (float *)kernel_result_pointer_1(env) + row * k;
        route_score(env, s, row);
        if (kernel_attr_top_groups(env) < kernel_attr_n_groups(env)) route_groups(env, s);
        for (int64_t j = 0; j < k; j++) {
            const int64_t best = route_best(s->keys, s->is_out, 0, kernel_dim_0_1(env));
            s->is_out[best] = 1;
            experts[j] = (int32_t)best;
            weights[j] = s->scores[best];
        }
        route_weigh(env, weights);
    }
}
