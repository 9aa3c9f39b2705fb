/* SPDX-License-Identifier: Apache-2.0 */
/* One slide: open, segment, lay the grids, read and encode its patches, commit them. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "slide/slide_patches.h"
#include "store/tile_work.h"
#include "tissue/segment.h"

/* Slides of up to this many patches are encoded before the writer asks for them, so that several can be in flight. */
#define SMALL_PATCHES 2048

sw_tile_status sw_tile_status_of(sw_status status)
{
    switch (status) {
    case SW_E_NOT_FOUND:
    case SW_E_FORMAT:
    case SW_E_UNSUPPORTED:
    case SW_E_IO: return SW_TILE_UNREADABLE;
    default: return SW_TILE_FAILED;
    }
}

/* ---- positions */

static sw_grid_options grid_options(const sw_slide *slide, const sw_tile_settings *s, int scale)
{
    sw_grid_options o = sw_grid_options_default();
    o.patch_px = s->patch_px;
    o.mpp_um = s->mpp_um[scale];
    if (s->passthrough) { /* with the level's own steps, so that rounding does not drift off its tiles */
        double level_mpp_um = 0;
        o.align = true;
        if (sw_slide_patch_is_level(slide, s->patch_px, o.mpp_um, &level_mpp_um)) o.mpp_um = level_mpp_um;
    }
    o.overlap_px = s->overlap_px;
    o.whole_image = s->whole_image;
    o.contour_rule = s->tissue.contour_rule;
    o.use_padding = !s->whole_image && s->tissue.use_padding; /* of whole images only whole patches */
    return o;
}

static sw_status grids(sw_slide *slide, const sw_tile_settings *s, const sw_tissue *tissue, sw_grid *grid, sw_error *err)
{
    for (int i = 0; i < s->n_scales; i++) {
        sw_grid_options o = grid_options(slide, s, i);
        SW_TRY(sw_grid_make(s->whole_image ? NULL : tissue, slide, &o, &grid[i], err));
        grid[i].mpp_um = s->mpp_um[i]; /* its name, by which scales are found */
        grid[i].magnification = 10 / s->mpp_um[i];
        if (grid[i].n_patches == 0) {
            return sw_error_set(err, SW_E_INVALID,
                                "slide %s: no patch of %d pixels at %g microns per pixel fits its tissue; take smaller patches or "
                                "a finer resolution",
                                sw_slide_get_info(slide)->slide_id, s->patch_px, s->mpp_um[i]);
        }
    }
    return SW_OK;
}

static sw_status no_file(const sw_slide *slide, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: the training slides were cut at positions that came from files (--coords or an imported store), so no "
                        "positions follow for another slide; give its file of coordinates with --coords",
                        sw_slide_get_info(slide)->slide_id);
}

static sw_status no_mask(const sw_slide *slide, sw_error *err)
{
    return sw_error_set(err, SW_E_INVALID,
                        "slide %s: the training slides were cut with masks of the user's (--mask), so no positions follow for another "
                        "slide; give its file of coordinates with --coords",
                        sw_slide_get_info(slide)->slide_id);
}

/* The user's mask in place of the tissue or cut out of it. */
static sw_status apply_mask(const sw_slide *slide, const sw_tile_settings *s, sw_tissue *tissue, sw_tile_status *why, sw_error *err)
{
    *why = SW_TILE_FAILED;
    SW_TRY(sw_tissue_apply_mask(tissue, slide, &s->mask, err));
    if (tissue->n_contours > 0) return SW_OK;
    *why = SW_TILE_NO_TISSUE;
    return sw_error_set(err, SW_E_INVALID, "slide %s: the mask %s leaves no tissue%s", sw_slide_get_info(slide)->slide_id, s->mask.path,
                        s->mask.mode == SW_MASK_WITHIN ? "; with --mask-mode replace it is taken without segmenting" : "");
}

