/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simd_typed_impl.h: what of the 3x3 convolution touches images; simd_wino_impl.h has the rest. */

/* `side` x `side` pixels at (y0, x0) of one blocked plane into a dense patch, zero outside. */
static void TYPED(wino_patch)(const ELEM *plane, int h, int w, int y0, int x0, int side, ELEM *to)
{
    for (int y = y0; y < y0 + side; y++)
        for (int x = x0; x < x0 + side; x++, to += BLOCK) {
            bool inside = y >= 0 && y < h && x >= 0 && x < w;
            const ELEM *from = plane + ((int64_t)y * w + x) * BLOCK;
            for (int v = 0; v < BLOCK; v += VL) STORE_N(to + v, inside ? LOAD_N(from + v, VL) : (vf){0}, VL);
        }
}

/* Asks for the pixels of the tile after the next: planes are far apart and rows too short for the hardware to see. */
static inline __attribute__((always_inline)) void TYPED(wino_ahead)(const ELEM *from, int64_t row, int rows)
{
    UNROLL
    for (int y = 0; y < rows; y++) {
        UNROLL
        for (int x = 8; x < 12; x++) __builtin_prefetch(from + y * row + x * BLOCK, 0, 3);
    }
}

/* The 36 values of one vector of channels of one tile. */
static inline __attribute__((always_inline)) void TYPED(wino_input_vector)(const ELEM *from, int64_t row, float *stage,
                                                                    int64_t step)
{
    vf half[6][6];
    UNROLL
    for (int x = 0; x < 6; x++) {
        vf d[6], r[6];
        UNROLL
        for (int y = 0; y < 6; y++) d[y] = LOAD_N(from + y * row + x * BLOCK, VL);
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

static void TYPED(wino_input)(const sw_simd_wino *a, const void *x_, int64_t channels, int64_t first, int64_t count, float *stage,
                       int64_t step)
{
    const ELEM *x = x_;
    ELEM patch[36 * BLOCK] __attribute__((aligned(64)));
    int64_t plane = (int64_t)a->h * a->w * BLOCK;
    for (int64_t c = 0; c < channels; c += BLOCK) {
        wino_tile tile = wino_tile_at(a, first);
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            const ELEM *from = x + (tile.image * (channels / BLOCK) + c / BLOCK) * plane;
            int64_t row = 6 * BLOCK;
            if (tile.y >= 1 && tile.x >= 1 && tile.y + 5 <= a->h && tile.x + 5 <= a->w) {
                from += ((int64_t)(tile.y - 1) * a->w + tile.x - 1) * BLOCK;
                row = (int64_t)a->w * BLOCK;
                TYPED(wino_ahead)(from, row, 6);
            } else {
                TYPED(wino_patch)(from, a->h, a->w, tile.y - 1, tile.x - 1, 6, patch);
                from = patch;
            }
            float *to = stage + t * channels + c;
            for (int v = 0; v < BLOCK; v += VL) TYPED(wino_input_vector)(from + v, row, to + v, step);
        }
    }
}

/* Gradients of the outputs, in the filter's domain: A dy A^T. */
static inline __attribute__((always_inline)) void TYPED(wino_grad_vector)(const ELEM *from, int64_t row, float *stage,
                                                                   int64_t step)
{
    vf half[6][4];
    UNROLL
    for (int x = 0; x < 4; x++) {
        vf d[4], r[6];
        UNROLL
        for (int y = 0; y < 4; y++) d[y] = LOAD_N(from + y * row + x * BLOCK, VL);
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

static void TYPED(wino_grad)(const sw_simd_wino *a, const void *dy_, int64_t channels, int64_t first, int64_t count, float *stage,
                      int64_t step)
{
    const ELEM *dy = dy_;
    ELEM patch[16 * BLOCK] __attribute__((aligned(64)));
    int64_t plane = (int64_t)a->h * a->w * BLOCK;
    for (int64_t c = a->k_begin; c < a->k_end; c += BLOCK) {
        wino_tile tile = wino_tile_at(a, first);
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            const ELEM *from = dy + (tile.image * (channels / BLOCK) + c / BLOCK) * plane;
            int64_t row = 4 * BLOCK;
            if (tile.y + 4 <= a->h && tile.x + 4 <= a->w) {
                from += ((int64_t)tile.y * a->w + tile.x) * BLOCK;
                row = (int64_t)a->w * BLOCK;
                TYPED(wino_ahead)(from, row, 4);
            } else {
                TYPED(wino_patch)(from, a->h, a->w, tile.y, tile.x, 4, patch);
                from = patch;
            }
            float *to = stage + t * channels + c;
            for (int v = 0; v < BLOCK; v += VL) TYPED(wino_grad_vector)(from + v, row, to + v, step);
        }
    }
}

/* One vector of output channels of one tile: 36 values -> `rows` x `columns` pixels of y. */
static inline __attribute__((always_inline)) void TYPED(wino_output_vector)(const sw_simd_wino *a, const float *stage,
                                                                     int64_t step, vf bias, ELEM *y, int64_t row,
                                                                     int rows, int columns, bool past)
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
            ELEM *to = y + i * row + x * BLOCK;
            vf value = r[x] + bias;
            if (a->sum) value += LOAD_N(to, VL);
            if (a->relu) value = vmax(value, (vf){0});
            if (past) STREAM(to, value);
            else STORE_N(to, value, VL);
        }
    }
}

