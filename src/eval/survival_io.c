/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_<split>.json of a survival run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/survival.h"

static const char *const GROUP[2] = {"low", "high"};

static void put_reals(sw_json_writer *w, const char *key, const double *value, int64_t n)
{
    sw_json_key(w, key);
    sw_json_array(w);
    for (int64_t i = 0; i < n; i++) sw_json_number(w, value[i]);
    sw_json_end_array(w);
}

static void put_ints(sw_json_writer *w, const char *key, const int64_t *value, int64_t n)
{
    sw_json_key(w, key);
    sw_json_array(w);
    for (int64_t i = 0; i < n; i++) sw_json_int(w, value[i]);
    sw_json_end_array(w);
}

static void put_metrics(sw_json_writer *w, const sw_survival_evaluation *e)
{
    sw_json_key(w, "metrics");
    sw_json_object(w);
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        const sw_metric_value *v = &e->metric[m];
        sw_json_key(w, sw_metric_name((sw_metric_id)(SW_METRIC_COUNT + m)));
        sw_json_object(w);
        sw_json_put_number(w, "value", v->value);
        sw_json_put_number(w, "mean", v->mean);
        sw_json_put_number(w, "sd", v->sd);
        sw_json_put_number(w, "low", v->low);
        sw_json_put_number(w, "high", v->high);
        sw_json_put_int(w, "undefined", v->undefined);
        sw_json_end_object(w);
    }
    sw_json_end_object(w);
}

static void put_group(sw_json_writer *w, const sw_risk_group *g, const char *name)
{
    const sw_survival_curve *c = &g->curve;
    sw_json_key(w, name);
    sw_json_object(w);
    sw_json_put_int(w, "cases", g->cases);
    sw_json_put_int(w, "events", g->events);
    sw_json_put_number(w, "median", g->median);
    put_reals(w, "time", c->time, c->points);
    put_reals(w, "survival", c->survival, c->points);
    put_reals(w, "low", c->low, c->points);
    put_reals(w, "high", c->high, c->points);
    put_ints(w, "at_risk", c->at_risk, c->points);
    put_ints(w, "events_then", c->events, c->points);
    sw_json_end_object(w);
}

static void put_all(sw_json_writer *w, const sw_survival_evaluation *e)
{
    sw_json_object(w);
    sw_json_put_string(w, "task", "survival");
    sw_json_put_string(w, "split", e->split);
    sw_json_put_int(w, "cases", e->count);
    sw_json_put_int(w, "events", e->events);
    sw_json_put_int(w, "unlabelled", e->unlabelled);
    sw_json_put_int(w, "resamples", e->resamples);
    sw_json_put_string(w, "base", e->trained ? "train" : "split");
    sw_json_put_number(w, "threshold", e->threshold);
    put_metrics(w, e);
    sw_json_key(w, "pairs");
    sw_json_object(w);
    sw_json_put_int(w, "concordant", e->pairs.concordant);
    sw_json_put_int(w, "discordant", e->pairs.discordant);
    sw_json_put_int(w, "tied_risk", e->pairs.tied_risk);
    sw_json_put_int(w, "tied_time", e->pairs.tied_time);
    sw_json_end_object(w);
    put_reals(w, "times", e->time, e->n_times);
    put_reals(w, "auc", e->auc, e->n_times);
    put_reals(w, "brier", e->brier, e->n_times);
    sw_json_key(w, "log_rank");
    sw_json_object(w);
    sw_json_put_number(w, "chi2", e->chi2);
    sw_json_put_number(w, "p", e->p);
    sw_json_end_object(w);
    sw_json_key(w, "groups");
    sw_json_object(w);
    for (int g = 0; g < 2; g++) put_group(w, &e->group[g], GROUP[g]);
    sw_json_end_object(w);
    sw_json_end_object(w);
}

sw_status sw_survival_evaluation_json(const sw_survival_evaluation *eval, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_json_writer w;
    sw_json_begin(&w, &buf, 2);
    put_all(&w, eval);
    sw_buf_puts(&buf, "\n");
    SW_TRY(sw_buf_status(&buf, err));
    *text = SW_STEAL(buf.data);
    return SW_OK;
}

sw_status sw_survival_evaluation_write(const sw_survival_evaluation *eval, const char *path, sw_error *err)
{
    SW_AUTOFREE char *text = NULL;
    SW_TRY(sw_survival_evaluation_json(eval, &text, err));
    return sw_file_write(path, text, strlen(text), err);
}

/* ---- reading */

static double real_of(const sw_json *object, const char *key)
{
    return sw_json_real(sw_json_get(object, key), NAN);
}

