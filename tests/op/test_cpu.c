/* SPDX-License-Identifier: Apache-2.0 */
/* The cpu backend against ref: layouts, convolutions of the encoders, batch norm, attention. */
#include "cpu_harness.h"

/* `past`: every blocked result is written past the caches, as those of many megabytes are. */
static void check_once(const problem *p, double bound, bool past)
{
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    SW_CLEANUP(answer_free) answer a = {.out = {NULL}}, b = {.out = {NULL}};
    CHECK_OK(new_cpu(2, &cpu, &err));
    if (past) sw_cpu_of(cpu)->past_cache = 0;
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(solve(cpu, p, &a, &err));
    CHECK_OK(solve(ref, p, &b, &err));
    compare(p, &a, &b, bound);
}

/* In float; those that take images in bfloat16 also so, where one rounding at the end is 2^-8 and sums of what was
 * rounded are a little more. */
static void check_against_ref(const problem *p, double bound)
{
    bool large = p->op == SW_OP_CONV2D || p->op == SW_OP_CONV_NORM || p->op == SW_OP_BATCH_NORM;
    check_once(p, bound, false);
    if (large) check_once(p, bound, true);
    problem q = *p;
    q.rounded = true;
    /* Nobody asks for the gradient of large images of three channels, and oneDNN has only its plain loop for it. */
    if (p->op == SW_OP_CONV2D && p->in[0].dim[1] == 3 && p->in[0].dim[2] > 100) q.grads = 2;
    if (large || p->op == SW_OP_NORM_POOL || p->op == SW_OP_MAX_POOL2D || p->op == SW_OP_GLOBAL_AVG_POOL ||
        p->op == SW_OP_RELU || p->op == SW_OP_ADD)
        check_once(&q, 1e-2, large);
}

TEST(layouts_round_trip)
{
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *be = NULL;
    CHECK_OK(new_cpu(2, &be, &err));
    sw_cpu *cpu = sw_cpu_of(be);
    sw_shape shape = SW_SHAPE(3, 2 * cpu->block, 5, 7);
    int64_t count = sw_shape_count(&shape);
    sw_tensor t = {0};
    CHECK_OK(random_tensor(be, SW_F32, false, shape, 1, 0, false, &t, &err));
    SW_AUTOFREE float *before = NULL;
    SW_AUTOFREE float *after = NULL;
    CHECK_OK(to_host(&t, &before, &err));
    CHECK_OK(sw_cpu_relayout(cpu, &t, SW_CPU_BLOCKED, &err));
    CHECK_INT(t.layout, SW_CPU_BLOCKED);
    /* Image 2, channel block 1, row 3, column 4, channel 5 of the block. */
    int64_t b = cpu->block, at = (((2 * 2 + 1) * 5 + 3) * 7 + 4) * b + 5;
    CHECK(sw_cpu_f32(&t)[at] == before[((2 * 2 * b + b + 5) * 5 + 3) * 7 + 4]);
    CHECK_OK(to_host(&t, &after, &err)); /* download puts it back */
    CHECK(memcmp(before, after, (size_t)count * sizeof(float)) == 0);
    CHECK_OK(sw_cpu_relayout(cpu, &t, SW_CPU_PLAIN, &err));
    CHECK(memcmp(before, sw_cpu_f32(&t), (size_t)count * sizeof(float)) == 0);
    sw_tensor_release(&t);
}

static void check_conv(int64_t n, int64_t c, int64_t size, int64_t o, int64_t k, int stride, unsigned blocked, bool add)
{
    int pad = (int)k / 2;
    sw_conv2d_attr attr = {.stride = stride, .pad = pad};
    int64_t out = (size + 2 * pad - k) / stride + 1;
    problem p = {.op = SW_OP_CONV2D, .attr = &attr, .inputs = 2, .outputs = 1,
                 .in = {SW_SHAPE(n, c, size, size), SW_SHAPE(o, c, k, k)}, .out = {SW_SHAPE(n, o, out, out)},
                 .blocked = blocked, .grads = 3, .add = add};
    check_against_ref(&p, 2e-5);
}

