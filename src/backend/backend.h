/* SPDX-License-Identifier: Apache-2.0 */
/* The backend seam: a device and a table of kernels per op. ref/ is complete and plain; cpu/ and
 * cuda/ start from ref's table (or an empty one) and override. */
#ifndef SW_BACKEND_BACKEND_H
#define SW_BACKEND_BACKEND_H

#include "tensor/tensor.h"

typedef enum sw_op_id {
#define SW_OP(id, name, inputs, outputs) SW_OP_##id,
#include "backend/ops.def"
#undef SW_OP
    SW_OP_COUNT
} sw_op_id;

#define SW_OP_MAX_IN 7
#define SW_OP_MAX_OUT 4

/* --- attributes: one struct per op that has any */
typedef struct sw_conv2d_attr {
    int stride, pad;
} sw_conv2d_attr;
typedef struct sw_batch_norm_attr {
    bool training;       /* batch statistics; otherwise the running ones */
    bool update_running; /* training: also move running_mean/var (off in a replay pass) */
    bool relu;           /* y = relu(norm(x) [+ residual]) */
    double eps, momentum;
} sw_batch_norm_attr;
/* y = relu?(conv(x, w) * s + offset - running_mean * s [+ residual]) with s = gain / sqrt(running_var + eps) */
typedef struct sw_conv_norm_attr {
    sw_conv2d_attr conv;
    double eps;
    bool relu;
    bool spend_residual; /* the residual is read no more: sw_op_forward lets y take its memory */
} sw_conv_norm_attr;
typedef struct sw_pool_attr {
    int window, stride, pad;
} sw_pool_attr;
typedef struct sw_norm_pool_attr {
    sw_batch_norm_attr norm; /* first member; `relu` is taken as true */
    sw_pool_attr pool;
} sw_norm_pool_attr;
typedef struct sw_layer_norm_attr {
    double eps;
} sw_layer_norm_attr;
typedef struct sw_rms_norm_attr {
    double eps;
} sw_rms_norm_attr;
typedef struct sw_min_max_attr {
    double eps;
} sw_min_max_attr;
typedef struct sw_cast_attr {
    sw_dtype dtype; /* f32, f64, bf16 or f16 */
} sw_cast_attr;
typedef struct sw_dropout_attr {
    double rate;          /* probability of zero; kept values are scaled by 1/(1-rate) */
    uint64_t seed;        /* Philox key: element i uses counter (i/4, step, site, 0), word i%4 */
    uint32_t step, site;
} sw_dropout_attr;
typedef struct sw_scale_attr {
    double factor;
} sw_scale_attr;
typedef struct sw_permute_attr {
    int axis[SW_MAX_RANK]; /* out dimension i is in dimension axis[i] */
} sw_permute_attr;
typedef struct sw_reshape_attr {
    sw_shape shape;
} sw_reshape_attr;
typedef struct sw_rows_attr {
    int64_t first, count;
} sw_rows_attr;
typedef struct sw_matmul_attr {
    bool transpose_a, transpose_b;
} sw_matmul_attr;
typedef struct sw_attend_one_attr {
    double scale; /* 1/sqrt(d) */
    bool reduced; /* products may round q, k and the gradient of the logits to bfloat16; sums, statistics and results stay
                     as they are. A backend that gains nothing from it ignores it. */
} sw_attend_one_attr;
typedef struct sw_attend_attr {
    double scale; /* 1/sqrt(d) */
} sw_attend_attr;
/* Discrete-time survival: a bag whose event falls into bin y costs -log S(y-1) - log h(y), a censored one
 * (1 - alpha) * -log S(y), where h = sigmoid(logits), S(k) = product of 1 - h up to k, and nothing below eps is logged. */
typedef struct sw_survival_nll_attr {
    double alpha, eps;
} sw_survival_nll_attr;
typedef struct sw_fill_attr {
    double value;
} sw_fill_attr;
typedef struct sw_axpy_attr {
    double factor;
} sw_axpy_attr;
typedef struct sw_adam_attr {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled;   /* AdamW: p *= 1 - lr*wd first; otherwise wd*p is added to the gradient */
    int64_t step;     /* 1 for the first update (bias correction) */
    double grad_scale; /* the gradient is multiplied by this first (clipping, accumulation) */
} sw_adam_attr;
/* g = grad * grad_scale + weight_decay * p; velocity = momentum * velocity + g; p -= lr * velocity, or with nesterov
 * lr * (g + momentum * velocity). Velocities begin at zero. */
typedef struct sw_sgd_attr {
    double lr, momentum, weight_decay;
    bool nesterov;
    double grad_scale;
} sw_sgd_attr;

