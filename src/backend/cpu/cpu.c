/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu backend: which kernel runs, and ref's kernels on plain copies for the rest. */
#include "backend/cpu/cpu.h"

#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/thread.h"

/* What this backend does itself. `any_layout`: the kernel takes blocked tensors; otherwise it gets plain ones. */
typedef struct own_kernel {
    sw_forward_fn forward;
    sw_backward_fn backward;
    int needs;
    bool any_layout;
    bool in_place; /* works on flat tensors of one size */
    bool bf16;     /* takes images in bfloat16 beside float parameters */
    bool places;   /* takes or gives places in rows, i32 */
} own_kernel;

#define BOTH(name, needs, any_layout)                                                           \
    {sw_cpu_##name##_forward, sw_cpu_##name##_backward, needs, any_layout, false, false, false}
#define IMAGES(name, needs) {sw_cpu_##name##_forward, sw_cpu_##name##_backward, needs, true, false, true, false}
#define IN_PLACE(name) {sw_cpu_##name##_forward, NULL, SW_NEEDS_NOTHING, false, true, false, false}
#define PLACES(name) {sw_cpu_##name##_forward, sw_cpu_##name##_backward, SW_NEEDS_OUTPUT, false, false, false, true}
/* Backward is ref's. */
#define VALUES(name) {sw_cpu_##name##_forward, NULL, SW_NEEDS_NOTHING, false, false, false, false}
static const own_kernel own[SW_OP_COUNT] = {
    [SW_OP_CONV2D] = IMAGES(conv2d, SW_NEEDS_INPUTS),
    [SW_OP_CONV_NORM] = {sw_cpu_conv_norm_forward, NULL, SW_NEEDS_NOTHING, true, false, true, false},
    [SW_OP_BATCH_NORM] = IMAGES(batch_norm, SW_NEEDS_BOTH),
    [SW_OP_NORM_POOL] = IMAGES(norm_pool, SW_NEEDS_BOTH),
    [SW_OP_MAX_POOL2D] = IMAGES(max_pool2d, SW_NEEDS_OUTPUT),
    [SW_OP_GLOBAL_AVG_POOL] = IMAGES(global_avg_pool, SW_NEEDS_NOTHING),
    [SW_OP_RELU] = IMAGES(relu, SW_NEEDS_OUTPUT),
    [SW_OP_GELU] = BOTH(gelu, SW_NEEDS_INPUTS, true),
    [SW_OP_SILU] = BOTH(silu, SW_NEEDS_INPUTS, true),
    [SW_OP_ADD] = IMAGES(add, SW_NEEDS_NOTHING),
    [SW_OP_CAST] = IMAGES(cast, SW_NEEDS_NOTHING),
    [SW_OP_MUL] = BOTH(mul, SW_NEEDS_INPUTS, true),
    [SW_OP_LINEAR] = BOTH(linear, SW_NEEDS_INPUTS, false),
    [SW_OP_MATMUL] = BOTH(matmul, SW_NEEDS_INPUTS, false),
    [SW_OP_LAYER_NORM] = BOTH(layer_norm, SW_NEEDS_BOTH, false),
    [SW_OP_SOFTMAX] = BOTH(softmax, SW_NEEDS_OUTPUT, false),
    [SW_OP_DROPOUT] = BOTH(dropout, SW_NEEDS_NOTHING, false),
    [SW_OP_PERMUTE] = BOTH(permute, SW_NEEDS_NOTHING, false),
    [SW_OP_ATTEND_ONE] = BOTH(attend_one, SW_NEEDS_BOTH, false),
    [SW_OP_ATTEND] = BOTH(attend, SW_NEEDS_BOTH, false),
    [SW_OP_MAX_LAST] = PLACES(max_last),
    [SW_OP_GATHER] = PLACES(gather),
    [SW_OP_MIN_MAX] = PLACES(min_max),
    [SW_OP_MEAN_ROWS] = BOTH(mean_rows, SW_NEEDS_NOTHING, false),
    [SW_OP_SCALE] = BOTH(scale, SW_NEEDS_INPUTS, false),
    [SW_OP_TANH] = VALUES(tanh),
    [SW_OP_SIGMOID] = VALUES(sigmoid),
    [SW_OP_DEPTHWISE] = BOTH(depthwise, SW_NEEDS_INPUTS, false),
    [SW_OP_SCAN2D] = BOTH(scan2d, SW_NEEDS_INPUTS, false),
    [SW_OP_FILL] = IN_PLACE(fill),
    [SW_OP_COPY] = IN_PLACE(copy),
    [SW_OP_AXPY] = IN_PLACE(axpy),
    [SW_OP_LERP] = IN_PLACE(lerp),
    [SW_OP_ADAM] = IN_PLACE(adam),
    [SW_OP_SGD] = IN_PLACE(sgd),
    [SW_OP_SUM_SQUARES] = IN_PLACE(sum_squares),
};

/* --- plain copies of blocked tensors, for kernels that know no other layout */

static void release_all(sw_tensor (*copies)[SW_OP_MAX_IN + SW_OP_MAX_OUT + 1])
{
    for (int i = 0; i < SW_OP_MAX_IN + SW_OP_MAX_OUT + 1; i++) sw_tensor_release(&(*copies)[i]);
}

/* Makes *t point to a plain copy, owned by *copy, if it is blocked. */
static sw_status plain_copy(sw_cpu *cpu, const sw_tensor **t, sw_tensor *copy, sw_error *err)
{
    const sw_tensor *from = *t;
    if (!from || !from->storage || from->layout == SW_CPU_PLAIN) return SW_OK;
    SW_TRY(sw_tensor_new(&cpu->base.device, from->dtype, from->shape, copy, err));
    sw_cpu_reorder(cpu, &from->shape, sw_dtype_size(from->dtype), sw_cpu_f32(from), from->layout, sw_cpu_f32(copy),
                   SW_CPU_PLAIN);
    *t = copy;
    return SW_OK;
}

static sw_status forward_plain(sw_cpu *cpu, sw_forward_fn kernel, const sw_forward_args *given, sw_error *err)
{
    SW_CLEANUP(release_all) sw_tensor copies[SW_OP_MAX_IN + SW_OP_MAX_OUT + 1] = {{0}};
    sw_forward_args args = *given;
    for (int i = 0; i < SW_OP_MAX_IN; i++) SW_TRY(plain_copy(cpu, &args.in[i], &copies[i], err));
    for (int i = 0; i < SW_OP_MAX_OUT; i++)
        if (args.out[i]) SW_TRY(sw_cpu_relayout(cpu, args.out[i], SW_CPU_PLAIN, err));
    return kernel(&cpu->base, &args, err);
}

static sw_status backward_plain(sw_cpu *cpu, sw_backward_fn kernel, const sw_backward_args *given, sw_error *err)
{
    SW_CLEANUP(release_all) sw_tensor copies[SW_OP_MAX_IN + SW_OP_MAX_OUT + 1] = {{0}};
    sw_backward_args args = *given;
    int used = 0;
    for (int i = 0; i < SW_OP_MAX_IN; i++) SW_TRY(plain_copy(cpu, &args.in[i], &copies[used++], err));
    for (int i = 0; i < SW_OP_MAX_OUT; i++) SW_TRY(plain_copy(cpu, &args.out[i], &copies[used++], err));
    SW_TRY(plain_copy(cpu, &args.grad_out, &copies[used++], err));
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (!args.grad_in[i]) continue;
        if (args.add[i]) SW_TRY(sw_cpu_relayout(cpu, args.grad_in[i], SW_CPU_PLAIN, err));
        else args.grad_in[i]->layout = SW_CPU_PLAIN;
    }
    return kernel(&cpu->base, &args, err);
}

