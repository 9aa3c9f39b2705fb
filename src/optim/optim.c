/* SPDX-License-Identifier: Apache-2.0 */
/* Adam, AdamW and SGD with PyTorch's semantics; the arithmetic is the backend's. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Parameters that are updated together: a run of slab elements without a frozen entry inside. */
typedef struct span {
    int64_t first, count;
    bool own_lr, decays; /* of options.lr_group; with weight decay */
} span;

struct sw_optim {
    sw_backend *be;
    sw_slab *slab;
    sw_optim_options options;
    sw_tensor m, v, norm;
    int64_t steps;
    double group_lr; /* negative: not set */
    bool skipped;
    span *spans;
    size_t n_spans, spans_capacity;
};

sw_optim_options sw_optim_options_default(void)
{
    return (sw_optim_options){.kind = SW_OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
}

static sw_status fill(sw_backend *be, sw_tensor *t, double value, sw_error *err)
{
    sw_fill_attr attr = {.value = value};
    sw_forward_args args = {.attr = &attr, .out = {t}};
    return sw_backend_run(be, SW_OP_FILL, &args, err);
}

static bool skipped(const sw_optim *o, int entry)
{
    return o->options.skips && o->options.skips(o->options.skip_ctx, entry);
}

static sw_status add_span(sw_optim *o, span s, sw_error *err)
{
    if (s.count == 0) return SW_OK;
    SW_TRY(sw_grow(&o->spans, &o->spans_capacity, o->n_spans + 1, sizeof *o->spans, err));
    o->spans[o->n_spans++] = s;
    return SW_OK;
}

/* Padding between entries has zero gradient and zero value, so a span may run across it. */
static sw_status find_spans(sw_optim *o, sw_error *err)
{
    const sw_optim_options *options = &o->options;
    span now = {.count = 0};
    for (int i = 0; i < sw_slab_entries(o->slab); i++) {
        if (sw_slab_entry_kind(o->slab, i) != SW_PARAM) continue;
        const sw_shape *shape = sw_slab_shape(o->slab, i);
        span entry = {.first = sw_slab_first(o->slab, i), .count = sw_shape_count(shape)};
        entry.own_lr = options->lr_group && strcmp(sw_slab_group(o->slab, i), options->lr_group) == 0;
        entry.decays = !options->decay_matrices || shape->rank > 1;
        bool skip = skipped(o, i);
        if (skip || now.count == 0 || entry.own_lr != now.own_lr || entry.decays != now.decays) {
            SW_TRY(add_span(o, now, err));
            now = entry;
            if (skip) now.count = 0;
            continue;
        }
        now.count = entry.first + entry.count - now.first;
    }
    return add_span(o, now, err);
}

static sw_status set_up(sw_optim *o, sw_error *err)
{
    sw_device *dev = &o->be->device;
    sw_shape shape = SW_SHAPE(sw_tensor_count(sw_slab_params(o->slab)));
    sw_dtype dtype = sw_slab_dtype(o->slab);
    SW_TRY(sw_tensor_new(dev, dtype, shape, &o->m, err));
    SW_TRY(sw_tensor_new(dev, dtype, shape, &o->v, err));
    SW_TRY(sw_tensor_new(dev, SW_F64, SW_SHAPE(1), &o->norm, err));
    SW_TRY(fill(o->be, &o->m, 0.0, err));
    SW_TRY(fill(o->be, &o->v, 0.0, err));
    return find_spans(o, err);
}

sw_status sw_optim_new(sw_backend *be, sw_slab *slab, const sw_optim_options *options, sw_optim **out, sw_error *err)
{
    sw_optim *o = sw_calloc(1, sizeof *o);
    if (!o) return sw_nomem(err);
    o->be = be;
    o->slab = slab;
    o->options = *options;
    o->group_lr = -1.0;
    sw_status status = set_up(o, err);
    if (status != SW_OK) {
        sw_optim_free(o);
        return status;
    }
    *out = o;
    return SW_OK;
}

void sw_optim_free(sw_optim *o)
{
    if (!o) return;
    sw_tensor_release(&o->m);
    sw_tensor_release(&o->v);
    sw_tensor_release(&o->norm);
    sw_free(o->spans);
    sw_free(o);
}

static sw_status grad_norm(sw_optim *o, double *norm, sw_error *err)
{
    double sum = 0.0;
    for (size_t i = 0; i < o->n_spans; i++) {
        sw_tensor g = {0};
        double part = 0.0;
        SW_TRY(sw_tensor_view(sw_slab_grads(o->slab), o->spans[i].first, SW_SHAPE(o->spans[i].count), &g, err));
        sw_forward_args args = {.in = {&g}, .out = {&o->norm}};
        sw_status status = sw_backend_run(o->be, SW_OP_SUM_SQUARES, &args, err);
        sw_tensor_release(&g);
        if (status == SW_OK) status = sw_tensor_download(&o->norm, &part, err);
        SW_TRY(status);
        sum += part;
    }
    *norm = sqrt(sum);
    return SW_OK;
}

/* One span, with the kernel of the optimiser's kind. */
static sw_status update(sw_optim *o, span s, double lr, double grad_scale, sw_error *err)
{
    const sw_optim_options *p = &o->options;
    bool sgd = p->kind == SW_OPTIM_SGD;
    double decay = s.decays ? p->weight_decay : 0.0;
    sw_adam_attr adam = {.lr = lr, .beta1 = p->beta1, .beta2 = p->beta2, .eps = p->eps, .weight_decay = decay,
                         .decoupled = p->kind == SW_OPTIM_ADAMW, .step = o->steps, .grad_scale = grad_scale};
    sw_sgd_attr plain = {.lr = lr, .momentum = p->momentum, .weight_decay = decay, .nesterov = p->nesterov, .grad_scale = grad_scale};
    sw_tensor *flat[4] = {sw_slab_grads(o->slab), sw_slab_params(o->slab), &o->m, &o->v};
    sw_tensor part[4] = {{0}};
    sw_status status = SW_OK;
    for (int i = 0; i < 4 && status == SW_OK; i++)
        status = sw_tensor_view(flat[i], s.first, SW_SHAPE(s.count), &part[i], err);
    if (status == SW_OK) {
        sw_forward_args args = {.attr = sgd ? (const void *)&plain : &adam, .in = {&part[0]}, .out = {&part[1], &part[2], sgd ? NULL : &part[3]}};
        status = sw_backend_run(o->be, sgd ? SW_OP_SGD : SW_OP_ADAM, &args, err);
    }
    for (int i = 0; i < 4; i++) sw_tensor_release(&part[i]);
    return status;
}

sw_status sw_optim_step(sw_optim *o, double lr, double grad_scale, double *norm_out, sw_error *err)
{
    double norm = 0.0;
    SW_TRY(grad_norm(o, &norm, err));
    norm *= grad_scale;
    if (norm_out) *norm_out = norm;
    o->skipped = !isfinite(norm);
    if (o->skipped && o->options.skip_bad) return fill(o->be, sw_slab_grads(o->slab), 0.0, err);
    if (o->skipped)
        return sw_error_set(err, SW_E_INVALID,
                            "the gradient is not finite at update %lld; lower train.lr (now %g) or set train.clip",
                            (long long)o->steps + 1, lr);
    if (o->options.clip_norm > 0.0 && norm > o->options.clip_norm) grad_scale *= o->options.clip_norm / norm;
    o->steps++;
    for (size_t i = 0; i < o->n_spans; i++) {
        const span *s = &o->spans[i];
        SW_TRY(update(o, *s, s->own_lr && o->group_lr >= 0.0 ? o->group_lr : lr, grad_scale, err));
    }
    return fill(o->be, sw_slab_grads(o->slab), 0.0, err);
}

void sw_optim_set_group_lr(sw_optim *o, double lr)
{
    o->group_lr = lr;
}

bool sw_optim_skipped(const sw_optim *o)
{
    return o->skipped;
}

sw_tensor *sw_optim_m(sw_optim *o)
{
    return &o->m;
}

sw_tensor *sw_optim_v(sw_optim *o)
{
    return &o->v;
}

int64_t sw_optim_steps(const sw_optim *o)
{
    return o->steps;
}

void sw_optim_set_steps(sw_optim *o, int64_t steps)
{
    o->steps = steps;
}
