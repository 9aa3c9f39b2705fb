/* SPDX-License-Identifier: Apache-2.0 */
/* Part 2 of the leaf kernels (see simd_impl.h): those on images, included once per element type. The includer defines
 * ELEM (float, or uint16_t holding a bfloat16), TYPED(name), LOAD_N, STORE_N and STREAM; arithmetic is float for both. */

static void TYPED(moments)(const void *x_, int64_t count, const float *pivot, double *sum, double *square)
{
    const ELEM *x = x_;
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}}, q[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) {
            vf d = keep_n(LOAD_N(x + i, n) - load(pivot + LANE(i)), n);
            s[LANE(i) / VL] += d;
            q[LANE(i) / VL] += d * d;
        }
        flush(s, sum);
        flush(q, square);
    }
}

static void TYPED(lane_sums)(const void *x_, int64_t count, double *sum)
{
    const ELEM *x = x_;
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) s[LANE(i) / VL] += LOAD_N(x + i, n);
        flush(s, sum);
    }
}

static void TYPED(norm)(const void *x_, const void *residual_, void *y_, int64_t count, const float *mean,
                        const float *scale, const float *offset, bool relu, bool past)
{
    const ELEM *x = x_, *residual = residual_;
    ELEM *y = y_;
    vf zero = {0};
    EACH(i, n, 0, count) {
        vf v = (LOAD_N(x + i, n) - load(mean + LANE(i))) * load(scale + LANE(i)) + load(offset + LANE(i));
        if (residual) v += LOAD_N(residual + i, n);
        if (relu) v = vmax(zero, v);
        if (past && n == VL) STREAM(y + i, v);
        else STORE_N(y + i, v, n);
    }
    if (past) stream_end();
}

/* The gradient that passes the ReLU whose output was y (NULL: there was none). */
static inline vf TYPED(through)(const ELEM *y, const ELEM *dy, int64_t i, int64_t n)
{
    vf g = LOAD_N(dy + i, n);
    return y ? masked_by(g, LOAD_N(y + i, n) > 0) : g;
}

static void TYPED(norm_sums)(const void *x_, const void *y_, const void *dy_, int64_t count, const float *mean,
                             double *sum, double *dot)
{
    const ELEM *x = x_, *y = y_, *dy = dy_;
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s[SPAN_VECTORS] = {{0}}, q[SPAN_VECTORS] = {{0}};
        EACH(i, n, first, end) {
            vf dz = TYPED(through)(y, dy, i, n);
            s[LANE(i) / VL] += dz;
            q[LANE(i) / VL] += dz * (LOAD_N(x + i, n) - load(mean + LANE(i)));
        }
        flush(s, sum);
        flush(q, dot);
    }
}

static void TYPED(norm_grad)(const void *x_, const void *y_, const void *dy_, void *dx_, bool add, int64_t count,
                             const float *mean, const float *scale, const float *c1, const float *c2, bool past)
{
    const ELEM *x = x_, *y = y_, *dy = dy_;
    ELEM *dx = dx_;
    EACH(i, n, 0, count) {
        vf dz = TYPED(through)(y, dy, i, n);
        vf d = (dz - load(c1 + LANE(i)) - (LOAD_N(x + i, n) - load(mean + LANE(i))) * load(c2 + LANE(i))) *
               load(scale + LANE(i));
        if (add) d += LOAD_N(dx + i, n);
        if (past && n == VL) STREAM(dx + i, d);
        else STORE_N(dx + i, d, n);
    }
    if (past) stream_end();
}

static void TYPED(masked)(const void *y_, const void *dy_, void *dx_, bool add, int64_t count)
{
    const ELEM *y = y_, *dy = dy_;
    ELEM *dx = dx_;
    EACH(i, n, 0, count) {
        vf d = TYPED(through)(y, dy, i, n);
        if (add) d += LOAD_N(dx + i, n);
        STORE_N(dx + i, d, n);
    }
}

/* --- max pool of a blocked plane */

/* The largest of a window and where it is. With constant bounds the loops are unrolled. */
static inline __attribute__((always_inline)) void TYPED(most)(const ELEM *corner, int ky0, int ky1, int kx0, int kx1,
                                                              int window, int64_t w, vf *best, vi *where)
{
    *best = LOAD_N(corner + (ky0 * w + kx0) * BLOCK, VL);
    *where = (vi){0} + (ky0 * window + kx0);
    for (int ky = ky0; ky < ky1; ky++)
        for (int kx = kx0; kx < kx1; kx++) {
            vf value = LOAD_N(corner + (ky * w + kx) * BLOCK, VL);
            vi better = value > *best;
            *best = choose(better, value, *best);
            *where = (better & (ky * window + kx)) | (~better & *where);
        }
}

