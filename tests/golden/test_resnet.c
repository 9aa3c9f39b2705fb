/* SPDX-License-Identifier: Apache-2.0 */
/* ResNet-18 and ResNet-50 against PyTorch from the same hashed weights (make_resnet.py, resnet.csv), and against the
 * numbers of the reference implementation's ResNet-18. */
#include <stdlib.h>

#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "encoder/encoder.h"
#include "golden/hash.h"
#include "test.h"

enum { N = 3, SIZE = 48, SAMPLES = 24 };

static sw_error err;

/* An encoder on a backend, and what one pass through it gave. */
typedef struct bench {
    sw_backend *be;
    sw_slab *slab;
    sw_encoder *encoder;
    double *features; /* [n, dim] */
    int64_t n;
    bool batch_stats; /* of an evaluation */
} bench;

static void bench_free(bench *b)
{
    sw_encoder_free(b->encoder);
    sw_slab_free(b->slab);
    sw_backend_free(b->be);
    sw_free(b->features);
}

static bool fails(int line)
{
    return sw_test_fail(__FILE__, line, "%s", err.message);
}

static bool bench_new(bench *b, const char *backend, sw_dtype dtype, const char *encoder)
{
    return (sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &b->be, &err) == SW_OK &&
            sw_slab_new(&b->be->device, dtype, &b->slab, &err) == SW_OK &&
            sw_encoder_new(encoder, b->slab, &b->encoder, &err) == SW_OK && sw_slab_commit(b->slab, &err) == SW_OK) ||
           fails(__LINE__);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Value i of entry e, of n. */
typedef double (*rule)(const bench *b, int e, int64_t i, int64_t n);

static double hash_rule(const bench *b, int e, int64_t i, int64_t n)
{
    const sw_shape *shape = sw_slab_shape(b->slab, e);
    const char *name = sw_slab_name(b->slab, e);
    double h = golden_hashed(i, e + 1);
    if (shape->rank == 4) return h * sqrt(6.0 / (double)(n / shape->dim[0]));
    if (ends_with(name, "bias") || ends_with(name, "running_mean")) return h * 0.1;
    return ends_with(name, "running_var") ? 1.0 + h * 0.5 : 0.5 + h * 0.1;
}

/* The reference counts num_batches_tracked, which follows each running_var, as an entry. */
static double sine_rule(const bench *b, int e, int64_t i, int64_t n)
{
    const sw_shape *shape = sw_slab_shape(b->slab, e);
    const char *name = sw_slab_name(b->slab, e);
    int k = e;
    for (int before = 0; before < e; before++) k += ends_with(sw_slab_name(b->slab, before), "running_var");
    double s = sin(0.7 * (double)i + 0.3 * (double)(k + 1));
    if (shape->rank == 4) return sqrt(2.0 / (double)(n / shape->dim[0])) * s;
    return 0.1 * s + (ends_with(name, "bias") || ends_with(name, "running_mean") ? 0.0 : 1.0);
}

static bool fill(bench *b, rule value)
{
    for (int e = 0; e < sw_slab_entries(b->slab); e++) {
        int64_t n = sw_shape_count(sw_slab_shape(b->slab, e));
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = value(b, e, i, n);
        if (sw_tensor_upload_f64(sw_slab_value(b->slab, e), v, &err) != SW_OK) return fails(__LINE__);
    }
    return true;
}

/* The seed gradient of feature i. */
typedef double (*slope)(const bench *b, int64_t i);

static double hash_slope(const bench *b, int64_t i)
{
    (void)b;
    return golden_hashed(i, 6000);
}

/* of the mean square */
static double square_slope(const bench *b, int64_t i)
{
    return 2.0 * b->features[i] / (double)(b->n * sw_encoder_dim(b->encoder));
}

static bool keep_features(bench *b, sw_var *out)
{
    sw_free(b->features);
    b->features = sw_calloc((size_t)(b->n * sw_encoder_dim(b->encoder)), sizeof *b->features);
    return sw_tensor_download_f64(sw_var_value(out), b->features, &err) == SW_OK;
}

