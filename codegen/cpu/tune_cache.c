#include "codegen/cpu/tune_cache.h"

#include "codegen/cpu/bitcode.h"
#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/features.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/base/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Changes with the form of the file and with how trials are timed.
enum { VERSION = 1 };
enum { MAX_FILE_BYTES = 64 * 1024, MAX_CPUINFO_BYTES = 16 << 20 };
static const char model_trial[] = "model", chosen_trial[] = "chosen";

// ---- the key ------------------------------------------------------------------------------------------

// What /proc/cpuinfo says of the first core, as far as it names the model.
static void put_cpu_model(mlcc_str *out) {
    static const char *const wanted[] = {"model name",      "cpu family", "model",      "stepping",
                                         "CPU implementer", "CPU part",   "CPU variant"};
    char *text = NULL;
    size_t length = 0;
    mlcc_status *status = mlcc_file_read("/proc/cpuinfo", MAX_CPUINFO_BYTES, &text, &length);
    if (status != NULL) {
        mlcc_status_free(status);
        mlcc_str_puts(out, "unknown");
        return;
    }
    for (const char *line = text; *line != '\0' && *line != '\n';) {
        const size_t line_bytes = strcspn(line, "\n"), name_bytes = strcspn(line, "\t:");
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            if (name_bytes != strlen(wanted[i]) || strncmp(line, wanted[i], name_bytes) != 0)
                continue;
            const char *value = memchr(line, ':', line_bytes);
            if (value != NULL) mlcc_str_append(out, value, line_bytes - (size_t)(value - line));
        }
        line += line_bytes;
        if (*line == '\n') line++;
    }
    free(text);
}

static void put_bitcode_hash(
    const codegen_cpu *cpu, const kernel_row *row, const ir_function *group, mlcc_arena *keep,
    mlcc_str *out) {
    const codegen_bitcode *bitcode =
        codegen_bitcode_find(cpu_kernel_bitcode(row, group, keep), codegen_cpu_is_x86(cpu));
    if (bitcode == NULL) return;
    char hex[33];
    mlcc_hash128_hex(mlcc_hash128_of(bitcode->begin, (size_t)(bitcode->end - bitcode->begin)), hex);
    mlcc_str_puts(out, hex);
}

const char *cpu_tune_key(
    const codegen_cpu *cpu, const kernel_row *row, const ir_function *group, int32_t n_threads,
    mlcc_arena *keep) {
    cpu_cost_shape shape = {0};
    cpu_cost_shape_of(group, &shape);
    mlcc_str text = {0};
    mlcc_str_printf(&text, "mlcc tuning %d, LLVM %d; cpu ", (int)VERSION, MLCC_LLVM_MAJOR);
    put_cpu_model(&text);
    mlcc_str_printf(
        &text, "; target %s %s; threads %d; kernel %s ", cpu->llvm_cpu, cpu->features,
        (int)n_threads, row->name);
    put_bitcode_hash(cpu, row, group, keep, &text);
    mlcc_str_puts(&text, "; knobs");
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (!cpu_knob_belongs((cpu_knob)i, row->name)) continue;
        mlcc_str_printf(&text, " %s", cpu_knob_get((cpu_knob)i)->name);
        for (int32_t c = 0; c < cpu_knob_candidates((cpu_knob)i); c++)
            mlcc_str_printf(&text, " %lld", (long long)cpu_knob_get((cpu_knob)i)->candidates[c]);
    }
    mlcc_str_printf(
        &text, "; weight %s %lld %lld", ir_dtype_get(shape.dtype)->text, (long long)shape.n,
        (long long)shape.k);
    const char *key = mlcc_arena_strdup(keep, mlcc_str_text(&text));
    mlcc_str_free(&text);
    return key;
}

char *cpu_tune_path(mlcc_arena *keep, const char *directory, const char *key) {
    char hex[33];
    mlcc_hash128_hex(mlcc_hash128_of(key, strlen(key)), hex);
    const char *cache = directory != NULL ? directory : mlcc_path_cache(keep);
    return mlcc_path_join(
        keep, mlcc_path_join(keep, cache, "tuning"), mlcc_arena_printf(keep, "%s.json", hex));
}

