/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pages.h"

#include <string.h>

#define MAGIC 0xBEEFC0DEu
#define VERSION 1u
#define MOST_DEPTH 32u
#define NOWHERE UINT64_MAX
#define FLAG_INTEGER_KEYS 8u

enum { NODE_HEAD = 8, NODE_LARGE = 1 };
/* Bytes of a meta, after the head of its page. */
enum { META_MAGIC = 16, META_VERSION = 20, META_FREE = 40, META_RECORDS = 88, META_LAST = 136, META_TXN = 144, META_END = 152 };
enum { TREE_PAD = 0, TREE_FLAGS = 4, TREE_DEPTH = 6, TREE_BRANCHES = 8, TREE_LEAVES = 16, TREE_OVERFLOW = 24, TREE_ENTRIES = 32, TREE_ROOT = 40 };

_Static_assert(sizeof(size_t) == 8, "LMDB's pages are read as 64-bit machines write them");

static unsigned u16(const uint8_t *at)
{
    return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static uint32_t u32(const uint8_t *at)
{
    return (uint32_t)u16(at) | (uint32_t)u16(at + 2) << 16;
}

uint64_t sw_page_u64(const uint8_t *at)
{
    return (uint64_t)u32(at) | (uint64_t)u32(at + 4) << 32;
}

bool sw_pages_damaged(sw_pages_fault *fault, uint64_t page, const char *why)
{
    *fault = (sw_pages_fault){why, page};
    return false;
}

int sw_page_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : a_size < b_size ? -1 : a_size > b_size;
}

/* ---- metas */

static bool read_tree(const uint8_t *at, uint64_t last, sw_pages_tree *out)
{
    *out = (sw_pages_tree){.root = sw_page_u64(at + TREE_ROOT), .depth = u16(at + TREE_DEPTH), .branches = sw_page_u64(at + TREE_BRANCHES),
                           .leaves = sw_page_u64(at + TREE_LEAVES), .overflow = sw_page_u64(at + TREE_OVERFLOW),
                           .entries = sw_page_u64(at + TREE_ENTRIES)};
    if (out->root == NOWHERE) return out->depth == 0 && out->entries == 0;
    return out->root >= 2 && out->root <= last && out->depth >= 1 && out->depth <= MOST_DEPTH;
}

/* Meta `number`, which begins at `at`. */
static bool read_meta(const uint8_t *at, uint64_t number, sw_pages *out, sw_pages_fault *fault)
{
    if (sw_page_u64(at) != number || u16(at + 10) != SW_PAGE_META) return sw_pages_damaged(fault, number, "no head of an LMDB file");
    if (u32(at + META_MAGIC) != MAGIC || u32(at + META_VERSION) != VERSION) return sw_pages_damaged(fault, number, "no head of an LMDB file");
    out->page_bytes = u32(at + META_FREE + TREE_PAD);
    out->last = sw_page_u64(at + META_LAST);
    out->txn = sw_page_u64(at + META_TXN);
    if (out->page_bytes < 512 || out->page_bytes > 65536 || (out->page_bytes & (out->page_bytes - 1)) != 0)
        return sw_pages_damaged(fault, number, "pages of an impossible size");
    if (out->last < 1 || out->last > (uint64_t)1 << 52) return sw_pages_damaged(fault, number, "an impossible number of pages");
    if (!read_tree(at + META_FREE, out->last, &out->free) || !read_tree(at + META_RECORDS, out->last, &out->records))
        return sw_pages_damaged(fault, number, "a root that is no page");
    /* The free pages are listed by whole numbers, and each key stands once: anything else would be followed differently. */
    if (!(u16(at + META_FREE + TREE_FLAGS) & FLAG_INTEGER_KEYS) || u16(at + META_RECORDS + TREE_FLAGS) != 0)
        return sw_pages_damaged(fault, number, "a database of another kind");
    return true;
}

