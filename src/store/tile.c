/* SPDX-License-Identifier: Apache-2.0 */
/* All slides of a call: what is to do, several in flight, one writer, the table at the end. */
#include "slidewise/tile.h"

#include <stdio.h>
#include <string.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/hdf5_coords.h"
#include "store/tile_work.h"

#define MOST_IN_FLIGHT 8

sw_tile_options sw_tile_options_default(void)
{
    return (sw_tile_options){.settings = sw_tile_settings_default()};
}

const char *sw_tile_status_name(sw_tile_status status)
{
    switch (status) {
    case SW_TILE_DONE: return "done";
    case SW_TILE_ALREADY: return "already done";
    case SW_TILE_NO_TISSUE: return "no tissue";
    case SW_TILE_NO_MPP: return "no resolution";
    case SW_TILE_UNREADABLE: return "unreadable";
    case SW_TILE_FAILED: return "failed";
    }
    return "failed";
}

void sw_tile_result_free(sw_tile_result *result)
{
    for (size_t i = 0; i < result->count; i++) {
        sw_free(result->row[i].slide_id);
        sw_free(result->row[i].path);
        sw_free(result->row[i].reason);
    }
    sw_free(result->row);
    *result = (sw_tile_result){0};
}

/* ---- the state of a call */

typedef struct tiling {
    sw_tile_run run;
    sw_store_writer *writer;
    sw_tile_result *result;
    const sw_slide_list *slides;
    size_t *todo; /* indices of slides that are not in the store */
    size_t n_todo;
    sw_meter meter;
    int64_t slides_done, patches;
    int64_t waited_ns, wrote_ns; /* of the writer */
    const char *slide_id;
} tiling;

static void tiling_free(tiling *t)
{
    sw_store_writer_close(&t->writer);
    sw_h5_reader_close(t->run.reader); /* before the threads, which may have started its process */
    sw_pool_free(t->run.pool);
    sw_process_list_free(t->run.process_list);
    sw_tile_pictures_end(&t->run);
    sw_free(t->run.trident_contours_dir);
    sw_free(t->todo);
}

const sw_tissue_options *sw_tile_tissue_options(const sw_tile_run *run, const char *slide_id)
{
    const sw_tissue_options *own = sw_process_list_find(run->process_list, slide_id);
    return own ? own : &run->options->settings.tissue;
}

static const sw_store_slide *in_store(const tiling *t, const char *slide_id)
{
    return t->writer ? sw_store_writer_find(t->writer, slide_id) : NULL;
}

static void fill_row(sw_tile_row *row, const sw_store_slide *slide)
{
    for (int i = 0; i < slide->n_scales; i++) row->n_patches[i] = slide->scale[i].n_patches;
    memset(row->n_left_out, 0, sizeof row->n_left_out);
    row->n_passed_through = 0;
    for (int i = 0; i < slide->n_scales; i++) {
        row->n_passed_through += slide->scale[i].n_passed_through;
        for (int kind = 0; kind < SW_LEFT_KINDS; kind++) row->n_left_out[kind] += slide->scale[i].n_left_out[kind];
    }
    row->unreadable_fraction = slide->unreadable_fraction;
    row->tissue_fraction = slide->tissue_fraction;
    row->seconds = slide->seconds;
}

static sw_status fail_row(sw_tile_row *row, sw_tile_status status, const char *reason, sw_error *err)
{
    row->status = status;
    memset(row->n_patches, 0, sizeof row->n_patches);
    memset(row->n_left_out, 0, sizeof row->n_left_out);
    row->n_passed_through = 0;
    row->unreadable_fraction = 0;
    row->reason = sw_strdup(reason);
    return row->reason ? SW_OK : sw_nomem(err);
}

/* Whether a slide that is in the store is tiled again. */
static bool is_retried(const tiling *t, const sw_tile_row *row)
{
    return t->run.options->retry_unreadable && row->status == SW_TILE_ALREADY &&
           (row->n_left_out[SW_LEFT_UNREADABLE] > 0 || row->unreadable_fraction > 0);
}

