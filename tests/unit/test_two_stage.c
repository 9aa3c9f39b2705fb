/* SPDX-License-Identifier: Apache-2.0 */
/* In two stages what is learned and predicted is what the frozen encoder end to end gives: features of the same patches, the same
 * aggregator on them. */
#include "test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"
#include "infer/predict_features.h"
#include "slidewise/encode.h"
#include "slidewise/predict.h"
#include "slidewise/store.h"
#include "slidewise/train.h"
#include "tiny_slide.h"
#include "train/step.h"
#include "weights/weights.h"

enum { PX = 32, SLIDES = 6, PATCHES = 4 };

static sw_error err;

/* A path in the folder of this test; the same buffer for each name. */
static const char *at(const char *name)
{
    static char path[8][320];
    static int next;
    char *p = path[next++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", sw_test_dir(), name);
    return p;
}

static sw_status make_store(void)
{
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "32"}, {"overlap_px", "0"}, {"quality", "95"}, {"whole_image", "yes"}};
    sw_store_writer *w = NULL;
    if (sw_path_exists(at("store"))) return SW_OK;
    sw_status status = sw_store_writer_open(at("store"), settings, 5, &w, &err);
    for (int i = 0; i < SLIDES && status == SW_OK; i++) status = tiny_slide(w, i, i == 0 ? 2 : PATCHES, PX, &err);
    sw_store_writer_close(&w);
    return status;
}

static const char table[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,a,val\ns5,b,test\n";

static sw_status train(const char *name, const char *more)
{
    char text[4][360], rest[600], *save = NULL;
    const char *sets[40] = {"aggregator.inner_dim=8", "aggregator.heads=2", "train.epochs=2", "eval.bootstrap=0", "run.threads=1", "train.lr=0.01",
                            "train.drop_last=false", "train.early_stop.patience=0", "run.workers=2"};
    sw_train_options o = sw_train_options_default();
    sw_train_result result;
    SW_TRY(sw_file_write(at("labels.csv"), table, sizeof table - 1, &err));
    snprintf(text[0], sizeof text[0], "data.labels=%s", at("labels.csv"));
    snprintf(text[1], sizeof text[1], "run.out=%s", at(name));
    o.n_sets = 9;
    for (int i = 0; i < 2; i++) sets[o.n_sets++] = text[i];
    snprintf(rest, sizeof rest, "%s", more);
    for (char *set = strtok_r(rest, "|", &save); set; set = strtok_r(NULL, "|", &save)) sets[o.n_sets++] = set;
    o.sets = sets;
    return sw_train(&o, &result, &err);
}

/* The frozen encoder end to end, once for all tests. */
static sw_status frozen_run(void)
{
    char more[500];
    if (sw_path_exists(at("frozen"))) return SW_OK;
    SW_TRY(make_store());
    snprintf(more, sizeof more, "data.store=%s|encoder.frozen=true|augment.preset=none|augment.crop_px=32|bag.patches=4|train.batch_bags=2", at("store"));
    return train("frozen", more);
}

static sw_status encoded(void)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_encode_result_free) sw_encode_result result = {0};
    sw_encode_options o = sw_encode_options_default();
    SW_TRY(frozen_run());
    o.output = at("features");
    o.run = at("frozen");
    o.threads = 1;
    SW_TRY(sw_store_open(at("store"), &store, &err));
    SW_TRY(sw_encode(store, &o, &result, &err));
    return result.n_failed == 0 && result.n_done + result.n_already == SLIDES && result.dim == 256
               ? SW_OK : sw_error_set(&err, SW_E_INTERNAL, "%zu of %zu encoded: %s", result.n_done, result.count, result.row[0].reason);
}

/* Both ways to a model: the frozen run's, and the same aggregator without an encoder. */
typedef struct pair {
    sw_backend *be;
    sw_model *whole, *head;
    sw_model_use use;
    sw_pool *pool;
    sw_store *store, *features;
} pair;

static void pair_free(pair *p)
{
    sw_store_close(&p->store);
    sw_store_close(&p->features);
    sw_model_use_free(&p->use);
    sw_model_free(p->whole);
    sw_model_free(p->head);
    sw_backend_free(p->be);
    sw_pool_free(p->pool);
}