static bool read_metas(const uint8_t *head, size_t have, sw_pages both[2], sw_pages_fault *fault)
{
    if (have < META_END || !read_meta(head, 0, &both[0], fault)) return have >= META_END ? false : sw_pages_damaged(fault, 0, "no head of an LMDB file");
    if (both[0].page_bytes + META_END > have) return sw_pages_damaged(fault, 1, "it is cut off");
    if (!read_meta(head + both[0].page_bytes, 1, &both[1], fault)) return false;
    return both[0].page_bytes == both[1].page_bytes || sw_pages_damaged(fault, 1, "pages of two sizes");
}

bool sw_pages_check_head(const uint8_t *head, size_t have, bool ours, sw_pages_fault *fault)
{
    sw_pages both[2];
    if (!read_metas(head, have, both, fault)) return false;
    if (!ours || (both[0].txn == 0 && both[1].txn == 0)) return true;
    int newer = both[1].txn > both[0].txn;
    const sw_pages *now = &both[newer], *before = &both[!newer];
    if (before->txn + 1 != now->txn || (now->txn & 1) != (uint64_t)newer) return sw_pages_damaged(fault, (uint64_t)newer, "a commit that does not follow the one before");
    return now->last >= before->last || sw_pages_damaged(fault, (uint64_t)newer, "a commit that takes away what was there");
}

bool sw_pages_find(const uint8_t *map, size_t size, uint64_t txn, sw_pages *out, bool *found, sw_pages_fault *fault)
{
    sw_pages both[2];
    *found = false;
    if (!read_metas(map, size, both, fault)) return false;
    for (int i = 0; i < 2 && !*found; i++) {
        if (both[i].txn != txn) continue;
        *out = both[i];
        out->map = map;
        out->size = size;
        *found = true;
    }
    if (*found && (out->last + 1) * out->page_bytes > size) return sw_pages_damaged(fault, out->last, "it is cut off");
    return true;
}

/* ---- pages and nodes */

uint64_t sw_page_number(const sw_pages *p, const sw_page *page)
{
    return (uint64_t)(page->at - p->map) / p->page_bytes;
}

bool sw_page_get(const sw_pages *p, uint64_t number, unsigned kind, sw_page *out, sw_pages_fault *fault)
{
    if (number < 2 || number > p->last) return sw_pages_damaged(fault, number, "there is no such page");
    const uint8_t *at = p->map + number * p->page_bytes;
    if (sw_page_u64(at) != number) return sw_pages_damaged(fault, number, "it says that it is another page");
    if (u16(at + 10) != kind) return sw_pages_damaged(fault, number, "it is of another kind than it must be");
    unsigned lower = u16(at + 12), upper = u16(at + 14);
    if (lower < SW_PAGE_HEAD || lower % 2 != 0 || lower > upper || upper > p->page_bytes)
        return sw_pages_damaged(fault, number, "its free space has impossible bounds");
    out->at = at;
    out->count = (lower - SW_PAGE_HEAD) / 2;
    return out->count > 0 || sw_pages_damaged(fault, number, "there is nothing in it");
}

/* Of a large value the node holds the number of the first page. */
static bool large_value(const sw_pages *p, const uint8_t *number, uint64_t page, sw_node *out, sw_pages_fault *fault)
{
    out->large = sw_page_u64(number);
    out->large_pages = (SW_PAGE_HEAD - 1 + out->size) / p->page_bytes + 1;
    if (out->large < 2 || out->large > p->last || out->large_pages > p->last + 1 - out->large)
        return sw_pages_damaged(fault, page, "a value lies outside of the file");
    out->value = p->map + out->large * p->page_bytes + SW_PAGE_HEAD;
    return true;
}

