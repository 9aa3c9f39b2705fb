/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of a slide's tiling: the tissue, and the patches that were kept. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "store/tile_work.h"

#define MOST_PIXELS 1000000

static sw_status make_dir(const char *root, const char *name, char **out, sw_error *err)
{
    *out = sw_path_join(root, name);
    if (!*out) return sw_nomem(err);
    return sw_mkdir_p(*out, err);
}

sw_status sw_tile_pictures_begin(sw_tile_run *run, sw_error *err)
{
    const sw_tile_options *o = run->options;
    bool segmented = !o->settings.whole_image && !o->settings.given_positions;
    if (!o->masks) return SW_OK;
    if (o->store && segmented) {
        SW_TRY(make_dir(o->store, "masks", &run->masks_dir, err));
        SW_TRY(make_dir(o->store, "contours", &run->contours_dir, err));
    }
    /* CLAM calls its overlays masks. */
    if (segmented) SW_TRY(make_dir(o->store ? o->store : o->clam, o->store ? "overlays" : "masks", &run->overlays_dir, err));
    return make_dir(o->store ? o->store : o->clam, "stitches", &run->stitches_dir, err);
}

void sw_tile_pictures_end(sw_tile_run *run)
{
    sw_free(run->masks_dir);
    sw_free(run->overlays_dir);
    sw_free(run->contours_dir);
    sw_free(run->stitches_dir);
}

/* One scale needs no name. */
static char *stitch_path(const sw_tile_run *run, const char *slide_id, int scale)
{
    const sw_tile_settings *s = &run->options->settings;
    if (s->n_scales == 1) return sw_asprintf("%s/%s.jpg", run->stitches_dir, slide_id);
    return sw_asprintf("%s/%s_%gum.jpg", run->stitches_dir, slide_id, s->mpp_um[scale]);
}

sw_status sw_tile_pictures_missing(const sw_tile_run *run, const char *slide_id, bool *missing, sw_error *err)
{
    *missing = false;
    if (!run->stitches_dir) return SW_OK;
    SW_AUTOFREE char *path = stitch_path(run, slide_id, 0);
    if (!path) return sw_nomem(err);
    *missing = !sw_path_exists(path);
    return SW_OK;
}

static sw_status write_overlay(const sw_tile_job *job, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_image_new(job->thumbnail.width, job->thumbnail.height, 255, &image, err));
    memcpy(image.rgb, job->thumbnail.rgb, 3 * (size_t)(image.width * image.height));
    sw_tissue_draw(&job->tissue, job->run->options->settings.tissue.line_thickness, &image);
    return sw_image_write(path, &image, err);
}

sw_status sw_tile_pictures_tissue(sw_tile_job *job, sw_error *err)
{
    const sw_tile_run *run = job->run;
    const char *id = job->entry->slide_id;
    if (!run->stitches_dir) return SW_OK;
    SW_TRY(sw_slide_thumbnail(job->slide, MOST_PIXELS, &job->thumbnail, NULL, err));
    if (job->tissue.n_contours == 0) return SW_OK;
    if (run->masks_dir) {
        SW_AUTOFREE char *mask = sw_asprintf("%s/%s.png", run->masks_dir, id);
        SW_AUTOFREE char *contours = sw_asprintf("%s/%s.geojson", run->contours_dir, id);
        if (!mask || !contours) return sw_nomem(err);
        SW_TRY(sw_tissue_write_mask(&job->tissue, mask, err));
        SW_TRY(sw_tissue_write_geojson(&job->tissue, contours, err));
    }
    SW_AUTOFREE char *overlay = sw_asprintf("%s/%s.jpg", run->overlays_dir, id);
    if (!overlay) return sw_nomem(err);
    return write_overlay(job, overlay, err);
}

sw_status sw_tile_pictures_stitch(sw_tile_job *job, sw_error *err)
{
    const sw_tile_run *run = job->run;
    const sw_slide_info *info = sw_slide_get_info(job->slide);
    for (int s = 0; run->stitches_dir && s < run->options->settings.n_scales; s++) {
        SW_CLEANUP(sw_image_free) sw_image image = {0};
        SW_AUTOFREE char *path = stitch_path(run, job->entry->slide_id, s);
        if (!path) return sw_nomem(err);
        SW_TRY(sw_grid_stitch(&job->grid[s], info->width, info->height, &job->thumbnail, &image, err));
        SW_TRY(sw_image_write(path, &image, err));
    }
    sw_image_free(&job->thumbnail);
    return SW_OK;
}
