/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution with one filter per channel: stride 1, zeros around, the size stays. Planes are cut into strips of rows that
 * fit the first cache together with their padding; strips depend on sizes alone, sums over them are joined in order. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

#define STRIP_FLOATS 4096

typedef struct planes {
    int64_t n, c, h, w;
    int kh, kw;
    int64_t rows, strips;   /* rows of a strip, strips of a plane */
    int64_t x_step, dy_step; /* floats of a row: with the filter's reach, and rounded up to vectors */
} planes;

static int64_t up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static planes planes_of(const sw_shape *x, const sw_shape *filter)
{
    planes p = {.n = x->dim[0], .c = x->dim[1], .h = x->dim[2], .w = x->dim[3], .kh = (int)filter->dim[2], .kw = (int)filter->dim[3]};
    p.dy_step = up(p.w, SW_SPAN) * SW_SPAN;
    p.x_step = up(p.dy_step + p.kw - 1, SW_SPAN) * SW_SPAN;
    p.rows = up(STRIP_FLOATS, p.x_step * 8) * 8;
    if (p.rows < p.kh) p.rows = up(p.kh, 8) * 8; /* or most of the work is padding */
    if (p.rows > p.h) p.rows = p.h;
    p.strips = up(p.h, p.rows);
    return p;
}

/* Rows [first, first + count) of a plane to `to`, each `left` columns from its start; zeros elsewhere. */
static void pad(const planes *p, const float *plane, int64_t first, int64_t count, int64_t left, int64_t step, float *to)
{
    for (int64_t r = first; r < first + count; r++, to += step) {
        if (r < 0 || r >= p->h) {
            memset(to, 0, (size_t)step * sizeof(float));
            continue;
        }
        memset(to, 0, (size_t)left * sizeof(float));
        memcpy(to + left, plane + r * p->w, (size_t)p->w * sizeof(float));
        memset(to + left + p->w, 0, (size_t)(step - left - p->w) * sizeof(float));
    }
}

static int64_t strip_rows(const planes *p, int64_t strip)
{
    int64_t rest = p->h - strip * p->rows;
    return rest < p->rows ? rest : p->rows;
}

/* Floats of one thread: a padded strip of x, one of dy, a filter turned round. */
static int64_t work_floats(const planes *p)
{
    return up((p->rows + p->kh - 1) * p->x_step + p->rows * p->dy_step + (int64_t)p->kh * p->kw, SW_SPAN) * SW_SPAN;
}

/* y (+)= x * filters [c][kh][kw], or with `turned` the filters turned by 180 degrees, which is the way back. */
typedef struct sweep {
    planes p;
    const float *x, *filter, *bias; /* bias may be NULL */
    float *y;
    bool turned, add;
} sweep;

static void sweep_strip(const sw_cpu *cpu, const sweep *s, int64_t item, float *work)
{
    const planes *p = &s->p;
    int64_t plane = item / p->strips, strip = item % p->strips, taps = (int64_t)p->kh * p->kw, first = strip * p->rows;
    sw_simd_depthwise a = {.kh = p->kh, .kw = p->kw, .rows = (int)strip_rows(p, strip), .width = (int)p->w, .x = work,
                           .x_step = (int)p->x_step, .w = s->filter + plane % p->c * taps, .add = s->add,
                           .bias = s->bias ? s->bias[plane % p->c] : 0, .y = s->y + (plane * p->h + first) * p->w};
    if (s->turned) {
        float *turned = work + (p->rows + p->kh - 1) * p->x_step;
        for (int64_t t = 0; t < taps; t++) turned[t] = a.w[taps - 1 - t];
        a.w = turned;
    }
    pad(p, s->x + plane * p->h * p->w, first - p->kh / 2, a.rows + p->kh - 1, p->kw / 2, p->x_step, work);
    cpu->simd->depthwise(&a);
}

static void run_sweep(const sw_cpu *cpu, const sweep *s, float *work)
{
    int64_t items = s->p.n * s->p.c * s->p.strips, each = work_floats(&s->p);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (s->p.n * s->p.c * s->p.h * s->p.w > SW_CPU_CHUNK)
    for (int64_t i = 0; i < items; i++) sweep_strip(cpu, s, i, work + sw_cpu_thread() * each);
}