bool sw_node_get(const sw_pages *p, const sw_page *page, unsigned kind, unsigned index, sw_node *out, sw_pages_fault *fault)
{
    uint64_t number = sw_page_number(p, page);
    size_t at = u16(page->at + SW_PAGE_HEAD + 2 * (size_t)index), upper = u16(page->at + 14);
    if (at < upper || at + NODE_HEAD > p->page_bytes) return sw_pages_damaged(fault, number, "an entry lies outside of it");
    const uint8_t *node = page->at + at;
    unsigned flags = u16(node + 4);
    *out = (sw_node){.key = node + NODE_HEAD, .key_size = u16(node + 6)};
    size_t room = p->page_bytes - at - NODE_HEAD;
    if (out->key_size > room) return sw_pages_damaged(fault, number, "a key is longer than the page");
    room -= out->key_size;
    if (kind == SW_PAGE_BRANCH) {
        out->child = (uint64_t)u32(node) | (uint64_t)flags << 32;
        return true;
    }
    out->size = u32(node);
    out->value = out->key + out->key_size;
    if ((flags & ~(unsigned)NODE_LARGE) != 0) return sw_pages_damaged(fault, number, "an entry of another kind");
    if (!(flags & NODE_LARGE)) return out->size <= room || sw_pages_damaged(fault, number, "a value is longer than the page");
    if (room < 8) return sw_pages_damaged(fault, number, "an entry lies outside of it");
    return large_value(p, out->value, number, out, fault);
}

bool sw_node_check_large(const sw_pages *p, const sw_node *node, sw_pages_fault *fault)
{
    const uint8_t *at = p->map + node->large * p->page_bytes;
    if (sw_page_u64(at) == node->large && u16(at + 10) == SW_PAGE_OVERFLOW && u32(at + 12) == node->large_pages) return true;
    return sw_pages_damaged(fault, node->large, "it is not the value that it must be");
}

bool sw_pages_check_large(const uint8_t *value, size_t key_size, size_t size, size_t page_bytes, sw_pages_fault *fault)
{
    size_t most = ((page_bytes - SW_PAGE_HEAD) / 2 & ~(size_t)1) - 2; /* of an entry that stays in the leaf */
    if (NODE_HEAD + key_size + size <= most) return true;
    const uint8_t *head = value - SW_PAGE_HEAD;
    if (u16(head + 10) == SW_PAGE_OVERFLOW && u32(head + 12) == (SW_PAGE_HEAD - 1 + size) / page_bytes + 1) return true;
    return sw_pages_damaged(fault, sw_page_u64(head), "it is not the value that it must be");
}

/* The last transaction that the list of free pages knows; 0: there is no list. */
static bool last_of_free(const sw_pages *p, uint64_t *txn, sw_pages_fault *fault)
{
    sw_page page = {0};
    sw_node node = {.child = p->free.root};
    *txn = 0;
    if (p->free.root == NOWHERE) return true;
    for (unsigned depth = p->free.depth; depth >= 1; depth--) {
        unsigned kind = depth > 1 ? SW_PAGE_BRANCH : SW_PAGE_LEAF;
        if (!sw_page_get(p, node.child, kind, &page, fault) || !sw_node_get(p, &page, kind, page.count - 1, &node, fault)) return false;
    }
    if (node.key_size != 8) return sw_pages_damaged(fault, sw_page_number(p, &page), "a key of an impossible length");
    *txn = sw_page_u64(node.key);
    return true;
}

/* A transaction frees the pages that it replaced, and lists them under its number; only the first has none to replace. */
bool sw_pages_check_order(const sw_pages *p, sw_pages_fault *fault)
{
    uint64_t last;
    if (!last_of_free(p, &last, fault)) return false;
    return p->txn <= 1 || last == p->txn || sw_pages_damaged(fault, p->txn % 2, "it is not of the commit that it says");
}

/* ---- looking up */

/* Of a branch: the child that holds `key`, which is the last whose key is not after it; the first one's key counts as the
 * smallest of all. Of a leaf: the first entry that is not before `key`. */
