/* SPDX-License-Identifier: Apache-2.0 */
#include "store/features.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/coords_parts.h"
#include "store/features_find.h"
#include "store/hdf5_features.h"
#include "store/tile_work.h"

#define ONLY_MPP_UM 1.0 /* features have no resolution: their one scale has this name */

typedef struct feature_slide {
    char *path, *slide_id;
    sw_h5_features head;
    double patch_level0_px; /* side of a patch, in the unit of the positions; 0: unknown */
    bool microns;           /* that is their unit (STAMP), not level-0 pixels */
    int patch_px;           /* as it was encoded; 0: unknown */
    int64_t width, height;  /* level 0; 0: unknown */
    char *why;              /* owned; why it is left out; NULL: it is not */
    float *rows;            /* [n, dim]; NULL: not in memory */
    int pins;
    uint64_t used;
    pthread_mutex_t opening;
    bool has_lock;
} feature_slide;

struct sw_features {
    char *name;
    feature_slide *slide; /* [n]; the number of a record is the index here */
    size_t n;
    int dim;
    int64_t cache_bytes, kept_bytes; /* of all rows in memory */
    uint64_t clock;
    pthread_mutex_t lock; /* of rows, pins, used, kept_bytes, clock */
    bool has_lock;
};

void sw_features_close(sw_features **address)
{
    sw_features *f = *address;
    *address = NULL;
    if (!f) return;
    for (size_t i = 0; f->slide && i < f->n; i++) {
        feature_slide *s = &f->slide[i];
        if (s->has_lock) pthread_mutex_destroy(&s->opening);
        sw_free(s->path);
        sw_free(s->slide_id);
        sw_free(s->why);
        sw_free(s->rows);
    }
    if (f->has_lock) pthread_mutex_destroy(&f->lock);
    sw_free(f->slide);
    sw_free(f->name);
    sw_free(f);
}

const char *sw_features_name(const sw_features *f)
{
    return f->name;
}

int sw_features_dim(const sw_features *f)
{
    return f->dim;
}

/* ---- what there is */

enum { UNIT, TILE_UM, TILE_PX, OF_STAMP };

typedef struct head_asked {
    sw_h5_wanted at[SW_COORDS_ATTRIBUTES + OF_STAMP];
} head_asked;

static void head_asked_free(head_asked *a)
{
    for (int i = 0; i < SW_COORDS_ATTRIBUTES + OF_STAMP; i++) sw_free(a->at[i].text);
}

/* The size of its patches, as far as the file tells it. */
static sw_status take_geometry(feature_slide *s, const head_asked *a, sw_error *err)
{
    sw_coords_asked coords;
    sw_coords c = {0};
    const sw_h5_wanted *stamp = a->at + SW_COORDS_ATTRIBUTES;
    memcpy(coords.at, a->at, sizeof coords.at);
    s->patch_level0_px = s->head.step;
    if (sw_coords_are_told(&coords)) {
        SW_TRY(sw_coords_take(s->path, &coords, &c, err));
        s->patch_px = c.patch_px;
        if (c.patch_level0_px > 0) s->patch_level0_px = c.patch_level0_px;
        if (c.kind == SW_COORDS_TRIDENT) {
            s->width = c.width;
            s->height = c.height;
        }
    } else if (stamp[TILE_UM].count && stamp[TILE_UM].value[0] > 0) {
        s->microns = !stamp[UNIT].text || strcmp(stamp[UNIT].text, "um") == 0;
        if (s->microns || !(s->patch_level0_px > 0)) s->patch_level0_px = s->microns ? stamp[TILE_UM].value[0] : 0;
        if (stamp[TILE_PX].count && stamp[TILE_PX].value[0] >= 1 && stamp[TILE_PX].value[0] <= 1e6) s->patch_px = (int)stamp[TILE_PX].value[0];
    }
    return SW_OK;
}

static sw_status look(feature_slide *s, sw_error *err)
{
    static const char *const stamp[OF_STAMP] = {"unit", "tile_size_um", "tile_size_px"};
    SW_CLEANUP(head_asked_free) head_asked a = {0};
    sw_coords_asked coords = sw_coords_ask();
    memcpy(a.at, coords.at, sizeof coords.at);
    for (int i = 0; i < OF_STAMP; i++) a.at[SW_COORDS_ATTRIBUTES + i].name = stamp[i];
    a.at[SW_COORDS_ATTRIBUTES + UNIT].is_text = true;
    SW_TRY(sw_h5_features_look(s->path, &s->head, a.at, SW_COORDS_ATTRIBUTES + OF_STAMP, err));
    if (s->head.n == 0) return sw_error_set(err, SW_E_INVALID, "%s: it holds no patch", s->path);
    return take_geometry(s, &a, err);
}

