/* SPDX-License-Identifier: Apache-2.0 */
/* The reference's index generator, against the draws that the specification lists. */
#include "test.h"

#include "eval/eval.h"

static const int32_t DRAWS[3][20] = {
    {7, 3, 0, 9, 7, 8, 9, 4, 5, 7, 9, 6, 9, 9, 8, 8, 9, 9, 0, 2},
    {9, 9, 3, 6, 5, 9, 1, 7, 5, 0, 5, 6, 9, 8, 0, 8, 5, 7, 3, 7},
    {5, 0, 8, 6, 6, 7, 2, 4, 6, 4, 2, 1, 6, 1, 0, 8, 7, 8, 5, 2},
};

TEST(first_draws)
{
    for (int fold = 0; fold < 3; fold++) {
        int32_t out[20];
        sw_error err;
        CHECK_OK(sw_bootstrap_indices(10, fold, 2, out, &err));
        for (int i = 0; i < 20; i++) CHECK_INT(out[i], DRAWS[fold][i]);
    }
}

TEST(weights_count_the_draws)
{
    sw_bootstrap b;
    int32_t weight[10], expected[10] = {0};
    sw_bootstrap_begin(&b, 10, 0);
    sw_bootstrap_weights(&b, weight);
    sw_bootstrap_weights(&b, weight); /* the second resample goes on where the first ended */
    for (int i = 10; i < 20; i++) expected[DRAWS[0][i]]++;
    for (int i = 0; i < 10; i++) CHECK_INT(weight[i], expected[i]);
}

/* Drawing by a guess and steps must equal a search through the whole float32 table. */
TEST(search_equals_the_table)
{
    const int64_t counts[] = {1, 2, 3, 7, 49, 1000, 2040, 65537};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        sw_bootstrap a, raw;
        int64_t n = counts[k];
        sw_bootstrap_begin(&a, n, 0);
        sw_bootstrap_begin(&raw, (int64_t)1 << 24, 0); /* the same numbers, read off a fine table */
        for (int draw = 0; draw < 500; draw++) {
            int64_t got = sw_bootstrap_draw(&a), fine = sw_bootstrap_draw(&raw), low = 0;
            double u_high = (double)(fine + 1) * 0x1p-24, u_low = (double)fine * 0x1p-24; /* u in (u_low, u_high] */
            CHECK(got >= 0 && got < n);
            CHECK((double)((float)(got + 1) / (float)n) >= u_low);
            low = got;
            CHECK(low == 0 || (double)((float)low / (float)n) < u_high);
        }
    }
}

TEST(limits)
{
    int32_t out[1];
    sw_error err;
    CHECK_INT(sw_bootstrap_indices(0, 0, 1, out, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a bootstrap of 0 slides: between 1 and 16777216 are possible");
    CHECK_INT(sw_bootstrap_indices(16777217, 0, 1, out, &err), SW_E_INVALID);
    CHECK_OK(sw_bootstrap_indices(1, 0, 1, out, &err));
    CHECK_INT(out[0], 0);
}

TEST(percentiles)
{
    const double v[] = {1, 2, 3, 4};
    CHECK_NEAR(sw_percentile(v, 4, 0), 1, 0, 0);
    CHECK_NEAR(sw_percentile(v, 4, 100), 4, 0, 0);
    CHECK_NEAR(sw_percentile(v, 4, 50), 2.5, 1e-15, 0);
    CHECK_NEAR(sw_percentile(v, 4, 2.5), 1.075, 1e-15, 0);
    CHECK_NEAR(sw_percentile(v, 1, 97.5), 1, 0, 0);
    CHECK(isnan(sw_percentile(v, 0, 50)));
}