static sw_status pair_open(pair *p)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *best = sw_asprintf("%s/checkpoints/best.safetensors", at("frozen"));
    sw_store_features_options fo = sw_store_features_options_default();
    SW_TRY(encoded());
    SW_TRY(sw_pool_new(1, &p->pool, &err));
    SW_TRY(sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &p->be, &err));
    SW_TRY(sw_checkpoint_open(p->be, best, &p->whole, &p->use, &err));
    sw_model_options o = *sw_model_get_options(p->whole);
    o.encoder = "none";
    o.blank = true;
    SW_TRY(sw_model_new(p->be, SW_F32, &o, &p->head, &err));
    SW_TRY(sw_weights_open(best, &w, &err));
    SW_TRY(sw_model_get(p->head, "", w, &err)); /* the aggregator has the same names */
    fo.path = at("features");
    SW_TRY(sw_store_open_features(&fo, &p->features, &err));
    return sw_store_open(at("store"), &p->store, &err);
}

static sw_status infer(const pair *p, sw_model *model, const sw_store *store, int64_t slide, sw_bag_result *out)
{
    sw_patch_source *source = NULL;
    SW_TRY(sw_patch_source_store(store, slide, 0, &source, &err));
    sw_infer_options o = {.chunk_patches = 3, .crop_px = PX, .ahead = 1, .pool = p->pool};
    sw_status status = sw_infer_bag(model, source, &o, out, &err);
    sw_patch_source_free(source);
    return status;
}

TEST(the_same_logits_and_attention_as_end_to_end)
{
    SW_CLEANUP(pair_free) pair p = {0};
    CHECK_OK(pair_open(&p));
    CHECK(sw_model_has_encoder(p.whole) && !sw_model_has_encoder(p.head) && sw_model_dim(p.head) == 256);
    CHECK_INT(sw_model_params(p.head, "encoder"), 0);
    CHECK_INT(sw_model_params(p.head, NULL), sw_model_params(p.whole, "mil"));
    for (int64_t s = 0; s < SLIDES; s++) {
        SW_CLEANUP(sw_bag_result_free) sw_bag_result a = {0}, b = {0};
        CHECK_OK(infer(&p, p.whole, p.store, s, &a));
        CHECK_OK(infer(&p, p.head, p.features, s, &b));
        CHECK(a.n_patches == b.n_patches && a.n_heads == b.n_heads);
        for (int c = 0; c < 2; c++) CHECK_NEAR(b.logit[c], a.logit[c], 1e-5, 1e-5);
        for (int64_t i = 0; i < a.n_patches * a.n_heads; i++) CHECK_NEAR((double)b.attention[i], (double)a.attention[i], 1e-5, 1e-6);
    }
    /* one takes what the other refuses */
    SW_CLEANUP(sw_bag_result_free) sw_bag_result none = {0};
    CHECK_INT(infer(&p, p.head, p.store, 0, &none), SW_E_INVALID);
    CHECK_STR(err.message, "slide s0: the model takes features, not pixels");
    CHECK_INT(infer(&p, p.whole, p.features, 0, &none), SW_E_UNSUPPORTED);
    CHECK(strstr(err.message, "/features: it holds features, there are no pixels of a patch"));
}

/* --- one step of training both ways */

typedef struct input {
    const sw_model *model;
    const float *host; /* [patches, features] or [patches, 3, PX, PX] */
    int64_t chunk, row;
    sw_shape (*shape)(const sw_model *model, int64_t n);
    int64_t patches;
} input;

static sw_shape shape_of(const sw_model *model, int64_t n)
{
    return sw_model_has_encoder(model) ? SW_SHAPE(n, 3, PX, PX) : SW_SHAPE(n, sw_model_dim(model));
}

static sw_status give(void *ctx, int64_t chunk, sw_tensor *out, sw_error *e)
{
    const input *in = ctx;
    int64_t first = chunk * in->chunk, n = in->patches - first < in->chunk ? in->patches - first : in->chunk;
    return sw_tensor_from(&sw_model_backend(in->model)->device, SW_F32, shape_of(in->model, n), in->host + first * in->row, out, e);
}

static sw_status one_step(sw_model *model, const float *host, int64_t patches, int64_t chunk, double *loss)
{
    sw_config config;
    SW_TRY(sw_config_default(&config, &err));
    sw_task task = sw_task_of(&config);
    sw_shape one = shape_of(model, 1);
    input in = {.model = model, .host = host, .chunk = chunk, .row = sw_shape_count(&one), .patches = patches};
    int32_t label = 1;
    int64_t bag = 0;
    sw_batch batch = {.n_bags = 1, .bag_patches = patches, .label = &label, .bag = &bag};
    sw_step_options so = {.task = &task, .chunk_patches = chunk, .seed = 5, .step = 9, .pixels = give, .ctx = &in};
    sw_status status = sw_model_zero_grad(model, &err);
    if (status == SW_OK) status = sw_train_step(model, &batch, &so, loss, &err);
    sw_config_free(&config);
    return status;
}

