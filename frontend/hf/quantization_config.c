// Dialects: AutoAWQ and its legacy file, GPTQ (AutoGPTQ, GPTQModel, with old and new keys), compressed-tensors (llm-compressor, LLMC) and Hugging
// Face's fp8. One function per family; a table says who is who.
#include "frontend/hf/quantization_config.h"

#include "frontend/hf/name_pattern.h"
#include "runtime/base/file.h"
#include "runtime/base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)4 << 20)
enum { MAX_NESTED_LISTS = 4, MAX_IGNORED = 1 << 16 };

// One object being read.
typedef struct quantization_reader {
    const char *what; // "DIR/config.json, quantization_config", for messages
    const mlcc_json_value *object;
    mlcc_arena *keep;
    hf_quantization_config *out;
    size_t capacity; // of out->ignored
} quantization_reader;

// ---- values ------------------------------------------------------------------------------------------------

static mlcc_status *wrong_value(
    const quantization_reader *r, const char *key, const mlcc_json_value *value,
    const char *expected) {
    mlcc_str text = {0};
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, &text, 0, true);
    mlcc_json_put_value(&writer, value);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s: key '%s' is %.80s; expected %s", r->what, key, mlcc_str_text(&text),
        expected);
    mlcc_str_free(&text);
    return status;
}

static bool is_null(const mlcc_json_value *value) {
    return mlcc_json_kind_of(value) == MLCC_JSON_NULL;
}

// The first of two keys that is given; *key names it.
static const mlcc_json_value *find(
    const mlcc_json_value *object, const char *first, const char *second, const char **key) {
    *key = first;
    const mlcc_json_value *value = mlcc_json_get(object, first);
    if (!is_null(value) || second == NULL) return value;
    const mlcc_json_value *other = mlcc_json_get(object, second);
    if (!is_null(other)) *key = second;
    return other;
}

