/* SPDX-License-Identifier: Apache-2.0 */
/* What aggregators that treat patches as tokens share. */
#include <math.h>

#include "aggregator/aggregator.h"
#include "base/mem.h"

sw_var *sw_mil_instead(sw_var *x, sw_var *y)
{
    if (x != y) sw_var_done(x);
    return y;
}

int64_t sw_mil_side(int64_t n)
{
    int64_t side = n > 0 ? (int64_t)sqrt((double)n) : 0;
    while (side * side < n) side++;
    return side;
}

sw_var *sw_mil_constant(sw_tape *tape, sw_dtype dtype, sw_shape shape, const double *values)
{
    sw_error err;
    sw_tensor value = {0};
    SW_AUTOFREE double *zeros = values ? NULL : sw_calloc((size_t)sw_shape_count(&shape) + 1, sizeof *zeros);
    sw_status status = !values && !zeros ? sw_nomem(&err) : SW_OK;
    if (status == SW_OK) status = sw_tensor_new(&sw_tape_backend(tape)->device, dtype, shape, &value, &err);
    if (status == SW_OK) status = sw_tensor_upload_f64(&value, values ? values : zeros, &err);
    if (status != SW_OK) sw_tape_fail(tape, err.code, "%s", err.message);
    sw_var *v = sw_tape_constant(tape, &value);
    sw_tensor_release(&value);
    return v;
}

sw_var *sw_mil_constant_i32(sw_tape *t, sw_shape shape, const int32_t *values)
{
    sw_error err;
    sw_tensor x = {0};
    if (sw_tensor_from(&sw_tape_backend(t)->device, SW_I32, shape, values, &x, &err) != SW_OK)
        sw_tape_fail(t, err.code, "%s", err.message);
    sw_var *v = sw_tape_constant(t, &x);
    sw_tensor_release(&x);
    return v;
}

static sw_dtype dtype_of(const sw_var *x)
{
    return sw_var_value(x)->dtype;
}

sw_var *sw_mil_swap_tokens(sw_tape *t, sw_var *x)
{
    const int64_t *dim = sw_var_shape(x)->dim;
    if (dim[0] == 1 || dim[1] == 1) return sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(dim[1], dim[0], dim[2])));
    return sw_mil_instead(x, sw_permute(t, x, (const int[]){1, 0, 2}));
}

static sw_var *zeros(sw_tape *t, const sw_var *x, int64_t count)
{
    const int64_t *dim = sw_var_shape(x)->dim;
    return sw_mil_constant(t, dtype_of(x), SW_SHAPE(count, dim[1], dim[2]), NULL);
}

sw_var *sw_mil_zeros_before(sw_tape *t, sw_var *x, int64_t count)
{
    return count > 0 ? sw_mil_instead(x, sw_concat(t, zeros(t, x, count), x)) : x;
}

sw_var *sw_mil_zeros_behind(sw_tape *t, sw_var *x, int64_t count)
{
    return count > 0 ? sw_mil_instead(x, sw_concat(t, x, zeros(t, x, count))) : x;
}

sw_var *sw_mil_class_token(sw_tape *t, sw_slab *slab, int index, sw_var *x)
{
    int64_t b = sw_var_shape(x)->dim[1], c = sw_var_shape(x)->dim[2];
    SW_AUTOFREE double *one = sw_malloc((size_t)(b + 1) * sizeof *one);
    if (!one) sw_tape_fail(t, SW_E_NOMEM, "out of memory");
    for (int64_t i = 0; one && i < b; i++) one[i] = 1.0;
    sw_var *token = sw_reshape(t, sw_tape_param(t, slab, index), SW_SHAPE(1, c));
    sw_var *all = sw_matmul(t, sw_mil_constant(t, dtype_of(x), SW_SHAPE(b, 1), one), token, false, false);
    return sw_mil_instead(x, sw_concat(t, sw_reshape(t, all, SW_SHAPE(1, b, c)), x));
}

sw_var *sw_mil_split_heads(sw_tape *t, sw_var *x, int heads)
{
    const int64_t *dim = sw_var_shape(x)->dim;
    sw_var *y = sw_mil_instead(x, sw_reshape(t, x, SW_SHAPE(dim[0], dim[1] * heads, dim[2] / heads)));
    return sw_mil_instead(y, sw_permute(t, y, (const int[]){1, 0, 2}));
}

