/* SPDX-License-Identifier: Apache-2.0 */
/* Part of the leaf kernels (see simd_impl.h): the selective scan over a grid of cells. Lanes are channels. */

/* ln(1 + e^x): ln(1 + t) of t = e^-|x| as 2 artanh(t / (2 + t)), whose series ends soon: that is a third at most. */
static inline vf softplus(vf x)
{
    vf low = vmin(x, splat(0)), t = vexp(low - vmax(x, splat(0)));
    vf z = t / (t + 2.0f), q = z * z;
    vf p = q * (1.0f / 15) + 1.0f / 13;
    p = p * q + 1.0f / 11;
    p = p * q + 1.0f / 9;
    p = p * q + 1.0f / 7;
    p = p * q + 1.0f / 5;
    p = p * q + 1.0f / 3;
    p = p * q + 1.0f;
    return vmax(x, splat(0)) + 2.0f * z * p;
}

static inline vf logistic(vf x)
{
    vf e = vexp(vmin(x, splat(0)) - vmax(x, splat(0)));
    return choose(x < 0, e, splat(1)) / (1.0f + e);
}

/* Column n of rows [channel, channel + lanes) of a_log, as the rates -e^it; zero beyond. */
static inline vf rates(const sw_simd_scan *a, int64_t channel, int64_t lanes, int64_t n)
{
    float part[VL] = {0};
    for (int64_t l = 0; l < lanes; l++) part[l] = a->a_log[(channel + l) * a->n + n];
    return keep_n(-vexp(load(part)), lanes);
}

static void scan_lanes(const sw_simd_scan *a, int64_t channel, int64_t lanes)
{
    float *rate = a->work, *along = rate + a->n * VL, *above = along + a->n * VL;
    vf d = load_n(a->d + channel, lanes);
    for (int64_t n = 0; n < a->n; n++) store(rate + n * VL, rates(a, channel, lanes, n));
    memset(above, 0, (size_t)(a->columns * a->n * VL) * sizeof(float));
    for (int64_t i = 0; i < a->rows; i++) {
        memset(along, 0, (size_t)(a->n * VL) * sizeof(float));
        for (int64_t j = 0; j < a->columns; j++) {
            int64_t at = i * a->columns + j;
            const float *b = a->b + at * a->n, *c = a->c + at * a->n;
            float *state = above + j * a->n * VL;
            vf x = load_n(a->u + at * a->e + channel, lanes), step = softplus(load_n(a->delta + at * a->e + channel, lanes));
            vf input = step * x, sum = d * x;
            for (int64_t n = 0; n < a->n; n++) {
                vf decay = vexp(load(rate + n * VL) * step);
                vf g = decay * load(along + n * VL) + input * b[n], h = decay * load(state + n * VL) + g;
                store(along + n * VL, g);
                store(state + n * VL, h);
                sum += h * c[n];
            }
            store_n(a->y + at * a->e + channel, sum, lanes);
        }
    }
}

/* Channels [channel, channel + count). */
static void scan2d(const sw_simd_scan *a, int64_t channel, int64_t count)
{
    EACH(i, n, channel, channel + count) scan_lanes(a, i, n);
}

/* What one state of some channels was in every cell: [cells][VL] each. */
typedef struct scan_kept {
    float *step, *x, *dy, *dstep, *dx, *decay, *along, *state;
} scan_kept;

static inline void scan_again(const sw_simd_scan *a, const scan_kept *k, vf rate, int64_t n)
{
    for (int64_t i = 0, at = 0; i < a->rows; i++) {
        vf g = splat(0);
        for (int64_t j = 0; j < a->columns; j++, at++) {
            vf step = load(k->step + at * VL), decay = vexp(rate * step);
            g = decay * g + step * load(k->x + at * VL) * a->b[at * a->n + n];
            store(k->decay + at * VL, decay);
            store(k->along + at * VL, g);
            store(k->state + at * VL, i > 0 ? decay * load(k->state + (at - a->columns) * VL) + g : g);
        }
    }
}

