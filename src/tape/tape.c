/* SPDX-License-Identifier: Apache-2.0 */
#include "tape/tape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "op/op.h"

typedef struct node node;

struct sw_var {
    sw_tape *tape;
    sw_tensor value, saved[SW_OP_MAX_OUT - 1];
    sw_tensor grad;
    sw_tensor *param_grad; /* of a parameter: the slab's own, borrowed */
    bool wants_grad;
    node *made_by;         /* NULL: a leaf, or no gradient flows through it */
};

/* One recorded op. It holds the values its backward kernel needs and only the shapes of the others. */
struct node {
    sw_op_id op;
    void *attr;
    sw_var *in[SW_OP_MAX_IN], *out;
    sw_tensor in_value[SW_OP_MAX_IN], out_value[SW_OP_MAX_OUT];
};

struct sw_tape {
    sw_backend *be;
    bool record, walked;
    sw_error failure; /* code SW_OK: none */
    sw_var **vars;
    size_t n_vars, vars_capacity;
    node **nodes;
    size_t n_nodes, nodes_capacity;
    sw_var dummy; /* what a poisoned tape returns */
    double macs;
};

sw_status sw_tape_new(sw_backend *be, bool record, sw_tape **out, sw_error *err)
{
    sw_tape *tape = sw_calloc(1, sizeof *tape);
    if (!tape) return sw_nomem(err);
    tape->be = be;
    tape->record = record;
    tape->dummy.tape = tape;
    *out = tape;
    return SW_OK;
}

static void node_let_go(node *n)
{
    for (int i = 0; i < SW_OP_MAX_IN; i++) sw_tensor_release(&n->in_value[i]);
    for (int i = 0; i < SW_OP_MAX_OUT; i++) sw_tensor_release(&n->out_value[i]);
}

static void var_let_go(sw_var *v)
{
    sw_shape shape = v->value.shape;
    sw_dtype dtype = v->value.dtype;
    sw_tensor_release(&v->value);
    for (int i = 0; i < SW_OP_MAX_OUT - 1; i++) sw_tensor_release(&v->saved[i]);
    v->value.shape = shape; /* sw_var_shape goes on to work */
    v->value.dtype = dtype;
}

void sw_tape_free(sw_tape *tape)
{
    if (!tape) return;
    for (size_t i = 0; i < tape->n_nodes; i++) {
        node_let_go(tape->nodes[i]);
        sw_free(tape->nodes[i]->attr);
        sw_free(tape->nodes[i]);
    }
    for (size_t i = 0; i < tape->n_vars; i++) {
        var_let_go(tape->vars[i]);
        sw_tensor_release(&tape->vars[i]->grad);
        sw_free(tape->vars[i]);
    }
    sw_free(tape->nodes);
    sw_free(tape->vars);
    sw_free(tape);
}

sw_backend *sw_tape_backend(const sw_tape *tape)
{
    return tape->be;
}

bool sw_tape_recording(const sw_tape *tape)
{
    return tape->record;
}

sw_status sw_tape_status(const sw_tape *tape, sw_error *err)
{
    if (tape->failure.code != SW_OK && err) *err = tape->failure;
    return tape->failure.code;
}

void sw_tape_fail(sw_tape *tape, sw_status code, const char *fmt, ...)
{
    char text[sizeof tape->failure.message];
    va_list ap;
    if (tape->failure.code != SW_OK) return; /* the first failure is the cause of the others */
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sw_error_set(&tape->failure, code, "%s", text);
}

static sw_var *poison(sw_tape *tape, const sw_error *err)
{
    if (tape->failure.code == SW_OK) tape->failure = *err;
    return &tape->dummy;
}

static bool poisoned(const sw_tape *tape)
{
    return tape->failure.code != SW_OK;
}

/* A variable that holds a reference on `value`; NULL and an error when memory is out. */
static sw_var *var_new(sw_tape *tape, const sw_tensor *value, sw_error *err)
{
    if (sw_grow(&tape->vars, &tape->vars_capacity, tape->n_vars + 1, sizeof *tape->vars, err) != SW_OK) return NULL;
    sw_var *v = sw_calloc(1, sizeof *v);
    if (!v) {
        sw_nomem(err);
        return NULL;
    }
    v->tape = tape;
    v->value = sw_tensor_ref(value);
    tape->vars[tape->n_vars++] = v;
    return v;
}

