// Calibration texts: every form of a dataset, what is dropped, how samples are drawn, and what is
// wrong with broken files.
#include "dist/artifact/calibration_data.h"

#include "tests/unit/artifact/artifact_fixture.h"

typedef struct fixture {
    mlcc_arena *keep;
    const char *dir; // no model directory: prompts stay plain
    mlcc_tokenizer *tokenizer;
    calibration_options options;
} fixture;

static fixture make_fixture(void) {
    fixture f = {.keep = mlcc_arena_create()};
    f.dir = test_folder_make(f.keep);
    must(mlcc_tokenizer_open("tests/tiny/model", &f.tokenizer));
    f.options = (calibration_options){
        .directory = f.dir, .tokenizer = f.tokenizer, .n_samples = 1000, .max_tokens = 2048};
    return f;
}

static void end_fixture(fixture *f) {
    mlcc_tokenizer_close(f->tokenizer);
    must(mlcc_dir_remove_tree(f->dir));
    mlcc_arena_free(f->keep);
}

static mlcc_status *read_named(
    fixture *f, const char *name, const char *text, calibration_data *out) {
    write_text(f->dir, name, text);
    f->options.path = mlcc_path_join(f->keep, f->dir, name);
    return calibration_data_read(&f->options, f->keep, out);
}

static const char *text_of(const fixture *f, const calibration_sample *sample) {
    char *text = NULL;
    size_t length = 0;
    must(mlcc_tokenizer_decode(
        f->tokenizer, sample->ids, (size_t)sample->n_ids, true, &text, &length));
    const char *kept = mlcc_arena_strdup(f->keep, text);
    free(text);
    return kept;
}

// The sample that was made from dataset entry `entry`.
static const calibration_sample *sample_of(const calibration_data *data, size_t entry) {
    for (size_t i = 0; i < data->n_samples; i++) {
        if (data->samples[i].entry == entry) return &data->samples[i];
    }
    fail_msg("entry %zu was dropped", entry);
    return NULL;
}

#define PROMPT "Once upon a time there was a boy"
#define ANSWER "One day the boy went to the garden"

static void list_of_conversations(void **state) {
    (void)state;
    fixture f = make_fixture();
    calibration_data data;
    // clang-format off
    must(read_named(&f, "a.json",
        " [\n"
        "{\"id\": \"x, ]\", \"conversations\": [{\"from\": \"human\", \"value\": \"" PROMPT "\"}, "
        "{\"from\": \"gpt\", \"value\": \"" ANSWER "\"}, {\"value\": \"more [ \\\" {\"}]},\n"
        "{\"conversations\": [{\"value\": \"" PROMPT "\"}]},\n"                        // one turn
        "{\"conversations\": [{\"value\": \"a\"}, {\"value\": \"" ANSWER "\"}]},\n"    // short
        "{\"conversations\": [{\"value\": \"" PROMPT "\"}, {\"value\": \"b\"}]},\n"    // short
        "{\"conversations\": []}, {}, 17, null, [\"" PROMPT "\"],\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"be good\"}, {\"role\": \"user\", \"content\": \""
        PROMPT "\"}, {\"role\": \"assistant\", \"content\": \"" ANSWER "\"}]},\n"
        "{\"text\": \"" ANSWER " and then\"}, \"" PROMPT " again\"\n"
        "]\n", &data));
    // clang-format on
    assert_int_equal(data.n_entries, 12);
    assert_int_equal(data.n_samples, 4);
    const char *both = text_of(&f, sample_of(&data, 0));
    assert_non_null(strstr(both, PROMPT));
    assert_non_null(strstr(both, ANSWER));
    assert_true(strstr(both, ANSWER) > strstr(both, PROMPT));
    assert_null(strstr(both, "more"));
    const char *messages = text_of(&f, sample_of(&data, 9));
    assert_string_equal(messages, both);
    assert_non_null(strstr(text_of(&f, sample_of(&data, 10)), ANSWER " and then"));
    assert_non_null(strstr(text_of(&f, sample_of(&data, 11)), PROMPT " again"));
    int64_t n_tokens = 0;
    for (size_t i = 0; i < data.n_samples; i++) n_tokens += data.samples[i].n_ids;
    assert_int_equal(data.n_tokens, n_tokens);
    end_fixture(&f);
}

