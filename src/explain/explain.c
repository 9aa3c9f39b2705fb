/* SPDX-License-Identifier: Apache-2.0 */
/* All outputs for one slide. */
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "explain/explain.h"
#include "slidewise/predict.h"
#include "slidewise/slide.h"

static void put_prediction(sw_json_writer *w, const struct sw_slide_prediction *p, const char *const *class_names)
{
    if (p->survival) {
        sw_json_put_number(w, "risk", p->risk);
        if (p->n_classes == 1) return; /* which is all there is */
    } else {
        sw_json_key(w, "predicted");
        sw_json_string(w, class_names[p->predicted]);
    }
    sw_json_key(w, p->survival ? "survival" : "probability");
    sw_json_object(w);
    for (int c = 0; c < p->n_classes; c++) sw_json_put_number(w, class_names[c], p->probability[c]);
    sw_json_end_object(w);
}

static void put_attention(sw_json_writer *w, const sw_attention_stats *s)
{
    sw_json_key(w, "attention");
    sw_json_object(w);
    sw_json_put_number(w, "threshold", s->threshold);
    sw_json_put_number(w, "sparsity", s->sparsity);
    sw_json_put_number(w, "below_mean", s->below_mean);
    sw_json_put_number(w, "entropy_gap", s->entropy_gap);
    sw_json_put_number(w, "gini", s->gini);
    sw_json_end_object(w);
}

static void put_focus(sw_json_writer *w, const sw_focus_score *f)
{
    sw_json_key(w, "focus");
    sw_json_object(w);
    sw_json_put_int(w, "n_positive", f->n_positive);
    sw_json_put_int(w, "n_foci", f->n_foci);
    sw_json_put_int(w, "n_found", f->n_found);
    sw_json_put_number(w, "auc", f->auc);
    sw_json_put_int(w, "top", f->top);
    sw_json_put_number(w, "top_hits", f->top_hits);
    sw_json_put_number(w, "top_expected", f->top_expected);
    sw_json_end_object(w);
}

static sw_status write_summary(const struct sw_slide_prediction *p, const char *const *class_names,
                               const sw_explain_options *opt, const sw_focus_score *focus, const char *path,
                               sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_attention_stats stats;
    sw_json_writer w;
    SW_TRY(sw_attention_measure(p->attention, p->n_heads, p->n_patches, 0, &stats, err));
    sw_json_begin(&w, &buf, 2);
    sw_json_object(&w);
    sw_json_key(&w, "slide");
    sw_json_string(&w, p->slide_id);
    put_prediction(&w, p, class_names);
    sw_json_put_int(&w, "n_patches", p->n_patches);
    sw_json_put_int(&w, "n_heads", p->n_heads);
    sw_json_key(&w, "head");
    if (opt->head == SW_HEAD_MEAN) {
        sw_json_string(&w, "mean");
    } else {
        sw_json_int(&w, opt->head);
    }
    sw_json_key(&w, "scale");
    sw_json_string(&w, opt->scale == SW_HEAT_RANK ? "rank" : "min_max");
    sw_json_put_number(&w, "mpp_um", p->mpp_um);
    put_attention(&w, &stats);
    if (focus) put_focus(&w, focus);
    sw_json_end_object(&w);
    sw_buf_puts(&buf, "\n");
    SW_TRY(sw_buf_status(&buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}

static void foci_free_ptr(sw_foci **foci)
{
    sw_foci_free(*foci);
}

static sw_status score(const sw_attention_map *map, const sw_explain_options *opt, sw_focus_score *out, sw_error *err)
{
    SW_CLEANUP(foci_free_ptr) sw_foci *foci = NULL;
    SW_TRY(sw_foci_read(opt->foci, &foci, err));
    return sw_focus_score_of(foci, map, opt->head, opt->top > 0 ? opt->top : 16, out, err);
}

sw_status sw_explain_slide(struct sw_slide *slide, const struct sw_slide_prediction *prediction,
                           const char *const *class_names, const char *dir, const sw_explain_options *options,
                           sw_focus_score *focus, sw_error *err)
{
    static const char *const suffixes[] = {".png", ".geojson", ".csv", "_top.png", ".json"};
    sw_explain_options opt = options ? *options : sw_explain_options_default();
    sw_attention_map map;
    sw_focus_score found = {0};
    SW_TRY(sw_attention_map_of(prediction, &map, err));
    SW_TRY(sw_attention_map_check(&map, opt.head, err));
    if (opt.foci) SW_TRY(score(&map, &opt, &found, err));
    SW_TRY(sw_mkdir_p(dir, err));
    for (int i = 0; i < 5; i++) { /* the summary comes last: where it is, the others are complete */
        SW_AUTOFREE char *path = sw_explain_path(dir, map.slide_id, suffixes[i]);
        if (!path) return sw_nomem(err);
        if (sw_log_cancelled(opt.sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        if (i == 0) SW_TRY(sw_heatmap_png(slide, &map, &opt, path, err));
        if (i == 1) SW_TRY(sw_heatmap_geojson(&map, &opt, path, err));
        if (i == 2) SW_TRY(sw_heatmap_csv(&map, &opt, path, err));
        if (i == 3 && opt.top > 0) SW_TRY(sw_heatmap_sheet(slide, &map, &opt, path, err));
        if (i == 4) SW_TRY(write_summary(prediction, class_names, &opt, opt.foci ? &found : NULL, path, err));
    }
    if (focus) *focus = found;
    return SW_OK;
}