/* A slide that is in the store must be the file it was made from, where that is known. */
static sw_status known_row(const tiling *t, sw_tile_row *row, const sw_store_slide *known, sw_error *err)
{
    int64_t bytes;
    sw_error why;
    row->status = SW_TILE_ALREADY;
    fill_row(row, known);
    if (is_retried(t, row)) return SW_OK; /* from another copy, perhaps */
    if (sw_file_size(row->path, &bytes, &why) != SW_OK || bytes == known->source_bytes || known->source_bytes == 0) return SW_OK;
    sw_error_set(&why, SW_E_INVALID,
                 "slide %s: the store holds one made from a file of %lld bytes (%s), this file has %lld; rename the file, or tile "
                 "into another store than %s",
                 row->slide_id, (long long)known->source_bytes, known->path, (long long)bytes, t->run.options->store);
    return fail_row(row, SW_TILE_FAILED, why.message, err);
}

static void look_for(const sw_artefact_options *a, bool *looked_for)
{
    looked_for[SW_LEFT_BLACK] = a->max_black_fraction < 1;
    looked_for[SW_LEFT_WHITE] = a->max_white_fraction < 1;
    looked_for[SW_LEFT_PEN] = a->max_pen_fraction < 1;
    looked_for[SW_LEFT_BLURRED] = a->min_laplacian_variance > 0;
}

static sw_status make_rows(tiling *t, sw_error *err)
{
    sw_tile_result *r = t->result;
    size_t n = t->slides->count;
    r->row = sw_calloc(n + 1, sizeof *r->row);
    t->todo = sw_calloc(n + 1, sizeof *t->todo);
    if (!r->row || !t->todo) return sw_nomem(err);
    r->n_scales = t->run.options->settings.n_scales;
    memcpy(r->mpp_um, t->run.options->settings.mpp_um, sizeof r->mpp_um);
    r->passthrough = t->run.options->settings.passthrough;
    look_for(&t->run.options->settings.artefacts, r->looked_for);
    for (size_t i = 0; i < n; i++) {
        sw_tile_row *row = &r->row[r->count++];
        row->slide_id = sw_strdup(t->slides->entry[i].slide_id);
        row->path = sw_strdup(t->slides->entry[i].path);
        if (!row->slide_id || !row->path) return sw_nomem(err);
        const sw_store_slide *known = in_store(t, row->slide_id);
        if (known) SW_TRY(known_row(t, row, known, err));
        /* The positions of a slide that is in the store are made again to be written for other tools. */
        bool lacks_pictures = false;
        if (row->status == SW_TILE_ALREADY) SW_TRY(sw_tile_pictures_missing(&t->run, row->slide_id, &lacks_pictures, err));
        bool again = row->status == SW_TILE_ALREADY && (sw_tile_exports(t->run.options) || lacks_pictures || is_retried(t, row));
        if (!known || again) t->todo[t->n_todo++] = i;
    }
    return SW_OK;
}

static sw_status make_dirs(tiling *t, sw_error *err)
{
    const sw_tile_options *o = t->run.options;
    SW_TRY(sw_tile_pictures_begin(&t->run, err));
    if (o->settings.whole_image || o->settings.given_positions) return SW_OK;
    if (o->trident) {
        t->run.trident_contours_dir = sw_path_join(o->trident, "contours_geojson");
        if (!t->run.trident_contours_dir) return sw_nomem(err);
        SW_TRY(sw_mkdir_p(t->run.trident_contours_dir, err));
    }
    return SW_OK;
}

/* ---- the pipeline */

static const char *limit_of(const tiling *t)
{
    if (t->wrote_ns > t->waited_ns) return "writing";
    return atomic_load(&t->run.read_ns) > atomic_load(&t->run.encode_ns) ? "reading" : "encoding";
}

static void wrote(void *ctx, int64_t patches)
{
    tiling *t = ctx;
    t->patches += patches;
    sw_meter_tick(&t->meter, t->slides_done, (double)t->patches, limit_of(t), t->slide_id);
}

static sw_status produce_job(void *ctx, int64_t index, void **item, sw_error *err)
{
    tiling *t = ctx;
    sw_tile_job *job = NULL;
    const sw_tile_row *row = &t->result->row[t->todo[index]];
    bool in_store = row->status == SW_TILE_ALREADY && !is_retried(t, row);
    SW_TRY(sw_tile_job_new(&t->run, &t->slides->entry[t->todo[index]], !t->writer || in_store, in_store, &job, err));
    *item = job;
    return SW_OK;
}

