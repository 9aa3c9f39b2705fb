/* SPDX-License-Identifier: Apache-2.0 */
/* Masks of the user's: pictures and QuPath's annotations. */
#include "tissue/user_mask.h"

#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "tissue/own_contours.h"

#define DRAWN_PIXELS 16000000 /* of a mask that replaces the segmentation */

typedef struct drawing {
    const char *slide_id, *path;
    double scale_x, scale_y; /* level-0 pixels per pixel */
    int64_t width, height;
    uint8_t *taken, *out, *flip; /* [height, width], owned; flip: where a row changes between out and in */
    int64_t first_row, end_row;  /* with marks in flip */
    size_t n_taken; /* features */
    sw_json *root;  /* of annotations, owned */
} drawing;

static void drawing_free(drawing *d)
{
    sw_free(d->taken);
    sw_free(d->out);
    sw_free(d->flip);
    sw_json_free(d->root);
}

/* --- pictures */

static sw_status draw_picture(drawing *d, sw_error *err)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_image_read(d->path, &image, err));
    for (int64_t y = 0; y < d->height; y++) {
        int64_t from_y = (int64_t)(((double)y + 0.5) * (double)image.height / (double)d->height);
        for (int64_t x = 0; x < d->width; x++) {
            int64_t from_x = (int64_t)(((double)x + 0.5) * (double)image.width / (double)d->width);
            const uint8_t *p = image.rgb + 3 * (from_y * image.width + from_x);
            d->taken[y * d->width + x] = p[0] || p[1] || p[2] ? 255 : 0;
        }
    }
    return SW_OK;
}

/* --- annotations */

static sw_status malformed(const drawing *d, size_t feature, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: feature %zu: %s; export the annotations again as GeoJSON", d->path, feature + 1, what);
}

/* Marks where rows of pixel centres cross the edge from a to b. */
static void flip_edge(drawing *d, const double *a, const double *b)
{
    const double *low = a[1] < b[1] ? a : b, *high = a[1] < b[1] ? b : a;
    double last = fmin(ceil(high[1] / d->scale_y - 0.5), (double)d->height);
    double first = fmax(ceil(low[1] / d->scale_y - 0.5), 0);
    if (first < last && (int64_t)first < d->first_row) d->first_row = (int64_t)first;
    if (first < last && (int64_t)last > d->end_row) d->end_row = (int64_t)last;
    for (double row = first; row < last; row++) {
        double y = (row + 0.5) * d->scale_y, x = low[0] + (high[0] - low[0]) * (y - low[1]) / (high[1] - low[1]);
        double column = fmax(ceil(x / d->scale_x - 0.5), 0);
        if (column < (double)d->width) d->flip[(int64_t)row * d->width + (int64_t)column] ^= 1;
    }
}

static sw_status point_of(const drawing *d, size_t feature, const sw_json *json, double *xy, sw_error *err)
{
    for (size_t k = 0; k < 2; k++) {
        xy[k] = sw_json_real(sw_json_at(json, k), NAN);
        if (!(fabs(xy[k]) < 1e9)) return malformed(d, feature, "a position is not two numbers", err);
    }
    return SW_OK;
}

/* One polygon: the pixels whose centres lie in an odd number of its rings. */
static sw_status draw_polygon(drawing *d, size_t feature, const sw_json *rings, uint8_t *plane, sw_error *err)
{
    if (!sw_json_is_array(rings) || sw_json_count(rings) == 0) return malformed(d, feature, "a polygon without rings", err);
    d->first_row = d->height;
    d->end_row = 0;
    for (size_t r = 0; r < sw_json_count(rings); r++) {
        const sw_json *ring = sw_json_at(rings, r);
        size_t n = sw_json_is_array(ring) ? sw_json_count(ring) : 0;
        double a[2], b[2];
        if (n < 3) return malformed(d, feature, "a ring of fewer than 3 positions", err);
        SW_TRY(point_of(d, feature, sw_json_at(ring, n - 1), a, err));
        for (size_t i = 0; i < n; i++) {
            SW_TRY(point_of(d, feature, sw_json_at(ring, i), b, err));
            flip_edge(d, a, b);
            memcpy(a, b, sizeof a);
        }
    }
    for (int64_t y = d->first_row; y < d->end_row; y++) {
        uint8_t inside = 0, *flip = d->flip + y * d->width;
        for (int64_t x = 0; x < d->width; x++) {
            inside ^= flip[x];
            if (inside) plane[y * d->width + x] = 255;
        }
        memset(flip, 0, (size_t)d->width);
    }
    return SW_OK;
}

