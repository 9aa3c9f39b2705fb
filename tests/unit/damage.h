/* SPDX-License-Identifier: Apache-2.0 */
/* Damages one compressed tile of a classic little-endian TIFF, as the synthetic slides are. */
#ifndef SW_TESTS_DAMAGE_H
#define SW_TESTS_DAMAGE_H

#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

static inline uint32_t damage_u32(const char *bytes)
{
    const uint8_t *b = (const uint8_t *)bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint32_t damage_u16(const char *bytes)
{
    return damage_u32(bytes) & 0xffff;
}

/* Where element `index` of a tag of longs in directory `directory` stands; 0: there is none. */
static inline uint32_t damage_element_at(const sw_buf *file, int directory, uint32_t tag, uint32_t index)
{
    uint32_t at = damage_u32(file->data + 4);
    for (int d = 0; d < directory; d++) at = damage_u32(file->data + at + 2 + 12 * damage_u16(file->data + at));
    for (uint32_t i = 0, n = damage_u16(file->data + at); i < n; i++) {
        const char *entry = file->data + at + 2 + 12 * i;
        if (damage_u16(entry) != tag || index >= damage_u32(entry + 4)) continue;
        return damage_u32(entry + 4) == 1 ? at + 2 + 12 * i + 8 : damage_u32(entry + 8) + 4 * index;
    }
    return 0;
}

/* The element itself; 0: there is none. */
static inline uint32_t damage_element(const sw_buf *file, int directory, uint32_t tag, uint32_t index)
{
    uint32_t at = damage_element_at(file, directory, tag, index);
    return at == 0 ? 0 : damage_u32(file->data + at);
}

/* Copies `from` to `to` with the bytes of tile `tile` of directory `directory` zeroed (from == to: in place). */
static inline sw_status damage_tile(const char *from, const char *to, int directory, uint32_t tile, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_TRY(sw_file_read(from, &file, err));
    if (file.size < 8 || memcmp(file.data, "II*\0", 4) != 0) return sw_error_set(err, SW_E_FORMAT, "%s: no classic TIFF", from);
    uint32_t offset = damage_element(&file, directory, 324, tile), bytes = damage_element(&file, directory, 325, tile);
    if (offset == 0 || bytes == 0) return sw_error_set(err, SW_E_FORMAT, "%s: no tile %u in directory %d", from, tile, directory);
    memset(file.data + offset, 0, bytes);
    return sw_file_write(to, file.data, file.size, err);
}

#endif
