/* SPDX-License-Identifier: Apache-2.0 */
/* The selective scan over a grid of cells. */
#include <math.h>
#include <string.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

typedef struct scan_size {
    int64_t rows, columns, cells, e, n;
} scan_size;

static scan_size scan_size_of(const sw_shape *u, const sw_shape *a_log)
{
    return (scan_size){u->dim[0], u->dim[1], u->dim[0] * u->dim[1], u->dim[2], a_log->dim[1]};
}

static double softplus(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

static double softplus_slope(double x)
{
    return x >= 0.0 ? 1.0 / (1.0 + exp(-x)) : exp(x) / (1.0 + exp(x));
}

/* One state of one channel: how it decays in each cell, what comes along the row, and what is there, [cells] each. */
typedef struct scan_state {
    double *decay, *along, *state;
} scan_state;

static void scan_through(const scan_size *z, const double *step, const double *input, double a, const scan_state *s)
{
    for (int64_t i = 0; i < z->rows; i++) {
        for (int64_t j = 0; j < z->columns; j++) {
            int64_t at = i * z->columns + j;
            s->decay[at] = exp(a * step[at]);
            s->along[at] = input[at] + (j > 0 ? s->decay[at] * s->along[at - 1] : 0.0);
            s->state[at] = s->along[at] + (i > 0 ? s->decay[at] * s->state[at - z->columns] : 0.0);
        }
    }
}

/* From the gradient of the states to that of the inputs and of the decays: down[at] and decay_grad[at]; `up` is work. */
static void scan_back(const scan_size *z, const double *grad, const scan_state *s, double *up, double *input_grad, double *decay_grad)
{
    for (int64_t i = z->rows - 1; i >= 0; i--) {
        for (int64_t j = z->columns - 1; j >= 0; j--) {
            int64_t at = i * z->columns + j;
            up[at] = grad[at] + (i + 1 < z->rows ? s->decay[at + z->columns] * up[at + z->columns] : 0.0);
            input_grad[at] = up[at] + (j + 1 < z->columns ? s->decay[at + 1] * input_grad[at + 1] : 0.0);
            decay_grad[at] = (i > 0 ? up[at] * s->state[at - z->columns] : 0.0) + (j > 0 ? input_grad[at] * s->along[at - 1] : 0.0);
        }
    }
}

#define REAL float
#define SUFFIX f32
#include "backend/ref/ref_scan.inc"
#undef REAL
#undef SUFFIX
#define REAL double
#define SUFFIX f64
#include "backend/ref/ref_scan.inc"
#undef REAL
#undef SUFFIX

SW_REF_BOTH(scan2d)

void sw_ref_scan_kernels(sw_kernels *table)
{
    table[SW_OP_SCAN2D] = (sw_kernels){scan2d_forward, scan2d_backward, SW_NEEDS_INPUTS};
}
