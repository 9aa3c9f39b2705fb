/* SPDX-License-Identifier: Apache-2.0 */
/* A trained run applied to slides, straight from their files. */
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "infer/predict_features.h"
#include "slidewise/predict.h"
#include "store/tile_fate.h"

struct sw_predictor {
    char *path;
    const sw_sink *sink;
    double slide_mpp_um;
    const char *coords; /* borrowed; NULL: segment */
    const char *features; /* borrowed; NULL: what is predicted are files of features themselves, where the model takes them */
    int64_t chunk_patches;
    sw_pool *pool;
    sw_backend *be;
    sw_model *model;
    sw_model_use use;
};

sw_predictor_options sw_predictor_options_default(void)
{
    return (sw_predictor_options){0};
}

void sw_slide_prediction_free(sw_slide_prediction *p)
{
    if (!p) return;
    sw_free(p->slide_id);
    sw_free(p->probability);
    sw_free(p->logit);
    sw_free(p->xy);
    sw_free(p->attention);
    sw_free(p->score);
    *p = (sw_slide_prediction){0};
}

static sw_status open_parts(sw_predictor *p, const char *run_dir, const sw_predictor_options *o, sw_error *err)
{
    SW_TRY(sw_checkpoint_find(run_dir, o->checkpoint, &p->path, err));
    p->sink = o->sink;
    p->slide_mpp_um = o->slide_mpp_um;
    p->coords = o->coords;
    p->features = o->features;
    SW_TRY(sw_checkpoint_peek(p->path, &p->use, err));
    sw_backend_options bo = {.threads = o->threads, .deterministic = p->use.deterministic};
    SW_TRY(sw_backend_new(o->backend ? o->backend : p->use.backend, &bo, &p->be, err));
    const char *precision = o->precision ? o->precision : sw_precision_name(p->use.activations);
    sw_dtype activations;
    SW_TRY(sw_backend_precision(p->be, precision, &activations, err));
    sw_model_use_free(&p->use);
    SW_TRY(sw_checkpoint_open(p->be, p->path, &p->model, &p->use, err));
    sw_model_set_activations(p->model, activations);
    p->chunk_patches = o->chunk_patches > 0 ? o->chunk_patches : p->use.chunk_patches;
    if (sw_model_get_options(p->model)->batch_stats && p->chunk_patches != p->use.chunk_patches)
        return sw_error_set(err, SW_E_INVALID, "%s: its batch norm goes by the patches that are encoded at once, %lld in the run; leave --chunk out",
                            p->path, (long long)p->use.chunk_patches);
    return sw_pool_new(o->threads > 0 ? o->threads : sw_cpu_count(), &p->pool, err);
}

sw_status sw_predictor_open(const char *run_dir, const sw_predictor_options *options, sw_predictor **out, sw_error *err)
{
    sw_predictor *p = sw_calloc(1, sizeof *p);
    if (!p) return sw_nomem(err);
    sw_status status = open_parts(p, run_dir, options, err);
    if (status != SW_OK) {
        sw_predictor_close(&p);
        return status;
    }
    *out = p;
    return SW_OK;
}

void sw_predictor_close(sw_predictor **predictor)
{
    sw_predictor *p = *predictor;
    *predictor = NULL;
    if (!p) return;
    sw_model_free(p->model);
    sw_backend_free(p->be);
    sw_pool_free(p->pool);
    sw_model_use_free(&p->use);
    sw_free(p->path);
    sw_free(p);
}

int sw_predictor_classes(const sw_predictor *p)
{
    return p->use.n_classes;
}

const char *sw_predictor_class(const sw_predictor *p, int index)
{
    return index >= 0 && index < p->use.n_classes ? p->use.class_name[index] : NULL;
}

const char *sw_predictor_checkpoint(const sw_predictor *p)
{
    return p->path;
}

int sw_predictor_feature_dim(const sw_predictor *p)
{
    return sw_model_has_encoder(p->model) ? 0 : sw_model_dim(p->model);
}

bool sw_predictor_survival(const sw_predictor *p)
{
    return p->use.survival;
}

double sw_predictor_edge(const sw_predictor *p, int index)
{
    return p->use.survival && index >= 0 && index + 1 < p->use.n_classes ? p->use.edge[index] : NAN;
}

