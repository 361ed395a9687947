#include "dist/artifact/calibration_data.h"

#include "frontend/chat/conv_templates.h"
#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/text/conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_TOKENS = 4, MAX_PROMPT_TOKENS = 1024, TEXT_PIECE_BYTES = 2048 };

// A part of the file: a JSON value or a piece of text.
typedef struct dataset_entry {
    const char *text;
    size_t length, line; // line: where it begins, from 1
} dataset_entry;

typedef enum drop_reason { NO_TURNS, TOO_SHORT, TOO_LONG, N_DROP_REASONS } drop_reason;

typedef struct reading {
    const calibration_options *options;
    mlcc_arena *keep, *scratch;
    mlcc_mapping file;
    bool is_json;
    dataset_entry *entries;
    size_t n_entries, capacity;
    mlcc_conversation conversation;
    bool has_conversation;
    size_t n_dropped[N_DROP_REASONS];
} reading;

// ---- the file in entries -----------------------------------------------------------------------

static void add_entry(reading *r, const char *text, const char *end, size_t line) {
    MLCC_ARENA_GROW(r->scratch, r->entries, r->n_entries, r->capacity);
    r->entries[r->n_entries++] = (dataset_entry){text, (size_t)(end - text), line};
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Steps over white space and counts the lines.
static const char *skip_space(const char *at, const char *end, size_t *line) {
    for (; at < end && is_space(*at); at++) *line += *at == '\n';
    return at;
}

// The end of a JSON value that begins here: where a comma or a bracket belongs to what is around it.
// Whether it is a value at all is the parser's business.
static const char *skip_value(const char *at, const char *end, size_t *line) {
    size_t level = 0;
    bool in_string = false;
    for (; at < end; at++) {
        *line += *at == '\n';
        if (in_string) {
            if (*at == '\\' && at + 1 < end) {
                at++;
            } else if (*at == '"') {
                in_string = false;
            }
        } else if (*at == '"') {
            in_string = true;
        } else if (*at == '[' || *at == '{') {
            level++;
        } else if (*at == ']' || *at == '}') {
            if (level == 0) break;
            level--;
        } else if (*at == ',' && level == 0) {
            break;
        }
    }
    return at < end ? at : end;
}

static mlcc_status *parse_entry(const reading *r, size_t index, mlcc_json **out) {
    const dataset_entry *entry = &r->entries[index];
    char what[512];
    snprintf(
        what, sizeof what, "dataset '%.400s', entry %zu (from line %zu)", r->options->path, index,
        entry->line);
    return mlcc_json_parse(entry->text, entry->length, what, 0, out);
}

// All of a JSON dataset must be valid, also what is not drawn: a broken file is found at once and
// not by luck.
static mlcc_status *check_entries(reading *r) {
    if (!r->is_json) return NULL;
    for (size_t i = 0; i < r->n_entries; i++) {
        mlcc_json *json = NULL;
        MLCC_TRY(parse_entry(r, i, &json));
        mlcc_json_free(json);
    }
    return NULL;
}

static mlcc_status *split_list(reading *r, const char *at, const char *end) {
    const char *path = r->options->path;
    size_t line = 1;
    at = skip_space(at, end, &line) + 1; // behind the bracket
    at = skip_space(at, end, &line);
    bool needs_value = at < end && *at != ']';
    while (needs_value) {
        const size_t first_line = line;
        const char *value = at;
        at = skip_value(at, end, &line);
        const char *value_end = at;
        while (value_end > value && is_space(value_end[-1])) value_end--;
        add_entry(r, value, value_end, first_line);
        needs_value = at < end && *at == ',';
        if (needs_value) at = skip_space(at + 1, end, &line);
    }
    if (at >= end || *at != ']') {
        MLCC_TRY(check_entries(r)); // says more when one of them is the reason
        return MLCC_ERROR(
            INVALID, "dataset '%s' is no valid JSON: line %zu: the list does not end with ']'",
            path, line);
    }
    at = skip_space(at + 1, end, &line);
    if (at == end) return NULL;
    return MLCC_ERROR(
        INVALID, "dataset '%s' is no valid JSON: line %zu: text after the end of the list", path,
        line);
}

static const char *end_of_line(const char *at, const char *end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline != NULL ? newline : end;
}

static bool is_blank(const char *at, const char *end) {
    while (at < end && is_space(*at)) at++;
    return at == end;
}

static void split_lines(reading *r, const char *at, const char *end) {
    for (size_t line = 1; at < end; line++) {
        const char *line_end = end_of_line(at, end);
        if (!is_blank(at, line_end)) add_entry(r, at, line_end, line);
        at = line_end < end ? line_end + 1 : end;
    }
}

// Cuts a line that is longer than a piece: behind its last space, or in front of a whole character.
static const char *cut_long_line(const char *at) {
    const char *cut = at + TEXT_PIECE_BYTES;
    for (const char *space = cut; space > at; space--) {
        if (is_space(space[-1])) return space;
    }
    while (cut > at + 1 && ((unsigned char)*cut & 0xc0) == 0x80) cut--;
    return cut;
}

static void split_text(reading *r, const char *at, const char *end) {
    const char *begin = NULL; // of the piece that is being collected
    const char *piece_end = NULL;
    size_t line = 1, first_line = 1;
    while (at < end) {
        const char *line_end = end_of_line(at, end);
        const bool is_end = is_blank(at, line_end);
        const bool is_full = begin != NULL && line_end - begin > TEXT_PIECE_BYTES;
        if (begin != NULL && (is_end || is_full)) {
            add_entry(r, begin, piece_end, first_line);
            begin = NULL;
        }
        if (!is_end) {
            if (begin == NULL) first_line = line;
            if (begin == NULL) begin = at;
            if (line_end - at > TEXT_PIECE_BYTES) {
                at = piece_end = cut_long_line(at);
                continue; // the rest of the line follows
            }
            piece_end = line_end;
        }
        at = line_end < end ? line_end + 1 : end;
        line++;
    }
    if (begin != NULL) add_entry(r, begin, piece_end, first_line);
}

static bool ends_with_any(const char *path, const char *const *endings, size_t n_endings) {
    for (size_t i = 0; i < n_endings; i++) {
        if (mlcc_text_ends_with(path, endings[i])) return true;
    }
    return false;
}

static mlcc_status *split_file(reading *r) {
    static const char *const text_endings[] = {".txt", ".text", ".md"};
    static const char *const json_endings[] = {".json", ".jsonl", ".ndjson"};
    const char *path = r->options->path;
    const char *at = r->file.data, *end = at + r->file.size_bytes;
    if (r->file.size_bytes >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) at += 3; // byte order mark
    if (at == NULL || is_blank(at, end)) return MLCC_ERROR(INVALID, "dataset '%s' is empty", path);
    size_t unused = 0;
    const char first = *skip_space(at, end, &unused);
    const bool is_text = ends_with_any(path, text_endings, 3);
    r->is_json = !is_text && (first == '[' || first == '{');
    if (!is_text && !r->is_json && ends_with_any(path, json_endings, 3)) {
        return MLCC_ERROR(
            INVALID,
            "dataset '%s' is no JSON: it begins with '%c'; expected a list [ … ] or one object a "
            "line (text datasets have names that end in .txt)",
            path, first >= ' ' && first < 127 ? first : '?');
    }
    const char *nul = memchr(at, '\0', (size_t)(end - at));
    if (!r->is_json && nul != NULL) {
        return MLCC_ERROR(
            INVALID, "dataset '%s' is neither JSON nor text: byte %zu is NUL", path,
            (size_t)(nul - (const char *)r->file.data));
    }
    if (r->is_json && first == '[') return split_list(r, at, end);
    (r->is_json ? split_lines : split_text)(r, at, end);
    return NULL;
}

// ---- one entry ---------------------------------------------------------------------------------

static const char *text_of(const mlcc_json_value *object, const char *key, mlcc_text *out) {
    out->data = mlcc_json_text(mlcc_json_get(object, key), &out->length);
    return out->data;
}

static bool is_system(const mlcc_json_value *turn) {
    mlcc_text role;
    return (text_of(turn, "from", &role) || text_of(turn, "role", &role)) &&
           role.length == strlen("system") && memcmp(role.data, "system", role.length) == 0;
}

// The first two turns of a conversation.
static bool find_turns(const mlcc_json_value *entry, mlcc_text turns[2]) {
    const mlcc_json_value *list = mlcc_json_get(entry, "conversations");
    if (list == NULL) list = mlcc_json_get(entry, "messages");
    size_t first = 0;
    while (first < mlcc_json_count(list) && is_system(mlcc_json_at(list, first))) first++;
    for (size_t i = 0; i < 2; i++) {
        const mlcc_json_value *turn = mlcc_json_at(list, first + i);
        if (!text_of(turn, "value", &turns[i]) && !text_of(turn, "content", &turns[i]))
            return false;
    }
    return true;
}

// Token ids in `keep`.
static mlcc_status *encode(
    const reading *r, mlcc_text text, bool add_special, const int32_t **ids, size_t *n_ids) {
    int32_t *encoded = NULL;
    MLCC_TRY(mlcc_tokenizer_encode(
        r->options->tokenizer, text.data, text.length, add_special, &encoded, n_ids));
    *ids = mlcc_arena_memdup(r->keep, encoded, *n_ids * sizeof **ids);
    free(encoded);
    return NULL;
}

// What the model sees before the answer.
static mlcc_status *encode_prompt(
    const reading *r, mlcc_text prompt, const int32_t **ids, size_t *n_ids) {
    if (!r->has_conversation) return encode(r, prompt, true, ids, n_ids);
    const mlcc_chat_message message = {.role = "user", .content = prompt};
    int32_t *encoded = NULL;
    MLCC_TRY(mlcc_conversation_encode(
        &r->conversation, r->options->tokenizer, (mlcc_text){0}, &message, 1, &encoded, n_ids));
    *ids = mlcc_arena_memdup(r->keep, encoded, *n_ids * sizeof **ids);
    free(encoded);
    return NULL;
}

// A sample of a conversation; *reason says why there is none (sample->ids stays NULL).
static mlcc_status *take_turns(
    const reading *r, const mlcc_text turns[2], calibration_sample *sample, drop_reason *reason) {
    const int32_t *prompt = NULL, *answer = NULL, *start = NULL;
    size_t n_prompt = 0, n_answer = 0, n_start = 0;
    const size_t max_tokens = (size_t)r->options->max_tokens;
    MLCC_TRY(encode(r, turns[0], false, &prompt, &n_prompt));
    MLCC_TRY(encode(r, turns[1], false, &answer, &n_answer));
    *reason = TOO_SHORT;
    if (n_prompt < MIN_TOKENS || n_answer < MIN_TOKENS) return NULL;
    *reason = TOO_LONG;
    if (n_prompt > MAX_PROMPT_TOKENS || n_prompt + n_answer > max_tokens) return NULL;
    MLCC_TRY(encode_prompt(r, turns[0], &start, &n_start));
    if (n_start + n_answer > max_tokens) return NULL;
    int32_t *ids = MLCC_NEW_ARRAY(r->keep, int32_t, n_start + n_answer);
    memcpy(ids, start, n_start * sizeof *ids);
    memcpy(ids + n_start, answer, n_answer * sizeof *ids);
    sample->ids = ids;
    sample->n_ids = (int64_t)(n_start + n_answer);
    return NULL;
}

static mlcc_status *take_text(
    const reading *r, mlcc_text text, calibration_sample *sample, drop_reason *reason) {
    const int32_t *ids = NULL;
    size_t n_ids = 0;
    MLCC_TRY(encode(r, text, true, &ids, &n_ids));
    *reason = TOO_SHORT;
    if (n_ids < MIN_TOKENS) return NULL;
    sample->ids = ids;
    sample->n_ids = (int64_t)n_ids;
    if (sample->n_ids > r->options->max_tokens) sample->n_ids = r->options->max_tokens;
    return NULL;
}

static mlcc_status *take_entry(
    const reading *r, size_t index, calibration_sample *sample, drop_reason *reason) {
    *sample = (calibration_sample){.entry = index};
    const dataset_entry *entry = &r->entries[index];
    mlcc_text text = {entry->text, entry->length}, turns[2];
    if (!r->is_json) return take_text(r, text, sample, reason);
    mlcc_json *json = NULL;
    MLCC_TRY(parse_entry(r, index, &json));
    const mlcc_json_value *root = mlcc_json_root(json);
    mlcc_status *status = NULL;
    *reason = NO_TURNS;
    if (find_turns(root, turns)) {
        status = take_turns(r, turns, sample, reason);
    } else {
        text.data = mlcc_json_text(root, &text.length);
        if (text.data != NULL || text_of(root, "text", &text))
            status = take_text(r, text, sample, reason);
    }
    mlcc_json_free(json);
    return mlcc_status_note(status, "tokenizing entry %zu (from line %zu)", index, entry->line);
}

// ---- drawing -----------------------------------------------------------------------------------

static uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// floor(random * limit / 2^64): the high half of the product, from 32-bit pieces.
static uint64_t scale_random(uint64_t random, uint64_t limit) {
    const uint64_t low = (random & 0xffffffffu) * (limit & 0xffffffffu);
    const uint64_t a = (random >> 32) * (limit & 0xffffffffu);
    const uint64_t b = (random & 0xffffffffu) * (limit >> 32);
    const uint64_t middle = (low >> 32) + (a & 0xffffffffu) + (b & 0xffffffffu);
    return (random >> 32) * (limit >> 32) + (a >> 32) + (b >> 32) + (middle >> 32);
}

static mlcc_status *no_usable_entry(const reading *r) {
    return MLCC_ERROR(
        INVALID,
        "dataset '%s' has no usable entry among %zu: %zu without text or two turns, %zu with fewer "
        "than %d tokens, %zu too long (prompts above %d tokens or more than %lld in all); expected "
        "\"conversations\" of two turns as in ShareGPT, \"messages\", \"text\", or plain text",
        r->options->path, r->n_entries, r->n_dropped[NO_TURNS], r->n_dropped[TOO_SHORT], MIN_TOKENS,
        r->n_dropped[TOO_LONG], MAX_PROMPT_TOKENS, (long long)r->options->max_tokens);
}

static mlcc_status *draw(reading *r, calibration_data *out) {
    const size_t n = r->n_entries;
    uint64_t state = r->options->seed;
    size_t *order = MLCC_NEW_ARRAY(r->scratch, size_t, n + 1);
    for (size_t i = 0; i < n; i++) order[i] = i;
    size_t limit = (uint64_t)r->options->n_samples < n ? (size_t)r->options->n_samples : n;
    out->samples = MLCC_NEW_ARRAY(r->keep, calibration_sample, limit + 1);
    out->n_entries = n;
    for (size_t i = 0; i < n && out->n_samples < limit; i++) {
        const size_t j = i + (size_t)scale_random(next_random(&state), n - i);
        const size_t entry = order[j];
        order[j] = order[i];
        order[i] = entry;
        calibration_sample *sample = &out->samples[out->n_samples];
        drop_reason reason = NO_TURNS;
        MLCC_TRY(take_entry(r, entry, sample, &reason));
        if (sample->ids == NULL) {
            r->n_dropped[reason]++;
            continue;
        }
        out->n_samples++;
        out->n_tokens += sample->n_ids;
    }
    return out->n_samples > 0 ? NULL : no_usable_entry(r);
}

// ---- reading -----------------------------------------------------------------------------------

// The model's own template, or MLC LLM's; a configuration without one means plain prompts.
static mlcc_status *read_own_template(reading *r) {
    const char *path = mlcc_path_join(r->scratch, r->options->directory, "mlc-chat-config.json");
    if (!mlcc_file_exists(path)) return NULL;
    mlcc_json *config = NULL;
    MLCC_TRY(mlcc_json_read_file(path, 0, &config));
    const mlcc_json_value *root = mlcc_json_root(config);
    const mlcc_json_value *value = mlcc_json_get(root, "conv_template");
    mlcc_status *status = NULL;
    r->has_conversation = mlcc_json_kind_of(value) == MLCC_JSON_OBJECT;
    if (r->has_conversation) status = mlcc_conversation_read(value, r->keep, &r->conversation);
    if (status == NULL && r->has_conversation) {
        status =
            mlcc_conversation_open_jinja(r->options->directory, root, r->keep, &r->conversation);
    }
    mlcc_json_free(config);
    return mlcc_status_note(status, "reading %s", path);
}

static mlcc_status *read_named_template(reading *r, const char *name) {
    const conv_template *conv;
    MLCC_TRY(conv_template_find(name, &conv));
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    conv_template_write(conv, &writer);
    mlcc_json *json = NULL;
    mlcc_status *status = mlcc_json_parse(text.data, text.length, name, 0, &json);
    if (status == NULL) {
        r->has_conversation = true;
        status = mlcc_conversation_read(mlcc_json_root(json), r->keep, &r->conversation);
        mlcc_json_free(json);
    }
    mlcc_str_free(&text);
    return status;
}

static mlcc_status *read_template(reading *r) {
    const char *name = r->options->conv_template;
    bool is_own = name == NULL || strcmp(name, "auto") == 0;
    return is_own ? read_own_template(r) : read_named_template(r, name);
}

static mlcc_status *read_all(reading *r, calibration_data *out) {
    if (mlcc_dir_exists(r->options->path))
        return MLCC_ERROR(
            INVALID, "dataset '%s' is a directory; expected a file", r->options->path);
    MLCC_TRY(mlcc_file_map(r->options->path, &r->file));
    MLCC_TRY(read_template(r));
    MLCC_TRY(split_file(r));
    MLCC_TRY(check_entries(r));
    return draw(r, out);
}

mlcc_status *calibration_data_read(
    const calibration_options *options, mlcc_arena *keep, calibration_data *out) {
    *out = (calibration_data){0};
    reading r = {.options = options, .keep = keep, .scratch = mlcc_arena_create()};
    mlcc_status *status = read_all(&r, out);
    mlcc_file_unmap(&r.file);
    mlcc_arena_free(r.scratch);
    if (status == NULL && (int64_t)out->n_samples < options->n_samples) {
        mlcc_log(
            MLCC_LOG_WARN, "calibrate", "dataset '%s' has %zu usable entries, %lld were asked for",
            options->path, out->n_samples, (long long)options->n_samples);
    }
    return mlcc_status_note(status, "reading the calibration texts");
}
