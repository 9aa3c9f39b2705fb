/* SPDX-License-Identifier: Apache-2.0 */
/* Models in files: what is put comes back, published names and prefixes load, wrong architectures are refused. */
#include "test.h"

#include "base/fs.h"
#include "base/mem.h"
#include "model/model_io.h"

static sw_error err;

typedef struct bench {
    sw_backend *be;
    sw_model *model;
} bench;

static void bench_free(bench *b)
{
    sw_model_free(b->model);
    sw_backend_free(b->be);
}

static bool bench_new(bench *b, const char *encoder, uint64_t seed)
{
    sw_model_options o = sw_model_options_default();
    o.encoder = encoder;
    o.seed = seed;
    o.mil.inner_dim = 32;
    o.mil.heads = 4;
    if (sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &b->be, &err) == SW_OK &&
        sw_model_new(b->be, SW_F32, &o, &b->model, &err) == SW_OK)
        return true;
    return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

/* All parameters and buffers; owned by the caller. */
static float *values(const bench *b, int64_t *count)
{
    sw_slab *slab = sw_model_slab(b->model);
    int64_t params = sw_tensor_count(sw_slab_params(slab));
    *count = params + sw_tensor_count(sw_slab_buffers(slab));
    float *v = sw_calloc((size_t)*count, sizeof *v);
    if (!v || sw_tensor_download_f32(sw_slab_params(slab), v, &err) != SW_OK ||
        sw_tensor_download_f32(sw_slab_buffers(slab), v + params, &err) != SW_OK)
        sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return v;
}

/* Largest difference of entries of `group` (NULL: all). */
static double difference(const bench *a, const bench *b, const char *group)
{
    double worst = 0.0;
    sw_slab *x = sw_model_slab(a->model), *y = sw_model_slab(b->model);
    for (int e = 0; e < sw_slab_entries(x); e++) {
        if (group && strcmp(sw_slab_group(x, e), group) != 0) continue;
        int64_t n = sw_shape_count(sw_slab_shape(x, e));
        SW_AUTOFREE double *u = sw_calloc((size_t)n, sizeof *u), *v = sw_calloc((size_t)n, sizeof *v);
        if (sw_tensor_download_f64(sw_slab_value(x, e), u, &err) != SW_OK ||
            sw_tensor_download_f64(sw_slab_value(y, e), v, &err) != SW_OK)
            return INFINITY;
        for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs(u[i] - v[i]));
    }
    return worst;
}

static bool put(const bench *b, const char *prefix, const char *path)
{
    sw_weights_writer *w = NULL;
    bool ok = sw_weights_writer_new(&w, &err) == SW_OK && sw_model_put(b->model, prefix, 17, w, &err) == SW_OK &&
              sw_weights_writer_save(w, path, &err) == SW_OK;
    sw_weights_writer_free(w);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

static const char *message(void)
{
    const char *dir = sw_test_dir();
    size_t n = strlen(dir);
    return strncmp(err.message, dir, n) == 0 ? err.message + n + 1 : err.message;
}

TEST(parameters_are_those_of_the_published_encoders)
{
    SW_CLEANUP(bench_free) bench small = {0}, large = {0};
    CHECK(bench_new(&small, "resnet18", 1) && bench_new(&large, "resnet50", 1));
    CHECK_INT(sw_model_params(small.model, "encoder"), 2782784);
    CHECK_INT(sw_model_params(large.model, "encoder"), 8543296);
    CHECK_INT(sw_model_dim(small.model), 256);
    CHECK_INT(sw_model_dim(large.model), 1024);
}

TEST(a_model_comes_back_from_its_file)
{
    SW_CLEANUP(bench_free) bench a = {0}, b = {0};
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "model.safetensors");
    int64_t steps = 0, count = 0;
    CHECK(bench_new(&a, "resnet18", 1) && bench_new(&b, "resnet18", 2));
    SW_AUTOFREE float *v = values(&a, &count);
    for (int64_t i = 0; i < count; i++) v[i] += (float)(i % 7) * 0.01f; /* running statistics, too, are no longer 0 and 1 */
    int64_t params = sw_tensor_count(sw_slab_params(sw_model_slab(a.model)));
    CHECK_OK(sw_tensor_upload_f32(sw_slab_params(sw_model_slab(a.model)), v, &err));
    CHECK_OK(sw_tensor_upload_f32(sw_slab_buffers(sw_model_slab(a.model)), v + params, &err));
    CHECK(difference(&a, &b, "encoder") > 0.01 && difference(&a, &b, "mil") > 0.01);
    CHECK(put(&a, "ema.", path));
    CHECK_OK(sw_weights_open(path, &w, &err));
    CHECK_OK(sw_model_get(b.model, "ema.", w, &err));
    CHECK_NEAR(difference(&a, &b, NULL), 0, 0, 0);
    int64_t at = sw_weights_find(w, "ema.encoder.model.layer3.0.downsample.1.num_batches_tracked");
    CHECK(at >= 0);
    CHECK_OK(sw_weights_read_i64(w, (size_t)at, &steps, &err));
    CHECK_INT(steps, 17);
    CHECK_INT(sw_model_get(b.model, "", w, &err), SW_E_FORMAT);
    CHECK_STR(message(), "model.safetensors: holds no tensor encoder.model.conv1.weight; it is not a checkpoint of this model");
}

