/* SPDX-License-Identifier: Apache-2.0 */
/* Survival measures against scikit-survival (tests/golden/make_survival.py), tables, evaluation and its files. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/survival.h"

static sw_error err;

static const char *scratch(const char *name)
{
    static char path[1100];
    snprintf(path, sizeof path, "%s/%s", sw_test_dir(), name);
    return path;
}

typedef struct cohort {
    int64_t n;
    double time[200], risk[200];
    bool event[200];
} cohort;

static bool read_cohort(const sw_json *object, cohort *c)
{
    const sw_json *time = sw_json_get(object, "time");
    c->n = (int64_t)sw_json_count(time);
    for (int64_t i = 0; i < c->n; i++) {
        c->time[i] = sw_json_real(sw_json_at(time, (size_t)i), NAN);
        c->event[i] = sw_json_integer(sw_json_at(sw_json_get(object, "event"), (size_t)i), 0) != 0;
        c->risk[i] = sw_json_real(sw_json_at(sw_json_get(object, "risk"), (size_t)i), NAN);
    }
    return c->n > 0 && c->n <= 200;
}

/* One golden case: the cohorts, and its numbers where they are not null. */
typedef struct golden {
    const sw_json *json;
    const char *name;
    cohort train, test;
    int n_times;
    double times[8], survival[200 * 8];
    bool has_survival;
} golden;

static double number(const golden *g, const char *key)
{
    return sw_json_real(sw_json_get(g->json, key), NAN);
}

static double item(const golden *g, const char *key, size_t i)
{
    const sw_json *list = sw_json_get(g->json, key);
    return sw_json_is_array(list) ? sw_json_real(sw_json_at(list, i), NAN) : NAN;
}

static void same(const golden *g, const char *what, double actual, double expected)
{
    if (isnan(actual) && isnan(expected)) return;
    if (!(fabs(actual - expected) <= 1e-9))
        sw_test_fail(__FILE__, __LINE__, "%s: %s is %.15g, expected %.15g", g->name, what, actual, expected);
}

static void for_each(void (*check)(golden *g))
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    char path[1100];
    snprintf(path, sizeof path, "%s/golden/survival.json", sw_test_source());
    CHECK_OK(sw_json_read(path, &root, &err));
    const sw_json *cases = sw_json_get(root, "cases");
    CHECK(sw_json_count(cases) >= 11);
    for (size_t i = 0; i < sw_json_count(cases); i++) {
        static golden g;
        g = (golden){.json = sw_json_at(cases, i)};
        g.name = sw_json_text(sw_json_get(g.json, "name"), "?");
        CHECK(read_cohort(sw_json_get(g.json, "train"), &g.train) && read_cohort(sw_json_get(g.json, "test"), &g.test));
        g.n_times = (int)sw_json_count(sw_json_get(g.json, "times"));
        for (int t = 0; t < g.n_times; t++) g.times[t] = item(&g, "times", (size_t)t);
        g.has_survival = sw_json_is_array(sw_json_get(g.json, "survival"));
        for (int64_t k = 0; g.has_survival && k < g.test.n * g.n_times; k++) g.survival[k] = item(&g, "survival", (size_t)k);
        check(&g);
    }
}

static void concordance(golden *g)
{
    sw_outcomes train = {g->train.n, g->train.time, g->train.event}, test = {g->test.n, g->test.time, g->test.event};
    sw_concordance c;
    const sw_json *expected = sw_json_get(g->json, "c_index"), *counts = sw_json_get(expected, "counts");
    CHECK_OK(sw_concordance_index(&test, g->test.risk, &c, &err));
    same(g, "c-index", c.index, sw_json_real(sw_json_get(expected, "index"), NAN));
    if (sw_json_is_array(counts)) {
        same(g, "concordant", (double)c.concordant, sw_json_real(sw_json_at(counts, 0), NAN));
        same(g, "discordant", (double)c.discordant, sw_json_real(sw_json_at(counts, 1), NAN));
        same(g, "tied risks", (double)c.tied_risk, sw_json_real(sw_json_at(counts, 2), NAN));
        same(g, "tied times", (double)c.tied_time, sw_json_real(sw_json_at(counts, 3), NAN));
    }
    CHECK_OK(sw_concordance_index_ipcw(&train, &test, g->test.risk, 0, &c, &err));
    if (!isnan(number(g, "c_index_ipcw"))) same(g, "Uno's c-index", c.index, number(g, "c_index_ipcw"));
    if (isnan(number(g, "tau"))) return;
    CHECK_OK(sw_concordance_index_ipcw(&train, &test, g->test.risk, number(g, "tau"), &c, &err));
    same(g, "Uno's c-index until tau", c.index, number(g, "c_index_ipcw_tau"));
}

