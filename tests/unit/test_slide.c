/* SPDX-License-Identifier: Apache-2.0 */
/* Slides: what real files say, what broken ones are answered, reading at a resolution, lists. */
#include <openslide/openslide.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tiffio.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slide/slide_internal.h"
#include "slide/slide_patches.h"
#include "slidewise/slide.h"
#include "slidewise/synth.h"
#include "damage.h"
#include "test.h"

static char path_text[4][600];

static const char *in_data(const char *name, int slot)
{
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s", sw_test_data(), name);
    return path_text[slot];
}

static const char *in_scratch(const char *name, int slot)
{
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s", sw_test_dir(), name);
    return path_text[slot];
}

#define NEED_DATA()                                                                             \
    if (!sw_test_data()) SKIP("no shared/data beside the checkout")

/* The message of a failed open, without the path before it. */
static const char *refusal(const char *path, sw_status *status)
{
    static char message[1024];
    sw_error err = {0};
    sw_slide *slide = NULL;
    *status = sw_slide_open(path, NULL, &slide, &err);
    sw_slide_close(&slide);
    size_t n = strlen(path);
    snprintf(message, sizeof message, "%s", strncmp(err.message, path, n) == 0 ? err.message + n : err.message);
    return message;
}

TEST(real_slides_say_what_they_are)
{
    NEED_DATA();
    static const struct {
        const char *file, *id, *format;
        int64_t width, height;
        int levels;
        double mpp, objective;
        sw_mpp_source source;
    } want[] = {
        {"slides/CMU-1-Small-Region.svs", "CMU-1-Small-Region", "aperio", 2220, 2967, 1, 0.499, 20, SW_MPP_SCANNER},
        {"slides/TCGA-CR-7395-01A-01-TS1.svs", "TCGA-CR-7395-01A-01-TS1", "aperio", 4443, 3567, 2, 0, 0, SW_MPP_NONE},
        {"slides/gastric-metaplasia-aperio-style.svs", "gastric-metaplasia-aperio-style", "aperio", 13198, 11685, 7, 0.504,
         20, SW_MPP_SCANNER},
        {"slides/negative-stripped-uncompressed.tif", "negative-stripped-uncompressed", "tiff", 1493, 901, 1, 0, 0,
         SW_MPP_NONE},
        {"atlas-mini/slides/abdominal-mesothelioma.tif", "abdominal-mesothelioma", "generic-tiff", 1792, 1792, 4, 1.008, 0,
         SW_MPP_TIFF},
        {"images/glas/testA_1.jpg", "testA_1", "jpeg", 775, 522, 1, 0, 0, SW_MPP_NONE},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        sw_error err = {0};
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        CHECK_OK(sw_slide_open(in_data(want[i].file, 0), NULL, &slide, &err));
        const sw_slide_info *info = sw_slide_get_info(slide);
        CHECK_STR(info->slide_id, want[i].id);
        CHECK_STR(info->format, want[i].format);
        CHECK_INT(info->width, want[i].width);
        CHECK_INT(info->height, want[i].height);
        CHECK_INT(info->n_levels, want[i].levels);
        CHECK_NEAR(info->mpp_um, want[i].mpp, 1e-6, 1e-12);
        CHECK_NEAR(info->objective_power, want[i].objective, 0, 0);
        CHECK_INT(info->mpp_source, want[i].source);
    }
}

TEST(files_that_are_no_slides_are_told_what_they_are)
{
    NEED_DATA();
    sw_status status;
    char expected[600];
    if (atoi(openslide_get_version()) < 4) {
        snprintf(expected, sizeof expected,
                 ": DICOM slides need OpenSlide 4.0 or newer, and this is OpenSlide %s; install a newer OpenSlide or convert "
                 "the slide to a pyramidal TIFF",
                 openslide_get_version());
        CHECK_STR(refusal(in_data("slides/small-dicom.dcm", 0), &status), expected);
        CHECK_INT(status, SW_E_UNSUPPORTED);
        CHECK_STR(refusal(in_data("slides/camelyon-level.dcm", 0), &status), expected);
    }
    CHECK_STR(refusal(in_data("slides/negative-fluorescence.qptiff", 0), &status),
              ": a TIFF of 3 one-channel pages (a fluorescence slide?), and only RGB slides can be read; export it as one "
              "RGB image");
    CHECK_INT(status, SW_E_UNSUPPORTED);
    CHECK_STR(refusal(in_data("MANIFEST.md", 0), &status),
              ": neither a slide that OpenSlide reads nor a JPEG, PNG or TIFF picture; convert it to a pyramidal TIFF");
    CHECK_STR(refusal(in_data("slides", 0), &status), ": a folder, not a slide; name its files");
}

