/* SPDX-License-Identifier: Apache-2.0 */
/* Leaf kernels compiled once per instruction set (simd_base.c, simd_avx2.c, simd_avx512.c) and chosen when the
 * backend is made. They work on one span of memory and know nothing of threads or tensors.
 *
 * "per" arrays hold SW_SPAN floats: element i of a span uses per[i % SW_SPAN]. A plain span of one channel has
 * the channel's value in all of them, a blocked span the values of its channels (twice for a block of 8). */
#ifndef SW_BACKEND_CPU_SIMD_H
#define SW_BACKEND_CPU_SIMD_H

#include <stdbool.h>
#include <stdint.h>

#define SW_SPAN 16
#define SW_ATTEND_QUERIES 64 /* queries per tile of attend_one and attend */
#define SW_ATTEND_KEYS 48    /* keys per tile of attend_one's backward and of attend */

typedef struct sw_simd_adam {
    float decay;      /* factor on the parameter (AdamW), 1: none */
    float wd;         /* added to the gradient times the parameter */
    float grad_scale;
    float beta1, beta2;
    float step;       /* lr / (1 - beta1^t) */
    float root_scale; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} sw_simd_adam;

/* What dropout draws: Philox of counters (draw, step, site, 0); a word below `below` drops its element. */
typedef struct sw_simd_dropout {
    uint32_t key[2], step, site;
    uint64_t below;
    double factor; /* of what is kept */
} sw_simd_dropout;

/* One tile of queries of attend_one and a stretch of keys of the same group. Scores and their references are
 * logarithms to base 2. */
typedef struct sw_simd_attend {
    const float *k, *v;   /* [keys, d], [keys] */
    int64_t keys;
    int d, d_pad;         /* d_pad: d rounded up to SW_SPAN */
    const float *qt;      /* [d][SW_ATTEND_QUERIES]: transposed, times scale * log2(e), zero beyond the last query */
    /* [SW_ATTEND_QUERIES] each. Forward goes on from what earlier keys left (-infinity, 0, 0 before the first): sums
     * of 2^(score - top) and of that times v. Backward reads the log-sum-exp from `top`. */
    float *top, *sum, *weighted;
    /* backward only */
    const float *p, *dp;  /* [SW_ATTEND_QUERIES], zero beyond the last query */
    const float *q_pad;   /* [SW_ATTEND_QUERIES][d_pad], zero padded */
    float *scores;        /* [SW_ATTEND_KEYS][SW_ATTEND_QUERIES] work */
    float *dqt;           /* [d][SW_ATTEND_QUERIES], added to; this and the next without the factor `scale` */
    float *dk_pad;        /* [keys][d_pad], added to */
    float *dv_lanes;      /* [keys][SW_SPAN], added to: dv is the sum of a row */
    /* What the bfloat16 kernels read in place of k, qt, q_pad and scores: words of two bfloat16, the first in the lower
     * half. Beyond the last column, query and key they are zero. */
    int words;                    /* d / 2, rounded up */
    const uint32_t *k_words;      /* [keys][words]: columns 2w and 2w + 1 */
    const uint32_t *qt_words;     /* [words][SW_ATTEND_QUERIES]: as qt, columns 2w and 2w + 1 */
    const uint32_t *k_pairs;      /* [keys / 2, rounded up][d]: keys 2j and 2j + 1; this and the rest backward only */
    const uint32_t *q_pairs;      /* [SW_ATTEND_QUERIES / 2][d_pad]: queries 2i and 2i + 1, without the factor of qt */
    uint32_t *score_words;        /* [SW_ATTEND_KEYS][SW_ATTEND_QUERIES / 2] work: queries 2i and 2i + 1 */
    uint32_t *score_pairs;        /* [SW_ATTEND_KEYS / 2][SW_ATTEND_QUERIES] work: keys 2j and 2j + 1 */
} sw_simd_attend;

