/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of survival: columns, bins, cases of several slides, stratified splits. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset.h"

static sw_error err;

static sw_status load_file(const char *path, const char *sets, const char *slides, bool need_train, sw_dataset **out)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    char buffer[2000], *save = NULL;
    const char *id[50];
    sw_dataset_slides known = {.id = id};
    err.message[0] = '\0';
    SW_TRY(sw_config_default(&c, &err));
    sw_free(c.data.labels);
    c.data.labels = sw_strdup(path);
    SW_TRY(sw_config_set(&c, "task.type=survival", &err));
    SW_TRY(sw_config_set(&c, "data.split.val=0", &err));
    snprintf(buffer, sizeof(buffer), "%s", sets ? sets : "");
    for (char *s = strtok_r(buffer, "|", &save); s; s = strtok_r(NULL, "|", &save)) SW_TRY(sw_config_set(&c, s, &err));
    SW_TRY(sw_config_check(&c, "config", &err));
    snprintf(buffer, sizeof(buffer), "%s", slides ? slides : "");
    for (char *s = strtok_r(buffer, "|", &save); s; s = strtok_r(NULL, "|", &save)) id[known.count++] = s;
    return sw_dataset_load(&c, slides ? &known : NULL, need_train, NULL, out, &err);
}

static sw_status load(const char *text, const char *sets, const char *slides, sw_dataset **out)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/labels.csv", sw_test_dir());
    SW_TRY(sw_file_write(path, text, strlen(text), &err));
    return load_file(path, sets, slides, false, out);
}

/* The message without the folder of the test's files. */
static const char *refusal(const char *text, const char *sets)
{
    static char shown[1200];
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    if (load(text, sets, NULL, &ds) == SW_OK) return "(accepted)";
    size_t n = 0, dir = strlen(sw_test_dir());
    for (const char *p = err.message; *p && n + 1 < sizeof(shown);) {
        if (strncmp(p, sw_test_dir(), dir) == 0 && p[dir] == '/') p += dir + 1;
        else shown[n++] = *p++;
    }
    shown[n] = '\0';
    return shown;
}

static const char eight[] = "case_id,slide_id,time,event,split\n"
                            "p1,a,1,1,train\np2,b,2,1,train\np3,c,3,1,train\np4,d,4,1,train\n"
                            "p5,e,2.5,0,train\np6,f,9,0,val\np7,g,0.5,1,test\np8,h,3.5,1,test\n";

TEST(bins_come_from_the_training_events)
{
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    CHECK_OK(load(eight, "task.survival.bins=4", NULL, &ds));
    CHECK(ds->survival && ds->by_case);
    CHECK_INT(ds->n_classes, 4);
    CHECK(ds->edge[0] == 1.75 && ds->edge[1] == 2.5 && ds->edge[2] == 3.25); /* quantiles of 1 2 3 4 */
    CHECK_STR(ds->class_name[0], "before 1.75");
    CHECK_STR(ds->class_name[1], "1.75 to 2.5");
    CHECK_STR(ds->class_name[3], "from 3.25");
    static const int bin[] = {0, 1, 2, 3, 2, 3, 0, 3}; /* left-closed: 2.5 is of the third bin */
    for (int i = 0; i < 8; i++) CHECK_INT(ds->bag[i].label, bin[i]);
    CHECK_INT(ds->events[SW_SPLIT_TRAIN], 4);
    CHECK_INT(ds->events[SW_SPLIT_VAL], 0);
    CHECK_INT(ds->events[SW_SPLIT_TEST], 2);
    CHECK(ds->bag[4].time == 2.5 && !ds->bag[4].event && ds->bag[0].event);
    sw_dataset_free_ptr(&ds);
    CHECK_OK(load(eight, "task.survival.bins=2|task.survival.bins_from=all", NULL, &ds));
    CHECK(ds->edge[0] == 2.5); /* the median of 0.5 1 2 3 3.5 4 */
}

