/* SPDX-License-Identifier: Apache-2.0 */
/* The harness of the op cases itself: each kind of defect of a kernel must be seen, on the reference and on cpu. */
#include "test.h"

#include "op_harness.h"

#define S(...) {sizeof((int[]){__VA_ARGS__}) / sizeof(int), {__VA_ARGS__}}

static sw_kernels sound;

static float *first_float(const sw_tensor *t)
{
    return (float *)((char *)t->storage->mem + t->offset);
}

static sw_status wrong_value(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    first_float(args->out[0])[3] *= 1.001f;
    return SW_OK;
}

static sw_status leaves_one(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    float before = first_float(args->out[0])[5];
    SW_TRY(sound.forward(be, args, err));
    first_float(args->out[0])[5] = before;
    return SW_OK;
}

static sw_status one_too_far(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    first_float(args->out[0])[sw_tensor_count(args->out[0])] = 0.0f;
    return SW_OK;
}

static sw_status writes_input(sw_backend *be, sw_forward_args *args, sw_error *err)
{
    SW_TRY(sound.forward(be, args, err));
    first_float(args->in[0])[0] += 1.0f;
    return SW_OK;
}

static sw_status never_adds(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_backward_args other = *args;
    memset(other.add, 0, sizeof other.add);
    return sound.backward(be, &other, err);
}

static sw_status wrong_grad(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    SW_TRY(sound.backward(be, args, err));
    first_float(args->grad_in[1])[11] *= 1.001f;
    return SW_OK;
}

static sw_status leaves_one_grad(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    float before = first_float(args->grad_in[1])[20];
    SW_TRY(sound.backward(be, args, err));
    first_float(args->grad_in[1])[20] = before;
    return SW_OK;
}

static sw_status grad_one_too_far(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    SW_TRY(sound.backward(be, args, err));
    first_float(args->grad_in[2])[sw_tensor_count(args->grad_in[2])] = 0.0f;
    return SW_OK;
}

static sw_status grad_one_too_early(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    SW_TRY(sound.backward(be, args, err));
    first_float(args->grad_in[0])[-1] = 0.0f;
    return SW_OK;
}

static sw_status always_adds(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    sw_backward_args other = *args;
    memset(other.add, 1, sizeof other.add);
    return sound.backward(be, &other, err);
}

static void check_broken(const char *backend)
{
    static const struct {
        sw_forward_fn forward;
        sw_backward_fn backward;
        const char *said;
    } broken[] = {
        {wrong_value, NULL, "output 0, element 3"}, {leaves_one, NULL, "output 0, element 5"},
        {one_too_far, NULL, "forward wrote outside of output 0"}, {writes_input, NULL, "input afterwards 0, element 0"},
        {NULL, wrong_grad, "gradient 1, element 11"}, {NULL, leaves_one_grad, "gradient 1, element 20"},
        {NULL, grad_one_too_far, "backward wrote outside of gradient 2"},
        {NULL, grad_one_too_early, "backward wrote outside of gradient 0"},
        {NULL, never_adds, "gradient 0"}, {NULL, always_adds, "gradient 0"},
    };
    const op_case c = {"linear", SW_OP_LINEAR, NULL, {S(5, 7), S(3, 7), S(3)}, .tol = 2e-6};
    sw_backend *be = NULL, *ref = NULL;
    sw_error err = {0};
    char why[600] = "";
    CHECK_OK(sw_backend_new("ref", NULL, &ref, &err));
    CHECK_OK(sw_backend_new(backend, NULL, &be, &err));
    sound = be->kernel[SW_OP_LINEAR];
    CHECK(backend_agrees(be, SW_F32, ref, SW_F32, &c, 1e-5, true, why, sizeof why));
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        be->kernel[SW_OP_LINEAR] = sound;
        if (broken[i].forward) be->kernel[SW_OP_LINEAR].forward = broken[i].forward;
        if (broken[i].backward) be->kernel[SW_OP_LINEAR].backward = broken[i].backward;
        CHECK(!backend_agrees(be, SW_F32, ref, SW_F32, &c, 1e-4, true, why, sizeof why));
        if (!strstr(why, broken[i].said)) sw_test_fail(__FILE__, __LINE__, "defect %d was reported as: %s", (int)i, why);
    }
    sw_backend_free(be);
    sw_backend_free(ref);
}

TEST(a_broken_kernel_is_caught)
{
    check_broken("ref");
}

TEST(a_broken_kernel_on_cpu_is_caught)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    if (sw_backend_new("cpu", NULL, &be, &err) != SW_OK) SKIP("%s", err.message);
    sw_backend_free(be);
    check_broken("cpu");
}

static sw_status wrong_slope(sw_backend *be, sw_backward_args *args, sw_error *err)
{
    SW_TRY(sound.backward(be, args, err));
    ((double *)(void *)first_float(args->grad_in[0]))[2] += 1e-3;
    return SW_OK;
}

TEST(a_wrong_gradient_is_caught)
{
    const op_case c = {"gelu", SW_OP_GELU, NULL, {S(3, 7)}, .tol = 2e-6};
    sw_backend *be = NULL;
    sw_error err = {0};
    char why[600] = "";
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    sound = be->kernel[SW_OP_GELU];
    CHECK(numeric_agrees(be, &c, why, sizeof why));
    be->kernel[SW_OP_GELU].backward = wrong_slope;
    CHECK(!numeric_agrees(be, &c, why, sizeof why));
    CHECK(strstr(why, "numeric gradient 0, element 2") != NULL);
    sw_backend_free(be);
}