static void lines_of_objects(void **state) {
    (void)state;
    fixture f = make_fixture();
    calibration_data data;
    must(read_named(
        &f, "a.jsonl",
        "\xef\xbb\xbf{\"text\": \"" PROMPT
        "\"}\r\n\n   \n{\"conversations\": [{\"value\": \"" PROMPT "\"}, {\"value\": \"" ANSWER
        "\"}]}\n{\"text\": \"" ANSWER "\"}",
        &data));
    assert_int_equal(data.n_entries, 3);
    assert_int_equal(data.n_samples, 3);
    assert_non_null(strstr(text_of(&f, sample_of(&data, 2)), ANSWER));
    // The name does not matter where the content is clear.
    must(read_named(&f, "data", "{\"text\": \"" PROMPT "\"}\n", &data));
    assert_int_equal(data.n_samples, 1);
    end_fixture(&f);
}

static void plain_text(void **state) {
    (void)state;
    fixture f = make_fixture();
    calibration_data data;
    must(read_named(
        &f, "a.txt", "[ " PROMPT "\n" ANSWER "\n\n\n \t\n" ANSWER "\r\n\r\n" PROMPT, &data));
    assert_int_equal(data.n_entries, 3);
    assert_int_equal(data.n_samples, 3);
    assert_non_null(strstr(text_of(&f, sample_of(&data, 0)), PROMPT "\n" ANSWER));
    assert_non_null(strstr(text_of(&f, sample_of(&data, 2)), PROMPT));

    // Long paragraphs come in pieces of at most 2048 bytes that together are the text; one line is
    // cut at spaces, and where there are none not inside a character.
    mlcc_str text = {0};
    for (int i = 0; i < 300; i++) mlcc_str_puts(&text, PROMPT "\n");
    mlcc_str_puts(&text, "\n");
    const size_t first_bytes = text.length;
    for (int i = 0; i < 200; i++) mlcc_str_puts(&text, ANSWER " ");
    mlcc_str_puts(&text, "\n\n");
    for (int i = 0; i < 2000; i++) mlcc_str_puts(&text, "\xe2\x96\x81");
    f.options.max_tokens = 1 << 20;
    must(read_named(&f, "b", text.data, &data));
    assert_in_range(data.n_entries, text.length / 2048, text.length / 1900 + 3);
    assert_true(first_bytes > 4 * 2048);
    assert_int_equal(data.n_samples, data.n_entries);
    for (size_t i = 0; i < data.n_entries; i++)
        assert_null(strstr(text_of(&f, sample_of(&data, i)), "\xef\xbf\xbd"));
    mlcc_str_free(&text);

    // Cut at max_tokens.
    f.options.max_tokens = 9;
    must(read_named(&f, "c.txt", PROMPT " " ANSWER "\n", &data));
    assert_int_equal(data.samples[0].n_ids, 9);
    end_fixture(&f);
}

static void template_of_the_model(void **state) {
    (void)state;
    fixture f = make_fixture();
    write_text(
        f.dir, "mlc-chat-config.json",
        "{\"conv_template\": {\"name\": \"t\", \"system_template\": \"{system_message}\", "
        "\"system_message\": \"Be kind. \", \"roles\": {\"user\": \"Tom\", \"assistant\": "
        "\"Anna\"}, \"role_templates\": {\"user\": \"{user_message}\", \"assistant\": "
        "\"{assistant_message}\"}, \"messages\": [], \"seps\": [\" \"], \"role_content_sep\": "
        "\": \", \"role_empty_sep\": \": \", \"stop_str\": [], \"stop_token_ids\": []}}");
    calibration_data data;
    must(read_named(
        &f, "a.json",
        "[{\"conversations\": [{\"value\": \"" PROMPT "\"}, {\"value\": \"" ANSWER "\"}]}]",
        &data));
    const char *text = text_of(&f, &data.samples[0]);
    const char *start = strstr(text, "Be kind. Tom: " PROMPT " Anna: ");
    assert_non_null(start);
    assert_non_null(strstr(start, ANSWER));
    write_text(f.dir, "mlc-chat-config.json", "{\"conv_template\": {\"roles\": 3}}");
    must_fail(read_named(&f, "a.txt", PROMPT, &data), MLCC_INVALID, "mlc-chat-config.json");
    // Very old configurations name the template only.
    write_text(f.dir, "mlc-chat-config.json", "{\"conv_template\": \"llama-2\"}");
    must(read_named(&f, "a.txt", PROMPT, &data));
    end_fixture(&f);
}

