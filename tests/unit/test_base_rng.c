/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"
#include "test.h"

/* The known answers that the authors of Philox publish with their Random123 library (philox4x32, 10 rounds). */
TEST(philox_known_answers)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        sw_philox(known[i].counter, known[i].key, out);
        for (int w = 0; w < 4; w++) CHECK_INT(out[w], known[i].out[w]);
    }
}

TEST(streams_are_repeatable_and_differ)
{
    sw_rng a = sw_rng_stream(7, SW_RNG_SAMPLE, 1, 2, 3), b = sw_rng_stream(7, SW_RNG_SAMPLE, 1, 2, 3);
    for (int i = 0; i < 100; i++) CHECK(sw_rng_u64(&a) == sw_rng_u64(&b));
    uint64_t first = (b = sw_rng_stream(7, SW_RNG_SAMPLE, 1, 2, 3), sw_rng_u64(&b));
    sw_rng others[] = {
        sw_rng_stream(8, SW_RNG_SAMPLE, 1, 2, 3), sw_rng_stream(7, SW_RNG_CROP, 1, 2, 3),
        sw_rng_stream(7, SW_RNG_SAMPLE, 2, 2, 3), sw_rng_stream(7, SW_RNG_SAMPLE, 1, 3, 3),
        sw_rng_stream(7, SW_RNG_SAMPLE, 1, 2, 4), sw_rng_stream(7 + (1ULL << 32), SW_RNG_SAMPLE, 1, 2, 3),
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) CHECK(sw_rng_u64(&others[i]) != first);
}

TEST(uniform_and_normal_moments)
{
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, 0, 0);
    enum { N = 200000 };
    double sum = 0, squares = 0, normal_sum = 0, normal_squares = 0, fourth = 0;
    for (int i = 0; i < N; i++) {
        double u = sw_rng_uniform(&rng), z = sw_rng_normal(&rng);
        CHECK(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        normal_sum += z;
        normal_squares += z * z;
        fourth += z * z * z * z;
    }
    CHECK_NEAR(sum / N, 0.5, 0, 0.003);
    CHECK_NEAR(squares / N, 1.0 / 3, 0, 0.003);
    CHECK_NEAR(normal_sum / N, 0, 0, 0.01);
    CHECK_NEAR(normal_squares / N, 1, 0, 0.02);
    CHECK_NEAR(fourth / N, 3, 0, 0.15);
}

TEST(below_is_unbiased_and_in_range)
{
    sw_rng rng = sw_rng_stream(2, SW_RNG_TEST, 0, 0, 0);
    int64_t seen[7] = {0};
    for (int i = 0; i < 70000; i++) seen[sw_rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++) CHECK_NEAR((double)seen[i], 10000, 0.04, 0);
    for (int i = 0; i < 100; i++) CHECK(sw_rng_below(&rng, 1) == 0);
    /* A bound of 3/4 of the range: without the second draw, the lowest third would come twice as often. */
    int64_t low = 0;
    const uint64_t bound = 3ULL << 62;
    for (int i = 0; i < 30000; i++) low += sw_rng_below(&rng, bound) < bound / 3;
    CHECK_NEAR((double)low, 10000, 0.05, 0);
}

TEST(shuffle_permutes)
{
    sw_rng rng = sw_rng_stream(3, SW_RNG_SHUFFLE, 0, 0, 0);
    int64_t first_place[4] = {0};
    for (int round = 0; round < 8000; round++) {
        int64_t items[4] = {0, 1, 2, 3};
        sw_rng_shuffle(&rng, items, 4);
        int mask = 0;
        for (int i = 0; i < 4; i++) mask |= 1 << items[i];
        CHECK_INT(mask, 15);
        first_place[items[0]]++;
    }
    for (int i = 0; i < 4; i++) CHECK_NEAR((double)first_place[i], 2000, 0.1, 0);
}