TEST(convolutions_of_the_encoders)
{
    static const struct {
        int c, size, o, k, stride;
    } shape[] = {
        /* the stem; ResNet-18 */
        {3, 224, 64, 7, 2}, {64, 56, 64, 3, 1}, {64, 56, 128, 3, 2}, {64, 56, 128, 1, 2}, {128, 28, 128, 3, 1},
        {128, 28, 256, 3, 2}, {128, 28, 256, 1, 2}, {256, 14, 256, 3, 1},
        /* ResNet-50 */
        {64, 56, 64, 1, 1}, {64, 56, 256, 1, 1}, {256, 56, 64, 1, 1}, {256, 56, 128, 1, 1}, {128, 56, 128, 3, 2},
        {128, 28, 512, 1, 1}, {256, 56, 512, 1, 2}, {512, 28, 128, 1, 1}, {512, 28, 256, 1, 1}, {256, 28, 256, 3, 2},
        {256, 14, 1024, 1, 1}, {512, 28, 1024, 1, 2}, {1024, 14, 256, 1, 1},
    };
    for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
        check_conv(1, shape[i].c, shape[i].size, shape[i].o, shape[i].k, shape[i].stride, i % 2 ? 0x81 : 0, false);
}

TEST(convolutions_of_odd_shapes)
{
    check_conv(3, 64, 14, 64, 3, 1, 0x81, true); /* added to what is there */
    check_conv(5, 3, 33, 16, 7, 2, 0, true);
    check_conv(2, 5, 9, 7, 3, 1, 0, true); /* channels that do not block */
    check_conv(2, 16, 9, 10, 3, 2, 0x81, false);
    check_conv(2, 6, 9, 32, 1, 1, 0x81, true);
    check_conv(1, 4, 8, 16, 3, 1, 0, false);
    check_conv(7, 32, 6, 48, 3, 1, 1, true);
}

static void check_conv_norm(int64_t n, int64_t c, int64_t h, int64_t w, int64_t o, int64_t k, int stride, bool residual,
                            bool relu, unsigned blocked)
{
    int pad = (int)k / 2;
    sw_conv_norm_attr attr = {.conv = {.stride = stride, .pad = pad}, .eps = 1e-5, .relu = relu};
    sw_shape y = SW_SHAPE(n, o, (h + 2 * pad - k) / stride + 1, (w + 2 * pad - k) / stride + 1), each = SW_SHAPE(o);
    problem p = {.op = SW_OP_CONV_NORM, .attr = &attr, .inputs = 7, .outputs = 1,
                 .in = {SW_SHAPE(n, c, h, w), SW_SHAPE(o, c, k, k), each, each, each, each, y}, .out = {y},
                 .absent = residual ? 0 : 1u << 6, .blocked = blocked};
    check_against_ref(&p, 2e-5);
}

TEST(convolutions_with_folded_batch_norm)
{
    static const struct {
        int c, size, o, k, stride;
    } shape[] = {
        {3, 65, 64, 7, 2}, {64, 56, 64, 3, 1}, {64, 29, 128, 3, 2}, {64, 28, 128, 1, 2}, {128, 13, 128, 3, 1},
        {256, 14, 256, 3, 1}, {64, 15, 256, 1, 1}, {1024, 7, 256, 1, 1}, {48, 9, 20, 3, 1}, {6, 10, 32, 3, 1},
    };
    for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++)
        for (unsigned bits = 0; bits < 4; bits++)
            check_conv_norm(2, shape[i].c, shape[i].size, shape[i].size - 1, shape[i].o, shape[i].k, shape[i].stride,
                            bits & 1, bits & 2, bits ? 0x41 : 0);
    check_conv_norm(3, 32, 9, 8, 16, 3, 1, true, true, 0x01); /* a plain residual, a blocked image */
    check_conv_norm(3, 32, 9, 8, 10, 3, 1, true, true, 0x01);
    check_conv_norm(3, 10, 9, 8, 16, 3, 1, true, true, 0x40); /* and the other way about */
}