TEST(concordance_as_scikit_survival)
{
    for_each(concordance);
}

static void curves(golden *g)
{
    sw_outcomes test = {g->test.n, g->test.time, g->test.event};
    const sw_json *expected = sw_json_get(g->json, "curve");
    const char *const key[] = {"time", "survival", "low", "high"};
    SW_CLEANUP(sw_survival_curve_free) sw_survival_curve c = {0};
    CHECK_OK(sw_kaplan_meier(&test, &c, &err));
    CHECK_INT(c.points, sw_json_count(sw_json_get(expected, "time")));
    for (int k = 0; k < 4; k++) {
        const double *own = k == 0 ? c.time : k == 1 ? c.survival : k == 2 ? c.low : c.high;
        for (int64_t i = 0; i < c.points; i++)
            same(g, key[k], own[i], sw_json_real(sw_json_at(sw_json_get(expected, key[k]), (size_t)i), NAN));
    }
    CHECK(sw_survival_curve_at(&c, -1) == 1.0 && sw_survival_curve_at(&c, 1e9) == c.survival[c.points - 1]);
    CHECK(sw_survival_curve_at(&c, c.time[0]) == c.survival[0]);
    bool high[200];
    double chi2, p;
    for (int64_t i = 0; i < g->test.n; i++) high[i] = g->test.risk[i] > number(g, "threshold");
    sw_log_rank(&test, high, &chi2, &p);
    same(g, "log-rank chi-square", chi2, item(g, "log_rank", 0));
    same(g, "log-rank p", p, item(g, "log_rank", 1));
}

TEST(curves_and_log_rank_as_scikit_survival)
{
    for_each(curves);
}

static void at_times(golden *g)
{
    sw_outcomes train = {g->train.n, g->train.time, g->train.event}, test = {g->test.n, g->test.time, g->test.event};
    double auc[8], brier[8], mean = NAN;
    CHECK_OK(sw_dynamic_auc(&train, &test, g->test.risk, g->times, g->n_times, auc, &mean, &err));
    for (int t = 0; t < g->n_times; t++) same(g, "AUC", auc[t], item(g, "auc", (size_t)t));
    same(g, "mean AUC", mean, number(g, "auc_mean"));
    if (!g->has_survival) return;
    CHECK_OK(sw_brier_score(&train, &test, g->survival, g->times, g->n_times, brier, &mean, &err));
    for (int t = 0; t < g->n_times; t++) same(g, "Brier score", brier[t], item(g, "brier", (size_t)t));
    same(g, "integrated Brier score", mean, number(g, "ibs"));
}

TEST(auc_and_brier_score_as_scikit_survival)
{
    for_each(at_times);
}

static sw_status table_of(const cohort *c, int bins, const double *edge, const double *survival, sw_survival_predictions *out)
{
    SW_TRY(sw_survival_predictions_begin(out, bins, edge, &err));
    for (int64_t i = 0; i < c->n; i++) {
        char id[32];
        double row[9] = {0};
        snprintf(id, sizeof id, "case %lld", (long long)i);
        for (int k = 0; survival && k + 1 < bins; k++) row[k] = survival[i * (bins - 1) + k];
        SW_TRY(sw_survival_predictions_add(out, id, 1 + i % 2, c->time[i], c->event[i], c->risk[i], row, &err));
    }
    return SW_OK;
}

static void bootstrap_of(golden *g, const sw_json *boot, const sw_survival_evaluation *e)
{
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        const sw_metric_value *v = &e->metric[m];
        const double own[4] = {v->mean, v->sd, v->low, v->high};
        const char *name = sw_metric_name((sw_metric_id)(SW_METRIC_COUNT + m));
        const sw_json *expected = sw_json_get(boot, name);
        bool none = isnan(v->value); /* no interval around nothing, whatever the resamples say */
        CHECK_INT(sw_json_count(expected), 5);
        for (size_t k = 0; k < 4; k++) same(g, name, own[k], none ? NAN : sw_json_real(sw_json_at(expected, k), NAN));
        same(g, "resamples left out", (double)v->undefined, sw_json_real(sw_json_at(expected, 4), NAN));
    }
}

