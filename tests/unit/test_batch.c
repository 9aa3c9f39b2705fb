/* SPDX-License-Identifier: Apache-2.0 */
/* Loaders over a small store of generated JPEGs. */
#include "test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "batch/batch.h"
#include "batch/load.h"
#include "encoder/normalise.h"

enum { PX = 64, CROP = 48, SLIDES = 5, LOW = 6, HIGH = 20, SHORT_HIGH = 4 };

static sw_error err;

/* Every patch has its own colour and a gradient, so that a mix-up shows. */
static void paint(uint8_t *rgb, int slide, int scale, int64_t index)
{
    for (int y = 0; y < PX; y++) {
        for (int x = 0; x < PX; x++) {
            uint8_t *p = rgb + 3 * (y * PX + x);
            p[0] = (uint8_t)(40 * slide + 20 * scale + x / 4);
            p[1] = (uint8_t)(10 * index + y / 4);
            p[2] = (uint8_t)(200 - x / 2 - y / 2);
        }
    }
}

static int64_t patches_of(int slide, int scale)
{
    return scale == 0 ? (slide == 4 ? SHORT_HIGH : HIGH) : LOW;
}

static sw_status put_slide(sw_store_writer *w, int slide, bool corrupt)
{
    static uint8_t rgb[3 * PX * PX];
    char id[20];
    int64_t xy[2][2 * HIGH] = {{0}};
    snprintf(id, sizeof(id), "s%d", slide);
    SW_TRY(sw_store_begin(w, id, &err));
    sw_store_slide about = {.slide_id = id, .path = "x.svs", .width = 1000, .height = 1000, .mpp_um = 0.5,
                            .mpp_source = "given", .tissue_fraction = 1, .properties_json = "{}", .n_scales = 2};
    for (int s = 0; s < 2; s++) {
        double mpp = s == 0 ? 1 : 2;
        about.scale[s] = (sw_store_scale){.mpp_um = mpp, .magnification = 10 / mpp, .patch_px = PX, .quality = 95,
                                          .patch_level0_px = PX * mpp / 0.5, .step_level0_px = PX * mpp / 0.5,
                                          .n_patches = patches_of(slide, s)};
        for (int64_t i = 0; i < patches_of(slide, s); i++) {
            uint8_t *jpeg = NULL;
            size_t size = 0;
            paint(rgb, slide, s, i);
            SW_TRY(sw_jpeg_encode(rgb, PX, PX, 95, &jpeg, &size, &err));
            sw_status status = sw_store_put(w, s, i, jpeg, corrupt && s == 0 && i == 3 ? size - 40 : size, &err);
            sw_image_bytes_free(jpeg);
            SW_TRY(status);
        }
    }
    const int64_t *lists[2] = {xy[0], xy[1]};
    return sw_store_commit(w, &about, lists, &err);
}

/* A store, its table and what a run makes of them. */
typedef struct fixture {
    char store_path[300], labels[300];
    sw_store *store;
    sw_config config;
    sw_dataset *dataset;
    sw_bag_scales scales;
    sw_pool *pool;
} fixture;

static void fixture_free(fixture *f)
{
    sw_dataset_free(f->dataset);
    sw_config_free(&f->config);
    sw_store_close(&f->store);
    sw_pool_free(f->pool);
}

static sw_status fixture_store(fixture *f, const char *name, bool corrupt)
{
    sw_store_setting_pair setting = {"made", "by a test"};
    sw_store_writer *w = NULL;
    snprintf(f->store_path, sizeof(f->store_path), "%s/%s", sw_test_dir(), name);
    if (!sw_path_exists(f->store_path)) {
        SW_TRY(sw_store_writer_open(f->store_path, &setting, 1, &w, &err));
        sw_status status = SW_OK;
        for (int s = 0; s < SLIDES && status == SW_OK; s++) status = put_slide(w, s, corrupt && s == 2);
        sw_store_writer_close(&w);
        SW_TRY(status);
    }
    return sw_store_open(f->store_path, &f->store, &err);
}