/* DICOM by what is in the file, not by its name; no slide at hand is needed for that. */
TEST(dicom_is_refused_clearly)
{
    sw_error err = {0};
    sw_status status;
    char expected[600], bytes[400] = {0};
    const char *version = openslide_get_version();
    memcpy(bytes + 128, "DICM", 4);
    CHECK_OK(sw_file_write(in_scratch("nameless.bin", 0), bytes, sizeof bytes, &err));
    if (atoi(version) < 4) {
        snprintf(expected, sizeof expected, ": DICOM slides need OpenSlide 4.0 or newer, and this is OpenSlide %s; install a newer "
                                            "OpenSlide or convert the slide to a pyramidal TIFF", version);
    } else {
        snprintf(expected, sizeof expected, ": OpenSlide %s does not know this DICOM file as a slide; give one file of a whole-slide "
                                            "series, or convert it to a pyramidal TIFF", version);
    }
    CHECK_STR(refusal(in_scratch("nameless.bin", 0), &status), expected);
    CHECK_INT(status, SW_E_UNSUPPORTED);
}

TEST(missing_and_empty_files)
{
    sw_status status;
    sw_error err = {0};
    CHECK_STR(refusal("slide.svs", &status), ": no such file; check the path");
    CHECK_INT(status, SW_E_NOT_FOUND);
    CHECK_OK(sw_file_write(in_scratch("empty.svs", 0), "", 0, &err));
    CHECK_STR(refusal(in_scratch("empty.svs", 0), &status), ": the file is empty; copy it again from its source");
    CHECK_INT(status, SW_E_FORMAT);
}

/* Copies the first `share` of a file. */
static sw_status cut(const char *from, const char *to, double share, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_TRY(sw_file_read(from, &bytes, err));
    return sw_file_write(to, bytes.data, (size_t)((double)bytes.size * share), err);
}

TEST(a_cut_slide_is_refused_wherever_it_is_cut)
{
    NEED_DATA();
    static const double share[] = {0.02, 0.5, 0.95, 0.999};
    for (size_t i = 0; i < 4; i++) {
        sw_error err = {0};
        sw_status status;
        const char *copy = in_scratch("cut.svs", 1);
        CHECK_OK(cut(in_data("slides/CMU-1-Small-Region.svs", 0), copy, share[i], &err));
        const char *message = refusal(copy, &status);
        CHECK_INT(status, SW_E_FORMAT);
        CHECK(strncmp(message, ": the file is damaged or cut short (libtiff: ", 45) == 0);
        const char *end = strchr(message, ')');
        CHECK_STR(end, "); copy it again from its source");
        if (share[i] == 0.5) {
            CHECK_STR(message, ": the file is damaged or cut short (libtiff: Can not read TIFF directory count); copy it "
                               "again from its source");
        }
    }
}

TEST(damaged_pixels_are_told_with_their_region)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    uint8_t rgb[3 * 64 * 64];
    char expected[900];
    const char *copy = in_scratch("holes.svs", 1);
    CHECK_OK(sw_file_read(in_data("slides/CMU-1-Small-Region.svs", 0), &bytes, &err));
    memset(bytes.data + 16, 0, 300000); /* the first tiles; the directories lie behind the pixels */
    CHECK_OK(sw_file_write(copy, bytes.data, bytes.size, &err));
    CHECK_OK(sw_slide_open(copy, NULL, &slide, &err));
    CHECK_INT(sw_slide_read(slide, 0, 10, 20, 64, 64, rgb, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected, "%s: 64 x 64 pixels of level 0 at (10, 20) cannot be read: ", copy);
    CHECK(strncmp(err.message, expected, strlen(expected)) == 0);
    const char *mend = "; the slide is damaged or cut short, copy it again from its source";
    CHECK_STR(err.message + strlen(err.message) - strlen(mend), mend);
    /* OpenSlide's handle is dead now; the rest of the slide must still be readable. */
    CHECK_OK(sw_slide_read(slide, 0, 1500, 2500, 64, 64, rgb, &err));
    CHECK_INT(sw_slide_read(slide, 0, 10, 20, 64, 64, rgb, &err), SW_E_FORMAT);
    CHECK_OK(sw_slide_read(slide, 0, 1500, 2500, 64, 64, rgb, &err));
}

typedef struct together {
    sw_slide *slide;
    const int64_t *xy;
    int patch_px, seen, different;
    double mpp_um;
} together;

static sw_status compare_with_alone(void *ctx, int index, const uint8_t *rgb, sw_error *err)
{
    together *t = ctx;
    size_t bytes = 3 * (size_t)t->patch_px * (size_t)t->patch_px;
    SW_AUTOFREE uint8_t *alone = sw_malloc(bytes);
    if (!alone) return sw_nomem(err);
    SW_TRY(sw_slide_read_patch(t->slide, t->xy[2 * index], t->xy[2 * index + 1], t->patch_px, t->mpp_um, alone, err));
    t->different += index != t->seen || memcmp(alone, rgb, bytes) != 0;
    t->seen++;
    return SW_OK;
}

