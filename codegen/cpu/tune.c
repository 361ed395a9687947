#include "codegen/cpu/tune.h"

#include "codegen/cpu/cpu_kernels.h"
#include "codegen/cpu/tune_bench.h"
#include "codegen/cpu/tune_cache.h"
#include "runtime/base/clock.h"

#include <string.h>

// What a set of knobs must gain to replace another.
static const double least_gain = 0.01;

// A product to be timed, and the instances that are it.
typedef struct subject {
    const kernel_row *row;
    const char *key, *path;
    int32_t instance; // the first
    cpu_cost_shape shape;
    cpu_tune_result result;
    bool is_known, was_kept; // has a result; it came from the cache
} subject;

typedef struct tuning {
    const codegen_artifact *artifact;
    const emit_llvm_options *options;
    const codegen_tuning *wishes;
    cpu_knobs *knobs; // per instance
    subject *subjects;
    size_t n_subjects;
    int32_t *subject_of; // per instance; -1: nothing to tune
    mlcc_arena *keep;
    tune_bench *bench;
    double end_s; // of the budget
    uint64_t n_done, n_planned;
} tuning;

// ---- subjects -----------------------------------------------------------------------------------------

static int32_t count_candidates(const char *kernel) {
    int32_t n = 0;
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (cpu_knob_belongs((cpu_knob)i, kernel)) n += cpu_knob_candidates((cpu_knob)i);
    }
    return n;
}

static void add_instance(tuning *t, int32_t index, int32_t n_threads) {
    const codegen_instance *instance = &t->artifact->instances[index];
    const kernel_row *row = cpu_kernel_find(instance->kernel);
    cpu_cost_shape shape;
    t->subject_of[index] = -1;
    if (row == NULL || count_candidates(row->name) == 0 ||
        !cpu_cost_shape_of(instance->group, &shape))
        return;
    const char *key = cpu_tune_key(t->options->cpu, row, instance->group, n_threads, t->keep);
    size_t i = 0;
    while (i < t->n_subjects && strcmp(t->subjects[i].key, key) != 0) i++;
    t->subject_of[index] = (int32_t)i;
    if (i < t->n_subjects) return;
    t->subjects[t->n_subjects++] =
        (subject){.row = row,
                  .key = key,
                  .path = cpu_tune_path(t->keep, t->wishes->cache_dir, key),
                  .instance = index,
                  .shape = shape};
}

static void find_subjects(tuning *t, int32_t n_threads) {
    const size_t n = (size_t)t->artifact->n_instances;
    t->subjects = MLCC_NEW_ARRAY(t->keep, subject, n + 1);
    t->subject_of = MLCC_NEW_ARRAY(t->keep, int32_t, n + 1);
    for (size_t i = 0; i < n; i++) add_instance(t, (int32_t)i, n_threads);
    for (size_t i = 0; i < t->n_subjects; i++) {
        subject *s = &t->subjects[i];
        s->is_known = s->was_kept = cpu_tune_read(s->path, s->key, s->row->name, &s->result);
        if (!s->is_known) t->n_planned += (uint64_t)count_candidates(s->row->name) + 2;
    }
}

// ---- timing -------------------------------------------------------------------------------------------

static void report(tuning *t, uint64_t n_done) {
    t->n_done += n_done;
    if (t->wishes->progress != NULL)
        t->wishes->progress(t->wishes->user, "timing kernels", t->n_done, t->n_planned);
}

