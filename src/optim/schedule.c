/* SPDX-License-Identifier: Apache-2.0 */
/* What changes on the way: learning rates, the decay of a moving average, the scale of gradients. */
#include <math.h>

#include "optim/optim.h"

static const double PI = 3.14159265358979323846;

static double cosine(const sw_schedule *s, int epoch)
{
    if (epoch >= s->epochs) return s->min_lr;
    return s->min_lr + 0.5 * (s->lr - s->min_lr) * (1.0 + cos(PI * epoch / s->epochs));
}

static double step(const sw_schedule *s, int epoch)
{
    int every = s->step_epochs > 0 ? s->step_epochs : s->epochs / 2, steps = 0;
    for (int i = 0; i < s->n_steps; i++) steps += epoch >= s->step_at[i];
    if (s->n_steps == 0 && every > 0) steps = epoch / every;
    return s->lr * pow(s->step_factor > 0 ? s->step_factor : 0.2, steps);
}

double sw_schedule_lr(const sw_schedule *s, int epoch)
{
    if (epoch < s->warmup_epochs) return s->warmup_lr + epoch * (s->lr - s->warmup_lr) / s->warmup_epochs;
    switch (s->kind) {
    case SW_SCHEDULE_COSINE: return cosine(s, epoch);
    case SW_SCHEDULE_STEP: return step(s, epoch);
    case SW_SCHEDULE_CONST: break;
    }
    return s->lr;
}

double sw_schedule_lr_at(const sw_schedule *s, int epoch, int64_t update)
{
    if (update < s->warmup_updates) return s->warmup_lr + (double)update * (s->lr - s->warmup_lr) / (double)s->warmup_updates;
    return sw_schedule_lr(s, epoch);
}

double sw_ema_decay(double decay, bool warmup, int64_t count)
{
    double early = count > 1 ? 1.0 - pow((double)count, -2.0 / 3.0) : 0.0;
    return warmup && early < decay ? early : decay;
}

enum { GOOD_UPDATES = 2000 };

sw_grad_scaler sw_grad_scaler_start(void)
{
    return (sw_grad_scaler){.scale = 65536.0};
}

void sw_grad_scaler_update(sw_grad_scaler *s, bool skipped)
{
    if (skipped) {
        *s = (sw_grad_scaler){.scale = s->scale * 0.5};
    } else if (++s->good == GOOD_UPDATES) {
        *s = (sw_grad_scaler){.scale = s->scale * 2.0};
    }
}
