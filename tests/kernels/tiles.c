// tiles: units of x86_amx (bench_kernels' own) on any machine with AVX-512 and VNNI: the tile instructions that it lacks are emulated as they come
// (tests/support/amx). On odd shapes every unit must give the bits of the VNNI kernel, which bench_kernels compares with plain
// loops, whatever the number of rows, block, chunk and thread; one unit is compared with plain loops here too. No thread may be
// left with tiles configured. The unit of bfloat16 has other bits than its VDPBF16PS kernel; it is compared with its products in C.
#include "codegen/cpu/kernels/panel16.h"
#include "codegen/cpu/kernels/scratch.h"
#include "tests/bench/kernel_run.h"
#include "tests/support/amx/tile_emulation.h"
#include "tests/support/amx/tile_trap.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_failures;

static void fail(const kernel_unit *unit, const char *what, const char *how) {
    n_failures++;
    printf("FAIL %s %s: %s\n", unit_dtype_text(unit->dtype), what, how);
}

typedef struct tile_case {
    int64_t n, k, max_rows;
} tile_case;

// Operands of a case, and room for the results of both kernels.
typedef struct tile_data {
    const tile_case *shape;
    unit_weight weight;
    int64_t groups;
    int8_t *codes;
    float *scales, *results[2];
} tile_data;

static tile_data data_make(const tile_case *c, int32_t dtype, uint64_t seed) {
    tile_data d = {.shape = c, .groups = (c->k + 31) / 32};
    d.weight = unit_weight_make(dtype, c->n, c->k, seed, false);
    d.codes = unit_alloc((size_t)(c->max_rows * c->k));
    d.scales = unit_alloc((size_t)(c->max_rows * d.groups) * 4);
    // The ends of the range often, so that sums which do not fit somewhere are seen; one row whose scale is NaN, one with infinity.
    for (int64_t i = 0; i < c->max_rows * c->k; i++) {
        const float value = unit_random(&seed);
        d.codes[i] = value > 0.7f ? 127 : value < -0.7f ? -127 : (int8_t)(value * 181.0f);
    }
    for (int64_t i = 0; i < c->max_rows * d.groups; i++)
        d.scales[i] = 0.01f * (1.0f + unit_random(&seed));
    if (c->max_rows > 12) {
        d.scales[10 * d.groups] = NAN;
        d.scales[12 * d.groups + d.groups - 1] = INFINITY;
    }
    for (int i = 0; i < 2; i++) d.results[i] = unit_alloc((size_t)((c->max_rows + 1) * c->n) * 4);
    return d;
}

static void data_free(tile_data *d) {
    unit_weight_free(&d->weight);
    free(d->codes), free(d->scales), free(d->results[0]), free(d->results[1]);
}

static void launch(
    const kernel_unit *unit, const tile_data *d, int64_t n_rows, int32_t n_threads, float *result) {
    const int64_t n = d->shape->n, k = d->shape->k;
    const kernel_env env = {
        .dims = {{n_rows, k}, {n, k}, {n_rows, d->groups}},
        .pointers = {d->codes, d->weight.prepared, d->scales},
        .result = result,
        .result_columns = n,
        .result_rows = n_rows};
    memset(result, 0x55, (size_t)((n_rows + 1) * n) * 4);
    unit_launch(unit, &env, n_threads);
}

// The row behind the last, which no kernel may write, is compared with the others.
static int same_bits(const float *a, const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (memcmp(&a[i], &b[i], 4) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 0;
    }
    return 1;
}

