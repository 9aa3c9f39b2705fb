/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers and learning-rate schedules over a parameter slab. */
#ifndef SW_OPTIM_OPTIM_H
#define SW_OPTIM_OPTIM_H

#include "backend/backend.h"
#include "tensor/slab.h"

typedef enum sw_optim_kind { SW_OPTIM_ADAM, SW_OPTIM_ADAMW } sw_optim_kind;
typedef enum sw_schedule_kind { SW_SCHEDULE_COSINE, SW_SCHEDULE_CONST, SW_SCHEDULE_STEP } sw_schedule_kind;

typedef struct sw_optim_options {
    sw_optim_kind kind;
    double beta1, beta2, eps, weight_decay;
    double clip_norm;        /* gradients are scaled down to this L2 norm; 0: no clipping */
    const char *skip_group;  /* parameters of this group stay as they are (a frozen encoder); NULL: none */
} sw_optim_options;
sw_optim_options sw_optim_options_default(void); /* AdamW, 0.9, 0.999, 1e-8, 0, no clipping */

typedef struct sw_optim sw_optim;

/* Moments start at zero. `slab` is borrowed until sw_optim_free. *out untouched on failure. */
sw_status sw_optim_new(sw_backend *be, sw_slab *slab, const sw_optim_options *options, sw_optim **out,
                       sw_error *err) SW_MUST_CHECK;
void sw_optim_free(sw_optim *optim);

/* One update from the slab's gradients, which are zeroed afterwards. `grad_scale` multiplies them first
 * (1 / accumulation steps). *grad_norm (may be NULL) gets the L2 norm before clipping. A norm that is not
 * finite is SW_E_INVALID and changes nothing. */
sw_status sw_optim_step(sw_optim *optim, double lr, double grad_scale, double *grad_norm, sw_error *err)
    SW_MUST_CHECK;

/* State for checkpoints: flat [n_params] moments, and the number of updates done. */
sw_tensor *sw_optim_m(sw_optim *optim);
sw_tensor *sw_optim_v(sw_optim *optim);
int64_t sw_optim_steps(const sw_optim *optim);
void sw_optim_set_steps(sw_optim *optim, int64_t steps);

typedef struct sw_schedule {
    sw_schedule_kind kind;
    double lr, min_lr, warmup_lr; /* the reference: min 1e-7, warm-up from 1e-6 */
    int epochs, warmup_epochs;
} sw_schedule;

/* Learning rate of 0-based `epoch`, as timm's cosine per epoch (spec: not shifted by the warm-up). */
double sw_schedule_lr(const sw_schedule *schedule, int epoch);

#endif
