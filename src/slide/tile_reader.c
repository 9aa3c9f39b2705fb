/* SPDX-License-Identifier: Apache-2.0 */
#include "slide/tile_reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "slide/jpeg_reader.h"
#include "slide/jpeg_splice.h"
#include "slide/tiff_grid.h"

/* Tiles that a region takes in part, which its neighbours will ask for again: 24 MB of tiles of 256 x 256. A tile lies in the
 * slot that its place says: of any that share one, each is at least 11 tiles from the other, whatever the width of the slide. */
enum { SLOTS = 128, SLOT_PIXELS = 256 * 256 };
enum { MAX_READERS = 64 }; /* that wait for their next use */

typedef struct slot {
    pthread_mutex_t lock;
    int level;
    int64_t tile;    /* -1: nothing */
    uint8_t *pixels; /* [tile_height, tile_width, 3] */
    size_t bytes;
} slot;

/* What one thread needs to decode. */
typedef struct worker {
    sw_jpeg_reader *jpeg;
    uint8_t *stream;
    size_t capacity;
} worker;

struct sw_tile_reader {
    int file;
    uint64_t file_bytes;
    int n_levels;
    sw_tiff_grid *grid; /* [n_levels] */
    slot *slots;        /* [SLOTS] */
    pthread_mutex_t lock; /* of what follows */
    worker *idle[MAX_READERS];
    int n_idle;
};

static void worker_free(worker *w)
{
    if (!w) return;
    sw_jpeg_reader_free(w->jpeg);
    sw_free(w->stream);
    sw_free(w);
}

static worker *worker_take(sw_tile_reader *r)
{
    sw_error err = {0};
    pthread_mutex_lock(&r->lock);
    worker *w = r->n_idle > 0 ? r->idle[--r->n_idle] : NULL;
    pthread_mutex_unlock(&r->lock);
    if (w || !(w = sw_calloc(1, sizeof *w))) return w;
    if (sw_jpeg_reader_new(&w->jpeg, &err) == SW_OK) return w;
    worker_free(w);
    return NULL;
}

static void worker_give(sw_tile_reader *r, worker *w)
{
    pthread_mutex_lock(&r->lock);
    bool keep = r->n_idle < MAX_READERS;
    if (keep) r->idle[r->n_idle++] = w;
    pthread_mutex_unlock(&r->lock);
    if (!keep) worker_free(w);
}

void sw_tile_reader_close(sw_tile_reader *r)
{
    if (!r) return;
    if (r->file >= 0) close(r->file);
    if (r->grid) sw_tiff_grids_free(r->grid, r->n_levels);
    for (int i = 0; r->slots && i < SLOTS; i++) {
        pthread_mutex_destroy(&r->slots[i].lock);
        sw_free(r->slots[i].pixels);
    }
    while (r->n_idle > 0) worker_free(r->idle[--r->n_idle]);
    pthread_mutex_destroy(&r->lock);
    sw_free(r->slots);
    sw_free(r->grid);
    sw_free(r);
}

static void close_ptr(sw_tile_reader **r)
{
    sw_tile_reader_close(*r);
}

static sw_status reader_new(int n_levels, sw_tile_reader **out, sw_error *err)
{
    SW_CLEANUP(close_ptr) sw_tile_reader *r = sw_calloc(1, sizeof *r);
    if (!r) return sw_nomem(err);
    pthread_mutex_init(&r->lock, NULL);
    r->file = -1;
    r->n_levels = n_levels;
    r->slots = sw_calloc(SLOTS, sizeof *r->slots);
    if (!r->slots) return sw_nomem(err);
    for (int i = 0; i < SLOTS; i++) {
        pthread_mutex_init(&r->slots[i].lock, NULL);
        r->slots[i].tile = -1;
    }
    *out = SW_STEAL(r);
    return SW_OK;
}

/* false: no level of the file can be read so. */
static bool open_file(sw_tile_reader *r, const char *path, const sw_tiff_grid *grid)
{
    struct stat about;
    bool any = false;
    for (int i = 0; i < r->n_levels; i++) any = any || grid[i].offset;
    r->file = any ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (r->file < 0 || fstat(r->file, &about) != 0) return false;
    r->file_bytes = (uint64_t)about.st_size;
    return true;
}

