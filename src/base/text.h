/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as text, whatever locale the host program has set: the decimal mark is always a point. */
#ifndef SW_BASE_TEXT_H
#define SW_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As vsnprintf, in the "C" locale. */
int sw_vsnprintf(char *out, size_t size, const char *fmt, va_list args) __attribute__((format(printf, 3, 0)));

/* Strict number parsing for cells and options: the whole text must be one decimal number, without
 * spaces; "nan", "inf", hexadecimal and what overflows are refused. *out is untouched on failure. */
bool sw_parse_double(const char *text, double *out);
bool sw_parse_int(const char *text, int64_t *out);

/* A size such as "6GB", "800 MB" or "2.5GiB" in bytes: a number and kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB
 * (of 1024), any letter case. *out is untouched on failure. */
bool sw_parse_bytes(const char *text, int64_t *out);
/* "1.5 GB" or "320 MB", for people. */
const char *sw_bytes_text(int64_t bytes, char *out, size_t size);

/* Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`, any letter case. */
size_t sw_edit_distance(const char *a, const char *b);
/* The nearest of `names` to a mistyped `text`; NULL when none is near enough to be meant. */
const char *sw_nearest_name(const char *text, const char *const *names, size_t count);

#endif
