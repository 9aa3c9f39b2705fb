/* SPDX-License-Identifier: Apache-2.0 */
/* Plain TIFF pictures through libtiff, and where a pyramid's tiles lie; the rest of pyramids is OpenSlide's business. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tiffio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/versions.h"
#include "slide/image_codec.h"
#include "slide/tiff_grid.h"

const char *sw_libtiff_version(void)
{
    return TIFFGetVersion();
}

typedef struct messages {
    char first[256]; /* the first error is the cause, later ones are its consequences */
} messages;

/* libtiff 4.5 brought message handlers per file. Before it there are only those of the process, which print. */
#if TIFFLIB_VERSION >= 20221213
static int keep_first(TIFF *tiff, void *ctx, const char *module, const char *fmt, va_list ap)
{
    messages *m = ctx;
    (void)tiff;
    (void)module;
    if (!m->first[0]) vsnprintf(m->first, sizeof m->first, fmt, ap);
    return 1;
}

static int drop(TIFF *tiff, void *ctx, const char *module, const char *fmt, va_list ap)
{
    (void)tiff;
    (void)ctx;
    (void)module;
    (void)fmt;
    (void)ap;
    return 1;
}

static TIFF *open_tiff(const char *path, messages *m)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return NULL;
    TIFFOpenOptionsSetErrorHandlerExtR(options, keep_first, m);
    TIFFOpenOptionsSetWarningHandlerExtR(options, drop, m);
    TIFF *tiff = TIFFOpenExt(path, "r", options);
    TIFFOpenOptionsFree(options);
    return tiff;
}
#else
static void keep_silent(void)
{
    TIFFSetErrorHandler(NULL);
    TIFFSetWarningHandler(NULL);
}

static TIFF *open_tiff(const char *path, messages *m)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, keep_silent);
    (void)m;
    return TIFFOpen(path, "r");
}
#endif

static void close_tiff(TIFF **tiff)
{
    if (*tiff) TIFFClose(*tiff);
}

static sw_status unreadable(const char *path, const messages *m, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "%s: the file is damaged or cut short (libtiff: %s); copy it again from its source",
                        path, m->first[0] ? m->first : "no reason given");
}

static double mpp_of(TIFF *tiff, ttag_t tag)
{
    float per_unit = 0;
    uint16_t unit = RESUNIT_NONE;
    if (!TIFFGetField(tiff, tag, &per_unit) || !(per_unit > 0)) return 0;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    if (unit == RESUNIT_INCH) return 25400.0 / (double)per_unit;
    if (unit == RESUNIT_CENTIMETER) return 10000.0 / (double)per_unit;
    return 0;
}

sw_status sw_tiff_peek(const char *path, sw_tiff_facts *out, sw_error *err)
{
    messages m = {{0}};
    SW_CLEANUP(close_tiff) TIFF *tiff = open_tiff(path, &m);
    uint32_t width = 0, height = 0;
    memset(out, 0, sizeof *out);
    if (!tiff || !TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height)) {
        return unreadable(path, &m, err);
    }
    out->width = width;
    out->height = height;
    out->mpp_um_x = mpp_of(tiff, TIFFTAG_XRESOLUTION);
    out->mpp_um_y = mpp_of(tiff, TIFFTAG_YRESOLUTION);
    do {
        uint32_t w = 0, h = 0;
        uint16_t channels = 1;
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &w);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &h);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &channels);
        if (w == width && h == height && channels == 1) out->n_channel_pages++;
    } while (TIFFReadDirectory(tiff));
    /* A slide cut behind its first directory must not pass as a plain picture. */
    return m.first[0] ? unreadable(path, &m, err) : SW_OK;
}