/* `sets`: overrides, "|" between them. */
static sw_status fixture_new(fixture *f, const char *name, int threads, const char *sets)
{
    static const char table[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,train\ns3,b,train\ns4,b,test\n";
    char buffer[500], *save = NULL;
    err.message[0] = '\0';
    SW_TRY(fixture_store(f, name, strcmp(name, "corrupt") == 0));
    snprintf(f->labels, sizeof(f->labels), "%s/labels.csv", sw_test_dir());
    SW_TRY(sw_file_write(f->labels, table, strlen(table), &err));
    SW_TRY(sw_config_default(&f->config, &err));
    sw_free(f->config.data.labels);
    f->config.data.labels = sw_strdup(f->labels);
    f->config.data.split.val = 0;
    f->config.bag.patches = 16;
    f->config.augment.crop_px = CROP;
    f->config.train.batch_bags = 2;
    f->config.train.chunk_patches = 128;
    snprintf(buffer, sizeof(buffer), "%s", sets);
    for (char *s = strtok_r(buffer, "|", &save); s; s = strtok_r(NULL, "|", &save)) SW_TRY(sw_config_set(&f->config, s, &err));
    sw_dataset_slides slides = {.store = f->store};
    SW_TRY(sw_dataset_load(&f->config, &slides, true, NULL, &f->dataset, &err));
    SW_TRY(sw_pool_new(threads, &f->pool, &err));
    return sw_bag_scales_resolve(&f->config, f->store, f->dataset, &f->scales, &err);
}

static sw_status loader_of(const fixture *f, sw_split split, sw_loader **out)
{
    sw_loader_options o = sw_loader_options_of(&f->config);
    return sw_loader_new(f->store, f->dataset, split, &f->scales, &o, f->pool, out, &err);
}

static void loader_free_ptr(sw_loader **l)
{
    sw_loader_free(*l);
}

static void batch_free_ptr(sw_batch **b)
{
    sw_batch_free(*b);
    *b = NULL;
}

static void eval_free_ptr(sw_eval_loader **l)
{
    sw_eval_loader_free(*l);
}

static void source_free_ptr(sw_patch_source **s)
{
    sw_patch_source_free(*s);
}

static void chunk_free_ptr(sw_eval_chunk **c)
{
    sw_eval_chunk_free(*c);
    *c = NULL;
}

static size_t batch_floats(const sw_batch *b)
{
    return (size_t)(b->n_bags * b->bag_patches * 3 * b->px * b->px);
}

/* All pixels of a step, owned by the caller; with `again` chunk by chunk twice, and both must be the same. */
static sw_status take_pixels(sw_loader *l, const sw_batch *b, bool again, float **out)
{
    int64_t chunks = sw_batch_chunks(b), patch = 3 * b->px * b->px;
    SW_AUTOFREE float *all = sw_malloc(batch_floats(b) * sizeof(*all));
    for (int64_t i = 0; i < (again && chunks > 1 ? 2 : 1) * chunks; i++) {
        const sw_pixel_chunk *c = NULL;
        SW_TRY(sw_loader_chunk(l, i % chunks, &c, &err));
        bool fits = c->first == i % chunks * b->chunk_patches && c->px == b->px &&
                    c->count == (i % chunks < chunks - 1 ? b->chunk_patches : b->n_bags * b->bag_patches - c->first);
        if (!fits || (uintptr_t)c->images % 64 != 0)
            return sw_error_set(&err, SW_E_INTERNAL, "chunk %lld: patches %lld + %lld", (long long)(i % chunks),
                                (long long)c->first, (long long)c->count);
        size_t bytes = (size_t)(c->count * patch) * sizeof(*all);
        if (i < chunks) memcpy(all + c->first * patch, c->images, bytes);
        else if (memcmp(all + c->first * patch, c->images, bytes) != 0)
            return sw_error_set(&err, SW_E_INTERNAL, "chunk %lld differs in the second pass", (long long)(i % chunks));
        if (i % 2 == 0) sw_loader_done(l);
    }
    *out = SW_STEAL(all);
    return SW_OK;
}

TEST(scales_of_a_run)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    CHECK_OK(fixture_new(&f, "store", 1, ""));
    CHECK_INT(f.scales.n, 2);
    CHECK_NEAR(f.scales.mpp_um[0], 2, 0, 0); /* low magnification first */
    CHECK_NEAR(f.scales.mpp_um[1], 1, 0, 0);
    CHECK_INT(f.scales.plan.n[0], 4);
    CHECK_INT(f.scales.plan.n[1], 12);
    CHECK_INT(f.scales.eval, 1);
    SW_CLEANUP(fixture_free) fixture g = {0};
    CHECK_OK(fixture_new(&g, "store", 1, "bag.scale_rule=shares|bag.scales=[{mpp: 1, share: 1}, {magnification: 5, share: 3}]|eval.mpp=2"));
    CHECK_INT(g.scales.plan.n[0], 12);
    CHECK_INT(g.scales.eval, 0);
    SW_CLEANUP(fixture_free) fixture h = {0};
    CHECK_OK(fixture_new(&h, "store", 1, "bag.scales=[{mpp: 1}]|eval.mpp=2"));
    CHECK_INT(h.scales.n, 1);
    CHECK_INT(h.scales.plan.n[0], 16);
    CHECK_INT(h.scales.eval, 1);
    CHECK_NEAR(h.scales.mpp_um[h.scales.eval], 2, 0, 0);
    SW_CLEANUP(fixture_free) fixture bad = {0};
    CHECK_INT(fixture_new(&bad, "store", 1, "bag.scales=[{mpp: 0.5}]"), SW_E_NOT_FOUND);
    char text[700];
    snprintf(text, sizeof(text), "store %s: slide s0 has no scale of 0.5 um/px, which bag.scales asks for (it has 1, 2); tile it so, or change the key",
             bad.store_path);
    CHECK_STR(err.message, text);
}

TEST(a_batch_holds_what_was_drawn)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    CHECK_OK(fixture_new(&f, "store", 2, "augment.preset=none"));
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
    CHECK_INT(sw_loader_bags(l), 4);
    CHECK_INT(sw_loader_steps(l), 2);
    CHECK_OK(sw_loader_begin(l, 0, 0, &err));
    static uint8_t rgb[3 * PX * PX];
    bool seen[SLIDES] = {0};
    for (int step = 0; step < 2; step++) {
        SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
        CHECK_OK(sw_loader_next(l, &b, &err));
        CHECK(b && b->n_bags == 2 && b->bag_patches == 16 && b->px == CROP);
        SW_AUTOFREE float *images = NULL;
        CHECK_OK(take_pixels(l, b, false, &images));
        sw_loader_count counted = sw_loader_counted(l);
        CHECK(counted.timing.decode_ns > 0 && counted.timing.augment_ns > 0);
        CHECK_INT(counted.decoded, 32 * (step + 1));
        for (int64_t i = 0; i < 2 * 16; i++) {
            const sw_bag *bag = &f.dataset->bag[b->bag[i / 16]];
            int slide = bag->slide_id[1] - '0', scale = b->pick[i].scale == 0 ? 1 : 0;
            seen[slide] = true;
            CHECK_INT(b->pick[i].scale, i % 16 < 4 ? 0 : 1);
            CHECK_INT(b->label[i / 16], bag->label);
            /* mean of every plane against the painted patch, through a JPEG and a resize */
            paint(rgb, slide, scale, b->pick[i].patch);
            float factor[3], offset[3];
            sw_normalise(SW_PIXELS_IMAGENET, factor, offset);
            for (int c = 0; c < 3; c++) {
                double sum = 0, truth = 0;
                for (int k = 0; k < CROP * CROP; k++) sum += images[(i * 3 + c) * CROP * CROP + k];
                for (int k = 0; k < PX * PX; k++) truth += rgb[3 * k + c];
                CHECK_NEAR(sum / (CROP * CROP), truth / (PX * PX) * factor[c] + offset[c], 0, 0.02);
            }
        }
    }
    CHECK(seen[0] && seen[1] && seen[2] && seen[3] && !seen[4]);
    sw_batch *end = NULL;
    CHECK_OK(sw_loader_next(l, &end, &err));
    CHECK(!end);
}

TEST(normalisation_and_channel_order)
{
    float factor[3], offset[3];
    sw_normalise(SW_PIXELS_IMAGENET, factor, offset);
    CHECK_NEAR(255 * factor[0] + offset[0], (1 - 0.485) / 0.229, 1e-6, 0);
    CHECK_NEAR(0 * factor[2] + offset[2], -0.406 / 0.225, 1e-6, 0);
    float unit[3], none[3];
    sw_normalise(SW_PIXELS_UNIT, unit, none);
    for (int c = 0; c < 3; c++) CHECK(fabsf(255 * unit[c] - 1) < 1e-6f && none[c] == 0);
    SW_CLEANUP(fixture_free) fixture f = {0}, g = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *a = NULL, *b = NULL;
    CHECK_OK(fixture_new(&f, "store", 1, ""));
    CHECK_OK(fixture_new(&g, "store", 1, "encoder.channel_order=bgr_as_reference"));
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &a));
    CHECK_OK(loader_of(&g, SW_SPLIT_TRAIN, &b));
    CHECK_OK(sw_loader_begin(a, 0, 0, &err));
    CHECK_OK(sw_loader_begin(b, 0, 0, &err));
    SW_CLEANUP(batch_free_ptr) sw_batch *rgb = NULL, *bgr = NULL;
    CHECK_OK(sw_loader_next(a, &rgb, &err));
    CHECK_OK(sw_loader_next(b, &bgr, &err));
    CHECK(sw_batch_digest(rgb) == sw_batch_digest(bgr));
    SW_AUTOFREE float *rgb_images = NULL, *bgr_images = NULL;
    CHECK_OK(take_pixels(a, rgb, false, &rgb_images));
    CHECK_OK(take_pixels(b, bgr, false, &bgr_images));
    for (int k = 0; k < CROP * CROP; k++) { /* red's plane moved to the end, with blue's constants */
        double red = (rgb_images[k] - offset[0]) / factor[0];
        double swapped = (bgr_images[2 * CROP * CROP + k] - offset[2]) / factor[2];
        CHECK_NEAR(swapped, red, 0, 1e-3);
    }
}

