/* SPDX-License-Identifier: Apache-2.0 */
/* Survival is learned: from drawn patches, of which the dark ones decide when a case has its event, both losses come to risks that
 * rank cases they never saw. (With its sign turned round nll ranks them by chance, and Cox's the wrong way.) */
#include "test.h"

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "slidewise/image.h"
#include "slidewise/store.h"
#include "slidewise/survival.h"
#include "slidewise/train.h"

enum { TRAIN = 48, TEST_CASES = 48, PATCHES = 6, PX = 32 };

static sw_error err;

static const char *in(const char *name)
{
    static char path[4][400];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", sw_test_dir(), name);
    return path[turn];
}

/* Pink with pale grain, or violet with dark grain; no two patches alike. */
static sw_status put_patch(sw_store_writer *w, int64_t index, bool dark, sw_rng *rng)
{
    static const double light[2][3] = {{226, 170, 205}, {150, 95, 170}};
    static uint8_t rgb[3 * PX * PX];
    uint8_t *jpeg = NULL;
    size_t size = 0;
    double stain = sw_rng_range(rng, 0.85, 1.1);
    for (int i = 0; i < PX * PX; i++) {
        double grain = sw_rng_range(rng, -30, 30);
        for (int c = 0; c < 3; c++) rgb[3 * i + c] = (uint8_t)fmin(255, fmax(0, light[dark][c] * stain + grain));
    }
    SW_TRY(sw_jpeg_encode(rgb, PX, PX, 95, &jpeg, &size, &err));
    sw_status status = sw_store_put(w, 0, index, jpeg, size, &err);
    sw_image_bytes_free(jpeg);
    return status;
}

/* Case i: `n_dark` of its patches are dark, in any place. */
static sw_status put_case(sw_store_writer *w, int i, int n_dark, sw_rng *rng)
{
    int64_t xy[2 * PATCHES] = {0};
    char id[20];
    int left = n_dark;
    snprintf(id, sizeof id, "s%d", i);
    sw_store_slide about = {.slide_id = id, .path = "x.svs", .width = 100, .height = 100, .mpp_um = 1,
                            .mpp_source = "given", .tissue_fraction = 1, .properties_json = "{}", .n_scales = 1};
    about.scale[0] = (sw_store_scale){.mpp_um = 1, .magnification = 10, .patch_px = PX, .quality = 95,
                                      .patch_level0_px = PX, .step_level0_px = PX, .n_patches = PATCHES};
    SW_TRY(sw_store_begin(w, id, &err));
    for (int64_t k = 0; k < PATCHES; k++) {
        bool dark = (int)sw_rng_below(rng, (uint32_t)(PATCHES - k)) < left;
        left -= dark;
        SW_TRY(put_patch(w, k, dark, rng));
    }
    return sw_store_commit(w, &about, &(const int64_t *){xy}, &err);
}

/* 60 months, halved by each dark patch, times a little chance; every fourth case was last seen before. */
static sw_status make_data(void)
{
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "32"}, {"overlap_px", "0"},
                                                     {"quality", "95"}, {"whole_image", "yes"}};
    SW_CLEANUP(sw_buf_free) sw_buf table = {0};
    sw_store_writer *w = NULL;
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, 0, 0, 0);
    SW_TRY(sw_store_writer_open(in("store"), settings, 5, &w, &err));
    sw_buf_puts(&table, "case_id,slide_id,time,event,split\n");
    sw_status status = SW_OK;
    for (int i = 0; i < TRAIN + TEST_CASES && status == SW_OK; i++) {
        int n_dark = (int)sw_rng_below(&rng, PATCHES);
        double months = 60 * exp(-0.7 * n_dark) * exp(sw_rng_range(&rng, -0.3, 0.3));
        bool censored = i % 4 == 3;
        if (censored) months *= sw_rng_range(&rng, 0.3, 1);
        sw_buf_printf(&table, "k%d,s%d,%.3f,%d,%s\n", i, i, months, !censored, i < TRAIN ? "train" : "test");
        status = put_case(w, i, n_dark, &rng);
    }
    sw_store_writer_close(&w);
    SW_TRY(status);
    SW_TRY(sw_buf_status(&table, &err));
    return sw_file_write(in("labels.csv"), table.data, table.size, &err);
}

/* Trains to the last epoch (there is no validation set to choose on) and measures the cases of the test split. */
static sw_status learn(const char *name, const char *loss, sw_survival_evaluation *out)
{
    char text[4][440];
    const char *sets[] = {"task.type=survival", "task.survival.bins=3", "aggregator.inner_dim=16", "aggregator.heads=2", "augment.crop_px=32",
                          "augment.crop=false", "bag.patches=6", "train.batch_bags=8", "train.epochs=8", "train.lr=0.001",
                          "train.early_stop.patience=0", "data.split.val=0", "eval.bootstrap=200", "run.threads=1", "run.deterministic=true",
                          text[0], text[1], text[2], text[3]};
    sw_train_options o = sw_train_options_default();
    sw_train_result r;
    snprintf(text[0], sizeof text[0], "data.store=%s", in("store"));
    snprintf(text[1], sizeof text[1], "data.labels=%s", in("labels.csv"));
    snprintf(text[2], sizeof text[2], "run.out=%s", in(name));
    snprintf(text[3], sizeof text[3], "task.survival.loss=%s", loss);
    o.sets = sets;
    o.n_sets = sizeof sets / sizeof *sets;
    SW_TRY(sw_train(&o, &r, &err));
    sw_survival_options so = sw_survival_options_default();
    return sw_survival_eval_run(in(name), "test", &so, out, &err);
}

TEST(both_losses_rank_cases_they_never_saw)
{
    static const char *const losses[] = {"nll", "cox"};
    CHECK_OK(make_data());
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(sw_survival_evaluation_free) sw_survival_evaluation e = {0};
        CHECK_OK(learn(losses[k], losses[k], &e));
        const sw_metric_value *c = &e.metric[0];
        printf("# %s: c-index %.3f (%.3f to %.3f) of %lld cases, %lld events; log-rank p %.2g\n", losses[k], c->value, c->low, c->high,
               (long long)e.count, (long long)e.events, e.p);
        CHECK_INT(e.count, TEST_CASES);
        CHECK_INT(e.events, TEST_CASES * 3 / 4);
        CHECK(c->value > 0.75); /* chance is 0.5 */
        CHECK(c->low > 0.6);
        CHECK(e.group[1].median < e.group[0].median && e.p < 0.01);
    }
}
