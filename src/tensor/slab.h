/* SPDX-License-Identifier: Apache-2.0 */
/* The parameter slab: all parameters are one flat tensor, their gradients another, the buffers (batch
 * norm running statistics) a third. One all-reduce, one optimiser call, one checkpoint write. */
#ifndef SW_TENSOR_SLAB_H
#define SW_TENSOR_SLAB_H

#include "tensor/tensor.h"

typedef enum sw_slab_kind { SW_PARAM, SW_BUFFER } sw_slab_kind;

typedef struct sw_slab sw_slab;

sw_status sw_slab_new(sw_device *dev, sw_dtype dtype, sw_slab **out, sw_error *err) SW_MUST_CHECK;
void sw_slab_free(sw_slab *slab);

/* Declares an entry under its published name ("encoder.model.conv1.weight"); *index identifies it.
 * `group` is free text for optimiser groups ("encoder", "mil"). Only before sw_slab_commit. */
sw_status sw_slab_add(sw_slab *slab, sw_slab_kind kind, const char *group, const char *name, sw_shape shape,
                      int *index, sw_error *err) SW_MUST_CHECK;
/* Allocates values, gradients and buffers, all zero. */
sw_status sw_slab_commit(sw_slab *slab, sw_error *err) SW_MUST_CHECK;

sw_device *sw_slab_device(const sw_slab *slab);
sw_dtype sw_slab_dtype(const sw_slab *slab);
int sw_slab_entries(const sw_slab *slab);
const char *sw_slab_name(const sw_slab *slab, int index);
const char *sw_slab_group(const sw_slab *slab, int index);
sw_slab_kind sw_slab_entry_kind(const sw_slab *slab, int index);
const sw_shape *sw_slab_shape(const sw_slab *slab, int index);
int sw_slab_find(const sw_slab *slab, const char *name); /* -1 when absent */
int64_t sw_slab_first(const sw_slab *slab, int index);   /* first element within its flat tensor */

/* Borrowed until sw_slab_free. Entries of the flat tensors, in the order of declaration. */
sw_tensor *sw_slab_value(sw_slab *slab, int index); /* parameter or buffer */
sw_tensor *sw_slab_grad(sw_slab *slab, int index);  /* parameters only, else NULL */
sw_tensor *sw_slab_params(sw_slab *slab);           /* flat [n_params] */
sw_tensor *sw_slab_grads(sw_slab *slab);            /* flat [n_params] */
sw_tensor *sw_slab_buffers(sw_slab *slab);          /* flat [n_buffers]; may be empty */

#endif
