/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "config/config.h"

static sw_error err;

static sw_status parse(const char *yaml, const char *set, sw_config *out)
{
    err.message[0] = '\0';
    const char *sets[1] = {set};
    return sw_config_parse(yaml, strlen(yaml), "config.yaml", sets, set ? 1 : 0, out, &err);
}

/* The message of a configuration that must be refused. */
static const char *refusal(const char *yaml, const char *set)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    return parse(yaml, set, &c) == SW_OK ? "(accepted)" : err.message;
}

TEST(defaults_hold_the_reference)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    CHECK_OK(sw_config_default(&c, &err));
    CHECK_INT(c.bag.patches, 128);
    CHECK_INT(c.bag.divisor, 4);
    CHECK_INT(c.augment.crop_px, 224);
    CHECK_NEAR(c.augment.crop_scale, 0.08, 0, 0);
    CHECK_NEAR(c.augment.crop_ratio, 4.0 / 3.0, 0, 0);
    CHECK_NEAR(c.train.lr, 2e-4, 0, 0);
    CHECK_NEAR(c.train.weight_decay, 1e-5, 0, 0);
    CHECK_INT(c.train.optimizer, SW_CFG_ADAM);
    CHECK_INT(c.aggregator.attn_plus, SW_CFG_PLUS_LEARNABLE);
    CHECK_INT(c.aggregator.norm, SW_CFG_NORM_LN);
    CHECK_INT(c.aggregator.act, SW_CFG_ACT_GELU);
    CHECK(!c.aggregator.bias && c.aggregator.ffn && c.bag.pad && c.train.drop_last);
    CHECK_INT(c.run.seed, 2021);
    CHECK_STR(c.encoder.name, "resnet18");
    CHECK_STR(c.data.store, "");
    CHECK_OK(sw_config_check(&c, "defaults", &err));
}

TEST(reads_every_kind)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    CHECK_OK(parse("task:\n"
                   "  classes: [normal, \"tumor, or so\", 3]\n"
                   "data:\n"
                   "  labels: labels.csv\n"
                   "  columns: {case: patient, label: diagnosis}\n"
                   "  split:\n"
                   "    seed: 7\n"
                   "bag:\n"
                   "  scale_rule: shares\n"
                   "  scales:\n"
                   "    - {mpp: 0.5, share: 3}\n"
                   "    - magnification: 10\n"
                   "      share: 1\n"
                   "augment:\n"
                   "train:\n"
                   "  lr: 1e-3\n"
                   "  drop_last: false\n"
                   "  optimizer: adamw\n"
                   "  early_stop: {patience: 3}\n",
                   NULL, &c));
    CHECK_INT(c.task.classes.count, 3);
    CHECK_STR(c.task.classes.item[1], "tumor, or so");
    CHECK_STR(c.task.classes.item[2], "3");
    CHECK_STR(c.data.columns.case_id, "patient");
    CHECK_STR(c.data.columns.label, "diagnosis");
    CHECK_INT(c.data.split.seed, 7);
    CHECK_INT(c.bag.scales.count, 2);
    CHECK_NEAR(c.bag.scales.item[0].magnification, 20, 0, 0);
    CHECK_NEAR(c.bag.scales.item[1].mpp_um, 1, 0, 0);
    CHECK_NEAR(c.bag.scales.item[0].share, 3, 0, 0);
    CHECK_NEAR(c.train.lr, 1e-3, 0, 0);
    CHECK(!c.train.drop_last);
    CHECK_INT(c.train.optimizer, SW_CFG_ADAMW);
    CHECK_INT(c.train.early_stop.patience, 3);
}

TEST(memory_is_a_size)
{
    CHECK_STR(refusal("run:\n  memory: 6\n", NULL),
              "config.yaml: run.memory: '6' is not a size; give auto, or a number with its unit, such as 6GB, 800MB or 2.5GiB");
    CHECK_STR(refusal("", "run.memory=lots"),
              "config.yaml: run.memory: 'lots' is not a size; give auto, or a number with its unit, such as 6GB, 800MB or 2.5GiB");
    CHECK_STR(refusal("", "run.memory=auto"), "(accepted)");
    CHECK_STR(refusal("", "run.memory=2.5GiB"), "(accepted)");
    CHECK_STR(refusal("", "run.memory="), "(accepted)");
}

