/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint that was damaged, in every region of the file: the run goes on from the one before and says so, word for word;
 * where both are damaged it is refused; and no bit of a file with a checksum can turn unnoticed. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "slidewise/train.h"
#include "tiny_slide.h"
#include "weights/weights.h"

enum { PX = 32, SLIDES = 6, PATCHES = 3 };

static sw_error err;
static char warned[1200];

static const char *in(const char *name)
{
    static char path[4][400];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", sw_test_dir(), name);
    return path[turn];
}

static void take_warning(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    if (level == SW_LOG_WARNING && strstr(text, "checkpoint")) snprintf(warned, sizeof warned, "%s", text);
}

static sw_status make_store(void)
{
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "32"}, {"overlap_px", "0"},
                                                     {"quality", "95"}, {"whole_image", "yes"}};
    static const char table[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,a,val\ns5,b,val\n";
    sw_store_writer *w = NULL;
    SW_TRY(sw_file_write(in("labels.csv"), table, strlen(table), &err));
    SW_TRY(sw_store_writer_open(in("store"), settings, 5, &w, &err));
    sw_status status = SW_OK;
    for (int i = 0; i < SLIDES && status == SW_OK; i++) status = tiny_slide(w, i, PATCHES, PX, &err);
    sw_store_writer_close(&w);
    return status;
}

/* Two epochs of four steps with a moving average of the weights; a checkpoint after each step. */
static sw_status train(const char *out, bool resume, int64_t stop_after, sw_train_result *result)
{
    char text[3][440];
    const sw_sink sink = {.log = take_warning};
    const char *sets[] = {"aggregator.inner_dim=8", "aggregator.heads=2", "augment.crop_px=32", "bag.patches=3", "train.batch_bags=1",
                          "train.epochs=2", "train.early_stop.patience=0", "eval.bootstrap=0", "run.threads=1", "train.lr=0.001",
                          "train.ema=0.9", "train.checkpoint_minutes=0", text[0], text[1], text[2]};
    sw_train_options o = sw_train_options_default();
    snprintf(text[0], sizeof text[0], "data.store=%s", in("store"));
    snprintf(text[1], sizeof text[1], "data.labels=%s", in("labels.csv"));
    snprintf(text[2], sizeof text[2], "run.out=%s", in(out));
    o.sets = sets;
    o.n_sets = sizeof sets / sizeof *sets;
    o.resume = resume;
    o.stop_after_steps = stop_after;
    o.sink = &sink;
    warned[0] = '\0';
    return sw_train(&o, result, &err);
}

/* ---- where things stand in a checkpoint */

static size_t header_bytes(const sw_buf *file)
{
    size_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | (unsigned char)file->data[i];
    return n;
}

/* `delta` bytes behind the first place of `text` in the header; 0: it is not there. */
static size_t in_header(const sw_buf *file, const char *text, size_t delta)
{
    size_t n = strlen(text), end = 8 + header_bytes(file);
    for (size_t i = 8; i + n < end; i++) {
        if (memcmp(file->data + i, text, n) == 0) return i + delta;
    }
    return 0;
}

/* The middle of a tensor's numbers. */
static size_t in_tensor(const sw_buf *file, const char *name)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *header = NULL;
    if (sw_json_parse(file->data + 8, header_bytes(file), "header", &header, &err) != SW_OK) return 0;
    const sw_json *span = sw_json_get(sw_json_get(header, name), "data_offsets");
    if (sw_json_count(span) != 2) return 0;
    return 8 + header_bytes(file) + (size_t)(sw_json_integer(sw_json_at(span, 0), 0) + sw_json_integer(sw_json_at(span, 1), 0)) / 2;
}

#define CHECKSUM ": damaged: its bytes are not those that were written (checksum); take it from a copy"

/* What is done to the file, and what is said of it. */
typedef struct harm {
    const char *region;
    size_t at;   /* byte of which a bit is flipped; 0 and cut: the file is cut there */
    int bit;
    bool cut;
    const char *said; /* behind the file's name */
} harm;

static sw_status do_harm(const sw_buf *whole, const harm *h, const char *path)
{
    SW_CLEANUP(sw_buf_free) sw_buf copy = {0};
    if (h->cut) return sw_file_write(path, whole->data, h->at, &err);
    sw_buf_append(&copy, whole->data, whole->size);
    SW_TRY(sw_buf_status(&copy, &err));
    copy.data[h->at] = (char)(copy.data[h->at] ^ (1 << h->bit));
    return sw_file_write(path, copy.data, copy.size, &err);
}

