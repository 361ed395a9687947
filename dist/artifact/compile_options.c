#include "dist/artifact/compile_options.h"

#include "runtime/base/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct override_key {
    const char *name;
    size_t offset;   // in hf_config_overrides; SIZE_MAX: a boolean
    bool may_be_off; // -1 is accepted
} override_key;

static const override_key override_keys[] = {
    {"context_window_size", offsetof(hf_config_overrides, context_window_size), false},
    {"sliding_window_size", offsetof(hf_config_overrides, sliding_window_size), true},
    {"prefill_chunk_size", offsetof(hf_config_overrides, prefill_chunk_size), false},
    {"attention_sink_size", offsetof(hf_config_overrides, attention_sink_size), true},
    {"max_batch_size", offsetof(hf_config_overrides, max_batch_size), false},
    {"tensor_parallel_shards", offsetof(hf_config_overrides, tensor_parallel_shards), false},
    {"pipeline_parallel_stages", offsetof(hf_config_overrides, pipeline_parallel_stages), false},
    {"disaggregation", SIZE_MAX, false},
};
enum { N_OVERRIDE_KEYS = sizeof override_keys / sizeof override_keys[0] };

static const char *const knobs[] = {
    "flashinfer", "cublas_gemm", "faster_transformer",    "cudagraph", "cutlass",
    "exact",      "tune",        "ipc_allreduce_strategy"};
enum { N_KNOBS = sizeof knobs / sizeof knobs[0] };

static bool is_one_of(const char *text, const char *const *accepted, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, accepted[i]) == 0) return true;
    }
    return false;
}

// Takes the next "key=value" from *rest into two texts in `scratch`; *key NULL at the end. A
// trailing semicolon is fine.
static mlcc_status *next_pair(
    const char **rest, const char *option, mlcc_arena *scratch, char **key, char **value) {
    *key = *value = NULL;
    while (**rest == ';' || **rest == ' ') (*rest)++;
    if (**rest == '\0') return NULL;
    const size_t length = strcspn(*rest, ";");
    char *pair = mlcc_arena_strndup(scratch, *rest, length);
    *rest += length;
    char *equals = strchr(pair, '=');
    if (equals == NULL)
        return MLCC_ERROR(INVALID, "%s has '%s', expected is key=value;key=value", option, pair);
    *equals = '\0';
    *key = pair;
    *value = equals + 1;
    return NULL;
}