// The model's own Jinja template before the configuration's, a named one before both.
static void jinja_and_named_templates(void **state) {
    (void)state;
    fixture f = make_fixture();
    static const char entry[] =
        "[{\"conversations\": [{\"value\": \"" PROMPT "\"}, {\"value\": \"" ANSWER "\"}]}]";
    write_text(
        f.dir, "mlc-chat-config.json",
        "{\"chat_template\": \"own.jinja\", \"eos_token_id\": 2, \"conv_template\": {\"name\": "
        "\"t\", \"system_template\": \"{system_message}\", \"system_message\": \"Be kind. \", "
        "\"roles\": {\"user\": \"Tom\", \"assistant\": \"Anna\"}, \"role_templates\": "
        "{\"user\": \"{user_message}\", \"assistant\": \"{assistant_message}\"}, \"messages\": "
        "[], \"seps\": [\" \"], \"role_content_sep\": \": \", \"role_empty_sep\": \": \", "
        "\"stop_str\": [], \"stop_token_ids\": []}}");
    write_text(
        f.dir, "own.jinja",
        "{% for m in messages %}{{ m.role }} says {{ m.content }}{% endfor %} and then ");
    calibration_data data;
    must(read_named(&f, "a.json", entry, &data));
    assert_non_null(strstr(text_of(&f, &data.samples[0]), "user says " PROMPT " and then "));
    assert_null(strstr(text_of(&f, &data.samples[0]), "Be kind."));
    f.options.conv_template = "auto";
    must(read_named(&f, "a.json", entry, &data));
    assert_non_null(strstr(text_of(&f, &data.samples[0]), "user says " PROMPT));
    f.options.conv_template = "chatml";
    must(read_named(&f, "a.json", entry, &data));
    assert_non_null(strstr(text_of(&f, &data.samples[0]), "<|im_start|>user\n" PROMPT));
    f.options.conv_template = "chatmm";
    must_fail(read_named(&f, "a.json", entry, &data), MLCC_UNSUPPORTED, "chatml");
    f.options.conv_template = NULL;
    write_text(f.dir, "own.jinja", "{% for");
    must_fail(read_named(&f, "a.json", entry, &data), MLCC_INVALID, "own.jinja");
    end_fixture(&f);
}

static void limits(void **state) {
    (void)state;
    fixture f = make_fixture();
    calibration_data data;
    mlcc_str prompt = {0}, json = {0};
    // " the" is one token at least, so that this is a prompt above 1024.
    for (int i = 0; i < 1100; i++) mlcc_str_puts(&prompt, " the");
    mlcc_str_printf(
        &json,
        "[{\"conversations\": [{\"value\": \"%s\"}, {\"value\": \"" ANSWER "\"}]}, "
        "{\"conversations\": [{\"value\": \"" PROMPT "\"}, {\"value\": \"%s\"}]}]",
        prompt.data, prompt.data);
    must(read_named(&f, "a.json", json.data, &data));
    assert_int_equal(data.n_samples, 1);
    assert_int_equal(data.samples[0].entry, 1);
    f.options.max_tokens = data.n_tokens;
    must(read_named(&f, "a.json", json.data, &data));
    f.options.max_tokens = data.n_tokens - 1;
    must_fail(
        read_named(&f, "a.json", json.data, &data), MLCC_INVALID,
        "no usable entry among 2: 0 without text or two turns, 0 with fewer than 4 tokens, 2 too "
        "long");
    mlcc_str_free(&prompt);
    mlcc_str_free(&json);
    end_fixture(&f);
}

