/* SPDX-License-Identifier: Apache-2.0 */
#include "slidewise/encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "store/coords_parts.h"
#include "store/hdf5_features.h"

enum { CHUNK = 64, CROP_PX = 224, AHEAD = 2 };

/* What a file says of its making: the same of each slide but for the positions. */
enum { MADE_BY, ENCODER, ENCODER_HASH, CROP, ORDER, NORMALISE, MPP, PRECISION, POSITIONS, ABOUT };

typedef struct job {
    const sw_store *store;
    const sw_encode_options *options;
    sw_encode_result *result;
    sw_backend *be;
    sw_pool *pool;
    sw_model *model;
    sw_model_use use;   /* of a run; empty otherwise */
    double mpp_um;      /* of the scale; 0: each slide's only one */
    int64_t chunk_patches;
    int crop_px;
    sw_channel_order order;
    int lock_fd;        /* of the folder; < 0: not held */
    char encoder_hash[20];
    sw_meter meter;
    int64_t done;       /* patches of slides that are done */
} job;

static void job_free(job *j)
{
    sw_model_free(j->model);
    sw_backend_free(j->be);
    sw_pool_free(j->pool);
    sw_model_use_free(&j->use);
    if (j->lock_fd >= 0) close(j->lock_fd);
}

sw_encode_options sw_encode_options_default(void)
{
    return (sw_encode_options){0};
}

const char *sw_encode_status_name(sw_encode_status status)
{
    static const char *const name[] = {"done", "already done", "failed", "not done"};
    return name[status];
}

void sw_encode_result_free(sw_encode_result *r)
{
    if (!r) return;
    for (size_t i = 0; r->row && i < r->count; i++) {
        sw_free(r->row[i].slide_id);
        sw_free(r->row[i].reason);
    }
    sw_free(r->row);
    *r = (sw_encode_result){0};
}

/* ---- the encoder */

static sw_status open_run(job *j, sw_error *err)
{
    const sw_encode_options *o = j->options;
    SW_AUTOFREE char *path = NULL;
    SW_TRY(sw_checkpoint_find(o->run, o->checkpoint, &path, err));
    SW_TRY(sw_checkpoint_peek(path, &j->use, err));
    sw_backend_options bo = {.threads = o->threads, .deterministic = j->use.deterministic};
    SW_TRY(sw_backend_new(o->backend ? o->backend : j->use.backend, &bo, &j->be, err));
    sw_dtype activations = j->use.activations;
    sw_model_use_free(&j->use);
    SW_TRY(sw_backend_precision(j->be, o->precision ? o->precision : sw_precision_name(activations), &activations, err));
    SW_TRY(sw_checkpoint_open(j->be, path, &j->model, &j->use, err));
    sw_model_set_activations(j->model, activations);
    if (!sw_model_has_encoder(j->model))
        return sw_error_set(err, SW_E_INVALID, "%s: the run was trained on features, it has no encoder; name the one that made them (--encoder, --weights)", path);
    if (sw_model_get_options(j->model)->batch_stats) {
        if (o->chunk_patches > 0 && o->chunk_patches != j->use.chunk_patches)
            return sw_error_set(err, SW_E_INVALID, "%s: its batch norm goes by the patches that are encoded at once, %lld in the run; leave --chunk out", path,
                                (long long)j->use.chunk_patches);
        j->chunk_patches = j->use.chunk_patches;
    }
    j->mpp_um = o->mpp_um > 0 ? o->mpp_um : j->use.eval_mpp_um;
    j->crop_px = o->crop_px > 0 ? o->crop_px : j->use.crop_px;
    j->order = j->use.channel_order;
    return SW_OK;
}