/* attend_one with products of bfloat16, summed in float; everything else is float. */
typedef struct sw_simd_attend_bf16 {
    void (*attend)(const sw_simd_attend *a);
    void (*attend_grad)(const sw_simd_attend *a);
    /* Rows [rows][d] of float, rounded to nearest even, as pairs of rows: pairs[rows / 2, rounded up][step], zero beyond
     * the last row and from column d on. */
    void (*pairs)(const float *x, int64_t rows, int d, int step, uint32_t *pairs);
    void (*words)(const float *x, int64_t rows, int d, uint32_t *words); /* words[rows][d / 2, rounded up] */
    /* qt[d / 2, rounded up][SW_ATTEND_QUERIES]: factor * x, zero beyond row `rows` */
    void (*query_words)(const float *x, int64_t rows, int d, float factor, uint32_t *qt);
} sw_simd_attend_bf16;

/* One tile of queries of attend and a stretch of keys of the same group. Scores, their references and the log-sum-exp are
 * logarithms to base 2. Rows of queries are SW_ATTEND_QUERIES long; their first `lanes` are worked on. */
typedef struct sw_simd_attend_wide {
    const float *k, *v;   /* [keys, d], [keys, e] */
    int64_t keys;
    int d, e, d_pad, e_pad; /* padded: rounded up to SW_SPAN */
    int queries, lanes;   /* queries of the tile, and rounded up to SW_SPAN */
    const float *qt;      /* [d][queries]: transposed, times scale * log2(e), zero beyond the last query */
    float *weights;       /* [SW_ATTEND_KEYS][queries] work */
    float *top;           /* [queries]: forward the reference of the scores, -infinity before the first key; backward the
                             log-sum-exp */
    /* forward only; goes on from what earlier keys left (zeros before the first) */
    float *sum;           /* [queries]: sums of 2^(score - top) */
    float *yt;            /* [e][queries]: sums of that times v */
    float *part;          /* [e][queries] work */
    /* backward only */
    const float *mean;    /* [queries]: y . dy, zero beyond the last query like what follows */
    const float *dyt;     /* [e][queries] */
    const float *q_pad, *dy_pad; /* [queries][d_pad], times scale; [queries][e_pad]; zero padded */
    float *grads;         /* [SW_ATTEND_KEYS][queries] work */
    float *dqt;           /* [d][queries], added to, without the factor `scale` */
    float *dk_pad;        /* [keys][d_pad], added to */
    float *dv_pad;        /* [keys][e_pad], added to */
} sw_simd_attend_wide;

/* Some rows of one plane of a convolution with one filter per channel. Rows of x_step and dy_step floats, multiples of
 * SW_SPAN, reach as far as the filter and the vectors do. */
typedef struct sw_simd_depthwise {
    int kh, kw, rows, width; /* of the filter; of the result */
    const float *x;  /* [rows + kh - 1][x_step]: padded by kh / 2 rows and kw / 2 columns, zero beyond the image */
    int x_step;
    /* y (+)= bias + x * w */
    const float *w;  /* [kh][kw] */
    float bias;
    float *y;        /* [rows][width] */
    bool add;
    /* gradient of w, and the sum of dy */
    const float *dy; /* [rows][dy_step], zero beyond the image */
    int dy_step;
    float *dw;       /* [kh * kw + 1], overwritten */
} sw_simd_depthwise;

#define SW_WINO_PAD 16 /* floats between the 36 rows of a stage, so that they do not share cache sets */

/* One 3x3 convolution of stride 1 and padding 1 by minimal filtering. Tiles of 4x4 outputs are numbered over images, rows
 * and columns. */
