/* SPDX-License-Identifier: Apache-2.0 */
/* Patches per second and thread of loading, by stage, over the patches of one slide of a store:
 *   bench_loader STORE [patches] [crop_px] [crop_scale] [repeats]     (200 224 0.25 7)
 * Best of the repeats, in CPU time of the thread, so that other processes disturb little. The floor is decoding the same
 * JPEGs whole, with one decoder that stays. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "batch/load.h"

typedef struct bench {
    sw_store *store;
    int64_t patches;
    int px, patch_px, repeats;
    sw_crop *crop, *whole;
    sw_makers makers;
    sw_maker *maker;
    sw_pixel_rule rule;
    float *planes;
    uint8_t *rgb;
} bench;

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

typedef sw_status (*stage_fn)(bench *b, int64_t i, sw_error *err);

static sw_status jpeg_of(const bench *b, int64_t i, const void **jpeg, size_t *size, sw_error *err)
{
    return sw_store_patch(b->store, 0, 0, i % sw_store_scale_get(b->store, 0, 0)->n_patches, jpeg, size, err);
}

static sw_status read_only(bench *b, int64_t i, sw_error *err)
{
    const void *jpeg;
    size_t size, sum = 0;
    SW_TRY(jpeg_of(b, i, &jpeg, &size, err));
    for (size_t k = 0; k < size; k += 64) sum += ((const uint8_t *)jpeg)[k];
    b->rgb[0] = (uint8_t)sum;
    return SW_OK;
}

static sw_status decode_box(bench *b, int64_t i, const sw_crop *c, sw_error *err)
{
    const void *jpeg;
    size_t size;
    sw_jpeg_part part;
    SW_TRY(jpeg_of(b, i, &jpeg, &size, err));
    sw_jpeg_want want = {.width = b->patch_px, .height = b->patch_px, .x0 = (int64_t)c->x, .y0 = (int64_t)c->y,
                         .x1 = (int64_t)(c->x + c->width), .y1 = (int64_t)(c->y + c->height), .reduce = 1};
    return sw_jpeg_reader_read(b->maker->reader, jpeg, size, &want, &part, err);
}

static sw_status decode_whole(bench *b, int64_t i, sw_error *err)
{
    return decode_box(b, i, &b->whole[i], err);
}

static sw_status decode_part(bench *b, int64_t i, sw_error *err)
{
    return decode_box(b, i, &b->crop[i], err);
}

static sw_status decode_afresh(bench *b, int64_t i, sw_error *err)
{
    const void *jpeg;
    size_t size;
    SW_TRY(jpeg_of(b, i, &jpeg, &size, err));
    return sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, b->patch_px, b->patch_px, b->rgb, err);
}

static sw_status resize_crop(bench *b, int64_t i, sw_error *err)
{
    return sw_resize_crop(b->rgb, b->patch_px, b->patch_px, &b->crop[i], b->px, b->px, b->rule.scale, b->rule.offset,
                          b->planes, err);
}

static sw_status resize_whole(bench *b, int64_t i, sw_error *err)
{
    return sw_resize_crop(b->rgb, b->patch_px, b->patch_px, &b->whole[i], b->px, b->px, b->rule.scale, b->rule.offset,
                          b->planes, err);
}

static sw_status make(bench *b, int64_t i, const sw_crop *crop, sw_error *err)
{
    sw_timer timer = sw_timer_start();
    sw_cut cut = {&b->rule, b->patch_px, crop, b->px};
    return sw_store_planes(b->store, 0, 0, i % sw_store_scale_get(b->store, 0, 0)->n_patches, &cut, b->maker, b->planes,
                           &timer, err);
}

static sw_status make_crop(bench *b, int64_t i, sw_error *err)
{
    return make(b, i, &b->crop[i], err);
}

static sw_status make_scaled(bench *b, int64_t i, sw_error *err)
{
    b->rule.scaled = true;
    sw_status status = make(b, i, &b->crop[i], err);
    b->rule.scaled = false;
    return status;
}

static sw_status make_whole(bench *b, int64_t i, sw_error *err)
{
    return make(b, i, &b->whole[i], err);
}

static sw_status measure(bench *b, const char *name, stage_fn stage, sw_error *err)
{
    double best = 1e30;
    for (int r = 0; r < b->repeats; r++) {
        double start = cpu_seconds();
        for (int64_t i = 0; i < b->patches; i++) SW_TRY(stage(b, i, err));
        double seconds = cpu_seconds() - start;
        if (seconds < best) best = seconds;
    }
    printf("%-44s %8.1f us/patch %9.0f patches/s\n", name, best / (double)b->patches * 1e6, (double)b->patches / best);
    return SW_OK;
}

/* What exactness costs and what scaling costs: root of the mean squared difference in grey levels. */
static sw_status scaling_error(bench *b, sw_error *err)
{
    int64_t n = 3 * (int64_t)b->px * b->px;
    double sum = 0, worst = 0;
    SW_AUTOFREE float *exact = sw_malloc((size_t)n * sizeof(float));
    if (!exact) return sw_nomem(err);
    for (int64_t i = 0; i < b->patches; i++) {
        SW_TRY(make_crop(b, i, err));
        memcpy(exact, b->planes, (size_t)n * sizeof(float));
        SW_TRY(make_scaled(b, i, err));
        for (int64_t k = 0; k < n; k++) {
            double d = (b->planes[k] - exact[k]) / b->rule.scale[k / (n / 3)];
            sum += d * d;
            if (d * d > worst) worst = d * d;
        }
    }
    printf("scaled against exact: %.2f grey levels (rms), %.0f at most\n", sqrt(sum / (double)(n * b->patches)), sqrt(worst));
    return SW_OK;
}

