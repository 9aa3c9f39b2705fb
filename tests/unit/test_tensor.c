/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "backend/backend.h"
#include "tensor/slab.h"
#include "tensor/tensor.h"

#define SHAPE(...) sw_shape_of((int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__})

TEST(shapes_are_counted_compared_and_written)
{
    char text[64];
    sw_shape a = SHAPE(2, 3, 4), scalar = {0}, empty = SHAPE(0, 5);
    CHECK_INT(sw_shape_count(&a), 24);
    CHECK_INT(sw_shape_count(&scalar), 1);
    CHECK_INT(sw_shape_count(&empty), 0);
    CHECK_STR(sw_shape_text(&a, text, sizeof text), "[2, 3, 4]");
    CHECK_STR(sw_shape_text(&scalar, text, sizeof text), "[]");
    CHECK_STR(sw_shape_text(&a, text, 5), "[2, "); /* cut, and terminated */
    CHECK(!sw_shape_equal(&a, &scalar));
}

TEST(views_share_memory_and_stay_inside)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    const double values[6] = {0, 1, 2, 3, 4, 5}, nine[2] = {9, 8};
    double got[6];
    sw_tensor t = {0}, v = {0};
    CHECK_OK(sw_tensor_new(&be->device, SW_F32, SHAPE(2, 3), &t, &err));
    CHECK_INT(sw_backend_memory(be).now, 24);
    CHECK_OK(sw_tensor_upload_f64(&t, values, &err));
    CHECK_OK(sw_tensor_view(&t, 3, SHAPE(2, 1), &v, &err));
    CHECK_OK(sw_tensor_upload_f64(&v, nine, &err));
    CHECK_OK(sw_tensor_download_f64(&t, got, &err));
    CHECK_NEAR(got[3], 9, 0, 0);
    CHECK_NEAR(got[4], 8, 0, 0);
    CHECK_NEAR(got[5], 5, 0, 0);
    sw_tensor other = {0};
    CHECK_INT(sw_tensor_view(&t, 4, SHAPE(3), &other, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a view [3] from element 4 does not lie inside a tensor [2, 3]");
    CHECK_INT(sw_tensor_view(&t, -1, SHAPE(1), &other, &err), SW_E_INVALID);
    sw_tensor_release(&t);
    CHECK_INT(sw_backend_memory(be).now, 24); /* the view keeps the storage */
    CHECK_INT(sw_tensor_view(&t, 0, SHAPE(1), &other, &err), SW_E_INVALID);
    CHECK_INT(sw_tensor_download_f64(&t, got, &err), SW_E_INVALID);
    CHECK_STR(err.message, "the tensor is empty: its value was let go or never made");
    sw_tensor_release(&v);
    CHECK_INT(sw_backend_memory(be).now, 0);
    CHECK_INT(sw_backend_memory(be).peak, 24);
    CHECK_INT(sw_tensor_new(&be->device, SW_F64, SHAPE(INT64_MAX / 2, 3), &t, &err), SW_E_INVALID);
    CHECK_STR(err.message, "a tensor of shape [4611686018427387903, 3] is not possible");
    CHECK_INT(sw_tensor_new(&be->device, SW_F32, SHAPE(-1), &t, &err), SW_E_INVALID);
    sw_backend_free(be);
}

TEST(an_empty_tensor_has_no_bytes)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    double none = 0;
    for (int i = 0; i < 2; i++) {
        CHECK_OK(sw_backend_new(i ? "guard" : "ref", NULL, &be, &err));
        sw_tensor t = {0};
        CHECK_OK(sw_tensor_new(&be->device, SW_F64, SHAPE(0, 4), &t, &err));
        CHECK_OK(sw_tensor_upload_f64(&t, &none, &err));
        CHECK_OK(sw_tensor_download_f64(&t, &none, &err));
        sw_tensor_release(&t);
        sw_backend_free(be);
    }
}

TEST(the_slab_is_flat_aligned_and_zero)
{
    sw_backend *be = NULL;
    sw_slab *slab = NULL;
    sw_error err = {0};
    int w, b, run;
    CHECK_OK(sw_backend_new("ref", NULL, &be, &err));
    CHECK_OK(sw_slab_new(&be->device, SW_F32, &slab, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "mil", "fc.weight", SHAPE(3, 7), &w, &err));
    CHECK_OK(sw_slab_add(slab, SW_BUFFER, "mil", "running", SHAPE(5), &run, &err));
    CHECK_OK(sw_slab_add(slab, SW_PARAM, "mil", "fc.bias", SHAPE(3), &b, &err));
    CHECK_INT(sw_slab_add(slab, SW_PARAM, "mil", "fc.bias", SHAPE(3), NULL, &err), SW_E_INVALID);
    CHECK_STR(err.message, "parameter fc.bias is declared twice");
    CHECK_OK(sw_slab_commit(slab, &err));
    CHECK_INT(sw_slab_add(slab, SW_PARAM, "mil", "late", SHAPE(3), NULL, &err), SW_E_INTERNAL);
    CHECK_STR(err.message, "parameter late is declared after the slab was committed");
    CHECK_INT(sw_slab_entries(slab), 3);
    CHECK_INT(sw_slab_first(slab, w), 0);
    CHECK_INT(sw_slab_first(slab, b), 32); /* 21 rounded up to a multiple of 16 */
    CHECK_INT(sw_slab_first(slab, run), 0);
    CHECK_INT(sw_tensor_count(sw_slab_params(slab)), 48);
    CHECK_INT(sw_tensor_count(sw_slab_buffers(slab)), 16);
    CHECK_INT(sw_slab_find(slab, "fc.bias"), b);
    CHECK_INT(sw_slab_find(slab, "fc"), -1);
    CHECK(sw_slab_grad(slab, run) == NULL);
    const float bias[3] = {1, 2, 3};
    float all[48];
    CHECK_OK(sw_tensor_upload_f32(sw_slab_value(slab, b), bias, &err));
    CHECK_OK(sw_tensor_download_f32(sw_slab_params(slab), all, &err));
    for (int i = 0; i < 48; i++) CHECK_NEAR(all[i], i >= 32 && i < 35 ? i - 31 : 0, 0, 0);
    sw_slab_free(slab);
    CHECK_INT(sw_backend_memory(be).now, 0);
    sw_backend_free(be);
}

TEST(an_unknown_backend_is_named)
{
    sw_backend *be = NULL;
    sw_error err = {0};
    CHECK_INT(sw_backend_new("tpu", NULL, &be, &err), SW_E_UNSUPPORTED);
    CHECK(strstr(err.message, "this build has no backend \"tpu\"; choose one of ref, guard, ") == err.message);
    CHECK(be == NULL);
}