TEST(unknown_keys)
{
    CHECK_STR(refusal("train:\n  lr: 0.1\naugment:\n  cropscale: 0.5\n", NULL),
              "config.yaml:4: unknown key 'augment.cropscale'; the nearest is 'augment.crop_scale'");
    CHECK_STR(refusal("train:\n  crop_scale: 0.5\n", NULL),
              "config.yaml:2: unknown key 'train.crop_scale'; the nearest is 'augment.crop_scale'");
    CHECK_STR(refusal("lr: 0.5\n", NULL), "config.yaml:1: unknown key 'lr'; the nearest is 'train.lr'");
    CHECK_STR(refusal("trian:\n  lr: 0.5\n", NULL),
              "config.yaml:1: unknown key 'trian'; the nearest is 'train'");
    CHECK_STR(refusal("zzzzzzzz:\n  lr: 0.5\n", NULL),
              "config.yaml:1: unknown key 'zzzzzzzz'; 'slidewise help config' lists all keys");
    CHECK_STR(refusal("data:\n  columns:\n    labels: x\n", NULL),
              "config.yaml:3: unknown key 'data.columns.labels'; the nearest is 'data.columns.label'");
    CHECK_STR(refusal("", "train.epoch=3"), "--set: unknown key 'train.epoch'; the nearest is 'train.epochs'");
    CHECK_STR(refusal("", "train.epochs"), "--set: 'train.epochs' is not KEY=VALUE (such as train.epochs=30)");
}

TEST(wrong_types)
{
    CHECK_STR(refusal("train:\n  epochs: many\n", NULL),
              "config.yaml:2: train.epochs: 'many' is not a whole number; allowed: 1 to 1000000 epochs");
    CHECK_STR(refusal("train:\n  epochs: 1.5\n", NULL),
              "config.yaml:2: train.epochs: '1.5' is not a whole number; allowed: 1 to 1000000 epochs");
    CHECK_STR(refusal("train:\n  epochs: \"3\"\n", NULL),
              "config.yaml:2: train.epochs: '3' in quotes is not a whole number; allowed: 1 to 1000000 epochs");
    CHECK_STR(refusal("train:\n  epochs: [3]\n", NULL),
              "config.yaml:2: train.epochs: a list is not a whole number; allowed: 1 to 1000000 epochs");
    CHECK_STR(refusal("train:\n  epochs:\n", NULL),
              "config.yaml:2: train.epochs: no value is given; it must be a whole number; allowed: 1 to 1000000 epochs");
    CHECK_STR(refusal("train:\n  drop_last: yes\n", NULL), "config.yaml:2: train.drop_last: 'yes' is not true or false");
    CHECK_STR(refusal("train:\n  lr:\n    a: 1\n", NULL),
              "config.yaml:2: train.lr: a group of keys is not a number; allowed: above 0, at most 100");
    CHECK_STR(refusal("train:\n  optimizer: adam_w\n", NULL),
              "config.yaml:2: train.optimizer: 'adam_w' is none of adam, adamw, sgd; the nearest is 'adamw'");
    CHECK_STR(refusal("train:\n  optimizer: lion\n", NULL), "config.yaml:2: train.optimizer: 'lion' is none of adam, adamw, sgd");
    CHECK_STR(refusal("task:\n  classes: tumor\n", NULL), "config.yaml:2: task.classes: 'tumor' is not a list of texts");
    CHECK_STR(refusal("train: 3\n", NULL), "config.yaml:1: 'train' is a section: its keys stand indented below it");
    CHECK_STR(refusal("- a\n", NULL), "config.yaml:1: a configuration is a set of keys (such as 'train:'), not a list");
    CHECK_STR(refusal("", "train.epochs=many"),
              "--set: train.epochs: 'many' is not a whole number; allowed: 1 to 1000000 epochs");
}

TEST(out_of_range)
{
    CHECK_STR(refusal("\n\ntrain:\n  lr: 0\n", NULL),
              "config.yaml:4: train.lr: 0 is out of range; allowed: above 0, at most 100");
    CHECK_STR(refusal("augment:\n  hflip: 1.5\n", NULL),
              "config.yaml:2: augment.hflip: 1.5 is out of range; allowed: 0 to 1 probability");
    CHECK_STR(refusal("bag:\n  patches: -1\n", NULL),
              "config.yaml:2: bag.patches: -1 is out of range; allowed: 0 to 1000000 patches");
    CHECK_STR(refusal("", "bag.divisor=0.5"), "--set: bag.divisor: 0.5 is out of range; allowed: 1 to 1000000");
}