/* All batches of an epoch: digest of what was drawn and hash of the pixels. */
static sw_status epoch_hashes(int threads, const char *sets, uint32_t epoch, int64_t first, uint64_t *out, int *n)
{
    *n = 0;
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    SW_TRY(fixture_new(&f, "store", threads, sets));
    SW_TRY(loader_of(&f, SW_SPLIT_TRAIN, &l));
    SW_TRY(sw_loader_begin(l, epoch, first, &err));
    for (;;) {
        SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
        SW_TRY(sw_loader_next(l, &b, &err));
        if (!b) return SW_OK;
        SW_AUTOFREE float *images = NULL;
        SW_TRY(take_pixels(l, b, false, &images));
        out[(*n)++] = sw_batch_digest(b);
        out[(*n)++] = sw_hash64(images, batch_floats(b) * sizeof(float));
    }
}

TEST(threads_epochs_and_resuming)
{
    static const char *const sets[] = {"augment.share=patch", "augment.share=chunk"};
    for (int k = 0; k < 2; k++) {
        uint64_t one[8], two[8], late[8], other[8];
        int n1, n2, n3, n4;
        CHECK_OK(epoch_hashes(1, sets[k], 3, 0, one, &n1));
        CHECK_OK(epoch_hashes(3, sets[k], 3, 0, two, &n2));
        CHECK_OK(epoch_hashes(2, sets[k], 3, 1, late, &n3));
        CHECK_OK(epoch_hashes(2, sets[k], 4, 0, other, &n4));
        CHECK(n1 == 4 && n2 == 4 && n3 == 2 && n4 == 4);
        CHECK(memcmp(one, two, 4 * sizeof(one[0])) == 0);
        CHECK(memcmp(one + 2, late, 2 * sizeof(one[0])) == 0);
        CHECK(one[0] != other[0] && one[1] != other[1] && one[0] != one[2]);
    }
}

/* Two slides of class a, three of class b. */
TEST(slides_of_a_rare_class_come_again_with_other_patches)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    int times[2][SLIDES] = {{0}};
    CHECK_OK(fixture_new(&f, "store", 1, "data.split.from=random|data.split.test=0|train.oversample=1"));
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
    CHECK_INT(sw_loader_bags(l), 6);
    CHECK_INT(sw_loader_steps(l), 3);
    bool again = false, differ = true;
    for (int e = 0; e < 2; e++) {
        uint64_t patch[SLIDES] = {0};
        CHECK_OK(sw_loader_begin(l, (uint32_t)e + 7, 0, &err));
        for (;;) {
            SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
            CHECK_OK(sw_loader_next(l, &b, &err));
            if (!b) break;
            for (int64_t i = 0; i < b->n_bags; i++) {
                int64_t bag = b->bag[i];
                uint64_t sum = 1; /* may wrap */
                CHECK_INT(b->label[i], f.dataset->bag[bag].label);
                CHECK_INT(b->identity[i] % f.dataset->n_bags, bag);
                for (int64_t k = 0; k < b->bag_patches; k++) sum = sum * 31 + (uint64_t)b->pick[i * b->bag_patches + k].patch;
                again = again || times[e][bag] > 0;
                if (times[e][bag] > 0 && sum == patch[bag]) differ = false;
                patch[bag] = sum;
                times[e][bag]++;
            }
        }
        CHECK_INT(times[e][0] + times[e][2], 3);
        CHECK(times[e][0] >= 1 && times[e][2] >= 1);
        CHECK(times[e][1] == 1 && times[e][3] == 1 && times[e][4] == 1);
    }
    CHECK(again && differ);
}

/* An epoch's pixels in chunks of `chunk_patches`, both passes; `most` gets the bytes that the loader may hold. */
static sw_status stream_hashes(const fixture *f, int64_t chunk_patches, int64_t keep_bytes, bool once, int ahead,
                               uint64_t *out, int64_t *decoded, int64_t *most)
{
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    sw_loader_options o = sw_loader_options_of(&f->config);
    o.chunk_patches = chunk_patches;
    o.keep_bytes = keep_bytes;
    o.once = once;
    o.ahead = ahead;
    SW_TRY(sw_loader_new(f->store, f->dataset, SW_SPLIT_TRAIN, &f->scales, &o, f->pool, &l, &err));
    SW_TRY(sw_loader_begin(l, 3, 0, &err));
    *most = sw_loader_bytes(l);
    for (int n = 0;;) {
        SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
        SW_AUTOFREE float *images = NULL;
        SW_TRY(sw_loader_next(l, &b, &err));
        *decoded = sw_loader_counted(l).decoded;
        if (!b) return SW_OK;
        SW_TRY(take_pixels(l, b, !once, &images));
        out[n++] = sw_hash64(images, batch_floats(b) * sizeof(float));
    }
}

TEST(chunks_are_the_steps_pixels)
{
    enum { PATCH = 3 * CROP * CROP * sizeof(float) };
    static const struct { int64_t chunk, keep; bool once; int ahead; int64_t decoded, buffers; } row[] = {
        {32, 0, false, 2, 64, 2 * 32},  {100, 0, false, 3, 64, 3 * 32}, {16, 0, false, 2, 128, 2 * 16},
        {7, 0, false, 2, 128, 2 * 7},   {7, 0, true, 1, 64, 7},         {7, 15, false, 2, 100, 4 * 7},
        {7, 34, false, 1, 72, 5 * 7},   {7, 35, false, 2, 64, 7 * 7},   {1, 3, false, 3, 122, 6},
    };
    SW_CLEANUP(fixture_free) fixture f = {0};
    CHECK_OK(fixture_new(&f, "store", 3, ""));
    uint64_t whole[2] = {0}, hash[2] = {0};
    int64_t decoded = 0, most = 0;
    for (size_t r = 0; r < sizeof(row) / sizeof(row[0]); r++) {
        int64_t before = sw_mem_live();
        CHECK_OK(stream_hashes(&f, row[r].chunk, row[r].keep * PATCH, row[r].once, row[r].ahead, hash, &decoded, &most));
        CHECK_INT(sw_mem_live(), before);
        if (r == 0) memcpy(whole, hash, sizeof(whole));
        CHECK(hash[0] == whole[0] && hash[1] == whole[1] && hash[0] != hash[1]);
        CHECK_INT(decoded, row[r].decoded);
        CHECK_INT(most, row[r].buffers * PATCH);
    }
}