/* The tiling of the training slides, at the one scale that evaluation uses. */
static sw_tile_settings eval_settings(const sw_predictor *p)
{
    sw_tile_settings s = p->use.tiling;
    s.n_scales = 1;
    s.mpp_um[0] = p->use.eval_mpp_um;
    return s;
}

static sw_status positions(const sw_predictor *p, sw_slide *slide, sw_grid *grid, sw_error *err)
{
    sw_tile_settings settings = eval_settings(p);
    sw_tissue tissue = {0};
    if (p->coords) return sw_tile_positions_given(slide, p->coords, &settings, p->sink, grid, err);
    sw_status status = sw_tile_positions(slide, &settings, &tissue, grid, err);
    sw_tissue_free(&tissue);
    return status;
}

/* A slide of the bag while it is predicted. */
typedef struct part {
    sw_slide *slide;
    sw_grid grid;
} part;

typedef struct parts {
    part *part;
    int64_t n;
} parts;

static void parts_free(parts *p)
{
    for (int64_t i = 0; p->part && i < p->n; i++) {
        sw_grid_free(&p->part[i].grid);
        sw_slide_close(&p->part[i].slide);
    }
    sw_free(p->part);
}

/* The corners of all slides, one slide after the other; of one slide its own array is handed over. */
static sw_status take_corners(parts *all, sw_slide_prediction *out, sw_error *err)
{
    if (all->n == 1) {
        out->xy = sw_steal_(&all->part[0].grid.xy);
        return SW_OK;
    }
    out->xy = sw_calloc((size_t)out->n_patches * 2 + 1, sizeof *out->xy);
    if (!out->xy) return sw_nomem(err);
    for (int64_t i = 0, at = 0; i < all->n; i++) {
        const sw_grid *grid = &all->part[i].grid;
        memcpy(out->xy + 2 * at, grid->xy, (size_t)grid->n_patches * 2 * sizeof *out->xy);
        at += grid->n_patches;
    }
    return SW_OK;
}

/* Hands the bag's arrays over to the prediction. */
static sw_status fill_bag(const sw_predictor *p, const char *name, int64_t n_slides, sw_bag_result *bag, sw_slide_prediction *out, sw_error *err)
{
    out->slide_id = sw_strdup(name);
    if (!out->slide_id) return sw_nomem(err);
    out->n_classes = bag->n_classes;
    out->predicted = bag->predicted;
    out->probability = sw_steal_(&bag->probability);
    out->logit = sw_steal_(&bag->logit);
    out->survival = p->use.survival;
    if (out->survival) {
        out->predicted = 0;
        if (out->n_classes == 1) out->probability[0] = NAN;
        out->risk = sw_survival_host(out->logit, out->n_classes, out->probability);
    }
    out->n_slides = n_slides;
    out->n_patches = bag->n_patches;
    out->n_heads = bag->n_heads;
    out->attention = sw_steal_(&bag->attention);
    out->score = sw_steal_(&bag->score);
    return SW_OK;
}

/* The same, and the grids' positions. */
static sw_status fill(const sw_predictor *p, const char *name, parts *all, sw_bag_result *bag, sw_slide_prediction *out, sw_error *err)
{
    SW_TRY(fill_bag(p, name, all->n, bag, out, err));
    out->tile_px = p->use.tiling.patch_px;
    out->patch_level0_px = all->part[0].grid.patch_level0_px;
    out->patch_px = p->use.crop_px;
    out->mpp_um = all->part[0].grid.mpp_um;
    return take_corners(all, out, err);
}

/* The patches of all slides, at the positions of their grids, as one source; borrows the slides. */
static sw_status source_of(const sw_predictor *p, parts *all, const char *name, sw_patch_source **out, sw_error *err)
{
    int64_t made = 0;
    SW_AUTOFREE sw_patch_source **source = sw_calloc((size_t)all->n, sizeof(sw_patch_source *));
    if (!source) return sw_nomem(err);
    sw_status status = SW_OK;
    for (; made < all->n && status == SW_OK; made += status == SW_OK) {
        const part *at = &all->part[made];
        status = sw_patch_source_slide(at->slide, at->grid.xy, at->grid.n_patches, p->use.tiling.patch_px, at->grid.mpp_um,
                                       &source[made], err);
        if (status == SW_OK) sw_patch_source_set_step(source[made], at->grid.step_level0_px);
    }
    if (status == SW_OK && all->n == 1) {
        *out = source[0];
        return SW_OK;
    }
    if (status == SW_OK) status = sw_patch_source_join(source, all->n, name, out, err);
    for (int64_t i = 0; status != SW_OK && i < made; i++) sw_patch_source_free(source[i]);
    return status;
}