/* Whether `name` is one of `names`, which stand with commas (blanks around them do not count). */
static bool named(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *p = names; *p;) {
        p += strspn(p, " ,");
        size_t n = strcspn(p, ",");
        const char *next = p + n;
        while (n > 0 && p[n - 1] == ' ') n--;
        if (n > 0 && n == length && memcmp(p, name, n) == 0) return true;
        p = next;
    }
    return false;
}

static const char *class_of(const sw_json *feature)
{
    const sw_json *class = sw_json_get(sw_json_get(feature, "properties"), "classification");
    return sw_json_text(sw_json_get(class, "name"), sw_json_text(class, ""));
}

static sw_status draw_feature(drawing *d, size_t index, const sw_json *feature, const sw_mask_options *o, sw_error *err)
{
    const sw_json *geometry = sw_json_get(feature, "geometry"), *shape = sw_json_get(geometry, "coordinates");
    const char *name = class_of(feature), *type = sw_json_text(sw_json_get(geometry, "type"), "");
    bool many = strcmp(type, "MultiPolygon") == 0, out = named(o->exclude, name);
    if (!many && strcmp(type, "Polygon") != 0) return SW_OK; /* points and lines have no area */
    if (!out && o->include[0] && !named(o->include, name)) return SW_OK;
    d->n_taken += !out;
    uint8_t *plane = out ? d->out : d->taken;
    if (!many) return draw_polygon(d, index, shape, plane, err);
    if (!sw_json_is_array(shape)) return malformed(d, index, "a MultiPolygon without polygons", err);
    for (size_t i = 0; i < sw_json_count(shape); i++) SW_TRY(draw_polygon(d, index, sw_json_at(shape, i), plane, err));
    return SW_OK;
}

static sw_status draw_features(drawing *d, const sw_mask_options *o, sw_error *err)
{
    size_t pixels = (size_t)(d->width * d->height);
    d->out = sw_calloc(pixels, 1);
    d->flip = sw_calloc(pixels, 1);
    if (!d->out || !d->flip) return sw_nomem(err);
    const sw_json *features = sw_json_is_array(d->root) ? d->root : sw_json_get(d->root, "features");
    if (!sw_json_is_array(features)) {
        return sw_error_set(err, SW_E_FORMAT, "%s: no list of features; export the annotations as GeoJSON (a FeatureCollection)", d->path);
    }
    for (size_t i = 0; i < sw_json_count(features); i++) SW_TRY(draw_feature(d, i, sw_json_at(features, i), o, err));
    if (d->n_taken == 0) {
        return sw_error_set(err, SW_E_INVALID, "slide %s: %s holds no polygon%s%s; look at the names of its classes", d->slide_id, d->path,
                            o->include[0] ? " of the classes " : " that is taken", o->include);
    }
    for (size_t i = 0; i < pixels; i++) d->taken[i] = d->out[i] ? 0 : d->taken[i];
    return SW_OK;
}

/* --- finding and applying */

static sw_status file_of(const char *id, const sw_mask_options *o, char **out, sw_error *err)
{
    if (!sw_path_is_dir(o->path)) {
        *out = sw_strdup(o->path);
        return *out ? SW_OK : sw_nomem(err);
    }
    SW_AUTOFREE char *picture = sw_asprintf("%s/%s.png", o->path, id), *drawn = sw_asprintf("%s/%s.geojson", o->path, id);
    if (!picture || !drawn) return sw_nomem(err);
    bool has_picture = sw_path_exists(picture), has_drawn = sw_path_exists(drawn);
    if (!has_picture && !has_drawn) {
        return sw_error_set(err, SW_E_NOT_FOUND, "slide %s: no mask in %s: neither %s.png nor %s.geojson is there", id, o->path, id, id);
    }
    if (has_picture && has_drawn)
        return sw_error_set(err, SW_E_INVALID, "slide %s: two masks in %s: %s.png and %s.geojson; keep one", id, o->path, id, id);
    *out = has_picture ? SW_STEAL(picture) : SW_STEAL(drawn);
    return SW_OK;
}

