/* SPDX-License-Identifier: Apache-2.0 */
/* The forms that label tables and splits come in: separators, rows that name the beginning of a slide's id, folders of
 * folds, and every real table that we have. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "dataset/dataset.h"

static sw_error err;

static const char *file(const char *name, const char *text)
{
    static char path[4][600];
    static int turn;
    char *at = path[turn++ % 4];
    snprintf(at, sizeof(path[0]), "%s/%s", sw_test_dir(), name);
    char dir[600];
    snprintf(dir, sizeof(dir), "%s", at);
    *strrchr(dir, '/') = '\0';
    if (sw_mkdir_p(dir, &err) != SW_OK) return "";
    return !text || sw_file_write(at, text, strlen(text), &err) == SW_OK ? at : "";
}

/* `sets`, "|" between them; `slides` may be NULL. */
static sw_status load_slides(const char *path, const char *sets, const sw_dataset_slides *slides, sw_dataset **out)
{
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    char buffer[2000], *save = NULL;
    err.message[0] = '\0';
    SW_TRY(sw_config_default(&c, &err));
    sw_free(c.data.labels);
    c.data.labels = sw_strdup(path);
    snprintf(buffer, sizeof(buffer), "%s", sets ? sets : "");
    for (char *s = strtok_r(buffer, "|", &save); s; s = strtok_r(NULL, "|", &save)) SW_TRY(sw_config_set(&c, s, &err));
    return sw_dataset_load(&c, slides, false, NULL, out, &err);
}

static sw_status load(const char *text, const char *sets, const char *slides, sw_dataset **out)
{
    char buffer[2000], *save = NULL;
    const char *id[50];
    sw_dataset_slides known = {.id = id};
    snprintf(buffer, sizeof(buffer), "%s", slides ? slides : "");
    for (char *s = strtok_r(buffer, "|", &save); s; s = strtok_r(NULL, "|", &save)) id[known.count++] = s;
    return load_slides(file("labels.csv", text), sets, slides ? &known : NULL, out);
}

/* The message without the folder of the test's files. */
static const char *refusal(const char *text, const char *sets, const char *slides)
{
    static char shown[1200];
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    if (load(text, sets, slides, &ds) == SW_OK) return "(accepted)";
    size_t n = 0, dir = strlen(sw_test_dir());
    for (const char *p = err.message; *p && n + 1 < sizeof(shown);) {
        if (strncmp(p, sw_test_dir(), dir) == 0 && p[dir] == '/') p += dir + 1;
        else shown[n++] = *p++;
    }
    shown[n] = '\0';
    return shown;
}

TEST(tabs_semicolons_quotes_marks_and_line_ends)
{
    static const char *const text[] = {
        "slide_id\tlabel\tnote\na\tx\tone, two\nb\ty\t\n",
        "\xEF\xBB\xBFslide_id;label\r\n\"a\";\"x\"\r\n\"b\";y\r\n",
        "slide_id;note;label\na;\"1;2\";x\nb;\"a \"\"b\"\"\";y\n",
        "a;x\nb;y\n",
        "a\tx\r\nb\ty",
        "\"slide_id\",\"label\"\n\"a\",\"x\"\n\"b\",\"y\"\n",
        "slide_id,label,WSI\na,x,p;q\nb,y,\"r\ts\"\n",
    };
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        CHECK_OK(load(text[i], "data.split.from=random", NULL, &ds));
        CHECK_INT(ds->n_bags, 2);
        CHECK_STR(ds->bag[0].slide_id, "a");
        CHECK_STR(ds->bag[1].slide_id, "b");
        CHECK_STR(ds->class_name[ds->bag[1].label], "y");
    }
    CHECK_STR(refusal("slide_id;label\na;x\nb\n", NULL, NULL), "labels.csv, line 3: 1 cells, but the header has 2");
}

