/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics against scikit-learn (tests/golden/make_metrics.py) and the specification's numbers; the files. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/eval.h"

static const char *scratch(const char *name)
{
    static char path[4][1100];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", sw_test_dir(), name);
    return path[turn];
}

static sw_status golden(sw_json **root, sw_error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/golden/metrics.json", sw_test_source());
    return sw_json_read(path, root, err);
}

typedef struct table {
    int64_t count;
    int classes;
    int *label;
    double *probability;
} table;

static void table_free(table *t)
{
    sw_free(t->label);
    sw_free(t->probability);
}

static void read_table(const sw_json *c, int classes, table *t)
{
    const sw_json *label = sw_json_get(c, "label"), *p = sw_json_get(c, "probability");
    t->count = (int64_t)sw_json_count(label);
    t->classes = classes;
    t->label = sw_calloc((size_t)t->count, sizeof *t->label);
    t->probability = sw_calloc((size_t)t->count * (size_t)classes, sizeof *t->probability);
    for (int64_t i = 0; i < t->count; i++) t->label[i] = (int)sw_json_integer(sw_json_at(label, (size_t)i), -1);
    for (int64_t i = 0; i < t->count * classes; i++) {
        t->probability[i] = sw_json_real(sw_json_at(p, (size_t)i), NAN);
    }
}

static bool same(const char *what, const char *name, double actual, double expected)
{
    if (isnan(actual) && isnan(expected)) return true;
    if (fabs(actual - expected) <= 1e-9) return true;
    return sw_test_fail(__FILE__, __LINE__, "%s: %s is %.15g, expected %.15g", what, name, actual, expected);
}

static sw_status fill(const table *t, const char *const *names, sw_predictions *preds, sw_error *err)
{
    SW_TRY(sw_predictions_begin(preds, t->classes, names, err));
    for (int64_t i = 0; i < t->count; i++) {
        char id[32];
        snprintf(id, sizeof id, "slide %lld", (long long)i);
        SW_TRY(sw_predictions_add(preds, id, NULL, t->label[i], -1, t->probability + i * t->classes, err));
    }
    return SW_OK;
}

static const char *const LETTERS[] = {"a", "b", "c", "d", "e", "f"};

TEST(metrics_match_scikit_learn)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    sw_error err;
    CHECK_OK(golden(&root, &err));
    const sw_json *cases = sw_json_get(root, "cases");
    CHECK_INT(sw_json_count(cases), 33);
    for (size_t i = 0; i < sw_json_count(cases); i++) {
        const sw_json *c = sw_json_at(cases, i), *expected = sw_json_get(c, "expected");
        const char *name = sw_json_text(sw_json_get(c, "name"), "?");
        SW_CLEANUP(table_free) table t = {0};
        double m[SW_METRIC_COUNT];
        sw_metric_options zero = {.auc_absent_zero = true};
        read_table(c, (int)sw_json_integer(sw_json_get(c, "classes"), 0), &t);
        CHECK_OK(sw_metrics_compute(t.count, t.classes, t.probability, t.label, NULL, NULL, m, &err));
        for (int k = 0; k < SW_METRIC_COUNT; k++) {
            const char *key = sw_metric_name((sw_metric_id)k);
            same(name, key, m[k], sw_json_real(sw_json_get(expected, key), NAN));
        }
        CHECK_OK(sw_metrics_compute(t.count, t.classes, t.probability, t.label, NULL, &zero, m, &err));
        same(name, "auc_zero", m[SW_METRIC_AUC], sw_json_real(sw_json_get(c, "auc_zero"), NAN));
    }
}

