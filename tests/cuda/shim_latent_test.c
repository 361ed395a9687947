// The kernels of latent attention under cuda_shim, on odd shapes and every dtype of cache, activations and weights, against ir/eval.
#include "tests/support/cuda_group.h"
#include "tests/support/random_module.h"

#include <math.h>

static const char *const names[] = {"f32", "f16", "bf16"};
static const ir_dtype dtypes[] = {IR_F32, IR_F16, IR_BF16};
static const double units[] = {0x1p-20, 0x1p-10, 0x1p-7};

static const char head[] = "module @m level=graph\nsymbol n_tokens <= 64\nsymbol n_seqs <= 4\n"
                           "symbol n_pages <= 64\nsymbol n_page_slots <= 8\n";

typedef struct latent_shape {
    int n_heads, rank, n_rotated;
} latent_shape;

// Heads that fill blocks and heads that do not, widths that lanes divide and widths that they do not.
static const latent_shape shapes[] = {
    {8, 32, 16}, {3, 21, 6}, {12, 40, 8}, {1, 1, 2}, {16, 70, 10}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], N_SEQUENCES = 3, N_SLOTS = 4 };

// Sequences of 1, 60 and 40 positions, of which the last ones are in the batch, many or few: few tokens have their contexts split. Pages are scrambled.
static const int lengths[N_SEQUENCES] = {1, 60, 40};
static const int fresh[2][N_SEQUENCES] = {{1, 9, 17}, {1, 2, 3}};
enum { N_PAGES = N_SEQUENCES * N_SLOTS };
static const int n_tokens_of[2] = {1 + 9 + 17, 1 + 2 + 3};

static void fill_places(mlcc_arena *keep, bool is_few, ir_tensor *places[3]) {
    const int64_t n = n_tokens_of[is_few];
    int next = 0;
    places[0] = ir_tensor_create(keep, IR_I32, 2, (const int64_t[]){N_SEQUENCES, N_SLOTS});
    places[1] = ir_tensor_create(keep, IR_I32, 1, &n);
    places[2] = ir_tensor_create(keep, IR_I32, 1, &n);
    for (int i = 0; i < N_PAGES; i++) places[0]->i32[i] = (i * 7 + 5) % N_PAGES;
    for (int s = 0; s < N_SEQUENCES; s++)
        for (int p = lengths[s] - fresh[is_few][s]; p < lengths[s]; p++, next++) {
            places[1]->i32[next] = s;
            places[2]->i32[next] = p;
        }
}

// Whatever no token of the batch may see is a NaN.
static ir_tensor *latents(int64_t width, ir_dtype dtype, bool with_holes, mlcc_arena *keep) {
    ir_tensor *flat = random_matrix(dtype, N_PAGES, 16 * width, 2, 5, keep), *places[3];
    ir_tensor *cache = ir_tensor_create(keep, dtype, 3, (const int64_t[]){N_PAGES, 16, width});
    memcpy(cache->f32, flat->f32, (size_t)ir_tensor_count(cache) * sizeof(float));
    fill_places(keep, false, places);
    for (int i = 0; with_holes && i < N_PAGES; i++)
        for (int p = 0; p < 16; p++)
            for (int64_t d = 0; i % N_SLOTS * 16 + p >= lengths[i / N_SLOTS] && d < width; d++)
                cache->f32[(places[0]->i32[i] * 16 + p) * width + d] = NAN;
    return cache;
}

static void test_append(void **state) {
    test_folder *f = *state;
    for (int i = 0; i < N_SHAPES; i++) {
        const latent_shape a = shapes[i];
        const int width = a.rank + a.n_rotated;
        const char *cache = names[i % 3], *x = names[(i + 1) % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%cache: %s[n_pages, 16, %d], %%kv: %s[n_tokens, %d], %%t: "
            "f32[n_tokens, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], %%pos: "
            "i32[n_tokens]) {\n"
            "  %%c = slice %%kv {begin = 0, end = %d} : %s[n_tokens, %d]\n"
            "  %%k = slice %%kv {begin = %d, end = %d} : %s[n_tokens, %d]\n"
            "  %%r = rope %%k, %%t {head_dim = %d, interleaved = true} : %s[n_tokens, %d]\n"
            "  %%o = latent_append %%cache, %%c, %%r, %%pt, %%seq, %%pos : %s[n_pages, 16, %d]\n"
            "  return %%o\n}\n",
            head, cache, width, x, width, a.n_rotated, a.rank, x, a.rank, a.rank, width, x,
            a.n_rotated, a.n_rotated, x, a.n_rotated, cache, width);
        cuda_subject s = cuda_subject_open(text, "latent_append__sm80", f->path);
        ir_tensor *args[6] = {
            latents(width, dtypes[i % 3], false, s.keep),
            random_matrix(dtypes[(i + 1) % 3], n_tokens_of[0], width, 2, 1, s.keep),
            random_matrix(IR_F32, n_tokens_of[0], a.n_rotated, 1, 2, s.keep)};
        fill_places(s.keep, false, args + 3);
        cuda_subject_check(&s, args, 1e-6, units[i % 3] + units[(i + 1) % 3]);
        cuda_subject_close(&s);
    }
}

