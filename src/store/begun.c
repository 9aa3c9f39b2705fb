/* SPDX-License-Identifier: Apache-2.0 */
#include "store/begun.h"

/* In one transaction: each frees pages, which the transaction has to list. */
#define MOST_REMOVED 4096

static sw_key key_of(uint32_t number)
{
    sw_key key = sw_key_slide(number);
    key.bytes[0] = 'w';
    return key;
}

sw_status sw_begun_put(sw_kv *kv, uint32_t number, sw_error *err)
{
    sw_key key = key_of(number);
    return sw_record_put(kv, &key, "", 0, err);
}

sw_status sw_begun_remove(sw_kv *kv, uint32_t number, sw_error *err)
{
    sw_key key = key_of(number);
    return sw_kv_remove(kv, key.bytes, key.size, err);
}

/* ---- what there is of one */

static sw_status is_there(sw_kv *kv, uint32_t number, int scale, int64_t index, bool *out, sw_error *err)
{
    const void *value;
    size_t size;
    sw_key key = sw_key_patch(number, scale, index);
    SW_TRY(sw_kv_get(kv, key.bytes, key.size, &value, &size, err));
    *out = value != NULL;
    return SW_OK;
}

/* Patches are put from index 0 up and taken away from the last one down: those that are there are 0 to *n - 1. */
static sw_status count_patches(sw_kv *kv, uint32_t number, int scale, int64_t *n, sw_error *err)
{
    int64_t low = 0, high = 1; /* low are there; high: the first that is not */
    bool there = true;
    for (;; high *= 2) {
        SW_TRY(is_there(kv, number, scale, high - 1, &there, err));
        if (!there) break;
        low = high;
    }
    for (high = high - 1; low < high;) {
        int64_t middle = low + (high - low) / 2;
        SW_TRY(is_there(kv, number, scale, middle, &there, err));
        if (there) low = middle + 1;
        else high = middle;
    }
    *n = low;
    return SW_OK;
}

typedef struct first_begun {
    bool any;
    uint32_t number;
    int64_t n_records;
    sw_kv *kv;
} first_begun;

static uint32_t number_in(const void *key)
{
    const uint8_t *k = key;
    return (uint32_t)k[1] << 24 | (uint32_t)k[2] << 16 | (uint32_t)k[3] << 8 | k[4];
}

static sw_status count_one(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err)
{
    first_begun *f = ctx;
    if (key_size != 5 || !sw_record_check(key, key_size, value, size)) return SW_OK; /* not ours: a stray */
    f->n_records++;
    for (int scale = 0; scale < SW_STORE_MAX_SCALES; scale++) {
        int64_t n;
        SW_TRY(count_patches(f->kv, number_in(key), scale, &n, err));
        f->n_records += n;
    }
    return SW_OK;
}

sw_status sw_begun_count(sw_kv *kv, int64_t *n_records, sw_error *err)
{
    first_begun f = {.kv = kv};
    SW_TRY(sw_kv_each(kv, 'w', count_one, &f, err));
    *n_records = f.n_records;
    return SW_OK;
}

/* ---- taking it away */

static sw_status damaged(const sw_kv *kv, sw_error *err)
{
    return sw_error_set(err, SW_E_FORMAT, "store %s: the record of a slide that was begun is damaged; restore the store from a copy or tile into a new one",
                        sw_kv_dir(kv));
}

static sw_status note_number(void *ctx, const void *key, size_t key_size, const void *value, size_t size, sw_error *err)
{
    first_begun *f = ctx;
    if (key_size != 5 || !sw_record_check(key, key_size, value, size)) return damaged(f->kv, err);
    f->any = true;
    f->number = number_in(key);
    return SW_E_CANCELLED; /* one is enough */
}

/* One transaction's share; *done: nothing is left of the slide, and its record is gone, too. */
static sw_status remove_some(sw_kv *kv, uint32_t number, bool *done, sw_error *err)
{
    int64_t left = MOST_REMOVED;
    const void *slide;
    size_t size;
    sw_key described = sw_key_slide(number);
    SW_TRY(sw_kv_get(kv, described.bytes, described.size, &slide, &size, err));
    if (slide) return damaged(kv, err); /* a whole slide is not taken away, whatever a record says */
    for (int scale = SW_STORE_MAX_SCALES - 1; scale >= 0 && left > 0; scale--) {
        int64_t n;
        SW_TRY(count_patches(kv, number, scale, &n, err));
        for (; n > 0 && left > 0; left--) {
            sw_key key = sw_key_patch(number, scale, --n);
            SW_TRY(sw_kv_remove(kv, key.bytes, key.size, err));
        }
    }
    *done = left > 0;
    return *done ? sw_begun_remove(kv, number, err) : SW_OK;
}

static sw_status clean_one(sw_kv *kv, uint32_t number, sw_error *err)
{
    for (bool done = false; !done;) {
        SW_TRY(sw_kv_begin(kv, err));
        sw_status status = remove_some(kv, number, &done, err);
        if (status != SW_OK) {
            sw_kv_abort(kv);
            return status;
        }
        SW_TRY(sw_kv_commit(kv, err));
    }
    return SW_OK;
}

sw_status sw_begun_clean(sw_kv *kv, sw_error *err)
{
    for (;;) {
        first_begun f = {.kv = kv};
        sw_status status = sw_kv_each(kv, 'w', note_number, &f, err);
        if (!f.any) return status;
        SW_TRY(clean_one(kv, f.number, err));
    }
}