TEST(scales_are_checked)
{
    CHECK_STR(refusal("bag:\n  scales:\n    - {mp: 1}\n", NULL),
              "config.yaml:3: unknown key 'mp' of a scale; the nearest is 'mpp'");
    CHECK_STR(refusal("bag:\n  scales:\n    - {mpp: 1, magnification: 10}\n", NULL),
              "config.yaml:3: bag.scales: a scale needs mpp or magnification, not both");
    CHECK_STR(refusal("bag:\n  scales:\n    - {share: 1}\n", NULL),
              "config.yaml:3: bag.scales: a scale needs mpp or magnification, and has neither");
    CHECK_STR(refusal("bag:\n  scales:\n    - {mpp: -1}\n", NULL),
              "config.yaml:3: bag.scales: mpp: -1 is out of range; allowed: above 0, at most 1000");
    CHECK_STR(refusal("bag:\n  scales: [{mpp: 1}, {magnification: 10}]\n", NULL), "config.yaml: bag.scales: 1 um/px is given twice");
    CHECK_STR(refusal("bag:\n  scales: [{mpp: 1}, {mpp: 2}, {mpp: 4}]\n", NULL),
              "config.yaml: bag.scales: 3 scales, but bag.scale_rule 'reference' knows at most two; set it to shares");
    CHECK_STR(refusal("bag:\n  scale_rule: shares\n", "bag.scales=[{mpp: 1, share: 2}, {mpp: 2}]"),
              "config.yaml: bag.scales: the scale of 2 um/px needs a share (bag.scale_rule is shares)");
    CHECK_STR(refusal("", "bag.scales=[{mpp: 1"),
              "--set: bag.scales: '[{mpp: 1' is not a list ([a, b])");
}

TEST(keys_are_checked_together)
{
    CHECK_STR(refusal("task:\n  classes: [a]\n", NULL), "config.yaml: task.classes: one class is not enough; name at least two");
    CHECK_STR(refusal("task:\n  classes: [a, a]\n", NULL), "config.yaml: task.classes: 'a' is named twice");
    CHECK_STR(refusal("task:\n  classes: [a, b]\n  positive: c\n", NULL),
              "config.yaml: task.positive: 'c' is not in task.classes");
    CHECK_STR(refusal("data:\n  split: {folds: 5, fold: 5}\n", NULL),
              "config.yaml: data.split.fold: 5; with 5 folds it is 0 to 4");
    CHECK_STR(refusal("train:\n  select: ema\n", NULL),
              "config.yaml: train.select: ema needs a moving average; set train.ema (such as 0.9997)");
    CHECK_STR(refusal("train:\n  warmup_epochs: 9\n  epochs: 5\n", NULL),
              "config.yaml: train.warmup_epochs: 9 is more than train.epochs 5");
    CHECK_STR(refusal("train: {step_at: [15]}\n", NULL), "config.yaml: train.step_at: is of the schedule step; set train.schedule to it");
    CHECK_STR(refusal("train: {schedule: step, step_at: [15], step_epochs: 3}\n", NULL),
              "config.yaml: train.step_at: stands instead of train.step_epochs (now 3); leave one of them out");
    CHECK_STR(refusal("train: {schedule: step, step_at: [15, 15]}\n", NULL),
              "config.yaml: train.step_at: '15'; give whole numbers of epochs above 0 that rise");
    CHECK_STR(refusal("train: {schedule: step, step_at: [1.5]}\n", NULL),
              "config.yaml: train.step_at: '1.5'; give whole numbers of epochs above 0 that rise");
    CHECK_STR(refusal("task: {type: survival}\naggregator: {name: c2c}\n", NULL),
              "config.yaml: aggregator.name: c2c trains its patches by the slide's class, which task.type survival has not");
    CHECK_STR(refusal("encoder:\n  eval_stats: batch\n", NULL),
              "config.yaml: encoder.eval_stats: batch needs eval.chunk_patches (such as 128): the statistics are those of the "
              "patches encoded at once");
    CHECK_STR(refusal("encoder: {eval_stats: batch, frozen: true}\neval: {chunk_patches: 128}\n", NULL),
              "config.yaml: encoder.eval_stats: batch, but the encoder goes by the running statistics it starts with (encoder.frozen)");
}

TEST(presets_come_first)
{
    SW_CLEANUP(sw_config_free) sw_config a = {0}, b = {0}, c = {0};
    CHECK_OK(parse("augment:\n  hflip: 0.25\n  preset: weak\n", NULL, &a));
    CHECK(a.augment.crop);
    CHECK_NEAR(a.augment.hflip, 0.25, 0, 0);
    CHECK_NEAR(a.augment.vflip, 0, 0, 0);
    CHECK_OK(parse("augment:\n  hflip: 0.25\n", "augment.preset=strong", &b));
    CHECK_NEAR(b.augment.hflip, 0.5, 0, 0);
    CHECK_OK(parse("augment:\n  preset: none\n", "augment.vflip=1", &c));
    CHECK(!c.augment.crop);
    CHECK_NEAR(c.augment.vflip, 1, 0, 0);
    CHECK(a.augment.shift == 0 && b.augment.shift == 0);
    sw_config_free(&a);
    sw_config_free(&b);
    CHECK_OK(parse("augment: {preset: weak_strong}\n", NULL, &a)); /* 100 of 256 pixels, no flips */
    CHECK(a.augment.crop && a.augment.shift * 256 == 100 && a.augment.hflip == 0 && a.augment.vflip == 0);
    CHECK_OK(parse("augment: {shift: 0.25, preset: strong_v2}\n", NULL, &b));
    CHECK(b.augment.crop && b.augment.shift == 0.25 && b.augment.hflip == 0.5 && b.augment.vflip == 0.5);
}

