/* SPDX-License-Identifier: Apache-2.0 */
/* Part 5 of the leaf kernels (see simd_impl.h): attention whose values have several columns, one tile of queries by a
 * stretch of keys. As in part 4 lanes are queries and powers are of two; a tile's weights go through the first cache on
 * their way to the products with the values. */

/* Rows of a tile of dots that is `vectors` wide: as many as leave registers for the factors. */
#define DOT_ROWS(vectors) (VL != 16 ? ((vectors) == 2 ? SCORE_ROWS : 8) : (vectors) == TILE_VECTORS ? SCORE_ROWS : 12)
#define DOT_ROWS_MOST 12

/* s[r][v] = a_r . b_v: rows of a [..][depth], columns of b [depth][QUERIES] */
static inline __attribute__((always_inline)) void dot_tile(const float *a, const float *b, int depth, const int rows,
                                                           const int vectors, vf s[DOT_ROWS_MOST][TILE_VECTORS])
{
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) s[r][v] = (vf){0};
    for (int c = 0; c < depth; c++, b += QUERIES) {
        vf bv[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) bv[v] = load(b + v * VL);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) s[r][v] += bv[v] * a[r * depth + c];
    }
}

/* What a stretch adds apart from the sums so far (short sums round less), and a tile's sums of powers, or largest scores. */
typedef struct wide_sums {
    float sum[QUERIES], tile[QUERIES];
} wide_sums;

/* What becomes of a tile of dots. */
typedef enum wide_use {
    KEEP_POWERS, /* weights = 2^(score - top), summed */
    KEEP_SCORES, /* weights = score; the largest */
    KEEP_WEIGHTS, /* weights = 2^(score - log-sum-exp) */
    KEEP_GRADS   /* grads = weights (v . dy - mean) */
} wide_use;

static inline __attribute__((always_inline)) void wide_tile(const sw_simd_attend_wide *a, wide_sums *sums, int64_t first,
                                                            int64_t row, int column, const int rows, const int vectors,
                                                            const wide_use use)
{
    vf s[DOT_ROWS_MOST][TILE_VECTORS];
    if (use == KEEP_GRADS) dot_tile(a->v + (first + row) * a->e, a->dyt + column, a->e, rows, vectors, s);
    else dot_tile(a->k + (first + row) * a->d, a->qt + column, a->d, rows, vectors, s);
    for (int v = 0; v < vectors; v++) {
        int at = column + v * VL;
        float *weights = a->weights + row * QUERIES + at;
        vf tile = use <= KEEP_SCORES ? load(sums->tile + at) : (vf){0}, base = load((use == KEEP_GRADS ? a->mean : a->top) + at);
        for (int r = 0; r < rows; r++, weights += QUERIES) {
            vf x = s[r][v];
            if (use == KEEP_POWERS || use == KEEP_WEIGHTS) x = vexp2(x - base);
            if (use == KEEP_POWERS) tile += x;
            if (use == KEEP_SCORES) tile = vmax(tile, x);
            if (use == KEEP_GRADS) store(a->grads + (row + r) * QUERIES + at, load(weights) * (x - base));
            else store(weights, x);
        }
        if (use <= KEEP_SCORES) store(sums->tile + at, tile);
    }
}

static inline __attribute__((always_inline)) void wide_rows(const sw_simd_attend_wide *a, wide_sums *sums, int64_t first,
                                                            int64_t keys, int column, const int vectors, const wide_use use)
{
    int64_t row = 0;
    for (; row + DOT_ROWS(vectors) <= keys; row += DOT_ROWS(vectors))
        wide_tile(a, sums, first, row, column, DOT_ROWS(vectors), vectors, use);
    for (; row + 2 <= keys; row += 2) wide_tile(a, sums, first, row, column, 2, vectors, use);
    if (row < keys) wide_tile(a, sums, first, row, column, 1, vectors, use);
}

static inline __attribute__((always_inline)) void wide_dots(const sw_simd_attend_wide *a, wide_sums *sums, int64_t first,
                                                            int64_t keys, const wide_use use)
{
    int column = 0;
    for (; column + TILE_VECTORS * VL <= a->lanes; column += TILE_VECTORS * VL)
        wide_rows(a, sums, first, keys, column, TILE_VECTORS, use);
#if VL == 16
    for (; column + 2 * VL <= a->lanes; column += 2 * VL) wide_rows(a, sums, first, keys, column, 2, use);
#endif
    for (; column < a->lanes; column += VL) wide_rows(a, sums, first, keys, column, 1, use);
}