// ---- reading ------------------------------------------------------------------------------------------

static mlcc_status *read_value(
    const char *name, int64_t value, const char *kernel, const char *what, cpu_knob *knob) {
    *knob = cpu_knob_find(name);
    if (*knob == CPU_N_KNOBS || !cpu_knob_belongs(*knob, kernel)) {
        return MLCC_ERROR(INVALID, "'%s': kernel '%s' has no knob '%s'", what, kernel, name);
    }
    if (!cpu_knob_accepts(*knob, value)) {
        return MLCC_ERROR(
            INVALID, "'%s': knob '%s' is %lld, which is none of its candidates", what, name,
            (long long)value);
    }
    return NULL;
}

static mlcc_status *read_knobs(
    const mlcc_json_value *root, const char *what, const char *kernel, cpu_tune_result *out) {
    const mlcc_json_value *list = NULL;
    MLCC_TRY(mlcc_json_get_object(root, "knobs", true, &list));
    size_t n = 0;
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (!cpu_knob_belongs((cpu_knob)i, kernel)) continue;
        const char *name = cpu_knob_get((cpu_knob)i)->name;
        int64_t value = 0;
        cpu_knob knob;
        MLCC_TRY(mlcc_json_get_i64(list, name, true, 1, INT32_MAX, &value));
        MLCC_TRY(read_value(name, value, kernel, what, &knob));
        out->knobs.values[knob] = value;
        n++;
    }
    if (mlcc_json_count(list) == n) return NULL;
    return MLCC_ERROR(
        INVALID, "'%s': \"knobs\" has %zu keys, kernel '%s' has %zu knobs", what,
        mlcc_json_count(list), kernel, n);
}

