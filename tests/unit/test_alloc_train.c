/* SPDX-License-Identifier: Apache-2.0 */
/* A whole run whose allocations fail one after the other: it says so, leaks nothing, and the run it leaves behind goes on to
 * the same bytes. */
#include "alloc.h"
#include "slidewise/train.h"

/* A whole run makes thousands and takes a while: all of the first ones, then one of STRIDE. SW_TEST_EVERY=1 takes them all. */
enum { CHEAP = 250, STRIDE = 37 };

typedef struct world {
    char store[300], labels[300], weights[600];
    bool resume;
} world;

static const char *path_of(const char *run, const char *file)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s/checkpoints/%s", sw_test_dir(), run, file);
    return path;
}

static sw_status train(const world *w, const char *run)
{
    char set[4][800];
    const char *sets[] = {set[0], set[1], set[2], set[3], "aggregator.inner_dim=8", "aggregator.heads=2", "augment.crop_px=16",
                          "bag.patches=4", "train.batch_bags=1", "train.epochs=1",
                          "eval.bootstrap=0", "run.threads=1", "train.chunk_patches=4", "eval.chunk_patches=2"};
    sw_train_options o = sw_train_options_default();
    sw_train_result r;
    snprintf(set[0], sizeof set[0], "data.store=%s", w->store);
    snprintf(set[1], sizeof set[1], "data.labels=%s", w->labels);
    snprintf(set[2], sizeof set[2], "encoder.weights=%s", w->weights);
    snprintf(set[3], sizeof set[3], "run.out=%s/%s", sw_test_dir(), run);
    o.sets = sets;
    o.n_sets = sizeof sets / sizeof sets[0];
    o.resume = w->resume;
    return sw_train(&o, &r, &err);
}

static void drop(const char *run)
{
    static const char *const files[] = {"last", "previous", "best", "best_main"};
    for (int i = 0; i < 4; i++) {
        char file[40];
        snprintf(file, sizeof file, "%s.safetensors", files[i]);
        if (sw_file_remove(path_of(run, file), &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
}

static sw_status failing_run(void *ctx)
{
    world *w = ctx;
    w->resume = false;
    return train(w, "hungry");
}

/* What a failed run leaves goes on: looked at now and then, as a run takes its time. */
static bool goes_on(void *ctx, int64_t k)
{
    world *w = ctx;
    SW_CLEANUP(sw_buf_free) sw_buf x = {0}, y = {0};
    if (k / STRIDE % 12 == 5) {
        w->resume = true;
        if (train(w, "hungry") != SW_OK || sw_file_read(path_of("hungry", "best.safetensors"), &x, &err) != SW_OK ||
            sw_file_read(path_of("whole", "best.safetensors"), &y, &err) != SW_OK)
            return sw_test_fail(__FILE__, __LINE__, "after allocation %lld failed: %s", (long long)k, err.message);
        if (x.size != y.size || memcmp(x.data, y.data, x.size) != 0)
            return sw_test_fail(__FILE__, __LINE__, "after allocation %lld failed: another result", (long long)k);
    }
    drop("hungry");
    return true;
}

/* Weights for the encoder, so that runs need not draw millions of numbers. */
static bool make_weights(world *w)
{
    if (make_world(w->store, w->labels, sizeof w->store) != SW_OK || train(w, "first") != SW_OK) return false;
    snprintf(w->weights, sizeof w->weights, "%s", path_of("first", "best.safetensors"));
    return train(w, "whole") == SW_OK;
}

TEST(a_run_survives_failing_allocations)
{
    world w = {.resume = false};
    if (!make_weights(&w)) {
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        return;
    }
    alloc_loop l = {.what = "a run", .call = failing_run, .ctx = &w, .from = 1, .stride = 1, .to = CHEAP};
    CHECK(survive(&l));
    CHECK_INT(l.most, CHEAP);
    l = (alloc_loop){.what = "a run", .call = failing_run, .after = goes_on, .ctx = &w, .from = CHEAP + 1, .stride = STRIDE};
    drop("hungry");
    CHECK(survive(&l));
    drop("hungry");
    CHECK(l.most > 1500);
    printf("# %lld allocations\n", (long long)l.most);
}
