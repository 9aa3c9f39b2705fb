/* SPDX-License-Identifier: Apache-2.0 */
/* What a step takes, the chunk that a budget allows, and that memory does not grow with the bag. */
#include "test.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "base/text.h"
#include "infer/memory.h"
#include "train/step.h"

static sw_error err;

TEST(sizes_are_read)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"6GB", 6000000000}, {"800MB", 800000000}, {"2.5GiB", 2684354560}, {"512 mib", 536870912},
                {"64kB", 64000},     {"1TiB", 1099511627776}, {"0.5gb", 500000000}};
    static const char *const bad[] = {"", "6", "GB", "6 G", "-1GB", "6GBs", "1.2.3GB", "0GB", "6  GB", "1e3GB", "nanGB",
                                      "99999999999999999999999TB"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t bytes = -1;
        CHECK(sw_parse_bytes(good[i].text, &bytes));
        CHECK_INT(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t bytes = -1;
        CHECK(!sw_parse_bytes(bad[i], &bytes));
        CHECK_INT(bytes, -1);
    }
    char text[32];
    CHECK_STR(sw_bytes_text(1500000000, text, sizeof text), "1.50 GB");
    CHECK_STR(sw_bytes_text(320000000, text, sizeof text), "320 MB");
}

TEST(the_process_knows_its_memory)
{
    sw_process_memory before = sw_process_memory_now();
    size_t bytes = 64 << 20;
    SW_AUTOFREE char *block = sw_malloc(bytes);
    CHECK(block);
    for (size_t i = 0; i < bytes; i += 4096) block[i] = 1;
    sw_process_memory after = sw_process_memory_now();
    CHECK(after.now - before.now > 60 << 20 && after.own - before.own > 60 << 20);
    CHECK(after.peak >= after.now - (1 << 20) && after.own <= after.now);
    CHECK(sw_memory_available_bytes() > 0);
    CHECK(sw_memory_budget("auto") > (double)after.now && sw_memory_budget("") == 0.0 && sw_memory_budget("2GB") == 2e9);
}

/* 100 MB of process and 10 MB of parameters; 5 MB for a patch, of pixels 0.05 MB. */
static const sw_memory_cost made_up = {.base = 1e8, .held = 1e7, .chunk = {1e6, 5e6}, .head = {1e6, 1e4}, .px = 64,
                                       .dim = 256, .training = true};

static int64_t picked(double budget, int64_t patches, int64_t limit)
{
    int64_t chunk = -1;
    const sw_memory_load load = {.patches = patches, .waiting = 3};
    err.message[0] = '\0';
    sw_status status = sw_memory_pick(&made_up, &load, budget, limit, "run.memory", &chunk, &err);
    if (status == SW_OK && sw_memory_total(&made_up, &load, chunk) > budget) return -2;
    return status == SW_OK ? chunk : -1;
}

TEST(the_largest_chunk_that_fits_is_picked)
{
    const sw_memory_load load = {.patches = 1000, .waiting = 3};
    for (int64_t chunk = 8; chunk < 900; chunk += 8) {
        double just = sw_memory_total(&made_up, &load, chunk);
        CHECK_INT(picked(just, 1000, 0), chunk);
        CHECK_INT(picked(just - 1.0, 1000, 0), chunk == 8 ? 7 : chunk - 8);
    }
    for (int64_t chunk = 1; chunk < 8; chunk++) CHECK_INT(picked(sw_memory_total(&made_up, &load, chunk), 1000, 0), chunk);
    CHECK_INT(picked(1e12, 1000, 0), 1000); /* the whole step */
    CHECK_INT(picked(1e12, 1000, 256), 256);
    CHECK_INT(picked(1e12, 100, 256), 100);
    CHECK(sw_memory_total(&made_up, &load, 1000) > sw_memory_total(&made_up, &load, 999)); /* one tape holds all */
}

TEST(too_little_memory_is_said)
{
    CHECK_INT(picked(1.2e8, 1000, 0), -1);
    CHECK_STR(err.message, "run.memory: 120 MB is too small: one patch of 64 x 64 pixels at a time needs 140 MB; give at least "
                           "that, or lower augment.crop_px, bag.patches or train.batch_bags");
    CHECK_INT(picked(1.4e8, 1000, 0) >= 1, true); /* what it names works */
}

/* --- on a real model */

enum { PX = 48 };

typedef struct rig {
    sw_backend *be;
    sw_model *model;
} rig;

static void rig_free(rig *r)
{
    sw_model_free(r->model);
    sw_backend_free(r->be);
}

static sw_status rig_new(const char *backend, rig *r)
{
    const sw_backend_options bo = {.threads = 1}; /* a busy machine makes teams wait */
    sw_model_options mo = sw_model_options_default();
    mo.mil.inner_dim = 64;
    mo.mil.heads = 4;
    mo.mil.attn_plus = SW_PLUS_LEARNABLE;
    SW_TRY(sw_backend_new(backend, &bo, &r->be, &err));
    SW_TRY(sw_model_new(r->be, SW_F32, &mo, &r->model, &err));
    return sw_model_zero_grad(r->model, &err);
}

