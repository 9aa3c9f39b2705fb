/* SPDX-License-Identifier: Apache-2.0 */
/* Concordance: one sweep from the latest time to the earliest, with a tree of counts over the risks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "eval/survival.h"

void sw_ranked_free(sw_ranked *r)
{
    sw_free(r->by_time);
    sw_free(r->by_risk);
    sw_free(r->place);
    sw_free(r->below);
    sw_free(r->above);
    sw_free(r->tree);
    *r = (sw_ranked){0};
}

static int by_key(const void *a, const void *b, void *keys)
{
    const double *key = keys;
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    if (key[i] != key[j]) return key[i] < key[j] ? -1 : 1;
    return (i > j) - (i < j);
}

/* The first place whose risk is not smaller (or, `above`, is larger) than `risk` by more than a tie. */
static int64_t bound(const sw_ranked *r, double risk, bool above)
{
    int64_t low = 0, high = r->outcomes->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        double other = r->risk[r->by_risk[middle]];
        bool tied = fabs(other - risk) <= SW_RISK_TIE;
        if ((other < risk && !tied) || (above && tied)) low = middle + 1;
        else high = middle;
    }
    return low;
}

sw_status sw_ranked_new(const sw_outcomes *outcomes, const double *risk, sw_ranked *out, sw_error *err)
{
    SW_CLEANUP(sw_ranked_free) sw_ranked r = {.outcomes = outcomes, .risk = risk};
    size_t n = (size_t)outcomes->count;
    r.by_time = sw_calloc(n + 1, sizeof *r.by_time);
    r.by_risk = sw_calloc(n + 1, sizeof *r.by_risk);
    r.place = sw_calloc(n + 1, sizeof *r.place);
    r.below = sw_calloc(n + 1, sizeof *r.below);
    r.above = sw_calloc(n + 1, sizeof *r.above);
    r.tree = sw_calloc(n + 1, sizeof *r.tree);
    if (!r.by_time || !r.by_risk || !r.place || !r.below || !r.above || !r.tree) return sw_nomem(err);
    for (int64_t i = 0; i < outcomes->count; i++) r.by_time[i] = r.by_risk[i] = i;
    qsort_r(r.by_time, n, sizeof *r.by_time, by_key, (void *)outcomes->time);
    qsort_r(r.by_risk, n, sizeof *r.by_risk, by_key, (void *)risk);
    for (int64_t i = 0; i < outcomes->count; i++) {
        r.place[r.by_risk[i]] = i;
        r.below[i] = bound(&r, risk[i], false);
        r.above[i] = bound(&r, risk[i], true);
    }
    *out = r;
    r = (sw_ranked){0};
    return SW_OK;
}

static void tree_add(const sw_ranked *r, int64_t place, double weight)
{
    for (int64_t i = place + 1; i <= r->outcomes->count; i += i & -i) r->tree[i] += weight;
}

/* Weight of the first `places`. */
static double tree_sum(const sw_ranked *r, int64_t places)
{
    double sum = 0;
    for (int64_t i = places; i > 0; i -= i & -i) sum += r->tree[i];
    return sum;
}

void sw_ranked_concordance(const sw_ranked *r, const int32_t *weight, const double *pair, sw_concordance *out)
{
    const sw_outcomes *o = r->outcomes;
    double concordant = 0, discordant = 0, tied = 0, tied_time = 0, numerator = 0, denominator = 0, in_tree = 0;
    memset(r->tree, 0, (size_t)(o->count + 1) * sizeof *r->tree);
    for (int64_t end = o->count, begin; end > 0; end = begin) {
        double time = o->time[r->by_time[end - 1]], censored = 0;
        for (begin = end; begin > 0 && o->time[r->by_time[begin - 1]] == time;) begin--;
        for (int pass = 0; pass < 3; pass++) { /* censored ones join, events are compared, then join */
            for (int64_t k = begin; k < end; k++) {
                int64_t i = r->by_time[k];
                double w = weight ? weight[i] : 1;
                if (w == 0 || o->event[i] != (pass > 0)) continue;
                if (pass != 1) {
                    tree_add(r, r->place[i], w);
                    in_tree += w;
                    if (pass == 0) censored += w;
                    continue;
                }
                double smaller = tree_sum(r, r->below[i]), equal = tree_sum(r, r->above[i]) - smaller;
                double q = w * (pair ? pair[i] : 1.0);
                concordant += w * smaller;
                tied += w * equal;
                discordant += w * (in_tree - smaller - equal);
                tied_time += w * censored;
                numerator += q * (smaller + 0.5 * equal);
                denominator += q * in_tree;
            }
        }
    }
    *out = (sw_concordance){denominator > 0 ? numerator / denominator : NAN, (int64_t)concordant, (int64_t)discordant,
                            (int64_t)tied, (int64_t)tied_time};
}

sw_status sw_concordance_index(const sw_outcomes *outcomes, const double *risk, sw_concordance *out, sw_error *err)
{
    SW_CLEANUP(sw_ranked_free) sw_ranked r = {0};
    SW_TRY(sw_ranked_new(outcomes, risk, &r, err));
    sw_ranked_concordance(&r, NULL, NULL, out);
    return SW_OK;
}

sw_status sw_concordance_index_ipcw(const sw_outcomes *train, const sw_outcomes *test, const double *risk, double tau,
                                    sw_concordance *out, sw_error *err)
{
    SW_CLEANUP(sw_ranked_free) sw_ranked r = {0};
    SW_CLEANUP(sw_steps_free) sw_steps g = {0};
    SW_AUTOFREE double *pair = sw_calloc((size_t)test->count + 1, sizeof *pair);
    if (!pair) return sw_nomem(err);
    SW_TRY(sw_ranked_new(test, risk, &r, err));
    SW_TRY(sw_censoring(train, &g, err));
    for (int64_t i = 0; i < test->count; i++) {
        double w = test->event[i] && (tau <= 0 || test->time[i] < tau) ? sw_censoring_weight(&g, test->time[i]) : 0;
        pair[i] = isfinite(w) ? w * w : 0;
    }
    sw_ranked_concordance(&r, NULL, pair, out);
    return SW_OK;
}
