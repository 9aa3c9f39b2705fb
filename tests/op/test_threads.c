/* SPDX-License-Identifier: Apache-2.0 */
/* What the number of threads does to the results of the cpu backend: with `deterministic` nothing, otherwise rounding. */
#include "cpu_harness.h"

static void check_threads(const problem *p)
{
    sw_error err;
    answer a[3] = {{.out = {NULL}}};
    for (int i = 0; i < 3; i++) { /* one thread, two, and two again */
        SW_CLEANUP(backend_free) sw_backend *be = NULL;
        CHECK_OK(new_cpu(i ? 2 : 1, &be, &err));
        CHECK_OK(solve(be, p, &a[i], &err));
    }
    compare(p, &a[0], &a[1], 1e-5);
    compare(p, &a[1], &a[2], 0);
    for (int i = 0; i < 3; i++) answer_free(&a[i]);
}

TEST(threads_agree_and_repeat_bit_for_bit)
{
    sw_conv2d_attr conv = {.stride = 1, .pad = 1};
    problem c = {.op = SW_OP_CONV2D, .attr = &conv, .inputs = 2, .outputs = 1,
                 .in = {SW_SHAPE(5, 64, 28, 28), SW_SHAPE(64, 64, 3, 3)}, .out = {SW_SHAPE(5, 64, 28, 28)}, .grads = 3};
    check_threads(&c);
    sw_batch_norm_attr norm = {.training = true, .update_running = true, .relu = true, .eps = 1e-5, .momentum = 0.1};
    sw_shape shape = SW_SHAPE(5, 32, 28, 28), channels = SW_SHAPE(32);
    problem n = {.op = SW_OP_BATCH_NORM, .attr = &norm, .inputs = 6, .outputs = 3,
                 .in = {shape, channels, channels, channels, channels, shape}, .out = {shape, channels, channels},
                 .blocked = 0xa1, .grads = 0x27};
    check_threads(&n);
    sw_attend_one_attr attend = {.scale = 0.7};
    problem one = attention(1, 300, 32, &attend), several = attention(3, 300, 32, &attend);
    check_threads(&one);
    check_threads(&several);
    sw_attend_one_attr reduced = {.scale = 0.7, .reduced = true};
    one.attr = several.attr = &reduced;
    check_threads(&one);
    check_threads(&several);
    problem depth = {.op = SW_OP_DEPTHWISE, .inputs = 3, .outputs = 1, .in = {SW_SHAPE(3, 5, 90, 31), SW_SHAPE(5, 1, 7, 5), SW_SHAPE(5)},
                     .out = {SW_SHAPE(3, 5, 90, 31)}, .grads = 7};
    check_threads(&depth);
    sw_attend_attr wide = {.scale = 0.7};
    problem w = wide_attention(3, 300, 200, 32, 48, &wide);
    check_threads(&w);
    problem l = {.op = SW_OP_LINEAR, .inputs = 3, .outputs = 1,
                 .in = {SW_SHAPE(777, 256), SW_SHAPE(64, 256), SW_SHAPE(64)}, .out = {SW_SHAPE(777, 64)}, .grads = 7};
    check_threads(&l);
}

/* Deterministic: one, two, three and four threads give the same bits, which are right. */
static void check_once(const problem *p, double bound)
{
    sw_error err;
    answer a[4] = {{.out = {NULL}}}, ref_answer = {.out = {NULL}};
    SW_CLEANUP(backend_free) sw_backend *ref = NULL;
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(solve(ref, p, &ref_answer, &err));
    for (int i = 0; i < 4; i++) {
        SW_CLEANUP(backend_free) sw_backend *be = NULL;
        sw_backend_options options = {.threads = i + 1, .deterministic = true};
        CHECK_OK(sw_cpu_backend_new(&options, &be, &err));
        CHECK_OK(solve(be, p, &a[i], &err));
        compare(p, &a[i], &a[0], 0);
    }
    compare(p, &a[0], &ref_answer, bound);
    for (int i = 0; i < 4; i++) answer_free(&a[i]);
    answer_free(&ref_answer);
}

