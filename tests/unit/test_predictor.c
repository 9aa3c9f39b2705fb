/* SPDX-License-Identifier: Apache-2.0 */
/* New slides are cut as the training slides were: what a store was made with reaches the prediction through the checkpoint. */
#include "base/fs.h"
#include "base/mem.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "slidewise/predict.h"
#include "slidewise/synth.h"
#include "slidewise/tile.h"
#include "test.h"

enum { PX = 64 };
static sw_error err;

typedef struct run {
    char *slide, *store, *checkpoint;
    sw_slide_list list;
    sw_backend *be;
    sw_model *model;
    sw_tile_settings settings; /* as a training reads them out of its store */
} run;

static void run_free(run *r)
{
    sw_model_free(r->model);
    sw_backend_free(r->be);
    sw_slide_list_free(&r->list);
    sw_free(r->slide);
    sw_free(r->store);
    sw_free(r->checkpoint);
}

/* A store of one synthetic slide, and a model of random weights that was, so to speak, trained on it. */
static sw_status run_new(run *r, const char *name, const sw_tile_settings *settings)
{
    char *names[] = {"a", "b"};
    SW_AUTOFREE char *dir = sw_path_join(sw_test_dir(), name);
    sw_synth_options so = sw_synth_options_default();
    so.n_slides = 1;
    so.size_px = 1500;
    r->slide = sw_path_join(dir, "slides/case001_a.tif");
    r->store = sw_path_join(dir, "store");
    r->checkpoint = sw_path_join(dir, "model.safetensors");
    SW_TRY(sw_synth_write(dir, &so, &err));
    const char *operand = r->slide;
    SW_TRY(sw_slide_list_expand(&operand, 1, &r->list, &err));
    sw_tile_options to = sw_tile_options_default();
    SW_CLEANUP(sw_tile_result_free) sw_tile_result result = {0};
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    to.store = r->store;
    to.settings = *settings;
    SW_TRY(sw_tile(&to, &r->list, &result, &err));
    SW_TRY(sw_store_open(r->store, &store, &err));
    SW_TRY(sw_tile_settings_of(store, &r->settings, &err));
    sw_model_options mo = sw_model_options_default();
    mo.aggregator = "abmilx";
    mo.mil.inner_dim = 16;
    mo.mil.heads = 2;
    mo.mil.classes = 2;
    SW_TRY(sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &r->be, &err));
    SW_TRY(sw_model_new(r->be, SW_F32, &mo, &r->model, &err));
    sw_model_use use = {.n_classes = 2, .class_name = names, .tiling = r->settings, .eval_mpp_um = r->settings.mpp_um[0], .crop_px = PX,
                        .chunk_patches = 16, .backend = "cpu", .activations = SW_F32};
    sw_weights_writer *w = NULL;
    SW_TRY(sw_weights_writer_new(&w, &err));
    sw_status status = sw_checkpoint_put(r->model, &use, 1, w, &err);
    if (status == SW_OK) status = sw_weights_writer_save(w, r->checkpoint, &err);
    sw_weights_writer_free(w);
    return status;
}

static sw_status predict(const run *r, sw_slide_prediction *out)
{
    sw_predictor_options o = sw_predictor_options_default();
    sw_predictor *p = NULL;
    o.checkpoint = r->checkpoint;
    o.threads = 1;
    SW_TRY(sw_predictor_open(sw_test_dir(), &o, &p, &err));
    sw_status status = sw_predictor_slide(p, r->slide, 0, out, &err);
    sw_predictor_close(&p);
    return status;
}

/* What the model says of patches that are read here, at the positions of the store. */
static sw_status look(const run *r, const int64_t *xy, int64_t n, bool exact, sw_bag_result *out)
{
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    sw_patch_source *source = NULL;
    sw_pool *pool = NULL;
    sw_slide_options so = sw_slide_options_default();
    so.exact = exact;
    SW_TRY(sw_slide_open(r->slide, &so, &slide, &err));
    SW_TRY(sw_pool_new(1, &pool, &err));
    sw_status status = sw_patch_source_slide(slide, xy, n, PX, r->settings.mpp_um[0], &source, &err);
    sw_infer_options o = {.chunk_patches = 16, .crop_px = PX, .ahead = 1, .pool = pool};
    if (status == SW_OK) status = sw_infer_bag(r->model, source, &o, out, &err);
    sw_patch_source_free(source);
    sw_pool_free(pool);
    return status;
}

static sw_status corners_of(const run *r, int64_t **xy, int64_t *n)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_TRY(sw_store_open(r->store, &store, &err));
    *n = sw_store_scale_get(store, 0, 0)->n_patches;
    *xy = sw_calloc((size_t)(2 * *n), sizeof **xy);
    return *xy ? sw_store_coords(store, 0, 0, *xy, &err) : sw_nomem(&err);
}

static bool same(const sw_slide_prediction *p, const sw_bag_result *b)
{
    bool all = p->n_patches == b->n_patches && p->n_heads == b->n_heads && memcmp(p->logit, b->logit, 2 * sizeof *p->logit) == 0;
    return all && memcmp(p->attention, b->attention, (size_t)(p->n_heads * p->n_patches) * sizeof *p->attention) == 0;
}

/* At 1 um the slide has a level, whose pixels are not those of level 0 reduced. */
TEST(a_model_of_exact_patches_sees_exact_patches)
{
    for (int exact = 0; exact < 2; exact++) {
        SW_CLEANUP(run_free) run r = {0};
        SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction p = {0};
        SW_CLEANUP(sw_bag_result_free) sw_bag_result alike = {0}, other = {0};
        SW_AUTOFREE int64_t *xy = NULL;
        int64_t n = 0;
        sw_tile_settings s = sw_tile_settings_default();
        s.patch_px = PX;
        s.exact = exact;
        CHECK_OK(run_new(&r, exact ? "exact" : "near", &s));
        CHECK_INT(r.settings.exact, exact);
        CHECK_OK(corners_of(&r, &xy, &n));
        CHECK_OK(predict(&r, &p));
        CHECK(p.n_patches == n && n > 20 && memcmp(p.xy, xy, (size_t)n * 2 * sizeof *xy) == 0);
        CHECK_OK(look(&r, xy, n, exact, &alike));
        CHECK_OK(look(&r, xy, n, !exact, &other));
        CHECK(same(&p, &alike) && !same(&p, &other));
    }
}

/* Patches that lie on the slide's own tiles do so on new slides; at 0.5004 um the steps are those of the level of 0.5. */
TEST(a_model_of_passed_through_patches_lays_out_new_slides_alike)
{
    for (int through = 0; through < 2; through++) {
        SW_CLEANUP(run_free) run r = {0};
        SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction p = {0};
        SW_AUTOFREE int64_t *xy = NULL;
        int64_t n = 0, on_tiles = 0;
        sw_tile_settings s = sw_tile_settings_default();
        s.mpp_um[0] = 0.5004;
        s.patch_px = 256;
        s.passthrough = through;
        CHECK_OK(run_new(&r, through ? "through" : "clam", &s));
        CHECK_OK(corners_of(&r, &xy, &n));
        CHECK_OK(predict(&r, &p));
        CHECK(p.n_patches == n && n > 3 && memcmp(p.xy, xy, (size_t)n * 2 * sizeof *xy) == 0);
        for (int64_t i = 0; i < n; i++) on_tiles += p.xy[2 * i] % 256 == 0 && p.xy[2 * i + 1] % 256 == 0;
        CHECK(through ? on_tiles == n && p.patch_level0_px == 256 : on_tiles < n);
    }
}
