/* SPDX-License-Identifier: Apache-2.0 */
/* ResNet-18 and ResNet-50 (He et al. 2016; v1.5, stride in the 3x3), cut after layer3 or whole (to layer4), and averaged over
 * positions. Names are torchvision's. */
#include "base/mem.h"
#include "encoder/encoder.h"

enum { CUT = 3, STAGES = 4, MAX_BLOCKS = 6 };
static const double EPS = 1e-5; /* of every batch norm */

typedef struct bn {
    int gain, offset, mean, var;
} bn;

typedef struct block {
    int stride;
    int conv[3]; /* conv[2] only in a bottleneck */
    bn norm[3];
    bool shortcut; /* 1x1 convolution and batch norm beside the block */
    int down;
    bn down_norm;
} block;

typedef struct resnet {
    bool bottleneck;
    int conv1;
    bn norm1;
    int n_blocks[STAGES]; /* 0: cut off */
    block blocks[STAGES][MAX_BLOCKS];
} resnet;

static int add_conv(sw_nn_builder *b, int64_t out, int64_t in, int64_t k, const char *stem, const char *name)
{
    return sw_nn_add(b, SW_PARAM, SW_INIT_KAIMING_FAN_OUT, SW_SHAPE(out, in, k, k), "%s%s.weight", stem, name);
}

/* `last`: of a residual branch, whose gain starts at zero so that a block starts as the identity. */
static bn add_norm(sw_nn_builder *b, int64_t c, bool last, const char *stem, const char *name)
{
    bn n;
    n.gain = sw_nn_add(b, SW_PARAM, last ? SW_INIT_ZERO : SW_INIT_ONE, SW_SHAPE(c), "%s%s.weight", stem, name);
    n.offset = sw_nn_add(b, SW_PARAM, SW_INIT_ZERO, SW_SHAPE(c), "%s%s.bias", stem, name);
    n.mean = sw_nn_add(b, SW_BUFFER, SW_INIT_ZERO, SW_SHAPE(c), "%s%s.running_mean", stem, name);
    n.var = sw_nn_add(b, SW_BUFFER, SW_INIT_ONE, SW_SHAPE(c), "%s%s.running_var", stem, name);
    return n;
}

static void add_block(sw_nn_builder *b, block *k, bool bottleneck, int64_t in, int64_t planes, int stride,
                      const char *stem)
{
    int64_t out = bottleneck ? 4 * planes : planes;
    k->stride = stride;
    k->conv[0] = add_conv(b, planes, in, bottleneck ? 1 : 3, stem, "conv1");
    k->norm[0] = add_norm(b, planes, false, stem, "bn1");
    k->conv[1] = add_conv(b, planes, planes, 3, stem, "conv2");
    k->norm[1] = add_norm(b, planes, !bottleneck, stem, "bn2");
    if (bottleneck) {
        k->conv[2] = add_conv(b, out, planes, 1, stem, "conv3");
        k->norm[2] = add_norm(b, out, true, stem, "bn3");
    }
    k->shortcut = stride != 1 || in != out;
    if (k->shortcut) {
        k->down = add_conv(b, out, in, 1, stem, "downsample.0");
        k->down_norm = add_norm(b, out, false, stem, "downsample.1");
    }
}

static sw_status build(sw_nn_builder *b, bool bottleneck, int stages, const int *n_blocks, void **state, sw_error *err)
{
    resnet *r = sw_calloc(1, sizeof *r);
    if (!r) return sw_nomem(err);
    *state = r;
    r->bottleneck = bottleneck;
    r->conv1 = add_conv(b, 64, 3, 7, "", "conv1");
    r->norm1 = add_norm(b, 64, false, "", "bn1");
    int64_t in = 64;
    for (int s = 0; s < stages; s++) {
        int64_t planes = (int64_t)64 << s;
        r->n_blocks[s] = n_blocks[s];
        for (int i = 0; i < n_blocks[s]; i++) {
            SW_AUTOFREE char *stem = sw_asprintf("layer%d.%d.", s + 1, i);
            if (!stem) return sw_nomem(err);
            add_block(b, &r->blocks[s][i], bottleneck, in, planes, s > 0 && i == 0 ? 2 : 1, stem);
            in = bottleneck ? 4 * planes : planes;
        }
    }
    return SW_OK;
}

static const int blocks18[] = {2, 2, 2, 2}, blocks50[] = {3, 4, 6, 3};

static sw_status build18(sw_nn_builder *b, void **state, sw_error *err)
{
    return build(b, false, CUT, blocks18, state, err);
}

static sw_status build18_full(sw_nn_builder *b, void **state, sw_error *err)
{
    return build(b, false, STAGES, blocks18, state, err);
}

static sw_status build50(sw_nn_builder *b, void **state, sw_error *err)
{
    return build(b, true, CUT, blocks50, state, err);
}

static sw_status build50_full(sw_nn_builder *b, void **state, sw_error *err)
{
    return build(b, true, STAGES, blocks50, state, err);
}

/* What a forward pass carries along. */
typedef struct pass {
    sw_tape *tape;
    sw_slab *slab;
    bool frozen;
    const sw_nn_mode *mode;
} pass;

static sw_var *leaf(const pass *p, int index)
{
    return p->frozen ? sw_tape_frozen(p->tape, p->slab, index) : sw_tape_param(p->tape, p->slab, index);
}

