// awq_padding: group sizes told by the number of padded groups, and by the padding itself.
#include "quantization/foreign/awq_padding.h"

int64_t quant_awq_zero_words(int64_t columns, int64_t group) {
    const int64_t multiple = group >= 128 ? 1 : group == 64 ? 2 : group == 32 ? 4 : 0;
    if (multiple == 0 || columns % group != 0) return 0;
    const int64_t words = (columns / group + 7) / 8;
    return (words + multiple - 1) / multiple * multiple;
}

// Tries the usual sizes, then every number of groups that `zero_words` can hold, most groups first.
static int64_t guess_group(int64_t columns, int64_t zero_words) {
    static const int64_t usual[] = {128, 64, 32};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (quant_awq_zero_words(columns, usual[i]) == zero_words) return usual[i];
    }
    for (int64_t n_groups = 8 * zero_words; n_groups > 8 * (zero_words - 1); n_groups--) {
        if (columns % n_groups == 0 &&
            quant_awq_zero_words(columns, columns / n_groups) == zero_words)
            return columns / n_groups;
    }
    return 0;
}

mlcc_status *quant_awq_padded_group(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    int64_t columns, int64_t zero_words, int64_t *group) {
    const quant_part_text shape = quant_part_describe(&weight->parts[part]);
    *group = 0;
    if (hints->group_size == 0) {
        *group = guess_group(columns, zero_words);
        if (*group != 0) return NULL;
        return quant_part_refuse(
            weight, part,
            "%s is padded to %lld groups; no group size (32, 64, or 128 and more) of "
            "K = %lld columns is padded so in layout %s",
            shape.text, (long long)(8 * zero_words), (long long)columns, weight->layout->name);
    }
    const int64_t wanted = hints->group_size < 0 ? columns : hints->group_size;
    const int64_t words = quant_awq_zero_words(columns, wanted);
    if (columns % wanted != 0) {
        return quant_part_refuse(
            weight, part, "group size %lld of the configuration does not divide K = %lld; found %s",
            (long long)wanted, (long long)columns, shape.text);
    }
    if (words == 0) {
        return quant_part_refuse(
            weight, part,
            "group size %lld of the configuration, but layout %s has groups of 32, 64, or 128 and "
            "more",
            (long long)wanted, weight->layout->name);
    }
    if (words != zero_words) {
        return quant_part_refuse(
            weight, part,
            "%s is padded to %lld groups, but group size %lld of the configuration needs %lld for "
            "K = "
            "%lld columns",
            shape.text, (long long)(8 * zero_words), (long long)hints->group_size,
            (long long)(8 * words), (long long)columns);
    }
    *group = wanted;
    return NULL;
}

// Groups up to the last one that has a scale other than zero in some row.
static int64_t groups_in_use(
    const quant_foreign_tensor *scales, bool is_transposed, int64_t n_rows, int64_t n_padded) {
    int64_t last = 0;
    float run[256];
    const int64_t lines = is_transposed ? n_padded : n_rows;
    const int64_t length = is_transposed ? n_rows : n_padded;
    for (int64_t line = 0; line < lines; line++) {
        for (int64_t begin = 0; begin < length; begin += 256) {
            const int64_t count = length - begin < 256 ? length - begin : 256;
            quant_part_floats(scales, line * length + begin, count, run);
            for (int64_t i = 0; i < count; i++) {
                const int64_t j = is_transposed ? line : begin + i;
                if (run[i] != 0.0f && j >= last) last = j + 1;
            }
        }
    }
    return last;
}

mlcc_status *quant_awq_check_padding(
    const quant_foreign_weight *weight, int32_t part, const quant_foreign_hints *hints,
    bool is_transposed, int64_t zero_words, quant_canon *canon) {
    if (!quant_part_has_data(weight, part)) return NULL;
    const int64_t in_use =
        groups_in_use(&weight->parts[part], is_transposed, canon->n_rows, 8 * zero_words);
    // Only sizes of 128 and more share a number of words.
    for (int64_t n = in_use > 1 ? in_use : 1;
         hints->group_size == 0 && canon->group >= 128 && n <= 8 * zero_words; n++) {
        if (canon->columns % n != 0 ||
            quant_awq_zero_words(canon->columns, canon->columns / n) != zero_words)
            continue;
        canon->group = canon->columns / n;
        canon->n_groups = n;
        break;
    }
    if (in_use <= canon->n_groups) return NULL;
    return MLCC_ERROR(
        INVALID,
        "%s.%s: group %lld has scales, expected zeros from group %lld on (groups of %lld of K = "
        "%lld "
        "columns): the group size is another one, or the file is damaged",
        weight->name != NULL ? weight->name : "weight", quant_part_name(weight, part),
        (long long)(in_use - 1), (long long)canon->n_groups, (long long)canon->group,
        (long long)canon->columns);
}
