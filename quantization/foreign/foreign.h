// foreign: weights that others have quantized. One row per layout on disk: which tensors make one
// linear weight, how their shapes tell N, K, bits and groups, and where every code lies.
//
//   const quant_foreign_layout *layout = …;            found by frontend/hf from tensor names, dtypes and shapes
//   layout->describe(&weight, &hints, &canon);         from the shapes alone
//   layout->check(&weight, &canon, …);                 what only the data tells: maps, scales, padding
//   layout->unpack(&weight, &canon, &rows);            rows into the canonical form (canon.h)
//   layout->pack(&canon, &rows, …);                    and back, for exports and for tests
//
// Layouts (drawn in the files of this folder): awq-gemm, awq-gemv, awq-gemv-fast (also llm-awq v2),
// awq-marlin (also AutoGPTQ's and IST's names), gptq, gptq-v2, ct-pack-quantized, ct-int-quantized,
// fp8-tensor, fp8-channel, fp8-block. No allocation except where `keep` is given; pure functions: unpack
// may run on many threads at once.
#ifndef MLCC_QUANTIZATION_FOREIGN_FOREIGN_H
#define MLCC_QUANTIZATION_FOREIGN_FOREIGN_H

#include "quantization/canon.h"
#include "runtime/base/arena.h"
#include "runtime/base/status.h"

#define QUANT_FOREIGN_MAX_PARTS 6

// A stored tensor; rank -1 = absent. `data` may be NULL while only shapes are looked at.
typedef struct quant_foreign_tensor {
    const void *data; // aligned to the element size
    ir_dtype dtype;
    int32_t rank;
    int64_t dims[IR_MAX_RANK];
} quant_foreign_tensor;

typedef struct quant_foreign_layout quant_foreign_layout;

// One linear weight as stored: its parts in the order of layout->parts.
typedef struct quant_foreign_weight {
    const quant_foreign_layout *layout;
    const char *name; // "model.layers.0.mlp.down_proj", for messages
    quant_foreign_tensor parts[QUANT_FOREIGN_MAX_PARTS];
    bool uses_alternative
        [QUANT_FOREIGN_MAX_PARTS]; // the part was found under its alternative suffix
} quant_foreign_weight;

// What the checkpoint's configuration says; shapes decide where both know.
typedef struct quant_foreign_hints {
    int32_t bits;       // 0 = unknown
    int64_t group_size; // -1 = the whole row, 0 = unknown
    bool is_symmetric;  // zero is the middle of the code range where no zeros are stored
    bool is_llmc_gemv;  // LLMC's gemv_pack: zeros of the last G mod 8 groups may be missing
    int64_t block_rows, block_columns; // fp8-block; 0 = unknown
} quant_foreign_hints;

typedef struct quant_foreign_part {
    const char *suffix; // "qweight": tensor "<name>.qweight"
    const char
        *alternative; // another suffix of the same meaning ("scaled_zeros" for "qzeros"), or NULL
    bool is_required;
} quant_foreign_part;

struct quant_foreign_layout {
    const char *name;   // "awq-gemm"
    const char *family; // as --source-format names it: "awq", "gptq", "compressed-tensors", "fp8"
    const char *other_family; // a second one that writes it too (marlin: "gptq"), or NULL
    const char *meaning;      // one line
    // What configurations call it ("gemm", "exllama"): break ties in quant_foreign_detect. NULL ends.
    const char *formats[4];
    quant_foreign_part parts[QUANT_FOREIGN_MAX_PARTS]; // suffix NULL ends the list
    // Compares dtypes, ranks and dims of the parts with each other and with the hints. MISMATCH:
    // they are not of this layout; names the part, what was expected and what was found. Looks at no
    // data, with one exception: that of weight_shape (compressed-tensors), which tells K where the
    // words are padded; without it K is what the words hold.
    mlcc_status *(*describe)(
        const quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon);
    // With data present: act-order map in range (canon->group_of_column is set, in weight's memory
    // or `keep`), scales finite, zeros recoverable (gemv_fast stores -scale * zero), LLMC's hazards.
    // awq-gemv and awq-gemv-fast without a configured group size: the padding tells it, and the canon
    // is corrected. Repairs where the value is certain, into copies in `keep`, with one warning in the
    // log; INVALID otherwise. Parts without data are passed over. NULL: nothing to check.
    mlcc_status *(*check)(
        quant_foreign_weight *weight, const quant_foreign_hints *hints, quant_canon *canon,
        mlcc_arena *keep);
    // Rows [rows->first_row, + n_rows) of the weight into rows' buffers.
    void (*unpack)(
        const quant_foreign_weight *weight, const quant_foreign_hints *hints,
        const quant_canon *canon, quant_canon_rows *rows);
    // A whole weight (rows: first_row 0, n_rows N) into new tensors in `keep`. UNSUPPORTED: the layout
    // cannot hold it (zeros in marlin, group size, bits). NULL: no writer.
    mlcc_status *(*pack)(
        const quant_canon *canon, const quant_canon_rows *rows, mlcc_arena *keep,
        quant_foreign_weight *weight);
};

const quant_foreign_layout *const *quant_foreign_layouts(size_t *n_layouts);
const quant_foreign_layout *quant_foreign_find(const char *name); // NULL when unknown
// Whether `family` (as --source-format and configurations name it) writes this layout.
bool quant_foreign_is_of(const quant_foreign_layout *layout, const char *family);
// Whether some layout has a part of this suffix ("qweight", "B", "weight_scale", also "weight").
bool quant_foreign_knows(const char *suffix);
// A weight whose parts are those of `tensors` that the layout names, `suffixes[i]` naming tensors[i];
// the others are left out, parts that are not there get rank -1.
void quant_foreign_weight_init(
    quant_foreign_weight *weight, const quant_foreign_layout *layout, const char *name,
    const char *const *suffixes, const quant_foreign_tensor *tensors, size_t n_tensors);
// Which of the layouts fits these stored tensors, from names, dtypes and shapes; `suffixes[i]` names
// tensors[i]. Tensors that no layout names (bias, input_scale, workspace) are not looked at; every
// other one must be a part of the answer. Config hints only break ties that shapes leave open (gptq
// and gptq-v2 look alike: `format_hint`, e.g. "gptq_v2", "gemm", NULL = unknown). NULL: none fits.
const quant_foreign_layout *quant_foreign_detect(
    const char *const *suffixes, const quant_foreign_tensor *tensors, size_t n_tensors,
    const char *format_hint);
// Why none fits, for when quant_foreign_detect has given NULL: MISMATCH that lists the tensors, the
// nearest layout and its first objection. `family` restricts the layouts that are meant; NULL: all.
mlcc_status *quant_foreign_explain(
    const char *name, const char *const *suffixes, const quant_foreign_tensor *tensors,
    size_t n_tensors, const char *family, const char *format_hint,
    const quant_foreign_hints *hints);

#endif