/* Whole and cut tiles of 4x4, one image and several, odd numbers of tiles, both directions of channels. */
TEST(convolutions_by_minimal_filtering)
{
    for (int64_t size = 1; size <= 9; size++) check_conv(1 + size % 3, 64, size, 128, 3, 1, 0x81, size % 2);
    check_conv(11, 128, 13, 64, 3, 1, 0x81, false);
    check_conv(4, 192, 10, 64, 3, 1, 0, true);
    for (int64_t size = 1; size <= 9; size++) check_conv(1 + size % 3, 64, size, 128, 3, 2, 0x81, size % 2);
    for (int64_t size = 2; size <= 19; size++) check_conv(1 + size % 2, 3, size, size % 3 ? 64 : 128, 7, 2, 0x80, false);
}

static void check_batch_norm(sw_shape shape, bool training, bool relu, bool residual, unsigned blocked, bool add)
{
    sw_batch_norm_attr attr = {.training = training, .update_running = training, .relu = relu, .eps = 1e-5,
                               .momentum = 0.1};
    sw_shape channels = SW_SHAPE(shape.dim[1]);
    problem p = {.op = SW_OP_BATCH_NORM, .attr = &attr, .inputs = 6, .outputs = 3,
                 .in = {shape, channels, channels, channels, channels, shape}, .out = {shape, channels, channels},
                 .blocked = blocked, .absent = residual ? 0 : 1u << 5, .grads = 0x27, .add = add, .offset = 3};
    check_against_ref(&p, 1e-5);
}

TEST(batch_norm_in_both_layouts)
{
    for (int bits = 0; bits < 64; bits++) {
        unsigned blocked = bits & 1 ? 0xa1 : bits & 2 ? 0x80 : 0; /* all, only the gradient, none */
        bool training = bits >> 2 & 1, relu = bits >> 3 & 1, residual = bits >> 4 & 1, add = bits >> 5 & 1;
        check_batch_norm(SW_SHAPE(3, 32, 7, 9), training, relu, residual, blocked, add);
    }
    check_batch_norm(SW_SHAPE(5, 6, 3, 3), true, true, true, 0, false);
    check_batch_norm(SW_SHAPE(2, 16, 56, 56), true, true, false, 0xa1, false);
    check_batch_norm(SW_SHAPE(1, 16, 1, 2), true, false, false, 0xa1, false);
}

static void check_norm_pool(sw_shape shape, sw_pool_attr pool, bool training, unsigned blocked, bool add)
{
    sw_norm_pool_attr attr = {.norm = {.training = training, .update_running = training, .relu = true, .eps = 1e-5,
                                       .momentum = 0.1}, .pool = pool};
    sw_shape channels = SW_SHAPE(shape.dim[1]);
    sw_shape y = SW_SHAPE(shape.dim[0], shape.dim[1], (shape.dim[2] + 2 * pool.pad - pool.window) / pool.stride + 1,
                          (shape.dim[3] + 2 * pool.pad - pool.window) / pool.stride + 1);
    problem p = {.op = SW_OP_NORM_POOL, .attr = &attr, .inputs = 5, .outputs = 4,
                 .in = {shape, channels, channels, channels, channels}, .out = {y, channels, channels, y},
                 .blocked = blocked, .grads = 7, .add = add};
    check_against_ref(&p, 1e-5);
}

/* Blocked images take our kernels, other layouts ref's: see the bits. */
TEST(norm_with_pool)
{
    sw_pool_attr usual = {.window = 3, .stride = 2, .pad = 1}, tight = {.window = 2, .stride = 2, .pad = 0};
    sw_pool_attr dense = {.window = 3, .stride = 1, .pad = 1};
    for (int bits = 0; bits < 4; bits++) {
        for (int64_t size = 2; size <= 9; size++)
            check_norm_pool(SW_SHAPE(2, 32, size, 11 - size), usual, bits & 1, 0x81, bits & 2);
        check_norm_pool(SW_SHAPE(3, 16, 7, 6), tight, bits & 1, 0x81, bits & 2);
        check_norm_pool(SW_SHAPE(1, 32, 5, 8), dense, bits & 1, 0x01, bits & 2);
    }
}

