/* SPDX-License-Identifier: Apache-2.0 */
#include "slide/jpeg_splice.h"

#include <string.h>

#include "base/mem.h"

enum { SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, APP0 = 0xE0, APP14 = 0xEE, ADOBE_BYTES = 16 };

typedef struct splice {
    uint8_t *out;
    size_t used;
    bool has_frame; /* of the size that is asked for */
} splice;

static void put(splice *s, const void *bytes, size_t n)
{
    memcpy(s->out + s->used, bytes, n);
    s->used += n;
}

static bool is_frame(uint8_t marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

/* What every decoder knows: baseline, extended or progressive, with Huffman codes; length, precision 8, height, width, 3
 * components, of which the first is sampled as often as the others, or twice or four times. */
static bool frame_fits(uint8_t marker, const uint8_t *segment, size_t length, const sw_jpeg_tile *tile)
{
    if (marker > 0xC2 || length < 17 || segment[2] != 8 || segment[7] != 3) return false;
    if ((segment[3] << 8 | segment[4]) != tile->height || (segment[5] << 8 | segment[6]) != tile->width) return false;
    uint8_t first = segment[9];
    return (first == 0x11 || first == 0x21 || first == 0x12 || first == 0x22 || first == 0x41) && segment[12] == 0x11 &&
           segment[15] == 0x11;
}

/* Copies the segments before the picture's data, or all of a stream of tables. Returns where it stopped: behind the marker
 * `last`, which is not copied; 0: it is no such stream. */
static size_t copy_segments(splice *s, const uint8_t *bytes, size_t n, uint8_t last, const sw_jpeg_tile *tile)
{
    if (n < 4 || bytes[0] != 0xFF || bytes[1] != SOI) return 0;
    for (size_t at = 2; at + 2 <= n;) {
        if (bytes[at] != 0xFF) return 0;
        uint8_t marker = bytes[at + 1];
        if (marker == 0xFF) { /* fill */
            at++;
            continue;
        }
        if (marker == last) return at + 2;
        if (marker == SOI || marker == EOI || marker == SOS || at + 4 > n) return 0;
        size_t length = (size_t)(bytes[at + 2] << 8 | bytes[at + 3]);
        if (length < 2 || length > n - at - 2) return 0;
        if (is_frame(marker)) {
            if (s->has_frame || !frame_fits(marker, bytes + at + 2, length, tile)) return 0;
            s->has_frame = true;
        }
        if (marker != APP0 && marker != APP14) put(s, bytes + at, 2 + length);
        at += 2 + length;
    }
    return 0;
}

/* A stream's end: TIFF may pad a tile with a byte or more. */
static size_t end_of(const uint8_t *bytes, size_t n)
{
    while (n >= 2 && !(bytes[n - 2] == 0xFF && bytes[n - 1] == EOI)) {
        if (bytes[n - 1] != 0 && bytes[n - 1] != 0xFF) return 0;
        n--;
    }
    return n < 2 ? 0 : n;
}

uint8_t *sw_jpeg_splice(const sw_jpeg_tile *tile, size_t *size)
{
    static const uint8_t begin[2] = {0xFF, SOI}, scan[2] = {0xFF, SOS};
    const uint8_t adobe[ADOBE_BYTES] = {0xFF, APP14, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, tile->is_rgb ? 0 : 1};
    const uint8_t *jpeg = tile->jpeg;
    size_t end = end_of(jpeg, tile->bytes);
    SW_AUTOFREE uint8_t *out = sw_malloc(sizeof begin + sizeof adobe + tile->tables_bytes + tile->bytes + sizeof scan);
    if (!out || end == 0) return NULL;
    splice s = {.out = out};
    put(&s, begin, sizeof begin);
    put(&s, adobe, sizeof adobe);
    if (tile->tables && !copy_segments(&s, tile->tables, tile->tables_bytes, EOI, tile)) return NULL;
    if (s.has_frame) return NULL;
    size_t data = copy_segments(&s, jpeg, end, SOS, tile);
    if (data == 0 || !s.has_frame) return NULL;
    put(&s, scan, sizeof scan);
    put(&s, jpeg + data, end - data);
    *size = s.used;
    return SW_STEAL(out);
}