static sw_var *leaf(sw_tape *tape, const sw_tensor *value, sw_tensor *param_grad, bool wants_grad)
{
    sw_error err = {0};
    if (poisoned(tape)) return &tape->dummy;
    sw_var *v = var_new(tape, value, &err);
    if (!v) return poison(tape, &err);
    v->wants_grad = wants_grad && tape->record;
    v->param_grad = v->wants_grad ? param_grad : NULL;
    return v;
}

sw_var *sw_tape_constant(sw_tape *tape, const sw_tensor *value)
{
    return leaf(tape, value, NULL, false);
}

sw_var *sw_tape_input(sw_tape *tape, const sw_tensor *value)
{
    return leaf(tape, value, NULL, true);
}

sw_var *sw_tape_param(sw_tape *tape, sw_slab *slab, int index)
{
    sw_tensor *grad = sw_slab_grad(slab, index);
    return leaf(tape, sw_slab_value(slab, index), grad, grad != NULL);
}

sw_var *sw_tape_frozen(sw_tape *tape, sw_slab *slab, int index)
{
    return leaf(tape, sw_slab_value(slab, index), NULL, false);
}

/* --- recording */

static bool gets_grad(sw_op_id op, const sw_var *in, int i)
{
    return in && in->wants_grad && !(sw_op_get(op)->no_grad >> i & 1u);
}

static sw_tensor keep(const sw_tensor *t, bool needed)
{
    sw_tensor kept = *t;
    if (needed) return sw_tensor_ref(t);
    kept.storage = NULL;
    return kept;
}

static sw_status node_new(sw_tape *tape, sw_op_id op, const void *attr, sw_var *const *in, const sw_tensor *out,
                          sw_var *result, sw_error *err)
{
    const sw_op_def *def = sw_op_get(op);
    const int needs = tape->be->kernel[op].needs;
    if (!tape->be->kernel[op].backward) {
        return sw_error_set(err, SW_E_UNSUPPORTED, "backend %s has no gradient of %s", tape->be->device.name,
                            sw_op_name(op));
    }
    SW_TRY(sw_grow(&tape->nodes, &tape->nodes_capacity, tape->n_nodes + 1, sizeof *tape->nodes, err));
    SW_AUTOFREE node *n = sw_calloc(1, sizeof *n);
    if (!n) return sw_nomem(err);
    if (def->attr_bytes > 0) {
        n->attr = sw_malloc(def->attr_bytes);
        if (!n->attr) return sw_nomem(err);
        memcpy(n->attr, attr, def->attr_bytes);
    }
    n->op = op;
    n->out = result;
    for (int i = 0; i < def->inputs; i++) {
        n->in[i] = in[i];
        if (in[i]) n->in_value[i] = keep(&in[i]->value, needs & SW_NEEDS_INPUTS);
    }
    for (int i = 0; i < def->outputs; i++) n->out_value[i] = keep(&out[i], needs & SW_NEEDS_OUTPUT);
    result->wants_grad = true;
    result->made_by = n;
    tape->nodes[tape->n_nodes++] = SW_STEAL(n);
    return SW_OK;
}

/* Runs the op and makes its variable; the caller releases `out` whatever happens. */
static sw_var *run_op(sw_tape *tape, sw_op_id op, const void *attr, sw_var *const *in, sw_tensor *out, sw_error *err)
{
    const sw_op_def *def = sw_op_get(op);
    const sw_tensor *value[SW_OP_MAX_IN] = {NULL};
    bool grad = false;
    for (int i = 0; i < def->inputs; i++) {
        value[i] = in[i] ? &in[i]->value : NULL;
        grad = grad || gets_grad(op, in[i], i);
    }
    if (sw_op_forward(tape->be, op, attr, value, out, err) != SW_OK) return NULL;
    tape->macs += sw_op_macs(op, attr, value, &out[0]);
    sw_var *v = var_new(tape, &out[0], err);
    if (!v) return NULL;
    for (int i = 1; i < def->outputs; i++) v->saved[i - 1] = sw_tensor_ref(&out[i]);
    if (grad && node_new(tape, op, attr, in, out, v, err) != SW_OK) return NULL;
    return v;
}

