/* SPDX-License-Identifier: Apache-2.0 */
/* Slides that OpenSlide reads. */
#include <math.h>
#include <openslide/openslide.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/versions.h"
#include "slide/slide_internal.h"
#include "slide/tile_between.h"
#include "slide/tile_reader.h"

const char *sw_openslide_version(void)
{
    return openslide_get_version();
}

/* An OpenSlide handle that met an error answers nothing but that error from then on, whoever asks. A failed read is
 * therefore repeated on a handle of its own; when that one works it takes the place of the broken one. */
typedef struct state {
    char *path;
    pthread_rwlock_t lock; /* read: use the handle; write: replace it */
    openslide_t *handle;   /* NULL: not asked for so far */

    /* The short way to tiles; opened when it is first asked for, since many slides are opened for their facts only. */
    pthread_mutex_t tiles_lock; /* of the next two */
    bool tiles_tried;           /* nothing to open, or opened */
    sw_tile_reader *tiles;      /* NULL: there is none */
    sw_slide_level *level;      /* [n_levels] */
    int n_levels;
} state;

static sw_status damaged(const char *path, const char *reason, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT,
                        "%s: the slide is damaged or cut short (OpenSlide: %s); copy it again from its source", path,
                        reason);
}

static bool is_dicom(const char *path)
{
    char magic[4] = {0};
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    bool dicom = fseek(file, 128, SEEK_SET) == 0 && fread(magic, 1, 4, file) == 4 && memcmp(magic, "DICM", 4) == 0;
    fclose(file);
    return dicom;
}

/* Files that OpenSlide does not know may still be pictures; a DICOM file never is. */
static sw_status not_known(const char *path, sw_error *err)
{
    if (!is_dicom(path)) return SW_OK;
    const char *version = openslide_get_version();
    if (strtol(version, NULL, 10) < 4) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "%s: DICOM slides need OpenSlide 4.0 or newer, and this is OpenSlide %s; install a newer "
                            "OpenSlide or convert the slide to a pyramidal TIFF",
                            path, version);
    }
    return sw_error_set(err, SW_E_UNSUPPORTED,
                        "%s: OpenSlide %s does not know this DICOM file as a slide; give one file of a whole-slide "
                        "series, or convert it to a pyramidal TIFF",
                        path, version);
}

/* A DICOM file may be sound and yet no whole slide to OpenSlide. */
static sw_status not_opened(const char *path, const char *reason, sw_error *err)
{
    if (!is_dicom(path)) return damaged(path, reason, err);
    return sw_error_set(err, SW_E_FORMAT,
                        "%s: OpenSlide %s cannot read this DICOM file (%s); give one file of a whole-slide series, copy it again from its "
                        "source if it is damaged, or convert it to a pyramidal TIFF",
                        path, openslide_get_version(), reason);
}

/* Formats with tiles side by side in one grid, of which a test shows it. MIRAX, Ventana and Trestle place overlapping tiles at
 * fractions of pixels. */
static bool has_whole_tiles(const char *format)
{
    return strcmp(format, "aperio") == 0 || strcmp(format, "generic-tiff") == 0;
}

static sw_status read_facts(openslide_t *handle, const char *path, sw_slide_facts *facts, sw_error *err)
{
    const char *vendor = openslide_get_property_value(handle, OPENSLIDE_PROPERTY_NAME_VENDOR);
    snprintf(facts->format, sizeof facts->format, "%s", vendor ? vendor : "unknown");
    facts->whole_tiles = has_whole_tiles(facts->format);
    facts->n_levels = openslide_get_level_count(handle);
    if (facts->n_levels < 1) return damaged(path, "no image level in it", err);
    facts->level = sw_calloc((size_t)facts->n_levels, sizeof *facts->level);
    if (!facts->level) return sw_nomem(err);
    for (int i = 0; i < facts->n_levels; i++) {
        sw_slide_level *level = &facts->level[i];
        openslide_get_level_dimensions(handle, i, &level->width, &level->height);
        level->downsample = openslide_get_level_downsample(handle, i);
    }
    for (const char *const *name = openslide_get_property_names(handle); name && *name; name++) {
        const char *value = openslide_get_property_value(handle, *name);
        if (value) SW_TRY(sw_slide_facts_add(facts, *name, value, err));
    }
    return SW_OK;
}