/* Without a gradient and with running statistics, batch norm is one more factor and addend of the convolution. */
static bool folds(const pass *p, const sw_var *x, const sw_var *residual)
{
    bool running = p->mode->training ? p->mode->frozen_stats && p->frozen : !p->mode->batch_stats;
    if (!running || (sw_tape_recording(p->tape) && !p->frozen)) return false;
    return !sw_var_wants_grad(x) && !(residual && sw_var_wants_grad(residual));
}

static sw_batch_norm_attr norm_attr(const pass *p, bool relu)
{
    bool batch = p->mode->training ? !p->mode->frozen_stats : p->mode->batch_stats;
    return (sw_batch_norm_attr){.training = batch,
                                .update_running = p->mode->training && batch && p->mode->update_running,
                                .relu = relu,
                                .eps = EPS,
                                .momentum = 0.1};
}

/* Convolution of `x` (let go), batch norm, optional residual (let go), optional ReLU. */
static sw_var *conv_norm(const pass *p, sw_var *x, bool keep_x, int conv, const bn *n, int stride, int pad,
                         sw_var *residual, bool relu)
{
    if (folds(p, x, residual)) {
        const sw_conv_norm_attr one = {
            .conv = {.stride = stride, .pad = pad}, .eps = EPS, .relu = relu, .spend_residual = true};
        sw_var *z = sw_conv_norm(p->tape, x, leaf(p, conv), leaf(p, n->gain), leaf(p, n->offset),
                                 sw_tape_frozen(p->tape, p->slab, n->mean), sw_tape_frozen(p->tape, p->slab, n->var),
                                 residual, &one);
        if (!keep_x) sw_var_done(x);
        sw_var_done(residual);
        return z;
    }
    sw_batch_norm_attr attr = norm_attr(p, relu);
    sw_var *y = sw_conv2d(p->tape, x, leaf(p, conv), stride, pad);
    if (!keep_x) sw_var_done(x);
    sw_var *z = sw_batch_norm(p->tape, y, leaf(p, n->gain), leaf(p, n->offset),
                              sw_tape_frozen(p->tape, p->slab, n->mean), sw_tape_frozen(p->tape, p->slab, n->var),
                              residual, &attr);
    sw_var_done(y);
    sw_var_done(residual);
    return z;
}

/* 7x7 convolution, batch norm, ReLU, 3x3 max pool. */
static sw_var *run_stem(const pass *p, const resnet *r, sw_var *images)
{
    if (folds(p, images, NULL)) {
        sw_var *x = conv_norm(p, images, true, r->conv1, &r->norm1, 2, 3, NULL, true);
        sw_var *pooled = sw_max_pool2d(p->tape, x, 3, 2, 1);
        sw_var_done(x);
        return pooled;
    }
    const bn *n = &r->norm1;
    sw_norm_pool_attr attr = {.norm = norm_attr(p, true), .pool = {.window = 3, .stride = 2, .pad = 1}};
    sw_var *x = sw_conv2d(p->tape, images, leaf(p, r->conv1), 2, 3);
    sw_var *pooled = sw_norm_pool(p->tape, x, leaf(p, n->gain), leaf(p, n->offset),
                                  sw_tape_frozen(p->tape, p->slab, n->mean), sw_tape_frozen(p->tape, p->slab, n->var),
                                  &attr);
    sw_var_done(x);
    return pooled;
}

static sw_var *run_block(const pass *p, const block *k, bool bottleneck, sw_var *x)
{
    int s1 = bottleneck ? 1 : k->stride, s2 = bottleneck ? k->stride : 1;
    sw_var *short_cut = x;
    sw_var *y = conv_norm(p, x, true, k->conv[0], &k->norm[0], s1, bottleneck ? 0 : 1, NULL, true);
    if (k->shortcut) short_cut = conv_norm(p, x, false, k->down, &k->down_norm, k->stride, 0, NULL, false);
    if (!bottleneck) return conv_norm(p, y, false, k->conv[1], &k->norm[1], s2, 1, short_cut, true);
    y = conv_norm(p, y, false, k->conv[1], &k->norm[1], s2, 1, NULL, true);
    return conv_norm(p, y, false, k->conv[2], &k->norm[2], 1, 0, short_cut, true);
}

static sw_var *forward(const void *state, sw_tape *tape, sw_slab *slab, int frozen, sw_var *images,
                       const sw_nn_mode *mode)
{
    const resnet *r = state;
    pass p = {tape, slab, frozen > 0, mode};
    sw_var *x = run_stem(&p, r, images);
    for (int s = 0; s < STAGES; s++) {
        p.frozen = frozen > s + 1;
        for (int i = 0; i < r->n_blocks[s]; i++) x = run_block(&p, &r->blocks[s][i], r->bottleneck, x);
    }
    sw_var *features = sw_global_avg_pool(tape, x);
    sw_var_done(x);
    return features;
}

static const char *const cut_parts[] = {"conv1", "layer1", "layer2", "layer3", NULL};
static const char *const parts[] = {"conv1", "layer1", "layer2", "layer3", "layer4", NULL};

const sw_encoder_def sw_encoder_resnet18 = {"resnet18", 256, build18, forward, sw_free, cut_parts};
const sw_encoder_def sw_encoder_resnet18_full = {"resnet18_full", 512, build18_full, forward, sw_free, parts};
const sw_encoder_def sw_encoder_resnet50 = {"resnet50", 1024, build50, forward, sw_free, cut_parts};
const sw_encoder_def sw_encoder_resnet50_full = {"resnet50_full", 2048, build50_full, forward, sw_free, parts};