sw_status sw_cpu_ref_forward(sw_cpu *cpu, sw_op_id op, sw_forward_args *args, sw_error *err)
{
    return forward_plain(cpu, cpu->ref[op].forward, args, err);
}

sw_status sw_cpu_ref_backward(sw_cpu *cpu, sw_op_id op, sw_backward_args *args, sw_error *err)
{
    return backward_plain(cpu, cpu->ref[op].backward, args, err);
}

/* --- dispatch */

/* Ours read and write float32, some of them bfloat16, winner indices (u8) beside it. Empty tensors go to ref too:
 * nothing of ours has to think of them. */
static bool is_ours(sw_op_id op, const sw_tensor *t, bool result)
{
    if (!t) return true;
    bool known = t->dtype == SW_F32 || (own[op].bf16 && t->dtype == SW_BF16) || (result && t->dtype == SW_U8) ||
                 (own[op].places && t->dtype == SW_I32);
    return known && sw_shape_count(&t->shape) > 0;
}

static bool takes_forward(sw_op_id op, const sw_forward_args *args)
{
    if (!own[op].forward) return false;
    for (int i = 0; i < SW_OP_MAX_IN; i++)
        if (!is_ours(op, args->in[i], false)) return false;
    if (op == SW_OP_SUM_SQUARES) return args->out[0]->dtype == SW_F64;
    for (int i = 0; i < SW_OP_MAX_OUT; i++) {
        if (!is_ours(op, args->out[i], true)) return false;
        /* ref says what is wrong with sizes that differ */
        if (own[op].in_place && args->in[0] && args->out[i] &&
            sw_tensor_count(args->out[i]) != sw_tensor_count(args->in[0]))
            return false;
    }
    return true;
}

static sw_status run_forward(sw_backend *be, sw_op_id op, sw_forward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    if (!takes_forward(op, args)) return sw_cpu_ref_forward(cpu, op, args, err);
    return own[op].any_layout ? own[op].forward(be, args, err) : forward_plain(cpu, own[op].forward, args, err);
}

