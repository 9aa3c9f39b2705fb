/* SPDX-License-Identifier: Apache-2.0 */
/* A small MIRAX slide: photos of 256 x 256 pixels in four JPEGs each, which overlap, lie a few pixels off their grid, and are missing at
 * the slide's border and in the middle; three levels, of which the last has the JPEGs of four photos in one. The files are
 * Slidedat.ini (what there is), Index.dat (where each JPEG lies) and Data0000.dat (positions and JPEGs). */
#ifndef SW_TESTS_MIRAX_SLIDE_H
#define SW_TESTS_MIRAX_SLIDE_H

#include <stdio.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/image.h"

enum {
    MIRAX_PHOTO = 256, MIRAX_JPEG = 128, MIRAX_OVERLAP = 16, MIRAX_ACROSS = 6, MIRAX_DOWN = 5, MIRAX_LEVELS = 3,
    MIRAX_WIDTH = MIRAX_ACROSS * MIRAX_PHOTO - (MIRAX_ACROSS - 1) * MIRAX_OVERLAP,
    MIRAX_HEIGHT = MIRAX_DOWN * MIRAX_PHOTO - (MIRAX_DOWN - 1) * MIRAX_OVERLAP
};

static inline bool mirax_has(int column, int row)
{
    return column >= 1 && column <= 4 && row >= 1 && row <= 3 && !(column == 2 && row == 2);
}

/* Level-0 corner of a photo. */
static inline void mirax_corner(int column, int row, int *x, int *y)
{
    *x = column * (MIRAX_PHOTO - MIRAX_OVERLAP) + (column * 3 + row) % 5;
    *y = row * (MIRAX_PHOTO - MIRAX_OVERLAP) + (column + row * 2) % 4;
}

/* Whether a photo shows this pixel of the slide. */
static inline bool mirax_scanned(int64_t x, int64_t y)
{
    for (int i = 0; i < MIRAX_ACROSS * MIRAX_DOWN; i++) {
        int left, top;
        mirax_corner(i % MIRAX_ACROSS, i / MIRAX_ACROSS, &left, &top);
        if (mirax_has(i % MIRAX_ACROSS, i / MIRAX_ACROSS) && x >= left && x < left + MIRAX_PHOTO && y >= top && y < top + MIRAX_PHOTO) return true;
    }
    return false;
}

static inline bool mirax_is_tissue(int64_t x, int64_t y)
{
    return x >= 330 && x < 1100 && y >= 330 && y < 900;
}

/* What lies on the glass: tissue in a checkered pattern, so that a shift shows. */
static inline void mirax_colour(int64_t x, int64_t y, uint8_t *rgb)
{
    int light = (x / 48 + y / 48) % 2 ? 25 : 0;
    rgb[0] = (uint8_t)(mirax_is_tissue(x, y) ? 170 + light : 235);
    rgb[1] = (uint8_t)(mirax_is_tissue(x, y) ? 90 + light : 235);
    rgb[2] = (uint8_t)(mirax_is_tissue(x, y) ? 140 + light : 235);
}

/* A square of `factor` x `factor` pixels as one. */
static inline void mirax_mean(int64_t x, int64_t y, int factor, uint8_t *rgb)
{
    int sum[3] = {0}, n = factor * factor;
    for (int i = 0; i < n; i++) {
        uint8_t one[3];
        mirax_colour(x + i % factor, y + i / factor, one);
        for (int c = 0; c < 3; c++) sum[c] += one[c];
    }
    for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)((sum[c] + n / 2) / n);
}

static inline void mirax_put_int(sw_buf *buf, size_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    sw_buf_append(buf, bytes, sizeof bytes);
}

/* The JPEG of a level whose first image of level 0 is (x, y); photos that are missing in it are black. */
static inline sw_status mirax_jpeg(int level, int x, int y, sw_buf *data, sw_error *err)
{
    static uint8_t rgb[3 * MIRAX_JPEG * MIRAX_JPEG];
    int factor = 1 << level;
    for (int i = 0; i < MIRAX_JPEG * MIRAX_JPEG; i++) {
        int u = x * MIRAX_JPEG + i % MIRAX_JPEG * factor, v = y * MIRAX_JPEG + i / MIRAX_JPEG * factor; /* as if photos did not overlap */
        int left, top, column = u / MIRAX_PHOTO, row = v / MIRAX_PHOTO;
        mirax_corner(column, row, &left, &top);
        memset(rgb + 3 * i, 0, 3);
        if (mirax_has(column, row)) mirax_mean(left + u % MIRAX_PHOTO, top + v % MIRAX_PHOTO, factor, rgb + 3 * i);
    }
    uint8_t *jpeg = NULL;
    size_t size = 0;
    SW_TRY(sw_jpeg_encode(rgb, MIRAX_JPEG, MIRAX_JPEG, 95, &jpeg, &size, err));
    sw_buf_append(data, jpeg, size);
    sw_image_bytes_free(jpeg);
    return SW_OK;
}

/* All JPEGs of a level into `data`, and the page that lists them into `page`. */
static inline sw_status mirax_level(int level, sw_buf *data, sw_buf *page, sw_error *err)
{
    int step = 1 << level, across = MIRAX_ACROSS * 2, down = MIRAX_DOWN * 2, count = 0;
    sw_buf entries = {0};
    sw_status status = SW_OK;
    for (int y = 0; y < down; y += step) {
        for (int x = 0; x < across && status == SW_OK; x += step) {
            bool any = false;
            for (int i = 0; i < step * step; i++) any = any || mirax_has((x + i % step) / 2, (y + i / step) / 2);
            if (!any) continue;
            size_t start = data->size;
            status = mirax_jpeg(level, x, y, data, err);
            mirax_put_int(&entries, (size_t)(y * across + x));
            mirax_put_int(&entries, start);
            mirax_put_int(&entries, data->size - start);
            mirax_put_int(&entries, 0);
            count++;
        }
    }
    mirax_put_int(page, (size_t)count);
    mirax_put_int(page, 0); /* no further page */
    sw_buf_append(page, entries.data, entries.size);
    sw_buf_free(&entries);
    return status;
}

