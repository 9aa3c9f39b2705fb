/* SPDX-License-Identifier: Apache-2.0 */
/* Slide by slide: predictions with the worst errors first, heatmaps, and what attention looks like. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "report/html.h"
#include "report/page.h"
#include "slidewise/image.h"

#define MAX_WIDTH 1500 /* of an embedded picture */
#define QUALITY 82

/* Probability of the true class; slides without a label come last. */
static double belief(const sw_predictions *p, int64_t i)
{
    return p->label[i] < 0 ? 2 : p->probability[i * p->n_classes + p->label[i]];
}

static int by_belief(const void *a, const void *b, void *preds)
{
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    double x = belief(preds, i), y = belief(preds, j);
    if (x != y) return x < y ? -1 : 1;
    return (i > j) - (i < j);
}

static void prediction_row(sw_buf *b, const sw_predictions *p, int64_t i)
{
    double most = p->probability[i * p->n_classes + p->predicted[i]];
    bool wrong = p->label[i] >= 0 && p->label[i] != p->predicted[i];
    sw_buf_puts(b, wrong ? "<tr class=\"wrong\">" : "<tr>");
    sw_html_element(b, "td", "id", p->slide_id[i]);
    sw_html_element(b, "td", "id", p->case_id[i]);
    sw_html_element(b, "td", NULL, p->label[i] < 0 ? "" : p->class_name[p->label[i]]);
    sw_html_element(b, "td", "v", p->class_name[p->predicted[i]]);
    sw_buf_printf(b, "<td><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span>%.3f</td>", 100 * most, most);
    if (p->label[i] < 0) {
        sw_buf_puts(b, "<td class=\"n\">&ndash;</td>");
    } else {
        sw_html_number_cell(b, belief(p, i), 3);
    }
    sw_buf_puts(b, "</tr>\n");
}

static sw_status prediction_table(sw_buf *b, const sw_predictions *p, int64_t max_slides, sw_error *err)
{
    static const char *const head[] = {"slide", "case", "label", "predicted", "probability", "#of the label", NULL};
    int64_t shown = p->count < max_slides ? p->count : max_slides;
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)p->count + 1, sizeof *order);
    if (!order) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) order[i] = i;
    qsort_r(order, (size_t)p->count, sizeof *order, by_belief, (void *)p);
    sw_buf_puts(b, "<div class=\"scroll\"><table>\n");
    sw_html_head_row(b, head);
    sw_buf_puts(b, "<tbody>\n");
    for (int64_t k = 0; k < shown; k++) prediction_row(b, p, order[k]);
    sw_buf_puts(b, "</tbody></table></div>\n");
    if (shown < p->count) {
        sw_buf_printf(b, "<p class=\"note\">%lld of %lld slides are shown; all are in the run's CSV.</p>\n", (long long)shown,
                      (long long)p->count);
    }
    return SW_OK;
}

sw_status sw_page_predictions(sw_buf *b, const sw_run_files *run, int64_t max_slides, sw_error *err)
{
    size_t tables = 0;
    sw_html_section(b, "slides", "Slide by slide");
    for (size_t i = 0; i < run->n_splits; i++) {
        const sw_run_split *s = &run->split[i];
        if (!s->has_predictions && !s->has_risks) continue;
        sw_buf_puts(b, tables ? "<details><summary>Split " : "<details open><summary>Split ");
        sw_html_text(b, s->name);
        if (s->has_risks) sw_buf_printf(b, ", %lld cases, the highest risk first</summary>\n", (long long)s->risks.count);
        else sw_buf_printf(b, ", %lld slides, the worst errors first</summary>\n", (long long)s->preds.count);
        SW_TRY(s->has_risks ? sw_page_survival_cases(b, s, max_slides, err) : prediction_table(b, &s->preds, max_slides, err));
        sw_buf_puts(b, "</details>\n");
        tables++;
    }
    if (!tables) sw_html_missing(b, "There is no predictions_<split>.csv in this run.");
    sw_html_end_section(b);
    return SW_OK;
}

/* ---- heatmaps ---- */

static void image_bytes_free(uint8_t **bytes)
{
    sw_image_bytes_free(*bytes);
}

