/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dataset/dataset_internal.h"

sw_status sw_lookup_new(int64_t count, sw_lookup *out, sw_error *err)
{
    out->entry = sw_calloc((size_t)count + 1, sizeof(*out->entry));
    if (!out->entry) return sw_nomem(err);
    out->count = count;
    return SW_OK;
}

void sw_lookup_free(sw_lookup *lookup)
{
    sw_free(lookup->entry);
    *lookup = (sw_lookup){0};
}

static int compare(const void *a, const void *b)
{
    const sw_lookup_entry *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

void sw_lookup_sort(sw_lookup *lookup)
{
    qsort(lookup->entry, (size_t)lookup->count, sizeof(*lookup->entry), compare);
}

int64_t sw_lookup_find(const sw_lookup *lookup, const char *text)
{
    int64_t low = 0, high = lookup->count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (strcmp(lookup->entry[middle].text, text) < 0) low = middle + 1;
        else high = middle;
    }
    return low < lookup->count && strcmp(lookup->entry[low].text, text) == 0 ? low : -1;
}