TEST(pools_in_both_layouts)
{
    sw_pool_attr max = {.window = 3, .stride = 2, .pad = 1}, tight = {.window = 2, .stride = 2, .pad = 0};
    for (int bits = 0; bits < 8; bits++) {
        unsigned blocked = bits & 1 ? 0x81 : bits & 2 ? 0x80 : 0;
        problem p = {.op = SW_OP_MAX_POOL2D, .attr = &max, .inputs = 1, .outputs = 2, .in = {SW_SHAPE(3, 32, 13, 10)},
                     .out = {SW_SHAPE(3, 32, 7, 5), SW_SHAPE(3, 32, 7, 5)}, .blocked = blocked, .grads = 1,
                     .add = bits >> 2};
        check_against_ref(&p, 1e-6);
        problem q = p;
        q.attr = &tight;
        q.out[0] = q.out[1] = SW_SHAPE(3, 32, 6, 5);
        check_against_ref(&q, 1e-6);
        problem g = {.op = SW_OP_GLOBAL_AVG_POOL, .inputs = 1, .outputs = 1, .in = {SW_SHAPE(3, 32, 7, 5)},
                     .out = {SW_SHAPE(3, 32)}, .blocked = blocked, .grads = 1, .add = bits >> 2};
        check_against_ref(&g, 1e-6);
    }
}

TEST(elementwise_in_both_layouts)
{
    static const struct {
        sw_op_id op;
        int inputs;
    } op[] = {{SW_OP_RELU, 1}, {SW_OP_GELU, 1}, {SW_OP_ADD, 2}, {SW_OP_MUL, 2}, {SW_OP_TANH, 1}, {SW_OP_SIGMOID, 1}};
    for (size_t i = 0; i < sizeof(op) / sizeof(op[0]); i++)
        for (unsigned bits = 0; bits < 16; bits++) {
            sw_shape shape = bits >> 3 ? SW_SHAPE(2, 16, 33, 31) : SW_SHAPE(3, 16, 5, 3);
            problem p = {.op = op[i].op, .inputs = op[i].inputs, .outputs = 1, .in = {shape, shape}, .out = {shape},
                         .blocked = (bits & 1 ? 0x01u : 0) | (bits & 2 ? 0x82u : 0), .grads = op[i].inputs == 2 ? 3 : 1,
                         .add = bits >> 2 & 1};
            check_against_ref(&p, 2e-6);
        }
}

TEST(rows_and_products)
{
    sw_layer_norm_attr ln = {.eps = 1e-5};
    static const int64_t width[] = {1, 7, 32, 100, 1024};
    for (size_t i = 0; i < 5; i++)
        for (int add = 0; add < 2; add++) {
            int64_t k = width[i], rows = 131;
            problem s = {.op = SW_OP_SOFTMAX, .inputs = 1, .outputs = 1, .in = {SW_SHAPE(rows, k)},
                         .out = {SW_SHAPE(rows, k)}, .grads = 1, .add = add};
            check_against_ref(&s, 1e-5);
            problem l = {.op = SW_OP_LINEAR, .inputs = 3, .outputs = 1,
                         .in = {SW_SHAPE(rows, k), SW_SHAPE(9, k), SW_SHAPE(9)}, .out = {SW_SHAPE(rows, 9)},
                         .absent = add ? 4 : 0, .grads = 7, .add = add};
            check_against_ref(&l, 1e-5);
            problem n = {.op = SW_OP_LAYER_NORM, .attr = &ln, .inputs = 3, .outputs = 3,
                         .in = {SW_SHAPE(rows, k), SW_SHAPE(k), SW_SHAPE(k)},
                         .out = {SW_SHAPE(rows, k), SW_SHAPE(rows), SW_SHAPE(rows)}, .absent = add ? 4 : 0, .grads = 7,
                         .add = add};
            if (k > 1) check_against_ref(&n, 1e-5);
        }
    for (int bits = 0; bits < 16; bits++) {
        sw_matmul_attr attr = {.transpose_a = bits & 1, .transpose_b = bits >> 1 & 1};
        int64_t batch = bits >> 3 ? 5 : 1;
        problem p = {.op = SW_OP_MATMUL, .attr = &attr, .inputs = 2, .outputs = 1,
                     .in = {attr.transpose_a ? SW_SHAPE(batch, 19, 13) : SW_SHAPE(batch, 13, 19),
                            attr.transpose_b ? SW_SHAPE(batch, 11, 19) : SW_SHAPE(batch, 19, 11)},
                     .out = {SW_SHAPE(batch, 13, 11)}, .grads = 3, .add = bits >> 2 & 1};
        check_against_ref(&p, 1e-5);
    }
}

