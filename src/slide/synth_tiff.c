/* SPDX-License-Identifier: Apache-2.0 */
/* A pyramid of tiled JPEG levels in one TIFF file, each level half of the one before. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slide/synth.h"

#define TILE_PX 256
#define JPEG_QUALITY 88
#define SMALLEST_PX 512 /* levels are added until one is not larger */
#define LEAST_LEVELS 3

typedef struct writing {
    TIFF *tiff;
    const sw_scene *scene;
    const char *path;
    int64_t size_px;
    uint8_t *strip;    /* [TILE_PX, size_px, 3] of level 0 */
    sw_image level;    /* the next smaller level, filled strip by strip */
    uint8_t tile[TILE_PX * TILE_PX * 3];
} writing;

static void tiff_close(TIFF **tiff)
{
    if (*tiff) TIFFClose(*tiff);
    *tiff = NULL;
}

static sw_status write_failed(const writing *w, sw_error *err)
{
    int reason = errno;
    if (reason == ENOSPC || reason == EDQUOT) {
        return sw_error_set(err, SW_E_NOSPACE,
                            "cannot write %s: the disk that holds it is full; free some space or choose another place", w->path);
    }
    char text[128];
    return sw_error_set(err, SW_E_IO, "cannot write %s: %s", w->path,
                        reason ? strerror_r(reason, text, sizeof text) : "libtiff refused it");
}

static sw_status begin_level(writing *w, int64_t side_px, int level, sw_error *err)
{
    float per_cm = (float)(10000.0 / ((double)w->scene->mpp_um * (double)w->size_px / (double)side_px));
    TIFF *t = w->tiff;
    int ok = TIFFSetField(t, TIFFTAG_SUBFILETYPE, level > 0 ? FILETYPE_REDUCEDIMAGE : 0) &&
             TIFFSetField(t, TIFFTAG_IMAGEWIDTH, (uint32_t)side_px) && TIFFSetField(t, TIFFTAG_IMAGELENGTH, (uint32_t)side_px) &&
             TIFFSetField(t, TIFFTAG_TILEWIDTH, TILE_PX) && TIFFSetField(t, TIFFTAG_TILELENGTH, TILE_PX) &&
             TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, 8) && TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, 3) &&
             TIFFSetField(t, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) &&
             TIFFSetField(t, TIFFTAG_COMPRESSION, COMPRESSION_JPEG) && TIFFSetField(t, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_YCBCR) &&
             TIFFSetField(t, TIFFTAG_YCBCRSUBSAMPLING, 2, 2) && TIFFSetField(t, TIFFTAG_JPEGQUALITY, JPEG_QUALITY) &&
             TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB) && TIFFSetField(t, TIFFTAG_XRESOLUTION, per_cm) &&
             TIFFSetField(t, TIFFTAG_YRESOLUTION, per_cm) && TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_CENTIMETER) &&
             TIFFSetField(t, TIFFTAG_SOFTWARE, "slidewise synth") &&
             TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, "Synthetic tissue, not of any patient");
    return ok ? SW_OK : write_failed(w, err);
}

/* Tiles of rows [top, top + rows) out of pixels [rows, side, 3]; tiles at the border repeat the last pixels. */
static sw_status write_tiles(writing *w, const uint8_t *pixels, int64_t side_px, int64_t top, int64_t rows, sw_error *err)
{
    for (int64_t left = 0; left < side_px; left += TILE_PX) {
        for (int64_t y = 0; y < TILE_PX; y++) {
            const uint8_t *row = pixels + 3 * side_px * (y < rows ? y : rows - 1);
            int64_t have = side_px - left < TILE_PX ? side_px - left : TILE_PX;
            uint8_t *out = w->tile + 3 * TILE_PX * y;
            memcpy(out, row + 3 * left, (size_t)(3 * have));
            for (int64_t x = have; x < TILE_PX; x++) memcpy(out + 3 * x, out + 3 * (have - 1), 3);
        }
        errno = 0;
        if (TIFFWriteTile(w->tiff, w->tile, (uint32_t)left, (uint32_t)top, 0, 0) < 0) return write_failed(w, err);
    }
    return SW_OK;
}

/* Averages 2 x 2 pixels of `rows` rows into `out` from its row top / 2 on. An odd last row or column is left out. */
static void halve(const uint8_t *pixels, int64_t side_px, int64_t top, int64_t rows, sw_image *out)
{
    for (int64_t y = 0; y + 1 < rows && (top + y) / 2 < out->height; y += 2) {
        const uint8_t *a = pixels + 3 * side_px * y, *b = a + 3 * side_px;
        uint8_t *to = out->rgb + 3 * out->width * ((top + y) / 2);
        for (int64_t x = 0; x < out->width; x++, a += 6, b += 6) {
            for (int ch = 0; ch < 3; ch++) *to++ = (uint8_t)((a[ch] + a[ch + 3] + b[ch] + b[ch + 3] + 2) >> 2);
        }
    }
}

