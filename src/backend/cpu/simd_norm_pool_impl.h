/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simd_typed_impl.h: batch norm, ReLU and max pool of one blocked plane in one pass each way. */

/* What a place of the window gives; a window of 3 is unrolled. */
static inline __attribute__((always_inline)) vf TYPED(normed)(const ELEM *x, vf mean, vf scale, vf offset)
{
    return vmax((vf){0}, (LOAD_N(x, VL) - mean) * scale + offset);
}

/* The largest of a window and where it is. With constant bounds the loops are unrolled. */
static inline __attribute__((always_inline)) void TYPED(normed_most)(const ELEM *corner, vf mean, vf scale, vf offset,
                                                                     int ky0, int ky1, int kx0, int kx1, int window,
                                                                     int64_t w, vf *best, vi *where)
{
    *best = TYPED(normed)(corner + (ky0 * w + kx0) * BLOCK, mean, scale, offset);
    *where = (vi){0} + (ky0 * window + kx0);
    for (int ky = ky0; ky < ky1; ky++)
        for (int kx = kx0; kx < kx1; kx++) {
            vf value = TYPED(normed)(corner + (ky * w + kx) * BLOCK, mean, scale, offset);
            vi better = value > *best;
            *best = choose(better, value, *best);
            *where = (better & (ky * window + kx)) | (~better & *where);
        }
}

static void TYPED(norm_max_pool)(const void *x_, void *y_, uint8_t *index, const int *size, const float *mean,
                                 const float *scale, const float *offset)
{
    const ELEM *x = x_;
    ELEM *y = y_;
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
            int ky1 = h - y0 < window ? h - y0 : window, kx1 = w - x0 < window ? w - x0 : window;
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                vf m = load(mean + v * VL), s = load(scale + v * VL), o = load(offset + v * VL);
                const ELEM *corner = x + ((int64_t)y0 * w + x0) * BLOCK + v * VL;
                vf best;
                vi where;
                bool whole = window == 3 && ky0 == 0 && kx0 == 0 && ky1 == 3 && kx1 == 3;
                if (whole) TYPED(normed_most)(corner, m, s, o, 0, 3, 0, 3, 3, w, &best, &where);
                else TYPED(normed_most)(corner, m, s, o, ky0, ky1, kx0, kx1, window, w, &best, &where);
                int64_t to = (int64_t)(oy * size[SW_POOL_OW] + ox) * BLOCK + v * VL;
                STORE_N(y + to, best, VL);
                vb code = __builtin_convertvector(where, vb);
                memcpy(index + to, &code, sizeof(code));
            }
        }
}

/* The values of x that won, lane by lane. */
static inline __attribute__((always_inline)) vf TYPED(winners)(const ELEM *corner, vi where, int ky0, int ky1, int kx0,
                                                               int kx1, int window, int64_t w)
{
    vf won = {0};
    for (int ky = ky0; ky < ky1; ky++)
        for (int kx = kx0; kx < kx1; kx++)
            won = choose(where == ky * window + kx, LOAD_N(corner + (ky * w + kx) * BLOCK, VL), won);
    return won;
}

static void TYPED(norm_pool_sums)(const void *x_, const void *y_, const void *dy_, const uint8_t *index, const int *size,
                                  const float *mean, double *sum, double *dot)
{
    const ELEM *x = x_, *y = y_, *dy = dy_;
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++) {
        vf s[BLOCK_VECTORS] = {{0}}, q[BLOCK_VECTORS] = {{0}};
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
            int ky1 = h - y0 < window ? h - y0 : window, kx1 = w - x0 < window ? w - x0 : window;
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                int64_t at = (int64_t)(oy * size[SW_POOL_OW] + ox) * BLOCK + v * VL;
                const ELEM *corner = x + ((int64_t)y0 * w + x0) * BLOCK + v * VL;
                vb code;
                memcpy(&code, index + at, sizeof(code));
                vf dz = masked_by(LOAD_N(dy + at, VL), LOAD_N(y + at, VL) > 0);
                bool whole = window == 3 && ky0 == 0 && kx0 == 0 && ky1 == 3 && kx1 == 3;
                vi where = __builtin_convertvector(code, vi);
                vf won = whole ? TYPED(winners)(corner, where, 0, 3, 0, 3, 3, w)
                               : TYPED(winners)(corner, where, ky0, ky1, kx0, kx1, window, w);
                s[v] += dz;
                q[v] += dz * (won - load(mean + v * VL));
            }
        }
        for (int l = 0; l < BLOCK; l++) {
            sum[l] += (double)s[l / VL][l % VL];
            dot[l] += (double)q[l / VL][l % VL];
        }
    }
}

/* What one output hands back, and to which place of its window; nothing beyond the edge. */
static inline __attribute__((always_inline)) vf TYPED(pool_source)(const ELEM *y, const ELEM *dy, const uint8_t *index,
                                                                   int64_t at, bool inside, vi *where)
{
    if (!inside) {
        *where = (vi){0} - 1;
        return (vf){0};
    }
    vb code;
    memcpy(&code, index + at, sizeof(code));
    *where = __builtin_convertvector(code, vi);
    return masked_by(LOAD_N(dy + at, VL), LOAD_N(y + at, VL) > 0);
}