TEST(every_region_is_guarded)
{
    SW_CLEANUP(sw_buf_free) sw_buf last = {0}, previous = {0};
    sw_train_result r;
    CHECK_OK(make_store());
    CHECK_OK(train("run", false, 6, &r));
    CHECK_OK(sw_file_read(in("run/checkpoints/last.safetensors"), &last, &err));
    CHECK_OK(sw_file_read(in("run/checkpoints/previous.safetensors"), &previous, &err));
    const harm harms[] = {
        {"length of the header", 0, 3, false, CHECKSUM},
        {"length of the header, its high end", 7, 6, false, CHECKSUM},
        {"opening brace", 8, 1, false, ", line 1, column 1: not valid JSON: invalid token near 'y'"},
        {"name of the checksum", in_header(&last, "slidewise.crc32c", 10), 0, false, ": carries no checksum: it is damaged, or of an older version"},
        {"checksum", in_header(&last, "slidewise.crc32c", 19), 0, false, CHECKSUM},
        {"checksum, its last digit", in_header(&last, "slidewise.crc32c", 26), 6, false, CHECKSUM},
        {"state: steps", in_header(&last, "\\\"steps\\\":", 10), 0, false, CHECKSUM},
        {"state: learning", in_header(&last, "\\\"loss_sum\\\":", 13), 1, false, CHECKSUM},
        {"state: a key", in_header(&last, "slidewise.state", 3), 2, false, CHECKSUM},
        {"tensor table: a name", in_header(&last, "layer2.0.conv1.weight", 4), 0, false, CHECKSUM},
        {"tensor table: a type", in_header(&last, "\"dtype\":\"F32\"", 10), 1, false, CHECKSUM},
        {"tensor table: a shape", in_header(&last, "\"shape\":[", 9), 0, false, CHECKSUM},
        {"tensor table: an offset", in_header(&last, "\"data_offsets\":[", 17), 3, false, CHECKSUM},
        {"end of the header", 7 + header_bytes(&last), 5, false, CHECKSUM},
        {"first byte of the numbers", 8 + header_bytes(&last), 7, false, CHECKSUM},
        {"encoder", in_tensor(&last, "encoder.model.layer2.0.conv1.weight"), 0, false, CHECKSUM},
        {"running statistics", in_tensor(&last, "encoder.model.bn1.running_var"), 4, false, CHECKSUM},
        {"aggregator", in_tensor(&last, "mil.classifier.weight"), 2, false, CHECKSUM},
        {"moving average", in_tensor(&last, "ema.encoder.model.layer3.1.conv2.weight"), 1, false, CHECKSUM},
        {"first moments", in_tensor(&last, "optim.m"), 6, false, CHECKSUM},
        {"second moments", in_tensor(&last, "optim.v"), 3, false, CHECKSUM},
        {"last byte", last.size - 1, 7, false, CHECKSUM},
        {"emptied", 0, 0, true, ": not a weights file (too short); give a .safetensors, .pth, .pt or .bin"},
        {"cut within the header", 100, 0, true, CHECKSUM},
        {"cut in half", last.size / 2, 0, true, CHECKSUM},
        {"cut by one byte", last.size - 1, 0, true, CHECKSUM},
    };
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        char expected[1200];
        const harm *h = &harms[i];
        if (!h->cut && h->at == 0 && i > 0) sw_test_fail(__FILE__, __LINE__, "%s: not found in the file", h->region);
        CHECK_OK(do_harm(&last, h, in("run/checkpoints/last.safetensors")));
        CHECK_OK(train("run", true, 1, &r));
        snprintf(expected, sizeof expected, "%s%s; going on from the checkpoint before it, %s (epoch 2, step 5)",
                 in("run/checkpoints/last.safetensors"), h->said, in("run/checkpoints/previous.safetensors"));
        if (strcmp(warned, expected) != 0) sw_test_fail(__FILE__, __LINE__, "%s: %s\nexpected: %s", h->region, warned, expected);
        CHECK(r.cancelled && r.steps == 6);
    }
    SW_CLEANUP(sw_buf_free) sw_buf kept = {0};
    CHECK_OK(sw_file_read(in("run/checkpoints/previous.safetensors"), &kept, &err)); /* what was gone on from is still there */
    CHECK(kept.size == previous.size && memcmp(kept.data, previous.data, previous.size) == 0);
}

/* A file that is not there, removed by hand. */
TEST(without_the_last_one_the_one_before_serves)
{
    char expected[1200];
    sw_train_result r;
    CHECK_OK(sw_file_remove(in("run/checkpoints/last.safetensors"), &err));
    CHECK_OK(train("run", true, 1, &r));
    snprintf(expected, sizeof expected, "%s: no such weights file; check the path; going on from the checkpoint before it, %s (epoch 2, step 5)",
             in("run/checkpoints/last.safetensors"), in("run/checkpoints/previous.safetensors"));
    CHECK_STR(warned, expected);
    CHECK(r.cancelled && r.steps == 6);
}