static void discard_job(void *ctx, void *item)
{
    (void)ctx;
    sw_tile_job_free(item);
}

static void job_free_ptr(sw_tile_job **job)
{
    sw_tile_job_free(*job);
    *job = NULL;
}

/* A slide whose positions only were made. */
static void fill_positions(sw_tile_row *row, const sw_tile_job *job)
{
    row->status = SW_TILE_DONE;
    for (int i = 0; i < job->run->options->settings.n_scales; i++) {
        row->n_patches[i] = job->grid[i].n_patches;
        for (int kind = 0; kind < SW_LEFT_KINDS; kind++) row->n_left_out[kind] += job->fates.n_left_out[i][kind];
    }
    row->unreadable_fraction = job->tissue.unreadable_fraction;
    row->tissue_fraction = sw_tile_job_tissue(job);
    row->seconds = (double)job->spent_ns * 1e-9;
}

/* Writes a slide, or notes why it cannot be; an error is one of the store. */
static sw_status finish(tiling *t, sw_tile_job *job, sw_tile_row *row, sw_error *err)
{
    bool fatal = false;
    t->slide_id = job->entry->slide_id;
    if (job->status == SW_TILE_DONE && !job->positions_only) {
        int64_t start = sw_now_ns();
        sw_status status = sw_tile_job_write(job, t->writer, wrote, t, &fatal, &job->error);
        if (job->chunk) t->wrote_ns += sw_now_ns() - start;
        job->error.code = status;
        if (status == SW_OK) job->status = SW_TILE_DONE;
        else if (job->status == SW_TILE_DONE) job->status = sw_tile_status_of(status); /* the store's */
    } else if (job->status == SW_TILE_DONE && job->in_store) {
        sw_status status = sw_tile_job_export_stored(job, t->writer, &job->error);
        job->error.code = status;
        if (status != SW_OK) job->status = SW_TILE_FAILED;
    }
    t->slides_done++;
    if (job->status == SW_TILE_DONE && job->in_store) {
        row->status = SW_TILE_ALREADY;
    } else if (job->status == SW_TILE_DONE && job->positions_only) {
        fill_positions(row, job);
    } else if (job->status == SW_TILE_DONE) {
        row->status = SW_TILE_DONE;
        fill_row(row, sw_store_writer_find(t->writer, row->slide_id));
    } else if (fatal || job->error.code == SW_E_CANCELLED || job->error.code == SW_E_NOSPACE) {
        return sw_error_set(err, job->error.code, "%s", job->error.message);
    } else {
        row->seconds = (double)job->spent_ns * 1e-9;
        sw_log_warning(t->run.options->sink, "%s", job->error.message);
        SW_TRY(fail_row(row, job->status, job->error.message, err));
    }
    sw_meter_tick(&t->meter, t->slides_done, (double)t->patches, limit_of(t), t->slide_id);
    return SW_OK;
}

static void prefetch_free(sw_prefetch **prefetch)
{
    sw_prefetch_free(*prefetch);
    *prefetch = NULL;
}