static void close_state(void *ctx)
{
    state *s = ctx;
    if (!s) return;
    if (s->handle) openslide_close(s->handle);
    pthread_rwlock_destroy(&s->lock);
    pthread_mutex_destroy(&s->tiles_lock);
    sw_tile_reader_close(s->tiles);
    sw_free(s->level);
    sw_free(s->path);
    sw_free(s);
}

static sw_status make_state(const char *path, openslide_t *handle, const sw_slide_options *options, const sw_slide_facts *facts,
                            state **out, sw_error *err)
{
    SW_AUTOFREE state *s = sw_calloc(1, sizeof *s);
    SW_AUTOFREE char *own_path = sw_strdup(path);
    SW_AUTOFREE sw_slide_level *level = sw_calloc((size_t)facts->n_levels, sizeof *level);
    if (!s || !own_path || !level) return sw_nomem(err);
    memcpy(level, facts->level, (size_t)facts->n_levels * sizeof *level);
    pthread_rwlock_init(&s->lock, NULL);
    pthread_mutex_init(&s->tiles_lock, NULL);
    s->path = SW_STEAL(own_path);
    s->handle = handle;
    s->tiles_tried = options->openslide_only || !facts->whole_tiles;
    s->n_levels = facts->n_levels;
    s->level = SW_STEAL(level);
    *out = SW_STEAL(s);
    return SW_OK;
}

/* OpenSlide opens a file dozens of times to know it. *out NULL: OpenSlide it is. */
static sw_status open_lean(const char *path, const sw_slide_options *options, sw_slide_facts *facts, state **out, sw_error *err)
{
    sw_tiff_grid *grid = NULL;
    *out = NULL;
    SW_TRY(sw_tiff_slide_facts(path, facts, &grid, err));
    if (facts->n_levels == 0) return SW_OK;
    sw_status status = make_state(path, NULL, options, facts, out, err);
    state *s = *out;
    if (status == SW_OK) status = sw_tile_reader_of_grids(path, grid, facts->n_levels, &s->tiles, err);
    if (status == SW_OK) s->tiles_tried = true;
    if (s && s->tiles) return SW_OK; /* it has the grids */
    sw_tiff_grids_free(grid, facts->n_levels);
    sw_free(grid);
    if (status != SW_OK) close_state(s);
    if (status != SW_OK) *out = NULL;
    return status;
}

/* Opens OpenSlide where it has not been; the message is that of reading. */
static sw_status need_handle(state *s, sw_error *err)
{
    pthread_rwlock_rdlock(&s->lock);
    bool there = s->handle != NULL;
    pthread_rwlock_unlock(&s->lock);
    if (there) return SW_OK;
    openslide_t *fresh = openslide_open(s->path);
    const char *reason = fresh ? openslide_get_error(fresh) : "not a slide";
    if (reason) {
        sw_status status = sw_error_set(err, SW_E_FORMAT, "%s", reason);
        if (fresh) openslide_close(fresh);
        return status;
    }
    pthread_rwlock_wrlock(&s->lock);
    openslide_t *extra = s->handle ? fresh : NULL; /* another thread was faster */
    if (!extra) s->handle = fresh;
    pthread_rwlock_unlock(&s->lock);
    if (extra) openslide_close(extra);
    return SW_OK;
}

static sw_status open_state(const char *path, const sw_slide_options *options, sw_slide_facts *facts, void **out, sw_error *err)
{
    *out = NULL;
    if (options->lean && !options->openslide_only) {
        state *lean = NULL;
        SW_TRY(open_lean(path, options, facts, &lean, err));
        *out = lean;
        if (lean) return SW_OK;
    }
    openslide_t *handle = openslide_open(path);
    if (!handle) return not_known(path, err);
    const char *reason = openslide_get_error(handle);
    state *s = NULL;
    sw_status status = reason ? not_opened(path, reason, err) : read_facts(handle, path, facts, err);
    if (status == SW_OK) status = make_state(path, handle, options, facts, &s, err);
    if (status != SW_OK) openslide_close(handle);
    *out = s;
    return status;
}

/* ---- the short way */

static sw_tile_reader *tiles_of(state *s)
{
    sw_error err = {0};
    pthread_mutex_lock(&s->tiles_lock);
    if (!s->tiles_tried) { /* without memory now: tried again with the next read */
        s->tiles_tried = sw_tile_reader_open(s->path, s->level, s->n_levels, &s->tiles, &err) == SW_OK;
    }
    sw_tile_reader *tiles = s->tiles;
    pthread_mutex_unlock(&s->tiles_lock);
    return tiles;
}