TEST(specification_vector)
{
    const double logit[8][3] = {{2, .1, -1},   {.3, 1.2, .2}, {-.5, .4, .9}, {1.5, 1.4, .1},
                                {.2, -.3, 1.8}, {.9, 1, .8},   {.1, 2, 1.9},  {1.1, .2, .6}};
    const int label[8] = {0, 1, 2, 1, 2, 0, 2, 0};
    double p[24], m[SW_METRIC_COUNT];
    sw_error err;
    for (int i = 0; i < 8; i++) {
        double sum = 0;
        for (int c = 0; c < 3; c++) sum += exp(logit[i][c]);
        for (int c = 0; c < 3; c++) p[i * 3 + c] = exp(logit[i][c]) / sum;
    }
    CHECK_OK(sw_metrics_compute(8, 3, p, label, NULL, NULL, m, &err));
    CHECK_NEAR(m[SW_METRIC_AUC], 0.95, 1e-12, 0);
    CHECK_NEAR(m[SW_METRIC_ACCURACY], 0.625, 1e-12, 0);
    CHECK_NEAR(m[SW_METRIC_BALANCED_ACCURACY], 0.6111111, 0, 5e-8);
    CHECK_NEAR(m[SW_METRIC_F1], 0.6222222, 0, 5e-8);
    CHECK_NEAR(m[SW_METRIC_PRECISION], 0.6666667, 0, 5e-8);
    CHECK_NEAR(m[SW_METRIC_KAPPA], 0.4418605, 0, 5e-8);
    /* Ranking raw logits differs from ranking probabilities: the specification's second line. */
    CHECK_OK(sw_metrics_compute(8, 3, &logit[0][0], label, NULL, NULL, m, &err));
    CHECK_NEAR(m[SW_METRIC_AUC], (0.8667 + 0.8333 + 1) / 3, 0, 1e-4);
}

/* The numbers of class k, under the names that make_metrics.py and metrics_<split>.json give them. */
static double of_class(const sw_class_metrics *m, const char *key)
{
    const struct {
        const char *key;
        double value;
    } all[] = {
        {"support", (double)m->support}, {"predicted", (double)m->predicted},
        {"tp", (double)m->tp},           {"fp", (double)m->fp},
        {"fn", (double)m->fn},           {"tn", (double)m->tn},
        {"recall", m->recall},           {"specificity", m->specificity},
        {"precision", m->precision},     {"f1", m->f1},
        {"auc", m->auc},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].key, key) == 0) return all[i].value;
    }
    return -1;
}

static const char *const CLASS_KEYS[] = {"support", "predicted", "tp", "fp", "fn", "tn", "recall", "specificity", "precision", "f1"};

static void check_classes(const sw_json *c, const table *t, const sw_evaluation *e)
{
    const sw_json *confusion = sw_json_get(c, "confusion"), *auc = sw_json_get(c, "class_auc"), *list = sw_json_get(c, "per_class");
    for (int k = 0; k < t->classes * t->classes; k++) {
        CHECK_INT(e->confusion[k], sw_json_integer(sw_json_at(confusion, (size_t)k), -1));
    }
    for (size_t k = 0; k < (size_t)t->classes; k++) {
        char what[128];
        snprintf(what, sizeof what, "%s, class %zu", sw_json_text(sw_json_get(c, "name"), "?"), k);
        same(what, "auc", e->per_class[k].auc, sw_json_real(sw_json_at(auc, k), NAN));
        for (size_t i = 0; i < sizeof CLASS_KEYS / sizeof *CLASS_KEYS; i++) {
            const sw_json *values = sw_json_get(list, CLASS_KEYS[i]);
            CHECK_INT(sw_json_count(values), t->classes);
            same(what, CLASS_KEYS[i], of_class(&e->per_class[k], CLASS_KEYS[i]), sw_json_real(sw_json_at(values, k), NAN));
        }
    }
}

