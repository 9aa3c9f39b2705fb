/* SPDX-License-Identifier: Apache-2.0 */
/* Part 6 of the leaf kernels (see simd_impl.h): convolution with one filter per channel, a strip of rows of one plane. The
 * strip is padded on all sides, so that no place has to be asked whether it is inside; lanes are columns. */

#define DW_ROWS 8
#define DW_TAPS 8

/* y of `rows` rows from `row` on, one vector of columns. */
static inline __attribute__((always_inline)) void depthwise_tile(const sw_simd_depthwise *a, int row, int column, const int rows)
{
    vf sum[DW_ROWS];
    const float *x = a->x + row * a->x_step + column, *w = a->w;
    for (int r = 0; r < rows; r++) sum[r] = splat(a->bias);
    for (int i = 0; i < a->kh; i++, x += a->x_step)
        for (int j = 0; j < a->kw; j++) {
            vf tap = splat(*w++);
            for (int r = 0; r < rows; r++) sum[r] += load(x + r * a->x_step + j) * tap;
        }
    int64_t n = a->width - column < VL ? a->width - column : VL;
    for (int r = 0; r < rows; r++) {
        float *y = a->y + (row + r) * (int64_t)a->width + column;
        store_n(y, a->add ? load_n(y, n) + sum[r] : sum[r], n);
    }
}

static void depthwise(const sw_simd_depthwise *a)
{
    for (int column = 0; column < a->width; column += VL) {
        int row = 0;
        for (; row + DW_ROWS <= a->rows; row += DW_ROWS) depthwise_tile(a, row, column, DW_ROWS);
        if (row + 4 <= a->rows) {
            depthwise_tile(a, row, column, 4);
            row += 4;
        }
        for (; row < a->rows; row++) depthwise_tile(a, row, column, 1);
    }
}

/* What the strip adds to `taps` taps from column j of row i of the filter on. */
static inline __attribute__((always_inline)) void depthwise_taps(const sw_simd_depthwise *a, int i, int j, int step,
                                                                 const int taps)
{
    vf sum[DW_TAPS];
    const float *x = a->x + i * a->x_step + j, *dy = a->dy;
    for (int t = 0; t < taps; t++) sum[t] = (vf){0};
    for (int row = 0; row < a->rows; row++, x += a->x_step, dy += a->dy_step)
        for (int column = 0; column < a->dy_step; column += VL) {
            vf d = load(dy + column);
            for (int t = 0; t < taps; t++) sum[t] += load(x + column + t * step) * d;
        }
    for (int t = 0; t < taps; t++) a->dw[i * a->kw + j + (step == 1 ? t : t * a->kw)] = hsum(sum[t]);
}

/* Taps side by side where the filter is wide, one below the other otherwise. */
static void depthwise_weights(const sw_simd_depthwise *a)
{
    bool wide = a->kw > 1;
    int lines = wide ? a->kh : 1, count = wide ? a->kw : a->kh, step = wide ? 1 : a->x_step;
    for (int line = 0; line < lines; line++) {
        int t = 0;
        for (; t + DW_TAPS <= count; t += DW_TAPS) depthwise_taps(a, wide ? line : t, wide ? t : 0, step, DW_TAPS);
        for (; t + 4 <= count; t += 4) depthwise_taps(a, wide ? line : t, wide ? t : 0, step, 4);
        for (; t + 2 <= count; t += 2) depthwise_taps(a, wide ? line : t, wide ? t : 0, step, 2);
        if (t < count) depthwise_taps(a, wide ? line : t, wide ? t : 0, step, 1);
    }
    vf sum = {0};
    for (int i = 0; i < a->rows * a->dy_step; i += VL) sum += load(a->dy + i);
    a->dw[a->kh * a->kw] = hsum(sum);
}