sw_status sw_tiff_read(const char *path, sw_image *out, sw_error *err)
{
    messages m = {{0}};
    SW_CLEANUP(close_tiff) TIFF *tiff = open_tiff(path, &m);
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    uint32_t width = 0, height = 0;
    memset(out, 0, sizeof *out);
    if (!tiff || !TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height)) {
        return unreadable(path, &m, err);
    }
    uint16_t compression = COMPRESSION_NONE;
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &compression);
    if (!TIFFIsCODECConfigured(compression)) {
        return sw_error_set(err, SW_E_UNSUPPORTED,
                            "%s: a TIFF of compression %d, which libtiff cannot decode here; convert it to JPEG, LZW or "
                            "uncompressed",
                            path, compression);
    }
    SW_TRY(sw_image_new(width, height, 255, &image, err));
    size_t n = (size_t)width * height;
    SW_AUTOFREE uint32_t *raster = sw_calloc(n, sizeof *raster);
    if (!raster) return sw_nomem(err);
    if (!TIFFReadRGBAImageOriented(tiff, width, height, raster, ORIENTATION_TOPLEFT, 1)) {
        return unreadable(path, &m, err);
    }
    for (size_t i = 0; i < n; i++) { /* libtiff hands out colours multiplied by alpha */
        unsigned rest = 255 - TIFFGetA(raster[i]);
        unsigned c[3] = {TIFFGetR(raster[i]) + rest, TIFFGetG(raster[i]) + rest, TIFFGetB(raster[i]) + rest};
        for (int k = 0; k < 3; k++) image.rgb[3 * i + k] = (uint8_t)(c[k] > 255 ? 255 : c[k]);
    }
    *out = image;
    memset(&image, 0, sizeof image);
    return SW_OK;
}

/* ---- grids of tiles */

enum { MAX_TILE_PX = 4096 };

static bool has_field(TIFF *tiff, ttag_t tag, unsigned wanted)
{
    uint16_t value = 0;
    return TIFFGetFieldDefaulted(tiff, tag, &value) && value == wanted;
}

/* Whether the page's tiles are what sw_tiff_grid says; sizes into *grid. */
static bool has_jpeg_tiles(TIFF *tiff, sw_tiff_grid *grid)
{
    uint32_t tile_width = 0, tile_height = 0;
    uint16_t photometric = 0;
    if (!TIFFIsTiled(tiff) || !has_field(tiff, TIFFTAG_COMPRESSION, COMPRESSION_JPEG) ||
        !has_field(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) || !has_field(tiff, TIFFTAG_BITSPERSAMPLE, 8) ||
        !has_field(tiff, TIFFTAG_SAMPLESPERPIXEL, 3) || !has_field(tiff, TIFFTAG_FILLORDER, FILLORDER_MSB2LSB)) {
        return false;
    }
    if (!TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &photometric) || !TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &tile_width) ||
        !TIFFGetField(tiff, TIFFTAG_TILELENGTH, &tile_height)) {
        return false;
    }
    if (photometric != PHOTOMETRIC_RGB && photometric != PHOTOMETRIC_YCBCR) return false;
    if (tile_width < 1 || tile_height < 1 || tile_width > MAX_TILE_PX || tile_height > MAX_TILE_PX) return false;
    grid->is_rgb = photometric == PHOTOMETRIC_RGB;
    grid->tile_width = tile_width;
    grid->tile_height = tile_height;
    grid->columns = (grid->width + grid->tile_width - 1) / grid->tile_width;
    grid->rows = (grid->height + grid->tile_height - 1) / grid->tile_height;
    return TIFFNumberOfTiles(tiff) == (uint64_t)(grid->columns * grid->rows);
}

static sw_status copy_of(const void *from, size_t bytes, void *address_of_copy, sw_error *err)
{
    void *copy = sw_malloc(bytes);
    if (!copy) return sw_nomem(err);
    memcpy(copy, from, bytes);
    memcpy(address_of_copy, &copy, sizeof copy);
    return SW_OK;
}

