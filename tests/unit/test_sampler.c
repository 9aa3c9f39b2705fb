/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "base/thread.h"
#include "sampler/sampler.h"

static sw_error err;

TEST(reference_counts)
{
    static const struct { int64_t patches; double divisor; int64_t low, high; } row[] = {
        {128, 4, 32, 96}, {512, 4, 128, 384}, {768, 10, 76, 692}, {128, 3, 42, 86}, {5, 1, 5, 0}, {3, 4, 0, 3}, {10, 2.5, 4, 6}};
    sw_sample_plan plan;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        CHECK_OK(sw_sample_plan_reference(row[i].patches, row[i].divisor, 2, &plan, &err));
        CHECK_INT(plan.n[0], row[i].low);
        CHECK_INT(plan.n[1], row[i].high);
        CHECK_INT(plan.total, row[i].patches);
    }
    CHECK_OK(sw_sample_plan_reference(128, 4, 1, &plan, &err));
    CHECK_INT(plan.n[0], 128);
    CHECK_INT(sw_sample_plan_reference(128, 4, 3, &plan, &err), SW_E_INVALID);
    CHECK_STR(err.message, "bag.scale_rule 'reference' knows one or two scales, not 3; set it to shares and give each of bag.scales a share");
}

TEST(shares_by_largest_remainder)
{
    sw_sample_plan plan;
    CHECK_OK(sw_sample_plan_shares(10, 3, (double[]){1, 1, 1}, &plan, &err));
    CHECK(plan.n[0] == 4 && plan.n[1] == 3 && plan.n[2] == 3);
    CHECK_OK(sw_sample_plan_shares(10, 2, (double[]){0.25, 0.75}, &plan, &err));
    CHECK(plan.n[0] == 3 && plan.n[1] == 7); /* 2.5 and 7.5: the earlier wins the tie */
    CHECK_OK(sw_sample_plan_shares(100, 4, (double[]){0.1, 0.2, 0.3, 0.4}, &plan, &err));
    CHECK(plan.n[0] == 10 && plan.n[1] == 20 && plan.n[2] == 30 && plan.n[3] == 40);
    CHECK_OK(sw_sample_plan_shares(7, 3, (double[]){5, 1, 3}, &plan, &err)); /* 3.89 0.78 2.33 */
    CHECK(plan.n[0] == 4 && plan.n[1] == 1 && plan.n[2] == 2);
    CHECK_INT(sw_sample_plan_shares(7, 2, (double[]){1, 0}, &plan, &err), SW_E_INVALID);
    CHECK_STR(err.message, "bag.scales: share 0; every share must be above 0");
}

TEST(a_bag_has_each_scale_in_turn_and_no_patch_twice)
{
    sw_sample_plan plan;
    CHECK_OK(sw_sample_plan_reference(128, 4, 2, &plan, &err));
    int64_t count[2] = {50, 1000}, n;
    sw_pick pick[128];
    CHECK_OK(sw_sample_bag(&plan, count, true, 1, 2, 3, pick, &n, &err));
    CHECK_INT(n, 128);
    bool seen[2][1000] = {{0}};
    for (int i = 0; i < 128; i++) {
        CHECK_INT(pick[i].scale, i < 32 ? 0 : 1);
        CHECK(pick[i].patch >= 0 && pick[i].patch < count[pick[i].scale]);
        CHECK(!seen[pick[i].scale][pick[i].patch]);
        seen[pick[i].scale][pick[i].patch] = true;
    }
}

TEST(short_bags)
{
    sw_sample_plan plan;
    CHECK_OK(sw_sample_plan_reference(8, 4, 2, &plan, &err));
    int64_t count[2] = {2, 4}, n;
    sw_pick pick[8];
    CHECK_OK(sw_sample_bag(&plan, count, false, 1, 0, 0, pick, &n, &err));
    CHECK_INT(n, 6);
    CHECK_OK(sw_sample_bag(&plan, count, true, 1, 0, 0, pick, &n, &err));
    CHECK_INT(n, 8);
    for (int i = 0; i < 6; i++) CHECK_INT(pick[i].patch, i < 2 ? i : i - 2); /* all of them, in order */
    for (int i = 6; i < 8; i++) CHECK(pick[i].scale == 1 && pick[i].patch >= 0 && pick[i].patch < 4);
    count[1] = 6; /* exactly as many as asked: in order */
    CHECK_OK(sw_sample_bag(&plan, count, true, 1, 0, 0, pick, &n, &err));
    for (int i = 0; i < 6; i++) CHECK_INT(pick[2 + i].patch, i);
    count[1] = 0;
    CHECK_INT(sw_sample_bag(&plan, count, true, 1, 0, 0, pick, &n, &err), SW_E_INVALID);
    CHECK_STR(err.message, "no patch at scale 2, of which 6 are asked");
}