/* The picture as a JPEG of moderate size, so that a page with many stays easy to send. */
static sw_status embed(sw_buf *b, const char *path, const char *alt, const char *slide, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_image_free) sw_image small = {0};
    SW_CLEANUP(image_bytes_free) uint8_t *jpeg = NULL;
    const sw_image *use = &image;
    size_t size = 0;
    SW_TRY(sw_image_read(path, &image, err));
    if (image.width > MAX_WIDTH) {
        int64_t height = (image.height * MAX_WIDTH + image.width / 2) / image.width;
        SW_TRY(sw_image_resize(&image, MAX_WIDTH, height > 0 ? height : 1, &small, err));
        use = &small;
    }
    SW_TRY(sw_jpeg_encode(use->rgb, use->width, use->height, QUALITY, &jpeg, &size, err));
    sw_buf_printf(b, "<img width=\"%lld\" height=\"%lld\" alt=\"", (long long)use->width, (long long)use->height);
    sw_html_text(b, alt);
    sw_html_text(b, slide);
    sw_buf_puts(b, "\" src=\"data:image/jpeg;base64,");
    sw_buf_base64(b, jpeg, size);
    sw_buf_puts(b, "\">");
    return SW_OK;
}

/* A picture that cannot be read leaves a sentence. */
static sw_status embed_or_say(sw_buf *b, const char *path, const char *alt, const char *slide, sw_error *err)
{
    sw_error why = {0};
    size_t before = b->size;
    sw_status status = embed(b, path, alt, slide, &why);
    if (status == SW_OK) return SW_OK;
    if (status == SW_E_NOMEM) return sw_nomem(err);
    if (b->data) {
        b->size = before;
        b->data[before] = '\0';
    }
    sw_html_missing(b, "%s", why.message);
    return SW_OK;
}

static double number_of(const sw_json *object, const char *key)
{
    const sw_json *value = object ? sw_json_get(object, key) : NULL;
    return value ? sw_json_real(value, NAN) : NAN;
}

static void focus_text(sw_buf *b, const sw_json *focus)
{
    double auc = number_of(focus, "auc");
    if (!focus) return;
    if (number_of(focus, "n_foci") == 0) {
        sw_buf_puts(b, " The slide has no true focus.");
        return;
    }
    sw_buf_printf(b, " Against the true foci: %.0f of %.0f found by the top %.0f patches, of which %.0f %% lie in a focus "
                     "(%.0f %% would by chance)",
                  number_of(focus, "n_found"), number_of(focus, "n_foci"), number_of(focus, "top"),
                  100 * number_of(focus, "top_hits"), 100 * number_of(focus, "top_expected"));
    if (isfinite(auc)) sw_buf_printf(b, "; AUC of attention %.3f", auc);
    sw_buf_puts(b, ".");
}

static void caption(sw_buf *b, const sw_run_files *run, const sw_run_heatmap *h)
{
    sw_buf_puts(b, "<figcaption><strong>");
    sw_html_text(b, h->slide_id);
    sw_buf_puts(b, "</strong>");
    if (h->split >= 0 && run->split[h->split].has_predictions) {
        const sw_run_split *s = &run->split[h->split];
        const sw_predictions *p = &s->preds;
        sw_buf_puts(b, ", split ");
        sw_html_text(b, s->name);
        if (p->label[h->row] >= 0) {
            sw_buf_puts(b, ", label ");
            sw_html_text(b, p->class_name[p->label[h->row]]);
        }
        sw_buf_puts(b, ", predicted ");
        sw_html_text(b, p->class_name[p->predicted[h->row]]);
        sw_buf_printf(b, " (%.3f)", p->probability[h->row * p->n_classes + p->predicted[h->row]]);
    } else if (h->info && sw_json_get(h->info, "risk")) {
        sw_buf_printf(b, ", risk %.4g", sw_json_real(sw_json_get(h->info, "risk"), NAN));
    } else if (h->info) {
        sw_buf_puts(b, ", predicted ");
        sw_html_text(b, sw_json_text(sw_json_get(h->info, "predicted"), "?"));
    }
    sw_buf_puts(b, ".");
    if (h->info) focus_text(b, sw_json_get(h->info, "focus"));
    sw_buf_puts(b, "</figcaption>");
}

