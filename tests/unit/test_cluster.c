/* SPDX-License-Identifier: Apache-2.0 */
/* Clusters: k-means against a plain one, what is drawn from clusters, and trainings whose bags come from them. */
#include "test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "batch/batch.h"
#include "sampler/kmeans.h"
#include "sampler/sampler.h"
#include "slidewise/image.h"
#include "slidewise/predict.h"
#include "slidewise/store.h"
#include "slidewise/train.h"
#include "weights/weights.h"

static sw_error err;

/* --- k-means */

enum { DIM = 5 };

/* Points around `blobs` corners, so far apart as `away` says. */
static void blobs_of(float *points, int64_t n, int blobs, double away, uint64_t seed)
{
    sw_rng rng = sw_rng_stream(seed, SW_RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < DIM; d++)
            points[i * DIM + d] = (float)(away * sin((double)(i % blobs * 7 + d * 3)) + 0.1 * sw_rng_normal(&rng));
}

static double square(const float *p, const double *c)
{
    double sum = 0;
    for (int d = 0; d < DIM; d++) sum += (p[d] - c[d]) * (p[d] - c[d]);
    return sum;
}

/* Lloyd as it stands in a book, with the same start. Never called where a cluster runs empty. */
static bool plain(const float *points, int64_t n, int64_t k, int iterations, int64_t most, sw_rng rng, int32_t *cluster, double *centroid)
{
    SW_AUTOFREE int64_t *order = sw_calloc((size_t)n, sizeof *order);
    int64_t trained = n > k * most ? k * most : n;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int pass = trained < n ? 0 : 1; pass < 2; pass++) { /* those that train, then the start among them */
        int64_t of = pass == 0 ? n : trained, want = pass == 0 ? trained : k;
        for (int64_t i = 0; i < want; i++) {
            int64_t j = i + (int64_t)sw_rng_below(&rng, (uint64_t)(of - i)), swap = order[j];
            order[j] = order[i];
            order[i] = swap;
        }
    }
    for (int64_t c = 0; c < k; c++)
        for (int d = 0; d < DIM; d++) centroid[c * DIM + d] = points[order[c] * DIM + d];
    for (int it = 0; it <= iterations; it++) {
        for (int64_t i = 0; i < n; i++) {
            cluster[i] = 0;
            for (int32_t c = 1; c < k; c++)
                if (square(points + i * DIM, centroid + c * DIM) < square(points + i * DIM, centroid + cluster[i] * DIM)) cluster[i] = c;
        }
        for (int64_t c = 0; c < k && it < iterations; c++) {
            double sum[DIM] = {0}, count = 0;
            for (int64_t i = 0; i < trained; i++) {
                if (cluster[order[i]] != c) continue;
                count++;
                for (int d = 0; d < DIM; d++) sum[d] += points[order[i] * DIM + d];
            }
            if (count == 0) return false;
            for (int d = 0; d < DIM; d++) centroid[c * DIM + d] = sum[d] / count;
        }
    }
    return true;
}

TEST(k_means_is_the_plain_one)
{
    static const struct { int64_t n, clusters, most; double away; } row[] = {
        {400, 8, 256, 0.3}, {400, 8, 20, 0.3}, {57, 3, 256, 2.0}, {1000, 5, 30, 1.0}, {8, 8, 256, 1.0}, {30, 1, 256, 1.0}};
    for (size_t r = 0; r < sizeof row / sizeof row[0]; r++) {
        int64_t n = row[r].n, k = 0;
        sw_kmeans_options o = {.clusters = row[r].clusters, .iterations = 25, .per_centroid = row[r].most};
        SW_AUTOFREE float *points = sw_calloc((size_t)(n * DIM), sizeof *points);
        SW_AUTOFREE int32_t *a = sw_calloc((size_t)n, sizeof *a), *b = sw_calloc((size_t)n, sizeof *b);
        double ca[8 * DIM], cb[8 * DIM];
        blobs_of(points, n, 4, row[r].away, r);
        sw_rng rng = sw_rng_stream(7, SW_RNG_CLUSTER, 1, (uint32_t)r, 0);
        CHECK_OK(sw_kmeans(points, n, DIM, &o, rng, a, ca, &k, &err));
        CHECK_INT(k, row[r].clusters);
        CHECK(plain(points, n, k, 25, row[r].most, rng, b, cb));
        CHECK(memcmp(a, b, (size_t)n * sizeof *a) == 0);
        for (int64_t i = 0; i < k * DIM; i++) CHECK_NEAR(ca[i], cb[i], 1e-12, 1e-12);
    }
}

