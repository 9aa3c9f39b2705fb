/* SPDX-License-Identifier: Apache-2.0 */
/* One op on random numbers on the cpu backend, in the layouts that it has, and on ref. */
#ifndef CPU_HARNESS_H
#define CPU_HARNESS_H

#include <stdlib.h>

#include "backend/cpu/cpu.h"
#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"
#include "base/rng.h"
#include "tensor/convert.h"
#include "test.h"

/* One op on random numbers. Bits of `blocked`: that input (bit 7: the output's gradient) comes blocked where its
 * shape allows; of `absent`: that input is NULL; of `grads`: that input's gradient is wanted. */
typedef struct problem {
    sw_op_id op;
    const void *attr;
    sw_shape in[SW_OP_MAX_IN], out[SW_OP_MAX_OUT];
    int inputs, outputs;
    unsigned blocked, absent, grads;
    bool add;
    double offset; /* of the first input's numbers */
    bool rounded;  /* every number is a bfloat16's, and images are in bfloat16 on cpu */
} problem;

typedef struct answer {
    float *out[SW_OP_MAX_OUT], *grad[SW_OP_MAX_IN], *in[SW_OP_MAX_IN];
} answer;

static inline void answer_free(answer *a)
{
    for (int i = 0; i < SW_OP_MAX_OUT; i++) sw_free(a->out[i]);
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        sw_free(a->grad[i]);
        sw_free(a->in[i]);
    }
}

static inline sw_status random_tensor(sw_backend *be, sw_dtype dtype, bool rounded, sw_shape shape, uint32_t stream,
                                      double offset, bool blocked, sw_tensor *t, sw_error *err)
{
    int64_t count = sw_shape_count(&shape);
    SW_AUTOFREE float *host = sw_malloc((size_t)count * sizeof(float));
    if (!host) return sw_nomem(err);
    sw_rng rng = sw_rng_stream(7, SW_RNG_TEST, stream, 0, 0);
    for (int64_t i = 0; i < count; i++) host[i] = (float)(offset + sw_rng_range(&rng, -1, 1));
    for (int64_t i = 0; rounded && i < count; i++) host[i] = sw_bf16_to_f32(sw_bf16_from_f32(host[i]));
    SW_TRY(sw_tensor_new(&be->device, dtype, shape, t, err));
    SW_TRY(sw_tensor_upload_f32(t, host, err));
    if (blocked && strcmp(be->device.name, "cpu") == 0 && sw_cpu_can_block(sw_cpu_of(be), &shape))
        SW_TRY(sw_cpu_relayout(sw_cpu_of(be), t, SW_CPU_BLOCKED, err));
    return SW_OK;
}

static inline sw_status to_host(const sw_tensor *t, float **host, sw_error *err)
{
    if (t->dtype != SW_F32 && t->dtype != SW_BF16) return SW_OK;
    *host = sw_malloc((size_t)sw_tensor_count(t) * sizeof(float) + 1);
    if (!*host) return sw_nomem(err);
    return sw_tensor_download_f32(t, *host, err);
}

static inline void release_tensors(sw_tensor (*t)[SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1])
{
    for (int i = 0; i < SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1; i++) sw_tensor_release(&(*t)[i]);
}

/* Parameters and statistics are float in any case. */
static inline sw_dtype type_of(const sw_backend *be, const problem *p, int input)
{
    bool param = (p->op == SW_OP_CONV2D && input == 1) || (p->op == SW_OP_BATCH_NORM && input >= 1 && input <= 4) ||
                 (p->op == SW_OP_CONV_NORM && input >= 1 && input <= 5) || (p->op == SW_OP_NORM_POOL && input >= 1) ||
                 p->op == SW_OP_ATTEND_ONE; /* no images there */
    return p->rounded && !param && strcmp(be->device.name, "cpu") == 0 ? SW_BF16 : SW_F32;
}

