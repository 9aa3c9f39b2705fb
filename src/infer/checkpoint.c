/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/checkpoint.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"

static const char model_key[] = "slidewise.model", use_key[] = "slidewise.use";

void sw_model_use_free(sw_model_use *u)
{
    if (!u) return;
    for (int i = 0; u->class_name && i < u->n_classes; i++) sw_free(u->class_name[i]);
    sw_free(u->class_name);
    sw_free(u->edge);
    sw_free(u->backend);
    *u = (sw_model_use){0};
}

static void put_tissue(sw_json_writer *w, const sw_tissue_options *t)
{
    sw_json_key(w, "tissue");
    sw_json_object(w);
    sw_json_put_int(w, "seg_level", t->seg_level);
    sw_json_put_int(w, "sthresh", t->sthresh);
    sw_json_put_int(w, "mthresh", t->mthresh);
    sw_json_put_int(w, "close", t->close);
    sw_json_put_bool(w, "otsu", t->otsu);
    sw_json_put_number(w, "a_t", t->a_t);
    sw_json_put_number(w, "a_h", t->a_h);
    sw_json_put_int(w, "max_n_holes", t->max_n_holes);
    sw_json_put_number(w, "line_thickness", t->line_thickness);
    sw_json_put_bool(w, "use_padding", t->use_padding);
    sw_json_key(w, "contour_rule");
    sw_json_string(w, sw_contour_rule_name(t->contour_rule));
    sw_json_put_number(w, "max_area_share", t->max_area_share);
    sw_json_put_int(w, "max_pixels", t->max_pixels);
    sw_json_end_object(w);
}

static void put_artefacts(sw_json_writer *w, const sw_artefact_options *a)
{
    if (!sw_artefact_options_any(a)) return;
    sw_json_key(w, "artefacts");
    sw_json_object(w);
    sw_json_put_number(w, "max_black_fraction", a->max_black_fraction);
    sw_json_put_number(w, "max_white_fraction", a->max_white_fraction);
    sw_json_put_number(w, "max_pen_fraction", a->max_pen_fraction);
    sw_json_put_number(w, "min_laplacian_variance", a->min_laplacian_variance);
    sw_json_end_object(w);
}

static void put_tiling(sw_json_writer *w, const sw_tile_settings *s)
{
    sw_json_key(w, "tiling");
    sw_json_object(w);
    sw_json_key(w, "mpp_um");
    sw_json_array(w);
    for (int i = 0; i < s->n_scales; i++) sw_json_number(w, s->mpp_um[i]);
    sw_json_end_array(w);
    sw_json_put_int(w, "patch_px", s->patch_px);
    sw_json_put_int(w, "overlap_px", s->overlap_px);
    sw_json_put_int(w, "quality", s->quality);
    sw_json_put_bool(w, "whole_image", s->whole_image);
    if (s->exact) sw_json_put_bool(w, "exact", true);
    if (s->passthrough) sw_json_put_bool(w, "passthrough", true); /* where its patches lie */
    if (s->given_positions) sw_json_put_bool(w, "given_positions", true);
    if (s->mask.mode != SW_MASK_NONE) sw_json_put_string(w, "mask", s->mask.path);
    put_tissue(w, &s->tissue);
    put_artefacts(w, &s->artefacts);
    sw_json_end_object(w);
}

sw_status sw_model_use_json(const sw_model_use *u, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_json_writer w;
    sw_json_begin(&w, &buf, 0);
    sw_json_object(&w);
    sw_json_key(&w, "classes");
    sw_json_array(&w);
    for (int i = 0; i < u->n_classes; i++) sw_json_string(&w, u->class_name[i]);
    sw_json_end_array(&w);
    if (u->survival) {
        sw_json_put_string(&w, "task", "survival");
        sw_json_key(&w, "edges");
        sw_json_array(&w);
        for (int i = 0; i + 1 < u->n_classes; i++) sw_json_number(&w, u->edge[i]);
        sw_json_end_array(&w);
    }
    put_tiling(&w, &u->tiling);
    sw_json_put_number(&w, "eval_mpp_um", u->eval_mpp_um);
    sw_json_put_int(&w, "crop_px", u->crop_px);
    sw_json_put_bool(&w, "bgr_as_reference", u->channel_order == SW_CHANNELS_BGR_AS_REFERENCE);
    if (u->normalise == SW_PIXELS_UNIT) sw_json_put_bool(&w, "unit_pixels", true);
    sw_json_put_int(&w, "chunk_patches", u->chunk_patches);
    sw_json_key(&w, "backend");
    sw_json_string(&w, u->backend);
    sw_json_put_bool(&w, "deterministic", u->deterministic);
    sw_json_put_string(&w, "precision", sw_precision_name(u->activations));
    sw_json_end_object(&w);
    SW_TRY(sw_buf_status(&buf, err));
    *text = sw_steal_(&buf.data);
    return SW_OK;
}