TEST(overrides_win_and_keep_text_as_it_is)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    CHECK_OK(parse("run:\n  out: a\n", "run.out=b: [c] # d=e", &c));
    CHECK_STR(c.run.out, "b: [c] # d=e");
    CHECK_OK(sw_config_set(&c, "task.classes=[x, y]", &err));
    CHECK_STR(c.task.classes.item[1], "y");
    CHECK_OK(sw_config_set(&c, "run.out=", &err));
    CHECK_STR(c.run.out, "");
}

TEST(written_yaml_reads_back_the_same)
{
    SW_CLEANUP(sw_config_free) sw_config a = {0}, b = {0};
    CHECK_OK(parse("task: {classes: [\"a\\\"b\", 'c: d', \"\\u00e9\"], positive: ''}\n"
                   "run: {out: \"x\\ty # z\"}\n"
                   "augment: {preset: none, vflip: 0.1}\n"
                   "bag: {scale_rule: shares, scales: [{magnification: 3, share: 0.1}, {mpp: 0.1, share: 0.7}]}\n"
                   "train: {lr: 0.00030000000000000003, weight_decay: 1e-300}\n",
                   NULL, &a));
    SW_CLEANUP(sw_buf_free) sw_buf first = {0}, second = {0};
    sw_config_yaml(&a, &first);
    CHECK_OK(sw_buf_status(&first, &err));
    CHECK_OK(sw_config_parse(first.data, first.size, "again.yaml", NULL, 0, &b, &err));
    sw_config_yaml(&b, &second);
    CHECK_STR(second.data, first.data);
    CHECK_STR(b.task.classes.item[0], "a\"b");
    CHECK_STR(b.run.out, "x\ty # z");
    CHECK(a.train.lr == b.train.lr && a.train.weight_decay == b.train.weight_decay);
    CHECK(a.bag.scales.item[0].mpp_um == b.bag.scales.item[0].mpp_um);
    CHECK(a.bag.scales.item[0].magnification == b.bag.scales.item[0].magnification);
    CHECK_NEAR(b.augment.vflip, 0.1, 0, 0);
    CHECK(!b.augment.crop);
    CHECK(sw_config_hash(&a) == sw_config_hash(&b));
}

TEST(files)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0}, d = {0}, e = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "c.yaml");
    const char *sets[] = {"train.epochs=3"};
    CHECK_OK(sw_config_load(NULL, sets, 1, &c, &err));
    CHECK_INT(c.train.epochs, 3);
    CHECK_OK(sw_config_write_yaml(&c, path, &err));
    CHECK_OK(sw_config_load(path, NULL, 0, &d, &err));
    CHECK_INT(d.train.epochs, 3);
    CHECK_INT(sw_config_load("no/such.yaml", NULL, 0, &e, &err), SW_E_NOT_FOUND);
    CHECK(strstr(err.message, "no/such.yaml") != NULL);
}

TEST(malformed_yaml)
{
    CHECK_STR(refusal("train:\n  lr: [1\n", NULL),
              "config.yaml, line 3: not valid YAML: while parsing a flow sequence, did not find expected ',' or ']'");
    CHECK_STR(refusal("train:\n  lr: 1\n  lr: 2\n", NULL),
              "config.yaml, line 3: the key \"lr\" is already given at line 2");
}

