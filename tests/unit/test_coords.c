/* SPDX-License-Identifier: Apache-2.0 */
/* Positions in CLAM's and TRIDENT's files: what is written is read back, what does not fit a slide is refused in words. */
#include "base/fs.h"
#include "base/mem.h"
#include "base/versions.h"
#include "slidewise/coords.h"
#include "slidewise/synth.h"
#include "store/hdf5_coords.h"
#include "test.h"

/* A synthetic slide of 1000 pixels at 0.5 um in DIR/slides; levels 0, 1 (4x) … */
static sw_status make_slide(const char *dir, sw_slide **slide, sw_error *err)
{
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_AUTOFREE char *slides = sw_path_join(dir, "slides");
    sw_synth_options o = sw_synth_options_default();
    o.n_slides = 1;
    o.size_px = 1000;
    SW_TRY(sw_synth_write(dir, &o, err));
    const char *operand = slides;
    SW_TRY(sw_slide_list_expand(&operand, 1, &list, err));
    return sw_slide_open(list.entry[0].path, NULL, slide, err);
}

static int64_t XY[6] = {0, 0, 512, 256, 999, 999};

static sw_grid grid_of(double mpp_um, double side)
{
    return (sw_grid){.patch_px = 64, .mpp_um = mpp_um, .magnification = 10 / mpp_um, .patch_level0_px = side, .step_level0_px = side,
                     .n_patches = 3, .xy = XY};
}

TEST(clam_there_and_back)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_coords_free) sw_coords c = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "clam"), *path = NULL, *other = NULL, *again = NULL;
    CHECK_OK(make_slide(dir, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    CHECK(info->n_levels > 1);
    sw_grid grid = grid_of(2.0, 256); /* at 4x: level 1, 64 pixels */
    int level, px;
    sw_coords_clam_level(slide, &grid, &level, &px);
    double down = info->level[level].downsample_x;
    CHECK(down <= 4.04 && (level + 1 == info->n_levels || info->level[level + 1].downsample_x > 4.04));
    CHECK_INT(px, lround(256 / down));
    CHECK_OK(sw_coords_write_clam(dir, info->slide_id, slide, &grid, &err));
    CHECK_OK(sw_coords_find(dir, info->slide_id, &path, &err));
    CHECK_OK(sw_coords_read(path, &c, &err));
    CHECK_INT(c.kind, SW_COORDS_CLAM);
    CHECK_STR(sw_coords_kind_name(c.kind), "CLAM");
    CHECK_STR(c.name, info->slide_id);
    CHECK_INT(c.n_patches, 3);
    CHECK(memcmp(c.xy, XY, sizeof XY) == 0);
    CHECK_INT(c.patch_px, px);
    CHECK_INT(c.patch_level, level);
    CHECK_NEAR(c.patch_level0_px, px * down, 1e-12, 0);
    CHECK_INT(c.width, info->level[level].width);
    CHECK_INT(c.height, info->level[level].height);
    CHECK_OK(sw_coords_fit(&c, slide, &err));
    /* the folder patches/ and the file itself name it, too */
    SW_AUTOFREE char *patches = sw_path_join(dir, "patches");
    CHECK_OK(sw_coords_find(patches, info->slide_id, &other, &err));
    CHECK_STR(other, path);
    CHECK_OK(sw_coords_find(path, info->slide_id, &again, &err));
    CHECK_STR(again, path);
}

TEST(trident_there_and_back)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_coords_free) sw_coords c = {0}, odd = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "trident"), *path = NULL, *odd_path = NULL, *job = NULL;
    CHECK_OK(make_slide(dir, &slide, &err));
    const char *id = sw_slide_get_info(slide)->slide_id;
    sw_grid grid = grid_of(1.0, 128);
    CHECK_OK(sw_coords_write_trident(dir, id, slide, &grid, 8, &err));
    CHECK_OK(sw_coords_find(dir, id, &path, &err)); /* through the job's only folder */
    SW_AUTOFREE char *expected = sw_asprintf("%s/10x_64px_8px_overlap/patches/%s_patches.h5", dir, id);
    CHECK_STR(path, expected);
    CHECK_OK(sw_coords_read(path, &c, &err));
    CHECK_INT(c.kind, SW_COORDS_TRIDENT);
    CHECK_STR(sw_coords_kind_name(c.kind), "TRIDENT");
    CHECK(c.level0_magnification == 20 && c.target_magnification == 10);
    CHECK(c.patch_px == 64 && c.overlap_px == 8 && c.patch_level0_px == 128 && c.width == 1000 && c.height == 1000);
    CHECK(c.n_patches == 3 && memcmp(c.xy, XY, sizeof XY) == 0);
    CHECK_OK(sw_coords_fit(&c, slide, &err));
    /* A side that 20x to 12.05x does not give: the real magnification that does is written. */
    grid = grid_of(0.83, 106.24);
    CHECK_OK(sw_coords_write_trident(dir, id, slide, &grid, 0, &err));
    CHECK_INT(sw_coords_find(dir, id, &odd_path, &err), SW_E_INVALID);
    SW_AUTOFREE char *several = sw_asprintf("%s holds coordinates of several resolutions (10x_64px_8px_overlap, "
                                            "12.0482x_64px_0px_overlap); give one of these folders, or several with commas between", dir);
    CHECK_STR(err.message, several);
    job = sw_path_join(dir, "12.0482x_64px_0px_overlap");
    CHECK_OK(sw_coords_find(job, id, &odd_path, &err));
    CHECK_OK(sw_coords_read(odd_path, &odd, &err));
    CHECK(odd.patch_level0_px == 106 && round(64 * odd.level0_magnification / odd.target_magnification) == 106);
}