/* The whole evaluation, and its bootstrap, of tables. */
static void evaluate(golden *g)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions train = {0}, test = {0};
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    const sw_json *boot = sw_json_get(g->json, "bootstrap");
    sw_survival_options o = sw_survival_options_default();
    if (!g->has_survival && !boot) return;
    CHECK_OK(table_of(&g->train, 0, NULL, NULL, &train));
    CHECK_OK(table_of(&g->test, g->has_survival ? g->n_times + 1 : 0, g->times, g->survival, &test));
    o.train = &train;
    o.times = g->times;
    o.n_times = g->has_survival ? 0 : g->n_times;
    o.resamples = boot ? sw_json_integer(sw_json_get(boot, "resamples"), -1) : 0;
    o.fold = boot ? (int)sw_json_integer(sw_json_get(boot, "fold"), -1) : 0;
    CHECK_OK(sw_survival_evaluate(&test, "test", &o, &e, &err));
    same(g, "c-index", sw_survival_metric(&e, SW_METRIC_C_INDEX), sw_json_real(sw_json_get(sw_json_get(g->json, "c_index"), "index"), NAN));
    if (!isnan(number(g, "c_index_ipcw"))) same(g, "Uno's", sw_survival_metric(&e, SW_METRIC_C_INDEX_IPCW), number(g, "c_index_ipcw"));
    if (!isnan(number(g, "auc_mean"))) same(g, "AUC", sw_survival_metric(&e, SW_METRIC_AUC_TD), number(g, "auc_mean"));
    if (!isnan(number(g, "ibs"))) same(g, "Brier", sw_survival_metric(&e, SW_METRIC_IBS), number(g, "ibs"));
    same(g, "threshold", e.threshold, number(g, "threshold"));
    same(g, "p", e.p, item(g, "log_rank", 1));
    CHECK_INT(e.group[0].cases + e.group[1].cases, g->test.n);
    CHECK(e.trained && e.n_times == g->n_times);
    if (boot) bootstrap_of(g, boot, &e);
}

TEST(evaluation_and_its_bootstrap)
{
    for_each(evaluate);
}

/* One resample by its indices, as a table of its own: what scikit-survival says of the same rows. */
static void check_resample(golden *g, const int32_t *index, const sw_json *expected)
{
    double time[200], risk[200], survival[sizeof g->survival / sizeof *g->survival], auc[8], brier[8], value[SW_SURVIVAL_METRICS];
    bool event[200];
    sw_concordance c;
    sw_outcomes train = {g->train.n, g->train.time, g->train.event}, test = {g->test.n, time, event};
    for (int64_t i = 0; i < g->test.n; i++) {
        time[i] = g->test.time[index[i]];
        event[i] = g->test.event[index[i]];
        risk[i] = g->test.risk[index[i]];
        for (int t = 0; t < g->n_times; t++) survival[i * g->n_times + t] = g->survival[index[i] * g->n_times + t];
    }
    CHECK_OK(sw_concordance_index(&test, risk, &c, &err));
    value[0] = c.index;
    CHECK_OK(sw_concordance_index_ipcw(&train, &test, risk, 0, &c, &err));
    value[1] = c.index;
    CHECK_OK(sw_dynamic_auc(&train, &test, risk, g->times, g->n_times, auc, &value[2], &err));
    value[3] = NAN;
    if (g->has_survival) CHECK_OK(sw_brier_score(&train, &test, survival, g->times, g->n_times, brier, &value[3], &err));
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++)
        same(g, sw_metric_name((sw_metric_id)(SW_METRIC_COUNT + m)), value[m], sw_json_real(sw_json_at(expected, (size_t)m), NAN));
}

static int hard_cases, undefined_rows, eventless_rows;

static void resamples(golden *g)
{
    const sw_json *boot = sw_json_get(g->json, "bootstrap"), *drawn = sw_json_get(boot, "indices"), *rows = sw_json_get(boot, "rows");
    int64_t count = (int64_t)sw_json_count(drawn);
    SW_AUTOFREE int32_t *own = sw_calloc((size_t)(count * g->test.n) + 1, sizeof *own);
    if (count == 0) return;
    CHECK_OK(sw_bootstrap_indices(g->test.n, (int)sw_json_integer(sw_json_get(boot, "fold"), -1), count, own, &err));
    for (int64_t r = 0; r < count; r++) {
        const sw_json *list = sw_json_at(drawn, (size_t)r), *row = sw_json_at(rows, (size_t)r);
        for (int64_t i = 0; i < g->test.n; i++) CHECK_INT(own[r * g->test.n + i], sw_json_integer(sw_json_at(list, (size_t)i), -1));
        check_resample(g, own + r * g->test.n, row);
        undefined_rows += isnan(sw_json_real(sw_json_at(row, 0), NAN));
    }
    eventless_rows += (int)sw_json_integer(sw_json_get(boot, "no_event"), 0);
    hard_cases++;
}