TEST(rows_that_name_the_beginning)
{
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL, *inside = NULL, *skip = NULL;
    const char *text = "P1,x\nP2,y\nP3-DX1,x\n", *slides = "P2-DX1.aa|P1-DX1|P1-DX2|P3-DX1|P3-DX1b";
    CHECK_STR(refusal("P1,x\nP2,y\n", NULL, slides),
              "none of the 2 slides of labels.csv is in the list of slides: the table has 'P1', the store 'P1-DX1'; if rows name the beginning of a slide's id, set data.match to prefix");
    CHECK_OK(load(text, "data.match=prefix|data.missing=skip|data.split.test=0|data.split.val=0", slides, &ds));
    CHECK_INT(ds->n_bags, 4); /* P3-DX1 is a slide itself: P3-DX1b is another */
    CHECK_STR(ds->bag[0].slide_id, "P1-DX1");
    CHECK_STR(ds->bag[1].slide_id, "P1-DX2");
    CHECK_STR(ds->bag[1].case_id, "P1");
    CHECK_INT(ds->bag[1].store_slide, 2);
    CHECK_INT(ds->bag[1].line, 1);
    CHECK_STR(ds->bag[2].slide_id, "P2-DX1.aa");
    CHECK_STR(ds->class_name[ds->bag[2].label], "y");
    CHECK_STR(ds->bag[3].slide_id, "P3-DX1");
    CHECK_INT(ds->n_cases, 3);
    CHECK_INT(ds->n_unlabelled, 1);
    CHECK_STR(ds->unlabelled[0], "P3-DX1b");
    /* in the middle only when asked */
    CHECK_STR(refusal("DX1.aa,x\nP1,y\n", "data.match=prefix", slides),
              "labels.csv: 1 of 2 rows name a slide that is not in the list of slides: DX1.aa; tile them, or set data.missing to skip");
    CHECK_OK(load("DX1.aa,x\nDX2,y\n", "data.match=substring|data.split.test=0|data.split.val=0", slides, &inside));
    CHECK_INT(inside->n_bags, 2);
    CHECK_STR(inside->bag[0].slide_id, "P2-DX1.aa");
    CHECK_STR(inside->bag[1].slide_id, "P1-DX2");
    /* two rows for one slide */
    CHECK_STR(refusal("slide,label\nP1,x\nP1-DX,y\nP2,y\n", "data.match=prefix", "P1-DX1|P1-DX2|P2-1"),
              "labels.csv: slide 'P1-DX1' fits line 2 ('P1') and line 3 ('P1-DX'); give longer ids, or set data.missing to skip to leave such slides out (2 of them)");
    CHECK_OK(load("slide,label\nP1,x\nP1-DX,y\nP2,y\nP9,x\n", "data.match=prefix|data.missing=skip|data.split.test=0|data.split.val=0",
                  "P1-DX1|P1-DX2|P1|P2-1", &skip));
    CHECK_INT(skip->n_bags, 4);
    CHECK_INT(skip->n_ambiguous, 0); /* P1 is a slide, so its row does not reach further */
    CHECK_STR(skip->bag[1].case_id, "P1-DX");
    CHECK_INT(skip->n_missing, 1);
}

TEST(a_slide_of_two_rows_is_left_out_and_told)
{
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    CHECK_OK(load("slide,label\nP1,x\nP1-D,y\nQ,y\nR,x\n", "data.match=prefix|data.missing=skip|data.split.test=0|data.split.val=0",
                  "P1-D1|P1-E|Q1|R", &ds));
    CHECK_INT(ds->n_bags, 3);
    CHECK_INT(ds->n_ambiguous, 1);
    CHECK_STR(ds->ambiguous[0], "slide 'P1-D1' fits line 2 ('P1') and line 3 ('P1-D')");
    CHECK(ds->n_warnings >= 1 && strstr(ds->warning[0], "labels.csv: 1 slide fits more than one row and is left out; the first: slide 'P1-D1' fits"));
    CHECK_INT(ds->n_unlabelled, 0);
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_json_writer w;
    sw_json_begin(&w, &text, 0);
    sw_dataset_json(ds, &w);
    CHECK_OK(sw_buf_status(&text, &err));
    CHECK(strstr(text.data, "\"ambiguous\":[\"slide 'P1-D1' fits") || strstr(text.data, "\"ambiguous\": [\"slide 'P1-D1' fits"));
}

TEST(a_folder_of_folds)
{
    char sets[700];
    const char *folder = file("folds/", NULL);
    file("folds/fold_0.csv", "ID,Label,Split\na,x,train\nb,y,train\nc,x,test\n");
    file("folds/fold_1.csv", "ID,Label,Split\na,x,test\nb,y,train\nc,x,train\n");
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        snprintf(sets, sizeof(sets), "data.split.val=0|data.split.folds=2|data.split.fold=%d", k);
        CHECK_OK(load_slides(folder, sets, NULL, &ds));
        CHECK_INT(ds->bag[0].split, k == 0 ? SW_SPLIT_TRAIN : SW_SPLIT_TEST);
        CHECK_INT(ds->bag[2].split, k == 0 ? SW_SPLIT_TEST : SW_SPLIT_TRAIN);
    }
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *none = NULL;
    CHECK_INT(load_slides(folder, "data.split.fold=2", NULL, &none), SW_E_NOT_FOUND);
    CHECK(strstr(err.message, "fold_2.csv: no such file; data.labels is a folder, of which data.split.fold (2) says which fold_K.csv is read") != NULL);
}

static const char five[] = "case,slide,label\np,a,x\nq,b,y\nr,c,x\nr,d,y\ns,e,x\n";

