/* SPDX-License-Identifier: Apache-2.0 */
/* Tiles read without OpenSlide: the same bits as with it, on sound and on damaged files. */
#include <dirent.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "slide/jpeg_splice.h"
#include "slide/slide_handle.h"
#include "slide/tile_between.h"
#include "slide/tile_reader.h"
#include "slidewise/synth.h"
#include "test.h"

static sw_error err;

static void reader_close_ptr(sw_tile_reader **reader)
{
    sw_tile_reader_close(*reader);
}

/* A synthetic slide of 700 x 700 pixels; NULL: it cannot be made. */
static const char *synthetic(void)
{
    static char path[700];
    char folder[600];
    sw_synth_options o = sw_synth_options_default();
    if (path[0]) return path;
    o.n_slides = 2;
    o.size_px = 700;
    if (sw_synth_write(sw_test_dir(), &o, &err) != SW_OK) return NULL;
    snprintf(folder, sizeof folder, "%s/slides", sw_test_dir());
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir && !path[0] && (e = readdir(dir));) {
        if (strstr(e->d_name, ".tif")) snprintf(path, sizeof path, "%s/%.90s", folder, e->d_name);
    }
    if (dir) closedir(dir);
    return path[0] ? path : NULL;
}

typedef struct region {
    int level;
    int64_t x, y, width, height; /* x and y of level 0 */
} region;

/* Regions of all levels, small and large, on whole pixels, over every edge. */
static region any_region(const sw_slide_info *info, sw_rng *rng)
{
    region r = {.level = (int)sw_rng_below(rng, (uint64_t)info->n_levels)};
    const sw_slide_level *level = &info->level[r.level];
    int64_t factor = (int64_t)level->downsample, most = sw_rng_below(rng, 4) == 0 ? 1500 : 300;
    r.width = 1 + (int64_t)sw_rng_below(rng, (uint64_t)most);
    r.height = 1 + (int64_t)sw_rng_below(rng, (uint64_t)most);
    r.x = factor * (int64_t)sw_rng_below(rng, (uint64_t)level->width + 20);
    r.y = factor * (int64_t)sw_rng_below(rng, (uint64_t)level->height + 20);
    return r;
}

/* 1: the same bits or both refused; 0: not. */
static int same(sw_slide *fast, sw_slide *openslide, const region *r)
{
    size_t bytes = 3 * (size_t)(r->width * r->height);
    sw_error why[2] = {{0}};
    SW_AUTOFREE uint8_t *a = sw_malloc(bytes), *b = sw_malloc(bytes);
    if (!a || !b) return 0;
    sw_status first = sw_slide_read(fast, r->level, r->x, r->y, r->width, r->height, a, &why[0]);
    sw_status second = sw_slide_read(openslide, r->level, r->x, r->y, r->width, r->height, b, &why[1]);
    const sw_slide_level *level = &sw_slide_get_info(fast)->level[r->level];
    bool outside = (double)r->x >= (double)level->width * level->downsample || (double)r->y >= (double)level->height * level->downsample;
    if (outside && first == SW_OK && second == SW_E_FORMAT) return 1; /* OpenSlide also decodes what tiles hold beyond the edge */
    if (first != second) return 0;
    return first == SW_OK ? memcmp(a, b, bytes) == 0 : strcmp(why[0].message, why[1].message) == 0;
}

/* The first of `n` regions that differs, -1 if none does. *direct: how many were read without OpenSlide. */
static int first_difference(const char *path, int n, uint32_t seed, int *direct)
{
    SW_CLEANUP(sw_slide_close) sw_slide *fast = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *openslide = NULL;
    SW_CLEANUP(reader_close_ptr) sw_tile_reader *reader = NULL;
    sw_slide_options o = sw_slide_options_default();
    sw_rng rng = sw_rng_stream(11, SW_RNG_TEST, seed, 0, 0);
    o.openslide_only = true;
    *direct = 0;
    if (sw_slide_open(path, NULL, &fast, &err) != SW_OK) return sw_slide_open(path, &o, &openslide, &err) == SW_OK ? n : -1;
    if (sw_slide_open(path, &o, &openslide, &err) != SW_OK) return n;
    const sw_slide_info *info = sw_slide_get_info(fast);
    if (sw_tile_reader_open(path, info->level, info->n_levels, &reader, &err) != SW_OK) return n;
    for (int i = 0; i < n; i++) {
        region r = any_region(info, &rng);
        double factor = info->level[r.level].downsample;
        SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(r.width * r.height));
        if (!rgb || !same(fast, openslide, &r)) return i;
        if (reader && factor == floor(factor) &&
            sw_tile_reader_read(reader, r.level, r.x / (int64_t)factor, r.y / (int64_t)factor, r.width, r.height, rgb)) {
            (*direct)++;
        }
    }
    return -1;
}

