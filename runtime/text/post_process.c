#include "runtime/text/post_process.h"

static void apply(
    const mlcc_template *step, const int32_t *ids, size_t n_ids, bool add_special, mlcc_ids *out) {
    for (size_t i = 0; i < step->n_parts; i++) {
        const mlcc_template_part *part = &step->parts[i];
        if (part->is_text) {
            mlcc_ids_append(out, ids, n_ids);
        } else if (add_special) {
            mlcc_ids_append(out, part->ids, part->n_ids);
        }
    }
}

mlcc_status *mlcc_post_process(
    const mlcc_post_processor *processor, const int32_t *ids, size_t n_ids, bool add_special,
    mlcc_ids scratch[2], mlcc_ids *out) {
    for (size_t i = 0; i < processor->n_steps; i++) {
        bool is_last = i + 1 == processor->n_steps;
        mlcc_ids *to = is_last ? out : &scratch[i % 2];
        if (!is_last) mlcc_ids_clear(to);
        apply(&processor->steps[i], ids, n_ids, add_special, to);
        MLCC_TRY(mlcc_ids_check(to));
        ids = to->items;
        n_ids = to->n;
    }
    if (processor->n_steps == 0) mlcc_ids_append(out, ids, n_ids);
    return mlcc_ids_check(out);
}
