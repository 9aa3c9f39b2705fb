/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of JPEGs against the whole picture, and the crops that are made of them. */
#include "test.h"

#include <turbojpeg.h>

#include "base/mem.h"
#include "base/rng.h"
#include "slide/jpeg_reader.h"
#include "slide/resize.h"

static sw_error err;

static void reader_free_ptr(sw_jpeg_reader **reader)
{
    sw_jpeg_reader_free(*reader);
}

/* Coloured blotches with noise: every coefficient is used, and neighbours differ. */
static uint8_t *picture(int width, int height)
{
    uint8_t *rgb = sw_malloc(3 * (size_t)width * (size_t)height);
    sw_rng rng = sw_rng_stream(7, SW_RNG_TEST, (uint32_t)width, (uint32_t)height, 0);
    for (int i = 0; rgb && i < 3 * width * height; i++) {
        int x = i / 3 % width, y = i / 3 / width, c = i % 3;
        double wave = 90 * sin(0.13 * x + c) * cos(0.09 * y - 2 * c);
        rgb[i] = (uint8_t)(128 + wave + sw_rng_range(&rng, -35, 35));
    }
    return rgb;
}

/* Owned by TurboJPEG: free with tjFree. */
static uint8_t *encode(const uint8_t *rgb, int width, int height, int sampling, int flags, size_t *size)
{
    uint8_t *jpeg = NULL;
    unsigned long used = 0;
    tjhandle codec = tjInitCompress();
    int failed = tjCompress2(codec, rgb, width, 0, height, TJPF_RGB, &jpeg, &used, sampling, 85, flags);
    tjDestroy(codec);
    *size = used;
    return failed ? NULL : jpeg;
}

static sw_jpeg_want any_box(sw_rng *rng, int width, int height, int most)
{
    sw_jpeg_want w = {.width = width, .height = height, .reduce = 1};
    int64_t across = 1 + (int64_t)sw_rng_below(rng, (uint64_t)(most < width ? most : width));
    int64_t down = 1 + (int64_t)sw_rng_below(rng, (uint64_t)(most < height ? most : height));
    w.x0 = (int64_t)sw_rng_below(rng, (uint64_t)(width - across + 1));
    w.y0 = (int64_t)sw_rng_below(rng, (uint64_t)(height - down + 1));
    w.x1 = w.x0 + across;
    w.y1 = w.y0 + down;
    return w;
}

/* The part covers the box, and every pixel of the box is the whole picture's. */
static bool same(const sw_jpeg_part *part, const sw_jpeg_want *want, const sw_image *whole)
{
    if (part->x > want->x0 || part->y > want->y0 || part->x + part->width < want->x1 ||
        part->y + part->height < want->y1)
        return false;
    for (int64_t y = want->y0; y < want->y1; y++) {
        const uint8_t *mine = part->pixels + 3 * ((y - part->y) * part->width + want->x0 - part->x);
        if (memcmp(mine, whole->rgb + 3 * (y * whole->width + want->x0), (size_t)(3 * (want->x1 - want->x0))) != 0) return false;
    }
    return true;
}

TEST(a_part_is_the_wholes)
{
    static const struct { int width, height, sampling, flags; } kind[] = {
        {256, 256, TJSAMP_420, 0},  {256, 256, TJSAMP_444, 0}, {256, 256, TJSAMP_422, 0}, {256, 256, TJSAMP_440, 0},
        {256, 256, TJSAMP_411, 0},  {256, 256, TJSAMP_GRAY, 0}, {101, 67, TJSAMP_420, 0}, {67, 101, TJSAMP_444, 0},
        {131, 50, TJSAMP_422, 0},   {17, 19, TJSAMP_420, 0},   {3, 2, TJSAMP_420, 0},
        {128, 128, TJSAMP_420, TJFLAG_PROGRESSIVE}, {100, 90, TJSAMP_444, TJFLAG_PROGRESSIVE},
    };
    SW_CLEANUP(reader_free_ptr) sw_jpeg_reader *reader = NULL;
    CHECK_OK(sw_jpeg_reader_new(&reader, &err));
    for (size_t k = 0; k < sizeof kind / sizeof kind[0]; k++) {
        SW_AUTOFREE uint8_t *rgb = picture(kind[k].width, kind[k].height);
        size_t size = 0;
        uint8_t *jpeg = encode(rgb, kind[k].width, kind[k].height, kind[k].sampling, kind[k].flags, &size);
        SW_CLEANUP(sw_image_free) sw_image whole = {0};
        CHECK_OK(sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &whole, &err));
        sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, (uint32_t)k, 0, 0);
        int wrong = 0;
        for (int i = 0; i < 250; i++) {
            sw_jpeg_part part = {0};
            sw_jpeg_want want = any_box(&rng, kind[k].width, kind[k].height, i % 3 == 0 ? 12 : 256);
            CHECK_OK(sw_jpeg_reader_read(reader, jpeg, size, &want, &part, &err));
            if (!same(&part, &want, &whole) && wrong++ == 0)
                printf("# kind %d: box %d %d %d %d\n", (int)k, (int)want.x0, (int)want.y0, (int)want.x1, (int)want.y1);
        }
        CHECK_INT(wrong, 0);
        tjFree(jpeg);
    }
}

