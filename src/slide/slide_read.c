/* SPDX-License-Identifier: Apache-2.0 */
/* Reading at a level, at any scale, at a physical resolution. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slide/resize.h"
#include "slide/slide_handle.h"

#define BLOCK_PIXELS (16 << 20) /* source pixels held while a large area is reduced */
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

/* Reads the window and resizes the box of `job` out of it; the job's box is in pixels of the level. */
static sw_status reduce(sw_slide *slide, int index, sw_resize_job job, uint8_t *rgb, sw_error *err)
{
    const sw_slide_level *level = &slide->info.level[index];
    window w = window_of(level, &job);
    int64_t width = w.x1 - w.x0, height = w.y1 - w.y0;
    SW_AUTOFREE uint8_t *pixels = sw_malloc(3 * (size_t)width * (size_t)height);
    if (!pixels) return sw_nomem(err);
    /* OpenSlide takes positions in level-0 pixels and divides them by the level's one downsample. */
    int64_t level0_x = llround((double)w.x0 * level->downsample), level0_y = llround((double)w.y0 * level->downsample);
    SW_TRY(sw_slide_read(slide, index, level0_x, level0_y, width, height, pixels, err));
    job.pixels = pixels;
    job.source_width = width;
    job.source_height = height;
    job.x -= (double)w.x0;
    job.y -= (double)w.y0;
    job.clip_x1 = width;
    job.clip_y1 = height;
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

sw_status sw_slide_read_area(sw_slide *slide, double level0_x, double level0_y, double level0_width,
                             double level0_height, int64_t width, int64_t height, uint8_t *rgb, sw_error *err)
{
    if (!(level0_width > 0) || !(level0_height > 0) || width < 1 || height < 1 || !isfinite(level0_x + level0_y) ||
        !isfinite(level0_width + level0_height)) {
        return sw_error_set(err, SW_E_INVALID, "%s: an area of %g x %g pixels cannot be read as %lld x %lld pixels",
                            slide->path, level0_width, level0_height, (long long)width, (long long)height);
    }
    double downsample = fmin(level0_width / (double)width, level0_height / (double)height);
    int index = level_for(slide, downsample);
    const sw_slide_level *level = &slide->info.level[index];
    double scale_x = true_scale(slide->info.width, level->width);
    double scale_y = true_scale(slide->info.height, level->height);
    double x = level0_x / scale_x, w = level0_width / scale_x;
    double y = level0_y / scale_y, step = level0_height / scale_y / (double)height;
    int64_t rows = (int64_t)(BLOCK_PIXELS / (w + 4) / step);
    if (rows < 1) rows = 1;
    for (int64_t row = 0; row < height; row += rows) {
        int64_t n = height - row < rows ? height - row : rows;
        sw_resize_job job = {.x = x,
                             .y = y + step * (double)row,
                             .width = w,
                             .height = step * (double)n,
                             .out_width = width,
                             .out_height = n};
        SW_TRY(reduce(slide, index, job, rgb + 3 * row * width, err));
    }
    return SW_OK;
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

sw_status sw_slide_read_patch(sw_slide *slide, int64_t level0_x, int64_t level0_y, int patch_px, double mpp_um,
                              uint8_t *rgb, sw_error *err)
{
    double side = 0;
    SW_TRY(sw_slide_patch_side(slide, patch_px, mpp_um, &side, err));
    const sw_slide_level *level = &slide->info.level[level_for(slide, side / patch_px)];
    double drift_x = side / level->downsample_x - patch_px, drift_y = side / level->downsample_y - patch_px;
    if (fabs(drift_x) < 0.5 && fabs(drift_y) < 0.5) {
        int index = (int)(level - slide->info.level);
        return sw_slide_read(slide, index, level0_x, level0_y, patch_px, patch_px, rgb, err);
    }
    return sw_slide_read_area(slide, (double)level0_x, (double)level0_y, side, side, patch_px, patch_px, rgb, err);
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
    SW_TRY(sw_slide_read_area(slide, 0, 0, w, h, width, height, image.rgb, err));
    if (downsample) *downsample = w / (double)width;
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}
