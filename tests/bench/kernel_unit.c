// kernel_unit: the hooks in C, then one kernel file. Compiled with
//   -DUNIT_NAME=…  symbol of the unit      -DUNIT_KERNEL=linear_panel16  -DUNIT_VARIANT="x86_avx512"  -DUNIT_FILE="…/linear_panel16.c"
//   -DUNIT_DTYPE=KERNEL_F16 element type   -DUNIT_PREPARE                for prepare_panel16
#include "tests/bench/kernel_unit.h"

#define JOIN2(a, b)    a##b
#define JOIN(a, b)     JOIN2(a, b)
#define JOIN3(a, b, c) JOIN(JOIN(a, b), c)
#define TEXT2(a)       #a
#define TEXT(a)        TEXT2(a)

#define HOOK static inline __attribute__((always_inline, unused))

#ifdef UNIT_PREPARE
static int64_t shape_n, shape_k;
HOOK int64_t kernel_dim_0_0(const kernel_env *env) {
    return (void)env, shape_n;
}
HOOK int64_t kernel_dim_0_1(const kernel_env *env) {
    return (void)env, shape_k;
}
#else
HOOK int64_t kernel_dim_0_0(const kernel_env *env) {
    return env->dims[0][0];
}
HOOK int64_t kernel_dim_0_1(const kernel_env *env) {
    return env->dims[0][1];
}
#endif
HOOK int64_t kernel_dim_0_2(const kernel_env *env) {
    return env->dims[0][2];
}
HOOK int64_t kernel_dim_0_3(const kernel_env *env) {
    return env->dims[0][3];
}
HOOK int64_t kernel_dim_0_4(const kernel_env *env) {
    return env->dims[0][4];
}
HOOK int64_t kernel_dim_1_0(const kernel_env *env) {
    return env->dims[1][0];
}
HOOK int64_t kernel_dim_1_1(const kernel_env *env) {
    return env->dims[1][1];
}
HOOK int64_t kernel_dim_1_2(const kernel_env *env) {
    return env->dims[1][2];
}
HOOK int64_t kernel_dim_2_1(const kernel_env *env) {
    return env->dims[2][1];
}
HOOK int64_t kernel_dim_3_1(const kernel_env *env) {
    return env->dims[3][1];
}
HOOK int64_t kernel_result_dim_0_0(const kernel_env *env) {
    return env->result_rows;
}
HOOK int64_t kernel_result_dim_0_1(const kernel_env *env) {
    return env->result_columns;
}
HOOK int32_t kernel_dtype_0(const kernel_env *env) {
    return (void)env, UNIT_DTYPE;
}
HOOK int32_t kernel_dtype_1(const kernel_env *env) {
    return (void)env, UNIT_DTYPE;
}
HOOK int32_t kernel_dtype_2(const kernel_env *env) {
    return (void)env, KERNEL_F16;
}
HOOK int32_t kernel_dtype_3(const kernel_env *env) {
    return (void)env, KERNEL_F16;
}
HOOK int32_t kernel_dtype_5(const kernel_env *env) {
    return (void)env, KERNEL_F32;
}
HOOK int32_t kernel_dtype_6(const kernel_env *env) {
    return (void)env, KERNEL_F16;
}
HOOK const void *kernel_pointer_0(const kernel_env *env) {
    return env->pointers[0];
}
HOOK const void *kernel_pointer_1(const kernel_env *env) {
    return env->pointers[1];
}
HOOK const void *kernel_pointer_2(const kernel_env *env) {
    return env->pointers[2];
}
HOOK const void *kernel_pointer_3(const kernel_env *env) {
    return env->pointers[3];
}
HOOK const void *kernel_pointer_4(const kernel_env *env) {
    return env->pointers[4];
}
HOOK const void *kernel_pointer_5(const kernel_env *env) {
    return env->pointers[5];
}
HOOK const void *kernel_pointer_6(const kernel_env *env) {
    return env->pointers[6];
}
HOOK void *kernel_result_pointer_0(const kernel_env *env) {
    return env->result;
}
HOOK void *kernel_result_pointer_1(const kernel_env *env) {
    return env->second_result;
}
HOOK float kernel_load_0(const kernel_env *env, int64_t row, int64_t col) {
    return ((const float *)env->pointers[0])[row * env->dims[0][1] + col];
}
HOOK float kernel_load_1(const kernel_env *env, int64_t row, int64_t col) {
    return ((const float *)env->pointers[1])[row * env->dims[1][1] + col];
}
HOOK float kernel_load_2(const kernel_env *env, int64_t row, int64_t col) {
    return ((const float *)env->pointers[2])[row * env->dims[2][1] + col];
}
HOOK void kernel_keep_0(const kernel_env *env, int64_t row, int64_t col, float value) {
    if (env->kept) env->kept[row * env->dims[0][1] + col] = value;
}
HOOK void kernel_store_0(const kernel_env *env, int64_t row, int64_t col, float value) {
    ((float *)env->result)[row * env->result_columns + col] = value;
}
HOOK void *kernel_scratch(const kernel_env *env) {
    return env->scratch;
}
HOOK void *kernel_shared(const kernel_env *env) {
    return env->shared;
}
HOOK int64_t kernel_shared_bytes(const kernel_env *env) {
    return env->shared_bytes;
}
#ifdef UNIT_HEAD_DIM
HOOK int64_t kernel_attr_head_dim(const kernel_env *env) {
    return (void)env, UNIT_HEAD_DIM;
}
#else
HOOK int64_t kernel_attr_head_dim(const kernel_env *env) {
    return env->head_dim;
}
#endif
HOOK int64_t kernel_attr_window(const kernel_env *env) {
    return env->window;
}
HOOK double kernel_attr_scale(const kernel_env *env) {
    return env->scale;
}
HOOK double kernel_attr_softcap(const kernel_env *env) {
    return env->softcap;
}
HOOK double kernel_attr_eps(const kernel_env *env) {
    return env->eps;
}
// Activations in fp8 with one scale a row, or as whole numbers with one for 32 columns.
#ifdef UNIT_WHOLE_NUMBERS
HOOK int64_t kernel_attr_mantissa_bits(const kernel_env *env) {
    return (void)env, 7;
}
HOOK int64_t kernel_attr_group(const kernel_env *env) {
    return (void)env, 32;
}
HOOK double kernel_attr_floor(const kernel_env *env) {
    return (void)env, 1e-30;
}
#else
HOOK int64_t kernel_attr_mantissa_bits(const kernel_env *env) {
    return (void)env, 3;
}
HOOK int64_t kernel_attr_group(const kernel_env *env) {
    return (void)env, 0;
}
HOOK double kernel_attr_floor(const kernel_env *env) {
    return (void)env, 1e-10;
}
#endif
// Constant for as long as a launch runs.
#define KNOB(name, kernels, fallback, candidates, meaning) \
    HOOK __attribute__((const)) int64_t kernel_knob_##name(void) { \
        return kernel_unit_knobs[UNIT_KNOB_##name]; \
    }