// Times sets of knobs in turn: trials[i] stands for sets[i]. gains[i]: log of how many times as fast it is as sets[base], the mean over the
// numbers of rows.
static mlcc_status *time_sets(
    tuning *t, const subject *s, const cpu_knobs *sets, int32_t n, int32_t base,
    cpu_tune_trial *trials, double *gains) {
    emit_llvm_jit *codes[CPU_KNOB_MAX_CANDIDATES] = {0};
    emit_llvm_trial *functions[CPU_KNOB_MAX_CANDIDATES];
    tune_times times[CPU_KNOB_MAX_CANDIDATES];
    cpu_knobs *all = MLCC_NEW_ARRAY(t->keep, cpu_knobs, (size_t)t->artifact->n_instances);
    emit_llvm_options options = *t->options;
    options.knobs = all;
    mlcc_status *status = NULL;
    for (int32_t i = 0; i < n; i++) {
        all[s->instance] = sets[i];
        MLCC_GOTO(emit_llvm_jit_open(t->artifact, &options, s->instance, &codes[i]), done);
        functions[i] = emit_llvm_jit_function(codes[i]);
        report(t, 1);
    }
    tune_bench_time(t->bench, functions, n, base, times);
    for (int32_t i = 0; i < n; i++) {
        gains[i] = 0;
        for (int32_t rows = 0; rows < CPU_TUNE_ROWS; rows++) {
            trials[i].us[rows] = times[i].us[rows];
            gains[i] += times[i].gain[rows] / (double)CPU_TUNE_ROWS;
        }
    }
done:
    for (int32_t i = 0; i < n; i++) emit_llvm_jit_close(codes[i]);
    return status;
}

// All candidates of one knob, the others as they stand; takes the best.
static mlcc_status *tune_knob(tuning *t, subject *s, cpu_knob knob) {
    const cpu_knob_row *row = cpu_knob_get(knob);
    const int32_t n = cpu_knob_candidates(knob);
    cpu_tune_trial *trials = &s->result.trials[s->result.n_trials];
    if (s->result.n_trials + n > CPU_TUNE_MAX_TRIALS - 2)
        return MLCC_ERROR(INTERNAL, "kernel '%s' has too many knobs to tune", s->row->name);
    cpu_knobs sets[CPU_KNOB_MAX_CANDIDATES];
    double gains[CPU_KNOB_MAX_CANDIDATES];
    int32_t best = 0;
    for (int32_t i = 0; i < n; i++) {
        if (row->candidates[i] == s->result.knobs.values[knob]) best = i;
        trials[i] = (cpu_tune_trial){.knob = knob, .value = row->candidates[i]};
        sets[i] = s->result.knobs;
        sets[i].values[knob] = row->candidates[i];
    }
    MLCC_TRY(time_sets(t, s, sets, n, best, trials, gains));
    double most = least_gain;
    for (int32_t i = 0; i < n; i++) {
        if (gains[i] <= most) continue;
        best = i;
        most = gains[i];
    }
    s->result.knobs.values[knob] = row->candidates[best];
    s->result.n_trials += n;
    return NULL;
}

// Lucky moments are found out: the model's set and the new one once more, side by side.
static mlcc_status *compare_with_model(tuning *t, subject *s, const cpu_knobs *model) {
    if (memcmp(model, &s->result.knobs, sizeof *model) == 0) {
        report(t, 2);
        return NULL;
    }
    const cpu_knobs sets[2] = {*model, s->result.knobs};
    cpu_tune_trial *trials = &s->result.trials[s->result.n_trials];
    double gains[2];
    for (int32_t i = 0; i < 2; i++) trials[i] = (cpu_tune_trial){.knob = CPU_N_KNOBS, .value = i};
    MLCC_TRY(time_sets(t, s, sets, 2, 0, trials, gains));
    s->result.n_trials += 2;
    if (gains[1] <= least_gain) s->result.knobs = *model;
    return NULL;
}

static mlcc_status *tune_knobs(tuning *t, subject *s) {
    const cpu_knobs model = t->knobs[s->instance];
    s->result = (cpu_tune_result){.knobs = model};
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (cpu_knob_belongs((cpu_knob)i, s->row->name)) MLCC_TRY(tune_knob(t, s, (cpu_knob)i));
    }
    MLCC_TRY(compare_with_model(t, s, &model));
    s->is_known = true;
    return cpu_tune_write(s->path, s->key, s->row->name, &s->result);
}