/* Crops of 64 to 16 pixels: half or a quarter is decoded, and the pixels are nearly the same; to 40: nothing is shrunk. */
TEST(scaled_decoding_is_near_and_only_where_it_saves)
{
    for (int px = 16; px <= 40; px += 24) {
        char sets[2][120];
        float *images[2] = {NULL, NULL};
        int64_t n = 2 * 16 * 3 * px * px;
        double sum = 0;
        for (int k = 0; k < 2; k++) {
            SW_CLEANUP(fixture_free) fixture f = {0};
            SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
            SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
            snprintf(sets[k], sizeof(sets[k]), "augment.crop_px=%d|augment.fast_decode=%s", px, k ? "scaled" : "exact");
            CHECK_OK(fixture_new(&f, "store", 1, sets[k]));
            CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
            CHECK_OK(sw_loader_begin(l, 0, 0, &err));
            CHECK_OK(sw_loader_next(l, &b, &err));
            CHECK_OK(take_pixels(l, b, false, &images[k]));
        }
        for (int64_t i = 0; i < n; i++) sum += (double)(images[0][i] - images[1][i]) * (images[0][i] - images[1][i]);
        double grey = sqrt(sum / (double)n) * 0.226 * 255;
        CHECK(px == 40 ? grey == 0 : grey > 0.01 && grey < 1.5);
        sw_free(images[0]);
        sw_free(images[1]);
    }
}

TEST(chunks_of_short_steps)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    /* steps of 3 and of 1 bags, of 5 and 2 chunks; then bags of 16, and one of 8 that is a single chunk */
    CHECK_OK(fixture_new(&f, "store", 2, "train.batch_bags=3|train.drop_last=false|train.chunk_patches=10"));
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
    CHECK_OK(sw_loader_begin(l, 0, 0, &err));
    for (int step = 0; step < 2; step++) {
        SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
        SW_AUTOFREE float *images = NULL;
        CHECK_OK(sw_loader_next(l, &b, &err));
        CHECK_INT(sw_batch_chunks(b), step == 0 ? 5 : 2);
        CHECK_OK(take_pixels(l, b, true, &images));
    }
    SW_CLEANUP(fixture_free) fixture g = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *shorter = NULL;
    CHECK_OK(fixture_new(&g, "store", 2, "bag.pad=false|train.batch_bags=1|train.chunk_patches=10"));
    CHECK_OK(loader_of(&g, SW_SPLIT_TEST, &shorter));
    CHECK_OK(sw_loader_begin(shorter, 0, 0, &err));
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL, *end = NULL;
    SW_AUTOFREE float *images = NULL;
    CHECK_OK(sw_loader_next(shorter, &b, &err));
    CHECK_INT(sw_batch_chunks(b), 1);
    CHECK_OK(take_pixels(shorter, b, true, &images));
    CHECK_INT(sw_loader_counted(shorter).decoded, 8);
    CHECK_OK(sw_loader_next(shorter, &end, &err));
    CHECK(!end);
}

TEST(steps_left_early_are_skipped)
{
    uint64_t hash[8];
    int n = 0;
    CHECK_OK(epoch_hashes(2, "train.chunk_patches=5", 3, 0, hash, &n));
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    CHECK_OK(fixture_new(&f, "store", 2, "train.chunk_patches=5"));
    sw_loader_options o = sw_loader_options_of(&f.config);
    o.keep_bytes = 2 * 5 * 3 * CROP * CROP * (int64_t)sizeof(float);
    CHECK_OK(sw_loader_new(f.store, f.dataset, SW_SPLIT_TRAIN, &f.scales, &o, f.pool, &l, &err));
    for (int taken = 0; taken < 12; taken += 4) { /* in the first pass, at its end, in the second */
        SW_CLEANUP(batch_free_ptr) sw_batch *a = NULL, *b = NULL;
        SW_AUTOFREE float *images = NULL;
        const sw_pixel_chunk *c = NULL;
        CHECK_OK(sw_loader_begin(l, 3, 0, &err));
        CHECK_OK(sw_loader_next(l, &a, &err));
        for (int i = 0; i < taken; i++) CHECK_OK(sw_loader_chunk(l, i % 7, &c, &err));
        CHECK_OK(sw_loader_next(l, &b, &err));
        CHECK_OK(take_pixels(l, b, true, &images));
        CHECK(sw_hash64(images, batch_floats(b) * sizeof(float)) == hash[3]);
        CHECK_INT(sw_loader_chunk(l, 0, &c, &err), SW_E_INTERNAL); /* all were handed out */
        CHECK_STR(err.message, "chunk 0 of a step was asked for out of order");
    }
    SW_CLEANUP(batch_free_ptr) sw_batch *a = NULL;
    const sw_pixel_chunk *c = NULL;
    CHECK_OK(sw_loader_begin(l, 3, 0, &err));
    CHECK_INT(sw_loader_chunk(l, 0, &c, &err), SW_E_INTERNAL);
    CHECK_OK(sw_loader_next(l, &a, &err));
    CHECK_INT(sw_loader_chunk(l, 1, &c, &err), SW_E_INTERNAL);
    CHECK(!c);
}

/* Boxes of many patches; `bags` [n_bags] all zero but for their own number. */
static sw_status draw(const sw_augment *a, int64_t n_bags, int64_t bag_patches, uint32_t epoch, sw_crop *crop)
{
    SW_AUTOFREE int64_t *bag = sw_calloc((size_t)n_bags, sizeof(*bag));
    SW_AUTOFREE int *px = sw_calloc((size_t)(n_bags * bag_patches), sizeof(*px));
    if (!bag || !px) return sw_nomem(&err);
    for (int64_t i = 0; i < n_bags; i++) bag[i] = i;
    for (int64_t i = 0; i < n_bags * bag_patches; i++) px[i] = 256;
    sw_augment_step step = {.augment = a, .seed = 2021, .epoch = epoch, .step = 0, .n_bags = n_bags,
                            .bag_patches = bag_patches, .bag = bag, .source_px = px};
    return sw_augment_draw(&step, crop, &err);
}