#include "codegen/cpu/knobs.def"
HOOK double kernel_attr_magnitude(const kernel_env *env) {
    return env->magnitude;
}
HOOK double kernel_attr_growth(const kernel_env *env) {
    return env->growth;
}
HOOK int64_t kernel_attr_period(const kernel_env *env) {
    return env->period;
}

// The kernel's own names become unique, so that all units fit one program.
#define kernel_linear_panel16              JOIN(UNIT_NAME, _kernel)
#define kernel_linear_panel16_items        JOIN(UNIT_NAME, _items)
#define kernel_linear_panel16_chunk        JOIN(UNIT_NAME, _chunk)
#define kernel_paged_attention             JOIN(UNIT_NAME, _kernel)
#define kernel_paged_attention_items       JOIN(UNIT_NAME, _items)
#define kernel_paged_attention_chunk       JOIN(UNIT_NAME, _chunk)
#define kernel_embedding_panel16           JOIN(UNIT_NAME, _kernel)
#define kernel_embedding_panel16_items     JOIN(UNIT_NAME, _items)
#define kernel_embedding_panel16_chunk     JOIN(UNIT_NAME, _chunk)
#define kernel_rms_norm                    JOIN(UNIT_NAME, _kernel)
#define kernel_rms_norm_items              JOIN(UNIT_NAME, _items)
#define kernel_rms_norm_chunk              JOIN(UNIT_NAME, _chunk)
#define kernel_rope_table                  JOIN(UNIT_NAME, _kernel)
#define kernel_rope_table_items            JOIN(UNIT_NAME, _items)
#define kernel_rope_table_chunk            JOIN(UNIT_NAME, _chunk)
#define kernel_kv_append                   JOIN(UNIT_NAME, _kernel)
#define kernel_kv_append_items             JOIN(UNIT_NAME, _items)
#define kernel_kv_append_chunk             JOIN(UNIT_NAME, _chunk)
#define kernel_take_rows                   JOIN(UNIT_NAME, _kernel)
#define kernel_take_rows_items             JOIN(UNIT_NAME, _items)
#define kernel_take_rows_chunk             JOIN(UNIT_NAME, _chunk)
#define kernel_prepare_panel16             JOIN(UNIT_NAME, _run)
#define kernel_quantize_activation         JOIN(UNIT_NAME, _kernel)
#define kernel_quantize_activation_items   JOIN(UNIT_NAME, _items)
#define kernel_quantize_activation_chunk   JOIN(UNIT_NAME, _chunk)
#define kernel_linear_scaled_panel16       JOIN(UNIT_NAME, _kernel)
#define kernel_linear_scaled_panel16_items JOIN(UNIT_NAME, _items)
#define kernel_linear_scaled_panel16_chunk JOIN(UNIT_NAME, _chunk)
#define kernel_linear_bf16_panel16         JOIN(UNIT_NAME, _kernel)
#define kernel_linear_bf16_panel16_items   JOIN(UNIT_NAME, _items)
#define kernel_linear_bf16_panel16_chunk   JOIN(UNIT_NAME, _chunk)
#define kernel_encode_activation           JOIN(UNIT_NAME, _kernel)
#define kernel_encode_activation_items     JOIN(UNIT_NAME, _items)
#define kernel_encode_activation_chunk     JOIN(UNIT_NAME, _chunk)
#define kernel_observe_max                 JOIN(UNIT_NAME, _kernel)
#define kernel_observe_max_items           JOIN(UNIT_NAME, _items)
#define kernel_observe_max_chunk           JOIN(UNIT_NAME, _chunk)