static sw_status get_tissue(const sw_json *t, sw_tissue_options *out, sw_error *err)
{
    sw_tissue_options o = sw_tissue_options_default();
    o.seg_level = (int)sw_json_integer(sw_json_get(t, "seg_level"), o.seg_level);
    o.sthresh = (int)sw_json_integer(sw_json_get(t, "sthresh"), o.sthresh);
    o.mthresh = (int)sw_json_integer(sw_json_get(t, "mthresh"), o.mthresh);
    o.close = (int)sw_json_integer(sw_json_get(t, "close"), o.close);
    o.otsu = sw_json_truth(sw_json_get(t, "otsu"), o.otsu);
    o.a_t = sw_json_real(sw_json_get(t, "a_t"), o.a_t);
    o.a_h = sw_json_real(sw_json_get(t, "a_h"), o.a_h);
    o.max_n_holes = (int)sw_json_integer(sw_json_get(t, "max_n_holes"), o.max_n_holes);
    o.line_thickness = sw_json_real(sw_json_get(t, "line_thickness"), o.line_thickness);
    o.use_padding = sw_json_truth(sw_json_get(t, "use_padding"), o.use_padding);
    o.max_area_share = sw_json_real(sw_json_get(t, "max_area_share"), o.max_area_share);
    o.max_pixels = sw_json_integer(sw_json_get(t, "max_pixels"), o.max_pixels);
    SW_TRY(sw_contour_rule_parse(sw_json_text(sw_json_get(t, "contour_rule"), ""), &o.contour_rule, err));
    *out = o;
    return SW_OK;
}

static sw_status get_tiling(const sw_json *t, sw_tile_settings *out, sw_error *err)
{
    const sw_json *mpp = sw_json_get(t, "mpp_um");
    sw_tile_settings s = sw_tile_settings_default();
    s.n_scales = 0;
    for (size_t i = 0; i < sw_json_count(mpp) && i < SW_STORE_MAX_SCALES; i++)
        s.mpp_um[s.n_scales++] = sw_json_real(sw_json_at(mpp, i), 0.0);
    s.patch_px = (int)sw_json_integer(sw_json_get(t, "patch_px"), 0);
    s.overlap_px = (int)sw_json_integer(sw_json_get(t, "overlap_px"), 0);
    s.quality = (int)sw_json_integer(sw_json_get(t, "quality"), s.quality);
    s.whole_image = sw_json_truth(sw_json_get(t, "whole_image"), false);
    s.exact = sw_json_truth(sw_json_get(t, "exact"), false);
    s.passthrough = sw_json_truth(sw_json_get(t, "passthrough"), false);
    s.given_positions = sw_json_truth(sw_json_get(t, "given_positions"), false);
    const char *mask = sw_json_text(sw_json_get(t, "mask"), NULL); /* of any mode: it does not fit other slides */
    if (mask) s.mask.mode = SW_MASK_REPLACE;
    if (mask) snprintf(s.mask.path, sizeof s.mask.path, "%s", mask);
    const sw_json *a = sw_json_get(t, "artefacts");
    s.artefacts.max_black_fraction = sw_json_real(sw_json_get(a, "max_black_fraction"), s.artefacts.max_black_fraction);
    s.artefacts.max_white_fraction = sw_json_real(sw_json_get(a, "max_white_fraction"), s.artefacts.max_white_fraction);
    s.artefacts.max_pen_fraction = sw_json_real(sw_json_get(a, "max_pen_fraction"), s.artefacts.max_pen_fraction);
    s.artefacts.min_laplacian_variance = sw_json_real(sw_json_get(a, "min_laplacian_variance"), s.artefacts.min_laplacian_variance);
    SW_TRY(get_tissue(sw_json_get(t, "tissue"), &s.tissue, err));
    *out = s;
    return SW_OK;
}