static sw_status tile_all(tiling *t, sw_error *err)
{
    SW_CLEANUP(prefetch_free) sw_prefetch *prefetch = NULL;
    int ahead = sw_pool_threads(t->run.pool) + 1;
    if (ahead > MOST_IN_FLIGHT) ahead = MOST_IN_FLIGHT;
    sw_meter_start(&t->meter, t->run.options->sink, "tile", "slides", (int64_t)t->n_todo);
    t->meter.p.rate_unit = "patches";
    SW_TRY(sw_prefetch_new(t->run.pool, (int64_t)t->n_todo, ahead, produce_job, discard_job, t, &prefetch, err));
    for (size_t i = 0; i < t->n_todo; i++) {
        void *item;
        int64_t waited;
        if (sw_log_cancelled(t->run.options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        SW_TRY(sw_prefetch_next(prefetch, &item, &waited, err));
        SW_CLEANUP(job_free_ptr) sw_tile_job *job = item;
        t->waited_ns += waited;
        SW_TRY(finish(t, job, &t->result->row[t->todo[i]], err));
    }
    return SW_OK;
}

/* ---- the table */

static void count_rows(sw_tile_result *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const sw_tile_row *row = &r->row[i];
        if (row->status == SW_TILE_DONE) r->n_done++;
        else if (row->status == SW_TILE_ALREADY) r->n_already++;
        else r->n_failed++;
        r->n_passed_through += row->n_passed_through;
        r->n_damaged += row->n_left_out[SW_LEFT_UNREADABLE] > 0 || row->unreadable_fraction > 0;
        for (int kind = 0; kind < SW_LEFT_KINDS; kind++) r->n_left_out[kind] += row->n_left_out[kind];
        for (int s = 0; s < r->n_scales; s++) r->n_patches += row->n_patches[s];
    }
}

static void put_field(sw_buf *csv, const char *fmt, double value)
{
    sw_buf text = {0};
    sw_buf_printf(&text, fmt, value);
    sw_csv_put(csv, text.data ? text.data : "", false);
    csv->failed = csv->failed || text.failed;
    sw_buf_free(&text);
}

static void put_row(sw_buf *csv, const sw_tile_row *row, const sw_tile_result *r)
{
    sw_csv_put(csv, row->slide_id, false);
    sw_csv_put(csv, sw_tile_status_name(row->status), false);
    for (int i = 0; i < r->n_scales; i++) put_field(csv, "%.0f", (double)row->n_patches[i]);
    if (r->passthrough) put_field(csv, "%.0f", (double)row->n_passed_through);
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++) put_field(csv, "%.0f", (double)row->n_left_out[kind]);
    put_field(csv, "%.4f", row->unreadable_fraction);
    put_field(csv, "%.4f", row->tissue_fraction);
    put_field(csv, "%.2f", row->seconds);
    sw_csv_put(csv, row->path, false);
    sw_csv_put(csv, row->reason ? row->reason : "", true);
}

static bool listed(const tiling *t, const char *slide_id)
{
    return sw_slide_list_find(t->slides, slide_id) != NULL;
}

static sw_status write_csv(const tiling *t, sw_error *err)
{
    if (!t->writer) return SW_OK;
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_AUTOFREE char *path = sw_path_join(t->run.options->store, "slides.csv");
    const sw_tile_result *r = t->result;
    if (!path) return sw_nomem(err);
    sw_buf_puts(&csv, "slide_id,status");
    for (int i = 0; i < r->n_scales; i++) sw_buf_printf(&csv, ",patches_%gum", r->mpp_um[i]);
    if (r->passthrough) sw_buf_puts(&csv, ",passed_through");
    for (int kind = 1; kind < SW_LEFT_KINDS; kind++) sw_buf_printf(&csv, ",left_out_%s", sw_left_out_name((sw_left_out)kind));
    sw_buf_puts(&csv, ",unreadable_fraction,tissue_fraction,seconds,path,reason\n");
    for (size_t i = 0; i < r->count; i++) put_row(&csv, &r->row[i], r);
    for (int64_t i = 0; i < sw_store_writer_count(t->writer); i++) {
        const sw_store_slide *slide = sw_store_writer_get(t->writer, i);
        if (listed(t, slide->slide_id)) continue;
        sw_tile_row row = {.slide_id = (char *)slide->slide_id, .path = (char *)slide->path, .status = SW_TILE_ALREADY};
        fill_row(&row, slide);
        put_row(&csv, &row, r);
    }
    SW_TRY(sw_buf_status(&csv, err));
    SW_TRY(sw_file_write(path, csv.data, csv.size, err));
    return sw_tile_write_unreadable(t->run.options->store, t->writer, err);
}

/* Slides that were not reached are not in the table of what was done. */
static void note_unreached(sw_tile_result *r, const tiling *t, sw_status status)
{
    if (status == SW_OK) return;
    for (size_t i = 0; i < t->n_todo; i++) {
        sw_tile_row *row = &r->row[t->todo[i]];
        if (row->status == SW_TILE_DONE && row->seconds == 0.0 && !in_store(t, row->slide_id)) {
            row->status = SW_TILE_FAILED;
            row->reason = sw_strdup(status == SW_E_CANCELLED ? "not reached: cancelled" : "not reached: the work stopped before");
        }
    }
}

