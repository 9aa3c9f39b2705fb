/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one op case on a backend with poisoned outputs between guard elements, and compares. */
#ifndef OP_HARNESS_H
#define OP_HARNESS_H

#include <float.h>
#include <stdarg.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "base/rng.h"
#include "base/thread.h"
#include "op/op.h"
#include "tensor/convert.h"
#include "tensor/tensor.h"

typedef struct op_case {
    const char *name;
    sw_op_id op;
    const void *attr;
    sw_shape in[SW_OP_MAX_IN];
    unsigned absent;   /* bit i: input i is NULL */
    unsigned positive; /* bit i: values of input i are in (0.5, 1.5) */
    double tol;        /* float against double on ref, relative to the largest value of the tensor */
    double cpu_tol;    /* another backend's float against ref's float, in the same way */
    unsigned saved;    /* bit i: output i > 0 means the same on every backend */
    bool rounded;      /* every number is a bfloat16's */
} op_case;

/* All values of a run as double; NULL where absent. */
typedef struct op_result {
    double *out[SW_OP_MAX_OUT], *grad[SW_OP_MAX_IN], *in_after[SW_OP_MAX_IN];
    int64_t out_count[SW_OP_MAX_OUT], in_count[SW_OP_MAX_IN];
    double forward_ms, backward_ms; /* of the kernels alone */
    char problem[512]; /* empty: the run itself was in order */
} op_result;

enum { GUARD = 64 }; /* elements before and after each output: keeps 64-byte alignment for any type */
static const double GUARD_VALUE = 77.0;

static inline bool op_problem(op_result *r, const char *fmt, ...)
{
    va_list ap;
    if (r->problem[0]) return false;
    va_start(ap, fmt);
    vsnprintf(r->problem, sizeof r->problem, fmt, ap);
    va_end(ap);
    return false;
}

static inline void op_result_free(op_result *r)
{
    for (int i = 0; i < SW_OP_MAX_OUT; i++) free(r->out[i]);
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        free(r->grad[i]);
        free(r->in_after[i]);
    }
    *r = (op_result){.problem = ""};
}

/* Reads any type into new doubles. */
static inline double *op_read(const sw_tensor *t, sw_error *err)
{
    int64_t count = sw_tensor_count(t);
    double *values = calloc((size_t)count + 1, sizeof *values);
    if (t->dtype == SW_U8) {
        uint8_t *raw = calloc((size_t)count + 1, 1);
        if (sw_tensor_download(t, raw, err) != SW_OK) count = 0;
        for (int64_t i = 0; i < count; i++) values[i] = raw[i];
        free(raw);
    } else if (t->dtype == SW_I32) {
        int32_t *raw = calloc((size_t)count + 1, sizeof *raw);
        if (sw_tensor_download(t, raw, err) != SW_OK) count = 0;
        for (int64_t i = 0; i < count; i++) values[i] = raw[i];
        free(raw);
    } else if (sw_tensor_download_f64(t, values, err) != SW_OK) {
        values[0] = NAN;
    }
    return values;
}

static inline sw_status op_write(sw_tensor *t, const double *values, sw_error *err)
{
    int64_t count = sw_tensor_count(t);
    if (t->dtype != SW_U8 && t->dtype != SW_I32) return sw_tensor_upload_f64(t, values, err);
    int32_t *wide = calloc((size_t)count + 1, sizeof *wide);
    uint8_t *bytes = calloc((size_t)count + 1, 1);
    for (int64_t i = 0; i < count; i++) {
        wide[i] = (int32_t)values[i];
        bytes[i] = (uint8_t)values[i];
    }
    sw_status status = sw_tensor_upload(t, t->dtype == SW_I32 ? (void *)wide : (void *)bytes, err);
    free(wide);
    free(bytes);
    return status;
}

/* A tensor between guard elements; its own elements are `fill`, or values[i] where given. */
typedef struct guarded {
    sw_tensor whole, part;
} guarded;

static inline sw_status guarded_new(sw_backend *be, sw_dtype dtype, sw_shape shape, double fill, const double *values,
                                    guarded *g, sw_error *err)
{
    int64_t count = sw_shape_count(&shape), all = count + 2 * GUARD;
    double *host = calloc((size_t)all, sizeof *host);
    for (int64_t i = 0; i < all; i++) host[i] = i < GUARD || i >= GUARD + count ? GUARD_VALUE : fill;
    for (int64_t i = 0; values && i < count; i++) host[GUARD + i] = values[i];
    sw_status status = sw_tensor_new(&be->device, dtype, SW_SHAPE(all), &g->whole, err);
    if (status == SW_OK) status = op_write(&g->whole, host, err);
    if (status == SW_OK) status = sw_tensor_view(&g->whole, GUARD, shape, &g->part, err);
    free(host);
    return status;
}