TEST(a_synthetic_slide_reads_as_with_openslide)
{
    int direct;
    const char *path = synthetic();
    CHECK(path);
    CHECK_INT(first_difference(path, 200, 1, &direct), -1);
    CHECK(direct >= 100);
}

TEST(real_slides_read_as_with_openslide)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    static const struct {
        const char *name;
        int least; /* of 100 regions read without OpenSlide */
    } slide[] = {{"slides/CMU-1-Small-Region.svs", 100},
                 {"slides/TCGA-CR-7395-01A-01-TS1.svs", 0}, /* JPEG 2000 */
                 {"slides/gastric-metaplasia-aperio-style.svs", 1},
                 {"atlas-mini/slides/abdominal-mesothelioma.tif", 100},
                 {"atlas-mini/slides/lung-squamous-cell-carcinoma_2.tif", 100}};
    for (size_t i = 0; i < sizeof slide / sizeof *slide; i++) {
        char path[700];
        int direct, different;
        snprintf(path, sizeof path, "%s/%s", sw_test_data(), slide[i].name);
        different = first_difference(path, 100, (uint32_t)i, &direct);
        if (different != -1) sw_test_fail(__FILE__, __LINE__, "%s: region %d differs", slide[i].name, different);
        if (direct < slide[i].least) sw_test_fail(__FILE__, __LINE__, "%s: %d regions read directly", slide[i].name, direct);
    }
}

/* From the slide's corner every level is read as it is, also where its downsample is no whole number (gastric: 2.00009, 4.0005 …),
 * whole and beyond its edge. */
TEST(levels_read_from_the_corner_as_with_openslide)
{
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    static const char *const name[] = {"slides/gastric-metaplasia-aperio-style.svs", "slides/CMU-1-Small-Region.svs",
                                       "atlas-mini/slides/acute-appendicitis.tif"};
    int fractional = 0;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        SW_CLEANUP(sw_slide_close) sw_slide *fast = NULL;
        SW_CLEANUP(sw_slide_close) sw_slide *openslide = NULL;
        char path[700];
        sw_slide_options o = sw_slide_options_default();
        o.openslide_only = true;
        snprintf(path, sizeof path, "%s/%s", sw_test_data(), name[i]);
        CHECK_OK(sw_slide_open(path, NULL, &fast, &err));
        CHECK_OK(sw_slide_open(path, &o, &openslide, &err));
        const sw_slide_info *info = sw_slide_get_info(fast);
        for (int level = 0; level < info->n_levels; level++) {
            const sw_slide_level *l = &info->level[level];
            if (l->width > 4000) continue;
            fractional += l->downsample != floor(l->downsample);
            CHECK(same(fast, openslide, &(region){level, 0, 0, l->width, l->height}));
            CHECK(same(fast, openslide, &(region){level, 0, 0, l->width + 37, l->height / 2 + 1}));
            CHECK(same(fast, openslide, &(region){level, 0, 0, l->width / 3 + 1, l->height + 300}));
        }
    }
    CHECK(fractional >= 5);
}

/* Regions of every level but the first at any position, with widths of a row of tiles and of one pixel, and over the far corner, where
 * a downsample that is no whole number is farthest from one. Returns how many were read without OpenSlide, -1 if one differs. */