static mlcc_status *unknown_key(
    const char *option, const char *key, const char *const *names, size_t n_names) {
    mlcc_str list = {0};
    for (size_t i = 0; i < n_names; i++)
        mlcc_str_printf(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    const char *nearest = mlcc_text_nearest(key, names, n_names);
    mlcc_status *status = MLCC_ERROR(
        INVALID, "%s has the unknown key '%s'%s%s%s; accepted are %s", option, key,
        nearest == NULL ? "" : ", did you mean '", nearest == NULL ? "" : nearest,
        nearest == NULL ? "" : "'?", mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

static mlcc_status *parse_integer(const override_key *key, const char *value, int64_t *out) {
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(value, &end, 10);
    const bool is_number = value[0] != '\0' && value[0] != ' ' && *end == '\0' && errno == 0;
    if (is_number && key->may_be_off && number == -1) return NULL;
    if (!is_number || number < 1 || number > INT32_MAX) {
        return MLCC_ERROR(
            INVALID, "--overrides has %s=%s, accepted are integers from 1 to %d%s", key->name,
            value, INT32_MAX, key->may_be_off ? " and -1 for off" : "");
    }
    *out = number;
    return NULL;
}

static mlcc_status *parse_boolean(const char *value, bool *out) {
    static const char *const yes[] = {"true", "True", "1", "yes"};
    static const char *const no[] = {"false", "False", "0", "no"};
    *out = is_one_of(value, yes, 4);
    if (!*out && !is_one_of(value, no, 4)) {
        return MLCC_ERROR(
            INVALID,
            "--overrides has disaggregation=%s, accepted are true, 1, yes, false, 0 and no", value);
    }
    return NULL;
}

static mlcc_status *apply_override(
    const char *key, const char *value, uint32_t *seen, hf_config_overrides *out,
    bool *disaggregation) {
    const char *names[N_OVERRIDE_KEYS];
    for (size_t i = 0; i < N_OVERRIDE_KEYS; i++) {
        names[i] = override_keys[i].name;
        if (strcmp(key, names[i]) != 0) continue;
        if ((*seen & 1u << i) != 0)
            return MLCC_ERROR(INVALID, "--overrides has the key '%s' twice", key);
        *seen |= 1u << i;
        if (override_keys[i].offset == SIZE_MAX) return parse_boolean(value, disaggregation);
        return parse_integer(
            &override_keys[i], value, (int64_t *)(void *)((char *)out + override_keys[i].offset));
    }
    return unknown_key("--overrides", key, names, N_OVERRIDE_KEYS);
}

mlcc_status *compile_overrides_parse(
    const char *text, hf_config_overrides *out, bool *disaggregation) {
    *out = (hf_config_overrides){0};
    *disaggregation = false;
    if (text == NULL) return NULL;
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    uint32_t seen = 0;
    for (;;) {
        char *key = NULL, *value = NULL;
        status = next_pair(&text, "--overrides", scratch, &key, &value);
        if (status != NULL || key == NULL) break;
        status = apply_override(key, value, &seen, out, disaggregation);
        if (status != NULL) break;
    }
    mlcc_arena_free(scratch);
    return status;
}

static mlcc_status *check_knob(const char *key, const char *value) {
    static const char *const switches[] = {"0", "1"};
    static const char *const strategies[] = {"NONE", "ONESHOT", "TWOSHOT", "AUTO"};
    if (!is_one_of(key, knobs, N_KNOBS)) return unknown_key("--opt", key, knobs, N_KNOBS);
    if (strcmp(key, "ipc_allreduce_strategy") == 0) {
        if (!is_one_of(value, strategies, 4))
            return MLCC_ERROR(
                INVALID, "--opt has %s=%s, accepted are NONE, ONESHOT, TWOSHOT and AUTO", key,
                value);
    } else if (!is_one_of(value, switches, 2)) {
        return MLCC_ERROR(INVALID, "--opt has %s=%s, accepted are 0 and 1", key, value);
    }
    return NULL;
}

mlcc_status *compile_opt_parse(const char *text, compile_opt *out) {
    static const char *const levels[] = {"O0", "O1", "O2", "O3"};
    *out = (compile_opt){.exact = text != NULL && strcmp(text, "exact") == 0,
                         .tune = text != NULL && strcmp(text, "tune") == 0};
    if (text == NULL || out->exact || out->tune || is_one_of(text, levels, 4)) return NULL;
    if (strchr(text, '=') == NULL) {
        return MLCC_ERROR(
            INVALID,
            "--opt is '%s', accepted are O0, O1, O2, O3, exact, tune and knobs like "
            "exact=1;tune=1;cudagraph=0",
            text);
    }
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_status *status = NULL;
    for (;;) {
        char *key = NULL, *value = NULL;
        status = next_pair(&text, "--opt", scratch, &key, &value);
        if (status != NULL || key == NULL) break;
        status = check_knob(key, value);
        if (status != NULL) break;
        if (strcmp(key, "exact") == 0) out->exact = strcmp(value, "1") == 0;
        if (strcmp(key, "tune") == 0) out->tune = strcmp(value, "1") == 0;
    }
    mlcc_arena_free(scratch);
    return status;
}

mlcc_status *compile_output_check(const char *path, mlcc_arena *scratch) {
    // What MLC writes for other suffixes, and why mlcc does not.
    static const struct {
        const char *suffix, *reason;
    } others[] = {
        {".dylib", "is a macOS library, and mlcc generates code for Linux"},
        {".dll", "is a Windows library, and mlcc generates code for Linux"},
        {".tar",
         "is an archive of objects for static linking, and mlcc writes one finished library"},
        {".lib",
         "is an archive of objects for static linking, and mlcc writes one finished library"},
        {".wasm", "is a WebGPU module, and mlcc generates code for CPUs"},
    };
    if (path == NULL || path[0] == '\0')
        return MLCC_ERROR(INVALID, "the name of the output is empty; name a file that ends in .so");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (mlcc_text_ends_with(path, others[i].suffix)) {
            return MLCC_ERROR(
                UNSUPPORTED, "output '%s': a %s file %s; name a file that ends in .so", path,
                others[i].suffix, others[i].reason);
        }
    }
    if (!mlcc_text_ends_with(path, ".so"))
        return MLCC_ERROR(
            INVALID, "output '%s' does not end in .so, the kind of file that mlcc writes", path);
    if (mlcc_dir_exists(path))
        return MLCC_ERROR(INVALID, "output '%s' is a directory; name a file in it", path);
    const char *directory = mlcc_path_dir(scratch, path);
    if (!mlcc_dir_exists(directory))
        return MLCC_ERROR(
            INVALID, "output '%s': the directory '%s' does not exist; make it first", path,
            directory);
    return NULL;
}
