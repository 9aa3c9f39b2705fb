/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "base/thread.h"
#include "sampler/sampler.h"

static sw_error err;

/* sw_sample_bag of patches without positions. */
static sw_status sample(const sw_sample_plan *plan, const int64_t *count, bool pad, uint64_t seed, uint32_t epoch, uint32_t bag,
                        sw_pick *out, int64_t *n)
{
    sw_sample_pool pool = {{0}, {0}};
    for (int s = 0; s < plan->n_scales; s++) pool.count[s] = count[s];
    return sw_sample_bag(plan, &pool, pad, seed, epoch, bag, out, n, &err);
}

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
    CHECK_OK(sample(&plan, count, true, 1, 2, 3, pick, &n));
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
    CHECK_OK(sample(&plan, count, false, 1, 0, 0, pick, &n));
    CHECK_INT(n, 6);
    CHECK_OK(sample(&plan, count, true, 1, 0, 0, pick, &n));
    CHECK_INT(n, 8);
    for (int i = 0; i < 6; i++) CHECK_INT(pick[i].patch, i < 2 ? i : i - 2); /* all of them, in order */
    for (int i = 6; i < 8; i++) CHECK(pick[i].scale == 1 && pick[i].patch >= 0 && pick[i].patch < 4);
    count[1] = 6; /* exactly as many as asked: in order */
    CHECK_OK(sample(&plan, count, true, 1, 0, 0, pick, &n));
    for (int i = 0; i < 6; i++) CHECK_INT(pick[2 + i].patch, i);
    count[1] = 0;
    CHECK_INT(sample(&plan, count, true, 1, 0, 0, pick, &n), SW_E_INVALID);
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
        CHECK_OK(sample(&plan, &count, true, 2021, e, 17, pick, &n));
        first[pick[0].patch]++;
        for (int i = 0; i < WANT; i++) any[pick[i].patch]++;
        int64_t few = 5;
        CHECK_OK(sample(&plan, &few, true, 2021, e, 17, pick, &n));
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
    CHECK_OK(sample(&plan, &count, true, 7, 2, 3, a, &n));
    CHECK_OK(sample(&plan, &count, true, 7, 2, 3, b, &n));
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(sample(&plan, &count, true, other[i][0], other[i][1], other[i][2], b, &n));
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
    sw_sample_pool pool = {.count = {5, 500}};
    int64_t n;
    return sw_sample_bag(&plan, &pool, true, 3, 1, (uint32_t)index, d->pick[index], &n, error);
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

/* --- regional */

/* Draws with `sampler` over many epochs: how often each patch comes, and at which places. */
enum { EPOCHS = 4000 };

static bool each_once(const sw_pick *pick, int64_t n, int64_t count)
{
    bool seen[400] = {0};
    for (int64_t i = 0; i < n; i++) {
        if (pick[i].patch < 0 || pick[i].patch >= count || seen[pick[i].patch]) return false;
        seen[pick[i].patch] = true;
    }
    return true;
}

