// shape_latent: the rules of attention over a cache of latents, and of the products of single heads that go before and behind it.
#include "ir/shape_inside.h"

// A cache of latents [P, page, width] with only P symbolic.
static mlcc_status *need_latents(const ir_shape_query *query, int32_t operand) {
    const ir_type *cache = operand_type(query, operand);
    bool good = dtype_kind(cache) == IR_KIND_FLOAT && cache->rank == 3;
    for (int32_t i = 1; good && i < 3; i++)
        good = cache->dims[i].symbol == NULL && cache->dims[i].value > 0;
    if (good) return NULL;
    return operand_error(query, operand, "a float cache of latents [P, page, width]");
}

mlcc_status *ir_shape_latent_append(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 1, 2));
    MLCC_TRY(need_float(query, 2, 2));
    MLCC_TRY(need_latents(query, 0));
    MLCC_TRY(need_places(query, 3, 1));
    const ir_type *cache = operand_type(query, 0), *latent = operand_type(query, 1);
    const int64_t width = cache->dims[2].value, rank = latent->dims[1].value;
    if (latent->dims[1].symbol != NULL || rank < 1 || rank >= width)
        return extent_error(query, 1, "columns below", cache->dims[2], "(the width of operand 0)");
    MLCC_TRY(need_extent(query, 2, 0, latent->dims[0], "rows", "(the rows of operand 1)"));
    MLCC_TRY(need_extent(
        query, 2, 1, ir_dim_const(width - rank), "columns", "(what operand 1 leaves of a row)"));
    return one_result(results, *cache);
}

mlcc_status *ir_shape_latent_attention(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    MLCC_TRY(need_float(query, 1, 2));
    MLCC_TRY(need_latents(query, 2));
    MLCC_TRY(need_places(query, 3, 0));
    MLCC_TRY(need_attr_i64(query, "rank", 1));
    MLCC_TRY(need_attr_finite(query, "scale", -HUGE_VAL));
    const ir_type *q = operand_type(query, 0), *cache = operand_type(query, 2);
    const int64_t rank = attr_of(query, "rank")->as.i64, width = cache->dims[2].value;
    if (rank >= width)
        return extent_error(query, 2, "rows wider than", ir_dim_const(rank), "(the attribute)");
    if (q->dims[1].symbol != NULL || q->dims[1].value % rank != 0)
        return extent_error(
            query, 0, "columns that are a multiple of", ir_dim_const(rank), "(the rank)");
    int64_t columns = 0;
    if (!mlcc_i64_mul(q->dims[1].value / rank, width - rank, &columns))
        return operand_error(query, 2, "narrower rows");
    MLCC_TRY(need_extent(query, 1, 0, q->dims[0], "rows", "(the rows of operand 0)"));
    MLCC_TRY(need_extent(
        query, 1, 1, ir_dim_const(columns), "columns", "(heads times what the rank leaves)"));
    return one_result(results, *q);
}

mlcc_status *ir_shape_linear_heads(const ir_shape_query *query, shape_results *results) {
    MLCC_TRY(need_float(query, 0, 2));
    const ir_type *x = operand_type(query, 0), *weight = operand_type(query, 1);
    bool good = weight->rank == 3 && dtype_kind(weight) == IR_KIND_FLOAT;
    for (int32_t i = 0; good && i < 3; i++)
        good = weight->dims[i].symbol == NULL && weight->dims[i].value > 0;
    if (!good) return operand_error(query, 1, "a float stack [H, N, K] with constant extents");
    int64_t columns = 0, outputs = 0;
    if (!mlcc_i64_mul(weight->dims[0].value, weight->dims[2].value, &columns) ||
        !mlcc_i64_mul(weight->dims[0].value, weight->dims[1].value, &outputs))
        return operand_error(query, 1, "a smaller stack of weights");
    MLCC_TRY(need_extent(query, 0, 1, ir_dim_const(columns), "columns", "(H * K of operand 1)"));
    return one_result(results, ir_type_matrix(x->dtype, x->dims[0], ir_dim_const(outputs)));
}