TEST(columns_by_their_names)
{
    static const struct { const char *text, *sets; } same[] = {
        {"slide_id,survival_months,censorship\na,1,0\nb,2,1\nc,3,0\n", NULL},
        {"ID,Event,Status\na,1,1\nb,2,0\nc,3,1\n", NULL},
        {"slide,days,dead\na,1,yes\nb,2,no\nc,3,1.0\n", "data.columns.time=days|data.columns.event=dead"},
        {"slide,time,vital_status\na,1,Dead\nb,2,Alive\nc,3,1:DECEASED\n", NULL},
        {"slide,time,event,censorship\na,1,1,9\nb,2,0,9\nc,3,1,9\n", NULL},
        {"slide,time,event,c\na,1,9,0\nb,2,9,1\nc,3,9,0\n", "data.columns.censored=c"},
        {"slide,survival_months,survival_months_dss,censorship,censorship_dss\na,9,1,1,0\nb,9,2,1,1\nc,9,3,1,0\n",
         "data.columns.time=survival_months_dss|data.columns.censored=censorship_dss"}};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        char sets[200];
        snprintf(sets, sizeof(sets), "data.split.test=0|task.survival.bins=2%s%s", same[i].sets ? "|" : "",
                 same[i].sets ? same[i].sets : "");
        CHECK_OK(load(same[i].text, sets, NULL, &ds));
        CHECK_INT(ds->n_bags, 3);
        for (int k = 0; k < 3; k++) {
            CHECK(ds->bag[k].time == k + 1);
            CHECK_INT(ds->bag[k].event, k != 1);
        }
        CHECK(ds->edge[0] == 2.0);
    }
}

TEST(a_case_is_one_bag)
{
    static const char text[] = "case_id,slide_id,time,event,split\n"
                               "p2,s1,5,1,train\np1,s2,1,1,train\np2,s3,5,1,train\np3,s4,7,0,test\np2,s5,5,1,train\n";
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    CHECK_OK(load(text, "task.survival.bins=2", "s5|s4|s3|s2|s1", &ds));
    CHECK_INT(ds->n_bags, 3);
    CHECK_STR(ds->bag[0].slide_id, "p2");
    CHECK_STR(ds->bag[1].slide_id, "p1");
    CHECK_INT(sw_bag_slides(&ds->bag[0]), 3);
    CHECK_INT(sw_bag_slide(&ds->bag[0], 0), 4);
    CHECK_INT(sw_bag_slide(&ds->bag[0], 1), 2);
    CHECK_INT(sw_bag_slide(&ds->bag[0], 2), 0);
    CHECK_INT(sw_bag_slides(&ds->bag[2]), 1);
    CHECK(ds->edge[0] == 3.0); /* a case of three slides has one time */
    CHECK_INT(ds->bags[SW_SPLIT_TRAIN], 2);
    CHECK_INT(ds->n_cases, 3);
    SW_CLEANUP(sw_buf_free) sw_buf json = {0};
    sw_json_writer w;
    sw_json_begin(&w, &json, 0);
    sw_dataset_json(ds, &w);
    CHECK(strstr(json.data, "\"by_case\":true") && strstr(json.data, "\"time\":\"time\"") && strstr(json.data, "\"slides\":5"));
    CHECK(strstr(json.data, "\"edges\":[3") && strstr(json.data, "\"events\":2"));
    uint64_t whole = sw_dataset_hash(ds);
    sw_dataset_free_ptr(&ds);
    CHECK_OK(load(text, "task.survival.bins=2|data.bag=slide", "s5|s4|s3|s2|s1", &ds));
    CHECK_INT(ds->n_bags, 5);
    CHECK(sw_dataset_hash(ds) != whole);
    sw_dataset_free_ptr(&ds);
    /* Of a case with a slide that is not there, the others make the bag. */
    CHECK_OK(load(text, "task.survival.bins=2|data.missing=skip", "s4|s3|s2|s1", &ds));
    CHECK_INT(sw_bag_slides(&ds->bag[0]), 2);
}