TEST(less_is_decoded)
{
    SW_AUTOFREE uint8_t *rgb = picture(256, 256);
    SW_CLEANUP(reader_free_ptr) sw_jpeg_reader *reader = NULL;
    size_t size = 0;
    uint8_t *jpeg = encode(rgb, 256, 256, TJSAMP_420, 0, &size);
    sw_jpeg_part part = {0};
    sw_jpeg_want want = {.width = 256, .height = 256, .x0 = 100, .y0 = 40, .x1 = 120, .y1 = 70, .reduce = 1};
    CHECK_OK(sw_jpeg_reader_new(&reader, &err));
    CHECK_OK(sw_jpeg_reader_read(reader, jpeg, size, &want, &part, &err));
    CHECK_INT(part.x, 96);
    CHECK_INT(part.y, 40);
    CHECK_INT(part.width, 26);
    CHECK_INT(part.height, 30);
    tjFree(jpeg);
}

TEST(messages_of_bad_streams)
{
    SW_AUTOFREE uint8_t *rgb = picture(64, 64);
    SW_CLEANUP(reader_free_ptr) sw_jpeg_reader *reader = NULL;
    size_t size = 0;
    uint8_t *jpeg = encode(rgb, 64, 64, TJSAMP_420, 0, &size);
    sw_jpeg_part part = {0};
    sw_jpeg_want want = {.width = 64, .height = 64, .x1 = 10, .y1 = 10, .reduce = 1}, other = want, beside = want;
    CHECK_OK(sw_jpeg_reader_new(&reader, &err));
    CHECK_INT(sw_jpeg_reader_read(reader, "no JPEG at all", 14, &want, &part, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "not a readable JPEG stream: Not a JPEG file: starts with 0x6e 0x6f");
    other.width = 65;
    CHECK_INT(sw_jpeg_reader_read(reader, jpeg, size, &other, &part, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "the JPEG stream holds 64 x 64 pixels where 65 x 64 are expected");
    beside.x1 = 65;
    CHECK_INT(sw_jpeg_reader_read(reader, jpeg, size, &beside, &part, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a part from (0, 0) to (65, 10) of a JPEG of 64 x 64 pixels at 1/1 is not possible");
    /* cut behind the rows that are asked for, and found all the same */
    CHECK_INT(sw_jpeg_reader_read(reader, jpeg, size - 200, &want, &part, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "damaged JPEG stream: Premature end of JPEG file");
    /* the reader works on after each of them, and as the whole decoder takes what follows the end */
    CHECK_OK(sw_jpeg_reader_read(reader, jpeg, size, &want, &part, &err));
    SW_AUTOFREE uint8_t *longer = sw_calloc(size + 9, 1);
    memcpy(longer, jpeg, size);
    CHECK_OK(sw_jpeg_reader_read(reader, longer, size + 9, &want, &part, &err));
    tjFree(jpeg);
}

/* Root of the mean squared difference, in grey levels. */
static double distance(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)(a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum / n);
}

TEST(crops_of_parts_and_of_reduced_pictures)
{
    enum { SIDE = 300, PX = 64, N = 3 * PX * PX };
    SW_AUTOFREE uint8_t *rgb = picture(SIDE, SIDE);
    SW_CLEANUP(reader_free_ptr) sw_jpeg_reader *reader = NULL;
    SW_CLEANUP(sw_image_free) sw_image whole = {0};
    SW_CLEANUP(sw_resize_scratch_free) sw_resize_scratch scratch = {0};
    static float full[N], part_planes[N], plain[N], swapped[N];
    size_t size = 0;
    uint8_t *jpeg = encode(rgb, SIDE, SIDE, TJSAMP_420, 0, &size);
    CHECK_OK(sw_jpeg_reader_new(&reader, &err));
    CHECK_OK(sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &whole, &err));
    static const sw_crop crops[] = {{20, 30, 130, 128, false, false}, {0, 0, 300, 300, true, false},
                                    {101.5, 7.25, 50, 77, false, true}, {240, 250, 60, 50, true, true}};
    const float scale[3] = {1, 2, 3}, offset[3] = {0.5f, 0, -7};
    for (size_t k = 0; k < sizeof crops / sizeof crops[0]; k++) {
        sw_resize_job job = {0};
        sw_jpeg_part part = {0};
        CHECK_OK(sw_resize_crop(whole.rgb, SIDE, SIDE, &crops[k], PX, PX, scale, offset, full, &err));
        CHECK_OK(sw_resize_job_of(NULL, SIDE, SIDE, &crops[k], PX, PX, &job, &err));
        sw_jpeg_want want = {.width = SIDE, .height = SIDE, .x0 = job.clip_x0, .y0 = job.clip_y0, .x1 = job.clip_x1,
                             .y1 = job.clip_y1, .reduce = 1};
        CHECK_OK(sw_jpeg_reader_read(reader, jpeg, size, &want, &part, &err));
        job.pixels = part.pixels;
        job.source_x = part.x;
        job.source_y = part.y;
        job.source_width = part.width;
        job.source_height = part.height;
        CHECK_OK(sw_resize_run_planes(&job, scale, offset, part_planes, &scratch, &err));
        CHECK(memcmp(full, part_planes, sizeof full) == 0);
        job.plain = true; /* and every processor gives these bits */
        CHECK_OK(sw_resize_run_planes(&job, scale, offset, plain, &scratch, &err));
        CHECK(memcmp(full, plain, sizeof full) == 0);
        job.swap = true; /* blue first, with the constants of the plane */
        CHECK_OK(sw_resize_run_planes(&job, NULL, NULL, swapped, &scratch, &err));
        for (int i = 0; i < PX * PX; i++) CHECK_NEAR(swapped[i] * 3 - 7, full[2 * PX * PX + i], 1e-6, 1e-4);
    }
    /* half as wide and high: not the same, but the same place */
    sw_resize_job job = {0};
    sw_jpeg_part part = {0};
    const sw_crop *c = &crops[0];
    sw_crop half = {c->x / 2, c->y / 2, c->width / 2, c->height / 2, false, false}, beside = half;
    sw_jpeg_want want = {.width = SIDE, .height = SIDE, .x0 = 20, .y0 = 30, .x1 = 150, .y1 = 158, .reduce = 2};
    CHECK_OK(sw_jpeg_reader_read(reader, jpeg, size, &want, &part, &err));
    CHECK_OK(sw_resize_crop(whole.rgb, SIDE, SIDE, c, PX, PX, NULL, NULL, full, &err));
    double error[2];
    for (int k = 0; k < 2; k++) {
        CHECK_OK(sw_resize_job_of(part.pixels, SIDE / 2, SIDE / 2, k == 0 ? &half : &beside, PX, PX, &job, &err));
        job.source_x = part.x;
        job.source_y = part.y;
        job.source_width = part.width;
        job.source_height = part.height;
        CHECK_OK(sw_resize_run_planes(&job, NULL, NULL, part_planes, &scratch, &err));
        error[k] = distance(full, part_planes, N);
        beside.x -= 0.5;
    }
    printf("# half size: off by %.2f grey levels (rms); half a pixel beside: %.2f\n", error[0], error[1]);
    CHECK(error[0] < 5 && error[0] < error[1]);
    tjFree(jpeg);
}