typedef struct sw_simd_wino {
    int h, w, tiles_y, tiles_x;
    int64_t c, k;       /* input channels (a multiple of the block), output channels (of wino_width) */
    int64_t k_begin, k_end; /* weights: the output channels whose gradient is wanted; multiples of wino_width */
    int64_t tiles_most; /* tiles that a stage has room for */
    const void *x;      /* [n, c / block, h, w, block] */
    void *y;            /* [n, k / block, h, w, block] */
    float *u;           /* 36 rows of c * k + SW_WINO_PAD: transformed filters [k / wino_width][c][wino_width], or their
                           gradient [c][k] */
    float *in_stage;    /* 36 rows of tiles_most * c + SW_WINO_PAD */
    float *out_stage;   /* forward: 36 rows of tiles_most * wino_width + SW_WINO_PAD; weights: of tiles_most * k + .. */
    const float *bias;  /* [k] or NULL */
    bool sum, relu;     /* y = relu(conv + bias + what y holds) */
    bool past_cache;    /* y is larger than the caches: write past them */
} sw_simd_wino;

/* The 7x7 convolution of stride 2 on three channels, one row of tiles of 3x3 outputs of one image. */
#define SW_STEM_TILE 6      /* rows of the gathered image that a row of tiles reads */
#define SW_STEM_CHANNELS 12 /* of the gathered image: channel, row and column of two by two pixels */
#define SW_STEM_LANES 16    /* and room for them */
typedef struct sw_simd_stem {
    int h, w, oh, ow;
    int64_t k, tiles_x;
    int z_width;       /* 3 * tiles_x + 3 */
    float *z;          /* [SW_STEM_TILE][z_width][SW_STEM_LANES] work */
    float *u;          /* 36 rows of SW_STEM_CHANNELS * k + SW_WINO_PAD: transformed filters, or their gradient */
    float *in_stage;   /* 36 rows of tiles_x * SW_STEM_LANES + SW_WINO_PAD */
    float *out_stage;  /* 36 rows of tiles_x * wino_width + SW_WINO_PAD */
    const float *bias; /* [k] or NULL */
    bool relu;
} sw_simd_stem;

/* A convolution as a matrix product over gathered windows. */
typedef struct sw_simd_direct {
    int h, w, oh, ow, kh, kw, stride, pad;
    int64_t c, k;      /* input channels (a multiple of the block), output channels (of wino_width) */
    const float *x;    /* [n, c / block, h, w, block] */
    float *y;          /* [n, k / block, oh, ow, block] */
    const float *u;    /* [k / wino_width][kh * kw][c][wino_width] */
    float *stage;      /* [outputs][kh * kw][c] */
    float *result;     /* [outputs][wino_width] */
    const float *bias; /* [k] or NULL */
    bool sum, relu;
} sw_simd_direct;

/* Constants of one block of channels in norm_pool_grad, each SW_SPAN floats. */
typedef struct sw_simd_norm_grad {
    const float *mean, *scale, *c1, *c2;
} sw_simd_norm_grad;

/* Kernels on images of one element type: float, or bfloat16 in a uint16_t. Arithmetic is float for both; a result
 * is rounded once, to nearest even. */
