/* SPDX-License-Identifier: Apache-2.0 */
/* Peak resident memory of training and of whole-slide inference, one process per row, on synthetic patches.
 *   bench_memory [--px 64] [--chunk 64] [--memory SIZE] [--threads 2] [--infer] [--dir DIR] [BAG...]
 * A row trains one step of one bag of BAG patches (or, with --infer, looks at a slide of so many). --memory lets the
 * budget pick the chunk. Stores and runs are left in DIR (default: the working directory). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/thread.h"
#include "infer/infer.h"
#include "slidewise/image.h"
#include "slidewise/store.h"
#include "slidewise/train.h"

enum { MAX_BAGS = 16, PICTURES = 16, QUALITY = 80 };

typedef struct bench {
    char dir[200], memory[32];
    int64_t px, chunk, threads, bags[MAX_BAGS], largest;
    int n_bags;
    bool infer;
} bench;

/* A few blurred pictures of the size and file size of stained tissue. */
static sw_status make_picture(int64_t px, int which, uint8_t **jpeg, size_t *size, sw_error *err)
{
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * (size_t)(px * px));
    if (!rgb) return sw_nomem(err);
    uint32_t noise = 12345u + (uint32_t)which;
    for (int64_t i = 0; i < px * px; i++) {
        int64_t x = i % px, y = i / px;
        noise = noise * 1664525u + 1013904223u;
        int cell = ((x + 7 * which) % 23 - 11) * ((x + 7 * which) % 23 - 11) + (y % 19 - 9) * (y % 19 - 9) < 40;
        int grain = (int)(noise >> 28);
        rgb[3 * i] = (uint8_t)((cell ? 110 : 220) + grain);
        rgb[3 * i + 1] = (uint8_t)((cell ? 60 : 170) + grain);
        rgb[3 * i + 2] = (uint8_t)((cell ? 140 : 210) + grain);
    }
    return sw_jpeg_encode(rgb, (int)px, (int)px, QUALITY, jpeg, size, err);
}

static sw_status put_slide(sw_store_writer *w, const char *id, int64_t px, int64_t n, sw_error *err)
{
    uint8_t *jpeg[PICTURES];
    size_t size[PICTURES];
    SW_AUTOFREE int64_t *xy = sw_calloc((size_t)n * 2, sizeof *xy);
    sw_store_slide about = {.slide_id = id, .path = "synthetic", .width = 1000000, .height = 1000000, .mpp_um = 1,
                            .mpp_source = "given", .tissue_fraction = 1, .properties_json = "{}", .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = (int)px, .quality = QUALITY,
                                      .patch_level0_px = (double)px, .step_level0_px = (double)px, .n_patches = n};
    if (!xy) return sw_nomem(err);
    for (int i = 0; i < PICTURES; i++) SW_TRY(make_picture(px, i, &jpeg[i], &size[i], err));
    SW_TRY(sw_store_begin(w, id, err));
    for (int64_t i = 0; i < n; i++) SW_TRY(sw_store_put(w, 0, i, jpeg[i % PICTURES], size[i % PICTURES], err));
    for (int i = 0; i < PICTURES; i++) sw_image_bytes_free(jpeg[i]);
    return sw_store_commit(w, &about, &(const int64_t *){xy}, err);
}

static sw_status make_store(const bench *b, sw_error *err)
{
    char path[300], px[20];
    snprintf(path, sizeof path, "%s/store%lld", b->dir, (long long)b->largest);
    snprintf(px, sizeof px, "%lld", (long long)b->px);
    const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", px}, {"overlap_px", "0"},
                                              {"quality", "80"}, {"whole_image", "yes"}};
    sw_store_writer *w = NULL;
    SW_TRY(sw_store_writer_open(path, settings, 5, &w, err));
    sw_status status = put_slide(w, "a", b->px, b->largest, err);
    if (status == SW_OK) status = put_slide(w, "b", b->px, b->largest, err);
    sw_store_writer_close(&w);
    SW_TRY(status);
    snprintf(path, sizeof path, "%s/labels.csv", b->dir);
    static const char table[] = "case_id,slide_id,label,split\na,a,0,train\nb,b,1,train\n";
    return sw_file_write(path, table, strlen(table), err);
}

static void show(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    (void)level;
    if (strncmp(text, "memory", 6) == 0) printf("%s\n", text);
}

static sw_status train(const bench *b, int64_t patches, sw_error *err)
{
    char set[12][300];
    const char *sets[12];
    size_t n = 0;
    snprintf(set[n++], 300, "data.store=%s/store%lld", b->dir, (long long)b->largest);
    snprintf(set[n++], 300, "data.labels=%s/labels.csv", b->dir);
    snprintf(set[n++], 300, "run.out=%s/run%lld", b->dir, (long long)patches);
    snprintf(set[n++], 300, "bag.patches=%lld", (long long)patches);
    snprintf(set[n++], 300, "augment.crop_px=%lld", (long long)b->px);
    snprintf(set[n++], 300, "train.chunk_patches=%lld", (long long)b->chunk);
    snprintf(set[n++], 300, "run.threads=%lld", (long long)b->threads);
    snprintf(set[n++], 300, "run.memory=%s", b->memory);
    snprintf(set[n++], 300, "train.batch_bags=1");
    snprintf(set[n++], 300, "train.epochs=1");
    for (size_t i = 0; i < n; i++) sets[i] = set[i];
    sw_sink sink = {.log = show};
    sw_train_options o = sw_train_options_default();
    sw_train_result result;
    o.sets = sets;
    o.n_sets = n;
    o.stop_after_steps = 1;
    o.sink = &sink;
    return sw_train(&o, &result, err);
}

