// jinja: 42 templates in the manner of the model families render as jinja2 does (tests/oracle/jinja_cases.py), the user's text is marked, and
// what does not end ends with its message.
#include "runtime/text/jinja.h"

#include "tests/unit/runtime/tiny_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define CASES "tests/unit/runtime/jinja_cases.json"

static mlcc_status *render(
    const char *text, const char *variables, const mlcc_jinja_limits *limits,
    mlcc_jinja_output *out) {
    const mlcc_jinja *jinja;
    mlcc_json *json;
    *out = (mlcc_jinja_output){0};
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status = mlcc_jinja_compile(text, strlen(text), "template", keep, &jinja);
    if (status != NULL) {
        mlcc_arena_free(keep);
        return status;
    }
    tiny_require(mlcc_json_parse(variables, strlen(variables), "variables", 0, &json));
    mlcc_jinja_variable list[8];
    size_t n = 0;
    const mlcc_json_value *root = mlcc_json_root(json);
    for (const mlcc_json_iter *it = mlcc_json_first(root); it != NULL;
         it = mlcc_json_next(root, it)) {
        const char *name = mlcc_json_iter_key(it);
        list[n++] = (mlcc_jinja_variable){
            .name = name, .value = mlcc_json_iter_value(it), .is_user = name[0] == 'u'};
    }
    status = mlcc_jinja_render(jinja, list, n, limits, out);
    mlcc_json_free(json);
    mlcc_arena_free(keep);
    return status;
}

// ---- as jinja2 renders -------------------------------------------------------------------------------------------

static size_t run_case(
    const mlcc_jinja *jinja, const mlcc_json_value *root, const mlcc_json_value *run,
    const char *name) {
    mlcc_jinja_variable list[16];
    size_t n = 0;
    const mlcc_json_value *sources[2] = {mlcc_json_get(root, "fixed"), mlcc_json_at(run, 2)};
    for (size_t i = 0; i < 2; i++)
        for (const mlcc_json_iter *it = mlcc_json_first(sources[i]); it != NULL;
             it = mlcc_json_next(sources[i], it))
            list[n++] = (mlcc_jinja_variable){.name = mlcc_json_iter_key(it),
                                              .value = mlcc_json_iter_value(it)};
    const char *conversation = mlcc_json_text(mlcc_json_at(run, 0), NULL);
    list[n++] = (mlcc_jinja_variable){
        .name = "messages",
        .value = mlcc_json_get(mlcc_json_get(root, "conversations"), conversation),
        .is_user = true};
    list[n++] =
        (mlcc_jinja_variable){.name = "add_generation_prompt", .value = mlcc_json_at(run, 3)};
    if (mlcc_json_is_true(mlcc_json_at(run, 1)))
        list[n++] = (mlcc_jinja_variable){
            .name = "tools", .value = mlcc_json_get(root, "tools"), .is_user = true};
    mlcc_jinja_limits limits = {.now_s = mlcc_json_int(mlcc_json_get(root, "now_s"))};
    mlcc_jinja_output out;
    mlcc_status *status = mlcc_jinja_render(jinja, list, n, &limits, &out);
    size_t length = 0;
    const char *expected = mlcc_json_text(mlcc_json_at(run, 4), &length);
    if ((expected == NULL) != (status != NULL))
        fail_msg("%s, %s: %s", name, conversation, mlcc_status_message(status));
    if (expected != NULL && (length != out.length || memcmp(expected, out.text, length) != 0))
        fail_msg("%s, %s:\n%s\nis expected:\n%s", name, conversation, out.text, expected);
    for (size_t i = 0; i < out.n_user_ranges; i++) {
        assert_true(out.user_ranges[i].begin < out.user_ranges[i].end);
        assert_true(out.user_ranges[i].end <= out.length);
        if (i != 0) assert_true(out.user_ranges[i - 1].end < out.user_ranges[i].begin);
    }
    mlcc_status_free(status);
    mlcc_jinja_output_free(&out);
    return expected != NULL;
}

