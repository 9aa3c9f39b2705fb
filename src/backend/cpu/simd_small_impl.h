/* SPDX-License-Identifier: Apache-2.0 */
/* Part 7 of the leaf kernels (see simd_impl.h): small ops between the products of the aggregators. */

/* --- flat */

static void scale(float factor, const float *x, float *y, bool add_to, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n) * factor;
        if (add_to) v += load_n(y + i, n);
        store_n(y + i, v, n);
    }
}

static double dot(const float *x, const float *y, int64_t count)
{
    double lane[SW_SPAN] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + SW_SPAN <= count; i += SW_SPAN)
        for (int l = 0; l < SW_SPAN; l++) lane[l] += (double)x[i + l] * (double)y[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)x[i] * (double)y[i];
    for (int l = 0; l < SW_SPAN; l++) sum += lane[l];
    return sum;
}

static inline vf magnitude(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

/* To about two units in the last place: a polynomial near zero, elsewhere 1 - 2 / (e^(2 |x|) + 1) with the sign of x. */
static void tanh_all(const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n), size = magnitude(v), z = v * v;
        vf p = z * 2.29535624e-3f - 8.34655389e-3f;
        p = p * z + 2.17698310e-2f;
        p = p * z - 5.39593883e-2f;
        p = p * z + 1.33333042e-1f;
        p = p * z - 3.33333343e-1f;
        vf far = 1.0f - 2.0f / (vexp(vmin(splat(80.0f), size + size)) + 1.0f);
        vf positive = choose(size < 0.625f, size + size * z * p, far);
        store_n(y + i, (vf)((vi)positive | ((vi)v ^ (vi)size)), n);
    }
}

/* 1 / (1 + e^-x), from e^-|x|, which cannot overflow. */
static void sigmoid_all(const float *x, float *y, int64_t count)
{
    EACH(i, n, 0, count) {
        vf v = load_n(x + i, n), e = vexp(-magnitude(v));
        vf half = 1.0f / (1.0f + e);
        store_n(y + i, choose(v < 0, e * half, half), n);
    }
}

/* --- dropout: a lane is a draw of four words, see base/rng.c */

typedef uint64_t vw __attribute__((vector_size(VL * 4)));

/* Products of the lower halves of the 64-bit lanes. */
static inline vw multiply_low(vw a, uint32_t b)
{
#if VL == 16
    return (vw)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64((long long)b));
#elif VL == 8
    return (vw)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x((long long)b));
#elif defined(__SSE2__)
    return (vw)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x((long long)b));
#else
    return (a & 0xffffffffu) * (uint64_t)b;
#endif
}

/* 32-bit lanes times b: upper and lower halves of the products. */
static inline void multiply_wide(vu a, uint32_t b, vu *high, vu *low)
{
    const vw lower = (vw){0} + 0xffffffffu;
    vw even = multiply_low((vw)a, b), odd = multiply_low((vw)a >> 32, b);
    *high = (vu)(even >> 32 | (odd & ~lower));
    *low = (vu)((even & lower) | odd << 32);
}

/* The words of VL draws from `group` on. */
static inline void draw(const sw_simd_dropout *a, uint32_t group, vu word[4])
{
    vu c0 = (vu){0} + group, c1 = (vu){0} + a->step, c2 = (vu){0} + a->site, c3 = {0};
    uint32_t k0 = a->key[0], k1 = a->key[1];
    for (int l = 0; l < VL; l++) c0[l] += (uint32_t)l;
    for (int round = 0; round < 10; round++) {
        vu high0, low0, high1, low1;
        multiply_wide(c0, 0xD2511F53u, &high0, &low0);
        multiply_wide(c2, 0xCD9E8D57u, &high1, &low1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
}

/* y (+)= x times 0 or a->factor in double, rounded to float once. Element 0 is the first of draw `group`. */
static void dropout(const sw_simd_dropout *a, uint32_t group, const float *x, float *y, bool add_to, int64_t count)
{
    for (int64_t i = 0; i < count; i += 4 * VL, group += VL) {
        vu word[4];
        uint32_t all[4][VL];
        double factor[4 * VL];
        draw(a, group, word);
        memcpy(all, word, sizeof(all));
        for (int l = 0; l < VL; l++)
            for (int w = 0; w < 4; w++) factor[4 * l + w] = all[w][l] < a->below ? 0.0 : a->factor;
        int64_t n = count - i < 4 * VL ? count - i : 4 * VL;
        if (add_to)
            for (int64_t k = 0; k < n; k++) y[i + k] = (float)((double)y[i + k] + (double)x[i + k] * factor[k]);
        else
            for (int64_t k = 0; k < n; k++) y[i + k] = (float)((double)x[i + k] * factor[k]);
    }
}

/* --- rows */

/* Where the largest (or smallest) of a row is, the first on ties; what is not a number is passed over unless it comes first. */
static inline __attribute__((always_inline)) int64_t extreme(const float *x, int64_t count, const bool most)
{
    vf best = splat(x[0]);
    vi at = {0}, here = {0};
    float value[VL], top = x[0];
    int32_t place[VL];
    int64_t i = 0, found = 0;
    for (int l = 0; l < VL; l++) here[l] = l;
    for (; i + VL <= count; i += VL, here += VL) {
        vf v = load(x + i);
        vi better = most ? v > best : v < best;
        best = choose(better, v, best);
        at = (here & better) | (at & ~better);
    }
    store(value, best);
    memcpy(place, &at, sizeof(place));
    for (int l = 0; l < VL; l++)
        if ((most ? value[l] > top : value[l] < top) || (value[l] == top && place[l] < found)) {
            top = value[l];
            found = place[l];
        }
    for (; i < count; i++)
        if (most ? x[i] > top : x[i] < top) {
            top = x[i];
            found = i;
        }
    return found;
}

static int64_t largest(const float *x, int64_t count)
{
    return extreme(x, count, true);
}

static int64_t smallest(const float *x, int64_t count)
{
    return extreme(x, count, false);
}

/* y = (x - low) / span */
static void between(const float *x, float low, float span, float *y, int64_t count)
{
    EACH(i, n, 0, count) store_n(y + i, (load_n(x + i, n) - low) / span, n);
}

/* sum[c] += x[row][c]; in float over a few rows, then in double */
static void column_sums(const float *x, int64_t rows, int64_t step, int64_t columns, double *sum)
{
    for (int64_t first = 0; first < rows; first += 32) {
        int64_t end = rows - first < 32 ? rows : first + 32;
        EACH(c, n, 0, columns) {
            vf part = {0};
            for (int64_t r = first; r < end; r++) part += load_n(x + r * step + c, n);
            for (int64_t l = 0; l < n; l++) sum[c + l] += (double)part[l];
        }
    }
}