/* In float and, where the op takes it, with images in bfloat16. */
static void check_any_threads(const problem *p)
{
    check_once(p, 2e-5);
    problem q = *p;
    q.rounded = true;
    if (p->op == SW_OP_CONV2D || p->op == SW_OP_CONV_NORM || p->op == SW_OP_BATCH_NORM) check_once(&q, 1e-2);
}

TEST(deterministic_convolutions_and_norms_give_the_same_bits_with_any_threads)
{
    /* The stem, odd channels, 3x3 of stride 1 and 2, 1x1; batches that the parts do not divide. */
    static const struct {
        int n, c, size, o, k, stride;
        unsigned blocked;
    } cases[] = {{11, 3, 21, 32, 7, 2, 0x80}, {5, 5, 9, 7, 3, 1, 0}, {13, 32, 10, 32, 3, 1, 0x81}, {7, 32, 11, 64, 3, 2, 0x81},
                 {9, 32, 8, 64, 1, 2, 0x81}, {1, 32, 12, 32, 3, 1, 0x81}, {70, 16, 4, 16, 3, 1, 0x81},
                 /* fewer partial gradients of the weights than threads: cut by output channels */
                 {2, 64, 4, 256, 3, 1, 0x81}, {1, 64, 4, 192, 3, 1, 0x81}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int pad = cases[i].k / 2, out = (cases[i].size + 2 * pad - cases[i].k) / cases[i].stride + 1;
        int64_t n = cases[i].n, c = cases[i].c, o = cases[i].o, size = cases[i].size, k = cases[i].k;
        sw_conv2d_attr attr = {.stride = cases[i].stride, .pad = pad};
        problem p = {.op = SW_OP_CONV2D, .attr = &attr, .inputs = 2, .outputs = 1,
                     .in = {SW_SHAPE(n, c, size, size), SW_SHAPE(o, c, k, k)}, .out = {SW_SHAPE(n, o, out, out)},
                     .blocked = cases[i].blocked, .grads = 3, .add = i % 2};
        check_any_threads(&p);
        sw_conv_norm_attr norm = {.conv = attr, .eps = 1e-5, .relu = i % 2};
        sw_shape each = SW_SHAPE(o);
        problem folded = {.op = SW_OP_CONV_NORM, .attr = &norm, .inputs = 7, .outputs = 1,
                          .in = {p.in[0], p.in[1], each, each, each, each, p.out[0]}, .out = {p.out[0]},
                          .absent = i % 3 ? 0 : 1u << 6, .blocked = cases[i].blocked & 1 ? 0x41 : 0};
        check_any_threads(&folded);
    }
    sw_batch_norm_attr norm = {.training = true, .update_running = true, .relu = true, .eps = 1e-5, .momentum = 0.1};
    sw_shape shape = SW_SHAPE(7, 32, 9, 9), channels = SW_SHAPE(32);
    problem n = {.op = SW_OP_BATCH_NORM, .attr = &norm, .inputs = 6, .outputs = 3,
                 .in = {shape, channels, channels, channels, channels, shape}, .out = {shape, channels, channels},
                 .blocked = 0xa1, .grads = 0x27};
    check_any_threads(&n);
    problem depth = {.op = SW_OP_DEPTHWISE, .inputs = 3, .outputs = 1, .in = {SW_SHAPE(3, 5, 90, 31), SW_SHAPE(5, 1, 7, 5), SW_SHAPE(5)},
                     .out = {SW_SHAPE(3, 5, 90, 31)}, .grads = 7};
    check_any_threads(&depth);
    sw_scale_attr unused = {.factor = 1};
    problem scale = {.op = SW_OP_SCALE, .attr = &unused, .inputs = 2, .outputs = 1, .in = {SW_SHAPE(777, 130), SW_SHAPE(1)},
                     .out = {SW_SHAPE(777, 130)}, .grads = 3};
    check_any_threads(&scale);
    problem mean = {.op = SW_OP_MEAN_ROWS, .inputs = 1, .outputs = 1, .in = {SW_SHAPE(3, 777, 130)}, .out = {SW_SHAPE(3, 130)},
                    .grads = 1};
    check_any_threads(&mean);
}