static inline __attribute__((always_inline)) void TYPED(norm_pool_put)(const ELEM *x, ELEM *dx, bool add, vf g, int v,
                                                                       const sw_simd_norm_grad *per)
{
    vf d = (g - load(per->c1 + v * VL) - (LOAD_N(x, VL) - load(per->mean + v * VL)) * load(per->c2 + v * VL)) *
           load(per->scale + v * VL);
    if (add) STORE_N(dx, d + LOAD_N(dx, VL), VL);
    else STREAM(dx, d);
}

/* Window 3, stride 2, padding 1: input (2m, 2n) lies in window (m, n) only, (2m + 1, 2n + 1) in four. */
static void TYPED(norm_pool_grad_usual)(const ELEM *x, const ELEM *y, const ELEM *dy, const uint8_t *index, ELEM *dx,
                                        bool add, const int *size, const sw_simd_norm_grad *per)
{
    int h = size[SW_POOL_H], w = size[SW_POOL_W], oh = size[SW_POOL_OH], ow = size[SW_POOL_OW];
    for (int m = 0; m < oh; m++)
        for (int v = 0; v < BLOCK_VECTORS; v++) {
            int64_t here = (int64_t)m * ow * BLOCK + v * VL, below = here + (int64_t)ow * BLOCK;
            vi at, right_at, low_at, low_right_at;
            vf g = TYPED(pool_source)(y, dy, index, here, true, &at);
            vf low = TYPED(pool_source)(y, dy, index, below, m + 1 < oh, &low_at);
            for (int n = 0; n < ow; n++) {
                int64_t next = (n + 1) * BLOCK;
                bool more = n + 1 < ow;
                vf right = TYPED(pool_source)(y, dy, index, here + next, more, &right_at);
                vf low_right = TYPED(pool_source)(y, dy, index, below + next, more && m + 1 < oh, &low_right_at);
                int64_t to = ((int64_t)2 * m * w + 2 * n) * BLOCK + v * VL, row = (int64_t)w * BLOCK;
                TYPED(norm_pool_put)(x + to, dx + to, add, masked_by(g, at == 4), v, per);
                if (2 * n + 1 < w)
                    TYPED(norm_pool_put)(x + to + BLOCK, dx + to + BLOCK, add,
                                         masked_by(g, at == 5) + masked_by(right, right_at == 3), v, per);
                if (2 * m + 1 < h)
                    TYPED(norm_pool_put)(x + to + row, dx + to + row, add,
                                         masked_by(g, at == 7) + masked_by(low, low_at == 1), v, per);
                if (2 * m + 1 < h && 2 * n + 1 < w)
                    TYPED(norm_pool_put)(x + to + row + BLOCK, dx + to + row + BLOCK, add,
                                         masked_by(g, at == 8) + masked_by(right, right_at == 6) +
                                             masked_by(low, low_at == 2) + masked_by(low_right, low_right_at == 0),
                                         v, per);
                g = right, at = right_at, low = low_right, low_at = low_right_at;
            }
        }
}

static void TYPED(norm_pool_grad_any)(const ELEM *x, const ELEM *y, const ELEM *dy, const uint8_t *index, ELEM *dx,
                                      bool add, const int *size, const sw_simd_norm_grad *per)
{
    int w = size[SW_POOL_W], ow = size[SW_POOL_OW], oy0, oy1, ox0, ox1;
    int window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE], pad = size[SW_POOL_PAD];
    for (int iy = 0; iy < size[SW_POOL_H]; iy++) {
        sw_pool_covering(iy, pad, window, stride, size[SW_POOL_OH], &oy0, &oy1);
        for (int ix = 0; ix < w; ix++) {
            sw_pool_covering(ix, pad, window, stride, ow, &ox0, &ox1);
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                int64_t at = ((int64_t)iy * w + ix) * BLOCK + v * VL;
                vf g = {0};
                for (int oy = oy0; oy < oy1; oy++)
                    for (int ox = ox0; ox < ox1; ox++) {
                        vi where;
                        int mine = (iy + pad - oy * stride) * window + ix + pad - ox * stride;
                        vf from = TYPED(pool_source)(y, dy, index, ((int64_t)oy * ow + ox) * BLOCK + v * VL, true, &where);
                        g += masked_by(from, where == mine);
                    }
                TYPED(norm_pool_put)(x + at, dx + at, add, g, v, per);
            }
        }
    }
}

static void TYPED(norm_pool_grad)(const void *x, const void *y, const void *dy, const uint8_t *index, void *dx, bool add,
                                  const int *size, const sw_simd_norm_grad *per)
{
    bool usual = size[SW_POOL_WINDOW] == 3 && size[SW_POOL_STRIDE] == 2 && size[SW_POOL_PAD] == 1;
    if (usual) TYPED(norm_pool_grad_usual)(x, y, dy, index, dx, add, size, per);
    else TYPED(norm_pool_grad_any)(x, y, dy, index, dx, add, size, per);
    stream_end();
}