/* Columns of five, as grids lie, from before the slide's corner or past its far one, and a few at odd places. */
static void check_together(const char *path, double slide_mpp_um, int patch_px, double share, int step_px)
{
    enum { N = 24 };
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_slide_options options = sw_slide_options_default();
    options.mpp_um = slide_mpp_um;
    CHECK_OK(sw_slide_open(path, &options, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    const int64_t begin[4][2] = {{0, 0}, {-30, -9}, {info->width / 3, info->height / 2 + 1},
                                 {info->width - 3 * step_px, info->height - 3 * step_px}};
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)patch_px * (size_t)patch_px);
    CHECK(rgb);
    for (int b = 0; b < 4; b++) {
        int64_t xy[2 * N];
        for (int i = 0; i < N; i++) {
            xy[2 * i] = begin[b][0] + i / 5 * step_px + (i > 20 ? 7 : 0);
            xy[2 * i + 1] = begin[b][1] + i % 5 * step_px + (i > 20 ? 3 : 0);
        }
        together t = {.slide = slide, .xy = xy, .patch_px = patch_px, .mpp_um = share * info->mpp_um};
        CHECK_OK(sw_slide_read_patches(slide, xy, N, patch_px, t.mpp_um, rgb, compare_with_alone, NULL, &t, &err));
        CHECK_INT(t.seen, N);
        CHECK_INT(t.different, 0);
    }
}

static void check_slide_together(const char *path, double slide_mpp_um)
{
    check_together(path, slide_mpp_um, 64, 1, 64);
    check_together(path, slide_mpp_um, 64, 1, 50); /* overlap */
    check_together(path, slide_mpp_um, 64, 1, 70); /* gaps */
    check_together(path, slide_mpp_um, 64, 1.37, 88);
    check_together(path, slide_mpp_um, 64, 1.98, 127);
    check_together(path, slide_mpp_um, 64, 2, 128); /* a level's own where there is one */
    check_together(path, slide_mpp_um, 64, 0.7, 45); /* enlarged */
    check_together(path, slide_mpp_um, 64, 4.4, 282);
    check_together(path, slide_mpp_um, 900, 1, 900); /* larger than fits into one region */
}

TEST(patches_read_together_are_those_read_alone)
{
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "together"), *slides = sw_path_join(dir, "slides");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    const char *operand = slides;
    o.n_slides = 1;
    o.size_px = 1100;
    CHECK_OK(sw_synth_write(dir, &o, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    check_slide_together(list.entry[0].path, 0);
}

TEST(patches_of_real_slides_read_together_are_those_read_alone)
{
    NEED_DATA();
    check_slide_together(in_data("slides/CMU-1-Small-Region.svs", 0), 0);
    check_slide_together(in_data("slides/TCGA-CR-7395-01A-01-TS1.svs", 0), 0.5);
    check_slide_together(in_data("slides/gastric-metaplasia-aperio-style.svs", 0), 0);
    check_slide_together(in_data("atlas-mini/slides/abdominal-mesothelioma.tif", 0), 0);
}

/* The first tile of a column is bad: all patches but those that touch it are still given, with the right pixels. */
TEST(a_bad_region_is_read_again_patch_by_patch)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    uint8_t rgb[3 * 64 * 64];
    char expected[900];
    const char *copy = in_scratch("bad_region.svs", 1);
    CHECK_OK(sw_file_read(in_data("slides/CMU-1-Small-Region.svs", 0), &bytes, &err));
    memset(bytes.data + 16, 0, 300000);
    CHECK_OK(sw_file_write(copy, bytes.data, bytes.size, &err));
    CHECK_OK(sw_slide_open(copy, NULL, &slide, &err));
    const int64_t xy[] = {1500, 2500, 1500, 2564, 10, 20, 1564, 2500}, column[] = {10, 2500, 10, 2564, 74, 2500};
    together t = {.slide = slide, .xy = xy, .patch_px = 64, .mpp_um = 0.499};
    CHECK_INT(sw_slide_read_patches(slide, xy, 4, 64, 0.499, rgb, compare_with_alone, NULL, &t, &err), SW_E_FORMAT);
    snprintf(expected, sizeof expected, "%s: 64 x 64 pixels of level 0 at (10, 20) cannot be read: ", copy);
    CHECK(strncmp(err.message, expected, strlen(expected)) == 0);
    CHECK_INT(t.seen, 2);
    /* one after another into the hole: the region fails, the patches before the hole come */
    int64_t into[2 * 12];
    int good = 0;
    for (int i = 0; i < 12; i++) {
        into[2 * i] = 10;
        into[2 * i + 1] = 20 + 64 * (11 - i);
    }
    while (good < 12 && sw_slide_read(slide, 0, into[2 * good], into[2 * good + 1], 64, 64, rgb, &err) == SW_OK) good++;
    CHECK(good < 12);
    t = (together){.slide = slide, .xy = into, .patch_px = 64, .mpp_um = 0.499};
    CHECK_INT(sw_slide_read_patches(slide, into, 12, 64, 0.499, rgb, compare_with_alone, NULL, &t, &err), SW_E_FORMAT);
    CHECK_INT(t.seen, good);
    snprintf(expected, sizeof expected, "%s: 64 x 64 pixels of level 0 at (10, %lld) cannot be read: ", copy,
             (long long)into[2 * good + 1]);
    CHECK(strncmp(err.message, expected, strlen(expected)) == 0);
    t = (together){.slide = slide, .xy = column, .patch_px = 64, .mpp_um = 0.499};
    CHECK_OK(sw_slide_read_patches(slide, column, 3, 64, 0.499, rgb, compare_with_alone, NULL, &t, &err));
    CHECK_INT(t.seen, 3);
    CHECK_INT(t.different, 0);
}

/* ---- a slide with one damaged tile */

typedef struct leftover {
    const int64_t *xy;
    sw_slide *whole; /* the same slide without damage */
    int good, bad, wrong;
} leftover;