/* One pass; with a slope it trains and goes back. */
static bool pass(bench *b, const double *pixels, int64_t n, int64_t size, slope seed)
{
    sw_tape *tape = NULL;
    sw_tensor x = {0}, g = {0};
    sw_dtype dtype = sw_slab_dtype(b->slab);
    sw_nn_mode mode = seed ? sw_nn_mode_train(0, 0) : sw_nn_mode_eval();
    mode.batch_stats = b->batch_stats;
    int64_t dim = sw_encoder_dim(b->encoder);
    b->n = n;
    bool ok = sw_tensor_new(&b->be->device, dtype, SW_SHAPE(n, 3, size, size), &x, &err) == SW_OK &&
              sw_tensor_upload_f64(&x, pixels, &err) == SW_OK && sw_tape_new(b->be, seed != NULL, &tape, &err) == SW_OK;
    sw_var *out = ok ? sw_encoder_forward(b->encoder, tape, false, sw_tape_constant(tape, &x), &mode) : NULL;
    ok = ok && sw_tape_status(tape, &err) == SW_OK && keep_features(b, out);
    if (ok && seed) {
        SW_AUTOFREE double *v = sw_calloc((size_t)(n * dim), sizeof *v);
        for (int64_t i = 0; i < n * dim; i++) v[i] = seed(b, i);
        ok = sw_tensor_new(&b->be->device, dtype, SW_SHAPE(n, dim), &g, &err) == SW_OK &&
             sw_tensor_upload_f64(&g, v, &err) == SW_OK && sw_tape_backward(tape, out, &g, &err) == SW_OK;
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_tensor_release(&g);
    return ok || fails(__LINE__);
}

/* --- against PyTorch */

static double cell(const sw_csv *csv, size_t row, const char *column)
{
    double v = NAN;
    const char *text = sw_csv_cell(csv, row, (size_t)sw_csv_find(csv, column));
    return sw_parse_double(text, &v) ? v : NAN;
}

/* Norm, sum and samples of `v` against a row; each difference is told relative to the largest element (the norm to itself,
 * the sum to the root of the count as well). */
static double distance(const sw_csv *csv, size_t row, const double *v, int64_t n)
{
    double norm = 0.0, sum = 0.0, top = cell(csv, row, "max"), expected_norm = cell(csv, row, "norm");
    const char *text = sw_csv_cell(csv, row, (size_t)sw_csv_find(csv, "samples"));
    int64_t step = n / SAMPLES > 1 ? n / SAMPLES : 1;
    if ((double)n != cell(csv, row, "count")) return INFINITY;
    for (int64_t i = 0; i < n; i++) {
        norm += v[i] * v[i];
        sum += v[i];
    }
    double worst = fabs(sqrt(norm) - expected_norm) / expected_norm;
    worst = fmax(worst, fabs(sum - cell(csv, row, "sum")) / (expected_norm * sqrt((double)n)));
    for (int64_t k = 0; k < SAMPLES && k * step < n; k++) {
        char *end = NULL;
        double expected = strtod(text, &end), d = fabs(v[k * step] - expected) / top;
        if (end == text || !(d >= 0.0)) return INFINITY;
        worst = fmax(worst, d);
        text = end;
    }
    return *text == '\0' ? worst : INFINITY;
}

static bool row_values(const bench *b, const sw_csv *csv, size_t row, const char *kind, double **out, int64_t *n)
{
    const char *column = sw_csv_cell(csv, row, (size_t)sw_csv_find(csv, "name"));
    SW_AUTOFREE char *name = sw_asprintf("encoder.model.%s", column);
    int e = sw_slab_find(b->slab, name);
    if (e < 0) return sw_test_fail(__FILE__, __LINE__, "no entry %s", name);
    const sw_tensor *t = strcmp(kind, "grad") == 0 ? sw_slab_grad(b->slab, e) : sw_slab_value(b->slab, e);
    *n = sw_tensor_count(t);
    *out = sw_calloc((size_t)*n, sizeof **out);
    return sw_tensor_download_f64(t, *out, &err) == SW_OK || fails(__LINE__);
}

/* The row's kind decides when it can be compared: `now` is "eval" or, after the step, "train". */
static bool compare(const bench *b, const sw_csv *csv, const char *encoder, const char *now, double tolerance,
                    double grad_tolerance, int *rows)
{
    int64_t dim = sw_encoder_dim(b->encoder), n = b->n * dim;
    double worst = 0.0, worst_grad = 0.0, loss = 0.0;
    for (int64_t i = 0; i < n; i++) loss += b->features[i] * golden_hashed(i, 6000);
    for (size_t r = 0; r < sw_csv_rows(csv); r++) {
        const char *kind = sw_csv_cell(csv, r, (size_t)sw_csv_find(csv, "kind"));
        double d = INFINITY;
        if (strcmp(sw_csv_cell(csv, r, 0), encoder) != 0 || (strcmp(now, "eval") == 0) != (strcmp(kind, "eval") == 0))
            continue;
        if (strcmp(kind, "eval") == 0 || strcmp(kind, "train") == 0) {
            d = distance(csv, r, b->features, n);
        } else if (strcmp(kind, "loss") == 0) {
            d = distance(csv, r, &loss, 1);
        } else {
            SW_AUTOFREE double *v = NULL;
            int64_t count = 0;
            if (!row_values(b, csv, r, kind, &v, &count)) return false;
            d = distance(csv, r, v, count);
        }
        bool grad = strcmp(kind, "grad") == 0;
        if (!(d <= (grad ? grad_tolerance : tolerance)))
            return sw_test_fail(__FILE__, __LINE__, "%s %s %s is %.3g away", encoder, kind,
                                sw_csv_cell(csv, r, (size_t)sw_csv_find(csv, "name")), d);
        *(grad ? &worst_grad : &worst) = fmax(grad ? worst_grad : worst, d);
        ++*rows;
    }
    printf("# %s, %s, on %s in %s: values at most %.2g away, gradients %.2g\n", encoder, now, b->be->device.name,
           sw_dtype_name(sw_slab_dtype(b->slab)), worst, worst_grad);
    return true;
}

/* `grad_tolerance` is for the pass that trains. */
static void check_pytorch(const char *backend, sw_dtype dtype, const char *encoder, double tolerance,
                          double grad_tolerance)
{
    SW_CLEANUP(bench_free) bench b = {0};
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), "golden/resnet.csv");
    SW_AUTOFREE double *pixels = sw_calloc(N * 3 * SIZE * SIZE, sizeof *pixels);
    int rows = 0;
    for (int64_t i = 0; i < N * 3 * SIZE * SIZE; i++) pixels[i] = golden_hashed(i, 5000);
    CHECK_OK(sw_csv_read(path, true, &csv, &err));
    CHECK(bench_new(&b, backend, dtype, encoder) && fill(&b, hash_rule));
    CHECK(pass(&b, pixels, N, SIZE, NULL) && compare(&b, csv, encoder, "eval", tolerance, 0, &rows));
    CHECK_INT(rows, 1);
    CHECK(pass(&b, pixels, N, SIZE, hash_slope));
    CHECK(compare(&b, csv, encoder, "train", tolerance, grad_tolerance, &rows));
    /* two features, the loss, and but for the largest each gradient and each running statistic */
    CHECK_INT(rows, 3 + (strcmp(encoder, "resnet50_full") == 0 ? 0 : sw_slab_entries(b.slab)));
}

