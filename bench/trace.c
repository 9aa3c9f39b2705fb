/* SPDX-License-Identifier: Apache-2.0 */
/* Where time goes: the kernels of a backend are wrapped, so the library needs no hook. Kernels run one after the other on
 * the calling thread (what is parallel is inside of them), so plain counters do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "util.h"

enum { MAX_ROWS = 512 };

typedef struct row {
    sw_op_id op;
    bool backward;
    sw_shape x, w, y; /* first and second input, output; rank 0 where there is none */
    int64_t calls, ns;
    double bytes;     /* of one call: inputs and outputs once */
} row;

static struct {
    sw_kernels inner[SW_OP_COUNT];
    row rows[MAX_ROWS];
    size_t count;
    int64_t dropped_ns; /* of shapes that found no row */
} trace;

static double bytes_of(const sw_tensor *t)
{
    return t ? (double)sw_tensor_bytes(t) : 0.0;
}

static void add(sw_op_id op, bool backward, const sw_tensor *x, const sw_tensor *w, const sw_tensor *y, double bytes,
                int64_t ns)
{
    row key = {.op = op, .backward = backward, .bytes = bytes};
    if (x) key.x = x->shape;
    if (w) key.w = w->shape;
    if (y) key.y = y->shape;
    size_t i = 0;
    for (; i < trace.count; i++) {
        const row *r = &trace.rows[i];
        if (r->op == op && r->backward == backward && sw_shape_equal(&r->x, &key.x) && sw_shape_equal(&r->w, &key.w) &&
            sw_shape_equal(&r->y, &key.y))
            break;
    }
    if (i == MAX_ROWS) {
        trace.dropped_ns += ns;
        return;
    }
    if (i == trace.count) trace.rows[trace.count++] = key;
    trace.rows[i].calls++;
    trace.rows[i].ns += ns;
}

static sw_status forward(sw_op_id op, sw_backend *be, sw_forward_args *a, sw_error *err)
{
    double bytes = 0.0;
    int64_t start = sw_now_ns();
    sw_status status = trace.inner[op].forward(be, a, err);
    int64_t ns = sw_now_ns() - start;
    for (int i = 0; i < SW_OP_MAX_IN; i++) bytes += bytes_of(a->in[i]);
    for (int i = 0; i < SW_OP_MAX_OUT; i++) bytes += bytes_of(a->out[i]);
    add(op, false, a->in[0], a->in[1], a->out[0], bytes, ns);
    return status;
}

static sw_status backward(sw_op_id op, sw_backend *be, sw_backward_args *a, sw_error *err)
{
    double bytes = bytes_of(a->grad_out);
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (a->in[i] && a->in[i]->storage) bytes += bytes_of(a->in[i]);
        bytes += bytes_of(a->grad_in[i]);
    }
    int64_t start = sw_now_ns();
    sw_status status = trace.inner[op].backward(be, a, err);
    add(op, true, a->in[0], a->in[1], a->grad_out, bytes, sw_now_ns() - start);
    return status;
}