static bool touches_tile(const int64_t *xy)
{
    return xy[0] + 64 > 256 && xy[0] < 512 && xy[1] + 64 > 256 && xy[1] < 512;
}

static sw_status good_patch(void *ctx, int index, const uint8_t *rgb, sw_error *err)
{
    leftover *l = ctx;
    uint8_t want[3 * 64 * 64];
    const int64_t *xy = l->xy + 2 * index;
    SW_TRY(sw_slide_read_patch(l->whole, xy[0], xy[1], 64, 0.5, want, err));
    l->wrong += touches_tile(xy) || memcmp(want, rgb, sizeof want) != 0;
    l->good++;
    return SW_OK;
}

static sw_status bad_patch(void *ctx, int index, const sw_error *why, sw_error *err)
{
    leftover *l = ctx;
    char place[64];
    (void)err;
    snprintf(place, sizeof place, "64 x 64 pixels of level 0 at (%d, %d) cannot be read: ", (int)l->xy[2 * index], (int)l->xy[2 * index + 1]);
    l->wrong += why->code != SW_E_FORMAT || !touches_tile(l->xy + 2 * index) || !strstr(why->message, place);
    l->bad++;
    return SW_OK;
}

TEST(what_is_left_of_a_slide_with_a_damaged_tile)
{
    enum { SIDE = 900, N = 14 * 14 };
    sw_error err = {0};
    sw_synth_options o = sw_synth_options_default();
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), "hole"), *slides = sw_path_join(dir, "slides");
    SW_AUTOFREE char *copy = sw_path_join(dir, "hole.tif");
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *whole = NULL, *hole = NULL;
    const char *operand = slides;
    static uint8_t want[3 * SIDE * SIDE], got[3 * SIDE * SIDE];
    uint8_t rgb[3 * 64 * 64];
    int64_t xy[2 * N];
    o.n_slides = 1;
    o.size_px = SIDE;
    CHECK_OK(sw_synth_write(dir, &o, &err));
    CHECK_OK(sw_slide_list_expand(&operand, 1, &list, &err));
    CHECK_OK(damage_tile(list.entry[0].path, copy, 0, 5, &err));
    CHECK_OK(sw_slide_open(list.entry[0].path, NULL, &whole, &err));
    CHECK_OK(sw_slide_open(copy, NULL, &hole, &err));
    for (int i = 0; i < N; i++) {
        xy[2 * i] = i / 14 * 64;
        xy[2 * i + 1] = i % 14 * 64;
    }
    leftover l = {.xy = xy, .whole = whole};
    CHECK_OK(sw_slide_read_patches(hole, xy, N, 64, 0.5, rgb, good_patch, bad_patch, &l, &err));
    CHECK(l.bad == 16 && l.good == N - 16 && l.wrong == 0);
    /* regions: the tile is white, the rest is as it was */
    sw_slide_missing missing = {0};
    CHECK_OK(sw_slide_read(whole, 0, 0, 0, SIDE, SIDE, want, &err));
    CHECK_INT(sw_slide_read(hole, 0, 0, 0, SIDE, SIDE, got, &err), SW_E_FORMAT);
    CHECK_OK(sw_slide_read_parts(hole, 0, 0, 0, SIDE, SIDE, got, &missing, &err));
    CHECK(missing.n_asked == SIDE * SIDE && missing.n_missing == 256 * 256 && missing.first.code == SW_E_FORMAT);
    CHECK(strstr(missing.first.message, "256 x 256 pixels of level 0 at (256, 256) cannot be read: "));
    int wrong = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        bool in = i % SIDE / 256 == 1 && i / SIDE / 256 == 1;
        static const uint8_t white[3] = {255, 255, 255};
        wrong += memcmp(got + 3 * i, in ? white : want + 3 * i, 3) != 0;
    }
    CHECK_INT(wrong, 0);
    CHECK_OK(sw_slide_read_parts(hole, 0, 0, 0, 200, SIDE, got, &missing, &err));
    CHECK(missing.n_missing == 256 * 256 && missing.n_asked == SIDE * SIDE + 200 * SIDE);
    /* a thumbnail of a slide whose small levels are damaged: white; of nothing that can be read: the reason */
    SW_CLEANUP(sw_image_free) sw_image thumb = {0};
    CHECK_OK(damage_tile(copy, copy, 2, 0, &err));
    sw_slide_close(&hole);
    CHECK_OK(sw_slide_open(copy, NULL, &hole, &err));
    CHECK_OK(sw_slide_thumbnail(hole, 300 * 300, &thumb, NULL, &err)); /* out of level 1 */
    CHECK_INT(thumb.width, 300);
    sw_image_free(&thumb);
    CHECK_INT(sw_slide_thumbnail(hole, 225 * 225, &thumb, NULL, &err), SW_E_FORMAT);
    CHECK(strstr(err.message, "pixels of level 2 at (0, 0) cannot be read: "));
}