TEST(intervals_of_the_list)
{
    /* 10 patches in 4 intervals of 3: the last has one patch; offsets beyond it are clipped to it. */
    sw_sample_plan plan = {.n_scales = 1, .n = {6}, .total = 6, .sampler = SW_SAMPLER_REGIONAL_1D, .regions = 4};
    int64_t count = 10, n;
    double first[4][10] = {{0}}, rest[10] = {0};
    sw_pick pick[6];
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sample(&plan, &count, true, 5, e, 1, pick, &n));
        CHECK(n == 6 && each_once(pick, 6, 10));
        for (int k = 0; k < 4; k++) {
            CHECK_INT(pick[k].patch / 3, k);
            first[k][pick[k].patch]++;
        }
        for (int k = 4; k < 6; k++) rest[pick[k].patch]++;
    }
    for (int k = 0; k < 3; k++) {
        double x = 0;
        for (int i = 0; i < 3; i++) x += pow(first[k][3 * k + i] - EPOCHS / 3.0, 2) / (EPOCHS / 3.0);
        CHECK(x < chi_square_limit(2));
    }
    CHECK(first[3][9] == EPOCHS && rest[9] == 0);
    double x = 0; /* two of the six that are left: each patch below 9 is left with 2/3 and then chosen with 1/3 */
    for (int i = 0; i < 9; i++) x += pow(rest[i] - EPOCHS * 2 / 9.0, 2) / (EPOCHS * 2 / 9.0);
    CHECK(x < chi_square_limit(8));
    /* Clipping: of 8 patches in 3 intervals of 3 the last one, 7, comes for two of three offsets. */
    plan = (sw_sample_plan){.n_scales = 1, .n = {3}, .total = 3, .sampler = SW_SAMPLER_REGIONAL_1D, .regions = 3};
    count = 8;
    double last = 0;
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sample(&plan, &count, true, 5, e, 2, pick, &n));
        last += pick[2].patch == 7;
    }
    CHECK_NEAR(last / EPOCHS, 2 / 3.0, 0, 4 * sqrt(2 / 9.0 / EPOCHS));
    plan.n[0] = plan.total = 2; /* fewer than regions: the first ones */
    CHECK_OK(sample(&plan, &count, true, 5, 0, 2, pick, &n));
    CHECK(n == 2 && pick[0].patch < 3 && pick[1].patch >= 3 && pick[1].patch < 6);
}

TEST(cells_of_the_square)
{
    /* 90 patches fill a square of side 10; 4 x 4 cells of 2 x 2; rows and columns 8 and 9 belong to none. */
    sw_sample_plan plan = {.n_scales = 1, .n = {40}, .total = 40, .sampler = SW_SAMPLER_REGIONAL_2D, .regions = 4};
    int64_t count = 90, n;
    double any[90] = {0};
    sw_pick pick[40];
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sample(&plan, &count, true, 6, e, 1, pick, &n));
        CHECK(n == 40 && each_once(pick, 40, 90));
        for (int k = 0; k < 32; k++) { /* floor(40 / 16) = 2 of each cell, cell by cell */
            int64_t row = pick[k].patch / 10, column = pick[k].patch % 10;
            CHECK(row < 8 && column < 8 && row / 2 * 4 + column / 2 == k / 2);
        }
        for (int k = 0; k < 40; k++) any[pick[k].patch]++;
    }
    /* 8 of the 58 others: those in no cell come with 8/58, those in a cell with 1/2 + 1/2 * 8/58 */
    for (int i = 0; i < 90; i++) {
        double p = i / 10 < 8 && i % 10 < 8 ? 0.5 + 4 / 58.0 : 8 / 58.0;
        CHECK_NEAR(any[i] / EPOCHS, p, 0, 5 * sqrt(p * (1 - p) / EPOCHS));
    }
    /* More regions than the side has patches: plain random. */
    plan.regions = 11;
    CHECK_OK(sample(&plan, &count, true, 6, 0, 1, pick, &n));
    CHECK(n == 40 && each_once(pick, 40, 90));
    /* Cells with fewer than their share give all, the rest is completed. */
    plan = (sw_sample_plan){.n_scales = 1, .n = {5}, .total = 5, .sampler = SW_SAMPLER_REGIONAL_2D, .regions = 1};
    count = 6; /* side 3, one cell of all: 5 of them */
    CHECK_OK(sample(&plan, &count, true, 6, 0, 1, pick, &n));
    CHECK(n == 5 && each_once(pick, 5, 6));
}

