/* SPDX-License-Identifier: Apache-2.0 */
#include "train/watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/eval.h"

const char *const sw_part_names[SW_PARTS] = {"encoder", "aggregator", "head"};

/* --- features */

/* Eigenvalues of the symmetric `a` [n, n], which is used up: Jacobi's rotations. They end on its diagonal. */
static void jacobi(double *a, int n)
{
    for (int sweep = 0; sweep < 30; sweep++) {
        double off = 0, all = 0;
        for (int i = 0; i < n * n; i++) all += a[i] * a[i];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < i; j++) off += 2 * a[i * n + j] * a[i * n + j];
        if (off <= 1e-20 * all) return;
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) {
                if (a[p * n + q] == 0) continue;
                double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < n; k++) {
                    double x = a[k * n + p], y = a[k * n + q];
                    a[k * n + p] = c * x - s * y;
                    a[k * n + q] = s * x + c * y;
                }
                for (int k = 0; k < n; k++) {
                    double x = a[p * n + k], y = a[q * n + k];
                    a[p * n + k] = c * x - s * y;
                    a[q * n + k] = s * x + c * y;
                }
            }
        }
    }
}

static double effective_rank(double *gram, int n)
{
    double sum = 0, entropy = 0;
    jacobi(gram, n);
    for (int i = 0; i < n; i++) sum += fmax(gram[i * n + i], 0);
    for (int i = 0; i < n; i++) {
        double share = fmax(gram[i * n + i], 0) / sum;
        if (share > 0) entropy -= share * log(share);
    }
    return exp(entropy);
}

/* The rows' products about their mean, [n, n]: with the covariance it shares all eigenvalues but zeros and a factor. */
static void gram_of(const float *const *row, int n, int64_t dim, const double *mean, double *gram)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t k = 0; k < dim; k++) sum += (row[i][k] - mean[k]) * (row[j][k] - mean[k]);
            gram[i * n + j] = gram[j * n + i] = sum;
        }
    }
}

sw_status sw_feature_measure(const float *features, int64_t n, int64_t dim, sw_feature_stats *out, sw_error *err)
{
    const float *row[SW_FEATURE_ROWS];
    int rows = (int)(n < SW_FEATURE_ROWS ? n : SW_FEATURE_ROWS);
    SW_AUTOFREE double *mean = sw_calloc((size_t)dim, sizeof *mean);
    SW_AUTOFREE double *gram = sw_calloc((size_t)(rows * rows) + 1, sizeof *gram);
    double norm = 0, trace = 0;
    if (!mean || !gram) return sw_nomem(err);
    for (int i = 0; i < rows; i++) {
        double sum = 0;
        row[i] = features + i * n / rows * dim;
        for (int64_t k = 0; k < dim; k++) {
            sum += (double)row[i][k] * row[i][k];
            mean[k] += row[i][k] / (double)rows;
        }
        norm += sqrt(sum) / rows;
    }
    *out = (sw_feature_stats){NAN, NAN, NAN};
    if (!isfinite(norm)) return SW_OK;
    gram_of(row, rows, dim, mean, gram);
    for (int i = 0; i < rows; i++) trace += gram[i * rows + i] / rows;
    *out = (sw_feature_stats){.norm = norm};
    /* Rounding of floats is no spread. */
    if (norm > 0 && sqrt(trace) > 1e-6 * norm)
        *out = (sw_feature_stats){.norm = norm, .spread = sqrt(trace) / norm, .rank = effective_rank(gram, rows)};
    return SW_OK;
}

/* --- sums */

static sw_status add_heads(sw_watch *w, const float *attention, int64_t heads, int64_t n, sw_error *err)
{
    for (int64_t h = 0; h < heads; h++) {
        sw_attention_stats s;
        SW_TRY(sw_attention_measure(attention + h * n, 1, n, 0, &s, err));
        w->head_gap += s.entropy_gap / (double)heads;
    }
    return SW_OK;
}

static sw_status add_attention(sw_watch *w, const sw_tensor *attention, sw_error *err)
{
    int64_t bags = attention->shape.dim[0], heads = attention->shape.dim[1], n = attention->shape.dim[2];
    SW_AUTOFREE float *host = sw_malloc((size_t)(bags * heads * n) * sizeof *host);
    if (!host) return sw_nomem(err);
    SW_TRY(sw_tensor_download_f32(attention, host, err));
    for (int64_t b = 0; b < bags; b++) {
        sw_attention_stats s;
        sw_status status = sw_attention_measure(host + b * heads * n, (int)heads, n, 0, &s, err);
        if (status == SW_E_INVALID) { /* no number: the loss is none either, and whoever looks at it tells */
            w->bad++;
            continue;
        }
        SW_TRY(status);
        SW_TRY(add_heads(w, host + b * heads * n, heads, n, err));
        w->bags++;
        w->sparsity += s.sparsity;
        w->below_mean += s.below_mean;
        w->entropy_gap += s.entropy_gap;
        w->gini += s.gini;
    }
    return SW_OK;
}

