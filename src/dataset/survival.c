/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of survival: times and events, the strata of random splits, and the bins of time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "dataset/dataset_internal.h"

enum { STRATUM_CASES = 10, MAX_STRATA = 4 }; /* a random split keeps at most so many quarters of times apart */

/* ---- cells */

static bool parse_flag(const char *text, bool *out)
{
    static const char *const yes[] = {"1", "true", "yes", "dead", "deceased", "1:deceased"};
    static const char *const no[] = {"0", "false", "no", "alive", "living", "0:living"};
    double number;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (strcasecmp(text, yes[i]) == 0) return *out = true;
        if (strcasecmp(text, no[i]) == 0) {
            *out = false;
            return true;
        }
    }
    if (!sw_parse_double(text, &number) || (number != 0.0 && number != 1.0)) return false; /* "1.0" */
    *out = number == 1.0;
    return true;
}

static sw_status read_cells(const sw_dataset_build *b, const sw_label_row *row, sw_bag *bag, sw_error *err)
{
    const sw_label_table *t = &b->table;
    bool flag = false;
    if (!sw_parse_double(row->time, &bag->time) || !isfinite(bag->time) || bag->time < 0.0) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s': '%s' in column '%s' is no time; it must be a number from 0, correct it or delete the row",
                            t->path, (long long)row->line, row->slide_id, row->time, t->time_column);
    }
    if (!parse_flag(row->event, &flag)) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: slide '%s': '%s' in column '%s' is neither 0 nor 1; correct it or delete the row",
                            t->path, (long long)row->line, row->slide_id, row->event, t->event_column);
    }
    bag->event = flag != t->censored;
    return SW_OK;
}

/* ---- quantiles */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The times of bags of which one flag is so, sorted; [*n] in `out`, which has room for all. Of a case's slides one counts. */
static sw_status times_of(const sw_dataset *ds, bool event, bool train_only, double *out, int64_t *n, sw_error *err)
{
    SW_CLEANUP(sw_lookup_free) sw_lookup cases = {0};
    SW_TRY(sw_lookup_new(ds->n_bags, &cases, err));
    for (int64_t i = 0; i < ds->n_bags; i++) cases.entry[i] = (sw_lookup_entry){ds->bag[i].case_id, i};
    sw_lookup_sort(&cases);
    *n = 0;
    for (int64_t i = 0; i < cases.count; i++) {
        const sw_bag *bag = &ds->bag[cases.entry[i].index];
        if (i > 0 && strcmp(cases.entry[i].text, cases.entry[i - 1].text) == 0) continue;
        if (bag->event == event && (!train_only || bag->split == SW_SPLIT_TRAIN)) out[(*n)++] = bag->time;
    }
    qsort(out, (size_t)*n, sizeof(*out), by_value);
    return SW_OK;
}

/* Linear between neighbours, as numpy and pandas do it. */
static double quantile(const double *sorted, int64_t n, double q)
{
    double at = q * (double)(n - 1), low = floor(at);
    int64_t i = (int64_t)low;
    if (i >= n - 1) return sorted[n - 1];
    return sorted[i] + (at - low) * (sorted[i + 1] - sorted[i]);
}

static int bin_of(const double *edge, int edges, double time)
{
    int bin = 0;
    while (bin < edges && time >= edge[bin]) bin++;
    return bin;
}

/* ---- strata: by event, and by quarter of the times among those with and without one */

static sw_status make_strata(sw_dataset *ds, sw_error *err)
{
    SW_AUTOFREE double *time = sw_calloc((size_t)ds->n_bags + 1, sizeof(*time));
    if (!time) return sw_nomem(err);
    ds->n_classes = 2 * MAX_STRATA; /* until the split is made */
    for (int event = 0; event < 2; event++) {
        double edge[MAX_STRATA - 1];
        int64_t n = 0;
        SW_TRY(times_of(ds, event, false, time, &n, err));
        int strata = (int)(n / STRATUM_CASES < MAX_STRATA ? n / STRATUM_CASES : MAX_STRATA);
        for (int k = 0; k + 1 < strata; k++) edge[k] = quantile(time, n, (double)(k + 1) / strata);
        for (int64_t i = 0; i < ds->n_bags; i++) {
            if (ds->bag[i].event != event) continue;
            ds->bag[i].label = event * MAX_STRATA + bin_of(edge, strata > 0 ? strata - 1 : 0, ds->bag[i].time);
        }
    }
    return SW_OK;
}

sw_status sw_dataset_survival_read(sw_dataset_build *b, sw_error *err)
{
    sw_dataset *ds = b->ds;
    for (int64_t i = 0; i < ds->n_bags; i++) SW_TRY(read_cells(b, &b->table.row[i], &ds->bag[i], err));
    ds->time_column = sw_strdup(b->table.time_column);
    return ds->time_column ? make_strata(ds, err) : sw_nomem(err);
}

/* ---- bins */

