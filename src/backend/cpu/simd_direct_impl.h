/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels, part: a convolution as one matrix product over gathered pixels, for what minimal filtering does not
 * take. A block of outputs has its windows side by side in the caches: stage [output][tap][channel]. */

static void direct_gather(const sw_simd_direct *a, int64_t first, int64_t count)
{
    int64_t plane = (int64_t)a->h * a->w * BLOCK, depth = (int64_t)a->kh * a->kw * a->c;
    for (int64_t c = 0; c < a->c; c += BLOCK)
        for (int64_t t = 0; t < count; t++) {
            int64_t at = first + t, image = at / ((int64_t)a->oh * a->ow), pixel = at % ((int64_t)a->oh * a->ow);
            int y0 = (int)(pixel / a->ow) * a->stride - a->pad, x0 = (int)(pixel % a->ow) * a->stride - a->pad;
            const float *from = a->x + (image * (a->c / BLOCK) + c / BLOCK) * plane;
            float *to = a->stage + t * depth + c;
            for (int y = y0; y < y0 + a->kh; y++)
                for (int x = x0; x < x0 + a->kw; x++, to += a->c) {
                    bool inside = y >= 0 && y < a->h && x >= 0 && x < a->w;
                    for (int v = 0; v < BLOCK; v += VL)
                        store(to + v, inside ? load(from + ((int64_t)y * a->w + x) * BLOCK + v) : (vf){0});
                }
        }
}

/* Outputs [first, first + count), numbered over images, rows and columns. */
static void direct_forward(const sw_simd_direct *a, int64_t first, int64_t count)
{
    int64_t plane = (int64_t)a->oh * a->ow, depth = (int64_t)a->kh * a->kw * a->c;
    direct_gather(a, first, count);
    for (int64_t k = 0; k < a->k; k += WINO_WIDTH) {
        wino_product(count, a->stage, depth, 1, a->u + k * depth, WINO_WIDTH, depth, a->result, WINO_WIDTH, false);
        for (int64_t c = k; c < k + WINO_WIDTH; c += VL) {
            vf bias = a->bias ? load(a->bias + c) : (vf){0};
            for (int64_t t = 0; t < count; t++) {
                int64_t at = first + t;
                float *to = a->y + ((at / plane * (a->k / BLOCK) + c / BLOCK) * plane + at % plane) * BLOCK + c % BLOCK;
                vf value = load(a->result + t * WINO_WIDTH + c - k) + bias;
                if (a->sum) value += load(to);
                if (a->relu) value = vmax(value, (vf){0});
                store(to, value);
            }
        }
    }
}