TEST(k_means_finds_what_lies_apart)
{
    enum { N = 90 };
    float points[N * DIM];
    int32_t cluster[N];
    int64_t k;
    sw_kmeans_options o = {.clusters = 3, .iterations = 25, .per_centroid = 256};
    int whole = 0;
    blobs_of(points, N, 3, 3.0, 1);
    for (uint32_t start = 0; start < 20; start++) {
        bool apart = true;
        CHECK_OK(sw_kmeans(points, N, DIM, &o, sw_rng_stream(1, SW_RNG_CLUSTER, 0, start, 0), cluster, NULL, &k, &err));
        for (int i = 3; i < N; i++) apart = apart && cluster[i] == cluster[i % 3];
        whole += apart && cluster[0] != cluster[1] && cluster[1] != cluster[2] && cluster[0] != cluster[2];
    }
    CHECK(whole >= 8); /* a start within one blob may stay there, as in any k-means */
}

/* Two heaps of equal points: of eight centroids six have none at first, and must not stay without a number. */
TEST(clusters_without_points_are_filled)
{
    enum { N = 64 };
    float points[N * DIM];
    int32_t cluster[N];
    double centroid[8 * DIM];
    int64_t k, size[8] = {0};
    sw_kmeans_options o = sw_kmeans_options_default();
    CHECK(o.clusters == 8 && o.iterations == 25 && o.per_centroid == 256);
    for (int i = 0; i < N; i++)
        for (int d = 0; d < DIM; d++) points[i * DIM + d] = i % 2 ? 1.0f : -1.0f;
    CHECK_OK(sw_kmeans(points, N, DIM, &o, sw_rng_stream(1, SW_RNG_CLUSTER, 0, 0, 0), cluster, centroid, &k, &err));
    CHECK_INT(k, 8);
    for (int i = 0; i < N; i++) size[cluster[i]]++;
    for (int i = 2; i < N; i++) CHECK_INT(cluster[i], cluster[i % 2]); /* equal points stay together, */
    CHECK(cluster[0] != cluster[1]);                                   /* different ones do not */
    for (int i = 0; i < 8 * DIM; i++) CHECK(isfinite(centroid[i]) && fabs(centroid[i]) < 1.1);
    /* eight lone points and a heap: an empty centroid takes half of the heap */
    blobs_of(points, N, 1, 0.0, 3);
    for (int i = 0; i < 4; i++)
        for (int d = 0; d < DIM; d++) points[i * DIM + d] = 100.0f; /* equal, far away */
    memset(size, 0, sizeof size);
    int used = 0;
    for (uint32_t start = 0; start < 30; start++) {
        int here = 0;
        CHECK_OK(sw_kmeans(points, N, DIM, &o, sw_rng_stream(2, SW_RNG_CLUSTER, 0, start, 0), cluster, NULL, &k, &err));
        memset(size, 0, sizeof size);
        for (int i = 0; i < N; i++) size[cluster[i]]++;
        for (int c = 0; c < 8; c++) here += size[c] > 0;
        used += here == 8;
    }
    CHECK(used >= 28); /* also from starts with two of the equal points, about a third of all */
}

