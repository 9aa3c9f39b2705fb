/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels, part: 3x3 convolution of stride 1 by minimal filtering, F(4x4, 3x3) (Winograd 1980; Lavin and Gray 2016).
 * A tile of 4x4 outputs costs 36 products per pair of channels where the plain sum takes 144. The interpolation points
 * are 0, +-A, +-B and infinity; with A = 5/8 and B = 3/2 the error in single precision is half that of the usual 1 and 2
 * (7.8e-7 of the norm against 1.7e-6 with 64 channels).
 *
 * x and y are blocked, [n, c / BLOCK, h, w, BLOCK]. A stage of 36 values per tile and channel lies in memory as
 * [36][tile][channel] with a row of `stage_step` floats per value. */

#define WINO_A 0.625f
#define WINO_B 1.5f
#define WINO_A2 (WINO_A * WINO_A)
#define WINO_B2 (WINO_B * WINO_B)
/* Vectors of output channels that the product kernel holds in registers, and rows. */
#if VL == 16
#define WINO_VECTORS 4
#define WINO_ROWS 6
#else
#define WINO_VECTORS 2
#define WINO_ROWS 4
#endif
#define WINO_WIDTH (WINO_VECTORS * VL)
#define UNROLL _Pragma("GCC unroll 8")

/* One column or row of the input transform: 6 values -> 6 values. */
static inline __attribute__((always_inline)) void wino_in(const vf d[6], vf r[6])
{
    vf ea = d[4] - WINO_B2 * d[2], oa = WINO_A * (d[3] - WINO_B2 * d[1]);
    vf eb = d[4] - WINO_A2 * d[2], ob = WINO_B * (d[3] - WINO_A2 * d[1]);
    r[0] = WINO_A2 * WINO_B2 * d[0] - (WINO_A2 + WINO_B2) * d[2] + d[4];
    r[1] = ea + oa;
    r[2] = ea - oa;
    r[3] = eb + ob;
    r[4] = eb - ob;
    r[5] = WINO_A2 * WINO_B2 * d[1] - (WINO_A2 + WINO_B2) * d[3] + d[5];
}

/* Output transform: 6 -> 4. */
static inline __attribute__((always_inline)) void wino_out(const vf m[6], vf y[4])
{
    vf sa = m[1] + m[2], da = m[1] - m[2], sb = m[3] + m[4], db = m[3] - m[4];
    y[0] = m[0] + sa + sb;
    y[1] = WINO_A * da + WINO_B * db;
    y[2] = WINO_A2 * sa + WINO_B2 * sb;
    y[3] = WINO_A2 * WINO_A * da + WINO_B2 * WINO_B * db + m[5];
}

/* Its transpose, for the gradient of the weights: 4 -> 6. */
static inline __attribute__((always_inline)) void wino_out_back(const vf y[4], vf m[6])
{
    vf ea = y[0] + WINO_A2 * y[2], oa = WINO_A * (y[1] + WINO_A2 * y[3]);
    vf eb = y[0] + WINO_B2 * y[2], ob = WINO_B * (y[1] + WINO_B2 * y[3]);
    m[0] = y[0];
    m[1] = ea + oa;
    m[2] = ea - oa;
    m[3] = eb + ob;
    m[4] = eb - ob;
    m[5] = y[3];
}

/* Filter transform: 3 -> 6, and its transpose 6 -> 3. Row p of G is (1, p, p^2) / prod over the other points q of (p - q). */
#define WINO_G0 (1.0f / (WINO_A2 * WINO_B2))
#define WINO_GA (1.0f / (2 * WINO_A2 * (WINO_A2 - WINO_B2)))
#define WINO_GB (1.0f / (2 * WINO_B2 * (WINO_B2 - WINO_A2)))

static inline __attribute__((always_inline)) void wino_filter(const vf g[3], vf u[6])
{
    vf ea = WINO_GA * g[0] + (WINO_GA * WINO_A2) * g[2], oa = (WINO_GA * WINO_A) * g[1];
    vf eb = WINO_GB * g[0] + (WINO_GB * WINO_B2) * g[2], ob = (WINO_GB * WINO_B) * g[1];
    u[0] = WINO_G0 * g[0];
    u[1] = ea + oa;
    u[2] = ea - oa;
    u[3] = eb + ob;
    u[4] = eb - ob;
    u[5] = g[2];
}

static inline __attribute__((always_inline)) void wino_filter_back(const vf u[6], vf g[3])
{
    vf sa = WINO_GA * (u[1] + u[2]), da = WINO_GA * (u[1] - u[2]);
    vf sb = WINO_GB * (u[3] + u[4]), db = WINO_GB * (u[3] - u[4]);
    g[0] = WINO_G0 * u[0] + sa + sb;
    g[1] = WINO_A * da + WINO_B * db;
    g[2] = WINO_A2 * sa + WINO_B2 * sb + u[5];
}

static inline int64_t wino_u_step(const sw_simd_wino *a)
{
    return a->c * a->k + SW_WINO_PAD;
}

/* Which pixels of the plane a tile covers. */
typedef struct wino_tile {
    int64_t image;
    int y, x; /* of its first output */
} wino_tile;

static wino_tile wino_tile_at(const sw_simd_wino *a, int64_t tile)
{
    int64_t per_image = (int64_t)a->tiles_y * a->tiles_x, in_image = tile % per_image;
    return (wino_tile){tile / per_image, (int)(in_image / a->tiles_x) * 4, (int)(in_image % a->tiles_x) * 4};
}

static void wino_tile_next(const sw_simd_wino *a, wino_tile *tile)
{
    tile->x += 4;
    if (tile->x < 4 * a->tiles_x) return;
    tile->x = 0;
    tile->y += 4;
    if (tile->y < 4 * a->tiles_y) return;
    tile->y = 0;
    tile->image++;
}