/* `width` output channels from channel `k` on. */
static void TYPED(wino_output)(const sw_simd_wino *a, int64_t k, int64_t width, int64_t first, int64_t count, const float *stage,
                        int64_t step)
{
    int64_t plane = (int64_t)a->h * a->w * BLOCK, row = (int64_t)a->w * BLOCK;
    for (int64_t c = 0; c < width; c += VL) {
        int64_t channel = k + c, block = channel / BLOCK;
        wino_tile tile = wino_tile_at(a, first);
        vf bias = a->bias ? load(a->bias + channel) : (vf){0};
        for (int64_t t = 0; t < count; t++, wino_tile_next(a, &tile)) {
            int rows = wino_min(4, a->h - tile.y), columns = wino_min(4, a->w - tile.x);
            ELEM *y = (ELEM *)a->y + (tile.image * (a->k / BLOCK) + block) * plane +
                       ((int64_t)tile.y * a->w + tile.x) * BLOCK + channel % BLOCK;
            const float *from = stage + t * width + c;
            if (rows < 4 || columns < 4) TYPED(wino_output_vector)(a, from, step, bias, y, row, rows, columns, false);
            else if (a->past_cache) TYPED(wino_output_vector)(a, from, step, bias, y, row, 4, 4, true);
            else TYPED(wino_output_vector)(a, from, step, bias, y, row, 4, 4, false);
        }
    }
}

/* Output tiles [first, first + count): transform, 36 products per WINO_WIDTH channels, transform back. */
static void TYPED(wino_forward)(const sw_simd_wino *a, int64_t first, int64_t count)
{
    int64_t in_step = a->tiles_most * a->c + SW_WINO_PAD, out_step = a->tiles_most * WINO_WIDTH + SW_WINO_PAD;
    TYPED(wino_input)(a, a->x, a->c, first, count, a->in_stage, in_step);
    for (int64_t k = 0; k < a->k; k += WINO_WIDTH) {
        for (int f = 0; f < 36; f++)
            wino_product(count, a->in_stage + f * in_step, a->c, 1, a->u + f * wino_u_step(a) + k * a->c, WINO_WIDTH, a->c,
                         a->out_stage + f * out_step, WINO_WIDTH, false);
        TYPED(wino_output)(a, k, WINO_WIDTH, first, count, a->out_stage, out_step);
    }
    if (a->past_cache) stream_end();
}
