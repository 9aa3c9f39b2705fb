/* SPDX-License-Identifier: Apache-2.0 */
/* Streamed attention: of A+, whose value has one column, or with several; forward, or forward and backward. */
#include <stdio.h>
#include <string.h>

#include <math.h>

#include "tape/ops.h"
#include "util.h"

typedef struct work {
    sw_backend *be;
    sw_tensor q, k, v, seed;
    double scale;
    int64_t columns;
    bool training, reduced;
} work;

static sw_status go(void *ctx, sw_error *err)
{
    work *w = ctx;
    sw_tape *tape;
    SW_TRY(sw_tape_new(w->be, w->training, &tape, err));
    sw_var *q = sw_tape_input(tape, &w->q), *k = sw_tape_input(tape, &w->k), *v = sw_tape_input(tape, &w->v);
    sw_var *y = w->columns == 1 ? sw_attend_one(tape, q, k, v, w->scale, w->reduced) : sw_attend(tape, q, k, v, w->scale);
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK && w->training) status = sw_tape_backward(tape, y, &w->seed, err);
    sw_tape_free(tape);
    return status;
}

static sw_status prepare(const bench_args *args, work *w, bench_case *c, sw_error *err)
{
    static char name[64];
    int64_t n, m, heads, width;
    bench_common common;
    const char *kind = bench_text(args, "kind", "forward");
    SW_TRY(bench_common_read(args, &common, err));
    SW_TRY(bench_int(args, "n", 512, 1, 1000000, &n, err));
    SW_TRY(bench_int(args, "heads", 8, 1, 1024, &heads, err));
    SW_TRY(bench_int(args, "width", 32, 1, 1024, &width, err));
    SW_TRY(bench_int(args, "columns", 1, 1, 1024, &w->columns, err));
    SW_TRY(bench_int(args, "queries", n, 1, 1000000, &m, err));
    if (w->columns == 1 && m != n)
        return sw_error_set(err, SW_E_INVALID, "queries=%lld: with one column there are as many queries as keys", (long long)m);
    w->training = strcmp(kind, "train") == 0;
    if (!w->training && strcmp(kind, "forward") != 0)
        return sw_error_set(err, SW_E_INVALID, "kind=%s: give forward or train", kind);
    w->reduced = strcmp(common.precision, "bf16") == 0;
    w->scale = 1.0 / sqrt((double)width);
    SW_TRY(sw_backend_new("cpu", &common.backend, &w->be, err));
    SW_TRY(bench_random(w->be, SW_SHAPE(heads, m, width), 0, &w->q, err));
    SW_TRY(bench_random(w->be, SW_SHAPE(heads, n, width), 1, &w->k, err));
    sw_shape v = SW_SHAPE(heads, n, w->columns), y = SW_SHAPE(heads, m, w->columns);
    v.rank = y.rank = w->columns == 1 ? 2 : 3;
    SW_TRY(bench_random(w->be, v, 2, &w->v, err));
    SW_TRY(bench_random(w->be, y, 3, &w->seed, err));
    snprintf(name, sizeof name, "attention %s, N %lld", w->training ? "forward + backward" : "forward", (long long)n);
    /* Q K^T once forward; backward makes it again and adds the gradients of Q and K. With several columns weights times V
     * forward, its two gradients in backward. Exponentials are not counted. */
    double wide = (w->training ? 4.0 : 1.0) * (double)width;
    if (w->columns > 1) wide += (w->training ? 3.0 : 1.0) * (double)w->columns;
    *c = (bench_case){.name = name,
                      .unit = "bags",
                      .items = 1.0,
                      .flops = 2.0 * (double)heads * (double)m * (double)n * wide,
                      .be = w->be,
                      .ctx = w,
                      .go = go};
    return SW_OK;
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"kind=forward, or train", "n=512", "heads=8", "width=32", "columns=1, of the value",
                                       "queries=n", NULL};
    work w = {.be = NULL};
    bench_args args;
    bench_case c;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = prepare(&args, &w, &c, &err);
    if (status == SW_OK) status = bench_run(&args, &c, &err);
    sw_tensor_release(&w.q);
    sw_tensor_release(&w.k);
    sw_tensor_release(&w.v);
    sw_tensor_release(&w.seed);
    sw_backend_free(w.be);
    return bench_end("bench_attend", status, &err);
}