static mlcc_status *tune_subject(tuning *t, subject *s) {
    if (!tune_bench_open(t->bench, t->artifact, s->instance, s->row)) return NULL;
    mlcc_status *status = tune_knobs(t, s);
    tune_bench_close(t->bench);
    return mlcc_status_note(
        status, "timing kernel '%s' for group '%s'", s->row->name,
        t->artifact->instances[s->instance].group->name);
}

// ---- what was found -----------------------------------------------------------------------------------

static void put_times(mlcc_str *out, const cpu_tune_trial *trial) {
    for (int32_t i = 0; i < CPU_TUNE_ROWS; i++)
        mlcc_str_printf(out, "%s%.4g", i == 0 ? "" : " / ", trial->us[i]);
    mlcc_str_puts(out, " us\n");
}

static void explain_subject(const tuning *t, size_t index, mlcc_str *out) {
    const subject *s = &t->subjects[index];
    mlcc_str_puts(out, "tuned");
    for (int32_t i = 0; i < t->artifact->n_instances; i++) {
        if (t->subject_of[i] == (int32_t)index)
            mlcc_str_printf(out, " %s", t->artifact->instances[i].group->name);
    }
    mlcc_str_printf(
        out, ": %s, %s [%lld, %lld]", s->row->name, ir_dtype_get(s->shape.dtype)->text,
        (long long)s->shape.n, (long long)s->shape.k);
    if (!s->is_known) {
        mlcc_str_puts(out, ": no time was left, or no memory; the model's choice stays\n");
        return;
    }
    mlcc_str_printf(out, ", 1 / 8 / 128 rows%s\n", s->was_kept ? ", from the cache" : "");
    for (int32_t i = 0; i < s->result.n_trials; i++) {
        const cpu_tune_trial *trial = &s->result.trials[i];
        if (trial->knob == CPU_N_KNOBS) {
            mlcc_str_puts(out, trial->value == 0 ? "  as the model has it: " : "  as timed best: ");
        } else {
            mlcc_str_printf(
                out, "  %s %lld: ", cpu_knob_get(trial->knob)->name, (long long)trial->value);
        }
        put_times(out, trial);
    }
    mlcc_str_puts(out, "  chosen:");
    for (int32_t i = 0; i < (int32_t)CPU_N_KNOBS; i++) {
        if (cpu_knob_belongs((cpu_knob)i, s->row->name))
            mlcc_str_printf(
                out, " %s %lld", cpu_knob_get((cpu_knob)i)->name,
                (long long)s->result.knobs.values[i]);
    }
    mlcc_str_puts(out, "\n");
}

static mlcc_status *run(tuning *t) {
    find_subjects(t, tune_bench_threads(t->bench));
    t->end_s = mlcc_clock_s() + t->wishes->budget_s;
    for (size_t i = 0; i < t->n_subjects; i++) {
        subject *s = &t->subjects[i];
        if (!s->is_known && mlcc_clock_s() < t->end_s) MLCC_TRY(tune_subject(t, s));
        if (t->wishes->explain != NULL) explain_subject(t, i, t->wishes->explain);
    }
    for (int32_t i = 0; i < t->artifact->n_instances; i++) {
        const int32_t index = t->subject_of[i];
        if (index >= 0 && t->subjects[index].is_known)
            t->knobs[i] = t->subjects[index].result.knobs;
    }
    return NULL;
}

mlcc_status *cpu_tune(
    const codegen_artifact *artifact, const emit_llvm_options *options,
    const codegen_tuning *wishes, cpu_knobs *knobs) {
    tuning t = {.artifact = artifact, .options = options, .wishes = wishes, .knobs = knobs};
    MLCC_TRY(tune_bench_create(&t.bench));
    t.keep = mlcc_arena_create();
    mlcc_status *status = run(&t);
    mlcc_arena_free(t.keep);
    tune_bench_free(t.bench);
    return status;
}