static void compare_rows(
    const kernel_unit *tiles, const kernel_unit *vnni, const tile_data *d, int64_t n_rows) {
    char what[96];
    snprintf(
        what, sizeof what, "M=%lld N=%lld K=%lld", (long long)n_rows, (long long)d->shape->n,
        (long long)d->shape->k);
    const int is_signed = kernel_panel16_format_of(tiles->dtype).code == KERNEL_CODE_INT4;
    const int by_tiles = n_rows > 8 && d->groups <= KERNEL_LINEAR_AMX_GROUPS;
    launch(vnni, d, n_rows, 1, d->results[0]);
    for (int32_t threads = 1; threads <= 3; threads += 2) {
        const long before = tile_products(is_signed), others = tile_products(!is_signed);
        launch(tiles, d, n_rows, threads, d->results[1]);
        if (!same_bits(d->results[0], d->results[1], (n_rows + 1) * d->shape->n))
            fail(tiles, what, "other bits than with VNNI");
        if (tile_threads_configured() != 0) fail(tiles, what, "leaves tiles configured");
        if (unit_runs_here(tiles->variant)) continue; // nothing is emulated
        if ((tile_products(is_signed) > before) != by_tiles || tile_products(!is_signed) != others)
            fail(tiles, what, "does not multiply as it should");
    }
}

static void compare_unit(const kernel_unit *tiles, const kernel_unit *vnni) {
    // A tail in every direction; one panel; rows of x of which few tiles fit the scratch, and one of which none does.
    static const tile_case cases[] = {
        {1, 1, 40},     {16, 32, 40},   {15, 33, 70},    {17, 64, 40},    {64, 128, 40},
        {172, 100, 40}, {65, 257, 30},  {300, 192, 400}, {37, 1500, 200}, {119, 8200, 100},
        {24, 344, 40},  {48, 576, 200}, {33, 384, 130},  {16, 45056, 20}, {8, 45088, 12},
    };
    static const int64_t rows[] = {1, 8, 9, 12, 13, 16, 17, 20, 31, 32, 33, 49, 70, 100, 193, 400};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tile_case *c = &cases[i];
        if (!unit_weight_fits(tiles->dtype, c->n, c->k)) continue;
        tile_data d = data_make(c, tiles->dtype, 17 + i);
        for (size_t m = 0; m < sizeof rows / sizeof rows[0]; m++) {
            if (rows[m] <= c->max_rows) compare_rows(tiles, vnni, &d, rows[m]);
        }
        data_free(&d);
    }
}

static void unblock(int32_t thread, void *user) {
    (void)thread, (void)user;
    tile_trap_unblock();
}

int main(void) {
    if (!unit_runs_here("x86_avx512vnni")) {
        printf(
            "this processor lacks AVX-512 with VNNI, which the kernel has beside tiles: skipped\n");
        return 77;
    }
    int n_units = 0;
    tile_trap_install();
    unit_parallel(unblock, NULL, 3); // the most threads of a launch here; they are kept
    for (size_t i = 0; kernel_units[i] != NULL; i++) {
        const kernel_unit *tiles = kernel_units[i];
        if (strcmp(tiles->variant, "x86_amx") != 0) continue;
        n_units++;
        if (tiles->dtype == KERNEL_BF16) {
            const long before = tile_products(2);
            n_failures += kernel_check_bf16(tiles);
            if (tile_threads_configured() != 0) fail(tiles, "", "leaves tiles configured");
            if (!unit_runs_here(tiles->variant) && tile_products(2) == before)
                fail(tiles, "", "does not multiply with tiles");
            printf("bf16: %ld products of tiles\n", tile_products(2));
            continue;
        }
        const kernel_unit *vnni = unit_find(tiles->kernel, "x86_avx512vnni", tiles->dtype);
        if (vnni == NULL) {
            fail(tiles, "", "has no VNNI kernel to compare with");
            continue;
        }
        // The one with zeros of its own has fewest shapes: an instruction takes ten microseconds.
        if (tiles->dtype == KERNEL_U4G32_F16) n_failures += kernel_check_scaled(tiles);
        compare_unit(tiles, vnni);
        printf(
            "%s: %ld products of tiles so far\n", unit_dtype_text(tiles->dtype),
            tile_products(0) + tile_products(1));
    }
    if (n_units == 0) printf("FAIL no units\n");
    return n_failures == 0 && n_units > 0 ? 0 : 1;
}