sw_var *sw_mil_merge_heads(sw_tape *t, sw_var *x, int64_t b)
{
    const int64_t *dim = sw_var_shape(x)->dim;
    int64_t width = dim[0] / b * dim[2];
    sw_var *y = sw_mil_instead(x, sw_permute(t, x, (const int[]){1, 0, 2}));
    return sw_mil_instead(y, sw_reshape(t, y, SW_SHAPE(dim[1], b, width)));
}

sw_var *sw_mil_export_attention(sw_tape *t, sw_var *weights, int64_t b)
{
    sw_error err;
    int64_t rows = sw_var_shape(weights)->dim[0], n = sw_var_shape(weights)->dim[1];
    SW_AUTOFREE double *w = sw_calloc((size_t)(rows * n) + 1, sizeof *w);
    if (sw_tape_status(t, &err) != SW_OK) return weights;
    sw_status status = w ? sw_tensor_download_f64(sw_var_value(weights), w, &err) : sw_nomem(&err);
    if (status != SW_OK) sw_tape_fail(t, err.code, "%s", err.message);
    for (int64_t r = 0; w && r < rows; r++) {
        double *row = w + r * n, sum = 0.0;
        for (int64_t i = 0; i < n; i++) sum += row[i] = row[i] > 0.0 ? row[i] : 0.0;
        for (int64_t i = 0; i < n; i++) row[i] = sum > 0.0 ? row[i] / sum : 1.0 / (double)n;
    }
    return sw_mil_constant(t, dtype_of(weights), SW_SHAPE(b, rows / b, n), w);
}

/* ---- position by convolutions */

sw_mil_ppeg sw_mil_add_ppeg(sw_nn_builder *b, int64_t width, const char *name)
{
    static const char *const part[] = {"proj", "proj1", "proj2"};
    sw_mil_ppeg l;
    for (int i = 0; i < 3; i++) {
        int taps = 7 - 2 * i;
        l.weight[i] = sw_nn_add(b, SW_PARAM, SW_INIT_XAVIER, SW_SHAPE(width, 1, taps, taps), "%s.%s.weight", name, part[i]);
        l.bias[i] = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(width), "%s.%s.bias", name, part[i]);
    }
    return l;
}

/* f [b, c, side, side] */
static sw_var *convolutions(sw_tape *t, sw_slab *slab, const sw_mil_ppeg *l, sw_var *f)
{
    sw_var *sum = f;
    for (int i = 0; i < 3; i++) {
        sw_var *y = sw_depthwise(t, f, sw_tape_param(t, slab, l->weight[i]), sw_tape_param(t, slab, l->bias[i]));
        sw_var *next = sw_mil_instead(y, sw_add(t, sum, y));
        if (sum != f) sw_var_done(sum);
        sum = next;
    }
    sw_var_done(f);
    return sum;
}

sw_var *sw_mil_ppeg_forward(sw_tape *t, sw_slab *slab, const sw_mil_ppeg *l, sw_var *tokens, int64_t least)
{
    int64_t n = sw_var_shape(tokens)->dim[0] - 1, b = sw_var_shape(tokens)->dim[1], c = sw_var_shape(tokens)->dim[2];
    int64_t side = sw_mil_side(n), again = side * side - n;
    sw_var *patches = sw_rows(t, tokens, 1, n), *f = patches;
    if (again > 0) f = sw_concat(t, f, sw_rows(t, patches, 0, again));
    int64_t filled = side > least ? side : least;
    f = sw_mil_zeros_behind(t, f, filled * filled - side * side);
    f = sw_permute(t, sw_reshape(t, f, SW_SHAPE(filled * filled, b, c)), (const int[]){1, 2, 0});
    f = convolutions(t, slab, l, sw_reshape(t, f, SW_SHAPE(b, c, filled, filled)));
    f = sw_permute(t, sw_reshape(t, f, SW_SHAPE(b, c, filled * filled)), (const int[]){2, 0, 1});
    sw_var *y = sw_concat(t, sw_rows(t, tokens, 0, 1), sw_rows(t, f, 0, n));
    sw_var_done(tokens);
    return y;
}
