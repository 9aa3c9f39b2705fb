/* SPDX-License-Identifier: Apache-2.0 */
/* Aggregators: patch features [b, n, dim] -> logits [b, classes]. One file and one line in aggregators.def each. */
#ifndef SW_AGGREGATOR_AGGREGATOR_H
#define SW_AGGREGATOR_AGGREGATOR_H

#include "nn/nn.h"

typedef enum sw_mil_act { SW_ACT_NONE, SW_ACT_RELU, SW_ACT_GELU } sw_mil_act;
typedef enum sw_mil_norm { SW_MIL_NORM_NONE, SW_MIL_NORM_LAYER } sw_mil_norm;
/* ppeg: three depthwise convolutions over the tokens laid out as a square; auto: what the aggregator's authors have. */
typedef enum sw_mil_pos { SW_POS_AUTO, SW_POS_NONE, SW_POS_PPEG, SW_POS_SINCOS } sw_mil_pos;
/* What makes one vector of a bag's patches. */
typedef enum sw_mil_pool { SW_POOL_ATTN, SW_POOL_MEAN, SW_POOL_MAX } sw_mil_pool;
/* What a group of patches hands on (dtfd): its weighted sum; the patch that speaks most for the last class, and the one that speaks
 * least; the one with most attention. */
typedef enum sw_mil_distill { SW_DISTILL_AFS, SW_DISTILL_MAXS, SW_DISTILL_MAXMINS, SW_DISTILL_MAS } sw_mil_distill;
typedef enum sw_attn_plus { SW_PLUS_OFF, SW_PLUS_FIXED, SW_PLUS_LEARNABLE } sw_attn_plus;

/* Options of every aggregator; each uses what it has. Defaults are the reference implementation's. */
typedef struct sw_aggregator_options {
    int input_dim;           /* feature width, set by the encoder */
    int inner_dim;           /* 512 */
    int classes;             /* 2 */
    int heads;               /* 8; divides inner_dim */
    double dropout;          /* 0.25, after the feature activation */
    sw_mil_act act;          /* relu */
    sw_mil_norm norm;        /* none */
    bool bias;               /* true: biases of the feature layer, projection, classifier and outer norms */
    bool attn_bias;          /* false: biases of the attention MLP */
    sw_attn_plus attn_plus;  /* off */
    double alpha;            /* 1: of the A+ shortcut when attn_plus is fixed */
    bool ffn;                /* false: residual MLP after the projection */
    double attn_hidden;      /* width of the attention MLP: 0 as its input; > 10 that / heads; else input / that */
    bool attn_gated;         /* abmilx: gelu(W_a z) times sigmoid(W_b z), each with dropout 0.25, instead of gelu(W_1 z). false */
    bool embed_new;          /* false: attention and A+ on the whole width, heads split afterwards */
    int hidden;              /* abmil, gabmil, c2c, ft_vib, dtfd, chief: width of the attention; 0: 128, 384, 32, 256, 128 and 256;
                              * gigap: of the feed-forward blocks; 0: 4 * inner_dim */
    int layers;              /* vitmil, gigap: layers of attention; rrtmil: the same, the last one across regions. 2 */
    sw_mil_pos pos;          /* transmil (auto: ppeg), vitmil (auto: none): between the layers; gigap (auto: none, or sincos): of the patches */
    int regions;             /* rrtmil: regions along each side of the square of tokens. 8 */
    int epeg;                /* rrtmil: taps of the convolution over the logits of a region, odd; 0: none. 15 */
    int crmsa;               /* rrtmil: representatives of each region in the attention across regions. 3 */
    int crmsa_heads;         /* rrtmil: heads of that attention. 8 */
    bool cross_bag;          /* rrtmil: attend across the regions of all bags of a step, as the reference does by oversight */
    bool subtyping;          /* clam: other classes' classifiers learn that the most attended patches are none of theirs */
    bool instance_ce;        /* clam: cross-entropy of patches instead of the smooth SVM */
    int instances;           /* clam: patches of most, and of least attention. 8 */
    double bag_weight;       /* clam: of the slide's loss; the rest is the patches'. 0.7 */
    bool shortcut;           /* rrtmil: add the features to what its layers make of them */
    double slide_weight;     /* c2c, ft_vib: of the slide's loss, 1; */
    double patch_weight;     /* of the patches' own loss, 0.01; */
    double cluster_weight;   /* and of attention that is uneven within a cluster, 0.01 */
    double gate_weight;      /* ft_vib: of gates whose mean is not gate_share, 0.1; */
    double gate_share;       /* 0.1 */
    int topk;                /* wikg: tails, the patches that each one is linked to. 6 */
    sw_mil_pool pool;        /* wikg, gigap: attn; gigap has then its class token */
    bool gate_dot;           /* wikg: weigh tails by the product they were meant to have, not by the reference's */
    int groups;              /* dtfd: pseudo-bags of a bag. 5 */
    sw_mil_distill distill;  /* dtfd: afs */
    bool shuffle;            /* dtfd: true; false: groups of neighbours in the bag */
    int organ;               /* chief: row of its text embeddings; -1, none: without text */
    int dilations;           /* gigap: branches of attention, of every token, every second, every fourth, ... 5 */
    int segment_first, segment_last; /* gigap: tokens of a segment in the first and the last branch. 1024, 1048576 */
    int blocks;              /* mamba2d: of scans, one after the other. 1 */
    int state;               /* mamba2d: numbers that each channel carries from cell to cell. 16 */
    int canvas_rows;         /* mamba2d: cells of the canvas that patches of every bag are laid out on; 0: as many as each bag */
    int canvas_columns;      /* reaches over */
} sw_aggregator_options;
sw_aggregator_options sw_aggregator_options_default(void);

