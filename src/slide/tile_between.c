/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSlide paints tile after tile through cairo, each moved by the same fraction of a pixel, and adds them up: pixman (0.40 and
 * newer) weighs four neighbours in floats, nothing lies beyond a tile's edge, and what a tile leaves of a pixel's cover is kept
 * with 8 bits until the next one is added (operator "saturate"). Between the seams that is one weighted sum. */
#include "slide/tile_between.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slide/tiff_grid.h"

#define WHOLE 65536 /* cairo's fractions have 16 bits */
#define TO_FLOAT (1.0f / 255.0f)

typedef struct between {
    const sw_tiff_grid *grid;
    int64_t x, y;                /* first pixel of the level that is needed */
    int64_t width, height;       /* of the output */
    int64_t columns, rows;       /* of `pixels`: one more than the output, where there is a fraction */
    const uint8_t *pixels;       /* [rows, columns, 3] */
    float weight[4];             /* top left, top right, bottom left, bottom right */
} between;

static float to_unit(int value)
{
    return (float)value * TO_FLOAT;
}

static int to_byte(float unit)
{
    int value = (int)((unit > 1 ? 1 : unit) * 256);
    return value - (value >> 8);
}

/* `n` bytes of a row, none of them at a seam; a and b: the rows that are weighed. */
static void weigh_row(const float *restrict weight, float cover, const uint8_t *restrict a, const uint8_t *restrict b, int64_t n, uint8_t *restrict rgb)
{
    const float tl = weight[0], tr = weight[1], bl = weight[2], br = weight[3];
    for (int64_t i = 0; i < n; i++) {
        float sum = (float)a[i] * TO_FLOAT * tl + (float)a[i + 3] * TO_FLOAT * tr + (float)b[i] * TO_FLOAT * bl + (float)b[i + 3] * TO_FLOAT * br;
        sum *= cover;
        int value = (int)((sum > 1 ? 1 : sum) * 256);
        rgb[i] = (uint8_t)(value - (value >> 8));
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void weigh_row_avx2(const float *restrict weight, float cover, const uint8_t *restrict a,
                                                           const uint8_t *restrict b, int64_t n, uint8_t *restrict rgb)
{
    const float tl = weight[0], tr = weight[1], bl = weight[2], br = weight[3];
    for (int64_t i = 0; i < n; i++) {
        float sum = (float)a[i] * TO_FLOAT * tl + (float)a[i + 3] * TO_FLOAT * tr + (float)b[i] * TO_FLOAT * bl + (float)b[i + 3] * TO_FLOAT * br;
        sum *= cover;
        int value = (int)((sum > 1 ? 1 : sum) * 256);
        rgb[i] = (uint8_t)(value - (value >> 8));
    }
}
#endif

static void weigh(const between *s, float cover, const uint8_t *a, const uint8_t *b, int64_t n, uint8_t *rgb)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        weigh_row_avx2(s->weight, cover, a, b, n, rgb);
        return;
    }
#endif
    weigh_row(s->weight, cover, a, b, n, rgb);
}

/* What the tile at (column, row) adds to the pixel at (i, j): alpha, red, green, blue. */
static void tile_adds(const between *s, int64_t column, int64_t row, int64_t i, int64_t j, float *sum)
{
    const sw_tiff_grid *g = s->grid;
    memset(sum, 0, 4 * sizeof *sum);
    for (int k = 0; k < 4; k++) {
        int64_t u = i + k % 2, v = j + k / 2, x = s->x + u, y = s->y + v;
        bool there = x < g->width && y < g->height && x / g->tile_width == column && y / g->tile_height == row;
        if (!there || u >= s->columns || v >= s->rows) continue;
        const uint8_t *p = s->pixels + 3 * (v * s->columns + u);
        sum[0] += to_unit(255) * s->weight[k];
        for (int c = 0; c < 3; c++) sum[c + 1] += to_unit(p[c]) * s->weight[k];
    }
}

