/* SPDX-License-Identifier: Apache-2.0 */
/* How sparse attention is: the thresholded share that the paper reports, and three measures without one. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "eval/eval.h"

#define DEFAULT_THRESHOLD 0.1

/* Mean over heads, each normalised to sum 1. */
static sw_status mean_of_heads(const float *attention, int n_heads, int64_t n, double *mean, sw_error *err)
{
    for (int h = 0; h < n_heads; h++) {
        const float *row = attention + h * n;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            if (!(row[i] >= 0) || isinf(row[i])) {
                return sw_error_set(err, SW_E_INVALID, "head %d, patch %lld: attention %g is not a weight", h, (long long)i,
                                    (double)row[i]);
            }
            sum += row[i];
        }
        if (sum <= 0) return sw_error_set(err, SW_E_INVALID, "head %d: all attention is zero", h);
        for (int64_t i = 0; i < n; i++) mean[i] += row[i] / sum / n_heads;
    }
    return SW_OK;
}

static void measure(const double *sorted, int64_t n, sw_attention_stats *out)
{
    double low = sorted[0], span = sorted[n - 1] - sorted[0], entropy = 0, gini = 0;
    int64_t inactive = 0, below = 0;
    for (int64_t i = 0; i < n; i++) {
        inactive += (sorted[i] - low) / span < out->threshold;
        below += sorted[i] < 1.0 / (double)n;
        if (sorted[i] > 0) entropy -= sorted[i] * log(sorted[i]);
        gini += (double)(2 * (i + 1) - n - 1) * sorted[i]; /* the values sum to 1 */
    }
    out->sparsity = 100.0 * (double)inactive / (double)n;
    out->below_mean = (double)below / (double)n;
    out->entropy_gap = 1 - entropy / log((double)n);
    out->gini = gini / (double)n;
}

sw_status sw_attention_measure(const float *attention, int n_heads, int64_t n_patches, double threshold,
                               sw_attention_stats *out, sw_error *err)
{
    SW_AUTOFREE double *mean = NULL;
    sw_attention_stats stats = {.n_patches = n_patches, .threshold = threshold > 0 ? threshold : DEFAULT_THRESHOLD};
    if (!attention || n_heads < 1 || n_patches < 1) {
        return sw_error_set(err, SW_E_INVALID, "there is no attention to measure (%d heads, %lld patches)", n_heads,
                            (long long)n_patches);
    }
    mean = sw_calloc((size_t)n_patches, sizeof *mean);
    if (!mean) return sw_nomem(err);
    SW_TRY(mean_of_heads(attention, n_heads, n_patches, mean, err));
    qsort(mean, (size_t)n_patches, sizeof *mean, sw_compare_doubles);
    /* Rounding of float weights is not structure: a span below 1e-6 of the mean counts as uniform. */
    if ((mean[n_patches - 1] - mean[0]) * (double)n_patches > 1e-6) measure(mean, n_patches, &stats);
    *out = stats;
    return SW_OK;
}
