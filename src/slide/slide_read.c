/* SPDX-License-Identifier: Apache-2.0 */
/* Reading at a level, at any scale, at a physical resolution. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slide/resize.h"
#include "slide/slide_handle.h"
#include "slide/slide_patches.h"

#define BLOCK_PIXELS (16 << 20) /* source pixels held while a large area is reduced */
#define EXACT_DRIFT 1e-3        /* pixels over a patch: nothing that 8 bits could show */
#define MAX_READ 1000000000LL   /* pixels of one read: 4 GB in OpenSlide's hands */

sw_status sw_slide_read(sw_slide *slide, int level, int64_t level0_x, int64_t level0_y, int64_t width, int64_t height,
                        uint8_t *rgb, sw_error *err)
{
    if (level < 0 || level >= slide->info.n_levels) {
        return sw_error_set(err, SW_E_INVALID, "%s: level %d asked for, and the slide has levels 0 to %d", slide->path,
                            level, slide->info.n_levels - 1);
    }
    if (width < 1 || height < 1 || width > MAX_READ / height) {
        return sw_error_set(err, SW_E_INVALID, "%s: a region of %lld x %lld pixels cannot be read at once", slide->path,
                            (long long)width, (long long)height);
    }
    sw_error reason = {0};
    sw_status status = slide->ops->read(slide->state, level, level0_x, level0_y, width, height, rgb, &reason);
    if (status == SW_OK) return SW_OK;
    if (status == SW_E_NOMEM) return sw_nomem(err);
    return sw_error_set(err, status,
                        "%s: %lld x %lld pixels of level %d at (%lld, %lld) cannot be read: %s; the slide is damaged or "
                        "cut short, copy it again from its source",
                        slide->path, (long long)width, (long long)height, level, (long long)level0_x,
                        (long long)level0_y, reason.message);
}

/* An area of a level in that level's pixels. */
typedef struct window {
    int64_t x0, y0, x1, y1;
} window;

/* Source pixels that the box needs, with the margin of the taps; the margin stays on the slide, so that the white
 * beyond it does not bleed into pixels that lie wholly on the slide. */
static window window_of(const sw_slide_level *level, const sw_resize_job *job)
{
    double margin_x = fmax(1, job->width / (double)job->out_width) + 1;
    double margin_y = fmax(1, job->height / (double)job->out_height) + 1;
    window w = {(int64_t)floor(job->x - margin_x), (int64_t)floor(job->y - margin_y),
                (int64_t)ceil(job->x + job->width + margin_x), (int64_t)ceil(job->y + job->height + margin_y)};
    int64_t x0 = (int64_t)floor(job->x), x1 = (int64_t)ceil(job->x + job->width - 1e-6);
    int64_t y0 = (int64_t)floor(job->y), y1 = (int64_t)ceil(job->y + job->height - 1e-6);
    if (w.x0 < 0) w.x0 = x0 < 0 ? x0 : 0;
    if (w.y0 < 0) w.y0 = y0 < 0 ? y0 : 0;
    if (w.x1 > level->width) w.x1 = x1 > level->width ? x1 : level->width;
    if (w.y1 > level->height) w.y1 = y1 > level->height ? y1 : level->height;
    return w;
}

/* Moves the job from pixels of the level to those of its window; its pixels lie in rows of `row_px` pixels. */
static void move_into(const window *w, const uint8_t *pixels, int64_t row_px, sw_resize_job *job)
{
    job->pixels = pixels;
    job->source_width = row_px;
    job->source_height = w->y1 - w->y0;
    job->x -= (double)w->x0;
    job->y -= (double)w->y0;
    job->clip_x1 = w->x1 - w->x0;
    job->clip_y1 = w->y1 - w->y0;
}

/* OpenSlide takes positions in level-0 pixels and divides them by the level's one downsample. */
static int64_t level0_of(const sw_slide_level *level, int64_t position)
{
    return llround((double)position * level->downsample);
}

/* Reads the window and resizes the box of `job` out of it; the job's box is in pixels of the level. `missing` NULL: damage is
 * an error. */
static sw_status reduce(sw_slide *slide, int index, sw_resize_job job, uint8_t *rgb, sw_slide_missing *missing, sw_error *err)
{
    const sw_slide_level *level = &slide->info.level[index];
    window w = window_of(level, &job);
    int64_t width = w.x1 - w.x0, height = w.y1 - w.y0;
    SW_AUTOFREE uint8_t *pixels = sw_malloc(3 * (size_t)width * (size_t)height);
    if (!pixels) return sw_nomem(err);
    int64_t x = level0_of(level, w.x0), y = level0_of(level, w.y0);
    SW_TRY(missing ? sw_slide_read_parts(slide, index, x, y, width, height, pixels, missing, err)
                   : sw_slide_read(slide, index, x, y, width, height, pixels, err));
    move_into(&w, pixels, width, &job);
    return sw_resize_run_u8(&job, rgb, err);
}