static sw_status positions(sw_slide *slide, const sw_tile_settings *s, const sw_tile_run *run, sw_tissue *tissue, sw_grid *grid,
                           sw_tile_status *why, sw_error *err)
{
    if (sw_slide_get_info(slide)->mpp_um <= 0.0) {
        *why = SW_TILE_NO_MPP;
        return sw_error_set(err, SW_E_INVALID,
                            "%s: no microns per pixel in the file; give --slide-mpp (e.g. --slide-mpp 0.5) or --mpp-csv with a "
                            "CSV with columns slide_id,mpp",
                            sw_slide_get_info(slide)->path);
    }
    if (s->given_positions) {
        *why = SW_TILE_FAILED;
        if (!run) return no_file(slide, err);
        for (int i = 0; i < s->n_scales; i++) SW_TRY(sw_tile_given_grid(run->reader, run->options, slide, i, &grid[i], err));
        return SW_OK;
    }
    *why = SW_TILE_FAILED;
    if (s->mask.mode != SW_MASK_NONE && !run) return no_mask(slide, err);
    if (!s->whole_image && s->mask.mode != SW_MASK_REPLACE) {
        sw_status status = sw_tissue_segment_on(run ? run->pool : NULL, slide, &s->tissue, tissue, err);
        *why = sw_tile_status_of(status);
        if (status != SW_OK) return status;
        *why = SW_TILE_NO_TISSUE;
        SW_TRY(sw_tissue_need(tissue, err));
    }
    if (s->mask.mode != SW_MASK_NONE) SW_TRY(apply_mask(slide, s, tissue, why, err));
    *why = SW_TILE_FAILED;
    return grids(slide, s, tissue, grid, err);
}

/* `run` NULL: only the settings are there, so that positions cannot come from files. */
static sw_status positions_or_none(sw_slide *slide, const sw_tile_settings *s, const sw_tile_run *run, sw_tissue *tissue,
                                   sw_grid *grid, sw_tile_status *why, sw_error *err)
{
    *tissue = (sw_tissue){0};
    for (int i = 0; i < s->n_scales; i++) grid[i] = (sw_grid){0};
    sw_status status = positions(slide, s, run, tissue, grid, why, err);
    if (status == SW_OK) return SW_OK;
    sw_tissue_free(tissue);
    for (int i = 0; i < s->n_scales; i++) sw_grid_free(&grid[i]);
    return status;
}

sw_status sw_tile_positions(sw_slide *slide, const sw_tile_settings *settings, sw_tissue *tissue, sw_grid *grid, sw_error *err)
{
    sw_tile_status why;
    return positions_or_none(slide, settings, NULL, tissue, grid, &why, err);
}

/* ---- patches */

static void chunk_free_ptr(sw_tile_chunk **chunk)
{
    sw_tile_chunk_free(*chunk);
    *chunk = NULL;
}

static sw_status encode_chunk(void *ctx, int64_t index, sw_error *err)
{
    sw_tile_job *job = ctx;
    return sw_tile_job_chunk(job, index, &job->chunk[index], err);
}

/* ---- opening */