static int between_pixels(const char *path, int n, uint32_t seed)
{
    SW_CLEANUP(sw_slide_close) sw_slide *fast = NULL;
    SW_CLEANUP(sw_slide_close) sw_slide *openslide = NULL;
    SW_CLEANUP(reader_close_ptr) sw_tile_reader *reader = NULL;
    sw_slide_options o = sw_slide_options_default();
    sw_rng rng = sw_rng_stream(13, SW_RNG_TEST, seed, 0, 0);
    int direct = 0;
    o.openslide_only = true;
    if (sw_slide_open(path, NULL, &fast, &err) != SW_OK || sw_slide_open(path, &o, &openslide, &err) != SW_OK) return -1;
    const sw_slide_info *info = sw_slide_get_info(fast);
    if (sw_tile_reader_open(path, info->level, info->n_levels, &reader, &err) != SW_OK || info->n_levels < 2) return -1;
    for (int i = 0; i < n; i++) {
        region r = {.level = 1 + (int)sw_rng_below(&rng, (uint64_t)info->n_levels - 1)};
        double factor = info->level[r.level].downsample;
        int64_t most = i % 5 == 0 ? 1100 : 300, reach = (int64_t)(250 * factor);
        r.width = 1 + (int64_t)sw_rng_below(&rng, (uint64_t)most);
        r.height = 1 + (int64_t)sw_rng_below(&rng, (uint64_t)most);
        r.x = (int64_t)sw_rng_below(&rng, (uint64_t)info->width + 200);
        r.y = (int64_t)sw_rng_below(&rng, (uint64_t)info->height + 200);
        if (i % 4 == 0 && r.x < info->width) r.x = info->width > reach ? info->width - (int64_t)sw_rng_below(&rng, (uint64_t)reach) : 1;
        if (i % 4 == 0 && r.y < info->height) r.y = info->height > reach ? info->height - (int64_t)sw_rng_below(&rng, (uint64_t)reach) : 1;
        SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(r.width * r.height));
        if (!rgb || !same(fast, openslide, &r)) return -1;
        double x = (double)r.x / factor, y = (double)r.y / factor;
        direct += reader && (x != floor(x) || y != floor(y)) && sw_tile_reader_read_between(reader, r.level, x, y, r.width, r.height, rgb);
    }
    return direct;
}

TEST(positions_between_pixels_read_as_with_openslide)
{
    CHECK(synthetic());
    CHECK(between_pixels(synthetic(), 150, 1) >= 100);
    if (!sw_test_data()) SKIP("no shared/data beside the checkout");
    static const char *const name[] = {"slides/gastric-metaplasia-aperio-style.svs", "atlas-mini/slides/acute-appendicitis.tif"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char path[700];
        snprintf(path, sizeof path, "%s/%s", sw_test_data(), name[i]);
        int direct = between_pixels(path, 200, 2 + (uint32_t)i);
        if (direct < 100) sw_test_fail(__FILE__, __LINE__, "%s: %d regions", name[i], direct);
    }
}

/* The tiles of a damaged file as JPEGs of their own: none, or one that begins and ends as a JPEG does, whatever it decodes to. */
static bool tiles_end_well(const char *path)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(reader_close_ptr) sw_tile_reader *reader = NULL;
    if (sw_slide_open(path, NULL, &slide, &err) != SW_OK) return true;
    const sw_slide_info *info = sw_slide_get_info(slide);
    if (sw_tile_reader_open(path, info->level, info->n_levels, &reader, &err) != SW_OK) return false;
    for (int i = 0; reader && i < 16; i++) {
        size_t size = 0;
        SW_AUTOFREE uint8_t *jpeg = sw_tile_reader_jpeg(reader, i / 9, i % 3 * 256, i % 9 / 3 * 256, 256, &size);
        SW_CLEANUP(sw_image_free) sw_image image = {0};
        if (!jpeg) continue;
        if (size < 40 || jpeg[0] != 0xFF || jpeg[1] != 0xD8 || jpeg[size - 2] != 0xFF || jpeg[size - 1] != 0xD9) return false;
        sw_status status = sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &image, &err);
        if (status != SW_E_FORMAT && (status != SW_OK || image.width != 256 || image.height != 256)) return false;
    }
    return true;
}

