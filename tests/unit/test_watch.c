/* SPDX-License-Identifier: Apache-2.0 */
/* The collapse watch: its measures against values worked out by hand, its sums, and when it warns. */
#include "test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "train/watch.h"

static sw_error err;

TEST(rank_of_features_worked_out_by_hand)
{
    sw_feature_stats s;
    /* (3, 4) and (3, -4): on a line, norm 5, spread 4 / 5 */
    CHECK_OK(sw_feature_measure((const float[]){3, 4, 3, -4}, 2, 2, &s, &err));
    CHECK_NEAR(s.norm, 5, 1e-12, 0);
    CHECK_NEAR(s.spread, 0.8, 1e-7, 0);
    CHECK_NEAR(s.rank, 1, 1e-9, 0);
    /* a cross of arms 1 and 1: two equal eigenvalues; of arms 2 and 1: shares 0.8 and 0.2 */
    CHECK_OK(sw_feature_measure((const float[]){1, 0, -1, 0, 0, 1, 0, -1}, 4, 2, &s, &err));
    CHECK_NEAR(s.rank, 2, 1e-9, 0);
    CHECK_NEAR(s.spread, 1, 1e-9, 0);
    CHECK_OK(sw_feature_measure((const float[]){2, 0, -2, 0, 0, 1, 0, -1}, 4, 2, &s, &err));
    CHECK_NEAR(s.rank, exp(-0.8 * log(0.8) - 0.2 * log(0.2)), 1e-9, 0);
    /* a regular simplex of 5 corners in 5 dimensions has 4 equal eigenvalues */
    float corner[25] = {0};
    for (int i = 0; i < 5; i++) corner[6 * i] = 3;
    CHECK_OK(sw_feature_measure(corner, 5, 5, &s, &err));
    CHECK_NEAR(s.rank, 4, 1e-9, 0);
    CHECK_NEAR(s.norm, 3, 1e-9, 0);
    CHECK_OK(sw_feature_measure((const float[]){7, 1, 7, 1, 7, 1}, 3, 2, &s, &err)); /* all alike */
    CHECK(s.rank == 0 && s.spread == 0 && s.norm > 7);
    CHECK_OK(sw_feature_measure((const float[]){0, 0, 0, 0}, 2, 2, &s, &err));
    CHECK(s.rank == 0 && s.spread == 0 && s.norm == 0);
    CHECK_OK(sw_feature_measure((const float[]){1, NAN, 0, 0}, 2, 2, &s, &err));
    CHECK(isnan(s.rank) && isnan(s.spread) && isnan(s.norm));
}

/* More patches than rows are looked at: spread evenly, so that halves of a bag that differ are both seen. */
TEST(a_large_bag_is_looked_at_here_and_there)
{
    enum { N = 5000, DIM = 40 };
    static float x[N * DIM];
    sw_feature_stats s;
    for (int i = 0; i < N; i++) x[i * DIM] = i < N / 2 ? 1.0f : -1.0f;
    CHECK_OK(sw_feature_measure(x, N, DIM, &s, &err));
    CHECK_NEAR(s.rank, 1, 1e-9, 0);
    CHECK_NEAR(s.spread, 1, 1e-9, 0);
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, 0, 0);
    for (int i = 0; i < N * DIM; i++) x[i] = (float)sw_rng_normal(&rng);
    CHECK_OK(sw_feature_measure(x, N, DIM, &s, &err));
    CHECK(s.rank > 20 && s.rank < DIM); /* noise in 40 directions, seen through 48 patches */
}

/* A model whose slab is all we need; its gradients are set by hand. */
typedef struct fixture {
    sw_backend *be;
    sw_model *model;
} fixture;

static void fixture_free(fixture *f)
{
    sw_model_free(f->model);
    sw_backend_free(f->be);
}

static sw_status fixture_new(fixture *f)
{
    sw_model_options o = sw_model_options_default();
    o.mil.inner_dim = 8;
    o.mil.heads = 2;
    o.blank = true;
    SW_TRY(sw_backend_new("cpu", &(sw_backend_options){.threads = 1}, &f->be, &err));
    SW_TRY(sw_model_new(f->be, SW_F32, &o, &f->model, &err));
    return sw_model_zero_grad(f->model, &err);
}

