/* SPDX-License-Identifier: Apache-2.0 */
/* Training on a store of eight tiny slides: state, log, selection, stopping, resuming, and memory that runs out. */
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "infer/checkpoint.h"
#include "slidewise/store.h"
#include "slidewise/train.h"
#include "train/runlog.h"
#include "train/state.h"
#include "train/step.h"
#include "tiny_slide.h"
#include "weights/weights.h"

enum { PX = 32, SLIDES = 8, PATCHES = 3, SHORT = 2 /* patches of the last slide */ };

static sw_error err;

/* --- the state in a checkpoint */

TEST(the_state_comes_back_bit_for_bit)
{
    SW_CLEANUP(sw_buf_free) sw_buf text = {0};
    sw_train_state back, s = {.epoch = 12, .epoch_step = 34, .steps = 1LL << 40, .updates = 56, .loss_sum = 0.1 + 0.2,
                              .seconds = 1e-300, .best = {{3, 1.0 / 3.0, 2.0 / 3.0}, {0, NAN, NAN}}, .stale = 4,
                              .finished = true, .stopped_early = true, .log_bytes = 789,
                              .config_hash = 0xFEDCBA9876543210u, .watch = {.grad = {0.1, NAN, 3}, .updates = 2}};
    sw_train_state_write(&s, &text);
    CHECK_OK(sw_buf_status(&text, &err));
    CHECK_OK(sw_train_state_read(text.data, "x", &back, &err));
    CHECK(back.epoch == 12 && back.epoch_step == 34 && back.steps == 1LL << 40 && back.updates == 56);
    CHECK(back.loss_sum == s.loss_sum && back.seconds == s.seconds && back.stale == 4 && back.log_bytes == 789);
    CHECK(back.best[0].epoch == 3 && back.best[0].metric == 1.0 / 3.0 && back.best[0].loss == 2.0 / 3.0);
    CHECK(back.best[1].epoch == 0 && isnan(back.best[1].metric) && isnan(back.best[1].loss));
    CHECK(back.finished && back.stopped_early && back.config_hash == s.config_hash);
    CHECK(back.watch.grad[0] == 0.1 && isnan(back.watch.grad[1]) && back.watch.grad[2] == 3 && back.watch.updates == 2);
}

TEST(another_text_is_no_state)
{
    sw_train_state s;
    CHECK(sw_train_state_read("{\"steps\": 3}", "last.safetensors", &s, &err) == SW_E_FORMAT);
    CHECK_STR(err.message, "last.safetensors: not a training state; delete the file to start again");
    CHECK(sw_train_state_read("{", "last.safetensors", &s, &err) == SW_E_FORMAT);
}

/* --- the log */

static sw_status log_line(sw_runlog *log, const char *text)
{
    SW_CLEANUP(sw_buf_free) sw_buf line = {0};
    sw_buf_puts(&line, text);
    return sw_runlog_write(log, &line, &err);
}

static bool file_is(const char *path, const char *text)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    return sw_file_read(path, &buf, &err) == SW_OK && buf.size == strlen(text) && memcmp(buf.data, text, buf.size) == 0;
}

TEST(the_log_is_cut_to_what_the_checkpoint_knows)
{
    SW_AUTOFREE char *path = sw_path_join(sw_test_dir(), "cut.jsonl");
    sw_runlog *log = NULL;
    CHECK_OK(sw_runlog_open(path, 0, &log, &err));
    CHECK_OK(log_line(log, "one"));
    int64_t known = sw_runlog_size(log);
    CHECK_INT(known, 4);
    CHECK_OK(log_line(log, "two"));
    sw_runlog_close(log);
    CHECK(file_is(path, "one\ntwo\n"));
    CHECK_OK(sw_runlog_open(path, known, &log, &err));
    CHECK_OK(log_line(log, "three"));
    CHECK_INT(sw_runlog_size(log), 10);
    sw_runlog_close(log);
    CHECK(file_is(path, "one\nthree\n"));
    CHECK_OK(sw_runlog_open(path, 1000, &log, &err)); /* shorter than the checkpoint says: kept */
    CHECK_INT(sw_runlog_size(log), 10);
    sw_runlog_close(log);
    CHECK(file_is(path, "one\nthree\n"));
}

/* --- runs */

/* Path of the store; the same for all tests of the process. */
static const char *store(void)
{
    static char path[300];
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "32"}, {"overlap_px", "0"},
                                                     {"quality", "95"}, {"whole_image", "yes"}};
    sw_store_writer *w = NULL;
    if (path[0]) return path;
    snprintf(path, sizeof path, "%s/store", sw_test_dir());
    sw_status status = sw_store_writer_open(path, settings, 5, &w, &err);
    for (int i = 0; i < SLIDES && status == SW_OK; i++) status = tiny_slide(w, i, i == SLIDES - 1 ? SHORT : PATCHES, PX, &err);
    sw_store_writer_close(&w);
    if (status != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    return path;
}

