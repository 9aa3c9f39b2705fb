/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cpu backend share. */
#ifndef SW_BACKEND_CPU_INTERNAL_H
#define SW_BACKEND_CPU_INTERNAL_H

#include <pthread.h>

#include "backend/backend.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/simd.h"

enum { SW_CPU_PLAIN = 0, SW_CPU_BLOCKED = 1 };

/* Elements one thread takes at a time in flat loops: fixed, so that sums never depend on the threads. */
#define SW_CPU_CHUNK 16384
/* Parts that work is cut into where more threads would mean more parts, and the number of threads must not matter. */
#define SW_CPU_FIXED_PARTS 16

/* Scratch memory lives as long as the backend and only grows; a slot holds one thing at a time. */
typedef enum sw_cpu_slot {
    SW_SLOT_X,      /* an input in another layout */
    SW_SLOT_DY,     /* an output gradient in another layout */
    SW_SLOT_Y,      /* a third one */
    SW_SLOT_RESULT, /* a result on its way to another layout or to an addition */
    SW_SLOT_SUMS,   /* partial sums */
    SW_SLOT_WORK,   /* tiles of a kernel */
    SW_SLOT_WIDE_X, /* images in bfloat16 as floats */
    SW_SLOT_WIDE_Y,
    SW_SLOT_COUNT
} sw_cpu_slot;

/* Memory of tensors: one range of addresses, cut into blocks in order of address. A freed block joins its free
 * neighbours, so that the next phase of the work finds its sizes in the same pages, whatever the last one's were. */
typedef struct sw_cpu_cache {
    pthread_mutex_t lock;
    char *base;          /* NULL until the first block */
    size_t reserved;     /* addresses from `base` on */
    size_t used;         /* up to here there are blocks; never shrinks but by a trim */
    struct sw_cpu_block *first, *last; /* in order of address */
} sw_cpu_cache;

typedef struct sw_cpu {
    sw_backend base; /* first member */
    sw_kernels ref[SW_OP_COUNT];
    const sw_simd *simd;
    const sw_simd_attend_bf16 *attend_bf16; /* NULL where the CPU has no products of bfloat16 */
    int block; /* channels per block of layout 1 */
    size_t past_cache; /* bytes from which a result is written past the caches: the next kernel will not find it there */
    sw_dnn *dnn;
    uint64_t split_calls; /* convolutions on the lanes so far */
    sw_dnn **lane; /* one per thread; NULL unless results must not depend on the number of threads */
    bool lacks_bf16; /* oneDNN was asked for a convolution in bfloat16 and had none for this CPU */
    sw_cpu_cache cache;
    struct {
        void *mem;
        size_t bytes;
    } scratch[SW_SLOT_COUNT];
} sw_cpu;

static inline sw_cpu *sw_cpu_of(sw_backend *be)
{
    return (sw_cpu *)be;
}

static inline float *sw_cpu_f32(const sw_tensor *t)
{
    return (float *)((char *)t->storage->mem + t->offset);
}

/* The data of a tensor of any type. */
static inline void *sw_cpu_mem(const sw_tensor *t)
{
    return (char *)t->storage->mem + t->offset;
}

/* The kernels on images of float or of bfloat16. */
static inline const sw_simd_typed *sw_cpu_typed(const sw_cpu *cpu, sw_dtype dtype)
{
    return dtype == SW_BF16 ? cpu->simd->bf16 : cpu->simd->f32;
}

/* --- cpu_memory.c */
extern const sw_device_ops sw_cpu_device_ops;
sw_status sw_cpu_cache_init(sw_cpu_cache *cache, sw_error *err) SW_MUST_CHECK;
size_t sw_cpu_cache_idle(sw_cpu_cache *cache); /* bytes of free blocks between those that are held */
void sw_cpu_cache_trim(sw_cpu_cache *cache);
void sw_cpu_cache_destroy(sw_cpu_cache *cache);
/* Memory of one owner, 64-byte aligned, on huge pages where it is large and the system has them: transforms walk
 * dozens of rows at once. NULL: out of memory. */