/* The encoder's entries of `from` under another prefix. */
static bool rename_all(const char *from, const char *prefix, const char *path)
{
    static const char ours[] = "encoder.model.";
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    sw_weights_writer *out = NULL;
    bool ok = sw_weights_open(from, &w, &err) == SW_OK && sw_weights_writer_new(&out, &err) == SW_OK;
    for (size_t i = 0; ok && i < sw_weights_count(w); i++) {
        const sw_weight *t = sw_weights_get(w, i);
        if (t->dtype != SW_F32 || strncmp(t->name, ours, sizeof ours - 1) != 0) continue;
        SW_AUTOFREE char *name = sw_asprintf("%s%s", prefix, t->name + sizeof ours - 1);
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(&t->shape), sizeof *v);
        ok = sw_weights_read_f32(w, i, v, &err) == SW_OK &&
             sw_weights_writer_add(out, name, SW_F32, &t->shape, v, &err) == SW_OK;
    }
    ok = ok && sw_weights_writer_add(out, "fc.weight", SW_F32, &(sw_shape){.rank = 1, .dim = {1}}, &(float){1}, &err) == SW_OK &&
         sw_weights_writer_save(out, path, &err) == SW_OK;
    sw_weights_writer_free(out);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(an_encoder_loads_under_the_prefixes_of_training_frameworks)
{
    static const char *const prefixes[] = {"", "model.", "encoder.model.", "module.encoder.model.", "state_dict.",
                                           "state_dict.module.encoder.model.", "resnet.", "backbone."};
    SW_CLEANUP(bench_free) bench a = {0}, b = {0};
    SW_AUTOFREE char *own = sw_path_join(sw_test_dir(), "own.safetensors");
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "renamed.safetensors");
    CHECK(bench_new(&a, "resnet18", 1) && put(&a, "", own));
    CHECK(bench_new(&b, "resnet18", 2));
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        sw_axpy_attr half = {.factor = 0.5};
        sw_forward_args args = {.attr = &half, .in = {sw_slab_grads(sw_model_slab(b.model))},
                                .out = {sw_slab_params(sw_model_slab(b.model))}};
        CHECK_OK(sw_backend_run(b.be, SW_OP_LERP, &args, &err)); /* every value is another before each load */
        CHECK(difference(&a, &b, "encoder") > 0.01);
        CHECK(rename_all(own, prefixes[i], path));
        CHECK_OK(sw_model_load_encoder(b.model, path, &err));
        CHECK_NEAR(difference(&a, &b, "encoder"), 0, 0, 0);
    }
    CHECK(difference(&a, &b, "mil") > 0.01); /* left as it was */
}