static mlcc_status *read_trial(
    const mlcc_json_value *value, const char *what, const char *kernel, cpu_tune_trial *trial) {
    const char *name = NULL;
    const mlcc_json_value *times = NULL;
    if (mlcc_json_kind_of(value) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(INVALID, "'%s': a trial is no object", what);
    MLCC_TRY(mlcc_json_get_text(value, "knob", true, &name));
    MLCC_TRY(mlcc_json_get_i64(value, "value", true, 0, INT32_MAX, &trial->value));
    trial->knob = CPU_N_KNOBS;
    const bool is_whole = strcmp(name, model_trial) == 0 || strcmp(name, chosen_trial) == 0;
    if (is_whole) {
        trial->value = strcmp(name, chosen_trial) == 0;
    } else {
        MLCC_TRY(read_value(name, trial->value, kernel, what, &trial->knob));
    }
    MLCC_TRY(mlcc_json_get_array(value, "us", true, &times));
    if (mlcc_json_count(times) != CPU_TUNE_ROWS)
        return MLCC_ERROR(
            INVALID, "'%s': a trial has %zu times, expected are %d", what, mlcc_json_count(times),
            (int)CPU_TUNE_ROWS);
    for (size_t i = 0; i < CPU_TUNE_ROWS; i++) {
        trial->us[i] = mlcc_json_number(mlcc_json_at(times, i));
        if (!(trial->us[i] > 0 && isfinite(trial->us[i])))
            return MLCC_ERROR(INVALID, "'%s': a time is no positive number", what);
    }
    return NULL;
}

static mlcc_status *read_result(
    const mlcc_json_value *root, const char *what, const char *key, const char *kernel,
    cpu_tune_result *out) {
    const char *found = NULL;
    const mlcc_json_value *trials = NULL;
    if (mlcc_json_kind_of(root) != MLCC_JSON_OBJECT)
        return MLCC_ERROR(INVALID, "'%s' holds no object", what);
    MLCC_TRY(mlcc_json_get_text(root, "key", true, &found));
    if (strcmp(found, key) != 0) return MLCC_ERROR(INVALID, "'%s' has another key", what);
    MLCC_TRY(read_knobs(root, what, kernel, out));
    MLCC_TRY(mlcc_json_get_array(root, "trials", true, &trials));
    const size_t n = mlcc_json_count(trials);
    if (n > CPU_TUNE_MAX_TRIALS)
        return MLCC_ERROR(
            INVALID, "'%s' has %zu trials, at most %d are accepted", what, n,
            (int)CPU_TUNE_MAX_TRIALS);
    for (size_t i = 0; i < n; i++)
        MLCC_TRY(read_trial(mlcc_json_at(trials, i), what, kernel, &out->trials[i]));
    out->n_trials = (int32_t)n;
    return NULL;
}

mlcc_status *cpu_tune_parse(
    const char *text, size_t length, const char *what, const char *key, const char *kernel,
    cpu_tune_result *out) {
    *out = (cpu_tune_result){.knobs = cpu_knobs_fallback()};
    mlcc_json *json = NULL;
    MLCC_TRY(mlcc_json_parse(text, length, what, MAX_FILE_BYTES, &json));
    mlcc_status *status = read_result(mlcc_json_root(json), what, key, kernel, out);
    mlcc_json_free(json);
    if (status != NULL) *out = (cpu_tune_result){.knobs = cpu_knobs_fallback()};
    return status;
}

bool cpu_tune_read(const char *path, const char *key, const char *kernel, cpu_tune_result *out) {
    if (!mlcc_file_exists(path)) return false;
    char *text = NULL;
    size_t length = 0;
    mlcc_status *status = mlcc_file_read(path, MAX_FILE_BYTES, &text, &length);
    if (status == NULL) status = cpu_tune_parse(text, length, path, key, kernel, out);
    free(text);
    if (status == NULL) return true;
    mlcc_log(MLCC_LOG_WARN, "codegen", "kernels are timed again: %s", mlcc_status_message(status));
    mlcc_status_free(status);
    return false;
}

// ---- writing ------------------------------------------------------------------------------------------

static void put_trial(mlcc_json_writer *writer, const cpu_tune_trial *trial) {
    const char *whole = trial->value != 0 ? chosen_trial : model_trial;
    mlcc_json_begin_object(writer);
    mlcc_json_key(writer, "knob");
    mlcc_json_put_text(
        writer, trial->knob == CPU_N_KNOBS ? whole : cpu_knob_get(trial->knob)->name);
    mlcc_json_key(writer, "value");
    mlcc_json_put_i64(writer, trial->value);
    mlcc_json_key(writer, "us");
    mlcc_json_begin_array(writer);
    for (int32_t i = 0; i < CPU_TUNE_ROWS; i++) mlcc_json_put_f64(writer, trial->us[i]);
    mlcc_json_end(writer);
    mlcc_json_end(writer);
}

void cpu_tune_print(
    const cpu_tune_result *result, const char *key, const char *kernel, mlcc_str *out) {
    mlcc_json_writer writer;
    mlcc_json_writer_init(&writer, out, 0, true);
    mlcc_json_begin_object(&writer);
    mlcc_json_key(&writer, "key");
    mlcc_json_put_text(&writer, key);
    mlcc_json_key(&writer, "knobs");
    mlcc_json_begin_object(&writer);
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (!cpu_knob_belongs((cpu_knob)i, kernel)) continue;
        mlcc_json_key(&writer, cpu_knob_get((cpu_knob)i)->name);
        mlcc_json_put_i64(&writer, result->knobs.values[i]);
    }
    mlcc_json_end(&writer);
    mlcc_json_key(&writer, "trials");
    mlcc_json_begin_array(&writer);
    for (int32_t i = 0; i < result->n_trials; i++) put_trial(&writer, &result->trials[i]);
    mlcc_json_end(&writer);
    mlcc_json_end(&writer);
}

mlcc_status *cpu_tune_write(
    const char *path, const char *key, const char *kernel, const cpu_tune_result *result) {
    mlcc_arena *scratch = mlcc_arena_create();
    mlcc_str text = {0};
    cpu_tune_print(result, key, kernel, &text);
    mlcc_status *status = mlcc_dir_make(mlcc_path_dir(scratch, path));
    if (status == NULL) status = mlcc_file_write_atomic(path, mlcc_str_text(&text), text.length);
    mlcc_str_free(&text);
    mlcc_arena_free(scratch);
    return status;
}
