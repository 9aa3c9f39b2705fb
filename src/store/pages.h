/* SPDX-License-Identifier: Apache-2.0 */
/* The pages of an LMDB file, read by ourselves. LMDB follows its own pages without a question, and a flipped bit in one of them
 * ends the process; here every number is checked before it is used, so that damage is an error. LMDB stays what keeps a
 * reader's pages from being written again, and what writes.
 *
 * The format is version 1 (LMDB 0.9) of 64-bit little-endian machines. Page 0 and 1 are metas, written in turns; the newer says
 * where the roots of two trees are: the pages that are free, and the records. */
#ifndef SW_STORE_PAGES_H
#define SW_STORE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"

typedef struct sw_pages_tree {
    uint64_t root; /* UINT64_MAX: nothing in it */
    unsigned depth;
    uint64_t branches, leaves, overflow; /* pages */
    uint64_t entries;
} sw_pages_tree;

/* One state of a file. */
typedef struct sw_pages {
    const uint8_t *map; /* not owned: [size] */
    size_t size, page_bytes;
    uint64_t last; /* page */
    uint64_t txn;
    sw_pages_tree free, records;
} sw_pages;

/* Why something is damaged. */
typedef struct sw_pages_fault {
    const char *why; /* static */
    uint64_t page;
} sw_pages_fault;

/* Whether both metas of the file's first `have` bytes fit each other; `ours` also asks for what our own writer does: the metas
 * take turns. Enough of a file is 128 KiB, or all of it. */
bool sw_pages_check_head(const uint8_t *head, size_t have, bool ours, sw_pages_fault *fault) SW_MUST_CHECK;
/* The state that transaction `txn` left; *found false: it is gone, as there were two commits since. */
bool sw_pages_find(const uint8_t *map, size_t size, uint64_t txn, sw_pages *out, bool *found, sw_pages_fault *fault) SW_MUST_CHECK;

/* Whether the state is of the transaction that its meta names: the list of free pages knows. A meta whose number has a flipped bit
 * does not pass for a newer one. */
bool sw_pages_check_order(const sw_pages *p, sw_pages_fault *fault) SW_MUST_CHECK;

/* False: damage. *value NULL: no such key. */
bool sw_pages_get(const sw_pages *p, const void *key, size_t key_size, const void **value, size_t *size, sw_pages_fault *fault)
    SW_MUST_CHECK;
/* Calls fn in key order from the first key that is not before `from`, until it answers false. False: damage. */
typedef bool (*sw_pages_fn)(void *ctx, const void *key, size_t key_size, const void *value, size_t size);
bool sw_pages_each(const sw_pages *p, const void *from, size_t from_size, sw_pages_fn fn, void *ctx, sw_pages_fault *fault)
    SW_MUST_CHECK;

/* Goes over all pages: keys in order, every page used or free once and only once, numbers as the meta says. `deep` also looks at
 * the first page of each large value, which a writer that only adds never touches. SW_OK with fault->why set: damage;
 * an error: no memory. */
sw_status sw_pages_check(const sw_pages *p, bool deep, sw_pages_fault *fault, sw_error *err) SW_MUST_CHECK;

/* Whether a value that LMDB gave out has, where it is a large one, the right head before it. */
bool sw_pages_check_large(const uint8_t *value, size_t key_size, size_t size, size_t page_bytes, sw_pages_fault *fault) SW_MUST_CHECK;

/* --- shared by the two files of this module */

enum { SW_PAGE_BRANCH = 1, SW_PAGE_LEAF = 2, SW_PAGE_OVERFLOW = 4, SW_PAGE_META = 8, SW_PAGE_HEAD = 16 };

typedef struct sw_page {
    const uint8_t *at;
    unsigned count; /* nodes */
} sw_page;

typedef struct sw_node {
    const uint8_t *key;
    size_t key_size;
    uint64_t child;       /* of a branch */
    const uint8_t *value; /* of a leaf; of a large one: in its pages */
    size_t size;
    uint64_t large; /* its first page; 0: it lies in the leaf */
    uint64_t large_pages;
} sw_node;

/* Branch or leaf `number`; false: it is none. */
bool sw_page_get(const sw_pages *p, uint64_t number, unsigned kind, sw_page *out, sw_pages_fault *fault) SW_MUST_CHECK;
bool sw_node_get(const sw_pages *p, const sw_page *page, unsigned kind, unsigned index, sw_node *out, sw_pages_fault *fault)
    SW_MUST_CHECK;
/* Whether the head of the large value's first page is as the node says. */
bool sw_node_check_large(const sw_pages *p, const sw_node *node, sw_pages_fault *fault) SW_MUST_CHECK;
uint64_t sw_page_number(const sw_pages *p, const sw_page *page);
int sw_page_compare(const void *a, size_t a_size, const void *b, size_t b_size);
uint64_t sw_page_u64(const uint8_t *at);
bool sw_pages_damaged(sw_pages_fault *fault, uint64_t page, const char *why); /* false */

#endif