/* One pair of functions per op, since a kernel is not told its op. */
#define SW_OP(id, name, inputs, outputs)                                                                             \
    static sw_status forward_##id(sw_backend *be, sw_forward_args *a, sw_error *err)                                \
    {                                                                                                               \
        return forward(SW_OP_##id, be, a, err);                                                                     \
    }                                                                                                               \
    static sw_status backward_##id(sw_backend *be, sw_backward_args *a, sw_error *err)                              \
    {                                                                                                               \
        return backward(SW_OP_##id, be, a, err);                                                                    \
    }
#include "backend/ops.def"
#undef SW_OP

static const struct {
    sw_forward_fn forward;
    sw_backward_fn backward;
} wraps[SW_OP_COUNT] = {
#define SW_OP(id, name, inputs, outputs) {forward_##id, backward_##id},
#include "backend/ops.def"
#undef SW_OP
};

void bench_trace_start(sw_backend *be)
{
    memcpy(trace.inner, be->kernel, sizeof trace.inner);
    for (int op = 0; op < SW_OP_COUNT; op++) {
        if (be->kernel[op].forward) be->kernel[op].forward = wraps[op].forward;
        if (be->kernel[op].backward) be->kernel[op].backward = wraps[op].backward;
    }
    bench_trace_clear();
}

void bench_trace_clear(void)
{
    trace.count = 0;
    trace.dropped_ns = 0;
}

/* ---- the table */

/* Direct convolution or matrix product; 0: not counted. */
static double flops_of(const row *r)
{
    double passes = r->backward ? 2.0 : 1.0;
    bool conv = r->op == SW_OP_CONV2D || r->op == SW_OP_CONV_NORM;
    if (conv && r->x.dim[1] <= 3) passes = 1.0; /* pixels have no gradient */
    if (conv)
        return 2.0 * passes * (double)sw_shape_count(&r->y) * (double)(r->w.dim[1] * r->w.dim[2] * r->w.dim[3]);
    if (r->op == SW_OP_LINEAR) return 2.0 * passes * (double)sw_shape_count(&r->y) * (double)r->w.dim[r->w.rank - 1];
    return 0.0;
}

static int slowest_first(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return (x->ns < y->ns) - (x->ns > y->ns);
}

static void print_ops(double go_ns, int64_t goes)
{
    printf("\n%-18s %9s %7s\n", "op", "ms", "share");
    for (int op = 0; op < SW_OP_COUNT; op++) {
        for (int back = 0; back < 2; back++) {
            int64_t ns = 0;
            for (size_t i = 0; i < trace.count; i++)
                if (trace.rows[i].op == (sw_op_id)op && trace.rows[i].backward == back) ns += trace.rows[i].ns;
            double per_go = (double)ns / (double)goes;
            if (per_go < go_ns * 0.001) continue;
            printf("%-14s %s %9.2f %6.1f%%\n", sw_op_name((sw_op_id)op), back ? "<- " : "-> ", per_go * 1e-6,
                   100.0 * per_go / go_ns);
        }
    }
}

void bench_trace_print(double seconds_per_go, int64_t goes)
{
    char x[64], w[64];
    double go_ns = seconds_per_go * 1e9, all = (double)trace.dropped_ns;
    qsort(trace.rows, trace.count, sizeof *trace.rows, slowest_first);
    printf("\n%-18s %-22s %-18s %5s %9s %7s %9s %7s\n", "op", "x", "w", "calls", "ms", "share", "GFLOP/s", "GB/s");
    for (size_t i = 0; i < trace.count; i++) {
        const row *r = &trace.rows[i];
        double ns = (double)r->ns, per_go = ns / (double)goes;
        all += ns;
        if (per_go < go_ns * 0.002) continue;
        double flops = flops_of(r);
        printf("%-14s %s %-22s %-18s %5lld %9.2f %6.1f%%", sw_op_name(r->op), r->backward ? "<- " : "-> ",
               sw_shape_text(&r->x, x, sizeof x), r->w.rank > 1 ? sw_shape_text(&r->w, w, sizeof w) : "",
               (long long)(r->calls / goes), per_go * 1e-6, 100.0 * per_go / go_ns);
        if (flops > 0.0)
            printf(" %9.0f", flops * (double)r->calls / ns);
        else
            printf(" %9s", "");
        printf(" %7.1f\n", r->bytes * (double)r->calls / ns);
    }
    print_ops(go_ns, goes);
    printf("%-18s %9.2f %6.1f%%\n", "outside of ops", (go_ns - all / (double)goes) * 1e-6,
           100.0 * (1.0 - all / (double)goes / go_ns));
    printf("%-18s %9.2f  per go, %lld goes\n", "whole", go_ns * 1e-6, (long long)goes);
}
