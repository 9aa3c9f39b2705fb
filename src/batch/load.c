/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/load.h"

#include <math.h>

#include "base/mem.h"
#include "encoder/normalise.h"

sw_timer sw_timer_start(void)
{
    return (sw_timer){.last_ns = sw_now_ns()};
}

void sw_timer_lap(sw_timer *timer, int64_t *counter)
{
    int64_t now = sw_now_ns();
    *counter += now - timer->last_ns;
    timer->last_ns = now;
}

void sw_timer_add(sw_batch_timing *timing, const sw_timer *timer)
{
    __atomic_fetch_add(&timing->read_ns, timer->read_ns, __ATOMIC_RELAXED);
    __atomic_fetch_add(&timing->decode_ns, timer->decode_ns, __ATOMIC_RELAXED);
    __atomic_fetch_add(&timing->augment_ns, timer->augment_ns, __ATOMIC_RELAXED);
}

const char *sw_batch_timing_limit(const sw_batch_timing *t)
{
    if (t->read_ns > t->decode_ns && t->read_ns > t->augment_ns) return "reading";
    return t->decode_ns >= t->augment_ns ? "decoding" : "augmenting";
}

static int64_t busy_ns(const sw_batch_timing *t)
{
    return t->read_ns + t->decode_ns + t->augment_ns;
}

int sw_loader_workers(const sw_loader_count *before, const sw_loader_count *after, int64_t elapsed_ns, int most)
{
    int64_t others = elapsed_ns - (after->waited_ns - before->waited_ns);
    int64_t busy = busy_ns(&after->timing) - busy_ns(&before->timing);
    if (others <= 0) return most;
    double needed = ceil(1.5 * (double)busy / (double)others);
    return needed < 1 ? 1 : needed > most ? most : (int)needed;
}

sw_pixel_rule sw_pixel_rule_of(sw_channel_order order, sw_pixel_norm norm)
{
    sw_pixel_rule rule = {.swap = order == SW_CHANNELS_BGR_AS_REFERENCE};
    sw_normalise(norm, rule.scale, rule.offset);
    return rule;
}

/* ---- makers */

void sw_makers_init(sw_makers *makers)
{
    makers->idle = NULL;
    pthread_mutex_init(&makers->lock, NULL);
}

static void maker_free(sw_maker *maker)
{
    if (!maker) return;
    sw_jpeg_reader_free(maker->reader);
    sw_resize_scratch_free(&maker->scratch);
    sw_free(maker->rgb);
    sw_free(maker);
}

void sw_makers_clear(sw_makers *makers)
{
    while (makers->idle) {
        sw_maker *maker = makers->idle;
        makers->idle = maker->next;
        maker_free(maker);
    }
    pthread_mutex_destroy(&makers->lock);
}

sw_status sw_maker_take(sw_makers *makers, sw_maker **out, sw_error *err)
{
    pthread_mutex_lock(&makers->lock);
    sw_maker *maker = makers->idle;
    if (maker) makers->idle = maker->next;
    pthread_mutex_unlock(&makers->lock);
    if (!maker) {
        maker = sw_calloc(1, sizeof(*maker));
        if (!maker) return sw_nomem(err);
        sw_status status = sw_jpeg_reader_new(&maker->reader, err);
        if (status != SW_OK) {
            maker_free(maker);
            return status;
        }
    }
    *out = maker;
    return SW_OK;
}

void sw_maker_give(sw_makers *makers, sw_maker *maker)
{
    if (!maker) return;
    pthread_mutex_lock(&makers->lock);
    maker->next = makers->idle;
    makers->idle = maker;
    pthread_mutex_unlock(&makers->lock);
}

/* ---- one patch */

/* By how much the decoder may shrink: the crop stays at least as large as the result. */
static int reduce_of(const sw_cut *cut)
{
    if (!cut->rule->scaled) return 1;
    for (int reduce = 4; reduce > 1; reduce /= 2) {
        if (cut->crop->width >= reduce * cut->px && cut->crop->height >= reduce * cut->px) return reduce;
    }
    return 1;
}

static sw_status job_of(const sw_cut *cut, int reduce, sw_resize_job *job, sw_error *err)
{
    sw_crop crop = *cut->crop;
    int side = (cut->patch_px + reduce - 1) / reduce;
    crop.x /= reduce;
    crop.y /= reduce;
    crop.width /= reduce;
    crop.height /= reduce;
    SW_TRY(sw_resize_job_beyond(NULL, side, side, &crop, cut->px, cut->px, job, err));
    job->swap = cut->rule->swap;
    return SW_OK;
}