static inline bool guarded_intact(const guarded *g, sw_error *err)
{
    double *all = op_read(&g->whole, err);
    int64_t count = sw_tensor_count(&g->whole);
    bool intact = true;
    for (int64_t i = 0; i < GUARD; i++) intact = intact && all[i] == GUARD_VALUE && all[count - 1 - i] == GUARD_VALUE;
    free(all);
    return intact;
}

static inline void guarded_free(guarded *g)
{
    sw_tensor_release(&g->part);
    sw_tensor_release(&g->whole);
}

static inline void op_round(const op_case *c, double *values, int64_t count)
{
    for (int64_t i = 0; c->rounded && i < count; i++) values[i] = sw_bf16_to_f32(sw_bf16_from_f32((float)values[i]));
}

/* Values of input `i`: normal, or in (0.5, 1.5), or labels; the same for every backend and type (they are
 * exact in float). */
static inline double *op_values(const op_case *c, int i)
{
    int64_t count = sw_shape_count(&c->in[i]);
    double *values = calloc((size_t)count + 1, sizeof *values);
    sw_rng rng = sw_rng_stream(7, SW_RNG_TEST, (uint32_t)c->op, (uint32_t)i, (uint32_t)count);
    for (int64_t k = 0; k < count; k++) {
        values[k] = (float)(c->positive >> i & 1u ? sw_rng_range(&rng, 0.5, 1.5) : sw_rng_normal(&rng));
        if (c->op == SW_OP_CROSS_ENTROPY && i == 1) values[k] = (double)sw_rng_below(&rng, (uint64_t)c->in[0].dim[1]);
        if (c->op == SW_OP_SURVIVAL_NLL && i == 1)
            values[k] = (double)sw_rng_below(&rng, k % 2 == 0 ? (uint64_t)c->in[0].dim[1] : 2);
        if (c->op == SW_OP_GATHER && i == 1) values[k] = (double)sw_rng_below(&rng, (uint64_t)c->in[0].dim[1]);
        if (c->op == SW_OP_COX && i == 1) values[k] = (double)sw_rng_below(&rng, k % 2 == 0 ? 4 : 2); /* times tie */
    }
    op_round(c, values, count);
    return values;
}

static inline double *op_normals(int64_t count, uint32_t which)
{
    double *values = calloc((size_t)count + 1, sizeof *values);
    sw_rng rng = sw_rng_stream(8, SW_RNG_TEST, which, 0, (uint32_t)count);
    for (int64_t k = 0; k < count; k++) values[k] = (float)sw_rng_normal(&rng);
    return values;
}

static inline bool op_present(const op_case *c, int i)
{
    return i < sw_op_get(c->op)->inputs && !(c->absent >> i & 1u);
}

/* Images come in the type asked for; beside bf16, parameters and statistics are f32. */
static inline sw_dtype op_input_dtype(const op_case *c, int i, sw_dtype dtype)
{
    bool param = (c->op == SW_OP_CONV2D && i == 1) || (c->op == SW_OP_BATCH_NORM && i >= 1 && i <= 4) ||
                 (c->op == SW_OP_CONV_NORM && i >= 1 && i <= 5);
    if ((c->op == SW_OP_CROSS_ENTROPY || c->op == SW_OP_SURVIVAL_NLL || c->op == SW_OP_COX ||
         c->op == SW_OP_GATHER) && i == 1)
        return SW_I32;
    return param && dtype == SW_BF16 ? SW_F32 : dtype;
}

typedef struct op_tensors {
    sw_tensor in[SW_OP_MAX_IN];
    guarded out[SW_OP_MAX_OUT], grad[SW_OP_MAX_IN];
    sw_tensor grad_out;
} op_tensors;

static inline void op_tensors_free(op_tensors *t)
{
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        sw_tensor_release(&t->in[i]);
        guarded_free(&t->grad[i]);
    }
    for (int i = 0; i < SW_OP_MAX_OUT; i++) guarded_free(&t->out[i]);
    sw_tensor_release(&t->grad_out);
}

static inline sw_status op_forward(sw_backend *be, sw_dtype dtype, const op_case *c, double *const *values,
                                   op_tensors *t, op_result *r, sw_error *err)
{
    sw_forward_args args = {.attr = c->attr};
    sw_shape shape[SW_OP_MAX_OUT] = {{0}};
    sw_dtype type[SW_OP_MAX_OUT] = {SW_F32};
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (!op_present(c, i)) continue;
        SW_TRY(sw_tensor_new(&be->device, op_input_dtype(c, i, dtype), c->in[i], &t->in[i], err));
        SW_TRY(op_write(&t->in[i], values[i], err));
        args.in[i] = &t->in[i];
    }
    SW_TRY(sw_op_get(c->op)->infer(c->attr, args.in, shape, type, err));
    for (int i = 0; i < sw_op_get(c->op)->outputs; i++) {
        SW_TRY(guarded_new(be, type[i], shape[i], type[i] == SW_U8 ? 255 : (double)NAN, NULL, &t->out[i], err));
        args.out[i] = &t->out[i].part;
    }
    int64_t start = sw_now_ns();
    SW_TRY(sw_backend_run(be, c->op, &args, err));
    r->forward_ms = (double)(sw_now_ns() - start) * 1e-6;
    for (int i = 0; i < sw_op_get(c->op)->outputs; i++) {
        r->out[i] = op_read(&t->out[i].part, err);
        r->out_count[i] = sw_tensor_count(&t->out[i].part);
        if (!guarded_intact(&t->out[i], err)) op_problem(r, "forward wrote outside of output %d", i);
    }
    return SW_OK;
}

