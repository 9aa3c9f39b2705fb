/* SPDX-License-Identifier: Apache-2.0 */
/* The paired bootstrap of two runs, against the same computed here from the resamples' indices. */
#include "test.h"

#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/eval.h"
#include "slidewise/survival.h"
#include "slidewise/sweep.h"

enum { N = 40, RESAMPLES = 200 };

static sw_error err;

static const char *dir_of(const char *run)
{
    static char path[2][600];
    static int turn;
    char *at = path[turn++ % 2];
    snprintf(at, sizeof path[0], "%s/%s", sw_test_dir(), run);
    return sw_mkdir_p(at, &err) == SW_OK ? at : "";
}

static int label_of(int i)
{
    return i % 3 == 0;
}

/* Right where hash(i, salt) says so. */
static bool right(int i, int salt)
{
    return (i * 7 + salt * 13) % 10 < 4 + 3 * salt;
}

static sw_status write_run(const char *run, int salt, int first, int last, const char *other_class, bool reverse)
{
    char path[700];
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    const char *const names[] = {"a", other_class};
    SW_TRY(sw_predictions_begin(&p, 2, names, &err));
    for (int k = first; k < last; k++) {
        int i = reverse ? last - 1 - (k - first) : k;
        char id[20];
        double high = 0.51 + 0.01 * ((i * 3 + salt) % 40), prob[2];
        int said = right(i, salt) ? label_of(i) : !label_of(i);
        prob[said] = high;
        prob[!said] = 1 - high;
        snprintf(id, sizeof id, "s%02d", i);
        SW_TRY(sw_predictions_add(&p, id, NULL, label_of(i), -1, prob, &err));
    }
    snprintf(path, sizeof path, "%s/predictions_test.csv", dir_of(run));
    return sw_predictions_write(&p, path, &err);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

TEST(difference_of_accuracy)
{
    sw_comparison c;
    static int32_t index[RESAMPLES * N];
    double difference[RESAMPLES], whole = 0, better = 0;
    CHECK_OK(write_run("run", 1, 0, N, "b", true)); /* rows are paired by slide, not by place */
    CHECK_OK(write_run("base", 0, 0, N, "b", false));
    CHECK_OK(sw_compare_runs(dir_of("run"), dir_of("base"), "test", RESAMPLES, &c, &err));
    CHECK(c.rows == N && c.only_run == 0 && c.only_baseline == 0 && c.n_metrics == SW_METRIC_COUNT);
    const sw_difference *d = &c.metric[SW_METRIC_ACCURACY];
    CHECK_STR(d->metric, "accuracy");
    for (int i = 0; i < N; i++) whole += right(i, 1) - right(i, 0);
    CHECK_NEAR(d->difference, whole / N, 1e-15, 0);
    CHECK_NEAR(d->run - d->baseline, d->difference, 1e-15, 0);
    CHECK_OK(sw_bootstrap_indices(N, 0, RESAMPLES, index, &err));
    for (int r = 0; r < RESAMPLES; r++) {
        double sum = 0;
        for (int k = 0; k < N; k++) sum += right(index[r * N + k], 1) - right(index[r * N + k], 0);
        difference[r] = sum / N;
        better += sum > 0 ? 1 : sum == 0 ? 0.5 : 0;
    }
    qsort(difference, RESAMPLES, sizeof *difference, by_value);
    CHECK_NEAR(d->better, better / RESAMPLES, 1e-15, 0);
    CHECK_NEAR(d->low, difference[4] + 0.975 * (difference[5] - difference[4]), 1e-12, 0);   /* 0.025 * 199 = 4.975 */
    CHECK_NEAR(d->high, difference[194] + 0.025 * (difference[195] - difference[194]), 1e-12, 0);
}

TEST(a_run_with_itself)
{
    sw_comparison c;
    CHECK_OK(write_run("run", 1, 0, N, "b", false));
    CHECK_OK(sw_compare_runs(dir_of("run"), dir_of("run"), "test", RESAMPLES, &c, &err));
    for (int k = 0; k < c.n_metrics; k++) {
        const sw_difference *d = &c.metric[k];
        CHECK(d->difference == 0 && d->low == 0 && d->high == 0 && d->better == 0.5);
    }
    CHECK_OK(sw_compare_runs(dir_of("run"), dir_of("run"), "test", 0, &c, &err));
    CHECK(c.metric[0].difference == 0 && isnan(c.metric[0].low));
}

TEST(rows_of_one_run_alone_are_left_out)
{
    sw_comparison c;
    CHECK_OK(write_run("run", 1, 0, 30, "b", false));
    CHECK_OK(write_run("base", 0, 10, N, "b", false));
    CHECK_OK(sw_compare_runs(dir_of("run"), dir_of("base"), "test", 0, &c, &err));
    CHECK(c.rows == 20 && c.only_run == 10 && c.only_baseline == 10);
    CHECK_OK(write_run("run", 1, 0, 10, "b", false));
    CHECK_INT(sw_compare_runs(dir_of("run"), dir_of("base"), "test", 0, &c, &err), SW_E_INVALID);
    CHECK(strstr(err.message, " have no labelled row in common") != NULL);
    CHECK_OK(write_run("run", 1, 0, N, "c", false));
    CHECK_INT(sw_compare_runs(dir_of("run"), dir_of("base"), "test", 0, &c, &err), SW_E_INVALID);
    CHECK(strstr(err.message, " have other classes and cannot be compared") != NULL);
}

static sw_status write_risks(const char *run, int salt, double shift)
{
    char path[700];
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    SW_TRY(sw_survival_predictions_begin(&p, 0, NULL, &err));
    for (int i = 0; i < N; i++) {
        char id[20];
        snprintf(id, sizeof id, "c%02d", i);
        SW_TRY(sw_survival_predictions_add(&p, id, 1, i + 1 + shift, i % 4 != 0, -i + (double)((i * 11 * salt) % 17), NULL, &err));
    }
    snprintf(path, sizeof path, "%s/predictions_test.csv", dir_of(run));
    return sw_survival_predictions_write(&p, path, &err);
}

TEST(risks)
{
    sw_comparison c;
    CHECK_OK(write_risks("run", 0, 0)); /* in the order of the times: index 1 */
    CHECK_OK(write_risks("base", 1, 0));
    CHECK_OK(sw_compare_runs(dir_of("run"), dir_of("base"), "test", RESAMPLES, &c, &err));
    CHECK(c.rows == N && c.n_metrics == 1);
    CHECK_STR(c.metric[0].metric, "c_index");
    CHECK(c.metric[0].run == 1 && c.metric[0].baseline < 1 && c.metric[0].better > 0.99 && c.metric[0].low > 0);
    CHECK_OK(write_risks("run", 0, 0.5));
    CHECK_INT(sw_compare_runs(dir_of("run"), dir_of("base"), "test", RESAMPLES, &c, &err), SW_E_INVALID);
    CHECK(strncmp(err.message, "case 'c00' has the time 1.5 in ", 31) == 0);
    CHECK_OK(write_run("base", 0, 0, N, "b", false));
    CHECK_INT(sw_compare_runs(dir_of("run"), dir_of("base"), "test", RESAMPLES, &c, &err), SW_E_INVALID);
    CHECK(strstr(err.message, " are of different tasks and cannot be compared") != NULL);
}