TEST(resnet18_is_pytorchs_on_ref_in_double)
{
    check_pytorch("ref", SW_F64, "resnet18", 1e-9, 1e-9);
}

TEST(resnet50_is_pytorchs_on_ref_in_double)
{
    check_pytorch("ref", SW_F64, "resnet50", 1e-9, 1e-9);
}

TEST(whole_resnets_are_pytorchs_on_ref_in_double)
{
    check_pytorch("ref", SW_F64, "resnet18_full", 1e-9, 1e-9);
    check_pytorch("ref", SW_F64, "resnet50_full", 1e-9, 1e-9);
}

TEST(whole_resnets_are_pytorchs_on_cpu_in_float)
{
    check_pytorch("cpu", SW_F32, "resnet18_full", 1e-4, 1e-4);
    check_pytorch("cpu", SW_F32, "resnet50_full", 3e-4, 0);
}

/* Evaluation by the statistics of the batch gives the features of training, and leaves the running ones. */
static void check_batch_stats(const char *backend, sw_dtype dtype, double tolerance)
{
    SW_CLEANUP(bench_free) bench b = {0};
    SW_AUTOFREE double *pixels = sw_calloc(N * 3 * SIZE * SIZE, sizeof *pixels);
    double away = 0.0;
    for (int64_t i = 0; i < N * 3 * SIZE * SIZE; i++) pixels[i] = golden_hashed(i, 5000);
    CHECK(bench_new(&b, backend, dtype, "resnet18_full") && fill(&b, hash_rule));
    int64_t n = sw_tensor_count(sw_slab_buffers(b.slab)), m = N * sw_encoder_dim(b.encoder);
    SW_AUTOFREE double *before = sw_calloc((size_t)n, sizeof *before), *after = sw_calloc((size_t)n, sizeof *after);
    SW_AUTOFREE double *features = sw_calloc((size_t)m, sizeof *features);
    CHECK_OK(sw_tensor_download_f64(sw_slab_buffers(b.slab), before, &err));
    b.batch_stats = true;
    CHECK(pass(&b, pixels, N, SIZE, NULL));
    memcpy(features, b.features, (size_t)m * sizeof *features);
    CHECK_OK(sw_tensor_download_f64(sw_slab_buffers(b.slab), after, &err));
    CHECK(memcmp(before, after, (size_t)n * sizeof *before) == 0);
    CHECK(pass(&b, pixels, N, SIZE, hash_slope));
    for (int64_t i = 0; i < m; i++) away = fmax(away, fabs(features[i] - b.features[i]));
    CHECK_NEAR(away, 0, 0, tolerance);
    b.batch_stats = false;
    CHECK(pass(&b, pixels, N, SIZE, NULL));
    for (int64_t i = 0; i < m; i++) away = fmax(away, fabs(features[i] - b.features[i]));
    CHECK(away > 0.01); /* the running ones say something else */
}

