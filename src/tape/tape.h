/* SPDX-License-Identifier: Apache-2.0 */
/* The tape records ops and walks them in reverse. Backward ADDS into gradients, never zeroes, skips
 * inputs that need none, and starts from a seed of any shape. A failed op poisons the tape: every later
 * call returns a dummy and models check once, with sw_tape_status. */
#ifndef SW_TAPE_TAPE_H
#define SW_TAPE_TAPE_H

#include "backend/backend.h"
#include "tensor/slab.h"

typedef struct sw_tape sw_tape;
typedef struct sw_var sw_var; /* owned by the tape */

/* `record` false: values only (inference); sw_var_done lets them go. */
sw_status sw_tape_new(sw_backend *be, bool record, sw_tape **out, sw_error *err) SW_MUST_CHECK;
void sw_tape_free(sw_tape *tape);
sw_backend *sw_tape_backend(const sw_tape *tape);
sw_status sw_tape_status(const sw_tape *tape, sw_error *err) SW_MUST_CHECK; /* the first failure, if any */
void sw_tape_fail(sw_tape *tape, sw_status code, const char *fmt, ...) SW_PRINTF(3, 4);
bool sw_tape_recording(const sw_tape *tape);

/* Leaves. A constant has no gradient; an input's gradient is kept for the caller; a parameter's is
 * ADDED into the slab (once per use). In a tape that does not record all are constants. */
sw_var *sw_tape_constant(sw_tape *tape, const sw_tensor *value);
sw_var *sw_tape_input(sw_tape *tape, const sw_tensor *value);
sw_var *sw_tape_param(sw_tape *tape, sw_slab *slab, int index);
sw_var *sw_tape_frozen(sw_tape *tape, sw_slab *slab, int index); /* a parameter or buffer without gradient */

/* Records one op. `in[i]` may be NULL for absent optional inputs. */
sw_var *sw_tape_op(sw_tape *tape, sw_op_id op, const void *attr, sw_var *const *in, int n_in);

/* The caller gives no further op this variable and reads its value no more: the value is let go as
 * soon as no recorded backward needs it (at once on a tape that does not record). Encoders call it on
 * every intermediate; without it values live until the tape's backward or its end. NULL is fine. */
void sw_var_done(sw_var *v);
bool sw_var_wants_grad(const sw_var *v); /* a gradient will flow to or through it */

/* Borrowed from the tape, empty after sw_var_done. After sw_tape_backward only the values of leaves and
 * of the variable backward started from are still there. */
const sw_tensor *sw_var_value(const sw_var *v);
const sw_tensor *sw_var_grad(const sw_var *v);  /* NULL before backward or where none was wanted */
const sw_shape *sw_var_shape(const sw_var *v);  /* of a poisoned tape's dummy: rank 0 */
/* MACs of the ops that were recorded or run forward so far (sw_op_macs); a backward pass takes about twice as many. */
double sw_tape_macs(const sw_tape *tape);
/* Reference to an auxiliary output (cross_entropy's probabilities). */
const sw_tensor *sw_var_saved(const sw_var *v, int index);

/* Back from `y` with gradient `seed` (NULL: one, `y` a scalar). Activations are let go on the way, so
 * backward runs once per tape. */
sw_status sw_tape_backward(sw_tape *tape, sw_var *y, const sw_tensor *seed, sw_error *err) SW_MUST_CHECK;

#endif