sw_status sw_tile_open_slide(const sw_slide_entry *entry, double slide_mpp_um, const sw_tile_options *how, const sw_sink *sink,
                             sw_slide **out, sw_error *err)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_slide_options so = sw_slide_options_default();
    so.mpp_um = entry->mpp_um;
    so.openslide_only = how && how->openslide_only;
    so.exact = how && how->settings.exact;
    so.lean = how && !how->store; /* a store keeps all properties */
    SW_TRY(sw_slide_open(entry->path, &so, &slide, err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    bool unknown = info->mpp_source == SW_MPP_NONE || info->mpp_source == SW_MPP_OBJECTIVE;
    if (unknown && slide_mpp_um > 0.0) {
        sw_slide_close(&slide);
        so.mpp_um = slide_mpp_um;
        SW_TRY(sw_slide_open(entry->path, &so, &slide, err));
    } else if (info->mpp_source == SW_MPP_OBJECTIVE) {
        sw_log_warning(sink, "slide %s: its resolution is guessed from the objective power: %g microns per pixel",
                       info->slide_id, info->mpp_um);
    }
    *out = SW_STEAL(slide);
    return SW_OK;
}

static void warn_when_finer(const sw_tile_job *job)
{
    const sw_tile_settings *s = &job->run->options->settings;
    const sw_slide_info *info = sw_slide_get_info(job->slide);
    for (int i = 0; i < s->n_scales; i++) {
        if (job->grid[i].mpp_um >= 0.99 * info->mpp_um) continue;
        sw_log_warning(job->run->options->sink,
                       "slide %s: patches of %g microns per pixel are finer than the slide (%g); they are enlarged",
                       info->slide_id, job->grid[i].mpp_um, info->mpp_um);
    }
}

static void count_chunks(sw_tile_job *job)
{
    for (int i = 0; i < job->run->options->settings.n_scales; i++) {
        job->n_patches += job->grid[i].n_patches;
        job->n_chunks += (job->grid[i].n_patches + SW_TILE_CHUNK - 1) / SW_TILE_CHUNK;
        job->chunks_before[i + 1] = job->n_chunks;
    }
}

/* All patches are known: the grids lose those that are left out, and go where else they are wanted. */
static sw_status finish_positions(sw_tile_job *job, sw_error *err)
{
    sw_status status = sw_tile_fates_settle(&job->fates, job->entry->slide_id, job->grid, job->run->options->sink, err);
    job->status = status == SW_E_INVALID ? SW_TILE_NO_TISSUE : sw_tile_status_of(status);
    if (status != SW_OK) return status;
    job->status = SW_TILE_FAILED; /* what may fail yet */
    SW_TRY(sw_tile_pictures_stitch(job, err));
    return sw_tile_export(job, err);
}

static void warn_of_unseen(const sw_tile_job *job)
{
    const sw_tissue *t = &job->tissue;
    if (!t->unreadable_why) return;
    sw_log_warning(job->run->options->sink,
                   "slide %s: %.2g %% of the picture that is looked at for tissue cannot be read and counts as none; the first: %s",
                   job->entry->slide_id, 100 * t->unreadable_fraction, t->unreadable_why);
}

/* What is known without a store: positions, and where the settings look at pixels, which of them stay. */
static sw_status prepare_positions(sw_tile_job *job, sw_error *err)
{
    const sw_tile_options *o = job->run->options;
    if (job->in_store) return SW_OK; /* which has them */
    if (sw_artefact_options_any(&o->settings.artefacts)) {
        sw_status status = sw_tile_fates_screen(&job->fates, job->slide, &o->settings.artefacts, job->grid, job->run->pool, o->sink, err);
        job->status = sw_tile_status_of(status);
        if (status != SW_OK) return status;
    }
    return finish_positions(job, err);
}

static sw_status prepare(sw_tile_job *job, sw_error *err)
{
    if (sw_log_cancelled(job->run->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    const sw_tile_options *o = job->run->options;
    sw_status status = sw_tile_open_slide(job->entry, o->slide_mpp_um, o, o->sink, &job->slide, err);
    job->status = sw_tile_status_of(status);
    if (status != SW_OK) return status;
    sw_tile_settings settings = o->settings;
    settings.tissue = *sw_tile_tissue_options(job->run, job->entry->slide_id);
    SW_TRY(positions_or_none(job->slide, &settings, job->run, &job->tissue, job->grid, &job->status, err));
    job->status = SW_TILE_FAILED;
    if (!job->positions_only) warn_when_finer(job);
    warn_of_unseen(job);
    count_chunks(job);
    SW_TRY(sw_tile_fates_new(job->grid, o->settings.n_scales, &job->fates, err));
    SW_TRY(sw_tile_pictures_tissue(job, err));
    if (job->positions_only) {
        SW_TRY(prepare_positions(job, err));
    } else if (job->n_patches <= SMALL_PATCHES) {
        job->chunk = sw_calloc((size_t)job->n_chunks, sizeof *job->chunk);
        if (!job->chunk) return sw_nomem(err);
        status = sw_pool_for(job->run->pool, job->n_chunks, encode_chunk, job, err);
        job->status = sw_tile_status_of(status);
        if (status != SW_OK) return status;
    }
    job->status = SW_TILE_DONE;
    return SW_OK;
}

void sw_tile_job_free(sw_tile_job *job)
{
    if (!job) return;
    for (int64_t i = 0; job->chunk && i < job->n_chunks; i++) sw_tile_chunk_free(job->chunk[i]);
    sw_free(job->chunk);
    for (int i = 0; i < SW_STORE_MAX_SCALES; i++) sw_grid_free(&job->grid[i]);
    sw_tile_fates_free(&job->fates);
    sw_tissue_free(&job->tissue);
    sw_image_free(&job->thumbnail);
    sw_slide_close(&job->slide);
    sw_free(job);
}

sw_status sw_tile_job_new(sw_tile_run *run, const sw_slide_entry *entry, bool positions_only, bool in_store, sw_tile_job **out,
                          sw_error *err)
{
    sw_tile_job *job = sw_calloc(1, sizeof *job);
    if (!job) return sw_nomem(err);
    int64_t start = sw_now_ns();
    job->run = run;
    job->entry = entry;
    job->positions_only = positions_only;
    job->in_store = in_store;
    job->status = SW_TILE_FAILED;
    sw_status status = prepare(job, &job->error);
    job->error.code = status;
    job->spent_ns = sw_now_ns() - start;
    *out = job;
    return SW_OK;
}

/* ---- writing */

static sw_status produce_chunk(void *ctx, int64_t index, void **item, sw_error *err)
{
    sw_tile_chunk *chunk = NULL;
    SW_TRY(sw_tile_job_chunk(ctx, index, &chunk, err));
    *item = chunk;
    return SW_OK;
}

static void discard_chunk(void *ctx, void *item)
{
    (void)ctx;
    sw_tile_chunk_free(item);
}

static void prefetch_free(sw_prefetch **prefetch)
{
    sw_prefetch_free(*prefetch);
    *prefetch = NULL;
}

/* *n_put counts the patches of each scale that are in the store, *n_passed those of them that are the slide's own tiles. */
static sw_status put_chunk(const sw_tile_chunk *chunk, sw_store_writer *writer, int64_t *n_put, int64_t *n_passed, sw_error *err)
{
    for (int i = 0; i < chunk->count; i++) {
        if (!chunk->jpeg[i]) continue;
        SW_TRY(sw_store_put(writer, chunk->scale, n_put[chunk->scale], chunk->jpeg[i], chunk->size[i], err));
        n_put[chunk->scale]++;
        n_passed[chunk->scale] += chunk->passed[i];
    }
    return SW_OK;
}

static sw_status put_chunks(sw_tile_job *job, sw_store_writer *writer, void (*wrote)(void *ctx, int64_t patches), void *ctx,
                            bool *fatal, sw_error *err)
{
    SW_CLEANUP(prefetch_free) sw_prefetch *prefetch = NULL;
    int64_t n_put[SW_STORE_MAX_SCALES] = {0};
    if (!job->chunk) {
        SW_TRY(sw_prefetch_new(job->run->pool, job->n_chunks, 2 * sw_pool_threads(job->run->pool) + 2, produce_chunk,
                               discard_chunk, job, &prefetch, err));
    }
    for (int64_t k = 0; k < job->n_chunks; k++) {
        SW_CLEANUP(chunk_free_ptr) sw_tile_chunk *chunk = NULL;
        if (prefetch) {
            void *item;
            SW_TRY(sw_prefetch_next(prefetch, &item, NULL, err));
            chunk = item;
        } else {
            chunk = SW_STEAL(job->chunk[k]);
        }
        sw_status status = put_chunk(chunk, writer, n_put, job->n_passed_through, err);
        *fatal = status != SW_OK;
        if (status != SW_OK) return status;
        wrote(ctx, chunk->count);
        if (sw_log_cancelled(job->run->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    }
    return SW_OK;
}

static sw_status properties_of(const sw_slide *slide, sw_buf *out, sw_error *err)
{
    sw_json_writer w;
    sw_json_begin(&w, out, 0);
    sw_json_object(&w);
    for (size_t i = 0; i < sw_slide_property_count(slide); i++) {
        sw_json_key(&w, sw_slide_property_name(slide, i));
        sw_json_string(&w, sw_slide_property_value(slide, i));
    }
    sw_json_end_object(&w);
    return sw_buf_status(out, err);
}

double sw_tile_job_tissue(const sw_tile_job *job)
{
    const sw_tile_settings *s = &job->run->options->settings;
    const sw_slide_info *info = sw_slide_get_info(job->slide);
    if (s->whole_image) return 1.0;
    if (!s->given_positions) return job->tissue.fraction;
    double step = job->grid[0].step_level0_px, share = step * step * (double)job->grid[0].n_patches / (double)info->width / (double)info->height;
    return share < 1.0 ? share : 1.0;
}

static sw_store_scale scale_of(const sw_tile_settings *s, int scale, const sw_grid *grid)
{
    /* Given positions go by the name of their scale; what they truly cover is in patch_level0_px. */
    double mpp_um = s->given_positions ? s->mpp_um[scale] : grid->mpp_um;
    return (sw_store_scale){.mpp_um = mpp_um,
                            .magnification = 10.0 / mpp_um,
                            .patch_px = grid->patch_px,
                            .overlap_px = s->overlap_px,
                            .quality = s->quality,
                            .patch_level0_px = grid->patch_level0_px,
                            .step_level0_px = grid->step_level0_px,
                            .n_patches = grid->n_patches};
}

static sw_status commit(sw_tile_job *job, sw_store_writer *writer, int64_t start_ns, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf properties = {0}, unreadable = {0};
    const sw_tile_settings *s = &job->run->options->settings;
    const sw_slide_info *info = sw_slide_get_info(job->slide);
    const int64_t *xy[SW_STORE_MAX_SCALES];
    int64_t bytes = 0;
    SW_TRY(properties_of(job->slide, &properties, err));
    SW_TRY(sw_tile_fates_json(&job->fates, &unreadable, err));
    SW_TRY(sw_file_size(job->entry->path, &bytes, err));
    sw_store_slide slide = {.slide_id = job->entry->slide_id,
                            .path = job->entry->path,
                            .source_bytes = bytes,
                            .width = info->width,
                            .height = info->height,
                            .mpp_um = info->mpp_um,
                            .mpp_source = sw_mpp_source_name(info->mpp_source),
                            .tissue_fraction = sw_tile_job_tissue(job),
                            .seconds = (double)(job->spent_ns + sw_now_ns() - start_ns) * 1e-9,
                            .properties_json = properties.data,
                            .unreadable_json = unreadable.data,
                            .unreadable_fraction = job->tissue.unreadable_fraction,
                            .n_scales = s->n_scales};
    for (int i = 0; i < s->n_scales; i++) {
        slide.scale[i] = scale_of(s, i, &job->grid[i]);
        slide.scale[i].n_passed_through = job->n_passed_through[i];
        memcpy(slide.scale[i].n_left_out, job->fates.n_left_out[i], sizeof slide.scale[i].n_left_out);
        xy[i] = job->grid[i].xy;
    }
    return sw_store_commit(writer, &slide, xy, err);
}

sw_status sw_tile_job_write(sw_tile_job *job, sw_store_writer *writer, void (*wrote)(void *ctx, int64_t patches), void *ctx,
                            bool *fatal, sw_error *err)
{
    int64_t start = sw_now_ns();
    const char *id = job->entry->slide_id;
    *fatal = true;
    SW_TRY(sw_store_writer_find(writer, id) ? sw_store_begin_again(writer, id, err) : sw_store_begin(writer, id, err));
    *fatal = false;
    sw_status status = put_chunks(job, writer, wrote, ctx, fatal, err);
    job->status = sw_tile_status_of(status);
    if (status == SW_OK) status = finish_positions(job, err);
    if (status == SW_OK) {
        status = commit(job, writer, start, err);
        *fatal = status != SW_OK && status != SW_E_NOT_FOUND;
    }
    if (status != SW_OK) sw_store_abandon(writer);
    return status;
}

sw_status sw_tile_job_export_stored(sw_tile_job *job, sw_store_writer *writer, sw_error *err)
{
    const sw_store_slide *known = sw_store_writer_find(writer, job->entry->slide_id);
    for (int i = 0; i < known->n_scales; i++) {
        const sw_store_scale *scale = &known->scale[i];
        sw_grid *grid = &job->grid[i];
        size_t n = (size_t)scale->n_patches;
        sw_grid_free(grid);
        *grid = (sw_grid){.patch_px = scale->patch_px,
                          .mpp_um = scale->patch_level0_px * known->mpp_um / scale->patch_px,
                          .magnification = scale->magnification,
                          .patch_level0_px = scale->patch_level0_px,
                          .step_level0_px = scale->step_level0_px,
                          .n_patches = scale->n_patches,
                          .xy = sw_calloc(2 * n + 1, sizeof *grid->xy),
                          .contour = sw_calloc(n + 1, sizeof *grid->contour)};
        if (!grid->xy || !grid->contour) return sw_nomem(err);
        SW_TRY(sw_store_writer_coords(writer, known->slide_id, i, grid->xy, err));
    }
    SW_TRY(sw_tile_pictures_stitch(job, err));
    return sw_tile_export(job, err);
}
