// The post_processor of tokenizer.json: templates of fixed ids around the text.
#include "runtime/text/tokenizer_json.h"

#include <inttypes.h>
#include <string.h>

static mlcc_template *new_template(const mlcc_tokenizer_reader *reader) {
    mlcc_post_processor *list = &reader->tokenizer->post_processor;
    MLCC_ARENA_GROW(reader->arena, list->steps, list->n_steps, list->capacity);
    mlcc_template *step = &list->steps[list->n_steps++];
    *step = (mlcc_template){0};
    return step;
}

static mlcc_template_part *new_part(const mlcc_tokenizer_reader *reader, mlcc_template *template) {
    MLCC_ARENA_GROW(reader->arena, template->parts, template->n_parts, template->capacity);
    mlcc_template_part *part = &template->parts[template->n_parts++];
    *part = (mlcc_template_part){0};
    return part;
}

static void add_text(const mlcc_tokenizer_reader *reader, mlcc_template *template) {
    new_part(reader, template)->is_text = true;
}

static mlcc_status *read_id(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    int32_t *out) {
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT) {
        return MLCC_ERROR(
            INVALID, "'%s': %s is %s, an integer id is expected", reader->file, place,
            mlcc_json_kind_text(mlcc_json_kind_of(value)));
    }
    int64_t id = mlcc_json_int(value);
    if (id < 0 || id >= mlcc_tokenizer_vocab(reader->tokenizer)) {
        return MLCC_ERROR(
            INVALID, "'%s': %s is %" PRId64 ", but the tokenizer's ids are 0 to %" PRId64,
            reader->file, place, id, mlcc_tokenizer_vocab(reader->tokenizer) - 1);
    }
    *out = (int32_t)id;
    return NULL;
}

// ---- TemplateProcessing --------------------------------------------------------------------------------------

// The ids that special_tokens gives for a name.
static mlcc_status *read_special(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *specials, const char *place,
    const char *name, mlcc_template_part *part) {
    const mlcc_json_value *special = mlcc_json_get(specials, name);
    if (special == NULL) {
        return MLCC_ERROR(
            INVALID, "'%s': %s.single uses '%s', which is not in special_tokens", reader->file,
            place, name);
    }
    const mlcc_json_value *ids;
    MLCC_TRY(mlcc_json_get_array(special, "ids", true, &ids));
    part->n_ids = mlcc_json_count(ids);
    int32_t *items = mlcc_arena_alloc_array(reader->arena, part->n_ids + 1, sizeof *items);
    for (size_t i = 0; i < part->n_ids; i++) {
        const char *inner =
            mlcc_arena_printf(reader->arena, "%s.special_tokens['%s'].ids[%zu]", place, name, i);
        MLCC_TRY(read_id(reader, mlcc_json_at(ids, i), inner, &items[i]));
    }
    part->ids = items;
    return NULL;
}

// {"SpecialToken": {"id": NAME}} or {"Sequence": {"id": "A"}}.
static mlcc_status *read_piece(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *piece,
    const mlcc_json_value *specials, const char *place, mlcc_template *template) {
    const mlcc_json_value *special = mlcc_json_get(piece, "SpecialToken");
    const mlcc_json_value *sequence = mlcc_json_get(piece, "Sequence");
    if ((special == NULL) == (sequence == NULL)) {
        return MLCC_ERROR(
            INVALID, "'%s': %s.single holds a piece that is neither 'SpecialToken' nor 'Sequence'",
            reader->file, place);
    }
    const char *id;
    MLCC_TRY(mlcc_json_get_text(special != NULL ? special : sequence, "id", true, &id));
    if (special != NULL)
        return read_special(reader, specials, place, id, new_part(reader, template));
    if (strcmp(id, "A") != 0) {
        return MLCC_ERROR(
            INVALID, "'%s': %s.single uses the sequence '%s', a single text is 'A'", reader->file,
            place, id);
    }
    add_text(reader, template);
    return NULL;
}

static mlcc_status *read_template(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    const mlcc_json_value *single;
    const mlcc_json_value *specials = NULL;
    MLCC_TRY(mlcc_json_get_array(value, "single", true, &single));
    MLCC_TRY(mlcc_json_get_object(value, "special_tokens", true, &specials));
    mlcc_template *template = new_template(reader);
    for (size_t i = 0; i < mlcc_json_count(single); i++) {
        MLCC_TRY(read_piece(reader, mlcc_json_at(single, i), specials, place, template));
    }
    return NULL;
}

// ---- RobertaProcessing, BertProcessing -----------------------------------------------------------------------------

// ["<s>", 0]
static mlcc_status *read_named_id(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place,
    const char *key, mlcc_template_part *part) {
    const mlcc_json_value *pair;
    MLCC_TRY(mlcc_json_get_array(value, key, true, &pair));
    int32_t *id = mlcc_arena_alloc(reader->arena, sizeof *id);
    const char *inner = mlcc_arena_printf(reader->arena, "%s.%s[1]", place, key);
    MLCC_TRY(read_id(reader, mlcc_json_at(pair, 1), inner, id));
    part->ids = id;
    part->n_ids = 1;
    return NULL;
}

static mlcc_status *read_bert(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    mlcc_template *template = new_template(reader);
    MLCC_TRY(read_named_id(reader, value, place, "cls", new_part(reader, template)));
    add_text(reader, template);
    return read_named_id(reader, value, place, "sep", new_part(reader, template));
}

// ---- the whole -------------------------------------------------------------------------------------------------------

static mlcc_status *read_any(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value, const char *place) {
    const char *type;
    MLCC_TRY(mlcc_json_get_text(value, "type", true, &type));
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(reader, value, place);
    if (strcmp(type, "BertProcessing") == 0) return read_bert(reader, value, place);
    if (strcmp(type, "RobertaProcessing") == 0) return read_bert(reader, value, place);
    if (strcmp(type, "ByteLevel") == 0) return NULL; // changes offsets only
    if (strcmp(type, "Sequence") != 0) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "'%s': %s.type is '%s', accepted are Sequence, TemplateProcessing, ByteLevel, "
            "BertProcessing, RobertaProcessing",
            reader->file, place, type);
    }
    const mlcc_json_value *list;
    MLCC_TRY(mlcc_json_get_array(value, "processors", true, &list));
    for (size_t i = 0; i < mlcc_json_count(list); i++) {
        const char *inner = mlcc_arena_printf(reader->arena, "%s.processors[%zu]", place, i);
        MLCC_TRY(
            mlcc_tokenizer_note(reader, inner, read_any(reader, mlcc_json_at(list, i), inner)));
    }
    return NULL;
}

mlcc_status *mlcc_tokenizer_read_post_processor(
    const mlcc_tokenizer_reader *reader, const mlcc_json_value *value) {
    static const char place[] = "post_processor";
    if (mlcc_json_kind_of(value) == MLCC_JSON_NULL) return NULL;
    return mlcc_tokenizer_note(reader, place, read_any(reader, value, place));
}
