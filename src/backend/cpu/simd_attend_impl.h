/* SPDX-License-Identifier: Apache-2.0 */
/* Part 4 of the leaf kernels (see simd_impl.h): attention with one value column, one tile of queries by a stretch of
 * keys. Lanes are queries, so that sums over keys need no work across lanes, and a tile of scores goes from its
 * products through the exponential into the sums without leaving the registers. Powers are of two.
 *
 * With REDUCED defined as 1 the products are of bfloat16, two columns, queries or keys in one step, with sums in float. */
#ifndef REDUCED
#define REDUCED 0
#endif

#define QUERIES SW_ATTEND_QUERIES
#define KEYS SW_ATTEND_KEYS
/* Vectors and rows whose sums fit the registers. */
#define TILE_VECTORS (VL == 16 ? 4 : 2)
#define TILE_ROWS 8
#define SCORE_ROWS (VL == 16 ? 6 : 4)
/* A tile whose sum of powers is beyond it moves the reference of its queries; below, nothing can overflow. */
#define TOP_LIMIT 1073741824.0f

/* 2^x; at most 1.2 units in the last place off where it is normal (0.98 with AVX-512, 0.93 with AVX2). Far below -126 it is zero or denormal with
 * AVX-512 and 2^-126 otherwise; above 127 it is infinite or 2^126. */
static inline vf vexp2(vf x)
{
#if VL == 16
    const vf table = {1.0f,        1.04427378f, 1.09050773f, 1.13878863f, 1.18920712f, 1.24185781f, 1.29683955f, 1.35425555f,
                      1.41421356f, 1.47682615f, 1.54221083f, 1.61049033f, 1.68179283f, 1.75625216f, 1.83400809f, 1.91520656f};
    const float round_bias = 786432.0f; /* 1.5 * 2^19: adding it rounds to sixteenths */
    vf t = x + round_bias;
    vf n = t - round_bias, r = x - n;
    vf power = _mm512_permutexvar_ps((__m512i)t, table);
    vf p = (r * 0.055502135f + 0.24023429f) * r + 0.6931472f;
    return _mm512_scalef_ps(power + power * r * p, n);
#else
    const float round_bias = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = vmin(splat(126.0f), vmax(splat(-126.0f), x));
    vf t = x + round_bias;
    vf r = x - (t - round_bias);
    vf p = r * 1.53458124e-4f + 1.33999309e-3f;
    p = p * r + 9.61848907e-3f;
    p = p * r + 5.55032864e-2f;
    p = p * r + 2.40226462e-1f;
    p = p * r + 6.93147182e-1f;
    p = p * r + 1.0f;
    return (vf)((vi)p + ((vi)t << 23));
#endif
}

static inline bool any_above(vf x, float limit)
{
#if VL == 16
    return _mm512_cmp_ps_mask(x, splat(limit), _CMP_GT_OQ) != 0;
#elif VL == 8
    return _mm256_movemask_ps((__m256)(x > limit)) != 0;
#else
    for (int l = 0; l < VL; l++)
        if (x[l] > limit) return true;
    return false;
#endif
}

/* What products are made of: floats, or words of two bfloat16 whose two products are added. */
#if REDUCED
typedef uint32_t factor;
typedef vi factors;
#define KEY_FACTORS(a) ((a)->k_words)
#define QUERY_FACTORS(a) ((a)->qt_words)
#define DEPTH(a) ((a)->words)

static inline vf multiply_add(vf sum, factors b, factor a)
{
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)b, (__m512bh)_mm512_set1_epi32((int)a));
}
#else
typedef float factor;
typedef vf factors;
#define KEY_FACTORS(a) ((a)->k)
#define QUERY_FACTORS(a) ((a)->qt)
#define DEPTH(a) ((a)->d)

static inline vf multiply_add(vf sum, factors b, factor a)
{
    return sum + b * a;
}
#endif

static inline factors load_factors(const factor *p)
{
    factors v;
    memcpy(&v, p, sizeof(v));
    return v;
}

typedef struct product {
    const factor *a;     /* element (row, k) at a[row * row_step + k * k_step] */
    int64_t row_step, k_step;
    const factor *b;     /* [depth][ldb] */
    int64_t ldb;
    float *c;            /* [rows][ldc], added to */
    int64_t ldc;
    int64_t rows, depth;
} product;

/* c[row + r][column + v] += sum over k of a(row + r, k) * b[k][column + v]; rows and vectors are constants. */
static inline __attribute__((always_inline)) void product_tile(const product *p, int64_t row, int64_t column,
                                                               const int rows, const int vectors)
{
    vf sum[TILE_ROWS][TILE_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = load(p->c + (row + r) * p->ldc + column + v * VL);
    const factor *a = p->a + row * p->row_step, *b = p->b + column;
    for (int64_t k = 0; k < p->depth; k++, a += p->k_step, b += p->ldb) {
        factors bv[TILE_VECTORS];
        for (int v = 0; v < vectors; v++) bv[v] = load_factors(b + v * VL);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++) sum[r][v] = multiply_add(sum[r][v], bv[v], a[r * p->row_step]);
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) store(p->c + (row + r) * p->ldc + column + v * VL, sum[r][v]);
}

