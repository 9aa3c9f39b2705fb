/* SPDX-License-Identifier: Apache-2.0 */
/* LongNet's encoder against numbers of the reference implementation: one layer of three branches of dilated attention. */
#include "aggregator/longnet.h"
#include "base/mem.h"
#include "test.h"

enum { TOKENS = 11, WIDTH = 16 };
static sw_error err;

static const struct {
    const char *name;
    double grad;
} entries[] = {{"layers.0.self_attn.k_proj.weight", 3.945785389e-04},      {"layers.0.self_attn.k_proj.bias", 1.090623424e-04},
               {"layers.0.self_attn.v_proj.weight", 3.735566304e-03},      {"layers.0.self_attn.v_proj.bias", 3.224147623e-03},
               {"layers.0.self_attn.q_proj.weight", 1.543837539e-04},      {"layers.0.self_attn.q_proj.bias", 1.203257186e-04},
               {"layers.0.self_attn.out_proj.weight", 2.442834022e-02},    {"layers.0.self_attn.out_proj.bias", 1.201764305e-02},
               {"layers.0.self_attn.inner_attn_ln.weight", 3.109402005e-02}, {"layers.0.self_attn.inner_attn_ln.bias", 2.979439648e-02},
               {"layers.0.self_attn_layer_norm.weight", 1.179253980e-03},  {"layers.0.self_attn_layer_norm.bias", 8.081476573e-03},
               {"layers.0.ffn.fc1.weight", 3.231390238e-03},               {"layers.0.ffn.fc1.bias", 2.261295308e-03},
               {"layers.0.ffn.fc2.weight", 3.638939866e-02},               {"layers.0.ffn.fc2.bias", 1.197409372e-02},
               {"layers.0.ffn.ffn_layernorm.weight", 2.134458055e-02},     {"layers.0.ffn.ffn_layernorm.bias", 1.821322237e-02},
               {"layers.0.final_layer_norm.weight", 1.049021081e-03},      {"layers.0.final_layer_norm.bias", 1.177174050e-03},
               {"layer_norm.weight", 8.943798502e-02},                     {"layer_norm.bias", 1.399772080e-01}};
enum { ENTRIES = sizeof entries / sizeof entries[0] };

static const double first[WIDTH] = {0.133852783, -0.019584977, 0.601574747, -0.150448760, 0.158158260, -0.192569121, -0.270921611, -0.579282428,
                                    -0.083576903, 0.150741761, -0.135936913, 0.441429328, -0.005490244, 0.132278482, -0.368185081, -0.077161095};
static const double last[WIDTH] = {0.133709291, 0.000410475, 0.660984222, -0.128657357, 0.156127256, -0.172102573, -0.223320770, -0.562631437,
                                   -0.103232542, 0.152996895, -0.116425318, 0.428647909, -0.060508676, 0.117336635, -0.364384043, -0.108220916};

static void fill(sw_slab *slab)
{
    CHECK_INT(sw_slab_entries(slab), ENTRIES);
    for (int k = 0; k < ENTRIES; k++) {
        int index = sw_slab_find(slab, entries[k].name);
        CHECK(index >= 0);
        int64_t n = sw_shape_count(sw_slab_shape(slab, index));
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        for (int64_t i = 0; i < n; i++) v[i] = 0.4 * sin(0.7 * (double)i + 0.3 * (k + 1));
        CHECK_OK(sw_tensor_upload_f64(sw_slab_value(slab, index), v, &err));
    }
}

static void check_grads(sw_slab *slab, double tol)
{
    for (int k = 0; k < ENTRIES; k++) {
        int index = sw_slab_find(slab, entries[k].name);
        int64_t n = sw_shape_count(sw_slab_shape(slab, index));
        double sum = 0.0;
        SW_AUTOFREE double *v = sw_calloc((size_t)n, sizeof *v);
        CHECK_OK(sw_tensor_download_f64(sw_slab_grad(slab, index), v, &err));
        for (int64_t i = 0; i < n; i++) sum += v[i] * v[i];
        if (!(fabs(sqrt(sum) - entries[k].grad) <= tol * (entries[k].grad + 1e-2)))
            sw_test_fail(__FILE__, __LINE__, "|grad %s| is %.10g, expected %.10g", entries[k].name, sqrt(sum), entries[k].grad);
    }
}