/* Level-0 pixels per pixel of a level along one axis. Pyramids halve and drop the odd row or column at the end, so that
 * the ratio of the sides is a little more than the true, whole factor; over a slide that would shift by pixels. */
static double true_scale(int64_t level0_side, int64_t level_side)
{
    double ratio = (double)level0_side / (double)level_side, whole = round(ratio);
    return fabs((double)level0_side / whole - (double)level_side) < 1 ? whole : ratio;
}

/* Last level that is not coarser than asked by more than 1 %. */
static int level_for(const sw_slide *slide, double downsample)
{
    int best = 0;
    for (int i = 1; i < slide->info.n_levels; i++) {
        const sw_slide_level *level = &slide->info.level[i];
        if (fmax(level->downsample_x, level->downsample_y) <= downsample * 1.01) best = i;
    }
    return best;
}

/* An area in pixels of a level; `step` of them are one row of the output. */
typedef struct area {
    double x, y, width, step;
} area;

static area area_of(const sw_slide *slide, const sw_slide_level *level, double level0_x, double level0_y, double level0_width,
                    double level0_height, int64_t height)
{
    double scale_x = true_scale(slide->info.width, level->width);
    double scale_y = true_scale(slide->info.height, level->height);
    return (area){level0_x / scale_x, level0_y / scale_y, level0_width / scale_x, level0_height / scale_y / (double)height};
}

/* Rows of the output whose source is held at once. */
static int64_t rows_at_once(const area *a)
{
    int64_t rows = (int64_t)(BLOCK_PIXELS / (a->width + 4) / a->step);
    return rows < 1 ? 1 : rows;
}

static sw_resize_job job_of(const area *a, int64_t row, int64_t rows, int64_t width)
{
    return (sw_resize_job){.x = a->x,
                           .y = a->y + a->step * (double)row,
                           .width = a->width,
                           .height = a->step * (double)rows,
                           .out_width = width,
                           .out_height = rows};
}

sw_status sw_slide_read_area(sw_slide *slide, double level0_x, double level0_y, double level0_width,
                             double level0_height, int64_t width, int64_t height, uint8_t *rgb, sw_error *err)
{
    return sw_slide_read_area_parts(slide, level0_x, level0_y, level0_width, level0_height, width, height, rgb, NULL, err);
}

/* From the level `index`, or from the best for it where that is negative. */
static sw_status read_area(sw_slide *slide, int index, double level0_x, double level0_y, double level0_width, double level0_height,
                           int64_t width, int64_t height, uint8_t *rgb, sw_slide_missing *missing, sw_error *err)
{
    if (!(level0_width > 0) || !(level0_height > 0) || width < 1 || height < 1 || !isfinite(level0_x + level0_y) ||
        !isfinite(level0_width + level0_height)) {
        return sw_error_set(err, SW_E_INVALID, "%s: an area of %g x %g pixels cannot be read as %lld x %lld pixels",
                            slide->path, level0_width, level0_height, (long long)width, (long long)height);
    }
    if (index < 0) index = level_for(slide, fmin(level0_width / (double)width, level0_height / (double)height));
    const sw_slide_level *level = &slide->info.level[index];
    area a = area_of(slide, level, level0_x, level0_y, level0_width, level0_height, height);
    int64_t rows = rows_at_once(&a);
    for (int64_t row = 0; row < height; row += rows) {
        int64_t n = height - row < rows ? height - row : rows;
        SW_TRY(reduce(slide, index, job_of(&a, row, n, width), rgb + 3 * row * width, missing, err));
    }
    return SW_OK;
}

sw_status sw_slide_read_area_parts(sw_slide *slide, double level0_x, double level0_y, double level0_width, double level0_height,
                                   int64_t width, int64_t height, uint8_t *rgb, sw_slide_missing *missing, sw_error *err)
{
    return read_area(slide, -1, level0_x, level0_y, level0_width, level0_height, width, height, rgb, missing, err);
}

sw_status sw_slide_patch_side(const sw_slide *slide, int patch_px, double mpp_um, double *level0_px, sw_error *err)
{
    double slide_mpp_um = 0;
    SW_TRY(sw_slide_need_mpp(slide, &slide_mpp_um, err));
    if (patch_px < 1 || !(mpp_um > 0) || !isfinite(mpp_um)) {
        return sw_error_set(err, SW_E_INVALID, "%s: a patch of %d pixels at %g microns per pixel is not possible",
                            slide->path, patch_px, mpp_um);
    }
    *level0_px = patch_px * mpp_um / slide_mpp_um;
    return SW_OK;
}