static sw_status figure(sw_buf *b, const sw_run_files *run, const sw_run_heatmap *h, sw_error *err)
{
    sw_buf_puts(b, "<figure>\n");
    SW_TRY(embed_or_say(b, h->png, "Attention over slide ", h->slide_id, err));
    sw_buf_puts(b, "\n");
    caption(b, run, h);
    if (h->top) {
        sw_buf_puts(b, "\n<details><summary>The most attended patches</summary>\n");
        SW_TRY(embed_or_say(b, h->top, "Most attended patches of slide ", h->slide_id, err));
        sw_buf_puts(b, "</details>");
    }
    sw_buf_puts(b, "\n</figure>\n");
    return SW_OK;
}

sw_status sw_page_heatmaps(sw_buf *b, const sw_run_files *run, int max_heatmaps, sw_error *err)
{
    size_t shown = run->n_heatmaps < (size_t)max_heatmaps ? run->n_heatmaps : (size_t)max_heatmaps;
    sw_html_section(b, "heatmaps", "Where the model looked");
    if (run->n_heatmaps == 0) {
        sw_html_missing(b, "There are no heatmaps in this run; slidewise heatmap RUN SLIDE draws them.");
    } else {
        sw_buf_puts(b, "<p class=\"note\">Left the slide, right the same with attention. Attention says where the aggregator took "
                       "its evidence from. It is not a segmentation, and it is not a diagnosis.</p>\n");
    }
    for (size_t i = 0; i < shown; i++) SW_TRY(figure(b, run, &run->heatmap[i], err));
    if (shown < run->n_heatmaps) {
        sw_buf_printf(b, "<p class=\"note\">%zu of %zu heatmaps are shown; all are in the run's folder heatmaps.</p>\n", shown,
                      run->n_heatmaps);
    }
    sw_html_end_section(b);
    return SW_OK;
}

/* ---- attention ---- */

static const struct {
    const char *key, *title;
    int decimals;
} measures[] = {{"sparsity", "#sparsity %", 1}, {"below_mean", "#below mean", 3}, {"entropy_gap", "#entropy gap", 3}, {"gini", "#Gini", 3}};
enum { MEASURES = sizeof measures / sizeof *measures };

static void attention_row(sw_buf *b, const char *name, double patches, const double value[MEASURES], bool mean)
{
    sw_buf_puts(b, mean ? "<tr class=\"mean\">" : "<tr>");
    sw_html_element(b, mean ? "th" : "td", mean ? NULL : "id", name);
    sw_html_number_cell(b, patches, 0);
    for (int m = 0; m < MEASURES; m++) sw_html_number_cell(b, value[m], measures[m].decimals);
    sw_buf_puts(b, "</tr>\n");
}

void sw_page_attention(sw_buf *b, const sw_run_files *run)
{
    const char *head[MEASURES + 3] = {"slide", "#patches"};
    double sum[MEASURES] = {0}, patches = 0, threshold = NAN;
    size_t n = 0;
    for (int m = 0; m < MEASURES; m++) head[m + 2] = measures[m].title;
    sw_html_section(b, "attention", "How attention is spread");
    for (size_t i = 0; i < run->n_heatmaps; i++) {
        const sw_json *stats = run->heatmap[i].info ? sw_json_get(run->heatmap[i].info, "attention") : NULL;
        double value[MEASURES];
        if (!stats) continue;
        if (n++ == 0) {
            sw_buf_puts(b, "<div class=\"scroll\"><table>\n");
            sw_html_head_row(b, head);
            sw_buf_puts(b, "<tbody>\n");
        }
        for (int m = 0; m < MEASURES; m++) sum[m] += value[m] = number_of(stats, measures[m].key);
        patches += number_of(run->heatmap[i].info, "n_patches");
        threshold = number_of(stats, "threshold");
        attention_row(b, run->heatmap[i].slide_id, number_of(run->heatmap[i].info, "n_patches"), value, false);
    }
    if (n == 0) {
        sw_html_missing(b, "Attention is measured when heatmaps are drawn; there are none.");
    } else {
        for (int m = 0; m < MEASURES; m++) sum[m] /= (double)n;
        attention_row(b, "mean", patches / (double)n, sum, true);
        sw_buf_printf(b, "</tbody></table></div>\n<p class=\"note\">Sparsity: share of patches whose attention, scaled from the "
                         "slide's least (0) to its most (1), is below %.2g. Below mean: share of patches with less than 1/N. "
                         "Entropy gap: 1 &minus; H/ln N. All four are 0 for even attention and grow as fewer patches hold "
                         "it.</p>\n", threshold);
    }
    sw_html_end_section(b);
}
