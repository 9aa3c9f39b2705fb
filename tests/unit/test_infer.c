/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint says besides its tensors: it comes back whole, and what is not one is refused. */
#include "test.h"

#include "base/fs.h"
#include "base/mem.h"
#include "infer/checkpoint.h"
#include "infer/infer.h"

static sw_error err;

/* No member at its default. */
static sw_model_use some_use(char **names, char *backend)
{
    sw_model_use u = {.n_classes = 3, .class_name = names, .eval_mpp_um = 0.1 + 0.2, .crop_px = 48, .chunk_patches = 77,
                      .channel_order = SW_CHANNELS_BGR_AS_REFERENCE, .backend = backend, .deterministic = true,
                      .activations = SW_BF16, .normalise = SW_PIXELS_UNIT};
    u.tiling = sw_tile_settings_default();
    u.tiling.n_scales = 2;
    u.tiling.mpp_um[0] = 1.0 / 3.0;
    u.tiling.mpp_um[1] = 2.5;
    u.tiling.patch_px = 96;
    u.tiling.overlap_px = 5;
    u.tiling.quality = 71;
    u.tiling.whole_image = true;
    u.tiling.exact = true;
    u.tiling.passthrough = true;
    u.tiling.tissue = (sw_tissue_options){.seg_level = 2, .sthresh = 15, .mthresh = 11, .close = 3, .otsu = true, .a_t = 1.7,
                                          .a_h = 0.1, .max_n_holes = 5, .line_thickness = 33.3, .use_padding = false,
                                          .contour_rule = SW_CONTOUR_CENTER, .max_area_share = 0.0025, .max_pixels = 12345};
    u.tiling.artefacts = (sw_artefact_options){.max_black_fraction = 0.1, .max_white_fraction = 1.0 / 3.0, .max_pen_fraction = 0.02,
                                               .min_laplacian_variance = 17.3};
    return u;
}

static bool same_tissue(const sw_tissue_options *a, const sw_tissue_options *b)
{
    return a->seg_level == b->seg_level && a->sthresh == b->sthresh && a->mthresh == b->mthresh && a->close == b->close &&
           a->otsu == b->otsu && a->a_t == b->a_t && a->a_h == b->a_h && a->max_n_holes == b->max_n_holes &&
           a->line_thickness == b->line_thickness && a->use_padding == b->use_padding &&
           a->contour_rule == b->contour_rule && a->max_area_share == b->max_area_share && a->max_pixels == b->max_pixels;
}

static bool same_use(const sw_model_use *a, const sw_model_use *b)
{
    const sw_tile_settings *s = &a->tiling, *t = &b->tiling;
    bool same = a->n_classes == b->n_classes && a->eval_mpp_um == b->eval_mpp_um && a->crop_px == b->crop_px &&
                a->channel_order == b->channel_order && a->normalise == b->normalise && a->chunk_patches == b->chunk_patches &&
                strcmp(a->backend, b->backend) == 0 && a->deterministic == b->deterministic &&
                a->activations == b->activations && s->n_scales == t->n_scales && s->patch_px == t->patch_px &&
                s->overlap_px == t->overlap_px && s->quality == t->quality && s->whole_image == t->whole_image && s->exact == t->exact &&
                s->passthrough == t->passthrough;
    for (int i = 0; same && i < a->n_classes; i++) same = strcmp(a->class_name[i], b->class_name[i]) == 0;
    for (int i = 0; same && i < s->n_scales; i++) same = s->mpp_um[i] == t->mpp_um[i];
    same = same && memcmp(&s->artefacts, &t->artefacts, sizeof s->artefacts) == 0;
    return same && same_tissue(&s->tissue, &t->tissue);
}

TEST(the_use_of_a_model_comes_back)
{
    char *names[] = {"normal", "tumor, \"high\"", "\xc3\xa9"};
    sw_model_use u = some_use(names, "ref");
    SW_CLEANUP(sw_model_use_free) sw_model_use back = {0};
    SW_AUTOFREE char *text = NULL;
    CHECK_OK(sw_model_use_json(&u, &text, &err));
    CHECK_OK(sw_model_use_parse(text, "x", &back, &err));
    CHECK(same_use(&u, &back));
}

/* The message for `text`, or "" when it was taken. */
static const char *refusal(const char *text)
{
    sw_model_use u;
    err.message[0] = '\0';
    if (sw_model_use_parse(text, "a.safetensors", &u, &err) == SW_OK) sw_model_use_free(&u);
    return err.message;
}

