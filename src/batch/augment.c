/* SPDX-License-Identifier: Apache-2.0 */
/* Random crops, shifts and flips as parameters: drawn by counters before any pixel is touched. */
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "batch/load.h"

enum { CROP_TRIES = 10, SHARED_CHUNKS = 4 };

sw_augment sw_augment_of(const sw_config *config)
{
    return (sw_augment){.crop = config->augment.crop, .crop_px = (int)config->augment.crop_px,
                        .crop_scale = config->augment.crop_scale, .crop_ratio = config->augment.crop_ratio,
                        .hflip = config->augment.hflip, .vflip = config->augment.vflip, .shift = config->augment.shift, .share = config->augment.share,
                        .fast_decode = config->augment.fast_decode};
}

/* RandomResizedCrop's box: area between crop_scale and 1 of the image, aspect ratio log-uniform, sides rounded half to
 * even; after ten tries that do not fit, the whole image. */
static sw_crop draw_crop(const sw_augment *a, int side, sw_rng *rng)
{
    double log_ratio = log(a->crop_ratio);
    for (int i = 0; a->crop && i < CROP_TRIES; i++) {
        double area = (double)side * side * sw_rng_range(rng, a->crop_scale, 1.0);
        double ratio = exp(sw_rng_range(rng, -log_ratio, log_ratio));
        double width = rint(sqrt(area * ratio)), height = rint(sqrt(area / ratio));
        if (!(width > 0 && width <= side && height > 0 && height <= side)) continue;
        double top = (double)sw_rng_below(rng, (uint64_t)(side - (int)height + 1));
        double left = (double)sw_rng_below(rng, (uint64_t)(side - (int)width + 1));
        return (sw_crop){.x = left, .y = top, .width = width, .height = height};
    }
    return (sw_crop){.width = side, .height = side};
}

/* The reference's RandomAffine: whole pixels, rounded half to even. The picture moves by (tx, ty), so the box moves back. */
static void draw_shift(const sw_augment *a, int side, sw_rng rng, sw_crop *crop)
{
    if (a->shift <= 0) return;
    double most = a->shift * side;
    crop->x -= rint(sw_rng_range(&rng, -most, most));
    crop->y -= rint(sw_rng_range(&rng, -most, most));
}

static void draw_per_patch(const sw_augment_step *s, sw_crop *crop)
{
    for (int64_t i = 0; i < s->n_bags * s->bag_patches; i++) {
        uint32_t bag = (uint32_t)s->bag[i / s->bag_patches], slot = (uint32_t)(i % s->bag_patches);
        sw_rng rng = sw_rng_stream(s->seed, SW_RNG_CROP, s->epoch, bag, slot);
        crop[i] = draw_crop(s->augment, s->source_px[i], &rng);
        draw_shift(s->augment, s->source_px[i], sw_rng_stream(s->seed, SW_RNG_SHIFT, s->epoch, bag, slot), &crop[i]);
        rng = sw_rng_stream(s->seed, SW_RNG_FLIP, s->epoch, bag, slot);
        crop[i].flip_x = sw_rng_uniform(&rng) < s->augment->hflip;
        crop[i].flip_y = sw_rng_uniform(&rng) < s->augment->vflip;
    }
}

/* Marks exactly rate * n of the patches (a fraction of one is rounded up with its own probability). */
static void draw_exact_flips(double rate, int64_t n, bool vertical, const sw_augment_step *s, int64_t *order,
                             sw_crop *crop)
{
    sw_rng rng = sw_rng_stream(s->seed, SW_RNG_FLIP, s->epoch, s->step, vertical);
    double exact = rate * (double)n, whole = floor(exact);
    int64_t count = (int64_t)whole + (exact > whole && sw_rng_uniform(&rng) <= exact - whole ? 1 : 0);
    for (int64_t i = 0; i < n; i++) order[i] = i;
    sw_rng_shuffle(&rng, order, (size_t)n);
    for (int64_t i = 0; i < count; i++) {
        if (vertical) crop[order[i]].flip_y = true;
        else crop[order[i]].flip_x = true;
    }
}

/* The reference: the step's patches in order make at most four chunks, each with one crop and one shift. */
static sw_status draw_per_chunk(const sw_augment_step *s, sw_crop *crop, sw_error *err)
{
    int64_t n = s->n_bags * s->bag_patches, chunks = n < SHARED_CHUNKS ? n : SHARED_CHUNKS;
    int64_t size = (n + chunks - 1) / chunks;
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)n + 1, sizeof(*order));
    if (!order) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) {
        /* a new stream per patch, the same numbers within the chunk: patches of another size get their own box */
        uint32_t chunk = (uint32_t)(i / size);
        sw_rng rng = sw_rng_stream(s->seed, SW_RNG_CROP, s->epoch, s->step, chunk);
        crop[i] = draw_crop(s->augment, s->source_px[i], &rng);
        draw_shift(s->augment, s->source_px[i], sw_rng_stream(s->seed, SW_RNG_SHIFT, s->epoch, s->step, chunk), &crop[i]);
    }
    draw_exact_flips(s->augment->hflip, n, false, s, order, crop);
    draw_exact_flips(s->augment->vflip, n, true, s, order, crop);
    return SW_OK;
}

sw_status sw_augment_draw(const sw_augment_step *s, sw_crop *crop, sw_error *err)
{
    if (s->augment->share == SW_SHARE_CHUNK) SW_TRY(draw_per_chunk(s, crop, err));
    else draw_per_patch(s, crop);
    /* Flips come before shift and crop, so the box was drawn on the mirrored image; here it is mirrored back, because
     * sw_resize_crop mirrors the result. */
    for (int64_t i = 0; i < s->n_bags * s->bag_patches; i++) {
        if (crop[i].flip_x) crop[i].x = s->source_px[i] - crop[i].x - crop[i].width;
        if (crop[i].flip_y) crop[i].y = s->source_px[i] - crop[i].y - crop[i].height;
    }
    return SW_OK;
}
