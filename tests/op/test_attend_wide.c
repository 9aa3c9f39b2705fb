/* SPDX-License-Identifier: Apache-2.0 */
/* Attention whose values have several columns: the function on the tape, its refusals, its count of products, and the
 * gradients against the same thing made of products and softmax. */
#include "test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "tape/ops.h"

typedef struct scene {
    sw_backend *be;
    sw_tensor in[3], seed;
} scene;

static void scene_end(scene *s)
{
    for (int i = 0; i < 3; i++) sw_tensor_release(&s->in[i]);
    sw_tensor_release(&s->seed);
    sw_backend_free(s->be);
}

static sw_status random_f64(sw_backend *be, sw_shape shape, uint32_t stream, sw_tensor *out, sw_error *err)
{
    int64_t count = sw_shape_count(&shape);
    SW_AUTOFREE double *host = sw_malloc((size_t)(count + 1) * sizeof *host);
    if (!host) return sw_nomem(err);
    sw_rng rng = sw_rng_stream(5, SW_RNG_TEST, stream, 0, 0);
    for (int64_t i = 0; i < count; i++) host[i] = sw_rng_normal(&rng);
    return sw_tensor_from(&be->device, SW_F64, shape, host, out, err);
}

/* Values and the gradients of q, k and v as attend gives them, or as products and softmax do. */
static sw_status run(scene *s, bool streamed, double *values, double *const *grads, double *macs, sw_error *err)
{
    sw_tape *t;
    SW_TRY(sw_tape_new(s->be, true, &t, err));
    sw_var *v[3];
    for (int i = 0; i < 3; i++) v[i] = sw_tape_input(t, &s->in[i]);
    sw_var *y = streamed ? sw_attend(t, v[0], v[1], v[2], 0.7)
                         : sw_matmul(t, sw_softmax(t, sw_scale(t, sw_matmul(t, v[0], v[1], false, true), 0.7)), v[2], false, false);
    sw_status status = sw_tape_status(t, err);
    if (status == SW_OK) *macs = sw_tape_macs(t);
    if (status == SW_OK) status = sw_tensor_download_f64(sw_var_value(y), values, err);
    if (status == SW_OK) status = sw_tape_backward(t, y, &s->seed, err);
    for (int i = 0; status == SW_OK && i < 3; i++) status = sw_tensor_download_f64(sw_var_grad(v[i]), grads[i], err);
    sw_tape_free(t);
    return status;
}

enum { G = 2, M = 5, N = 9, D = 4, E = 3 };

TEST(attend_is_products_and_softmax_in_one)
{
    SW_CLEANUP(scene_end) scene s = {.be = NULL};
    sw_error err;
    double y[2][G * M * E], dq[2][G * M * D], dk[2][G * N * D], dv[2][G * N * E], macs[2];
    CHECK_OK(sw_backend_new("ref", NULL, &s.be, &err));
    CHECK_OK(random_f64(s.be, SW_SHAPE(G, M, D), 0, &s.in[0], &err));
    CHECK_OK(random_f64(s.be, SW_SHAPE(G, N, D), 1, &s.in[1], &err));
    CHECK_OK(random_f64(s.be, SW_SHAPE(G, N, E), 2, &s.in[2], &err));
    CHECK_OK(random_f64(s.be, SW_SHAPE(G, M, E), 3, &s.seed, &err));
    for (int i = 0; i < 2; i++) CHECK_OK(run(&s, i, y[i], (double *const[]){dq[i], dk[i], dv[i]}, &macs[i], &err));
    for (int i = 0; i < G * M * E; i++) CHECK_NEAR(y[1][i], y[0][i], 0, 1e-13);
    for (int i = 0; i < G * M * D; i++) CHECK_NEAR(dq[1][i], dq[0][i], 0, 1e-13);
    for (int i = 0; i < G * N * D; i++) CHECK_NEAR(dk[1][i], dk[0][i], 0, 1e-13);
    for (int i = 0; i < G * N * E; i++) CHECK_NEAR(dv[1][i], dv[0][i], 0, 1e-13);
    CHECK_NEAR(macs[1], G * M * N * (D + E), 0, 0);
    CHECK_NEAR(macs[0], macs[1], 0, 0);
}

/* The tape's sentence about inputs of these shapes. */
static void check_refusal(sw_shape q, sw_shape k, sw_shape v, sw_dtype k_dtype, const char *expected)
{
    SW_CLEANUP(scene_end) scene s = {.be = NULL};
    sw_error err = {0};
    sw_tape *t;
    CHECK_OK(sw_backend_new("ref", NULL, &s.be, &err));
    CHECK_OK(sw_tape_new(s.be, true, &t, &err));
    CHECK_OK(sw_tensor_new(&s.be->device, SW_F32, q, &s.in[0], &err));
    CHECK_OK(sw_tensor_new(&s.be->device, k_dtype, k, &s.in[1], &err));
    CHECK_OK(sw_tensor_new(&s.be->device, SW_F32, v, &s.in[2], &err));
    sw_attend(t, sw_tape_input(t, &s.in[0]), sw_tape_input(t, &s.in[1]), sw_tape_input(t, &s.in[2]), 1.0);
    CHECK_INT(sw_tape_status(t, &err), SW_E_INVALID);
    CHECK_STR(err.message, expected);
    sw_tape_free(t);
}

TEST(refusals_name_the_shapes)
{
    check_refusal(SW_SHAPE(2, 5), SW_SHAPE(2, 9, 4), SW_SHAPE(2, 9, 3), SW_F32, "attend: q [2, 5] must be [g, m, d]");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(9, 4), SW_SHAPE(2, 9, 3), SW_F32, "attend: k [9, 4] must be [g, n, d]");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 9, 4), SW_SHAPE(2, 9), SW_F32, "attend: v [2, 9] must be [g, n, e]");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 9, 4), SW_SHAPE(2, 9, 3), SW_F64,
                  "attend: inputs are f32 and f64, which differ");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 9, 4), SW_SHAPE(1, 9, 3), SW_F32,
                  "attend: q [2, 5, 4], k [2, 9, 4] and v [1, 9, 3] do not fit: they differ in groups, the first dimension");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 9, 3), SW_SHAPE(2, 9, 3), SW_F32,
                  "attend: q [2, 5, 4], k [2, 9, 3] and v [2, 9, 3] do not fit: queries and keys differ in width, the last "
                  "dimension");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 9, 4), SW_SHAPE(2, 5, 3), SW_F32,
                  "attend: q [2, 5, 4], k [2, 9, 4] and v [2, 5, 3] do not fit: each key has one row of v");
    check_refusal(SW_SHAPE(2, 5, 4), SW_SHAPE(2, 0, 4), SW_SHAPE(2, 0, 3), SW_F32,
                  "attend: q [2, 5, 4], k [2, 0, 4] and v [2, 0, 3] do not fit: keys and values cannot be empty");
}
