/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/store.h"
#include "store/begun.h"
#include "store/kv.h"
#include "store/record.h"
#include "store/stores.h"
#include "store/writer.h"

/* LMDB keeps what a transaction writes in memory. */
#define TRANSACTION_BYTES ((int64_t)128 << 20)

struct sw_store_writer {
    sw_kv *kv;
    sw_setting_list settings;
    sw_record_list slides;
    char *begun; /* id of the slide being written; NULL: none */
    bool again;  /* it takes the place of the one of that id */
    int64_t put[SW_STORE_MAX_SCALES];
    int64_t put_bytes, most_bytes; /* of this transaction */
    bool in_parts;                 /* transactions of the slide that was begun are committed already */
    bool left;                     /* such parts of a slide that was dropped are still there */
};

void sw_store_writer_close(sw_store_writer **address)
{
    sw_store_writer *writer = *address;
    *address = NULL;
    if (!writer) return;
    if (writer->kv) sw_store_abandon(writer);
    sw_record_list_free(&writer->slides);
    sw_setting_list_free(&writer->settings);
    sw_kv_close(&writer->kv);
    sw_free(writer);
}

static sw_status compare_settings(const sw_store_writer *w, const sw_setting_list *asked, sw_error *err)
{
    const char *has, *wanted, *name = sw_setting_list_differs(&w->settings, asked, &has, &wanted);
    if (!name) return SW_OK;
    return sw_error_set(err, SW_E_INVALID,
                        "store %s: it was made with %s = %s, and %s is asked now; use the same settings, or another store",
                        sw_kv_dir(w->kv), name, has, wanted);
}

/* Runs `put` in a transaction of its own. */
static sw_status write_meta(sw_kv *kv, const sw_setting_list *settings, sw_error *err)
{
    SW_TRY(sw_kv_begin(kv, err));
    sw_status status = sw_record_put_meta(kv, settings, err);
    if (status == SW_OK) return sw_kv_commit(kv, err);
    sw_kv_abort(kv);
    return status;
}

/* Values are read within a transaction, which here writes nothing. */
static sw_status read_meta(sw_store_writer *w, bool *found, sw_error *err)
{
    SW_TRY(sw_kv_begin(w->kv, err));
    sw_status status = sw_record_get_meta(w->kv, &w->settings, found, err);
    if (status == SW_OK && *found) status = sw_record_list_load(w->kv, &w->slides, err);
    sw_kv_abort(w->kv);
    return status;
}

sw_status sw_store_writer_open(const char *path, const sw_store_setting_pair *settings, size_t n_settings,
                               sw_store_writer **out, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = sw_calloc(1, sizeof *w);
    SW_CLEANUP(sw_setting_list_free) sw_setting_list asked = {0};
    bool found;
    if (!w) return sw_nomem(err);
    w->most_bytes = TRANSACTION_BYTES;
    SW_TRY(sw_setting_list_of(settings, n_settings, &asked, err));
    SW_TRY(sw_stores_refuse_writer(path, err));
    SW_TRY(sw_kv_open_write(path, &w->kv, err));
    SW_TRY(read_meta(w, &found, err));
    if (found) SW_TRY(compare_settings(w, &asked, err));
    else SW_TRY(write_meta(w->kv, &asked, err));
    SW_TRY(sw_begun_clean(w->kv, err));
    *out = SW_STEAL(w);
    return SW_OK;
}

int64_t sw_store_writer_count(const sw_store_writer *writer)
{
    return (int64_t)writer->slides.count;
}

const sw_store_slide *sw_store_writer_get(const sw_store_writer *writer, int64_t index)
{
    return index >= 0 && (size_t)index < writer->slides.count ? &writer->slides.item[index]->slide : NULL;
}

const sw_store_slide *sw_store_writer_find(const sw_store_writer *writer, const char *slide_id)
{
    return sw_store_writer_get(writer, sw_record_list_find(&writer->slides, slide_id));
}

void sw_store_writer_limit(sw_store_writer *writer, int64_t transaction_bytes)
{
    writer->most_bytes = transaction_bytes;
}