static inline int wino_min(int a, int b)
{
    return a < b ? a : b;
}

/* rows x WINO_WIDTH of C (+)= A B over `depth`: A(i, d) at a[i * a_row + d * a_step], B(d, .) at b[d * b_step]. */
static inline __attribute__((always_inline)) void wino_product_rows(int rows, const float *a, int64_t a_row, int64_t a_step,
                                                                    const float *b, int64_t b_step, int64_t depth, float *c,
                                                                    int64_t c_row, bool add)
{
    vf sum[WINO_ROWS][WINO_VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int v = 0; v < WINO_VECTORS; v++) sum[i][v] = add ? load(c + i * c_row + v * VL) : (vf){0};
    for (int64_t d = 0; d < depth; d++) {
        vf right[WINO_VECTORS];
        UNROLL
        for (int v = 0; v < WINO_VECTORS; v++) right[v] = load(b + d * b_step + v * VL);
        UNROLL
        for (int i = 0; i < rows; i++) {
            vf left = splat(a[i * a_row + d * a_step]);
            UNROLL
            for (int v = 0; v < WINO_VECTORS; v++) sum[i][v] += left * right[v];
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++)
        UNROLL
        for (int v = 0; v < WINO_VECTORS; v++) store(c + i * c_row + v * VL, sum[i][v]);
}

static void wino_product(int64_t rows, const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_step,
                         int64_t depth, float *c, int64_t c_row, bool add)
{
    int64_t i = 0;
    for (; i + WINO_ROWS <= rows; i += WINO_ROWS)
        wino_product_rows(WINO_ROWS, a + i * a_row, a_row, a_step, b, b_step, depth, c + i * c_row, c_row, add);
#if WINO_ROWS > 4
    for (; i + 4 <= rows; i += 4)
        wino_product_rows(4, a + i * a_row, a_row, a_step, b, b_step, depth, c + i * c_row, c_row, add);
#endif
    for (; i + 2 <= rows; i += 2)
        wino_product_rows(2, a + i * a_row, a_row, a_step, b, b_step, depth, c + i * c_row, c_row, add);
    for (; i < rows; i++)
        wino_product_rows(1, a + i * a_row, a_row, a_step, b, b_step, depth, c + i * c_row, c_row, add);
}

/* Filters of input channels [c0, c1) to a->u [36][k / WIDTH][c][WIDTH]. `w` is [k, c, 3, 3]; `back`: it is [c, k, 3, 3]
 * and is turned by half a turn, which makes the convolution of dy that gives dx. */
static void wino_filters(const sw_simd_wino *a, const float *w, bool back, int64_t c0, int64_t c1)
{
    for (int64_t c = c0; c < c1; c++)
        for (int64_t k = 0; k < a->k; k += VL) {
            float tap[9][VL] __attribute__((aligned(64)));
            for (int64_t i = 0; i < VL; i++) {
                const float *from = back ? w + (c * a->k + k + i) * 9 : w + ((k + i) * a->c + c) * 9;
                for (int j = 0; j < 9; j++) tap[back ? 8 - j : j][i] = from[j];
            }
            vf half[6][3];
            for (int x = 0; x < 3; x++) {
                vf g[3] = {load(tap[x]), load(tap[3 + x]), load(tap[6 + x])}, u[6];
                wino_filter(g, u);
                for (int y = 0; y < 6; y++) half[y][x] = u[y];
            }
            float *to = a->u + (k / WINO_WIDTH * a->c + c) * WINO_WIDTH + k % WINO_WIDTH;
            for (int y = 0; y < 6; y++) {
                vf u[6];
                wino_filter(half[y], u);
                for (int x = 0; x < 6; x++) store(to + (y * 6 + x) * wino_u_step(a), u[x]);
            }
        }
}

/* The gradient of the filters in their domain, a->u [36][c][k] += sum over the tiles. */
static void wino_weight_product(const sw_simd_wino *a, int64_t count, bool add)
{
    int64_t in_step = a->tiles_most * a->c + SW_WINO_PAD, grad_step = a->tiles_most * a->k + SW_WINO_PAD;
    for (int f = 0; f < 36; f++)
        for (int64_t k = a->k_begin; k < a->k_end; k += WINO_WIDTH)
            wino_product(a->c, a->in_stage + f * in_step, 1, a->c, a->out_stage + f * grad_step + k, a->k, count,
                         a->u + f * wino_u_step(a) + k, a->k, add);
}

/* From there to dw [k, c, 3, 3], for input channels [c0, c1). */
static void wino_filters_back(const sw_simd_wino *a, float *dw, int64_t c0, int64_t c1)
{
    for (int64_t c = c0; c < c1; c++)
        for (int64_t k = 0; k < a->k; k += VL) {
            const float *from = a->u + c * a->k + k;
            vf half[3][6];
            for (int x = 0; x < 6; x++) {
                vf u[6], g[3];
                for (int y = 0; y < 6; y++) u[y] = load(from + (y * 6 + x) * wino_u_step(a));
                wino_filter_back(u, g);
                for (int y = 0; y < 3; y++) half[y][x] = g[y];
            }
            float tap[9][VL] __attribute__((aligned(64)));
            for (int y = 0; y < 3; y++) {
                vf g[3];
                wino_filter_back(half[y], g);
                for (int x = 0; x < 3; x++) store(tap[y * 3 + x], g[x]);
            }
            for (int64_t i = 0; i < VL; i++)
                for (int j = 0; j < 9; j++) dw[((k + i) * a->c + c) * 9 + j] = tap[j][i];
        }
}
