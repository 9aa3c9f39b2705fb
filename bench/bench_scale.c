/* SPDX-License-Identifier: Apache-2.0 */
/* How stores behave that are large in one way: many slides, many stores in a list, many patches in one slide. Patches are a few bytes unless
 * told otherwise, so that it is the bookkeeping that is measured. Each row in a process of its own.
 *   bench_scale dir=DIR slides=10000 shards=16 patches=4000000 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "slidewise/tile.h"
#include "util.h"

typedef struct bench {
    char dir[400];
    int64_t slides, shards, patches, patch_bytes;
} bench;

/* As names are in practice: long, and in no order. */
static void slide_name(int64_t i, char *out, size_t size)
{
    uint64_t h = sw_hash64(&i, sizeof i);
    snprintf(out, size, "TCGA-%02X-%04X-01Z-00-DX1.%08llX-%05lld", (unsigned)(h & 255), (unsigned)(h >> 8 & 65535), (unsigned long long)(h >> 24 & 0xffffffff),
             (long long)i);
}

/* What an Aperio slide says about itself. */
static const char *properties(void)
{
    static char text[2400];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"openslide.vendor\":\"aperio\"");
    for (int i = 0; used + 60 < sizeof text; i++) used += (size_t)snprintf(text + used, sizeof text - used, ",\"aperio.property-%02d\":\"a value of %d\"", i, i);
    snprintf(text + used, sizeof text - used, "}");
    return text;
}

static sw_status put(const bench *b, sw_store_writer *w, const char *id, int64_t n, sw_error *err)
{
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
    sw_store_slide about = {.slide_id = id, .path = "/slides/somewhere/cohort/a-slide-of-the-cohort.svs", .width = 100000, .height = 100000, .mpp_um = 0.25,
                            .mpp_source = "scanner", .tissue_fraction = 0.3, .properties_json = properties(), .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = 256, .quality = 80, .patch_level0_px = 1024, .step_level0_px = 1024,
                                      .n_patches = n};
    SW_AUTOFREE uint8_t *bytes = sw_calloc((size_t)b->patch_bytes, 1);
    if (!xy || !bytes) return sw_nomem(err);
    SW_TRY(sw_store_begin(w, id, err));
    for (int64_t i = 0; i < n; i++) {
        xy[2 * i] = i % 2000 * 1024;
        SW_TRY(sw_store_put(w, 0, i, bytes, (size_t)b->patch_bytes, err));
    }
    return sw_store_commit(w, &about, (const int64_t *const[]){xy}, err);
}

static sw_status open_writer(const char *path, sw_store_writer **w, sw_error *err)
{
    const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "256"}, {"overlap_px", "0"}, {"quality", "80"}, {"whole_image", "yes"}};
    return sw_store_writer_open(path, settings, 5, w, err);
}

/* Slides of one patch, one commit each, in shard `shard` of `n` (1 of 1: all). */
static sw_status write_slides(const bench *b, const char *path, int shard, int n, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    char id[80];
    SW_TRY(open_writer(path, &w, err));
    for (int64_t i = 0; i < b->slides; i++) {
        slide_name(i, id, sizeof id);
        if (sw_shard_of(id, n) == shard) SW_TRY(put(b, w, id, 1, err));
    }
    return SW_OK;
}

static sw_status one_store(const bench *b, sw_error *err)
{
    SW_AUTOFREE char *path = sw_path_join(b->dir, "one");
    return path ? write_slides(b, path, 1, 1, err) : sw_nomem(err);
}

static sw_status label_table(const bench *b, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_AUTOFREE char *path = sw_path_join(b->dir, "labels.csv");
    if (!path) return sw_nomem(err);
    sw_buf_puts(&csv, "case_id,slide_id,label,split\n");
    for (int64_t i = 0; i < b->slides; i++) {
        char id[80];
        slide_name(i, id, sizeof id);
        sw_buf_printf(&csv, "%lld,%s,%d,%s\n", (long long)i, id, (int)(i / 10 % 2), i % 10 < 8 ? "train" : i % 10 == 8 ? "val" : "test");
    }
    SW_TRY(sw_buf_status(&csv, err));
    return sw_file_write(path, csv.data, csv.size, err);
}

static sw_status shards(const bench *b, sw_error *err)
{
    SW_AUTOFREE const char **path = sw_calloc((size_t)b->shards + 1, sizeof *path);
    SW_AUTOFREE char *joint = sw_path_join(b->dir, "joint");
    if (!path || !joint) return sw_nomem(err);
    for (int i = 0; i < (int)b->shards; i++) {
        path[i] = sw_asprintf("%s/shard-%d-of-%d", joint, i + 1, (int)b->shards);
        if (!path[i]) return sw_nomem(err);
        SW_TRY(write_slides(b, path[i], i + 1, (int)b->shards, err));
    }
    sw_status status = sw_store_join(joint, path, (size_t)b->shards, err);
    for (int64_t i = 0; i < b->shards; i++) sw_free((char *)path[i]);
    return status;
}