static sw_status get_reals(const sw_json *object, const char *key, int64_t n, double **out, sw_error *err)
{
    const sw_json *list = sw_json_get(object, key);
    *out = sw_calloc((size_t)n + 1, sizeof **out);
    if (!*out) return sw_nomem(err);
    if (sw_json_count(list) != (size_t)n)
        return sw_error_set(err, SW_E_FORMAT, "\"%s\" has %zu entries instead of %lld; run slidewise eval again", key,
                            sw_json_count(list), (long long)n);
    for (int64_t i = 0; i < n; i++) (*out)[i] = sw_json_real(sw_json_at(list, (size_t)i), NAN);
    return SW_OK;
}

static sw_status get_ints(const sw_json *object, const char *key, int64_t n, int64_t **out, sw_error *err)
{
    SW_AUTOFREE double *real = NULL;
    SW_TRY(get_reals(object, key, n, &real, err));
    *out = sw_calloc((size_t)n + 1, sizeof **out);
    if (!*out) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) (*out)[i] = (int64_t)real[i];
    return SW_OK;
}

static sw_status get_group(const sw_json *object, sw_risk_group *g, sw_error *err)
{
    sw_survival_curve *c = &g->curve;
    g->cases = sw_json_integer(sw_json_get(object, "cases"), 0);
    g->events = sw_json_integer(sw_json_get(object, "events"), 0);
    g->median = real_of(object, "median");
    c->points = (int64_t)sw_json_count(sw_json_get(object, "time"));
    SW_TRY(get_reals(object, "time", c->points, &c->time, err));
    SW_TRY(get_reals(object, "survival", c->points, &c->survival, err));
    SW_TRY(get_reals(object, "low", c->points, &c->low, err));
    SW_TRY(get_reals(object, "high", c->points, &c->high, err));
    SW_TRY(get_ints(object, "at_risk", c->points, &c->at_risk, err));
    return get_ints(object, "events_then", c->points, &c->events, err);
}

static sw_status get_metrics(const sw_json *metrics, sw_survival_evaluation *e, sw_error *err)
{
    for (int m = 0; m < SW_SURVIVAL_METRICS; m++) {
        const char *name = sw_metric_name((sw_metric_id)(SW_METRIC_COUNT + m));
        const sw_json *v = metrics ? sw_json_get(metrics, name) : NULL;
        if (!v) return sw_error_set(err, SW_E_FORMAT, "\"metrics\" lacks \"%s\"; run slidewise eval again", name);
        e->metric[m] = (sw_metric_value){real_of(v, "value"), real_of(v, "mean"), real_of(v, "sd"), real_of(v, "low"),
                                         real_of(v, "high"), sw_json_integer(sw_json_get(v, "undefined"), 0)};
    }
    return SW_OK;
}

static sw_status get_all(const sw_json *root, sw_survival_evaluation *e, sw_error *err)
{
    const sw_json *pairs = sw_json_get(root, "pairs"), *groups = sw_json_get(root, "groups"), *test = sw_json_get(root, "log_rank");
    if (!sw_json_is_object(pairs) || !sw_json_is_object(groups) || !sw_json_is_object(test))
        return sw_error_set(err, SW_E_FORMAT, "not the metrics of a survival run; run slidewise eval again");
    snprintf(e->split, sizeof e->split, "%s", sw_json_text(sw_json_get(root, "split"), ""));
    e->count = sw_json_integer(sw_json_get(root, "cases"), 0);
    e->events = sw_json_integer(sw_json_get(root, "events"), 0);
    e->unlabelled = sw_json_integer(sw_json_get(root, "unlabelled"), 0);
    e->resamples = sw_json_integer(sw_json_get(root, "resamples"), 0);
    e->trained = strcmp(sw_json_text(sw_json_get(root, "base"), ""), "train") == 0;
    e->threshold = real_of(root, "threshold");
    e->pairs = (sw_concordance){NAN, sw_json_integer(sw_json_get(pairs, "concordant"), 0),
                                sw_json_integer(sw_json_get(pairs, "discordant"), 0),
                                sw_json_integer(sw_json_get(pairs, "tied_risk"), 0),
                                sw_json_integer(sw_json_get(pairs, "tied_time"), 0)};
    e->chi2 = real_of(test, "chi2");
    e->p = real_of(test, "p");
    SW_TRY(get_metrics(sw_json_get(root, "metrics"), e, err));
    e->pairs.index = e->metric[0].value;
    e->n_times = (int)sw_json_count(sw_json_get(root, "times"));
    SW_TRY(get_reals(root, "times", e->n_times, &e->time, err));
    SW_TRY(get_reals(root, "auc", e->n_times, &e->auc, err));
    SW_TRY(get_reals(root, "brier", e->n_times, &e->brier, err));
    for (int g = 0; g < 2; g++) SW_TRY(get_group(sw_json_get(groups, GROUP[g]), &e->group[g], err));
    return SW_OK;
}

sw_status sw_survival_evaluation_read(const char *path, sw_survival_evaluation *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
    SW_TRY(sw_json_read(path, &root, err));
    if (get_all(root, &e, err) != SW_OK) return sw_error_prefix(err, "%s", path);
    *out = e;
    e = (sw_survival_evaluation){0};
    return SW_OK;
}
