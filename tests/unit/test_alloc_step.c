/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of a training step fails once, from the loader that reads the store to the gradient: the step says so,
 * leaks nothing, and the next one works. */
#include "alloc.h"
#include "base/thread.h"
#include "batch/batch.h"
#include "config/config.h"
#include "model/model.h"
#include "train/step.h"

typedef struct rig {
    sw_config config;
    sw_store *store;
    sw_dataset *dataset;
    sw_bag_scales scales;
    sw_pool *pool;
    sw_backend *be;
    sw_model *model;
    sw_loader *loader; /* of the step that runs */
    double loss;
} rig;

static void rig_free(rig *r)
{
    sw_model_free(r->model);
    sw_backend_free(r->be);
    sw_pool_free(r->pool);
    sw_dataset_free(r->dataset);
    sw_store_close(&r->store);
    sw_config_free(&r->config);
}

static sw_status open_data(rig *r)
{
    static char store[300], labels[300], set[2][400];
    const char *sets[] = {set[0], set[1], "augment.crop_px=16", "bag.patches=4", "train.batch_bags=1",
                          "train.chunk_patches=2"};
    if (!store[0]) SW_TRY(make_world(store, labels, sizeof store));
    snprintf(set[0], sizeof set[0], "data.store=%s", store);
    snprintf(set[1], sizeof set[1], "data.labels=%s", labels);
    SW_TRY(sw_config_load(NULL, sets, 6, &r->config, &err));
    SW_TRY(sw_store_open(store, &r->store, &err));
    sw_dataset_slides slides = {.store = r->store};
    SW_TRY(sw_dataset_load(&r->config, &slides, true, NULL, &r->dataset, &err));
    return sw_bag_scales_resolve(&r->config, r->store, r->dataset, &r->scales, &err);
}

static sw_status open_model(rig *r)
{
    const sw_backend_options bo = {.threads = 1};
    sw_model_options mo = sw_model_options_default();
    mo.mil.inner_dim = 8;
    mo.mil.heads = 2;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    SW_TRY(sw_pool_new(1, &r->pool, &err));
    SW_TRY(sw_backend_new("cpu", &bo, &r->be, &err));
    return sw_model_new(r->be, SW_F32, &mo, &r->model, &err);
}

static sw_status pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *e)
{
    rig *r = ctx;
    const sw_pixel_chunk *c = NULL;
    SW_TRY(sw_loader_chunk(r->loader, chunk, &c, e));
    return sw_tensor_from(&r->be->device, SW_F32, SW_SHAPE(c->count, 3, c->px, c->px), c->images, out, e);
}

static sw_status load_and_step(rig *r)
{
    sw_batch *batch = NULL;
    const sw_step_options so = {.task = sw_task_get(SW_CFG_CLASSIFICATION), .chunk_patches = 2, .pixels = pixels, .ctx = r};
    SW_TRY(sw_loader_begin(r->loader, 0, 0, &err));
    SW_TRY(sw_loader_next(r->loader, &batch, &err));
    sw_status status = sw_train_step(r->model, batch, &so, &r->loss, &err);
    sw_batch_free(batch);
    return status;
}

/* The backend starts without a primitive, a scratch slot or a free block each time. */
static sw_status step(void *ctx)
{
    rig *r = ctx;
    sw_backend_trim(r->be);
    const sw_loader_options lo = sw_loader_options_of(&r->config);
    SW_TRY(sw_loader_new(r->store, r->dataset, SW_SPLIT_TRAIN, &r->scales, &lo, r->pool, &r->loader, &err));
    sw_status status = load_and_step(r);
    sw_loader_free(r->loader);
    r->loader = NULL;
    sw_backend_trim(r->be);
    return status;
}

/* Now and then: the step that failed gives, tried again, what it gave at first. */
static bool works_again(void *ctx, int64_t k)
{
    rig *r = ctx;
    double first = r->loss;
    if (k % 100 != 7) return true;
    if (sw_model_zero_grad(r->model, &err) != SW_OK || step(r) != SW_OK)
        return sw_test_fail(__FILE__, __LINE__, "after allocation %lld failed: %s", (long long)k, err.message);
    return r->loss == first || sw_test_fail(__FILE__, __LINE__, "after allocation %lld failed: loss %.17g instead of %.17g",
                                            (long long)k, r->loss, first);
}

TEST(every_allocation_of_a_step_may_fail)
{
    SW_CLEANUP(rig_free) rig r = {.loader = NULL};
    CHECK_OK(open_data(&r));
    CHECK_OK(open_model(&r));
    CHECK_OK(step(&r)); /* threads and libraries have what they keep */
    alloc_loop l = {.what = "a step", .call = step, .after = works_again, .ctx = &r, .from = 1, .stride = 1};
    CHECK(survive(&l));
    CHECK(l.most > 500);
    printf("# %lld allocations\n", (long long)l.most);
}

static sw_status open_and_close(void *ctx)
{
    (void)ctx;
    rig r = {.loader = NULL};
    sw_status status = open_data(&r);
    if (status == SW_OK) status = open_model(&r);
    rig_free(&r);
    return status;
}

TEST(every_allocation_before_it_may_fail)
{
    alloc_loop l = {.what = "opening", .call = open_and_close, .from = 1, .stride = 1};
    CHECK_OK(open_and_close(NULL));
    CHECK(survive(&l));
    CHECK(l.most > 200);
    printf("# %lld allocations\n", (long long)l.most);
}