TEST(resamples_as_scikit_survival)
{
    hard_cases = undefined_rows = eventless_rows = 0;
    for_each(resamples);
    CHECK_INT(hard_cases, 10);
    CHECK(undefined_rows > eventless_rows && eventless_rows >= 60); /* some have events, but nobody to compare them with */
}

/* By the definition, over all pairs, with weights: what the sweep and its tree must give. */
TEST(concordance_of_many_cases_by_definition)
{
    enum { N = 700 };
    static double time[N], risk[N];
    static bool event[N];
    sw_concordance c;
    int64_t con = 0, dis = 0, tied = 0;
    for (int i = 0; i < N; i++) {
        time[i] = (i * 7919) % 101;
        risk[i] = ((i * 104729) % 37) / 7.0;
        event[i] = (i * 31) % 5 < 2;
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            if (i == j || !event[i] || !(time[j] > time[i] || (time[j] == time[i] && !event[j]))) continue;
            if (risk[i] == risk[j]) tied++;
            else if (risk[i] > risk[j]) con++;
            else dis++;
        }
    }
    sw_outcomes o = {N, time, event};
    CHECK_OK(sw_concordance_index(&o, risk, &c, &err));
    CHECK_INT(c.concordant, con);
    CHECK_INT(c.discordant, dis);
    CHECK_INT(c.tied_risk, tied);
    CHECK_NEAR(c.index, ((double)con + 0.5 * (double)tied) / (double)(con + dis + tied), 1e-14, 0);
}

static const char five[] = "case_id,slides,time,event,risk,s_2,s_4,s_end\n"
                           "a,1,1,1,0.9,0.5,0.25,0.125\nb,2,2.5,0,0.5,0.75,0.5,0.25\nc,1,3,1,0.7,0.5,0.5,0\n"
                           "d,1,5,0,0.1,1,1,1\ne,1,,,0.2,1,0.5,0.5\n";

TEST(tables_read_back)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0}, again = {0};
    CHECK_OK(sw_file_write(scratch("predictions_test.csv"), five, strlen(five), &err));
    CHECK(sw_survival_predictions_is(scratch("predictions_test.csv")));
    CHECK_OK(sw_survival_predictions_read(scratch("predictions_test.csv"), &p, &err));
    CHECK(p.bins == 3 && p.edge[0] == 2 && p.edge[1] == 4 && p.count == 5);
    CHECK(p.slides[1] == 2 && !p.event[1] && p.event[2] && isnan(p.time[4]) && p.survival[2] == 0.125);
    CHECK_OK(sw_survival_predictions_write(&p, scratch("again.csv"), &err));
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    CHECK_OK(sw_file_read(scratch("again.csv"), &text, &err));
    CHECK_STR(text.data, five);
    CHECK(!sw_survival_predictions_is(scratch("nothing.csv")));
    double third = 1.0 / 3.0;
    CHECK_OK(sw_survival_predictions_begin(&again, 0, NULL, &err));
    CHECK_OK(sw_survival_predictions_add(&again, "x, y", 1, third, true, -third, NULL, &err));
    CHECK_OK(sw_survival_predictions_write(&again, scratch("cox.csv"), &err));
    sw_survival_predictions_free(&again);
    CHECK_OK(sw_survival_predictions_read(scratch("cox.csv"), &again, &err));
    CHECK(again.bins == 0 && again.time[0] == third && fabs(again.risk[0] + third) < 1e-9);
    CHECK_STR(again.case_id[0], "x, y");
}

static const char *refused(const char *text)
{
    static char shown[1024];
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    if (sw_file_write(scratch("bad.csv"), text, strlen(text), &err) != SW_OK) return err.message;
    if (sw_survival_predictions_read(scratch("bad.csv"), &p, &err) == SW_OK) return "(accepted)";
    snprintf(shown, sizeof shown, "%s", err.message + strlen(sw_test_dir()) + 1);
    return shown;
}