static sw_status run_backward(sw_backend *be, sw_op_id op, sw_backward_args *args, sw_error *err)
{
    sw_cpu *cpu = sw_cpu_of(be);
    bool ours = own[op].backward != NULL && is_ours(op, args->grad_out, false);
    for (int i = 0; i < SW_OP_MAX_IN; i++) ours = ours && is_ours(op, args->in[i], false);
    if (!ours) return sw_cpu_ref_backward(cpu, op, args, err);
    return own[op].any_layout ? own[op].backward(be, args, err) : backward_plain(cpu, own[op].backward, args, err);
}

/* A kernel is not told which op it is: one pair of functions per row of the op table. */
#define SW_OP(id, name, inputs, outputs)                                                        \
    static sw_status forward_##id(sw_backend *be, sw_forward_args *args, sw_error *err)         \
    {                                                                                           \
        return run_forward(be, SW_OP_##id, args, err);                                          \
    }                                                                                           \
    static sw_status backward_##id(sw_backend *be, sw_backward_args *args, sw_error *err)       \
    {                                                                                           \
        return run_backward(be, SW_OP_##id, args, err);                                         \
    }
#include "backend/ops.def"
#undef SW_OP

static void fill_table(sw_cpu *cpu)
{
    static const sw_kernels dispatch[SW_OP_COUNT] = {
#define SW_OP(id, name, inputs, outputs) [SW_OP_##id] = {forward_##id, backward_##id, SW_NEEDS_NOTHING},
#include "backend/ops.def"
#undef SW_OP
    };
    sw_ref_kernels(cpu->ref);
    for (int op = 0; op < SW_OP_COUNT; op++) {
        sw_kernels *row = &cpu->base.kernel[op];
        const sw_kernels *ref = &cpu->ref[op];
        row->forward = own[op].forward || ref->forward ? dispatch[op].forward : NULL;
        row->backward = own[op].backward || ref->backward ? dispatch[op].backward : NULL;
        /* Types that are not ours run ref's kernel: what that needs must be there as well. */
        row->needs = ref->needs | own[op].needs;
    }
}

static void cpu_destroy(sw_backend *be)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sw_cpu_lanes_free(cpu);
    sw_dnn_free(cpu->dnn);
    sw_cpu_scratch_free(cpu);
    sw_cpu_cache_destroy(&cpu->cache);
    sw_free(cpu);
}

void sw_cpu_backend_trim(sw_backend *be)
{
    sw_cpu *cpu = sw_cpu_of(be);
    sw_dnn_trim(cpu->dnn);
    sw_cpu_lanes_trim(cpu);
    sw_cpu_scratch_free(cpu);
    sw_cpu_cache_trim(&cpu->cache);
}

static void cpu_kept(sw_backend *be, size_t *idle, size_t *scratch)
{
    sw_cpu *cpu = sw_cpu_of(be);
    *idle = sw_cpu_cache_idle(&cpu->cache);
    *scratch = sw_dnn_scratch_bytes(cpu->dnn);
    for (int i = 0; cpu->lane && i < cpu->base.threads; i++) *scratch += sw_dnn_scratch_bytes(cpu->lane[i]);
    for (int i = 0; i < SW_SLOT_COUNT; i++) *scratch += cpu->scratch[i].bytes;
}

sw_status sw_cpu_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err)
{
    SW_AUTOFREE sw_cpu *cpu = sw_calloc(1, sizeof(*cpu));
    if (!cpu) return sw_nomem(err);
    cpu->base.device.ops = &sw_cpu_device_ops;
    cpu->base.device.name = "cpu";
    cpu->base.threads = options && options->threads > 0 ? options->threads : sw_cpu_count();
    cpu->base.trim = sw_cpu_backend_trim;
    cpu->base.kept = cpu_kept;
    cpu->base.destroy = cpu_destroy;
    cpu->simd = sw_simd_avx512();
    if (!cpu->simd) cpu->simd = sw_simd_avx2();
    if (!cpu->simd) cpu->simd = sw_simd_base();
    cpu->attend_bf16 = sw_simd_avx512_bf16();
    cpu->block = cpu->simd->block;
    cpu->past_cache = (size_t)16 << 20;
    cpu->base.bf16 = sw_cpu_has_bf16() ? SW_BF16_NATIVE : SW_BF16_SLOW;
    fill_table(cpu);
    SW_TRY(sw_dnn_new(cpu->base.threads, &cpu->dnn, err));
    sw_status status = options && options->deterministic ? sw_cpu_lanes_new(cpu, err) : SW_OK;
    if (status == SW_OK) status = sw_cpu_cache_init(&cpu->cache, err);
    if (status != SW_OK) {
        sw_cpu_lanes_free(cpu);
        sw_dnn_free(cpu->dnn);
        return status;
    }
    *out = &SW_STEAL(cpu)->base;
    return SW_OK;
}