/* Every number of every class, on the evaluation and on the JSON that `eval` writes: null where scikit-learn has 0/0. */
TEST(classes_match_scikit_learn)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    sw_error err;
    int absent = 0, never = 0;
    CHECK_OK(golden(&root, &err));
    const sw_json *cases = sw_json_get(root, "cases");
    for (size_t i = 0; i < sw_json_count(cases); i++) {
        const sw_json *c = sw_json_at(cases, i);
        SW_CLEANUP(table_free) table t = {0};
        SW_CLEANUP(sw_predictions_free) sw_predictions preds = {0};
        SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0}, back = {0};
        SW_CLEANUP(sw_json_free_ptr) sw_json *written = NULL;
        sw_eval_options opt = sw_eval_options_default();
        opt.resamples = 0;
        read_table(c, (int)sw_json_integer(sw_json_get(c, "classes"), 0), &t);
        CHECK_OK(fill(&t, LETTERS, &preds, &err));
        CHECK_OK(sw_evaluate(&preds, "test", &opt, &e, &err));
        CHECK_INT(e.count, t.count);
        CHECK(isnan(e.metric[SW_METRIC_AUC].mean)); /* no bootstrap was asked for */
        check_classes(c, &t, &e);
        CHECK_OK(sw_evaluation_write(&e, scratch("classes.json"), &err));
        CHECK_OK(sw_evaluation_read(scratch("classes.json"), &back, &err));
        CHECK_OK(sw_json_read(scratch("classes.json"), &written, &err));
        for (size_t k = 0; k < (size_t)t.classes; k++) {
            const sw_json *row = sw_json_at(sw_json_get(written, "per_class"), k);
            const char *const keys[] = {"support", "predicted", "recall", "specificity", "precision", "f1", "auc"};
            for (size_t j = 0; j < sizeof keys / sizeof *keys; j++) {
                double own = of_class(&e.per_class[k], keys[j]);
                CHECK(isnan(sw_json_real(sw_json_get(row, keys[j]), NAN)) == isnan(own) && sw_json_get(row, keys[j]));
                same("written", keys[j], sw_json_real(sw_json_get(row, keys[j]), NAN), own);
                same("read back", keys[j], of_class(&back.per_class[k], keys[j]), own);
            }
            absent += e.per_class[k].support == 0;
            never += e.per_class[k].support > 0 && e.per_class[k].predicted == 0;
        }
    }
    CHECK(absent >= 8 && never >= 3); /* the cases are what they say */
}

TEST(bootstrap_matches_numpy)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    sw_error err;
    int seen = 0;
    CHECK_OK(golden(&root, &err));
    const sw_json *cases = sw_json_get(root, "cases");
    for (size_t i = 0; i < sw_json_count(cases); i++) {
        const sw_json *c = sw_json_at(cases, i), *b = sw_json_get(c, "bootstrap");
        SW_CLEANUP(table_free) table t = {0};
        SW_CLEANUP(sw_predictions_free) sw_predictions preds = {0};
        SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
        sw_eval_options opt = sw_eval_options_default();
        if (!b) continue;
        seen++;
        opt.fold = (int)sw_json_integer(sw_json_get(b, "fold"), -1);
        opt.resamples = sw_json_integer(sw_json_get(b, "resamples"), -1);
        read_table(c, (int)sw_json_integer(sw_json_get(c, "classes"), 0), &t);
        CHECK_OK(fill(&t, LETTERS, &preds, &err));
        CHECK_OK(sw_evaluate(&preds, "test", &opt, &e, &err));
        for (int k = 0; k < SW_METRIC_COUNT; k++) {
            const char *key = sw_metric_name((sw_metric_id)k);
            const sw_json *x = sw_json_get(sw_json_get(b, "metrics"), key);
            const char *name = sw_json_text(sw_json_get(c, "name"), "?");
            same(name, key, e.metric[k].mean, sw_json_real(sw_json_get(x, "mean"), NAN));
            same(name, key, e.metric[k].sd, sw_json_real(sw_json_get(x, "sd"), NAN));
            same(name, key, e.metric[k].low, sw_json_real(sw_json_get(x, "low"), NAN));
            same(name, key, e.metric[k].high, sw_json_real(sw_json_get(x, "high"), NAN));
            CHECK_INT(e.metric[k].undefined, sw_json_integer(sw_json_get(x, "undefined"), -1));
        }
    }
    CHECK_INT(seen, 19);
}