void *sw_cpu_pages_new(size_t bytes);
void sw_cpu_pages_free(void *mem); /* NULL is fine */
/* At least `bytes` of 64-byte aligned memory, valid until the slot is asked for again. */
sw_status sw_cpu_scratch(sw_cpu *cpu, sw_cpu_slot slot, size_t bytes, void **mem, sw_error *err) SW_MUST_CHECK;
void sw_cpu_scratch_free(sw_cpu *cpu);

/* --- cpu_layout.c */
bool sw_cpu_can_block(const sw_cpu *cpu, const sw_shape *shape); /* 4-D, channels a multiple of the block */
/* Reorders the 4-D `shape` (any element size) between plain and blocked. */
void sw_cpu_reorder(const sw_cpu *cpu, const sw_shape *shape, size_t element, const void *src, int src_layout,
                    void *dst, int dst_layout);
/* Data of `t` in `layout`: its own memory, or a copy in the scratch slot. The second is for float tensors. */
sw_status sw_cpu_view_any(sw_cpu *cpu, const sw_tensor *t, int layout, sw_cpu_slot slot, const void **data,
                          sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_view(sw_cpu *cpu, const sw_tensor *t, int layout, sw_cpu_slot slot, const float **data,
                      sw_error *err) SW_MUST_CHECK;
/* Changes the layout of what `t` holds, in place. */
sw_status sw_cpu_relayout(sw_cpu *cpu, sw_tensor *t, int layout, sw_error *err) SW_MUST_CHECK;
/* Prepares a gradient that will be written or, if `add`, added to, in `layout`. The second is for float tensors. */
sw_status sw_cpu_gradient_any(sw_cpu *cpu, sw_tensor *t, bool add, int layout, void **data, sw_error *err)
    SW_MUST_CHECK;
sw_status sw_cpu_gradient(sw_cpu *cpu, sw_tensor *t, bool add, int layout, float **data, sw_error *err)
    SW_MUST_CHECK;

/* --- conv.c: shape and layouts of a convolution */
sw_dnn_conv sw_cpu_conv_shape(const sw_cpu *cpu, const sw_conv2d_attr *attr, const sw_tensor *x,
                              const sw_shape *w, const sw_shape *y);
static inline int sw_cpu_layout_of(int64_t block)
{
    return block > 1 ? SW_CPU_BLOCKED : SW_CPU_PLAIN;
}

/* --- conv_run.c: one convolution by the fastest implementation that takes its shape; results are overwritten, but
 * for shape->sum and `add`; `bias` [o] is read only where shape->bias says so */
sw_status sw_cpu_conv_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                              const float *bias, void *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_conv_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                    bool add, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_conv_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                       float *dw, sw_error *err) SW_MUST_CHECK;

/* --- lanes.c: for results that do not depend on the number of threads */
int sw_cpu_thread(void); /* index of the calling thread in its parallel region, 0 outside of one */
sw_status sw_cpu_lanes_new(sw_cpu *cpu, sw_error *err) SW_MUST_CHECK; /* sw_cpu_lanes_free also after a failure */
void sw_cpu_lanes_trim(sw_cpu *cpu);
void sw_cpu_lanes_free(sw_cpu *cpu);
/* Runs `run` for each piece from 0 to count, each on one thread with that thread's lane. */
typedef sw_status (*sw_cpu_piece_fn)(sw_dnn *lane, void *ctx, int64_t piece, sw_error *err);
sw_status sw_cpu_pieces(sw_cpu *cpu, int64_t count, sw_cpu_piece_fn run, void *ctx, sw_error *err) SW_MUST_CHECK;

