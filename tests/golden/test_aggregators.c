/* SPDX-License-Identifier: Apache-2.0 */
/* Aggregators against numbers of the reference implementation: logits, attention, loss and the norm of every gradient,
 * in double and in float, on each backend. The numbers are in aggregators.json and aggregators_more.json. */
#include <stdlib.h>

#include "aggregator/aggregator.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "test.h"

static sw_error err;

static int64_t number(const sw_json *c, const char *key)
{
    return sw_json_integer(sw_json_get(c, key), 0);
}

static sw_aggregator_options options_of(const sw_json *c)
{
    sw_aggregator_options o = sw_aggregator_options_default();
    const char *act = sw_json_text(sw_json_get(c, "act"), "");
    o.input_dim = (int)number(c, "input_dim");
    o.inner_dim = (int)number(c, "inner_dim");
    o.heads = (int)number(c, "heads");
    o.classes = (int)number(c, "classes");
    o.act = strcmp(act, "gelu") == 0 ? SW_ACT_GELU : SW_ACT_RELU;
    o.norm = number(c, "norm") ? SW_MIL_NORM_LAYER : SW_MIL_NORM_NONE;
    o.bias = number(c, "bias") != 0;
    o.attn_bias = number(c, "attn_bias") != 0;
    o.attn_plus = number(c, "plus") ? SW_PLUS_LEARNABLE : SW_PLUS_OFF;
    o.ffn = number(c, "ffn") != 0;
    o.embed_new = number(c, "embed_new") != 0;
    const char *pos = sw_json_text(sw_json_get(c, "pos"), "auto");
    o.pos = strcmp(pos, "none") == 0 ? SW_POS_NONE : strcmp(pos, "ppeg") == 0 ? SW_POS_PPEG : strcmp(pos, "sincos") == 0 ? SW_POS_SINCOS : SW_POS_AUTO;
    o.instance_ce = number(c, "instance_ce") != 0;
    o.subtyping = number(c, "subtyping") != 0;
    if (sw_json_get(c, "instances")) o.instances = (int)number(c, "instances");
    o.shortcut = number(c, "shortcut") != 0;
    o.cross_bag = number(c, "cross_bag") != 0;
    const char *pool = sw_json_text(sw_json_get(c, "pool"), "attn");
    o.pool = strcmp(pool, "mean") == 0 ? SW_POOL_MEAN : strcmp(pool, "max") == 0 ? SW_POOL_MAX : SW_POOL_ATTN;
    const char *distill = sw_json_text(sw_json_get(c, "distill"), "afs");
    o.distill = strcmp(distill, "maxs") == 0      ? SW_DISTILL_MAXS
                : strcmp(distill, "maxmins") == 0 ? SW_DISTILL_MAXMINS
                : strcmp(distill, "mas") == 0     ? SW_DISTILL_MAS
                                                  : SW_DISTILL_AFS;
    o.shuffle = number(c, "shuffle") != 0;
    o.gate_dot = number(c, "gate_dot") != 0;
    const struct {
        const char *key;
        int *to;
    } given[] = {{"layers", &o.layers}, {"regions", &o.regions}, {"epeg", &o.epeg}, {"crmsa", &o.crmsa}, {"crmsa_heads", &o.crmsa_heads}, {"topk", &o.topk}, {"state", &o.state}, {"blocks", &o.blocks},
                 {"canvas_rows", &o.canvas_rows}, {"canvas_columns", &o.canvas_columns}, {"groups", &o.groups}, {"organ", &o.organ}, {"hidden", &o.hidden}, {"dilations", &o.dilations}, {"segment_first", &o.segment_first}, {"segment_last", &o.segment_last}};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++)
        if (sw_json_get(c, given[i].key)) *given[i].to = (int)number(c, given[i].key);
    return o;
}