TEST(crops_per_patch)
{
    enum { N = 20000 };
    sw_augment a = {.crop = true, .crop_px = 224, .crop_scale = 0.25, .crop_ratio = 4.0 / 3, .hflip = 0.5, .vflip = 0.25};
    SW_AUTOFREE sw_crop *crop = sw_calloc(N, sizeof(*crop));
    CHECK(crop);
    CHECK_OK(draw(&a, 100, N / 100, 0, crop));
    double area = 0, left = 0, flips[2] = {0}, log_ratio = 0;
    for (int i = 0; i < N; i++) {
        const sw_crop *c = &crop[i];
        CHECK(c->x >= 0 && c->y >= 0 && c->x + c->width <= 256 && c->y + c->height <= 256);
        CHECK(c->x == floor(c->x) && c->width == floor(c->width) && c->height == floor(c->height));
        double part = c->width * c->height / 65536, ratio = c->width / c->height;
        CHECK(part > 0.245 && part <= 1);
        CHECK(ratio > 0.74 && ratio < 1.35);
        area += part;
        log_ratio += log(ratio);
        left += c->x / (256 - c->width + 1e-9);
        flips[0] += c->flip_x;
        flips[1] += c->flip_y;
    }
    /* boxes that do not fit are drawn again, so the mean area lies below (0.25 + 1) / 2 */
    CHECK(area / N > 0.54 && area / N < 0.625);
    CHECK_NEAR(log_ratio / N, 0, 0, 0.005);
    CHECK_NEAR(left / N, 0.5, 0, 0.02);
    CHECK_NEAR(flips[0] / N, 0.5, 0, 0.015);
    CHECK_NEAR(flips[1] / N, 0.25, 0, 0.015);
    CHECK(memcmp(&crop[0], &crop[1], sizeof(crop[0])) != 0);
}

TEST(crops_per_chunk_are_the_references)
{
    sw_augment a = {.crop = true, .crop_px = 224, .crop_scale = 0.08, .crop_ratio = 4.0 / 3, .hflip = 0.5, .vflip = 0.5,
                    .share = SW_SHARE_CHUNK};
    static const struct { int64_t bags, patches, size; } row[] = {{3, 512, 384}, {1, 5, 2}, {1, 3, 1}, {2, 16, 8}};
    for (size_t r = 0; r < sizeof(row) / sizeof(row[0]); r++) {
        int64_t n = row[r].bags * row[r].patches, across = 0, down = 0, both = 0;
        SW_AUTOFREE sw_crop *crop = sw_calloc((size_t)n, sizeof(*crop));
        CHECK(crop);
        CHECK_OK(draw(&a, row[r].bags, row[r].patches, (uint32_t)r, crop));
        for (int64_t i = 0; i < n; i++) {
            const sw_crop *first = &crop[i / row[r].size * row[r].size];
            /* one box per chunk on the mirrored image */
            double x = crop[i].flip_x ? 256 - crop[i].x - crop[i].width : crop[i].x;
            double x0 = first->flip_x ? 256 - first->x - first->width : first->x;
            CHECK(crop[i].width == first->width && crop[i].height == first->height && x == x0);
            across += crop[i].flip_x;
            down += crop[i].flip_y;
            both += crop[i].flip_x && crop[i].flip_y;
        }
        CHECK(across == n / 2 || across == (n + 1) / 2); /* exactly half */
        CHECK(down == n / 2 || down == (n + 1) / 2);
        if (n > 100) CHECK(both > n / 8 && both < n / 2 - n / 8); /* drawn independently */
        if (n > row[r].size) CHECK(crop[0].width != crop[row[r].size].width || crop[0].height != crop[row[r].size].height);
    }
    int64_t up = 0; /* half of 5 is 2 or 3, each as often */
    for (uint32_t e = 0; e < 400; e++) {
        sw_crop crop[5];
        CHECK_OK(draw(&a, 1, 5, e, crop));
        int64_t flipped = 0;
        for (int i = 0; i < 5; i++) flipped += crop[i].flip_x;
        CHECK(flipped == 2 || flipped == 3);
        up += flipped == 3;
    }
    CHECK(up > 160 && up < 240);
}

/* Boxes beside those that the same draws give without a shift: whole pixels, every one of 201 about as often, across and down. */
TEST(shifts_are_the_references)
{
    enum { N = 40200 };
    sw_augment a = {.crop = true, .crop_px = 224, .crop_scale = 0.08, .crop_ratio = 4.0 / 3, .shift = 0.390625}, still = a;
    SW_AUTOFREE sw_crop *crop = sw_calloc(N, sizeof(*crop)), *from = sw_calloc(N, sizeof(*from));
    int count[2][201] = {{0}};
    double product = 0;
    CHECK(crop && from);
    still.shift = 0;
    CHECK_OK(draw(&a, 201, N / 201, 0, crop));
    CHECK_OK(draw(&still, 201, N / 201, 0, from));
    for (int i = 0; i < N; i++) {
        double x = from[i].x - crop[i].x, y = from[i].y - crop[i].y;
        CHECK(crop[i].width == from[i].width && crop[i].height == from[i].height);
        CHECK(x == rint(x) && y == rint(y) && fabs(x) <= 100 && fabs(y) <= 100);
        count[0][(int)x + 100]++;
        count[1][(int)y + 100]++;
        product += x * y / 1e4;
    }
    double chi2[2] = {0};
    for (int axis = 0; axis < 2; axis++) {
        for (int k = 0; k < 201; k++) { /* U(-100, 100) rounded: the ends are half as likely */
            double expected = N / 200.0 * (k == 0 || k == 200 ? 0.5 : 1);
            chi2[axis] += (count[axis][k] - expected) * (count[axis][k] - expected) / expected;
        }
        CHECK(chi2[axis] > 120 && chi2[axis] < 300); /* 200 degrees of freedom: mean 200, deviation 20 */
    }
    CHECK(fabs(product / N) < 0.01); /* x and y are independent */

    /* Shared by the patches of a chunk, also where these are mirrored: the picture moves after it is mirrored. */
    a.share = still.share = SW_SHARE_CHUNK;
    a.hflip = still.hflip = 0.5;
    CHECK_OK(draw(&a, 4, 100, 3, crop));
    CHECK_OK(draw(&still, 4, 100, 3, from));
    for (int i = 0; i < 400; i++) {
        double sign = crop[i].flip_x ? -1 : 1, sign0 = crop[i / 100 * 100].flip_x ? -1 : 1;
        CHECK(crop[i].flip_x == from[i].flip_x);
        CHECK(sign * (from[i].x - crop[i].x) == sign0 * (from[i / 100 * 100].x - crop[i / 100 * 100].x));
        CHECK(from[i].y - crop[i].y == from[i / 100 * 100].y - crop[i / 100 * 100].y);
    }
    CHECK(from[0].y - crop[0].y != from[100].y - crop[100].y);
}