/* What all patches of one side and resolution share. */
typedef struct patch_kind {
    double side; /* level-0 pixels */
    int patch_px, level;
    bool as_it_is; /* the level's pixels are the patch's: no resize */
} patch_kind;

static sw_status kind_of(const sw_slide *slide, int patch_px, double mpp_um, patch_kind *out, sw_error *err)
{
    *out = (patch_kind){.patch_px = patch_px};
    SW_TRY(sw_slide_patch_side(slide, patch_px, mpp_um, &out->side, err));
    out->level = slide->exact ? 0 : level_for(slide, out->side / patch_px);
    const sw_slide_level *level = &slide->info.level[out->level];
    double drift_x = out->side / level->downsample_x - patch_px, drift_y = out->side / level->downsample_y - patch_px;
    double most = slide->exact ? EXACT_DRIFT : 0.5;
    out->as_it_is = fabs(drift_x) < most && fabs(drift_y) < most;
    return SW_OK;
}

static sw_status read_one(sw_slide *slide, const patch_kind *k, const int64_t *xy, uint8_t *rgb, sw_error *err)
{
    if (k->as_it_is) return sw_slide_read(slide, k->level, xy[0], xy[1], k->patch_px, k->patch_px, rgb, err);
    return read_area(slide, k->level, (double)xy[0], (double)xy[1], k->side, k->side, k->patch_px, k->patch_px, rgb, NULL, err);
}

sw_status sw_slide_read_patch(sw_slide *slide, int64_t level0_x, int64_t level0_y, int patch_px, double mpp_um,
                              uint8_t *rgb, sw_error *err)
{
    patch_kind k;
    int64_t xy[2] = {level0_x, level0_y};
    SW_TRY(kind_of(slide, patch_px, mpp_um, &k, err));
    return read_one(slide, &k, xy, rgb, err);
}

bool sw_slide_patch_is_level(const sw_slide *slide, int patch_px, double mpp_um, double *level_mpp_um)
{
    patch_kind k;
    sw_error why = {0};
    if (kind_of(slide, patch_px, mpp_um, &k, &why) != SW_OK || !k.as_it_is) return false;
    double downsample = slide->info.level[k.level].downsample;
    *level_mpp_um = slide->info.mpp_um * downsample;
    return downsample == floor(downsample);
}

uint8_t *sw_slide_patch_jpeg(sw_slide *slide, const int64_t *xy, int patch_px, double mpp_um, size_t *size)
{
    patch_kind k;
    sw_error why = {0};
    if (!slide->ops->jpeg || kind_of(slide, patch_px, mpp_um, &k, &why) != SW_OK || !k.as_it_is) return NULL;
    return slide->ops->jpeg(slide->state, k.level, xy[0], xy[1], patch_px, size);
}

/* ---- many patches */

/* What one patch reads: an area of the level, in that level's pixels. */
static window window_of_patch(const sw_slide *slide, const patch_kind *k, const int64_t *xy, sw_resize_job *job)
{
    const sw_slide_level *level = &slide->info.level[k->level];
    if (k->as_it_is) {
        int64_t factor = (int64_t)level->downsample, x = xy[0] / factor, y = xy[1] / factor;
        return (window){x, y, x + k->patch_px, y + k->patch_px};
    }
    area a = area_of(slide, level, (double)xy[0], (double)xy[1], k->side, k->side, k->patch_px);
    *job = job_of(&a, 0, k->patch_px, k->patch_px);
    return window_of(level, job);
}

/* Whether a patch can be cut out of a larger region with the same bits. Where a position is no whole pixel of the level,
 * OpenSlide interpolates, each region by its own fraction; positions before the slide's begin are rounded in their own way. */
static bool can_share(const sw_slide *slide, const patch_kind *k, const int64_t *xy)
{
    const sw_slide_level *level = &slide->info.level[k->level];
    sw_resize_job job;
    if (!slide->facts.whole_tiles || level->downsample != floor(level->downsample) || level->downsample > 1e6) return false;
    int64_t factor = (int64_t)level->downsample;
    if (xy[0] < 0 || xy[1] < 0) return false;
    if (k->as_it_is) return xy[0] % factor == 0 && xy[1] % factor == 0;
    area a = area_of(slide, level, (double)xy[0], (double)xy[1], k->side, k->side, k->patch_px);
    if (rows_at_once(&a) < k->patch_px) return false;
    window w = window_of_patch(slide, k, xy, &job);
    return w.x0 >= 0 && w.y0 >= 0;
}

static int64_t pixels_of(const window *w)
{
    return (w->x1 - w->x0) * (w->y1 - w->y0);
}

/* How many of the patches, from the first, are read together, and the region that holds them: as long as it is small and
 * most of it is wanted. */
