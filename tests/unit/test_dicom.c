/* SPDX-License-Identifier: Apache-2.0 */
/* DICOM slides: tiled with OpenSlide 4, refused with one sentence before. */
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"
#include "slidewise/tile.h"
#include "test.h"

enum { PX = 64 };
static sw_error err;

static sw_status tile(const char *name, const char *store, double mpp_um, sw_tile_result *r)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/slides/%s", sw_test_data(), name), *dir = sw_path_join(sw_test_dir(), store);
    const char *operand = path;
    sw_tile_options o = sw_tile_options_default();
    o.store = dir;
    o.settings.mpp_um[0] = mpp_um;
    o.settings.patch_px = PX;
    o.settings.quality = 95;
    SW_TRY(sw_slide_list_expand(&operand, 1, &list, &err));
    return sw_tile(&o, &list, r, &err);
}

/* The sentence that tiling says of a slide, behind its path; "" when it is tiled. */
static const char *refusal(const char *name, const char *store)
{
    static char text[sizeof err.message];
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/slides/%s", sw_test_data(), name);
    if (tile(name, store, 60, &r) != SW_OK || r.count != 1) return err.message;
    if (!r.row[0].reason) return "";
    if (r.row[0].status != SW_TILE_UNREADABLE || strncmp(r.row[0].reason, path, strlen(path)) != 0) return "(another failure)";
    snprintf(text, sizeof text, "%s", r.row[0].reason + strlen(path));
    return text;
}

/* The patches at the slide's own resolution are its pixels, at level-0 positions. */
static void check_patches(const char *store_name, const char *name)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_AUTOFREE char *path = sw_asprintf("%s/slides/%s", sw_test_data(), name), *dir = sw_path_join(sw_test_dir(), store_name);
    static uint8_t rgb[3 * PX * PX];
    CHECK_OK(sw_store_open(dir, &store, &err));
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    int64_t n = sw_store_scale_get(store, 0, 0)->n_patches, off = 0;
    CHECK(n >= 50 && n < 200);
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
    CHECK(xy);
    CHECK_OK(sw_store_coords(store, 0, 0, xy, &err));
    for (int64_t i = 0; i < n; i++) {
        SW_CLEANUP(sw_image_free) sw_image patch = {0};
        const void *jpeg;
        size_t size;
        CHECK(xy[2 * i] >= 0 && xy[2 * i] < 1152 && xy[2 * i + 1] >= 0 && xy[2 * i + 1] < 700);
        CHECK_OK(sw_store_patch(store, 0, 0, i, &jpeg, &size, &err));
        CHECK_OK(sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &patch, &err));
        CHECK_OK(sw_slide_read(slide, 0, xy[2 * i], xy[2 * i + 1], PX, PX, rgb, &err));
        for (int k = 0; k < 3 * PX * PX; k++) off += abs(rgb[k] - patch.rgb[k]);
    }
    CHECK_NEAR((double)off / (double)(n * 3 * PX * PX), 0, 0, 4); /* what the JPEGs lose */
}

TEST(dicom_slides_are_tiled_or_refused)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    const char *version = sw_openslide_version();
    char expected[600];
    if (atoi(version) < 4) {
        snprintf(expected, sizeof expected, ": DICOM slides need OpenSlide 4.0 or newer, and this is OpenSlide %s; install a newer OpenSlide or "
                                            "convert the slide to a pyramidal TIFF", version);
        CHECK_STR(refusal("camelyon-level.dcm", "old"), expected);
        CHECK_STR(refusal("small-dicom.dcm", "old_small"), expected);
        return;
    }
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_tile_result_free) sw_tile_result r = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/slides/camelyon-level.dcm", sw_test_data());
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    CHECK_STR(info->format, "dicom");
    CHECK(info->width == 1152 && info->height == 700 && info->n_levels == 1 && info->mpp_source == SW_MPP_SCANNER);
    CHECK_NEAR(info->mpp_um, 28.9685, 1e-5, 0);
    CHECK_OK(tile("camelyon-level.dcm", "own", info->mpp_um, &r));
    CHECK_INT(r.n_done, 1);
    check_patches("own", "camelyon-level.dcm");
    CHECK_STR(refusal("camelyon-level.dcm", "coarse"), "");
    snprintf(expected, sizeof expected, ": OpenSlide %s cannot read this DICOM file (Reading %s/slides/small-dicom.dcm: Couldn't get image flavor); "
                                        "give one file of a whole-slide series, copy it again from its source if it is damaged, or convert it to "
                                        "a pyramidal TIFF", version, sw_test_data());
    CHECK_STR(refusal("small-dicom.dcm", "small"), expected);
}