/* The keys of C2C's model but for the aggregator's, which stand beside: its ResNet is a list of torchvision's children. */
TEST(an_encoder_loads_from_the_children_of_a_list)
{
    static const char *const part[][2] = {{"conv1", "0"}, {"bn1", "1"}, {"layer1", "4"}, {"layer2", "5"}, {"layer3", "6"}, {"layer4", "7"}};
    SW_CLEANUP(bench_free) bench a = {0}, b = {0};
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *own = sw_path_join(sw_test_dir(), "own_full.safetensors");
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "children.safetensors");
    sw_weights_writer *out = NULL;
    CHECK(bench_new(&a, "resnet18_full", 1) && put(&a, "", own));
    CHECK(bench_new(&b, "resnet18_full", 2));
    CHECK_INT(sw_model_params(a.model, "encoder"), 11176512); /* torchvision's 11689512 without fc */
    CHECK_OK(sw_weights_open(own, &w, &err));
    CHECK_OK(sw_weights_writer_new(&out, &err));
    for (size_t i = 0; i < sw_weights_count(w); i++) {
        const sw_weight *t = sw_weights_get(w, i);
        for (size_t k = 0; k < sizeof part / sizeof part[0] && t->dtype == SW_F32; k++) {
            size_t n = strlen("encoder.model.") + strlen(part[k][0]);
            SW_AUTOFREE char *stem = sw_asprintf("encoder.model.%s.", part[k][0]);
            SW_AUTOFREE char *name = sw_asprintf("module.resnet_head.%s%s", part[k][1], strlen(t->name) > n ? t->name + n : "");
            SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(&t->shape), sizeof *v);
            if (strncmp(t->name, stem, n + 1) != 0) continue;
            CHECK_OK(sw_weights_read_f32(w, i, v, &err));
            CHECK_OK(sw_weights_writer_add(out, name, SW_F32, &t->shape, v, &err));
        }
    }
    CHECK_OK(sw_weights_writer_save(out, path, &err));
    sw_weights_writer_free(out);
    CHECK(difference(&a, &b, "encoder") > 0.01);
    CHECK_OK(sw_model_load_encoder(b.model, path, &err));
    CHECK_NEAR(difference(&a, &b, "encoder"), 0, 0, 0);
    SW_CLEANUP(bench_free) bench cut = {0};
    CHECK(bench_new(&cut, "resnet18", 2));
    CHECK_OK(sw_model_load_encoder(cut.model, path, &err)); /* layer4 stays behind */
}

TEST(weights_of_another_architecture_are_refused)
{
    SW_CLEANUP(bench_free) bench small = {0}, large = {0};
    SW_AUTOFREE char *r18 = sw_path_join(sw_test_dir(), "r18.safetensors");
    SW_AUTOFREE char *r50 = sw_path_join(sw_test_dir(), "r50.safetensors");
    SW_AUTOFREE char *none = sw_path_join(sw_test_dir(), "none.safetensors");
    CHECK(bench_new(&small, "resnet18", 1) && bench_new(&large, "resnet50", 1));
    CHECK(put(&small, "", r18) && put(&large, "", r50));
    CHECK_INT(sw_model_load_encoder(large.model, r18, &err), SW_E_FORMAT);
    CHECK_STR(message(), "r18.safetensors: encoder.model.layer1.0.conv1.weight is [64, 64, 3, 3], but encoder resnet50 needs "
                         "[64, 64, 1, 1]; give weights of that architecture or set encoder.name");
    CHECK_INT(sw_model_load_encoder(small.model, r50, &err), SW_E_FORMAT);
    CHECK_STR(message(), "r50.safetensors: encoder.model.layer1.0.conv1.weight is [64, 64, 1, 1], but encoder resnet18 needs "
                         "[64, 64, 3, 3]; give weights of that architecture or set encoder.name");
    sw_weights_writer *w = NULL;
    CHECK_OK(sw_weights_writer_new(&w, &err));
    CHECK_OK(sw_weights_writer_save(w, none, &err));
    sw_weights_writer_free(w);
    CHECK_INT(sw_model_load_encoder(small.model, none, &err), SW_E_FORMAT);
    CHECK_STR(message(), "none.safetensors: holds no tensor conv1.weight, which encoder resnet18 needs; give weights of that "
                         "architecture or set encoder.name");
}