TEST(magnification_buckets)
{
    const double mpp[] = {0.1, 0.16, 0.2, 0.25, 0.2999, 0.3, 0.5, 0.6, 1.0, 1.2, 2.0, 2.4, 8.0};
    const int mag[] = {80, 60, 40, 40, 40, 20, 20, 10, 10, 5, 5, 1, 1};
    for (size_t i = 0; i < sizeof mpp / sizeof *mpp; i++) CHECK_INT(sw_coords_trident_magnification(mpp[i]), mag[i]);
}

static sw_h5_attribute whole(const char *name, double value)
{
    return (sw_h5_attribute){.name = name, .type = SW_H5_INT, .value = {value}};
}

static sw_status write_raw(const char *path, const int64_t *xy, int64_t n, const sw_h5_attribute *a, size_t n_a, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_TRY(sw_h5_coords_write(xy, n, a, n_a, &bytes, err));
    return sw_file_write(path, bytes.data, bytes.size, err);
}

TEST(the_same_content_gives_the_same_bytes)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf a = {0}, b = {0};
    sw_h5_attribute attribute = whole("patch_size", 256);
    CHECK_OK(sw_h5_coords_write(XY, 3, &attribute, 1, &a, &err));
    CHECK_OK(sw_h5_coords_write(XY, 3, &attribute, 1, &b, &err));
    CHECK(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
}

TEST(an_older_clam_file)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_coords_free) sw_coords c = {0}, custom = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "older"), *path = sw_path_join(sw_test_dir(), "older.h5");
    CHECK_OK(make_slide(dir, &slide, &err));
    sw_h5_attribute a[] = {whole("patch_size", 32), whole("patch_level", 1), whole("custom_downsample", 2)};
    CHECK_OK(write_raw(path, XY, 2, a, 2, &err));
    CHECK_OK(sw_coords_read(path, &c, &err));
    CHECK(c.patch_level0_px == 0);
    CHECK_OK(sw_coords_fit(&c, slide, &err));
    CHECK_NEAR(c.patch_level0_px, 32 * sw_slide_get_info(slide)->level[1].downsample_x, 1e-12, 0);
    a[1] = whole("patch_level", 0);
    CHECK_OK(write_raw(path, XY, 2, a, 3, &err));
    CHECK_OK(sw_coords_read(path, &custom, &err));
    CHECK(custom.patch_level0_px == 64 && custom.patch_px == 32);
}

/* Reads `path` and gives the message, less the path in front. */
static const char *refusal(const char *path, sw_status expected, sw_error *err)
{
    SW_CLEANUP(sw_coords_free) sw_coords c = {0};
    sw_status status = sw_coords_read(path, &c, err);
    if (status != expected) return sw_status_name(status);
    return strncmp(err->message, path, strlen(path)) == 0 ? err->message + strlen(path) : err->message;
}