typedef struct sw_simd_typed {
    /* --- spans with per-channel values */
    /* sum[i] += x - pivot, square[i] += (x - pivot)^2, lane by lane (SW_SPAN doubles) */
    void (*moments)(const void *x, int64_t count, const float *pivot, double *sum, double *square);
    /* y = (x - mean) * scale + offset [+ residual], then max(0, y) if relu; `past`: y is written past the caches */
    void (*norm)(const void *x, const void *residual, void *y, int64_t count, const float *mean,
                 const float *scale, const float *offset, bool relu, bool past);
    /* dz = y NULL or y > 0 ? dy : 0;  sum[i] += dz, dot[i] += dz * (x - mean) */
    void (*norm_sums)(const void *x, const void *y, const void *dy, int64_t count, const float *mean,
                      double *sum, double *dot);
    /* dx (+)= scale * (dz - c1 - (x - mean) * c2); `past` (not with `add`) as above */
    void (*norm_grad)(const void *x, const void *y, const void *dy, void *dx, bool add, int64_t count,
                      const float *mean, const float *scale, const float *c1, const float *c2, bool past);
    void (*masked)(const void *y, const void *dy, void *dx, bool add, int64_t count); /* dx (+)= dz */
    void (*lane_sums)(const void *x, int64_t count, double *sum); /* sum[i] += x */

    /* --- max pool of one blocked plane [h, w, block]; index is ky * window + kx */
    void (*max_pool)(const void *x, void *y, uint8_t *index, const int *size);
    void (*max_pool_grad)(const void *dy, const uint8_t *index, void *dx, bool add, const int *size);

    /* --- flat */
    void (*relu)(const void *x, void *y, int64_t count);
    void (*add)(const void *a, const void *b, void *y, int64_t count);

    /* --- batch norm, ReLU and max pool of one blocked plane; sums and gradient as above, through the pool */
    void (*norm_max_pool)(const void *x, void *y, uint8_t *index, const int *size, const float *mean,
                          const float *scale, const float *offset);
    void (*norm_pool_sums)(const void *x, const void *y, const void *dy, const uint8_t *index, const int *size,
                           const float *mean, double *sum, double *dot); /* sum, dot: one per channel of the block */
    void (*norm_pool_grad)(const void *x, const void *y, const void *dy, const uint8_t *index, void *dx, bool add,
                           const int *size, const sw_simd_norm_grad *per);

    /* --- 3x3 convolution, see simd_wino_impl.h */
    void (*wino_forward)(const sw_simd_wino *a, int64_t first, int64_t count);
    /* transforms of x [.., channels] and of a gradient of y (its channels from k_begin to k_end), tiles [first, first + count) */
    void (*wino_input)(const sw_simd_wino *a, const void *x, int64_t channels, int64_t first, int64_t count,
                       float *stage, int64_t step);
    void (*wino_grad)(const sw_simd_wino *a, const void *dy, int64_t channels, int64_t first, int64_t count,
                      float *stage, int64_t step);
} sw_simd_typed;

/* The selective scan: grids [rows][columns][e] of u, delta, y and their gradients, [rows][columns][n] of b and c. */
typedef struct sw_simd_scan {
    int64_t rows, columns, e, n;
    const float *u, *delta, *a_log, *b, *c, *d; /* a_log [e][n], d [e] */
    float *y;
    float *work; /* forward (columns + 2) * n, backward 8 * rows * columns + columns, times SW_SPAN */
    /* backward only; NULL: not wanted */
    const float *dy;
    float *du, *ddelta, *da_log, *dd;
    bool add_u, add_delta, add_a_log, add_d;
    float *db, *dc; /* added to, never NULL */
} sw_simd_scan;

