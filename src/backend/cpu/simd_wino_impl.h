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

/* `side` x `side` pixels at (y0, x0) of one blocked plane into a dense patch, zero outside. */
static void wino_patch(const float *plane, int h, int w, int y0, int x0, int side, float *to)
{
    for (int y = y0; y < y0 + side; y++)
        for (int x = x0; x < x0 + side; x++, to += BLOCK) {
            bool inside = y >= 0 && y < h && x >= 0 && x < w;
            const float *from = plane + ((int64_t)y * w + x) * BLOCK;
            for (int v = 0; v < BLOCK; v += VL) store(to + v, inside ? load(from + v) : (vf){0});
        }
}

/* Asks for the pixels of the tile after the next: planes are far apart and rows too short for the hardware to see. */
static inline __attribute__((always_inline)) void wino_ahead(const float *from, int64_t row, int rows)
{
    UNROLL
    for (int y = 0; y < rows; y++) {
        UNROLL
        for (int x = 8; x < 12; x++) __builtin_prefetch(from + y * row + x * BLOCK, 0, 3);
    }
}

/* The 36 values of one vector of channels of one tile. */
static inline __attribute__((always_inline)) void wino_input_vector(const float *from, int64_t row, float *stage,
                                                                    int64_t step)
{
    vf half[6][6];
    UNROLL
    for (int x = 0; x < 6; x++) {
        vf d[6], r[6];
        UNROLL
        for (int y = 0; y < 6; y++) d[y] = load(from + y * row + x * BLOCK);
        wino_in(d, r);
        UNROLL
        for (int y = 0; y < 6; y++) half[y][x] = r[y];
    }
    UNROLL
    for (int y = 0; y < 6; y++) {
        vf r[6];
        wino_in(half[y], r);
        UNROLL
        for (int x = 0; x < 6; x++) store(stage + x * step, r[x]);
        stage += 6 * step;
    }
}

static void wino_input(const sw_simd_wino *a, const float *x, int64_t channels, int64_t first, int64_t count, float *stage,
                       int64_t step)
{
    float patch[36 * BLOCK] __attribute__((aligned(64)));
    int64_t plane = (int64_t)a->h * a->w * BLOCK;
    for (int64_t c = 0; c < channels; c += BLOCK) {
        wino_tile tile = wino_tile_at(a, first);
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            const float *from = x + (tile.image * (channels / BLOCK) + c / BLOCK) * plane;
            int64_t row = 6 * BLOCK;
            if (tile.y >= 1 && tile.x >= 1 && tile.y + 5 <= a->h && tile.x + 5 <= a->w) {
                from += ((int64_t)(tile.y - 1) * a->w + tile.x - 1) * BLOCK;
                row = (int64_t)a->w * BLOCK;
                wino_ahead(from, row, 6);
            } else {
                wino_patch(from, a->h, a->w, tile.y - 1, tile.x - 1, 6, patch);
                from = patch;
            }
            float *to = stage + t * channels + c;
            for (int v = 0; v < BLOCK; v += VL) wino_input_vector(from + v, row, to + v, step);
        }
    }
}

/* Gradients of the outputs, in the filter's domain: A dy A^T. */
static inline __attribute__((always_inline)) void wino_grad_vector(const float *from, int64_t row, float *stage,
                                                                   int64_t step)
{
    vf half[6][4];
    UNROLL
    for (int x = 0; x < 4; x++) {
        vf d[4], r[6];
        UNROLL
        for (int y = 0; y < 4; y++) d[y] = load(from + y * row + x * BLOCK);
        wino_out_back(d, r);
        UNROLL
        for (int y = 0; y < 6; y++) half[y][x] = r[y];
    }
    UNROLL
    for (int y = 0; y < 6; y++) {
        vf r[6];
        wino_out_back(half[y], r);
        UNROLL
        for (int x = 0; x < 6; x++) store(stage + x * step, r[x]);
        stage += 6 * step;
    }
}