static inline sw_status solve(sw_backend *be, const problem *p, answer *a, sw_error *err)
{
    SW_CLEANUP(release_tensors) sw_tensor all[SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1] = {{0}};
    sw_tensor *in = all, *grad = all + SW_OP_MAX_IN, *out = grad + SW_OP_MAX_IN, *dy = out + SW_OP_MAX_OUT;
    sw_forward_args f = {.attr = p->attr};
    sw_backward_args b = {.attr = p->attr, .grad_out = dy};
    for (int i = 0; i < p->inputs; i++) {
        if (p->absent >> i & 1) continue;
        double offset = i == 0 ? p->offset : (p->op == SW_OP_BATCH_NORM || p->op == SW_OP_NORM_POOL) && i == 4 ? 1.5 : 0;
        if (p->op == SW_OP_CONV_NORM && i == 5) offset = 1.5; /* a variance */
        SW_TRY(random_tensor(be, type_of(be, p, i), p->rounded, p->in[i], (uint32_t)i, offset, p->blocked >> i & 1,
                             &in[i], err));
        f.in[i] = b.in[i] = &in[i];
    }
    for (int i = 0; i < p->outputs; i++) {
        sw_dtype type = (p->op == SW_OP_MAX_POOL2D && i == 1) || (p->op == SW_OP_NORM_POOL && i == 3) ? SW_U8
                        : i > 0 || p->op == SW_OP_GLOBAL_AVG_POOL ? SW_F32 : type_of(be, p, 0);
        SW_TRY(sw_tensor_new(&be->device, type, p->out[i], &out[i], err));
        memset((char *)out[i].storage->mem, 0xff, sw_tensor_bytes(&out[i])); /* not numbers */
        f.out[i] = &out[i];
        b.out[i] = &out[i];
    }
    SW_TRY(be->kernel[p->op].forward(be, &f, err));
    SW_TRY(random_tensor(be, out[0].dtype, p->rounded, p->out[0], 50, 0, p->blocked >> 7 & 1, dy, err));
    for (int i = 0; i < p->inputs; i++) {
        if (!(p->grads >> i & 1) || (p->absent >> i & 1)) continue;
        SW_TRY(random_tensor(be, in[i].dtype, p->rounded, p->in[i], 60 + (uint32_t)i, 0, false, &grad[i], err));
        if (!p->add) memset((char *)grad[i].storage->mem, 0xff, sw_tensor_bytes(&grad[i]));
        b.grad_in[i] = &grad[i];
        b.add[i] = p->add;
    }
    if (p->grads) SW_TRY(be->kernel[p->op].backward(be, &b, err));
    for (int i = 0; i < p->outputs; i++) SW_TRY(to_host(&out[i], &a->out[i], err));
    for (int i = 0; i < p->inputs; i++) {
        if (f.in[i]) SW_TRY(to_host(&in[i], &a->in[i], err));
        if (b.grad_in[i]) SW_TRY(to_host(&grad[i], &a->grad[i], err));
    }
    return SW_OK;
}

/* Largest difference over the largest value; not a number is infinitely far off. */
static inline double distance(const float *a, const float *b, int64_t count)
{
    double most = 0, size = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= most)) most = d == d ? d : INFINITY;
        if (fabs((double)b[i]) > size) size = fabs((double)b[i]);
    }
    return most / size;
}

static inline void compare_one(const problem *p, const char *what, int index, const float *a, const float *b, sw_shape shape,
                               double bound)
{
    if (!a || !b) {
        if (a != b) sw_test_fail(__FILE__, __LINE__, "%s: one side lacks %s %d", sw_op_name(p->op), what, index);
        return;
    }
    double d = distance(a, b, sw_shape_count(&shape));
    char text[64];
    if (!(d <= bound))
        sw_test_fail(__FILE__, __LINE__, "%s %s: %s %d is %.3g off (bound %.3g, blocked %x, add %d)",
                     sw_op_name(p->op), sw_shape_text(&p->in[0], text, sizeof(text)), what, index, d, bound, p->blocked,
                     p->add);
}

static inline void compare(const problem *p, const answer *a, const answer *b, double bound)
{
    for (int i = 0; i < p->outputs; i++) compare_one(p, "output", i, a->out[i], b->out[i], p->out[i], bound);
    for (int i = 0; i < p->inputs; i++) {
        compare_one(p, "gradient", i, a->grad[i], b->grad[i], p->in[i], bound);
        compare_one(p, "input", i, a->in[i], b->in[i], p->in[i], bound); /* running statistics move */
    }
}

/* Lent by the test: two backends, ended with it. */
static inline void backend_free(sw_backend **be)
{
    sw_backend_free(*be);
}

static inline sw_status new_cpu(int threads, sw_backend **be, sw_error *err)
{
    sw_backend_options options = {.threads = threads};
    return sw_cpu_backend_new(&options, be, err);
}

enum { SETS = 3 };

/* On every instruction set that this machine has, one thread. */
static inline void check_sets(const problem *p, double bound)
{
    const sw_simd *set[SETS] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    SW_CLEANUP(answer_free) answer right = {.out = {NULL}};
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(solve(ref, p, &right, &err));
    for (int s = 0; s < SETS; s++) {
        if (!set[s]) continue;
        SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
        SW_CLEANUP(answer_free) answer a = {.out = {NULL}};
        CHECK_OK(new_cpu(1, &cpu, &err));
        sw_cpu_of(cpu)->simd = set[s];
        CHECK_OK(solve(cpu, p, &a, &err));
        compare(p, &a, &right, bound);
    }
}

static inline problem attention(int64_t groups, int64_t n, int64_t d, const sw_attend_one_attr *attr)
{
    return (problem){.op = SW_OP_ATTEND_ONE, .attr = attr, .inputs = 3, .outputs = 2,
                     .in = {SW_SHAPE(groups, n, d), SW_SHAPE(groups, n, d), SW_SHAPE(groups, n)},
                     .out = {SW_SHAPE(groups, n), SW_SHAPE(groups, n)}, .grads = 7};
}

static inline problem wide_attention(int64_t groups, int64_t m, int64_t n, int64_t d, int64_t e, const sw_attend_attr *attr)
{
    return (problem){.op = SW_OP_ATTEND, .attr = attr, .inputs = 3, .outputs = 2,
                     .in = {SW_SHAPE(groups, m, d), SW_SHAPE(groups, n, d), SW_SHAPE(groups, n, e)},
                     .out = {SW_SHAPE(groups, m, e), SW_SHAPE(groups, m)}, .grads = 7};
}

#endif