static inline sw_status op_backward(sw_backend *be, const op_case *c, bool add, op_tensors *t,
                                    op_result *r, sw_error *err)
{
    sw_backward_args args = {.attr = c->attr, .grad_out = &t->grad_out};
    double *dy = op_normals(r->out_count[0], 1);
    op_round(c, dy, r->out_count[0]);
    sw_status status = sw_tensor_new(&be->device, t->out[0].part.dtype, t->out[0].part.shape, &t->grad_out, err);
    if (status == SW_OK) status = sw_tensor_upload_f64(&t->grad_out, dy, err);
    free(dy);
    SW_TRY(status);
    /* What `needs` does not name is not given, as on the tape. */
    int needs = be->kernel[c->op].needs;
    sw_tensor bare[SW_OP_MAX_IN + SW_OP_MAX_OUT] = {{0}};
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (!op_present(c, i)) continue;
        bare[i] = t->in[i];
        bare[i].storage = NULL;
        args.in[i] = needs & SW_NEEDS_INPUTS ? &t->in[i] : &bare[i];
        if (sw_op_get(c->op)->no_grad >> i & 1u) continue;
        double *old = op_normals(sw_shape_count(&c->in[i]), 2);
        op_round(c, old, sw_shape_count(&c->in[i]));
        status = guarded_new(be, t->in[i].dtype, c->in[i], (double)NAN, add ? old : NULL, &t->grad[i], err);
        free(old);
        SW_TRY(status);
        args.grad_in[i] = &t->grad[i].part;
        args.add[i] = add;
    }
    for (int i = 0; i < sw_op_get(c->op)->outputs; i++) {
        bare[SW_OP_MAX_IN + i] = t->out[i].part;
        bare[SW_OP_MAX_IN + i].storage = NULL;
        args.out[i] = needs & SW_NEEDS_OUTPUT ? &t->out[i].part : &bare[SW_OP_MAX_IN + i];
    }
    int64_t start = sw_now_ns();
    SW_TRY(be->kernel[c->op].backward(be, &args, err));
    r->backward_ms = (double)(sw_now_ns() - start) * 1e-6;
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (!args.grad_in[i]) continue;
        r->grad[i] = op_read(&t->grad[i].part, err);
        if (!guarded_intact(&t->grad[i], err)) op_problem(r, "backward wrote outside of gradient %d", i);
    }
    return SW_OK;
}

/* Forward and, where the op has one, backward of `c` with inputs values[i]; op_result_free afterwards in any case. */
static inline bool op_run(sw_backend *be, sw_dtype dtype, const op_case *c, double *const *values, bool backward,
                          bool add, op_result *r)
{
    sw_error err = {0};
    op_tensors t = {.grad_out = {0}};
    sw_status status = op_forward(be, dtype, c, values, &t, r, &err);
    if (status == SW_OK && backward && be->kernel[c->op].backward) status = op_backward(be, c, add, &t, r, &err);
    for (int i = 0; status == SW_OK && i < SW_OP_MAX_IN; i++) {
        if (!op_present(c, i)) continue;
        r->in_after[i] = op_read(&t.in[i], &err);
        r->in_count[i] = sw_tensor_count(&t.in[i]);
    }
    op_tensors_free(&t);
    if (status != SW_OK) op_problem(r, "%s", err.message);
    return !r->problem[0];
}

/* Writes what differs into `why` and returns false. */
static inline bool op_same(const char *what, int index, const double *a, const double *b, int64_t count, double tol,
                           char *why, size_t size)
{
    double top = 0.0;
    for (int64_t i = 0; i < count; i++) top = fmax(top, fabs(b[i]));
    for (int64_t i = 0; i < count; i++) {
        if (fabs(a[i] - b[i]) <= tol * top) continue; /* a NaN is never that near */
        snprintf(why, size, "%s %d, element %lld of %lld: %.9g, expected %.9g (largest %.3g)", what, index,
                 (long long)i, (long long)count, a[i], b[i], top);
        return false;
    }
    return true;
}

