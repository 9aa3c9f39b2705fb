/* SPDX-License-Identifier: Apache-2.0 */
/* Writes synthetic slides, their labels and the outlines of their foci. */
#include "slidewise/synth.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "slide/synth.h"

#define OUTLINE_POINTS 64
#define LARGE_PX 8192 /* larger slides are made one after another: each needs much memory and keeps all threads busy */

sw_synth_options sw_synth_options_default(void)
{
    return (sw_synth_options){.n_slides = 40, .size_px = 2048, .mpp_um = 0.5, .seed = 1, .effect = 0.45, .noise = 1};
}

typedef struct job {
    const sw_synth_options *options;
    sw_synth_slide *plan;
    char *slides_dir, *foci_dir;
    sw_pool *pool;
    pthread_mutex_t lock; /* of the meter */
    sw_meter meter;
    int64_t done;
} job;

/* ---- outlines */

static void put_point(sw_json_writer *w, const sw_scene *scene, const sw_blob *blob, int k)
{
    double x, y;
    sw_blob_point(blob, 6.283185307179586 * (k % OUTLINE_POINTS) / OUTLINE_POINTS, &x, &y);
    sw_json_array(w);
    sw_json_int(w, (int64_t)llround(x / (double)scene->mpp_um));
    sw_json_int(w, (int64_t)llround(y / (double)scene->mpp_um));
    sw_json_end_array(w);
}

static void put_focus(sw_json_writer *w, const sw_scene *scene, const char *slide_id, int index)
{
    char id[64];
    uint64_t hash = sw_hash64(slide_id, __builtin_strlen(slide_id));
    snprintf(id, sizeof id, "%08x-%04x-4%03x-8%03x-%012x", (unsigned)(hash >> 32), (unsigned)(hash >> 16 & 0xFFFF),
             (unsigned)(hash >> 4 & 0xFFF), (unsigned)index, (unsigned)hash);
    sw_json_object(w);
    sw_json_key(w, "type");
    sw_json_string(w, "Feature");
    sw_json_key(w, "id");
    sw_json_string(w, id);
    sw_json_key(w, "geometry");
    sw_json_object(w);
    sw_json_key(w, "type");
    sw_json_string(w, "Polygon");
    sw_json_key(w, "coordinates");
    sw_json_array(w);
    sw_json_array(w);
    for (int k = 0; k <= OUTLINE_POINTS; k++) put_point(w, scene, &scene->focus[index], k);
    sw_json_end_array(w);
    sw_json_end_array(w);
    sw_json_end_object(w);
    sw_json_key(w, "properties");
    sw_json_object(w);
    sw_json_key(w, "objectType");
    sw_json_string(w, "annotation");
    sw_json_key(w, "classification");
    sw_json_object(w);
    sw_json_key(w, "name");
    sw_json_string(w, "Focus");
    sw_json_end_object(w);
    sw_json_end_object(w);
    sw_json_end_object(w);
}

static sw_status write_foci(const job *j, const sw_scene *scene, const char *slide_id, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_AUTOFREE char *path = sw_asprintf("%s/%s.geojson", j->foci_dir, slide_id);
    sw_json_writer w;
    if (!path) return sw_nomem(err);
    sw_json_begin(&w, &text, 0);
    sw_json_object(&w);
    sw_json_key(&w, "type");
    sw_json_string(&w, "FeatureCollection");
    sw_json_key(&w, "features");
    sw_json_array(&w);
    for (int i = 0; i < scene->n_foci; i++) put_focus(&w, scene, slide_id, i);
    sw_json_end_array(&w);
    sw_json_end_object(&w);
    sw_buf_puts(&text, "\n");
    SW_TRY(sw_buf_status(&text, err));
    return sw_file_write(path, text.data, text.size, err);
}

/* ---- slides */