static int group_of(const sw_slide *slide, const patch_kind *k, const int64_t *xy, int n, window *region)
{
    sw_resize_job job;
    if (!can_share(slide, k, xy)) return 1;
    *region = window_of_patch(slide, k, xy, &job);
    int64_t wanted = pixels_of(region);
    int best = 1, count = 1;
    for (window all = *region; count < n && can_share(slide, k, xy + 2 * count); count++) {
        window w = window_of_patch(slide, k, xy + 2 * count, &job);
        all = (window){w.x0 < all.x0 ? w.x0 : all.x0, w.y0 < all.y0 ? w.y0 : all.y0, w.x1 > all.x1 ? w.x1 : all.x1,
                       w.y1 > all.y1 ? w.y1 : all.y1};
        wanted += pixels_of(&w);
        if (pixels_of(&all) > SW_GROUP_PIXELS) break;
        if (4 * pixels_of(&all) > 5 * wanted) continue; /* the next column may fill it */
        best = count + 1;
        *region = all;
    }
    return best;
}

static sw_status cut_patch(const sw_slide *slide, const patch_kind *k, const int64_t *xy, const window *region,
                           const uint8_t *pixels, uint8_t *rgb, sw_error *err)
{
    sw_resize_job job;
    window w = window_of_patch(slide, k, xy, &job);
    int64_t row_px = region->x1 - region->x0;
    const uint8_t *from = pixels + 3 * ((w.y0 - region->y0) * row_px + w.x0 - region->x0);
    if (!k->as_it_is) {
        move_into(&w, from, row_px, &job);
        return sw_resize_run_u8(&job, rgb, err);
    }
    for (int64_t y = 0; y < k->patch_px; y++) memcpy(rgb + 3 * y * k->patch_px, from + 3 * y * row_px, 3 * (size_t)k->patch_px);
    return SW_OK;
}

/* NULL: it cannot be read, or memory is short; whoever asks reads patch by patch then and learns which is at fault. */
static uint8_t *read_region(sw_slide *slide, const patch_kind *k, const window *region)
{
    const sw_slide_level *level = &slide->info.level[k->level];
    int64_t width = region->x1 - region->x0, height = region->y1 - region->y0;
    sw_error reason = {0};
    uint8_t *pixels = sw_malloc(3 * (size_t)width * (size_t)height);
    if (!pixels || sw_slide_read(slide, k->level, level0_of(level, region->x0), level0_of(level, region->y0), width, height,
                                 pixels, &reason) == SW_OK) {
        return pixels;
    }
    sw_free(pixels);
    return NULL;
}

sw_status sw_slide_read_patches(sw_slide *slide, const int64_t *xy, int n, int patch_px, double mpp_um, uint8_t *rgb,
                                sw_slide_patch_fn each, sw_slide_bad_fn bad, void *ctx, sw_error *err)
{
    patch_kind k;
    SW_TRY(kind_of(slide, patch_px, mpp_um, &k, err));
    for (int i = 0, count; i < n; i += count) {
        window region = {0};
        count = group_of(slide, &k, xy + 2 * i, n - i, &region);
        SW_AUTOFREE uint8_t *pixels = count > 1 ? read_region(slide, &k, &region) : NULL;
        for (int j = i; j < i + count; j++) {
            sw_error why = {0};
            sw_status status = pixels ? cut_patch(slide, &k, xy + 2 * j, &region, pixels, rgb, &why)
                                      : read_one(slide, &k, xy + 2 * j, rgb, &why);
            why.code = status;
            if (status == SW_OK) SW_TRY(each(ctx, j, rgb, err));
            else if (status == SW_E_FORMAT && bad) SW_TRY(bad(ctx, j, &why, err));
            else return sw_error_set(err, status, "%s", why.message);
        }
    }
    return SW_OK;
}

sw_status sw_slide_thumbnail(sw_slide *slide, int64_t max_pixels, sw_image *out, double *downsample, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    double w = (double)slide->info.width, h = (double)slide->info.height;
    memset(out, 0, sizeof *out);
    if (max_pixels < 1) {
        return sw_error_set(err, SW_E_INVALID, "%s: a picture of at most %lld pixels is not possible", slide->path,
                            (long long)max_pixels);
    }
    double factor = fmax(1, sqrt(w * h / (double)max_pixels));
    int64_t width = (int64_t)fmax(1, floor(w / factor)), height = (int64_t)fmax(1, floor(h / factor));
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    sw_slide_missing missing = {0};
    SW_TRY(sw_slide_read_area_parts(slide, 0, 0, w, h, width, height, image.rgb, &missing, err));
    if (missing.n_missing > 0 && missing.n_missing == missing.n_asked) {
        return sw_error_set(err, missing.first.code, "%s", missing.first.message);
    }
    if (downsample) *downsample = w / (double)width;
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}
