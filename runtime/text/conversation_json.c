// Reads `conv_template`: every field of MLC LLM's schema, with its defaults.
#include "runtime/text/conversation.h"

#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/text/buffer.h"

#include <string.h>

static mlcc_text keep_text(mlcc_arena *keep, const char *data, size_t length) {
    return (mlcc_text){.data = mlcc_bytes_keep(keep, data, length), .length = length};
}

static mlcc_status *wrong_kind(
    const char *key, const mlcc_json_value *value, const char *expected) {
    return MLCC_ERROR(
        INVALID, "key '%s' is %s, %s is expected", key,
        mlcc_json_kind_text(mlcc_json_kind_of(value)), expected);
}

static mlcc_status *to_text(
    mlcc_arena *keep, const char *key, const mlcc_json_value *value, mlcc_text *out) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_STRING) return wrong_kind(key, value, "a string");
    size_t length;
    const char *data = mlcc_json_text(value, &length);
    *out = keep_text(keep, data, length);
    return NULL;
}

// An optional string, which may hold NUL characters.
static mlcc_status *read_text(
    const mlcc_json_value *object, const char *key, const char *fallback, mlcc_arena *keep,
    mlcc_text *out) {
    const mlcc_json_value *value = mlcc_json_get(object, key);
    *out = keep_text(keep, fallback, strlen(fallback));
    return mlcc_json_kind_of(value) == MLCC_JSON_NULL ? NULL : to_text(keep, key, value, out);
}

static mlcc_status *read_ids(
    const mlcc_json_value *object, const char *key, mlcc_arena *keep, const int32_t **out,
    size_t *n_out, bool *is_there) {
    const mlcc_json_value *list = NULL;
    *out = NULL;
    *n_out = 0;
    MLCC_TRY(mlcc_json_get_array(object, key, false, &list));
    if (is_there != NULL) *is_there = list != NULL;
    size_t n = mlcc_json_count(list);
    int32_t *ids = mlcc_arena_alloc_array(keep, n + 1, sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        const mlcc_json_value *item = mlcc_json_at(list, i);
        if (mlcc_json_kind_of(item) != MLCC_JSON_INT) {
            return wrong_kind(mlcc_arena_printf(keep, "%s[%zu]", key, i), item, "an integer id");
        }
        int64_t id = mlcc_json_int(item);
        if (id < 0 || id > INT32_MAX) {
            return MLCC_ERROR(
                INVALID, "key '%s[%zu]' is %lld, token ids from 0 to %d are accepted", key, i,
                (long long)id, INT32_MAX);
        }
        ids[i] = (int32_t)id;
    }
    *out = ids;
    *n_out = n;
    return NULL;
}

static mlcc_status *read_texts(
    const mlcc_json_value *object, const char *key, bool is_required, mlcc_arena *keep,
    const mlcc_text **out, size_t *n_out) {
    const mlcc_json_value *list = NULL;
    MLCC_TRY(mlcc_json_get_array(object, key, is_required, &list));
    size_t n = mlcc_json_count(list);
    mlcc_text *texts = mlcc_arena_alloc_array(keep, n + 1, sizeof *texts);
    for (size_t i = 0; i < n; i++) {
        const char *place = mlcc_arena_printf(keep, "%s[%zu]", key, i);
        MLCC_TRY(to_text(keep, place, mlcc_json_at(list, i), &texts[i]));
    }
    *out = texts;
    *n_out = n;
    return NULL;
}

// ---- roles -------------------------------------------------------------------------------------------------

// What a role's template is without an entry in role_templates.
static mlcc_text default_template(mlcc_arena *keep, const char *role) {
    const char *text = mlcc_arena_printf(keep, "{%s_message}", role);
    return (mlcc_text){.data = text, .length = strlen(text)};
}

static mlcc_status *read_roles(
    const mlcc_json_value *object, mlcc_arena *keep, mlcc_conversation *out) {
    const mlcc_json_value *roles;
    const mlcc_json_value *templates = NULL;
    MLCC_TRY(mlcc_json_get_object(object, "roles", true, &roles));
    MLCC_TRY(mlcc_json_get_object(object, "role_templates", false, &templates));
    size_t n = mlcc_json_count(roles);
    mlcc_chat_role *list = mlcc_arena_alloc_array(keep, n + 1, sizeof *list);
    mlcc_chat_role *role = list;
    bool has_user = false;
    bool has_assistant = false;
    const mlcc_json_iter *it;
    for (it = mlcc_json_first(roles); it != NULL; it = mlcc_json_next(roles, it), role++) {
        role->name = mlcc_arena_strdup(keep, mlcc_json_iter_key(it));
        const char *place = mlcc_arena_printf(keep, "roles.%s", role->name);
        MLCC_TRY(to_text(keep, place, mlcc_json_iter_value(it), &role->start));
        role->template_ = default_template(keep, role->name);
        const mlcc_json_value *own = mlcc_json_get(templates, role->name);
        place = mlcc_arena_printf(keep, "role_templates.%s", role->name);
        if (own != NULL) MLCC_TRY(to_text(keep, place, own, &role->template_));
        has_user = has_user || strcmp(role->name, "user") == 0;
        has_assistant = has_assistant || strcmp(role->name, "assistant") == 0;
    }
    out->roles = list;
    out->n_roles = n;
    if (has_user && has_assistant) return NULL;
    return MLCC_ERROR(
        INVALID, "key 'roles' has no '%s', 'user' and 'assistant' are needed",
        has_user ? "assistant" : "user");
}