TEST(a_description_that_lacks_something_is_refused)
{
    const char *lacks = "a.safetensors: its description (slidewise.use) lacks classes, resolution or patch size";
    const char *rule = "\"tissue\":{\"contour_rule\":\"four_pt\"}";
    char text[400];
    const char *const bad[] = {
        "{\"classes\":[\"a\"],\"tiling\":{\"patch_px\":64,%s},\"eval_mpp_um\":1,\"crop_px\":48,\"chunk_patches\":8}",
        "{\"classes\":[\"a\",\"b\"],\"tiling\":{%s},\"eval_mpp_um\":1,\"crop_px\":48,\"chunk_patches\":8}",
        "{\"classes\":[\"a\",\"b\"],\"tiling\":{\"patch_px\":64,%s},\"eval_mpp_um\":null,\"crop_px\":48,\"chunk_patches\":8}",
        "{\"classes\":[\"a\",\"b\"],\"tiling\":{\"patch_px\":64,%s},\"eval_mpp_um\":1,\"crop_px\":-1,\"chunk_patches\":8}",
        "{\"classes\":[\"a\",\"b\"],\"tiling\":{\"patch_px\":64,%s},\"eval_mpp_um\":1,\"crop_px\":48}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, bad[i], rule);
        CHECK_STR(refusal(text), lacks);
    }
    CHECK_STR(refusal("{\"tiling\":{\"tissue\":{\"contour_rule\":\"round\"}}}"),
              "\"round\" is no contour rule; there are four_pt, four_pt_hard, center and basic");
    CHECK(strstr(refusal("{\"classes\":["), "a.safetensors") != NULL);
}

typedef struct bench {
    sw_backend *be;
    sw_model *model;
    char *path;
} bench;

static void bench_free(bench *b)
{
    sw_model_free(b->model);
    sw_backend_free(b->be);
    sw_free(b->path);
}

static bool bench_new(bench *b, const char *aggregator)
{
    sw_model_options o = sw_model_options_default();
    o.aggregator = aggregator;
    o.mil.inner_dim = 16;
    o.mil.heads = 2;
    o.mil.classes = 3;
    b->path = sw_path_join(sw_test_dir(), "model.safetensors");
    if (sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &b->be, &err) == SW_OK &&
        sw_model_new(b->be, SW_F32, &o, &b->model, &err) == SW_OK)
        return true;
    return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

static sw_status save(const bench *b, const sw_model_use *use)
{
    sw_weights_writer *w = NULL;
    SW_TRY(sw_weights_writer_new(&w, &err));
    sw_status status = sw_checkpoint_put(b->model, use, 7, w, &err);
    if (status == SW_OK) status = sw_weights_writer_save(w, b->path, &err);
    sw_weights_writer_free(w);
    return status;
}

TEST(a_checkpoint_opens_as_it_was_put)
{
    char *names[] = {"a", "b", "c"};
    sw_model_use u = some_use(names, "cpu");
    SW_CLEANUP(bench_free) bench b = {0};
    SW_CLEANUP(sw_model_use_free) sw_model_use back = {0}, peeked = {0};
    sw_model *model = NULL;
    CHECK(bench_new(&b, "abmilx"));
    CHECK_OK(save(&b, &u));
    CHECK_OK(sw_checkpoint_peek(b.path, &peeked, &err));
    CHECK(same_use(&u, &peeked));
    CHECK_OK(sw_checkpoint_open(b.be, b.path, &model, &back, &err));
    CHECK(same_use(&u, &back));
    int64_t n = sw_tensor_count(sw_slab_params(sw_model_slab(model)));
    SW_AUTOFREE float *x = sw_calloc((size_t)n, sizeof *x), *y = sw_calloc((size_t)n, sizeof *y);
    CHECK_OK(sw_tensor_download_f32(sw_slab_params(sw_model_slab(b.model)), x, &err));
    CHECK_OK(sw_tensor_download_f32(sw_slab_params(sw_model_slab(model)), y, &err));
    sw_model_free(model);
    CHECK(memcmp(x, y, (size_t)n * sizeof *x) == 0);
}

TEST(names_that_do_not_fit_the_model_are_refused)
{
    char *names[] = {"a", "b", "c"};
    char expected[400];
    sw_model_use u = some_use(names, "cpu"), back;
    SW_CLEANUP(bench_free) bench b = {0};
    sw_model *model = NULL;
    u.n_classes = 2;
    CHECK(bench_new(&b, "mean"));
    CHECK_OK(save(&b, &u));
    CHECK(sw_checkpoint_open(b.be, b.path, &model, &back, &err) == SW_E_FORMAT);
    CHECK(model == NULL && back.class_name == NULL);
    snprintf(expected, sizeof expected,
             "%s: its model has 3 classes, but 2 names of classes stand beside it; the file is damaged", b.path);
    CHECK_STR(err.message, expected);
}

