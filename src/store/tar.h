/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX tar (ustar, with pax headers for long names): written in one go, the same bytes for the same content. */
#ifndef SW_STORE_TAR_H
#define SW_STORE_TAR_H

#include <stddef.h>

#include "base/buf.h"

#define SW_TAR_BLOCK 512

/* Appends a member: its header(s), its bytes, zeros up to a whole block. */
void sw_tar_member(sw_buf *out, const char *name, const void *bytes, size_t size);
/* Appends the end of the archive. */
void sw_tar_end(sw_buf *out);

#endif
