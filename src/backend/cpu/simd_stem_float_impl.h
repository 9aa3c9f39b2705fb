/* SPDX-License-Identifier: Apache-2.0 */
/* The transforms of F(3x3, 4x4) that simd_stem_impl.h uses, in float whatever the images are. */

static inline int64_t stem_u_step(const sw_simd_stem *a)
{
    return SW_STEM_CHANNELS * a->k + SW_WINO_PAD;
}

/* Output transform 6 -> 3, its transpose 3 -> 6, filter transform 4 -> 6 and its transpose 6 -> 4. */
static inline __attribute__((always_inline)) void stem_out(const vf m[6], vf y[3])
{
    vf sa = m[1] + m[2], da = m[1] - m[2], sb = m[3] + m[4], db = m[3] - m[4];
    y[0] = m[0] + sa + sb;
    y[1] = WINO_A * da + WINO_B * db;
    y[2] = WINO_A2 * sa + WINO_B2 * sb + m[5];
}

static inline __attribute__((always_inline)) void stem_out_back(const vf y[3], vf m[6])
{
    vf ea = y[0] + WINO_A2 * y[2], oa = WINO_A * y[1], eb = y[0] + WINO_B2 * y[2], ob = WINO_B * y[1];
    m[0] = y[0];
    m[1] = ea + oa;
    m[2] = ea - oa;
    m[3] = eb + ob;
    m[4] = eb - ob;
    m[5] = y[2];
}

static inline __attribute__((always_inline)) void stem_filter(const vf g[4], vf u[6])
{
    vf ea = WINO_GA * (g[0] + WINO_A2 * g[2]), oa = WINO_GA * WINO_A * (g[1] + WINO_A2 * g[3]);
    vf eb = WINO_GB * (g[0] + WINO_B2 * g[2]), ob = WINO_GB * WINO_B * (g[1] + WINO_B2 * g[3]);
    u[0] = WINO_G0 * g[0];
    u[1] = ea + oa;
    u[2] = ea - oa;
    u[3] = eb + ob;
    u[4] = eb - ob;
    u[5] = g[3];
}

static inline __attribute__((always_inline)) void stem_filter_back(const vf u[6], vf g[4])
{
    vf sa = WINO_GA * (u[1] + u[2]), da = WINO_GA * (u[1] - u[2]);
    vf sb = WINO_GB * (u[3] + u[4]), db = WINO_GB * (u[3] - u[4]);
    g[0] = WINO_G0 * u[0] + sa + sb;
    g[1] = WINO_A * da + WINO_B * db;
    g[2] = WINO_A2 * sa + WINO_B2 * sb;
    g[3] = WINO_A2 * WINO_A * da + WINO_B2 * WINO_B * db + u[5];
}

static inline __attribute__((always_inline)) void stem_input_vector(const float *z, int64_t row, float *stage, int64_t step)
{
    vf half[6][6];
    UNROLL
    for (int x = 0; x < 6; x++) {
        vf d[6], r[6];
        UNROLL
        for (int y = 0; y < 6; y++) d[y] = load(z + y * row + x * SW_STEM_LANES);
        wino_in(d, r);
        UNROLL
        for (int y = 0; y < 6; y++) half[y][x] = r[y];
    }
    UNROLL
    for (int y = 0; y < 6; y++, stage += 6 * step) {
        vf r[6];
        wino_in(half[y], r);
        UNROLL
        for (int x = 0; x < 6; x++) store(stage + x * step, r[x]);
    }
}

static inline __attribute__((always_inline)) void stem_output_vector(const float *stage, int64_t step, vf out[3][3])
{
    vf half[3][6];
    UNROLL
    for (int x = 0; x < 6; x++) {
        vf m[6], r[3];
        UNROLL
        for (int i = 0; i < 6; i++) m[i] = load(stage + (i * 6 + x) * step);
        stem_out(m, r);
        UNROLL
        for (int i = 0; i < 3; i++) half[i][x] = r[i];
    }
    UNROLL
    for (int i = 0; i < 3; i++) stem_out(half[i], out[i]);
}

static inline __attribute__((always_inline)) void stem_grad_vector(vf d[3][3], float *stage, int64_t step)
{
    vf half[6][3];
    UNROLL
    for (int x = 0; x < 3; x++) {
        vf column[3] = {d[0][x], d[1][x], d[2][x]}, r[6];
        stem_out_back(column, r);
        UNROLL
        for (int y = 0; y < 6; y++) half[y][x] = r[y];
    }
    UNROLL
    for (int y = 0; y < 6; y++, stage += 6 * step) {
        vf r[6];
        stem_out_back(half[y], r);
        UNROLL
        for (int x = 0; x < 6; x++) store(stage + x * step, r[x]);
    }
}

/* Tap (ty, tx) of lane l in the filter [3, 7, 7] of one output channel; -1: the zero row or column. */
static int stem_tap(int lane, int ty, int tx)
{
    int y = 2 * ty + lane / 2 % 2 - 1, x = 2 * tx + lane % 2 - 1;
    return y < 0 || x < 0 ? -1 : (lane / 4 * 7 + y) * 7 + x;
}

/* w [k, 3, 7, 7] -> a->u [36][k / WIDTH][lane][WIDTH] */
static void stem_filters(const sw_simd_stem *a, const float *w)
{
    for (int lane = 0; lane < SW_STEM_CHANNELS; lane++)
        for (int64_t k = 0; k < a->k; k += VL) {
            vf half[6][4];
            for (int x = 0; x < 4; x++) {
                vf g[4], u[6];
                for (int y = 0; y < 4; y++) {
                    int tap = stem_tap(lane, y, x);
                    float value[VL] = {0};
                    for (int64_t i = 0; tap >= 0 && i < VL; i++) value[i] = w[(k + i) * 147 + tap];
                    g[y] = load(value);
                }
                stem_filter(g, u);
                for (int y = 0; y < 6; y++) half[y][x] = u[y];
            }
            float *to = a->u + (k / WINO_WIDTH * SW_STEM_CHANNELS + lane) * WINO_WIDTH + k % WINO_WIDTH;
            for (int y = 0; y < 6; y++) {
                vf u[6];
                stem_filter(half[y], u);
                for (int x = 0; x < 6; x++) store(to + (y * 6 + x) * stem_u_step(a), u[x]);
            }
        }
}

/* a->u [36][lane][k] -> dw [k, 3, 7, 7] */
static void stem_filters_back(const sw_simd_stem *a, float *dw)
{
    for (int lane = 0; lane < SW_STEM_CHANNELS; lane++)
        for (int64_t k = 0; k < a->k; k += VL) {
            const float *from = a->u + lane * a->k + k;
            vf half[4][6];
            for (int x = 0; x < 6; x++) {
                vf u[6], g[4];
                for (int y = 0; y < 6; y++) u[y] = load(from + (y * 6 + x) * stem_u_step(a));
                stem_filter_back(u, g);
                for (int y = 0; y < 4; y++) half[y][x] = g[y];
            }
            for (int y = 0; y < 4; y++) {
                vf g[4];
                stem_filter_back(half[y], g);
                for (int x = 0; x < 4; x++) {
                    int tap = stem_tap(lane, y, x);
                    float value[VL];
                    store(value, g[x]);
                    for (int64_t i = 0; tap >= 0 && i < VL; i++) dw[(k + i) * 147 + tap] = value[i];
                }
            }
        }
}
