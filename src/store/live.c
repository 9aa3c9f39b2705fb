/* SPDX-License-Identifier: Apache-2.0 */
#include "store/live.h"

#include <pthread.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/hdf5_coords.h"
#include "store/pixel_cache.h"
#include "store/tile_work.h"

enum { MOST_OPEN = 32 }; /* slides at a time: each holds its format's caches */

/* A slide that is opened when a patch of it is asked for. */
typedef struct live_slide {
    sw_slide_entry entry;  /* texts owned; mpp_um: as the positions were found with */
    int64_t *xy[SW_STORE_MAX_SCALES];        /* [n_patches, 2] */
    double read_mpp_um[SW_STORE_MAX_SCALES]; /* true resolution of its patches */
    sw_store_slide record; /* texts borrowed from `slide` while it is first open */
    sw_slide *slide;       /* NULL: closed */
    int pins;
    uint64_t used;
    pthread_mutex_t opening;
    bool has_lock;
    char *why; /* owned; why its positions are not known; NULL: they are */
} live_slide;

struct sw_live {
    char *name;
    live_slide *slide; /* [n]; the number of a record is the index here */
    size_t n;
    int n_open;
    uint64_t clock;
    pthread_mutex_t lock; /* of slide, pins, used, n_open */
    bool has_lock;
    int patch_px;
    bool exact;
    sw_pixel_cache *cache;
};

void sw_live_close(sw_live **address)
{
    sw_live *live = *address;
    *address = NULL;
    if (!live) return;
    for (size_t i = 0; live->slide && i < live->n; i++) {
        live_slide *s = &live->slide[i];
        sw_slide_close(&s->slide);
        if (s->has_lock) pthread_mutex_destroy(&s->opening);
        sw_free(s->entry.slide_id);
        sw_free(s->entry.path);
        for (int scale = 0; scale < SW_STORE_MAX_SCALES; scale++) sw_free(s->xy[scale]);
        sw_free(s->why);
    }
    if (live->has_lock) pthread_mutex_destroy(&live->lock);
    sw_pixel_cache_free(live->cache);
    sw_free(live->slide);
    sw_free(live->name);
    sw_free(live);
}

const char *sw_live_name(const sw_live *live)
{
    return live->name;
}

const int64_t *sw_live_positions(const sw_live *live, uint32_t number, int scale)
{
    return live->slide[number].xy[scale];
}

/* ---- what there is */

typedef struct finding {
    const sw_store_slides_options *options;
    const sw_tile_options *tile;
    sw_live *live;
    sw_h5_reader *reader;
} finding;

static sw_status find_scale(const finding *f, live_slide *s, const sw_slide *slide, int scale, sw_error *err)
{
    SW_CLEANUP(sw_grid_free) sw_grid grid = {0};
    const sw_tile_settings *settings = &f->tile->settings;
    double mpp_um = settings->mpp_um[scale];
    SW_TRY(sw_tile_given_grid(f->reader, f->tile, slide, scale, &grid, err));
    s->record.scale[scale] = (sw_store_scale){.mpp_um = mpp_um, .magnification = 10.0 / mpp_um, .patch_px = grid.patch_px,
                                              .overlap_px = settings->overlap_px, .patch_level0_px = grid.patch_level0_px,
                                              .step_level0_px = grid.step_level0_px, .n_patches = grid.n_patches};
    s->read_mpp_um[scale] = grid.mpp_um;
    s->xy[scale] = SW_STEAL(grid.xy);
    return SW_OK;
}

static sw_status find_one(const finding *f, live_slide *s, sw_error *err)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    double level0_um;
    SW_TRY(sw_tile_open_slide(&s->entry, f->options->slide_mpp_um, NULL, f->options->sink, &slide, err));
    SW_TRY(sw_slide_need_mpp(slide, &level0_um, err));
    const sw_slide_info *info = sw_slide_get_info(slide);
    s->record = (sw_store_slide){.slide_id = s->entry.slide_id, .path = s->entry.path, .width = info->width, .height = info->height,
                                 .mpp_um = info->mpp_um, .mpp_source = sw_mpp_source_name(info->mpp_source), .properties_json = "{}",
                                 .n_scales = f->tile->settings.n_scales};
    s->entry.mpp_um = info->mpp_um; /* later openings must not ask again */
    for (int scale = 0; scale < s->record.n_scales; scale++) SW_TRY(find_scale(f, s, slide, scale, err));
    return SW_OK;
}