TEST(classes_by_case)
{
    static const char text[] = "case_id,slide_id,label,split\np1,a,x,train\np1,b,x,train\np2,c,y,train\n";
    static const char two[] = "case_id,slide_id,label,split\np1,a,x,train\np1,b,y,train\np2,c,y,train\n";
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    CHECK_OK(load(text, "task.type=classification|data.bag=case", "a|b|c", &ds));
    CHECK_INT(ds->n_bags, 2);
    CHECK_INT(sw_bag_slides(&ds->bag[0]), 2);
    CHECK_STR(ds->class_name[ds->bag[0].label], "x");
    CHECK_STR(refusal(two, "task.type=classification|data.bag=case"),
              "labels.csv:3: case 'p1' has the label 'y', and on line 2 'x'; where a case is a bag (data.bag) it has one label");
}

TEST(what_is_refused)
{
    CHECK_STR(refusal("slide_id,label\na,x\n", NULL),
              "labels.csv: no column 'time' (columns are: slide_id, label); name it with data.columns.time");
    CHECK_STR(refusal("slide_id,time\na,1\n", NULL),
              "labels.csv: no column 'event' (columns are: slide_id, time); name it with data.columns.event");
    CHECK_STR(refusal("slide_id,time,event\na,NA,1\n", NULL),
              "labels.csv:2: slide 'a': 'NA' in column 'time' is no time; it must be a number from 0, correct it or delete the row");
    CHECK_STR(refusal("slide_id,time,event\na,-1,1\n", NULL),
              "labels.csv:2: slide 'a': '-1' in column 'time' is no time; it must be a number from 0, correct it or delete the row");
    CHECK_STR(refusal("slide_id,time,event\na,1,2\n", NULL),
              "labels.csv:2: slide 'a': '2' in column 'event' is neither 0 nor 1; correct it or delete the row");
    CHECK_STR(refusal("case_id,slide_id,time,event,split\np,a,1,1,train\np,b,2,0,train\n", NULL),
              "labels.csv:3: case 'p' has the time 2 (censored), and on line 2 1; a case has one time");
    CHECK_STR(refusal("slide_id,time,event,split\na,1,1,train\na,2,1,train\n", NULL),
              "labels.csv:3: slide 'a' has the time 2, and on line 2 1; a slide has one time");
    CHECK_STR(refusal("case_id,slide_id,time,event,split\np,a,1,1,train\np,b,1,1,test\n", "data.allow_leak=true"),
              "labels.csv: case 'p' is in train (line 2) and in test (line 3); where a case is a bag (data.bag) it is in one split");
    CHECK_STR(refusal("slide_id,time,event,split\na,1,1,train\nb,2,0,train\nc,3,1,test\n", "task.survival.bins=2"),
              "labels.csv: 1 training cases with an observed event cannot make 2 bins of time; lower task.survival.bins, or change the split (data.split)");
    CHECK_STR(refusal("slide_id,time,event,split\na,1,1,train\nb,1,1,train\nc,1,1,train\nd,2,1,train\n", "task.survival.bins=2"),
              "labels.csv: the quantiles of 4 events make a bin of time that is empty (1 to 1); lower task.survival.bins");
    CHECK_STR(refusal("slide_id,time,event,label,split\na,1,1,0,train\nb,2,0,4,train\n", "task.survival.bins_from=column"),
              "labels.csv:3: the bin '4' is none of 0 to 3 (task.survival.bins is 4)");
    CHECK_STR(refusal("slide_id,time,event,label,split\na,1,1,1,train\nb,2,0,0,train\n", "task.survival.bins_from=column|task.survival.bins=2"),
              "labels.csv: bins 0 and 1 of the column of labels do not follow each other in time; set task.survival.bins_from to train");
    CHECK_STR(refusal("slide_id,time,event\na,1,1\n", "task.classes=[x,y]"),
              "config: task.classes: task.type survival has no classes, it has bins of time (task.survival.bins)");
    CHECK_STR(refusal("slide_id,time,event\na,1,1\n", "task.survival.loss=cox|train.batch_bags=1"),
              "config: task.survival.loss: cox compares the bags of a step, but train.batch_bags is 1; set it to 2 or more");
    CHECK_STR(refusal("slide_id,time,event\na,1,1\n", "data.repeats=keep"),
              "config: data.repeats: keep repeats slides, but a bag is a case here (data.bag); set it to error");
}