/* The encoder's entries of `from`, with one more tensor. */
static bool add_tensor(const char *from, const char *extra, const char *path)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    sw_weights_writer *out = NULL;
    sw_shape one = {.rank = 1, .dim = {1}};
    bool ok = sw_weights_open(from, &w, &err) == SW_OK && sw_weights_writer_new(&out, &err) == SW_OK;
    for (size_t i = 0; ok && i < sw_weights_count(w); i++) {
        const sw_weight *t = sw_weights_get(w, i);
        if (t->dtype != SW_F32) continue;
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(&t->shape), sizeof *v);
        ok = sw_weights_read_f32(w, i, v, &err) == SW_OK &&
             sw_weights_writer_add(out, t->name, SW_F32, &t->shape, v, &err) == SW_OK;
    }
    ok = ok && sw_weights_writer_add(out, extra, SW_F32, &one, &(float){1}, &err) == SW_OK &&
         sw_weights_writer_save(out, path, &err) == SW_OK;
    sw_weights_writer_free(out);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(weights_of_a_deeper_network_are_refused)
{
    static const char *const fine[] = {"layer4.0.conv1.weight", "fc.weight", "ema.encoder.model.layer1.2.conv1.weight",
                                       "bn1.num_batches_tracked", "layer1", "optimizer.state.0.exp_avg"};
    SW_CLEANUP(bench_free) bench a = {0}, b = {0}, untouched = {0};
    SW_AUTOFREE char *own = sw_path_join(sw_test_dir(), "own.safetensors");
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "r34.safetensors");
    CHECK(bench_new(&a, "resnet18", 1) && put(&a, "", own));
    CHECK(bench_new(&b, "resnet18", 2) && bench_new(&untouched, "resnet18", 2));
    CHECK(add_tensor(own, "model.layer1.2.conv1.weight", path)); /* the third block, which a ResNet-34 has */
    CHECK_INT(sw_model_load_encoder(b.model, path, &err), SW_E_FORMAT);
    CHECK_STR(message(), "r34.safetensors: holds model.layer1.2.conv1.weight, which encoder resnet18 does not have; give weights "
                         "of that architecture or set encoder.name");
    CHECK_NEAR(difference(&b, &untouched, NULL), 0, 0, 0);
    CHECK(add_tensor(own, "conv1.bias", path)); /* batch norm folded into it */
    CHECK_INT(sw_model_load_encoder(b.model, path, &err), SW_E_FORMAT);
    CHECK_STR(message(), "r34.safetensors: holds conv1.bias, which encoder resnet18 does not have; give weights of that "
                         "architecture or set encoder.name");
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        CHECK(add_tensor(own, fine[i], path));
        CHECK_OK(sw_model_load_encoder(b.model, path, &err));
    }
    CHECK_NEAR(difference(&a, &b, "encoder"), 0, 0, 0);
}

TEST(a_checkpoint_of_another_aggregator_is_refused)
{
    SW_CLEANUP(bench_free) bench a = {0};
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "wide.safetensors");
    sw_model_options o = sw_model_options_default();
    sw_model *wide = NULL;
    o.mil.inner_dim = 64;
    o.mil.heads = 4;
    CHECK(bench_new(&a, "resnet18", 1) && put(&a, "", path));
    CHECK_OK(sw_model_new(a.be, SW_F32, &o, &wide, &err));
    CHECK_OK(sw_weights_open(path, &w, &err));
    sw_status status = sw_model_get(wide, "", w, &err);
    sw_model_free(wide);
    CHECK_INT(status, SW_E_FORMAT);
    CHECK(strstr(err.message, ", but aggregator abmilx needs [") != NULL);
    CHECK(strstr(err.message, "; give weights of that architecture or set aggregator.name") != NULL);
}

static void check_real(const char *encoder, const char *file)
{
    SW_CLEANUP(bench_free) bench b = {0};
    if (!sw_test_data()) SKIP("no real data beside the checkout");
    SW_AUTOFREE char *path = sw_asprintf("%s/weights/%s", sw_test_data(), file);
    if (!sw_path_exists(path)) SKIP("no weights/%s", file);
    CHECK(bench_new(&b, encoder, 1));
    CHECK_OK(sw_model_load_encoder(b.model, path, &err));
    int64_t count = 0;
    SW_AUTOFREE float *v = values(&b, &count);
    for (int64_t i = 0; i < count; i++) CHECK(isfinite(v[i]));
    sw_slab *slab = sw_model_slab(b.model);
    SW_AUTOFREE double *var = sw_calloc(64, sizeof *var);
    CHECK_OK(sw_tensor_download_f64(sw_slab_value(slab, sw_slab_find(slab, "encoder.model.bn1.running_var")), var, &err));
    CHECK(var[0] > 0.0 && var[0] != 1.0); /* learnt, not the start */
}

TEST(the_published_resnet18_loads)
{
    check_real("resnet18", "resnet18_upto_layer3.safetensors");
}

TEST(the_published_resnet50_loads)
{
    check_real("resnet50", "resnet50_upto_layer3.safetensors");
}

