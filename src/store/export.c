/* SPDX-License-Identifier: Apache-2.0 */
/* A store as JPEG files, or as archives for WebDataset. */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "slidewise/exchange.h"
#include "store/tar.h"

#define PENDING_BYTES ((size_t)4 << 20)

sw_export_options sw_export_options_default(void)
{
    return (sw_export_options){.form = SW_EXPORT_FOLDER};
}

typedef struct exporting {
    const sw_export_options *options;
    sw_store *store;
    sw_export_result *result;
    sw_meter meter;
    int64_t total, done; /* slides at a scale */
} exporting;

/* One slide at one scale, on its way. */
typedef struct part {
    int64_t slide;
    int scale;
    const sw_store_scale *info;
    const char *slide_id;
    int64_t *xy;
    char *path;   /* the folder or archive, when it is whole */
    char *rising; /* until then */
    FILE *file;   /* of an archive */
    sw_buf pending;
} part;

static void part_free(part *p)
{
    if (p->file) fclose(p->file);
    sw_buf_free(&p->pending);
    sw_free(p->xy);
    sw_free(p->path);
    sw_free(p->rising);
}

static sw_status write_error(const char *path, int errnum, sw_error *err)
{
    char reason[128];
    sw_status status = sw_status_of_errno(errnum);
    return sw_error_set(err, status, "cannot write %s: %s; %s", path, strerror_r(errnum, reason, sizeof reason),
                        status == SW_E_NOSPACE ? "free some space and run the same command again" : "choose another place, or change its permissions");
}

/* ---- what is written for a patch */

static bool has_positions(const part *p)
{
    return p->info->patch_level0_px > 0;
}

static sw_status put_file(const part *p, int64_t index, const void *jpeg, size_t size, sw_error *err)
{
    SW_AUTOFREE char *path = has_positions(p) ? sw_asprintf("%s/%06lld_x%lld_y%lld.jpg", p->rising, (long long)index,
                                                            (long long)p->xy[2 * index], (long long)p->xy[2 * index + 1])
                                              : sw_asprintf("%s/%06lld.jpg", p->rising, (long long)index);
    if (!path) return sw_nomem(err);
    FILE *file = fopen(path, "wb");
    if (!file) return write_error(path, errno, err);
    bool whole = fwrite(jpeg, 1, size, file) == size;
    int why = errno;
    if (fclose(file) != 0 && whole) {
        why = errno;
        whole = false;
    }
    return whole ? SW_OK : write_error(path, why, err);
}

static void describe_patch(const exporting *e, const part *p, int64_t index, sw_buf *json)
{
    sw_json_writer w;
    sw_json_begin(&w, json, 0);
    sw_json_object(&w);
    sw_json_put_string(&w, "slide_id", p->slide_id);
    sw_json_put_int(&w, "index", index);
    if (has_positions(p)) {
        sw_json_put_int(&w, "level0_x", p->xy[2 * index]);
        sw_json_put_int(&w, "level0_y", p->xy[2 * index + 1]);
        sw_json_put_number(&w, "patch_level0_px", p->info->patch_level0_px);
    }
    sw_json_put_int(&w, "patch_px", p->info->patch_px);
    sw_json_put_number(&w, "mpp_um", p->info->mpp_um);
    double level0_um = sw_store_slide_get(e->store, p->slide)->mpp_um;
    if (level0_um > 0) sw_json_put_number(&w, "slide_mpp_um", level0_um);
    sw_json_end_object(&w);
}

static sw_status flush(part *p, sw_error *err)
{
    SW_TRY(sw_buf_status(&p->pending, err));
    if (p->pending.size && fwrite(p->pending.data, 1, p->pending.size, p->file) != p->pending.size) return write_error(p->rising, errno, err);
    sw_buf_clear(&p->pending);
    return SW_OK;
}

/* WebDataset ends a sample's key at the first dot of the file's name: there is none in it. */
static sw_status put_members(const exporting *e, part *p, int64_t index, const void *jpeg, size_t size, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf json = {0};
    SW_AUTOFREE char *image = sw_asprintf("%s/%06lld.jpg", p->slide_id, (long long)index);
    SW_AUTOFREE char *about = sw_asprintf("%s/%06lld.json", p->slide_id, (long long)index);
    if (!image || !about) return sw_nomem(err);
    describe_patch(e, p, index, &json);
    SW_TRY(sw_buf_status(&json, err));
    sw_tar_member(&p->pending, image, jpeg, size);
    sw_tar_member(&p->pending, about, json.data, json.size);
    return p->pending.size >= PENDING_BYTES ? flush(p, err) : sw_buf_status(&p->pending, err);
}