static inline __attribute__((always_inline)) void product_columns(const product *p, int64_t column, const int vectors,
                                                                  const int rows)
{
    int64_t row = 0;
    for (; row + rows <= p->rows; row += rows) product_tile(p, row, column, rows, vectors);
    for (; row < p->rows; row++) product_tile(p, row, column, 1, vectors);
}

static void multiply(const product *p, int64_t columns) /* a multiple of VL */
{
    int64_t column = 0;
    for (; column + TILE_VECTORS * VL <= columns; column += TILE_VECTORS * VL)
        product_columns(p, column, TILE_VECTORS, 4);
#if VL == 16
    for (; column + 2 * VL <= columns; column += 2 * VL) product_columns(p, column, 2, 8);
#endif
    for (; column < columns; column += VL) product_columns(p, column, 1, 8);
}

/* s[r][v] = k_(key + r) . q_(column + v) */
static inline __attribute__((always_inline)) void score_tile(const sw_simd_attend *a, int64_t key, int column,
                                                             const int rows, vf s[SCORE_ROWS][TILE_VECTORS])
{
    const factor *k = KEY_FACTORS(a) + key * DEPTH(a), *q = QUERY_FACTORS(a) + column;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < TILE_VECTORS; v++) s[r][v] = (vf){0};
    for (int c = 0; c < DEPTH(a); c++, q += QUERIES) {
        factors qv[TILE_VECTORS];
        for (int v = 0; v < TILE_VECTORS; v++) qv[v] = load_factors(q + v * VL);
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < TILE_VECTORS; v++) s[r][v] = multiply_add(s[r][v], qv[v], k[r * DEPTH(a) + c]);
    }
}

/* What a stretch of keys adds, apart from the sums so far: short sums round less. */
typedef struct stretch_sums {
    float sum[QUERIES], weighted[QUERIES];
} stretch_sums;

/* Moves the reference of the queries at `column` to the largest score among it and `rows` keys, and adds those. */
static __attribute__((noinline)) void raise_top(const sw_simd_attend *a, stretch_sums *sums, int64_t key, int column,
                                                int rows)
{
    vf s[SCORE_ROWS], before = load(a->top + column), most = before;
    for (int r = 0; r < rows; r++) {
        s[r] = (vf){0};
        for (int c = 0; c < DEPTH(a); c++)
            s[r] = multiply_add(s[r], load_factors(QUERY_FACTORS(a) + c * QUERIES + column),
                                KEY_FACTORS(a)[(key + r) * DEPTH(a) + c]);
        most = vmax(most, s[r]);
    }
    vf fade = vexp2(vmax(splat(-1000.0f), before - most)), total = {0}, weighted = {0};
    for (int r = 0; r < rows; r++) {
        vf e = vexp2(s[r] - most);
        total += e;
        weighted += e * a->v[key + r];
    }
    store(a->top + column, most);
    store(a->sum + column, load(a->sum + column) * fade);
    store(a->weighted + column, load(a->weighted + column) * fade);
    store(sums->sum + column, load(sums->sum + column) * fade + total);
    store(sums->weighted + column, load(sums->weighted + column) * fade + weighted);
}

static inline __attribute__((always_inline)) void attend_tile(const sw_simd_attend *a, stretch_sums *sums, int64_t key,
                                                              int column, const int rows)
{
    vf s[SCORE_ROWS][TILE_VECTORS], total[TILE_VECTORS], weighted[TILE_VECTORS];
    bool over = false;
    score_tile(a, key, column, rows, s);
    for (int v = 0; v < TILE_VECTORS; v++) {
        vf top = load(a->top + column + v * VL);
        total[v] = weighted[v] = (vf){0};
        for (int r = 0; r < rows; r++) {
            vf e = vexp2(s[r][v] - top);
            total[v] += e;
            weighted[v] += e * a->v[key + r];
        }
        over |= any_above(total[v], TOP_LIMIT);
    }
    for (int v = 0; v < TILE_VECTORS; v++) {
        int at = column + v * VL;
        if (over) {
            raise_top(a, sums, key, at, rows);
            continue;
        }
        store(sums->sum + at, load(sums->sum + at) + total[v]);
        store(sums->weighted + at, load(sums->weighted + at) + weighted[v]);
    }
}

