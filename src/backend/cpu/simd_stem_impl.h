/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels, part: the 7x7 convolution of stride 2 on three channels that opens a residual network, by minimal
 * filtering. Pixels are gathered two by two, which makes it a 4x4 convolution of stride 1 on twelve channels (the first
 * row and column of the filter being zero), and that is F(3x3, 4x4) with the points of simd_wino_impl.h: 36 x 12 products
 * for 9 outputs where the plain sum takes 9 x 147. In float only: oneDNN's
 * bfloat16 kernel was measured faster than this with images in bfloat16. */

/* Rows `first`.. of the gathered image, SW_STEM_TILE of them, zero outside: z[y][x][lane], x from -2 on, lane = c * 4 +
 * dy * 2 + dx. Lanes from SW_STEM_CHANNELS on are never read. */
static void stem_gather(const sw_simd_stem *a, const float *x, int first)
{
    int64_t row = (int64_t)a->z_width * SW_STEM_LANES, inner = 2 * SW_STEM_LANES, half = a->w / 2;
    for (int y = 0; y < SW_STEM_TILE; y++) {
        float *line = a->z + y * row;
        int top = 2 * (first + y);
        if (top < 0 || top + 1 >= a->h) memset(line, 0, (size_t)row * sizeof(float));
        memset(line, 0, (size_t)inner * sizeof(float));
        memset(line + inner + half * SW_STEM_LANES, 0, (size_t)(row - inner - half * SW_STEM_LANES) * sizeof(float));
        for (int i = 0; i < 6; i++) { /* channel and parity of the row */
            int from_y = top + i % 2;
            if (from_y < 0 || from_y >= a->h) continue;
            const float *from = x + ((int64_t)(i / 2) * a->h + from_y) * a->w;
            float *to = line + inner + i * 2;
            for (int64_t j = 0; j < half; j++) {
                float pair[2] = {*(from + 2 * j), *(from + 2 * j + 1)};
                memcpy(to + j * SW_STEM_LANES, pair, sizeof(pair));
            }
            if (a->w % 2) to[half * SW_STEM_LANES] = *(from + a->w - 1);
        }
    }
}

/* Transforms the tiles of one row to in_stage [36][tile][lane]. */
static void stem_input(const sw_simd_stem *a, const float *x, int tile_y)
{
    int64_t step = a->tiles_x * SW_STEM_LANES + SW_WINO_PAD, row = (int64_t)a->z_width * SW_STEM_LANES;
    stem_gather(a, x, 3 * tile_y - 2);
    for (int64_t t = 0; t < a->tiles_x; t++)
        for (int v = 0; v < SW_STEM_CHANNELS; v += VL)
            stem_input_vector(a->z + 3 * t * SW_STEM_LANES + v, row, a->in_stage + t * SW_STEM_LANES + v, step);
}

static inline __attribute__((always_inline)) void stem_put(const sw_simd_stem *a, vf out[3][3], vf bias, float *to,
                                                                  int64_t row, int rows, int columns)
{
    UNROLL
    for (int i = 0; i < 3; i++) {
        UNROLL
        for (int j = 0; j < 3; j++) {
            if (i >= rows || j >= columns) continue;
            vf value = out[i][j] + bias;
            if (a->relu) value = vmax(value, (vf){0});
            stream(to + i * row + j * BLOCK, value);
        }
    }
}

static inline __attribute__((always_inline)) void stem_get(vf d[3][3], const float *from, int64_t row, int rows,
                                                                  int columns)
{
    UNROLL
    for (int i = 0; i < 3; i++) {
        UNROLL
        for (int j = 0; j < 3; j++) __builtin_prefetch(from + i * row + (j + 9) * BLOCK, 0, 3);
        UNROLL
        for (int j = 0; j < 3; j++)
            d[i][j] = i < rows && j < columns ? load(from + i * row + j * BLOCK) : (vf){0};
    }
}

/* One row of tiles of one image: x [3, h, w] plain -> y [k / BLOCK, oh, ow, BLOCK]. */
static void stem_forward(const sw_simd_stem *a, const float *x, float *y, int tile_y)
{
    int64_t in_step = a->tiles_x * SW_STEM_LANES + SW_WINO_PAD, out_step = a->tiles_x * WINO_WIDTH + SW_WINO_PAD;
    int64_t plane = (int64_t)a->oh * a->ow * BLOCK, row = (int64_t)a->ow * BLOCK;
    int rows = wino_min(3, a->oh - 3 * tile_y);
    stem_input(a, x, tile_y);
    for (int64_t k = 0; k < a->k; k += WINO_WIDTH) {
        for (int f = 0; f < 36; f++)
            wino_product(a->tiles_x, a->in_stage + f * in_step, SW_STEM_LANES, 1,
                         a->u + f * stem_u_step(a) + k * SW_STEM_CHANNELS, WINO_WIDTH, SW_STEM_CHANNELS,
                         a->out_stage + f * out_step, WINO_WIDTH, false);
        for (int64_t c = 0; c < WINO_WIDTH; c += VL) {
            int64_t channel = k + c;
            vf bias = a->bias ? load(a->bias + channel) : (vf){0};
            float *to = y + channel / BLOCK * plane + 3 * tile_y * row + channel % BLOCK;
            for (int64_t t = 0; t < a->tiles_x; t++) {
                vf out[3][3];
                int columns = wino_min(3, a->ow - 3 * (int)t);
                stem_output_vector(a->out_stage + t * WINO_WIDTH + c, out_step, out);
                if (rows == 3 && columns == 3) stem_put(a, out, bias, to + 3 * t * BLOCK, row, 3, 3);
                else stem_put(a, out, bias, to + 3 * t * BLOCK, row, rows, columns);
            }
        }
    }
    stream_end();
}

/* Adds one row of tiles to the gradient of the filters in their domain, a->u [36][lane][k]. */
static void stem_weights(const sw_simd_stem *a, const float *x, const float *dy, int tile_y, bool add)
{
    int64_t in_step = a->tiles_x * SW_STEM_LANES + SW_WINO_PAD, out_step = a->tiles_x * WINO_WIDTH + SW_WINO_PAD;
    int64_t plane = (int64_t)a->oh * a->ow * BLOCK, row = (int64_t)a->ow * BLOCK;
    int rows = wino_min(3, a->oh - 3 * tile_y);
    stem_input(a, x, tile_y);
    for (int64_t k = 0; k < a->k; k += WINO_WIDTH) {
        for (int64_t c = 0; c < WINO_WIDTH; c += VL) {
            const float *from = dy + (k + c) / BLOCK * plane + 3 * tile_y * row + (k + c) % BLOCK;
            for (int64_t t = 0; t < a->tiles_x; t++) {
                vf d[3][3];
                int columns = wino_min(3, a->ow - 3 * (int)t);
                if (rows == 3 && columns == 3) stem_get(d, from + 3 * t * BLOCK, row, 3, 3);
                else stem_get(d, from + 3 * t * BLOCK, row, rows, columns);
                stem_grad_vector(d, a->out_stage + t * WINO_WIDTH + c, out_step);
            }
        }
        for (int f = 0; f < 36; f++)
            wino_product(SW_STEM_CHANNELS, a->in_stage + f * in_step, 1, SW_STEM_LANES, a->out_stage + f * out_step,
                         WINO_WIDTH, a->tiles_x, a->u + f * stem_u_step(a) + k, a->k, add);
    }
}
