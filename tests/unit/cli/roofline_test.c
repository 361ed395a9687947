// The drawing of a roofline: every point and roof is in it, inside of the plot, and texts cannot break the document.
#include "dist/cli/run/roofline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) n++;
    return n;
}

static const roofline_roof roofs[] = {{"float32", 100.0}, {"int8 <fast>", 900.0}};

static void test_everything_is_drawn(void **state) {
    (void)state;
    const roofline_point decode[] = {
        {"mlp & more", 3.5, 80.0, 0.7}, {"attention", 2.0, 0.004, 0.3}};
    const roofline_point prefill[] = {{"mlp", 5e4, 890.0, 1.0}};
    const roofline_series series[] = {{"decode", decode, 2}, {"prefill", prefill, 1}};
    const roofline drawing = {"a \"title\"", 25.0, roofs, 2, series, 2};
    mlcc_str out = {0};
    roofline_svg(&drawing, &out);
    const char *svg = mlcc_str_text(&out);
    assert_int_equal(strncmp(svg, "<svg ", 5), 0);
    assert_string_equal(svg + out.length - strlen("</svg>\n"), "</svg>\n");
    assert_int_equal(count(svg, "<circle "), 3);
    assert_non_null(strstr(svg, "1  mlp &amp; more, 70 %"));
    assert_non_null(strstr(svg, "3  mlp, 100 %"));
    assert_non_null(strstr(svg, "int8 &lt;fast&gt;: 900"));
    assert_non_null(strstr(svg, "memory read: 25.0 GB/s"));
    assert_null(strstr(svg, "nan"));
    // Inside of the plot, whatever the decades.
    for (const char *at = strstr(svg, "<circle "); at != NULL; at = strstr(at + 1, "<circle ")) {
        double x, y;
        assert_int_equal(sscanf(at, "<circle cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
        assert_true(x >= 80.0 && x <= 660.0 && y >= 50.0 && y <= 500.0);
    }
    mlcc_str_free(&out);
}

// Without points there is still a machine to show.
static void test_no_points(void **state) {
    (void)state;
    const roofline drawing = {"empty", 1e3, roofs, 1, NULL, 0};
    mlcc_str out = {0};
    roofline_svg(&drawing, &out);
    const char *svg = mlcc_str_text(&out);
    assert_int_equal(count(svg, "<circle "), 0);
    assert_non_null(strstr(svg, "float32: 100"));
    assert_null(strstr(svg, "inf"));
    mlcc_str_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_is_drawn),
        cmocka_unit_test(test_no_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