// Second parts.
#define kernel_paged_attention_finish       JOIN(UNIT_NAME, _finish)
#define kernel_paged_attention_finish_items JOIN(UNIT_NAME, _finish_items)

#ifndef UNIT_PREPARE
void JOIN(UNIT_NAME, _kernel)(const kernel_env *env, int64_t begin, int64_t end);
void JOIN(UNIT_NAME, _run)(const kernel_env *env, int64_t begin, int64_t end);
int64_t JOIN(UNIT_NAME, _items)(const kernel_env *env);
int64_t JOIN(UNIT_NAME, _chunk)(const kernel_env *env, int64_t n_threads);
#    ifdef UNIT_FINISH
void JOIN(UNIT_NAME, _finish)(const kernel_env *env, int64_t begin, int64_t end);
int64_t JOIN(UNIT_NAME, _finish_items)(const kernel_env *env, int64_t n_threads);
#    endif
#endif

#include UNIT_FILE

#ifndef UNIT_PREPARE
// On a copy that nothing else points to, so that the compiler knows, as in generated code, that stores change no operand.
__attribute__((flatten)) void JOIN(UNIT_NAME, _run)(
    const kernel_env *env, int64_t begin, int64_t end) {
    const kernel_env copy = *env;
    JOIN(UNIT_NAME, _kernel)(&copy, begin, end);
}
#endif

extern const kernel_unit UNIT_NAME;

#ifdef UNIT_PREPARE
static void prepare_shape(int64_t n, int64_t k) {
    shape_n = n;
    shape_k = k;
}
const kernel_unit UNIT_NAME = {
    .kernel = TEXT(UNIT_KERNEL),
    .variant = UNIT_VARIANT,
    .dtype = UNIT_DTYPE,
    .prepare = JOIN(UNIT_NAME, _run),
    .prepare_shape = prepare_shape};
#else
const kernel_unit UNIT_NAME = {
    .kernel = TEXT(UNIT_KERNEL),
    .variant = UNIT_VARIANT,
    .dtype = UNIT_DTYPE,
    .run = JOIN(UNIT_NAME, _run),
    .items = JOIN(UNIT_NAME, _items),
#    ifdef UNIT_FINISH
    .finish = JOIN(UNIT_NAME, _finish),
    .finish_items = JOIN(UNIT_NAME, _finish_items),
#    endif
    .chunk = JOIN(UNIT_NAME, _chunk)};
#endif
