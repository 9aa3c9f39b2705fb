/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/cpu/onednn.h"

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"
#include "base/versions.h"

/* 2.x passes memory descriptors by address, 3.x by opaque handle; `md_ref` is what queries return. */
#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t md_ref;
typedef struct md_own {
    dnnl_memory_desc_t md;
} md_own;
static md_ref md_of(const md_own *own)
{
    return own->md;
}
static dnnl_status_t md_make(md_own *own, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                             dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(&own->md, rank, dims, type, tag);
}
static void md_free(md_own *own)
{
    if (own->md) dnnl_memory_desc_destroy(own->md);
}
#define APPEND_SUM(ops) dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef)
#define APPEND_RELU(ops) dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f)
#else
typedef const dnnl_memory_desc_t *md_ref;
typedef struct md_own {
    dnnl_memory_desc_t md;
} md_own;
static md_ref md_of(const md_own *own)
{
    return &own->md;
}
static dnnl_status_t md_make(md_own *own, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                             dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(&own->md, rank, dims, type, tag);
}
static void md_free(md_own *own)
{
    (void)own;
}
#define APPEND_SUM(ops) dnnl_post_ops_append_sum(ops, 1.0f)
#define APPEND_RELU(ops) dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f)
#endif

/* Batches of odd sizes come and go (the last chunk of a slide): the cache drops what was used longest ago. */
#define MAX_PRIMITIVES 512

typedef enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS } direction;

typedef struct conv_key {
    sw_dnn_conv shape;
    int64_t direction;
} conv_key;

typedef struct conv {
    conv_key key;
    uint64_t used; /* tick of the last use */
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_primitive_t reorder; /* of the weights; NULL: theirs are plain */
    dnnl_memory_t x, w, y, bias, pad; /* without data until execution; bias NULL: none; pad: the scratchpad */
    dnnl_memory_t w_plain;
    size_t w_bytes, pad_bytes;
} conv;

struct sw_dnn {
    int threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    conv **conv;
    size_t conv_count, conv_capacity;
    uint64_t tick;
    void *pad, *weights; /* scratch shared by all primitives */
    size_t pad_bytes, weights_bytes;
    uint64_t call, ordered_call; /* of sw_dnn_same_weights; the call that `weights` were put in order for, */
    const conv *ordered;         /* and for which primitive */
};

const char *sw_onednn_version(void)
{
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
    return TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH);
#undef TEXT
#undef TEXT_
}

/* oneDNN asks OpenMP how many threads there are: the backend's number holds during its calls only. */
static int threads_begin(const sw_dnn *dnn)
{
#ifdef _OPENMP
    int before = omp_get_max_threads();
    omp_set_num_threads(dnn->threads); /* in a parallel region: of this thread alone */
    return before;
#else
    (void)dnn;
    return 1;
#endif
}

static void threads_end(int before)
{
#ifdef _OPENMP
    omp_set_num_threads(before);
#else
    (void)before;
#endif
}

static sw_status dnn_error(sw_error *err, dnnl_status_t status, const char *what)
{
    if (status == dnnl_out_of_memory) return sw_nomem(err);
    return sw_error_set(err, status == dnnl_unimplemented ? SW_E_UNSUPPORTED : SW_E_INTERNAL,
                        "oneDNN %s cannot %s (its status %d)", sw_onednn_version(), what, (int)status);
}

#define DNN_TRY(call, what)                                                                     \
    do {                                                                                        \
        dnnl_status_t dnn_status_ = (call);                                                     \
        if (dnn_status_ != dnnl_success) return dnn_error(err, dnn_status_, what);              \
    } while (0)

static void conv_free(conv *c)
{
    if (!c) return;
    dnnl_memory_t memory[] = {c->x, c->w, c->y, c->bias, c->pad, c->w_plain};
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    if (c->primitive) dnnl_primitive_destroy(c->primitive);
    if (c->reorder) dnnl_primitive_destroy(c->reorder);
    if (c->desc) dnnl_primitive_desc_destroy(c->desc);
    sw_free(c);
}

static void conv_free_ptr(conv **c)
{
    conv_free(*c);
}

