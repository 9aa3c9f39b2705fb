/* SPDX-License-Identifier: Apache-2.0 */
#include "explain/utf8.h"

size_t sw_utf8_sequence(const unsigned char *s)
{
    size_t n = 0;
    if (s[0] < 0x80) n = 1;
    if (s[0] >= 0xc2 && s[0] < 0xe0) n = 2;
    if (s[0] >= 0xe0 && s[0] < 0xf0) n = 3;
    if (s[0] >= 0xf0 && s[0] < 0xf5) n = 4;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0; /* the terminator stops here too */
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f)) return 0; /* overlong, surrogate */
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f)) return 0; /* overlong, beyond U+10FFFF */
    return n;
}