/* Whatever ends the last one, and whatever ends the one before: refused, with both named, and both left as they are. */
TEST(both_damaged_is_an_error)
{
    SW_CLEANUP(sw_buf_free) sw_buf last = {0}, previous = {0}, after = {0};
    char expected[1200];
    sw_train_result r;
    CHECK_OK(sw_file_read(in("run/checkpoints/last.safetensors"), &last, &err));
    CHECK_OK(sw_file_read(in("run/checkpoints/previous.safetensors"), &previous, &err));
    const harm first[] = {{"flipped", last.size / 3, 2, false, CHECKSUM},
                          {"halved", last.size / 2, 0, true, CHECKSUM},
                          {"emptied", 0, 0, true, ": not a weights file (too short); give a .safetensors, .pth, .pt or .bin"}};
    const harm second[] = {{"flipped", previous.size / 4, 5, false, ""}, {"halved", previous.size / 2, 0, true, ""}, {"emptied", 0, 0, true, ""}};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            CHECK_OK(do_harm(&last, &first[i], in("run/checkpoints/last.safetensors")));
            CHECK_OK(do_harm(&previous, &second[j], in("run/checkpoints/previous.safetensors")));
            CHECK_INT(train("run", true, 1, &r), SW_E_FORMAT);
            snprintf(expected, sizeof expected, "%s%s; nor can the one before it be used: %s is damaged, too",
                     in("run/checkpoints/last.safetensors"), first[i].said, in("run/checkpoints/previous.safetensors"));
            CHECK_STR(err.message, expected);
            CHECK_OK(sw_file_read(in("run/checkpoints/last.safetensors"), &after, &err));
            CHECK_INT(after.size, first[i].cut ? first[i].at : last.size);
            sw_buf_free(&after);
        }
    }
    /* The one before is sound again: that is enough. */
    CHECK_OK(sw_file_write(in("run/checkpoints/previous.safetensors"), previous.data, previous.size, &err));
    CHECK_OK(train("run", true, 0, &r));
    CHECK(!r.cancelled && r.steps == 8 && warned[0]);
    CHECK_OK(sw_file_remove(in("run/checkpoints/last.safetensors"), &err));
    CHECK_OK(sw_file_remove(in("run/checkpoints/best.safetensors"), &err));
}

/* Every single bit of a small file of the same form: turned, the file is refused or at least no longer counts as checked. */
TEST(no_bit_turns_unnoticed)
{
    SW_CLEANUP(sw_buf_free) sw_buf file = {0};
    sw_weights_writer *w = NULL;
    const float m[5] = {1, 2, 3, 4, 5};
    const sw_shape shape = SW_SHAPE(5);
    char *path = strdup(in("small.safetensors"));
    int refused = 0, unchecked = 0, unnoticed = 0;
    CHECK_OK(sw_weights_writer_new(&w, &err));
    CHECK_OK(sw_weights_writer_metadata(w, "slidewise.state", "{\"epoch\":1,\"steps\":7}", &err));
    CHECK_OK(sw_weights_writer_add(w, "optim.m", SW_F32, &shape, m, &err));
    CHECK_OK(sw_weights_writer_add(w, "mil.classifier.bias", SW_F32, &shape, m, &err));
    CHECK_OK(sw_weights_writer_save(w, path, &err));
    sw_weights_writer_free(w);
    CHECK_OK(sw_file_read(path, &file, &err));
    for (size_t bit = 0; bit < 8 * file.size; bit++) {
        SW_CLEANUP(sw_weights_close_ptr) sw_weights *opened = NULL;
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
        CHECK_OK(sw_file_write(path, file.data, file.size, &err));
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
        if (sw_weights_open(path, &opened, &err) != SW_OK) refused++;
        else if (!sw_weights_checked(opened)) unchecked++; /* the trainer refuses it */
        else unnoticed++;
    }
    CHECK_INT(unnoticed, 0);
    CHECK(refused > 10 * unchecked && unchecked > 0); /* the name of the checksum itself */
    for (size_t size = 0; size < file.size; size++) { /* and cut at every byte */
        SW_CLEANUP(sw_weights_close_ptr) sw_weights *opened = NULL;
        CHECK_OK(sw_file_write(path, file.data, size, &err));
        CHECK(sw_weights_open(path, &opened, &err) != SW_OK);
    }
    free(path);
}