sw_status sw_tile_reader_of_grids(const char *path, sw_tiff_grid *grid, int n_levels, sw_tile_reader **out, sw_error *err)
{
    *out = NULL;
    SW_CLEANUP(close_ptr) sw_tile_reader *r = NULL;
    SW_TRY(reader_new(n_levels, &r, err));
    if (!open_file(r, path, grid)) return SW_OK;
    r->grid = grid;
    *out = SW_STEAL(r);
    return SW_OK;
}

sw_status sw_tile_reader_open(const char *path, const sw_slide_level *level, int n_levels, sw_tile_reader **out, sw_error *err)
{
    *out = NULL;
    sw_tiff_grid *grid = sw_calloc((size_t)n_levels, sizeof *grid);
    if (!grid) return sw_nomem(err);
    sw_status status = sw_tiff_grids_read(path, level, n_levels, grid, err);
    if (status == SW_OK) status = sw_tile_reader_of_grids(path, grid, n_levels, out, err);
    else if (status != SW_E_NOMEM) status = SW_OK; /* OpenSlide says what is wrong with the file */
    if (*out) return SW_OK;
    sw_tiff_grids_free(grid, n_levels);
    sw_free(grid);
    return status;
}

/* The tile's stream into the worker. What the file says of its place is not to be trusted. */
static bool load_stream(const sw_tile_reader *r, const sw_tiff_grid *g, int64_t tile, worker *w)
{
    uint64_t offset = g->offset[tile], bytes = g->bytes[tile];
    uint64_t most = 65536 + 8 * (uint64_t)(g->tile_width * g->tile_height);
    sw_error err = {0};
    if (bytes > most || offset > r->file_bytes || bytes > r->file_bytes - offset) return false;
    if (sw_grow(&w->stream, &w->capacity, (size_t)bytes, 1, &err) != SW_OK) return false;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(r->file, w->stream + done, (size_t)bytes - done, (off_t)(offset + done));
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

typedef struct box {
    int64_t x0, y0, x1, y1;
} box;

/* The part of a tile, in the tile's pixels, to `rgb`. */
static bool decode(const sw_tile_reader *r, const sw_tiff_grid *g, int64_t tile, const box *part, worker *w, uint8_t *rgb,
                   int64_t row_px)
{
    sw_error err = {0};
    if (!load_stream(r, g, tile, w)) return false;
    const sw_jpeg_tile about = {g->tables, g->tables_bytes, w->stream, (size_t)g->bytes[tile], g->is_rgb, g->tile_width, g->tile_height};
    return sw_jpeg_reader_tile(w->jpeg, &about, part->x0, part->y0, part->x1, part->y1, rgb, row_px, &err) == SW_OK;
}

/* Fills the slot with the whole tile, unless it is there. */
static bool fill(const sw_tile_reader *r, int level, int64_t tile, worker *w, slot *s)
{
    const sw_tiff_grid *g = &r->grid[level];
    if (s->tile == tile && s->level == level) return true;
    s->tile = -1;
    size_t bytes = 3 * (size_t)(g->tile_width * g->tile_height);
    if (bytes > s->bytes) {
        sw_free(s->pixels);
        s->bytes = 0;
        s->pixels = sw_malloc(bytes);
        if (!s->pixels) return false;
        s->bytes = bytes;
    }
    if (!decode(r, g, tile, &(box){0, 0, g->tile_width, g->tile_height}, w, s->pixels, g->tile_width)) return false;
    s->level = level;
    s->tile = tile;
    return true;
}

static bool through_slot(sw_tile_reader *r, int level, int64_t column, int64_t row, const box *part, worker *w, uint8_t *rgb, int64_t row_px)
{
    const sw_tiff_grid *g = &r->grid[level];
    int64_t tile = row * g->columns + column;
    slot *s = &r->slots[(uint64_t)(column + 12 * row + 31 * level) % SLOTS];
    pthread_mutex_lock(&s->lock);
    bool ok = fill(r, level, tile, w, s);
    for (int64_t y = part->y0; ok && y < part->y1; y++) {
        memcpy(rgb + 3 * (y - part->y0) * row_px, s->pixels + 3 * (y * g->tile_width + part->x0), 3 * (size_t)(part->x1 - part->x0));
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

/* One tile's share of the region. A tile that lies in it wholly will not be asked for again soon: it passes the slots by. */
static bool read_tile(sw_tile_reader *r, int level, int64_t column, int64_t row, const box *region, worker *w, uint8_t *rgb)
{
    const sw_tiff_grid *g = &r->grid[level];
    int64_t left = column * g->tile_width, top = row * g->tile_height, row_px = region->x1 - region->x0;
    int64_t right = left + g->tile_width < g->width ? left + g->tile_width : g->width;
    int64_t bottom = top + g->tile_height < g->height ? top + g->tile_height : g->height;
    const box share = {left > region->x0 ? left : region->x0, top > region->y0 ? top : region->y0,
                       right < region->x1 ? right : region->x1, bottom < region->y1 ? bottom : region->y1};
    const box part = {share.x0 - left, share.y0 - top, share.x1 - left, share.y1 - top};
    uint8_t *to = rgb + 3 * ((share.y0 - region->y0) * row_px + share.x0 - region->x0);
    bool whole = share.x0 == left && share.y0 == top && share.x1 == right && share.y1 == bottom;
    if (whole || g->tile_width * g->tile_height > SLOT_PIXELS * 4) return decode(r, g, row * g->columns + column, &part, w, to, row_px);
    return through_slot(r, level, column, row, &part, w, to, row_px);
}

const sw_tiff_grid *sw_tile_reader_grid(const sw_tile_reader *r, int level)
{
    const sw_tiff_grid *g = level >= 0 && level < r->n_levels ? &r->grid[level] : NULL;
    return g && g->offset ? g : NULL;
}

bool sw_tile_reader_read(sw_tile_reader *r, int level, int64_t x, int64_t y, int64_t width, int64_t height, uint8_t *rgb)
{
    const sw_tiff_grid *g = sw_tile_reader_grid(r, level);
    if (!g) return false;
    const box region = {x, y, x + width, y + height};
    int64_t x0 = x > 0 ? x : 0, y0 = y > 0 ? y : 0;
    int64_t x1 = region.x1 < g->width ? region.x1 : g->width, y1 = region.y1 < g->height ? region.y1 : g->height;
    if (x0 > x || y0 > y || x1 < region.x1 || y1 < region.y1) memset(rgb, 255, 3 * (size_t)(width * height));
    if (x0 >= x1 || y0 >= y1) return true;
    worker *w = worker_take(r);
    bool ok = w != NULL;
    for (int64_t row = y0 / g->tile_height; ok && row * g->tile_height < y1; row++) {
        for (int64_t column = x0 / g->tile_width; ok && column * g->tile_width < x1; column++) {
            ok = read_tile(r, level, column, row, &region, w, rgb);
        }
    }
    if (w) worker_give(r, w);
    return ok;
}

uint8_t *sw_tile_reader_jpeg(sw_tile_reader *r, int level, int64_t x, int64_t y, int64_t side, size_t *size)
{
    const sw_tiff_grid *g = sw_tile_reader_grid(r, level);
    if (!g || side != g->tile_width || side != g->tile_height || x < 0 || y < 0 || x % side || y % side ||
        x + side > g->width || y + side > g->height) {
        return NULL;
    }
    worker *w = worker_take(r);
    if (!w) return NULL;
    int64_t tile = y / side * g->columns + x / side;
    uint8_t *whole = NULL;
    if (load_stream(r, g, tile, w)) {
        const sw_jpeg_tile about = {g->tables, g->tables_bytes, w->stream, (size_t)g->bytes[tile], g->is_rgb, side, side};
        whole = sw_jpeg_splice(&about, size);
    }
    worker_give(r, w);
    return whole;
}