static inline void mirax_describe(sw_buf *ini, const char *id)
{
    sw_buf_printf(ini, "[GENERAL]\nSLIDE_VERSION = 01.02\nSLIDE_ID = %s\nIMAGENUMBER_X = %d\nIMAGENUMBER_Y = %d\nOBJECTIVE_MAGNIFICATION = 40\n"
                       "CameraImageDivisionsPerSide = 2\n[HIERARCHICAL]\nHIER_COUNT = 1\nNONHIER_COUNT = 1\nINDEXFILE = Index.dat\n"
                       "HIER_0_NAME = Slide zoom level\nHIER_0_COUNT = %d\nNONHIER_0_NAME = VIMSLIDE_POSITION_BUFFER\nNONHIER_0_COUNT = 1\n"
                       "NONHIER_0_VAL_0 = default\nNONHIER_0_VAL_0_SECTION = POSITIONS\n", id, MIRAX_ACROSS * 2, MIRAX_DOWN * 2, MIRAX_LEVELS);
    for (int i = 0; i < MIRAX_LEVELS; i++) sw_buf_printf(ini, "HIER_0_VAL_%d_SECTION = LEVEL_%d\n", i, i);
    sw_buf_puts(ini, "[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = Data0000.dat\n[POSITIONS]\nKIND = 0\n");
    for (int i = 0; i < MIRAX_LEVELS; i++) {
        sw_buf_printf(ini, "[LEVEL_%d]\nOVERLAP_X = %d\nOVERLAP_Y = %d\nMICROMETER_PER_PIXEL_X = 0.%d\nMICROMETER_PER_PIXEL_Y = 0.%d\n"
                           "IMAGE_FILL_COLOR_BGR = 16777215\nDIGITIZER_WIDTH = %d\nDIGITIZER_HEIGHT = %d\nIMAGE_FORMAT = JPEG\nIMAGE_CONCAT_FACTOR = %d\n",
                      i, MIRAX_OVERLAP >> i, MIRAX_OVERLAP >> i, 25 << i, 25 << i, MIRAX_JPEG, MIRAX_JPEG, i > 0);
    }
}

/* Writes DIR/NAME.mrxs with its folder. */
static inline sw_status mirax_write(const char *dir, const char *name, sw_error *err)
{
    static const char id[] = "0123456789ABCDEF";
    SW_CLEANUP(sw_buf_free) sw_buf ini = {0}, index = {0}, data = {0}, pages = {0};
    size_t page[MIRAX_LEVELS], root = 5 + strlen(id), tables = root + 8, records = tables + 4 * (MIRAX_LEVELS + 1);
    SW_AUTOFREE char *file = sw_asprintf("%s/%s.mrxs", dir, name), *folder = sw_asprintf("%s/%s", dir, name);
    SW_AUTOFREE char *ini_path = sw_path_join(folder, "Slidedat.ini"), *index_path = sw_path_join(folder, "Index.dat");
    SW_AUTOFREE char *data_path = sw_path_join(folder, "Data0000.dat");
    mirax_describe(&ini, id);
    sw_buf_puts(&data, "positions");
    size_t positions = data.size;
    for (int i = 0; i < MIRAX_ACROSS * MIRAX_DOWN; i++) {
        int x, y;
        mirax_corner(i % MIRAX_ACROSS, i / MIRAX_ACROSS, &x, &y);
        sw_buf_append(&data, "", 1); /* a flag */
        mirax_put_int(&data, (size_t)x);
        mirax_put_int(&data, (size_t)y);
    }
    size_t positions_bytes = data.size - positions, first_page = records + 8 * (MIRAX_LEVELS + 1);
    for (int i = 0; i < MIRAX_LEVELS; i++) {
        page[i] = first_page + pages.size;
        SW_TRY(mirax_level(i, &data, &pages, err));
    }
    sw_buf_puts(&index, "01.02");
    sw_buf_puts(&index, id);
    mirax_put_int(&index, tables);                     /* the levels' table */
    mirax_put_int(&index, tables + 4 * MIRAX_LEVELS);  /* that of everything else */
    for (size_t i = 0; i <= MIRAX_LEVELS; i++) mirax_put_int(&index, records + 8 * i);
    for (int i = 0; i <= MIRAX_LEVELS; i++) {
        mirax_put_int(&index, 0);
        mirax_put_int(&index, i < MIRAX_LEVELS ? page[i] : first_page + pages.size);
    }
    sw_buf_append(&index, pages.data, pages.size);
    const size_t where[] = {1, 0, 0, 0, positions, positions_bytes, 0};
    for (size_t i = 0; i < sizeof where / sizeof *where; i++) mirax_put_int(&index, where[i]);
    SW_TRY(sw_buf_status(&index, err));
    SW_TRY(sw_buf_status(&data, err));
    SW_TRY(sw_mkdir_p(folder, err));
    SW_TRY(sw_file_write(file, "MIRAX\n", 6, err));
    SW_TRY(sw_file_write(ini_path, ini.data, ini.size, err));
    SW_TRY(sw_file_write(index_path, index.data, index.size, err));
    return sw_file_write(data_path, data.data, data.size, err);
}

#endif
