/* SPDX-License-Identifier: Apache-2.0 */
/* Through libjpeg's own interface: TurboJPEG 2 cannot decode a part. */
#include "slide/jpeg_reader.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/mem.h"

#if !defined(LIBJPEG_TURBO_VERSION_NUMBER) || LIBJPEG_TURBO_VERSION_NUMBER < 1005000
#error "slidewise needs libjpeg-turbo 1.5 or newer as its libjpeg (Debian and Ubuntu: libjpeg-dev)"
#endif

enum { MARGIN = 2 }; /* pixels beside the box: chroma is smoothed across, but not beyond a part's edge */

struct sw_jpeg_reader {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    jmp_buf out_of_codec;        /* libjpeg does not expect its error handler to return */
    char reason[JMSG_LENGTH_MAX];
    bool damaged;                /* a warning that says that pixels are lost */
    uint8_t *pixels;
    size_t bytes;
};

static void on_error(j_common_ptr codec)
{
    sw_jpeg_reader *r = codec->client_data;
    codec->err->format_message(codec, r->reason);
    longjmp(r->out_of_codec, 1);
}

/* Stray bytes between segments lose nothing; every other warning (a premature end above all) loses pixels. */
static void on_message(j_common_ptr codec, int level)
{
    sw_jpeg_reader *r = codec->client_data;
    if (level >= 0 || r->damaged || codec->err->msg_code == JWRN_EXTRANEOUS_DATA) return;
    codec->err->format_message(codec, r->reason);
    r->damaged = true;
}

static bool make_codec(sw_jpeg_reader *r)
{
    r->codec.err = jpeg_std_error(&r->errors);
    r->codec.client_data = r;
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    if (setjmp(r->out_of_codec)) return false;
    jpeg_create_decompress(&r->codec);
    r->codec.client_data = r; /* the library clears it */
    return true;
}

sw_status sw_jpeg_reader_new(sw_jpeg_reader **out, sw_error *err)
{
    sw_jpeg_reader *r = sw_calloc(1, sizeof *r);
    if (!r) return sw_nomem(err);
    if (!make_codec(r)) {
        sw_free(r);
        return sw_nomem(err);
    }
    *out = r;
    return SW_OK;
}

void sw_jpeg_reader_free(sw_jpeg_reader *reader)
{
    if (!reader) return;
    jpeg_destroy_decompress(&reader->codec);
    sw_free(reader->pixels);
    sw_free(reader);
}

static bool read_header(sw_jpeg_reader *r, const void *jpeg, size_t size)
{
    if (setjmp(r->out_of_codec)) return false;
    jpeg_mem_src(&r->codec, jpeg, (unsigned long)size);
    jpeg_read_header(&r->codec, TRUE);
    return true;
}

/* Sizes the part; *part is in reduced pixels. */
static bool begin(sw_jpeg_reader *r, const sw_jpeg_want *want, sw_jpeg_part *part)
{
    struct jpeg_decompress_struct *c = &r->codec;
    if (setjmp(r->out_of_codec)) return false;
    c->out_color_space = JCS_EXT_RGB;
    c->scale_num = 1;
    c->scale_denom = (unsigned)want->reduce;
    jpeg_start_decompress(c);
    int64_t x0 = want->x0 / want->reduce - MARGIN, x1 = (want->x1 + want->reduce - 1) / want->reduce + MARGIN;
    int64_t y0 = want->y0 / want->reduce, y1 = (want->y1 + want->reduce - 1) / want->reduce;
    if (x0 < 0) x0 = 0;
    if (x1 > (int64_t)c->output_width) x1 = c->output_width;
    if (y1 > (int64_t)c->output_height) y1 = c->output_height;
    JDIMENSION x = (JDIMENSION)x0, width = (JDIMENSION)(x1 - x0);
    if (x0 > 0 || x1 < (int64_t)c->output_width) jpeg_crop_scanline(c, &x, &width);
    *part = (sw_jpeg_part){.x = x, .y = y0, .width = width, .height = y1 - y0};
    return true;
}

/* The rows of the part; `all`: also reads what follows, to see whether it is there (skipping would not look). The memory
 * has room for one row more. */
static bool read_rows(sw_jpeg_reader *r, const sw_jpeg_part *part, bool all)
{
    struct jpeg_decompress_struct *c = &r->codec;
    if (setjmp(r->out_of_codec)) return false;
    JDIMENSION end = (JDIMENSION)(part->y + part->height);
    if (part->y > 0) jpeg_skip_scanlines(c, (JDIMENSION)part->y);
    while (c->output_scanline < (all ? c->output_height : end)) {
        int64_t at = c->output_scanline < end ? (int64_t)c->output_scanline - part->y : part->height;
        JSAMPROW row = r->pixels + 3 * at * part->width;
        jpeg_read_scanlines(c, &row, 1);
    }
    if (all) jpeg_finish_decompress(c);
    return true;
}

static bool has_end(const void *jpeg, size_t size)
{
    const uint8_t *bytes = jpeg;
    return size >= 2 && bytes[size - 2] == 0xFF && bytes[size - 1] == 0xD9;
}

static sw_status begin_stream(sw_jpeg_reader *r, const void *jpeg, size_t size, int64_t width, int64_t height, sw_error *err)
{
    if (!read_header(r, jpeg, size)) return sw_error_set(err, SW_E_FORMAT, "not a readable JPEG stream: %s", r->reason);
    if (r->codec.image_width == width && r->codec.image_height == height) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "the JPEG stream holds %lld x %lld pixels where %lld x %lld are expected",
                        (long long)r->codec.image_width, (long long)r->codec.image_height, (long long)width, (long long)height);
}