static sw_status add_features(sw_watch *w, const sw_tensor *features, const sw_batch *b, sw_error *err)
{
    int64_t dim = features->shape.dim[1];
    sw_feature_stats s;
    sw_tensor first = {0};
    SW_AUTOFREE float *host = sw_malloc((size_t)(b->bag_patches * dim) * sizeof *host);
    if (!host) return sw_nomem(err);
    SW_TRY(sw_tensor_view(features, 0, SW_SHAPE(b->bag_patches, dim), &first, err));
    sw_status status = sw_tensor_download_f32(&first, host, err);
    sw_tensor_release(&first);
    SW_TRY(status);
    SW_TRY(sw_feature_measure(host, b->bag_patches, dim, &s, err));
    if (!isfinite(s.norm)) return SW_OK;
    w->looks++;
    w->feature_norm += s.norm;
    w->feature_spread += s.spread;
    w->feature_rank += s.rank;
    return SW_OK;
}

sw_status sw_watch_step(sw_watch *w, const sw_tensor *attention, const sw_tensor *features, const sw_batch *batch, sw_error *err)
{
    double n = (double)batch->bag_patches;
    if (w->fewest == 0 || n < w->fewest) w->fewest = n;
    if (attention) SW_TRY(add_attention(w, attention, err));
    return add_features(w, features, batch, err);
}

static int part_of(const sw_slab *slab, int entry)
{
    const char *name = sw_slab_name(slab, entry);
    if (strcmp(sw_slab_group(slab, entry), "encoder") == 0) return SW_PART_ENCODER;
    return strncmp(name, "mil.classifier", 14) == 0 || strncmp(name, "mil.head", 8) == 0 ? SW_PART_HEAD : SW_PART_AGGREGATOR;
}

/* Adds the sum of squares of gradients [first, first + count). */
static sw_status add_squares(sw_model *model, sw_tensor *out, int64_t first, int64_t count, double *sum, sw_error *err)
{
    sw_tensor g = {0};
    double part = 0;
    if (count == 0) return SW_OK;
    SW_TRY(sw_tensor_view(sw_slab_grads(sw_model_slab(model)), first, SW_SHAPE(count), &g, err));
    sw_forward_args args = {.in = {&g}, .out = {out}};
    sw_status status = sw_backend_run(sw_model_backend(model), SW_OP_SUM_SQUARES, &args, err);
    sw_tensor_release(&g);
    if (status == SW_OK) status = sw_tensor_download(out, &part, err);
    *sum += part;
    return status;
}

/* Entries of one part that follow each other are one run; what pads them is zero. learns [SW_PARTS]: whether a part has any (the
 * aggregator "mean" has none). */
static sw_status square_parts(sw_model *model, sw_tensor *out, double *sum, bool *learns, sw_error *err)
{
    sw_slab *slab = sw_model_slab(model);
    int64_t first = 0, end = 0;
    int part = SW_PART_ENCODER;
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        if (sw_slab_entry_kind(slab, i) != SW_PARAM) continue;
        int64_t at = sw_slab_first(slab, i);
        if (part_of(slab, i) != part) {
            SW_TRY(add_squares(model, out, first, end - first, &sum[part], err));
            first = at;
            part = part_of(slab, i);
        }
        learns[part] = true;
        end = at + sw_shape_count(sw_slab_shape(slab, i));
    }
    return add_squares(model, out, first, end - first, &sum[part], err);
}

sw_status sw_watch_gradients(sw_watch *w, sw_model *model, double grad_scale, sw_error *err)
{
    double sum[SW_PARTS] = {0}, all = 0;
    bool learns[SW_PARTS] = {false};
    sw_tensor out = {0};
    SW_TRY(sw_tensor_new(&sw_model_backend(model)->device, SW_F64, SW_SHAPE(1), &out, err));
    sw_status status = square_parts(model, &out, sum, learns, err);
    sw_tensor_release(&out);
    SW_TRY(status);
    for (int p = 0; p < SW_PARTS; p++) all += sum[p];
    if (!isfinite(all)) return SW_OK; /* the optimiser tells */
    w->updates++;
    for (int p = 0; p < SW_PARTS; p++) w->grad[p] += learns[p] ? sqrt(sum[p]) * grad_scale : NAN;
    w->grad_all += sqrt(all) * grad_scale;
    return SW_OK;
}

