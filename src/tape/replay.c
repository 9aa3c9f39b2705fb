/* SPDX-License-Identifier: Apache-2.0 */
#include "tape/replay.h"

#include "base/mem.h"

static void tape_drop(sw_tape **tape)
{
    sw_tape_free(*tape);
}
#define AUTO_TAPE SW_CLEANUP(tape_drop) sw_tape *

/* What the first pass keeps: one tensor per chunk, then all of them joined. */
typedef struct features {
    sw_tensor *chunk;
    int64_t count;
    sw_tensor all; /* [sum n_i, d] */
} features;

static void features_drop(features *f)
{
    for (int64_t i = 0; f->chunk && i < f->count; i++) sw_tensor_release(&f->chunk[i]);
    sw_free(f->chunk);
    sw_tensor_release(&f->all);
}

static sw_status run_whole(sw_backend *be, const sw_replay *r, sw_tensor *loss, sw_error *err)
{
    AUTO_TAPE tape = NULL;
    SW_TRY(sw_tape_new(be, true, &tape, err));
    sw_var *y = r->head(r->ctx, tape, r->encode(r->ctx, tape, 0, false));
    SW_TRY(sw_tape_status(tape, err));
    SW_TRY(sw_tape_backward(tape, y, NULL, err));
    *loss = sw_tensor_ref(sw_var_value(y));
    return SW_OK;
}

static sw_status check_chunk(const features *f, int64_t i, sw_error *err)
{
    char a[128], b[128];
    const sw_shape *first = &f->chunk[0].shape, *own = &f->chunk[i].shape;
    if (own->rank == 2 && own->dim[0] > 0 && own->dim[1] == first->dim[1]) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "features %s of chunk %lld do not fit those of chunk 0, %s",
                        sw_shape_text(own, a, sizeof a), (long long)i, sw_shape_text(first, b, sizeof b));
}

static sw_status encode_all(sw_backend *be, const sw_replay *r, features *f, sw_error *err)
{
    f->chunk = sw_calloc((size_t)r->chunks, sizeof *f->chunk);
    if (!f->chunk) return sw_nomem(err);
    f->count = r->chunks;
    for (int64_t i = 0; i < r->chunks; i++) {
        AUTO_TAPE tape = NULL;
        SW_TRY(sw_tape_new(be, false, &tape, err));
        sw_var *v = r->encode(r->ctx, tape, i, false);
        SW_TRY(sw_tape_status(tape, err));
        f->chunk[i] = sw_tensor_ref(sw_var_value(v));
        SW_TRY(check_chunk(f, i, err));
    }
    return SW_OK;
}

static sw_status join(sw_backend *be, features *f, sw_error *err)
{
    int64_t rows = 0, first = 0, width = f->chunk[0].shape.dim[1];
    for (int64_t i = 0; i < f->count; i++) rows += f->chunk[i].shape.dim[0];
    SW_TRY(sw_tensor_new(&be->device, f->chunk[0].dtype, SW_SHAPE(rows, width), &f->all, err));
    for (int64_t i = 0; i < f->count; i++) {
        SW_CLEANUP(sw_tensor_release) sw_tensor slice = {0};
        SW_TRY(sw_tensor_view(&f->all, first * width, f->chunk[i].shape, &slice, err));
        sw_forward_args args = {.in = {&f->chunk[i]}, .out = {&slice}};
        SW_TRY(sw_backend_run(be, SW_OP_COPY, &args, err));
        first += f->chunk[i].shape.dim[0];
        sw_shape shape = f->chunk[i].shape;
        sw_tensor_release(&f->chunk[i]);
        f->chunk[i].shape = shape; /* the second pass asks how many rows the chunk has */
    }
    return SW_OK;
}

/* Loss and the gradient of the features. */
static sw_status run_head(sw_backend *be, const sw_replay *r, const features *f, sw_tensor *loss, sw_tensor *grad,
                          sw_error *err)
{
    AUTO_TAPE tape = NULL;
    SW_TRY(sw_tape_new(be, true, &tape, err));
    sw_var *x = sw_tape_input(tape, &f->all);
    sw_var *y = r->head(r->ctx, tape, x);
    SW_TRY(sw_tape_status(tape, err));
    SW_TRY(sw_tape_backward(tape, y, NULL, err));
    if (!sw_var_grad(x)) {
        return sw_error_set(err, SW_E_INTERNAL, "the loss does not depend on the features");
    }
    *grad = sw_tensor_ref(sw_var_grad(x));
    *loss = sw_tensor_ref(sw_var_value(y));
    return SW_OK;
}

/* One chunk again, with the rows of `grad` from `first` on; *more false: the encoder wants no gradient. */
static sw_status replay_chunk(sw_backend *be, const sw_replay *r, int64_t chunk, const sw_shape *shape,
                              const sw_tensor *grad, int64_t first, bool *more, sw_error *err)
{
    AUTO_TAPE tape = NULL;
    SW_CLEANUP(sw_tensor_release) sw_tensor slice = {0};
    SW_TRY(sw_tape_new(be, true, &tape, err));
    sw_var *v = r->encode(r->ctx, tape, chunk, true);
    SW_TRY(sw_tape_status(tape, err));
    *more = sw_var_wants_grad(v);
    if (!*more) return SW_OK;
    SW_TRY(sw_tensor_view(grad, first * shape->dim[1], *shape, &slice, err));
    return sw_tape_backward(tape, v, &slice, err);
}

static sw_status run_chunks(sw_backend *be, const sw_replay *r, sw_tensor *loss, sw_error *err)
{
    SW_CLEANUP(features_drop) features f = {0};
    SW_CLEANUP(sw_tensor_release) sw_tensor grad = {0};
    bool more = !r->once;
    SW_TRY(encode_all(be, r, &f, err));
    SW_TRY(join(be, &f, err));
    SW_TRY(run_head(be, r, &f, loss, &grad, err));
    for (int64_t i = 0, first = 0; more && i < r->chunks; i++) {
        SW_TRY(replay_chunk(be, r, i, &f.chunk[i].shape, &grad, first, &more, err));
        first += f.chunk[i].shape.dim[0];
    }
    return SW_OK;
}

sw_status sw_replay_run(sw_backend *be, const sw_replay *replay, sw_tensor *loss, sw_error *err)
{
    sw_tensor value = {0};
    if (replay->chunks < 1) {
        return sw_error_set(err, SW_E_INVALID, "a bag needs at least one chunk, not %lld", (long long)replay->chunks);
    }
    sw_status status = replay->chunks == 1 ? run_whole(be, replay, &value, err) : run_chunks(be, replay, &value, err);
    if (status == SW_OK && loss) {
        *loss = value;
    } else {
        sw_tensor_release(&value);
    }
    return status;
}