static sw_status parse(const sw_json *root, const char *name, sw_model_use *out, sw_error *err)
{
    const sw_json *classes = sw_json_get(root, "classes");
    size_t n = sw_json_count(classes);
    SW_TRY(get_tiling(sw_json_get(root, "tiling"), &out->tiling, err));
    out->class_name = sw_calloc(n + 1, sizeof *out->class_name);
    out->backend = sw_strdup(sw_json_text(sw_json_get(root, "backend"), "auto"));
    if (!out->class_name || !out->backend) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        out->class_name[i] = sw_strdup(sw_json_text(sw_json_at(classes, i), ""));
        if (!out->class_name[i]) return sw_nomem(err);
        out->n_classes++;
    }
    out->survival = strcmp(sw_json_text(sw_json_get(root, "task"), ""), "survival") == 0;
    out->edge = sw_calloc(n + 1, sizeof *out->edge);
    if (!out->edge) return sw_nomem(err);
    for (size_t i = 0; out->survival && i + 1 < n; i++)
        out->edge[i] = sw_json_real(sw_json_at(sw_json_get(root, "edges"), i), NAN);
    out->deterministic = sw_json_truth(sw_json_get(root, "deterministic"), false);
    const char *precision = sw_json_text(sw_json_get(root, "precision"), "fp32");
    if (strcmp(precision, "fp32") != 0 && strcmp(precision, "bf16") != 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: its description (%s) names the precision '%s'; this version knows fp32 and bf16",
                            name, use_key, precision);
    out->activations = strcmp(precision, "bf16") == 0 ? SW_BF16 : SW_F32;
    out->eval_mpp_um = sw_json_real(sw_json_get(root, "eval_mpp_um"), 0.0);
    out->crop_px = (int)sw_json_integer(sw_json_get(root, "crop_px"), 0);
    out->chunk_patches = sw_json_integer(sw_json_get(root, "chunk_patches"), 0);
    out->normalise = sw_json_truth(sw_json_get(root, "unit_pixels"), false) ? SW_PIXELS_UNIT : SW_PIXELS_IMAGENET;
    out->channel_order = sw_json_truth(sw_json_get(root, "bgr_as_reference"), false) ? SW_CHANNELS_BGR_AS_REFERENCE
                                                                                     : SW_CHANNELS_RGB;
    if (n < (out->survival ? 1 : 2) || !(out->eval_mpp_um > 0.0) || out->crop_px < 1 || out->chunk_patches < 1 || out->tiling.patch_px < 1)
        return sw_error_set(err, SW_E_FORMAT, "%s: its description (%s) lacks classes, resolution or patch size", name,
                            use_key);
    return SW_OK;
}

sw_status sw_model_use_parse(const char *text, const char *name, sw_model_use *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    *out = (sw_model_use){0};
    SW_TRY(sw_json_parse(text, strlen(text), name, &root, err));
    sw_status status = parse(root, name, out, err);
    if (status != SW_OK) sw_model_use_free(out);
    return status;
}

sw_status sw_checkpoint_put(const sw_model *model, const sw_model_use *use, int64_t steps, sw_weights_writer *writer,
                            sw_error *err)
{
    SW_AUTOFREE char *options = NULL;
    SW_AUTOFREE char *text = NULL;
    SW_TRY(sw_model_options_json(sw_model_get_options(model), &options, err));
    SW_TRY(sw_model_use_json(use, &text, err));
    SW_TRY(sw_weights_writer_metadata(writer, "format", "pt", err)); /* what PyTorch's tools look for */
    SW_TRY(sw_weights_writer_metadata(writer, model_key, options, err));
    SW_TRY(sw_weights_writer_metadata(writer, use_key, text, err));
    return sw_model_put(model, "", steps, writer, err);
}

static sw_status need_text(const sw_weights *w, const char *key, const char **text, sw_error *err)
{
    *text = sw_weights_metadata(w, key);
    if (*text) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "%s: not a checkpoint of slidewise (no %s in its metadata); give one from RUN/checkpoints",
                        sw_weights_path(w), key);
}

static sw_status open_parts(sw_backend *be, const char *path, sw_model **model, sw_model_use *use, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    const char *text = NULL;
    sw_model_options options;
    SW_TRY(sw_weights_open(path, &w, err));
    SW_TRY(need_text(w, use_key, &text, err));
    SW_TRY(sw_model_use_parse(text, path, use, err));
    if (!model) return SW_OK;
    SW_TRY(need_text(w, model_key, &text, err));
    SW_TRY(sw_model_options_parse(text, path, &options, err));
    options.blank = true;
    SW_TRY(sw_model_new(be, SW_F32, &options, model, err));
    sw_model_set_activations(*model, use->activations);
    sw_status status = sw_model_get(*model, "", w, err);
    if (status == SW_OK && sw_model_classes(*model) != use->n_classes)
        status = sw_error_set(err, SW_E_FORMAT, "%s: its model has %d classes, but %d names of classes stand beside it; the file is damaged",
                              path, sw_model_classes(*model), use->n_classes);
    if (status == SW_OK) return SW_OK;
    sw_model_free(*model);
    *model = NULL;
    return status;
}

sw_status sw_checkpoint_open(sw_backend *be, const char *path, sw_model **model, sw_model_use *use, sw_error *err)
{
    *use = (sw_model_use){0};
    sw_status status = open_parts(be, path, model, use, err);
    if (status != SW_OK) sw_model_use_free(use);
    return status;
}

sw_status sw_checkpoint_peek(const char *path, sw_model_use *use, sw_error *err)
{
    return sw_checkpoint_open(NULL, path, NULL, use, err);
}

sw_status sw_checkpoint_find(const char *run_dir, const char *wanted, char **path, sw_error *err)
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
