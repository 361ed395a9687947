// name_pattern: what the patterns of real configs match, and what is refused by name.
#include "frontend/hf/name_pattern.h"
#include "tests/unit/frontend/fixture.h"

typedef struct pattern_case {
    const char *pattern, *name;
    bool matches;
} pattern_case;

static void test_matches(void **state) {
    (void)state;
    static const pattern_case cases[] = {
        // as llm-compressor and GPTQModel write them
        {".*lm_head", "lm_head", true},
        {".*lm_head", "model.lm_head", true},
        {".*mlp.gate$", "model.layers.3.mlp.gate", true},
        {".*mlp.gate$", "model.layers.3.mlp.gate_proj", false},
        {"visual.*", "visual.blocks.0.attn", true},
        {"visual.*", "model.visual.blocks.0.attn", false},
        {"model\\.layers\\.(0|1|2)\\..*", "model.layers.1.mlp.up_proj", true},
        {"model\\.layers\\.(0|1|2)\\..*", "model.layers.11.mlp.up_proj", false},
        {".*\\.(?:gate|up)_proj.*", "model.layers.12.mlp.up_proj", true},
        {".*\\.(?:gate|up)_proj.*", "model.layers.12.mlp.down_proj", false},
        {"model\\.layers\\.(?:[0-9]|1[0-9])\\.mlp", "model.layers.19.mlp.up_proj", true},
        {"model\\.layers\\.(?:[0-9]|1[0-9])\\.mlp", "model.layers.20.mlp.up_proj", false},
        {".*layers\\.\\d+\\.self_attn\\.[qk]_proj", "model.layers.7.self_attn.k_proj", true},
        // the start is anchored, the end is not
        {"", "anything", true},
        {"abc", "abcdef", true},
        {"bc", "abc", false},
        {"abc$", "abcdef", false},
        {"^abc$", "abc", true},
        {"a^b", "ab", false},
        // quantifiers and alternatives
        {"ab*c", "ac", true},
        {"ab*c", "abbbc", true},
        {"ab+c", "ac", false},
        {"ab+?c", "abbc", true},
        {"ab?c$", "abbc", false},
        {"a(b|c|de)*f$", "abcdef", true},
        {"a(b|c|de)*f$", "abcdf", false},
        {"a||b", "x", true},
        {"(a|b|c)d$", "cd", true},
        {"(a|b|c)d$", "abd", false},
        {"(a*)*b", "aaaab", true},
        {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false},
        // classes
        {"[a-c_]+$", "ab_c", true},
        {"[a-c_]+$", "abd", false},
        {"[^.]+$", "a.b", false},
        {"[^.]+$", "ab", true},
        {"[]]", "]", true},
        {"[a-]+$", "a-a", true},
        {"[\\d.]+$", "1.2", true},
        {"\\w+\\s\\w+", "a_1 b", true},
        {".$", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool matches = !cases[i].matches;
        expect_ok(hf_name_pattern_matches(cases[i].pattern, cases[i].name, &matches));
        if (matches != cases[i].matches)
            fail_msg("'%s' on '%s' gives %d", cases[i].pattern, cases[i].name, matches);
    }
}

static void test_refused(void **state) {
    fixture *self = *state;
    static const char *const cases[][2] = {
        {"(?!.*gate)", "a group of an unknown kind at character 2"},
        {"(?P<x>a)", "a group of an unknown kind"},
        {"a{2}", "a counted repetition at character 2"},
        {"{", "a counted repetition"},
        {"a**", "a repeated quantifier"},
        {"*a", "a quantifier without anything before it at character 1"},
        {"(a", "a group without ')'"},
        {"a)b", "a ')' without '('"},
        {"[a", "a class without ']'"},
        {"[z-a]", "an unknown range"},
        {"\\b", "an unknown escape"},
        {"a\\", "an unknown escape"},
        {"((((((((((((((((((a))))))))))))))))))", "nested groups"},
    };
    bool matches = true;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_error(
            hf_name_pattern_matches(cases[i][0], "a", &matches), MLCC_UNSUPPORTED, cases[i][0],
            cases[i][1], NULL);
        assert_false(matches);
    }
    char *longer = mlcc_arena_alloc(self->keep, 4096);
    memset(longer, 'a', 4095);
    expect_error(
        hf_name_pattern_matches(longer, "a", &matches), MLCC_UNSUPPORTED,
        "more than this program holds", NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(test_matches), TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
