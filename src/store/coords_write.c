/* SPDX-License-Identifier: Apache-2.0 */
/* Writing positions as CLAM and as TRIDENT do. */
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/coords.h"
#include "store/coords_parts.h"
#include "store/hdf5_coords.h"

#define SAME_RESOLUTION 1.01

static sw_h5_attribute number(const char *name, double value)
{
    return (sw_h5_attribute){.name = name, .type = SW_H5_INT, .value = {value}};
}

static sw_h5_attribute pair(const char *name, sw_h5_type type, double x, double y)
{
    return (sw_h5_attribute){.name = name, .type = type, .count = 2, .value = {x, y}};
}

static sw_h5_attribute text(const char *name, const char *value)
{
    return (sw_h5_attribute){.name = name, .type = SW_H5_TEXT, .text = value};
}

/* DIR/SLIDE<end> with DIR made. */
static sw_status write_file(const char *dir, const char *slide_id, const char *end, const sw_grid *grid,
                            const sw_h5_attribute *attribute, size_t n, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/%s%s", dir, slide_id, end);
    if (!path) return sw_nomem(err);
    SW_TRY(sw_mkdir_p(dir, err));
    SW_TRY(sw_h5_coords_write(grid->xy, grid->n_patches, attribute, n, &bytes, err));
    return sw_file_write(path, bytes.data, bytes.size, err);
}

void sw_coords_clam_level(const sw_slide *slide, const sw_grid *grid, int *level, int *patch_px)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    double down = grid->patch_level0_px / grid->patch_px;
    *level = 0;
    for (int i = 1; i < info->n_levels; i++) {
        if (info->level[i].downsample_x <= down * SAME_RESOLUTION) *level = i;
    }
    double px = grid->patch_level0_px / info->level[*level].downsample_x;
    *patch_px = px < 1 ? 1 : (int)lround(px);
}

sw_status sw_coords_write_clam(const char *dir, const char *slide_id, const sw_slide *slide, const sw_grid *grid, sw_error *err)
{
    int at, patch_px;
    sw_coords_clam_level(slide, grid, &at, &patch_px);
    const sw_slide_level *level = &sw_slide_get_info(slide)->level[at];
    SW_AUTOFREE char *patches = sw_path_join(dir, "patches");
    if (!patches) return sw_nomem(err);
    const sw_h5_attribute attribute[] = {
        number("patch_size", patch_px),
        number("patch_level", at),
        pair("downsample", SW_H5_REAL, level->downsample_x, level->downsample_y),
        pair("downsampled_level_dim", SW_H5_INT, (double)level->width, (double)level->height),
        pair("level_dim", SW_H5_INT, (double)level->width, (double)level->height),
        text("name", slide_id),
        text("save_path", patches),
    };
    return write_file(patches, slide_id, ".h5", grid, attribute, sizeof attribute / sizeof *attribute, err);
}

int sw_coords_trident_magnification(double mpp_um)
{
    static const struct {
        double below_um;
        int magnification;
    } bucket[] = {{0.16, 80}, {0.2, 60}, {0.3, 40}, {0.6, 20}, {1.2, 10}, {2.4, 5}};
    for (size_t i = 0; i < sizeof bucket / sizeof *bucket; i++) {
        if (mpp_um < bucket[i].below_um) return bucket[i].magnification;
    }
    return 1;
}

void sw_coords_trident_attributes(const sw_coords_geometry *g, sw_h5_attribute *out)
{
    double level0 = sw_coords_trident_magnification(g->level0_mpp_um), side = round(g->patch_level0_px);
    double target = g->magnification;
    /* Its reader cuts round(patch_size * level0 / target): this must be the side that the patches have. */
    bool plain = target == round(target) && round(g->patch_px * level0 / target) == side;
    if (!plain) target = g->patch_px * level0 / side;
    const sw_h5_attribute attribute[SW_TRIDENT_ATTRIBUTES] = {
        number("patch_size", g->patch_px),
        number("patch_size_level0", side),
        number("level0_magnification", level0),
        {.name = "target_magnification", .type = plain ? SW_H5_INT : SW_H5_REAL, .value = {target}},
        number("overlap", g->overlap_px),
        text("name", g->slide_id),
        text("savetodir", g->folder),
        number("level0_width", (double)g->width),
        number("level0_height", (double)g->height),
    };
    memcpy(out, attribute, sizeof attribute);
}

sw_status sw_coords_write_trident(const char *dir, const char *slide_id, const sw_slide *slide, const sw_grid *grid,
                                  int overlap_px, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    sw_h5_attribute attribute[SW_TRIDENT_ATTRIBUTES];
    SW_AUTOFREE char *job = sw_asprintf("%s/%.6gx_%dpx_%dpx_overlap", dir, grid->magnification, grid->patch_px, overlap_px);
    SW_AUTOFREE char *patches = job ? sw_path_join(job, "patches") : NULL;
    if (!patches) return sw_nomem(err);
    const sw_coords_geometry g = {.slide_id = slide_id, .folder = job, .patch_px = grid->patch_px, .overlap_px = overlap_px,
                                  .patch_level0_px = grid->patch_level0_px, .magnification = grid->magnification,
                                  .level0_mpp_um = info->mpp_um, .width = info->width, .height = info->height};
    sw_coords_trident_attributes(&g, attribute);
    return write_file(patches, slide_id, "_patches.h5", grid, attribute, SW_TRIDENT_ATTRIBUTES, err);
}

sw_status sw_coords_write_places(const char *dir, const sw_coords_geometry *g, const int64_t *xy, int64_t n, sw_error *err)
{
    sw_h5_attribute attribute[SW_TRIDENT_ATTRIBUTES];
    SW_AUTOFREE char *patches = sw_path_join(dir, "patches");
    const sw_grid grid = {.xy = (int64_t *)xy, .n_patches = n}; /* only read */
    if (!patches) return sw_nomem(err);
    sw_coords_trident_attributes(g, attribute);
    return write_file(patches, g->slide_id, "_patches.h5", &grid, attribute, SW_TRIDENT_ATTRIBUTES - (g->width > 0 ? 0 : 2), err);
}