TEST(evaluation_may_go_by_the_statistics_of_the_batch)
{
    check_batch_stats("ref", SW_F64, 0);
    check_batch_stats("cpu", SW_F32, 1e-6);
}

TEST(resnet18_is_pytorchs_on_guard_in_double)
{
    check_pytorch("guard", SW_F64, "resnet18", 1e-9, 1e-9);
}

TEST(resnet18_is_pytorchs_on_cpu_in_float)
{
    check_pytorch("cpu", SW_F32, "resnet18", 1e-4, 1e-4);
}

/* Here an activation or two lie so near zero that rounding turns their ReLU: PyTorch's own gradients in float32 are up to
 * 0.05 from its double ones (other pixels: 0.01 to 0.23). The tight check of the gradients is the next test's. */
TEST(resnet50_is_pytorchs_on_cpu_in_float)
{
    check_pytorch("cpu", SW_F32, "resnet50", 1e-4, 0.1);
}

/* Offsets so high that every ReLU is open: nothing can turn, and float must follow double everywhere. */
static double open_rule(const bench *b, int e, int64_t i, int64_t n)
{
    return hash_rule(b, e, i, n) + (ends_with(sw_slab_name(b->slab, e), "bias") ? 6.0 : 0.0);
}

static bool gradients(bench *b, double *out)
{
    return sw_tensor_download_f64(sw_slab_grads(b->slab), out, &err) == SW_OK || fails(__LINE__);
}

static double largest(const double *v, int64_t n)
{
    double top = 0.0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, fabs(v[i]));
    return top;
}

/* Batch norms of values far from zero lose digits, hence 3e-4.
 * A shift before another batch norm changes nothing, so many gradients here are zero but for rounding: a hundredth of the
 * largest of all gradients is added to the tensor's own largest. */
static void check_open(const char *encoder, double tolerance)
{
    SW_CLEANUP(bench_free) bench a = {0}, b = {0};
    SW_AUTOFREE double *pixels = sw_calloc(N * 3 * SIZE * SIZE, sizeof *pixels);
    double worst = 0.0;
    for (int64_t i = 0; i < N * 3 * SIZE * SIZE; i++) pixels[i] = golden_hashed(i, 5000);
    CHECK(bench_new(&a, "ref", SW_F64, encoder) && fill(&a, open_rule) && pass(&a, pixels, N, SIZE, hash_slope));
    CHECK(bench_new(&b, "cpu", SW_F32, encoder) && fill(&b, open_rule) && pass(&b, pixels, N, SIZE, hash_slope));
    int64_t all = sw_tensor_count(sw_slab_grads(a.slab));
    SW_AUTOFREE double *u = sw_calloc((size_t)all, sizeof *u), *v = sw_calloc((size_t)all, sizeof *v);
    CHECK(gradients(&a, u) && gradients(&b, v));
    double floor_ = largest(u, all) * 0.01;
    CHECK(floor_ > 0.0);
    for (int e = 0; e < sw_slab_entries(a.slab); e++) {
        if (sw_slab_entry_kind(a.slab, e) != SW_PARAM) continue;
        int64_t n = sw_shape_count(sw_slab_shape(a.slab, e)), first = sw_slab_first(a.slab, e);
        double top = largest(u + first, n) + floor_, away = 0.0;
        for (int64_t i = first; i < first + n; i++) away = fmax(away, fabs(u[i] - v[i]));
        if (!(away <= tolerance * top))
            sw_test_fail(__FILE__, __LINE__, "%s: %.3g away of %.3g", sw_slab_name(a.slab, e), away, top);
        worst = fmax(worst, away / top);
    }
    printf("# %s: every element of every gradient, cpu in f32 against ref in f64: at most %.2g away\n", encoder, worst);
}

