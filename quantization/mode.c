// mode: table and look-up of modes.def.
#include "quantization/mode.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <string.h>

static const quant_mode modes[] = {
#define MODE(name, kind, model, linear, embedding, head, fallback, activation, meaning) \
    {name, \
     kind, \
     IR_##model, \
     IR_##linear, \
     IR_##embedding, \
     IR_##head, \
     IR_##fallback, \
     QUANT_ACTIVATION_##activation, \
     meaning, \
     NULL, \
     0},
#include "quantization/modes.def"
};

enum { N_MODES = sizeof modes / sizeof modes[0] };

const quant_mode *quant_mode_table(size_t *n_modes) {
    *n_modes = N_MODES;
    return modes;
}

static mlcc_status *unknown_mode(const char *name) {
    const char *names[N_MODES];
    mlcc_str list = {0};
    for (size_t i = 0; i < N_MODES; i++) {
        names[i] = modes[i].name;
        mlcc_str_printf(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    const char *nearest = mlcc_text_nearest(name, names, N_MODES);
    mlcc_status *status =
        nearest == NULL
            ? MLCC_ERROR(
                  UNSUPPORTED, "unknown quantization mode '%s', accepted are %s", name,
                  mlcc_str_text(&list))
            : MLCC_ERROR(
                  UNSUPPORTED, "unknown quantization mode '%s', did you mean '%s'? accepted are %s",
                  name, nearest, mlcc_str_text(&list));
    mlcc_str_free(&list);
    return status;
}

typedef struct mode_alias {
    const char *alias, *name;
} mode_alias;

static const mode_alias aliases[] = {
#define MODE(...)
#define MODE_ALIAS(alias, name) {alias, name},
#include "quantization/modes.def"
};

static const char *name_of(const char *name) {
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(aliases[i].alias, name) != 0) continue;
        mlcc_log(
            MLCC_LOG_WARN, "quantization", "quantization '%s' is now called '%s'", name,
            aliases[i].name);
        return aliases[i].name;
    }
    return name;
}

mlcc_status *quant_mode_find(const char *name, const quant_mode **out) {
    *out = NULL;
    name = name_of(name);
    for (size_t i = 0; i < N_MODES; i++) {
        if (strcmp(modes[i].name, name) == 0) {
            *out = &modes[i];
            return NULL;
        }
    }
    return unknown_mode(name);
}

// The format that holds groups of this size.
static ir_dtype awq_format(int64_t group_size) {
    if (group_size <= 0 || group_size % 128 == 0) return IR_U4G128_F16;
    if (group_size % 64 == 0) return IR_U4G64_F16;
    return group_size % 32 == 0 ? IR_U4G32_F16 : IR_U4G128_F16;
}

mlcc_status *quant_mode_resolve(
    const char *name, const quant_options *options, mlcc_arena *keep, const quant_mode **out) {
    MLCC_TRY(quant_mode_find(name, out));
    if (options == NULL) return NULL;
    const bool is_awq = strcmp((*out)->kind, "awq") == 0;
    const ir_dtype linear =
        is_awq && options->group_size != 0 ? awq_format(options->group_size) : (*out)->linear;
    const bool keeps_modules =
        options->n_float_modules > 0 && strcmp((*out)->kind, "no-quant") != 0;
    if (linear == (*out)->linear && !keeps_modules) return NULL;
    quant_mode *mode = MLCC_NEW(keep, quant_mode);
    *mode = **out;
    mode->linear = linear;
    if (keeps_modules) {
        mode->float_modules = options->float_modules;
        mode->n_float_modules = options->n_float_modules;
    }
    *out = mode;
    return NULL;
}

bool quant_mode_keeps_float(const quant_mode *mode, const char *param_source) {
    size_t length = strlen(param_source);
    if (mlcc_text_ends_with(param_source, ".weight")) length -= strlen(".weight");
    for (size_t i = 0; i < mode->n_float_modules; i++) {
        if (strlen(mode->float_modules[i]) == length &&
            memcmp(mode->float_modules[i], param_source, length) == 0)
            return true;
    }
    return false;
}