static sw_status draw(drawing *d, const sw_mask_options *o, sw_error *err)
{
    d->taken = sw_calloc((size_t)(d->width * d->height), 1);
    if (!d->taken) return sw_nomem(err);
    if (d->root) return draw_features(d, o, err);
    if (o->include[0] || o->exclude[0])
        return sw_error_set(err, SW_E_INVALID, "slide %s: %s is a picture, which has no classes to include or exclude", d->slide_id, d->path);
    return draw_picture(d, err);
}

/* Contours that we wrote, where all of them are taken: drawn again they would lose half a pixel at their right and lower edges, and
 * with it patches. *ours false: the file is another, or has to be drawn. */
static sw_status take_own(const drawing *d, const sw_slide_info *info, const sw_mask_options *o, sw_tissue *out, bool *ours, sw_error *err)
{
    const sw_json *features = sw_json_get(d->root, "features");
    *ours = sw_json_get(d->root, SW_OWN_CONTOURS) && sw_json_count(features) > 0;
    for (size_t i = 0; *ours && i < sw_json_count(features); i++) {
        const char *name = class_of(sw_json_at(features, i));
        *ours = !named(o->exclude, name) && (!o->include[0] || named(o->include, name));
    }
    return *ours ? sw_own_contours(d->root, info, out, ours, err) : SW_OK;
}

sw_status sw_tissue_apply_mask(sw_tissue *tissue, const sw_slide *slide, const sw_mask_options *o, sw_error *err)
{
    const sw_slide_info *info = sw_slide_get_info(slide);
    SW_AUTOFREE char *path = NULL;
    SW_CLEANUP(drawing_free) drawing d = {.slide_id = info->slide_id, .width = tissue->mask_width, .height = tissue->mask_height};
    SW_CLEANUP(sw_tissue_free) sw_tissue own = {0};
    bool within = o->mode == SW_MASK_WITHIN, ours = false;
    SW_TRY(file_of(info->slide_id, o, &path, err));
    d.path = path;
    if (sw_path_has_ext(path, "geojson") || sw_path_has_ext(path, "json")) SW_TRY(sw_json_read(path, &d.root, err));
    if (d.root) SW_TRY(take_own(&d, info, o, &own, &ours, err));
    if (ours && !within) {
        sw_tissue_free(tissue);
        *tissue = own;
        memset(&own, 0, sizeof own);
        return SW_OK;
    }
    if (!within) {
        double reduce = fmax(1, sqrt((double)info->width * (double)info->height / DRAWN_PIXELS));
        d.width = (int64_t)fmax(1, floor((double)info->width / reduce));
        d.height = (int64_t)fmax(1, floor((double)info->height / reduce));
    }
    d.scale_x = (double)info->width / (double)d.width;
    d.scale_y = (double)info->height / (double)d.height;
    if (ours && own.mask_width == d.width && own.mask_height == d.height) d.taken = SW_STEAL(own.mask);
    else SW_TRY(draw(&d, o, err));
    for (int64_t i = 0; within && i < d.width * d.height; i++) d.taken[i] &= tissue->mask[i];
    SW_CLEANUP(sw_tissue_free) sw_tissue made = {.width = info->width,
                                                 .height = info->height,
                                                 .seg_level = within ? tissue->seg_level : 0,
                                                 .scale_x = within ? tissue->scale_x : d.scale_x,
                                                 .scale_y = within ? tissue->scale_y : d.scale_y,
                                                 .threshold = within ? tissue->threshold : 0,
                                                 .mask_width = d.width,
                                                 .mask_height = d.height};
    made.slide_id = sw_strdup(info->slide_id);
    if (!made.slide_id) return sw_nomem(err);
    made.mask = SW_STEAL(d.taken);
    SW_TRY(sw_tissue_outline(&made, err));
    sw_tissue_free(tissue);
    *tissue = made;
    memset(&made, 0, sizeof made);
    return SW_OK;
}