TEST(other_files_are_refused)
{
    sw_error err = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "x.h5");
    SW_AUTOFREE char *absent = sw_asprintf("cannot open %s: No such file or directory; check the path", path);
    CHECK_STR(refusal(path, SW_E_NOT_FOUND, &err), absent);
    CHECK_OK(sw_file_write(path, "slide_id,mpp\n", 13, &err));
    CHECK_STR(refusal(path, SW_E_FORMAT, &err),
              ": not an HDF5 file, or a damaged one; give the .h5 that CLAM, TRIDENT or slidewise wrote");
    CHECK_OK(sw_file_write(path, "", 0, &err));
    CHECK_STR(refusal(path, SW_E_FORMAT, &err),
              ": not an HDF5 file, or a damaged one; give the .h5 that CLAM, TRIDENT or slidewise wrote");
    sw_h5_attribute a[] = {whole("patch_size", 256), whole("level0_magnification", 40), whole("patch_level", -1)};
    CHECK_OK(write_raw(path, XY, 3, a, 2, &err));
    CHECK_STR(refusal(path, SW_E_FORMAT, &err),
              ": its coordinates have neither CLAM's attributes (patch_size, patch_level) nor TRIDENT's (patch_size, "
              "level0_magnification, target_magnification), so that the size of the patches is unknown");
    CHECK_OK(write_raw(path, XY, 3, a, 3, &err));
    CHECK_STR(refusal(path, SW_E_FORMAT, &err), ": its attribute patch_level is -1, which no patch can have; make the file again");
    a[0] = whole("patch_size", 0);
    CHECK_OK(write_raw(path, XY, 3, a, 3, &err));
    CHECK_STR(refusal(path, SW_E_FORMAT, &err), ": its attribute patch_size is 0, which no patch can have; make the file again");
}

/* A file that is cut at any place is refused or read whole: nothing in between, and no crash. */
TEST(cut_files)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "cut.h5");
    sw_h5_attribute a[] = {whole("patch_size", 256), whole("patch_level", 0)};
    CHECK_OK(sw_h5_coords_write(XY, 3, a, 2, &bytes, &err));
    for (size_t size = 1; size < bytes.size; size += 97) {
        SW_CLEANUP(sw_coords_free) sw_coords c = {0};
        CHECK_OK(sw_file_write(path, bytes.data, size, &err));
        if (sw_coords_read(path, &c, &err) == SW_OK) CHECK(c.n_patches == 3 && memcmp(c.xy, XY, sizeof XY) == 0);
        else CHECK(c.xy == NULL && strstr(err.message, "cut.h5: "));
    }
}

/* HDF5 1.10 crashes on some of these. */
TEST(damaged_files_end_no_program)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "bent.h5");
    const sw_h5_attribute a[] = {whole("patch_size", 256), whole("patch_level", 0), {.name = "name", .type = SW_H5_TEXT, .text = "a_slide"}};
    static const unsigned char bend[] = {0x01, 0x80, 0xff};
    int crashed = 0, endless = 0, refused = 0, read = 0;
    CHECK_OK(sw_h5_coords_write(XY, 3, a, 3, &bytes, &err));
    for (size_t at = 0; at < bytes.size; at++) {
        SW_AUTOFREE int64_t *xy = NULL;
        int64_t n = -1;
        sw_h5_wanted wanted[] = {{.name = "patch_size"}, {.name = "name", .is_text = true}};
        if (bytes.data[at] == 0 && at % 7 != 0) continue; /* most of the file is room */
        bytes.data[at] = (char)(bytes.data[at] ^ bend[at % 3]);
        CHECK_OK(sw_file_write(path, bytes.data, bytes.size, &err));
        bytes.data[at] = (char)(bytes.data[at] ^ bend[at % 3]);
        sw_status status = sw_h5_coords_read(NULL, path, &xy, &n, wanted, 2, &err);
        if (status == SW_OK) {
            CHECK(xy && n >= 0);
            read++;
        } else {
            CHECK(!xy && strstr(err.message, "bent.h5: "));
            CHECK(status == SW_E_FORMAT || status == SW_E_UNSUPPORTED || status == SW_E_NOMEM);
            refused++;
            crashed += strstr(err.message, "crashed on it") != NULL;
            endless += strstr(err.message, "came to no end") != NULL;
        }
        sw_free(wanted[1].text);
    }
    printf("# HDF5 %s: %d refused, of which %d would have ended the program and %d kept it for ever; %d read\n", sw_hdf5_version(), refused,
           crashed, endless, read);
    CHECK(refused > 100 && read > 100);
}