/* Moves the references of the queries to the largest score among them and `keys` keys, and makes those keys' weights. */
static __attribute__((noinline)) void wide_raise(const sw_simd_attend_wide *a, wide_sums *sums, int64_t first, int64_t keys)
{
    memcpy(sums->tile, a->top, sizeof(sums->tile));
    wide_dots(a, sums, first, keys, KEEP_SCORES);
    for (int at = 0; at < a->lanes; at += VL) {
        vf most = load(sums->tile + at), total = {0};
        vf fade = vexp2(vmax(splat(-1000.0f), load(a->top + at) - most));
        for (int64_t r = 0; r < keys; r++) {
            vf e = vexp2(load(a->weights + r * QUERIES + at) - most);
            store(a->weights + r * QUERIES + at, e);
            total += e;
        }
        store(a->top + at, most);
        store(a->sum + at, load(a->sum + at) * fade);
        store(sums->sum + at, load(sums->sum + at) * fade);
        store(sums->tile + at, total);
        for (int64_t c = 0; c < a->e * QUERIES; c += QUERIES) {
            store(a->yt + c + at, load(a->yt + c + at) * fade);
            store(a->part + c + at, load(a->part + c + at) * fade);
        }
    }
}

static bool wide_over(const sw_simd_attend_wide *a, const wide_sums *sums)
{
    bool over = false;
    for (int at = 0; at < a->lanes; at += VL) over |= any_above(load(sums->tile + at), TOP_LIMIT);
    return over;
}

static void attend_wide(const sw_simd_attend_wide *a)
{
    wide_sums sums = {{0}, {0}};
    memset(a->part, 0, (size_t)(a->e * QUERIES) * sizeof(float));
    for (int64_t first = 0; first < a->keys; first += KEYS) {
        int64_t keys = a->keys - first < KEYS ? a->keys - first : KEYS;
        bool begun = a->top[0] > -INFINITY;
        memset(sums.tile, 0, sizeof(sums.tile));
        if (begun) wide_dots(a, &sums, first, keys, KEEP_POWERS);
        if (!begun || wide_over(a, &sums)) wide_raise(a, &sums, first, keys);
        for (int at = 0; at < a->lanes; at += VL) store(sums.sum + at, load(sums.sum + at) + load(sums.tile + at));
        product y = {a->v + first * a->e, 1, a->e, a->weights, QUERIES, a->part, QUERIES, a->e, keys};
        multiply(&y, a->lanes);
    }
    for (int at = 0; at < a->lanes; at += VL) {
        store(a->sum + at, load(a->sum + at) + load(sums.sum + at));
        for (int64_t c = at; c < a->e * QUERIES; c += QUERIES) store(a->yt + c, load(a->yt + c) + load(a->part + c));
    }
}

/* mean[i] = y_i . dy_i of transposed [e][QUERIES], added up in the order of a tile's v . dy: where a query looks at one key
 * only, y is that key's value and its scores' gradients are zero to the bit. */
static void attend_wide_mean(const float *yt, const float *dyt, int e, float *mean)
{
    for (int at = 0; at < QUERIES; at += VL) {
        vf sum = {0};
        for (int c = at; c < e * QUERIES; c += QUERIES) sum += load(dyt + c) * load(yt + c);
        store(mean + at, sum);
    }
}

static void attend_wide_grad(const sw_simd_attend_wide *a)
{
    wide_sums unused;
    for (int64_t first = 0; first < a->keys; first += KEYS) {
        int64_t keys = a->keys - first < KEYS ? a->keys - first : KEYS;
        wide_dots(a, &unused, first, keys, KEEP_WEIGHTS);
        wide_dots(a, &unused, first, keys, KEEP_GRADS);
        product dq = {a->k + first * a->d, 1, a->d, a->grads, QUERIES, a->dqt, QUERIES, a->d, keys};
        product dk = {a->grads, QUERIES, 1, a->q_pad, a->d_pad, a->dk_pad + first * a->d_pad, a->d_pad, keys, a->queries};
        product dv = {a->weights, QUERIES, 1, a->dy_pad, a->e_pad, a->dv_pad + first * a->e_pad, a->e_pad, keys, a->queries};
        multiply(&dq, a->lanes);
        multiply(&dk, a->d_pad);
        multiply(&dv, a->e_pad);
    }
}