static void test_families(void **state) {
    (void)state;
    mlcc_json *json;
    tiny_require(mlcc_json_read_file(CASES, 0, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    const mlcc_json_value *templates = mlcc_json_get(root, "templates");
    size_t n_rendered = 0;
    assert_true(mlcc_json_count(templates) >= 30);
    for (size_t i = 0; i < mlcc_json_count(templates); i++) {
        const mlcc_json_value *one = mlcc_json_at(templates, i);
        const char *name = mlcc_json_text(mlcc_json_get(one, "name"), NULL);
        size_t length;
        const char *text = mlcc_json_text(mlcc_json_get(one, "template"), &length);
        mlcc_arena *keep = mlcc_arena_create();
        const mlcc_jinja *jinja;
        tiny_require(mlcc_jinja_compile(text, length, name, keep, &jinja));
        const mlcc_json_value *runs = mlcc_json_get(one, "runs");
        size_t n = 0;
        for (size_t k = 0; k < mlcc_json_count(runs); k++)
            n += run_case(jinja, root, mlcc_json_at(runs, k), name);
        assert_true(n >= 1); // a template that always refuses shows nothing
        n_rendered += n;
        mlcc_arena_free(keep);
    }
    assert_true(n_rendered >= 150);
    mlcc_json_free(json);
}

// ---- user text ---------------------------------------------------------------------------------------------------

// Renders with u = {"a": "xY", "list": ["p", "q"]} and shows user text between braces.
static void check_marks(const char *text, const char *expected) {
    mlcc_jinja_output out;
    tiny_require(render(text, "{\"u\": {\"a\": \"xY\", \"list\": [\"p\", \"q\"]}}", NULL, &out));
    char shown[256] = {0};
    size_t at = 0;
    for (size_t i = 0; i <= out.length && at + 3 < sizeof shown; i++) {
        for (size_t k = 0; k < out.n_user_ranges; k++) {
            if (out.user_ranges[k].end == i) shown[at++] = '}';
            if (out.user_ranges[k].begin == i) shown[at++] = '{';
        }
        if (i < out.length) shown[at++] = out.text[i];
    }
    assert_string_equal(shown, expected);
    mlcc_jinja_output_free(&out);
}

static void test_user_text(void **state) {
    (void)state;
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"<s>{{ u.a }}</s>", "<s>{xY}</s>"},
        {"{{ '<s>' + u.a + '</s>' }}", "<s>{xY}</s>"},
        {"{{ ('<s>' ~ u.a ~ '</s>')[2:5] }}", ">{xY}"},
        {"{{ (' ' ~ u.a ~ ' ')|trim }}.{{ u.a|upper }}.{{ ('b' ~ u.a)|lower }}", "{xY}.{XY}.b{xy}"},
        {"{{ 'a-b'.replace('-', u.a) }}.{{ u.a.replace('x', '<>') }}", "a{xY}b.<>{Y}"},
        {"{{ {'k': u.a}|tojson }}", "{\"k\": \"{xY}\"}"},
        {"{{ [u.a] }}", "['{xY}']"},
        {"{{ u.list|join(', ') }}", "{p}, {q}"},
        {"{{ (u.a ~ ',b').split(',')|last }}{{ (u.a ~ ',b').split(',')|first }}", "b{xY}"},
        {"{% set z %}[{{ u.a }}]{% endset %}{{ z }}", "[{xY}]"},
        {"{% macro m(x) %}({{ x }}){% endmacro %}{{ m(u.a) }}", "({xY})"},
        {"{% for k in u %}{{ k }}{% endfor %}", "{alist}"},
        {"{{ '%s!' % u.a }}{{ '{}?'.format(u.a) }}", "{xY}!{xY}?"},
        {"{{ u.a[0] }}{{ u.a[::-1] }}{{ u.a|reverse }}", "{xYxYx}"},
        {"{{ u.a|length }}{{ u.a == 'xY' }}", "2True"},
        {"{{ ('a\n' ~ u.a)|indent(1) }}", "a\n {xY}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_marks(cases[i].text, cases[i].shown);
}

// ---- refusals ----------------------------------------------------------------------------------------------------

static void check_refusal(const char *text, const char *part) {
    mlcc_jinja_output out;
    mlcc_status *status = render(text, "{}", NULL, &out);
    if (status == NULL) fail_msg("%.80s: rendered", text);
    if (strstr(mlcc_status_message(status), part) == NULL)
        fail_msg("%.80s: %s", text, mlcc_status_message(status));
    mlcc_status_free(status);
}

// What templates lean on, though it looks like a mistake.
static void test_lenience(void **state) {
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{{ none|selectattr('a')|list|length }}", "0"},
        {"{{ nope }}{{ nope|length }}{{ nope|items|list }}{{ 'x' in nope }}", "0[]False"},
        {"{% set g = [1, 2]|map('string') %}{{ g|list }}{{ g|list }}", "['1', '2'][]"},
        {"{% for x in nope %}{% else %}empty{% endfor %}", "empty"},
        {"{{ 'abc'[10:] }}{{ [1, 2][5] is defined }}", "False"},
        {"{{ 'x' if false }}", ""},
        {"{{ m.0.1 }}", "7"},
        {"{{ [none, none]|sort }}", "[None, None]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mlcc_jinja_output out;
        tiny_require(render(cases[i].text, "{\"m\": [[5, 7]]}", NULL, &out));
        assert_string_equal(out.text, cases[i].expected);
        mlcc_jinja_output_free(&out);
    }
}

static void test_refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a\n{% if x %}", "line 2: found the end of the template"},
        {"{{ x ", "line 1: a tag does not end"},
        {"{# x", "a comment does not end"},
        {"{% raw %}x", "a raw block does not end"},
        {"{{ 'x }}", "a string does not end"},
        {"\n\n{{ nope.x }}", "line 3: 'nope' is undefined"},
        {"{% include 'x' %}", "tag 'include' is not for chat templates"},
        {"{% frob %}", "unknown tag 'frob'"},
        {"{{ 1|frob }}", "no filter named 'frob'"},
        {"{{ 1 is frob }}", "no test named 'frob'"},
        {"{{ raise_exception('no ' ~ 'tools') }}", "no tools"},
        {"{{ [].append(1) }}", "'append'"},
        {"{{ {}.update({}) }}", "'update'"},
        {"{{ ''.__class__.__mro__ }}", "'__class__'"},
        {"{{ 9223372036854775807 + 1 }}", "64 bits"},
        {"{{ 99999999999999999999 }}", "64 bits"},
        {"{{ 1 // 0 }}", "division by zero"},
        {"{{ 5|map('string')|list }}", "'int' object is not iterable"},
        {"{{ range(1000000) }}", "range()"},
        {"{% break %}", "outside of a loop"},
        {"{{ (1 }}", "a bracket closes"},
        {"{% set x.y = 1 %}", "non-namespace"},
        {"{% for a, b in [1] %}{% endfor %}", "not iterable"},
        {"{{ 'a' < 1 }}", "not supported between instances"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refusal(cases[i].text, cases[i].part);
}

static void test_limits(void **state) {
    (void)state;
    static const char doubling[] = "{% set n = namespace(x='ab') %}{% for i in range(90) %}{% set "
                                   "n.x = n.x + n.x %}{% endfor %}";
    check_refusal("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nested deeper");
    check_refusal("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nested deeper");
    check_refusal(doubling, "makes values of more than");
    check_refusal("{{ 'x' * 9000000000 }}", "limit");
    check_refusal("{{ ('x' * 1000000) * 40 }}", "writes more than");
    check_refusal(
        "{% for a in range(99999) %}{% for b in range(99999) %}{% if a == b %}{% endif %}"
        "{% endfor %}{% endfor %}",
        "limit");
    check_refusal(
        "{% set n = namespace(x=[]) %}{% for i in range(2000) %}{% set n.x = [n.x] %}{% endfor %}"
        "{{ n.x }}",
        "nested deeper");
    mlcc_jinja_limits limits = {.max_steps = 1000};
    mlcc_jinja_output out;
    mlcc_status *status =
        render("{% for a in range(999) %}{{ a }}{% endfor %}", "{}", &limits, &out);
    assert_non_null(strstr(mlcc_status_message(status), "takes more than 1000 steps"));
    mlcc_status_free(status);
    char *deep = malloc(20001);
    memset(deep, '(', 20000);
    memcpy(deep, "{{", 2);
    deep[20000] = '\0';
    check_refusal(deep, "brackets");
    for (size_t i = 2; i < 20000; i += 2) memcpy(deep + i, "-x", 2);
    for (size_t i = 2; i < 20000; i++) deep[i] = '-';
    check_refusal(deep, "a tag does not end");
    free(deep);
    const mlcc_jinja *jinja;
    mlcc_arena *keep = mlcc_arena_create();
    char *large = calloc(1, MLCC_JINJA_MAX_TEMPLATE_BYTES + 1);
    memset(large, 'x', MLCC_JINJA_MAX_TEMPLATE_BYTES + 1);
    status = mlcc_jinja_compile(large, MLCC_JINJA_MAX_TEMPLATE_BYTES + 1, "template", keep, &jinja);
    assert_non_null(strstr(mlcc_status_message(status), "bytes, at most"));
    mlcc_status_free(status);
    free(large);
    mlcc_arena_free(keep);
}

int main(void) {
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families), cmocka_unit_test(test_user_text),
        cmocka_unit_test(test_lenience), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