TEST(parts_of_the_slide)
{
    /* 8 patches crowd at the left, 2 lie at the lower right; the list's order does not tell. */
    static const int64_t xy[20] = {0, 0, 900, 900, 100, 0, 0, 100, 100, 100, 200, 0, 0, 200, 990, 990, 200, 200, 200, 100};
    sw_sample_plan plan = {.n_scales = 1, .n = {4}, .total = 4, .sampler = SW_SAMPLER_REGIONAL_SLIDE, .regions = 2};
    sw_sample_pool pool = {.count = {10}, .xy = {xy}};
    int64_t n;
    double any[10] = {0};
    sw_pick pick[4];
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sw_sample_bag(&plan, &pool, true, 7, e, 1, pick, &n, &err));
        CHECK(n == 4 && each_once(pick, 4, 10));
        /* two parts of four have patches: two of each */
        for (int k = 0; k < 4; k++) CHECK((pick[k].patch == 1 || pick[k].patch == 7) == (k >= 2));
        for (int k = 0; k < 2; k++) any[pick[k].patch]++;
    }
    for (int i = 0; i < 10; i++) {
        double p = i == 1 || i == 7 ? 0 : 0.25;
        CHECK_NEAR(any[i] / EPOCHS, p, 0, 5 * sqrt(p * (1 - p) / EPOCHS));
    }
    sw_pick again[4];
    CHECK_OK(sw_sample_bag(&plan, &pool, true, 7, EPOCHS - 1, 1, again, &n, &err));
    CHECK(memcmp(pick, again, sizeof(pick)) == 0);
    static const int64_t one_place[20] = {0}; /* all in one part: as at random */
    pool.xy[0] = one_place;
    CHECK_OK(sw_sample_bag(&plan, &pool, true, 7, 0, 1, pick, &n, &err));
    CHECK(n == 4 && each_once(pick, 4, 10));
}

/* --- attention */

TEST(attention_of_one_head_takes_the_top)
{
    static const float a[6] = {0.1f, 0.3f, 0.05f, 0.3f, 0.15f, 0.1f};
    sw_sample_plan plan = {.n_scales = 1, .n = {4}, .total = 4, .sampler = SW_SAMPLER_ATTENTION, .ratio = 1};
    sw_pick pick[8];
    int64_t n;
    CHECK_OK(sw_sample_attended(&plan, a, 1, 6, true, 1, 0, 0, pick, &n, &err));
    CHECK(n == 4 && pick[0].patch == 1 && pick[1].patch == 3 && pick[2].patch == 4 && pick[3].patch == 0);
    CHECK(pick[0].scale == 0);
    CHECK_OK(sw_sample_attended(&plan, a, 1, 4, true, 1, 0, 0, pick, &n, &err)); /* as many as asked: in order */
    for (int i = 0; i < 4; i++) CHECK_INT(pick[i].patch, i);
    CHECK_OK(sw_sample_attended(&plan, a, 1, 3, true, 1, 0, 0, pick, &n, &err));
    CHECK(n == 4 && pick[2].patch == 2 && pick[3].patch < 3);
    CHECK_OK(sw_sample_attended(&plan, a, 1, 3, false, 1, 0, 0, pick, &n, &err));
    CHECK_INT(n, 3);
    CHECK_INT(sw_sample_attended(&plan, (const float[]){0.5f, NAN, 0, 0, 0}, 1, 5, true, 1, 0, 0, pick, &n, &err), SW_E_INVALID);
    CHECK_STR(err.message, "attention nan is not a weight");
    int64_t count = 6;
    CHECK_INT(sample(&plan, &count, true, 1, 0, 0, pick, &n), SW_E_INTERNAL);
}

TEST(heads_vote)
{
    /* two of: head 1 votes for 4 and 0, head 2 for 4 and 2, head 3 for 1 and 2: 4 and 2 have two votes; 2 comes first */
    static const float a[15] = {0.3f, 0.1f, 0.1f, 0.1f, 0.4f, 0.1f, 0.1f, 0.3f, 0.0f, 0.5f, 0.1f, 0.5f, 0.3f, 0.1f, 0.0f};
    sw_sample_plan plan = {.n_scales = 1, .n = {2}, .total = 2, .sampler = SW_SAMPLER_ATTENTION, .ratio = 1};
    sw_pick pick[4];
    int64_t n;
    CHECK_OK(sw_sample_attended(&plan, a, 3, 5, true, 1, 0, 0, pick, &n, &err));
    CHECK(n == 2 && pick[0].patch == 2 && pick[1].patch == 4);
    plan.n[0] = plan.total = 3; /* of three votes each: 0 1 4 | 4 2 0 | 1 2 3 gives 0, 1, 2, 4 two votes: the lower three */
    CHECK_OK(sw_sample_attended(&plan, a, 3, 5, true, 1, 0, 0, pick, &n, &err));
    CHECK(n == 3 && pick[0].patch == 0 && pick[1].patch == 1 && pick[2].patch == 2);
}