/* The pixels of a shifted patch: those of a larger picture, black but for the patch, cropped. */
TEST(shifted_patches_have_black_margins)
{
    enum { ROOM = 3 * PX };
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
    SW_AUTOFREE float *images = NULL;
    static uint8_t room[3 * ROOM * ROOM], rgb[3 * PX * PX];
    static float expected[3 * CROP * CROP];
    float scale[3], offset[3];
    int outside = 0;
    sw_normalise(SW_PIXELS_IMAGENET, scale, offset);
    CHECK_OK(fixture_new(&f, "store", 2, "augment.preset=strong_v2|train.chunk_patches=5|augment.share=patch"));
    CHECK(f.config.augment.shift == 0.5);
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
    CHECK_OK(sw_loader_begin(l, 0, 0, &err));
    CHECK_OK(sw_loader_next(l, &b, &err));
    CHECK_OK(take_pixels(l, b, true, &images));
    for (int64_t i = 0; i < b->n_bags * b->bag_patches; i++) {
        sw_crop c = b->crop[i];
        outside += c.x < 0 || c.y < 0 || c.x + c.width > PX || c.y + c.height > PX;
        const void *jpeg;
        size_t size;
        CHECK_OK(sw_store_patch(f.store, b->slide[i], b->scale_index[i], b->patch[i], &jpeg, &size, &err));
        CHECK_OK(sw_jpeg_decode_into(jpeg, size, SW_PIXEL_RGB, PX, PX, rgb, &err));
        for (int64_t y = 0; y < PX; y++) memcpy(room + 3 * ((y + PX) * ROOM + PX), rgb + 3 * y * PX, 3 * PX);
        c.x += PX;
        c.y += PX;
        CHECK_OK(sw_resize_crop(room, ROOM, ROOM, &c, CROP, CROP, scale, offset, expected, &err));
        for (int64_t k = 0; k < 3 * CROP * CROP; k++) {
            if (fabsf(expected[k] - images[i * 3 * CROP * CROP + k]) > 1e-5f) {
                CHECK(!"pixels differ");
                return;
            }
        }
    }
    CHECK(outside > 10);
}

TEST(no_crop_is_the_whole_patch)
{
    sw_augment a = {.crop = false, .crop_px = 224, .hflip = 1, .vflip = 0};
    sw_crop crop[4];
    CHECK_OK(draw(&a, 2, 2, 0, crop));
    for (int i = 0; i < 4; i++) {
        CHECK(crop[i].x == 0 && crop[i].y == 0 && crop[i].width == 256 && crop[i].height == 256);
        CHECK(crop[i].flip_x && !crop[i].flip_y);
    }
    /* an aspect ratio that never fits falls back to the whole patch as well */
    sw_augment wide = {.crop = true, .crop_px = 224, .crop_scale = 1, .crop_ratio = 1.5};
    CHECK_OK(draw(&wide, 2, 2, 0, crop));
    for (int i = 0; i < 4; i++) CHECK(crop[i].width <= 256 && crop[i].height <= 256);
}