// `accepted`: bit b stands for the number b.
static mlcc_status *read_bits(
    const quantization_reader *r, const mlcc_json_value *object, const char *first,
    const char *second, uint32_t accepted, int32_t *out) {
    const char *key = NULL;
    const mlcc_json_value *value = find(object, first, second, &key);
    if (is_null(value)) return NULL;
    int64_t bits = mlcc_json_int(value);
    if (mlcc_json_kind_of(value) == MLCC_JSON_INT && bits > 0 && bits < 32 &&
        (accepted >> bits & 1u) != 0) {
        *out = (int32_t)bits;
        return NULL;
    }
    mlcc_str list = {0};
    for (int b = 0; b < 32; b++)
        if ((accepted >> b & 1u) != 0)
            mlcc_str_printf(&list, "%s%d", list.length > 0 ? ", " : "", b);
    mlcc_status *status = wrong_value(r, key, value, mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

static mlcc_status *read_group_size(
    const quantization_reader *r, const mlcc_json_value *object, const char *first,
    const char *second, int64_t *out) {
    const char *key = NULL;
    const mlcc_json_value *value = find(object, first, second, &key);
    if (is_null(value)) return NULL;
    int64_t group = mlcc_json_int(value);
    if (mlcc_json_kind_of(value) != MLCC_JSON_INT || (group != -1 && group < 1) ||
        group > INT32_MAX)
        return wrong_value(r, key, value, "an integer from 1, or -1 for the whole row");
    *out = group;
    return NULL;
}

static mlcc_status *read_bool(
    const quantization_reader *r, const mlcc_json_value *object, const char *key, bool *out) {
    const mlcc_json_value *value = mlcc_json_get(object, key);
    if (is_null(value)) return NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_BOOL)
        return wrong_value(r, key, value, "true or false");
    *out = mlcc_json_is_true(value);
    return NULL;
}

// In lower case with '-' as '_' when `joins_words`; *out stays as it is where neither key is given.
static mlcc_status *read_word(
    const quantization_reader *r, const mlcc_json_value *object, const char *first,
    const char *second, bool joins_words, const char **out) {
    const char *key = NULL;
    const mlcc_json_value *value = find(object, first, second, &key);
    if (is_null(value)) return NULL;
    const char *text = mlcc_json_text(value, NULL);
    if (text == NULL) return wrong_value(r, key, value, "a text");
    char *word = mlcc_arena_strdup(r->keep, text);
    for (char *at = word; *at != 0; at++)
        *at = joins_words && *at == '-' ? '_' : (char)tolower((unsigned char)*at);
    *out = word;
    return NULL;
}

// [rows, columns] of a block, each from 1.
static mlcc_status *read_block(
    const quantization_reader *r, const mlcc_json_value *object, const char *key) {
    const mlcc_json_value *value = mlcc_json_get(object, key);
    if (is_null(value)) return NULL;
    int64_t rows = mlcc_json_int(mlcc_json_at(value, 0)),
            columns = mlcc_json_int(mlcc_json_at(value, 1));
    if (mlcc_json_kind_of(value) != MLCC_JSON_ARRAY || mlcc_json_count(value) != 2 || rows < 1 ||
        columns < 1 || rows > INT32_MAX || columns > INT32_MAX)
        return wrong_value(r, key, value, "two integers [rows, columns] from 1");
    r->out->block_rows = r->out->hints.block_rows = rows;
    r->out->block_columns = r->out->hints.block_columns = columns;
    return NULL;
}

// ---- modules that stay in float -----------------------------------------------------------------------------

static mlcc_status *add_ignored(quantization_reader *r, const char *name) {
    hf_quantization_config *out = r->out;
    if (out->n_ignored == MAX_IGNORED)
        return MLCC_ERROR(
            INVALID, "%s: more than %d modules are listed as not quantized", r->what, MAX_IGNORED);
    MLCC_ARENA_GROW(r->keep, out->ignored, out->n_ignored, r->capacity);
    out->ignored[out->n_ignored++] = name;
    return NULL;
}

// A list of names; lists inside it count as if their entries stood in it (LLMC writes [["lm_head"]]).
static mlcc_status *read_names(
    quantization_reader *r, const char *key, const mlcc_json_value *value, int depth) {
    if (is_null(value)) return NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_ARRAY || depth > MAX_NESTED_LISTS)
        return wrong_value(r, key, value, "a list of module names");
    for (size_t i = 0; i < mlcc_json_count(value); i++) {
        const mlcc_json_value *entry = mlcc_json_at(value, i);
        const char *name = mlcc_json_text(entry, NULL);
        if (name != NULL && name[0] != 0)
            MLCC_TRY(add_ignored(r, mlcc_arena_strdup(r->keep, name)));
        else
            MLCC_TRY(read_names(r, key, entry, depth + 1));
    }
    return NULL;
}

static mlcc_status *read_ignored(quantization_reader *r, const char *key) {
    return read_names(r, key, mlcc_json_get(r->object, key), 0);
}

// ---- awq ---------------------------------------------------------------------------------------------------

typedef struct format_word {
    const char *word, *format;
} format_word;

