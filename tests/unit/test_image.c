/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs and resizing; the expected numbers of Pillow are made by tests/golden/make_resize.py. */
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slide/resize.h"
#include "slidewise/image.h"
#include "test.h"

#define W 7
#define H 5

static const float smaller_3x2[] = {
    99.3636f, 125.4920f, 132.4545f, 167.3377f, 150.3690f, 119.0260f,
    131.3766f, 129.9786f, 121.2467f, 99.6104f, 135.0054f, 116.9610f,
    109.3636f, 131.7273f, 150.7662f, 113.3377f, 129.9091f, 146.4805f,
};
static const float larger_9x6_row0[] = {
    0.0000f, 24.6667f, 53.4444f, 82.2222f, 111.0000f, 139.7778f,
    168.5556f, 197.3333f, 222.0000f, 101.0000f, 125.6667f, 154.4444f,
    183.2222f, 212.0000f, 240.7778f, 127.3333f, 42.3333f, 67.0000f,
    202.0000f, 226.6667f, 141.6667f, 28.2222f, 57.0000f, 85.7778f,
    114.5556f, 143.3333f, 168.0000f,
};
static const float crop_4x3[] = {
    184.5000f, 161.6000f, 36.3000f, 90.2000f, 158.5000f, 100.0000f,
    169.5000f, 111.0000f, 132.5000f, 217.6000f, 123.5000f, 131.8000f,
    29.5000f, 83.4000f, 137.3000f, 114.4000f, 131.5000f, 201.0000f,
    142.5000f, 84.0000f, 54.3000f, 139.4000f, 147.7000f, 53.6000f,
    130.5000f, 184.4000f, 161.5000f, 215.4000f, 104.5000f, 174.0000f,
    115.5000f, 185.0000f, 78.5000f, 163.6000f, 69.5000f, 154.6000f,
};

static const float beyond_4x3[] = {
    0.0000f, 74.0159f, 161.4127f, 151.6250f, 0.0000f, 110.1667f,
    137.5417f, 140.7188f, 0.0000f, 19.8254f, 16.7460f, 30.5179f,
    0.0000f, 104.7778f, 103.9365f, 101.7679f, 0.0000f, 48.1944f,
    90.8056f, 121.0938f, 0.0000f, 9.1270f, 14.9206f, 8.3750f,
    0.0000f, 38.0159f, 107.4127f, 166.1964f, 0.0000f, 78.6667f,
    90.2917f, 113.4688f, 0.0000f, 14.6825f, 9.0317f, 22.8036f,
};
static const float beyond_2x5[] = {
    0.0000f, 0.0000f, 0.0000f, 0.0000f, 0.0000f, 0.0000f,
    173.2273f, 58.8636f, 46.0455f, 25.8182f, 0.0000f, 0.0000f,
    0.0000f, 0.0000f, 0.0000f, 0.0000f, 106.7273f, 16.5909f,
    142.4545f, 53.3636f, 0.0000f, 0.0000f, 0.0000f, 0.0000f,
    0.0000f, 0.0000f, 121.6818f, 44.1364f, 180.6818f, 22.7273f,
};

static void fill(uint8_t *rgb)
{
    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            for (int c = 0; c < 3; c++) rgb[3 * (y * W + x) + c] = (uint8_t)(x * 37 + y * 59 + c * 101 + x * y * 13);
        }
    }
}

TEST(resizing_agrees_with_pillow)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H];
    float out[3 * 9 * 6];
    const sw_crop whole = {0, 0, W, H, false, false}, box = {2, 1, 4, 4, false, false};
    fill(rgb);
    CHECK_OK(sw_resize_crop(rgb, W, H, &whole, 3, 2, NULL, NULL, out, &err));
    for (int i = 0; i < 18; i++) CHECK_NEAR(out[i], smaller_3x2[i], 0, 2e-4);
    CHECK_OK(sw_resize_crop(rgb, W, H, &whole, 9, 6, NULL, NULL, out, &err));
    for (int i = 0; i < 27; i++) CHECK_NEAR(out[i / 9 * 54 + i % 9], larger_9x6_row0[i], 0, 2e-4);
    CHECK_OK(sw_resize_crop(rgb, W, H, &box, 4, 3, NULL, NULL, out, &err));
    for (int i = 0; i < 36; i++) CHECK_NEAR(out[i], crop_4x3[i], 0, 2e-4);
}

