// mode: table and look-up of modes.def.
#include "quantization/mode.h"

#include "runtime/base/str.h"

#include <string.h>

static const quant_mode modes[] = {
#define MODE(name, kind, model, linear, embedding, head, meaning) \
    {name, kind, IR_##model, IR_##linear, IR_##embedding, IR_##head, meaning},
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

mlcc_status *quant_mode_find(const char *name, const quant_mode **out) {
    *out = NULL;
    for (size_t i = 0; i < N_MODES; i++) {
        if (strcmp(modes[i].name, name) == 0) {
            *out = &modes[i];
            return NULL;
        }
    }
    return unknown_mode(name);
}
