// chat_session: what an answer that is stopped before its first token, or that fails, leaves of a conversation.
#include "dist/artifact/compile.h"
#include "dist/artifact/convert_weight.h"
#include "dist/artifact/gen_config.h"
#include "dist/cli/run/chat_session.h"
#include "runtime/text/buffer.h"
#include "tests/unit/artifact/artifact_fixture.h"

typedef struct talk {
    mlcc_model *model;
    chat_session *session;
    chat_settings settings;
    volatile sig_atomic_t interrupted;
    mlcc_bytes heard;
    int64_t n_pieces_left; // then the sink fails; -1 = never
} talk;

static void make_model(const test_folder *f) {
    const char *tiny = "tests/tiny/model", *mode = "q0f32";
    must(artifact_gen_config(
        &(artifact_gen_config_options){
            .config = tiny, .quantization = mode, .conv_template = "LM", .output = f->path},
        f->keep));
    must(artifact_convert_weight(
        &(artifact_convert_options){.config = tiny, .quantization = mode, .output = f->path},
        NULL));
    must(artifact_compile(
        &(artifact_compile_options){.model = f->path,
                                    .output = mlcc_path_join(f->keep, f->path, "lib.so")},
        NULL));
}

static talk open_talk(const test_folder *f) {
    talk t = {.n_pieces_left = -1};
    make_model(f);
    const mlcc_model_options options = {.directory = f->path, .n_threads = 1};
    must(mlcc_model_open(&options, &t.model));
    must(chat_settings_read(f->path, &t.settings));
    must(chat_settings_set(&t.settings, "temperature=0;max_tokens=5"));
    must(chat_session_open(f->path, t.model, true, &t.session));
    return t;
}

static void close_talk(talk *t) {
    chat_session_close(t->session);
    mlcc_model_close(t->model);
    chat_settings_free(&t->settings);
    mlcc_bytes_free(&t->heard);
}

static mlcc_status *hear(void *user, const char *text, size_t length) {
    talk *t = user;
    if (t->n_pieces_left == 0) return MLCC_ERROR(IO, "nobody listens");
    if (t->n_pieces_left > 0) t->n_pieces_left--;
    mlcc_bytes_append(&t->heard, text, length);
    return mlcc_bytes_check(&t->heard);
}

// What is saved of the conversation.
static char *said(const talk *t, const test_folder *f) {
    char *path = mlcc_path_join(f->keep, f->path, "said.json"), *text = NULL;
    size_t length = 0;
    must(chat_session_save(t->session, path));
    must(mlcc_file_read(path, 0, &text, &length));
    return text;
}

static void an_answer_that_does_not_come(void **state) {
    const test_folder *f = *state;
    talk t = open_talk(f);
    chat_figures figures;
    must_fail(
        chat_session_regenerate(t.session, &t.settings, &t.interrupted, hear, &t, &figures),
        MLCC_INVALID, "no answer");
    must(chat_session_add(t.session, "user", "Once upon", 9));
    must(chat_session_answer(t.session, &t.settings, &t.interrupted, hear, &t, &figures));
    assert_int_equal(chat_session_n_messages(t.session), 2);
    assert_true(t.heard.length > 0);
    char *before = said(&t, f);

    // Stopped before its first token: the question goes with it, and of /regen the old answer stays.
    t.interrupted = 1;
    must(chat_session_add(t.session, "user", "And", 3));
    must(chat_session_answer(t.session, &t.settings, &t.interrupted, hear, &t, &figures));
    assert_int_equal(figures.end, CHAT_INTERRUPTED);
    char *after = said(&t, f);
    assert_string_equal(after, before);
    free(after);
    must(chat_session_regenerate(t.session, &t.settings, &t.interrupted, hear, &t, &figures));
    assert_int_equal(figures.end, CHAT_INTERRUPTED);
    after = said(&t, f);
    assert_string_equal(after, before);
    free(after);

    // One that fails in the middle.
    t.interrupted = 0;
    t.n_pieces_left = 1;
    must_fail(
        chat_session_regenerate(t.session, &t.settings, &t.interrupted, hear, &t, &figures),
        MLCC_IO, "nobody listens");
    after = said(&t, f);
    assert_string_equal(after, before);
    free(after);

    // One that comes takes its place: with temperature 0 by the same words.
    t.n_pieces_left = -1;
    must(chat_session_regenerate(t.session, &t.settings, &t.interrupted, hear, &t, &figures));
    after = said(&t, f);
    assert_string_equal(after, before);
    free(after);
    must(chat_settings_set(&t.settings, "max_tokens=2"));
    must(chat_session_regenerate(t.session, &t.settings, &t.interrupted, hear, &t, &figures));
    after = said(&t, f);
    assert_int_equal(figures.n_new_tokens, 2);
    assert_string_not_equal(after, before);
    assert_int_equal(chat_session_n_messages(t.session), 2);
    free(after);
    free(before);
    close_talk(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        an_answer_that_does_not_come, test_folder_set_up, test_folder_tear_down)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