static bool search(const sw_pages *p, const sw_page *page, unsigned kind, const void *key, size_t key_size, unsigned *out, sw_pages_fault *fault)
{
    unsigned low = kind == SW_PAGE_BRANCH ? 1 : 0, high = page->count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        sw_node node;
        if (!sw_node_get(p, page, kind, middle, &node, fault)) return false;
        int order = sw_page_compare(node.key, node.key_size, key, key_size);
        if (order < 0 || (order == 0 && kind == SW_PAGE_BRANCH)) low = middle + 1;
        else high = middle;
    }
    *out = kind == SW_PAGE_BRANCH ? low - 1 : low;
    return true;
}

bool sw_pages_get(const sw_pages *p, const void *key, size_t key_size, const void **value, size_t *size, sw_pages_fault *fault)
{
    sw_page page;
    sw_node node;
    unsigned index;
    uint64_t number = p->records.root;
    *value = NULL;
    *size = 0;
    if (number == NOWHERE) return true;
    for (unsigned depth = p->records.depth; depth > 1; depth--) {
        if (!sw_page_get(p, number, SW_PAGE_BRANCH, &page, fault)) return false;
        if (!search(p, &page, SW_PAGE_BRANCH, key, key_size, &index, fault)) return false;
        if (!sw_node_get(p, &page, SW_PAGE_BRANCH, index, &node, fault)) return false;
        number = node.child;
    }
    if (!sw_page_get(p, number, SW_PAGE_LEAF, &page, fault)) return false;
    if (!search(p, &page, SW_PAGE_LEAF, key, key_size, &index, fault)) return false;
    if (index == page.count) return true;
    if (!sw_node_get(p, &page, SW_PAGE_LEAF, index, &node, fault)) return false;
    if (sw_page_compare(node.key, node.key_size, key, key_size) != 0) return true;
    if (node.large && !sw_node_check_large(p, &node, fault)) return false;
    *value = node.value;
    *size = node.size;
    return true;
}

/* ---- one after another */

typedef struct walk {
    const sw_pages *p;
    const void *from;
    size_t from_size;
    sw_pages_fn fn;
    void *ctx;
    sw_pages_fault *fault;
    uint64_t seen;
    bool stop;
} walk;

/* Pages that point at each other would be walked for ever; more entries than there are tell it. */
static bool walk_leaf(walk *w, const sw_page *page, unsigned index)
{
    for (; index < page->count && !w->stop; index++) {
        sw_node node;
        if (!sw_node_get(w->p, page, SW_PAGE_LEAF, index, &node, w->fault)) return false;
        if (node.large && !sw_node_check_large(w->p, &node, w->fault)) return false;
        if (++w->seen > w->p->records.entries) return sw_pages_damaged(w->fault, sw_page_number(w->p, page), "there are more entries than there must be");
        w->stop = !w->fn(w->ctx, node.key, node.key_size, node.value, node.size);
    }
    return true;
}

/* `begin`: the walk enters here at w->from; else all of the page is after it. */
static bool walk_page(walk *w, uint64_t number, unsigned depth, bool begin)
{
    sw_page page;
    unsigned kind = depth > 1 ? SW_PAGE_BRANCH : SW_PAGE_LEAF, index = 0;
    if (!sw_page_get(w->p, number, kind, &page, w->fault)) return false;
    if (begin && !search(w->p, &page, kind, w->from, w->from_size, &index, w->fault)) return false;
    if (depth == 1) return walk_leaf(w, &page, index);
    for (; index < page.count && !w->stop; index++, begin = false) {
        sw_node node;
        if (!sw_node_get(w->p, &page, SW_PAGE_BRANCH, index, &node, w->fault)) return false;
        if (!walk_page(w, node.child, depth - 1, begin)) return false;
    }
    return true;
}

bool sw_pages_each(const sw_pages *p, const void *from, size_t from_size, sw_pages_fn fn, void *ctx, sw_pages_fault *fault)
{
    walk w = {.p = p, .from = from, .from_size = from_size, .fn = fn, .ctx = ctx, .fault = fault};
    return p->records.root == NOWHERE || walk_page(&w, p->records.root, p->records.depth, true);
}