static bool same_values(const sw_tensor *a, const float *b)
{
    size_t n = (size_t)sw_tensor_count(a);
    SW_AUTOFREE float *host = sw_calloc(n, sizeof *host);
    return host && sw_tensor_download_f32(a, host, &err) == SW_OK && memcmp(host, b, n * sizeof *host) == 0;
}

TEST(measuring_leaves_no_trace)
{
    SW_CLEANUP(rig_free) rig r = {0};
    sw_memory_cost cost;
    CHECK_OK(rig_new("cpu", &r));
    sw_slab *slab = sw_model_slab(r.model);
    size_t n = (size_t)sw_tensor_count(sw_slab_buffers(slab)), p = (size_t)sw_tensor_count(sw_slab_params(slab));
    SW_AUTOFREE float *buffers = sw_calloc(n, sizeof *buffers), *params = sw_calloc(p, sizeof *params);
    SW_AUTOFREE float *none = sw_calloc(p, sizeof *none);
    CHECK(buffers && params && none);
    CHECK_OK(sw_tensor_download_f32(sw_slab_buffers(slab), buffers, &err));
    CHECK_OK(sw_tensor_download_f32(sw_slab_params(slab), params, &err));
    size_t live = sw_backend_memory(r.be).now;
    for (int training = 0; training < 2; training++) {
        CHECK_OK(sw_memory_measure(r.model, PX, training, &cost, &err));
        CHECK(same_values(sw_slab_buffers(slab), buffers) && same_values(sw_slab_params(slab), params));
        CHECK(same_values(sw_slab_grads(slab), none));
        sw_memory_use use = sw_backend_memory(r.be);
        CHECK(use.now == live && use.peak == live && use.scratch == 0);
        CHECK(cost.held == (double)live && cost.base > 1e6 && cost.chunk.per_patch > 3.0 * PX * PX * 4);
    }
}

/* The pixels of a chunk, made as they are asked for. */
typedef struct stream {
    sw_backend *be;
    int64_t patches, chunk;
} stream;

static sw_status pixels(void *ctx, int64_t chunk, sw_tensor *out, sw_error *e)
{
    const stream *s = ctx;
    int64_t left = s->patches - chunk * s->chunk, n = left < s->chunk ? left : s->chunk;
    size_t count = (size_t)n * 3 * PX * PX, first = (size_t)(chunk * s->chunk) * 3 * PX * PX;
    SW_AUTOFREE float *images = sw_calloc(count, sizeof *images);
    if (!images) return sw_nomem(e);
    for (size_t i = 0; i < count; i++) images[i] = (float)((first + i) % 101) / 50.0f - 1.0f;
    return sw_tensor_from(&s->be->device, SW_F32, SW_SHAPE(n, 3, PX, PX), images, out, e);
}

/* Peak of live tensors of one step beyond what stays. */
static double step_peak(rig *r, int64_t patches, int64_t chunk)
{
    int32_t label = 0;
    double loss;
    stream from = {.be = r->be, .patches = patches, .chunk = chunk};
    sw_batch batch = {.n_bags = 1, .bag_patches = patches, .chunk_patches = chunk, .px = PX, .label = &label};
    sw_step_options so = {.task = sw_task_get(SW_CFG_CLASSIFICATION), .chunk_patches = chunk, .pixels = pixels, .ctx = &from};
    sw_backend_trim(r->be);
    double before = (double)sw_backend_memory(r->be).now;
    if (sw_train_step(r->model, &batch, &so, &loss, &err) != SW_OK) return -1;
    return (double)sw_backend_memory(r->be).peak - before;
}

TEST(the_estimate_is_what_a_step_takes)
{
    SW_CLEANUP(rig_free) rig r = {0};
    sw_memory_cost c;
    CHECK_OK(rig_new("cpu", &r));
    CHECK_OK(sw_memory_measure(r.model, PX, true, &c, &err));
    double chunked = c.chunk.fixed + 16 * c.chunk.per_patch, whole = c.chunk.fixed + 48 * c.chunk.per_patch;
    CHECK_NEAR(step_peak(&r, 48, 16), chunked, 0.03, 0.0);
    CHECK_NEAR(step_peak(&r, 48, 48), whole + c.head.fixed + 48 * c.head.per_patch, 0.03, 0.0);
}

TEST(a_step_takes_as_much_for_a_large_bag)
{
    SW_CLEANUP(rig_free) rig r = {0};
    CHECK_OK(rig_new("cpu", &r));
    double small = step_peak(&r, 32, 16), large = step_peak(&r, 512, 16);
    CHECK(small > 1e7);
    /* Only the features and their gradient: 2 kB for a patch, of which the encoder alone would keep 900 kB. */
    CHECK(large - small <= (512 - 32) * 256 * 2 * sizeof(float));
}

