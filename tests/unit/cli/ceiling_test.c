// Which arithmetic unit a library is compared with, and that every unit of this machine gives a rate.
#include "dist/cli/run/ceiling.h"
#include "runtime/device/cpu_features.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static size_t find_unit(ceiling_arithmetic arithmetic, const char *features) {
    for (size_t i = 0; i < n_ceiling_units; i++) {
        const ceiling_unit *unit = &ceiling_units[i];
        if (unit->arithmetic == arithmetic && strcmp(unit->features, features) == 0) return i;
    }
    fail_msg("no unit needs exactly '%s'", features);
    return 0;
}

// A machine that has every unit, the later ones faster.
static ceiling everything(void) {
    ceiling machine = {0};
    for (size_t i = 0; i < n_ceiling_units; i++) machine.unit_gop_per_s[i] = 100.0 + (double)i;
    return machine;
}

static void test_of_no_features(void **state) {
    (void)state;
    const ceiling machine = everything();
    assert_int_equal(ceiling_unit_for(&machine, CEILING_F32, ""), 0);
    assert_string_equal(ceiling_units[0].features, "");
    // Without byte products, float32 it is.
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, ""), 0);
    assert_int_equal(ceiling_unit_for(&machine, CEILING_BF16, "sse2,cx16"), 0);
}

static void test_takes_what_the_features_allow(void **state) {
    (void)state;
    const ceiling machine = everything();
#if defined(__x86_64__)
    const size_t avx2 = find_unit(CEILING_INT8, "avx2");
    const size_t vnni = find_unit(CEILING_INT8, "avx512f,avx512vnni");
    const size_t tiles = find_unit(CEILING_INT8, "amx-tile,amx-int8");
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, "sse2,avx2,fma"), avx2);
    // One of two is not enough, and a name that only begins alike is another name.
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, "avx2,avx512vnni"), avx2);
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, "avx2,avx512f,avx512vnni2"), avx2);
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, "avx512vnni,avx2,avx512f"), vnni);
    assert_int_equal(
        ceiling_unit_for(&machine, CEILING_INT8, "avx512vnni,avx512f,amx-tile,amx-int8"), tiles);
    assert_int_equal(
        ceiling_unit_for(&machine, CEILING_F32, "avx2,fma,avx512f"),
        find_unit(CEILING_F32, "avx512f"));
#elif defined(__aarch64__)
    assert_int_equal(
        ceiling_unit_for(&machine, CEILING_INT8, "neon,dotprod"),
        find_unit(CEILING_INT8, "neon,dotprod"));
#endif
}

static void test_the_fastest_that_is_there(void **state) {
    (void)state;
#if defined(__x86_64__)
    ceiling machine = everything();
    const size_t tiles = find_unit(CEILING_INT8, "amx-tile,amx-int8");
    const size_t vnni = find_unit(CEILING_INT8, "avx512f,avx512vnni");
    const char *all = "avx2,avx512f,avx512vnni,amx-tile,amx-int8";
    machine.unit_gop_per_s[tiles] = 0.0; // not granted
    assert_int_equal(ceiling_unit_for(&machine, CEILING_INT8, all), vnni);
    machine.unit_gop_per_s[find_unit(CEILING_INT8, "avx2")] = 1e6; // whatever it is called
    assert_int_equal(
        ceiling_unit_for(&machine, CEILING_INT8, all), find_unit(CEILING_INT8, "avx2"));
#else
    skip();
#endif
}

static void test_every_unit_of_this_machine_has_a_rate(void **state) {
    (void)state;
    ceiling machine;
    mlcc_status *status = ceiling_measure(1, &machine);
    assert_null(status);
    assert_true(machine.gb_per_s > 0.0);
    for (size_t i = 0; i < n_ceiling_units; i++) {
        if (mlcc_cpu_missing(ceiling_units[i].features, NULL) > 0) {
            assert_true(machine.unit_gop_per_s[i] == 0.0);
        } else if (strstr(ceiling_units[i].features, "amx") == NULL) {
            assert_true(machine.unit_gop_per_s[i] > 0.0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_no_features),
        cmocka_unit_test(test_takes_what_the_features_allow),
        cmocka_unit_test(test_the_fastest_that_is_there),
        cmocka_unit_test(test_every_unit_of_this_machine_has_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