static sw_status read_part(const void *jpeg, size_t size, const sw_cut *cut, int reduce, sw_maker *maker,
                           sw_resize_job *job, sw_error *err)
{
    sw_jpeg_part part = {0};
    int64_t side = cut->patch_px, x1 = job->clip_x1 * reduce, y1 = job->clip_y1 * reduce;
    sw_jpeg_want want = {.width = side, .height = side, .x0 = job->clip_x0 * reduce, .y0 = job->clip_y0 * reduce,
                         .x1 = x1 < side ? x1 : side, .y1 = y1 < side ? y1 : side, .reduce = reduce};
    SW_TRY(sw_jpeg_reader_read(maker->reader, jpeg, size, &want, &part, err));
    job->pixels = part.pixels;
    job->source_x = part.x;
    job->source_y = part.y;
    job->source_width = part.width;
    job->source_height = part.height;
    return SW_OK;
}

static sw_status need_rgb(sw_maker *maker, const sw_cut *cut, sw_error *err)
{
    size_t bytes = 3 * (size_t)cut->patch_px * (size_t)cut->patch_px;
    if (bytes <= maker->rgb_bytes) return SW_OK;
    sw_free(maker->rgb);
    maker->rgb_bytes = 0;
    maker->rgb = sw_malloc(bytes);
    if (!maker->rgb) return sw_nomem(err);
    maker->rgb_bytes = bytes;
    return SW_OK;
}

/* Of the whole patch that lies in maker->rgb. */
static sw_status planes_of_maker(sw_maker *maker, const sw_cut *cut, float *planes, sw_timer *timer, sw_error *err)
{
    sw_resize_job job = {0};
    sw_timer_lap(timer, &timer->read_ns);
    SW_TRY(job_of(cut, 1, &job, err));
    job.pixels = maker->rgb;
    SW_TRY(sw_resize_run_planes(&job, cut->rule->scale, cut->rule->offset, planes, &maker->scratch, err));
    sw_timer_lap(timer, &timer->augment_ns);
    return SW_OK;
}

/* A patch that stays on its slide. */
static sw_status planes_of_slide(const sw_store *store, int64_t slide, int scale, int64_t index, const sw_cut *cut, sw_maker *maker,
                                 float *planes, sw_timer *timer, sw_error *err)
{
    SW_TRY(need_rgb(maker, cut, err));
    SW_TRY(sw_store_pixels(store, slide, scale, index, maker->rgb, err));
    return planes_of_maker(maker, cut, planes, timer, err);
}

sw_status sw_store_planes(const sw_store *store, int64_t slide, int scale, int64_t index, const sw_cut *cut,
                          sw_maker *maker, float *planes, sw_timer *timer, sw_error *err)
{
    const void *jpeg = NULL;
    size_t size = 0;
    sw_resize_job job = {0};
    int reduce = reduce_of(cut);
    if (!sw_store_has_jpegs(store)) return planes_of_slide(store, slide, scale, index, cut, maker, planes, timer, err);
    SW_TRY(sw_store_patch(store, slide, scale, index, &jpeg, &size, err));
    SW_TRY(job_of(cut, reduce, &job, err));
    sw_timer_lap(timer, &timer->read_ns);
    sw_status status = read_part(jpeg, size, cut, reduce, maker, &job, err);
    sw_store_patch_done(store, jpeg, size);
    sw_timer_lap(timer, &timer->decode_ns);
    if (status == SW_E_NOMEM) return status;
    if (status != SW_OK) {
        return sw_error_prefix(err, "store %s: slide %s, patch %lld at %g um/px", sw_store_path(store),
                               sw_store_slide_id(store, slide), (long long)index,
                               sw_store_scale_get(store, slide, scale)->mpp_um);
    }
    SW_TRY(sw_resize_run_planes(&job, cut->rule->scale, cut->rule->offset, planes, &maker->scratch, err));
    sw_timer_lap(timer, &timer->augment_ns);
    return SW_OK;
}

/* Planes from pixels that are read whole. */
static sw_status planes_of_rgb(sw_patch_source *source, int64_t index, const sw_cut *cut, sw_maker *maker, float *planes,
                               sw_timer *timer, sw_error *err)
{
    SW_TRY(need_rgb(maker, cut, err));
    SW_TRY(sw_patch_source_read(source, index, maker->rgb, err));
    return planes_of_maker(maker, cut, planes, timer, err);
}

sw_status sw_patch_source_planes(sw_patch_source *source, int64_t index, const sw_cut *cut, sw_maker *maker, float *planes,
                                 sw_timer *timer, sw_error *err)
{
    const sw_store *store = NULL;
    int64_t slide = 0;
    int scale = 0;
    if (!sw_patch_source_is_store(source, &store, &slide, &scale))
        return planes_of_rgb(source, index, cut, maker, planes, timer, err);
    return sw_store_planes(store, slide, scale, index, cut, maker, planes, timer, err);
}