TEST(a_ratio_draws_from_more_of_the_top)
{
    float a[20];
    for (int i = 0; i < 20; i++) a[i] = (float)((i * 7) % 20);
    sw_sample_plan plan = {.n_scales = 1, .n = {5}, .total = 5, .sampler = SW_SAMPLER_ATTENTION, .ratio = 0.5};
    double any[20] = {0};
    sw_pick pick[5];
    int64_t n;
    for (uint32_t e = 0; e < EPOCHS; e++) {
        CHECK_OK(sw_sample_attended(&plan, a, 1, 20, true, 3, e, 0, pick, &n, &err));
        CHECK(n == 5 && each_once(pick, 5, 20));
        for (int k = 0; k < 5; k++) any[pick[k].patch]++;
    }
    for (int i = 0; i < 20; i++) {
        double p = a[i] >= 10 ? 0.5 : 0;
        CHECK_NEAR(any[i] / EPOCHS, p, 0, 5 * sqrt(p * (1 - p) / EPOCHS));
    }
}

TEST(oversampling_counts)
{
    int64_t out[3];
    CHECK_INT(sw_oversample_counts(2, (int64_t[]){518, 138}, 0.5, out), 518 + 259); /* the paper's 2 to 1 */
    CHECK(out[0] == 518 && out[1] == 259);
    CHECK_INT(sw_oversample_counts(3, (int64_t[]){10, 0, 3}, 1, out), 20);
    CHECK(out[0] == 10 && out[1] == 0 && out[2] == 10);
    CHECK_INT(sw_oversample_counts(2, (int64_t[]){3, 2}, 0.5, out), 5);
    CHECK_INT(sw_oversample_counts(2, (int64_t[]){3, 2}, 0, out), 5);
    CHECK_INT(sw_oversample_counts(2, (int64_t[]){7, 1}, 0.5, out), 11); /* 3.5 rounds up */
}

TEST(oversampling_repeats_evenly_and_chooses_anew)
{
    enum { N = 9, WANTED = 5 + 11 };
    static const int label[N] = {0, 1, 0, 1, 0, 1, 0, 1, 0};
    int64_t one[WANTED], two[WANTED], next[WANTED], extra[2][N] = {{0}};
    static const int64_t wanted[2] = {5, 11};
    CHECK_OK(sw_oversample(5, 0, label, N, 2, wanted, 100, one, &err));
    CHECK_OK(sw_oversample(5, 0, label, N, 2, wanted, 100, two, &err));
    CHECK(memcmp(one, two, sizeof one) == 0);
    CHECK_OK(sw_oversample(5, 1, label, N, 2, wanted, 100, next, &err));
    CHECK(memcmp(one, next, sizeof one) != 0);
    for (int64_t epoch = 0; epoch < 200; epoch++) {
        int times[N] = {0};
        CHECK_OK(sw_oversample(5, (uint32_t)epoch, label, N, 2, wanted, 100, one, &err));
        for (int i = 0; i < WANTED; i++) {
            CHECK_INT(one[i] / 100, times[one[i] % 100]++); /* its copies are numbered as they come */
        }
        for (int i = 0; i < N; i++) {
            CHECK(label[i] == 0 ? times[i] == 1 : times[i] == 2 || times[i] == 3);
            if (label[i] == 1) extra[0][i] += times[i] - 2;
        }
    }
    for (int i = 1; i < N; i += 2) CHECK(extra[0][i] > 120 && extra[0][i] < 180); /* three of four: 150 of 200 */
}