TEST(deterministic_products_and_attention_give_the_same_bits_with_any_threads)
{
    for (int64_t k = 1; k < 400; k += 133) { /* rows beyond one block, columns beyond one block, nearly none */
        problem l = {.op = SW_OP_LINEAR, .inputs = 3, .outputs = 1, .add = k == 134,
                     .in = {SW_SHAPE(150, k), SW_SHAPE(300, k), SW_SHAPE(300)}, .out = {SW_SHAPE(150, 300)}, .grads = 7};
        check_any_threads(&l);
    }
    for (int bits = 0; bits < 8; bits++) {
        sw_matmul_attr attr = {.transpose_a = bits & 1, .transpose_b = bits >> 1 & 1};
        int64_t batch = bits >> 2 ? 3 : 1;
        problem m = {.op = SW_OP_MATMUL, .attr = &attr, .inputs = 2, .outputs = 1,
                     .in = {attr.transpose_a ? SW_SHAPE(batch, 19, 70) : SW_SHAPE(batch, 70, 19),
                            attr.transpose_b ? SW_SHAPE(batch, 600, 19) : SW_SHAPE(batch, 19, 600)},
                     .out = {SW_SHAPE(batch, 70, 600)}, .grads = 3};
        check_any_threads(&m);
    }
    sw_attend_one_attr attend = {.scale = 0.7};
    problem one = attention(1, 1500, 32, &attend), several = attention(3, 700, 16, &attend);
    check_any_threads(&one);
    check_any_threads(&several);
    /* several queries' blocks; parts of the keys, for some tiles of queries, for one query; groups alone */
    sw_attend_attr wide = {.scale = 0.3};
    problem w[] = {wide_attention(1, 1500, 700, 32, 16, &wide), wide_attention(2, 130, 1900, 32, 32, &wide),
                   wide_attention(1, 1, 5000, 64, 64, &wide), wide_attention(17, 70, 60, 8, 24, &wide)};
    for (size_t i = 0; i < sizeof(w) / sizeof(w[0]); i++) check_any_threads(&w[i]);
}

/* Each allocation in turn fails: the error says so, and nothing stays behind. */
TEST(memory_that_runs_out_on_several_threads_is_an_error)
{
    sw_conv2d_attr attr = {.stride = 2, .pad = 1};
    problem p = {.op = SW_OP_CONV2D, .attr = &attr, .inputs = 2, .outputs = 1,
                 .in = {SW_SHAPE(9, 16, 6, 6), SW_SHAPE(16, 16, 3, 3)}, .out = {SW_SHAPE(9, 16, 3, 3)}, .grads = 3};
    int64_t live = sw_mem_live(), failures = 0;
    sw_status status = SW_E_NOMEM;
    for (int64_t countdown = 1; status != SW_OK && countdown < 500; countdown++) {
        sw_error err = {0};
        sw_backend *be = NULL;
        sw_backend_options options = {.threads = 3, .deterministic = true};
        answer a = {.out = {NULL}};
        sw_mem_fail_after(countdown);
        status = sw_cpu_backend_new(&options, &be, &err);
        if (status == SW_OK) status = solve(be, &p, &a, &err);
        sw_mem_fail_after(0);
        answer_free(&a);
        sw_backend_free(be);
        if (status != SW_OK) {
            CHECK_INT(status, SW_E_NOMEM);
            CHECK_STR(err.message, "out of memory");
            failures++;
        }
        CHECK_INT(sw_mem_live(), live);
    }
    CHECK_INT(status, SW_OK);
    CHECK(failures > 20);
}