static sw_status open_encoder(job *j, sw_error *err)
{
    const sw_encode_options *o = j->options;
    if (!o->encoder || !o->weights)
        return sw_error_set(err, SW_E_INVALID, "name an encoder and the file of its weights (--encoder resnet50 --weights FILE), or a trained run (--run DIR)");
    sw_backend_options bo = {.threads = o->threads};
    sw_model_options mo = sw_model_options_default();
    sw_dtype activations;
    mo.encoder = o->encoder;
    mo.aggregator = "mean"; /* a model has one; it has nothing to do */
    mo.frozen = mo.blank = true;
    SW_TRY(sw_backend_new(o->backend ? o->backend : "cpu", &bo, &j->be, err));
    SW_TRY(sw_backend_precision(j->be, o->precision ? o->precision : "fp32", &activations, err));
    SW_TRY(sw_model_new(j->be, SW_F32, &mo, &j->model, err));
    sw_model_set_activations(j->model, activations);
    SW_TRY(sw_model_load_encoder(j->model, o->weights, err));
    j->mpp_um = o->mpp_um;
    j->crop_px = o->crop_px > 0 ? o->crop_px : CROP_PX;
    j->order = o->bgr_as_reference ? SW_CHANNELS_BGR_AS_REFERENCE : SW_CHANNELS_RGB;
    return SW_OK;
}

/* Which weights they are, whatever file they came from. */
static sw_status hash_encoder(job *j, sw_error *err)
{
    sw_slab *slab = sw_model_slab(j->model);
    uint64_t hash = 0;
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        if (strcmp(sw_slab_group(slab, i), "encoder") != 0) continue;
        const sw_tensor *value = sw_slab_value(slab, i);
        SW_AUTOFREE void *host = sw_malloc(sw_tensor_bytes(value));
        if (!host) return sw_nomem(err);
        SW_TRY(sw_tensor_download(value, host, err));
        hash = (hash ^ sw_hash64(host, sw_tensor_bytes(value))) * 0x9E3779B97F4A7C15u;
    }
    snprintf(j->encoder_hash, sizeof j->encoder_hash, "%016llx", (unsigned long long)hash);
    return SW_OK;
}

/* ---- the folder */

static sw_status open_folder(job *j, sw_error *err)
{
    const char *dir = j->options->output;
    SW_TRY(sw_mkdir_p(dir, err));
    j->lock_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->lock_fd < 0) return sw_error_set(err, sw_status_of_errno(errno), "cannot open %s: %s", dir, strerror(errno));
    if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return sw_error_set(err, SW_E_INVALID, "%s: another slidewise encode writes into this folder; wait until it has ended, or give another folder", dir);
    return sw_dir_remove_leftovers(dir, err); /* of a kill */
}

static char *file_of(const job *j, int64_t slide)
{
    return sw_asprintf("%s/%s.h5", j->options->output, sw_store_slide_id(j->store, slide));
}

/* ---- one slide */

static sw_status scale_of(const job *j, int64_t slide, int *scale, sw_error *err)
{
    const char *id = sw_store_slide_id(j->store, slide);
    int n = sw_store_scale_count(j->store, slide);
    *scale = j->mpp_um > 0 ? sw_store_scale_find(j->store, slide, j->mpp_um) : n == 1 ? 0 : -1;
    if (*scale >= 0) {
        if (sw_store_scale_get(j->store, slide, *scale)->n_patches > 0) return SW_OK;
        return sw_error_set(err, SW_E_INVALID, "slide %s has no patch", id);
    }
    if (!(j->mpp_um > 0)) return sw_error_set(err, SW_E_INVALID, "slide %s has %d scales; say which one is encoded (--mpp)", id, n);
    return sw_error_set(err, SW_E_NOT_FOUND, "slide %s has no patches at %g um per pixel; tile it at that resolution, or give another one (--mpp)", id, j->mpp_um);
}

/* Positions of a slide's patches, and what its file says of its making. Texts of `about` are borrowed from both. */
typedef struct plan {
    int scale;
    const sw_store_scale *of;
    int64_t *xy;
    char positions[20];
    sw_h5_attribute about[ABOUT];
} plan;