TEST(few_points_and_bad_ones)
{
    float points[3 * DIM] = {1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0};
    int32_t cluster[3];
    int64_t k;
    sw_kmeans_options o = sw_kmeans_options_default();
    sw_rng rng = sw_rng_stream(1, SW_RNG_CLUSTER, 0, 0, 0);
    CHECK_OK(sw_kmeans(points, 3, DIM, &o, rng, cluster, NULL, &k, &err));
    CHECK(k == 3 && cluster[0] != cluster[1] && cluster[1] != cluster[2] && cluster[0] != cluster[2]);
    CHECK_OK(sw_kmeans(points, 1, DIM, &o, rng, cluster, NULL, &k, &err));
    CHECK(k == 1 && cluster[0] == 0);
    points[DIM + 2] = NAN;
    CHECK_INT(sw_kmeans(points, 3, DIM, &o, rng, cluster, NULL, &k, &err), SW_E_INVALID);
    CHECK_STR(err.message, "feature nan of patch 1 is not a number to cluster by");
    CHECK_INT(sw_kmeans(points, 0, DIM, &o, rng, cluster, NULL, &k, &err), SW_E_INVALID);
    CHECK_STR(err.message, "k-means needs points, not 0 of 5 numbers, and clusters, not 8");
    float rows[2 * 2] = {3, -4, 0, 0};
    sw_unit_rows(rows, 2, 2);
    CHECK_NEAR(rows[0], 0.6, 1e-6, 0);
    CHECK_NEAR(rows[1], -0.8, 1e-6, 0);
    CHECK(rows[2] == 0 && rows[3] == 0);
}

/* --- what is drawn from clusters */

enum { CLUSTERS = 4, EACH = 3, PATCHES = 30, EPOCHS = 400 };
static const sw_sample_plan plan = {.n_scales = 1, .n = {CLUSTERS * EACH}, .total = CLUSTERS * EACH, .sampler = SW_SAMPLER_CLUSTERS, .per_cluster = EACH};

/* Cluster 0 has 20 patches, 1 has 6, 2 has 2, 3 has 1, and one patch has none. */
static void fill(int32_t *cluster)
{
    for (int i = 0; i < PATCHES; i++) cluster[(i * 7) % PATCHES] = i < 20 ? 0 : i < 26 ? 1 : i < 28 ? 2 : i == 28 ? 3 : -1;
}

TEST(each_cluster_gives_as_many_as_it_has_or_as_are_asked)
{
    int32_t cluster[PATCHES], of[CLUSTERS * EACH];
    sw_pick pick[CLUSTERS * EACH];
    int64_t n;
    double times[PATCHES] = {0};
    fill(cluster);
    for (uint32_t e = 0; e < EPOCHS; e++) {
        bool seen[PATCHES] = {false};
        int count[CLUSTERS] = {0};
        CHECK_OK(sw_sample_clustered(&plan, cluster, PATCHES, false, 5, e, 2, pick, of, &n, &err));
        CHECK_INT(n, 3 + 3 + 2 + 1);
        for (int64_t i = 0; i < n; i++) {
            CHECK(pick[i].scale == 0 && !seen[pick[i].patch]);
            seen[pick[i].patch] = true;
            CHECK_INT(of[i], cluster[pick[i].patch]);
            count[of[i]]++;
            times[pick[i].patch]++;
        }
        CHECK(count[0] == 3 && count[1] == 3 && count[2] == 2 && count[3] == 1);
    }
    for (int i = 0; i < PATCHES; i++) { /* alike within a cluster: 5 standard deviations */
        double p = cluster[i] == 0 ? 3 / 20.0 : cluster[i] == 1 ? 0.5 : cluster[i] < 0 ? 0 : 1;
        CHECK_NEAR(times[i], EPOCHS * p, 0, 5 * sqrt(EPOCHS * p * (1 - p)));
    }
}

TEST(padding_draws_again_of_no_cluster)
{
    int32_t cluster[PATCHES], of[CLUSTERS * EACH];
    sw_pick pick[CLUSTERS * EACH];
    int64_t n;
    fill(cluster);
    CHECK_OK(sw_sample_clustered(&plan, cluster, PATCHES, true, 5, 1, 2, pick, of, &n, &err));
    CHECK_INT(n, CLUSTERS * EACH);
    for (int64_t i = 9; i < n; i++) {
        bool again = false;
        for (int k = 0; k < 9; k++) again = again || pick[i].patch == pick[k].patch;
        CHECK(again && of[i] == -1);
    }
    for (int i = 0; i < PATCHES; i++) cluster[i] = -1;
    CHECK_INT(sw_sample_clustered(&plan, cluster, PATCHES, true, 5, 1, 2, pick, of, &n, &err), SW_E_INVALID);
    CHECK_STR(err.message, "no patch is in a cluster");
}

