/* SPDX-License-Identifier: Apache-2.0 */
/* What tests ask of a writer. */
#ifndef SW_STORE_WRITER_H
#define SW_STORE_WRITER_H

#include "slidewise/store.h"

/* A slide of more bytes than this (128 MiB otherwise) is written in several transactions. */
void sw_store_writer_limit(sw_store_writer *writer, int64_t transaction_bytes);

#endif