/* A tile that was never scanned: Aperio's files say so with a length of 0, and OpenSlide gives transparent pixels. */
TEST(what_was_never_scanned_is_white)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL, *whole = NULL;
    static uint8_t got[3 * 720 * 720], want[3 * 720 * 720];
    const char *copy = in_scratch("never.svs", 1), *original = in_data("slides/CMU-1-Small-Region.svs", 0);
    CHECK_OK(sw_file_read(original, &file, &err));
    uint32_t at = damage_element_at(&file, 0, 325, 11); /* second row, second column of ten tiles of 240 pixels */
    CHECK(at > 0);
    memset(file.data + at, 0, 4);
    CHECK_OK(sw_file_write(copy, file.data, file.size, &err));
    CHECK_OK(sw_slide_open(copy, NULL, &slide, &err));
    CHECK_OK(sw_slide_open(original, NULL, &whole, &err));
    CHECK_OK(sw_slide_read(slide, 0, 0, 0, 720, 720, got, &err));
    CHECK_OK(sw_slide_read(whole, 0, 0, 0, 720, 720, want, &err));
    int white = 0, other = 0;
    for (int i = 0; i < 720 * 720; i++) {
        bool hole = i % 720 / 240 == 1 && i / 720 / 240 == 1;
        static const uint8_t nothing[3] = {255, 255, 255};
        white += hole && memcmp(got + 3 * i, nothing, 3) == 0;
        other += !hole && memcmp(got + 3 * i, want + 3 * i, 3) != 0;
    }
    CHECK_INT(white, 240 * 240);
    CHECK_INT(other, 0);
}

TEST(resolution_comes_from_the_best_source)
{
    static const struct {
        const char *format, *pair[6];
        double given, x, y;
        sw_mpp_source source;
    } c[] = {
        {"aperio", {"openslide.mpp-x", "0.25", "openslide.mpp-y", "0.26"}, 0, 0.25, 0.26, SW_MPP_SCANNER},
        {"aperio", {"openslide.mpp-x", "0.25", "openslide.mpp-y", "0.26"}, 0.5, 0.5, 0.5, SW_MPP_OPTION},
        {"aperio", {"openslide.mpp-x", "0", "openslide.objective-power", "40"}, 0, 0.25, 0.25, SW_MPP_OBJECTIVE},
        {"generic-tiff", {"tiff.XResolution", "20000", "tiff.ResolutionUnit", "centimeter"}, 0, 0.5, 0.5, SW_MPP_TIFF},
        {"generic-tiff", {"tiff.XResolution", "25400", "tiff.ResolutionUnit", "inch"}, 0, 1, 1, SW_MPP_TIFF},
        {"generic-tiff", {"tiff.XResolution", "72", "tiff.ResolutionUnit", "inch"}, 0, 0, 0, SW_MPP_NONE},
        {"generic-tiff", {"tiff.XResolution", "20000"}, 0, 0, 0, SW_MPP_NONE},
        {"generic-tiff", {"tiff.XResolution", "96", "tiff.YResolution", "96", "tiff.ResolutionUnit", "inch"}, 0, 0, 0, SW_MPP_NONE},
        {"generic-tiff", {"tiff.XResolution", "40000", "tiff.YResolution", "1", "tiff.ResolutionUnit", "centimeter"}, 0, 0.25, 0.25, SW_MPP_TIFF},
        {"generic-tiff", {"tiff.XResolution", "300000", "tiff.ResolutionUnit", "centimeter"}, 0, 0, 0, SW_MPP_NONE}, /* 0.033 um */
        {"generic-tiff", {"tiff.XResolution", "500", "tiff.ResolutionUnit", "centimeter"}, 0, 20, 20, SW_MPP_TIFF},
        {"generic-tiff", {"tiff.XResolution", "499", "tiff.ResolutionUnit", "centimeter"}, 0, 0, 0, SW_MPP_NONE},
        {"aperio", {"openslide.mpp-x", "0.5", "tiff.XResolution", "40000", "tiff.ResolutionUnit", "centimeter"}, 0, 0.5, 0.5, SW_MPP_SCANNER},
        {"aperio", {"tiff.XResolution", "72", "tiff.ResolutionUnit", "inch", "openslide.objective-power", "20"}, 0, 0.5, 0.5, SW_MPP_OBJECTIVE},
        {"generic-tiff", {"openslide.mpp-x", "352.8"}, 0, 0, 0, SW_MPP_NONE},
        {"aperio", {"openslide.mpp-x", "nan"}, 0, 0, 0, SW_MPP_NONE},
        {"aperio", {"openslide.mpp-x", "0,25"}, 0, 0, 0, SW_MPP_NONE},
    };
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        sw_error err = {0};
        SW_CLEANUP(sw_slide_facts_free) sw_slide_facts facts = {0};
        double mpp_um[2], objective;
        snprintf(facts.format, sizeof facts.format, "%s", c[i].format);
        for (int k = 0; k < 6 && c[i].pair[k]; k += 2) {
            CHECK_OK(sw_slide_facts_add(&facts, c[i].pair[k], c[i].pair[k + 1], &err));
        }
        CHECK_INT(sw_slide_resolution(&facts, c[i].given, mpp_um, &objective), c[i].source);
        CHECK_NEAR(mpp_um[0], c[i].x, 1e-9, 1e-12);
        CHECK_NEAR(mpp_um[1], c[i].y, 1e-9, 1e-12);
    }
}

