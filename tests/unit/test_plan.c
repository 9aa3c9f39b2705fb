/* SPDX-License-Identifier: Apache-2.0 */
/* What train --dry-run finds out. */
#include "test.h"

#include <math.h>

#include "base/fs.h"
#include "slidewise/train.h"

static sw_error err;

/* `yaml` with KEY=VALUE overrides up to a NULL. */
static sw_status plan(const char *yaml, const char *const *sets, bool quick, sw_train_plan *out)
{
    static char path[600];
    sw_train_options o = sw_train_options_default();
    snprintf(path, sizeof path, "%s/c.yaml", sw_test_dir());
    SW_TRY(sw_file_write(path, yaml, strlen(yaml), &err));
    o.config_path = path;
    o.sets = sets;
    while (sets && sets[o.n_sets]) o.n_sets++;
    err.message[0] = '\0';
    return sw_train_plan_make(&o, quick, out, &err);
}

static const char r18[] = "run: {threads: 1}\ntask: {classes: [a, b]}\nencoder: {name: resnet18}\nbag: {patches: 512}\n"
                          "aggregator: {inner_dim: 256, heads: 8, ffn: false}\ntrain: {batch_bags: 3, epochs: 75}\n";

TEST(parameters_and_flops)
{
    sw_train_plan p;
    CHECK_OK(plan(r18, NULL, true, &p));
    /* conv1, four blocks of layer1, then twice (a halving block, a plain one, the shortcut) */
    double layers = 112.0 * 112 * 64 * 147 + 4 * 56.0 * 56 * 64 * 576 +
                    2 * (28.0 * 28 * 128 * 576 + 3 * 28.0 * 28 * 128 * 1152 + 28.0 * 28 * 128 * 64);
    CHECK_NEAR(p.patch_macs, layers, 0, 0);
    CHECK_INT(p.encoder_parameters, 2782784);
    CHECK(p.bag_macs > 512 * layers + 512.0 * 256 * 256 && p.bag_macs < 512 * layers * 1.01);
    CHECK_INT(p.bag_patches, 512);
    CHECK_INT(p.train_bags, -1);
    CHECK_INT(p.steps, -1);
    CHECK(isnan(p.memory_bytes) && isnan(p.hours));
    CHECK_INT(p.n_notes, 3);
    CHECK_STR(p.note[0], "data.store is not set: slides and their patches are not checked");
    CHECK_STR(p.note[1], "data.labels is not set: bags, steps and hours are not known");
    CHECK_STR(p.note[2], "run.out is not set: train needs it");
}

/* The aggregator's MACs of any bag follow from small ones: against bags that are small themselves. */
TEST(macs_of_bags)
{
    static const char *const sizes[] = {"bag.patches=8", "bag.patches=16", "bag.patches=24", "bag.patches=40"};
    double y[4];
    for (int i = 0; i < 4; i++) {
        sw_train_plan p;
        CHECK_OK(plan(r18, (const char *const[]){sizes[i], NULL}, true, &p));
        y[i] = p.bag_macs - p.patch_macs * (double)p.bag_patches;
    }
    double square = (y[2] - 2 * y[1] + y[0]) / 2;
    CHECK(square > 0); /* A+ compares every patch with every other */
    CHECK_NEAR(y[3] - y[2], 2 * (y[2] - y[1]) + 6 * square, 0, 0);
}

TEST(bags_and_steps_from_the_table_alone)
{
    static const char table[] = "slide,label,split\na,a,train\nb,a,train\nc,a,train\nd,a,train\ne,b,train\nf,a,val\ng,b,test\nh,b,test\n";
    char labels[700];
    sw_train_plan p;
    snprintf(labels, sizeof labels, "data.labels=%s/labels.csv", sw_test_dir());
    CHECK_OK(sw_file_write(strchr(labels, '=') + 1, table, strlen(table), &err));
    CHECK_OK(plan(r18, (const char *const[]){labels, "train.batch_bags=2", "data.store=<store of BRCA>", "run.out=<run>", NULL}, true, &p));
    CHECK_INT(p.train_bags, 5);
    CHECK_INT(p.val_bags, 1);
    CHECK_INT(p.test_bags, 2);
    CHECK_INT(p.steps_per_epoch, 2); /* the fifth is left out */
    CHECK_INT(p.steps, 150);
    CHECK_INT(p.n_notes, 2);
    CHECK_STR(p.note[0], "data.store is to be filled in (<store of BRCA>): slides and their patches are not checked");
    CHECK_STR(p.note[1], "run.out is to be filled in (<run>): train needs it");
    CHECK_OK(plan(r18, (const char *const[]){labels, "train.batch_bags=2", "train.oversample=1", "run.out=x", NULL}, true, &p));
    CHECK_INT(p.train_bags, 8);
    CHECK_INT(p.steps_per_epoch, 4);
}

TEST(measured)
{
    char *text = NULL;
    sw_train_plan p;
    CHECK_OK(plan(r18, (const char *const[]){"augment.crop_px=32", "bag.patches=8", "train.batch_bags=2", "train.chunk_patches=8", "eval.chunk_patches=8", NULL}, false, &p));
    CHECK(p.memory_bytes > 1e7 && p.memory_bytes < 4e9);
    CHECK(p.train_patches_per_second > 0 && p.eval_patches_per_second > 0);
    CHECK_INT(p.chunk_patches, 8);
    CHECK(isnan(p.hours));
    CHECK_OK(sw_train_plan_text(&p, &text, &err));
    CHECK(strstr(text, "parameters     ") == text);
    CHECK(strstr(text, "\nsteps          not known; 75 epochs\n") != NULL);
    CHECK(strstr(text, "\nnote: data.store is not set: ") != NULL);
    sw_train_plan_text_free(text);
}

TEST(what_is_refused)
{
    sw_train_plan p;
    CHECK_INT(plan(r18, (const char *const[]){"data.labels=no/labels.csv", NULL}, true, &p), SW_E_NOT_FOUND);
    CHECK_STR(err.message, "no/labels.csv: no such file; data.labels must name the label table");
    CHECK(plan(r18, (const char *const[]){"data.store=no/store", NULL}, true, &p) != SW_OK);
    CHECK(strstr(err.message, "no/store") != NULL);
    CHECK(plan(r18, (const char *const[]){"encoder.weights=no/weights.pth", NULL}, true, &p) != SW_OK);
    CHECK(strstr(err.message, "no/weights.pth") != NULL);
    CHECK(plan(r18, (const char *const[]){"aggregator.weights=no/mil.pth", NULL}, true, &p) != SW_OK);
    CHECK(strstr(err.message, "no/mil.pth") != NULL);
    CHECK(plan(r18, (const char *const[]){"encoder.name=resnet19", NULL}, true, &p) != SW_OK);
    CHECK(strstr(err.message, "resnet19") != NULL);
    CHECK(plan(r18, (const char *const[]){"aggregator.heads=7", NULL}, true, &p) != SW_OK);
    CHECK_INT(plan(r18, (const char *const[]){"train.metric=auroc", NULL}, true, &p), SW_E_INVALID);
    sw_train_result result;
    sw_train_options o = sw_train_options_default();
    const char *const sets[] = {"data.store=<store>", "data.labels=l.csv", "run.out=o"};
    o.sets = sets;
    o.n_sets = 3;
    CHECK_INT(sw_train(&o, &result, &err), SW_E_INVALID);
    CHECK_STR(err.message, "data.store is still to be filled in: <store>");
}