void sw_store_abandon(sw_store_writer *writer)
{
    sw_kv_abort(writer->kv);
    sw_free(writer->begun);
    writer->begun = NULL;
    if (!writer->in_parts) return;
    writer->in_parts = false;
    /* Where that fails (a disk that is full) the next slide tries again, or the next writer. */
    writer->left = sw_begun_clean(writer->kv, NULL) != SW_OK;
}

static sw_status begin(sw_store_writer *writer, const char *slide_id, bool again, sw_error *err)
{
    if (writer->begun) {
        return sw_error_set(err, SW_E_INTERNAL, "store %s: slide %s was begun before %s was committed", sw_kv_dir(writer->kv),
                            slide_id, writer->begun);
    }
    bool known = sw_store_writer_find(writer, slide_id) != NULL;
    if (again && !known) {
        return sw_error_set(err, SW_E_INVALID, "store %s: it holds no slide named \"%s\" that could be replaced", sw_kv_dir(writer->kv), slide_id);
    }
    if (!slide_id[0] || (known && !again)) {
        return sw_error_set(err, SW_E_INVALID, "store %s: it holds a slide named \"%s\" already, or the name is empty",
                            sw_kv_dir(writer->kv), slide_id);
    }
    SW_AUTOFREE char *id = sw_strdup(slide_id);
    if (!id) return sw_nomem(err);
    if (writer->left) SW_TRY(sw_begun_clean(writer->kv, err));
    writer->left = false;
    SW_TRY(sw_kv_begin(writer->kv, err));
    memset(writer->put, 0, sizeof writer->put);
    writer->put_bytes = 0;
    writer->begun = SW_STEAL(id);
    writer->again = again;
    return SW_OK;
}

sw_status sw_store_begin(sw_store_writer *writer, const char *slide_id, sw_error *err)
{
    return begin(writer, slide_id, false, err);
}

sw_status sw_store_begin_again(sw_store_writer *writer, const char *slide_id, sw_error *err)
{
    return begin(writer, slide_id, true, err);
}

sw_status sw_store_writer_coords(sw_store_writer *w, const char *slide_id, int scale, int64_t *xy, sw_error *err)
{
    const void *bytes;
    size_t size;
    char what[64];
    int64_t at = sw_record_list_find(&w->slides, slide_id);
    const sw_slide_record *r = at < 0 ? NULL : w->slides.item[at];
    if (!r || w->begun || scale < 0 || scale >= r->slide.n_scales) {
        return sw_error_set(err, SW_E_INTERNAL, "store %s: positions of slide %s were asked for out of order", sw_kv_dir(w->kv), slide_id);
    }
    sw_key key = sw_key_coords(r->number, scale);
    snprintf(what, sizeof what, "the positions of a slide, scale %d,", scale);
    SW_TRY(sw_kv_begin(w->kv, err));
    sw_status status = sw_record_get(w->kv, &key, what, &bytes, &size, err);
    if (status == SW_OK && size != (size_t)r->slide.scale[scale].n_patches * 16)
        status = sw_error_set(err, SW_E_FORMAT, "store %s: %s have %zu bytes", sw_kv_dir(w->kv), what, size);
    if (status == SW_OK) sw_record_unpack(bytes, size / 8, xy);
    sw_kv_abort(w->kv);
    return status;
}

/* Ends the slide when `status` is a failure. */
static sw_status or_abandon(sw_store_writer *writer, sw_status status)
{
    if (status != SW_OK) sw_store_abandon(writer);
    return status;
}

static sw_status out_of_order(const sw_store_writer *w, const char *what, sw_error *err)
{
    return sw_error_set(err, SW_E_INTERNAL, "store %s: %s of slide %s", sw_kv_dir(w->kv), what,
                        w->begun ? w->begun : "(none was begun)");
}

/* Commits what was put of a slide so far, so that a slide of any size takes no more memory. */
static sw_status commit_part(sw_store_writer *w, sw_error *err)
{
    if (!w->in_parts) SW_TRY(sw_begun_put(w->kv, w->slides.next_number, err));
    SW_TRY(sw_kv_commit(w->kv, err));
    w->in_parts = true;
    w->put_bytes = 0;
    return sw_kv_begin(w->kv, err);
}