/* ---- a slide at a scale */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static sw_status begin(const exporting *e, part *p, sw_error *err)
{
    if (e->options->form == SW_EXPORT_TAR) {
        p->file = fopen(p->rising, "wb");
        return p->file ? SW_OK : write_error(p->rising, errno, err);
    }
    /* What a killed call left could hold files of another store. */
    if (sw_path_exists(p->rising) && nftw(p->rising, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) return write_error(p->rising, errno, err);
    return sw_mkdir_p(p->rising, err);
}

static sw_status end(const exporting *e, part *p, sw_error *err)
{
    if (e->options->form == SW_EXPORT_TAR) {
        sw_tar_end(&p->pending);
        SW_TRY(flush(p, err));
        if (fflush(p->file) != 0 || fsync(fileno(p->file)) != 0) return write_error(p->rising, errno, err);
        FILE *file = SW_STEAL(p->file);
        if (fclose(file) != 0) return write_error(p->rising, errno, err);
    } /* A sync per JPEG would take longer than all the rest: a folder is whole after a kill, not after a power cut. */
    return rename(p->rising, p->path) == 0 ? SW_OK : write_error(p->path, errno, err);
}

static sw_status put_patches(exporting *e, part *p, sw_error *err)
{
    for (int64_t i = 0; i < p->info->n_patches; i++) {
        const void *jpeg;
        size_t size;
        if (i % 256 == 0 && sw_log_cancelled(e->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "cancelled");
        SW_TRY(sw_store_patch(e->store, p->slide, p->scale, i, &jpeg, &size, err));
        if (e->options->form == SW_EXPORT_TAR) SW_TRY(put_members(e, p, i, jpeg, size, err));
        else SW_TRY(put_file(p, i, jpeg, size, err));
        e->result->n_patches++;
        e->result->n_bytes += (int64_t)size;
        sw_meter_tick(&e->meter, e->done, (double)e->result->n_patches, "writing", p->slide_id);
    }
    return SW_OK;
}

static sw_status export_part(exporting *e, int64_t slide, int scale, sw_error *err)
{
    SW_CLEANUP(part_free) part p = {.slide = slide, .scale = scale, .info = sw_store_scale_get(e->store, slide, scale)};
    p.slide_id = sw_store_slide_id(e->store, slide);
    const char *end_of_name = e->options->form == SW_EXPORT_TAR ? ".tar" : "";
    SW_AUTOFREE char *dir = sw_asprintf("%s/%gum", e->options->out, p.info->mpp_um);
    p.path = dir ? sw_asprintf("%s/%s%s", dir, p.slide_id, end_of_name) : NULL;
    p.rising = dir ? sw_asprintf("%s/.%s%s.part", dir, p.slide_id, end_of_name) : NULL;
    p.xy = sw_calloc((size_t)p.info->n_patches * 2 + 1, sizeof *p.xy);
    if (!p.path || !p.rising || !p.xy) return sw_nomem(err);
    if (sw_path_exists(p.path)) {
        e->result->n_already++;
        return SW_OK;
    }
    SW_TRY(sw_mkdir_p(dir, err));
    SW_TRY(sw_store_coords(e->store, slide, scale, p.xy, err));
    SW_TRY(begin(e, &p, err));
    SW_TRY(put_patches(e, &p, err));
    SW_TRY(end(e, &p, err));
    e->result->n_written++;
    return SW_OK;
}

/* ---- all that was asked for */

static bool wanted_slide(const exporting *e, int64_t slide)
{
    if (e->options->n_slides == 0) return true;
    for (size_t i = 0; i < e->options->n_slides; i++) {
        if (strcmp(e->options->slide[i], sw_store_slide_id(e->store, slide)) == 0) return true;
    }
    return false;
}

static bool wanted_scale(const exporting *e, int64_t slide, int scale)
{
    return e->options->mpp_um <= 0 || scale == sw_store_scale_find(e->store, slide, e->options->mpp_um);
}

static sw_status check_wanted(exporting *e, sw_error *err)
{
    const sw_export_options *o = e->options;
    for (size_t i = 0; i < o->n_slides; i++) {
        if (sw_store_find(e->store, o->slide[i]) < 0)
            return sw_error_set(err, SW_E_NOT_FOUND, "store %s: there is no slide %s in it", o->store, o->slide[i]);
    }
    for (int64_t i = 0; i < sw_store_slide_count(e->store); i++) {
        for (int s = 0; wanted_slide(e, i) && s < sw_store_scale_count(e->store, i); s++) e->total += wanted_scale(e, i, s);
    }
    if (e->total > 0) return SW_OK;
    if (o->mpp_um > 0) return sw_error_set(err, SW_E_NOT_FOUND, "store %s: no slide has a scale of %g um/px", o->store, o->mpp_um);
    return sw_error_set(err, SW_E_NOT_FOUND, "store %s: no slide is in it", o->store);
}

static void exporting_free(exporting *e)
{
    sw_store_close(&e->store);
}

sw_status sw_export(const sw_export_options *options, sw_export_result *result, sw_error *err)
{
    SW_CLEANUP(exporting_free) exporting e = {.options = options, .result = result};
    *result = (sw_export_result){0};
    SW_TRY(sw_store_open(options->store, &e.store, err));
    SW_TRY(check_wanted(&e, err));
    sw_meter_start(&e.meter, options->sink, "export", "slides", e.total);
    e.meter.p.rate_unit = "patches";
    for (int64_t i = 0; i < sw_store_slide_count(e.store); i++) {
        for (int s = 0; wanted_slide(&e, i) && s < sw_store_scale_count(e.store, i); s++) {
            if (!wanted_scale(&e, i, s)) continue;
            SW_TRY(export_part(&e, i, s, err));
            sw_meter_tick(&e.meter, ++e.done, (double)result->n_patches, "writing", sw_store_slide_id(e.store, i));
        }
    }
    return SW_OK;
}