/* in: x [n, c, h, w], filters [c, 1, kh, kw], bias [c]|NULL; out: y as x */
sw_status sw_cpu_depthwise_forward(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sweep s = {.p = planes_of(&args->in[0]->shape, &args->in[1]->shape), .x = sw_cpu_f32(args->in[0]),
               .filter = sw_cpu_f32(args->in[1]), .bias = args->in[2] ? sw_cpu_f32(args->in[2]) : NULL,
               .y = sw_cpu_f32(args->out[0])};
    void *work;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(work_floats(&s.p) * be->threads) * sizeof(float), &work, err));
    run_sweep(cpu, &s, work);
    return SW_OK;
}

/* The sums of each strip to part [n * c * strips][kh * kw + 1], the last one that of dy. */
static void filter_sums(const sw_cpu *cpu, const planes *p, const float *x, const float *dy, float *work, float *part)
{
    int64_t items = p->n * p->c * p->strips, taps = (int64_t)p->kh * p->kw, each = work_floats(p);
#pragma omp parallel for schedule(static) num_threads(cpu->base.threads) if (p->n * p->c * p->h * p->w > SW_CPU_CHUNK)
    for (int64_t i = 0; i < items; i++) {
        int64_t plane = i / p->strips * p->h * p->w, first = i % p->strips * p->rows;
        float *mine = work + sw_cpu_thread() * each, *dy_mine = mine + (p->rows + p->kh - 1) * p->x_step;
        sw_simd_depthwise a = {.kh = p->kh, .kw = p->kw, .rows = (int)strip_rows(p, i % p->strips), .x = mine, .dy = dy_mine,
                               .x_step = (int)p->x_step, .dy_step = (int)p->dy_step, .dw = part + i * (taps + 1)};
        pad(p, x + plane, first - p->kh / 2, a.rows + p->kh - 1, p->kw / 2, p->x_step, mine);
        pad(p, dy + plane, first, a.rows, 0, p->dy_step, dy_mine);
        cpu->simd->depthwise_weights(&a);
    }
}

/* Joins `count` sums of each channel from `from` of its parts on. */
static void join(const planes *p, const float *part, int64_t from, int64_t count, sw_tensor *grad, bool add)
{
    if (!grad) return;
    float *to = sw_cpu_f32(grad);
    int64_t step = (int64_t)p->kh * p->kw + 1;
    for (int64_t c = 0; c < p->c; c++)
        for (int64_t t = 0; t < count; t++, to++) {
            double sum = add ? (double)*to : 0;
            for (int64_t n = 0; n < p->n; n++)
                for (int64_t s = 0; s < p->strips; s++)
                    sum += (double)part[((n * p->c + c) * p->strips + s) * step + from + t];
            *to = (float)sum;
        }
}

sw_status sw_cpu_depthwise_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    planes p = planes_of(&args->in[0]->shape, &args->in[1]->shape);
    const float *dy = sw_cpu_f32(args->grad_out);
    int64_t taps = (int64_t)p.kh * p.kw;
    void *work, *part;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_WORK, (size_t)(work_floats(&p) * be->threads) * sizeof(float), &work, err));
    if (args->grad_in[0]) {
        sweep s = {.p = p, .x = dy, .filter = sw_cpu_f32(args->in[1]), .y = sw_cpu_f32(args->grad_in[0]), .turned = true,
                   .add = args->add[0]};
        run_sweep(cpu, &s, work);
    }
    if (!args->grad_in[1] && !args->grad_in[2]) return SW_OK;
    SW_TRY(sw_cpu_scratch(cpu, SW_SLOT_SUMS, (size_t)(p.n * p.c * p.strips * (taps + 1)) * sizeof(float), &part, err));
    filter_sums(cpu, &p, sw_cpu_f32(args->in[0]), dy, work, part);
    join(&p, part, 0, taps, args->grad_in[1], args->add[1]);
    join(&p, part, taps, 1, args->grad_in[2], args->add[2]);
    return SW_OK;
}