static void plan_free(plan *p)
{
    sw_free(p->xy);
}

static sw_h5_attribute text(const char *name, const char *value)
{
    return (sw_h5_attribute){.name = name, .type = SW_H5_TEXT, .text = value};
}

static sw_status make_plan(const job *j, int64_t slide, plan *p, sw_error *err)
{
    SW_TRY(scale_of(j, slide, &p->scale, err));
    p->of = sw_store_scale_get(j->store, slide, p->scale);
    size_t bytes = (size_t)p->of->n_patches * 2 * sizeof *p->xy;
    p->xy = sw_malloc(bytes);
    if (!p->xy) return sw_nomem(err);
    SW_TRY(sw_store_coords(j->store, slide, p->scale, p->xy, err));
    snprintf(p->positions, sizeof p->positions, "%016llx", (unsigned long long)sw_hash64(p->xy, bytes));
    p->about[MADE_BY] = text("made_by", "slidewise " SW_VERSION);
    p->about[ENCODER] = text("encoder", sw_model_get_options(j->model)->encoder);
    p->about[ENCODER_HASH] = text("encoder_hash", j->encoder_hash);
    p->about[CROP] = (sw_h5_attribute){.name = "crop_px", .type = SW_H5_INT, .value = {j->crop_px}};
    p->about[ORDER] = text("channel_order", j->order == SW_CHANNELS_RGB ? "rgb" : "bgr_as_reference");
    p->about[NORMALISE] = text("normalise", j->use.normalise == SW_PIXELS_UNIT ? "none" : "imagenet");
    p->about[MPP] = (sw_h5_attribute){.name = "mpp_um", .type = SW_H5_REAL, .value = {p->of->mpp_um}};
    p->about[PRECISION] = text("precision", sw_precision_name(sw_model_activations(j->model)));
    p->about[POSITIONS] = text("positions_hash", p->positions);
    return SW_OK;
}

typedef struct found {
    sw_h5_wanted at[ABOUT];
} found;

static void found_free(found *f)
{
    for (int i = 0; i < ABOUT; i++) sw_free(f->at[i].text);
}

/* A file that is there must be what would be written. The version that made it may be another. */
static sw_status check_file(const char *path, const plan *p, sw_error *err)
{
    SW_CLEANUP(found_free) found f = {0};
    sw_h5_features head = {0};
    for (int i = 0; i < ABOUT; i++) {
        f.at[i].name = p->about[i].name;
        f.at[i].is_text = p->about[i].type == SW_H5_TEXT;
    }
    SW_TRY(sw_h5_features_look(path, &head, f.at, ABOUT, err));
    if (!f.at[MADE_BY].text || strncmp(f.at[MADE_BY].text, "slidewise", 9) != 0)
        return sw_error_set(err, SW_E_INVALID, "%s: it is there already, and slidewise encode did not make it; give another folder", path);
    for (int i = ENCODER; i < ABOUT; i++) {
        const sw_h5_attribute *want = &p->about[i];
        const sw_h5_wanted *have = &f.at[i];
        bool same = want->type == SW_H5_TEXT ? have->text && strcmp(have->text, want->text) == 0 : have->count == 1 && have->value[0] == want->value[0];
        if (same) continue;
        if (want->type == SW_H5_TEXT)
            return sw_error_set(err, SW_E_INVALID, "%s: it was made with %s %s, now it is %s; give another folder, or remove the file", path, want->name,
                                have->text ? have->text : "(none)", want->text);
        return sw_error_set(err, SW_E_INVALID, "%s: it was made with %s %g, now it is %g; give another folder, or remove the file", path, want->name,
                            have->value[0], want->value[0]);
    }
    return head.n == p->of->n_patches ? SW_OK : sw_error_set(err, SW_E_INVALID, "%s: it holds %lld patches, now there are %lld; remove the file", path,
                                                             (long long)head.n, (long long)p->of->n_patches);
}