/* --- what a kernel gets. Tensors are allocated by the caller (shapes already inferred); a kernel may
 * set `layout` of what it writes. Inputs come in any layout this backend ever produced. */
typedef struct sw_forward_args {
    const void *attr;
    const sw_tensor *in[SW_OP_MAX_IN]; /* NULL: absent optional input */
    sw_tensor *out[SW_OP_MAX_OUT];
} sw_forward_args;

typedef struct sw_backward_args {
    const void *attr;
    /* Shape and dtype of inputs and outputs are always there; `storage` is NULL where the tape has let the
     * value go because `needs` does not name it. in[i] is NULL for an absent optional input. */
    const sw_tensor *in[SW_OP_MAX_IN];
    const sw_tensor *out[SW_OP_MAX_OUT]; /* the value and what forward saved */
    const sw_tensor *grad_out;
    sw_tensor *grad_in[SW_OP_MAX_IN]; /* NULL: not wanted */
    bool add[SW_OP_MAX_IN];           /* true: add to what grad_in holds; false: overwrite it */
} sw_backward_args;

typedef struct sw_backend sw_backend;
typedef sw_status (*sw_forward_fn)(sw_backend *be, sw_forward_args *args, sw_error *err);
typedef sw_status (*sw_backward_fn)(sw_backend *be, sw_backward_args *args, sw_error *err);

/* Which tensors a backward kernel reads, so that the tape can let go of the others early. */
enum { SW_NEEDS_NOTHING = 0, SW_NEEDS_INPUTS = 1, SW_NEEDS_OUTPUT = 2, SW_NEEDS_BOTH = 3 };

typedef struct sw_kernels {
    sw_forward_fn forward;   /* NULL: this backend cannot do the op */
    sw_backward_fn backward; /* NULL: not differentiable here */
    int needs;               /* of the backward kernel */
} sw_kernels;

/* Whether activations may be bfloat16 here, beside float parameters. */
typedef enum sw_bf16_support { SW_BF16_NEVER, SW_BF16_SLOW, SW_BF16_NATIVE } sw_bf16_support;

struct sw_backend {
    sw_device device; /* first member: a sw_device * of ours is a sw_backend * */
    sw_kernels kernel[SW_OP_COUNT];
    int threads;
    /* Both may be NULL: a backend that keeps nothing besides its tensors. */
    void (*trim)(sw_backend *be);
    void (*kept)(sw_backend *be, size_t *idle, size_t *scratch);
    sw_bf16_support bf16; /* slow: the CPU has no instruction for it */
    void (*destroy)(sw_backend *be);
};

const char *sw_op_name(sw_op_id op);

typedef struct sw_backend_options {
    int threads;        /* 0: all CPUs of this process */
    bool deterministic; /* the same bits with any number of threads (cpu; ref is so anyway) */
} sw_backend_options;

/* `name`: "ref", "guard" (ref with tensors in protected pages), "cpu", "cuda", "auto". */
sw_status sw_backend_new(const char *name, const sw_backend_options *options, sw_backend **out, sw_error *err)
    SW_MUST_CHECK;
void sw_backend_free(sw_backend *be); /* after every tensor on it */

/* "fp32", "bf16", or "auto": bf16 where `be` has it natively. *activations is SW_F32 or SW_BF16. bf16 on a backend that
 * never has it is SW_E_UNSUPPORTED, and the sentence names the backend and the mend. */
sw_status sw_backend_precision(const sw_backend *be, const char *precision, sw_dtype *activations, sw_error *err)
    SW_MUST_CHECK;
const char *sw_precision_name(sw_dtype activations); /* "fp32", "bf16" */

/* Runs a kernel directly (in-place kernels: optimiser, EMA). A missing kernel is SW_E_UNSUPPORTED and
 * the sentence names op and backend. */
sw_status sw_backend_run(sw_backend *be, sw_op_id op, sw_forward_args *args, sw_error *err) SW_MUST_CHECK;

/* Bytes of tensors now and at most (since the last trim), and what the backend keeps besides: free blocks that wait for
 * the next tensor (idle) and memory that its kernels work in (scratch). */
typedef struct sw_memory_use {
    size_t now, peak, idle, scratch;
} sw_memory_use;
sw_memory_use sw_backend_memory(sw_backend *be);
/* Gives idle blocks and scratch memory back to the system, and begins the peak anew. */
void sw_backend_trim(sw_backend *be);

/* Fills the whole table with the plain C kernels, which read and write plain layout only. */
void sw_ref_kernels(sw_kernels table[SW_OP_COUNT]);

#endif
