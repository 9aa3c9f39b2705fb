/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/ref/ref.h"

#include <string.h>

#include "base/mem.h"

static sw_status ref_alloc(sw_device *dev, size_t bytes, void **mem, sw_error *err)
{
    *mem = sw_aligned_alloc(64, bytes);
    if (*mem) return SW_OK;
    return sw_error_set(err, SW_E_NOMEM, "out of memory: %s asked for %zu bytes", dev->name, bytes);
}

static void ref_release(sw_device *dev, void *mem, size_t bytes)
{
    (void)dev;
    (void)bytes;
    sw_free(mem);
}

static sw_status ref_upload(sw_device *dev, sw_tensor *dst, const void *host, sw_error *err)
{
    (void)dev;
    (void)err;
    memcpy(sw_ref_mem(dst), host, sw_tensor_bytes(dst));
    dst->layout = 0;
    return SW_OK;
}

static sw_status ref_download(sw_device *dev, const sw_tensor *src, void *host, sw_error *err)
{
    (void)dev;
    (void)err;
    memcpy(host, sw_ref_mem(src), sw_tensor_bytes(src));
    return SW_OK;
}

static void ref_destroy(sw_backend *be)
{
    sw_free(be);
}

void sw_ref_kernels(sw_kernels table[SW_OP_COUNT])
{
    memset(table, 0, SW_OP_COUNT * sizeof *table);
    sw_ref_conv_kernels(table);
    sw_ref_norm_kernels(table);
    sw_ref_dense_kernels(table);
    sw_ref_attend_kernels(table);
    sw_ref_elementwise_kernels(table);
    sw_ref_shape_kernels(table);
    sw_ref_select_kernels(table);
    sw_ref_scan_kernels(table);
    sw_ref_loss_kernels(table);
    sw_ref_flat_kernels(table);
}

sw_status sw_ref_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err)
{
    static const sw_device_ops ops = {ref_alloc, ref_release, ref_upload, ref_download};
    sw_backend *be = sw_calloc(1, sizeof *be);
    (void)options; /* one thread, and always the same order of summation */
    if (!be) return sw_nomem(err);
    be->device.ops = &ops;
    be->device.name = "ref";
    be->threads = 1;
    be->destroy = ref_destroy;
    sw_ref_kernels(be->kernel);
    *out = be;
    return SW_OK;
}

/* Joins one tensor to what the others said: -1 no float tensor yet, 0 f32, 1 f64. */
static sw_status check_one(const char *op, const sw_tensor *t, int *wide, sw_error *err)
{
    if (!t || !t->storage) return SW_OK;
    if (t->layout != 0) {
        return sw_error_set(err, SW_E_INTERNAL, "%s: the plain kernel got a tensor of layout %d", op, t->layout);
    }
    if (t->dtype == SW_I32 || t->dtype == SW_U8) return SW_OK;
    if ((t->dtype != SW_F32 && t->dtype != SW_F64) || (*wide >= 0 && *wide != (t->dtype == SW_F64))) {
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: the plain kernels work in f32 or in f64, not in %s%s", op,
                            sw_dtype_name(t->dtype), *wide >= 0 ? " beside the other" : "");
    }
    *wide = t->dtype == SW_F64;
    return SW_OK;
}

sw_status sw_ref_check_forward(const char *op, const sw_forward_args *args, bool *wide, sw_error *err)
{
    int found = -1;
    for (int i = 0; i < SW_OP_MAX_OUT; i++) {
        if (args->out[i]) args->out[i]->layout = 0;
        SW_TRY(check_one(op, args->out[i], &found, err));
    }
    for (int i = 0; i < SW_OP_MAX_IN; i++) SW_TRY(check_one(op, args->in[i], &found, err));
    *wide = found == 1;
    return SW_OK;
}

sw_status sw_ref_check_backward(const char *op, const sw_backward_args *args, bool *wide, sw_error *err)
{
    int found = -1;
    SW_TRY(check_one(op, args->grad_out, &found, err));
    for (int i = 0; i < SW_OP_MAX_OUT; i++) SW_TRY(check_one(op, args->out[i], &found, err));
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (args->grad_in[i] && !args->add[i]) args->grad_in[i]->layout = 0;
        SW_TRY(check_one(op, args->in[i], &found, err));
        SW_TRY(check_one(op, args->grad_in[i], &found, err));
    }
    *wide = found == 1;
    return SW_OK;
}