/* The attributes of "coords": those of the file that the positions came from, else as TRIDENT has them. */
static sw_status describe(const job *j, int64_t slide, const plan *p, sw_h5_attributes *out, sw_error *err)
{
    const sw_store_slide *s = sw_store_slide_get(j->store, slide);
    if (j->options->coords) {
        SW_AUTOFREE char *path = NULL;
        SW_TRY(sw_coords_find(j->options->coords, s->slide_id, &path, err));
        return sw_h5_coords_attributes(path, out, err);
    }
    sw_h5_attribute trident[SW_TRIDENT_ATTRIBUTES];
    const sw_coords_geometry g = {.slide_id = s->slide_id, .folder = sw_store_path(j->store), .patch_px = p->of->patch_px, .overlap_px = p->of->overlap_px,
                                  .patch_level0_px = p->of->patch_level0_px, .magnification = p->of->magnification, .level0_mpp_um = s->mpp_um,
                                  .width = s->width, .height = s->height};
    sw_coords_trident_attributes(&g, trident);
    bool known = s->mpp_um > 0 && p->of->patch_level0_px > 0; /* not of every store that was imported */
    for (int i = 0; i < SW_TRIDENT_ATTRIBUTES && known; i++) SW_TRY(sw_h5_attributes_add(out, &trident[i], err));
    return SW_OK;
}

static sw_status write_file(const job *j, int64_t slide, const plan *p, float **features, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_h5_attributes_free) sw_h5_attributes of_coords = {0};
    SW_CLEANUP(sw_buf_free) sw_buf bytes = {0};
    SW_TRY(describe(j, slide, p, &of_coords, err));
    const sw_h5_features_file file = {.n = p->of->n_patches, .dim = sw_model_dim(j->model), .features = *features,
                                      .xy = p->of->patch_level0_px > 0 ? p->xy : NULL, .of_coords = of_coords.item, .n_of_coords = of_coords.count,
                                      .of_file = p->about, .n_of_file = ABOUT};
    SW_TRY(sw_h5_features_write(&file, &bytes, err));
    sw_free(*features); /* they are in `bytes` */
    *features = NULL;
    return sw_file_write(path, bytes.data, bytes.size, err);
}

static sw_status encode_slide(job *j, int64_t slide, sw_error *err)
{
    SW_CLEANUP(plan_free) plan p = {0};
    SW_AUTOFREE char *path = file_of(j, slide);
    sw_patch_source *source = NULL;
    if (!path) return sw_nomem(err);
    SW_TRY(make_plan(j, slide, &p, err));
    SW_AUTOFREE float *features = sw_malloc((size_t)p.of->n_patches * (size_t)sw_model_dim(j->model) * sizeof *features);
    if (!features) return sw_nomem(err);
    SW_TRY(sw_patch_source_store(j->store, slide, p.scale, &source, err));
    sw_infer_options io = {.chunk_patches = j->chunk_patches,
                           .crop_px = j->crop_px,
                           .channel_order = j->order,
                           .normalise = j->use.normalise,
                           .ahead = AHEAD,
                           .pool = j->pool,
                           .meter = &j->meter,
                           .meter_base = j->done};
    sw_status status = sw_infer_features(j->model, source, &io, features, err);
    sw_patch_source_free(source);
    return status == SW_OK ? write_file(j, slide, &p, &features, path, err) : status;
}

/* ---- all of them */

static sw_status fail(job *j, sw_encode_row *row, sw_status status, const sw_error *why, sw_error *err)
{
    if (status == SW_E_CANCELLED || status == SW_E_NOMEM || status == SW_E_NOSPACE) return sw_error_set(err, status, "%s", why->message);
    row->status = SW_ENCODE_FAILED;
    j->result->n_failed++;
    row->reason = sw_strdup(why->message);
    return row->reason ? SW_OK : sw_nomem(err);
}