static sw_status large_slide(const bench *b, sw_error *err)
{
    SW_CLEANUP(sw_store_writer_close) sw_store_writer *w = NULL;
    SW_AUTOFREE char *path = sw_path_join(b->dir, "large");
    if (!path) return sw_nomem(err);
    SW_TRY(open_writer(path, &w, err));
    return put(b, w, "large", b->patches, err);
}

/* Opens and reads `most` patches of slides at random. */
static sw_status read_some(const bench *b, const char *name, int64_t most, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = sw_path_join(b->dir, name);
    if (!path) return sw_nomem(err);
    SW_TRY(sw_store_open(path, &store, err));
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < most; i++) {
        const void *jpeg;
        size_t size;
        int64_t slide = (int64_t)(sw_rng_u32(&rng) % (uint32_t)sw_store_slide_count(store));
        int64_t patch = (int64_t)(sw_rng_u32(&rng) % (uint32_t)sw_store_scale_get(store, slide, 0)->n_patches);
        SW_TRY(sw_store_patch(store, slide, 0, patch, &jpeg, &size, err));
        sw_store_patch_done(store, jpeg, size);
    }
    return SW_OK;
}

static sw_status open_one(const bench *b, sw_error *err)
{
    return read_some(b, "one", 0, err);
}

static sw_status read_one(const bench *b, sw_error *err)
{
    return read_some(b, "one", 100000, err);
}

static sw_status open_joint(const bench *b, sw_error *err)
{
    return read_some(b, "joint", 0, err);
}

static sw_status read_joint(const bench *b, sw_error *err)
{
    return read_some(b, "joint", 100000, err);
}

static sw_status coords_large(const bench *b, sw_error *err)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_AUTOFREE char *path = sw_path_join(b->dir, "large");
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)b->patches * 2, sizeof *xy);
    if (!path || !xy) return sw_nomem(err);
    SW_TRY(sw_store_open(path, &store, err));
    return sw_store_coords(store, 0, 0, xy, err);
}

static sw_status read_large(const bench *b, sw_error *err)
{
    return read_some(b, "large", 100000, err);
}

static const struct row {
    const char *name;
    sw_status (*go)(const bench *b, sw_error *err);
} ROWS[] = {{"write a store of N slides of one patch", one_store},
            {"open it", open_one},
            {"open it and read 100000 patches", read_one},
            {"write the same as shards and join them", shards},
            {"open the list", open_joint},
            {"open the list and read 100000 patches", read_joint},
            {"write one slide of P patches", large_slide},
            {"open it and read its coordinates", coords_large},
            {"open it and read 100000 patches", read_large}};

static bool measure(const bench *b, const struct row *row)
{
    int64_t start = sw_now_ns();
    struct rusage used;
    int state;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sw_error err = {0};
        _exit(bench_end("bench_scale", row->go(b, &err), &err));
    }
    if (child < 0 || wait4(child, &state, 0, &used) != child || !WIFEXITED(state) || WEXITSTATUS(state) != 0) return false;
    printf("%-45s %8.2f s %8.1f MB\n", row->name, (double)(sw_now_ns() - start) * 1e-9, (double)used.ru_maxrss / 1e3);
    return true;
}

static sw_status read_args(int argc, char **argv, bench *b, sw_error *err)
{
    static const char *const keys[] = {"dir=a folder for the stores (2 GB)", "slides", "shards", "patches=of one slide", "bytes=of a patch", NULL};
    bench_args args;
    SW_TRY(bench_args_read(argc, argv, keys, &args, err));
    snprintf(b->dir, sizeof b->dir, "%s", bench_text(&args, "dir", "scale"));
    SW_TRY(bench_int(&args, "slides", 10000, 1, 10000000, &b->slides, err));
    SW_TRY(bench_int(&args, "shards", 16, 1, SW_TILE_MAX_SHARDS, &b->shards, err));
    SW_TRY(bench_int(&args, "patches", 4000000, 1, 100000000, &b->patches, err));
    SW_TRY(bench_int(&args, "bytes", 16, 1, 1000000, &b->patch_bytes, err));
    if (sw_path_exists(b->dir)) return sw_error_set(err, SW_E_INVALID, "%s: it exists; name a new folder with dir=", b->dir);
    SW_TRY(sw_mkdir_p(b->dir, err));
    return label_table(b, err);
}

int main(int argc, char **argv)
{
    bench b = {0};
    sw_error err = {0};
    if (read_args(argc, argv, &b, &err) != SW_OK) return bench_end("bench_scale", err.code, &err);
    printf("%lld slides, %lld shards, %lld patches of one slide; time with starting the process, peak resident memory (with pages of files)\n",
           (long long)b.slides, (long long)b.shards, (long long)b.patches);
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (!measure(&b, &ROWS[i])) return 1;
    return 0;
}
