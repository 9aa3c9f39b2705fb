/* SPDX-License-Identifier: Apache-2.0 */
/* Part 3 of the leaf kernels (see simd_impl.h): flat loops and rows. */

static void to_bf16(const float *x, uint16_t *y, int64_t count)
{
    EACH(i, n, 0, count) store_bf16_n(y + i, load_n(x + i, n), n);
}

static void from_bf16(const uint16_t *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) store_n(y + i, load_bf16_n(x + i, n), n);
}

/* Phi(x), the standard normal distribution, and e = exp(-x^2/2). erfc by Abramowitz and Stegun 7.1.26, absolute
 * error below 1.5e-7; the complement is used directly for negative x, so that nothing cancels there. */
static inline vf normal_distribution(vf x, vf *e)
{
    vf size = vmax(x, -x);
    *e = vexp(x * x * -0.5f);
    vf t = 1.0f / (1.0f + size * (0.3275911f * 0.70710678f));
    vf p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vf q = p * t * *e * 0.5f;
    return choose(x < 0, q, 1.0f - q);
}

static void gelu(const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n), e;
        store_n(y + i, v * normal_distribution(v, &e), n);
    }
}

static void gelu_grad(const float *x, const float *dy, float *dx, bool add, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n), e;
        vf p = normal_distribution(v, &e);
        vf d = load_n(dy + i, n) * (p + v * e * 0.39894228f);
        if (add) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}

static void silu(const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n);
        store_n(y + i, v * logistic(v), n);
    }
}

static void silu_grad(const float *x, const float *dy, float *dx, bool add, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n), s = logistic(v);
        vf d = load_n(dy + i, n) * (s + v * s * (1.0f - s));
        if (add) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}

static void mul(const float *a, const float *b, float *y, bool add_to, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(a + i, n) * load_n(b + i, n);
        if (add_to) v += load_n(y + i, n);
        store_n(y + i, v, n);
    }
}

static void axpy(float factor, const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) store_n(y + i, load_n(y + i, n) + load_n(x + i, n) * factor, n);
}

static void lerp(float factor, const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(y + i, n);
        store_n(y + i, v + (load_n(x + i, n) - v) * factor, n);
    }
}

static void adam(const sw_simd_adam *a, const float *g, float *p, float *m, float *v, int64_t count)
{
    EACH(i, n, 0, count) {
        vf param = load_n(p + i, n), m1 = load_n(m + i, n), m2 = load_n(v + i, n);
        vf grad = load_n(g + i, n) * a->grad_scale + param * a->wd;
        m1 = m1 * a->beta1 + grad * (1.0f - a->beta1);
        m2 = m2 * a->beta2 + grad * grad * (1.0f - a->beta2);
        param = param * a->decay - m1 * a->step / (vsqrt(m2) * a->root_scale + a->eps);
        store_n(p + i, param, n);
        store_n(m + i, m1, n);
        store_n(v + i, m2, n);
    }
}

static double sum_squares(const float *x, int64_t count)
{
    double lane[SW_SPAN] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + SW_SPAN <= count; i += SW_SPAN)
        for (int l = 0; l < SW_SPAN; l++) lane[l] += (double)x[i + l] * (double)x[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)x[i] * (double)x[i];
    for (int l = 0; l < SW_SPAN; l++) sum += lane[l];
    return sum;
}

/* --- rows */

static void softmax(const float *x, float *y, int64_t count)
{
    vf most = splat(-INFINITY);
    int64_t i = 0;
    for (; i + VL <= count; i += VL) most = vmax(most, load(x + i));
    float top = -INFINITY, part[VL];
    store(part, most);
    for (int l = 0; l < VL; l++) top = part[l] > top ? part[l] : top;
    for (; i < count; i++) top = x[i] > top ? x[i] : top;
    double sum = 0;
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s = {0};
        EACH(j, n, first, end) {
            vf e = vexp(load_n(x + j, n) - top);
            store_n(y + j, e, n);
            s += keep_n(e, n);
        }
        sum += (double)hsum(s);
    }
    float scale = (float)(1.0 / sum);
    EACH(j, n, 0, count) store_n(y + j, load_n(y + j, n) * scale, n);
}

static void softmax_grad(const float *y, const float *dy, float *dx, bool add_to, int64_t count)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += STRETCH) {
        int64_t end = count - first < STRETCH ? count : first + STRETCH;
        vf s = {0};
        EACH(i, n, first, end) s += load_n(y + i, n) * load_n(dy + i, n);
        sum += (double)hsum(s);
    }
    float mean = (float)sum;
    EACH(i, n, 0, count) {
        vf d = load_n(y + i, n) * (load_n(dy + i, n) - mean);
        if (add_to) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}

static void layer_norm(const float *x, const float *gain, const float *offset, float *y, int64_t count, double eps,
                       float *mean, float *inverse)
{
    vf s = {0}, q = {0};
    EACH(i, n, 0, count) s += load_n(x + i, n);
    float middle = hsum(s) / (float)count;
    EACH(i, n, 0, count) {
        vf d = keep_n(load_n(x + i, n) - middle, n);
        q += d * d;
    }
    float scale = (float)(1.0 / sqrt((double)hsum(q) / (double)count + eps));
    EACH(i, n, 0, count) {
        vf v = (load_n(x + i, n) - middle) * scale * load_n(gain + i, n);
        if (offset) v += load_n(offset + i, n);
        store_n(y + i, v, n);
    }
    *mean = middle;
    *inverse = scale;
}

static void layer_norm_grad(const float *x, const float *gain, const float *dy, float *dx, bool add_to, int64_t count,
                            float mean, float inverse, float *dgain, float *doffset)
{
    vf s = {0}, q = {0};
    EACH(i, n, 0, count) {
        vf g = load_n(dy + i, n), xhat = (load_n(x + i, n) - mean) * inverse;
        if (dgain) store_n(dgain + i, load_n(dgain + i, n) + g * xhat, n);
        if (doffset) store_n(doffset + i, load_n(doffset + i, n) + g, n);
        g *= load_n(gain + i, n);
        s += g;
        q += g * xhat;
    }
    if (!dx) return;
    float c1 = hsum(s) / (float)count, c2 = hsum(q) / (float)count;
    EACH(i, n, 0, count) {
        vf xhat = (load_n(x + i, n) - mean) * inverse;
        vf d = (load_n(dy + i, n) * load_n(gain + i, n) - c1 - xhat * c2) * inverse;
        if (add_to) d += load_n(dx + i, n);
        store_n(dx + i, d, n);
    }
}
