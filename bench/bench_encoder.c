/* SPDX-License-Identifier: Apache-2.0 */
/* Patches per second of an encoder, forward and forward + backward, on random pixels.
 *   bench_encoder [--deterministic] [encoder] [batch] [side_px] [repeats] [threads]     (resnet18 32 224 5 0)
 * Prints one line per kind: best and median of the repeats, and the peak of live tensors and of the process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "encoder/encoder.h"

enum { MAX_REPEATS = 101 };

typedef struct bench {
    sw_backend *be;
    sw_slab *slab;
    sw_encoder *encoder;
    sw_tensor images, seed;
    int64_t batch;
} bench;

static sw_status random_images(bench *b, sw_shape shape, sw_tensor *out, sw_error *err)
{
    int64_t count = sw_shape_count(&shape);
    SW_AUTOFREE float *host = sw_malloc((size_t)count * sizeof(float));
    if (!host) return sw_nomem(err);
    sw_rng rng = sw_rng_stream(1, SW_RNG_TEST, 0, 0, 0);
    for (int64_t i = 0; i < count; i++) host[i] = (float)sw_rng_range(&rng, -1, 1);
    return sw_tensor_from(&b->be->device, SW_F32, shape, host, out, err);
}

static sw_status step(bench *b, bool training, sw_error *err)
{
    sw_tape *tape;
    SW_TRY(sw_tape_new(b->be, training, &tape, err));
    sw_nn_mode mode = training ? sw_nn_mode_train(1, 1) : sw_nn_mode_eval();
    sw_var *x = sw_tape_constant(tape, &b->images);
    sw_var *y = sw_encoder_forward(b->encoder, tape, !training, x, &mode);
    sw_status status = sw_tape_status(tape, err);
    if (status == SW_OK && training) status = sw_tape_backward(tape, y, &b->seed, err);
    sw_tape_free(tape);
    return status;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static sw_status run(bench *b, bool training, int repeats, sw_error *err)
{
    double seconds[MAX_REPEATS];
    SW_TRY(step(b, training, err)); /* makes primitives and touches memory */
    for (int i = 0; i < repeats; i++) {
        int64_t start = sw_now_ns();
        SW_TRY(step(b, training, err));
        seconds[i] = (double)(sw_now_ns() - start) * 1e-9;
    }
    qsort(seconds, (size_t)repeats, sizeof(double), by_value);
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    printf("%-18s best %7.1f  median %7.1f patches/s   tensors at most %4.0f MB, process %4ld MB\n",
           training ? "forward + backward" : "forward", (double)b->batch / seconds[0],
           (double)b->batch / seconds[repeats / 2], (double)sw_backend_memory(b->be).peak / 1e6, use.ru_maxrss / 1024);
    return SW_OK;
}

static sw_status go(int argc, char **argv, bench *b, sw_error *err)
{
    sw_backend_options options = {.deterministic = argc > 1 && strcmp(argv[1], "--deterministic") == 0};
    argc -= options.deterministic;
    argv += options.deterministic;
    const char *name = argc > 1 ? argv[1] : "resnet18";
    b->batch = argc > 2 ? atoi(argv[2]) : 32;
    int64_t side = argc > 3 ? atoi(argv[3]) : 224;
    int repeats = argc > 4 ? atoi(argv[4]) : 5;
    options.threads = argc > 5 ? atoi(argv[5]) : 0;
    if (b->batch < 1 || side < 1 || repeats < 1 || repeats > MAX_REPEATS)
        return sw_error_set(err, SW_E_INVALID, "usage: bench_encoder [--deterministic] [encoder] [batch] [side_px] [repeats, at most %d] "
                                               "[threads]", MAX_REPEATS);
    SW_TRY(sw_backend_new("cpu", &options, &b->be, err));
    SW_TRY(sw_slab_new(&b->be->device, SW_F32, &b->slab, err));
    SW_TRY(sw_encoder_new(name, b->slab, &b->encoder, err));
    SW_TRY(sw_slab_commit(b->slab, err));
    SW_TRY(sw_encoder_init(b->encoder, 1, err));
    SW_TRY(random_images(b, SW_SHAPE(b->batch, 3, side, side), &b->images, err));
    SW_TRY(random_images(b, SW_SHAPE(b->batch, sw_encoder_dim(b->encoder)), &b->seed, err));
    printf("%s, batch %lld, 3 x %lld x %lld, %d threads%s\n", name, (long long)b->batch, (long long)side,
           (long long)side, b->be->threads, options.deterministic ? ", deterministic" : "");
    SW_TRY(run(b, false, repeats, err));
    return run(b, true, repeats, err);
}

int main(int argc, char **argv)
{
    bench b = {.be = NULL};
    sw_error err;
    sw_status status = go(argc, argv, &b, &err);
    if (status != SW_OK) fprintf(stderr, "bench_encoder: %s\n", err.message);
    sw_tensor_release(&b.images);
    sw_tensor_release(&b.seed);
    sw_encoder_free(b.encoder);
    sw_slab_free(b.slab);
    sw_backend_free(b.be);
    return status != SW_OK;
}
