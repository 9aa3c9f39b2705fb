/* SPDX-License-Identifier: Apache-2.0 */
/* Random splits by case, stratified by the case's label. A case with several labels counts as its most frequent one; of
 * equally frequent ones as the one that is rarer in the table. Cases are put in the order of their ids before they are
 * shuffled, so that the order of the table does not matter. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dataset/dataset_internal.h"

typedef struct case_list {
    sw_lookup bags;    /* by case id */
    int64_t *first;    /* [count + 1] position of a case's first bag in `bags` */
    int *label;        /* [count] */
    int64_t count;
} case_list;

static void case_list_free(case_list *list)
{
    sw_lookup_free(&list->bags);
    sw_free(list->first);
    sw_free(list->label);
}

/* Only bags that are in `split` count. */
static sw_status case_list_new(const sw_dataset *ds, sw_split split, case_list *out, sw_error *err)
{
    int64_t n = 0;
    SW_TRY(sw_lookup_new(ds->n_bags, &out->bags, err));
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (ds->bag[i].split == split) out->bags.entry[n++] = (sw_lookup_entry){ds->bag[i].case_id, i};
    }
    out->bags.count = n;
    sw_lookup_sort(&out->bags);
    out->first = sw_calloc((size_t)n + 1, sizeof(*out->first));
    out->label = sw_calloc((size_t)n + 1, sizeof(*out->label));
    SW_AUTOFREE int64_t *total = sw_calloc((size_t)ds->n_classes, sizeof(*total));
    SW_AUTOFREE int64_t *own = sw_calloc((size_t)ds->n_classes, sizeof(*own));
    if (!out->first || !out->label || !total || !own) return sw_nomem(err);
    for (int64_t i = 0; i < n; i++) total[ds->bag[out->bags.entry[i].index].label]++;
    for (int64_t i = 0; i < n;) {
        int64_t begin = i;
        memset(own, 0, (size_t)ds->n_classes * sizeof(*own));
        for (; i < n && strcmp(out->bags.entry[i].text, out->bags.entry[begin].text) == 0; i++) {
            own[ds->bag[out->bags.entry[i].index].label]++;
        }
        int best = 0;
        for (int k = 1; k < ds->n_classes; k++) {
            if (own[k] > own[best] || (own[k] == own[best] && total[k] < total[best])) best = k;
        }
        out->first[out->count] = begin;
        out->label[out->count++] = best;
    }
    out->first[out->count] = n;
    return SW_OK;
}

static void set_split(sw_dataset *ds, const case_list *list, int64_t index, sw_split split)
{
    for (int64_t i = list->first[index]; i < list->first[index + 1]; i++) ds->bag[list->bags.entry[i].index].split = split;
}

/* Cases of one class in random order: [count of them], in `out`. */
static int64_t shuffled_class(const case_list *list, int label, uint64_t seed, uint32_t use, int64_t *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < list->count; i++) {
        if (list->label[i] == label) out[n++] = i;
    }
    sw_rng rng = sw_rng_stream(seed, SW_RNG_SPLIT, use, (uint32_t)label, 0);
    sw_rng_shuffle(&rng, out, (size_t)n);
    return n;
}

enum { USE_TEST, USE_VAL, USE_FOLD }; /* streams: the validation set does not depend on how the test set was drawn */

/* Moves `fraction` of the training cases of each class to `to`: rounded, at least one where there are two, never all. */
static sw_status take_fraction(sw_dataset *ds, double fraction, uint64_t seed, uint32_t use, sw_split to, int64_t *taken,
                               sw_error *err)
{
    SW_CLEANUP(case_list_free) case_list list = {0};
    SW_TRY(case_list_new(ds, SW_SPLIT_TRAIN, &list, err));
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)list.count + 1, sizeof(*order));
    if (!order) return sw_nomem(err);
    *taken = 0;
    for (int k = 0; k < ds->n_classes && fraction > 0; k++) {
        int64_t n = shuffled_class(&list, k, seed, use, order);
        int64_t want = (int64_t)floor(fraction * (double)n + 0.5);
        if (want < 1) want = 1;
        if (want > n - 1) want = n - 1;
        for (int64_t i = 0; i < want; i++) set_split(ds, &list, order[i], to);
        *taken += want > 0 ? want : 0;
    }
    return SW_OK;
}

/* Deals the cases of class after class to the folds in turn, so that folds differ by one case at most. */
static sw_status take_fold(sw_dataset *ds, int64_t folds, int64_t fold, uint64_t seed, const char *path, sw_error *err)
{
    SW_CLEANUP(case_list_free) case_list list = {0};
    SW_TRY(case_list_new(ds, SW_SPLIT_TRAIN, &list, err));
    if (list.count < folds) {
        return sw_error_set(err, SW_E_INVALID, "%s: %lld cases cannot make %lld folds; lower data.split.folds", path,
                            (long long)list.count, (long long)folds);
    }
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)list.count + 1, sizeof(*order));
    if (!order) return sw_nomem(err);
    int64_t dealt = 0;
    for (int k = 0; k < ds->n_classes; k++) {
        int64_t n = shuffled_class(&list, k, seed, USE_FOLD, order);
        for (int64_t i = 0; i < n; i++, dealt++) {
            if (dealt % folds == fold) set_split(ds, &list, order[i], SW_SPLIT_TEST);
        }
    }
    return SW_OK;
}

sw_status sw_dataset_split_random(sw_dataset_build *b, bool folds, sw_error *err)
{
    sw_dataset *ds = b->ds;
    const sw_config *c = b->config;
    int64_t taken = 0;
    uint64_t seed = (uint64_t)c->data.split.seed;
    for (int64_t i = 0; i < ds->n_bags; i++) ds->bag[i].split = SW_SPLIT_TRAIN;
    if (folds) {
        SW_TRY(take_fold(ds, c->data.split.folds, c->data.split.fold, seed, b->table.path, err));
        ds->split_source = sw_asprintf("fold %lld of %lld by case, seed %lld", (long long)c->data.split.fold,
                                       (long long)c->data.split.folds, (long long)c->data.split.seed);
    } else {
        SW_TRY(take_fraction(ds, c->data.split.test, seed, USE_TEST, SW_SPLIT_TEST, &taken, err));
        ds->split_source = sw_asprintf("random by case, seed %lld", (long long)c->data.split.seed);
    }
    return ds->split_source ? SW_OK : sw_nomem(err);
}

sw_status sw_dataset_carve_val(sw_dataset_build *b, sw_error *err)
{
    int64_t taken = 0;
    uint64_t seed = (uint64_t)b->config->data.split.seed;
    SW_TRY(take_fraction(b->ds, b->config->data.split.val, seed, USE_VAL, SW_SPLIT_VAL, &taken, err));
    b->ds->val_carved = taken > 0;
    return SW_OK;
}