static sw_status set_first(fixture *f, const char *name, float value)
{
    sw_tensor one = {0};
    sw_slab *slab = sw_model_slab(f->model);
    SW_TRY(sw_tensor_view(sw_slab_grads(slab), sw_slab_first(slab, sw_slab_find(slab, name)), SW_SHAPE(1), &one, &err));
    sw_status status = sw_tensor_upload(&one, &value, &err);
    sw_tensor_release(&one);
    return status;
}

TEST(gradients_by_part)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    sw_watch w = {0};
    CHECK_OK(fixture_new(&f));
    CHECK_OK(set_first(&f, "encoder.model.conv1.weight", 3));
    CHECK_OK(set_first(&f, "encoder.model.layer3.1.bn2.bias", 4));
    CHECK_OK(set_first(&f, "mil.attention.fc1.weight", -12));
    CHECK_OK(set_first(&f, "mil.classifier.weight", 8));
    CHECK_OK(sw_watch_gradients(&w, f.model, 0.5, &err));
    sw_watch m = sw_watch_means(&w);
    CHECK_NEAR(m.grad[SW_PART_ENCODER], 2.5, 1e-9, 0);
    CHECK_NEAR(m.grad[SW_PART_AGGREGATOR], 6, 1e-9, 0);
    CHECK_NEAR(m.grad[SW_PART_HEAD], 4, 1e-9, 0);
    CHECK_NEAR(m.grad_all, sqrt(233) / 2, 1e-9, 0);
    CHECK_OK(set_first(&f, "mil.classifier.weight", 0));
    CHECK_OK(sw_watch_gradients(&w, f.model, 0.5, &err));
    CHECK_NEAR(sw_watch_means(&w).grad[SW_PART_HEAD], 2, 1e-9, 0);
    CHECK_OK(set_first(&f, "mil.classifier.weight", INFINITY)); /* not counted: the optimiser tells */
    CHECK_OK(sw_watch_gradients(&w, f.model, 0.5, &err));
    CHECK(w.updates == 2);
}

TEST(attention_and_features_of_steps)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    sw_watch w = {0};
    sw_tensor attention = {0}, features = {0};
    sw_batch b = {.n_bags = 2, .bag_patches = 4};
    /* bag 1: all on one patch; bag 2: alike */
    const float a[8] = {0, 1, 0, 0, 0.25f, 0.25f, 0.25f, 0.25f}, x[16] = {1, 0, -1, 0, 0, 1, 0, -1, 9, 9, 9, 9, 9, 9, 9, 9};
    CHECK_OK(fixture_new(&f));
    CHECK_OK(sw_tensor_from(&f.be->device, SW_F32, SW_SHAPE(2, 1, 4), a, &attention, &err));
    CHECK_OK(sw_tensor_from(&f.be->device, SW_F32, SW_SHAPE(8, 2), x, &features, &err));
    CHECK_OK(sw_watch_step(&w, &attention, &features, &b, &err));
    sw_watch m = sw_watch_means(&w);
    CHECK(w.bags == 2 && w.looks == 1 && w.fewest == 4 && w.bad == 0);
    CHECK_NEAR(m.entropy_gap, 0.5, 1e-9, 0);
    CHECK_NEAR(m.gini, 0.375, 1e-9, 0);
    CHECK_NEAR(m.below_mean, 0.375, 1e-9, 0);
    CHECK_NEAR(m.sparsity, 37.5, 1e-9, 0);
    CHECK_NEAR(m.feature_rank, 2, 1e-9, 0); /* of the first bag */
    const float bad[8] = {NAN, 1, 0, 0, 0.25f, 0.25f, 0.25f, 0.25f};
    CHECK_OK(sw_tensor_upload(&attention, bad, &err));
    b.bag_patches = 4;
    CHECK_OK(sw_watch_step(&w, &attention, &features, &b, &err));
    CHECK(w.bags == 3 && w.bad == 1);
    CHECK_OK(sw_watch_step(&w, NULL, &features, &b, &err));
    CHECK(w.bags == 3 && w.looks == 3);
    sw_tensor_release(&attention);
    sw_tensor_release(&features);
    /* Two heads, each on a patch of its own: on average two patches have some, and yet every head has collapsed. */
    const float two[8] = {1, 0, 0, 0, 0, 0, 1, 0};
    b = (sw_batch){.n_bags = 1, .bag_patches = 4};
    w = (sw_watch){0};
    CHECK_OK(sw_tensor_from(&f.be->device, SW_F32, SW_SHAPE(1, 2, 4), two, &attention, &err));
    CHECK_OK(sw_tensor_from(&f.be->device, SW_F32, SW_SHAPE(4, 2), x, &features, &err));
    CHECK_OK(sw_watch_step(&w, &attention, &features, &b, &err));
    m = sw_watch_means(&w);
    CHECK_NEAR(m.entropy_gap, 0.5, 1e-9, 0);
    CHECK_NEAR(m.head_gap, 1, 1e-9, 0);
    sw_tensor_release(&attention);
    sw_tensor_release(&features);
    m = sw_watch_means(&(sw_watch){0});
    CHECK(isnan(m.gini) && isnan(m.feature_rank) && isnan(m.grad_all));
}