/* What can be told without encoding: slides that are done, and some that fail. */
static sw_status look_at(job *j, int64_t slide, sw_encode_row *row, sw_error *err)
{
    SW_CLEANUP(plan_free) plan p = {0};
    SW_AUTOFREE char *path = file_of(j, slide);
    sw_error why = {0};
    if (!path) return sw_nomem(err);
    sw_status status = make_plan(j, slide, &p, &why);
    if (status != SW_OK) return fail(j, row, status, &why, err);
    row->n_patches = p.of->n_patches;
    if (!sw_path_exists(path)) return SW_OK;
    status = check_file(path, &p, &why);
    if (status != SW_OK) return fail(j, row, status, &why, err);
    row->status = SW_ENCODE_ALREADY;
    j->result->n_already++;
    j->done += row->n_patches;
    return SW_OK;
}

static sw_status begin(job *j, sw_error *err)
{
    int64_t n = sw_store_slide_count(j->store), total = 0;
    sw_encode_result *r = j->result;
    r->row = sw_calloc((size_t)n + 1, sizeof *r->row);
    if (!r->row) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        sw_encode_row *row = &r->row[r->count];
        row->status = SW_ENCODE_LEFT;
        row->slide_id = sw_strdup(sw_store_slide_id(j->store, i));
        if (!row->slide_id) return sw_nomem(err);
        r->count++;
        SW_TRY(look_at(j, i, row, err));
        if (row->status != SW_ENCODE_FAILED) total += row->n_patches;
        if (sw_log_cancelled(j->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "interrupted");
    }
    sw_meter_start(&j->meter, j->options->sink, "encode", "patches", total);
    if (j->done > 0) sw_meter_tick(&j->meter, j->done, (double)j->done, NULL, NULL);
    return SW_OK;
}

static sw_status encode_all(job *j, sw_error *err)
{
    for (size_t i = 0; i < j->result->count; i++) {
        sw_encode_row *row = &j->result->row[i];
        sw_error why = {0};
        int64_t start_ns = sw_now_ns();
        if (row->status != SW_ENCODE_LEFT) continue;
        if (sw_log_cancelled(j->options->sink)) return sw_error_set(err, SW_E_CANCELLED, "interrupted");
        sw_status status = encode_slide(j, (int64_t)i, &why);
        row->seconds = (double)(sw_now_ns() - start_ns) * 1e-9;
        j->done += status == SW_E_CANCELLED ? 0 : row->n_patches;
        if (status != SW_OK) {
            SW_TRY(fail(j, row, status, &why, err));
            continue;
        }
        row->status = SW_ENCODE_DONE;
        j->result->n_done++;
        j->result->n_patches += row->n_patches;
    }
    return SW_OK;
}

sw_status sw_encode(const sw_store *store, const sw_encode_options *options, sw_encode_result *result, sw_error *err)
{
    SW_CLEANUP(job_free) job j = {.store = store, .options = options, .result = result, .lock_fd = -1,
                                 .chunk_patches = options->chunk_patches > 0 ? options->chunk_patches : CHUNK};
    int64_t start_ns = sw_now_ns();
    *result = (sw_encode_result){0};
    if (sw_store_feature_dim(store) > 0)
        return sw_error_set(err, SW_E_INVALID, "%s: these are features already", sw_store_path(store));
    SW_TRY(options->run ? open_run(&j, err) : open_encoder(&j, err));
    SW_TRY(hash_encoder(&j, err));
    SW_TRY(sw_pool_new(options->threads > 0 ? options->threads : sw_cpu_count(), &j.pool, err));
    SW_TRY(open_folder(&j, err));
    result->dim = sw_model_dim(j.model);
    sw_status status = begin(&j, err);
    if (status == SW_OK) status = encode_all(&j, err);
    result->seconds = (double)(sw_now_ns() - start_ns) * 1e-9;
    return status;
}
