#include "dist/cli/run/chat_settings.h"

#include "runtime/base/arena.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum setting_kind { REAL, INT32, COUNT, SEED } setting_kind;

typedef struct setting {
    const char *key;
    setting_kind kind;
    size_t offset; // in chat_settings
    double min, max;
    bool is_in_config; // mlc-chat-config.json may give it
} setting;

#define AT(member) offsetof(chat_settings, member)

// clang-format off
static const setting table[] = {
    {"temperature",        REAL,  AT(sampling.temperature),        0,    100,  true},
    {"top_p",              REAL,  AT(sampling.top_p),              0,    1,    true},
    {"top_k",              INT32, AT(sampling.top_k),              0,    1e9,  false},
    {"min_p",              REAL,  AT(sampling.min_p),              0,    1,    false},
    {"repetition_penalty", REAL,  AT(sampling.repetition_penalty), 1e-3, 100,  true},
    {"presence_penalty",   REAL,  AT(sampling.presence_penalty),   -2,   2,    true},
    {"frequency_penalty",  REAL,  AT(sampling.frequency_penalty),  -2,   2,    true},
    {"max_tokens",         COUNT, AT(max_tokens),                  0,    1e9,  false},
    {"seed",               SEED,  AT(sampling.seed),               0,    9e15, false},
};
// clang-format on
enum { N_SETTINGS = sizeof table / sizeof table[0] };

static void store(chat_settings *settings, const setting *row, double value) {
    char *place = (char *)settings + row->offset;
    switch (row->kind) {
    case REAL: *(float *)(void *)place = (float)value; break;
    case INT32: *(int32_t *)(void *)place = (int32_t)value; break;
    case COUNT: *(int64_t *)(void *)place = (int64_t)value; break;
    case SEED: *(uint64_t *)(void *)place = (uint64_t)value; break;
    }
}

static void print_value(const chat_settings *settings, const setting *row, mlcc_str *out) {
    const char *place = (const char *)settings + row->offset;
    switch (row->kind) {
    case REAL: mlcc_str_put_f32(out, *(const float *)(const void *)place); break;
    case INT32: mlcc_str_printf(out, "%d", *(const int32_t *)(const void *)place); break;
    case COUNT:
        mlcc_str_printf(out, "%lld", (long long)*(const int64_t *)(const void *)place);
        break;
    case SEED:
        mlcc_str_printf(out, "%llu", (unsigned long long)*(const uint64_t *)(const void *)place);
        break;
    }
}

static const setting *find(const char *key) {
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (strcmp(table[i].key, key) == 0) return &table[i];
    }
    return NULL;
}