static void test_attention(void **state) {
    test_folder *f = *state;
    for (int i = 0; i < N_SHAPES; i++) {
        const latent_shape a = shapes[i];
        const int width = a.rank + a.n_rotated, columns = a.n_heads * a.rank;
        const int rotated = a.n_heads * a.n_rotated;
        const char *cache = names[i % 3], *x = names[(i + 1) % 3];
        char text[2048];
        snprintf(
            text, sizeof text,
            "%sfunc @forward(%%q: %s[n_tokens, %d], %%r: %s[n_tokens, %d], %%t: f32[n_tokens, %d], "
            "%%cache: %s[n_pages, 16, %d], %%pt: i32[n_seqs, n_page_slots], %%seq: i32[n_tokens], "
            "%%pos: i32[n_tokens]) {\n"
            "  %%0 = rope %%r, %%t {head_dim = %d, interleaved = true} : %s[n_tokens, %d]\n"
            "  %%1 = latent_attention %%q, %%0, %%cache, %%pt, %%seq, %%pos {rank = %d, scale = "
            "0.4} : %s[n_tokens, %d]\n"
            "  %%2 = scale %%1 {factor = 2.0} : %s[n_tokens, %d]\n  return %%2\n}\n",
            head, x, columns, x, rotated, a.n_rotated, cache, width, a.n_rotated, x, rotated,
            a.rank, x, columns, x, columns);
        cuda_subject s = cuda_subject_open(text, "latent_attention__sm80", f->path);
        const double unit = units[(i + 1) % 3];
        for (int is_few = 0; is_few < 2; is_few++) {
            const int64_t n = n_tokens_of[is_few];
            ir_tensor *args[7] = {
                random_matrix(dtypes[(i + 1) % 3], n, columns, 1, 1, s.keep),
                random_matrix(dtypes[(i + 1) % 3], n, rotated, 1, 2, s.keep),
                random_matrix(IR_F32, n, a.n_rotated, 1, 3, s.keep),
                latents(width, dtypes[i % 3], true, s.keep)};
            fill_places(s.keep, is_few != 0, args + 4);
            cuda_subject_check(&s, args, 2e-5 + unit, 2e-5 + unit);
        }
        cuda_subject_close(&s);
    }
}

static void test_heads(void **state) {
    test_folder *f = *state;
    static const struct {
        int n_heads, n, k, tokens[3];
    } cases[] = {{4, 16, 32, {1, 8}}, {3, 40, 7, {3, 17}}, {2, 70, 130, {9}}, {5, 1, 64, {20}}};
    for (int i = 0; i < 4; i++) {
        const int n_heads = cases[i].n_heads, n = cases[i].n, k = cases[i].k;
        for (int w = 0; w < 3; w++) {
            const char *x = names[(i + w) % 3];
            char text[1024];
            snprintf(
                text, sizeof text,
                "module @m level=graph\nsymbol n_tokens <= 64\nparam @w : %s[%d, %d, %d]\n"
                "func @forward(%%x: %s[n_tokens, %d]) {\n"
                "  %%0 = slice %%x {begin = 2, end = %d, parts = %d} : %s[n_tokens, %d]\n"
                "  %%1 = linear_heads %%0, @w : %s[n_tokens, %d]\n"
                "  %%2 = relu %%1 : %s[n_tokens, %d]\n  return %%2\n}\n",
                names[w], n_heads, n, k, x, n_heads * (k + 2), k + 2, n_heads, x, n_heads * k, x,
                n_heads * n, x, n_heads * n);
            cuda_subject s = cuda_subject_open(text, "linear_heads__sm80", f->path);
            for (int t = 0; cases[i].tokens[t] != 0; t++) {
                ir_tensor *arg = random_matrix(
                    dtypes[(i + w) % 3], cases[i].tokens[t], n_heads * (k + 2), 1, 3, s.keep);
                const double unit = units[(i + w) % 3];
                cuda_subject_check(&s, &arg, 1e-5 + unit, 1e-5 + unit);
            }
            cuda_subject_close(&s);
        }
    }
}

int main(void) {
    if (!cuda_shim_can_compile()) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_attention, test_folder_set_up, test_folder_tear_down),
        cmocka_unit_test_setup_teardown(test_heads, test_folder_set_up, test_folder_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