/* The usual table: slide i has class i % 2; 4 in train, 2 in val, 2 in test. */
static const char both[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,a,val\ns5,b,val\n"
                           "s6,a,test\ns7,b,test\n";

typedef struct setup {
    const char *table, *sets; /* overrides with "|" between them */
    bool resume;
    int64_t stop_after;
    const sw_sink *sink;
} setup;

static const char *run_dir(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", sw_test_dir(), name);
    return path;
}

static sw_status train(const char *name, setup s, sw_train_result *result)
{
    const char *sets[40] = {"aggregator.inner_dim=8", "aggregator.heads=2", "augment.crop_px=32", "bag.patches=3",
                            "train.batch_bags=1", "train.epochs=3", "train.early_stop.patience=0", "data.split.val=0",
                            "eval.bootstrap=0", "run.threads=1", "train.lr=0.001"};
    char labels[320], text[4][340], buffer[600], *save = NULL;
    sw_train_options o = sw_train_options_default();
    sw_train_result ignored;
    snprintf(labels, sizeof labels, "%s.csv", run_dir(name));
    SW_TRY(sw_file_write(labels, s.table, strlen(s.table), &err));
    snprintf(text[0], sizeof text[0], "data.store=%s", store());
    snprintf(text[1], sizeof text[1], "data.labels=%s", labels);
    snprintf(text[2], sizeof text[2], "run.out=%s", run_dir(name));
    o.n_sets = 11;
    for (int i = 0; i < 3; i++) sets[o.n_sets++] = text[i];
    snprintf(buffer, sizeof buffer, "%s", s.sets);
    for (char *t = strtok_r(buffer, "|", &save); t; t = strtok_r(NULL, "|", &save)) sets[o.n_sets++] = t;
    o.sets = sets;
    o.resume = s.resume;
    o.stop_after_steps = s.stop_after;
    o.sink = s.sink;
    return sw_train(&o, result ? result : &ignored, &err);
}

static sw_status train_all(const char *name, const char *table, const char *sets, sw_train_result *result)
{
    return train(name, (setup){.table = table, .sets = sets}, result);
}

/* Lines of a run's log with this event; returns their number. */
typedef struct line {
    int epoch;
    double metric, loss;
    bool best;
} line;

static int epochs_of(const char *name, const char *metric, line *out, int capacity)
{
    char path[400], *save = NULL;
    int n = 0;
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    snprintf(path, sizeof path, "%s/log.jsonl", run_dir(name));
    if (sw_file_read(path, &buf, &err) != SW_OK) return -1;
    sw_buf_puts(&buf, "");
    for (char *text = strtok_r(buf.data, "\n", &save); text; text = strtok_r(NULL, "\n", &save)) {
        SW_CLEANUP(sw_json_free_ptr) sw_json *j = NULL;
        if (sw_json_parse(text, strlen(text), path, &j, &err) != SW_OK) return -1;
        if (strcmp(sw_json_text(sw_json_get(j, "event"), ""), "epoch") != 0 || n == capacity) continue;
        out[n++] = (line){(int)sw_json_integer(sw_json_get(j, "epoch"), 0), sw_json_real(sw_json_get(j, metric), NAN),
                          sw_json_real(sw_json_get(j, "val_loss"), NAN), sw_json_truth(sw_json_get(j, "best"), false)};
    }
    return n;
}

static bool same_files(const char *a, const char *b, const char *file)
{
    SW_CLEANUP(sw_buf_free) sw_buf x = {0}, y = {0};
    char path[2][400];
    snprintf(path[0], sizeof path[0], "%s/%s", run_dir(a), file);
    snprintf(path[1], sizeof path[1], "%s/%s", run_dir(b), file);
    if (sw_file_read(path[0], &x, &err) != SW_OK || sw_file_read(path[1], &y, &err) != SW_OK) return false;
    return x.size == y.size && memcmp(x.data, y.data, x.size) == 0;
}

static bool has_file(const char *name, const char *file)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", run_dir(name), file);
    return sw_path_exists(path);
}

static sw_status state_of(const char *name, sw_train_state *out)
{
    char path[400];
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    snprintf(path, sizeof path, "%s/checkpoints/last.safetensors", run_dir(name));
    SW_TRY(sw_weights_open(path, &w, &err));
    return sw_train_state_read(sw_weights_metadata(w, "slidewise.state"), path, out, &err);
}

