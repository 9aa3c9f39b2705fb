/* SPDX-License-Identifier: Apache-2.0 */
/* The patches of several slides as one list: what a case of several slides is to a model. */
#include "base/mem.h"
#include "batch/batch.h"
#include "batch/load.h"

typedef struct joined {
    sw_patch_source **part; /* [parts] owned */
    int64_t *first;         /* [parts + 1] index of a part's first patch */
    int64_t parts;
} joined;

static void joined_free(joined *j)
{
    for (int64_t i = 0; i < j->parts; i++) sw_patch_source_free(j->part[i]);
    sw_free(j->part);
    sw_free(j->first);
    sw_free(j);
}

static void destroy(void *self)
{
    joined_free(self);
}

static int64_t part_of(const joined *j, int64_t index)
{
    int64_t low = 0, high = j->parts;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (j->first[middle] <= index) low = middle;
        else high = middle;
    }
    return low;
}

static sw_status read_patch(void *self, int64_t index, uint8_t *rgb, sw_error *err)
{
    const joined *j = self;
    int64_t at = part_of(j, index);
    return sw_patch_source_read(j->part[at], index - j->first[at], rgb, err);
}

static sw_status places(void *self, double step_level0_px, float *xy, sw_error *err)
{
    const joined *j = self;
    float below = 0;
    (void)step_level0_px; /* each part has its own */
    for (int64_t i = 0; i < j->parts; i++) {
        float *of_part = xy + 2 * j->first[i];
        SW_TRY(sw_patch_source_places(j->part[i], of_part, err));
        if (j->parts > 1) sw_places_below(of_part, j->first[i + 1] - j->first[i], &below);
    }
    return SW_OK;
}

static const sw_patch_source_ops ops = {.read = read_patch, .destroy = destroy, .places = places};

sw_patch_source *sw_patch_source_part(sw_patch_source *source, int64_t *index)
{
    void *self = NULL;
    if (!sw_patch_source_is(source, &ops, &self)) return source;
    const joined *j = self;
    int64_t at = part_of(j, *index);
    *index -= j->first[at];
    return j->part[at];
}

sw_status sw_patch_source_join(sw_patch_source *const *part, int64_t parts, const char *name, sw_patch_source **out,
                               sw_error *err)
{
    if (parts < 1) return sw_error_set(err, SW_E_INVALID, "%s: there is no list of patches to join", name);
    SW_AUTOFREE joined *j = sw_calloc(1, sizeof(*j));
    SW_AUTOFREE sw_patch_source **owned = sw_calloc((size_t)parts, sizeof(sw_patch_source *));
    SW_AUTOFREE int64_t *first = sw_calloc((size_t)parts + 1, sizeof(*first));
    if (!j || !owned || !first) return sw_nomem(err);
    for (int64_t i = 0; i < parts; i++) {
        owned[i] = part[i];
        first[i + 1] = first[i] + sw_patch_source_count(part[i]);
    }
    SW_TRY(sw_patch_source_new(&ops, j, name, first[parts], sw_patch_source_px(part[0]), out, err));
    *j = (joined){.part = SW_STEAL(owned), .first = SW_STEAL(first), .parts = parts};
    (void)SW_STEAL(j);
    return SW_OK;
}