TEST(tables_that_are_refused)
{
#define HEAD "case_id,slides,time,event,risk"
    CHECK_STR(refused("slide_id,case_id,label,predicted,p_a,p_b\n"),
              "bad.csv: a table of predicted risks begins with the columns case_id,slides,time,event,risk");
    CHECK_STR(refused(HEAD ",s_1,s_2\n"), "bad.csv: column \"s_2\" is not s_<time>, or s_end for the last");
    CHECK_STR(refused(HEAD ",s_4,s_2,s_end\n"), "bad.csv: the edges between bins of time must rise; number 2 is 2");
    CHECK_STR(refused(HEAD "\na,1,2,1,x\n"), "bad.csv: line 2: column \"risk\" holds \"x\", not a number");
    CHECK_STR(refused(HEAD "\na,1,2,yes,1\n"), "bad.csv: line 2: column \"event\" holds \"yes\", neither 0 nor 1");
    CHECK_STR(refused(HEAD "\na,1,-2,1,1\n"), "bad.csv: line 2: case \"a\": the time -2 is not a number from 0");
    CHECK_STR(refused(HEAD "\na,0,2,1,1\n"), "bad.csv: line 2: case \"a\": 0 slides");
    CHECK_STR(refused(HEAD "\na,1,2,1,1\na,1,2,1,1\n"), "bad.csv: case \"a\" is listed twice");
    CHECK_STR(refused(HEAD ",s_3,s_end\na,1,2,1,1,0.5,0.75\n"),
              "bad.csv: line 2: case \"a\": the survival 0.75 of bin 2 is not between 0 and that of the bin before, 0.5");
#undef HEAD
}

TEST(a_run_is_evaluated)
{
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0}, again = {0};
    SW_AUTOFREE char *text = NULL, *json = NULL, *second = NULL;
    sw_survival_options o = sw_survival_options_default();
    static const char train[] = "case_id,slides,time,event,risk,s_2,s_4,s_end\n"
                                "t,1,1,1,0.6,0.5,0.25,0.125\nu,1,9,1,0.55,0.5,0.25,0.125\nv,1,4,0,0.3,1,1,1\n";
    o.resamples = 20;
    CHECK_INT(sw_survival_eval_run(sw_test_dir(), "nosuch", &o, NULL, &err), SW_E_NOT_FOUND);
    CHECK_OK(sw_file_write(scratch("predictions_test.csv"), five, strlen(five), &err));
    CHECK_OK(sw_survival_eval_run(sw_test_dir(), "test", &o, &e, &err));
    CHECK(!e.trained && e.threshold == 0.6 && e.count == 4 && e.unlabelled == 1 && e.events == 2);
    sw_survival_evaluation_free(&e);
    CHECK_OK(sw_file_write(scratch("predictions_train.csv"), train, strlen(train), &err));
    CHECK_OK(sw_survival_eval_run(sw_test_dir(), "test", &o, &e, &err));
    CHECK(e.trained && e.threshold == 0.55);
    CHECK_OK(sw_survival_evaluation_text(&e, &text, &err));
    CHECK(strstr(text, "test: 4 cases, 2 with the event, 1 without a time left out"));
    CHECK(strstr(text, "\n  c-index                  1.0000"));
    CHECK(strstr(text, "pairs: 4 concordant, 0 discordant, 0 of equal risk"));
    CHECK(strstr(text, "split at the median risk of the training cases, 0.55"));
    CHECK_OK(sw_survival_evaluation_json(&e, &json, &err));
    CHECK_OK(sw_survival_evaluation_read(scratch("metrics_test.json"), &again, &err));
    CHECK_OK(sw_survival_evaluation_json(&again, &second, &err));
    CHECK_STR(second, json);
}

static sw_status text_of(const char *table, char **text)
{
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    sw_survival_options o = {.resamples = 10};
    SW_TRY(sw_file_write(scratch("p.csv"), table, strlen(table), &err));
    SW_TRY(sw_survival_predictions_read(scratch("p.csv"), &p, &err));
    SW_TRY(sw_survival_evaluate(&p, "val", &o, &e, &err));
    return sw_survival_evaluation_text(&e, text, &err);
}

TEST(what_is_undefined_is_said)
{
    SW_AUTOFREE char *censored = NULL, *constant = NULL, *text = NULL;
    CHECK_OK(text_of("case_id,slides,time,event,risk\na,1,1,0,0.5\nb,1,2,0,0.4\nc,1,3,0,0.1\n", &censored));
    CHECK(strstr(censored, "c-index: undefined, all cases are censored"));
    CHECK(strstr(censored, "log-rank test: undefined, one group is empty or nobody has the event"));
    CHECK(strstr(censored, "median time\n  low risk         2       0   not reached"));
    CHECK(!strstr(censored, "nan"));
    CHECK_OK(text_of("case_id,slides,time,event,risk\na,1,1,1,0.5\nb,1,2,0,0.5\nc,1,3,1,0.5\n", &constant));
    CHECK(strstr(constant, "  c-index                  0.5000"));
    CHECK(strstr(constant, "  high risk        0       0   not reached"));
    CHECK(!strstr(constant, "nan"));
    CHECK_INT(text_of("case_id,slides,time,event,risk\na,1,,,0.5\n", &text), SW_E_INVALID);
    CHECK_STR(err.message, "split \"val\": none of the 1 predicted cases has a time; metrics need times");
}
