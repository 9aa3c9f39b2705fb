/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the reference implementation's LMDB: keys "{slide}-{index}", values that are pickled bytes objects. */
#ifndef SW_STORE_REFERENCE_H
#define SW_STORE_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "store/kv.h"

/* The bytes inside of a pickle that holds one bytes object and nothing else, in any form that Python writes (protocol 3 and
 * later, framed or not); borrowed from `value`. False: it is anything else. */
bool sw_reference_bytes(const void *value, size_t size, const void **bytes, size_t *bytes_size);
/* Splits a key at its last '-'; false: not the key of a patch. */
bool sw_reference_key(const void *key, size_t size, size_t *slide_size, int64_t *index);

typedef struct sw_reference_slide {
    char *slide_id;
    int64_t count;    /* keys seen */
    int64_t highest;  /* index */
    int64_t promised; /* by the table __pn__; -1: it does not name the slide */
} sw_reference_slide;

typedef struct sw_reference {
    sw_kv *kv;
    char *path;
    sw_reference_slide *slide; /* by id, bytewise */
    size_t count, capacity;
    int64_t n_strange; /* keys that are neither a patch's nor metadata */
    bool has_table;    /* __pn__ is there: the writer came to its end */
} sw_reference;

/* Opens the file and counts the patches of every slide by their keys. Close with sw_reference_close. */
sw_status sw_reference_open(const char *path, sw_reference *out, sw_error *err) SW_MUST_CHECK;
void sw_reference_close(sw_reference *reference); /* clears it; fit for SW_CLEANUP */
/* A patch's JPEG; borrowed until the closing. */
sw_status sw_reference_patch(const sw_reference *reference, const char *slide_id, int64_t index, const void **jpeg, size_t *size,
                             sw_error *err) SW_MUST_CHECK;

#endif
