/* SPDX-License-Identifier: Apache-2.0 */
/* Makes what the other programs load: synthetic slides, tiled into two stores with slidewise itself, and the same JPEG bytes
 * in plain files for whoever does not read our stores.
 *   OUT/train         store: `slides` slides of 64 patches of 256 pixels
 *   OUT/labels.csv    their labels, all of the training set
 *   OUT/infer         store: one slide of at least `patches` patches of 224 pixels
 *   OUT/{train,infer}.bin, .idx   the JPEGs one after the other; per patch a line "slide offset bytes" */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/synth.h"
#include "slidewise/tile.h"
#include "util.h"

static sw_status make_store(const char *out, const char *name, int slides, int64_t side_px, int patch_px, sw_error *err)
{
    SW_AUTOFREE char *folder = sw_asprintf("%s/%s-slides", out, name);
    SW_AUTOFREE char *images = sw_asprintf("%s/%s-slides/slides", out, name);
    SW_AUTOFREE char *store = sw_asprintf("%s/%s", out, name);
    SW_CLEANUP(sw_slide_list_free) sw_slide_list list = {0};
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    if (!folder || !images || !store) return sw_nomem(err);
    sw_synth_options so = sw_synth_options_default();
    so.n_slides = slides;
    so.size_px = side_px;
    SW_TRY(sw_synth_write(folder, &so, err));
    SW_TRY(sw_slide_list_expand((const char *const[]){images}, 1, &list, err));
    sw_tile_options to = sw_tile_options_default();
    to.store = store;
    to.settings.mpp_um[0] = so.mpp_um;
    to.settings.patch_px = patch_px;
    to.settings.whole_image = true;
    SW_TRY(sw_tile(&to, &list, &result, err));
    for (size_t i = 0; i < result.count; i++)
        if (result.row[i].status != SW_TILE_DONE)
            return sw_error_set(err, SW_E_INTERNAL, "%s: %s", result.row[i].slide_id, result.row[i].reason);
    return SW_OK;
}

static sw_status copy_patches(const sw_store *store, int64_t most, FILE *bytes, FILE *index, sw_error *err)
{
    int64_t offset = 0, count = 0;
    for (int64_t slide = 0; slide < sw_store_slide_count(store); slide++) {
        for (int64_t i = 0; i < sw_store_scale_get(store, slide, 0)->n_patches && i < most; i++) {
            const void *jpeg = NULL;
            size_t size = 0;
            SW_TRY(sw_store_patch(store, slide, 0, i, &jpeg, &size, err));
            if (fwrite(jpeg, 1, size, bytes) != size || fprintf(index, "%lld %lld %zu\n", (long long)slide,
                                                                (long long)offset, size) < 0)
                return sw_error_set(err, SW_E_IO, "the copies of patches could not be written; make room on the disk");
            offset += (int64_t)size;
            count++;
        }
    }
    printf("%s: %lld patches, %.1f kB each\n", sw_path_name(sw_store_path(store)), (long long)count,
           (double)offset / (double)count / 1e3);
    return SW_OK;
}

static sw_status export(const char *out, const char *name, int64_t most, sw_error *err)
{
    SW_AUTOFREE char *path = sw_asprintf("%s/%s", out, name);
    SW_AUTOFREE char *bytes_path = sw_asprintf("%s/%s.bin", out, name);
    SW_AUTOFREE char *index_path = sw_asprintf("%s/%s.idx", out, name);
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    if (!path || !bytes_path || !index_path) return sw_nomem(err);
    SW_TRY(sw_store_open(path, &store, err));
    FILE *bytes = fopen(bytes_path, "wb"), *index = fopen(index_path, "w");
    sw_status status = bytes && index ? copy_patches(store, most, bytes, index, err)
                                      : sw_error_set(err, SW_E_IO, "%s: cannot be written", bytes ? index_path : bytes_path);
    if (bytes && fclose(bytes) != 0 && status == SW_OK) status = sw_error_set(err, SW_E_IO, "%s: write failed", bytes_path);
    if (index && fclose(index) != 0 && status == SW_OK) status = sw_error_set(err, SW_E_IO, "%s: write failed", index_path);
    return status;
}

/* The slides' own labels, with every slide in the training set. */
static sw_status write_labels(const char *out, sw_error *err)
{
    SW_AUTOFREE char *from = sw_asprintf("%s/train-slides/labels.csv", out);
    SW_AUTOFREE char *to = sw_asprintf("%s/labels.csv", out);
    SW_CLEANUP(sw_buf_free) sw_buf text = {0}, result = {0};
    if (!from || !to) return sw_nomem(err);
    SW_TRY(sw_file_read(from, &text, err));
    sw_buf_puts(&text, "");
    SW_TRY(sw_buf_status(&text, err));
    bool header = true;
    for (char *line = strtok(text.data, "\r\n"); line; line = strtok(NULL, "\r\n"), header = false) {
        sw_buf_puts(&result, line);
        sw_buf_puts(&result, header ? ",split\n" : ",train\n");
    }
    SW_TRY(sw_buf_status(&result, err));
    return sw_file_write(to, result.data, result.size, err);
}

static sw_status make(const bench_args *args, sw_error *err)
{
    int64_t slides, patches;
    const char *out = bench_text(args, "out", NULL);
    if (!out) return sw_error_set(err, SW_E_INVALID, "out=DIR is missing: where the stores go");
    SW_TRY(bench_int(args, "slides", 4, 2, 64, &slides, err));
    SW_TRY(bench_int(args, "patches", 1024, 9, 40000, &patches, err));
    SW_TRY(sw_mkdir_p(out, err));
    SW_TRY(make_store(out, "train", (int)slides, 8 * 256, 256, err));
    SW_TRY(make_store(out, "infer", 1, 224 * (int64_t)ceil(sqrt((double)patches)), 224, err));
    SW_TRY(export(out, "train", INT64_MAX, err));
    SW_TRY(export(out, "infer", INT64_MAX, err));
    return write_labels(out, err);
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"out=DIR", "slides=4", "patches=1024", NULL};
    bench_args args;
    sw_error err;
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = make(&args, &err);
    return bench_end("bench_store", status, &err);
}