TEST(options_come_back_from_their_json)
{
    sw_model_options o = sw_model_options_default(), back;
    SW_AUTOFREE char *text = NULL;
    SW_AUTOFREE char *again = NULL;
    o.encoder = "resnet50";
    o.aggregator = "gabmil";
    o.frozen = true;
    o.batch_stats = true;
    o.mil.inner_dim = 96;
    o.mil.classes = 5;
    o.mil.heads = 3;
    o.mil.dropout = 0.125;
    o.mil.act = SW_ACT_RELU;
    o.mil.norm = SW_MIL_NORM_NONE;
    o.mil.alpha = 0.3;
    o.mil.ffn = true;
    o.mil.hidden = 77;
    o.mil.attn_gated = true;
    o.mil.groups = 3;
    o.mil.distill = SW_DISTILL_MAXMINS;
    o.mil.shuffle = false;
    o.mil.organ = 4;
    o.mil.dilations = 2;
    o.mil.segment_first = 10;
    o.mil.segment_last = 20;
    CHECK_OK(sw_model_options_json(&o, &text, &err));
    CHECK_OK(sw_model_options_parse(text, "checkpoint", &back, &err));
    CHECK_OK(sw_model_options_json(&back, &again, &err));
    CHECK_STR(again, text);
    CHECK(back.batch_stats && back.mil.attn_gated);
    CHECK_STR(back.encoder, "resnet50");
    CHECK_INT(back.mil.hidden, 77);
    CHECK(back.mil.groups == 3 && back.mil.distill == SW_DISTILL_MAXMINS && !back.mil.shuffle && back.mil.organ == 4);
    CHECK(back.mil.dilations == 2 && back.mil.segment_first == 10 && back.mil.segment_last == 20);
    CHECK(back.frozen && back.mil.ffn && back.mil.dropout == 0.125 && back.mil.alpha == 0.3);
    CHECK_INT(sw_model_options_parse("{\"encoder\":\"vit\",\"aggregator\":\"abmilx\"}", "last.safetensors", &back, &err),
              SW_E_UNSUPPORTED);
    CHECK_STR(err.message, "last.safetensors: made by a version of slidewise with other models (vit, abmilx)");
}

/* An aggregator without an encoder, of features of width 12. */
static bool aggregator_new(bench *b, const char *name, int classes, int inner_dim, uint64_t seed)
{
    sw_model_options o = sw_model_options_default();
    o.encoder = "none";
    o.aggregator = name;
    o.seed = seed;
    o.mil.input_dim = 12;
    o.mil.inner_dim = inner_dim;
    o.mil.classes = classes;
    o.mil.heads = 4;
    o.mil.organ = 1;
    o.mil.dilations = 2;
    if (sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &b->be, &err) == SW_OK &&
        sw_model_new(b->be, SW_F32, &o, &b->model, &err) == SW_OK)
        return true;
    return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

/* A file of all that `b` has, each of `from` at the start of a name (behind "mil.") replaced by the same of `to`; names that hold `without`
 * are left out. */
static bool put_as(const bench *b, const char *prefix, const char *const (*rename)[2], size_t n_rename, const char *without, const char *path)
{
    sw_weights_writer *out = NULL;
    sw_slab *slab = sw_model_slab(b->model);
    bool ok = sw_weights_writer_new(&out, &err) == SW_OK;
    for (int e = 0; ok && e < sw_slab_entries(slab); e++) {
        const char *own = sw_slab_name(slab, e) + strlen("mil."), *instead = "";
        if (without && strstr(own, without)) continue;
        for (size_t i = 0; i < n_rename; i++) {
            if (strncmp(own, rename[i][0], strlen(rename[i][0])) != 0) continue;
            own += strlen(rename[i][0]);
            instead = rename[i][1];
            break;
        }
        SW_AUTOFREE char *name = sw_asprintf("%s%s%s", prefix, instead, own);
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(sw_slab_shape(slab, e)), sizeof *v);
        ok = sw_tensor_download_f32(sw_slab_value(slab, e), v, &err) == SW_OK &&
             sw_weights_writer_add(out, name, SW_F32, sw_slab_shape(slab, e), v, &err) == SW_OK;
    }
    ok = ok && sw_weights_writer_save(out, path, &err) == SW_OK;
    sw_weights_writer_free(out);
    return ok || sw_test_fail(__FILE__, __LINE__, "%s", err.message);
}