sw_var *sw_tape_op(sw_tape *tape, sw_op_id op, const void *attr, sw_var *const *in, int n_in)
{
    sw_error err = {0};
    sw_var *padded[SW_OP_MAX_IN] = {NULL};
    sw_tensor out[SW_OP_MAX_OUT] = {{0}};
    if (poisoned(tape)) return &tape->dummy;
    if (tape->walked || n_in < 0 || n_in > sw_op_get(op)->inputs) {
        sw_tape_fail(tape, SW_E_INTERNAL, tape->walked ? "%s after backward: a tape is good for one pass"
                                                       : "%s: too many inputs", sw_op_name(op));
        return &tape->dummy;
    }
    for (int i = 0; i < n_in; i++) padded[i] = in[i];
    sw_var *v = run_op(tape, op, attr, padded, out, &err);
    for (int i = 0; i < SW_OP_MAX_OUT; i++) sw_tensor_release(&out[i]);
    return v ? v : poison(tape, &err);
}

/* --- reading */

void sw_var_done(sw_var *v)
{
    if (v && v != &v->tape->dummy) var_let_go(v);
}

bool sw_var_wants_grad(const sw_var *v)
{
    return v->wants_grad;
}

const sw_tensor *sw_var_value(const sw_var *v)
{
    return &v->value;
}

const sw_tensor *sw_var_grad(const sw_var *v)
{
    if (v->param_grad) return v->param_grad;
    return v->grad.storage ? &v->grad : NULL;
}

const sw_shape *sw_var_shape(const sw_var *v)
{
    return &v->value.shape;
}

double sw_tape_macs(const sw_tape *tape)
{
    return tape->macs;
}

const sw_tensor *sw_var_saved(const sw_var *v, int index)
{
    return &v->saved[index];
}

/* --- backward */

/* Where the kernel writes the gradients of its inputs. */
typedef struct targets {
    sw_tensor fresh[SW_OP_MAX_IN]; /* made for this call: a first contribution, or a repeated input */
    sw_tensor *to[SW_OP_MAX_IN];
    bool add[SW_OP_MAX_IN];
} targets;

static sw_tensor *grad_of(sw_var *v)
{
    if (v->param_grad) return v->param_grad;
    return v->grad.storage ? &v->grad : NULL;
}

/* The same memory as an earlier input's gradient: a kernel may not write one place twice. */
static bool repeated(const node *n, int i)
{
    for (int j = 0; j < i; j++) {
        if (!gets_grad(n->op, n->in[j], j)) continue;
        if (n->in[j] == n->in[i] || (n->in[i]->param_grad && n->in[j]->param_grad == n->in[i]->param_grad)) return true;
    }
    return false;
}

static sw_status choose_targets(sw_tape *tape, node *n, targets *t, sw_error *err)
{
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        sw_var *v = n->in[i];
        if (!gets_grad(n->op, v, i)) continue;
        t->add[i] = grad_of(v) && !repeated(n, i);
        if (t->add[i]) {
            t->to[i] = grad_of(v);
        } else {
            SW_TRY(sw_tensor_new(&tape->be->device, v->value.dtype, v->value.shape, &t->fresh[i], err));
            t->to[i] = &t->fresh[i];
        }
    }
    return SW_OK;
}

/* Fresh gradients become the variable's own, or are added to what is there. */
static sw_status take_targets(sw_tape *tape, node *n, targets *t, sw_error *err)
{
    const sw_axpy_attr once = {.factor = 1.0};
    for (int i = 0; i < SW_OP_MAX_IN; i++) {
        if (!t->fresh[i].storage) continue;
        if (!grad_of(n->in[i])) {
            n->in[i]->grad = t->fresh[i];
            t->fresh[i] = (sw_tensor){0};
            continue;
        }
        sw_forward_args args = {.attr = &once, .in = {&t->fresh[i]}, .out = {grad_of(n->in[i])}};
        SW_TRY(sw_backend_run(tape->be, SW_OP_AXPY, &args, err));
    }
    return SW_OK;
}