// [[role, content or null], …]
static mlcc_status *read_messages(
    const mlcc_json_value *object, mlcc_arena *keep, mlcc_conversation *out) {
    const mlcc_json_value *list = NULL;
    MLCC_TRY(mlcc_json_get_array(object, "messages", false, &list));
    size_t n = mlcc_json_count(list);
    mlcc_chat_message *messages = mlcc_arena_alloc_array(keep, n + 1, sizeof *messages);
    for (size_t i = 0; i < n; i++) {
        const mlcc_json_value *pair = mlcc_json_at(list, i);
        const char *place = mlcc_arena_printf(keep, "messages[%zu]", i);
        mlcc_text role = {0};
        if (mlcc_json_kind_of(pair) != MLCC_JSON_ARRAY || mlcc_json_count(pair) != 2) {
            return wrong_kind(place, pair, "[role, content]");
        }
        MLCC_TRY(to_text(keep, place, mlcc_json_at(pair, 0), &role));
        messages[i].role = role.data;
        if (mlcc_json_kind_of(mlcc_json_at(pair, 1)) == MLCC_JSON_NULL) continue;
        MLCC_TRY(to_text(keep, place, mlcc_json_at(pair, 1), &messages[i].content));
    }
    out->messages = messages;
    out->n_messages = n;
    return NULL;
}

static mlcc_status *read_seps(
    const mlcc_json_value *object, mlcc_arena *keep, mlcc_conversation *out) {
    const mlcc_text *seps;
    size_t n;
    MLCC_TRY(read_texts(object, "seps", true, keep, &seps, &n));
    if (n != 1 && n != 2) {
        return MLCC_ERROR(
            INVALID,
            "key 'seps' has %zu strings, one or two (the second after the assistant's "
            "messages) are accepted",
            n);
    }
    out->seps[0] = seps[0];
    out->seps[1] = seps[n - 1];
    return NULL;
}

// ---- the whole -----------------------------------------------------------------------------------------------

static void report_unknown_keys(const mlcc_json_value *object) {
    static const char *const known[] = {
        "name",
        "system_template",
        "system_message",
        "system_prefix_token_ids",
        "add_role_after_system_message",
        "roles",
        "role_templates",
        "messages",
        "seps",
        "role_content_sep",
        "role_empty_sep",
        "stop_str",
        "stop_token_ids",
        "strip_reasoning_in_history",
        "function_string",
        "use_function_calling",
    };
    const mlcc_json_iter *it;
    for (it = mlcc_json_first(object); it != NULL; it = mlcc_json_next(object, it)) {
        const char *key = mlcc_json_iter_key(it);
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            is_known = is_known || strcmp(key, known[i]) == 0;
        }
        if (!is_known)
            mlcc_log(
                MLCC_LOG_WARN, "text", "conv_template: key '%s' is not known and is ignored", key);
    }
}

mlcc_status *mlcc_conversation_read(
    const mlcc_json_value *conv_template, mlcc_arena *keep, mlcc_conversation *out) {
    *out = (mlcc_conversation){.add_role_after_system_message = true};
    if (mlcc_json_kind_of(conv_template) != MLCC_JSON_OBJECT) {
        return wrong_kind("conv_template", conv_template, "an object");
    }
    report_unknown_keys(conv_template);
    mlcc_text name;
    MLCC_TRY(read_text(conv_template, "name", "", keep, &name));
    if (name.length != 0) out->name = name.data;
    MLCC_TRY(read_text(
        conv_template, "system_template", "{system_message}", keep, &out->system_template));
    MLCC_TRY(read_text(conv_template, "system_message", "", keep, &out->system_message));
    MLCC_TRY(read_ids(
        conv_template, "system_prefix_token_ids", keep, &out->prefix_ids, &out->n_prefix_ids,
        &out->has_prefix_ids));
    MLCC_TRY(mlcc_json_get_bool(
        conv_template, "add_role_after_system_message", false,
        &out->add_role_after_system_message));
    MLCC_TRY(read_roles(conv_template, keep, out));
    MLCC_TRY(read_messages(conv_template, keep, out));
    MLCC_TRY(read_seps(conv_template, keep, out));
    MLCC_TRY(read_text(conv_template, "role_content_sep", "", keep, &out->role_content_sep));
    MLCC_TRY(read_text(conv_template, "role_empty_sep", "", keep, &out->role_empty_sep));
    MLCC_TRY(read_texts(
        conv_template, "stop_str", false, keep, &out->stop_strings, &out->n_stop_strings));
    MLCC_TRY(
        read_ids(conv_template, "stop_token_ids", keep, &out->stop_ids, &out->n_stop_ids, NULL));
    MLCC_TRY(mlcc_json_get_bool(
        conv_template, "strip_reasoning_in_history", false, &out->strip_reasoning_in_history));
    MLCC_TRY(read_text(conv_template, "function_string", "", keep, &out->function_string));
    return mlcc_json_get_bool(
        conv_template, "use_function_calling", false, &out->use_function_calling);
}

mlcc_status *mlcc_conversation_open(
    const char *directory, mlcc_arena *keep, mlcc_conversation *out) {
    const char *path = mlcc_path_join(keep, directory, "mlc-chat-config.json");
    mlcc_json *document;
    *out = (mlcc_conversation){0};
    if (!mlcc_file_exists(path))
        return MLCC_ERROR(
            INVALID,
            "'%s' does not exist, which says how a chat looks: write it with mlcc gen_config",
            path);
    MLCC_TRY(mlcc_json_read_file(path, 0, &document));
    const mlcc_json_value *object = NULL;
    mlcc_status *status =
        mlcc_json_get_object(mlcc_json_root(document), "conv_template", true, &object);
    if (status == NULL) status = mlcc_conversation_read(object, keep, out);
    if (status == NULL)
        status = mlcc_conversation_open_jinja(directory, mlcc_json_root(document), keep, out);
    mlcc_json_free(document);
    return mlcc_status_note(status, "reading the conversation template of '%s'", path);
}
