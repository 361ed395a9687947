// fingerprint: everything that counts moves it, nothing else does.
#include "tests/unit/ir/ir_fixture.h"

static const char base_text[] =
    "module @m level=plan\n"
    "symbol n <= 8\n"
    "param @w : f32[4, 4] from \"a\", \"b\" fused \"ab\" layout \"rows\"\n"
    "const @c : f32[4] = [1.0, 2.0, 3.0, 4.0]\n"
    "group @g(%x: f32[n, 4], %w: f32[4, 4]) {\n"
    "    %0 = linear %x, %w : f32[n, 4]\n"
    "    %1 = scale %0 {factor = 2.0} : f32[n, 4]\n"
    "    return %1\n"
    "}\n"
    "group @h(%first: f32[n, 4], %second: f32[4, 4]) {\n"
    "    %0 = linear %first, %second : f32[n, 4]\n"
    "    %1 = scale %0 {factor = 2.0} : f32[n, 4]\n"
    "    return %1\n"
    "}\n"
    "func @f(%x: f32[n, 4]) workspace=256 {\n"
    "    %0 = launch %x, @w {callee = \"g\", kernel = \"k\"} : f32[n, 4] at 0\n"
    "    %1 = launch %0, @w {callee = \"h\", kernel = \"k\"} : f32[n, 4]\n"
    "    return %1\n"
    "}\n";

// The text with the first occurrence of `from` replaced.
static char *replaced(mlcc_arena *keep, const char *from, const char *to) {
    const char *place = strstr(base_text, from);
    assert_non_null(place);
    return mlcc_arena_printf(
        keep, "%.*s%s%s", (int)(place - base_text), base_text, to, place + strlen(from));
}

static bool same_after(const char *from, const char *to) {
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_hash128 before = ir_fingerprint_module(parse_good(keep, base_text));
    mlcc_hash128 after = ir_fingerprint_module(parse_good(keep, replaced(keep, from, to)));
    mlcc_arena_free(keep);
    return mlcc_hash128_equal(before, after) != 0;
}

static void what_counts(void **state) {
    (void)state;
    const char *changes[][2] = {
        {"@m level", "@other level"},
        {"n <= 8", "n <= 7"},
        {"\"a\", \"b\"", "\"b\", \"a\""},
        {"\"a\", \"b\"", "\"a\""},
        {" fused \"ab\"", ""},
        {"\"rows\"", "\"panel16\""},
        {"4.0]", "4.0000005]"},
        {"const @c", "const @d"},
        {"factor = 2.0", "factor = 2.5"},
        {"factor = 2.0", "factor = 1.0"},
        {"scale %0 {factor = 2.0}", "silu %0"},
        {"kernel = \"k\"", "kernel = \"j\""},
        {"workspace=256", "workspace=320"},
        {"at 0", "at 64"},
        {"callee = \"g\"", "callee = \"h\""},
        {"func @f(", "func @e("},
        {"func @f(%x: f32[n, 4]) workspace=256 {\n    %0 = launch %x",
         "func @f(%y: f32[n, 4]) workspace=256 {\n    %0 = launch %y"},
    };
    for (int32_t i = 0; i < COUNT(changes); i++) {
        if (same_after(changes[i][0], changes[i][1]))
            fail_msg("'%s' does not count", changes[i][1]);
    }
}

static void what_does_not_count(void **state) {
    (void)state;
    assert_true(same_after("symbol", "# a comment\n\n   symbol"));
    assert_true(same_after(
        "%0 = linear %x, %w : f32[n, 4]\n    %1 = scale %0",
        "%7 = linear %x, %w : f32[n, 4]\n    %1 = scale %7"));
    // Arguments of groups are private.
    assert_true(same_after(
        "group @g(%x: f32[n, 4], %w: f32[4, 4]) {\n    %0 = linear %x, %w",
        "group @g(%y: f32[n, 4], %z: f32[4, 4]) {\n    %0 = linear %y, %z"));
}

static void equal_groups(void **state) {
    (void)state;
    mlcc_arena *keep = mlcc_arena_create();
    const ir_module *module = parse_good(keep, base_text);
    mlcc_hash128 g = ir_fingerprint_function(ir_module_find(module, "g"));
    mlcc_hash128 h = ir_fingerprint_function(ir_module_find(module, "h"));
    assert_true(mlcc_hash128_equal(g, h));
    ir_attr_set_f64(ir_module_find(module, "h")->last, "factor", 3.0);
    h = ir_fingerprint_function(ir_module_find(module, "h"));
    assert_false(mlcc_hash128_equal(g, h));
    mlcc_arena_free(keep);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_counts),
        cmocka_unit_test(what_does_not_count),
        cmocka_unit_test(equal_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
