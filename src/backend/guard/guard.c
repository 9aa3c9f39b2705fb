/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/guard/guard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

typedef struct guard_backend {
    sw_backend be; /* first: a sw_backend * of ours is a guard_backend * */
    sw_kernels inner[SW_OP_COUNT];
} guard_backend;

sw_kernels *sw_guard_inner(sw_backend *guard, sw_op_id op)
{
    return &((guard_backend *)guard)->inner[op];
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Bytes of whole pages for a storage; an empty one has a page too. */
static size_t room_for(size_t bytes)
{
    size_t page = page_size();
    return bytes == 0 ? page : (bytes + page - 1) / page * page;
}

/* [guard page][room, the storage at its end][guard page]; `mem` points at the storage. */
static sw_status guard_alloc(sw_device *dev, size_t bytes, void **mem, sw_error *err)
{
    size_t page = page_size(), room = room_for(bytes);
    (void)dev;
    char *all = mmap(NULL, room + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) {
        return sw_error_set(err, SW_E_NOMEM, "out of memory: guard asked for %zu bytes (%s)", bytes, strerror(errno));
    }
    *mem = all + page + room - bytes;
    return SW_OK;
}

static void guard_release(sw_device *dev, void *mem, size_t bytes)
{
    size_t page = page_size(), room = room_for(bytes);
    (void)dev;
    munmap((char *)mem + bytes - room - page, room + 2 * page);
}

static sw_status protect(const sw_tensor *t, int protection, sw_error *err)
{
    if (!t || !t->storage) return SW_OK;
    size_t room = room_for(t->storage->bytes);
    char *first = (char *)t->storage->mem + t->storage->bytes - room;
    if (mprotect(first, room, protection) == 0) return SW_OK;
    return sw_error_set(err, SW_E_INTERNAL, "guard cannot protect %zu bytes: %s", room, strerror(errno));
}

static sw_status guard_upload(sw_device *dev, sw_tensor *dst, const void *host, sw_error *err)
{
    (void)dev;
    SW_TRY(protect(dst, PROT_READ | PROT_WRITE, err));
    memcpy(sw_ref_mem(dst), host, sw_tensor_bytes(dst));
    dst->layout = 0;
    return protect(dst, PROT_NONE, err);
}

static sw_status guard_download(sw_device *dev, const sw_tensor *src, void *host, sw_error *err)
{
    (void)dev;
    SW_TRY(protect(src, PROT_READ, err));
    memcpy(host, sw_ref_mem(src), sw_tensor_bytes(src));
    return protect(src, PROT_NONE, err);
}

/* The tensors of one kernel call. A storage that is both read and written is opened for writing. */
typedef struct opening {
    const sw_tensor *read[2 * SW_OP_MAX_IN + SW_OP_MAX_OUT], *write[SW_OP_MAX_IN + SW_OP_MAX_OUT];
    int n_read, n_write;
} opening;

static void reads(opening *o, const sw_tensor *t)
{
    o->read[o->n_read++] = t;
}

static void writes(opening *o, const sw_tensor *t)
{
    o->write[o->n_write++] = t;
}

static sw_status open_all(const opening *o, sw_error *err)
{
    for (int i = 0; i < o->n_read; i++) SW_TRY(protect(o->read[i], PROT_READ, err));
    for (int i = 0; i < o->n_write; i++) SW_TRY(protect(o->write[i], PROT_READ | PROT_WRITE, err));
    return SW_OK;
}

static sw_status close_all(const opening *o, sw_status status, sw_error *err)
{
    for (int i = 0; i < o->n_read; i++) {
        sw_status closed = protect(o->read[i], PROT_NONE, status == SW_OK ? err : NULL);
        if (status == SW_OK) status = closed;
    }
    for (int i = 0; i < o->n_write; i++) {
        sw_status closed = protect(o->write[i], PROT_NONE, status == SW_OK ? err : NULL);
        if (status == SW_OK) status = closed;
    }
    return status;
}

/* Batch norm in training moves its running statistics, which are inputs. Pooled it has the same first attribute. */
static bool moves_input(sw_op_id op, const void *attr_, int input)
{
    const sw_batch_norm_attr *attr = attr_;
    return (op == SW_OP_BATCH_NORM || op == SW_OP_NORM_POOL) && (input == 3 || input == 4) && attr->training && attr->update_running;
}

static sw_status guarded_forward(sw_backend *be, sw_op_id op, sw_forward_args *args, sw_error *err)
{
    opening o = {.n_read = 0};
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (moves_input(op, args->attr, i)) {
            writes(&o, args->in[i]);
        } else {
            reads(&o, args->in[i]);
        }
    }
    for (int i = 0; i < SW_OP_MAX_OUT; i++) writes(&o, args->out[i]);
    sw_status status = open_all(&o, err);
    if (status == SW_OK) status = sw_guard_inner(be, op)->forward(be, args, err);
    return close_all(&o, status, err);
}

static sw_status guarded_backward(sw_backend *be, sw_op_id op, sw_backward_args *args, sw_error *err)
{
    opening o = {.n_read = 0};
    reads(&o, args->grad_out);
    for (int i = 0; i < SW_OP_MAX_OUT; i++) reads(&o, args->out[i]);
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        reads(&o, args->in[i]);
        writes(&o, args->grad_in[i]);
    }
    sw_status status = open_all(&o, err);
    if (status == SW_OK) status = sw_guard_inner(be, op)->backward(be, args, err);
    return close_all(&o, status, err);
}

/* A kernel does not know its op: one pair of functions for each line of ops.def. */
#define SW_OP(id, name, inputs, outputs)                                                        \
    static sw_status forward_##id(sw_backend *be, sw_forward_args *args, sw_error *err)         \
    {                                                                                           \
        return guarded_forward(be, SW_OP_##id, args, err);                                      \
    }                                                                                           \
    static sw_status backward_##id(sw_backend *be, sw_backward_args *args, sw_error *err)       \
    {                                                                                           \
        return guarded_backward(be, SW_OP_##id, args, err);                                     \
    }
#include "backend/ops.def"
#undef SW_OP

static const sw_kernels guards[SW_OP_COUNT] = {
#define SW_OP(id, name, inputs, outputs) [SW_OP_##id] = {forward_##id, backward_##id, 0},
#include "backend/ops.def"
#undef SW_OP
};

static void guard_destroy(sw_backend *be)
{
    sw_free(be);
}

sw_status sw_guard_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err)
{
    static const sw_device_ops ops = {guard_alloc, guard_release, guard_upload, guard_download};
    guard_backend *g = sw_calloc(1, sizeof *g);
    (void)options;
    if (!g) return sw_nomem(err);
    g->be.device.ops = &ops;
    g->be.device.name = "guard";
    g->be.threads = 1;
    g->be.destroy = guard_destroy;
    sw_ref_kernels(g->inner);
    for (int op = 0; op < SW_OP_COUNT; op++) {
        const sw_kernels *inner = &g->inner[op];
        g->be.kernel[op].forward = inner->forward ? guards[op].forward : NULL;
        g->be.kernel[op].backward = inner->backward ? guards[op].backward : NULL;
        g->be.kernel[op].needs = inner->needs;
    }
    *out = &g->be;
    return SW_OK;
}