TEST(a_slide_without_resolution_says_how_to_give_it)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *given = NULL;
    sw_slide_options options = sw_slide_options_default();
    char expected[900];
    double mpp_um = 0;
    const char *path = in_data("slides/TCGA-CR-7395-01A-01-TS1.svs", 0);
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    CHECK_INT(sw_slide_need_mpp(slide, &mpp_um, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected,
             "%s: no microns per pixel in the file; give --mpp (e.g. --mpp 0.5) or a CSV with columns slide_id,mpp", path);
    CHECK_STR(err.message, expected);
    options.mpp_um = 0.25;
    CHECK_OK(sw_slide_open(path, &options, &given, &err));
    CHECK_OK(sw_slide_need_mpp(given, &mpp_um, &err));
    CHECK_NEAR(mpp_um, 0.25, 0, 0);
    CHECK_NEAR(sw_slide_get_info(given)->level[1].magnification, 10 / (0.25 * 2.0005), 1e-4, 0);
    options.mpp_um = -1;
    CHECK_INT(sw_slide_open(path, &options, &given, &err), SW_E_INVALID);
}

TEST(best_level_is_the_last_that_is_fine_enough)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    CHECK_OK(sw_slide_open(in_data("slides/gastric-metaplasia-aperio-style.svs", 0), NULL, &slide, &err));
    CHECK_INT(sw_slide_best_level(slide, 64), 5);
    CHECK_INT(sw_slide_best_level(slide, 65), 6);
    CHECK_INT(sw_slide_best_level(slide, 0.5), 0);
}

TEST(outside_of_a_slide_is_white)
{
    NEED_DATA();
    static const char *const file[] = {"slides/CMU-1-Small-Region.svs", "images/glas/testA_1.jpg"};
    for (int i = 0; i < 2; i++) {
        sw_error err = {0};
        SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
        uint8_t rgb[3 * 8 * 8], inside[3];
        CHECK_OK(sw_slide_open(in_data(file[i], 0), NULL, &slide, &err));
        CHECK_OK(sw_slide_read(slide, 0, -4, -4, 8, 8, rgb, &err));
        CHECK(rgb[0] == 255 && rgb[3 * (8 * 3 + 7)] == 255 && rgb[3 * (8 * 7 + 3) + 2] == 255);
        CHECK_OK(sw_slide_read(slide, 0, 0, 0, 1, 1, inside, &err));
        CHECK(memcmp(rgb + 3 * (8 * 4 + 4), inside, 3) == 0);
        CHECK_OK(sw_slide_read(slide, 0, 1000000, 0, 8, 8, rgb, &err));
        CHECK_INT(rgb[100], 255);
    }
}

/* A patch at 1.0 um comes from the level of 1.008 um; against level 0 (0.504 um) resized directly. Another program made
 * that level with another filter and encoded it again, so that single pixels differ: the mean grey agrees within 2,
 * and any shift of the compared area by a level-0 pixel makes the difference larger. */
TEST(a_patch_at_a_resolution_agrees_with_level_0_resized)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    enum { P = 128, X = 6000, Y = 5200, N = 270 };
    static const double shift[5][2] = {{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    double side = 0, difference[5] = {0}, grey = 0;
    SW_AUTOFREE uint8_t *patch = sw_malloc(3 * P * P), *direct = sw_malloc(3 * P * P), *level0 = sw_malloc(3 * N * N);
    CHECK(patch && direct && level0);
    CHECK_OK(sw_slide_open(in_data("slides/gastric-metaplasia-aperio-style.svs", 0), NULL, &slide, &err));
    CHECK_OK(sw_slide_patch_side(slide, P, 1.0, &side, &err));
    CHECK_NEAR(side, P * 1.0 / 0.504, 1e-12, 0);
    CHECK_OK(sw_slide_read(slide, 0, X - 4, Y - 4, N, N, level0, &err));
    CHECK_OK(sw_slide_read_patch(slide, X, Y, P, 1.0, patch, &err));
    for (int k = 0; k < 5; k++) {
        const sw_crop box = {4 + shift[k][0], 4 + shift[k][1], side, side, false, false};
        CHECK_OK(sw_resize_crop_u8(level0, N, N, &box, P, P, direct, &err));
        for (int i = 0; i < 3 * P * P; i++) {
            difference[k] += abs(patch[i] - direct[i]) / (3.0 * P * P);
            if (k == 0) grey += (patch[i] - direct[i]) / (3.0 * P * P);
        }
    }
    CHECK(fabs(grey) < 0.5);
    CHECK(difference[0] < 5);
    for (int k = 1; k < 5; k++) CHECK(difference[k] > difference[0] + 0.5);
}

/* On one level nothing but the resizing is in play: within 2 grey levels, pixel by pixel. */
TEST(a_patch_of_a_one_level_slide_is_level_0_resized)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    enum { P = 96, X = 700, Y = 800 };
    uint8_t patch[3 * P * P], direct[3 * P * P];
    CHECK_OK(sw_slide_open(in_data("slides/CMU-1-Small-Region.svs", 0), NULL, &slide, &err));
    SW_AUTOFREE uint8_t *level0 = sw_malloc(3 * 300 * 300);
    CHECK(level0);
    CHECK_OK(sw_slide_read(slide, 0, X, Y, 300, 300, level0, &err));
    const sw_crop box = {0, 0, P * 1.0 / 0.499, P * 1.0 / 0.499, false, false};
    CHECK_OK(sw_resize_crop_u8(level0, 300, 300, &box, P, P, direct, &err));
    CHECK_OK(sw_slide_read_patch(slide, X, Y, P, 1.0, patch, &err));
    for (int y = 1; y < P - 1; y++) {
        for (int x = 3; x < 3 * (P - 1); x++) CHECK(abs(patch[3 * y * P + x] - direct[3 * y * P + x]) <= 2);
    }
}