/* Tiles of no bytes are holes, which formats fill each in their own way: not ours. */
static sw_status read_places(TIFF *tiff, sw_tiff_grid *grid, sw_error *err)
{
    uint64_t *offset = NULL, *bytes = NULL;
    uint32_t tables_bytes = 0;
    void *tables = NULL;
    size_t n = (size_t)(grid->columns * grid->rows);
    if (!TIFFGetField(tiff, TIFFTAG_TILEOFFSETS, &offset) || !TIFFGetField(tiff, TIFFTAG_TILEBYTECOUNTS, &bytes) || !offset ||
        !bytes) {
        return SW_OK;
    }
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == 0) return SW_OK;
    }
    if (TIFFGetField(tiff, TIFFTAG_JPEGTABLES, &tables_bytes, &tables) && tables && tables_bytes > 0) {
        SW_TRY(copy_of(tables, tables_bytes, &grid->tables, err));
        grid->tables_bytes = tables_bytes;
    }
    SW_TRY(copy_of(bytes, n * sizeof *bytes, &grid->bytes, err));
    return copy_of(offset, n * sizeof *offset, &grid->offset, err);
}

static sw_status read_page(TIFF *tiff, const sw_slide_level *level, int *pages, sw_tiff_grid *grid, sw_error *err)
{
    uint32_t width = 0, height = 0;
    TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
    if (width != level->width || height != level->height || !TIFFIsTiled(tiff)) return SW_OK;
    if (++*pages > 1) {
        sw_tiff_grids_free(grid, 1);
        return SW_OK;
    }
    sw_tiff_grid found = {.width = width, .height = height};
    if (!has_jpeg_tiles(tiff, &found)) return SW_OK;
    *grid = found;
    return read_places(tiff, grid, err);
}

sw_status sw_tiff_grids_read(const char *path, const sw_slide_level *level, int n_levels, sw_tiff_grid *grid, sw_error *err)
{
    messages m = {{0}};
    memset(grid, 0, (size_t)n_levels * sizeof *grid);
    SW_CLEANUP(close_tiff) TIFF *tiff = open_tiff(path, &m);
    SW_AUTOFREE int *pages = sw_calloc((size_t)n_levels, sizeof *pages);
    if (!pages) return sw_nomem(err);
    if (!tiff) return unreadable(path, &m, err);
    do {
        for (int i = 0; i < n_levels; i++) SW_TRY(read_page(tiff, &level[i], &pages[i], &grid[i], err));
    } while (TIFFReadDirectory(tiff));
    return SW_OK;
}

void sw_tiff_grids_free(sw_tiff_grid *grid, int n_levels)
{
    for (int i = 0; i < n_levels; i++) {
        sw_free(grid[i].tables);
        sw_free(grid[i].offset);
        sw_free(grid[i].bytes);
        grid[i] = (sw_tiff_grid){0};
    }
}

/* ---- what kind of slide it is */

static uint64_t tiff_number(const uint8_t *from, int bytes, bool little)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)from[little ? i : bytes - 1 - i] << 8 * i;
    return value;
}