/* --- conv_split.c: oneDNN's convolutions on the lanes */
sw_status sw_cpu_split_forward(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const float *w,
                               const float *bias, void *y, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_split_backward_data(sw_cpu *cpu, const sw_dnn_conv *shape, const void *dy, const float *w, void *dx,
                                     sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_split_backward_weights(sw_cpu *cpu, const sw_dnn_conv *shape, const void *x, const void *dy,
                                        float *dw, sw_error *err) SW_MUST_CHECK;

/* --- gemm.c: `count` products C (+)= op(A) op(B); the steps lead from one matrix to the next, in floats */
typedef struct sw_cpu_gemms {
    sw_dnn_gemm gemm;
    int64_t count, a_step, b_step, c_step;
    const float *a, *b;
    float *c;
} sw_cpu_gemms;
sw_status sw_cpu_gemms_run(sw_cpu *cpu, const sw_cpu_gemms *gemms, sw_error *err) SW_MUST_CHECK;

/* --- pool.c: x [n, c, h, w] -> y under `attr` as the leaf kernels want it */
void sw_cpu_pool_sizes(const sw_pool_attr *attr, const sw_shape *x, const sw_shape *y, int size[SW_POOL_SIZES]);

/* --- flat loops, in elementwise.c */
void sw_cpu_add_to(const sw_cpu *cpu, float *dst, const float *src, int64_t count); /* dst += src */
/* `count` elements between float and bfloat16, or of one type. */
void sw_cpu_convert(const sw_cpu *cpu, const void *x, sw_dtype from, void *y, sw_dtype to, int64_t count);
void sw_cpu_add_to_any(const sw_cpu *cpu, sw_dtype dtype, void *dst, const void *src, int64_t count); /* f32, bf16 */

/* --- kernels: every tensor is float32 here, except labels, winner indices, and images (which cpu.c lets those of
 * convolution, batch norm, pools, ReLU, add and cast take) in bfloat16 */
#define SW_CPU_KERNEL(name)                                                                     \
    sw_status sw_cpu_##name##_forward(sw_backend *be, sw_forward_args *args, sw_error *err);     \
    sw_status sw_cpu_##name##_backward(sw_backend *be, sw_backward_args *args, sw_error *err)
SW_CPU_KERNEL(conv2d);
SW_CPU_KERNEL(batch_norm);
SW_CPU_KERNEL(max_pool2d);
SW_CPU_KERNEL(norm_pool);
SW_CPU_KERNEL(global_avg_pool);
SW_CPU_KERNEL(linear);
SW_CPU_KERNEL(matmul);
SW_CPU_KERNEL(layer_norm);
SW_CPU_KERNEL(softmax);
SW_CPU_KERNEL(relu);
SW_CPU_KERNEL(cast);
SW_CPU_KERNEL(gelu);
SW_CPU_KERNEL(silu);
SW_CPU_KERNEL(dropout);
SW_CPU_KERNEL(permute);
SW_CPU_KERNEL(add);
SW_CPU_KERNEL(mul);
SW_CPU_KERNEL(attend_one);
SW_CPU_KERNEL(attend);
SW_CPU_KERNEL(max_last);
SW_CPU_KERNEL(gather);
SW_CPU_KERNEL(min_max);
SW_CPU_KERNEL(mean_rows);
SW_CPU_KERNEL(scale);
SW_CPU_KERNEL(depthwise);
SW_CPU_KERNEL(scan2d);
#undef SW_CPU_KERNEL
sw_status sw_cpu_conv_norm_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_tanh_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_sigmoid_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_fill_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_copy_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_axpy_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_lerp_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_adam_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_sgd_forward(sw_backend *be, sw_forward_args *args, sw_error *err);
sw_status sw_cpu_sum_squares_forward(sw_backend *be, sw_forward_args *args, sw_error *err);

/* Runs ref's kernel on plain copies of what is blocked. For shapes and types that ours do not take. */
sw_status sw_cpu_ref_forward(sw_cpu *cpu, sw_op_id op, sw_forward_args *args, sw_error *err) SW_MUST_CHECK;
sw_status sw_cpu_ref_backward(sw_cpu *cpu, sw_op_id op, sw_backward_args *args, sw_error *err) SW_MUST_CHECK;

#endif