/* Parameter k (in the reference's order, or as "fill" says) gets amplitude * sin(0.7 i + 0.3 (k + 1)). */
static bool fill(const sw_json *c, sw_slab *slab)
{
    const sw_json *keys = sw_json_get(c, "keys");
    double amplitude = sw_json_real(sw_json_get(c, "amplitude"), 0.5);
    if ((size_t)sw_slab_entries(slab) != sw_json_count(keys))
        return sw_test_fail(__FILE__, __LINE__, "%d entries, the reference has %zu", sw_slab_entries(slab),
                            sw_json_count(keys));
    for (size_t k = 0; k < sw_json_count(keys); k++) {
        char name[256];
        snprintf(name, sizeof name, "mil.%s", sw_json_text(sw_json_at(keys, k), ""));
        int index = sw_slab_find(slab, name);
        if (index < 0) return sw_test_fail(__FILE__, __LINE__, "no entry %s", name);
        int64_t n = sw_shape_count(sw_slab_shape(slab, index));
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        double phase = 0.3 * (double)(sw_json_integer(sw_json_at(sw_json_get(c, "fill"), k), (int64_t)k) + 1);
        for (int64_t i = 0; i < n; i++) v[i] = amplitude * sin(0.7 * (double)i + phase);
        if (sw_tensor_upload_f64(sw_slab_value(slab, index), v, &err) != SW_OK)
            return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    }
    return true;
}

static bool same(const char *what, const sw_tensor *t, const sw_json *expected, double tol)
{
    int64_t n = sw_tensor_count(t);
    SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
    double top = 0.0;
    if ((size_t)n != sw_json_count(expected))
        return sw_test_fail(__FILE__, __LINE__, "%s has %lld values, the reference %zu", what, (long long)n,
                            sw_json_count(expected));
    if (sw_tensor_download_f64(t, v, &err) != SW_OK) return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    for (int64_t i = 0; i < n; i++) top = fmax(top, fabs(sw_json_real(sw_json_at(expected, (size_t)i), NAN)));
    for (int64_t i = 0; i < n; i++) {
        double e = sw_json_real(sw_json_at(expected, (size_t)i), NAN);
        /* the reference prints nine decimals */
        if (!(fabs(v[i] - e) <= tol * top + 1e-9))
            return sw_test_fail(__FILE__, __LINE__, "%s[%lld] is %.12g, expected %.12g", what, (long long)i, v[i], e);
    }
    return true;
}

static bool same_grads(sw_slab *slab, const sw_json *grads, double tol)
{
    double top = 0.0;
    const sw_json *value = NULL;
    for (size_t i = 0; i < sw_json_count(grads); i++) {
        sw_json_member(grads, i, &value);
        top = fmax(top, sw_json_real(value, NAN));
    }
    for (size_t i = 0; i < sw_json_count(grads); i++) {
        char name[256];
        snprintf(name, sizeof name, "mil.%s", sw_json_member(grads, i, &value));
        double expected = sw_json_real(value, NAN), sum = 0.0;
        int index = sw_slab_find(slab, name);
        int64_t n = sw_shape_count(sw_slab_shape(slab, index));
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        if (sw_tensor_download_f64(sw_slab_grad(slab, index), v, &err) != SW_OK)
            return sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        for (int64_t j = 0; j < n; j++) sum += v[j] * v[j];
        /* a gradient far below the largest is the difference of larger numbers: its bound is absolute */
        if (!(fabs(sqrt(sum) - expected) <= tol * expected + tol * 1e-2 * top))
            return sw_test_fail(__FILE__, __LINE__, "|grad %s| is %.10g, expected %.10g", name, sqrt(sum), expected);
    }
    return true;
}

static sw_var *class_loss(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets)
{
    (void)ctx;
    return sw_cross_entropy(tape, logits, targets);
}