static void run(const char *backend, sw_dtype dtype, double tol)
{
    const sw_longnet_options o = {.width = WIDTH, .hidden = 32, .heads = 4, .layers = 1, .branches = 3, .first = 4, .last = 16};
    const sw_nn_mode mode = sw_nn_mode_eval();
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_nn_builder *builder = NULL;
    sw_longnet *net = NULL;
    sw_tape *tape = NULL;
    sw_tensor x = {0};
    double in[TOKENS * WIDTH], out[TOKENS * WIDTH], loss = NAN;
    for (int i = 0; i < TOKENS * WIDTH; i++) in[i] = cos(0.9 * i);
    CHECK_OK(sw_backend_new(backend, &(sw_backend_options){.threads = 2}, &be, &err));
    CHECK_OK(sw_slab_new(&be->device, dtype, &slab, &err));
    CHECK_OK(sw_nn_builder_new(slab, "mil", "", &builder, &err));
    CHECK_OK(sw_longnet_build(builder, "", &o, &net, &err));
    CHECK_OK(sw_nn_builder_status(builder, &err));
    CHECK_OK(sw_slab_commit(slab, &err));
    fill(slab);
    CHECK_OK(sw_tensor_new(&be->device, dtype, SW_SHAPE(TOKENS, 1, WIDTH), &x, &err));
    CHECK_OK(sw_tensor_upload_f64(&x, in, &err));
    CHECK_OK(sw_tape_new(be, true, &tape, &err));
    sw_var *y = sw_longnet_forward(net, tape, slab, sw_tape_input(tape, &x), &mode, NULL);
    CHECK_OK(sw_tape_status(tape, &err));
    CHECK_OK(sw_tensor_download_f64(sw_var_value(y), out, &err));
    for (int i = 0; i < WIDTH; i++) CHECK_NEAR(out[i], first[i], tol, 1e-9);
    for (int i = 0; i < WIDTH; i++) CHECK_NEAR(out[(TOKENS - 1) * WIDTH + i], last[i], tol, 1e-9);
    sw_var *square = sw_mean_rows(tape, sw_reshape(tape, sw_mul(tape, y, y), SW_SHAPE(1, TOKENS * WIDTH, 1)));
    square = sw_reshape(tape, square, (sw_shape){.rank = 0});
    CHECK_OK(sw_tensor_download_f64(sw_var_value(square), &loss, &err));
    CHECK_NEAR(loss, 0.0816657107, tol, 1e-10);
    CHECK_OK(sw_tape_backward(tape, square, NULL, &err));
    check_grads(slab, tol);
    sw_tape_free(tape);
    sw_tensor_release(&x);
    sw_longnet_free(net);
    sw_nn_builder_free(builder);
    sw_slab_free(slab);
    sw_backend_free(be);
}

TEST(longnet_is_the_references_in_double)
{
    run("ref", SW_F64, 1e-6);
}

TEST(longnet_is_the_references_in_float)
{
    run("ref", SW_F32, 1e-4);
    run("cpu", SW_F32, 1e-4);
}

TEST(segments_are_gigapaths)
{
    const sw_longnet_options o = {.branches = 5, .first = 1024, .last = 1048576}, one = {.branches = 1, .first = 7, .last = 9};
    static const int64_t expected[] = {1024, 5792, 32768, 185363, 1048576};
    for (int i = 0; i < 5; i++) CHECK_INT(sw_longnet_segment(&o, i), expected[i]);
    CHECK_INT(sw_longnet_segment(&one, 0), 7);
}