TEST(a_patch_at_a_levels_own_resolution_is_its_pixels)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    uint8_t patch[3 * 64 * 64], direct[3 * 64 * 64];
    CHECK_OK(sw_slide_open(in_data("slides/gastric-metaplasia-aperio-style.svs", 0), NULL, &slide, &err));
    CHECK_OK(sw_slide_read(slide, 2, 6000, 5200, 64, 64, direct, &err));
    CHECK_OK(sw_slide_read_patch(slide, 6000, 5200, 64, 4 * 0.504, patch, &err));
    CHECK(memcmp(patch, direct, sizeof patch) == 0);
}

TEST(a_large_area_read_in_blocks_has_no_seam)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(sw_image_free) sw_image whole = {0};
    SW_CLEANUP(sw_image_free) sw_image level = {0};
    SW_CLEANUP(sw_image_free) sw_image direct = {0};
    double downsample = 0;
    CHECK_OK(sw_slide_open(in_data("slides/negative-stripped-uncompressed.tif", 0), NULL, &slide, &err));
    CHECK_OK(sw_slide_thumbnail(slide, 20000, &whole, &downsample, &err));
    CHECK(whole.width * whole.height <= 20000 && whole.width * whole.height > 19000);
    CHECK_NEAR(downsample, 1493.0 / (double)whole.width, 1e-12, 0);
    CHECK_OK(sw_image_read(in_data("slides/negative-stripped-uncompressed.tif", 0), &level, &err));
    CHECK_OK(sw_image_resize(&level, whole.width, whole.height, &direct, &err));
    for (int64_t i = 0; i < 3 * whole.width * whole.height; i++) CHECK(abs(whole.rgb[i] - direct.rgb[i]) <= 1);
}

typedef struct reader {
    sw_slide *slide;
    sw_status status;
    uint8_t rgb[3 * 64 * 64];
} reader;

static void *read_many(void *ctx)
{
    reader *r = ctx;
    sw_error err = {0};
    for (int i = 0; i < 20 && r->status == SW_OK; i++) {
        r->status = sw_slide_read_patch(r->slide, 500 + 40 * i, 900, 64, 1.1, r->rgb, &err);
    }
    return NULL;
}

TEST(threads_share_a_slide)
{
    NEED_DATA();
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    static reader r[4];
    pthread_t thread[4];
    CHECK_OK(sw_slide_open(in_data("slides/CMU-1-Small-Region.svs", 0), NULL, &slide, &err));
    for (int i = 0; i < 4; i++) {
        r[i].slide = slide;
        CHECK(pthread_create(&thread[i], NULL, read_many, &r[i]) == 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++) {
        CHECK_INT(r[i].status, SW_OK);
        CHECK(memcmp(r[i].rgb, r[0].rgb, sizeof r[0].rgb) == 0);
    }
}

TEST(a_plain_tiff_gives_the_resolution_of_its_tags)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    uint8_t row[3 * 10];
    const char *path = in_scratch("plain.tif", 0);
    TIFF *tiff = TIFFOpen(path, "w");
    CHECK(tiff);
    TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, 10);
    TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, 2);
    TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, 3);
    TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, 8);
    TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_RGB);
    TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
    TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER);
    TIFFSetField(tiff, TIFFTAG_XRESOLUTION, 20000.0);
    TIFFSetField(tiff, TIFFTAG_YRESOLUTION, 10000.0);
    for (uint32_t y = 0; y < 2; y++) {
        memset(row, (int)(100 + y), sizeof row);
        CHECK(TIFFWriteScanline(tiff, row, y, 0) == 1);
    }
    TIFFClose(tiff);
    CHECK_OK(sw_slide_open(path, NULL, &slide, &err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    CHECK_STR(info->format, "tiff");
    CHECK_INT(info->mpp_source, SW_MPP_TIFF);
    CHECK_NEAR(info->mpp_um_x, 0.5, 1e-9, 0);
    CHECK_NEAR(info->mpp_um_y, 1, 1e-9, 0);
    CHECK_OK(sw_slide_read(slide, 0, 0, 1, 10, 1, row, &err));
    CHECK_INT(row[4], 101);
}

/* --- lists */

static sw_status write_text(const char *name, const char *text, sw_error *err)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", sw_test_dir(), name);
    return sw_file_write(path, text, strlen(text), err);
}

