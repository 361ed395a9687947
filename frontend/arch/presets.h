// presets: configs of well-known models by name (the rows of presets.def).
#ifndef MLCC_FRONTEND_ARCH_PRESETS_H
#define MLCC_FRONTEND_ARCH_PRESETS_H

#include "runtime/base/status.h"
#include "runtime/base/str.h"

// Appends the text of the preset's config.json. Unknown: INVALID, with the nearest name and the list.
mlcc_status *arch_preset_config(const char *name, mlcc_str *text);
// All names, in table order.
const char *const *arch_preset_names(size_t *n_names);
// The model_type of a preset; NULL when there is no such preset.
const char *arch_preset_model_type(const char *name);

#endif
