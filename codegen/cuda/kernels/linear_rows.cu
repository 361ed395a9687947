// linear_rows: which rows of x the tokens of a block are: neighbours, or those of slots (t, j) whose expert the block multiplies. Operand 0 is a matrix
// of rows of n_k columns; where it has a part for every chosen expert, row t has several.

typedef struct linear_rows {
    i64 n_k;
    i64 first;         // row of token 0
    const i32 *chosen; // or the row of every token; NULL where tokens are neighbours
    i32 n;             // tokens
} linear_rows;

DEVICE linear_rows linear_rows_from(i64 n_k, i64 first, i32 n) {
    linear_rows rows;
    rows.n_k = n_k;
    rows.first = first;
    rows.chosen = 0;
    rows.n = n;
    return rows;
}

DEVICE linear_rows linear_rows_chosen(i64 n_k, const i32 *chosen, i32 n) {
    linear_rows rows = linear_rows_from(n_k, 0, n);
    rows.chosen = chosen;
    return rows;
}

DEVICE i64 linear_row_of(const linear_rows *rows, i32 token) {
    return rows->chosen != 0 ? rows->chosen[token] : rows->first + token;
}

// Element k of a token, zero where there is none.
DEVICE float linear_element(const kernel_env *env, const linear_rows *rows, i32 token, i64 k) {
    if (k < 0 || k >= rows->n_k) return 0.0f;
    i64 row = linear_row_of(rows, token), column = k;
    if (rows->chosen != 0) {
        const i64 n_parts = kernel_dim_0_1(env) / rows->n_k;
        column += row % n_parts * rows->n_k;
        row /= n_parts;
    }
    const float value = kernel_load_0(env, row, column);
    kernel_keep_0(env, row, column, value);
    return value;
}