// `text` must be one of the words (NULL-terminated table).
static mlcc_status *choose_format(
    const quantization_reader *r, const char *text, const format_word *words) {
    mlcc_str list = {0};
    for (const format_word *word = words; word->word != NULL; word++) {
        if (strcmp(word->word, text) == 0) {
            r->out->format = word->format;
            mlcc_str_free(&list);
            return NULL;
        }
        mlcc_str_printf(&list, "%s%s", word == words ? "" : ", ", word->word);
    }
    mlcc_status *status = MLCC_ERROR(
        UNSUPPORTED, "%s: the %s format '%.60s' is not supported; accepted are %s", r->what,
        r->out->method, text, mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

// exllama and ipex name kernels that read the gemm layout; llm-awq's own tools pack as gemv_fast.
static const format_word awq_formats[] = {
    {"gemm", "gemm"},          {"gemv", "gemv"},    {"gemv_fast", "gemv_fast"},
    {"marlin", "marlin"},      {"exllama", "gemm"}, {"exllamav2", "gemm"},
    {"exllama_v2", "gemm"},    {"ipex", "gemm"},    {"llm_awq", "gemv_fast"},
    {"gemvfast", "gemv_fast"}, {NULL, NULL},
};

static mlcc_status *read_awq(quantization_reader *r) {
    hf_quantization_config *out = r->out;
    const char *version = "gemm", *backend = "";
    bool has_zeros = true;
    out->is_substring_list = true;
    out->hints = (quant_foreign_hints){.bits = 4, .group_size = 128};
    MLCC_TRY(read_bits(r, r->object, "bits", "w_bit", 1u << 4, &out->hints.bits));
    MLCC_TRY(read_group_size(r, r->object, "group_size", "q_group_size", &out->hints.group_size));
    MLCC_TRY(read_bool(r, r->object, "zero_point", &has_zeros));
    MLCC_TRY(read_word(r, r->object, "checkpoint_format", NULL, true, &version));
    MLCC_TRY(read_word(r, r->object, "version", "format", true, &version));
    MLCC_TRY(read_word(r, r->object, "backend", NULL, true, &backend));
    if (strcmp(backend, "llm_awq") == 0) version = backend;
    MLCC_TRY(choose_format(r, version, awq_formats));
    out->hints.is_symmetric = !has_zeros;
    // Both AutoAWQ and LLMC write this word and nothing that tells them apart.
    out->hints.is_llmc_gemv = strcmp(out->format, "gemv") == 0;
    return read_ignored(r, "modules_to_not_convert");
}

// ---- gptq --------------------------------------------------------------------------------------------------

static const format_word gptq_formats[] = {
    {"gptq", "gptq"}, {"gptq_v2", "gptq_v2"}, {"marlin", "marlin"}, {NULL, NULL}};

// GPTQModel's rules per module: "-:PATTERN" is left in float, "+:PATTERN" has bits and groups of its own.
static mlcc_status *read_dynamic(quantization_reader *r) {
    const mlcc_json_value *rules = mlcc_json_get(r->object, "dynamic");
    if (is_null(rules) || mlcc_json_kind_of(rules) == MLCC_JSON_BOOL) return NULL;
    if (mlcc_json_kind_of(rules) != MLCC_JSON_OBJECT)
        return wrong_value(r, "dynamic", rules, "an object of rules");
    for (const mlcc_json_iter *it = mlcc_json_first(rules); it != NULL;
         it = mlcc_json_next(rules, it)) {
        const char *key = mlcc_json_iter_key(it);
        if (mlcc_text_starts_with(key, "-:")) {
            MLCC_TRY(add_ignored(r, mlcc_arena_printf(r->keep, "re:%s", key + 2)));
            continue;
        }
        r->out->hints.bits = 0; // not the same everywhere: shapes tell
        r->out->hints.group_size = 0;
    }
    return NULL;
}

static mlcc_status *read_gptq(quantization_reader *r) {
    hf_quantization_config *out = r->out;
    const uint32_t accepted = 1u << 2 | 1u << 3 | 1u << 4 | 1u << 8;
    const char *format = "gptq";
    bool is_marlin = out->format != NULL && strcmp(out->format, "marlin") == 0;
    out->hints = (quant_foreign_hints){.is_symmetric = true};
    MLCC_TRY(read_bits(r, r->object, "bits", "w_bit", accepted, &out->hints.bits));
    MLCC_TRY(read_group_size(r, r->object, "group_size", "q_group_size", &out->hints.group_size));
    MLCC_TRY(read_bool(r, r->object, "sym", &out->hints.is_symmetric));
    MLCC_TRY(read_bool(r, r->object, "is_marlin_format", &is_marlin));
    MLCC_TRY(read_word(r, r->object, "format", "checkpoint_format", true, &format));
    MLCC_TRY(choose_format(r, is_marlin ? "marlin" : format, gptq_formats));
    MLCC_TRY(read_dynamic(r));
    return read_ignored(r, "modules_to_not_convert");
}

// ---- compressed-tensors --------------------------------------------------------------------------------------

static const format_word compressed_formats[] = {
    {"pack-quantized", "pack-quantized"},
    {"int-quantized", "int-quantized"},
    {"float-quantized", "float-quantized"},
    {"naive-quantized", "naive-quantized"},
    {NULL, NULL}};

static mlcc_status *read_strategy(
    const quantization_reader *r, const mlcc_json_value *weights, int64_t *group_size) {
    const char *strategy = NULL;
    MLCC_TRY(read_word(r, weights, "strategy", NULL, false, &strategy));
    MLCC_TRY(read_group_size(r, weights, "group_size", NULL, group_size));
    if (strategy == NULL) {
        if (*group_size == 0) *group_size = -1;
    } else if (strcmp(strategy, "group") == 0) {
        if (*group_size < 1)
            return MLCC_ERROR(
                INVALID, "%s: strategy 'group' without a group_size; expected an integer from 1",
                r->what);
    } else if (strcmp(strategy, "block") == 0) {
        MLCC_TRY(read_block(r, weights, "block_structure"));
        if (r->out->block_rows == 0)
            return MLCC_ERROR(
                INVALID, "%s: strategy 'block' without a block_structure; expected [rows, columns]",
                r->what);
    } else if (strcmp(strategy, "tensor") == 0 || strcmp(strategy, "channel") == 0) {
        *group_size = -1;
    } else {
        return MLCC_ERROR(
            UNSUPPORTED,
            "%s: weights have strategy '%.40s'; accepted are tensor, channel, group and block",
            r->what, strategy);
    }
    return NULL;
}

static mlcc_status *read_compressed_weights(
    const quantization_reader *r, const mlcc_json_value *weights, quant_foreign_hints *out) {
    const char *type = "int";
    out->is_symmetric = true;
    MLCC_TRY(read_word(r, weights, "type", NULL, false, &type));
    bool is_float = strcmp(type, "float") == 0;
    if (!is_float && strcmp(type, "int") != 0)
        return MLCC_ERROR(
            UNSUPPORTED, "%s: weights have type '%.40s'; accepted are int and float", r->what,
            type);
    MLCC_TRY(read_bits(
        r, weights, "num_bits", NULL, is_float ? 1u << 8 : 1u << 4 | 1u << 8, &out->bits));
    MLCC_TRY(read_bool(r, weights, "symmetric", &out->is_symmetric));
    return read_strategy(r, weights, &out->group_size);
}

// Several groups may differ: then shapes tell.
static mlcc_status *read_groups(const quantization_reader *r, const mlcc_json_value *groups) {
    hf_quantization_config *out = r->out;
    bool is_first = true;
    for (const mlcc_json_iter *it = mlcc_json_first(groups); it != NULL;
         it = mlcc_json_next(groups, it)) {
        const mlcc_json_value *group = mlcc_json_iter_value(it), *weights = NULL, *inputs = NULL;
        if (mlcc_json_kind_of(group) != MLCC_JSON_OBJECT)
            return wrong_value(r, mlcc_json_iter_key(it), group, "an object with weights");
        MLCC_TRY_NOTE(
            mlcc_json_get_object(group, "weights", false, &weights), "reading %s", r->what);
        MLCC_TRY_NOTE(
            mlcc_json_get_object(group, "input_activations", false, &inputs), "reading %s",
            r->what);
        if (inputs != NULL &&
            mlcc_json_kind_of(mlcc_json_get(inputs, "dynamic")) != MLCC_JSON_STRING &&
            !mlcc_json_is_true(mlcc_json_get(inputs, "dynamic")))
            out->has_static_activations = true;
        if (weights == NULL) continue;
        quant_foreign_hints hints = {0};
        MLCC_TRY_NOTE(
            read_compressed_weights(r, weights, &hints), "reading the group '%.80s'",
            mlcc_json_iter_key(it));
        hints.block_rows = out->block_rows;
        hints.block_columns = out->block_columns;
        if (is_first) out->hints = hints;
        if (hints.bits != out->hints.bits) out->hints.bits = 0;
        if (hints.group_size != out->hints.group_size) out->hints.group_size = 0;
        out->hints.is_symmetric = out->hints.is_symmetric && hints.is_symmetric;
        is_first = false;
    }
    return NULL;
}

static mlcc_status *check_sparsity(const quantization_reader *r) {
    const char *format = "dense";
    const mlcc_json_value *sparsity = mlcc_json_get(r->object, "sparsity_config");
    if (is_null(sparsity)) return NULL;
    MLCC_TRY(read_word(r, sparsity, "format", NULL, false, &format));
    if (strcmp(format, "dense") == 0) return NULL;
    return MLCC_ERROR(
        UNSUPPORTED,
        "%s: sparsity_config has format '%.40s'; accepted is dense (save the model uncompressed)",
        r->what, format);
}

static mlcc_status *read_compressed_tensors(quantization_reader *r) {
    const mlcc_json_value *groups = NULL;
    const char *format = NULL;
    MLCC_TRY(check_sparsity(r));
    MLCC_TRY(read_word(r, r->object, "format", NULL, false, &format));
    // "mixed-precision": every group has a format of its own, and tensors tell them apart.
    if (format != NULL && strcmp(format, "mixed-precision") != 0)
        MLCC_TRY(choose_format(r, format, compressed_formats));
    MLCC_TRY_NOTE(
        mlcc_json_get_object(r->object, "config_groups", false, &groups), "reading %s", r->what);
    if (groups != NULL) MLCC_TRY(read_groups(r, groups));
    return read_ignored(r, "ignore");
}

// ---- fp8 ---------------------------------------------------------------------------------------------------

static mlcc_status *read_fp8(quantization_reader *r) {
    hf_quantization_config *out = r->out;
    const char *scheme = "dynamic", *code = "e4m3";
    out->hints = (quant_foreign_hints){.bits = 8, .is_symmetric = true};
    MLCC_TRY(read_word(r, r->object, "activation_scheme", NULL, false, &scheme));
    out->has_static_activations = strcmp(scheme, "static") == 0;
    if (!out->has_static_activations && strcmp(scheme, "dynamic") != 0)
        return MLCC_ERROR(
            INVALID, "%s: activation_scheme is '%.40s'; expected static or dynamic", r->what,
            scheme);
    MLCC_TRY(read_word(r, r->object, "fmt", "weight_format", false, &code));
    if (strcmp(code, "e4m3") != 0 && strcmp(code, "e5m2") != 0)
        return MLCC_ERROR(
            UNSUPPORTED, "%s: fmt is '%.40s'; accepted are e4m3 and e5m2", r->what, code);
    out->format = mlcc_arena_strdup(r->keep, code);
    MLCC_TRY(read_block(r, r->object, "weight_block_size"));
    MLCC_TRY(read_ignored(r, "ignored_layers"));
    return read_ignored(r, "modules_to_not_convert");
}

// ---- who is who --------------------------------------------------------------------------------------------

static mlcc_status *read_nothing(quantization_reader *r) {
    (void)r;
    return NULL;
}

typedef struct method_row {
    const char *word;   // quant_method, in lower case with '-' as '_'
    const char *method; // as --source-format names it
    const char *format; // known from the word alone; NULL
    mlcc_status *(*read)(quantization_reader *);
} method_row;

static const method_row methods[] = {
    {"awq", "awq", NULL, read_awq},
    {"gptq", "gptq", NULL, read_gptq},
    {"compressed_tensors", "compressed-tensors", NULL, read_compressed_tensors},
    {"fp8", "fp8", NULL, read_fp8},
    {"fbgemm_fp8", "fp8", NULL, read_fp8},
    {"marlin", "gptq", "marlin", read_gptq},
    // Stacks of experts, which are numbers from the first read on (arranged_source.h): nothing that a mode could keep.
    {"mxfp4", NULL, NULL, read_nothing},
};
enum { N_METHODS = sizeof methods / sizeof methods[0] };

// Without a method, keys that only one tool writes.
static const struct {
    const char *key, *word;
} telling_keys[] = {
    {"config_groups", "compressed_tensors"},
    {"w_bit", "awq"},
    {"zero_point", "awq"},
    {"desc_act", "gptq"},
    {"sym", "gptq"},
    {"activation_scheme", "fp8"},
};

static mlcc_status *find_method(
    const quantization_reader *r, const char *default_word, const method_row **out) {
    const char *word = NULL;
    MLCC_TRY(read_word(r, r->object, "quant_method", "method", true, &word));
    for (size_t i = 0; word == NULL && i < sizeof telling_keys / sizeof telling_keys[0]; i++)
        if (!is_null(mlcc_json_get(r->object, telling_keys[i].key))) word = telling_keys[i].word;
    if (word == NULL) word = default_word;
    if (word == NULL)
        return MLCC_ERROR(
            INVALID,
            "%s names no quant_method; expected awq, gptq, compressed-tensors, fp8 or mxfp4",
            r->what);
    for (size_t i = 0; i < N_METHODS; i++)
        if (strcmp(methods[i].word, word) == 0) {
            *out = &methods[i];
            return NULL;
        }
    return MLCC_ERROR(
        UNSUPPORTED,
        "%s: quant_method '%.60s' is not supported; accepted are awq, gptq, compressed-tensors, "
        "fp8 and mxfp4",
        r->what, word);
}

static mlcc_status *read_object(quantization_reader *r, const char *default_word) {
    const method_row *row = NULL;
    if (mlcc_json_kind_of(r->object) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(
            INVALID, "%s is %s; expected an object", r->what,
            mlcc_json_kind_text(mlcc_json_kind_of(r->object)));
    MLCC_TRY(find_method(r, default_word, &row));
    r->out->method = row->method;
    r->out->format = row->format;
    return row->read(r);
}

static mlcc_status *read_file(
    const char *path, const char *default_word, mlcc_arena *keep, hf_quantization_config *out) {
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_read_file(path, MAX_FILE_BYTES, &json));
    out->file = path;
    quantization_reader r = {
        .what = path, .object = mlcc_json_root(json), .keep = keep, .out = out};
    mlcc_status *status = read_object(&r, default_word);
    mlcc_json_free(json);
    return status;
}

static mlcc_status *read_any(
    const char *directory, const mlcc_json_value *config, mlcc_arena *keep,
    hf_quantization_config *out) {
    static const char *const keys[] = {"quantization_config", "compression_config"};
    static const struct {
        const char *name, *default_word;
    } files[] = {{"quantize_config.json", "gptq"}, {"quant_config.json", "awq"}};
    const char *path =
        directory != NULL ? mlcc_path_join(keep, directory, "config.json") : "config.json";
    for (size_t i = 0; i < 2; i++) {
        const mlcc_json_value *object = mlcc_json_get(config, keys[i]);
        if (is_null(object)) continue;
        // Early llm-compressor wrapped the object once more.
        const mlcc_json_value *inner = mlcc_json_get(object, "quantization_config");
        out->file = path;
        quantization_reader r = {
            .what = mlcc_arena_printf(keep, "%s, %s", path, keys[i]),
            .object = is_null(inner) ? object : inner,
            .keep = keep,
            .out = out};
        return read_object(&r, NULL);
    }
    for (size_t i = 0; directory != NULL && i < sizeof files / sizeof files[0]; i++) {
        path = mlcc_path_join(keep, directory, files[i].name);
        if (mlcc_file_exists(path)) return read_file(path, files[i].default_word, keep, out);
    }
    return NULL;
}

mlcc_status *hf_quantization_config_read(
    const char *directory, const mlcc_json_value *config, mlcc_arena *keep,
    hf_quantization_config *out) {
    *out = (hf_quantization_config){0};
    mlcc_status *status = read_any(directory, config, keep, out);
    if (status != NULL) *out = (hf_quantization_config){0};
    return status;
}

// ---- ignored modules -----------------------------------------------------------------------------------------

// A name stands for the module, for everything inside it, and for modules that end with it ("lm_head", "mlp.gate").
static bool names_module(const char *entry, const char *module) {
    size_t entry_length = strlen(entry), length = strlen(module);
    if (entry_length > length) return false;
    if (memcmp(module, entry, entry_length) == 0 &&
        (module[entry_length] == '.' || module[entry_length] == 0))
        return true;
    const char *ending = module + (length - entry_length);
    return strcmp(ending, entry) == 0 && ending[-1] == '.';
}

mlcc_status *hf_quantization_config_ignores(
    const hf_quantization_config *config, const char *module, bool *out) {
    *out = false;
    for (size_t i = 0; i < config->n_ignored && !*out; i++) {
        const char *entry = config->ignored[i];
        if (config->is_substring_list)
            *out = strstr(module, entry) != NULL;
        else if (mlcc_text_starts_with(entry, "re:"))
            MLCC_TRY_NOTE(
                hf_name_pattern_matches(entry + 3, module, out),
                "looking for the modules that %s leaves in float", config->file);
        else
            *out = names_module(entry, module);
    }
    return NULL;
}
