/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The "C" locale object is static in the C library: making and freeing it costs nothing. */
static locale_t c_locale(void)
{
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

int sw_vsnprintf(char *out, size_t size, const char *fmt, va_list args)
{
    locale_t plain = c_locale();
    if (plain == (locale_t)0) return vsnprintf(out, size, fmt, args);
    locale_t before = uselocale(plain);
    int written = vsnprintf(out, size, fmt, args);
    uselocale(before);
    freelocale(plain);
    return written;
}

bool sw_parse_double(const char *text, double *out)
{
    if (!text || text[0] == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') return false;
    locale_t plain = c_locale();
    if (plain == (locale_t)0) return false;
    char *end;
    double value = strtod_l(text, &end, plain);
    freelocale(plain);
    if (end == text || *end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool sw_parse_int(const char *text, int64_t *out)
{
    if (!text || text[0] == '\0' || text[strspn(text, "0123456789+-")] != '\0') return false;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno == ERANGE) return false;
    *out = value;
    return true;
}

bool sw_parse_bytes(const char *text, int64_t *out)
{
    static const char *const unit[] = {"kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"};
    char number[32];
    size_t digits = strspn(text, "0123456789.");
    if (digits == 0 || digits >= sizeof number) return false;
    memcpy(number, text, digits);
    number[digits] = '\0';
    double value;
    if (!sw_parse_double(number, &value)) return false;
    const char *rest = text + digits + (text[digits] == ' ');
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) {
        if (strcasecmp(rest, unit[i]) != 0) continue;
        value *= pow(i < 4 ? 1000.0 : 1024.0, (double)(i % 4 + 1));
        if (!(value >= 1.0) || value > 0x1p60) return false;
        *out = (int64_t)value;
        return true;
    }
    return false;
}

const char *sw_bytes_text(int64_t bytes, char *out, size_t size)
{
    snprintf(out, size, bytes >= 1000000000 ? "%.2f GB" : "%.0f MB", (double)bytes / (bytes >= 1000000000 ? 1e9 : 1e6));
    return out;
}

enum { MAX_NAME = 64 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

size_t sw_edit_distance(const char *a, const char *b)
{
    size_t size_a = strlen(a), size_b = strlen(b);
    if (size_a > MAX_NAME || size_b > MAX_NAME) return size_a > size_b ? size_a : size_b;
    size_t row[3][MAX_NAME + 1]; /* distances of prefixes: row i - 2, i - 1 and i */
    for (size_t j = 0; j <= size_b; j++) row[0][j] = j;
    for (size_t i = 1; i <= size_a; i++) {
        size_t *now = row[i % 3], *before = row[(i + 2) % 3], *swapped = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= size_b; j++) {
            size_t replace = before[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            now[j] = smaller(replace, 1 + smaller(before[j], now[j - 1]));
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1])) {
                now[j] = smaller(now[j], 1 + swapped[j - 2]);
            }
        }
    }
    return row[size_a % 3][size_b];
}

const char *sw_nearest_name(const char *text, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = strlen(text) / 3 + 2; /* beyond this a suggestion would be a guess */
    for (size_t i = 0; i < count; i++) {
        size_t distance = sw_edit_distance(text, names[i]);
        if (distance < best_distance && distance < strlen(names[i])) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}