TEST(draws_depend_on_seed_epoch_and_bag_alone)
{
    int32_t cluster[PATCHES], of[2][CLUSTERS * EACH];
    sw_pick pick[2][CLUSTERS * EACH];
    int64_t n[2];
    static const uint32_t other[4][3] = {{5, 1, 2}, {6, 1, 2}, {5, 2, 2}, {5, 1, 3}};
    fill(cluster);
    CHECK_OK(sw_sample_clustered(&plan, cluster, PATCHES, false, 5, 1, 2, pick[0], of[0], &n[0], &err));
    for (int i = 0; i < 4; i++) {
        CHECK_OK(sw_sample_clustered(&plan, cluster, PATCHES, false, other[i][0], other[i][1], other[i][2], pick[1], of[1], &n[1], &err));
        CHECK((memcmp(pick[0], pick[1], (size_t)n[0] * sizeof(sw_pick)) == 0) == (i == 0));
    }
}

TEST(the_best_patches_are_one_cluster)
{
    static const float score[7] = {0.5f, -3, 2, 0.5f, 0.5f, 9, 0};
    int32_t cluster[7];
    CHECK_OK(sw_sample_best(score, 7, 4, cluster, &err));
    static const int32_t expected[7] = {0, -1, 0, 0, -1, 0, -1}; /* of equals the first */
    CHECK(memcmp(cluster, expected, sizeof expected) == 0);
    CHECK_OK(sw_sample_best(score, 7, 100, cluster, &err));
    for (int i = 0; i < 7; i++) CHECK_INT(cluster[i], 0);
    CHECK_INT(sw_sample_best((const float[]){1, INFINITY}, 2, 1, cluster, &err), SW_E_INVALID);
    CHECK_STR(err.message, "score inf of patch 1 is not a number");
}

/* --- training: patches of four looks; slides of class b have some of the fourth */

enum { PX = 32, SLIDES = 20, MOST = 24, TRAIN = 12 };

static int64_t patches_of(int slide)
{
    return slide == 3 ? 5 : MOST - slide % 3;
}

static int look_of(int slide, int64_t patch)
{
    return slide % 2 == 1 && patch % 4 == 1 ? 3 : (int)((patch * 5 + slide) % 3);
}

static void paint(uint8_t *rgb, int slide, int64_t patch)
{
    static const uint8_t tint[4][3] = {{200, 120, 160}, {230, 200, 220}, {150, 90, 140}, {90, 60, 150}};
    int look = look_of(slide, patch);
    sw_rng rng = sw_rng_stream(9, SW_RNG_TEST, (uint32_t)slide, (uint32_t)patch, 0);
    for (int y = 0; y < PX; y++)
        for (int x = 0; x < PX; x++) {
            double dot = look == 3 && (x / 4 + y / 4) % 2 == 0 ? -60 : look == 1 && x % 8 < 2 ? -40 : 0;
            for (int c = 0; c < 3; c++) {
                double v = tint[look][c] + dot + 12 * sw_rng_normal(&rng);
                rgb[(y * PX + x) * 3 + c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
            }
        }
}

static sw_status put_slide(sw_store_writer *w, int slide)
{
    static uint8_t rgb[3 * PX * PX];
    int64_t xy[2 * MOST] = {0}, n = patches_of(slide);
    char id[20];
    snprintf(id, sizeof id, "s%d", slide);
    sw_store_slide about = {.slide_id = id, .path = "x.svs", .width = 1000, .height = 1000, .mpp_um = 1, .mpp_source = "given",
                            .tissue_fraction = 1, .properties_json = "{}", .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = PX, .quality = 95, .patch_level0_px = PX,
                                      .step_level0_px = PX, .n_patches = n};
    SW_TRY(sw_store_begin(w, id, &err));
    for (int64_t i = 0; i < n; i++) {
        uint8_t *jpeg = NULL;
        size_t size = 0;
        paint(rgb, slide, i);
        xy[2 * i] = i * PX;
        SW_TRY(sw_jpeg_encode(rgb, PX, PX, 95, &jpeg, &size, &err));
        sw_status status = sw_store_put(w, 0, i, jpeg, size, &err);
        sw_image_bytes_free(jpeg);
        SW_TRY(status);
    }
    return sw_store_commit(w, &about, &(const int64_t *){xy}, &err);
}

static const char *store(void)
{
    static char path[300];
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "32"}, {"overlap_px", "0"}, {"quality", "95"},
                                                     {"whole_image", "yes"}};
    sw_store_writer *w = NULL;
    if (path[0]) return path;
    snprintf(path, sizeof path, "%s/store", sw_test_dir());
    sw_status status = sw_store_writer_open(path, settings, 5, &w, &err);
    for (int i = 0; i < SLIDES && status == SW_OK; i++) status = put_slide(w, i);
    sw_store_writer_close(&w);
    if (status != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return path;
}