static sw_status infer(sw_predictor *p, const char *name, parts *all, sw_bag_result *bag, sw_error *err)
{
    sw_patch_source *source = NULL;
    sw_meter meter;
    SW_TRY(source_of(p, all, name, &source, err));
    sw_meter_start(&meter, p->sink, name, "patches", sw_patch_source_count(source));
    sw_infer_options o = {.chunk_patches = p->chunk_patches,
                          .crop_px = p->use.crop_px,
                          .channel_order = p->use.channel_order,
                          .normalise = p->use.normalise,
                          .ahead = 1,
                          .pool = p->pool,
                          .meter = &meter};
    sw_status status = sw_infer_bag(p->model, source, &o, bag, err);
    if (status != SW_OK) sw_bag_result_free(bag);
    sw_patch_source_free(source);
    return status;
}

/* Looks at the patches of every slide; *left: some are out. */
static sw_status screen(sw_predictor *p, parts *all, const sw_artefact_options *limits, bool *left, sw_error *err)
{
    *left = false;
    for (int64_t i = 0; i < all->n; i++) {
        sw_grid *grid = &all->part[i].grid;
        int64_t laid = grid->n_patches;
        SW_TRY(sw_tile_screen(all->part[i].slide, limits, grid, p->pool, p->sink, err));
        if (grid->n_patches < laid) *left = true;
    }
    return SW_OK;
}

/* Patches are left out as in tiling: by the limits of the training slides, unless positions are given, and where a slide is
 * damaged, which is looked for when a patch could not be read. */
static sw_status infer_readable(sw_predictor *p, const char *name, parts *all, sw_bag_result *bag, sw_error *err)
{
    sw_artefact_options limits = p->coords ? sw_artefact_options_default() : p->use.tiling.artefacts;
    bool screened = sw_artefact_options_any(&limits), left = false;
    sw_error why = {0};
    if (screened) SW_TRY(screen(p, all, &limits, &left, err));
    sw_status status = infer(p, name, all, bag, &why);
    if (status == SW_E_FORMAT && !screened) {
        SW_TRY(screen(p, all, &limits, &left, err));
        if (left) return infer(p, name, all, bag, err);
    }
    return status == SW_OK ? SW_OK : sw_error_set(err, status, "%s", why.message);
}

static sw_status predict(sw_predictor *p, const char *name, parts *all, sw_slide_prediction *out, sw_error *err)
{
    sw_bag_result bag = {0};
    for (int64_t i = 0; i < all->n; i++) SW_TRY(positions(p, all->part[i].slide, &all->part[i].grid, err));
    SW_TRY(infer_readable(p, name, all, &bag, err));
    sw_status status = fill(p, name, all, &bag, out, err);
    sw_bag_result_free(&bag);
    return status;
}

static sw_status open_slide(const sw_predictor *p, const char *path, double mpp_um, sw_slide **slide, sw_error *err)
{
    sw_slide_options o = sw_slide_options_default();
    o.mpp_um = mpp_um;
    o.exact = p->use.tiling.exact;
    SW_TRY(sw_slide_open(path, &o, slide, err));
    sw_mpp_source source = sw_slide_get_info(*slide)->mpp_source;
    /* as in tiling: what the caller knows is better than a guess from the objective */
    bool unknown = source == SW_MPP_NONE || source == SW_MPP_OBJECTIVE;
    if (!unknown || !(p->slide_mpp_um > 0.0)) return SW_OK;
    sw_slide_close(slide);
    o.mpp_um = p->slide_mpp_um;
    return sw_slide_open(path, &o, slide, err);
}

/* ---- features */

/* A file of features each: what was given, or that of the slide that was given. */
typedef struct feature_files {
    char **path;    /* [n] owned */
    double *mpp_um; /* [n] of the slides; 0: unknown */
    int64_t n;
} feature_files;