TEST(roc_matches_scikit_learn)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_CLEANUP(table_free) table t = {0};
    SW_CLEANUP(sw_predictions_free) sw_predictions preds = {0};
    SW_CLEANUP(sw_roc_free) sw_roc roc = {0};
    sw_error err;
    CHECK_OK(golden(&root, &err));
    const sw_json *r = sw_json_get(root, "roc");
    read_table(r, 2, &t);
    CHECK_OK(fill(&t, LETTERS, &preds, &err));
    CHECK_OK(sw_roc_curve(&preds, 1, 200, 0, &roc, &err));
    CHECK_INT(roc.points, sw_json_count(sw_json_get(r, "fpr")));
    for (int64_t i = 0; i < roc.points; i++) {
        CHECK_NEAR(roc.fpr[i], sw_json_real(sw_json_at(sw_json_get(r, "fpr"), (size_t)i), NAN), 0, 1e-12);
        CHECK_NEAR(roc.tpr[i], sw_json_real(sw_json_at(sw_json_get(r, "tpr"), (size_t)i), NAN), 0, 1e-12);
        if (i > 0) {
            CHECK_NEAR(roc.threshold[i], sw_json_real(sw_json_at(sw_json_get(r, "threshold"), (size_t)i - 1), NAN), 0, 0);
        }
    }
    CHECK(isinf(roc.threshold[0]));
    CHECK_INT(roc.band, 101);
    for (int g = 0; g < roc.band; g++) {
        CHECK(roc.band_low[g] <= roc.band_high[g] && roc.band_low[g] >= 0 && roc.band_high[g] <= 1);
        CHECK(g == 0 || roc.band_low[g] >= roc.band_low[g - 1]);
    }
    CHECK_NEAR(roc.band_low[100], 1, 0, 1e-12);
}

TEST(roc_needs_both_sides)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions preds = {0};
    SW_CLEANUP(sw_roc_free) sw_roc roc = {0};
    sw_error err;
    CHECK_OK(sw_predictions_begin(&preds, 2, LETTERS, &err));
    CHECK_OK(sw_predictions_add(&preds, "s1", "k1", 0, -1, (double[]){.6, .4}, &err));
    CHECK_INT(sw_roc_curve(&preds, 1, 0, 0, &roc, &err), SW_E_INVALID);
    CHECK_STR(err.message, "class \"b\" has 0 of 1 slides: a ROC curve needs both sides");
}

TEST(auc_of_scores)
{
    const double score[] = {.1, .4, .4, .8};
    const bool yes[] = {false, false, true, true}, all[] = {true, true, true, true};
    CHECK_NEAR(sw_auc(4, score, yes), 0.875, 1e-12, 0);
    CHECK(isnan(sw_auc(4, score, all)));
    CHECK(isnan(sw_auc(0, score, all)));
}

TEST(predictions_survive_a_round_trip)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions a = {0};
    SW_CLEANUP(sw_predictions_free) sw_predictions b = {0};
    const char *const names[] = {"benign, mild", "say \"cancer\"", "\xc3\xa9t\xc3\xa9"};
    const char *path = scratch("predictions_round.csv");
    sw_error err;
    CHECK_OK(sw_predictions_begin(&a, 3, names, &err));
    CHECK_OK(sw_predictions_add(&a, "s,1", "k\"1", 2, -1, (double[]){1e-12, 1.0 / 3, 2.0 / 3}, &err));
    CHECK_OK(sw_predictions_add(&a, "s2", NULL, -1, -1, (double[]){.5, .5, 0}, &err));
    CHECK_OK(sw_predictions_write(&a, path, &err));
    CHECK_OK(sw_predictions_read(path, &b, &err));
    CHECK_INT(b.count, 2);
    CHECK_INT(b.n_classes, 3);
    for (int c = 0; c < 3; c++) CHECK_STR(b.class_name[c], names[c]);
    CHECK_STR(b.slide_id[0], "s,1");
    CHECK_STR(b.case_id[0], "k\"1");
    CHECK_STR(b.case_id[1], "s2");
    CHECK_INT(b.label[0], 2);
    CHECK_INT(b.label[1], -1);
    CHECK_INT(b.predicted[0], 2);
    CHECK_INT(b.predicted[1], 0); /* lowest index on ties */
    CHECK_NEAR(b.probability[1], 1.0 / 3, 1e-9, 0);
    CHECK_NEAR(b.probability[0], 1e-12, 1e-9, 0);
}

