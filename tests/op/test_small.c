/* SPDX-License-Identifier: Apache-2.0 */
/* The leaf kernels of small ops on every instruction set that this machine has, at all lengths and at special numbers. */
#include "backend/dropout.h"
#include "cpu_harness.h"

enum { MOST = 300 };

static const sw_simd *set_of(int s)
{
    return s == 0 ? sw_simd_base() : s == 1 ? sw_simd_avx2() : sw_simd_avx512();
}

static int64_t extreme_of(const float *x, int64_t count, bool most)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (most ? x[i] > x[best] : x[i] < x[best]) best = i;
    return best;
}

/* Numbers of few kinds, so that they tie; some that are none, some without end. */
TEST(ends_of_rows_are_where_the_plain_loop_finds_them)
{
    float x[MOST];
    sw_rng rng = sw_rng_stream(3, SW_RNG_TEST, 0, 0, 0);
    for (int s = 0; s < SETS; s++) {
        if (!set_of(s)) continue;
        for (int kinds = 2; kinds < 200; kinds *= 4)
            for (int64_t count = 1; count < MOST; count += 1 + count / 20)
                for (int special = 0; special < 4; special++) {
                    for (int64_t i = 0; i < count; i++) x[i] = (float)sw_rng_below(&rng, (uint64_t)kinds) - (float)kinds / 2;
                    if (special == 1) x[sw_rng_below(&rng, (uint64_t)count)] = NAN;
                    if (special == 2) x[0] = NAN;
                    if (special == 3) for (int64_t i = 0; i < count; i++) x[i] = i % 3 ? -INFINITY : INFINITY;
                    CHECK_INT(set_of(s)->largest(x, count), extreme_of(x, count, true));
                    CHECK_INT(set_of(s)->smallest(x, count), extreme_of(x, count, false));
                }
    }
}

static void check_curve(void (*kernel)(const float *, float *, int64_t), double (*exact)(double), double bound)
{
    float x[MOST], y[MOST];
    for (int64_t block = 0; block < 400; block++) {
        for (int i = 0; i < MOST; i++) {
            double at = ((double)(block * MOST + i) / (400.0 * MOST) - 0.5) * 2;
            x[i] = (float)(block % 2 ? at * 25 : at * at * at * 80);
        }
        kernel(x, y, MOST - block % 17);
        for (int i = 0; i < MOST - block % 17; i++) {
            double right = exact((double)x[i]);
            CHECK_NEAR(y[i], right, 0, bound * fabs(right) + 1e-38);
        }
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

TEST(tanh_and_sigmoid_to_some_units_in_the_last_place)
{
    const float special[5] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN};
    float y[5];
    for (int s = 0; s < SETS; s++) {
        if (!set_of(s)) continue;
        check_curve(set_of(s)->tanh, tanh, 3e-7);
        check_curve(set_of(s)->sigmoid, sigmoid, 4e-7);
        set_of(s)->tanh(special, y, 5);
        CHECK(y[0] == 0 && !signbit(y[0]) && y[1] == 0 && signbit(y[1]) && y[2] == 1 && y[3] == -1 && isnan(y[4]));
        set_of(s)->sigmoid(special, y, 5);
        CHECK(y[0] == 0.5f && y[1] == 0.5f && y[2] == 1 && y[3] == 0 && isnan(y[4]));
    }
}

TEST(dropout_draws_what_its_counters_say_to_the_bit)
{
    static const double rate[] = {0, 1e-9, 0.25, 0.5, 0.999};
    float x[MOST], y[MOST], start[MOST];
    sw_rng rng = sw_rng_stream(3, SW_RNG_TEST, 1, 0, 0);
    for (int i = 0; i < MOST; i++) {
        x[i] = (float)sw_rng_normal(&rng);
        start[i] = (float)sw_rng_normal(&rng);
    }
    x[5] = INFINITY; /* dropped, it is not a number, as the plain kernel has it */
    for (int s = 0; s < SETS; s++)
        for (int r = 0; set_of(s) && r < 5; r++)
            for (int64_t count = 1; count <= MOST; count += 23) {
                sw_dropout_attr attr = {.rate = rate[r], .seed = 0x123456789abcdef0ull, .step = 3, .site = 0xffffffffu};
                sw_simd_dropout d = {.key = {0x9abcdef0u, 0x12345678u}, .step = 3, .site = 0xffffffffu,
                                     .below = (uint64_t)ceil(rate[r] * 4294967296.0), .factor = 1.0 / (1.0 - rate[r])};
                uint32_t group = (uint32_t)(count % 2 ? 0xfffffffau : 77u); /* also where the counter begins anew */
                bool add = count % 3 == 0;
                memcpy(y, start, sizeof y);
                set_of(s)->dropout(&d, group, x, y, add, count);
                for (int64_t i = 0; i < MOST; i++) {
                    double factor[SW_DROPOUT_GROUP];
                    sw_dropout_factors(&attr, (uint64_t)group + (uint64_t)i / SW_DROPOUT_GROUP, factor);
                    double value = (double)x[i] * factor[i % SW_DROPOUT_GROUP];
                    float right = i >= count ? start[i] : (float)(add ? (double)start[i] + value : value);
                    /* a sum may be fused with its product, which can turn the last bit */
                    float off = add && i < count ? 1.2e-7f * fabsf(right) : 0;
                    CHECK(fabsf(y[i] - right) <= off || y[i] == right || (isnan(y[i]) && isnan(right)));
                }
            }
}

TEST(small_ops_of_all_lengths)
{
    for (int64_t d = 1; d < 100; d += 1 + d / 4)
        for (int add = 0; add < 2; add++) {
            sw_scale_attr factor = {.factor = -0.7};
            problem scale = {.op = SW_OP_SCALE, .attr = &factor, .inputs = 2, .outputs = 1, .in = {SW_SHAPE(3, d), SW_SHAPE(1)},
                             .out = {SW_SHAPE(3, d)}, .grads = 3, .add = add, .absent = d % 2 ? 2 : 0};
            check_sets(&scale, 2e-6);
            problem mean = {.op = SW_OP_MEAN_ROWS, .inputs = 1, .outputs = 1, .in = {SW_SHAPE(2, 71, d)}, .out = {SW_SHAPE(2, d)},
                            .grads = 1, .add = add};
            check_sets(&mean, 2e-6);
        }
}