/* The aggregator's gradients, in the order of the model without an encoder; owned by the caller. */
static sw_status gradients(sw_model *model, double **out, int64_t *n)
{
    sw_slab *slab = sw_model_slab(model);
    *n = 0;
    *out = sw_calloc((size_t)sw_model_params(model, "mil") + 1, sizeof **out);
    if (!*out) return sw_nomem(&err);
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        if (strcmp(sw_slab_group(slab, i), "mil") != 0 || sw_slab_entry_kind(slab, i) != SW_PARAM) continue;
        SW_TRY(sw_tensor_download_f64(sw_slab_grad(slab, i), *out + *n, &err));
        *n += sw_shape_count(sw_slab_shape(slab, i));
    }
    return SW_OK;
}

TEST(the_same_gradients_as_end_to_end)
{
    SW_CLEANUP(pair_free) pair p = {0};
    SW_AUTOFREE float *pixels = NULL, *features = NULL;
    SW_AUTOFREE double *a = NULL, *b = NULL, *c = NULL;
    double loss[3];
    int64_t n[3];
    const int64_t all[PATCHES] = {0, 1, 2, 3};
    sw_patch_source *source = NULL;
    sw_eval_loader *loader = NULL;
    sw_eval_chunk *chunk = NULL;
    CHECK_OK(pair_open(&p));
    pixels = sw_calloc(PATCHES * 3 * PX * PX, sizeof *pixels);
    features = sw_calloc(PATCHES * 256, sizeof *features);
    CHECK(pixels && features);
    CHECK_OK(sw_store_features(p.features, 3, all, PATCHES, features, &err));
    CHECK_OK(sw_patch_source_store(p.store, 3, 0, &source, &err));
    sw_eval_loader_options lo = {.crop_px = PX, .chunk_patches = PATCHES, .ahead = 1};
    CHECK_OK(sw_eval_loader_new(source, &lo, p.pool, &loader, &err));
    CHECK_OK(sw_eval_loader_next(loader, &chunk, NULL, &err));
    memcpy(pixels, chunk->images, PATCHES * 3 * PX * PX * sizeof *pixels);
    sw_eval_loader_done(loader, chunk);
    sw_eval_loader_free(loader);
    sw_patch_source_free(source);
    CHECK_OK(one_step(p.whole, pixels, PATCHES, PATCHES, &loss[0]));
    CHECK_OK(gradients(p.whole, &a, &n[0]));
    CHECK_OK(one_step(p.head, features, PATCHES, PATCHES, &loss[1]));
    CHECK_OK(gradients(p.head, &b, &n[1]));
    CHECK_OK(one_step(p.head, features, PATCHES, 3, &loss[2])); /* in chunks, which an encoder would need */
    CHECK_OK(gradients(p.head, &c, &n[2]));
    CHECK(n[0] == n[1] && n[1] == n[2] && n[0] == sw_model_params(p.head, NULL));
    CHECK_NEAR(loss[1], loss[0], 1e-5, 0);
    CHECK_NEAR(loss[2], loss[1], 1e-6, 0);
    double sum = 0;
    for (int64_t i = 0; i < n[0]; i++) {
        CHECK_NEAR(b[i], a[i], 1e-4, 1e-5);
        CHECK_NEAR(c[i], b[i], 1e-5, 1e-6);
        sum += fabs(a[i]);
    }
    CHECK(sum > 0.1); /* there is something to compare */
}

/* --- runs */

static const char *features_sets(const char *more)
{
    static char text[600];
    snprintf(text, sizeof text, "data.features=%s|encoder.name=none|%s", at("features"), more);
    return text;
}

static bool same_file(const char *a, const char *b)
{
    SW_CLEANUP(sw_buf_free) sw_buf x = {0}, y = {0};
    return sw_file_read(a, &x, &err) == SW_OK && sw_file_read(b, &y, &err) == SW_OK && x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
}