/* What reading `text` as a table of predictions says, the scratch folder cut off. */
static const char *complaint(const char *text)
{
    static char message[1100];
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    const char *path = scratch("bad.csv");
    sw_error err = {0};
    if (sw_file_write(path, text, strlen(text), &err) != SW_OK) return "cannot write the case";
    if (sw_predictions_read(path, &p, &err) == SW_OK) return "no error";
    size_t skip = strlen(sw_test_dir()) + 1;
    snprintf(message, sizeof message, "%s", strncmp(err.message, path, strlen(path)) == 0 ? err.message + skip : err.message);
    return message;
}

#define HEAD "slide_id,case_id,label,predicted,p_no,p_yes\n"

TEST(bad_predictions_are_refused)
{
    CHECK_STR(complaint(HEAD "s,k,no,no,.7,.3\n"), "no error");
    CHECK_STR(complaint("slide,case_id,label,predicted,p_no,p_yes\n"),
              "bad.csv: column 1 is \"slide\" instead of \"slide_id\"; a table of predictions has the columns "
              "slide_id,case_id,label,predicted,p_<class>...");
    CHECK_STR(complaint("slide_id,case_id,label\n"),
              "bad.csv: column 4 is \"\" instead of \"predicted\"; a table of predictions has the columns "
              "slide_id,case_id,label,predicted,p_<class>...");
    CHECK_STR(complaint("slide_id,case_id,label,predicted,p_no\n"),
              "bad.csv: 1 probability columns; at least 2 columns p_<class> are needed");
    CHECK_STR(complaint("slide_id,case_id,label,predicted,p_no,note\n"), "bad.csv: column \"note\" is not p_<class>");
    CHECK_STR(complaint(HEAD "s,k,maybe,no,.7,.3\n"), "bad.csv: line 2: label \"maybe\" has no column \"p_maybe\"");
    CHECK_STR(complaint(HEAD "s,k,no,,.7,.3\n"), "bad.csv: line 2: predicted \"\" has no column \"p_\"");
    CHECK_STR(complaint(HEAD "s,k,no,no,x,.3\n"), "bad.csv: line 2: column \"p_no\" holds \"x\", not a number");
    CHECK_STR(complaint(HEAD "s,k,no,no,1.5,.3\n"),
              "bad.csv: line 2: slide \"s\": the probability of class \"no\" is 1.5, not in [0, 1]");
    CHECK_STR(complaint(HEAD "s,k,no,no,.7,.2\n"), "bad.csv: line 2: slide \"s\": the probabilities sum to 0.9, not to 1");
    CHECK_STR(complaint(HEAD "s,k,no,yes,.7,.3\n"),
              "bad.csv: line 2: slide \"s\": predicted class \"yes\" has probability 0.3, but another class has 0.7");
    CHECK_STR(complaint(HEAD ",k,no,no,.7,.3\n"), "bad.csv: line 2: a prediction has no slide id");
    CHECK_STR(complaint(HEAD "t,k,no,no,.7,.3\ns,k,no,no,.7,.3\nt,k,no,no,.7,.3\n"), "bad.csv: slide \"t\" is listed twice");
}