TEST(attention_streams_over_tiles)
{
    static const int64_t count[] = {1, 2, 63, 64, 65, 130, 257}, width[] = {1, 5, 16, 32, 64};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 5; j++) {
            sw_attend_one_attr attr = {.scale = 3 / sqrt((double)width[j])};
            problem p = attention(j == 1 ? 1 : 3, count[i], width[j], &attr);
            p.add = (i + j) % 2;
            check_against_ref(&p, 2e-5);
        }
}

TEST(attention_over_3000_instances)
{
    sw_attend_one_attr attr = {.scale = 4 / sqrt(32.0)};
    problem p = attention(1, 3000, 32, &attr);
    check_against_ref(&p, 2e-5);
}

TEST(attention_with_several_columns)
{
    static const int64_t many[] = {1, 3, 17, 63, 64, 65, 130, 400}, width[] = {1, 5, 16, 32, 64};
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 5; j++) {
            sw_attend_attr attr = {.scale = 3 / sqrt((double)width[j])};
            problem p = wide_attention(j == 1 ? 1 : 3, many[i], many[(i * 5 + j) % 8], width[j], width[(i + j) % 5], &attr);
            p.add = (i + j) % 2;
            check_against_ref(&p, 2e-5);
        }
    sw_attend_attr attr = {.scale = 4 / sqrt(32.0)};
    problem p = wide_attention(1, 300, 3000, 32, 64, &attr);
    check_against_ref(&p, 2e-5);
}

/* Every instruction set that this machine has, against the plainest. */
TEST(instruction_sets_agree)
{
    const sw_simd *set[] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    sw_attend_one_attr attend = {.scale = 0.9};
    sw_batch_norm_attr norm = {.training = true, .relu = true, .eps = 1e-5, .momentum = 0.1};
    sw_pool_attr pool = {.window = 3, .stride = 2, .pad = 1};
    sw_shape shape = SW_SHAPE(3, 32, 7, 9), channels = SW_SHAPE(32);
    problem p[] = {attention(2, 150, 32, &attend),
                   {.op = SW_OP_BATCH_NORM, .attr = &norm, .inputs = 6, .outputs = 3,
                    .in = {shape, channels, channels, channels, channels, shape}, .out = {shape, channels, channels},
                    .blocked = 0xa1, .grads = 0x27},
                   {.op = SW_OP_MAX_POOL2D, .attr = &pool, .inputs = 1, .outputs = 2, .in = {SW_SHAPE(3, 32, 13, 10)},
                    .out = {SW_SHAPE(3, 32, 7, 5), SW_SHAPE(3, 32, 7, 5)}, .blocked = 0x81, .grads = 1},
                   {.op = SW_OP_GELU, .inputs = 1, .outputs = 1, .in = {SW_SHAPE(1001)}, .out = {SW_SHAPE(1001)},
                    .grads = 1}};
    for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
        for (int s = 0; s < 3; s++) {
            if (!set[s]) continue;
            sw_error err;
            SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
            SW_CLEANUP(backend_free) sw_backend *ref = NULL;
            SW_CLEANUP(answer_free) answer a = {.out = {NULL}}, b = {.out = {NULL}};
            CHECK_OK(new_cpu(1, &cpu, &err));
            CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
            sw_cpu_of(cpu)->simd = set[s];
            sw_cpu_of(cpu)->block = set[s]->block;
            CHECK_OK(solve(cpu, &p[i], &a, &err));
            CHECK_OK(solve(ref, &p[i], &b, &err));
            compare(&p[i], &a, &b, 1e-5);
        }
}

