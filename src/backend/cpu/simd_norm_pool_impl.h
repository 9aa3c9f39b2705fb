/* SPDX-License-Identifier: Apache-2.0 */
/* Part of simd_typed_impl.h: batch norm, ReLU and max pool of one blocked plane in one pass each way. */

/* What a place of the window gives; a window of 3 is unrolled. */
static inline __attribute__((always_inline)) vf TYPED(normed)(const ELEM *x, vf mean, vf scale, vf offset)
{
    return vmax((vf){0}, (LOAD_N(x, VL) - mean) * scale + offset);
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
                vf best = TYPED(normed)(corner + ((int64_t)ky0 * w + kx0) * BLOCK, m, s, o);
                vi where = (vi){0} + (ky0 * window + kx0);
                for (int ky = ky0; ky < ky1; ky++)
                    for (int kx = kx0; kx < kx1; kx++) {
                        vf value = TYPED(normed)(corner + ((int64_t)ky * w + kx) * BLOCK, m, s, o);
                        vi better = value > best;
                        best = choose(better, value, best);
                        where = (better & (ky * window + kx)) | (~better & where);
                    }
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
                vf won = TYPED(winners)(corner, __builtin_convertvector(code, vi), ky0, ky1, kx0, kx1, window, w);
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

/* One row of dx. With constant window, stride and padding the compiler resolves what covers what. */
static inline __attribute__((always_inline)) void TYPED(norm_pool_grad_row)(const ELEM *x, const ELEM *y, const ELEM *dy,
                                                                            const uint8_t *index, ELEM *dx, bool add,
                                                                            const int *size, int iy, int window, int stride,
                                                                            int pad, const sw_simd_norm_grad *per)
{
    int w = size[SW_POOL_W], ow = size[SW_POOL_OW], oy0, oy1, ox0, ox1;
    sw_pool_covering(iy, pad, window, stride, size[SW_POOL_OH], &oy0, &oy1);
    for (int ix = 0; ix < w; ix++) {
        sw_pool_covering(ix, pad, window, stride, ow, &ox0, &ox1);
        for (int v = 0; v < BLOCK_VECTORS; v++) {
            int64_t at = ((int64_t)iy * w + ix) * BLOCK + v * VL;
            vf g = {0};
            for (int oy = oy0; oy < oy1; oy++)
                for (int ox = ox0; ox < ox1; ox++) {
                    int64_t o = ((int64_t)oy * ow + ox) * BLOCK + v * VL;
                    vb code;
                    memcpy(&code, index + o, sizeof(code));
                    int mine = (iy + pad - oy * stride) * window + ix + pad - ox * stride;
                    vi won = __builtin_convertvector(code, vi) == mine;
                    g += masked_by(LOAD_N(dy + o, VL), won & (LOAD_N(y + o, VL) > 0));
                }
            vf d = (g - load(per->c1 + v * VL) - (LOAD_N(x + at, VL) - load(per->mean + v * VL)) * load(per->c2 + v * VL)) *
                   load(per->scale + v * VL);
            if (add) STORE_N(dx + at, d + LOAD_N(dx + at, VL), VL);
            else STREAM(dx + at, d);
        }
    }
}

static void TYPED(norm_pool_grad)(const void *x, const void *y, const void *dy, const uint8_t *index, void *dx, bool add,
                                  const int *size, const sw_simd_norm_grad *per)
{
    int window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE], pad = size[SW_POOL_PAD];
    bool usual = window == 3 && stride == 2 && pad == 1 && !add;
    for (int iy = 0; iy < size[SW_POOL_H]; iy++) {
        if (usual) TYPED(norm_pool_grad_row)(x, y, dy, index, dx, false, size, iy, 3, 2, 1, per);
        else TYPED(norm_pool_grad_row)(x, y, dy, index, dx, add, size, iy, window, stride, pad, per);
    }
    stream_end();
}