TEST(positions_that_cannot_be_this_slide_s)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "misfit");
    CHECK_OK(make_slide(dir, &slide, &err));
    const char *id = sw_slide_get_info(slide)->slide_id;
    int64_t far[4] = {0, 0, 90000, 100};
    sw_coords c = {.kind = SW_COORDS_TRIDENT, .path = "a.h5", .patch_px = 64, .patch_level0_px = 128, .n_patches = 2, .xy = far};
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    SW_AUTOFREE char *outside = sw_asprintf("slide %s: patch 1 of a.h5 lies at (90000, 100), outside of the slide (1000 x 1000 pixels); "
                                            "the coordinates are of another slide or another scan", id);
    CHECK_STR(err.message, outside);
    far[2] = -127; /* one column of it is on the slide */
    CHECK_OK(sw_coords_fit(&c, slide, &err));
    far[2] = -128;
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    far[2] = 0;
    c.width = 40000;
    c.height = 30000;
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    SW_AUTOFREE char *size = sw_asprintf("slide %s: a.h5 was made on a slide whose level 0 has 40000 x 30000 pixels, this one has 1000 x "
                                         "1000; it is another slide or another scan", id);
    CHECK_STR(err.message, size);
    c.n_patches = 0;
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    SW_AUTOFREE char *none = sw_asprintf("slide %s: a.h5 holds no patch; leave the slide out, or make its coordinates again", id);
    CHECK_STR(err.message, none);
    c = (sw_coords){.kind = SW_COORDS_CLAM, .path = "a.h5", .patch_px = 64, .patch_level0_px = 64, .n_patches = 1, .xy = far,
                    .patch_level = 1};
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    SW_AUTOFREE char *down = sw_asprintf("slide %s: a.h5 says that level 1 is downsampled by 1, on this slide it is by %g; it is another "
                                         "slide or another scan", id, sw_slide_get_info(slide)->level[1].downsample_x);
    CHECK_STR(err.message, down);
    c.patch_level = 9;
    CHECK_INT(sw_coords_fit(&c, slide, &err), SW_E_INVALID);
    SW_AUTOFREE char *level = sw_asprintf("slide %s: a.h5 was made at level 9, this slide has levels 0 to %d; it is another slide or "
                                          "another scan", id, sw_slide_get_info(slide)->n_levels - 1);
    CHECK_STR(err.message, level);
}

TEST(finding_says_where_it_looked)
{
    sw_error err = {0};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "find"), *out = NULL, *patches = sw_path_join(dir, "patches");
    SW_AUTOFREE char *list = sw_path_join(dir, "process_list_autogen.csv"), *file = sw_path_join(dir, "b.h5");
    CHECK_INT(sw_coords_find(dir, "a", &out, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *nothing = sw_asprintf("%s: there is no such file or folder of coordinates", dir);
    CHECK_STR(err.message, nothing);
    CHECK_OK(sw_mkdir_p(patches, &err));
    CHECK_INT(sw_coords_find(dir, "a", &out, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *no_file = sw_asprintf("slide a: no coordinates in %s: neither a.h5 nor a_patches.h5 is there or in its folder patches", dir);
    CHECK_STR(err.message, no_file);
    const char rows[] = "slide_id,process,status\na.svs,0,failed_seg\nb.svs,0,processed\n";
    CHECK_OK(sw_file_write(list, rows, sizeof rows - 1, &err));
    CHECK_INT(sw_coords_find(dir, "a", &out, &err), SW_E_NOT_FOUND);
    SW_AUTOFREE char *failed = sw_asprintf("%s; %s says \"failed_seg\" of it", no_file, list);
    CHECK_STR(err.message, failed);
    sw_h5_attribute a[] = {whole("patch_size", 256), whole("patch_level", 0), {.name = "name", .type = SW_H5_TEXT, .text = "b"}};
    CHECK_OK(write_raw(file, XY, 1, a, 3, &err));
    CHECK_INT(sw_coords_find(file, "a", &out, &err), SW_E_INVALID);
    SW_AUTOFREE char *other = sw_asprintf("slide a: %s holds the coordinates of b; give the folder that holds the file of each slide, or the "
                                          "file of this one", file);
    CHECK_STR(err.message, other);
    CHECK(out == NULL);
}