/* 80 cases, 20 of them with an event; early and late ones of both kinds must be in every fold. */
TEST(folds_are_stratified_by_event_and_time)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    int seen = 0;
    sw_buf_puts(&text, "case_id,slide_id,time,event\n");
    for (int i = 0; i < 80; i++) sw_buf_printf(&text, "p%03d,s%03d,%d,%d\n", i, i, 1 + (i * 37) % 80, i % 4 == 0);
    for (int fold = 0; fold < 5; fold++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        char sets[120];
        snprintf(sets, sizeof(sets), "data.split.folds=5|data.split.fold=%d", fold);
        CHECK_OK(load(text.data, sets, NULL, &ds));
        CHECK_INT(ds->bags[SW_SPLIT_TEST], 16);
        CHECK_INT(ds->events[SW_SPLIT_TEST], 4);
        int late = 0, late_events = 0;
        for (int64_t i = 0; i < ds->n_bags; i++) {
            if (ds->bag[i].split != SW_SPLIT_TEST || ds->bag[i].time <= 40) continue;
            late++;
            late_events += ds->bag[i].event;
        }
        CHECK(late >= 7 && late <= 9 && late_events == 2);
        seen += (int)ds->bags[SW_SPLIT_TEST];
    }
    CHECK_INT(seen, 80);
}

/* The reference's own table: its column of bins comes from the quartiles of all events, and the rule gives it again. */
TEST(bins_of_the_reference)
{
    if (!sw_test_data()) SKIP("no data beside the checkout");
    char path[1024];
    snprintf(path, sizeof(path), "%s/labels/reference/survival_tcga_brca_3fold/fold_0.csv", sw_test_data());
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *rule = NULL, *column = NULL;
    CHECK_OK(load_file(path, "task.survival.bins_from=all", NULL, true, &rule));
    CHECK_OK(load_file(path, "task.survival.bins_from=column", NULL, true, &column));
    CHECK_INT(rule->n_bags, 1007);
    CHECK_INT(rule->bags[SW_SPLIT_TRAIN], 671);
    CHECK_INT(rule->bags[SW_SPLIT_TEST], 336);
    CHECK_INT(rule->events[SW_SPLIT_TEST], 54);
    CHECK_NEAR(rule->edge[0], 24.316667, 1e-7, 0);
    CHECK_NEAR(rule->edge[1], 42.683333, 1e-7, 0);
    CHECK_NEAR(rule->edge[2], 79.0, 1e-7, 0);
    for (int64_t i = 0; i < rule->n_bags; i++) CHECK_INT(rule->bag[i].label, column->bag[i].label);
}

TEST(survpath_tables)
{
    static const struct { const char *name; int64_t cases, slides; } table[] = {{"brca", 871, 931}, {"blca", 359, 423}};
    if (!sw_test_data()) SKIP("no data beside the checkout");
    for (size_t i = 0; i < 2; i++) {
        char path[1024], sets[1400];
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        snprintf(path, sizeof(path), "%s/labels/survpath/tcga_%s.csv", sw_test_data(), table[i].name);
        snprintf(sets, sizeof(sets), "data.split.file=%s/labels/survpath/splits_tcga_%s/splits_0.csv|data.missing=skip", sw_test_data(),
                 table[i].name);
        CHECK_OK(load_file(path, sets, NULL, true, &ds));
        int64_t slides = 0;
        for (int64_t k = 0; k < ds->n_bags; k++) slides += sw_bag_slides(&ds->bag[k]);
        printf("# %s: %lld cases, %lld slides, %lld training events\n", table[i].name, (long long)ds->n_bags, (long long)slides,
               (long long)ds->events[SW_SPLIT_TRAIN]);
        CHECK_INT(ds->n_bags, table[i].cases);
        CHECK_INT(slides, table[i].slides);
    }
}
