// The CPU levels of a library: which there are, which one this machine runs, what it lacks for the others.
#include "runtime/device/cpu_features.h"
#include "runtime/model/library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// The level that the environment asks for, or NULL.
static const char *forced_level(void) {
    const char *name = getenv("MLCC_CPU_LEVEL");
    return name != NULL && *name != '\0' ? name : NULL;
}

// ---- reading

static mlcc_status *check_same_model(const mlcc_abi_model *first, const mlcc_abi_model *other) {
    if (memcmp(first->param_fingerprint, other->param_fingerprint, 16) == 0 &&
        first->n_params == other->n_params && first->cuda == NULL && other->cuda == NULL) {
        return NULL;
    }
    return MLCC_ERROR(
        INVALID, "the library's levels '%s' and '%s' are not the same model: it is damaged",
        first->target, other->target);
}

static mlcc_status *read_list(const mlcc_abi_model *const *list, mlcc_library *library) {
    if (list == NULL || list[0] != library->levels[0]) {
        return MLCC_ERROR(
            INVALID, "'" MLCC_ABI_LEVELS "' does not begin with what '" MLCC_ABI_QUERY
                     "' gives: the library is damaged");
    }
    while (list[library->n_levels] != NULL) {
        if (library->n_levels == MLCC_ABI_MAX_LEVELS) {
            return MLCC_ERROR(
                MISMATCH,
                "the library has more CPU levels than the %d that this runtime accepts: compile "
                "the model again with the mlcc that belongs to this runtime",
                MLCC_ABI_MAX_LEVELS);
        }
        const mlcc_abi_model *level = list[library->n_levels];
        MLCC_TRY_NOTE(
            mlcc_library_check_tables(level), "reading CPU level %u of the library",
            library->n_levels);
        MLCC_TRY(check_same_model(library->levels[0], level));
        library->levels[library->n_levels++] = level;
    }
    return NULL;
}

// Also asks the kernel for register state, which some levels need and it may refuse.
static bool fits(const mlcc_abi_model *level) {
    if (mlcc_cpu_missing(level->cpu_features, NULL) > 0) return false;
    mlcc_status *refusal = mlcc_cpu_request(level->cpu_features);
    const bool is_granted = refusal == NULL;
    mlcc_status_free(refusal);
    return is_granted;
}

static const mlcc_abi_model *choose(const mlcc_library *library) {
    const char *forced = forced_level();
    for (uint32_t i = library->n_levels; i-- > 0;) {
        const mlcc_abi_model *level = library->levels[i];
        if (forced != NULL ? strcmp(level->target, forced) == 0 : fits(level)) return level;
    }
    return library->levels[0];
}

mlcc_status *mlcc_library_read_levels(mlcc_library *library) {
    library->levels[0] = library->abi;
    library->n_levels = 1;
    void *symbol = dlsym(library->handle, MLCC_ABI_LEVELS);
    if (symbol == NULL) return NULL;
    mlcc_abi_levels *levels = NULL;
    memcpy(&levels, &symbol, sizeof levels); // ISO C has no cast from an object to a function
    MLCC_TRY(read_list(levels(), library));
    library->abi = choose(library);
    return NULL;
}

// ---- refusing

void mlcc_library_level_names(const mlcc_library *library, mlcc_str *out) {
    for (uint32_t i = 0; i < library->n_levels; i++)
        mlcc_str_printf(out, "%s%s", i > 0 ? ", " : "", library->levels[i]->target);
}

static mlcc_status *refuse_forced(const mlcc_library *library, const char *forced) {
    mlcc_str names = {0};
    mlcc_library_level_names(library, &names);
    mlcc_status *status = MLCC_ERROR(
        MISMATCH, "$MLCC_CPU_LEVEL asks for level '%s', the library is compiled for %s", forced,
        mlcc_str_text(&names));
    mlcc_str_free(&names);
    return status;
}

static mlcc_status *refuse_all(const mlcc_library *library) {
    mlcc_str lacks = {0};
    for (uint32_t i = 0; i < library->n_levels; i++) {
        const mlcc_abi_model *level = library->levels[i];
        mlcc_str_printf(&lacks, "%s'%s' lacks ", i > 0 ? "; " : "", level->target);
        if (mlcc_cpu_missing(level->cpu_features, &lacks) == 0)
            mlcc_str_puts(&lacks, "only what the kernel does not grant");
    }
    mlcc_status *status = MLCC_ERROR(
        MISMATCH,
        "the library's CPU levels need CPU features that this machine lacks: %s; compile the "
        "model again with --target native or with --target %s as the first level",
        mlcc_str_text(&lacks), mlcc_cpu_baseline());
    mlcc_str_free(&lacks);
    return status;
}

mlcc_status *mlcc_library_check_cpu(const mlcc_library *library) {
    const char *features = library->abi->cpu_features, *forced = forced_level();
    if (forced != NULL && strcmp(library->abi->target, forced) != 0)
        return refuse_forced(library, forced);
    mlcc_str missing = {0};
    mlcc_status *status = NULL;
    if (mlcc_cpu_missing(features, &missing) == 0) {
        status = mlcc_cpu_request(features);
    } else if (forced == NULL && library->n_levels > 1) {
        status = refuse_all(library);
    } else {
        status = MLCC_ERROR(
            MISMATCH,
            "the library was compiled for target '%s' and needs CPU features that this machine "
            "lacks: %s; compile the model again with --target native or --target %s",
            library->abi->target, mlcc_str_text(&missing), mlcc_cpu_baseline());
    }
    mlcc_str_free(&missing);
    return status;
}
