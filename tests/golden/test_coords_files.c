/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinate files that h5py wrote (tests/golden/make_coords.py): both tools' forms are read, others refused. */
#include "base/mem.h"
#include "slidewise/coords.h"
#include "test.h"

static sw_status read_file(const char *name, sw_coords *out, sw_error *err)
{
    SW_AUTOFREE char *path = sw_asprintf("%s/golden/coords/%s", sw_test_source(), name);
    return sw_coords_read(path, out, err);
}

static bool has_positions(const sw_coords *c)
{
    static const int64_t expected[6] = {128, 64, 128, 576, 640, 64};
    return c->n_patches == 3 && memcmp(c->xy, expected, sizeof expected) == 0;
}

TEST(files_of_clam)
{
    static const char *const name[] = {"clam.h5", "clam_numpy.h5"};
    sw_error err = {0};
    for (int i = 0; i < 2; i++) {
        SW_CLEANUP(sw_coords_free) sw_coords c = {0};
        CHECK_OK(read_file(name[i], &c, &err));
        CHECK_INT(c.kind, SW_COORDS_CLAM);
        CHECK(has_positions(&c));
        CHECK_STR(c.name, "one");
        CHECK(c.patch_px == 128 && c.patch_level == 1 && c.patch_level0_px == 512 && c.width == 500 && c.height == 400);
    }
}

TEST(files_of_trident)
{
    sw_error err = {0};
    SW_CLEANUP(sw_coords_free) sw_coords c = {0}, empty = {0};
    CHECK_OK(read_file("trident_patches.h5", &c, &err));
    CHECK_INT(c.kind, SW_COORDS_TRIDENT);
    CHECK(has_positions(&c));
    CHECK_STR(c.name, "one");
    CHECK(c.patch_px == 256 && c.patch_level0_px == 512 && c.overlap_px == 0 && c.width == 2000 && c.height == 1600);
    CHECK(c.level0_magnification == 40 && c.target_magnification == 20);
    CHECK_OK(read_file("trident_empty.h5", &empty, &err));
    CHECK_INT(empty.n_patches, 0);
}

TEST(files_of_others)
{
    sw_error err = {0};
    SW_CLEANUP(sw_coords_free) sw_coords c = {0};
    CHECK_INT(read_file("atlaspatch.h5", &c, &err), SW_E_UNSUPPORTED);
    CHECK(strstr(err.message, "atlaspatch.h5: its coordinates have five columns, as AtlasPatch writes them; slidewise reads CLAM's and "
                              "TRIDENT's, which have two (x, y)"));
    CHECK_INT(read_file("features.h5", &c, &err), SW_E_FORMAT);
    CHECK(strstr(err.message, "features.h5: no dataset \"coords\" in it; give a file of coordinates, such as CLAM's patches/SLIDE.h5 or "
                              "TRIDENT's patches/SLIDE_patches.h5"));
}