/* A run as it should be. */
static sw_watch sound(void)
{
    return (sw_watch){.head_gap = 0.2, .feature_norm = 10, .feature_spread = 0.3, .feature_rank = 8, .grad = {1, 1, 1},
                      .grad_all = 2, .fewest = 64};
}

static int alarms(const sw_watch *w, const sw_watch_case *of, sw_watch_alarm *last, char *text)
{
    int n = 0;
    for (int a = 0; a < SW_ALARMS; a++) {
        if (!sw_watch_judge(w, of, (sw_watch_alarm)a, text, 300)) continue;
        *last = (sw_watch_alarm)a;
        n++;
    }
    return n;
}

TEST(alarms_and_their_sentences)
{
    const sw_watch_case of = {.epoch = 3, .loss = 0.6, .guessing = log(2.0)};
    sw_watch_alarm alarm = SW_ALARMS;
    char text[300];
    sw_watch w = sound();
    CHECK_INT(alarms(&w, &of, &alarm, text), 0);
    w.head_gap = 0.97;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_ONE_PATCH);
    CHECK_STR(text, "epoch 3: the attention lies on about one patch of each bag (1 - entropy / ln N of a head is 0.970): the others teach the "
                    "encoder nothing; lower train.lr or warm up longer");
    w.fewest = 3; /* of three patches that is not much to say */
    CHECK_INT(alarms(&w, &of, &alarm, text), 0);
    w = sound();
    w.head_gap = 1e-7;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_UNIFORM);
    CHECK_STR(text, "epoch 3: the attention is the same on all patches (1 - entropy / ln N of a head is 1.0e-07): it chooses nothing; see "
                    "whether features differ, and lower train.lr");
    CHECK_INT(alarms(&w, &(sw_watch_case){.epoch = 1, .loss = 0.6, .guessing = log(2.0)}, &alarm, text), 0); /* how it starts */
    w = sound();
    w.feature_rank = 1.01;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_RANK);
    CHECK_STR(text, "epoch 3: the features of a bag vary along one line (effective rank 1.01): the encoder has collapsed; lower "
                    "train.lr, and begin from pretrained weights");
    w.feature_spread = 1e-6;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_RANK);
    CHECK_STR(text, "epoch 3: all patches of a bag have the same features (they spread by 1.0e-06 of their norm): the encoder has "
                    "collapsed; lower train.lr, and begin from pretrained weights");
    w = sound();
    w.grad[SW_PART_ENCODER] = 1e-9;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_VANISHED);
    CHECK_STR(text, "epoch 3: the gradient of the encoder has vanished (norm 1.0e-09): it learns nothing any more; lower train.lr");
    sw_watch_case frozen = of;
    frozen.encoder_frozen = true;
    CHECK_INT(alarms(&w, &frozen, &alarm, text), 0);
    w = sound();
    w.grad_all = 2e5;
    CHECK(alarms(&w, &of, &alarm, text) == 1 && alarm == SW_ALARM_EXPLODED);
    CHECK_STR(text, "epoch 3: the gradient has exploded (norm 2.0e+05); lower train.lr or set train.clip");
    w = sound();
    CHECK(alarms(&w, &(sw_watch_case){.epoch = 3, .loss = 70, .guessing = log(2.0)}, &alarm, text) == 1 && alarm == SW_ALARM_LOSS);
    CHECK_STR(text, "epoch 3: the training loss is 70, far above that of guessing; lower train.lr or set train.clip");
    CHECK_INT(alarms(&w, &(sw_watch_case){.epoch = 3, .loss = 70, .guessing = NAN}, &alarm, text), 0);
    w = sw_watch_means(&(sw_watch){0}); /* nothing measured, nothing said */
    CHECK_INT(alarms(&w, &of, &alarm, text), 0);
    CHECK_STR(sw_watch_alarm_name(SW_ALARM_NOT_FINITE), "not_finite");
}
