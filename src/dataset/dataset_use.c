/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of a dataset once it is loaded. */
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset.h"

sw_status sw_dataset_select(const sw_dataset *ds, sw_split split, int64_t **index, sw_error *err)
{
    int64_t *chosen = sw_calloc((size_t)ds->bags[split] + 1, sizeof(*chosen)), n = 0;
    if (!chosen) return sw_nomem(err);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (ds->bag[i].split == split) chosen[n++] = i;
    }
    *index = chosen;
    return SW_OK;
}

const int64_t *sw_dataset_class_counts(const sw_dataset *ds, sw_split split)
{
    return ds->count + (int64_t)split * ds->n_classes;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9E3779B97F4A7C15u + (hash >> 29);
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    return mix(hash, sw_hash64(text, strlen(text)));
}

uint64_t sw_dataset_hash(const sw_dataset *ds)
{
    uint64_t hash = mix(0, (uint64_t)ds->n_bags);
    for (int k = 0; k < ds->n_classes; k++) hash = mix_text(hash, ds->class_name[k]);
    for (int64_t i = 0; i < ds->n_bags; i++) {
        const sw_bag *bag = &ds->bag[i];
        hash = mix_text(mix_text(hash, bag->slide_id), bag->case_id);
        hash = mix(hash, (uint64_t)bag->label * SW_SPLIT_COUNT + (uint64_t)bag->split);
        for (int64_t k = 0; k < bag->n_more; k++) hash = mix(hash, (uint64_t)bag->more[k]);
        if (!ds->survival) continue;
        hash = mix(mix(hash, sw_hash64(&bag->time, sizeof bag->time)), bag->event);
    }
    return hash;
}

static void json_texts(sw_json_writer *w, const char *key, char *const *text, int64_t count)
{
    sw_json_key(w, key);
    sw_json_array(w);
    for (int64_t i = 0; i < count; i++) sw_json_string(w, text[i]);
    sw_json_end_array(w);
}

/* SW_SPLIT_COUNT: of all splits together. */
static int64_t slides_of(const sw_dataset *ds, sw_split split)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ds->n_bags; i++) {
        if (split == SW_SPLIT_COUNT || ds->bag[i].split == split) n += sw_bag_slides(&ds->bag[i]);
    }
    return n;
}

void sw_dataset_json(const sw_dataset *ds, sw_json_writer *w)
{
    sw_json_object(w);
    sw_json_key(w, "labels");
    sw_json_string(w, ds->labels_path);
    json_texts(w, "classes", ds->class_name, ds->n_classes);
    if (ds->by_case) sw_json_put_bool(w, "by_case", true);
    if (ds->survival) {
        sw_json_put_string(w, "task", "survival");
        sw_json_put_string(w, "time", ds->time_column);
        sw_json_key(w, "edges");
        sw_json_array(w);
        for (int k = 0; k + 1 < ds->n_classes; k++) sw_json_number(w, ds->edge[k]);
        sw_json_end_array(w);
    }
    sw_json_key(w, "split_source");
    sw_json_string(w, ds->split_source);
    sw_json_key(w, "val_carved");
    sw_json_bool(w, ds->val_carved);
    sw_json_put_int(w, "slides", slides_of(ds, SW_SPLIT_COUNT));
    sw_json_put_int(w, "cases", ds->n_cases);
    sw_json_key(w, "splits");
    sw_json_object(w);
    for (int s = 0; s < SW_SPLIT_COUNT; s++) {
        sw_json_key(w, sw_split_name((sw_split)s));
        sw_json_object(w);
        sw_json_put_int(w, "slides", slides_of(ds, (sw_split)s));
        sw_json_put_int(w, "cases", ds->cases[s]);
        if (ds->survival) sw_json_put_int(w, "events", ds->events[s]);
        sw_json_key(w, "per_class");
        sw_json_object(w);
        for (int k = 0; k < ds->n_classes; k++) {
            sw_json_put_int(w, ds->class_name[k], sw_dataset_class_counts(ds, (sw_split)s)[k]);
        }
        sw_json_end_object(w);
        sw_json_end_object(w);
    }
    sw_json_end_object(w);
    json_texts(w, "missing", ds->missing, ds->n_missing);
    json_texts(w, "unlabelled", ds->unlabelled, ds->n_unlabelled);
    if (ds->n_ambiguous > 0) json_texts(w, "ambiguous", ds->ambiguous, ds->n_ambiguous);
    json_texts(w, "warnings", ds->warning, ds->n_warnings);
    sw_json_end_object(w);
}
