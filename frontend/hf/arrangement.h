// arrangement: the forms in which files keep weights where params have another, one tensor at a time: what a form needs, how the tensor looks afterwards, and
// its bytes.
#ifndef MLCC_FRONTEND_HF_ARRANGEMENT_H
#define MLCC_FRONTEND_HF_ARRANGEMENT_H

#include "frontend/hf/weight_source.h"

typedef enum hf_arrangement_form {
    HF_AS_IT_IS,
    HF_TRANSPOSED, // [K, N] becomes [N, K], every matrix of a stack by itself
    // Of a stack [E, K, 2F]: transposed, and of the rows 2i and 2i + 1 the first become 0 … F - 1, the second F … 2F - 1.
    HF_TRANSPOSED_PAIRS,
    HF_PAIRS, // the same of rows [E, 2F, …], not transposed
    // Of blocks u8 [E, N, K/32, 16] called …_blocks and their scales u8 [E, N, K/32] called …_scales (quantization/foreign/mxfp4.h): the numbers, bfloat16
    // [E, N, K]; their rows in pairs or not. Such rows need a name of their own (`as`).
    HF_MXFP4,
    HF_MXFP4_PAIRS,
    // Rows are n_groups groups of queries_per_group heads of q, a head of k, a head of v, each of head_dim rows; they become all of q, all of k,
    // all of v. Vectors likewise.
    HF_GROUPED_QKV,
    HF_FLATTENED, // [N, K] becomes [N * K]
    HF_UNIT_ROWS, // every row divided by its length (or by 1e-12, if it is shorter)
    // Rows are n_groups heads of head_dim rows each; part_rows of every head, from its row part_begin on, become [n_groups, part_rows, columns]; or
    // every head's transposed.
    HF_PART_OF_HEADS,
    HF_PART_OF_HEADS_TRANSPOSED
} hf_arrangement_form;

typedef struct hf_arrangement {
    const char *name;
    const char *optional_prefix; // that the file's name may lack; NULL = none
    hf_arrangement_form form;
    double addend; // then added to every element
    int64_t n_groups, queries_per_group, head_dim;
    int64_t part_begin, part_rows;
    const char *
        as; // name of a tensor that the result becomes, beside the file's; NULL: it stands in its place
} hf_arrangement;

// Whether the form reads numbers out of blocks of codes and their scales.
bool hf_arrangement_has_scales(const hf_arrangement *row);
// Whether the form can read the tensor's elements; other element formats are left to whoever needs the tensor.
bool hf_arrangement_reads(const hf_arrangement *row, const hf_tensor *tensor);
// INVALID: the tensor is no matrix or stack where the form needs one, has another number of rows than the config says, an odd number of pairs; blocks
// have another shape, or not the scales that go with them. `scales` NULL: the file has none. `description` of the file, for messages.
mlcc_status *hf_arrangement_check(
    const hf_arrangement *row, const hf_tensor *tensor, const hf_tensor *scales,
    const char *description);
// Makes of a checked tensor's description what it is once it is arranged: element format, shape, size.
void hf_arrangement_describe(const hf_arrangement *row, hf_tensor *tensor);
// The arranged bytes of `stored`, whose bytes are `data`, in memory of malloc. `scales`: bytes of the scales, if the form has any. NULL: memory ended.
char *hf_arrangement_make(
    const hf_arrangement *row, const hf_tensor *stored, const void *data, const void *scales);

#endif