static bool read_at(int fd, uint64_t offset, void *to, size_t bytes)
{
    return offset <= INT64_MAX && pread(fd, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

/* The first directory's rationals of the tags, exactly; 0: none. libtiff hands them out as floats. */
static void rationals_of(int fd, const uint16_t tag[2], double value[2])
{
    enum { MOST_ENTRIES = 64 };
    uint8_t head[16], count[8], entries[20 * MOST_ENTRIES], pair[8];
    value[0] = value[1] = 0;
    if (!read_at(fd, 0, head, sizeof head)) return;
    bool little = head[0] == 'I', big = tiff_number(head + 2, 2, little) == 43;
    size_t count_size = big ? 8 : 2, entry_size = big ? 20 : 12;
    uint64_t at = tiff_number(head + (big ? 8 : 4), big ? 8 : 4, little);
    if ((!big && tiff_number(head + 2, 2, little) != 42) || !read_at(fd, at, count, count_size)) return;
    uint64_t n = tiff_number(count, (int)count_size, little);
    if (n > MOST_ENTRIES || !read_at(fd, at + count_size, entries, (size_t)n * entry_size)) return;
    for (size_t i = 0; i < 2 * (size_t)n; i++) {
        const uint8_t *entry = entries + i / 2 * entry_size;
        bool one = tiff_number(entry, 2, little) == tag[i % 2] && tiff_number(entry + 2, 2, little) == TIFF_RATIONAL &&
                   tiff_number(entry + 4, big ? 8 : 4, little) == 1;
        if (!one) continue;
        if (big) memcpy(pair, entry + 12, 8);
        else if (!read_at(fd, tiff_number(entry + 8, 4, little), pair, 8)) continue;
        uint64_t below = tiff_number(pair + 4, 4, little);
        if (below > 0) value[i % 2] = (double)tiff_number(pair, 4, little) / (double)below;
    }
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static const char *text_of(TIFF *tiff, ttag_t tag)
{
    char *text = NULL;
    return TIFFGetField(tiff, tag, &text) && text ? text : "";
}

/* "aperio" or "generic-tiff" where nothing speaks for another of OpenSlide's formats; NULL: it must say. */
static const char *kind_of(TIFF *tiff)
{
    const char *description = text_of(tiff, TIFFTAG_IMAGEDESCRIPTION), *software = text_of(tiff, TIFFTAG_SOFTWARE);
    uint32_t xml_bytes = 0;
    void *xml = NULL;
    if (!TIFFIsTiled(tiff) || TIFFGetField(tiff, TIFFTAG_XMLPACKET, &xml_bytes, &xml)) return NULL;
    if (begins(description, "Aperio")) return "aperio";
    if (strchr(description, '<') || begins(software, "MedScan") || begins(software, "Philips")) return NULL;
    return "generic-tiff";
}

/* A level of every page that OpenSlide takes for one. false: a page is not what is expected. */
static sw_status add_levels(TIFF *tiff, bool generic, sw_slide_facts *facts, sw_tiff_grid **grids, bool *usual, sw_error *err)
{
    size_t capacity = 0, grids_capacity = 0;
    bool first = true;
    do {
        uint32_t width = 0, height = 0, kind = 0, depth = 1;
        if (!TIFFIsTiled(tiff)) continue; /* the label and other pictures */
        TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
        TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
        TIFFGetField(tiff, TIFFTAG_SUBFILETYPE, &kind);
        TIFFGetField(tiff, TIFFTAG_IMAGEDEPTH, &depth);
        sw_tiff_grid grid = {.width = width, .height = height};
        const sw_slide_level *last = facts->n_levels ? &facts->level[facts->n_levels - 1] : NULL;
        if (width < 1 || height < 1 || depth != 1 || !has_jpeg_tiles(tiff, &grid) || (generic && !first && !(kind & FILETYPE_REDUCEDIMAGE)) ||
            (last && (width >= last->width || height >= last->height))) {
            return SW_OK;
        }
        first = false;
        SW_TRY(sw_grow(&facts->level, &capacity, (size_t)facts->n_levels + 1, sizeof *facts->level, err));
        SW_TRY(sw_grow(grids, &grids_capacity, (size_t)facts->n_levels + 1, sizeof **grids, err));
        (*grids)[facts->n_levels] = grid;
        sw_slide_level *level = &facts->level[facts->n_levels++];
        *level = (sw_slide_level){.width = width, .height = height, .downsample = 1};
        if (last) level->downsample = ((double)facts->level[0].height / height + (double)facts->level[0].width / width) / 2;
        SW_TRY(read_places(tiff, &(*grids)[facts->n_levels - 1], err));
    } while (TIFFReadDirectory(tiff));
    *usual = facts->n_levels > 0 && TIFFLastDirectory(tiff); /* not: the next one could not be read */
    return SW_OK;
}

/* "|MPP = 0.504" of Aperio's description as the property `name`. *usual false: said twice, or no plain number. */
static sw_status add_value(const char *description, const char *key, const char *name, const char *also, sw_slide_facts *facts,
                           bool *usual, sw_error *err)
{
    char value[32];
    int found = 0;
    for (const char *at = strchr(description, '|'); at; at = strchr(at, '|')) {
        at++;
        const char *from = at + strspn(at, " \t"), *equals = strchr(at, '=');
        if (!begins(from, key) || !equals || from + strlen(key) + strspn(from + strlen(key), " \t") != equals) continue;
        from = equals + 1 + strspn(equals + 1, " \t");
        size_t n = strspn(from, "0123456789."), rest = strspn(from + n, " \t\r\n");
        if (n == 0 || n >= sizeof value || (from[n + rest] != '|' && from[n + rest] != '\0') || ++found > 1) {
            *usual = false;
            return SW_OK;
        }
        memcpy(value, from, n);
        value[n] = '\0';
    }
    if (!found) return SW_OK;
    SW_TRY(sw_slide_facts_add(facts, name, value, err));
    return also ? sw_slide_facts_add(facts, also, value, err) : SW_OK;
}

static sw_status add_resolution(TIFF *tiff, sw_slide_facts *facts, sw_error *err)
{
    static const uint16_t tag[2] = {TIFFTAG_XRESOLUTION, TIFFTAG_YRESOLUTION};
    static const char *const name[2] = {"tiff.XResolution", "tiff.YResolution"};
    uint16_t unit = RESUNIT_INCH;
    double value[2];
    char text[40];
    TIFFGetField(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
    SW_TRY(sw_slide_facts_add(facts, "tiff.ResolutionUnit",
                              unit == RESUNIT_INCH ? "inch" : unit == RESUNIT_CENTIMETER ? "centimeter" : "unknown", err));
    rationals_of(TIFFFileno(tiff), tag, value);
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%.17g", value[i]);
        if (value[i] > 0) SW_TRY(sw_slide_facts_add(facts, name[i], text, err));
    }
    return SW_OK;
}

static sw_status slide_facts(const char *path, sw_slide_facts *facts, sw_tiff_grid **grid, bool *usual, sw_error *err)
{
    messages m = {{0}};
    SW_CLEANUP(close_tiff) TIFF *tiff = open_tiff(path, &m);
    const char *kind = tiff ? kind_of(tiff) : NULL;
    if (!kind) return SW_OK;
    bool plain = true;
    snprintf(facts->format, sizeof facts->format, "%s", kind);
    facts->whole_tiles = true;
    if (strcmp(kind, "aperio") == 0) {
        const char *description = text_of(tiff, TIFFTAG_IMAGEDESCRIPTION);
        SW_TRY(add_value(description, "MPP", "openslide.mpp-x", "openslide.mpp-y", facts, &plain, err));
        SW_TRY(add_value(description, "AppMag", "openslide.objective-power", NULL, facts, &plain, err));
    }
    SW_TRY(add_resolution(tiff, facts, err));
    SW_TRY(add_levels(tiff, strcmp(kind, "generic-tiff") == 0, facts, grid, usual, err));
    *usual = *usual && plain && !m.first[0];
    return SW_OK;
}

sw_status sw_tiff_slide_facts(const char *path, sw_slide_facts *facts, sw_tiff_grid **grid, sw_error *err)
{
    bool usual = false;
    *grid = NULL;
    sw_status status = slide_facts(path, facts, grid, &usual, err);
    if (status == SW_OK && usual) return SW_OK;
    if (*grid) sw_tiff_grids_free(*grid, facts->n_levels);
    sw_free(*grid);
    *grid = NULL;
    sw_slide_facts_free(facts);
    return status;
}