/* What a forward pass gives; all belong to the tape. */
typedef struct sw_aggregator_out {
    sw_var *logits;    /* [b, classes] */
    sw_var *attention; /* [b, heads, n] after the softmax over patches; NULL where there is none */
    sw_var *instance;  /* [b, n, inner_dim] patch features the attention weighs; NULL where there are none */
    sw_var *slide;     /* [b, inner_dim] what the classifier sees */
    sw_var *patch;     /* [b, n, classes] what each patch says by itself; NULL where there is nothing */
    sw_var *score;     /* [b, n] by which the best patches are chosen; NULL: by attention */
    sw_var *second;    /* what the aggregator's own loss needs besides, as its file says; NULL: nothing */
} sw_aggregator_out;

/* What a training step asks for, for aggregators whose loss is more than the task's on their logits. */
typedef struct sw_mil_target {
    /* The task's mean loss over the bags, a scalar: logits [b, classes]. */
    sw_var *(*loss)(const void *ctx, sw_tape *tape, sw_var *logits, sw_var *targets);
    const void *ctx;
    sw_var *targets;        /* of the bags, as the task has them */
    const int32_t *label;   /* [b] class of each bag, on the host; NULL: not a classification */
    const int32_t *cluster; /* [b, n] cluster of each patch, -1 none; NULL: patches were not drawn from clusters */
} sw_mil_target;

typedef struct sw_aggregator sw_aggregator;

typedef struct sw_aggregator_def {
    const char *name;
    /* Checks the options and declares the entries; *state is the aggregator's own. */
    sw_status (*build)(sw_nn_builder *builder, const sw_aggregator_options *options, void **state, sw_error *err);
    sw_aggregator_out (*forward)(const void *state, const sw_aggregator_options *options, sw_tape *tape, sw_slab *slab,
                                 sw_var *x, const sw_nn_mode *mode);
    void (*destroy)(void *state);
    /* The training loss, a scalar, of what `forward` gave; NULL: target->loss of out->logits. */
    sw_var *(*loss)(const void *state, const sw_aggregator_options *options, sw_tape *tape, sw_slab *slab,
                    const sw_aggregator_out *out, const sw_mil_target *target);
} sw_aggregator_def;

size_t sw_aggregator_kinds(void);
bool sw_aggregator_uses_places(const char *name); /* whether it goes by sw_nn_mode's xy */
const sw_aggregator_def *sw_aggregator_kind(size_t index);

/* Declares the aggregator `name` in `slab` under "mil."; borrows the slab until sw_aggregator_free. */
sw_status sw_aggregator_new(const char *name, const sw_aggregator_options *options, sw_slab *slab, sw_aggregator **out,
                            sw_error *err) SW_MUST_CHECK;