static sw_status need_pixels(sw_jpeg_reader *r, int64_t pixels, sw_error *err)
{
    size_t bytes = 3 * (size_t)pixels;
    if (bytes <= r->bytes) return SW_OK;
    sw_free(r->pixels);
    r->bytes = 0;
    r->pixels = sw_malloc(bytes);
    if (!r->pixels) return sw_nomem(err);
    r->bytes = bytes;
    return SW_OK;
}

static sw_status read_part(sw_jpeg_reader *r, const void *jpeg, size_t size, const sw_jpeg_want *want,
                           sw_jpeg_part *part, sw_error *err)
{
    SW_TRY(begin_stream(r, jpeg, size, want->width, want->height, err));
    if (!begin(r, want, part)) return sw_error_set(err, SW_E_FORMAT, "damaged JPEG stream: %s", r->reason);
    SW_TRY(need_pixels(r, part->width * (part->height + 1), err));
    part->pixels = r->pixels;
    bool whole = read_rows(r, part, !has_end(jpeg, size));
    if (!whole || r->damaged) return sw_error_set(err, SW_E_FORMAT, "damaged JPEG stream: %s", r->reason);
    return SW_OK;
}

sw_status sw_jpeg_reader_read(sw_jpeg_reader *reader, const void *jpeg, size_t size, const sw_jpeg_want *want,
                              sw_jpeg_part *out, sw_error *err)
{
    bool inside = want->x0 >= 0 && want->y0 >= 0 && want->x0 < want->x1 && want->y0 < want->y1 &&
                  want->x1 <= want->width && want->y1 <= want->height;
    if (!inside || (want->reduce != 1 && want->reduce != 2 && want->reduce != 4)) {
        return sw_error_set(err, SW_E_INVALID, "a part from (%lld, %lld) to (%lld, %lld) of a JPEG of %lld x %lld pixels at "
                                               "1/%d is not possible", (long long)want->x0, (long long)want->y0,
                            (long long)want->x1, (long long)want->y1, (long long)want->width, (long long)want->height,
                            want->reduce);
    }
    reader->damaged = false;
    reader->reason[0] = '\0';
    sw_status status = read_part(reader, jpeg, size, want, out, err);
    jpeg_abort_decompress(&reader->codec);
    return status;
}

/* ---- tiles of a TIFF */

static bool read_tables(sw_jpeg_reader *r, const sw_jpeg_tile *tile)
{
    if (!tile->tables) return true;
    if (setjmp(r->out_of_codec)) return false;
    jpeg_mem_src(&r->codec, tile->tables, (unsigned long)tile->tables_bytes);
    return jpeg_read_header(&r->codec, FALSE) == JPEG_HEADER_TABLES_ONLY;
}

/* A box of pixels and where its first one goes. */
typedef struct target {
    int64_t x0, y0, x1, y1, row_px;
    uint8_t *rgb;
} target;

static bool read_tile_rows(sw_jpeg_reader *r, const sw_jpeg_tile *tile, const target *to)
{
    struct jpeg_decompress_struct *c = &r->codec;
    if (setjmp(r->out_of_codec)) return false;
    c->jpeg_color_space = tile->is_rgb ? JCS_RGB : JCS_YCbCr;
    c->out_color_space = JCS_EXT_RGB;
    jpeg_start_decompress(c);
    bool all = to->x0 == 0 && to->x1 == tile->width;
    while (c->output_scanline < c->output_height) {
        int64_t y = c->output_scanline;
        bool wanted = y >= to->y0 && y < to->y1;
        uint8_t *row = wanted ? to->rgb + 3 * (y - to->y0) * to->row_px : NULL;
        JSAMPROW into = all && wanted ? row : r->pixels;
        jpeg_read_scanlines(c, &into, 1);
        if (wanted && !all) memcpy(row, r->pixels + 3 * to->x0, 3 * (size_t)(to->x1 - to->x0));
    }
    jpeg_finish_decompress(c);
    return true;
}

static sw_status read_tile(sw_jpeg_reader *r, const sw_jpeg_tile *tile, const target *to, sw_error *err)
{
    SW_TRY(need_pixels(r, tile->width, err));
    if (!read_tables(r, tile)) return sw_error_set(err, SW_E_FORMAT, "the tables of a JPEG tile are damaged: %s", r->reason);
    SW_TRY(begin_stream(r, tile->jpeg, tile->bytes, tile->width, tile->height, err));
    if (r->codec.num_components != 3) {
        return sw_error_set(err, SW_E_FORMAT, "the JPEG stream has %d colours where 3 are expected", r->codec.num_components);
    }
    if (!read_tile_rows(r, tile, to) || r->damaged) {
        return sw_error_set(err, SW_E_FORMAT, "damaged JPEG stream: %s", r->reason);
    }
    return SW_OK;
}

sw_status sw_jpeg_reader_tile(sw_jpeg_reader *reader, const sw_jpeg_tile *tile, int64_t x0, int64_t y0, int64_t x1, int64_t y1,
                              uint8_t *rgb, int64_t row_px, sw_error *err)
{
    const target to = {x0, y0, x1, y1, row_px, rgb};
    reader->damaged = false;
    reader->reason[0] = '\0';
    sw_status status = read_tile(reader, tile, &to, err);
    jpeg_abort_decompress(&reader->codec);
    return status;
}