/* Bits flipped anywhere: in directories, tables, streams. */
TEST(a_damaged_slide_reads_as_with_openslide)
{
    const char *path = synthetic();
    char damaged[600];
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    sw_rng rng = sw_rng_stream(12, SW_RNG_TEST, 0, 0, 0);
    CHECK(path);
    CHECK_OK(sw_file_read(path, &file, &err));
    snprintf(damaged, sizeof damaged, "%s/damaged.tif", sw_test_dir());
    for (uint32_t i = 0; i < 150; i++) {
        int direct;
        size_t tail = file.size / 8, at = sw_rng_below(&rng, 3) ? sw_rng_below(&rng, file.size)
                                                                : file.size - 1 - sw_rng_below(&rng, tail);
        if (sw_rng_below(&rng, 6) == 0) at = sw_rng_below(&rng, 1200); /* the first directory and its tables */
        char before = file.data[at];
        file.data[at] = (char)(before ^ (1 << sw_rng_below(&rng, 8)));
        CHECK_OK(sw_file_write(damaged, file.data, i % 10 == 9 ? at : file.size, &err));
        int different = first_difference(damaged, 4, i, &direct);
        if (different != -1) sw_test_fail(__FILE__, __LINE__, "byte %zu flipped (round %u): region %d differs", at, i, different);
        if (!tiles_end_well(damaged)) sw_test_fail(__FILE__, __LINE__, "byte %zu flipped (round %u): a tile's JPEG", at, i);
        file.data[at] = before;
    }
}

/* Every tile that lies wholly on the slide, as a JPEG of its own, decodes to the slide's pixels. */
static int tiles_of(const char *path, int level, int64_t side, int *tiles)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_slide_options o = sw_slide_options_default();
    o.openslide_only = true;
    SW_CLEANUP(reader_close_ptr) sw_tile_reader *reader = NULL;
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(side * side));
    *tiles = 0;
    if (!rgb || sw_slide_open(path, &o, &slide, &err) != SW_OK) return 0;
    const sw_slide_info *info = sw_slide_get_info(slide);
    if (sw_tile_reader_open(path, info->level, info->n_levels, &reader, &err) != SW_OK || !reader) return 0;
    int64_t factor = (int64_t)info->level[level].downsample;
    for (int64_t y = 0; y + side <= info->level[level].height; y += side) {
        for (int64_t x = 0; x + side <= info->level[level].width && *tiles < 400; x += side, ++*tiles) {
            size_t size = 0;
            SW_AUTOFREE uint8_t *jpeg = sw_tile_reader_jpeg(reader, level, x, y, side, &size);
            SW_CLEANUP(sw_image_free) sw_image image = {0};
            if (!jpeg || sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &image, &err) != SW_OK) return 0;
            if (sw_slide_read(slide, level, x * factor, y * factor, side, side, rgb, &err) != SW_OK) return 0;
            if (image.width != side || image.height != side || memcmp(image.rgb, rgb, 3 * (size_t)(side * side)) != 0) return 0;
        }
    }
    size_t size = 0; /* not on the grid, over the edge, another side, another level */
    return !sw_tile_reader_jpeg(reader, level, 1, 0, side, &size) && !sw_tile_reader_jpeg(reader, level, 0, side * 100000, side, &size) &&
           !sw_tile_reader_jpeg(reader, level, 0, 0, side / 2, &size) && !sw_tile_reader_jpeg(reader, info->n_levels, 0, 0, side, &size);
}