/* One state's part of all gradients; `below` [columns][VL] is work. Returns the gradient of the rate. */
static inline vf scan_state_back(const sw_simd_scan *a, const scan_kept *k, float *below, vf rate, int64_t n)
{
    vf drate = splat(0);
    memset(below, 0, (size_t)(a->columns * VL) * sizeof(float));
    for (int64_t i = a->rows - 1; i >= 0; i--) {
        vf right = splat(0);
        for (int64_t j = a->columns - 1; j >= 0; j--) {
            int64_t at = i * a->columns + j, of = at * a->n + n;
            vf dy = load(k->dy + at * VL), decay = load(k->decay + at * VL), step = load(k->step + at * VL), x = load(k->x + at * VL);
            vf up = dy * a->c[of] + load(below + j * VL), in = up + right, slope = splat(0);
            if (i > 0) slope += up * load(k->state + (at - a->columns) * VL);
            if (j > 0) slope += in * load(k->along + (at - 1) * VL);
            slope *= decay;
            store(below + j * VL, decay * up);
            right = decay * in;
            drate += slope * step;
            store(k->dstep + at * VL, load(k->dstep + at * VL) + slope * rate + in * x * a->b[of]);
            store(k->dx + at * VL, load(k->dx + at * VL) + in * step * a->b[of]);
            a->db[of] += hsum(in * step * x);
            a->dc[of] += hsum(dy * load(k->state + at * VL));
        }
    }
    return drate;
}

static inline void add_or_put(float *to, vf v, bool add, int64_t lanes)
{
    if (to) store_n(to, add ? load_n(to, lanes) + v : v, lanes);
}

static void scan_lanes_back(const sw_simd_scan *a, int64_t channel, int64_t lanes)
{
    const int64_t cells = a->rows * a->columns, size = cells * VL;
    float *w = a->work, *below = w + 8 * size;
    const scan_kept k = {w, w + size, w + 2 * size, w + 3 * size, w + 4 * size, w + 5 * size, w + 6 * size, w + 7 * size};
    vf d = load_n(a->d + channel, lanes), dd = splat(0);
    for (int64_t at = 0; at < cells; at++) {
        vf x = load_n(a->u + at * a->e + channel, lanes), dy = load_n(a->dy + at * a->e + channel, lanes);
        store(k.step + at * VL, softplus(load_n(a->delta + at * a->e + channel, lanes)));
        store(k.x + at * VL, x);
        store(k.dy + at * VL, dy);
        store(k.dstep + at * VL, splat(0));
        store(k.dx + at * VL, dy * d);
        dd += dy * x;
    }
    for (int64_t n = 0; n < a->n; n++) {
        vf rate = rates(a, channel, lanes, n);
        scan_again(a, &k, rate, n);
        vf da = scan_state_back(a, &k, below, rate, n) * rate;
        for (int64_t l = 0; a->da_log && l < lanes; l++) {
            float *to = &a->da_log[(channel + l) * a->n + n];
            *to = a->add_a_log ? *to + da[l] : da[l];
        }
    }
    for (int64_t at = 0; at < cells; at++) {
        int64_t of = at * a->e + channel;
        vf slope = logistic(load_n(a->delta + of, lanes));
        add_or_put(a->du ? a->du + of : NULL, load(k.dx + at * VL), a->add_u, lanes);
        add_or_put(a->ddelta ? a->ddelta + of : NULL, load(k.dstep + at * VL) * slope, a->add_delta, lanes);
    }
    add_or_put(a->dd ? a->dd + channel : NULL, dd, a->add_d, lanes);
}

static void scan2d_grad(const sw_simd_scan *a, int64_t channel, int64_t count)
{
    EACH(i, n, channel, channel + count) scan_lanes_back(a, i, n);
}
