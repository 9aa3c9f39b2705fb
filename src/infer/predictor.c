/* SPDX-License-Identifier: Apache-2.0 */
/* A trained run applied to slides, straight from their files. */
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "slidewise/predict.h"
#include "store/tile_fate.h"

struct sw_predictor {
    char *path;
    const sw_sink *sink;
    double slide_mpp_um;
    const char *coords; /* borrowed; NULL: segment */
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
    *p = (sw_slide_prediction){0};
}

/* "best", "last" or a path; NULL is "best". */
static sw_status find_checkpoint(const char *run_dir, const char *wanted, char **path, sw_error *err)
{
    const char *name = wanted ? wanted : "best";
    if (strcmp(name, "best") != 0 && strcmp(name, "last") != 0) {
        *path = sw_strdup(name);
        return *path ? SW_OK : sw_nomem(err);
    }
    *path = sw_asprintf("%s/checkpoints/%s.safetensors", run_dir, name);
    if (!*path) return sw_nomem(err);
    if (sw_path_exists(*path)) return SW_OK;
    if (!sw_path_is_dir(run_dir))
        return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such run directory; give the directory that training wrote (run.out)",
                            run_dir);
    return sw_error_set(err, SW_E_NOT_FOUND, "%s: no such checkpoint; train the run first, or name one with --checkpoint",
                        *path);
}

static sw_status open_parts(sw_predictor *p, const char *run_dir, const sw_predictor_options *o, sw_error *err)
{
    SW_TRY(find_checkpoint(run_dir, o->checkpoint, &p->path, err));
    p->sink = o->sink;
    p->slide_mpp_um = o->slide_mpp_um;
    p->coords = o->coords;
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

/* Hands the bag's and the grid's arrays over to the prediction. */
static sw_status fill(const sw_predictor *p, const char *slide_id, sw_grid *grid, sw_bag_result *bag,
                      sw_slide_prediction *out, sw_error *err)
{
    out->slide_id = sw_strdup(slide_id);
    if (!out->slide_id) return sw_nomem(err);
    out->n_classes = bag->n_classes;
    out->predicted = bag->predicted;
    out->probability = sw_steal_(&bag->probability);
    out->logit = sw_steal_(&bag->logit);
    out->n_patches = bag->n_patches;
    out->n_heads = bag->n_heads;
    out->attention = sw_steal_(&bag->attention);
    out->xy = sw_steal_(&grid->xy);
    out->patch_level0_px = grid->patch_level0_px;
    out->patch_px = p->use.crop_px;
    out->mpp_um = grid->mpp_um;
    return SW_OK;
}

static sw_status infer(sw_predictor *p, sw_slide *slide, const sw_grid *grid, sw_bag_result *bag, sw_error *err)
{
    sw_patch_source *source = NULL;
    sw_meter meter;
    SW_TRY(sw_patch_source_slide(slide, grid->xy, grid->n_patches, p->use.tiling.patch_px, grid->mpp_um, &source, err));
    sw_meter_start(&meter, p->sink, sw_slide_get_info(slide)->slide_id, "patches", grid->n_patches);
    sw_infer_options o = {.chunk_patches = p->chunk_patches,
                          .crop_px = p->use.crop_px,
                          .channel_order = p->use.channel_order,
                          .ahead = 2,
                          .pool = p->pool,
                          .meter = &meter};
    sw_status status = sw_infer_bag(p->model, source, &o, bag, err);
    if (status != SW_OK) sw_bag_result_free(bag);
    sw_patch_source_free(source);
    return status;
}

/* Patches are left out as in tiling: by the limits of the training slides, unless positions are given, and where the slide is
 * damaged, which is looked for when a patch could not be read. */
static sw_status infer_readable(sw_predictor *p, sw_slide *slide, sw_grid *grid, sw_bag_result *bag, sw_error *err)
{
    sw_artefact_options limits = p->coords ? sw_artefact_options_default() : p->use.tiling.artefacts;
    bool screened = sw_artefact_options_any(&limits);
    int64_t laid = grid->n_patches;
    sw_error why = {0};
    if (screened) SW_TRY(sw_tile_screen(slide, &limits, grid, p->pool, p->sink, err));
    sw_status status = infer(p, slide, grid, bag, &why);
    if (status == SW_E_FORMAT && !screened) {
        SW_TRY(sw_tile_screen(slide, &limits, grid, p->pool, p->sink, err));
        if (grid->n_patches < laid) return infer(p, slide, grid, bag, err);
    }
    return status == SW_OK ? SW_OK : sw_error_set(err, status, "%s", why.message);
}

static sw_status predict(sw_predictor *p, sw_slide *slide, sw_slide_prediction *out, sw_error *err)
{
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    sw_bag_result bag = {0};
    SW_TRY(positions(p, slide, &grid, err));
    SW_TRY(infer_readable(p, slide, &grid, &bag, err));
    sw_status status = fill(p, sw_slide_get_info(slide)->slide_id, &grid, &bag, out, err);
    sw_bag_result_free(&bag);
    return status;
}

static sw_status open_slide(const sw_predictor *p, const char *path, double mpp_um, sw_slide **slide, sw_error *err)
{
    sw_slide_options o = sw_slide_options_default();
    o.mpp_um = mpp_um;
    SW_TRY(sw_slide_open(path, &o, slide, err));
    sw_mpp_source source = sw_slide_get_info(*slide)->mpp_source;
    /* as in tiling: what the caller knows is better than a guess from the objective */
    bool unknown = source == SW_MPP_NONE || source == SW_MPP_OBJECTIVE;
    if (!unknown || !(p->slide_mpp_um > 0.0)) return SW_OK;
    sw_slide_close(slide);
    o.mpp_um = p->slide_mpp_um;
    return sw_slide_open(path, &o, slide, err);
}

sw_status sw_predictor_slide(sw_predictor *p, const char *slide_path, double slide_mpp_um, sw_slide_prediction *out,
                             sw_error *err)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    int64_t start_ns = sw_now_ns();
    *out = (sw_slide_prediction){0};
    SW_TRY(open_slide(p, slide_path, slide_mpp_um, &slide, err));
    sw_status status = predict(p, slide, out, err);
    if (status != SW_OK) {
        sw_slide_prediction_free(out);
        return status;
    }
    out->seconds = (double)(sw_now_ns() - start_ns) * 1e-9;
    return SW_OK;
}