/* |a - b| / |b|, each the root of the sum of squares. A tensor that is zero by symmetry (the sum of a normalised
 * gradient) has only rounding to show: `least` is added to |b|. Not a number is infinitely far off. */
static inline double op_distance(const double *a, const double *b, int64_t count, double least)
{
    double off = 0.0, size = 0.0;
    for (int64_t i = 0; i < count; i++) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        size += b[i] * b[i];
    }
    double d = sqrt(off) / (sqrt(size) + least);
    return isnan(d) ? (double)INFINITY : d;
}

/* `be` in `dtype` against `expected`, a run of ref with the same `add`. */
static inline bool op_compare(sw_backend *be, sw_dtype dtype, const op_case *c, double *const *values, bool add,
                              const op_result *expected, double tol, bool all_saved, char *why, size_t size)
{
    op_result r = {.problem = ""};
    bool same = op_run(be, dtype, c, values, true, add, &r);
    if (!same) snprintf(why, size, "%s", r.problem);
    for (int i = 0; same && i < sw_op_get(c->op)->outputs; i++) {
        if (i > 0 && !all_saved && !(c->saved >> i & 1u)) continue;
        same = op_same("output", i, r.out[i], expected->out[i], expected->out_count[i], tol, why, size);
    }
    for (int i = 0; same && i < SW_OP_MAX_IN; i++) {
        if (!op_present(c, i)) continue;
        if (r.grad[i]) same = op_same("gradient", i, r.grad[i], expected->grad[i], r.in_count[i], tol, why, size);
        if (same) same = op_same("input afterwards", i, r.in_after[i], expected->in_after[i], r.in_count[i], tol, why, size);
    }
    op_result_free(&r);
    return same;
}

static inline void values_new(const op_case *c, double **values)
{
    for (int i = 0; i < SW_OP_MAX_IN; i++) values[i] = op_present(c, i) ? op_values(c, i) : NULL;
}

static inline void values_free(double **values)
{
    for (int i = 0; i < SW_OP_MAX_IN; i++) free(values[i]);
}

/* sum(dy * y) */
static inline double objective(sw_backend *be, const op_case *c, double *const *values, const double *dy)
{
    op_result r = {.problem = ""};
    double sum = op_run(be, SW_F64, c, values, false, false, &r) ? 0.0 : (double)NAN;
    for (int64_t i = 0; i < r.out_count[0]; i++) sum += dy[i] * r.out[0][i];
    op_result_free(&r);
    return sum;
}

/* Every element of every gradient against a central difference. */
static inline bool numeric_agrees(sw_backend *be, const op_case *c, char *why, size_t size)
{
    double *values[SW_OP_MAX_IN];
    op_result r = {.problem = ""};
    values_new(c, values);
    bool good = op_run(be, SW_F64, c, values, true, false, &r);
    if (!good) snprintf(why, size, "%s", r.problem);
    double *dy = op_normals(r.out_count[0], 1);
    for (int i = 0; good && i < SW_OP_MAX_IN; i++) {
        if (!r.grad[i]) continue;
        double *numeric = calloc((size_t)r.in_count[i] + 1, sizeof *numeric);
        for (int64_t k = 0; k < r.in_count[i]; k++) {
            const double x = values[i][k], h = 1e-5;
            values[i][k] = x + h;
            double above = objective(be, c, values, dy);
            values[i][k] = x - h;
            double below = objective(be, c, values, dy);
            values[i][k] = x;
            numeric[k] = (above - below) / (2.0 * h);
        }
        /* Against at least 1e-2: a gradient that is zero by symmetry has only rounding to show. */
        numeric[r.in_count[i]] = 1e-2;
        r.grad[i] = realloc(r.grad[i], (size_t)(r.in_count[i] + 1) * sizeof(double));
        r.grad[i][r.in_count[i]] = 1e-2;
        good = op_same("numeric gradient", i, r.grad[i], numeric, r.in_count[i] + 1, 1e-6, why, size);
        free(numeric);
    }
    free(dy);
    op_result_free(&r);
    values_free(values);
    return good;
}

/* `be` in `dtype` against ref in `against`, overwriting and adding. */
static inline bool backend_agrees(sw_backend *be, sw_dtype dtype, sw_backend *ref, sw_dtype against, const op_case *c,
                           double tol, bool all_saved, char *why, size_t size)
{
    double *values[SW_OP_MAX_IN];
    bool same = true;
    values_new(c, values);
    for (int add = 0; same && add < 2; add++) {
        op_result expected = {.problem = ""};
        same = op_run(ref, against, c, values, true, add, &expected);
        if (!same) snprintf(why, size, "ref: %s", expected.problem);
        same = same && op_compare(be, dtype, c, values, add, &expected, tol, all_saved, why, size);
        op_result_free(&expected);
    }
    values_free(values);
    return same;
}

#endif