static sw_status make_slide(void *ctx, int64_t index, sw_error *err)
{
    job *j = ctx;
    sw_synth_slide *slide = &j->plan[index];
    SW_CLEANUP(sw_scene_free) sw_scene *scene = NULL;
    SW_AUTOFREE char *path = sw_asprintf("%s/%s.tif", j->slides_dir, slide->slide_id);
    if (!path) return sw_nomem(err);
    if (sw_log_cancelled(j->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
    SW_TRY(sw_scene_new(j->options, slide, (int)index, &scene, err));
    slide->n_foci = scene->n_foci;
    SW_TRY(sw_synth_tiff(scene, j->options->size_px, path, j->pool, err));
    SW_TRY(write_foci(j, scene, slide->slide_id, err));
    pthread_mutex_lock(&j->lock);
    j->done++;
    sw_meter_tick(&j->meter, j->done, (double)j->done, "computing", slide->slide_id);
    pthread_mutex_unlock(&j->lock);
    return SW_OK;
}

static void put_outcome(sw_buf *text, const sw_synth_options *o, const sw_synth_slide *plan, int slide)
{
    int n_foci = 0;
    double months;
    bool event;
    for (int i = 0; i < o->n_slides; i++) n_foci += plan[i].patient == plan[slide].patient ? plan[i].n_foci : 0;
    sw_synth_outcome(o, plan[slide].patient, n_foci, &months, &event);
    sw_buf_printf(text, "%.1f,%d\n", months, event);
}

static sw_status write_labels(const char *out_dir, const sw_synth_options *o, const sw_synth_slide *plan, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    SW_AUTOFREE char *path = sw_path_join(out_dir, "labels.csv");
    if (!path) return sw_nomem(err);
    sw_buf_puts(&text, o->survival ? "case_id,slide_id,label,time,event\n" : "case_id,slide_id,label\n");
    for (int i = 0; i < o->n_slides; i++) {
        sw_csv_put(&text, plan[i].case_id, false);
        sw_csv_put(&text, plan[i].slide_id, false);
        sw_csv_put(&text, plan[i].tumor ? "tumor" : "normal", !o->survival);
        if (o->survival) put_outcome(&text, o, plan, i);
    }
    SW_TRY(sw_buf_status(&text, err));
    return sw_file_write(path, text.data, text.size, err);
}

static void pool_free(sw_pool **pool)
{
    sw_pool_free(*pool);
    *pool = NULL;
}

sw_status sw_synth_write(const char *out_dir, const sw_synth_options *options, sw_error *err)
{
    SW_TRY(sw_synth_check(options, err));
    SW_CLEANUP(pool_free) sw_pool *pool = NULL;
    SW_AUTOFREE sw_synth_slide *plan = sw_calloc((size_t)options->n_slides, sizeof *plan);
    SW_AUTOFREE char *slides_dir = sw_path_join(out_dir, "slides");
    SW_AUTOFREE char *foci_dir = sw_path_join(out_dir, "foci");
    if (!plan || !slides_dir || !foci_dir) return sw_nomem(err);
    SW_TRY(sw_synth_plan(options, plan, err));
    SW_TRY(sw_mkdir_p(slides_dir, err));
    SW_TRY(sw_mkdir_p(foci_dir, err));
    SW_TRY(sw_pool_new(options->threads, &pool, err));
    job j = {.options = options, .plan = plan, .slides_dir = slides_dir, .foci_dir = foci_dir, .pool = pool};
    pthread_mutex_init(&j.lock, NULL);
    sw_meter_start(&j.meter, options->sink, "synth", "slides", options->n_slides);
    sw_pool *over_slides = options->size_px > LARGE_PX ? NULL : pool;
    sw_status status = sw_pool_for(over_slides, options->n_slides, make_slide, &j, err);
    pthread_mutex_destroy(&j.lock);
    if (status != SW_OK) return status;
    return write_labels(out_dir, options, plan, err); /* last: labels name only slides that are there */
}

sw_status sw_synth_render(const sw_synth_options *options, int index, int64_t level0_x, int64_t level0_y, int64_t width,
                          int64_t height, sw_image *out, sw_error *err)
{
    SW_CLEANUP(sw_scene_free) sw_scene *scene = NULL;
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    *out = (sw_image){0};
    SW_TRY(sw_synth_check(options, err));
    if (index < 0 || index >= options->n_slides || level0_x < 0 || level0_y < 0 || width < 1 || height < 1 ||
        width > options->size_px - level0_x || height > options->size_px - level0_y) {
        return sw_error_set(err, SW_E_INVALID, "slide %d of %d has no rectangle of %lld x %lld pixels at (%lld, %lld)", index,
                            options->n_slides, (long long)width, (long long)height, (long long)level0_x, (long long)level0_y);
    }
    SW_AUTOFREE sw_synth_slide *plan = sw_calloc((size_t)options->n_slides, sizeof *plan);
    if (!plan) return sw_nomem(err);
    SW_TRY(sw_synth_plan(options, plan, err));
    SW_TRY(sw_scene_new(options, &plan[index], index, &scene, err));
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    SW_TRY(sw_scene_render(scene, level0_x, level0_y, width, height, image.rgb, (size_t)(3 * width), err));
    *out = image;
    image = (sw_image){0};
    return SW_OK;
}