/* What the backend keeps of the system's memory after a step: tensors, the gaps between them, what kernels work in. */
static double step_footprint(rig *r, int64_t patches, int64_t chunk)
{
    if (step_peak(r, patches, chunk) < 0) return -1;
    sw_memory_use use = sw_backend_memory(r->be);
    return (double)(use.now + use.idle + use.scratch);
}

TEST(nothing_of_a_large_bag_is_kept_beside_a_chunk)
{
    static const sw_dtype activations[] = {SW_F32, SW_BF16};
    for (int i = 0; i < 2; i++) {
        SW_CLEANUP(rig_free) rig r = {0};
        CHECK_OK(rig_new("cpu", &r));
        sw_model_set_activations(r.model, activations[i]);
        double small = step_footprint(&r, 64, 64), large = step_footprint(&r, 1024, 64);
        CHECK(small > 4e7);
        /* The aggregator works in what a chunk's activations leave: what it would keep is a kilobyte a patch. */
        CHECK(large - small <= (1024 - 64) * 64);
    }
}

/* --- chunked replay of the real model */

enum { CHUNK = 4, N = 12 };

static sw_status chunked_grads(rig *r, float *grads)
{
    int32_t label = 1;
    double loss;
    stream from = {.be = r->be, .patches = N, .chunk = CHUNK};
    sw_batch batch = {.n_bags = 1, .bag_patches = N, .chunk_patches = CHUNK, .px = PX, .label = &label};
    sw_step_options so = {.task = sw_task_get(SW_CFG_CLASSIFICATION), .chunk_patches = CHUNK, .pixels = pixels, .ctx = &from};
    SW_TRY(sw_model_zero_grad(r->model, &err));
    SW_TRY(sw_train_step(r->model, &batch, &so, &loss, &err));
    return sw_tensor_download_f32(sw_slab_grads(sw_model_slab(r->model)), grads, &err);
}

/* The same chunks on one tape, that keeps all. */
static sw_status one_tape(rig *r, sw_tape *tape)
{
    const int32_t label = 1;
    sw_nn_mode mode = sw_nn_mode_train(0, 0);
    stream from = {.be = r->be, .patches = N, .chunk = CHUNK};
    sw_var *all = NULL;
    for (int64_t i = 0; i < N / CHUNK; i++) {
        SW_CLEANUP(sw_tensor_release) sw_tensor images = {0};
        SW_TRY(pixels(&from, i, &images, &err));
        sw_var *y = sw_model_encode(r->model, tape, sw_tape_constant(tape, &images), &mode);
        all = all ? sw_concat(tape, all, y) : y;
    }
    SW_CLEANUP(sw_tensor_release) sw_tensor labels = {0};
    SW_TRY(sw_tensor_from(&r->be->device, SW_I32, SW_SHAPE(1), &label, &labels, &err));
    sw_var *bag = sw_reshape(tape, all, SW_SHAPE(1, N, sw_model_dim(r->model)));
    sw_var *logits = sw_model_aggregate(r->model, tape, bag, &mode).logits;
    sw_var *loss = sw_task_get(SW_CFG_CLASSIFICATION)->loss(sw_task_get(SW_CFG_CLASSIFICATION), tape, logits, sw_tape_constant(tape, &labels));
    SW_TRY(sw_tape_status(tape, &err));
    return sw_tape_backward(tape, loss, NULL, &err);
}

static sw_status whole_grads(rig *r, float *grads)
{
    sw_tape *tape = NULL;
    SW_TRY(sw_model_zero_grad(r->model, &err));
    SW_TRY(sw_tape_new(r->be, true, &tape, &err));
    sw_status status = one_tape(r, tape);
    sw_tape_free(tape);
    SW_TRY(status);
    return sw_tensor_download_f32(sw_slab_grads(sw_model_slab(r->model)), grads, &err);
}

TEST(chunks_give_the_gradient_of_one_tape)
{
    SW_CLEANUP(rig_free) rig r = {0};
    CHECK_OK(rig_new("cpu", &r));
    size_t n = (size_t)sw_tensor_count(sw_slab_grads(sw_model_slab(r.model)));
    SW_AUTOFREE float *a = sw_calloc(n, sizeof *a), *b = sw_calloc(n, sizeof *b), *whole = sw_calloc(n, sizeof *whole);
    CHECK(a && b && whole);
    CHECK_OK(chunked_grads(&r, a));
    CHECK_OK(chunked_grads(&r, b));
    CHECK_OK(whole_grads(&r, whole));
    CHECK(memcmp(a, b, n * sizeof *a) == 0); /* the same bits from run to run */
    double difference = 0.0, norm = 0.0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - whole[i]) * ((double)a[i] - whole[i]);
        norm += (double)whole[i] * whole[i];
    }
    CHECK(norm > 1e-6);
    CHECK_NEAR(sqrt(difference / norm), 0.0, 0.0, 1e-5);
}
