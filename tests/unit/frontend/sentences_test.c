// What sentence-transformers' files say, in their old and new form, and what is refused.
#include "frontend/hf/sentences.h"
#include "runtime/base/file.h"
#include "tests/support/test_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODULE(path, type) \
    "{\"path\": \"" path "\", \"type\": \"sentence_transformers.models." type "\"}"
#define TRANSFORMER MODULE("", "Transformer")
#define POOLING     MODULE("1_Pooling", "Pooling")

static void must(mlcc_status *status) {
    if (status == NULL) return;
    char *text = mlcc_status_format(status, 1);
    mlcc_status_free(status);
    fail_msg("%s", text);
}

// NULL: no such file.
static mlcc_status *read_files(
    const char *modules, const char *pooling, const char *length, hf_sentences *out) {
    mlcc_arena *keep = mlcc_arena_create();
    char *folder = test_folder_make(keep);
    const struct {
        const char *name, *text;
    } files[] = {
        {"modules.json", modules},
        {"1_Pooling/config.json", pooling},
        {"sentence_bert_config.json", length},
    };
    must(mlcc_dir_make(mlcc_path_join(keep, folder, "1_Pooling")));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (files[i].text != NULL)
            must(mlcc_file_write_atomic(
                mlcc_path_join(keep, folder, files[i].name), files[i].text, strlen(files[i].text)));
    mlcc_status *status = hf_sentences_read(folder, keep, out);
    must(mlcc_dir_remove_tree(folder));
    mlcc_arena_free(keep);
    return status;
}

static void expect(
    const char *modules, const char *pooling, const char *length, const char *mode, bool normalizes,
    int64_t max_tokens) {
    hf_sentences found;
    must(read_files(modules, pooling, length, &found));
    assert_string_equal(found.pooling, mode);
    assert_int_equal(found.normalizes, normalizes);
    assert_int_equal(found.max_tokens, max_tokens);
}

static void refuse(
    const char *modules, const char *pooling, const char *length, mlcc_code code,
    const char *part) {
    hf_sentences found;
    mlcc_status *status = read_files(modules, pooling, length, &found);
    assert_non_null(status);
    char *text = mlcc_status_format(status, 0);
    if (mlcc_status_code(status) != code || strstr(text, part) == NULL)
        fail_msg("expected '%s' in: %s", part, text);
    free(text);
    mlcc_status_free(status);
}

static void accepted(void **state) {
    (void)state;
    expect(NULL, NULL, NULL, "cls", true, 0);
    expect(NULL, NULL, "{\"max_seq_length\": 256}", "cls", true, 256);
    expect(NULL, NULL, "{\"max_seq_length\": null}", "cls", true, 0);
    expect(
        "[" TRANSFORMER ", " POOLING "]",
        "{\"pooling_mode_cls_token\": false, \"pooling_mode_mean_tokens\": true}", NULL, "mean",
        false, 0);
    expect(
        "[" TRANSFORMER ", " POOLING ", " MODULE("2_Normalize", "Normalize") "]",
        "{\"pooling_mode_lasttoken\": true}", NULL, "last", true, 0);
    expect(
        "[" TRANSFORMER ", " POOLING "]", "{\"pooling_mode\": \"weightedmean\"}", NULL,
        "weighted_mean", false, 0);
}

static void refused(void **state) {
    (void)state;
    static const char chain[] = "[" TRANSFORMER ", " POOLING "]";
    refuse(
        "[" TRANSFORMER ", " POOLING ", " MODULE("2_Dense", "Dense") "]",
        "{\"pooling_mode_cls_token\": true}", NULL, MLCC_UNSUPPORTED, "Dense");
    refuse(chain, "{}", NULL, MLCC_UNSUPPORTED, "0 ways");
    refuse(
        chain, "{\"pooling_mode_cls_token\": true, \"pooling_mode_max_tokens\": true}", NULL,
        MLCC_UNSUPPORTED, "2 ways");
    refuse(chain, "{\"pooling_mode\": \"sum\"}", NULL, MLCC_UNSUPPORTED, "sum");
    refuse(chain, NULL, NULL, MLCC_INVALID, "1_Pooling/config.json");
    refuse("[" TRANSFORMER "]", NULL, NULL, MLCC_UNSUPPORTED, "no module pools");
    refuse("{}", NULL, NULL, MLCC_INVALID, "an array");
    refuse("[" MODULE("../x", "Pooling") "]", NULL, NULL, MLCC_INVALID, "'../x'");
    refuse(NULL, NULL, "{\"max_seq_length\": -3}", MLCC_INVALID, "max_seq_length");
    refuse(NULL, NULL, "{\"max_seq_length\": \"x\"}", MLCC_INVALID, "max_seq_length");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(accepted), cmocka_unit_test(refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
