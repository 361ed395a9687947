#include "frontend/chat/conv_templates.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <string.h>

#define IDS(...)        ((int32_t)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)))
#define STOP_IDS(...)   .stop_ids = {__VA_ARGS__}, .n_stop_ids = IDS(__VA_ARGS__)
#define PREFIX_IDS(...) .prefix_ids = {__VA_ARGS__}, .n_prefix_ids = IDS(__VA_ARGS__)

static const conv_template templates[] = {
#define CONV_TEMPLATE(text, ...) {.name = text, __VA_ARGS__},
#include "frontend/chat/conv_templates.def"
};

static const char *const template_names[] = {
#define CONV_TEMPLATE(text, ...) text,
#include "frontend/chat/conv_templates.def"
};

#define N_TEMPLATES (sizeof templates / sizeof templates[0])

const conv_template *conv_template_table(size_t *n_templates) {
    *n_templates = N_TEMPLATES;
    return templates;
}

static mlcc_status *unknown(const char *name) {
    mlcc_str list = {0};
    for (size_t i = 0; i < N_TEMPLATES; i++)
        mlcc_str_printf(&list, "%s%s", i == 0 ? "" : ", ", template_names[i]);
    const char *nearest = mlcc_text_nearest(name, template_names, N_TEMPLATES);
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED, "conversation template '%.80s' is not known%s%s%s; accepted: %s", name,
        nearest != NULL ? ", did you mean '" : "", nearest != NULL ? nearest : "",
        nearest != NULL ? "'" : "", mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

mlcc_status *conv_template_find(const char *name, const conv_template **out) {
    *out = NULL;
    if (strcmp(name, "llama_default") == 0) {
        mlcc_log(
            MLCC_LOG_WARN, "chat", "conversation template 'llama_default' is read as 'llama-2'");
        name = "llama-2";
    }
    for (size_t i = 0; i < N_TEMPLATES; i++)
        if (strcmp(templates[i].name, name) == 0) *out = &templates[i];
    return *out != NULL ? NULL : unknown(name);
}

static const char *text_or(const char *text, const char *fallback) {
    return text != NULL ? text : fallback;
}

static void put_text(mlcc_json_writer *writer, const char *key, const char *text) {
    mlcc_json_key(writer, key);
    mlcc_json_put_text(writer, text_or(text, ""));
}

static void put_bool(mlcc_json_writer *writer, const char *key, bool value) {
    mlcc_json_key(writer, key);
    mlcc_json_put_bool(writer, value);
}

static void put_texts(
    mlcc_json_writer *writer, const char *key, const char *const *texts, size_t n_texts) {
    mlcc_json_key(writer, key);
    mlcc_json_begin_array(writer);
    for (size_t i = 0; i < n_texts && texts[i] != NULL; i++) mlcc_json_put_text(writer, texts[i]);
    mlcc_json_end(writer);
}

static void put_ids(mlcc_json_writer *writer, const char *key, const int32_t *ids, int32_t n_ids) {
    mlcc_json_key(writer, key);
    mlcc_json_begin_array(writer);
    for (int32_t i = 0; i < n_ids; i++) mlcc_json_put_i64(writer, ids[i]);
    mlcc_json_end(writer);
}

static void put_roles(
    mlcc_json_writer *writer, const char *key, const char *const texts[CONV_N_ROLES]) {
    static const char *const role_names[CONV_N_ROLES] = {"user", "assistant", "tool"};
    mlcc_json_key(writer, key);
    mlcc_json_begin_object(writer);
    for (size_t i = 0; i < CONV_N_ROLES; i++)
        if (texts[i] != NULL) put_text(writer, role_names[i], texts[i]);
    mlcc_json_end(writer);
}

void conv_template_write(const conv_template *conv, mlcc_json_writer *writer) {
    const char *role_templates[CONV_N_ROLES] = {
        "{user_message}", "{assistant_message}", "{tool_message}"};
    for (size_t i = 0; i < CONV_N_ROLES; i++)
        role_templates[i] = text_or(conv->role_templates[i], role_templates[i]);
    mlcc_json_begin_object(writer);
    put_text(writer, "name", conv->name);
    put_text(writer, "system_template", text_or(conv->system_template, "{system_message}"));
    put_text(writer, "system_message", conv->system_message);
    if (conv->n_prefix_ids > 0) {
        put_ids(writer, "system_prefix_token_ids", conv->prefix_ids, conv->n_prefix_ids);
    } else {
        mlcc_json_key(writer, "system_prefix_token_ids");
        mlcc_json_put_null(writer);
    }
    put_bool(writer, "add_role_after_system_message", !conv->no_role_after_system_message);
    put_roles(writer, "roles", conv->roles);
    put_roles(writer, "role_templates", role_templates);
    put_texts(writer, "messages", NULL, 0);
    put_texts(writer, "seps", conv->seps, 2);
    put_text(writer, "role_content_sep", conv->role_content_sep);
    put_text(writer, "role_empty_sep", conv->role_empty_sep);
    put_texts(writer, "stop_str", conv->stop_str, CONV_MAX_TEXTS);
    put_ids(writer, "stop_token_ids", conv->stop_ids, conv->n_stop_ids);
    put_bool(writer, "strip_reasoning_in_history", conv->strips_reasoning);
    put_text(writer, "function_string", "");
    put_bool(writer, "use_function_calling", false);
    mlcc_json_end(writer);
}