static void draws(void **state) {
    (void)state;
    enum { N = 50, TAKEN = 10, SEEDS = 400 };
    fixture f = make_fixture();
    mlcc_str text = {0};
    for (int i = 0; i < N; i++) mlcc_str_printf(&text, PROMPT " %d\n\n", i);
    f.options.n_samples = TAKEN;
    size_t counts[N] = {0};
    calibration_data first, second;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        f.options.seed = seed;
        must(read_named(&f, "a.txt", text.data, &first));
        assert_int_equal(first.n_entries, N);
        assert_int_equal(first.n_samples, TAKEN);
        for (size_t i = 0; i < TAKEN; i++) {
            counts[first.samples[i].entry]++;
            for (size_t j = 0; j < i; j++)
                assert_int_not_equal(first.samples[i].entry, first.samples[j].entry);
        }
        must(read_named(&f, "a.txt", text.data, &second));
        for (size_t i = 0; i < TAKEN; i++)
            assert_int_equal(first.samples[i].entry, second.samples[i].entry);
    }
    // Every entry is equally likely: 80 times of 400, deviation 8.
    for (size_t i = 0; i < N; i++) assert_in_range(counts[i], 45, 115);
    // The draw is part of the interface: a new version must calibrate the same.
    static const size_t expected[TAKEN] = {44, 22, 3, 48, 8, 19, 13, 40, 18, 2};
    f.options.seed = 0;
    must(read_named(&f, "a.txt", text.data, &first));
    for (size_t i = 0; i < TAKEN; i++) assert_int_equal(first.samples[i].entry, expected[i]);
    mlcc_str_free(&text);
    end_fixture(&f);
}

static void broken_files(void **state) {
    (void)state;
    fixture f = make_fixture();
    calibration_data data;
    static const struct {
        const char *name, *text, *part;
    } cases[] = {
        {"a.json", "", "is empty"},
        {"a.txt", " \n\t\n", "is empty"},
        {"a.jsonl", "\xef\xbb\xbf", "is empty"},
        {"a.json", "hello there", "is no JSON: it begins with 'h'"},
        {"a.json", "\x89PNG", "is no JSON: it begins with '?'"},
        {"a.json", "[", "does not end with ']'"},
        {"a.json", "[{}", "does not end with ']'"},
        {"a.json", "[{}}", "does not end with ']'"},
        {"a.json", "[\"x", "entry 0"},
        {"a.json", "[{}, \"x\\", "entry 1"},
        {"a.json", "[{}]\n[{}]", "line 2: text after the end of the list"},
        {"a.json", "[]", "no usable entry among 0"},
        {"a.json", "[{}, ]", "entry 1"},
        {"a.json", "[{},\n{\"a\": tru}]", "entry 1 (from line 2)"},
        {"a.json", "[{} {}]", "entry 0"},
        {"a.json", "[{\"a\": \"\xff\"}]", "entry 0"},
        {"a.jsonl", "{\"text\": \"abc\"}\n\n{\"text\"}\n", "entry 1 (from line 3)"},
        {"a.json", "{\n\"conversations\": []\n}", "entry 0 (from line 1)"},
        {"a.json", "[{}, {\"conversations\": 4}, {\"text\": 5}]", "3 without text or two turns"},
        {"a.json", "[{\"conversations\": [{\"value\": 1}, {\"value\": 2}]}]", "1 without text"},
        {"a.txt", "a\n\nb\n", "no usable entry among 2: 0 without text or two turns, 2 with fewer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        must_fail(read_named(&f, cases[i].name, cases[i].text, &data), MLCC_INVALID, cases[i].part);
        assert_int_equal(data.n_samples, 0);
    }
    f.options.path = mlcc_path_join(f.keep, f.dir, "absent.json");
    must_fail(calibration_data_read(&f.options, f.keep, &data), MLCC_INVALID, "absent.json");
    f.options.path = f.dir;
    must_fail(calibration_data_read(&f.options, f.keep, &data), MLCC_INVALID, "is a directory");
    end_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_of_conversations),
        cmocka_unit_test(lines_of_objects),
        cmocka_unit_test(plain_text),
        cmocka_unit_test(template_of_the_model),
        cmocka_unit_test(jinja_and_named_templates),
        cmocka_unit_test(limits),
        cmocka_unit_test(draws),
        cmocka_unit_test(broken_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