static sw_status check_options(const sw_tile_options *o, sw_error *err)
{
    if (!sw_tile_exports(o) && (!o->store || !o->store[0])) return sw_error_set(err, SW_E_INVALID, "no store was named to tile into");
    if (o->settings.given_positions != (o->coords != NULL)) {
        return sw_error_set(err, SW_E_INVALID, "%s", o->coords ? "coordinates were given to settings that make their own positions"
                                                                : "the settings take positions from files, and no files were given");
    }
    if (o->process_list && (o->coords || o->settings.whole_image || o->settings.mask.mode == SW_MASK_REPLACE))
        return sw_error_set(err, SW_E_INVALID, "%s: a process list is for slides that are segmented", o->process_list);
    if (o->coords) {
        int n;
        SW_TRY(sw_tile_given_count(o->coords, &n, err));
        if (n != o->settings.n_scales)
            return sw_error_set(err, SW_E_INVALID, "%s: coordinates of %d scales, and the settings have %d", o->coords, n, o->settings.n_scales);
    }
    if (o->masks && !o->store && !o->clam)
        return sw_error_set(err, SW_E_INVALID, "pictures are kept in the store or beside CLAM's positions, and neither was named");
    if (o->clam && o->settings.n_scales > 1) {
        return sw_error_set(err, SW_E_INVALID, "CLAM's files hold one resolution, %d were asked for; give one, or write TRIDENT's files",
                            o->settings.n_scales);
    }
    return sw_tile_settings_check(&o->settings, err);
}

static sw_status open_store(tiling *t, const sw_tile_shard *shard, sw_error *err)
{
    const sw_tile_options *o = t->run.options;
    sw_tile_pairs pairs;
    if (!o->store) return SW_OK;
    sw_tile_pairs_make(&o->settings, &pairs);
    sw_tile_pairs_process_list(t->run.process_list, &pairs);
    if (shard) SW_TRY(sw_tile_shard_list(shard, o, &pairs, err));
    SW_TRY(sw_store_writer_open(o->store, pairs.pair, pairs.count, &t->writer, err));
    return shard ? sw_tile_shard_begin(shard, err) : SW_OK;
}

/* `shard` NULL: there are none. */
static sw_status tile_list(const sw_tile_options *options, const sw_slide_list *slides, const sw_tile_shard *shard, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(tiling_free) tiling t = {.run = {.options = options}, .result = result, .slides = slides};
    int64_t start = sw_now_ns();
    SW_TRY(check_options(options, err));
    if (options->process_list)
        SW_TRY(sw_process_list_read(options->process_list, &options->settings.tissue, &t.run.process_list, err));
    if (options->coords) SW_TRY(sw_h5_coords_reader_new(&t.run.reader, err));
    SW_TRY(open_store(&t, shard, err));
    SW_TRY(sw_pool_new(options->threads, &t.run.pool, err));
    SW_TRY(make_dirs(&t, err));
    SW_TRY(make_rows(&t, err));
    sw_status status = tile_all(&t, err);
    note_unreached(result, &t, status);
    count_rows(result);
    result->seconds = (double)(sw_now_ns() - start) * 1e-9;
    /* The first error is the one to tell; a table that cannot be written either adds nothing to it. */
    sw_status table = write_csv(&t, status == SW_OK ? err : NULL);
    if (table == SW_OK) table = sw_tile_export_list(&t.run, result, status == SW_OK ? err : NULL);
    if (table == SW_OK && status == SW_OK && shard) table = sw_tile_shard_end(shard, err);
    return status == SW_OK ? table : status;
}

sw_status sw_tile(const sw_tile_options *options, const sw_slide_list *slides, sw_tile_result *result, sw_error *err)
{
    SW_CLEANUP(sw_tile_shard_free) sw_tile_shard shard = {0};
    *result = (sw_tile_result){0};
    if (options->n_shards == 0) return tile_list(options, slides, NULL, result, err);
    SW_TRY(sw_tile_shard_new(options, slides, &shard, err));
    sw_tile_options own = *options;
    own.store = shard.store;
    return tile_list(&own, &shard.mine, &shard, result, err);
}
