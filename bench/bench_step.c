/* SPDX-License-Identifier: Apache-2.0 */
/* Whole training: bags from a store (bench_store makes it) through loader, ResNet-18, ABMILX, backward, AdamW and moving
 * average, with the parts and in the order of `slidewise train`.
 *   kind=epoch   one go is an epoch from a loader at rest: all patches it uses are read, decoded and cut within
 *   kind=start   from the start of this program to the end of the first step, once */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "train/step.h"
#include "train/trainer.h"
#include "util.h"

enum { MAX_SETS = 32 };

typedef struct work {
    sw_trainer trainer;
    sw_train_options options;
    const char *set[MAX_SETS];
    char *owned[MAX_SETS];
    size_t n_sets, n_owned;
    char run[4096]; /* made for this measurement and removed after it */
    uint32_t epoch, step;
    bool opened;
} work;

static sw_status pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *err)
{
    const sw_trainer *t = ctx;
    const sw_pixel_chunk *c = NULL;
    SW_TRY(sw_loader_chunk(t->loader, chunk, &c, err));
    sw_status status = sw_tensor_from(&t->be->device, SW_F32, SW_SHAPE(c->count, 3, c->px, c->px), c->images, out, err);
    sw_loader_done(t->loader);
    return status;
}

static sw_status step(work *w, const sw_batch *batch, sw_error *err)
{
    sw_trainer *t = &w->trainer;
    double loss = 0.0;
    sw_step_options so = {.task = &t->task,
                          .chunk_patches = t->config.train.chunk_patches,
                          .seed = (uint64_t)t->config.run.seed,
                          .step = w->step++,
                          .pixels = pixels,
                          .ctx = t};
    SW_TRY(sw_train_step(t->model, batch, &so, &loss, err));
    SW_TRY(sw_optim_step(t->optim, t->config.train.lr, 1.0, NULL, err));
    return sw_model_lerp(t->ema, t->model, 1.0 - t->config.train.ema, err);
}

static sw_status run_steps(work *w, int64_t most, sw_error *err)
{
    sw_loader *loader = w->trainer.loader;
    SW_TRY(sw_loader_begin(loader, w->epoch++, 0, err));
    for (int64_t i = 0; i < most; i++) {
        sw_batch *batch = NULL;
        SW_TRY(sw_loader_next(loader, &batch, err));
        if (!batch) break;
        sw_status status = step(w, batch, err);
        sw_batch_free(batch);
        SW_TRY(status);
    }
    return SW_OK;
}

static sw_status go(void *ctx, sw_error *err)
{
    return run_steps(ctx, INT64_MAX, err);
}

static void set(work *w, char *text)
{
    w->set[w->n_sets++] = w->owned[w->n_owned++] = text; /* a NULL is told in prepare */
}

static sw_status make_run_dir(work *w, sw_error *err)
{
    const char *temp = getenv("TMPDIR");
    snprintf(w->run, sizeof w->run, "%s/slidewise-bench-XXXXXX", temp && *temp ? temp : "/tmp");
    if (mkdtemp(w->run)) return SW_OK;
    w->run[0] = '\0';
    return sw_error_set(err, SW_E_IO, "no temporary directory could be made; set TMPDIR to a place that can be written");
}

static const char *const fixed_sets[] = {
    "data.columns.split=split", "augment.crop_px=224", "train.optimizer=adamw", "train.ema=0.999",
    "aggregator.inner_dim=256", "aggregator.heads=8",  "aggregator.ffn=false",  "train.schedule=const"};

static sw_status prepare(const bench_args *args, work *w, bench_case *c, sw_error *err)
{
    int64_t bags, patches;
    bench_common common;
    int64_t start = sw_now_ns();
    const char *store = bench_text(args, "store", NULL);
    SW_TRY(bench_common_read(args, &common, err));
    if (!store) return sw_error_set(err, SW_E_INVALID, "store=DIR is missing: what bench_store wrote (its out=DIR)");
    SW_TRY(bench_int(args, "bags", 2, 1, 64, &bags, err));
    SW_TRY(bench_int(args, "patches", 64, 1, 64, &patches, err));
    SW_TRY(make_run_dir(w, err));
    for (size_t i = 0; i < sizeof fixed_sets / sizeof *fixed_sets; i++) w->set[w->n_sets++] = fixed_sets[i];
    set(w, sw_asprintf("data.store=%s/train", store));
    set(w, sw_asprintf("data.labels=%s/labels.csv", store));
    set(w, sw_asprintf("run.out=%s", w->run));
    set(w, sw_asprintf("run.threads=%d", common.backend.threads));
    set(w, sw_asprintf("run.deterministic=%s", common.backend.deterministic ? "true" : "false"));
    set(w, sw_asprintf("run.precision=%s", common.precision));
    set(w, sw_asprintf("bag.patches=%lld", (long long)patches));
    set(w, sw_asprintf("train.batch_bags=%lld", (long long)bags));
    set(w, sw_asprintf("train.chunk_patches=%lld", (long long)(bags * patches)));
    for (size_t i = 0; i < w->n_owned; i++)
        if (!w->owned[i]) return sw_nomem(err);
    w->options = (sw_train_options){.sets = w->set, .n_sets = w->n_sets, .command = "bench_step"};
    w->opened = true;
    SW_TRY(sw_trainer_open(&w->trainer, &w->options, err));
    int64_t steps = sw_loader_steps(w->trainer.loader);
    *c = (bench_case){.name = "training, with loading",
                      .unit = "patches",
                      .items = (double)(steps * bags * patches),
                      .flops = (double)(steps * bags * patches) * bench_encoder_flops("resnet18", 224, true),
                      .before_seconds = (double)(sw_now_ns() - start) * 1e-9,
                      .be = w->trainer.be,
                      .ctx = w,
                      .go = go};
    return SW_OK;
}

static sw_status run(const bench_args *args, work *w, int64_t start, sw_error *err)
{
    bench_case c;
    const char *kind = bench_text(args, "kind", "epoch");
    SW_TRY(prepare(args, w, &c, err));
    if (strcmp(kind, "epoch") == 0) return bench_run(args, &c, err);
    if (strcmp(kind, "start") != 0) return sw_error_set(err, SW_E_INVALID, "kind=%s: give epoch or start", kind);
    SW_TRY(run_steps(w, 1, err));
    printf("first step %.3f s after the start of the program (%.3f s before it began)\n",
           (double)(sw_now_ns() - start) * 1e-9, c.before_seconds);
    return SW_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

int main(int argc, char **argv)
{
    static const char *const keys[] = {"kind=epoch, or start", "store=out=DIR of bench_store", "bags=2", "patches=64", NULL};
    static work w;
    bench_args args;
    sw_error err;
    int64_t start = sw_now_ns();
    sw_status status = bench_args_read(argc, argv, keys, &args, &err);
    if (status == SW_OK) status = run(&args, &w, start, &err);
    if (w.opened) sw_trainer_close(&w.trainer);
    for (size_t i = 0; i < w.n_owned; i++) sw_free(w.owned[i]);
    if (w.run[0] && nftw(w.run, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        fprintf(stderr, "bench_step: %s: could not be removed\n", w.run);
    return bench_end("bench_step", status, &err);
}