/* Upper 0.1 % point of chi-square, Wilson and Hilferty's approximation. */
static double chi_square_limit(int freedom)
{
    double v = 2.0 / (9.0 * freedom), t = 1 - v + 3.0902 * sqrt(v);
    return freedom * t * t * t;
}

TEST(every_patch_and_every_place_is_as_likely)
{
    enum { COUNT = 40, WANT = 10, EPOCHS = 8000 };
    sw_sample_plan plan = {.n_scales = 1, .n = {WANT}, .total = WANT};
    int64_t count = COUNT, n;
    double first[COUNT] = {0}, any[COUNT] = {0}, padded[5] = {0};
    sw_pick pick[WANT];
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sw_sample_bag(&plan, &count, true, 2021, e, 17, pick, &n, &err));
        first[pick[0].patch]++;
        for (int i = 0; i < WANT; i++) any[pick[i].patch]++;
        int64_t few = 5;
        CHECK_OK(sw_sample_bag(&plan, &few, true, 2021, e, 17, pick, &n, &err));
        for (int i = 5; i < WANT; i++) padded[pick[i].patch]++;
    }
    double x_first = 0, x_any = 0, x_pad = 0, e_first = EPOCHS / (double)COUNT, e_any = e_first * WANT;
    for (int i = 0; i < COUNT; i++) {
        x_first += (first[i] - e_first) * (first[i] - e_first) / e_first;
        /* without replacement the counts vary less: scale by (N - 1) / (N - n) */
        x_any += (any[i] - e_any) * (any[i] - e_any) / e_any * (COUNT - 1) / (COUNT - WANT);
    }
    for (int i = 0; i < 5; i++) x_pad += (padded[i] - EPOCHS) * (padded[i] - EPOCHS) / EPOCHS;
    CHECK(x_first < chi_square_limit(COUNT - 1));
    CHECK(x_any < chi_square_limit(COUNT - 1));
    CHECK(x_pad < chi_square_limit(4));
    CHECK(x_first > COUNT / 4.0); /* nor is it a mere counting off */
}

TEST(counters_decide)
{
    sw_sample_plan plan = {.n_scales = 1, .n = {10}, .total = 10};
    int64_t count = 1000, n;
    sw_pick a[10], b[10];
    static const uint32_t other[][3] = {{8, 2, 3}, {7, 1, 3}, {7, 2, 4}};
    CHECK_OK(sw_sample_bag(&plan, &count, true, 7, 2, 3, a, &n, &err));
    CHECK_OK(sw_sample_bag(&plan, &count, true, 7, 2, 3, b, &n, &err));
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(sw_sample_bag(&plan, &count, true, other[i][0], other[i][1], other[i][2], b, &n, &err));
        CHECK(memcmp(a, b, sizeof(a)) != 0);
    }
}

typedef struct drawing {
    sw_pick pick[64][32];
} drawing;

static sw_status draw_one(void *ctx, int64_t index, sw_error *error)
{
    drawing *d = ctx;
    sw_sample_plan plan = {.n_scales = 2, .n = {8, 24}, .total = 32};
    int64_t count[2] = {5, 500}, n;
    return sw_sample_bag(&plan, count, true, 3, 1, (uint32_t)index, d->pick[index], &n, error);
}

TEST(threads_change_nothing)
{
    SW_AUTOFREE drawing *one = sw_calloc(1, sizeof(*one));
    SW_AUTOFREE drawing *four = sw_calloc(1, sizeof(*four));
    CHECK(one && four);
    CHECK_OK(sw_pool_for(NULL, 64, draw_one, one, &err));
    sw_pool *pool = NULL;
    CHECK_OK(sw_pool_new(4, &pool, &err));
    sw_status status = sw_pool_for(pool, 64, draw_one, four, &err);
    sw_pool_free(pool);
    CHECK_INT(status, SW_OK);
    CHECK(memcmp(one, four, sizeof(*one)) == 0);
}

TEST(order_of_bags)
{
    int64_t a[100], b[100], c[100];
    bool seen[100] = {0};
    for (int i = 0; i < 100; i++) a[i] = b[i] = c[i] = i;
    sw_sample_order(1, 0, a, 100);
    sw_sample_order(1, 0, b, 100);
    sw_sample_order(1, 1, c, 100);
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    CHECK(memcmp(a, c, sizeof(a)) != 0);
    for (int i = 0; i < 100; i++) {
        CHECK(a[i] >= 0 && a[i] < 100 && !seen[a[i]]);
        seen[a[i]] = true;
    }
    CHECK_INT(sw_sample_steps(10, 3, true), 3);
    CHECK_INT(sw_sample_steps(10, 3, false), 4);
    CHECK_INT(sw_sample_steps(2, 3, true), 1);
    CHECK_INT(sw_sample_steps(0, 3, true), 0);
}