sw_status sw_dnn_new(int threads, sw_dnn **out, sw_error *err)
{
    sw_dnn *dnn = sw_calloc(1, sizeof(*dnn));
    if (!dnn) return sw_nomem(err);
    dnn->threads = threads;
    dnnl_status_t status = dnnl_engine_create(&dnn->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = dnnl_stream_create(&dnn->stream, dnn->engine, dnnl_stream_default_flags);
    if (status != dnnl_success) {
        sw_dnn_free(dnn);
        return dnn_error(err, status, "start");
    }
    *out = dnn;
    return SW_OK;
}

size_t sw_dnn_scratch_bytes(const sw_dnn *dnn)
{
    return dnn->pad_bytes + dnn->weights_bytes;
}

void sw_dnn_trim(sw_dnn *dnn)
{
    for (size_t i = 0; i < dnn->conv_count; i++) conv_free(dnn->conv[i]);
    dnn->conv_count = 0;
    sw_cpu_pages_free(dnn->pad);
    sw_cpu_pages_free(dnn->weights);
    dnn->ordered = NULL;
    dnn->pad = dnn->weights = NULL;
    dnn->pad_bytes = dnn->weights_bytes = 0;
}

void sw_dnn_free(sw_dnn *dnn)
{
    if (!dnn) return;
    sw_dnn_trim(dnn);
    sw_free(dnn->conv);
    if (dnn->stream) dnnl_stream_destroy(dnn->stream);
    if (dnn->engine) dnnl_engine_destroy(dnn->engine);
    sw_free(dnn);
}

static sw_status reserve(void **mem, size_t *have, size_t need, sw_error *err)
{
    if (need <= *have) return SW_OK;
    sw_cpu_pages_free(*mem);
    *have = 0;
    *mem = sw_cpu_pages_new(need);
    if (!*mem) return sw_nomem(err);
    *have = need;
    return SW_OK;
}

static dnnl_format_tag_t tag_of_block(int64_t block)
{
    return block == 16 ? dnnl_nChw16c : block == 8 ? dnnl_nChw8c : dnnl_nchw;
}

/* Descriptors of one convolution; the layout of w and dw is left to the primitive's choice. */
typedef struct conv_descs {
    md_own x, w, dw, y, bias, w_plain; /* dw is float also where w is bfloat16 */
    dnnl_primitive_attr_t attr; /* scratchpad of ours, and what follows the convolution */
} conv_descs;

static void conv_descs_free(conv_descs *d)
{
    md_free(&d->x);
    md_free(&d->w);
    md_free(&d->dw);
    md_free(&d->y);
    md_free(&d->bias);
    md_free(&d->w_plain);
    if (d->attr) dnnl_primitive_attr_destroy(d->attr);
}

static dnnl_status_t attr_make(const sw_dnn_conv *s, dnnl_primitive_attr_t *attr)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !(s->sum || s->relu)) return status;
    status = dnnl_post_ops_create(&ops);
    if (status != dnnl_success) return status;
    if (s->sum) status = APPEND_SUM(ops);
    if (status == dnnl_success && s->relu) status = APPEND_RELU(ops);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    return status;
}

static dnnl_status_t conv_descs_make(const sw_dnn_conv *s, conv_descs *d)
{
    dnnl_dims_t x = {s->n, s->c, s->h, s->w}, w = {s->o, s->c, s->kh, s->kw}, y = {s->n, s->o, s->oh, s->ow};
    dnnl_dims_t bias = {s->o};
    dnnl_data_type_t type = s->bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_status_t status = md_make(&d->x, 4, x, type, tag_of_block(s->x_block));
    if (status == dnnl_success) status = md_make(&d->w, 4, w, type, dnnl_format_tag_any);
    if (status == dnnl_success) status = md_make(&d->dw, 4, w, dnnl_f32, dnnl_format_tag_any);
    if (status == dnnl_success) status = md_make(&d->y, 4, y, type, tag_of_block(s->y_block));
    if (status == dnnl_success) status = md_make(&d->w_plain, 4, w, dnnl_f32, dnnl_oihw);
    if (status == dnnl_success && s->bias) status = md_make(&d->bias, 1, bias, dnnl_f32, dnnl_a);
    if (status == dnnl_success) status = attr_make(s, &d->attr);
    return status;
}

/* Always forward_training: with forward_inference Winograd asks for weights that were transformed by a reorder, which
 * takes several times as long as transforming them on the way (33 ms instead of 2 for ResNet-18). */