typedef struct strip_job {
    const writing *w;
    int64_t top, rows;
} strip_job;

static sw_status render_part(void *ctx, int64_t index, sw_error *err)
{
    const strip_job *job = ctx;
    const writing *w = job->w;
    int64_t left = index * TILE_PX, width = w->size_px - left < TILE_PX ? w->size_px - left : TILE_PX;
    return sw_scene_render(w->scene, left, job->top, width, job->rows, w->strip + 3 * left, (size_t)(3 * w->size_px), err);
}

static sw_status write_first(writing *w, sw_pool *pool, sw_error *err)
{
    SW_TRY(begin_level(w, w->size_px, 0, err));
    SW_TRY(sw_image_new(w->size_px / 2, w->size_px / 2, 255, &w->level, err));
    for (int64_t top = 0; top < w->size_px; top += TILE_PX) {
        strip_job job = {.w = w, .top = top, .rows = w->size_px - top < TILE_PX ? w->size_px - top : TILE_PX};
        SW_TRY(sw_pool_for(pool, (w->size_px + TILE_PX - 1) / TILE_PX, render_part, &job, err));
        SW_TRY(write_tiles(w, w->strip, w->size_px, top, job.rows, err));
        halve(w->strip, w->size_px, top, job.rows, &w->level);
    }
    errno = 0;
    return TIFFWriteDirectory(w->tiff) ? SW_OK : write_failed(w, err);
}

static sw_status write_level(writing *w, int level, bool last, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image next = {0};
    int64_t side = w->level.width;
    SW_TRY(begin_level(w, side, level, err));
    for (int64_t top = 0; top < side; top += TILE_PX) {
        int64_t rows = side - top < TILE_PX ? side - top : TILE_PX;
        SW_TRY(write_tiles(w, w->level.rgb + 3 * side * top, side, top, rows, err));
    }
    errno = 0;
    if (!TIFFWriteDirectory(w->tiff)) return write_failed(w, err);
    if (last) return SW_OK;
    SW_TRY(sw_image_new(side / 2, side / 2, 255, &next, err));
    halve(w->level.rgb, side, 0, side, &next);
    sw_image_free(&w->level);
    w->level = next;
    next = (sw_image){0};
    return SW_OK;
}

static sw_status write_pyramid(writing *w, sw_pool *pool, sw_error *err)
{
    SW_TRY(write_first(w, pool, err));
    for (int level = 1;; level++) {
        bool last = w->level.width <= SMALLEST_PX && level + 1 >= LEAST_LEVELS;
        SW_TRY(write_level(w, level, last, err));
        if (last) return SW_OK;
    }
}

/* libtiff before 4.5 has no messages per file; it then talks to stderr as the program that links it has set. */
#if TIFFLIB_VERSION >= 20221213
static int silent(TIFF *tiff, void *ctx, const char *module, const char *fmt, va_list args)
{
    (void)tiff, (void)ctx, (void)module, (void)fmt, (void)args;
    return 1; /* we say it ourselves */
}

static TIFF *open_quietly(const char *path, const char *mode)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, silent, NULL);
    TIFFOpenOptionsSetWarningHandlerExtR(options, silent, NULL);
    TIFF *tiff = TIFFOpenExt(path, mode, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}
#else
static TIFF *open_quietly(const char *path, const char *mode)
{
    return TIFFOpen(path, mode);
}
#endif

static sw_status open_tiff(writing *w, const char *temporary, sw_error *err)
{
    errno = 0;
    w->tiff = open_quietly(temporary, w->size_px > 16384 ? "w8" : "w");
    return w->tiff ? SW_OK : write_failed(w, err);
}

static sw_status sync_file(const writing *w, const char *temporary, sw_error *err)
{
    int fd = open(temporary, O_RDONLY | O_CLOEXEC);
    int reason = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) close(fd);
    if (reason == 0 && rename(temporary, w->path) != 0) reason = errno;
    errno = reason;
    return reason == 0 ? SW_OK : write_failed(w, err);
}

sw_status sw_synth_tiff(const sw_scene *scene, int64_t size_px, const char *path, sw_pool *pool, sw_error *err)
{
    SW_AUTOFREE char *temporary = sw_asprintf("%s.part", path);
    SW_AUTOFREE writing *w = sw_calloc(1, sizeof *w);
    SW_AUTOFREE uint8_t *strip = sw_malloc((size_t)(3 * TILE_PX * size_px));
    if (!temporary || !w || !strip) return sw_nomem(err);
    w->scene = scene;
    w->path = path;
    w->size_px = size_px;
    w->strip = strip;
    sw_status status = open_tiff(w, temporary, err);
    if (status == SW_OK) status = write_pyramid(w, pool, err);
    tiff_close(&w->tiff);
    sw_image_free(&w->level);
    if (status == SW_OK) status = sync_file(w, temporary, err);
    if (status != SW_OK) unlink(temporary);
    return status;
}