/* Builds, fills, runs forward and backward, compares. */
static bool run_case(sw_backend *be, sw_dtype dtype, const sw_json *c, double tol)
{
    sw_slab *slab = NULL;
    sw_aggregator *agg = NULL;
    sw_tape *tape = NULL;
    sw_tensor x = {0}, labels = {0};
    sw_aggregator_options o = options_of(c);
    sw_nn_mode mode = sw_nn_mode_eval();
    int64_t b = number(c, "batch"), n = number(c, "n");
    SW_AUTOFREE double *pixels = sw_calloc((size_t)(b * n * o.input_dim), sizeof *pixels);
    int32_t y[8];
    float xy[2 * 64];
    if (sw_json_get(c, "xy")) mode.xy = xy;
    for (int64_t i = 0; mode.xy && i < 2 * b * n; i++) xy[i] = (float)sw_json_real(sw_json_at(sw_json_get(c, "xy"), (size_t)i), NAN);
    for (int64_t i = 0; i < b * n * o.input_dim; i++) pixels[i] = cos(0.9 * (double)i);
    for (int64_t i = 0; i < b; i++) y[i] = (int32_t)sw_json_integer(sw_json_at(sw_json_get(c, "labels"), (size_t)i), 0);

    bool ok = sw_slab_new(&be->device, dtype, &slab, &err) == SW_OK &&
              sw_aggregator_new(sw_json_text(sw_json_get(c, "kind"), ""), &o, slab, &agg, &err) == SW_OK &&
              sw_slab_commit(slab, &err) == SW_OK &&
              sw_tensor_new(&be->device, dtype, SW_SHAPE(b, n, o.input_dim), &x, &err) == SW_OK &&
              sw_tensor_upload_f64(&x, pixels, &err) == SW_OK &&
              sw_tensor_from(&be->device, SW_I32, SW_SHAPE(b), y, &labels, &err) == SW_OK &&
              sw_tape_new(be, true, &tape, &err) == SW_OK;
    if (!ok) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
    if (ok && fill(c, slab)) {
        sw_aggregator_out out = sw_aggregator_forward(agg, tape, sw_tape_input(tape, &x), &mode);
        const sw_mil_target target = {.loss = class_loss, .targets = sw_tape_constant(tape, &labels), .label = y};
        sw_var *loss = sw_aggregator_loss(agg, tape, &out, &target);
        double l = NAN, expected = sw_json_real(sw_json_get(c, "loss"), NAN);
        const sw_json *attention = sw_json_get(c, "attention");
        ok = sw_tape_status(tape, &err) == SW_OK && sw_tensor_download_f64(sw_var_value(loss), &l, &err) == SW_OK;
        if (!ok) sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        ok = ok && same("logits", sw_var_value(out.logits), sw_json_get(c, "logits"), tol) &&
             (sw_json_count(attention) == 0 || same("attention", sw_var_value(out.attention), attention, tol)) &&
             (!sw_json_get(c, "second") || same("second", sw_var_value(out.second), sw_json_get(c, "second"), tol));
        if (ok && !(fabs(l - expected) <= tol * expected + 1e-10))
            ok = sw_test_fail(__FILE__, __LINE__, "loss is %.12g, expected %.12g", l, expected);
        if (ok && sw_tape_backward(tape, loss, NULL, &err) != SW_OK)
            ok = sw_test_fail(__FILE__, __LINE__, "%s", err.message);
        ok = ok && same_grads(slab, sw_json_get(c, "grads"), tol);
    } else {
        ok = false;
    }
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_tensor_release(&labels);
    sw_aggregator_free(agg);
    sw_slab_free(slab);
    return ok;
}

static void run_file(const char *backend, sw_dtype dtype, double tol, const char *file, size_t count)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *cases = NULL;
    SW_AUTOFREE char *path = sw_path_join(sw_test_source(), file);
    sw_backend *be = NULL;
    CHECK_OK(sw_json_read(path, &cases, &err));
    CHECK_INT(sw_json_count(cases), count);
    CHECK_OK(sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &be, &err));
    for (size_t i = 0; i < sw_json_count(cases); i++) {
        const sw_json *c = sw_json_at(cases, i);
        if (!run_case(be, dtype, c, tol))
            printf("# in case %s on %s, %s\n", sw_json_text(sw_json_get(c, "name"), ""), backend, sw_dtype_name(dtype));
    }
    sw_backend_free(be);
}

/* The reference's own numbers, and those of a second implementation at larger sizes (make_aggregators.py). */
static void run_all(const char *backend, sw_dtype dtype, double tol)
{
    run_file(backend, dtype, tol, "golden/aggregators.json", 22);
    run_file(backend, dtype, tol, "golden/aggregators_more.json", 29);
}

TEST(golden_on_ref_in_double)
{
    run_all("ref", SW_F64, 1e-6);
}

TEST(golden_on_ref_in_float)
{
    run_all("ref", SW_F32, 1e-4);
}

TEST(golden_on_guard_in_double)
{
    run_all("guard", SW_F64, 1e-6);
}

