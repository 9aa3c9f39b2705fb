/* SPDX-License-Identifier: Apache-2.0 */
/* The slides of a case become one bag, which stands where the case's first slide stood. */
#include <string.h>

#include "base/mem.h"
#include "dataset/dataset_internal.h"

bool sw_dataset_by_case(const sw_config *config)
{
    if (config->data.bag != SW_CFG_BAG_AUTO) return config->data.bag == SW_CFG_BAG_CASE;
    return config->task.type == SW_CFG_SURVIVAL;
}

static sw_status check_same(const sw_dataset_build *b, const sw_bag *first, const sw_bag *other, sw_error *err)
{
    const sw_dataset *ds = b->ds;
    long long line = (long long)other->line, before = (long long)first->line;
    if (ds->survival && (first->time != other->time || first->event != other->event)) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: case '%s' has the time %g%s, and on line %lld %g%s; a case has one time",
                            b->table.path, line, other->case_id, other->time, other->event ? "" : " (censored)", before,
                            first->time, first->event ? "" : " (censored)");
    }
    if (!ds->survival && first->label != other->label) {
        return sw_error_set(err, SW_E_INVALID, "%s:%lld: case '%s' has the label '%s', and on line %lld '%s'; where a case is a bag (data.bag) it has one label",
                            b->table.path, line, other->case_id, ds->class_name[other->label], before,
                            ds->class_name[first->label]);
    }
    if (first->split != other->split) {
        return sw_error_set(err, SW_E_INVALID, "%s: case '%s' is in %s (line %lld) and in %s (line %lld); where a case is a bag (data.bag) it is in one split",
                            b->table.path, other->case_id, sw_split_name(first->split), before, sw_split_name(other->split), line);
    }
    return SW_OK;
}

static sw_status take_slide(sw_bag *case_bag, sw_bag *slide, sw_error *err)
{
    int64_t *more = sw_realloc_array(case_bag->more, (size_t)case_bag->n_more + 1, sizeof(*more));
    if (!more) return sw_nomem(err);
    more[case_bag->n_more] = slide->store_slide;
    case_bag->more = more;
    case_bag->n_more++;
    sw_free(slide->slide_id);
    sw_free(slide->case_id);
    *slide = (sw_bag){0};
    return SW_OK;
}

sw_status sw_dataset_join_cases(sw_dataset_build *b, sw_error *err)
{
    sw_dataset *ds = b->ds;
    SW_CLEANUP(sw_lookup_free) sw_lookup cases = {0};
    SW_TRY(sw_lookup_new(ds->n_bags, &cases, err));
    for (int64_t i = 0; i < ds->n_bags; i++) cases.entry[i] = (sw_lookup_entry){ds->bag[i].case_id, i};
    sw_lookup_sort(&cases); /* equal texts by their place in the table */
    sw_bag *first = NULL;
    for (int64_t i = 0; i < cases.count; i++) {
        sw_bag *bag = &ds->bag[cases.entry[i].index];
        if (!first || strcmp(first->case_id, bag->case_id) != 0) {
            first = bag;
            char *id = sw_strdup(bag->case_id);
            if (!id) return sw_nomem(err);
            sw_free(bag->slide_id);
            bag->slide_id = id;
            continue;
        }
        SW_TRY(check_same(b, first, bag, err));
        SW_TRY(take_slide(first, bag, err));
    }
    int64_t kept = 0;
    for (int64_t i = 0; i < ds->n_bags; i++) {
        sw_bag bag = ds->bag[i];
        if (!bag.case_id) continue;
        ds->bag[i] = (sw_bag){0};
        ds->bag[kept++] = bag;
    }
    ds->n_bags = kept;
    return SW_OK;
}
