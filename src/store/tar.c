/* SPDX-License-Identifier: Apache-2.0 */
#include "store/tar.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 100
#define LARGEST_OCTAL ((uint64_t)1 << 33) /* eleven digits */

static const char zeros[2 * SW_TAR_BLOCK];

/* Octal digits and a NUL in a field of `width`. */
static void put_octal(char *field, int width, uint64_t value)
{
    field[width - 1] = '\0';
    for (int i = width - 2; i >= 0; i--, value >>= 3) field[i] = (char)('0' + (value & 7));
}

/* Fields of a ustar header: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, checksum 148, type 156, magic 257. Owner
 * and time are zero: they say nothing about a patch. */
static void put_header(sw_buf *out, const char *name, size_t name_size, char type, uint64_t size)
{
    char h[SW_TAR_BLOCK] = {0};
    uint64_t sum = 0;
    memcpy(h, name, name_size < NAME_BYTES ? name_size : NAME_BYTES);
    put_octal(h + 100, 8, 0644);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, size);
    put_octal(h + 136, 12, 0);
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 257, "ustar\0" "00", 8);
    for (int i = 0; i < SW_TAR_BLOCK; i++) sum += (unsigned char)h[i];
    put_octal(h + 148, 7, sum);
    sw_buf_append(out, h, sizeof h);
}

static void put_bytes(sw_buf *out, const void *bytes, size_t size)
{
    sw_buf_append(out, bytes, size);
    if (size % SW_TAR_BLOCK) sw_buf_append(out, zeros, SW_TAR_BLOCK - size % SW_TAR_BLOCK);
}

/* A pax record "LENGTH path=NAME\n", whose length counts its own digits. */
static void put_long_name(sw_buf *out, const char *name)
{
    char digits[24];
    size_t rest = strlen(" path=\n") + strlen(name), size = rest, before;
    do {
        before = size;
        size = rest + (size_t)snprintf(digits, sizeof digits, "%zu", before);
    } while (size != before);
    sw_buf record = {0};
    sw_buf_printf(&record, "%zu path=%s\n", size, name);
    put_header(out, "PaxHeader", 9, 'x', record.size);
    put_bytes(out, record.data, record.size);
    out->failed = out->failed || record.failed;
    sw_buf_free(&record);
}

void sw_tar_member(sw_buf *out, const char *name, const void *bytes, size_t size)
{
    if (size >= LARGEST_OCTAL) { /* no patch is */
        out->failed = true;
        return;
    }
    if (strlen(name) > NAME_BYTES) put_long_name(out, name);
    put_header(out, name, strlen(name), '0', size);
    put_bytes(out, bytes, size);
}

void sw_tar_end(sw_buf *out)
{
    sw_buf_append(out, zeros, sizeof zeros);
}