/* A box beyond the picture, or half so; both kernels. */
TEST(beyond_the_picture_it_is_black)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H];
    float out[3 * 4 * 3];
    SW_CLEANUP(sw_resize_scratch_free) sw_resize_scratch scratch = {0};
    const sw_crop left = {-2, 1, 6, 6, false, false}, above = {4, -3, 5, 5, false, false}, beside = {W, 1, 3, 3, false, true};
    const sw_crop inside = {2, 1, 4, 4, false, false}, flipped = {-2, 1, 6, 6, true, false};
    sw_resize_job job = {0}, plain = {0};
    fill(rgb);
    for (int k = 0; k < 2; k++) {
        CHECK_OK(sw_resize_job_beyond(rgb, W, H, &left, 4, 3, &job, &err));
        job.plain = k;
        CHECK_OK(sw_resize_run_planes(&job, NULL, NULL, out, &scratch, &err));
        for (int i = 0; i < 36; i++) CHECK_NEAR(out[i], beyond_4x3[i], 0, 2e-4);
        CHECK_OK(sw_resize_job_beyond(rgb, W, H, &flipped, 4, 3, &job, &err));
        job.plain = k;
        CHECK_OK(sw_resize_run_planes(&job, NULL, NULL, out, &scratch, &err));
        for (int i = 0; i < 36; i++) CHECK_NEAR(out[i], beyond_4x3[i / 4 * 4 + 3 - i % 4], 0, 2e-4);
        CHECK_OK(sw_resize_job_beyond(rgb, W, H, &above, 2, 5, &job, &err));
        job.plain = k;
        CHECK_OK(sw_resize_run_planes(&job, NULL, NULL, out, &scratch, &err));
        for (int i = 0; i < 30; i++) CHECK_NEAR(out[i], beyond_2x5[i], 0, 2e-4);
        const float scale[3] = {2, 2, 2}, offset[3] = {1, -2, 3};
        CHECK_OK(sw_resize_job_beyond(rgb, W, H, &beside, 2, 2, &job, &err));
        job.plain = k;
        CHECK_OK(sw_resize_run_planes(&job, scale, offset, out, &scratch, &err));
        for (int i = 0; i < 12; i++) CHECK(out[i] == offset[i / 4]); /* black, normalised */
    }
    CHECK_OK(sw_resize_job_beyond(rgb, W, H, &inside, 4, 3, &job, &err));
    CHECK_OK(sw_resize_job_of(rgb, W, H, &inside, 4, 3, &plain, &err));
    CHECK(memcmp(&job, &plain, sizeof job) == 0);
}

TEST(bytes_are_the_float_result_rounded)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H], out[3 * 3 * 2];
    const sw_crop whole = {0, 0, W, H, false, false};
    fill(rgb);
    CHECK_OK(sw_resize_crop_u8(rgb, W, H, &whole, 3, 2, out, &err));
    for (int i = 0; i < 6; i++) {
        for (int c = 0; c < 3; c++) CHECK_INT(out[3 * i + c], (int)(smaller_3x2[c * 6 + i] + 0.5f));
    }
}

TEST(same_size_is_the_identity_and_flips_mirror)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H], out[3 * W * H];
    sw_crop crop = {0, 0, W, H, false, false};
    fill(rgb);
    CHECK_OK(sw_resize_crop_u8(rgb, W, H, &crop, W, H, out, &err));
    CHECK(memcmp(rgb, out, sizeof rgb) == 0);
    crop.flip_x = true;
    CHECK_OK(sw_resize_crop_u8(rgb, W, H, &crop, W, H, out, &err));
    CHECK_INT(out[3 * 0 + 1], rgb[3 * 6 + 1]);
    CHECK_INT(out[3 * (2 * W + 1)], rgb[3 * (2 * W + 5)]);
    crop.flip_x = false;
    crop.flip_y = true;
    CHECK_OK(sw_resize_crop_u8(rgb, W, H, &crop, W, H, out, &err));
    CHECK(memcmp(out, rgb + 3 * W * 4, 3 * W) == 0);
}