/* A slide that fails is missing, and the table of labels decides what that means. */
static sw_status find_slide(void *ctx, int64_t index, sw_error *err)
{
    const finding *f = ctx;
    live_slide *s = &f->live->slide[index];
    sw_error why = {0};
    if (sw_log_cancelled(f->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    sw_status status = find_one(f, s, &why);
    if (status == SW_OK) return SW_OK;
    s->why = status == SW_E_NOMEM ? NULL : sw_strdup(why.message);
    return s->why ? SW_OK : sw_nomem(err);
}

static sw_status copy_entries(sw_live *live, const sw_slide_list *list, sw_error *err)
{
    live->slide = sw_calloc(list->count + 1, sizeof *live->slide);
    if (!live->slide) return sw_nomem(err);
    for (; live->n < list->count; live->n++) {
        live_slide *s = &live->slide[live->n];
        s->entry.mpp_um = list->entry[live->n].mpp_um;
        s->entry.slide_id = sw_strdup(list->entry[live->n].slide_id);
        s->entry.path = sw_strdup(list->entry[live->n].path);
        s->has_lock = pthread_mutex_init(&s->opening, NULL) == 0;
        if (!s->entry.slide_id || !s->entry.path || !s->has_lock) {
            live->n++; /* so that it is freed, too */
            return sw_nomem(err);
        }
    }
    return SW_OK;
}

static void pool_free(sw_pool **pool)
{
    sw_pool_free(*pool);
}

static sw_status find_all(sw_live *live, const sw_store_slides_options *o, sw_tile_options *tile, sw_record_list *slides, sw_error *err)
{
    SW_CLEANUP(pool_free) sw_pool *pool = NULL;
    SW_CLEANUP(sw_h5_reader_close_ptr) sw_h5_reader *reader = NULL; /* ends before the threads, which may have started its process */
    SW_TRY(sw_h5_coords_reader_new(&reader, err));
    finding f = {.options = o, .tile = tile, .live = live, .reader = reader};
    SW_TRY(sw_pool_new(o->threads, &pool, err));
    SW_TRY(sw_pool_for(pool, (int64_t)live->n, find_slide, &f, err));
    for (size_t i = 0; i < live->n; i++) {
        if (live->slide[i].why) sw_log_warning(o->sink, "%s", live->slide[i].why);
        else SW_TRY(sw_record_list_add(slides, &live->slide[i].record, (uint32_t)i, err));
    }
    return SW_OK;
}

sw_status sw_live_open(const sw_store_slides_options *o, sw_record_list *slides, sw_setting_list *settings, sw_live **out, sw_error *err)
{
    SW_CLEANUP(sw_live_close) sw_live *live = sw_calloc(1, sizeof *live);
    sw_tile_options tile = sw_tile_options_default();
    sw_tile_pairs pairs;
    if (!live) return sw_nomem(err);
    int n_places;
    live->name = sw_strdup(o->coords);
    live->has_lock = pthread_mutex_init(&live->lock, NULL) == 0;
    if (!live->name || !live->has_lock) return sw_nomem(err);
    SW_TRY(sw_tile_given_count(o->coords, &n_places, err));
    SW_TRY(sw_tile_settings_given(o->coords, o->slides, o->slide_mpp_um, o->mpp_um, o->n_mpp == n_places ? n_places : 0, o->patch_px, &tile.settings, err));
    SW_TRY(sw_tile_settings_check(&tile.settings, err));
    tile.coords = o->coords;
    tile.sink = o->sink;
    live->patch_px = tile.settings.patch_px;
    live->exact = tile.settings.exact = o->exact;
    SW_TRY(sw_pixel_cache_new(o->cache_bytes, 3 * (size_t)live->patch_px * (size_t)live->patch_px, &live->cache, err));
    sw_tile_pairs_make(&tile.settings, &pairs);
    SW_TRY(sw_setting_list_of(pairs.pair, pairs.count, settings, err));
    SW_TRY(copy_entries(live, o->slides, err));
    SW_TRY(find_all(live, o, &tile, slides, err));
    *out = SW_STEAL(live);
    return SW_OK;
}

/* ---- pixels */

/* Closes the slide that nobody has used for longest, until no more than MOST_OPEN are open. Under the lock. */
static void close_oldest(sw_live *live)
{
    while (live->n_open > MOST_OPEN) {
        live_slide *oldest = NULL;
        for (size_t i = 0; i < live->n; i++) {
            live_slide *s = &live->slide[i];
            if (s->slide && s->pins == 0 && (!oldest || s->used < oldest->used)) oldest = s;
        }
        if (!oldest) return; /* all in use: more threads than slides may be open */
        sw_slide_close(&oldest->slide);
        live->n_open--;
    }
}

/* True: it is open, and stays so until unpin. */
static bool pin_open(sw_live *live, live_slide *s)
{
    pthread_mutex_lock(&live->lock);
    bool open = s->slide != NULL;
    if (open) {
        s->pins++;
        s->used = ++live->clock;
    }
    pthread_mutex_unlock(&live->lock);
    return open;
}

static sw_status pin(sw_live *live, live_slide *s, sw_error *err)
{
    if (pin_open(live, s)) return SW_OK;
    sw_slide *slide = NULL;
    sw_slide_options o = sw_slide_options_default();
    o.mpp_um = s->entry.mpp_um;
    o.exact = live->exact;
    pthread_mutex_lock(&s->opening); /* opening takes long: only those who want this slide wait */
    sw_status status = pin_open(live, s) ? SW_OK : sw_slide_open(s->entry.path, &o, &slide, err);
    if (slide) {
        pthread_mutex_lock(&live->lock);
        s->slide = slide;
        s->pins++;
        s->used = ++live->clock;
        live->n_open++;
        close_oldest(live);
        pthread_mutex_unlock(&live->lock);
    }
    pthread_mutex_unlock(&s->opening);
    return status;
}

static void unpin(sw_live *live, live_slide *s)
{
    pthread_mutex_lock(&live->lock);
    s->pins--;
    pthread_mutex_unlock(&live->lock);
}

sw_status sw_live_read(sw_live *live, uint32_t number, int scale, int64_t index, uint8_t *rgb, sw_error *err)
{
    live_slide *s = &live->slide[number];
    uint64_t key = (uint64_t)number << 36 | (uint64_t)scale << 32 | (uint64_t)index;
    if (sw_pixel_cache_get(live->cache, key, rgb)) return SW_OK;
    SW_TRY(pin(live, s, err));
    const int64_t *xy = s->xy[scale] + 2 * index;
    sw_status status = sw_slide_read_patch(s->slide, xy[0], xy[1], live->patch_px, s->read_mpp_um[scale], rgb, err);
    unpin(live, s);
    if (status == SW_E_FORMAT) {
        return sw_error_set(err, status, "%s, or tile the slides into a store, where patches that cannot be read are left out", err->message);
    }
    if (status == SW_OK) sw_pixel_cache_put(live->cache, key, rgb);
    return status;
}