static const char *run_dir(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", sw_test_dir(), name);
    return path;
}

typedef struct setup {
    const char *sets; /* overrides with "|" between them */
    bool resume;
    int64_t stop_after;
    const sw_sink *sink;
} setup;

static sw_status train(const char *name, setup s, sw_train_result *result)
{
    const char *sets[60] = {"encoder.normalise=none", "encoder.eval_stats=batch", "aggregator.name=c2c",
                            "aggregator.inner_dim=16", "bag.sampler=clusters", "bag.clusters=4", "bag.per_cluster=5", "bag.scales=[{mpp: 1}]",
                            "bag.pad=false", "augment.preset=none", "augment.crop_px=32", "train.batch_bags=1", "train.epochs=2",
                            "train.optimizer=adam", "train.lr=0.001", "train.weight_decay=0", "train.schedule=const",
                            "train.early_stop.patience=0", "train.chunk_patches=128", "eval.chunk_patches=128", "eval.bootstrap=0",
                            "train.metric=accuracy", "train.ties=later", "run.threads=1", "data.split.val=0"};
    char text[3][400], buffer[600], *save = NULL;
    SW_CLEANUP(sw_buf_free) sw_buf table = {0};
    sw_train_options o = sw_train_options_default();
    sw_train_result ignored;
    sw_buf_puts(&table, "slide,label,split\n");
    for (int i = 0; i < SLIDES; i++) sw_buf_printf(&table, "s%d,%c,%s\n", i, 'a' + i % 2, i < TRAIN ? "train" : i < 16 ? "val" : "test");
    snprintf(text[0], sizeof text[0], "data.store=%s", store());
    snprintf(text[1], sizeof text[1], "data.labels=%s.csv", run_dir(name));
    snprintf(text[2], sizeof text[2], "run.out=%s", run_dir(name));
    SW_TRY(sw_file_write(text[1] + strlen("data.labels="), table.data, table.size, &err));
    while (sets[o.n_sets]) o.n_sets++;
    for (int i = 0; i < 3; i++) sets[o.n_sets++] = text[i];
    snprintf(buffer, sizeof buffer, "%s", s.sets ? s.sets : "");
    for (char *t = strtok_r(buffer, "|", &save); t; t = strtok_r(NULL, "|", &save)) sets[o.n_sets++] = t;
    o.sets = sets;
    o.resume = s.resume;
    o.stop_after_steps = s.stop_after;
    o.sink = s.sink;
    return sw_train(&o, result ? result : &ignored, &err);
}

static bool same_files(const char *a, const char *b, const char *file)
{
    SW_CLEANUP(sw_buf_free) sw_buf x = {0}, y = {0};
    char path[2][400];
    snprintf(path[0], sizeof path[0], "%s/%s", run_dir(a), file);
    snprintf(path[1], sizeof path[1], "%s/%s", run_dir(b), file);
    if (sw_file_read(path[0], &x, &err) != SW_OK || sw_file_read(path[1], &y, &err) != SW_OK) return false;
    return x.size > 0 && x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
}

static const char *checkpoint(const char *name)
{
    static char path[400];
    snprintf(path, sizeof path, "%s/checkpoints/last.safetensors", run_dir(name));
    return path;
}

static bool holds_clusters(const char *name)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    if (sw_weights_open(checkpoint(name), &w, &err) != SW_OK) return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return sw_weights_find(w, "train.clusters") >= 0;
}