TEST(planes_are_scaled_offset_and_flipped)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H];
    float out[3 * W * H];
    const float scale[3] = {1, 0.5f, 2}, offset[3] = {0, 10, -1};
    const sw_crop crop = {0, 0, W, H, true, true};
    fill(rgb);
    CHECK_OK(sw_resize_crop(rgb, W, H, &crop, W, H, scale, offset, out, &err));
    CHECK_NEAR(out[0], rgb[3 * (4 * W + 6)], 0, 1e-4);
    CHECK_NEAR(out[W * H + 2], rgb[3 * (4 * W + 4) + 1] * 0.5 + 10, 0, 1e-4);
    CHECK_NEAR(out[2 * W * H + W], rgb[3 * (3 * W + 6) + 2] * 2.0 - 1, 0, 1e-4);
}

TEST(a_flat_picture_stays_flat_at_every_scale)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    CHECK_OK(sw_image_new(61, 47, 201, &image, &err));
    const int64_t size[][2] = {{1, 1}, {60, 48}, {200, 3}, {7, 90}};
    for (int i = 0; i < 4; i++) {
        SW_CLEANUP(sw_image_free) sw_image out = {0};
        CHECK_OK(sw_image_resize(&image, size[i][0], size[i][1], &out, &err));
        for (int64_t k = 0; k < 3 * out.width * out.height; k++) CHECK_INT(out.rgb[k], 201);
    }
}

TEST(a_crop_outside_the_picture_is_refused)
{
    sw_error err = {0};
    uint8_t rgb[3 * W * H], out[3];
    const sw_crop crop = {4, 0, 4, 5, false, false};
    fill(rgb);
    CHECK_INT(sw_resize_crop_u8(rgb, W, H, &crop, 1, 1, out, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a crop of 4 x 5 pixels at (4, 0) is outside an image of 7 x 5");
}

static void smooth_picture(sw_image *image)
{
    for (int64_t y = 0; y < 24; y++) {
        for (int64_t x = 0; x < 40; x++) {
            for (int64_t c = 0; c < 3; c++) {
                int64_t v = 128 + x * 3 + y * 2 + c * 20;
                image->rgb[3 * (y * 40 + x) + c] = (uint8_t)(v > 255 ? 255 : v);
            }
        }
    }
}

TEST(jpeg_is_what_pillow_writes_and_reads_at_quality_80)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_image_free) sw_image back = {0};
    SW_AUTOFREE uint8_t *jpeg = NULL;
    size_t size = 0, scan = 0;
    int64_t w = 0, h = 0, sum = 0;
    CHECK_OK(sw_image_new(40, 24, 0, &image, &err));
    smooth_picture(&image);
    CHECK_OK(sw_jpeg_encode(image.rgb, 40, 24, 80, &jpeg, &size, &err));
    while (scan + 1 < size && !(jpeg[scan] == 0xff && jpeg[scan + 1] == 0xda)) scan++;
    CHECK_INT(size - scan, 114);
    CHECK(sw_hash64(jpeg + scan, size - scan) == 0x9dffbdc3c990677bu);
    CHECK_OK(sw_jpeg_peek(jpeg, size, &w, &h, &err));
    CHECK(w == 40 && h == 24);
    CHECK_OK(sw_jpeg_decode(jpeg, size, SW_PIXEL_RGB, &back, &err));
    CHECK(memcmp(back.rgb, "\x7f\x94\xa7", 3) == 0);
    for (int64_t i = 0; i < 3 * 40 * 24; i++) sum += back.rgb[i];
    CHECK_INT(sum, 639676);
    CHECK_OK(sw_jpeg_decode_into(jpeg, size, SW_PIXEL_BGR, 40, 24, image.rgb, &err));
    CHECK(image.rgb[0] == 0xa7 && image.rgb[2] == 0x7f);
    CHECK_INT(sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, 24, 40, image.rgb, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "the JPEG stream holds 40 x 24 pixels where 24 x 40 are expected");
}

