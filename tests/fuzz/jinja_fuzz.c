// jinja: any bytes are a template, rendered over a fixed conversation. It is either refused with a message or writes text whose user ranges are
// in order and inside the text; small limits keep every input short.
#include "runtime/text/jinja.h"
#include "runtime/text/unicode.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char conversation[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"be <s> brief\"}, {\"role\": \"user\", "
    "\"content\": \" caf\\u00e9 \\ud83e\\udd17\\n\"}, {\"role\": \"assistant\", \"content\": null, "
    "\"tool_calls\": [{\"id\": \"abc\", \"function\": {\"name\": \"f\", \"arguments\": {\"x\": 1, "
    "\"y\": [1.5, null, true]}}}]}, {\"role\": \"tool\", \"content\": \"{}\"}], \"tools\": "
    "[{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": {\"x\": {\"type\": "
    "\"integer\"}}}}}], \"bos_token\": \"<s>\", \"add_generation_prompt\": true}";

static void expect_message(mlcc_status *status) {
    if (mlcc_status_message(status)[0] == '\0') abort();
    if (mlcc_status_code(status) == MLCC_INTERNAL) abort();
    mlcc_status_free(status);
}

static void check(const mlcc_jinja_output *out) {
    if (!mlcc_utf8_is_valid(out->text, out->length)) abort();
    size_t at = 0;
    for (size_t i = 0; i < out->n_user_ranges; i++) {
        if (out->user_ranges[i].begin < at) abort();
        if (out->user_ranges[i].end <= out->user_ranges[i].begin) abort();
        at = out->user_ranges[i].end;
    }
    if (at > out->length) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mlcc_json *json; // read once, freed by the end of the process
    if (json == NULL &&
        mlcc_json_parse(conversation, sizeof conversation - 1, "conversation", 0, &json) != NULL)
        abort();
    const mlcc_jinja *jinja;
    mlcc_arena *keep = mlcc_arena_create();
    mlcc_status *status =
        mlcc_jinja_compile(size == 0 ? "" : (const char *)data, size, "input", keep, &jinja);
    if (status != NULL) {
        expect_message(status);
        mlcc_arena_free(keep);
        return 0;
    }
    static const char *const names[] = {"messages", "tools", "bos_token", "add_generation_prompt"};
    mlcc_jinja_variable variables[4];
    for (size_t i = 0; i < 4; i++)
        variables[i] = (mlcc_jinja_variable){.name = names[i],
                                             .value = mlcc_json_get(mlcc_json_root(json), names[i]),
                                             .is_user = i < 2};
    mlcc_jinja_limits limits = {
        .max_steps = 20000, .max_value_bytes = 4 << 20, .max_output_bytes = 1 << 18, .now_s = 1};
    mlcc_jinja_output out;
    status = mlcc_jinja_render(jinja, variables, 4, &limits, &out);
    if (status != NULL) {
        expect_message(status);
    } else {
        check(&out);
    }
    mlcc_jinja_output_free(&out);
    mlcc_arena_free(keep);
    return 0;
}