TEST(a_run_on_features_and_its_predictions)
{
    SW_CLEANUP(sw_predictor_close) sw_predictor *p = NULL;
    SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction one = {0}, two = {0};
    SW_AUTOFREE char *s5 = sw_asprintf("%s/s5.h5", at("features")), *s4 = sw_asprintf("%s/s4.h5", at("features"));
    const char *both[] = {s4, s5};
    const double unknown[] = {0, 0};
    sw_predictor_options o = sw_predictor_options_default();
    CHECK_OK(encoded());
    CHECK_OK(train("all", features_sets("bag.patches=0|train.batch_bags=1|train.ema=0.5|train.select=both")));
    CHECK_OK(train("all_threads", features_sets("bag.patches=0|train.batch_bags=1|train.ema=0.5|train.select=both|run.workers=1|data.cache_mb=0")));
    CHECK(same_file(at("all/checkpoints/best.safetensors"), at("all_threads/checkpoints/best.safetensors")));
    CHECK(same_file(at("all/predictions_test.csv"), at("all_threads/predictions_test.csv")));
    CHECK_OK(sw_predictor_open(at("all"), &o, &p, &err));
    CHECK_INT(sw_predictor_feature_dim(p), 256);
    CHECK_OK(sw_predictor_slide(p, s5, 0, &one, &err));
    CHECK(one.n_patches == PATCHES && one.n_slides == 1 && one.xy && one.attention);
    CHECK_STR(one.slide_id, "s5");
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    char line[100];
    CHECK_OK(sw_file_read(at("all/predictions_test.csv"), &csv, &err));
    snprintf(line, sizeof line, "%.9g", one.probability[0]);
    CHECK(strstr(csv.data, line)); /* what validation and test said is what prediction says */
    CHECK_OK(sw_predictor_case(p, "patient", both, unknown, 2, &two, &err));
    CHECK(two.n_slides == 2 && two.n_patches == 2 * PATCHES && two.xy);
    CHECK_STR(two.slide_id, "patient");
}

TEST(sampled_bags_of_features)
{
    CHECK_OK(encoded());
    CHECK_OK(train("sampled", features_sets("bag.patches=3|train.batch_bags=2")));
    CHECK_OK(train("again", features_sets("bag.patches=3|train.batch_bags=2|run.workers=1")));
    CHECK(same_file(at("sampled/checkpoints/best.safetensors"), at("again/checkpoints/best.safetensors")));
    CHECK_OK(train("other", features_sets("bag.patches=3|train.batch_bags=2|run.seed=7")));
    CHECK(!same_file(at("sampled/checkpoints/best.safetensors"), at("other/checkpoints/best.safetensors")));
    CHECK_OK(train("attended", features_sets("bag.patches=2|train.batch_bags=2|bag.sampler=attention|train.ema=0.9")));
    CHECK_OK(train("placed", features_sets("bag.patches=2|train.batch_bags=2|bag.sampler=regional_2d|bag.regions=2")));
}

TEST(features_of_another_width_are_refused)
{
    SW_CLEANUP(sw_predictor_close) sw_predictor *p = NULL;
    SW_CLEANUP(sw_slide_prediction_free) sw_slide_prediction out = {0};
    SW_AUTOFREE char *wider = sw_asprintf("%s/golden/features/wider.h5", sw_test_source()), *said = NULL;
    sw_predictor_options o = sw_predictor_options_default();
    CHECK_OK(encoded());
    CHECK_OK(train("width", features_sets("bag.patches=3|train.batch_bags=2")));
    CHECK_OK(sw_predictor_open(at("width"), &o, &p, &err));
    CHECK_INT(sw_predictor_slide(p, wider, 0, &out, &err), SW_E_INVALID);
    said = sw_asprintf("%s: its features are 12 wide, but the model was trained on features 256 wide; give features of the same encoder", wider);
    CHECK_STR(err.message, said);
}

TEST(a_run_on_features_has_no_encoder_to_encode_with)
{
    SW_CLEANUP(sw_store_close) sw_store *store = NULL;
    SW_CLEANUP(sw_encode_result_free) sw_encode_result result = {0};
    sw_encode_options o = sw_encode_options_default();
    CHECK_OK(encoded());
    CHECK_OK(train("headless", features_sets("bag.patches=3|train.batch_bags=2")));
    o.output = at("more");
    o.run = at("headless");
    CHECK_OK(sw_store_open(at("store"), &store, &err));
    CHECK_INT(sw_encode(store, &o, &result, &err), SW_E_INVALID);
    SW_AUTOFREE char *said = sw_asprintf("%s/checkpoints/best.safetensors: the run was trained on features, it has no encoder; name the one that made them "
                                         "(--encoder, --weights)", at("headless"));
    CHECK_STR(err.message, said);
}