TEST(short_bags)
{
    SW_CLEANUP(fixture_free) fixture f = {0}, g = {0}, h = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *padded = NULL, *refused = NULL, *shorter = NULL;
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL, *c = NULL, *none = NULL;
    CHECK_OK(fixture_new(&f, "store", 1, "")); /* s4: 4 patches where 12 are asked; fewer bags than a batch are one step */
    CHECK_OK(loader_of(&f, SW_SPLIT_TEST, &padded));
    CHECK_INT(sw_loader_steps(padded), 1);
    CHECK_OK(sw_loader_begin(padded, 0, 0, &err));
    CHECK_OK(sw_loader_next(padded, &b, &err));
    CHECK(b->n_bags == 1 && b->bag_patches == 16);
    CHECK_OK(fixture_new(&g, "store", 1, "bag.pad=false"));
    CHECK_OK(loader_of(&g, SW_SPLIT_TEST, &refused));
    CHECK_OK(sw_loader_begin(refused, 0, 0, &err));
    CHECK_INT(sw_loader_next(refused, &none, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide s4 has 8 of the 16 patches that a bag asks for; set bag.pad to true, or train.batch_bags to 1");
    CHECK_OK(fixture_new(&h, "store", 1, "bag.pad=false|train.batch_bags=1"));
    CHECK_OK(loader_of(&h, SW_SPLIT_TEST, &shorter));
    CHECK_OK(sw_loader_begin(shorter, 0, 0, &err));
    CHECK_OK(sw_loader_next(shorter, &c, &err));
    CHECK_INT(c->bag_patches, 8);
    CHECK_INT(loader_of(&h, SW_SPLIT_VAL, &shorter), SW_E_INVALID);
    char text[400];
    snprintf(text, sizeof(text), "%s: the split 'val' has no slide", h.labels);
    CHECK_STR(err.message, text);
}

TEST(evaluation_sees_every_patch_whole)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
    SW_CLEANUP(eval_free_ptr) sw_eval_loader *l = NULL;
    CHECK_OK(fixture_new(&f, "store", 2, ""));
    CHECK_OK(sw_patch_source_store(f.store, sw_store_find(f.store, "s1"), 0, &source, &err));
    CHECK_INT(sw_patch_source_count(source), HIGH);
    CHECK_INT(sw_patch_source_px(source), PX);
    CHECK_STR(sw_patch_source_name(source), "s1");
    sw_eval_loader_options o = {.crop_px = CROP, .chunk_patches = 8, .channel_order = SW_CHANNELS_RGB, .ahead = 2};
    CHECK_OK(sw_eval_loader_new(source, &o, f.pool, &l, &err));
    float factor[3], offset[3];
    sw_normalise(SW_PIXELS_IMAGENET, factor, offset);
    int64_t next = 0;
    for (;;) {
        SW_CLEANUP(chunk_free_ptr) sw_eval_chunk *c = NULL;
        int64_t waited;
        CHECK_OK(sw_eval_loader_next(l, &c, &waited, &err));
        if (!c) break;
        CHECK_INT(c->first, next);
        CHECK_INT(c->count, next == 16 ? 4 : 8);
        next += c->count;
        for (int64_t i = 0; i < c->count; i++) { /* the green channel names the patch */
            double sum = 0;
            for (int k = 0; k < CROP * CROP; k++) sum += c->images[(i * 3 + 1) * CROP * CROP + k];
            double green = (sum / (CROP * CROP) - offset[1]) / factor[1];
            CHECK_NEAR(green, (double)(10 * (c->first + i)) + 7.5, 0, 1.5);
        }
    }
    CHECK_INT(next, HIGH);
    CHECK_INT(sw_patch_source_read(source, HIGH, NULL, &err), SW_E_INVALID);
    CHECK_STR(err.message, "slide s1 has no patch 20 (20 patches)");
}

TEST(patches_straight_from_a_slide)
{
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    CHECK_OK(sw_image_new(128, 64, 0, &image, &err));
    for (int64_t i = 0; i < 128 * 64; i++) image.rgb[3 * i] = (uint8_t)(i % 128 < 64 ? 50 : 200);
    char path[300];
    snprintf(path, sizeof(path), "%s/two.png", sw_test_dir());
    CHECK_OK(sw_image_write(path, &image, &err));
    SW_CLEANUP(sw_slide_close) sw_slide *slide = NULL;
    SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
    sw_slide_options o = sw_slide_options_default();
    o.mpp_um = 0.5;
    CHECK_OK(sw_slide_open(path, &o, &slide, &err));
    static const int64_t xy[] = {0, 0, 64, 0};
    CHECK_OK(sw_patch_source_slide(slide, xy, 2, 32, 1.0, &source, &err)); /* 64 level-0 pixels become 32 */
    uint8_t rgb[3 * 32 * 32];
    CHECK_OK(sw_patch_source_read(source, 0, rgb, &err));
    CHECK_INT(rgb[3 * (16 * 32 + 16)], 50);
    CHECK_OK(sw_patch_source_read(source, 1, rgb, &err));
    CHECK_INT(rgb[3 * (16 * 32 + 16)], 200);
    CHECK_STR(sw_patch_source_name(source), "two");
}

TEST(a_damaged_patch_is_named)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    static uint8_t rgb[3 * PX * PX];
    CHECK_OK(fixture_new(&f, "corrupt", 2, "bag.patches=40|bag.scales=[{mpp: 1}]"));
    CHECK_OK(sw_patch_source_store(f.store, 2, 0, &source, &err));
    CHECK_INT(sw_patch_source_read(source, 3, rgb, &err), SW_E_FORMAT);
    char text[500];
    snprintf(text, sizeof(text), "store %s: slide s2, patch 3 at 1 um/px: damaged JPEG stream: ", f.store_path);
    err.message[strlen(text)] = '\0'; /* what follows is the decoder's own reason */
    CHECK_STR(err.message, text);
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l)); /* and training stops there with the same sentence */
    CHECK_OK(sw_loader_begin(l, 0, 0, &err));
    sw_status status = SW_OK;
    for (int step = 0; step < 2 && status == SW_OK; step++) {
        SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
        SW_AUTOFREE float *images = NULL;
        status = sw_loader_next(l, &b, &err);
        if (status == SW_OK) status = take_pixels(l, b, false, &images);
    }
    CHECK_INT(status, SW_E_FORMAT);
    err.message[strlen(text)] = '\0'; /* what follows is the decoder's own reason */
    CHECK_STR(err.message, text);
}

TEST(the_limit_is_the_longest_part)
{
    CHECK_STR(sw_batch_timing_limit(&(sw_batch_timing){3, 2, 1}), "reading");
    CHECK_STR(sw_batch_timing_limit(&(sw_batch_timing){1, 2, 1}), "decoding");
    CHECK_STR(sw_batch_timing_limit(&(sw_batch_timing){1, 2, 3}), "augmenting");
}

TEST(workers_by_measure)
{
    sw_loader_count before = {.timing = {10, 20, 30}, .waited_ns = 5}, after = {.timing = {20, 80, 90}, .waited_ns = 5};
    CHECK_INT(sw_loader_workers(&before, &after, 1300, 8), 1); /* 130 of loading in 1300 of computing */
    CHECK_INT(sw_loader_workers(&before, &after, 130, 8), 2);  /* as much: one would just do, and nothing is exact */
    CHECK_INT(sw_loader_workers(&before, &after, 50, 8), 4);
    after.waited_ns = 55; /* of 100, half was waiting */
    CHECK_INT(sw_loader_workers(&before, &after, 100, 8), 4);
    CHECK_INT(sw_loader_workers(&before, &after, 100, 3), 3);
    CHECK_INT(sw_loader_workers(&before, &after, 50, 8), 8); /* nothing but waiting */
    CHECK_INT(sw_loader_workers(&before, &before, 100, 8), 1);
}

/* --- steps that are given their patches (attention sampling) */

/* Pixels of all patches of a bag at the first scale, cut by `crop`. */
static sw_status look_at_all(const fixture *f, int64_t bag, const sw_crop *crop, int64_t n, float *out)
{
    SW_CLEANUP(source_free_ptr) sw_patch_source *source = NULL;
    SW_CLEANUP(eval_free_ptr) sw_eval_loader *l = NULL;
    const sw_bag *b = &f->dataset->bag[bag];
    sw_eval_loader_options o = {.crop_px = CROP, .chunk_patches = 7, .ahead = 1, .crop = crop};
    int scale = sw_store_scale_find(f->store, b->store_slide, f->scales.mpp_um[0]);
    SW_TRY(sw_patch_source_store(f->store, b->store_slide, scale, &source, &err));
    SW_TRY(sw_eval_loader_new(source, &o, f->pool, &l, &err));
    for (int64_t first = 0; first < n;) {
        SW_CLEANUP(chunk_free_ptr) sw_eval_chunk *c = NULL;
        SW_TRY(sw_eval_loader_next(l, &c, NULL, &err));
        memcpy(out + first * 3 * CROP * CROP, c->images, (size_t)(c->count * 3 * CROP * CROP) * sizeof *out);
        first += c->count;
    }
    return SW_OK;
}

