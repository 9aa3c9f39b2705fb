/* SPDX-License-Identifier: Apache-2.0 */
/* Part 4 of the leaf kernels (see simd_impl.h): attention with one value column, streamed over keys.
 * Lanes are queries, so that the running maximum, sum and result need no work across lanes. */

#define QUERIES SW_ATTEND_QUERIES
#define KEYS SW_ATTEND_KEYS
/* Vectors and rows whose sums fit the registers: 4 x 4 of 32, or 4 x 2 of 16. */
#define TILE_VECTORS (VL == 16 ? 4 : 2)
#define TILE_ROWS 4

typedef struct product {
    const float *a;      /* element (row, k) at a[row * row_step + k * k_step] */
    int64_t row_step, k_step;
    const float *b;      /* [depth][ldb] */
    int64_t ldb;
    float *c;            /* [rows][ldc] */
    int64_t ldc;
    int64_t rows, depth;
    bool add;
} product;

/* c[row + r][column + v] (+)= sum over k of a(row + r, k) * b[k][column + v]; rows and vectors are constants. */
static inline __attribute__((always_inline)) void product_tile(const product *p, int64_t row, int64_t column,
                                                               const int rows, const int vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sum[r][v] = p->add ? load(p->c + (row + r) * p->ldc + column + v * VL) : (vf){0};
    const float *a = p->a + row * p->row_step, *b = p->b + column;
    for (int64_t k = 0; k < p->depth; k++, a += p->k_step, b += p->ldb) {
        vf bv[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) bv[v] = load(b + v * VL);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] += bv[v] * a[r * p->row_step];
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) store(p->c + (row + r) * p->ldc + column + v * VL, sum[r][v]);
}

static inline __attribute__((always_inline)) void product_columns(const product *p, int64_t column, const int vectors)
{
    int64_t row = 0;
    for (; row + TILE_ROWS <= p->rows; row += TILE_ROWS) product_tile(p, row, column, TILE_ROWS, vectors);
    for (; row < p->rows; row++) product_tile(p, row, column, 1, vectors);
}

static void multiply(const product *p, int64_t columns) /* a multiple of VL */
{
    int64_t column = 0;
    for (; column + TILE_VECTORS * VL <= columns; column += TILE_VECTORS * VL)
        product_columns(p, column, TILE_VECTORS);
#if VL == 16
    for (; column + 2 * VL <= columns; column += 2 * VL) product_columns(p, column, 2);
#endif
    for (; column < columns; column += VL) product_columns(p, column, 1);
}

/* scores[j][i] = k_(first + j) . q_i */
static void attend_scores(const sw_simd_attend *a, int64_t first, int64_t keys)
{
    product p = {a->k + first * a->d, a->d, 1, a->qt, QUERIES, a->scores, QUERIES, keys, a->d, false};
    multiply(&p, QUERIES);
}

static void attend(const sw_simd_attend *a)
{
    float top[QUERIES], sum[QUERIES] = {0}, result[QUERIES] = {0};
    for (int i = 0; i < QUERIES; i++) top[i] = -INFINITY;
    for (int64_t first = 0; first < a->n; first += KEYS) {
        int64_t keys = a->n - first < KEYS ? a->n - first : KEYS;
        attend_scores(a, first, keys);
        for (int i = 0; i < QUERIES; i += VL) {
            vf before = load(top + i), most = before, s = {0}, r = {0};
            for (int64_t j = 0; j < keys; j++) most = vmax(most, load(a->scores + j * QUERIES + i));
            for (int64_t j = 0; j < keys; j++) {
                vf e = vexp(load(a->scores + j * QUERIES + i) - most);
                s += e;
                r += e * a->v[first + j];
            }
            vf fade = vexp(before - most);
            store(top + i, most);
            store(sum + i, load(sum + i) * fade + s);
            store(result + i, load(result + i) * fade + r);
        }
    }
    for (int i = 0; i < QUERIES; i++) {
        a->lse[i] = top[i] + logf(sum[i]);
        a->p[i] = result[i] / sum[i];
    }
}

/* Turns scores into the gradient of the logits, G (v - P) dP, and adds to dv. */
static void attend_logit_grad(const sw_simd_attend *a, int64_t first, int64_t keys)
{
    for (int64_t j = 0; j < keys; j++) {
        vf column = {0};
        float *row = a->scores + j * QUERIES;
        for (int i = 0; i < QUERIES; i += VL) {
            vf g = vexp(load(row + i) - load(a->lse + i)) * load(a->dp + i);
            column += g;
            store(row + i, g * (a->v[first + j] - load(a->p + i)));
        }
        a->dv[first + j] += (double)hsum(column);
    }
}

static void attend_grad(const sw_simd_attend *a)
{
    memset(a->dqt, 0, (size_t)a->d * QUERIES * sizeof(float));
    for (int64_t first = 0; first < a->n; first += KEYS) {
        int64_t keys = a->n - first < KEYS ? a->n - first : KEYS;
        attend_scores(a, first, keys);
        attend_logit_grad(a, first, keys);
        product dq = {a->k + first * a->d, 1, a->d, a->scores, QUERIES, a->dqt, QUERIES, a->d, keys, true};
        multiply(&dq, QUERIES);
        product dk = {a->scores, QUERIES, 1,    a->q_pad, a->d_pad, a->dk_pad + first * a->d_pad, a->d_pad,
                      keys,      QUERIES, true};
        multiply(&dk, a->d_pad);
    }
}