static void wino_grad(const sw_simd_wino *a, const float *dy, int64_t channels, int64_t first, int64_t count, float *stage,
                      int64_t step)
{
    float patch[16 * BLOCK] __attribute__((aligned(64)));
    int64_t plane = (int64_t)a->h * a->w * BLOCK;
    for (int64_t c = 0; c < channels; c += BLOCK) {
        wino_tile tile = wino_tile_at(a, first);
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            const float *from = dy + (tile.image * (channels / BLOCK) + c / BLOCK) * plane;
            int64_t row = 4 * BLOCK;
            if (tile.y + 4 <= a->h && tile.x + 4 <= a->w) {
                from += ((int64_t)tile.y * a->w + tile.x) * BLOCK;
                row = (int64_t)a->w * BLOCK;
                wino_ahead(from, row, 4);
            } else {
                wino_patch(from, a->h, a->w, tile.y, tile.x, 4, patch);
                from = patch;
            }
            float *to = stage + t * channels + c;
            for (int v = 0; v < BLOCK; v += VL) wino_grad_vector(from + v, row, to + v, step);
        }
    }
}

/* One vector of output channels of one tile: 36 values -> `rows` x `columns` pixels of y. */
static inline __attribute__((always_inline)) void wino_output_vector(const sw_simd_wino *a, const float *stage,
                                                                     int64_t step, vf bias, float *y, int64_t row,
                                                                     int rows, int columns)
{
    vf half[4][6];
    UNROLL
    for (int x = 0; x < 6; x++) {
        vf m[6], r[4];
        UNROLL
        for (int i = 0; i < 6; i++) m[i] = load(stage + (i * 6 + x) * step);
        wino_out(m, r);
        UNROLL
        for (int i = 0; i < 4; i++) half[i][x] = r[i];
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        vf r[4];
        wino_out(half[i], r);
        UNROLL
        for (int x = 0; x < 4; x++) {
            if (i >= rows || x >= columns) continue;
            float *to = y + i * row + x * BLOCK;
            vf value = r[x] + bias;
            if (a->sum) value += load(to);
            if (a->relu) value = vmax(value, (vf){0});
            store(to, value);
        }
    }
}

/* `width` output channels from channel `k` on. */
static void wino_output(const sw_simd_wino *a, int64_t k, int64_t width, int64_t first, int64_t count, const float *stage,
                        int64_t step)
{
    int64_t plane = (int64_t)a->h * a->w * BLOCK, row = (int64_t)a->w * BLOCK;
    for (int64_t c = 0; c < width; c += VL) {
        int64_t channel = k + c, block = channel / BLOCK;
        wino_tile tile = wino_tile_at(a, first);
        vf bias = a->bias ? load(a->bias + channel) : (vf){0};
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            int rows = wino_min(4, a->h - tile.y), columns = wino_min(4, a->w - tile.x);
            float *y = a->y + (tile.image * (a->k / BLOCK) + block) * plane +
                       ((int64_t)tile.y * a->w + tile.x) * BLOCK + channel % BLOCK;
            const float *from = stage + t * width + c;
            if (rows == 4 && columns == 4) wino_output_vector(a, from, step, bias, y, row, 4, 4);
            else wino_output_vector(a, from, step, bias, y, row, rows, columns);
        }
    }
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

/* Output tiles [first, first + count): transform, 36 products per WINO_WIDTH channels, transform back. */
static void wino_forward(const sw_simd_wino *a, int64_t first, int64_t count)
{
    int64_t in_step = a->tiles_most * a->c + SW_WINO_PAD, out_step = a->tiles_most * WINO_WIDTH + SW_WINO_PAD;
    wino_input(a, a->x, a->c, first, count, a->in_stage, in_step);
    for (int64_t k = 0; k < a->k; k += WINO_WIDTH) {
        for (int f = 0; f < 36; f++)
            wino_product(count, a->in_stage + f * in_step, a->c, 1, a->u + f * wino_u_step(a) + k * a->c, WINO_WIDTH, a->c,
                         a->out_stage + f * out_step, WINO_WIDTH, false);
        wino_output(a, k, WINO_WIDTH, first, count, a->out_stage, out_step);
    }
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

/* The gradient of the filters in their domain, a->u [36][c][k] += sum over the tiles, for values [f0, f1). */
static void wino_weight_product(const sw_simd_wino *a, int64_t count, int f0, int f1, bool add)
{
    int64_t in_step = a->tiles_most * a->c + SW_WINO_PAD, grad_step = a->tiles_most * a->k + SW_WINO_PAD;
    for (int f = f0; f < f1; f++)
        for (int64_t k = 0; k < a->k; k += WINO_WIDTH)
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
