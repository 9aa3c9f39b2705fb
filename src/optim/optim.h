/* SPDX-License-Identifier: Apache-2.0 */
/* Optimisers and learning-rate schedules over a parameter slab. */
#ifndef SW_OPTIM_OPTIM_H
#define SW_OPTIM_OPTIM_H

#include "backend/backend.h"
#include "tensor/slab.h"

typedef enum sw_optim_kind { SW_OPTIM_ADAM, SW_OPTIM_ADAMW, SW_OPTIM_SGD } sw_optim_kind;
typedef enum sw_schedule_kind { SW_SCHEDULE_COSINE, SW_SCHEDULE_CONST, SW_SCHEDULE_STEP } sw_schedule_kind;

typedef struct sw_optim_options {
    sw_optim_kind kind;
    double beta1, beta2, eps, weight_decay;
    double momentum;         /* SGD */
    bool nesterov;           /* SGD: with momentum above 0 */
    double clip_norm;        /* gradients are scaled down to this L2 norm, after grad_scale; 0: no clipping */
    bool (*skips)(const void *ctx, int entry); /* parameters that stay as they are (of a frozen encoder); NULL: none. Asked by sw_optim_new alone */
    const void *skip_ctx;
    const char *lr_group;    /* parameters of this group have a learning rate of their own, sw_optim_set_group_lr; NULL: none */
    bool decay_matrices;     /* no weight decay for biases, gains and offsets of norms: whatever has fewer than two dimensions */
    bool skip_bad;           /* a gradient that is not finite makes no update and is no error: see sw_optim_skipped */
} sw_optim_options;
sw_optim_options sw_optim_options_default(void); /* AdamW, 0.9, 0.999, 1e-8, 0, no momentum, no clipping, all decay */

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

/* Of options.lr_group from now on. It begins as that of the others. */
void sw_optim_set_group_lr(sw_optim *optim, double lr);
/* Whether the last call of sw_optim_step met a gradient that is not finite and only zeroed it (options.skip_bad). */
bool sw_optim_skipped(const sw_optim *optim);

/* State for checkpoints: flat [n_params] moments, and the number of updates done. */
sw_tensor *sw_optim_m(sw_optim *optim);
sw_tensor *sw_optim_v(sw_optim *optim);
int64_t sw_optim_steps(const sw_optim *optim);
void sw_optim_set_steps(sw_optim *optim, int64_t steps);

/* A loss that is multiplied before it goes backward, so that small gradients do not vanish in narrow numbers, and gradients that
 * are divided again before they are used; as PyTorch's GradScaler. */
typedef struct sw_grad_scaler {
    double scale;  /* now */
    int64_t good;  /* updates since it last changed */
} sw_grad_scaler;
sw_grad_scaler sw_grad_scaler_start(void); /* 65536 */
/* After an update: halves after one that was skipped, doubles after 2000 good ones in a row. */
void sw_grad_scaler_update(sw_grad_scaler *scaler, bool skipped);

/* Decay of a moving average at its `count`-th update (from 1): `decay`, or with `warmup` 1 - count^(-2/3) while that is less, so
 * that the first steps do not keep the start's weights alive (the first update copies the model). */
double sw_ema_decay(double decay, bool warmup, int64_t count);

enum { SW_SCHEDULE_STEPS = 16 };
typedef struct sw_schedule {
    sw_schedule_kind kind;
    double lr, min_lr, warmup_lr; /* the reference: min 1e-7, warm-up from 1e-6 */
    int epochs, warmup_epochs;
    int64_t warmup_updates; /* instead of epochs: linear over so many updates, then what the epoch says */
    int step_epochs;        /* of the kind step; 0: half of `epochs` */
    double step_factor;     /* of the kind step; 0: 0.2, the reference's */
    int n_steps, step_at[SW_SCHEDULE_STEPS]; /* of the kind step: 0-based epochs that begin with a step, instead of every step_epochs */
} sw_schedule;

/* Learning rate of 0-based `epoch`, as timm's cosine per epoch (spec: not shifted by the warm-up). */
double sw_schedule_lr(const sw_schedule *schedule, int epoch);
/* The same within the epoch, of update `update` (0-based, in all). */
double sw_schedule_lr_at(const sw_schedule *schedule, int epoch, int64_t update);

#endif