static void attend(const sw_simd_attend *a)
{
    stretch_sums sums = {{0}, {0}};
    for (int column = 0; column < QUERIES; column += TILE_VECTORS * VL) {
        int64_t key = 0;
        for (; key + SCORE_ROWS <= a->keys; key += SCORE_ROWS) attend_tile(a, &sums, key, column, SCORE_ROWS);
        for (; key < a->keys; key++) attend_tile(a, &sums, key, column, 1);
    }
    for (int i = 0; i < QUERIES; i += VL) {
        store(a->sum + i, load(a->sum + i) + load(sums.sum + i));
        store(a->weighted + i, load(a->weighted + i) + load(sums.weighted + i));
    }
}

#if REDUCED
/* Rounds the gradients of 16 queries by `rows` keys (1 or an even number), from an even row on, and stores both forms. */
static inline __attribute__((always_inline)) void keep_logit_grad(const sw_simd_attend *a, int64_t row, int at,
                                                                  const int rows, const vf *g)
{
    __m256i half[SCORE_ROWS + 1];
    half[rows] = _mm256_setzero_si256();
    for (int r = 0; r < rows; r++) {
        half[r] = (__m256i)_mm512_cvtneps_pbh((__m512)g[r]);
        memcpy(a->score_words + ((row + r) * QUERIES + at) / 2, &half[r], sizeof(half[r]));
    }
    for (int r = 0; r < rows; r += 2) {
        __m512i low = _mm512_cvtepu16_epi32(half[r]), high = _mm512_cvtepu16_epi32(half[r + 1]);
        __m512i pair = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
        memcpy(a->score_pairs + (row + r) / 2 * QUERIES + at, &pair, sizeof(pair));
    }
}
#else
static inline __attribute__((always_inline)) void keep_logit_grad(const sw_simd_attend *a, int64_t row, int at,
                                                                  const int rows, const vf *g)
{
    for (int r = 0; r < rows; r++) store(a->scores + (row + r) * QUERIES + at, g[r]);
}
#endif

/* Gradient of the logits, G (v - P) dP, of a few keys from row `row` of the tile on; adds to dv. */
static inline __attribute__((always_inline)) void logit_grad_tile(const sw_simd_attend *a, int64_t key, int64_t row,
                                                                  int column, const int rows)
{
    vf s[SCORE_ROWS][TILE_VECTORS], dv[SCORE_ROWS];
    score_tile(a, key, column, rows, s);
    for (int r = 0; r < rows; r++) dv[r] = load(a->dv_lanes + (key + r) * SW_SPAN);
    for (int v = 0; v < TILE_VECTORS; v++) {
        int at = column + v * VL;
        vf lse = load(a->top + at), dp = load(a->dp + at), p = load(a->p + at), grad[SCORE_ROWS];
        for (int r = 0; r < rows; r++) {
            vf g = vexp2(s[r][v] - lse) * dp;
            dv[r] += g;
            grad[r] = g * (a->v[key + r] - p);
        }
        keep_logit_grad(a, row, at, rows, grad);
    }
    for (int r = 0; r < rows; r++) store(a->dv_lanes + (key + r) * SW_SPAN, dv[r]);
}

/* Adds what one tile of logits gives to the gradients of its queries and of `keys` keys from `first` on. */
static void logit_products(const sw_simd_attend *a, int64_t first, int64_t keys)
{
    float *dk_pad = a->dk_pad + first * a->d_pad;
#if REDUCED
    product dq = {a->k_pairs + first / 2 * a->d, 1, a->d, a->score_pairs, QUERIES, a->dqt, QUERIES, a->d, (keys + 1) / 2};
    product dk = {a->score_words, QUERIES / 2, 1, a->q_pairs, a->d_pad, dk_pad, a->d_pad, keys, QUERIES / 2};
#else
    product dq = {a->k + first * a->d, 1, a->d, a->scores, QUERIES, a->dqt, QUERIES, a->d, keys};
    product dk = {a->scores, QUERIES, 1, a->q_pad, a->d_pad, dk_pad, a->d_pad, keys, QUERIES};
#endif
    multiply(&dq, QUERIES);
    multiply(&dk, a->d_pad);
}

static void attend_grad(const sw_simd_attend *a)
{
    for (int64_t first = 0; first < a->keys; first += KEYS) {
        int64_t keys = a->keys - first < KEYS ? a->keys - first : KEYS;
        for (int column = 0; column < QUERIES; column += TILE_VECTORS * VL) {
            int64_t row = 0;
            for (; row + SCORE_ROWS <= keys; row += SCORE_ROWS)
                logit_grad_tile(a, first + row, row, column, SCORE_ROWS);
            for (; row + 2 <= keys; row += 2) logit_grad_tile(a, first + row, row, column, 2);
            if (row < keys) logit_grad_tile(a, first + row, row, column, 1);
        }
        logit_products(a, first, keys);
    }
}
