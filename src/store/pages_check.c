/* SPDX-License-Identifier: Apache-2.0 */
/* All pages of a file at once: LMDB's writer may follow them after this. */
#include "base/mem.h"
#include "store/pages.h"

typedef struct checking {
    const sw_pages *p;
    uint8_t *taken; /* a bit for each page: something uses it, or it is free */
    sw_pages_fault *fault;
    bool deep, free;     /* free: the tree of the free pages */
    sw_pages_tree found; /* what was counted in this tree */
    const uint8_t *key;  /* the last one; NULL: none yet */
    size_t key_size;
} checking;

static bool take(checking *c, uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        if (c->taken[i / 8] & 1u << i % 8) return sw_pages_damaged(c->fault, i, "it is used twice");
        c->taken[i / 8] |= (uint8_t)(1u << i % 8);
    }
    return true;
}

static int compare_keys(const checking *c, const sw_node *node)
{
    if (!c->free) return sw_page_compare(c->key, c->key_size, node->key, node->key_size);
    uint64_t a = sw_page_u64(c->key), b = sw_page_u64(node->key);
    return a < b ? -1 : a > b;
}

/* A list of free pages: how many, and their numbers, the highest first. */
static bool take_free(checking *c, const sw_node *node, uint64_t page)
{
    uint64_t count = node->size >= 8 && node->size % 8 == 0 ? sw_page_u64(node->value) : UINT64_MAX;
    if (count > node->size / 8 - 1) return sw_pages_damaged(c->fault, page, "a list of free pages of an impossible length");
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = sw_page_u64(node->value + 8 * i);
        if (number < 2 || number > c->p->last) return sw_pages_damaged(c->fault, page, "it says that a page is free that is not there");
        if (!take(c, number, 1)) return false;
    }
    return true;
}

static bool check_leaf(checking *c, const sw_page *page)
{
    uint64_t number = sw_page_number(c->p, page);
    for (unsigned i = 0; i < page->count; i++) {
        sw_node node;
        if (!sw_node_get(c->p, page, SW_PAGE_LEAF, i, &node, c->fault)) return false;
        if (node.key_size == 0 || (c->free && node.key_size != 8)) return sw_pages_damaged(c->fault, number, "a key of an impossible length");
        if (c->key && compare_keys(c, &node) >= 0) return sw_pages_damaged(c->fault, number, "its keys are not in order");
        c->key = node.key;
        c->key_size = node.key_size;
        c->found.entries++;
        c->found.overflow += node.large_pages;
        if (node.large && (!take(c, node.large, node.large_pages) || ((c->deep || c->free) && !sw_node_check_large(c->p, &node, c->fault)))) return false;
        if (c->free && !take_free(c, &node, number)) return false;
    }
    return true;
}

/* The first entry below a branch's child. */
static bool first_below(const checking *c, uint64_t number, unsigned depth, sw_node *out)
{
    sw_page page;
    out->child = number;
    for (; depth >= 1; depth--) {
        unsigned kind = depth > 1 ? SW_PAGE_BRANCH : SW_PAGE_LEAF;
        if (!sw_page_get(c->p, out->child, kind, &page, c->fault) || !sw_node_get(c->p, &page, kind, 0, out, c->fault)) return false;
    }
    return true;
}

/* The key that a branch has of a child lies after all before it, and not after the child's own first. */
static bool check_separator(const checking *c, const sw_node *node, uint64_t page, unsigned depth)
{
    sw_node first;
    if (c->free && node->key_size != 8) return sw_pages_damaged(c->fault, page, "a key of an impossible length");
    if (c->key && compare_keys(c, node) >= 0) return sw_pages_damaged(c->fault, page, "its keys are not in order");
    if (!first_below(c, node->child, depth - 1, &first)) return false;
    if (c->free && first.key_size != 8) return sw_pages_damaged(c->fault, page, "a key of an impossible length");
    checking at = *c;
    at.key = node->key;
    at.key_size = node->key_size;
    return compare_keys(&at, &first) <= 0 || sw_pages_damaged(c->fault, page, "a key leads to the wrong page");
}

/* A page twice in the tree is told at its second time, so that this ends. */
static bool check_page(checking *c, uint64_t number, unsigned depth)
{
    sw_page page;
    if (!sw_page_get(c->p, number, depth > 1 ? SW_PAGE_BRANCH : SW_PAGE_LEAF, &page, c->fault) || !take(c, number, 1)) return false;
    if (depth == 1) {
        c->found.leaves++;
        return check_leaf(c, &page);
    }
    c->found.branches++;
    for (unsigned i = 0; i < page.count; i++) {
        sw_node node;
        if (!sw_node_get(c->p, &page, SW_PAGE_BRANCH, i, &node, c->fault)) return false;
        if (i > 0 && !check_separator(c, &node, number, depth)) return false;
        if (!check_page(c, node.child, depth - 1)) return false;
    }
    return true;
}

static bool same(const sw_pages_tree *a, const sw_pages_tree *b)
{
    return a->branches == b->branches && a->leaves == b->leaves && a->overflow == b->overflow && a->entries == b->entries;
}

static bool check_tree(checking *c, const sw_pages_tree *tree, bool free)
{
    c->free = free;
    c->found = (sw_pages_tree){0};
    c->key = NULL;
    if (tree->root != UINT64_MAX && !check_page(c, tree->root, tree->depth)) return false;
    return same(&c->found, tree) || sw_pages_damaged(c->fault, c->p->txn % 2, "it counts other pages or entries than there are");
}

sw_status sw_pages_check(const sw_pages *p, bool deep, sw_pages_fault *fault, sw_error *err)
{
    checking c = {.p = p, .fault = fault, .deep = deep};
    SW_AUTOFREE uint8_t *taken = sw_calloc((size_t)(p->last / 8) + 1, 1);
    if (!taken) return sw_nomem(err);
    c.taken = taken;
    *fault = (sw_pages_fault){0};
    if (check_tree(&c, &p->records, false)) (void)check_tree(&c, &p->free, true);
    return SW_OK;
}