/* Checkpoints are large for a test's folder. */
static void drop(const char *name)
{
    static const char *const files[] = {"last", "previous", "best", "best_main"};
    for (int i = 0; i < 4; i++) {
        char path[400];
        snprintf(path, sizeof path, "%s/checkpoints/%s.safetensors", run_dir(name), files[i]);
        if (sw_file_remove(path, &err) != SW_OK) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
}

TEST(the_best_epoch_is_kept)
{
    line l[8];
    sw_train_result r;
    CHECK_OK(train_all("best", both, "train.epochs=5", &r));
    int n = epochs_of("best", "val_auc", l, 8), best = 0;
    CHECK_INT(n, 5);
    for (int i = 0; i < n; i++) {
        bool better = i == 0 || l[i].metric > l[best].metric || (l[i].metric == l[best].metric && l[i].loss < l[best].loss);
        CHECK(l[i].epoch == i + 1 && l[i].best == better);
        if (better) best = i;
    }
    CHECK_INT(r.best_epoch, best + 1);
    CHECK(r.best_metric == l[best].metric && r.best_loss == l[best].loss);
    CHECK(r.epochs == 5 && r.steps == 20 && !r.cancelled && !r.stopped_early);
    CHECK(has_file("best", "predictions_val.csv") && has_file("best", "metrics_test.json"));
    drop("best");
}

/* The text `key` of the first line of a run's log. */
static bool log_says(const char *name, const char *key, const char *value)
{
    char path[400];
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    SW_CLEANUP(sw_json_free_ptr) sw_json *j = NULL;
    snprintf(path, sizeof path, "%s/log.jsonl", run_dir(name));
    return sw_file_read(path, &buf, &err) == SW_OK &&
           sw_json_parse(buf.data, strcspn(buf.data, "\n"), path, &j, &err) == SW_OK &&
           strcmp(sw_json_text(sw_json_get(j, key), ""), value) == 0;
}

TEST(a_run_in_bfloat16_says_so_and_resumes_to_the_byte)
{
    SW_CLEANUP(sw_model_use_free) sw_model_use use = {0};
    char path[400];
    CHECK_OK(train_all("narrow", both, "run.precision=bf16|train.epochs=2", NULL));
    CHECK(log_says("narrow", "precision", "bf16"));
    snprintf(path, sizeof path, "%s/checkpoints/best.safetensors", run_dir("narrow"));
    CHECK_OK(sw_checkpoint_peek(path, &use, &err));
    CHECK(use.activations == SW_BF16);
    setup s = {.table = both, .sets = "run.precision=bf16|train.epochs=2", .stop_after = 5};
    CHECK(train("narrow2", s, NULL) == SW_OK || err.code == SW_E_CANCELLED);
    s.stop_after = 0;
    s.resume = true;
    CHECK_OK(train("narrow2", s, NULL));
    CHECK(same_files("narrow", "narrow2", "predictions_test.csv"));
    CHECK(train_all("narrow3", both, "run.precision=bf16|run.backend=ref", NULL) == SW_E_UNSUPPORTED);
    CHECK_STR(err.message,
              "precision bf16: backend ref computes in fp32 only; choose precision fp32 or auto, or backend cpu");
    CHECK_OK(train_all("wide", both, "train.epochs=2", NULL));
    CHECK(log_says("wide", "precision", "fp32"));
    CHECK(!same_files("narrow", "wide", "predictions_test.csv"));
    drop("narrow");
    drop("narrow2");
    drop("wide");
}

TEST(where_the_metric_is_undefined_the_loss_selects)
{
    static const char one[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns5,b,val\ns7,b,val\n";
    line l[8];
    sw_train_result r;
    CHECK_OK(train_all("undefined", one, "train.epochs=5", &r));
    int n = epochs_of("undefined", "val_auc", l, 8), best = 0;
    CHECK_INT(n, 5);
    for (int i = 1; i < n; i++) best = l[i].loss < l[best].loss ? i : best;
    CHECK_INT(r.best_epoch, best + 1);
    CHECK(best > 0);
    CHECK(isnan(r.best_metric) && r.best_loss == l[best].loss);
    CHECK(has_file("undefined", "metrics_val.json") && !has_file("undefined", "predictions_test.csv"));
    drop("undefined");
}

TEST(early_stopping_counts_epochs_that_are_worse)
{
    static const char one[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,a,val\n";
    line l[40];
    sw_train_result r;
    CHECK_OK(train_all("early", one, "train.epochs=40|train.early_stop.patience=2|train.early_stop.min_epoch=3", &r));
    int n = epochs_of("early", "val_auc", l, 40), best = 0, stale = 0, expected = 40;
    for (int i = 1; i < n && expected == 40; i++) {
        stale = l[i].loss > l[best].loss ? stale + 1 : 0;
        if (l[i].loss < l[best].loss) best = i;
        if (stale >= 2 && i + 1 > 3) expected = i + 1;
    }
    CHECK_INT(n, expected);
    CHECK(r.stopped_early && r.epochs == expected && expected < 40);
    drop("early");
}

TEST(without_a_validation_set_the_last_epoch_is_kept)
{
    static const char none[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\n";
    sw_train_result r;
    CHECK_OK(train_all("noval", none, "train.epochs=2|train.early_stop.patience=1|train.early_stop.min_epoch=0", &r));
    CHECK(r.best_epoch == 2 && isnan(r.best_metric) && isnan(r.best_loss) && !r.stopped_early);
    CHECK(has_file("noval", "checkpoints/best.safetensors") && !has_file("noval", "predictions_val.csv"));
    drop("noval");
}

TEST(more_steps_to_accumulate_than_an_epoch_has)
{
    sw_train_state s;
    CHECK_OK(train_all("accumulate", both, "train.accumulate=100|train.epochs=2", NULL));
    CHECK_OK(state_of("accumulate", &s));
    CHECK(s.steps == 8 && s.updates == 2 && s.finished && s.epoch == 2 && s.epoch_step == 0);
    CHECK_OK(train_all("accumulate3", both, "train.accumulate=3|train.epochs=2", NULL)); /* windows of 3 and 1 */
    CHECK_OK(state_of("accumulate3", &s));
    CHECK(s.steps == 8 && s.updates == 4);
    drop("accumulate");
    drop("accumulate3");
}

TEST(bags_short_of_patches_stay_short_without_padding)
{
    static const char table[] = "slide,label,split\ns0,a,train\ns7,b,train\n";
    sw_train_result r;
    CHECK_OK(train_all("short", table, "bag.pad=false|train.epochs=1", &r));
    CHECK_INT(r.steps, 2);
    CHECK(train_all("short2", table, "bag.pad=false|train.batch_bags=2", NULL) == SW_E_INVALID);
    CHECK_STR(err.message, "slide s7 has 2 of the 3 patches that a bag asks for; set bag.pad to true, or train.batch_bags to 1");
    drop("short");
}

TEST(a_run_is_not_written_over)
{
    char expected[500];
    CHECK_OK(train_all("twice", both, "train.epochs=1", NULL));
    CHECK(train_all("twice", both, "train.epochs=1", NULL) == SW_E_INVALID);
    snprintf(expected, sizeof expected, "%s: holds a run already; go on with it (--resume) or choose another run.out", run_dir("twice"));
    CHECK_STR(err.message, expected);
    CHECK(train("twice", (setup){.table = both, .sets = "train.epochs=2", .resume = true}, NULL) == SW_E_INVALID);
    snprintf(expected, sizeof expected,
             "%s/checkpoints/last.safetensors: was trained with another configuration or label table than given now "
             "(train.epochs: 1 against 2); give the same, or choose another run.out",
             run_dir("twice"));
    CHECK_STR(err.message, expected);
    sw_train_result r;
    CHECK_OK(train("twice", (setup){.table = both, .sets = "train.epochs=1", .resume = true}, &r)); /* finished: nothing to do */
    CHECK(r.steps == 4 && r.epochs == 1);
    drop("twice");
}

#define RESUMED "train.ema=0.9|train.select=both|train.accumulate=2|train.epochs=3|run.seed=2"

TEST(a_run_in_pieces_ends_in_the_same_bytes)
{
    sw_train_result r;
    CHECK_OK(train_all("whole", both, RESUMED, NULL));
    CHECK_OK(train("pieces", (setup){.table = both, .sets = RESUMED, .stop_after = 1}, &r));
    CHECK(r.cancelled && r.steps == 2); /* not within a window of accumulation */
    for (int i = 0; i < 20 && r.cancelled; i++)
        CHECK_OK(train("pieces", (setup){.table = both, .sets = RESUMED, .resume = true, .stop_after = 3}, &r));
    CHECK(!r.cancelled && r.steps == 12);
    CHECK(same_files("whole", "pieces", "checkpoints/best.safetensors"));
    CHECK(same_files("whole", "pieces", "checkpoints/best_main.safetensors"));
    CHECK(same_files("whole", "pieces", "predictions_test_main.csv")); /* both views are evaluated */
    CHECK(same_files("whole", "pieces", "metrics_test_main.json"));
    CHECK(same_files("whole", "pieces", "predictions_test.csv"));
    drop("whole");
    drop("pieces");
}

TEST(one_training_at_a_time)
{
    sw_train_result r;
    char path[600], expected[900];
    CHECK_OK(train("locked", (setup){.table = both, .sets = "train.epochs=1", .stop_after = 1}, &r));
    snprintf(path, sizeof path, "%s/lock", run_dir("locked"));
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    snprintf(expected, sizeof expected, "%s: another training writes into this directory (process %lld); wait until it has ended, or choose another run.out",
             run_dir("locked"), (long long)getpid());
    CHECK_INT(train("locked", (setup){.table = both, .sets = "train.epochs=1", .resume = true}, &r), SW_E_INVALID);
    CHECK_STR(err.message, expected);
    close(fd);
    CHECK_OK(train("locked", (setup){.table = both, .sets = "train.epochs=1", .resume = true}, &r));
    CHECK(!r.cancelled);
    drop("locked");
}

TEST(selecting_on_the_test_set)
{
    sw_train_result r;
    CHECK_OK(train_all("ontest", both, "train.epochs=2|train.select_on_test=true", &r));
    CHECK(has_file("ontest", "predictions_test.csv") && !has_file("ontest", "predictions_val.csv"));
    SW_CLEANUP(sw_buf_free) sw_buf log = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/log.jsonl", run_dir("ontest"));
    CHECK_OK(sw_file_read(path, &log, &err));
    CHECK(strstr(log.data, "\"selected_on\":\"test\"") || strstr(log.data, "\"selected_on\": \"test\""));
    CHECK(r.best_epoch > 0);
    drop("ontest");
}

/* Keeps the lines about memory. */
static char said[2000];

static void listen(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    size_t used = strlen(said);
    if (strstr(text, "memory")) snprintf(said + used, sizeof said - used, "%s%s\n", level == SW_LOG_WARNING ? "! " : "", text);
}

TEST(a_budget_picks_the_chunk_and_the_run_remembers_it)
{
    sw_sink sink = {.log = listen};
    sw_train_state s;
    sw_train_result r;
    said[0] = '\0';
    CHECK_OK(train("roomy", (setup){.table = both, .sets = "run.memory=auto", .sink = &sink}, &r));
    CHECK(strstr(said, ", with 3 patches at once in training and 3 in evaluation\n") && strstr(said, " were expected\n"));
    CHECK_OK(state_of("roomy", &s));
    CHECK(s.chunk_patches == 3 && s.eval_chunk_patches == 3);
    /* Interrupted, and resumed where there is too little: the same run in the same bytes, and a warning. */
    CHECK_OK(train("tight", (setup){.table = both, .sets = "run.memory=auto", .stop_after = 2}, &r));
    CHECK(r.cancelled);
    said[0] = '\0';
    CHECK_OK(train("tight", (setup){.table = both, .sets = "run.memory=2MB", .resume = true, .sink = &sink}, &r));
    CHECK(strncmp(said, "! train.chunk_patches is 3, which needs about ", 46) == 0);
    CHECK(strstr(said, ", more than run.memory (2 MB)\n"));
    CHECK(same_files("roomy", "tight", "checkpoints/best.safetensors"));
    CHECK(same_files("roomy", "tight", "predictions_test.csv"));
    /* A run that begins there is refused; a chunk that is given is taken as it is. */
    CHECK(train_all("refused", both, "run.memory=2MB", &r) == SW_E_INVALID);
    CHECK(strncmp(err.message, "run.memory: 2 MB is too small: one patch of 32 x 32 pixels at a time needs ", 74) == 0);
    CHECK_OK(train_all("given", both, "run.memory=auto|train.chunk_patches=2|eval.chunk_patches=1|train.epochs=1", &r));
    CHECK_OK(state_of("given", &s));
    CHECK(s.chunk_patches == 2 && s.eval_chunk_patches == 1);
    CHECK_OK(train_all("plain", both, "train.epochs=1", &r));
    CHECK_OK(state_of("plain", &s));
    CHECK(s.chunk_patches == 128 && s.eval_chunk_patches == 64);
    drop("roomy");
    drop("tight");
    drop("given");
    drop("plain");
}

/* Cancels in the second validation of an epoch, when the first has found a better model. */
static bool in_validation;

static void watch(void *ctx, const sw_progress *p)
{
    (void)ctx;
    if (strncmp(p->job, "validate epoch 2 (moving average)", 33) == 0) in_validation = true;
}

static bool stop_in_validation(void *ctx)
{
    (void)ctx;
    return in_validation;
}

TEST(stopped_within_validation_the_epoch_is_kept)
{
    sw_sink sink = {.progress = watch, .cancelled = stop_in_validation};
    sw_train_result r;
    sw_train_state s;
    in_validation = false;
    line l[4];
    CHECK_OK(train_all("unstopped", both, RESUMED, NULL));
    CHECK_INT(epochs_of("unstopped", "val_auc", l, 4), 3);
    CHECK(l[1].metric > l[0].metric || (l[1].metric == l[0].metric && l[1].loss < l[0].loss)); /* or the test shows little */
    CHECK_OK(train("stopped", (setup){.table = both, .sets = RESUMED, .sink = &sink}, &r));
    CHECK(r.cancelled && r.steps == 8 && r.epochs == 1);
    CHECK_OK(state_of("stopped", &s));
    CHECK(s.epoch == 1 && s.epoch_step == 4 && s.best[0].epoch <= 1 && s.best[1].epoch <= 1);
    CHECK_OK(train("stopped", (setup){.table = both, .sets = RESUMED, .resume = true}, &r));
    CHECK(!r.cancelled && r.steps == 12);
    CHECK(same_files("unstopped", "stopped", "checkpoints/best.safetensors"));
    CHECK(same_files("unstopped", "stopped", "predictions_test.csv"));
    drop("unstopped");
    drop("stopped");
}

TEST(a_frozen_encoder_does_not_move)
{
    CHECK_OK(train_all("frozen1", both, "encoder.frozen=true|train.epochs=1", NULL));
    CHECK_OK(train_all("frozen2", both, "encoder.frozen=true|train.epochs=2", NULL));
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *a = NULL, *b = NULL;
    SW_AUTOFREE char *first = sw_asprintf("%s/checkpoints/last.safetensors", run_dir("frozen1"));
    SW_AUTOFREE char *second = sw_asprintf("%s/checkpoints/last.safetensors", run_dir("frozen2"));
    CHECK_OK(sw_weights_open(first, &a, &err));
    CHECK_OK(sw_weights_open(second, &b, &err));
    bool mil_moved = false;
    for (size_t i = 0; i < sw_weights_count(a); i++) {
        const sw_weight *w = sw_weights_get(a, i);
        bool encoder = strncmp(w->name, "encoder.", 8) == 0, mil = strncmp(w->name, "mil.", 4) == 0;
        size_t n = (size_t)sw_shape_count(&w->shape);
        if ((!encoder && !mil) || w->dtype != SW_F32) continue;
        SW_AUTOFREE float *x = sw_calloc(n, sizeof *x), *y = sw_calloc(n, sizeof *y);
        CHECK_OK(sw_weights_read_f32(a, i, x, &err));
        CHECK_OK(sw_weights_read_f32(b, (size_t)sw_weights_find(b, w->name), y, &err));
        if (encoder) CHECK(memcmp(x, y, n * sizeof *x) == 0);
        else mil_moved = mil_moved || memcmp(x, y, n * sizeof *x) != 0;
    }
    CHECK(mil_moved);
    drop("frozen1");
    drop("frozen2");
}

/* --- the regime */

/* Everything at once that has a state or a branch of its own. */
#define REGIME "train.optimizer=sgd|train.nesterov=true|train.encoder_lr=0.0005|train.decay=matrices|train.weight_decay=0.01|" \
               "train.warmup_updates=7|train.ema=0.99|train.ema_warmup=true|train.select=both|train.grad_scaling=dynamic|" \
               "encoder.frozen_stats=true|train.clip=0.5|train.accumulate=2|train.early_stop.watch=loss"

TEST(a_run_under_another_regime_resumes_to_the_byte)
{
    sw_train_result r;
    sw_train_state s;
    CHECK_OK(train_all("regime", both, REGIME, NULL));
    CHECK_OK(train("regime2", (setup){.table = both, .sets = REGIME, .stop_after = 3}, &r));
    for (int i = 0; i < 20 && r.cancelled; i++)
        CHECK_OK(train("regime2", (setup){.table = both, .sets = REGIME, .resume = true, .stop_after = 3}, &r));
    CHECK(!r.cancelled);
    CHECK(same_files("regime", "regime2", "checkpoints/best.safetensors"));
    CHECK(same_files("regime", "regime2", "checkpoints/best_main.safetensors"));
    CHECK(same_files("regime", "regime2", "predictions_test.csv"));
    CHECK_OK(state_of("regime2", &s));
    CHECK(s.grad_scale == 65536.0 && s.grad_good == 6 && s.skipped == 0 && s.least_loss > 0);
    drop("regime");
    drop("regime2");
}

/* A power of two changes no digit. */
TEST(scaled_gradients_make_the_same_updates)
{
    CHECK_OK(train_all("unscaled", both, "train.epochs=2|train.clip=0.5", NULL));
    CHECK_OK(train_all("scaled", both, "train.epochs=2|train.clip=0.5|train.grad_scaling=dynamic", NULL));
    CHECK(same_files("unscaled", "scaled", "checkpoints/best.safetensors"));
    drop("unscaled");
    drop("scaled");
}

/* The largest difference of the entries whose names hold `part`, between two runs' last checkpoints. */
static double difference(const char *one, const char *two, const char *part)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *a = NULL, *b = NULL;
    SW_AUTOFREE char *first = sw_asprintf("%s/checkpoints/last.safetensors", run_dir(one));
    SW_AUTOFREE char *second = sw_asprintf("%s/checkpoints/last.safetensors", run_dir(two));
    double most = 0;
    if (sw_weights_open(first, &a, &err) != SW_OK || sw_weights_open(second, &b, &err) != SW_OK) return NAN;
    for (size_t i = 0; i < sw_weights_count(a); i++) {
        const sw_weight *w = sw_weights_get(a, i);
        size_t n = (size_t)sw_shape_count(&w->shape);
        if (!strstr(w->name, part) || w->dtype != SW_F32) continue;
        SW_AUTOFREE float *x = sw_calloc(n + 1, sizeof *x), *y = sw_calloc(n + 1, sizeof *y);
        if (sw_weights_read_f32(a, i, x, &err) != SW_OK ||
            sw_weights_read_f32(b, (size_t)sw_weights_find(b, w->name), y, &err) != SW_OK) return NAN;
        for (size_t k = 0; k < n; k++) most = fmax(most, fabs((double)x[k] - y[k]));
    }
    return most;
}

TEST(frozen_statistics_stay_while_the_encoder_learns)
{
    CHECK_OK(train_all("stats1", both, "encoder.frozen_stats=true|train.epochs=1|train.optimizer=sgd", NULL));
    CHECK_OK(train_all("stats2", both, "encoder.frozen_stats=true|train.epochs=2|train.optimizer=sgd", NULL));
    CHECK_OK(train_all("stats3", both, "encoder.frozen_stats=true|train.epochs=1|train.optimizer=sgd|train.chunk_patches=1", NULL));
    CHECK_OK(train_all("stats4", both, "train.epochs=1|train.optimizer=sgd", NULL));
    CHECK(difference("stats1", "stats2", ".running_") == 0.0);
    CHECK(difference("stats1", "stats2", "encoder.model.conv1.weight") > 0.0);
    CHECK(difference("stats1", "stats4", ".running_") > 0.0);
    CHECK(difference("stats1", "stats3", "encoder.") < 1e-5); /* chunks decide nothing but rounding */
    for (int i = 1; i <= 4; i++) {
        char name[10];
        snprintf(name, sizeof name, "stats%d", i);
        drop(name);
    }
}

TEST(the_frozen_part_of_an_encoder_does_not_move)
{
    static const char sets[] = "encoder.frozen_until=layer2|encoder.frozen_stats=true|train.optimizer=adamw|train.weight_decay=0.1|train.epochs=%d";
    char one[200], two[200];
    snprintf(one, sizeof one, sets, 1);
    snprintf(two, sizeof two, sets, 2);
    CHECK_OK(train_all("part1", both, one, NULL));
    CHECK_OK(train_all("part2", both, two, NULL));
    CHECK(difference("part1", "part2", "encoder.model.conv1") == 0.0 && difference("part1", "part2", "encoder.model.layer1") == 0.0);
    CHECK(difference("part1", "part2", "encoder.model.layer2") == 0.0 && difference("part1", "part2", "encoder.model.bn1") == 0.0);
    CHECK(difference("part1", "part2", "encoder.model.layer3") > 0.0);
    CHECK(train_all("part3", both, "encoder.frozen_until=layer7", NULL) == SW_E_INVALID);
    CHECK_STR(err.message, "encoder.frozen_until: encoder resnet18 has no part 'layer7'; there are conv1, layer1, layer2, layer3");
    drop("part1");
    drop("part2");
}

TEST(steps_at_given_epochs_are_in_the_log)
{
    line l[4];
    CHECK_OK(train_all("steps", both, "train.schedule=step|train.step_at=[1, 2]|train.step_factor=0.1|train.epochs=3", NULL));
    CHECK_INT(epochs_of("steps", "lr", l, 4), 3);
    CHECK_NEAR(l[0].metric, 0.001, 1e-9, 0);
    CHECK_NEAR(l[1].metric, 0.0001, 1e-9, 0);
    CHECK_NEAR(l[2].metric, 0.00001, 1e-9, 0);
    drop("steps");
}

TEST(the_warm_up_by_updates_is_in_the_log)
{
    line l[4];
    CHECK_OK(train_all("warm", both, "train.warmup_updates=8|train.warmup_lr=0.0002|train.schedule=const|train.epochs=3", NULL));
    CHECK_INT(epochs_of("warm", "lr", l, 4), 3);
    CHECK_NEAR(l[0].metric, 0.0002 + 3 * 0.0008 / 8, 1e-9, 0); /* of the epoch's last update, the fourth */
    CHECK_NEAR(l[1].metric, 0.0002 + 7 * 0.0008 / 8, 1e-9, 0);
    CHECK_NEAR(l[2].metric, 0.001, 1e-9, 0);
    drop("warm");
}

TEST(folds_have_seeds_of_their_own)
{
    static const char table[] = "slide,label\ns0,a\ns1,b\ns2,a\ns3,b\ns4,a\ns5,b\n";
    const char *fold = "data.split.folds=2|data.split.fold=1|train.epochs=1|run.seed_per_fold=true";
    CHECK_OK(train_all("fold", table, fold, NULL));
    CHECK_OK(train_all("seeded", table, "data.split.folds=2|data.split.fold=1|train.epochs=1|run.seed=2121", NULL));
    CHECK(same_files("fold", "seeded", "checkpoints/best.safetensors"));
    CHECK_OK(train("fold", (setup){.table = table, .sets = fold, .resume = true}, NULL)); /* the same run */
    drop("fold");
    drop("seeded");
}

TEST(early_stopping_may_watch_the_loss_or_count_ties)
{
    static const char one[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,a,val\ns5,b,val\n";
    line l[40];
    sw_train_result r;
    CHECK_OK(train_all("watch", one, "train.epochs=40|train.early_stop.patience=3|train.early_stop.min_epoch=0|"
                                     "train.early_stop.watch=loss", &r));
    int n = epochs_of("watch", "val_auc", l, 40), stale = 0, expected = 40;
    double least = n > 0 ? l[0].loss : NAN;
    for (int i = 1; i < n && expected == 40; i++) {
        stale = l[i].loss > least ? stale + 1 : 0;
        least = fmin(least, l[i].loss);
        if (stale >= 3) expected = i + 1;
    }
    CHECK_INT(n, expected);
    CHECK_OK(train_all("ties", one, "train.epochs=40|train.early_stop.patience=3|train.early_stop.min_epoch=0|"
                                    "train.early_stop.counts=not_better", &r));
    n = epochs_of("ties", "val_auc", l, 40);
    double most = n > 0 ? l[0].metric : NAN;
    expected = 40;
    stale = 0;
    for (int i = 1; i < n && expected == 40; i++) {
        stale = l[i].metric <= most ? stale + 1 : 0;
        most = fmax(most, l[i].metric);
        if (stale >= 3) expected = i + 1;
    }
    CHECK_INT(n, expected);
    CHECK(expected < 40);
    drop("watch");
    drop("ties");
}

TEST(settings_that_contradict_each_other_are_refused)
{
    static const struct { const char *sets, *message; } bad[] = {
        {"train.nesterov=true", "configuration: train.nesterov: true needs train.optimizer sgd and train.momentum above 0"},
        {"train.nesterov=true|train.optimizer=sgd|train.momentum=0",
         "configuration: train.nesterov: true needs train.optimizer sgd and train.momentum above 0"},
        {"train.warmup_epochs=1|train.warmup_updates=5",
         "configuration: train.warmup_updates: the warm-up goes by epochs already (train.warmup_epochs 1); set one of both to 0"},
        {"encoder.frozen=true|train.encoder_lr=0.1",
         "configuration: train.encoder_lr: 0.1, but the encoder does not learn (encoder.frozen)"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(train_all("refused", both, bad[i].sets, NULL) == SW_E_INVALID);
        CHECK_STR(err.message, bad[i].message);
    }
}

/* --- the collapse watch */

static char alarm_text[400];

static void take_alarm(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    if (level == SW_LOG_WARNING) snprintf(alarm_text, sizeof alarm_text, "%s", text);
}

/* How many lines of a run's log are warnings; the first one's kind. */
static int alarms_of(const char *name, char *kind, size_t size)
{
    char path[400], *save = NULL;
    int n = 0;
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    snprintf(path, sizeof path, "%s/log.jsonl", run_dir(name));
    if (sw_file_read(path, &buf, &err) != SW_OK) return -1;
    sw_buf_puts(&buf, "");
    for (char *text = strtok_r(buf.data, "\n", &save); text; text = strtok_r(NULL, "\n", &save)) {
        SW_CLEANUP(sw_json_free_ptr) sw_json *j = NULL;
        if (sw_json_parse(text, strlen(text), path, &j, &err) != SW_OK) return -1;
        if (strcmp(sw_json_text(sw_json_get(j, "event"), ""), "warning") != 0) continue;
        if (n++ == 0) snprintf(kind, size, "%s", sw_json_text(sw_json_get(j, "kind"), ""));
    }
    return n;
}

TEST(a_run_that_breaks_warns_and_one_that_does_not_is_silent)
{
    sw_sink sink = {.log = take_alarm};
    char kind[40] = "";
    line l[4];
    alarm_text[0] = '\0';
    CHECK_OK(train("quiet", (setup){.table = both, .sets = "train.epochs=3|bag.patches=6", .sink = &sink}, NULL));
    CHECK(alarms_of("quiet", kind, sizeof kind) == 0);
    CHECK_STR(alarm_text, "");
    CHECK(epochs_of("quiet", "feature_rank", l, 4) == 3 && l[2].metric > 1);
    CHECK(epochs_of("quiet", "grad_norm_encoder", l, 4) == 3 && l[0].metric > 1e-6);
    CHECK(epochs_of("quiet", "attention_entropy_gap", l, 4) == 3 && l[0].metric > 0 && l[0].metric < 1);
    sw_status status = train("wild", (setup){.table = both, .sets = "train.epochs=4|train.lr=50|bag.patches=6", .sink = &sink}, NULL);
    CHECK(status == SW_OK || status == SW_E_INVALID);
    CHECK(alarms_of("wild", kind, sizeof kind) > 0);
    CHECK_STR(kind, "loss");
    CHECK(strncmp(alarm_text, "epoch ", 6) == 0);
    /* Weights that are no numbers: the run ends, and its log says why. */
    status = train("torn", (setup){.table = both, .sets = "train.lr=100|train.optimizer=sgd|train.momentum=0|train.weight_decay=100", .sink = &sink}, NULL);
    CHECK(status == SW_E_INVALID);
    CHECK(alarms_of("torn", kind, sizeof kind) == 1);
    CHECK_STR(kind, "not_finite");
    drop("quiet");
    drop("wild");
    drop("torn");
}

/* --- checkpoints that were damaged */

static char warned[900];

static void take_warning(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    if (level == SW_LOG_WARNING && strstr(text, "checkpoint")) snprintf(warned, sizeof warned, "%s", text);
}

/* Flips a bit at `share` of the file's length, or cuts it there. */
static sw_status damage(const char *path, double share, bool cut)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    SW_TRY(sw_file_read(path, &file, &err));
    size_t at = (size_t)((double)file.size * share);
    if (!cut) file.data[at < file.size ? at : file.size - 1] ^= 4;
    return sw_file_write(path, file.data, cut ? at : file.size, &err);
}

TEST(a_damaged_checkpoint_gives_way_to_the_one_before)
{
    static const struct { double share; bool cut; } kind[] = {{0, false}, {0.0001, false}, {0.3, false}, {0.7, false}, {1, false},
                                                              {0, true}, {0.0001, true}, {0.5, true}, {0.99999, true}};
    const char *sets = RESUMED "|train.checkpoint_minutes=0|train.epochs=2";
    sw_sink sink = {.log = take_warning};
    char last[400], previous[400], expected[900];
    sw_train_result r;
    CHECK_OK(train_all("sound", both, sets, NULL));
    CHECK(has_file("sound", "checkpoints/last.safetensors") && !has_file("sound", "checkpoints/previous.safetensors"));
    CHECK_OK(train("broken", (setup){.table = both, .sets = sets, .stop_after = 5}, &r));
    CHECK(r.cancelled);
    snprintf(last, sizeof last, "%s/checkpoints/last.safetensors", run_dir("broken"));
    snprintf(previous, sizeof previous, "%s/checkpoints/previous.safetensors", run_dir("broken"));
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++) {
        sw_train_state s;
        SW_CLEANUP(sw_buf_free) sw_buf a = {0}, b = {0};
        CHECK_OK(sw_file_read(last, &a, &err));
        CHECK_OK(sw_file_read(previous, &b, &err));
        CHECK_OK(damage(last, kind[i].share, kind[i].cut));
        warned[0] = '\0';
        CHECK_OK(train("broken", (setup){.table = both, .sets = sets, .resume = true, .stop_after = 1, .sink = &sink}, &r));
        CHECK(r.cancelled && strncmp(warned, last, strlen(last)) == 0);
        snprintf(expected, sizeof expected, "; going on from the checkpoint before it, %s (epoch 2, step 4)", previous);
        CHECK(strstr(warned, expected));
        CHECK_OK(state_of("broken", &s));
        CHECK(s.steps == 6);
        CHECK_OK(sw_file_write(last, a.data, a.size, &err)); /* as it was, for the next kind */
        CHECK_OK(sw_file_write(previous, b.data, b.size, &err));
    }
    CHECK_OK(damage(last, 0.6, false));
    CHECK_OK(train("broken", (setup){.table = both, .sets = sets, .resume = true}, &r));
    CHECK(!r.cancelled && r.steps == 8);
    CHECK(same_files("sound", "broken", "checkpoints/best.safetensors"));
    CHECK(same_files("sound", "broken", "predictions_test.csv"));
    drop("sound");
    drop("broken");
}

TEST(two_damaged_checkpoints_are_refused)
{
    char last[400], previous[400], expected[1200];
    sw_train_result r;
    CHECK_OK(train("lost", (setup){.table = both, .sets = "train.checkpoint_minutes=0", .stop_after = 3}, &r));
    snprintf(last, sizeof last, "%s/checkpoints/last.safetensors", run_dir("lost"));
    snprintf(previous, sizeof previous, "%s/checkpoints/previous.safetensors", run_dir("lost"));
    CHECK_OK(damage(last, 0.5, false));
    CHECK_OK(damage(previous, 0.5, false));
    CHECK(train("lost", (setup){.table = both, .sets = "train.checkpoint_minutes=0", .resume = true}, &r) == SW_E_FORMAT);
    snprintf(expected, sizeof expected,
             "%s: damaged: its bytes are not those that were written (checksum); take it from a copy; nor can the one before it be "
             "used: %s is damaged, too", last, previous);
    CHECK_STR(err.message, expected);
    drop("lost");
}

/* --- attention sampling */

#define ATTENDED "bag.sampler=attention|bag.scales=[{mpp: 1}]|bag.patches=2|train.batch_bags=2|train.ema=0.5|train.epochs=2"

TEST(attention_sampling_trains_and_resumes_to_the_byte)
{
    CHECK_OK(train_all("attended", both, ATTENDED, NULL));
    setup s = {.table = both, .sets = ATTENDED, .stop_after = 3};
    CHECK_OK(train("attended2", s, NULL));
    s.stop_after = 0;
    s.resume = true;
    CHECK_OK(train("attended2", s, NULL));
    CHECK(same_files("attended", "attended2", "checkpoints/best.safetensors"));
    CHECK(same_files("attended", "attended2", "predictions_test.csv"));
    CHECK_OK(train_all("attended3", both, ATTENDED "|bag.sampler=random", NULL));
    CHECK(!same_files("attended", "attended3", "checkpoints/best.safetensors"));
    CHECK(train_all("attended4", both, ATTENDED "|aggregator.name=mean", NULL) == SW_E_INVALID);
    CHECK(strstr(err.message, ": aggregator.name: mean has no attention to sample by; set bag.sampler to another than attention"));
    CHECK(train_all("attended5", both, "bag.sampler=attention", NULL) == SW_E_INVALID);
    CHECK_STR(err.message, "configuration: bag.sampler: attention is that of the moving average; set train.ema (such as 0.9997)");
    CHECK(train_all("attended5", both, "bag.sampler=attention|train.ema=0.5", NULL) == SW_E_INVALID);
    CHECK_STR(err.message, "configuration: bag.sampler: attention draws from one scale; name it in bag.scales (such as [{mpp: 1}])");
    drop("attended");
    drop("attended2");
    drop("attended3");
}

/* --- memory that runs out */

/* Calls with the k-th allocation failing, k growing by a quarter, until none fails: the error is returned, nothing leaks. */
static bool survive(const char *what, sw_status (*call)(void *ctx), void *ctx)
{
    int failures = 0;
    for (int64_t k = 1;; k += 1 + k / 4) {
        int64_t before = sw_mem_live();
        err.message[0] = '\0';
        sw_mem_fail_after(k);
        sw_status status = call(ctx);
        sw_mem_fail_after(0);
        if (status == SW_OK) break;
        failures++;
        if (status != SW_E_NOMEM || err.code != SW_E_NOMEM)
            return sw_test_fail(__FILE__, __LINE__, "%s, allocation %lld: %s", what, (long long)k, err.message);
        if (sw_mem_live() != before)
            return sw_test_fail(__FILE__, __LINE__, "%s, allocation %lld: %lld blocks leak", what, (long long)k,
                                (long long)(sw_mem_live() - before));
    }
    return failures > 10 || sw_test_fail(__FILE__, __LINE__, "%s: only %d failures", what, failures);
}

/* Chunks of 2 patches of a made-up step. */
static sw_status made_up_pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *error)
{
    static float images[2 * 3 * PX * PX];
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        images[i] = (float)(((size_t)chunk * (sizeof images / sizeof images[0]) + i) % 17) / 17.0f;
    return sw_tensor_from(&(*(sw_backend **)ctx)->device, SW_F32, SW_SHAPE(2, 3, PX, PX), images, out, error);
}

/* A step of two bags in three chunks, from the backend to the loss. */
static sw_status one_step(void *ctx)
{
    int32_t label[] = {0, 1};
    sw_backend *be = NULL;
    sw_model *model = NULL;
    double loss;
    sw_batch batch = {.n_bags = 2, .bag_patches = 3, .chunk_patches = 2, .px = PX, .label = label};
    sw_step_options so = {
        .task = sw_task_get(SW_CFG_CLASSIFICATION), .chunk_patches = 2, .pixels = made_up_pixels, .ctx = &be};
    sw_model_options mo = sw_model_options_default();
    mo.mil.inner_dim = 8;
    mo.mil.heads = 2;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    sw_status status = sw_backend_new(ctx, &(sw_backend_options){.threads = 1}, &be, &err);
    if (status == SW_OK) status = sw_model_new(be, SW_F32, &mo, &model, &err);
    if (status == SW_OK) status = sw_train_step(model, &batch, &so, &loss, &err);
    sw_model_free(model);
    sw_backend_free(be);
    return status;
}

TEST(a_step_without_memory_says_so)
{
    CHECK(survive("step", one_step, "cpu"));
}

static sw_status one_run(void *ctx)
{
    static int runs;
    char name[30];
    snprintf(name, sizeof name, "hungry%d", runs++);
    sw_status status = train_all(name, both, ctx, NULL);
    sw_mem_fail_after(0);
    drop(name);
    return status;
}

TEST(a_run_without_memory_says_so)
{
    CHECK(store()[0]);
    CHECK(survive("run", one_run, "train.epochs=1|train.ema=0.9"));
}