static void TYPED(max_pool)(const void *x_, void *y_, uint8_t *index, const int *size)
{
    const ELEM *x = x_;
    ELEM *y = y_;
    int h = size[SW_POOL_H], w = size[SW_POOL_W], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE];
    for (int oy = 0; oy < size[SW_POOL_OH]; oy++)
        for (int ox = 0; ox < size[SW_POOL_OW]; ox++) {
            int y0 = oy * stride - size[SW_POOL_PAD], x0 = ox * stride - size[SW_POOL_PAD];
            int ky0 = y0 < 0 ? -y0 : 0, kx0 = x0 < 0 ? -x0 : 0;
            int ky1 = h - y0 < window ? h - y0 : window, kx1 = w - x0 < window ? w - x0 : window;
            bool whole = window == 3 && ky0 == 0 && kx0 == 0 && ky1 == 3 && kx1 == 3;
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                const ELEM *corner = x + ((int64_t)y0 * w + x0) * BLOCK + v * VL;
                vf best;
                vi where;
                if (whole) TYPED(most)(corner, 0, 3, 0, 3, 3, w, &best, &where);
                else TYPED(most)(corner, ky0, ky1, kx0, kx1, window, w, &best, &where);
                int64_t o = (int64_t)(oy * size[SW_POOL_OW] + ox) * BLOCK + v * VL;
                STORE_N(y + o, best, VL);
                vb code = __builtin_convertvector(where, vb);
                memcpy(index + o, &code, sizeof(code));
            }
        }
}

static void TYPED(max_pool_grad)(const void *dy_, const uint8_t *index, void *dx_, bool add, const int *size)
{
    const ELEM *dy = dy_;
    ELEM *dx = dx_;
    int ow = size[SW_POOL_OW], window = size[SW_POOL_WINDOW], stride = size[SW_POOL_STRIDE], pad = size[SW_POOL_PAD];
    for (int iy = 0; iy < size[SW_POOL_H]; iy++) {
        int oy0, oy1, ox0, ox1;
        sw_pool_covering(iy, pad, window, stride, size[SW_POOL_OH], &oy0, &oy1);
        for (int ix = 0; ix < size[SW_POOL_W]; ix++) {
            sw_pool_covering(ix, pad, window, stride, ow, &ox0, &ox1);
            for (int v = 0; v < BLOCK_VECTORS; v++) {
                ELEM *to = dx + (int64_t)(iy * size[SW_POOL_W] + ix) * BLOCK + v * VL;
                vf sum = add ? LOAD_N(to, VL) : (vf){0};
                for (int oy = oy0; oy < oy1; oy++)
                    for (int ox = ox0; ox < ox1; ox++) {
                        int64_t o = (int64_t)(oy * ow + ox) * BLOCK + v * VL;
                        vb code;
                        memcpy(&code, index + o, sizeof(code));
                        int mine = (iy + pad - oy * stride) * window + ix + pad - ox * stride;
                        sum += masked_by(LOAD_N(dy + o, VL), __builtin_convertvector(code, vi) == mine);
                    }
                STORE_N(to, sum, VL);
            }
        }
    }
}

static void TYPED(relu)(const void *x_, void *y_, int64_t count)
{
    const ELEM *x = x_;
    ELEM *y = y_;
    vf zero = {0};
    EACH(i, n, 0, count) STORE_N(y + i, vmax(zero, LOAD_N(x + i, n)), n);
}

static void TYPED(add)(const void *a_, const void *b_, void *y_, int64_t count)
{
    const ELEM *a = a_, *b = b_;
    ELEM *y = y_;
    EACH(i, n, 0, count) STORE_N(y + i, LOAD_N(a + i, n) + LOAD_N(b + i, n), n);
}

#include "backend/cpu/simd_norm_pool_impl.h"
#include "backend/cpu/simd_wino_typed_impl.h"

static const sw_simd_typed TYPED(typed) = {
    .moments = TYPED(moments), .norm = TYPED(norm), .norm_sums = TYPED(norm_sums), .norm_grad = TYPED(norm_grad),
    .masked = TYPED(masked), .lane_sums = TYPED(lane_sums), .max_pool = TYPED(max_pool),
    .max_pool_grad = TYPED(max_pool_grad), .relu = TYPED(relu), .add = TYPED(add),
    .norm_max_pool = TYPED(norm_max_pool), .norm_pool_sums = TYPED(norm_pool_sums),
    .norm_pool_grad = TYPED(norm_pool_grad), .wino_forward = TYPED(wino_forward), .wino_input = TYPED(wino_input),
    .wino_grad = TYPED(wino_grad)};

#undef ELEM
#undef TYPED
#undef LOAD_N
#undef STORE_N
#undef STREAM