#if DNNL_VERSION_MAJOR >= 3
static dnnl_status_t desc_create(const sw_dnn *dnn, const sw_dnn_conv *s, const conv_descs *d, direction dir,
                                 dnnl_alg_kind_t alg, const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
    dnnl_dims_t stride = {s->stride, s->stride}, pad = {s->pad, s->pad}, dilate = {0, 0};
    if (dir == FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(out, dnn->engine, dnnl_forward_training, alg, md_of(&d->x),
                                                              md_of(&d->w), s->bias ? md_of(&d->bias) : NULL,
                                                              md_of(&d->y), stride, dilate, pad, pad, d->attr);
    if (dir == BACKWARD_DATA)
        return dnnl_convolution_backward_data_primitive_desc_create(out, dnn->engine, alg, md_of(&d->x),
                                                                    md_of(&d->w), md_of(&d->y), stride, dilate, pad,
                                                                    pad, hint, d->attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(out, dnn->engine, alg, md_of(&d->x),
                                                                   md_of(&d->dw), NULL, md_of(&d->y), stride, dilate,
                                                                   pad, pad, hint, d->attr);
}
#else
static dnnl_status_t desc_create(const sw_dnn *dnn, const sw_dnn_conv *s, const conv_descs *d, direction dir,
                                 dnnl_alg_kind_t alg, const_dnnl_primitive_desc_t hint, dnnl_primitive_desc_t *out)
{
    dnnl_dims_t stride = {s->stride, s->stride}, pad = {s->pad, s->pad};
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;
    if (dir == FORWARD)
        status = dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, alg, md_of(&d->x), md_of(&d->w),
                                                    s->bias ? md_of(&d->bias) : NULL, md_of(&d->y), stride, pad, pad);
    else if (dir == BACKWARD_DATA)
        status = dnnl_convolution_backward_data_desc_init(&desc, alg, md_of(&d->x), md_of(&d->w), md_of(&d->y),
                                                          stride, pad, pad);
    else
        status = dnnl_convolution_backward_weights_desc_init(&desc, alg, md_of(&d->x), md_of(&d->dw), NULL,
                                                             md_of(&d->y), stride, pad, pad);
    if (status != dnnl_success) return status;
    return dnnl_primitive_desc_create(out, &desc, d->attr, dnn->engine, hint);
}
#endif

/* Backward descriptors need one of the forward pass as a hint. */
static dnnl_status_t desc_with_hint(const sw_dnn *dnn, const sw_dnn_conv *s, const conv_descs *d, direction dir,
                                    dnnl_alg_kind_t alg, dnnl_primitive_desc_t *out)
{
    if (dir == FORWARD) return desc_create(dnn, s, d, dir, alg, NULL, out);
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = desc_create(dnn, s, d, FORWARD, alg, NULL, &hint);
    if (status != dnnl_success) status = desc_create(dnn, s, d, FORWARD, dnnl_convolution_direct, NULL, &hint);
    if (status != dnnl_success) return status;
    status = desc_create(dnn, s, d, dir, alg, hint, out);
    dnnl_primitive_desc_destroy(hint);
    return status;
}

/* Winograd has 2.25 to 4 times fewer multiplications and was measured to be as exact as direct; `auto` does not
 * always choose it, so it is asked for first. 3.2 and later have none, nor has any version for bfloat16. */
static dnnl_status_t desc_best(const sw_dnn *dnn, const sw_dnn_conv *s, const conv_descs *d, direction dir,
                               dnnl_primitive_desc_t *out)
{
    bool winograd = !s->bf16 && s->kh == 3 && s->kw == 3 && s->stride == 1;
    if (winograd && desc_with_hint(dnn, s, d, dir, dnnl_convolution_winograd, out) == dnnl_success)
        return dnnl_success;
    return desc_with_hint(dnn, s, d, dir, dnnl_convolution_direct, out);
}

/* The reorder of the weights from plain floats to the primitive's layout and type, or back for their gradient. */
static dnnl_status_t reorder_make(const sw_dnn *dnn, conv *c, md_ref w, md_ref w_plain)
{
    bool back = c->key.direction == BACKWARD_WEIGHTS;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_reorder_primitive_desc_create(&desc, back ? w : w_plain, dnn->engine,
                                                              back ? w_plain : w, dnn->engine, NULL);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_create(&c->reorder, desc);
    dnnl_primitive_desc_destroy(desc);
    return status;
}

static dnnl_status_t memory_make(const sw_dnn *dnn, md_ref md, dnnl_memory_t *out)
{
    return dnnl_memory_create(out, md, dnn->engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t conv_fill(const sw_dnn *dnn, conv *c, const conv_descs *d)
{
    dnnl_status_t status = desc_best(dnn, &c->key.shape, d, (direction)c->key.direction, &c->desc);
    if (status != dnnl_success) return status;
    status = dnnl_primitive_create(&c->primitive, c->desc);
    if (status != dnnl_success) return status;
    bool back = c->key.direction == BACKWARD_WEIGHTS;
    md_ref w = dnnl_primitive_desc_query_md(c->desc, back ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    md_ref pad = dnnl_primitive_desc_query_md(c->desc, dnnl_query_scratchpad_md, 0);
    c->w_bytes = dnnl_memory_desc_get_size(w);
    c->pad_bytes = dnnl_memory_desc_get_size(pad);
    status = memory_make(dnn, md_of(&d->x), &c->x);
    if (status == dnnl_success) status = memory_make(dnn, w, &c->w);
    if (status == dnnl_success) status = memory_make(dnn, md_of(&d->y), &c->y);
    if (status == dnnl_success) status = memory_make(dnn, pad, &c->pad);
    if (status == dnnl_success) status = memory_make(dnn, md_of(&d->w_plain), &c->w_plain);
    if (status == dnnl_success && c->key.shape.bias) status = memory_make(dnn, md_of(&d->bias), &c->bias);
    if (status == dnnl_success && !dnnl_memory_desc_equal(w, md_of(&d->w_plain)))
        status = reorder_make(dnn, c, w, md_of(&d->w_plain));
    return status;
}

/* Puts a new primitive into the cache, in the place of the one used longest ago when it is full. */
static sw_status conv_remember(sw_dnn *dnn, conv *c, sw_error *err)
{
    if (dnn->conv_count < MAX_PRIMITIVES) {
        SW_TRY(sw_grow(&dnn->conv, &dnn->conv_capacity, dnn->conv_count + 1, sizeof(*dnn->conv), err));
        dnn->conv[dnn->conv_count++] = c;
        return SW_OK;
    }
    size_t oldest = 0;
    for (size_t i = 1; i < dnn->conv_count; i++)
        if (dnn->conv[i]->used < dnn->conv[oldest]->used) oldest = i;
    if (dnn->ordered == dnn->conv[oldest]) dnn->ordered = NULL;
    conv_free(dnn->conv[oldest]);
    dnn->conv[oldest] = c;
    return SW_OK;
}

static sw_status conv_find(sw_dnn *dnn, const sw_dnn_conv *shape, direction dir, conv **out, sw_error *err)
{
    conv_key key = {*shape, dir}; /* only int64_t members: no padding to compare */
    dnn->tick++;
    for (size_t i = 0; i < dnn->conv_count; i++)
        if (memcmp(&dnn->conv[i]->key, &key, sizeof(key)) == 0) {
            dnn->conv[i]->used = dnn->tick;
            *out = dnn->conv[i];
            return SW_OK;
        }
    SW_CLEANUP(conv_free_ptr) conv *made = sw_calloc(1, sizeof(*made));
    if (!made) return sw_nomem(err);
    made->key = key;
    made->used = dnn->tick;
    SW_CLEANUP(conv_descs_free) conv_descs descs;
    memset(&descs, 0, sizeof(descs));
    char what[160];
    snprintf(what, sizeof(what), "make the %s convolution [%lld, %lld, %lld, %lld] x [%lld, %lld, %lld, %lld]",
             shape->bf16 ? "bf16" : "fp32", (long long)shape->n, (long long)shape->c, (long long)shape->h,
             (long long)shape->w, (long long)shape->o, (long long)shape->c, (long long)shape->kh,
             (long long)shape->kw);
    DNN_TRY(conv_descs_make(shape, &descs), what);
    DNN_TRY(conv_fill(dnn, made, &descs), what);
    SW_TRY(conv_remember(dnn, made, err));
    *out = SW_STEAL(made);
    return SW_OK;
}

static dnnl_status_t reorder_run(const sw_dnn *dnn, const conv *c, dnnl_memory_t from, dnnl_memory_t to)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(c->reorder, dnn->stream, 2, args);
}

void sw_dnn_same_weights(sw_dnn *dnn, uint64_t call)
{
    dnn->call = call;
}

/* Puts the weights into the primitive's layout and type, unless they are from an earlier part of this call. */
static sw_status order_weights(sw_dnn *dnn, const conv *c, sw_error *err)
{
    if (dnn->call && dnn->call == dnn->ordered_call && dnn->ordered == c) return SW_OK;
    dnn->ordered = NULL;
    DNN_TRY(reorder_run(dnn, c, c->w_plain, c->w), "reorder weights");
    dnn->ordered = c;
    dnn->ordered_call = dnn->call;
    return SW_OK;
}

/* Runs a convolution: x, w (plain), bias, y are what the direction reads and writes. */
static sw_status conv_run(sw_dnn *dnn, conv *c, const void *x, const float *w, const float *bias, const void *y,
                          sw_error *err)
{
    SW_TRY(reserve(&dnn->pad, &dnn->pad_bytes, c->pad_bytes, err));
    if (c->reorder && c->w_bytes > dnn->weights_bytes) dnn->ordered = NULL;
    if (c->reorder) SW_TRY(reserve(&dnn->weights, &dnn->weights_bytes, c->w_bytes, err));
    dnnl_memory_set_data_handle(c->x, (void *)(uintptr_t)x);
    dnnl_memory_set_data_handle(c->y, (void *)(uintptr_t)y);
    dnnl_memory_set_data_handle(c->w_plain, (void *)(uintptr_t)w);
    dnnl_memory_set_data_handle(c->w, c->reorder ? dnn->weights : (void *)(uintptr_t)w);
    dnnl_memory_set_data_handle(c->pad, dnn->pad);
    if (c->bias) dnnl_memory_set_data_handle(c->bias, (void *)(uintptr_t)bias);
    direction dir = (direction)c->key.direction;
    if (c->reorder && dir != BACKWARD_WEIGHTS) SW_TRY(order_weights(dnn, c, err));
    /* 2.6 sums what it never wrote for taps that never meet an image smaller than the filter (bfloat16). */
    const sw_dnn_conv *s = &c->key.shape;
    bool small = s->h < s->kh || s->w < s->kw;
    if (dir == BACKWARD_WEIGHTS && small && c->pad_bytes > 0) memset(dnn->pad, 0, c->pad_bytes);
    int x_arg = dir == BACKWARD_DATA ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC;
    int w_arg = dir == BACKWARD_WEIGHTS ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS;
    int y_arg = dir == FORWARD ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST;
    dnnl_exec_arg_t args[] = {
        {x_arg, c->x}, {w_arg, c->w}, {y_arg, c->y}, {DNNL_ARG_SCRATCHPAD, c->pad}, {DNNL_ARG_BIAS, c->bias}};
    DNN_TRY(dnnl_primitive_execute(c->primitive, dnn->stream, c->bias ? 5 : 4, args), "run a convolution");
    if (dir == BACKWARD_WEIGHTS) dnn->ordered = NULL;
    if (c->reorder && dir == BACKWARD_WEIGHTS) DNN_TRY(reorder_run(dnn, c, c->w, c->w_plain), "reorder weights");
    DNN_TRY(dnnl_stream_wait(dnn->stream), "finish a convolution");
    return SW_OK;
}

static sw_status conv_go(sw_dnn *dnn, const sw_dnn_conv *shape, direction dir, const void *x, const float *w,
                         const float *bias, const void *y, sw_error *err)
{
    int before = threads_begin(dnn); /* also while primitives are made: they plan for so many threads */
    conv *c = NULL;
    sw_status status = conv_find(dnn, shape, dir, &c, err);
    if (status == SW_OK) status = conv_run(dnn, c, x, w, bias, y, err);
    threads_end(before);
    return status;
}

sw_status sw_dnn_conv_forward(sw_dnn *dnn, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err)
{
    return conv_go(dnn, shape, FORWARD, x, w, bias, y, err);
}

sw_status sw_dnn_conv_backward_data(sw_dnn *dnn, const sw_dnn_conv *shape, const void *dy, const float *w,
                                    void *dx, sw_error *err)
{
    return conv_go(dnn, shape, BACKWARD_DATA, dx, w, NULL, dy, err);
}

sw_status sw_dnn_conv_backward_weights(sw_dnn *dnn, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err)
{
    return conv_go(dnn, shape, BACKWARD_WEIGHTS, x, dw, NULL, dy, err);
}

sw_status sw_dnn_sgemm(const sw_dnn *dnn, const sw_dnn_gemm *g, const float *a, const float *b, float *c,
                       sw_error *err)
{
    int before = threads_begin(dnn);
    dnnl_status_t status = dnnl_sgemm(g->transpose_a ? 'T' : 'N', g->transpose_b ? 'T' : 'N', g->m, g->n, g->k, 1.0f,
                                      a, g->lda, b, g->ldb, g->beta, c, g->ldc);
    threads_end(before);
    if (status != dnnl_success) return dnn_error(err, status, "multiply matrices");
    return SW_OK;
}