typedef struct sw_simd {
    const char *name;
    int block; /* channels per block of the blocked layout that suits these vectors */

    const sw_simd_typed *f32, *bf16;
    void (*to_bf16)(const float *x, uint16_t *y, int64_t count);
    void (*from_bf16)(const uint16_t *x, float *y, int64_t count);

    /* --- flat */
    void (*gelu)(const float *x, float *y, int64_t count);
    void (*gelu_grad)(const float *x, const float *dy, float *dx, bool add, int64_t count);
    void (*silu)(const float *x, float *y, int64_t count);
    void (*silu_grad)(const float *x, const float *dy, float *dx, bool add, int64_t count);
    void (*scale)(float factor, const float *x, float *y, bool add, int64_t count); /* y (+)= factor * x */
    double (*dot)(const float *x, const float *y, int64_t count);
    void (*tanh)(const float *x, float *y, int64_t count);
    void (*sigmoid)(const float *x, float *y, int64_t count);
    /* y (+)= x times what the draws from `group` on say, four elements each */
    void (*dropout)(const sw_simd_dropout *a, uint32_t group, const float *x, float *y, bool add, int64_t count);
    void (*mul)(const float *a, const float *b, float *y, bool add, int64_t count);
    void (*axpy)(float factor, const float *x, float *y, int64_t count);
    void (*lerp)(float factor, const float *x, float *y, int64_t count);
    void (*adam)(const sw_simd_adam *a, const float *g, float *p, float *m, float *v, int64_t count);
    double (*sum_squares)(const float *x, int64_t count);

    /* --- rows */
    int64_t (*largest)(const float *x, int64_t count); /* its place, the first on ties; count is at least 1 */
    int64_t (*smallest)(const float *x, int64_t count);
    void (*between)(const float *x, float low, float span, float *y, int64_t count); /* y = (x - low) / span */
    void (*column_sums)(const float *x, int64_t rows, int64_t step, int64_t columns, double *sum); /* added to */
    void (*softmax)(const float *x, float *y, int64_t count);
    void (*softmax_grad)(const float *y, const float *dy, float *dx, bool add, int64_t count);
    void (*layer_norm)(const float *x, const float *gain, const float *offset, float *y, int64_t count, double eps,
                       float *mean, float *inverse);
    /* dx may be NULL; dgain and doffset (may be NULL) are added to */
    void (*layer_norm_grad)(const float *x, const float *gain, const float *dy, float *dx, bool add, int64_t count,
                            float mean, float inverse, float *dgain, float *doffset);

    /* --- 3x3 convolution, see simd_wino_impl.h */
    int wino_width; /* output channels come in multiples of it */
    void (*wino_filters)(const sw_simd_wino *a, const float *w, bool back, int64_t c0, int64_t c1);
    void (*wino_weight_product)(const sw_simd_wino *a, int64_t count, bool add);
    void (*wino_filters_back)(const sw_simd_wino *a, float *dw, int64_t c0, int64_t c1);

    /* --- 7x7 convolution */
    void (*stem_filters)(const sw_simd_stem *a, const float *w);
    void (*stem_filters_back)(const sw_simd_stem *a, float *dw);
    /* one row of tiles of one image, see simd_stem_impl.h */
    void (*stem_forward)(const sw_simd_stem *a, const float *x, float *y, int tile_y);
    void (*stem_weights)(const sw_simd_stem *a, const float *x, const float *dy, int tile_y, bool add);

    /* --- any convolution, see simd_direct_impl.h: outputs [first, first + count) over images, rows and columns */
    void (*direct_forward)(const sw_simd_direct *a, int64_t first, int64_t count);

    /* --- depthwise */
    void (*depthwise)(const sw_simd_depthwise *a);
    void (*depthwise_weights)(const sw_simd_depthwise *a);

    /* --- scan2d: channels [channel, channel + count) */
    void (*scan2d)(const sw_simd_scan *a, int64_t channel, int64_t count);
    void (*scan2d_grad)(const sw_simd_scan *a, int64_t channel, int64_t count);

    /* --- attend_one */
    void (*attend)(const sw_simd_attend *a);
    void (*attend_grad)(const sw_simd_attend *a);

    /* --- attend */
    void (*attend_wide)(const sw_simd_attend_wide *a);
    void (*attend_wide_mean)(const float *yt, const float *dyt, int e, float *mean);
    void (*attend_wide_grad)(const sw_simd_attend_wide *a);
} sw_simd;

/* `size` of the pools: h, w, out_h, out_w, window, stride, pad */
enum { SW_POOL_H, SW_POOL_W, SW_POOL_OH, SW_POOL_OW, SW_POOL_WINDOW, SW_POOL_STRIDE, SW_POOL_PAD, SW_POOL_SIZES };

/* First and last+1 output position whose window covers input position i. */
static inline void sw_pool_covering(int i, int pad, int window, int stride, int out, int *first,
                                    int *end)
{
    int low = i + pad - window + 1;
    *first = low <= 0 ? 0 : (low + stride - 1) / stride;
    *end = (i + pad) / stride + 1;
    if (*end > out) *end = out;
}

const sw_simd *sw_simd_base(void);
const sw_simd *sw_simd_avx2(void);   /* NULL: not in this build or not on this machine */
const sw_simd *sw_simd_avx512(void); /* likewise */
const sw_simd_attend_bf16 *sw_simd_avx512_bf16(void); /* likewise */

#endif