/* A level-0 position in the level's own pixels, where it is a whole one. The slide's corner is the corner of every level. */
static bool in_level(const state *s, int level, int64_t level0_x, int64_t level0_y, int64_t *x, int64_t *y)
{
    *x = *y = 0;
    if (level0_x == 0 && level0_y == 0) return true;
    double downsample = s->level[level].downsample;
    if (downsample != floor(downsample) || downsample < 1 || downsample > 1e6 || level0_x < 0 || level0_y < 0) return false;
    int64_t factor = (int64_t)downsample;
    *x = level0_x / factor;
    *y = level0_y / factor;
    return level0_x % factor == 0 && level0_y % factor == 0;
}

/* Without OpenSlide; false: ask it. Between whole pixels it interpolates, at the position divided by the level's downsample. */
static bool read_direct(state *s, int level, int64_t level0_x, int64_t level0_y, int64_t width, int64_t height, uint8_t *rgb)
{
    int64_t x, y;
    sw_tile_reader *tiles = tiles_of(s);
    if (!tiles) return false;
    if (in_level(s, level, level0_x, level0_y, &x, &y)) return sw_tile_reader_read(tiles, level, x, y, width, height, rgb);
    double downsample = s->level[level].downsample;
    if (downsample <= 1 || level0_x < 0 || level0_y < 0) return false;
    return sw_tile_reader_read_between(tiles, level, (double)level0_x / downsample, (double)level0_y / downsample, width, height, rgb);
}

static uint8_t *tile_jpeg(void *ctx, int level, int64_t level0_x, int64_t level0_y, int64_t side, size_t *size)
{
    state *s = ctx;
    int64_t x, y;
    sw_tile_reader *tiles = tiles_of(s);
    return tiles && in_level(s, level, level0_x, level0_y, &x, &y) ? sw_tile_reader_jpeg(tiles, level, x, y, side, size) : NULL;
}

/* ---- OpenSlide's */

/* OpenSlide's pixels are multiplied by their alpha: over white, the missing part is 255 - alpha. */
static void over_white(const uint32_t *argb, int64_t n, uint8_t *restrict rgb)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t p = argb[i], rest = 255 - (p >> 24);
        uint32_t r = ((p >> 16) & 255) + rest, g = ((p >> 8) & 255) + rest, b = (p & 255) + rest;
        rgb[3 * i] = (uint8_t)(r > 255 ? 255 : r);
        rgb[3 * i + 1] = (uint8_t)(g > 255 ? 255 : g);
        rgb[3 * i + 2] = (uint8_t)(b > 255 ? 255 : b);
    }
}

static sw_status read_again(state *s, uint32_t *argb, int level, int64_t x, int64_t y, int64_t width, int64_t height,
                            sw_error *err)
{
    openslide_t *fresh = openslide_open(s->path);
    if (!fresh) return sw_error_set(err, SW_E_IO, "the file can no longer be opened");
    if (!openslide_get_error(fresh)) openslide_read_region(fresh, argb, x, y, level, width, height);
    const char *reason = openslide_get_error(fresh);
    if (reason) {
        sw_status status = sw_error_set(err, SW_E_FORMAT, "%s", reason);
        openslide_close(fresh);
        return status;
    }
    pthread_rwlock_wrlock(&s->lock);
    openslide_t *broken = s->handle;
    bool replace = openslide_get_error(broken) != NULL; /* another thread may have done it meanwhile */
    if (replace) s->handle = fresh;
    pthread_rwlock_unlock(&s->lock);
    openslide_close(replace ? broken : fresh);
    return SW_OK;
}

static sw_status read_pixels(void *ctx, int level, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb,
                             sw_error *err)
{
    state *s = ctx;
    size_t n = (size_t)width * (size_t)height;
    if (read_direct(s, level, x, y, width, height, rgb)) return SW_OK;
    SW_AUTOFREE uint32_t *argb = sw_malloc(n * sizeof *argb);
    if (!argb) return sw_nomem(err);
    SW_TRY(need_handle(s, err));
    pthread_rwlock_rdlock(&s->lock);
    openslide_read_region(s->handle, argb, x, y, level, width, height);
    bool failed = openslide_get_error(s->handle) != NULL;
    pthread_rwlock_unlock(&s->lock);
    if (failed) SW_TRY(read_again(s, argb, level, x, y, width, height, err));
    over_white(argb, (int64_t)n, rgb);
    return SW_OK;
}

const sw_slide_ops sw_slide_openslide = {"openslide", open_state, read_pixels, tile_jpeg, close_state};