TEST(weights_alone_are_no_checkpoint)
{
    char expected[400];
    sw_model_use back;
    sw_weights_writer *w = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "bare.safetensors");
    sw_shape shape = SW_SHAPE(1);
    CHECK_OK(sw_weights_writer_new(&w, &err));
    CHECK_OK(sw_weights_writer_add(w, "x", SW_F32, &shape, &(float){1}, &err));
    CHECK_OK(sw_weights_writer_save(w, path, &err));
    sw_weights_writer_free(w);
    CHECK(sw_checkpoint_peek(path, &back, &err) == SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "%s: not a checkpoint of slidewise (no slidewise.use in its metadata); give one from RUN/checkpoints", path);
    CHECK_STR(err.message, expected);
}

/* --- a bag through the model */

typedef struct painter {
    int px;
    int64_t bad; /* reading this patch fails; -1: none */
} painter;

static sw_status paint(void *self, int64_t index, uint8_t *rgb, sw_error *e)
{
    const painter *p = self;
    if (index == p->bad) return sw_error_set(e, SW_E_IO, "patch %lld is gone", (long long)index);
    for (int i = 0; i < 3 * p->px * p->px; i++) rgb[i] = (uint8_t)(37 * index + 11 * i);
    return SW_OK;
}

static void nothing(void *self)
{
    (void)self;
}

static const sw_patch_source_ops painter_ops = {.read = paint, .destroy = nothing};

static sw_status infer(const bench *b, painter *p, int64_t count, int64_t chunk, sw_bag_result *out)
{
    sw_patch_source *source = NULL;
    sw_pool *pool = NULL;
    SW_TRY(sw_pool_new(2, &pool, &err));
    sw_status status = sw_patch_source_new(&painter_ops, p, "s", count, p->px, &source, &err);
    sw_infer_options o = {.chunk_patches = chunk, .crop_px = 32, .ahead = 2, .pool = pool};
    if (status == SW_OK) status = sw_infer_bag(b->model, source, &o, out, &err);
    sw_patch_source_free(source);
    sw_pool_free(pool);
    return status;
}

TEST(the_size_of_chunks_does_not_matter)
{
    painter p = {.px = 40, .bad = -1};
    SW_CLEANUP(bench_free) bench b = {0};
    SW_CLEANUP(sw_bag_result_free) sw_bag_result whole = {0}, parts = {0};
    double sum = 0.0, attention = 0.0;
    CHECK(bench_new(&b, "abmilx"));
    CHECK_OK(infer(&b, &p, 7, 100, &whole));
    CHECK_OK(infer(&b, &p, 7, 3, &parts));
    CHECK(whole.n_patches == 7 && whole.n_classes == 3 && whole.n_heads == 2);
    for (int i = 0; i < 3; i++) {
        CHECK_NEAR(parts.logit[i], whole.logit[i], 1e-4, 1e-5);
        CHECK(whole.logit[whole.predicted] >= whole.logit[i]);
        sum += whole.probability[i];
    }
    for (int i = 0; i < 7; i++) attention += whole.attention[i];
    CHECK_NEAR(sum, 1.0, 1e-12, 0.0);
    CHECK_NEAR(attention, 1.0, 1e-5, 0.0);
}

TEST(an_aggregator_without_attention_gives_none)
{
    painter p = {.px = 40, .bad = -1};
    SW_CLEANUP(bench_free) bench b = {0};
    SW_CLEANUP(sw_bag_result_free) sw_bag_result r = {0};
    CHECK(bench_new(&b, "mean"));
    CHECK_OK(infer(&b, &p, 1, 8, &r));
    CHECK(r.n_heads == 0 && r.attention == NULL && r.n_patches == 1);
}

TEST(a_patch_that_fails_stops_the_bag)
{
    painter p = {.px = 40, .bad = 4};
    SW_CLEANUP(bench_free) bench b = {0};
    sw_bag_result r = {0};
    CHECK(bench_new(&b, "mean"));
    CHECK(infer(&b, &p, 6, 2, &r) == SW_E_IO);
    CHECK_STR(err.message, "patch 4 is gone");
    CHECK(infer(&b, &p, 0, 2, &r) == SW_E_INVALID);
    CHECK_STR(err.message, "s: no patch to look at");
    CHECK(r.logit == NULL && r.attention == NULL);
}