static sw_status look(const bench *b, sw_backend *be, sw_pool *pool, const sw_store *store, int64_t patches, sw_error *err)
{
    sw_model_options mo = sw_model_options_default();
    sw_model *model = NULL;
    sw_patch_source *source = NULL;
    sw_bag_result result = {0};
    sw_infer_options io = {.chunk_patches = b->chunk, .crop_px = (int)b->px, .ahead = 1, .pool = pool};
    SW_TRY(sw_model_new(be, SW_F32, &mo, &model, err));
    sw_status status = sw_patch_source_store(store, patches == b->largest ? 0 : 1, 0, &source, err);
    if (status == SW_OK) status = sw_infer_bag(model, source, &io, &result, err);
    sw_bag_result_free(&result);
    sw_patch_source_free(source);
    sw_model_free(model);
    return status;
}

static sw_status infer(const bench *b, int64_t patches, sw_error *err)
{
    char path[300];
    sw_store *store = NULL;
    sw_backend *be = NULL;
    sw_pool *pool = NULL;
    const sw_backend_options bo = {.threads = (int)b->threads};
    snprintf(path, sizeof path, "%s/store%lld", b->dir, (long long)b->largest);
    SW_TRY(sw_store_open(path, &store, err));
    sw_status status = sw_backend_new("cpu", &bo, &be, err);
    if (status == SW_OK) status = sw_pool_new((int)b->threads, &pool, err);
    if (status == SW_OK) status = look(b, be, pool, store, patches, err);
    sw_pool_free(pool);
    sw_backend_free(be);
    sw_store_close(&store);
    return status;
}

/* Runs in a child, so that each row has a peak of its own. */
static int64_t child(sw_status (*work)(const bench *b, int64_t patches, sw_error *err), const bench *b, int64_t patches)
{
    int status = 0;
    struct rusage use;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        sw_error err = {0};
        bool ok = work(b, patches, &err) == SW_OK;
        if (!ok) fprintf(stderr, "bench_memory: %s\n", err.message);
        fflush(stdout);
        _exit(ok ? 0 : 1);
    }
    if (pid < 0 || wait4(pid, &status, 0, &use) != pid || status != 0) return -1;
    return (int64_t)use.ru_maxrss * 1024;
}

static sw_status store_only(const bench *b, int64_t patches, sw_error *err)
{
    (void)patches;
    return make_store(b, err);
}

static int run(bench *b)
{
    double first = 0.0;
    printf("%s, %lld x %lld pixels, chunks of %lld, %lld threads\n", b->infer ? "inference" : "one training step",
           (long long)b->px, (long long)b->px, (long long)b->chunk, (long long)b->threads);
    if (!b->infer && child(store_only, b, 0) < 0) return 1;
    for (int i = 0; i < b->n_bags; i++) {
        if (b->infer) { /* inference takes whole slides: a store for each */
            b->largest = b->bags[i];
            if (child(store_only, b, 0) < 0) return 1;
        }
        int64_t start = sw_now_ns(), peak = child(b->infer ? infer : train, b, b->bags[i]);
        if (peak < 0) return 1;
        if (first == 0.0) first = (double)peak;
        printf("%8lld patches: %8.1f MB, %.3f of the first, %.1f s\n", (long long)b->bags[i], (double)peak / 1e6,
               (double)peak / first, (double)(sw_now_ns() - start) * 1e-9);
    }
    return 0;
}

static bool option(bench *b, const char *name, const char *value)
{
    if (strcmp(name, "--dir") == 0) snprintf(b->dir, sizeof b->dir, "%s", value);
    else if (strcmp(name, "--px") == 0) b->px = atoll(value);
    else if (strcmp(name, "--chunk") == 0) b->chunk = atoll(value);
    else if (strcmp(name, "--threads") == 0) b->threads = atoll(value);
    else if (strcmp(name, "--memory") == 0) snprintf(b->memory, sizeof b->memory, "%s", value);
    else return false;
    return true;
}

int main(int argc, char **argv)
{
    bench b = {.px = 64, .chunk = 64, .threads = 2, .dir = "."};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--infer") == 0) b.infer = true;
        else if (i + 1 < argc && option(&b, argv[i], argv[i + 1])) i++;
        else if (atoll(argv[i]) > 0 && b.n_bags < MAX_BAGS) b.bags[b.n_bags++] = atoll(argv[i]);
        else {
            fprintf(stderr, "bench_memory: '%s' is not known\n", argv[i]);
            return 2;
        }
    }
    if (b.n_bags == 0) {
        static const int64_t usual[] = {64, 256, 1024, 4096};
        memcpy(b.bags, usual, sizeof usual);
        b.n_bags = 4;
    }
    for (int i = 0; i < b.n_bags; i++)
        if (b.bags[i] > b.largest) b.largest = b.bags[i];
    return run(&b);
}