TEST(golden_on_cpu_in_float)
{
    run_all("cpu", SW_F32, 1e-4);
}

static int64_t count_params(const char *kind, const sw_aggregator_options *o)
{
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_aggregator *agg = NULL;
    int64_t n = -1;
    if (sw_backend_new("ref", &(sw_backend_options){.threads = 1}, &be, &err) == SW_OK &&
        sw_slab_new(&be->device, SW_F32, &slab, &err) == SW_OK &&
        sw_aggregator_new(kind, o, slab, &agg, &err) == SW_OK) {
        n = 0;
        for (int i = 0; i < sw_slab_entries(slab); i++) n += sw_shape_count(sw_slab_shape(slab, i));
    }
    sw_aggregator_free(agg);
    sw_slab_free(slab);
    sw_backend_free(be);
    return n;
}

TEST(parameter_counts_are_the_references)
{
    sw_aggregator_options o = sw_aggregator_options_default();
    o.attn_plus = SW_PLUS_LEARNABLE;
    o.attn_bias = true;
    CHECK_INT(count_params("abmilx", &o), 801028); /* the two-stage README example */
    o.bias = o.attn_bias = false;
    o.norm = SW_MIL_NORM_LAYER;
    o.input_dim = o.inner_dim = 256;
    CHECK_INT(count_params("abmilx", &o), 135265); /* r18_brca_subtyping */
    o.attn_bias = true;
    o.classes = 4;
    CHECK_INT(count_params("abmilx", &o), 135810); /* r18_brca_survival */
    o.attn_bias = false;
    o.classes = 6;
    o.heads = 4;
    o.inner_dim = 512;
    o.ffn = true;
    CHECK_INT(count_params("abmilx", &o), 2546305); /* r18_panda */
    o.input_dim = 1024;
    o.inner_dim = 256;
    CHECK_INT(count_params("abmilx", &o), 868545); /* r50_panda */
    o.classes = 2;
    o.heads = 8;
    o.ffn = false;
    CHECK_INT(count_params("abmilx", &o), 332641); /* r50_brca_subtyping */
    o = sw_aggregator_options_default();
    CHECK_INT(count_params("abmil", &o), 591619);
    CHECK_INT(count_params("gabmil", &o), 920195);
    o.hidden = 128;
    CHECK_INT(count_params("gabmil", &o), 657283);
    o = sw_aggregator_options_default();
    CHECK_INT(count_params("meanmil", &o), 525826);
    CHECK_INT(count_params("maxmil", &o), 525826);
    CHECK_INT(count_params("clam_sb", &o), 790791);
    CHECK_INT(count_params("clam_mb", &o), 791048);
    CHECK_INT(count_params("transmil", &o), 2672146);
    CHECK_INT(count_params("dsmil", &o), 872708);
    CHECK_INT(count_params("rrtmil", &o), 2697474);
    CHECK_INT(count_params("vitmil", &o), 2627586);
    CHECK_INT(count_params("qamil", &o), 1577474);
    CHECK_INT(count_params("dtfd", &o), 789254);
    sw_aggregator_options g = o;
    g.input_dim = 1536;
    g.inner_dim = 768;
    g.heads = 16;
    g.layers = 12;
    CHECK_INT(count_params("gigap", &g), 86330880 + 2 * 769); /* and a classifier */
    CHECK_INT(count_params("wikg", &o), 1709059 + 394240); /* its gates U, V, W are counted, but never used */
    CHECK_INT(count_params("mamba2d", &o), 2288387);
}

TEST(impossible_options_are_refused)
{
    sw_aggregator_options o = sw_aggregator_options_default();
    o.heads = 7;
    CHECK_INT(count_params("abmilx", &o), -1);
    CHECK_STR(err.message, "aggregator.heads: 7 does not divide aggregator.inner_dim 512");
    CHECK_INT(count_params("abmily", &o), -1);
    CHECK_STR(err.message, "aggregator.name: no aggregator 'abmily'; there are abmilx, abmil, gabmil, mean, max, meanmil, maxmil, clam_sb, clam_mb, chief, dsmil, dtfd, transmil, wikg, mamba2d, gigap, rrtmil, vitmil, qamil, c2c, ft_vib");
}