static void check_five(const sw_dataset *ds, const int *expected)
{
    for (int i = 0; i < 5; i++) CHECK_INT(ds->bag[i].split, expected[i]);
}

TEST(folders_of_splits)
{
    char sets[700];
    static const int clam[] = {SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_TEST, SW_SPLIT_TEST, SW_SPLIT_NONE};
    static const int giga[] = {SW_SPLIT_TEST, SW_SPLIT_TRAIN, SW_SPLIT_VAL, SW_SPLIT_VAL, SW_SPLIT_TRAIN};
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *a = NULL, *b = NULL, *c = NULL;
    file("clam/splits_1.csv", ",train,val,test\n0,a.svs,q,r\n");
    snprintf(sets, sizeof(sets), "data.split.fold=1|data.split.file=%s", file("clam", NULL));
    CHECK_OK(load(five, sets, NULL, &a));
    check_five(a, clam);
    CHECK(strstr(a->split_source, "clam/splits_1.csv") != NULL);
    file("giga/train_0.csv", ",slide_id,label\n0,b,y\n4,e,x\n");
    file("giga/val_0.csv", ",slide_id,label\n2,c,x\n3,d,y\n");
    file("giga/test_0.csv", ",slide_id,label\n0,a,x\n");
    snprintf(sets, sizeof(sets), "data.split.file=%s", file("giga", NULL));
    CHECK_OK(load(five, sets, NULL, &b));
    check_five(b, giga);
    snprintf(sets, sizeof(sets), "data.split.file=%s",
             file("splits_0_bool.csv", ",train,val,test\na,True,False,False\nb,False,True,False\nr,False,False,True\ne,False,False,False\n"));
    CHECK_OK(load(five, sets, NULL, &c));
    check_five(c, clam);
    snprintf(sets, sizeof(sets), "data.split.fold=3|data.split.file=%s", file("clam", NULL));
    CHECK_STR(refusal(five, sets, NULL),
              "clam: the folder holds none of splits_3.csv, fold_3.csv and train_3.csv (data.split.fold is 3)");
    snprintf(sets, sizeof(sets), "data.split.file=%s", file("giga", NULL));
    file("giga/test_0.csv", ",slide_id,label\n0,a,x\n3,d,y\n");
    CHECK_STR(refusal(five, sets, NULL), "giga/test_0.csv:3: 'd' is in test, and in another table in val");
    file("giga/test_0.csv", ",name,label\n0,a,x\n");
    CHECK_STR(refusal(five, sets, NULL),
              "giga/test_0.csv: no column 'slide_id'; name the column that lists slides with data.columns.slide");
    snprintf(sets, sizeof(sets), "data.split.file=%s", file("b.csv", ",train,val\na,True,False\nb,maybe,True\n"));
    CHECK_STR(refusal(five, sets, NULL), "b.csv:3: column 'train': 'maybe' is neither true nor false");
}

/* ---- real tables */

static const char *data_file(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof(path), "%s/labels/%s", sw_test_data(), name);
    return path;
}

TEST(the_survival_folder_of_the_reference)
{
    if (!sw_test_data()) SKIP("the real data is not here");
    static const int64_t train[] = {671, 671, 672}, test[] = {336, 336, 335}, events[] = {54, 48, 44};
    for (int k = 0; k < 3; k++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        char sets[100];
        snprintf(sets, sizeof(sets), "task.type=survival|data.split.val=0|data.split.fold=%d", k);
        CHECK_OK(load_slides(data_file("reference/survival_tcga_brca_3fold"), sets, NULL, &ds));
        CHECK_INT(ds->cases[SW_SPLIT_TRAIN], train[k]);
        CHECK_INT(ds->cases[SW_SPLIT_TEST], test[k]);
        CHECK_INT(ds->events[SW_SPLIT_TEST], events[k]);
    }
}

/* Labels by case, splits by slide: the slides of the splits file are those that are there. */
TEST(nsclc_labels_by_case)
{
    if (!sw_test_data()) SKIP("the real data is not here");
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
    char splits[1024], sets[1200];
    snprintf(splits, sizeof(splits), "%s", data_file("others/TCGA-NSCLC-split.csv"));
    CHECK_OK(sw_csv_read(splits, true, &csv, &err));
    SW_AUTOFREE const char **id = sw_calloc(3 * sw_csv_rows(csv), sizeof(*id));
    sw_dataset_slides slides = {.id = id};
    for (int k = 1; k <= 3; k++) {
        for (size_t r = 0; r < sw_csv_rows(csv); r++) {
            if (*sw_csv_cell(csv, r, (size_t)k)) id[slides.count++] = sw_csv_cell(csv, r, (size_t)k);
        }
    }
    CHECK_INT(slides.count, 847 + 93 + 93);
    snprintf(sets, sizeof(sets), "data.match=prefix|data.missing=skip|data.allow_leak=true|data.split.file=%s", splits);
    CHECK_OK(load_slides(data_file("others/label_nsclc.csv"), sets, &slides, &ds));
    CHECK_INT(ds->n_bags, 847 + 93 + 93);
    CHECK_INT(ds->bags[SW_SPLIT_TRAIN], 847);
    CHECK_INT(ds->bags[SW_SPLIT_VAL], 93);
    CHECK_INT(ds->bags[SW_SPLIT_TEST], 93);
    CHECK_INT(ds->n_unlabelled + ds->n_ambiguous, 0);
    CHECK_INT(ds->n_cases, 936);
}