/* Checkpoints are large for a test's folder. */
static void drop(const char *name)
{
    static const char *const files[] = {"last", "previous", "best"};
    for (int i = 0; i < 3; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/checkpoints/%s.safetensors", run_dir(name), files[i]);
        if (sw_file_remove(path, &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
}

static double accuracy(const char *name, const char *split)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *j = NULL;
    char path[400];
    snprintf(path, sizeof path, "%s/metrics_%s.json", run_dir(name), split);
    if (sw_json_read(path, &j, &err) != SW_OK) return NAN;
    const sw_json *m = sw_json_get(sw_json_get(j, "metrics"), "accuracy");
    return sw_json_real(sw_json_get(m, "value"), NAN);
}

TEST(a_training_on_clusters_learns)
{
    sw_train_result r;
    CHECK_OK(train("learns", (setup){.sets = "encoder.name=resnet18_full|train.epochs=6"}, &r));
    printf("# best epoch %d: accuracy %.3g in val, %.3g in test\n", r.best_epoch, r.best_metric, accuracy("learns", "test"));
    CHECK(r.steps == 6 * TRAIN && r.best_metric == 1.0);
    CHECK(accuracy("learns", "test") == 1.0);
    CHECK_INT(r.best_epoch, 6); /* of equally good epochs the last */
    CHECK(!holds_clusters("learns"));
    drop("learns");
}

/* The run that others are compared with, once for all tests. */
static sw_status whole(void)
{
    static bool done;
    if (done) return SW_OK;
    done = true;
    return train("whole", (setup){0}, NULL);
}

TEST(a_run_stopped_within_an_epoch_comes_to_the_same_bytes)
{
    static const int64_t stop[] = {TRAIN, TRAIN + 7};
    CHECK_OK(whole());
    for (int i = 0; i < 2; i++) {
        sw_train_result r;
        CHECK_OK(train("parts", (setup){.stop_after = stop[i]}, &r));
        CHECK(r.cancelled && r.steps == stop[i]);
        CHECK(holds_clusters("parts") == (stop[i] % TRAIN != 0));
        CHECK_OK(train("parts", (setup){.resume = true}, &r));
        CHECK(r.steps == 2 * TRAIN);
        CHECK(same_files("whole", "parts", "checkpoints/best.safetensors"));
        CHECK(same_files("whole", "parts", "predictions_test.csv"));
        CHECK(!holds_clusters("parts"));
        drop("parts");
    }
    CHECK_OK(train("other", (setup){.sets = "bag.sampler=random|bag.patches=20"}, NULL));
    CHECK(!same_files("whole", "other", "checkpoints/best.safetensors"));
    drop("other");
}

/* Batch statistics are those of a chunk: another one would predict something else. */
TEST(a_prediction_keeps_to_the_runs_chunk)
{
    sw_predictor_options o = sw_predictor_options_default();
    sw_predictor *p = NULL;
    char expected[600];
    CHECK_OK(whole());
    o.threads = 1;
    CHECK_OK(sw_predictor_open(run_dir("whole"), &o, &p, &err));
    sw_predictor_close(&p);
    o.chunk_patches = 128;
    CHECK_OK(sw_predictor_open(run_dir("whole"), &o, &p, &err));
    sw_predictor_close(&p);
    o.chunk_patches = 64;
    CHECK_INT(sw_predictor_open(run_dir("whole"), &o, &p, &err), SW_E_INVALID);
    snprintf(expected, sizeof expected, "%s/checkpoints/best.safetensors: its batch norm goes by the patches that are encoded at once, 128 in "
                                        "the run; leave --chunk out", run_dir("whole"));
    CHECK_STR(err.message, expected);
}

TEST(threads_do_not_decide)
{
    CHECK_OK(train("one", (setup){.sets = "run.deterministic=true|run.threads=1|train.epochs=1"}, NULL));
    CHECK_OK(train("three", (setup){.sets = "run.deterministic=true|run.threads=3|run.workers=2|train.epochs=1"}, NULL));
    CHECK(same_files("one", "three", "predictions_test.csv"));
    drop("one");
    drop("three");
}

static bool clustering;

static void watch(void *ctx, const sw_progress *p)
{
    (void)ctx;
    if (p->job && strncmp(p->job, "cluster epoch 2", 15) == 0) clustering = true;
}

static bool stop_in_clustering(void *ctx)
{
    (void)ctx;
    return clustering;
}

TEST(clustering_can_be_interrupted)
{
    sw_sink sink = {.progress = watch, .cancelled = stop_in_clustering};
    sw_train_result r;
    CHECK_OK(whole());
    clustering = false;
    CHECK_OK(train("stopped", (setup){.sink = &sink}, &r));
    CHECK(clustering && r.cancelled && r.steps == TRAIN && r.epochs == 1);
    CHECK(!holds_clusters("stopped"));
    CHECK_OK(train("stopped", (setup){.resume = true}, &r));
    CHECK(same_files("whole", "stopped", "checkpoints/best.safetensors"));
    drop("stopped");
}

TEST(the_best_patches_are_trained_on)
{
    sw_train_result r;
    CHECK_OK(train("best", (setup){.sets = "bag.sampler=top_patches|bag.patches=6|aggregator.cluster_loss=0"}, &r));
    CHECK(r.steps == 2 * TRAIN);
    CHECK_OK(train("best2", (setup){.sets = "bag.sampler=top_patches|bag.patches=6|aggregator.cluster_loss=0", .stop_after = 15}, &r));
    CHECK_OK(train("best2", (setup){.sets = "bag.sampler=top_patches|bag.patches=6|aggregator.cluster_loss=0", .resume = true}, &r));
    CHECK(same_files("best", "best2", "checkpoints/best.safetensors"));
    drop("best");
    drop("best2");
}

TEST(several_bags_in_a_step_are_filled_up)
{
    sw_train_result r;
    CHECK_OK(train("padded", (setup){.sets = "train.batch_bags=4|bag.pad=true|train.epochs=1"}, &r));
    CHECK_INT(r.steps, TRAIN / 4);
    CHECK_INT(train("short", (setup){.sets = "train.batch_bags=4|train.epochs=1"}, &r), SW_E_INVALID);
    CHECK(strstr(err.message, " of the 20 patches that a bag asks for; set bag.pad to true, or train.batch_bags to 1") != NULL);
    drop("padded");
}

TEST(what_does_not_fit_is_told)
{
    CHECK_INT(train("abmil", (setup){.sets = "aggregator.name=abmil|bag.sampler=top_patches"}, NULL), SW_E_INVALID);
    CHECK_STR(err.message, "slide s0: aggregator.name: abmil has no classifier of patches to rank them by; set bag.sampler to another "
                           "than top_patches");
    CHECK_INT(train("scales", (setup){.sets = "bag.scales=[]"}, NULL), SW_E_INVALID);
    CHECK_STR(err.message, "configuration: bag.sampler: clusters draws from one scale; name it in bag.scales (such as [{mpp: 1}])");
    /* a checkpoint within an epoch that lost its clusters */
    CHECK_OK(train("lost", (setup){.stop_after = 5}, NULL));
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    sw_weights_writer *out = NULL;
    char expected[500];
    CHECK_OK(sw_weights_open(checkpoint("lost"), &w, &err));
    CHECK_OK(sw_weights_writer_new(&out, &err));
    CHECK_OK(sw_weights_writer_metadata(out, "slidewise.state", sw_weights_metadata(w, "slidewise.state"), &err));
    for (size_t i = 0; i < sw_weights_count(w); i++) {
        const sw_weight *t = sw_weights_get(w, i);
        if (t->dtype != SW_F32) continue;
        SW_AUTOFREE float *v = sw_calloc((size_t)sw_shape_count(&t->shape) + 1, sizeof *v);
        CHECK_OK(sw_weights_read_f32(w, i, v, &err));
        CHECK_OK(sw_weights_writer_add(out, t->name, SW_F32, &t->shape, v, &err));
    }
    CHECK_OK(sw_weights_writer_save(out, checkpoint("lost"), &err));
    sw_weights_writer_free(out);
    CHECK_INT(train("lost", (setup){.resume = true}, NULL), SW_E_FORMAT);
    snprintf(expected, sizeof expected, "%s: holds no fitting train.clusters; delete the file to start again", checkpoint("lost"));
    CHECK_STR(err.message, expected);
    drop("lost");
}