/* A reshape's gradient is its output's under another shape; no copy where nobody else holds it. */
static bool moves_grad(const node *n)
{
    const sw_tensor *grad = &n->out->grad;
    return n->op == SW_OP_RESHAPE && grad->layout == 0 && !grad_of(n->in[0]) && grad->storage->refs == 1;
}

static sw_status node_backward(sw_tape *tape, node *n, sw_error *err)
{
    targets t = {.to = {NULL}};
    if (moves_grad(n)) return sw_tensor_view(&n->out->grad, 0, n->in[0]->value.shape, &n->in[0]->grad, err);
    sw_status status = choose_targets(tape, n, &t, err);
    if (status == SW_OK) {
        sw_backward_args args = {.attr = n->attr, .grad_out = &n->out->grad};
        for (int i = 0; i < sw_op_get(n->op)->inputs; i++) {
            args.in[i] = n->in[i] ? &n->in_value[i] : NULL;
            args.grad_in[i] = t.to[i];
            args.add[i] = t.add[i];
        }
        for (int i = 0; i < sw_op_get(n->op)->outputs; i++) args.out[i] = &n->out_value[i];
        status = tape->be->kernel[n->op].backward(tape->be, &args, err);
    }
    if (status == SW_OK) status = take_targets(tape, n, &t, err);
    for (int i = 0; i < SW_OP_MAX_IN; i++) sw_tensor_release(&t.fresh[i]);
    return status;
}

static sw_status seed_grad(sw_tape *tape, sw_var *y, const sw_tensor *seed, sw_error *err)
{
    char a[128], b[128];
    const sw_fill_attr one = {.value = 1.0};
    if (!seed && sw_shape_count(&y->value.shape) == 1) {
        SW_TRY(sw_tensor_new(&tape->be->device, y->value.dtype, y->value.shape, &y->grad, err));
        sw_forward_args args = {.attr = &one, .out = {&y->grad}};
        return sw_backend_run(tape->be, SW_OP_FILL, &args, err);
    }
    if (!seed) {
        return sw_error_set(err, SW_E_INVALID, "backward from %s needs a seed: only a scalar has a gradient of its own",
                            sw_shape_text(&y->value.shape, a, sizeof a));
    }
    if (!sw_shape_equal(&seed->shape, &y->value.shape) || seed->dtype != y->value.dtype) {
        return sw_error_set(err, SW_E_INVALID, "backward: seed %s %s does not fit %s %s", sw_dtype_name(seed->dtype),
                            sw_shape_text(&seed->shape, a, sizeof a), sw_dtype_name(y->value.dtype),
                            sw_shape_text(&y->value.shape, b, sizeof b));
    }
    y->grad = sw_tensor_ref(seed);
    return SW_OK;
}

static sw_status walk(sw_tape *tape, const sw_var *y, sw_error *err)
{
    for (size_t i = tape->n_nodes; i > 0; i--) {
        node *n = tape->nodes[i - 1];
        if (n->out->grad.storage) SW_TRY(node_backward(tape, n, err));
        sw_tensor_release(&n->out->grad);
        node_let_go(n);
        if (n->out != y) var_let_go(n->out);
    }
    return SW_OK;
}

sw_status sw_tape_backward(sw_tape *tape, sw_var *y, const sw_tensor *seed, sw_error *err)
{
    SW_TRY(sw_tape_status(tape, err));
    if (!tape->record || tape->walked) {
        return sw_error_set(err, SW_E_INTERNAL, tape->record ? "backward runs once per tape, and this tape had its run"
                                                             : "backward on a tape that does not record");
    }
    if (!y->made_by) {
        return sw_error_set(err, SW_E_INVALID, "backward: nothing that wants a gradient leads to this value");
    }
    tape->walked = true;
    sw_error failure = {0};
    sw_status status = seed_grad(tape, y, seed, &failure);
    if (status == SW_OK) status = walk(tape, y, &failure);
    if (status == SW_OK) return SW_OK;
    poison(tape, &failure);
    return sw_tape_status(tape, err);
}
