/* SPDX-License-Identifier: Apache-2.0 */
#include "tape/replay.h"

#include "base/mem.h"

static void tape_drop(sw_tape **tape)
{
    sw_tape_free(*tape);
}
#define AUTO_TAPE SW_CLEANUP(tape_drop) sw_tape *

/* What passes from one pass to the next lies in host memory: small tensors that outlive a chunk would cut the device's
 * memory into pieces that the next chunk does not fit. First the features, then their gradient. */
typedef struct features {
    sw_shape *shape; /* of each chunk, [n_i, width] */
    int64_t rows, width;
    sw_dtype dtype;
    char *host; /* [rows, width] */
    size_t capacity;
} features;

static void features_drop(features *f)
{
    sw_free(f->shape);
    sw_free(f->host);
}

static size_t row_bytes(const features *f)
{
    return (size_t)f->width * sw_dtype_size(f->dtype);
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
    const sw_shape *first = &f->shape[0], *own = &f->shape[i];
    if (own->rank == 2 && own->dim[0] > 0 && own->dim[1] == first->dim[1]) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "features %s of chunk %lld do not fit those of chunk 0, %s",
                        sw_shape_text(own, a, sizeof a), (long long)i, sw_shape_text(first, b, sizeof b));
}

/* Adds the features of chunk i. Room for all is made with the first, as no chunk is larger in general: growing would
 * hold them twice for a moment. */
static sw_status keep(features *f, int64_t i, int64_t chunks, const sw_tensor *value, sw_error *err)
{
    f->shape[i] = value->shape;
    SW_TRY(check_chunk(f, i, err));
    f->width = value->shape.dim[1];
    f->dtype = value->dtype;
    size_t at = (size_t)f->rows * row_bytes(f), more = (size_t)value->shape.dim[0] * row_bytes(f);
    SW_TRY(sw_grow(&f->host, &f->capacity, i == 0 ? more * (size_t)chunks : at + more, 1, err));
    SW_TRY(sw_tensor_download(value, f->host + at, err));
    f->rows += value->shape.dim[0];
    return SW_OK;
}

static sw_status encode_all(sw_backend *be, const sw_replay *r, features *f, sw_error *err)
{
    f->shape = sw_calloc((size_t)r->chunks, sizeof *f->shape);
    if (!f->shape) return sw_nomem(err);
    for (int64_t i = 0; i < r->chunks; i++) {
        AUTO_TAPE tape = NULL;
        SW_TRY(sw_tape_new(be, false, &tape, err));
        sw_var *v = r->encode(r->ctx, tape, i, false);
        SW_TRY(sw_tape_status(tape, err));
        SW_TRY(keep(f, i, r->chunks, sw_var_value(v), err));
    }
    return SW_OK;
}

/* The loss, and the gradient of the features in their place. */
static sw_status run_head(sw_backend *be, const sw_replay *r, features *f, sw_tensor *loss, sw_error *err)
{
    AUTO_TAPE tape = NULL;
    SW_CLEANUP(sw_tensor_release) sw_tensor all = {0};
    SW_TRY(sw_tape_new(be, true, &tape, err));
    SW_TRY(sw_tensor_from(&be->device, f->dtype, SW_SHAPE(f->rows, f->width), f->host, &all, err));
    sw_var *x = sw_tape_input(tape, &all);
    sw_var *y = r->head(r->ctx, tape, x);
    SW_TRY(sw_tape_status(tape, err));
    SW_TRY(sw_tape_backward(tape, y, NULL, err));
    if (!sw_var_grad(x)) {
        return sw_error_set(err, SW_E_INTERNAL, "the loss does not depend on the features");
    }
    SW_TRY(sw_tensor_download(sw_var_grad(x), f->host, err));
    *loss = sw_tensor_ref(sw_var_value(y));
    return SW_OK;
}

/* One chunk again, with its rows of the gradient, from `first` on; *more false: the encoder wants no gradient. */
static sw_status replay_chunk(sw_backend *be, const sw_replay *r, int64_t chunk, const features *f, int64_t first,
                              bool *more, sw_error *err)
{
    AUTO_TAPE tape = NULL;
    SW_CLEANUP(sw_tensor_release) sw_tensor slice = {0};
    SW_TRY(sw_tape_new(be, true, &tape, err));
    sw_var *v = r->encode(r->ctx, tape, chunk, true);
    SW_TRY(sw_tape_status(tape, err));
    *more = sw_var_wants_grad(v);
    if (!*more) return SW_OK;
    const char *rows = f->host + (size_t)first * row_bytes(f);
    SW_TRY(sw_tensor_from(&be->device, f->dtype, f->shape[chunk], rows, &slice, err));
    return sw_tape_backward(tape, v, &slice, err);
}

static sw_status run_chunks(sw_backend *be, const sw_replay *r, sw_tensor *loss, sw_error *err)
{
    SW_CLEANUP(features_drop) features f = {0};
    bool more = !r->once;
    SW_TRY(encode_all(be, r, &f, err));
    SW_TRY(run_head(be, r, &f, loss, err));
    for (int64_t i = 0, first = 0; more && i < r->chunks; i++) {
        SW_TRY(replay_chunk(be, r, i, &f, first, &more, err));
        first += f.shape[i].dim[0];
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