static mlcc_status *unknown_key(const char *key) {
    const char *keys[N_SETTINGS + 1] = {"stop"};
    mlcc_str list = {0};
    mlcc_str_puts(&list, "stop");
    for (size_t i = 0; i < N_SETTINGS; i++) {
        keys[i + 1] = table[i].key;
        mlcc_str_printf(&list, ", %s", table[i].key);
    }
    const char *near = mlcc_text_nearest(key, keys, N_SETTINGS + 1);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "there is no setting '%s'%s%s%s; accepted: %s", key,
        near != NULL ? "; did you mean '" : "", near != NULL ? near : "", near != NULL ? "'?" : "",
        mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

static mlcc_status *set_number(chat_settings *settings, const setting *row, const char *text) {
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    const bool is_whole = row->kind == REAL || value == floor(value);
    if (end == text || *end != '\0' || errno != 0 || !(value >= row->min && value <= row->max) ||
        !is_whole) {
        return MLCC_ERROR(
            INVALID, "setting '%s' is '%s'; accepted: %s from %g to %g", row->key, text,
            row->kind == REAL ? "a number" : "a whole number", row->min, row->max);
    }
    store(settings, row, value);
    return NULL;
}

// "A,B": strings between commas; nothing takes them all away.
static mlcc_status *set_stops(chat_settings *settings, const char *text) {
    char *list = strdup(text);
    if (list == NULL) return MLCC_ERROR(NO_MEMORY, "cannot copy the stop strings");
    size_t n_stops = 0;
    char *rest = list;
    for (char *word; (word = strsep(&rest, ",")) != NULL;) {
        if (*word == '\0') continue;
        if (n_stops == CHAT_SETTINGS_MAX_STOPS) {
            free(list);
            return MLCC_ERROR(
                INVALID, "setting 'stop' holds more than %d strings", CHAT_SETTINGS_MAX_STOPS);
        }
        settings->stops[n_stops++] = (mlcc_text){word, strlen(word)};
    }
    // The old list belongs to whoever has the settings that these were copied from.
    settings->stop_list = list;
    settings->n_stops = n_stops;
    return NULL;
}

static char *trim(char *text) {
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t", text[length - 1]) != NULL) text[--length] = '\0';
    return text;
}

static mlcc_status *set_pair(chat_settings *settings, char *pair) {
    char *value = strchr(pair, '=');
    if (value == NULL) {
        return MLCC_ERROR(
            INVALID, "'%s' is not key=value; example: temperature=0.7;top_p=0.9", pair);
    }
    *value++ = '\0';
    const char *key = trim(pair);
    if (strcmp(key, "stop") == 0) return set_stops(settings, trim(value));
    const setting *row = find(key);
    return row != NULL ? set_number(settings, row, trim(value)) : unknown_key(key);
}

mlcc_status *chat_settings_set(chat_settings *settings, const char *text) {
    char *copy = strdup(text);
    if (copy == NULL) return MLCC_ERROR(NO_MEMORY, "cannot copy the settings");
    chat_settings next = *settings;
    mlcc_status *status = NULL;
    char *rest = copy;
    for (char *pair; status == NULL && (pair = strsep(&rest, ";")) != NULL;) {
        char *before = next.stop_list;
        if (*trim(pair) != '\0') status = set_pair(&next, trim(pair));
        // Given twice: the later one counts.
        if (next.stop_list != before && before != settings->stop_list) free(before);
    }
    free(copy);
    char *unused = status == NULL ? settings->stop_list : next.stop_list;
    if (next.stop_list != settings->stop_list) free(unused);
    if (status == NULL) *settings = next;
    return status;
}

void chat_settings_print(const chat_settings *settings, mlcc_str *out) {
    for (size_t i = 0; i < N_SETTINGS; i++) {
        mlcc_str_printf(out, "  %-18s ", table[i].key);
        print_value(settings, &table[i], out);
        mlcc_str_putc(out, '\n');
    }
    mlcc_str_printf(out, "  %-18s ", "stop");
    for (size_t i = 0; i < settings->n_stops; i++) {
        if (i > 0) mlcc_str_putc(out, ',');
        mlcc_str_append(out, settings->stops[i].data, settings->stops[i].length);
    }
    mlcc_str_putc(out, '\n');
}

static mlcc_status *read_config(const mlcc_json_value *root, chat_settings *settings) {
    for (size_t i = 0; i < N_SETTINGS; i++) {
        if (!table[i].is_in_config) continue;
        double value = NAN;
        MLCC_TRY(mlcc_json_get_f64(root, table[i].key, false, &value));
        if (isnan(value)) continue;
        if (value < table[i].min || value > table[i].max) {
            return MLCC_ERROR(
                INVALID, "key '%s' is %g; accepted: a number from %g to %g", table[i].key, value,
                table[i].min, table[i].max);
        }
        store(settings, &table[i], value);
    }
    return NULL;
}

mlcc_status *chat_settings_read(const char *directory, chat_settings *out) {
    *out = (chat_settings){.sampling = mlcc_sampling_default()};
    out->sampling.temperature = 1.0f;
    mlcc_arena *scratch = mlcc_arena_create();
    const char *path = mlcc_path_join(scratch, directory, "mlc-chat-config.json");
    mlcc_status *status = NULL;
    if (mlcc_file_exists(path)) {
        mlcc_json *json = NULL;
        status = mlcc_json_read_file(path, 16u << 20, &json);
        if (status == NULL) status = read_config(mlcc_json_root(json), out);
        mlcc_json_free(json);
        status = mlcc_status_note(status, "reading %s", path);
    }
    mlcc_arena_free(scratch);
    return status;
}

void chat_settings_free(chat_settings *settings) {
    free(settings->stop_list);
    *settings = (chat_settings){0};
}