TEST(run_is_evaluated)
{
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    SW_CLEANUP(sw_evaluation_free) sw_evaluation back = {0};
    char expected[1400];
    sw_error err;
    const char *table = HEAD "a,a,no,no,.9,.1\nb,b,no,yes,.4,.6\nc,c,yes,yes,.2,.8\nd,d,yes,yes,.3,.7\ne,e,,no,.8,.2\n";
    CHECK_INT(sw_eval_run(sw_test_dir(), "val", NULL, NULL, &err), SW_E_NOT_FOUND);
    snprintf(expected, sizeof expected,
             "%s/predictions_val.csv is missing: the run holds no predictions of split \"val\"; train the run to its end "
             "or name another split",
             sw_test_dir());
    CHECK_STR(err.message, expected);
    CHECK_OK(sw_file_write(scratch("predictions_test.csv"), table, strlen(table), &err));
    CHECK_OK(sw_eval_run(sw_test_dir(), "test", NULL, &e, &err));
    CHECK_INT(e.count, 4);
    CHECK_INT(e.unlabelled, 1);
    CHECK_NEAR(e.metric[SW_METRIC_ACCURACY].value, 0.75, 1e-12, 0);
    CHECK_NEAR(e.metric[SW_METRIC_AUC].value, 1, 1e-12, 0);
    CHECK(e.metric[SW_METRIC_AUC].undefined > 50); /* 1/8 of resamples of 2 + 2 slides see one side only */
    CHECK_OK(sw_evaluation_read(scratch("metrics_test.json"), &back, &err));
    CHECK_STR(back.split, "test");
    CHECK_STR(back.class_name[1], "yes");
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        CHECK_NEAR(back.metric[m].low, e.metric[m].low, 1e-15, 0);
        CHECK_NEAR(back.metric[m].sd, e.metric[m].sd, 1e-15, 1e-15);
        CHECK_INT(back.metric[m].undefined, e.metric[m].undefined);
    }
    CHECK_INT(back.confusion[1], 1);
    CHECK_NEAR(back.per_class[0].recall, 0.5, 1e-15, 0);
    CHECK_NEAR(back.per_class[0].auc, 1, 1e-15, 0);
}

TEST(no_labels_no_metrics)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    sw_error err;
    CHECK_OK(sw_predictions_begin(&p, 2, LETTERS, &err));
    CHECK_OK(sw_predictions_add(&p, "s", NULL, -1, -1, (double[]){.5, .5}, &err));
    CHECK_INT(sw_evaluate(&p, "new", NULL, &e, &err), SW_E_INVALID);
    CHECK_STR(err.message, "split \"new\": none of the 1 predicted slides has a label; metrics need labels");
}

TEST(text_table)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    sw_eval_options opt = {.resamples = 0};
    const char *const names[] = {"no", "yes"};
    char *text = NULL;
    sw_error err;
    CHECK_OK(sw_predictions_begin(&p, 2, names, &err));
    CHECK_OK(sw_predictions_add(&p, "s", NULL, 0, -1, (double[]){.6, .4}, &err));
    CHECK_OK(sw_predictions_add(&p, "t", NULL, 0, -1, (double[]){.3, .7}, &err));
    CHECK_OK(sw_evaluate(&p, "test", &opt, &e, &err));
    CHECK_OK(sw_evaluation_text(&e, &text, &err));
    bool as_expected = strcmp(text,
              "test: 2 slides, 2 classes\n\n"
              "  metric                value\n"
              "  accuracy             0.5000\n"
              "  balanced accuracy    0.2500\n"
              "  AUC                       -\n"
              "  F1, macro            0.3333\n"
              "  precision, macro     0.5000\n"
              "  Cohen's kappa        0.0000\n"
              "  kappa, quadratic     0.0000\n"
              "  AUC: 2 of 2 classes have no positive or no negative slide and no curve\n"
              "\n"
              "  class  slides   recall  specificity  precision       F1      AUC\n"
              "  no          2   0.5000            -     1.0000   0.6667        -\n"
              "  yes         0        -       0.5000     0.0000   0.0000        -\n"
              "\n"
              "         predicted\n"
              "  label        no       yes\n"
              "  no            1         1\n"
              "  yes           0         0\n") == 0;
    if (!as_expected) printf("%s", text);
    sw_evaluation_text_free(text);
    CHECK(as_expected);
}