static double mean(double sum, double count)
{
    return count > 0 ? sum / count : NAN;
}

sw_watch sw_watch_means(const sw_watch *w)
{
    sw_watch m = *w;
    m.sparsity = mean(w->sparsity, w->bags);
    m.below_mean = mean(w->below_mean, w->bags);
    m.entropy_gap = mean(w->entropy_gap, w->bags);
    m.gini = mean(w->gini, w->bags);
    m.head_gap = mean(w->head_gap, w->bags);
    m.feature_norm = mean(w->feature_norm, w->looks);
    m.feature_spread = mean(w->feature_spread, w->looks);
    m.feature_rank = mean(w->feature_rank, w->looks);
    for (int p = 0; p < SW_PARTS; p++) m.grad[p] = mean(w->grad[p], w->updates);
    m.grad_all = mean(w->grad_all, w->updates);
    return m;
}

/* --- alarms */

/* Beyond these no run that learned was seen to go; they are wide on purpose. */
static const double ONE_PATCH_GAP = 0.95, UNIFORM_GAP = 1e-5, LEAST_RANK = 1.05, LEAST_SPREAD = 1e-4, LEAST_GRADIENT = 1e-8,
                    MOST_GRADIENT = 1e4, MOST_GUESSING = 10;
enum { FEWEST_PATCHES = 4, FIRST_EPOCH_UNIFORM = 2 };

const char *sw_watch_alarm_name(sw_watch_alarm alarm)
{
    static const char *const names[SW_ALARMS] = {"attention_one_patch", "attention_uniform", "feature_rank", "gradients_vanished",
                                                 "gradients_exploded",  "loss",              "not_finite"};
    return names[alarm];
}

static bool vanished(const sw_watch *m, const sw_watch_case *of, char *text, size_t size)
{
    for (int p = 0; p < SW_PARTS; p++) {
        if ((p == SW_PART_ENCODER && of->encoder_frozen) || !(m->grad[p] < LEAST_GRADIENT)) continue;
        snprintf(text, size, "epoch %d: the gradient of the %s has vanished (norm %.1e): it learns nothing any more; lower train.lr",
                 of->epoch, sw_part_names[p], m->grad[p]);
        return true;
    }
    return false;
}

/* If it holds, the sentence is written; whether it does. */
#define SAY(holds, ...) ((holds) && snprintf(text, size, __VA_ARGS__) > 0)

bool sw_watch_judge(const sw_watch *m, const sw_watch_case *of, sw_watch_alarm alarm, char *text, size_t size)
{
    bool many = m->fewest >= FEWEST_PATCHES;
    switch (alarm) {
    case SW_ALARM_ONE_PATCH:
        return SAY(many && m->head_gap > ONE_PATCH_GAP,
                   "epoch %d: the attention lies on about one patch of each bag (1 - entropy / ln N of a head is %.3f): the others teach the "
                   "encoder nothing; lower train.lr or warm up longer", of->epoch, m->head_gap);
    case SW_ALARM_UNIFORM:
        return SAY(many && of->epoch >= FIRST_EPOCH_UNIFORM && m->head_gap < UNIFORM_GAP,
                   "epoch %d: the attention is the same on all patches (1 - entropy / ln N of a head is %.1e): it chooses nothing; see whether "
                   "features differ, and lower train.lr", of->epoch, m->head_gap);
    case SW_ALARM_RANK:
        return SAY(many && m->feature_spread < LEAST_SPREAD,
                   "epoch %d: all patches of a bag have the same features (they spread by %.1e of their norm): the encoder has "
                   "collapsed; lower train.lr, and begin from pretrained weights", of->epoch, m->feature_spread) ||
               SAY(many && m->feature_rank < LEAST_RANK,
                   "epoch %d: the features of a bag vary along one line (effective rank %.2f): the encoder has collapsed; lower "
                   "train.lr, and begin from pretrained weights", of->epoch, m->feature_rank);
    case SW_ALARM_VANISHED: return vanished(m, of, text, size);
    case SW_ALARM_EXPLODED:
        return SAY(m->grad_all > MOST_GRADIENT,
                   "epoch %d: the gradient has exploded (norm %.1e); lower train.lr or set train.clip", of->epoch, m->grad_all);
    case SW_ALARM_LOSS:
        return SAY(of->loss > MOST_GUESSING * of->guessing,
                   "epoch %d: the training loss is %.3g, far above that of guessing; lower train.lr or set train.clip", of->epoch, of->loss);
    case SW_ALARM_NOT_FINITE:
    case SW_ALARMS: break;
    }
    return false;
}