TEST(hash_covers_what_decides)
{
    static const char *const same[] = {"run.out=x", "run.threads=7", "data.store=x", "eval.bootstrap=5",
                                       "train.checkpoint_minutes=1"};
    static const char *const other[] = {"train.lr=0.01", "augment.hflip=0", "task.classes=[a, b]", "run.seed=1",
                                        "bag.scales=[{mpp: 1}]", "encoder.weights=x", "encoder.frozen=true",
                                        "train.optimizer=adamw"};
    SW_CLEANUP(sw_config_free) sw_config a = {0};
    CHECK_OK(sw_config_default(&a, &err));
    char text[200];
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        SW_CLEANUP(sw_config_free) sw_config b = {0};
        CHECK_OK(sw_config_default(&b, &err));
        CHECK_OK(sw_config_set(&b, same[i], &err));
        CHECK(sw_config_hash(&a) == sw_config_hash(&b));
        CHECK(!sw_config_differs(&a, &b, text, sizeof(text)));
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        SW_CLEANUP(sw_config_free) sw_config b = {0};
        CHECK_OK(sw_config_default(&b, &err));
        CHECK_OK(sw_config_set(&b, other[i], &err));
        CHECK(sw_config_hash(&a) != sw_config_hash(&b));
        CHECK(sw_config_differs(&a, &b, text, sizeof(text)));
    }
    SW_CLEANUP(sw_config_free) sw_config b = {0};
    CHECK_OK(sw_config_default(&b, &err));
    CHECK_OK(sw_config_set(&b, "train.lr=0.0001", &err));
    CHECK(sw_config_differs(&a, &b, text, sizeof(text)));
    CHECK_STR(text, "train.lr: 0.0002 against 0.0001");
}

TEST(json_is_json_and_markdown_has_every_section)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    CHECK_OK(parse("bag: {scales: [{mpp: 0.5}]}\ntask: {classes: [a, b]}\n", NULL, &c));
    SW_CLEANUP(sw_buf_free) sw_buf text = {0}, page = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 2);
    sw_config_json(&c, &w);
    CHECK_OK(sw_buf_status(&text, &err));
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    CHECK_OK(sw_json_parse(text.data, text.size, "json", &root, &err));
    const sw_json *train = sw_json_get(root, "train"), *bag = sw_json_get(root, "bag");
    CHECK_INT(sw_json_integer(sw_json_get(train, "epochs"), -1), 200);
    CHECK_INT(sw_json_integer(sw_json_get(sw_json_get(train, "early_stop"), "min_epoch"), -1), 120);
    CHECK_STR(sw_json_text(sw_json_get(train, "optimizer"), ""), "adam");
    CHECK_NEAR(sw_json_real(sw_json_get(sw_json_at(sw_json_get(bag, "scales"), 0), "mpp"), 0), 0.5, 0, 0);
    CHECK_INT(sw_json_count(root), 9);
    sw_config_markdown(&page);
    CHECK_OK(sw_buf_status(&page, &err));
    CHECK(strstr(page.data, "\n## aggregator\n") != NULL);
    CHECK(strstr(page.data, "| `train.lr` | number | `0.0002` | above 0, at most 100 | learning rate |\n") != NULL);
}

TEST(the_reference_page_is_up_to_date)
{
    SW_CLEANUP(sw_buf_free) sw_buf page = {0}, file = {0};
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "../docs/config.md");
    sw_config_markdown(&page);
    CHECK_OK(sw_buf_status(&page, &err));
    CHECK_OK(sw_file_read(path, &file, &err));
    if (file.size != page.size || memcmp(file.data, page.data, page.size) != 0) {
        sw_test_fail(__FILE__, __LINE__, "docs/config.md is out of date: slidewise help config > docs/config.md");
    }
}

TEST(no_memory_is_an_error_and_leaks_nothing)
{
    const char *yaml = "task: {classes: [a, b]}\nrun: {out: x}\n";
    sw_config c = {0};
    int64_t live = sw_mem_live();
    bool done = false;
    for (int64_t k = 1; k < 2000 && !done; k++) {
        sw_mem_fail_after(k);
        sw_status status = sw_config_parse(yaml, strlen(yaml), "config.yaml", NULL, 0, &c, &err);
        sw_mem_fail_after(0);
        sw_config_free(&c);
        CHECK(status == SW_OK || status == SW_E_NOMEM);
        CHECK_INT(sw_mem_live(), live);
        done = status == SW_OK;
    }
    CHECK(done);
}

/* The numbers of organs are those of CHIEF's text embeddings, behind "none". */
TEST(organs_are_numbered)
{
    static const struct {
        const char *set;
        int number;
    } of[] = {{"aggregator.organ=none", 0}, {"aggregator.organ=brain", SW_CFG_ORGAN_BRAIN}, {"aggregator.organ=breast", 2},
              {"aggregator.organ=prostate", 5}, {"aggregator.organ=lung", 7}, {"aggregator.organ=soft_tissue", SW_CFG_ORGAN_SOFT_TISSUE}};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        SW_CLEANUP(sw_config_free) sw_config c = {0};
        CHECK_OK(parse("", of[i].set, &c));
        CHECK_INT(c.aggregator.organ, of[i].number);
    }
}