TEST(gradients_in_float_follow_double_where_no_relu_turns)
{
    check_open("resnet18", 3e-4);
    check_open("resnet50", 3e-4);
}

/* --- against the reference implementation */

static double grad_norm(bench *b, const char *name)
{
    int64_t n = sw_shape_count(sw_slab_shape(b->slab, sw_slab_find(b->slab, name)));
    double sum = 0.0;
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
    if (sw_tensor_download_f64(sw_slab_grad(b->slab, sw_slab_find(b->slab, name)), v, &err) != SW_OK) return NAN;
    for (int64_t i = 0; i < n; i++) sum += v[i] * v[i];
    return sqrt(sum);
}

static void features_are(const bench *b, const double *first8, double sum, double norm, double tolerance)
{
    double s = 0.0, q = 0.0;
    for (int64_t i = 0; i < b->n * 256; i++) {
        s += b->features[i];
        q += b->features[i] * b->features[i];
    }
    for (int i = 0; i < 8; i++) CHECK_NEAR(b->features[i], first8[i], tolerance, 0);
    CHECK_NEAR(s, sum, tolerance, 0);
    CHECK_NEAR(sqrt(q), norm, tolerance, 0);
}

static void check_reference(const char *backend, sw_dtype dtype, double tolerance)
{
    static const double eval8[] = {18787.286008216, 44000.384103496, 67441.546560947, 24365.656123249,
                                   34100.163144003, 59764.163104484, 29528.335196378, 28582.178685494};
    static const double train8[] = {0.636039270, 0.776097055, 0.638729393, 0.418810088,
                                    0.830120651, 0.467376405, 0.711847677, 0.999547879};
    static const double mean3[] = {0.083905705, 0.085167173, 0.046372700}, var3[] = {1.001068787, 1.005905707, 0.952343163};
    SW_CLEANUP(bench_free) bench b = {0};
    SW_AUTOFREE double *pixels = sw_calloc(2 * 3 * 64 * 64, sizeof *pixels);
    double loss = 0.0, v[64];
    for (int i = 0; i < 2 * 3 * 64 * 64; i++) pixels[i] = cos(0.9 * (double)i);
    CHECK(bench_new(&b, backend, dtype, "resnet18") && fill(&b, sine_rule));
    CHECK(pass(&b, pixels, 2, 64, NULL));
    features_are(&b, eval8, 21571699.198397845, 1018084.536658551, tolerance);
    CHECK(pass(&b, pixels, 2, 64, square_slope));
    features_are(&b, train8, 433.401638651, 19.957743302, tolerance);
    for (int i = 0; i < 512; i++) loss += b.features[i] * b.features[i] / 512.0;
    CHECK_NEAR(loss, 0.7779521831, tolerance, 0);
    CHECK_NEAR(grad_norm(&b, "encoder.model.conv1.weight"), 1.1857324684, tolerance, 0);
    CHECK_NEAR(grad_norm(&b, "encoder.model.bn1.weight"), 0.0258588423, tolerance, 0);
    CHECK_NEAR(grad_norm(&b, "encoder.model.layer2.0.downsample.0.weight"), 0.3836326773, tolerance, 0);
    CHECK_NEAR(grad_norm(&b, "encoder.model.layer3.1.conv2.weight"), 0.1244047855, tolerance, 0);
    CHECK_OK(sw_tensor_download_f64(sw_slab_value(b.slab, sw_slab_find(b.slab, "encoder.model.bn1.running_mean")), v, &err));
    for (int i = 0; i < 3; i++) CHECK_NEAR(v[i], mean3[i], tolerance, 0);
    CHECK_OK(sw_tensor_download_f64(sw_slab_value(b.slab, sw_slab_find(b.slab, "encoder.model.bn1.running_var")), v, &err));
    for (int i = 0; i < 3; i++) CHECK_NEAR(v[i], var3[i], tolerance, 0);
}

TEST(resnet18_is_the_references_in_double)
{
    check_reference("ref", SW_F64, 1e-6);
}