/* What a slide is, with OpenSlide's opening and without; *lean: it was without. */
static void same_facts(const char *path, bool *lean)
{
    SW_CLEANUP(sw_slide_close) sw_slide *a = NULL, *b = NULL;
    SW_CLEANUP(sw_slide_facts_free) sw_slide_facts facts = {.n_levels = 0};
    sw_slide_options o = sw_slide_options_default();
    sw_error other;
    sw_status full = sw_slide_open(path, &o, &a, &err);
    o.lean = true;
    sw_status quick = sw_slide_open(path, &o, &b, &other);
    sw_tiff_grid *grid = NULL;
    CHECK_OK(sw_tiff_slide_facts(path, &facts, &grid, &other));
    *lean = facts.n_levels > 0;
    if (grid) sw_tiff_grids_free(grid, facts.n_levels);
    sw_free(grid);
    CHECK_INT(quick, full);
    if (full != SW_OK || quick != SW_OK) return;
    const sw_slide_info *x = sw_slide_get_info(a), *y = sw_slide_get_info(b);
    CHECK_STR(y->format, x->format);
    CHECK_INT(y->n_levels, x->n_levels);
    CHECK_INT(y->mpp_source, x->mpp_source);
    bool equal = x->mpp_um_x == y->mpp_um_x && x->mpp_um_y == y->mpp_um_y && x->objective_power == y->objective_power;
    for (int i = 0; i < x->n_levels && i < y->n_levels; i++) {
        equal = equal && x->level[i].width == y->level[i].width && x->level[i].height == y->level[i].height &&
                x->level[i].downsample == y->level[i].downsample && x->level[i].mpp_um == y->level[i].mpp_um;
    }
    if (!equal) sw_test_fail(__FILE__, __LINE__, "%s: %.17g um/px and not %.17g, or other levels", path, y->mpp_um, x->mpp_um);
}

static int same_facts_in(const char *dir, int *lean)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[1400];
        bool without = false;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (sw_path_is_dir(path)) continue;
        same_facts(path, &without);
        *lean += without;
        n++;
    }
    if (d) closedir(d);
    return n;
}

TEST(a_slide_is_known_without_openslide_as_with_it)
{
    bool lean = false;
    same_facts(synthetic(), &lean);
    CHECK(lean);
}

TEST(real_slides_are_known_without_openslide_as_with_it)
{
    static const char *const folders[] = {"slides", "atlas-mini/slides", "images/glas"};
    int n = 0, lean = 0;
    if (!sw_test_data()) SKIP("no shared data");
    for (int i = 0; i < 3; i++) {
        char dir[1100];
        snprintf(dir, sizeof dir, "%s/%s", sw_test_data(), folders[i]);
        n += same_facts_in(dir, &lean);
    }
    printf("# %d of %d files are known without OpenSlide\n", lean, n);
    CHECK(lean >= 40);
}

/* A copy of `path` in which the first `from` is `to`, of the same length. */
static const char *altered(const char *path, const char *from, const char *to)
{
    static char copy[1200];
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    size_t n = strlen(from);
    if (sw_file_read(path, &file, &err) != SW_OK) return NULL;
    for (size_t i = 0; i + n <= file.size; i++) {
        if (memcmp(file.data + i, from, n) != 0) continue;
        memcpy(file.data + i, to, n);
        snprintf(copy, sizeof copy, "%s/altered.svs", sw_test_dir());
        return sw_file_write(copy, file.data, file.size, &err) == SW_OK ? copy : NULL;
    }
    return NULL;
}

TEST(odd_descriptions_are_left_to_openslide)
{
    static const struct {
        const char *from, *to;
        bool lean;
    } odd[] = {{"MPP = 0.4990", "MPP = 0.5001", true},  {"MPP = 0.4990", "MPP = 0,4990", false}, {"MPP = 0.4990", "MPP = 4.99e1", false},
               {"MPP = 0.4990", "MPP = 0.4 90", false}, {"MPP = 0.4990", "MPPX= 0.4990", true},  {"AppMag = 20", "MPP = 0.499", false},
               {"AppMag = 20", "AppMag = 2x", false},   {"AppMag = 20", "AppMag=  40", true},    {"Aperio", "aperio", true},
               {"Aperio Image", "<perio Image", false}};
    char original[1200];
    if (!sw_test_data()) SKIP("no shared data");
    snprintf(original, sizeof original, "%s/slides/CMU-1-Small-Region.svs", sw_test_data());
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        bool lean = false;
        const char *copy = altered(original, odd[i].from, odd[i].to);
        CHECK(copy != NULL);
        same_facts(copy, &lean);
        if (lean != odd[i].lean) sw_test_fail(__FILE__, __LINE__, "%s: %s OpenSlide", odd[i].to, lean ? "without" : "with");
    }
}