TEST(attention_sparsity)
{
    sw_attention_stats s;
    sw_error err;
    const float uniform[] = {.25f, .25f, .25f, .25f}, single[] = {0, 0, 1, 0};
    const float ramp[] = {1, 2, 3, 4}, two[] = {1, 0, 0, 0, 0, 0, 0, 1}, bad[] = {1, -1};
    CHECK_OK(sw_attention_measure(uniform, 1, 4, 0, &s, &err));
    CHECK_NEAR(s.sparsity + s.below_mean + s.entropy_gap + s.gini, 0, 0, 1e-12);
    CHECK_NEAR(s.threshold, 0.1, 0, 0);
    CHECK_OK(sw_attention_measure(single, 1, 4, 0, &s, &err));
    CHECK_NEAR(s.sparsity, 75, 1e-12, 0);
    CHECK_NEAR(s.below_mean, .75, 1e-12, 0);
    CHECK_NEAR(s.entropy_gap, 1, 1e-12, 0);
    CHECK_NEAR(s.gini, .75, 1e-12, 0);
    /* a = .1 .2 .3 .4: entropy 1.2798542, Gini 0.25; scaled 0, 1/3, 2/3, 1 */
    CHECK_OK(sw_attention_measure(ramp, 1, 4, 0.5, &s, &err));
    CHECK_NEAR(s.sparsity, 50, 1e-12, 0);
    CHECK_NEAR(s.below_mean, .5, 1e-12, 0);
    CHECK_NEAR(s.entropy_gap, 1 - 1.2798542258336676 / log(4), 1e-7, 0);
    CHECK_NEAR(s.gini, .25, 1e-7, 0);
    CHECK_OK(sw_attention_measure(two, 2, 4, 0, &s, &err)); /* heads are averaged first */
    CHECK_NEAR(s.sparsity, 50, 1e-12, 0);
    CHECK_NEAR(s.entropy_gap, .5, 1e-12, 0);
    CHECK_INT(sw_attention_measure(bad, 1, 2, 0, &s, &err), SW_E_INVALID);
    CHECK_STR(err.message, "head 0, patch 1: attention -1 is not a weight");
    CHECK_INT(sw_attention_measure(single, 1, 2, 0, &s, &err), SW_E_INVALID);
    CHECK_STR(err.message, "head 0: all attention is zero");
}

/* Against numpy by the definitions, the Gini coefficient as the mean difference of all pairs: three heads, not normalised. */
TEST(attention_sparsity_as_numpy)
{
    enum { N = 37, HEADS = 3 };
    float a[HEADS * N];
    sw_attention_stats s;
    sw_error err;
    for (int h = 0; h < HEADS; h++) {
        for (int i = 0; i < N; i++) a[h * N + i] = (float)(1 + (i * i * (h + 2) + 5 * h) % (11 + 6 * h));
    }
    a[2 * N + 4] = 400;
    CHECK_OK(sw_attention_measure(a, HEADS, N, 0, &s, &err));
    CHECK_NEAR(s.sparsity, 48.6486486486487, 1e-12, 0);
    CHECK_NEAR(s.below_mean, 0.648648648648649, 1e-12, 0);
    CHECK_NEAR(s.entropy_gap, 0.0606780979150566, 1e-12, 0);
    CHECK_NEAR(s.gini, 0.280379971391207, 1e-12, 0);
}

/* Every allocation fails once: the call says so, leaks nothing, and works afterwards. */
TEST(out_of_memory)
{
    const char *table = HEAD "a,a,no,no,.9,.1\nb,b,no,yes,.4,.6\nc,c,yes,yes,.2,.8\nd,d,yes,yes,.3,.7\n";
    sw_eval_options opt = sw_eval_options_default();
    sw_error err;
    int64_t live;
    sw_status status = SW_E_NOMEM;
    opt.resamples = 5;
    CHECK_OK(sw_file_write(scratch("predictions_tight.csv"), table, strlen(table), &err));
    live = sw_mem_live();
    for (int k = 1; status != SW_OK; k++) {
        CHECK(k < 10000);
        sw_mem_fail_after(k);
        status = sw_eval_run(sw_test_dir(), "tight", &opt, NULL, &err);
        sw_mem_fail_after(0);
        CHECK_INT(sw_mem_live(), live);
        CHECK(status == SW_OK || status == SW_E_NOMEM);
    }
}
