/* SPDX-License-Identifier: Apache-2.0 */
/* Convolutions with one filter per channel on the cpu backend: windows wider than the image, strips and vectors cut short,
 * on every instruction set; nothing but what a window reaches takes part. */
#include "cpu_harness.h"

static problem depthwise(int64_t n, int64_t c, int64_t h, int64_t w, int64_t kh, int64_t kw)
{
    return (problem){.op = SW_OP_DEPTHWISE, .inputs = 3, .outputs = 1,
                     .in = {SW_SHAPE(n, c, h, w), SW_SHAPE(c, 1, kh, kw), SW_SHAPE(c)}, .out = {SW_SHAPE(n, c, h, w)}, .grads = 7};
}

TEST(windows_and_images_of_many_sizes)
{
    static const int64_t height[] = {1, 3, 8, 13, 300}, width[] = {1, 9, 16, 33, 70};
    static const int64_t window[][2] = {{1, 1}, {3, 3}, {7, 7}, {33, 1}, {1, 15}, {5, 11}, {9, 3}};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            for (size_t k = 0; k < 7; k++) {
                problem p = depthwise(1 + (int64_t)k % 2, 3, height[i], width[j], window[k][0], window[k][1]);
                p.add = (i + j + k) % 2;
                p.absent = (i + k) % 3 == 0 ? 4 : 0;
                check_sets(&p, height[i] == 300 ? 2e-5 : 3e-6); /* ref itself adds up the filter's gradient in float */
            }
}

TEST(gradients_that_are_not_wanted_are_left_out)
{
    for (unsigned grads = 1; grads < 7; grads++) {
        problem p = depthwise(2, 16, 20, 17, 5, 3);
        p.grads = grads;
        check_sets(&p, 3e-6);
    }
}

TEST(blocked_images_come_plain)
{
    problem p = depthwise(2, 16, 9, 7, 3, 3);
    p.blocked = 0x81;
    check_sets(&p, 3e-6);
}

/* A number that is none spreads as far as the window reaches, to the pixel. */
TEST(infinity_stays_within_reach)
{
    enum { H = 40, W = 40, AT_ROW = 17, AT_COLUMN = 21, KH = 7, KW = 5 };
    static float x[H * W], w[KH * KW], y[H * W];
    sw_error err;
    SW_CLEANUP(backend_free) sw_backend *cpu = NULL;
    SW_CLEANUP(release_tensors) sw_tensor t[SW_OP_MAX_IN * 2 + SW_OP_MAX_OUT + 1] = {{0}};
    CHECK_OK(new_cpu(2, &cpu, &err));
    for (int i = 0; i < H * W; i++) x[i] = i == AT_ROW * W + AT_COLUMN ? INFINITY : 1;
    for (int i = 0; i < KH * KW; i++) w[i] = 1;
    CHECK_OK(sw_tensor_from(&cpu->device, SW_F32, SW_SHAPE(1, 1, H, W), x, &t[0], &err));
    CHECK_OK(sw_tensor_from(&cpu->device, SW_F32, SW_SHAPE(1, 1, KH, KW), w, &t[1], &err));
    CHECK_OK(sw_tensor_new(&cpu->device, SW_F32, SW_SHAPE(1, 1, H, W), &t[2], &err));
    sw_forward_args args = {.in = {&t[0], &t[1]}, .out = {&t[2]}};
    CHECK_OK(sw_backend_run(cpu, SW_OP_DEPTHWISE, &args, &err));
    CHECK_OK(sw_tensor_download_f32(&t[2], y, &err));
    for (int i = 0; i < H * W; i++) {
        bool near = abs(i / W - AT_ROW) <= KH / 2 && abs(i % W - AT_COLUMN) <= KW / 2;
        CHECK(near ? isinf(y[i]) : y[i] <= KH * KW);
    }
}