TEST(an_aggregator_loads_by_its_own_names)
{
    static const char *const kinds[] = {"chief", "gigap", "dtfd", "clam_mb"};
    static const char *const prefixes[] = {"", "mil.", "model.", "module.", "state_dict.model.mil."};
    static const char *const of_authors[][2] = {{"dimReduction.", "dim_reduction."}, {"UClassifier.", "att_classifier."}};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "aggregator.safetensors");
    int taken = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            SW_CLEANUP(bench_free) bench a = {0}, b = {0};
            CHECK(aggregator_new(&a, kinds[k], 2, 16, 1) && aggregator_new(&b, kinds[k], 2, 16, 2));
            CHECK(difference(&a, &b, NULL) > 0.01);
            CHECK(put_as(&a, prefixes[i], of_authors, i % 2 ? 2 : 0, NULL, path));
            CHECK_OK(sw_model_load_aggregator(b.model, path, &taken, &err));
            CHECK_INT(taken, sw_slab_entries(sw_model_slab(b.model)));
            CHECK_NEAR(difference(&a, &b, NULL), 0, 0, 0);
        }
    }
}

TEST(classifiers_of_other_classes_stay_as_drawn)
{
    SW_CLEANUP(bench_free) bench a = {0}, b = {0}, drawn = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "two_classes.safetensors");
    int taken = 0;
    CHECK(aggregator_new(&a, "chief", 2, 16, 1) && aggregator_new(&b, "chief", 3, 16, 2) && aggregator_new(&drawn, "chief", 3, 16, 2));
    CHECK(put_as(&a, "", NULL, 0, "organ_embedding", path)); /* as CHIEF's own file, whose text is another */
    CHECK_OK(sw_model_load_aggregator(b.model, path, &taken, &err));
    sw_slab *from = sw_model_slab(a.model), *to = sw_model_slab(b.model), *was = sw_model_slab(drawn.model);
    int same = 0;
    for (int e = 0; e < sw_slab_entries(to); e++) {
        const char *name = sw_slab_name(to, e);
        bool kept = strncmp(name, "mil.classifiers.", 16) == 0 || strncmp(name, "mil.instance_classifiers.2.", 27) == 0 ||
                    strcmp(name, "mil.organ_embedding") == 0;
        int64_t n = sw_shape_count(sw_slab_shape(to, e));
        SW_AUTOFREE double *u = sw_calloc((size_t)n, sizeof *u), *v = sw_calloc((size_t)n, sizeof *v);
        CHECK_OK(sw_tensor_download_f64(sw_slab_value(to, e), u, &err));
        sw_slab *expected = kept ? was : from;
        CHECK_OK(sw_tensor_download_f64(sw_slab_value(expected, sw_slab_find(expected, name)), v, &err));
        for (int64_t i = 0; i < n; i++) CHECK_NEAR(u[i], v[i], 0, 0);
        same += !kept;
    }
    CHECK_INT(taken, same);
}

TEST(an_aggregator_of_another_shape_is_refused_and_stays)
{
    SW_CLEANUP(bench_free) bench a = {0}, wide = {0}, b = {0}, untouched = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "part.safetensors");
    int taken = 0;
    CHECK(aggregator_new(&a, "chief", 2, 16, 1) && aggregator_new(&wide, "chief", 2, 24, 1));
    CHECK(aggregator_new(&b, "chief", 2, 16, 2) && aggregator_new(&untouched, "chief", 2, 16, 2));
    CHECK(put_as(&a, "", NULL, 0, "text_to_vision", path));
    CHECK_INT(sw_model_load_aggregator(b.model, path, &taken, &err), SW_E_FORMAT);
    CHECK_STR(message(), "part.safetensors: holds no tensor text_to_vision.0.weight, which aggregator chief needs; give weights of that "
                         "architecture or set aggregator.name");
    CHECK(put_as(&wide, "", NULL, 0, NULL, path));
    CHECK_INT(sw_model_load_aggregator(b.model, path, &taken, &err), SW_E_FORMAT);
    CHECK_STR(message(), "part.safetensors: attention_net.0.weight is [24, 12], but aggregator chief needs [16, 12]; give weights of that "
                         "architecture or set aggregator.name");
    CHECK_NEAR(difference(&b, &untouched, NULL), 0, 0, 0);
}