static sw_status make_folder(sw_error *err)
{
    SW_TRY(sw_mkdir_p(in_scratch("list/other", 3), err));
    SW_TRY(write_text("list/b.svs", "x", err));
    SW_TRY(write_text("list/a.1.tif", "x", err));
    SW_TRY(write_text("list/notes.txt", "x", err));
    SW_TRY(write_text("list/.hidden.svs", "x", err));
    SW_TRY(write_text("list/other/b.tif", "x", err));
    SW_TRY(write_text("list/mpp.csv", "slide_id,mpp\nb,0.25\na.1.tif,0.5\n", err));
    SW_TRY(write_text("list/paths.csv", "path,mpp\nother/b.tif,1.5\n", err));
    SW_TRY(write_text("list/bad.csv", "wsi,mpp\nb,wide\n", err));
    SW_TRY(write_text("list/lost.csv", "slide_id\nb\nzebra\n", err));
    SW_TRY(write_text("list/clash.csv", "slide_id,mpp\nb,0.25\nb,0.5\n", err));
    return write_text("list/nameless.csv", "case,mpp\nb,1\n", err);
}

static const char *list_failure(const char *const *operands, size_t n, sw_status *status)
{
    static char message[1024];
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    *status = sw_slide_list_expand(operands, n, &list, &err);
    /* The scratch folder's name changes from run to run. */
    message[0] = '\0';
    size_t skip = strlen(sw_test_dir()) + 1, at = 0;
    for (const char *p = err.message; *p && at + 1 < sizeof message;) {
        if (strncmp(p, sw_test_dir(), skip - 1) == 0) {
            p += skip;
            continue;
        }
        message[at++] = *p++;
    }
    message[at] = '\0';
    return message;
}

TEST(lists_come_from_folders_files_and_tables)
{
    sw_error err = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_slide_list_free) sw_slide_list table = {0};
    CHECK_OK(make_folder(&err));
    const char *const operands[] = {in_scratch("list/mpp.csv", 0), in_scratch("list", 1), in_scratch("list/b.svs", 2)};
    CHECK_OK(sw_slide_list_expand(operands, 3, &list, &err));
    CHECK_INT(list.count, 2);
    CHECK_STR(list.entry[0].slide_id, "a.1");
    CHECK_NEAR(list.entry[0].mpp_um, 0.5, 0, 0);
    CHECK_STR(list.entry[1].slide_id, "b");
    CHECK_NEAR(list.entry[1].mpp_um, 0.25, 0, 0);
    CHECK(sw_slide_list_find(&list, "b") == &list.entry[1] && !sw_slide_list_find(&list, "c"));
    const char *const csv[] = {in_scratch("list/paths.csv", 0)};
    CHECK_OK(sw_slide_list_expand(csv, 1, &table, &err));
    CHECK_INT(table.count, 1);
    CHECK_STR(table.entry[0].path, in_scratch("list/other/b.tif", 1));
    CHECK_NEAR(table.entry[0].mpp_um, 1.5, 0, 0);
    size_t n = 0;
    table.entry[0].mpp_um = 0;
    CHECK_OK(sw_slide_list_apply_mpp(&table, in_scratch("list/mpp.csv", 0), &n, &err));
    CHECK_INT(n, 1);
    CHECK_NEAR(table.entry[0].mpp_um, 0.25, 0, 0);
}

TEST(what_is_wrong_with_a_list_is_said)
{
    sw_error err = {0};
    sw_status status;
    CHECK_OK(make_folder(&err));
    const char *const two[] = {in_scratch("list", 0), in_scratch("list/other/b.tif", 1)};
    CHECK_STR(list_failure(two, 2, &status),
              "two slides are called b: list/b.svs and list/other/b.tif; a slide is known by its file name without extension, "
              "so rename one or leave it out");
    const char *const bad[] = {in_scratch("list", 0), in_scratch("list/bad.csv", 1)};
    CHECK_STR(list_failure(bad, 2, &status), "list/bad.csv, line 2: mpp is \"wide\"; give microns per pixel, e.g. 0.5");
    const char *const lost[] = {in_scratch("list/lost.csv", 0)};
    CHECK_STR(list_failure(lost, 1, &status),
              "list/lost.csv, line 3: no slide \"zebra\"; give a path, or put the slide beside the table or its folder on "
              "the command line");
    CHECK_INT(status, SW_E_NOT_FOUND);
    const char *const clash[] = {in_scratch("list/clash.csv", 0)};
    CHECK_STR(list_failure(clash, 1, &status), "list/clash.csv, line 3: slide b has mpp 0.5 here and 0.25 before; keep one");
    const char *const nameless[] = {in_scratch("list/nameless.csv", 0)};
    CHECK_STR(list_failure(nameless, 1, &status),
              "list/nameless.csv: no column slide_id (or wsi, path, slide, filename) that names the slides");
    const char *const missing[] = {"nowhere.svs"};
    CHECK_STR(list_failure(missing, 1, &status), "nowhere.svs: no such file; check the path");
    CHECK_OK(sw_mkdir_p(in_scratch("hollow", 0), &err));
    const char *const hollow[] = {in_scratch("hollow", 0)};
    CHECK_STR(list_failure(hollow, 1, &status),
              "hollow: no slide in this folder; looked for .svs, .tif, .tiff, .ndpi, .mrxs, .scn, .vms, .vmu, .bif, "
              ".svslide, .qptiff, .dcm, .png and .jpg files (sub-folders are not searched)");
}