TEST(a_cut_jpeg_is_damage_and_not_grey_pixels)
{
    sw_error err = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_image_free) sw_image back = {0};
    SW_AUTOFREE uint8_t *jpeg = NULL;
    size_t size = 0;
    CHECK_OK(sw_image_new(40, 24, 0, &image, &err));
    smooth_picture(&image);
    CHECK_OK(sw_jpeg_encode(image.rgb, 40, 24, 80, &jpeg, &size, &err));
    CHECK_INT(sw_jpeg_decode(jpeg, size - 60, SW_PIXEL_RGB, &back, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "damaged JPEG stream: Premature end of JPEG file");
    CHECK(back.rgb == NULL);
    CHECK_INT(sw_jpeg_decode("hello, world", 12, SW_PIXEL_RGB, &back, &err), SW_E_FORMAT);
    CHECK_STR(err.message, "not a readable JPEG stream: Not a JPEG file: starts with 0x68 0x65");
    CHECK_INT(sw_jpeg_encode(image.rgb, 40, 24, 0, &jpeg, &size, &err), SW_E_INVALID);
    CHECK_STR(err.message, "JPEG quality 0 is outside 1 to 100");
}

TEST(files_come_back_as_they_were_written)
{
    sw_error err = {0};
    char path[512];
    int64_t w = 0, h = 0;
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_CLEANUP(sw_image_free) sw_image png = {0};
    SW_CLEANUP(sw_image_free) sw_image jpeg = {0};
    CHECK_OK(sw_image_new(40, 24, 0, &image, &err));
    smooth_picture(&image);
    snprintf(path, sizeof path, "%s/a.png", sw_test_dir());
    CHECK_OK(sw_image_write(path, &image, &err));
    CHECK_OK(sw_image_peek(path, &w, &h, &err));
    CHECK(w == 40 && h == 24);
    CHECK_OK(sw_image_read(path, &png, &err));
    CHECK(memcmp(png.rgb, image.rgb, 3 * 40 * 24) == 0);
    snprintf(path, sizeof path, "%s/a.JPG", sw_test_dir());
    CHECK_OK(sw_image_write(path, &image, &err));
    CHECK_OK(sw_image_read(path, &jpeg, &err));
    for (int64_t i = 0; i < 3 * 40 * 24; i++) CHECK(abs(jpeg.rgb[i] - image.rgb[i]) <= 6);
    snprintf(path, sizeof path, "%s/a.bmp", sw_test_dir());
    CHECK_INT(sw_image_write(path, &image, &err), SW_E_UNSUPPORTED);
    char expected[700];
    snprintf(expected, sizeof expected, "%s: pictures are written as .png, .jpg or .jpeg", path);
    CHECK_STR(err.message, expected);
}

TEST(transparent_png_is_laid_over_white)
{
    /* One pixel (255, 0, 0) of alpha 128, one black of alpha 0. */
    static const uint8_t png[] = {
        0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52,
        0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0xf4, 0x22, 0x7f,
        0x8a, 0x00, 0x00, 0x00, 0x11, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0xd0,
        0xc0, 0xc0, 0xc0, 0xc0, 0x00, 0x00, 0x0a, 0x81, 0x01, 0x80, 0x8f, 0xa8, 0x95, 0x52, 0x00, 0x00,
        0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
    sw_error err = {0};
    char path[512];
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    snprintf(path, sizeof path, "%s/alpha.png", sw_test_dir());
    CHECK_OK(sw_file_write(path, png, sizeof png, &err));
    CHECK_OK(sw_image_read(path, &image, &err));
    CHECK(image.width == 2 && image.height == 1);
    CHECK(memcmp(image.rgb, "\xff\x7f\x7f\xff\xff\xff", 6) == 0);
}