sw_status sw_store_put(sw_store_writer *writer, int scale, int64_t index, const void *jpeg, size_t size, sw_error *err)
{
    if (!writer->begun || scale < 0 || scale >= SW_STORE_MAX_SCALES || index != writer->put[scale] || index >= UINT32_MAX)
        return or_abandon(writer, out_of_order(writer, "a patch was put out of order", err));
    sw_key key = sw_key_patch(writer->slides.next_number, scale, index);
    SW_TRY(or_abandon(writer, sw_record_put(writer->kv, &key, jpeg, size, err)));
    writer->put[scale]++;
    writer->put_bytes += (int64_t)size;
    return writer->put_bytes < writer->most_bytes ? SW_OK : or_abandon(writer, commit_part(writer, err));
}

static sw_status put_coords(sw_store_writer *writer, int scale, const int64_t *xy, sw_error *err)
{
    size_t n = (size_t)writer->put[scale] * 2;
    SW_AUTOFREE uint8_t *bytes = sw_malloc(n * 8 + 1);
    if (!bytes) return sw_nomem(err);
    for (size_t i = 0; i < n; i++) {
        for (int b = 0; b < 8; b++) bytes[8 * i + (size_t)b] = (uint8_t)((uint64_t)xy[i] >> 8 * b);
    }
    sw_key key = sw_key_coords(writer->slides.next_number, scale);
    return sw_record_put(writer->kv, &key, bytes, n * 8, err);
}

/* Everything that the store holds of a slide. */
static sw_status remove_records(sw_kv *kv, const sw_slide_record *r, sw_error *err)
{
    sw_key key = sw_key_slide(r->number);
    SW_TRY(sw_kv_remove(kv, key.bytes, key.size, err));
    for (int s = 0; s < r->slide.n_scales; s++) {
        key = sw_key_coords(r->number, s);
        SW_TRY(sw_kv_remove(kv, key.bytes, key.size, err));
        for (int64_t i = 0; i < r->slide.scale[s].n_patches; i++) {
            key = sw_key_patch(r->number, s, i);
            SW_TRY(sw_kv_remove(kv, key.bytes, key.size, err));
        }
    }
    return SW_OK;
}

static sw_status commit(sw_store_writer *w, const sw_store_slide *slide, const int64_t *const *xy, sw_error *err)
{
    if (!w->begun || strcmp(w->begun, slide->slide_id) != 0 || slide->n_scales < 1 || slide->n_scales > SW_STORE_MAX_SCALES)
        return out_of_order(w, "the commit does not fit the beginning", err);
    for (int i = 0; i < slide->n_scales; i++) {
        if (slide->scale[i].n_patches != w->put[i]) return out_of_order(w, "patches are missing", err);
        SW_TRY(put_coords(w, i, xy[i], err));
    }
    int64_t old = w->again ? sw_record_list_find(&w->slides, slide->slide_id) : -1;
    uint32_t number = w->slides.next_number, replaced = old < 0 ? number : w->slides.item[old]->number;
    if (old >= 0) SW_TRY(remove_records(w->kv, w->slides.item[old], err));
    if (w->in_parts) SW_TRY(sw_begun_remove(w->kv, number, err));
    SW_TRY(sw_record_put_slide(w->kv, number, slide, err));
    /* Known before it is committed, so that nothing can fail after the commit. */
    SW_TRY(sw_record_list_add(&w->slides, slide, number, err));
    sw_status status = sw_kv_commit(w->kv, err);
    if (status != SW_OK) sw_record_list_remove(&w->slides, number);
    else if (old >= 0) sw_record_list_remove(&w->slides, replaced);
    return status;
}

sw_status sw_store_commit(sw_store_writer *writer, const sw_store_slide *slide, const int64_t *const *xy, sw_error *err)
{
    SW_TRY(or_abandon(writer, commit(writer, slide, xy, err)));
    sw_free(writer->begun);
    writer->begun = NULL;
    writer->in_parts = false;
    return SW_OK;
}
