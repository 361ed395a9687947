// levels: the names of a list of CPU levels, and what such a list may be (codegen/target.h).
#include "codegen/cpu/features.h"
#include "codegen/target.h"
#include "runtime/abi.h"
#include "runtime/base/str.h"

#include <string.h>

static mlcc_status *split(
    const char *targets, mlcc_arena *keep, const char ***names, size_t *n_names) {
    size_t n = 1;
    for (const char *p = targets; *p != '\0'; p++) n += *p == ',';
    if (n > MLCC_ABI_MAX_LEVELS) {
        return MLCC_ERROR(
            INVALID, "'%s' names %zu CPU levels; one library holds at most %d", targets, n,
            MLCC_ABI_MAX_LEVELS);
    }
    *names = MLCC_NEW_ARRAY(keep, const char *, n);
    for (size_t i = 0; i < n; i++) {
        const size_t length = strcspn(targets, ",");
        if (length == 0 && n > 1) {
            return MLCC_ERROR(
                INVALID,
                "the list of CPU levels has an empty name at place %zu; accepted is a "
                "list like x86-64-v3,x86-64-v4",
                i + 1);
        }
        (*names)[i] = mlcc_arena_strndup(keep, targets, length);
        targets += length + (targets[length] == ',');
    }
    *n_names = n;
    return NULL;
}

// The runtime takes the last level that fits, so the earlier one must be of use somewhere.
static mlcc_status *check_pair(
    const codegen_cpu *earlier, const codegen_cpu *later, mlcc_arena *keep) {
    if (strcmp(earlier->name, later->name) == 0) {
        return MLCC_ERROR(INVALID, "CPU level '%s' is named twice", later->name);
    }
    if (strcmp(earlier->triple, later->triple) != 0) {
        return MLCC_ERROR(
            UNSUPPORTED,
            "CPU levels '%s' and '%s' belong to different machines, and one library holds code "
            "for one: compile one for each",
            earlier->name, later->name);
    }
    if (codegen_cpu_lacks(earlier, later->features, keep) != NULL) return NULL;
    return MLCC_ERROR(
        INVALID,
        "CPU level '%s' would never run: the last level that a machine can run is taken, and '%s', "
        "which stands after it, needs nothing more; put the level with more features last, or "
        "leave one out",
        earlier->name, later->name);
}

mlcc_status *codegen_split_levels(
    const char *targets, mlcc_arena *keep, const char ***names, size_t *n_names) {
    MLCC_TRY(split(targets, keep, names, n_names));
    codegen_cpu cpus[MLCC_ABI_MAX_LEVELS];
    for (size_t i = 0; i < *n_names; i++) {
        MLCC_TRY(codegen_cpu_resolve((*names)[i], keep, &cpus[i]));
        for (size_t j = 0; j < i; j++) MLCC_TRY(check_pair(&cpus[j], &cpus[i], keep));
    }
    return NULL;
}