typedef struct looking {
    sw_features *features;
    const sw_sink *sink;
} looking;

/* A slide that fails is missing, and the table of labels decides what that means. */
static sw_status look_one(void *ctx, int64_t index, sw_error *err)
{
    const looking *l = ctx;
    feature_slide *s = &l->features->slide[index];
    sw_error why = {0};
    if (sw_log_cancelled(l->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    sw_status status = look(s, &why);
    if (status == SW_OK) return SW_OK;
    s->why = status == SW_E_NOMEM ? NULL : sw_strdup(why.message);
    return s->why ? SW_OK : sw_nomem(err);
}

static sw_status same_width(sw_features *f, sw_error *err)
{
    const feature_slide *first = NULL;
    for (size_t i = 0; i < f->n; i++) {
        const feature_slide *s = &f->slide[i];
        if (s->why) continue;
        if (!first) first = s;
        if (s->head.dim == first->head.dim) continue;
        return sw_error_set(err, SW_E_INVALID, "%s: its features are %lld wide, those of %s %lld; give features of one encoder", s->path,
                            (long long)s->head.dim, first->path, (long long)first->head.dim);
    }
    f->dim = first ? (int)first->head.dim : 0;
    return SW_OK;
}

/* Positions in microns are those of a slide whose pixels are as large. */
static sw_store_slide record_of(const feature_slide *s)
{
    sw_store_slide r = {.slide_id = s->slide_id, .path = s->path, .width = s->width, .height = s->height, .mpp_um = s->microns ? 1.0 : 0.0,
                        .mpp_source = "none", .properties_json = "{}", .n_scales = 1};
    r.scale[0] = (sw_store_scale){.mpp_um = ONLY_MPP_UM, .magnification = 10.0 / ONLY_MPP_UM, .patch_px = s->patch_px > 0 ? s->patch_px : 1,
                                  .patch_level0_px = s->head.has_coords ? s->patch_level0_px : 0, .step_level0_px = s->head.has_coords ? s->patch_level0_px : 0,
                                  .n_patches = s->head.n};
    return r;
}

static sw_status add_files(sw_features *f, const sw_names *files, sw_error *err)
{
    f->slide = sw_calloc(files->count + 1, sizeof *f->slide);
    if (!f->slide) return sw_nomem(err);
    for (; f->n < files->count; f->n++) {
        feature_slide *s = &f->slide[f->n];
        s->path = sw_strdup(files->name[f->n]);
        s->slide_id = sw_path_stem(files->name[f->n]);
        s->has_lock = pthread_mutex_init(&s->opening, NULL) == 0;
        if (!s->path || !s->slide_id || !s->has_lock) {
            f->n++; /* so that it is freed, too */
            return sw_nomem(err);
        }
    }
    return SW_OK;
}

static void pool_free(sw_pool **pool)
{
    sw_pool_free(*pool);
}

static sw_status look_at_all(sw_features *f, const sw_store_features_options *o, sw_record_list *slides, sw_error *err)
{
    SW_CLEANUP(pool_free) sw_pool *pool = NULL;
    looking l = {.features = f, .sink = o->sink};
    if (f->n > 1) SW_TRY(sw_pool_new(o->threads, &pool, err));
    SW_TRY(sw_pool_for(pool, (int64_t)f->n, look_one, &l, err));
    if (f->n == 1 && f->slide[0].why) return sw_error_set(err, SW_E_FORMAT, "%s", f->slide[0].why);
    SW_TRY(same_width(f, err));
    for (size_t i = 0; i < f->n; i++) {
        sw_store_slide record = record_of(&f->slide[i]);
        if (f->slide[i].why) sw_log_warning(o->sink, "%s", f->slide[i].why);
        else SW_TRY(sw_record_list_add(slides, &record, (uint32_t)i, err));
    }
    return slides->count > 0 ? SW_OK : sw_error_set(err, SW_E_FORMAT, "%s: none of its %zu files of features can be read; the first: %s", f->name, f->n,
                                                    f->slide[0].why);
}

/* What a store of such patches would say of them. */
static sw_status describe(const sw_record_list *slides, sw_setting_list *settings, sw_error *err)
{
    sw_tile_settings s = sw_tile_settings_default();
    sw_tile_pairs pairs;
    s.n_scales = 1;
    s.mpp_um[0] = ONLY_MPP_UM;
    s.given_positions = true;
    if (slides->item[0]->slide.scale[0].patch_px > 1) s.patch_px = slides->item[0]->slide.scale[0].patch_px;
    sw_tile_pairs_make(&s, &pairs);
    return sw_setting_list_of(pairs.pair, pairs.count, settings, err);
}

sw_status sw_features_open(const sw_store_features_options *o, sw_record_list *slides, sw_setting_list *settings, sw_features **out, sw_error *err)
{
    SW_CLEANUP(sw_features_close) sw_features *f = sw_calloc(1, sizeof *f);
    SW_CLEANUP(sw_names_free) sw_names files = {0};
    if (!f) return sw_nomem(err);
    f->has_lock = pthread_mutex_init(&f->lock, NULL) == 0;
    if (!f->has_lock) return sw_nomem(err);
    f->cache_bytes = o->cache_bytes;
    SW_TRY(sw_features_find(o->path, &f->name, &files, err));
    SW_TRY(add_files(f, &files, err));
    SW_TRY(look_at_all(f, o, slides, err));
    SW_TRY(describe(slides, settings, err));
    *out = SW_STEAL(f);
    return SW_OK;
}

/* ---- rows */

static int64_t bytes_of(const feature_slide *s)
{
    return s->head.n * s->head.dim * (int64_t)sizeof(float);
}

/* Lets go of the slides that nobody has used for longest, until the others fit. Under the lock. */
static void drop_oldest(sw_features *f)
{
    while (f->kept_bytes > f->cache_bytes) {
        feature_slide *oldest = NULL;
        for (size_t i = 0; i < f->n; i++) {
            feature_slide *s = &f->slide[i];
            if (s->rows && s->pins == 0 && (!oldest || s->used < oldest->used)) oldest = s;
        }
        if (!oldest) return; /* all in use */
        sw_free(oldest->rows);
        oldest->rows = NULL;
        f->kept_bytes -= bytes_of(oldest);
    }
}

/* True: they are in memory, and stay so until unpin. */
static bool pin_there(sw_features *f, feature_slide *s)
{
    pthread_mutex_lock(&f->lock);
    bool there = s->rows != NULL;
    if (there) {
        s->pins++;
        s->used = ++f->clock;
    }
    pthread_mutex_unlock(&f->lock);
    return there;
}

static sw_status load(sw_features *f, feature_slide *s, sw_error *err)
{
    SW_AUTOFREE float *rows = sw_malloc((size_t)bytes_of(s));
    if (!rows) return sw_nomem(err);
    SW_TRY(sw_h5_features_read(s->path, &s->head, rows, err));
    pthread_mutex_lock(&f->lock);
    s->rows = SW_STEAL(rows);
    s->pins++;
    s->used = ++f->clock;
    f->kept_bytes += bytes_of(s);
    drop_oldest(f);
    pthread_mutex_unlock(&f->lock);
    return SW_OK;
}

static sw_status pin(sw_features *f, feature_slide *s, sw_error *err)
{
    if (pin_there(f, s)) return SW_OK;
    pthread_mutex_lock(&s->opening); /* reading takes long: only those who want this slide wait */
    sw_status status = pin_there(f, s) ? SW_OK : load(f, s, err);
    pthread_mutex_unlock(&s->opening);
    return status;
}

static void unpin(sw_features *f, feature_slide *s)
{
    pthread_mutex_lock(&f->lock);
    s->pins--;
    drop_oldest(f);
    pthread_mutex_unlock(&f->lock);
}

sw_status sw_features_rows(sw_features *f, uint32_t number, const int64_t *index, int64_t n, float *out, sw_error *err)
{
    feature_slide *s = &f->slide[number];
    size_t dim = (size_t)f->dim;
    SW_TRY(pin(f, s, err));
    for (int64_t i = 0; i < n; i++) memcpy(out + (size_t)i * dim, s->rows + (size_t)index[i] * dim, dim * sizeof *out);
    unpin(f, s);
    return SW_OK;
}

sw_status sw_features_coords(const sw_features *f, uint32_t number, int64_t *xy, sw_error *err)
{
    const feature_slide *s = &f->slide[number];
    if (!s->head.has_coords) return sw_error_set(err, SW_E_NOT_FOUND, "%s: it holds no positions (no dataset \"coords\")", s->path);
    SW_AUTOFREE double *place = sw_malloc((size_t)s->head.n * 2 * sizeof *place);
    if (!place) return sw_nomem(err);
    SW_TRY(sw_h5_features_coords(s->path, &s->head, place, err));
    for (int64_t i = 0; i < 2 * s->head.n; i++) {
        if (!(fabs(place[i]) < 1e15)) return sw_error_set(err, SW_E_FORMAT, "%s: its dataset \"coords\" is damaged; make the file again", s->path);
        xy[i] = (int64_t)llround(place[i]);
    }
    return SW_OK;
}