TEST(what_we_cannot_read_is_openslides_also_where_it_was_not_opened)
{
    SW_CLEANUP(sw_slide_close) sw_slide *lean = NULL, *full = NULL;
    SW_AUTOFREE uint8_t *a = sw_malloc(3 * 50 * 40), *b = sw_malloc(3 * 50 * 40);
    sw_slide_options o = sw_slide_options_default();
    CHECK_OK(sw_slide_open(synthetic(), &o, &full, &err));
    o.lean = true;
    CHECK_OK(sw_slide_open(synthetic(), &o, &lean, &err));
    /* before the corner of a coarser level it interpolates */
    CHECK_OK(sw_slide_read(full, 1, -33, -7, 50, 40, a, &err));
    CHECK_OK(sw_slide_read(lean, 1, -33, -7, 50, 40, b, &err));
    CHECK(memcmp(a, b, 3 * 50 * 40) == 0);
}

TEST(a_tile_by_itself_is_the_slide)
{
    int tiles;
    const char *path = synthetic();
    CHECK(path);
    CHECK(tiles_of(path, 0, 256, &tiles));
    CHECK_INT(tiles, 4);
    if (!sw_test_data()) return;
    static const char *const name[] = {"slides/CMU-1-Small-Region.svs", "slides/gastric-metaplasia-aperio-style.svs",
                                       "atlas-mini/slides/hodgkin.tif"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char real[700];
        snprintf(real, sizeof real, "%s/%s", sw_test_data(), name[i]);
        int64_t side = i == 0 ? 240 : 256;
        bool ok = tiles_of(real, 0, side, &tiles);
        if (!ok || tiles < 9) sw_test_fail(__FILE__, __LINE__, "%s: %d tiles", name[i], tiles);
    }
}

TEST(broken_streams_are_not_made_whole)
{
    static const uint8_t whole[] = {0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 'J', 'F',                         /* what the tile says of its colours */
                                    0xFF, 0xC0, 0, 17, 8, 0, 16, 0, 32, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, /* 32 x 16 */
                                    0xFF, 0xDA, 0, 2, 1, 2, 3, 0xFF, 0xD9, 0};
    static const uint8_t tables[] = {0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 9, 0xFF, 0xD9};
    static const uint8_t want[] = {0xFF, 0xD8, 0xFF, 0xEE, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, 0, 0xFF, 0xDB, 0, 3, 9,
                                   0xFF, 0xC0, 0, 17, 8, 0, 16, 0, 32, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0,
                                   0xFF, 0xDA, 0, 2, 1, 2, 3, 0xFF, 0xD9};
    sw_jpeg_tile tile = {tables, sizeof tables, whole, sizeof whole, true, 32, 16};
    size_t size = 0;
    SW_AUTOFREE uint8_t *made = sw_jpeg_splice(&tile, &size), *made_again = NULL;
    CHECK(made);
    CHECK_INT(size, sizeof want);
    CHECK(memcmp(made, want, sizeof want) == 0);
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        tile.bytes = n;
        CHECK(sw_jpeg_splice(&tile, &size) == NULL);
    }
    tile.bytes = sizeof whole;
    for (size_t n = 0; n < sizeof tables; n++) {
        tile.tables_bytes = n;
        CHECK(sw_jpeg_splice(&tile, &size) == NULL);
    }
    tile.tables_bytes = sizeof tables;
    tile.width = 16;
    CHECK(sw_jpeg_splice(&tile, &size) == NULL);
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {{9, 0xC9}, {9, 0xC3}, {12, 12}, {17, 4}, {19, 0x31}, {19, 0x00}, {22, 0x21}, {25, 0x12}};
    tile.width = 32;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) { /* arithmetic, lossless, 12 bits, 4 colours, odd samplings */
        uint8_t other[sizeof whole];
        memcpy(other, whole, sizeof whole);
        tile.jpeg = other;
        CHECK((made_again = sw_jpeg_splice(&tile, &size)) != NULL);
        sw_free(SW_STEAL(made_again));
        other[wrong[i].at] = wrong[i].value;
        CHECK(sw_jpeg_splice(&tile, &size) == NULL);
    }
}