TEST(class_counts_of_the_other_tables)
{
    if (!sw_test_data()) SKIP("the real data is not here");
    static const struct { const char *name; int classes; int64_t count[6]; } row[] = {
        {"gigapath/PANDA.csv", 6, {2603, 2399, 1209, 1118, 1124, 1102}},
        {"others/camelyon16.csv", 2, {239, 160}},
        {"others/label_nsclc.csv", 2, {478, 478}},
        {"others/label_brca.csv", 2, {779, 198}},
        {"clam/tumor_subtyping_dummy_clean.csv", 3, {250, 150, 100}},
        {"clam/tumor_vs_normal_dummy_clean.csv", 2, {350, 150}},
    };
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        CHECK_OK(load_slides(data_file(row[i].name), "data.split.from=random|data.split.test=0|data.split.val=0", NULL, &ds));
        CHECK_INT(ds->n_classes, row[i].classes);
        for (int k = 0; k < row[i].classes; k++) CHECK_INT(sw_dataset_class_counts(ds, SW_SPLIT_TRAIN)[k], row[i].count[k]);
    }
}

TEST(survival_tables_and_splits_by_case)
{
    if (!sw_test_data()) SKIP("the real data is not here");
    static const struct { const char *name; int64_t cases; } row[] = {
        {"others/BLCA_Splits.csv", 376}, {"others/LUAD_Splits.csv", 455}};
    for (size_t i = 0; i < 2; i++) {
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        CHECK_OK(load_slides(data_file(row[i].name), "task.type=survival|data.split.folds=3|data.split.val=0", NULL, &ds));
        CHECK_INT(ds->n_cases, row[i].cases);
    }
    for (int k = 0; k < 10; k++) { /* five folds of two tables */
        SW_CLEANUP(sw_dataset_free_ptr) sw_dataset *ds = NULL;
        const char *cohort = k < 5 ? "blca" : "brca";
        char sets[1200], name[64];
        snprintf(name, sizeof(name), "survpath/tcga_%s.csv", cohort);
        snprintf(sets, sizeof(sets), "task.type=survival|data.missing=skip|data.split.fold=%d|data.split.file=%s/labels/survpath/splits_tcga_%s",
                 k % 5, sw_test_data(), cohort);
        CHECK_OK(load_slides(data_file(name), sets, NULL, &ds));
        CHECK(ds->cases[SW_SPLIT_TRAIN] > 200 && ds->cases[SW_SPLIT_VAL] > 50);
        CHECK_INT(ds->cases[SW_SPLIT_TRAIN] + ds->cases[SW_SPLIT_VAL] + ds->cases[SW_SPLIT_NONE], ds->n_cases);
    }
}

TEST(no_memory_while_matching)
{
    const char *path = file("labels.csv", "P1,x\nP2,y\nP3,x\nP1-D,y\nP9,y\n");
    SW_CLEANUP(sw_config_free) sw_config c = {0};
    CHECK_OK(sw_config_default(&c, &err));
    sw_free(c.data.labels);
    c.data.labels = sw_strdup(path);
    c.data.missing = SW_CFG_MISSING_SKIP;
    c.data.match = SW_CFG_MATCH_PREFIX;
    c.data.split.from = SW_CFG_SPLIT_FILE;
    sw_free(c.data.split.file);
    c.data.split.file = sw_strdup(file("s.csv", ",train,val,test\n0,P1-1,P2,P3\n1,zz,,\n"));
    const char *const id[] = {"P1-1", "P1-D1", "P2-1", "P3-1", "z"};
    sw_dataset_slides known = {.id = id, .count = 5};
    int64_t live = sw_mem_live();
    bool done = false;
    for (int64_t k = 1; k < 2000 && !done; k++) {
        sw_dataset *ds = NULL;
        sw_mem_fail_after(k);
        sw_status status = sw_dataset_load(&c, &known, false, NULL, &ds, &err);
        sw_mem_fail_after(0);
        CHECK(status == SW_OK || status == SW_E_NOMEM);
        done = status == SW_OK;
        sw_dataset_free(ds);
        CHECK_INT(sw_mem_live(), live);
    }
    CHECK(done);
}
