/* SPDX-License-Identifier: Apache-2.0 */
#include "backend/backend.h"

#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/guard/guard.h"
#include "backend/ref/ref.h"

const char *sw_op_name(sw_op_id op)
{
    static const char *const name[] = {
#define SW_OP(id, text, inputs, outputs) [SW_OP_##id] = text,
#include "backend/ops.def"
#undef SW_OP
    };
    _Static_assert(sizeof name / sizeof name[0] == SW_OP_COUNT, "every op has a name");
    return name[op];
}

typedef struct backend_row {
    const char *name;
    sw_status (*make)(const sw_backend_options *options, sw_backend **out, sw_error *err);
} backend_row;

static const backend_row backends[] = {
    {"ref", sw_ref_backend_new},
    {"guard", sw_guard_backend_new},
    {"cpu", sw_cpu_backend_new},
};

/* The fastest that every build has. */
static const char *const automatic = "cpu";

sw_status sw_backend_new(const char *name, const sw_backend_options *options, sw_backend **out, sw_error *err)
{
    const sw_backend_options none = {0};
    const char *wanted = strcmp(name, "auto") == 0 ? automatic : name;
    char known[128];
    size_t used = 0;
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(backends[i].name, wanted) == 0) return backends[i].make(options ? options : &none, out, err);
        used += (size_t)snprintf(known + used, sizeof known - used, "%s, ", backends[i].name);
    }
    return sw_error_set(err, SW_E_UNSUPPORTED, "this build has no backend \"%s\"; choose one of %sauto", wanted, known);
}

void sw_backend_free(sw_backend *be)
{
    if (be) be->destroy(be);
}

sw_status sw_backend_precision(const sw_backend *be, const char *precision, sw_dtype *activations, sw_error *err)
{
    bool wide = strcmp(precision, "fp32") == 0, narrow = strcmp(precision, "bf16") == 0;
    if (!wide && !narrow && strcmp(precision, "auto") != 0)
        return sw_error_set(err, SW_E_INVALID, "precision '%s' is none of auto, fp32, bf16", precision);
    if (narrow && be->bf16 == SW_BF16_NEVER)
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "precision bf16: backend %s computes in fp32 only; choose precision fp32 or auto, or backend cpu",
                            be->device.name);
    *activations = narrow || (!wide && be->bf16 == SW_BF16_NATIVE) ? SW_BF16 : SW_F32;
    return SW_OK;
}

const char *sw_precision_name(sw_dtype activations)
{
    return activations == SW_BF16 ? "bf16" : "fp32";
}

sw_status sw_backend_run(sw_backend *be, sw_op_id op, sw_forward_args *args, sw_error *err)
{
    if (!be->kernel[op].forward) {
        return sw_error_set(err, SW_E_UNSUPPORTED, "backend %s cannot do %s", be->device.name, sw_op_name(op));
    }
    return be->kernel[op].forward(be, args, err);
}

sw_memory_use sw_backend_memory(sw_backend *be)
{
    sw_memory_use use = {.now = (size_t)__atomic_load_n(&be->device.bytes_now, __ATOMIC_RELAXED),
                         .peak = (size_t)__atomic_load_n(&be->device.bytes_peak, __ATOMIC_RELAXED)};
    if (be->kept) be->kept(be, &use.idle, &use.scratch);
    return use;
}

void sw_backend_trim(sw_backend *be)
{
    if (be->trim) be->trim(be);
    __atomic_store_n(&be->device.bytes_peak, __atomic_load_n(&be->device.bytes_now, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}