static void add_tile(const float *sum, int *argb)
{
    float room = 1 - to_unit(argb[0]), share = sum[0] == 0 ? 1 : room / sum[0];
    share = share > 1 ? 1 : share < 0 ? 0 : share;
    for (int c = 0; c < 4; c++) argb[c] = to_byte(sum[c] * share + to_unit(argb[c]));
}

/* A pixel with neighbours in several tiles or beyond the level's edge. */
static void seam_pixel(const between *s, int64_t i, int64_t j, uint8_t *rgb)
{
    const sw_tiff_grid *g = s->grid;
    int64_t left = (s->x + i) / g->tile_width, top = (s->y + j) / g->tile_height;
    int argb[4] = {0};
    float sum[4];
    for (int64_t row = (s->y + j + 1) / g->tile_height; row >= top; row--) { /* OpenSlide's order */
        for (int64_t column = (s->x + i + 1) / g->tile_width; column >= left; column--) {
            tile_adds(s, column, row, i, j, sum);
            add_tile(sum, argb);
        }
    }
    for (int c = 0; c < 3; c++) {
        int over_white = argb[c + 1] + 255 - argb[0];
        rgb[c] = (uint8_t)(over_white > 255 ? 255 : over_white);
    }
}

static bool is_seam(int64_t at, int64_t tile_side, int64_t side)
{
    return at + 1 >= side || (at + 1) % tile_side == 0;
}

static void weigh_all(const between *s, uint8_t *rgb)
{
    const sw_tiff_grid *g = s->grid;
    const float *w = s->weight;
    float alpha = to_unit(255) * w[0] + to_unit(255) * w[1] + to_unit(255) * w[2] + to_unit(255) * w[3];
    float cover = 1 / alpha > 1 ? 1 : 1 / alpha;
    int64_t plain = s->columns - 1 < s->width ? s->columns - 1 : s->width; /* pixels with a right neighbour in `pixels` */
    for (int64_t j = 0; j < s->height; j++) {
        uint8_t *to = rgb + 3 * j * s->width;
        bool whole_row = is_seam(s->y + j, g->tile_height, g->height) || j + 1 >= s->rows;
        const uint8_t *a = s->pixels + 3 * j * s->columns;
        if (!whole_row) weigh(s, cover, a, a + 3 * s->columns, 3 * plain, to);
        for (int64_t i = 0; i < s->width; i++) {
            if (whole_row || i >= plain || is_seam(s->x + i, g->tile_width, g->width)) seam_pixel(s, i, j, to + 3 * i);
        }
    }
}

/* The pixel before a position, and what is left in parts of WHOLE. OpenSlide moves a tile by the distance from its corner. */
static int64_t before(double position, int64_t tile_side, int *part)
{
    double corner = floor(position / (double)tile_side) * (double)tile_side;
    int64_t fixed = llrint((position - corner) * WHOLE);
    *part = (int)(fixed % WHOLE);
    return (int64_t)corner + fixed / WHOLE;
}

bool sw_tile_reader_read_between(sw_tile_reader *reader, int level, double x, double y, int64_t width, int64_t height, uint8_t *rgb)
{
    between s = {.grid = sw_tile_reader_grid(reader, level), .width = width, .height = height};
    int part_x, part_y;
    if (!s.grid || !(x >= 0) || !(y >= 0) || x > 1e9 || y > 1e9 || width > SW_BETWEEN_MOST || height > SW_BETWEEN_MOST) return false;
    s.x = before(x, s.grid->tile_width, &part_x);
    s.y = before(y, s.grid->tile_height, &part_y);
    s.columns = width + (part_x > 0);
    s.rows = height + (part_y > 0);
    float fx = (float)part_x / WHOLE, fy = (float)part_y / WHOLE;
    const float weight[4] = {(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy};
    memcpy(s.weight, weight, sizeof weight);
    SW_AUTOFREE uint8_t *pixels = sw_malloc(3 * (size_t)(s.columns * s.rows));
    if (!pixels || !sw_tile_reader_read(reader, level, s.x, s.y, s.columns, s.rows, pixels)) return false;
    s.pixels = pixels;
    weigh_all(&s, rgb);
    return true;
}