void sw_aggregator_free(sw_aggregator *aggregator);
const char *sw_aggregator_name(const sw_aggregator *aggregator);
const sw_aggregator_options *sw_aggregator_get_options(const sw_aggregator *aggregator);
sw_status sw_aggregator_init(const sw_aggregator *aggregator, uint64_t seed, sw_error *err) SW_MUST_CHECK;
sw_status sw_aggregator_init_blank(const sw_aggregator *aggregator, sw_error *err) SW_MUST_CHECK; /* nothing drawn: a file follows */
sw_aggregator_out sw_aggregator_forward(const sw_aggregator *aggregator, sw_tape *tape, sw_var *x,
                                        const sw_nn_mode *mode);
/* The training loss, a scalar, of what the forward pass gave on the same tape. */
sw_var *sw_aggregator_loss(const sw_aggregator *aggregator, sw_tape *tape, const sw_aggregator_out *out, const sw_mil_target *target);

/* --- shared by the aggregators: one linear layer and one layer norm with optional bias */
typedef struct sw_mil_linear {
    int weight, bias; /* bias -1: none */
} sw_mil_linear;
sw_mil_linear sw_mil_add_linear(sw_nn_builder *builder, int64_t out, int64_t in, bool bias, const char *name);
sw_mil_linear sw_mil_add_norm(sw_nn_builder *builder, int64_t width, bool bias, const char *name);
sw_var *sw_mil_linear_forward(sw_tape *tape, sw_slab *slab, const sw_mil_linear *layer, sw_var *x);
sw_var *sw_mil_norm_forward(sw_tape *tape, sw_slab *slab, const sw_mil_linear *layer, sw_var *x);
/* [b, n, c] <-> [n, b, c]: tokens first, so that one can be put before or behind the others. The input is let go. */
sw_var *sw_mil_swap_tokens(sw_tape *tape, sw_var *x);
/* x [n, b, c] with `count` tokens of zeros before or behind; x itself where count is 0. */
sw_var *sw_mil_zeros_before(sw_tape *tape, sw_var *x, int64_t count);
sw_var *sw_mil_zeros_behind(sw_tape *tape, sw_var *x, int64_t count);
/* The learned token `index` [1, 1, c] of every bag before x [n, b, c], which is let go. */
sw_var *sw_mil_class_token(sw_tape *tape, sw_slab *slab, int index, sw_var *x);
/* tokens [n, b, heads * d] -> [b * heads, n, d] and back; the input is let go. */
sw_var *sw_mil_split_heads(sw_tape *tape, sw_var *x, int heads);
sw_var *sw_mil_merge_heads(sw_tape *tape, sw_var *x, int64_t b);
/* Weights that tokens have in what is classified, [g, n] without a gradient: as attention [b, g / b, n], nothing below zero, each row
 * with sum 1. */
sw_var *sw_mil_export_attention(sw_tape *tape, sw_var *weights, int64_t b);
/* A constant of `shape` with these values, or with zeros where NULL. */
sw_var *sw_mil_constant(sw_tape *tape, sw_dtype dtype, sw_shape shape, const double *values);
sw_var *sw_mil_constant_i32(sw_tape *tape, sw_shape shape, const int32_t *values);
/* `y`, made of `x`, whose memory goes where no gradient needs it. */
sw_var *sw_mil_instead(sw_var *x, sw_var *y);
/* The side of the smallest square of at least n places. */
int64_t sw_mil_side(int64_t n);

/* Position by convolutions (PPEG of TransMIL): f + dw7(f) + dw5(f) + dw3(f) of tokens on a square. */
typedef struct sw_mil_ppeg {
    int weight[3], bias[3];
} sw_mil_ppeg;
sw_mil_ppeg sw_mil_add_ppeg(sw_nn_builder *builder, int64_t width, const char *name);
/* Tokens [n, b, c], of which the first is no patch and stays; the others are filled up to a square with the first of
 * them again, and to one of `least` places a side with zeros; what was added is dropped. The input is let go. */
sw_var *sw_mil_ppeg_forward(sw_tape *tape, sw_slab *slab, const sw_mil_ppeg *layer, sw_var *tokens, int64_t least);

sw_var *sw_mil_activate(sw_tape *tape, sw_mil_act act, sw_var *x);
/* `site` tells several dropouts of one step apart. Identity in evaluation. */
sw_var *sw_mil_dropout(sw_tape *tape, double rate, uint32_t site, sw_var *x, const sw_nn_mode *mode);

#endif