/* With as many digits as tell all edges apart. */
static sw_status name_bins(sw_dataset *ds, int bins, sw_error *err)
{
    int digits = 4;
    char a[40], b[40];
    for (int k = 0; k + 2 < bins; k++) {
        do {
            snprintf(a, sizeof(a), "%.*g", digits, ds->edge[k]);
            snprintf(b, sizeof(b), "%.*g", digits, ds->edge[k + 1]);
        } while (strcmp(a, b) == 0 && ++digits < 18);
    }
    ds->class_name = sw_calloc((size_t)bins, sizeof(*ds->class_name));
    ds->n_classes = 0;
    if (!ds->class_name) return sw_nomem(err);
    for (int k = 0; k < bins; k++) {
        char *name = k == 0          ? sw_asprintf("before %.*g", digits, ds->edge[0])
                     : k == bins - 1 ? sw_asprintf("from %.*g", digits, ds->edge[k - 1])
                                     : sw_asprintf("%.*g to %.*g", digits, ds->edge[k - 1], digits, ds->edge[k]);
        if (!name) return sw_nomem(err);
        ds->class_name[ds->n_classes++] = name;
    }
    return SW_OK;
}

static sw_status quantile_edges(const sw_dataset_build *b, int bins, sw_error *err)
{
    sw_dataset *ds = b->ds;
    bool train = b->config->task.survival.bins_from == SW_CFG_BINS_TRAIN;
    const char *whose = train ? "training cases" : "cases";
    SW_AUTOFREE double *time = sw_calloc((size_t)ds->n_bags + 1, sizeof(*time));
    int64_t n = 0;
    if (!time) return sw_nomem(err);
    SW_TRY(times_of(ds, true, train, time, &n, err));
    if (n < bins) {
        return sw_error_set(err, SW_E_INVALID, "%s: %lld %s with an observed event cannot make %d bins of time; lower task.survival.bins, or change the split (data.split)",
                            b->table.path, (long long)n, whose, bins);
    }
    for (int k = 0; k + 1 < bins; k++) ds->edge[k] = quantile(time, n, (double)(k + 1) / bins);
    double before = time[0];
    for (int k = 0; k + 1 < bins; k++) {
        if (!(ds->edge[k] > before))
            return sw_error_set(err, SW_E_INVALID, "%s: the quantiles of %lld events make a bin of time that is empty (%g to %g); lower task.survival.bins",
                                b->table.path, (long long)n, before, ds->edge[k]);
        before = ds->edge[k];
    }
    return SW_OK;
}

/* Bins as the table gives them: an edge lies halfway between the latest time of one bin and the earliest of the next. */
static sw_status column_bins(sw_dataset_build *b, int bins, sw_error *err)
{
    sw_dataset *ds = b->ds;
    SW_AUTOFREE double *low = sw_calloc((size_t)bins, sizeof(*low));
    SW_AUTOFREE double *high = sw_calloc((size_t)bins, sizeof(*high));
    if (!low || !high) return sw_nomem(err);
    for (int k = 0; k < bins; k++) {
        low[k] = INFINITY;
        high[k] = -INFINITY;
    }
    for (int64_t i = 0; i < ds->n_bags; i++) {
        sw_bag *bag = &ds->bag[i];
        low[bag->label] = fmin(low[bag->label], bag->time);
        high[bag->label] = fmax(high[bag->label], bag->time);
    }
    for (int k = 0; k + 1 < bins; k++) {
        if (!(high[k] < low[k + 1]) || isinf(high[k]) || isinf(low[k + 1]))
            return sw_error_set(err, SW_E_INVALID, "%s: bins %d and %d of the column of labels do not follow each other in time; set task.survival.bins_from to train",
                                b->table.path, k, k + 1);
        ds->edge[k] = 0.5 * (high[k] + low[k + 1]);
    }
    return SW_OK;
}

/* Rows and bags are parallel no longer once cases are joined: a row is found by its line. */
static const sw_label_row *row_of_line(const sw_label_table *t, int64_t line)
{
    for (int64_t i = 0; i < t->count; i++) {
        if (t->row[i].line == line) return &t->row[i];
    }
    return NULL;
}

static sw_status read_bins(sw_dataset_build *b, int bins, sw_error *err)
{
    sw_dataset *ds = b->ds;
    for (int64_t i = 0; i < ds->n_bags; i++) {
        const sw_label_row *row = row_of_line(&b->table, ds->bag[i].line);
        int64_t bin = -1;
        if (!row || !sw_parse_int(row->label, &bin) || bin < 0 || bin >= bins)
            return sw_error_set(err, SW_E_INVALID, "%s:%lld: the bin '%s' is none of 0 to %d (task.survival.bins is %d)", b->table.path,
                                (long long)ds->bag[i].line, row ? row->label : "", bins - 1, bins);
        ds->bag[i].label = (int)bin;
    }
    return column_bins(b, bins, err);
}

sw_status sw_dataset_survival_bins(sw_dataset_build *b, sw_error *err)
{
    sw_dataset *ds = b->ds;
    int bins = (int)b->config->task.survival.bins;
    bool given = b->config->task.survival.bins_from == SW_CFG_BINS_COLUMN;
    ds->n_classes = 0;
    ds->edge = sw_calloc((size_t)bins, sizeof(*ds->edge));
    if (!ds->edge) return sw_nomem(err);
    SW_TRY(given ? read_bins(b, bins, err) : quantile_edges(b, bins, err));
    SW_TRY(name_bins(ds, bins, err));
    if (given) return SW_OK;
    for (int64_t i = 0; i < ds->n_bags; i++) ds->bag[i].label = bin_of(ds->edge, bins - 1, ds->bag[i].time);
    return SW_OK;
}