/* As on a CPU for which oneDNN has no bfloat16: through floats. */
TEST(convolutions_in_bfloat16_without_oneDNN_having_it)
{
    static const struct {
        int c, size, o, k, stride;
    } shape[] = {{32, 9, 48, 3, 2}, {64, 8, 32, 1, 2}, {5, 9, 7, 3, 1}, {3, 20, 16, 7, 2}};
    for (size_t i = 0; i < sizeof shape / sizeof shape[0]; i++)
        for (int add = 0; add < 2; add++) {
            int k = shape[i].k, size = shape[i].size, out = (size + 2 * (k / 2) - k) / shape[i].stride + 1;
            sw_conv2d_attr attr = {.stride = shape[i].stride, .pad = k / 2};
            problem p = {.op = SW_OP_CONV2D, .attr = &attr, .inputs = 2, .outputs = 1, .blocked = 0x81, .grads = 3,
                         .in = {SW_SHAPE(3, shape[i].c, size, size), SW_SHAPE(shape[i].o, shape[i].c, k, k)},
                         .out = {SW_SHAPE(3, shape[i].o, out, out)}, .add = add, .rounded = true};
            sw_error err;
            SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
            SW_CLEANUP(backend_free) sw_backend *ref = NULL;
            SW_CLEANUP(answer_free) answer a = {.out = {NULL}}, b = {.out = {NULL}};
            CHECK_OK(new_cpu(2, &cpu, &err));
            CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
            sw_cpu_of(cpu)->lacks_bf16 = true;
            CHECK_OK(solve(cpu, &p, &a, &err));
            CHECK_OK(solve(ref, &p, &b, &err));
            compare(&p, &a, &b, 1e-2);
        }
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* To the bit on every instruction set: ties, overflow, denormals, infinities, what is no number, and the rest. */
TEST(instruction_sets_round_to_bfloat16_alike)
{
    enum { COUNT = 70001 };
    static const uint32_t special[] = {0x00000000, 0x80000000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff,
                                       0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff, 0x00000001,
                                       0x00008000, 0x00008001, 0x007fffff, 0x80018000};
    static const uint16_t expected[] = {0x0000, 0x8000, 0x3f80, 0x3f82, 0x3f81, 0x3f80, 0x7f80, 0xff80, 0x7f80,
                                        0xff80, 0x7fc0, 0x7fc0, 0xffff, 0x0000, 0x0000, 0x0001, 0x0080, 0x8002};
    const sw_simd *set[] = {sw_simd_base(), sw_simd_avx2(), sw_simd_avx512()};
    SW_AUTOFREE float *x = sw_malloc(COUNT * sizeof *x);
    SW_AUTOFREE float *back = sw_malloc(COUNT * sizeof *back);
    SW_AUTOFREE uint16_t *y = sw_malloc(COUNT * sizeof *y);
    CHECK(x && back && y);
    sw_rng rng = sw_rng_stream(9, SW_RNG_TEST, 0, 0, 0);
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits = (size_t)i < sizeof special / sizeof special[0] ? special[i] : (uint32_t)sw_rng_below(&rng, 1ull << 32);
        memcpy(&x[i], &bits, sizeof bits);
    }
    for (int s = 0; s < 3; s++) {
        if (!set[s]) continue;
        int wrong = 0;
        set[s]->to_bf16(x, y, COUNT);
        set[s]->from_bf16(y, back, COUNT);
        for (int i = 0; i < COUNT; i++)
            wrong += y[i] != sw_bf16_from_f32(x[i]) || bits_of(back[i]) != (uint32_t)y[i] << 16;
        CHECK_INT(wrong, 0);
        for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) CHECK_INT(y[i], expected[i]);
    }
}

TEST(memory_comes_back_from_the_cache)
{
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *be = NULL;
    CHECK_OK(new_cpu(1, &be, &err));
    int64_t live = sw_mem_live();
    sw_tensor t = {0};
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SW_SHAPE(1000, 1000), &t, &err));
    void *first = t.storage->mem;
    CHECK_INT((uintptr_t)first % 64, 0);
    CHECK_INT(sw_backend_memory(be).now, 4000000);
    sw_tensor_release(&t);
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SW_SHAPE(999, 1000), &t, &err));
    CHECK(t.storage->mem == first);
    sw_tensor_release(&t);
    CHECK_INT(sw_backend_memory(be).now, 0);
    CHECK_INT(sw_backend_memory(be).peak, 4000000);
    sw_cpu_backend_trim(be);
    CHECK_INT(sw_mem_live(), live);
}
