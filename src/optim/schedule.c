/* SPDX-License-Identifier: Apache-2.0 */
/* Learning-rate schedules, set once per epoch. */
#include <math.h>

#include "optim/optim.h"

static const double PI = 3.14159265358979323846;

static double cosine(const sw_schedule *s, int epoch)
{
    if (epoch >= s->epochs) return s->min_lr;
    return s->min_lr + 0.5 * (s->lr - s->min_lr) * (1.0 + cos(PI * epoch / s->epochs));
}

double sw_schedule_lr(const sw_schedule *s, int epoch)
{
    if (epoch < s->warmup_epochs) return s->warmup_lr + epoch * (s->lr - s->warmup_lr) / s->warmup_epochs;
    switch (s->kind) {
    case SW_SCHEDULE_COSINE: return cosine(s, epoch);
    case SW_SCHEDULE_STEP: return s->lr * pow(0.2, s->epochs > 1 ? epoch / (s->epochs / 2) : 0);
    case SW_SCHEDULE_CONST: break;
    }
    return s->lr;
}