static sw_status draw(bench *b, double scale, sw_error *err)
{
    size_t n = (size_t)b->patches;
    sw_augment a = {.crop = true, .crop_px = b->px, .crop_scale = scale, .crop_ratio = 4.0 / 3, .hflip = 0.5, .vflip = 0.5};
    int64_t bag = 0;
    SW_AUTOFREE int *px = sw_calloc(n, sizeof(*px));
    b->crop = sw_calloc(n, sizeof(*b->crop));
    b->whole = sw_calloc(n, sizeof(*b->whole));
    if (!px || !b->crop || !b->whole) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        px[i] = b->patch_px;
        b->whole[i] = (sw_crop){.width = b->patch_px, .height = b->patch_px};
    }
    sw_augment_step step = {.augment = &a, .seed = 1, .n_bags = 1, .bag_patches = b->patches, .bag = &bag, .source_px = px};
    return sw_augment_draw(&step, b->crop, err);
}

static sw_status run(bench *b, sw_error *err)
{
    static const struct { const char *name; stage_fn stage; } stages[] = {
        {"read from the store", read_only},
        {"decode whole, one decoder (the floor)", decode_whole},
        {"decode whole, a decoder for each", decode_afresh},
        {"decode what the crop needs", decode_part},
        {"crop, resize, normalise", resize_crop},
        {"resize the whole patch, normalise", resize_whole},
        {"training: read, decode, crop", make_crop},
        {"training, augment.fast_decode: scaled", make_scaled},
        {"evaluation: read, decode, resize", make_whole},
    };
    for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) SW_TRY(measure(b, stages[i].name, stages[i].stage, err));
    return scaling_error(b, err);
}

static sw_status go(int argc, char **argv, bench *b, sw_error *err)
{
    b->patches = argc > 2 ? atoi(argv[2]) : 200;
    b->px = argc > 3 ? atoi(argv[3]) : 224;
    double scale = argc > 4 ? atof(argv[4]) : 0.25;
    b->repeats = argc > 5 ? atoi(argv[5]) : 7;
    if (argc < 2 || b->patches < 1 || b->px < 1 || !(scale > 0 && scale <= 1) || b->repeats < 1)
        return sw_error_set(err, SW_E_INVALID, "usage: bench_loader STORE [patches] [crop_px] [crop_scale] [repeats]");
    SW_TRY(sw_store_open(argv[1], &b->store, err));
    const sw_store_scale *known = sw_store_scale_get(b->store, 0, 0);
    if (!known || known->n_patches == 0) return sw_error_set(err, SW_E_INVALID, "%s: no patch in it", argv[1]);
    b->patch_px = known->patch_px;
    b->rule = sw_pixel_rule_of(SW_CHANNELS_RGB, SW_PIXELS_IMAGENET);
    SW_TRY(sw_maker_take(&b->makers, &b->maker, err));
    b->planes = sw_aligned_alloc(64, 3 * (size_t)b->px * (size_t)b->px * sizeof(float));
    b->rgb = sw_malloc(3 * (size_t)b->patch_px * (size_t)b->patch_px);
    if (!b->planes || !b->rgb) return sw_nomem(err);
    SW_TRY(draw(b, scale, err));
    SW_TRY(decode_afresh(b, 0, err));
    printf("%lld patches of %d px, crops of %g to 1 of the area to %d px, one thread\n", (long long)b->patches, b->patch_px,
           scale, b->px);
    return run(b, err);
}

int main(int argc, char **argv)
{
    bench b = {.store = NULL};
    sw_error err;
    sw_makers_init(&b.makers);
    sw_status status = go(argc, argv, &b, &err);
    if (status != SW_OK) fprintf(stderr, "bench_loader: %s\n", err.message);
    sw_maker_give(&b.makers, b.maker);
    sw_makers_clear(&b.makers);
    sw_free(b.planes);
    sw_free(b.rgb);
    sw_free(b.crop);
    sw_free(b.whole);
    sw_store_close(&b.store);
    return status != SW_OK;
}