static void feature_files_free(feature_files *f)
{
    for (int64_t i = 0; f->path && i < f->n; i++) sw_free(f->path[i]);
    sw_free(f->path);
    sw_free(f->mpp_um);
}

static sw_status add_features_file(const sw_predictor *p, const char *path, double mpp_um, feature_files *f, sw_error *err)
{
    if (p->features) {
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        SW_TRY(open_slide(p, path, mpp_um, &slide, err));
        SW_TRY(sw_features_of_slide(p->features, sw_slide_get_info(slide)->slide_id, &f->path[f->n], err));
        f->mpp_um[f->n] = sw_slide_get_info(slide)->mpp_um;
    } else {
        f->path[f->n] = sw_strdup(path);
        if (!f->path[f->n]) return sw_nomem(err);
    }
    f->n++;
    return SW_OK;
}

static sw_status predict_features(sw_predictor *p, const char *case_id, const char *const *path, const double *slide_mpp_um, int64_t n,
                                  sw_slide_prediction *out, sw_error *err)
{
    SW_CLEANUP(feature_files_free) feature_files f = {.path = sw_calloc((size_t)n + 1, sizeof *f.path), .mpp_um = sw_calloc((size_t)n + 1, sizeof *f.mpp_um)};
    sw_feature_places places = {0};
    sw_bag_result bag = {0};
    if (!f.path || !f.mpp_um) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) SW_TRY(add_features_file(p, path[i], slide_mpp_um[i], &f, err));
    SW_AUTOFREE char *name = case_id ? sw_strdup(case_id) : sw_path_stem(path[0]);
    if (!name) return sw_nomem(err);
    const sw_feature_case of = {.name = name, .file = (const char *const *)f.path, .slide_mpp_um = f.mpp_um, .n = n, .sink = p->sink};
    sw_status status = sw_predict_features(p->model, &of, &bag, &places, err);
    if (status == SW_OK) status = fill_bag(p, name, n, &bag, out, err);
    out->xy = SW_STEAL(places.xy);
    out->patch_level0_px = places.patch_level0_px;
    out->patch_px = places.patch_px;
    out->tile_px = places.patch_px > 1 ? places.patch_px : 0; /* 1: the file does not say */
    if (f.mpp_um[0] > 0 && places.patch_px > 1) out->mpp_um = places.patch_level0_px * f.mpp_um[0] / places.patch_px;
    sw_bag_result_free(&bag);
    return status;
}

static sw_status predict_slides(sw_predictor *p, const char *case_id, const char *const *path, const double *mpp_um, int64_t n,
                                sw_slide_prediction *out, sw_error *err)
{
    SW_CLEANUP(parts_free) parts all = {.part = sw_calloc((size_t)n + 1, sizeof *all.part)};
    if (!all.part) return sw_nomem(err);
    for (; all.n < n; all.n++) SW_TRY(open_slide(p, path[all.n], mpp_um[all.n], &all.part[all.n].slide, err));
    return predict(p, case_id ? case_id : sw_slide_get_info(all.part[0].slide)->slide_id, &all, out, err);
}

sw_status sw_predictor_case(sw_predictor *p, const char *case_id, const char *const *slide_path, const double *slide_mpp_um,
                            int64_t n, sw_slide_prediction *out, sw_error *err)
{
    int64_t start_ns = sw_now_ns();
    *out = (sw_slide_prediction){0};
    if (n < 1) return sw_error_set(err, SW_E_INVALID, "case %s has no slide", case_id);
    sw_status status = sw_model_has_encoder(p->model) ? predict_slides(p, case_id, slide_path, slide_mpp_um, n, out, err)
                                                      : predict_features(p, case_id, slide_path, slide_mpp_um, n, out, err);
    if (status != SW_OK) {
        sw_slide_prediction_free(out);
        return status;
    }
    out->seconds = (double)(sw_now_ns() - start_ns) * 1e-9;
    return SW_OK;
}

sw_status sw_predictor_slide(sw_predictor *p, const char *slide_path, double slide_mpp_um, sw_slide_prediction *out,
                             sw_error *err)
{
    return sw_predictor_case(p, NULL, &slide_path, &slide_mpp_um, 1, out, err); /* its own id names it */
}