TEST(a_given_step_trains_on_the_pixels_that_were_looked_at)
{
    static const char *const share[] = {"patch", "chunk"};
    enum { N = 3 * CROP * CROP };
    for (int k = 0; k < 2; k++) {
        char sets[200];
        SW_CLEANUP(fixture_free) fixture f = {0};
        SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
        snprintf(sets, sizeof sets, "bag.sampler=attention|bag.scales=[{mpp: 1}]|bag.patches=5|train.chunk_patches=4|augment.share=%s",
                 share[k]);
        CHECK_OK(fixture_new(&f, "store", 2, sets));
        CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
        CHECK_OK(sw_loader_begin(l, 2, 0, &err));
        for (int64_t step = 1; step >= 0; step--) { /* in any order: each is given on its own */
            const int64_t *bag = NULL;
            int64_t n[2] = {5, 5};
            sw_pick pick[10];
            sw_crop crop[10], every[2][HIGH];
            int px[HIGH];
            SW_AUTOFREE float *seen = sw_malloc(2 * HIGH * N * sizeof *seen);
            CHECK_INT(sw_loader_step_bags(l, step, &bag), 2);
            for (int i = 0; i < HIGH; i++) px[i] = PX;
            for (int i = 0; i < 2; i++) {
                CHECK_OK(sw_loader_crops(l, step, i, HIGH, px, every[i], &err));
                CHECK_OK(look_at_all(&f, bag[i], every[i], HIGH, seen + i * HIGH * N));
                for (int j = 0; j < 5; j++) {
                    pick[i * 5 + j] = (sw_pick){0, (7 * j + 3 * i + 19) % HIGH};
                    crop[i * 5 + j] = every[i][pick[i * 5 + j].patch];
                }
            }
            CHECK(memcmp(&every[0][0], &every[1][0], sizeof(sw_crop)) != 0);
            sw_batch_given given = {n, pick, crop};
            CHECK_OK(sw_loader_give(l, step, &given, &err));
            SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
            SW_AUTOFREE float *images = NULL;
            CHECK_OK(sw_loader_next(l, &b, &err));
            CHECK(b && b->step == step && b->n_bags == 2 && b->bag_patches == 5 && b->bag[0] == bag[0] && b->bag[1] == bag[1]);
            CHECK_OK(take_pixels(l, b, true, &images));
            for (int i = 0; i < 10; i++)
                CHECK(memcmp(images + i * N, seen + (i / 5 * HIGH + pick[i].patch) * N, N * sizeof *images) == 0);
        }
        CHECK_INT(sw_loader_give(l, 2, NULL, &err), SW_E_INTERNAL);
        CHECK_STR(err.message, "step 2 of an epoch was given out of order");
    }
}

TEST(a_regional_sampler_asks_the_store_for_positions)
{
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    CHECK_OK(fixture_new(&f, "store", 1, "bag.sampler=regional_slide|bag.regions=2"));
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l)); /* all patches of this store lie at (0, 0): one part */
    CHECK_OK(sw_loader_begin(l, 0, 0, &err));
    SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
    CHECK_OK(sw_loader_next(l, &b, &err));
    CHECK(b && b->bag_patches == 16);
}

/* A case of several slides is one bag: its patches are those of its slides, in order, in training and in evaluation. */
TEST(a_case_of_two_slides_is_one_bag)
{
    static const char table[] = "case,slide,label,split\nx,s1,a,train\ny,s2,b,train\nx,s4,a,train\nz,s3,b,train\n";
    SW_CLEANUP(fixture_free) fixture f = {0};
    SW_CLEANUP(loader_free_ptr) sw_loader *l = NULL;
    CHECK_OK(fixture_new(&f, "store", 2, "augment.preset=none|augment.crop_px=64|augment.crop=false"));
    CHECK_OK(sw_file_write(f.labels, table, strlen(table), &err));
    CHECK_OK(sw_config_set(&f.config, "data.bag=case", &err));
    sw_dataset_free_ptr(&f.dataset);
    sw_dataset_slides slides = {.store = f.store};
    CHECK_OK(sw_dataset_load(&f.config, &slides, true, NULL, &f.dataset, &err));
    CHECK_INT(f.dataset->n_bags, 3);
    const sw_bag *both = &f.dataset->bag[0];
    CHECK_STR(both->slide_id, "x");
    CHECK_INT(sw_bag_patches(f.store, both, 1.0), HIGH + SHORT_HIGH);
    CHECK_INT(sw_bag_patches(f.store, both, 2.0), 2 * LOW);
    CHECK_INT(sw_bag_patches(f.store, both, 4.0), 0);
    CHECK_INT(sw_bag_locate(f.store, both, 1.0, HIGH + SHORT_HIGH).slide, -1);
    CHECK_OK(loader_of(&f, SW_SPLIT_TRAIN, &l));
    int seen[2] = {0};
    for (uint32_t epoch = 0; epoch < 4; epoch++) {
        CHECK_OK(sw_loader_begin(l, epoch, 0, &err));
        for (;;) {
            SW_CLEANUP(batch_free_ptr) sw_batch *b = NULL;
            const sw_pixel_chunk *c = NULL;
            CHECK_OK(sw_loader_next(l, &b, &err));
            if (!b) break;
            CHECK_OK(sw_loader_chunk(l, 0, &c, &err));
            for (int64_t i = 0; i < b->n_bags * b->bag_patches; i++) {
                const sw_bag *bag = &f.dataset->bag[b->bag[i / b->bag_patches]];
                const char *id = sw_store_slide_id(f.store, b->slide[i]);
                int slide = id[1] - '0', scale = b->scale_index[i];
                if (bag == both) CHECK(slide == 1 || slide == 4);
                if (bag == both) seen[slide == 4]++;
                if (bag != both) CHECK_INT(b->slide[i], bag->store_slide);
                CHECK(b->patch[i] < patches_of(slide, scale));
                /* green is 10 * index at the top of a patch: the pixels are those of that patch of that slide */
                double green = (double)c->images[(i * 3 + 1) * PX * PX] * 0.224 * 255.0 + 0.456 * 255.0;
                CHECK_NEAR(green, 10.0 * (double)b->patch[i], 0.0, 6.0);
                double red = (double)c->images[i * 3 * PX * PX] * 0.229 * 255.0 + 0.485 * 255.0;
                CHECK_NEAR(red, 40.0 * slide + 20.0 * scale, 0.0, 6.0);
            }
        }
    }
    CHECK(seen[0] > 0 && seen[1] > 0);
    sw_patch_source *source = NULL;
    uint8_t rgb[3 * PX * PX];
    CHECK_OK(sw_bag_source(f.store, both, 1.0, &source, &err));
    int64_t count = sw_patch_source_count(source), at = HIGH + 2;
    CHECK_STR(sw_patch_source_name(source), "x");
    CHECK_INT(count, HIGH + SHORT_HIGH);
    sw_status status = sw_patch_source_read(source, HIGH + 2, rgb, &err);
    const char *part = sw_patch_source_name(sw_patch_source_part(source, &at));
    bool right = status == SW_OK && strcmp(part, "s4") == 0 && at == 2 && abs(rgb[0] - 160) < 6 && abs(rgb[1] - 20) < 6;
    sw_patch_source_free(source);
    CHECK(right);
}
