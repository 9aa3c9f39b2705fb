/* SPDX-License-Identifier: Apache-2.0 */
/* LongNet's encoder with dilated attention (Ding et al. 2023), as GigaPath's slide encoder has it. Internal to the aggregators. */
#ifndef SW_AGGREGATOR_LONGNET_H
#define SW_AGGREGATOR_LONGNET_H

#include "aggregator/aggregator.h"

typedef struct sw_longnet_options {
    int width, hidden;           /* of tokens; of the feed-forward blocks */
    int heads, layers;
    int branches;                /* of attention: branch i looks at every 2^i-th token of a segment; heads is a multiple of the last 2^i */
    int64_t first, last;         /* tokens of a segment in the first and the last branch; the others lie between, evenly in the logarithm */
    double dropout, drop_path;   /* drop_path: rate of the last layer; it rises evenly from 0 */
    uint32_t site;               /* of dropout: this and the following ones are used */
} sw_longnet_options;

typedef struct sw_longnet sw_longnet;

/* Declares the entries "<prefix>layers.0.self_attn.k_proj.weight", ... ; free with sw_longnet_free. Options that cannot be are errors. */
sw_status sw_longnet_build(sw_nn_builder *builder, const char *prefix, const sw_longnet_options *options, sw_longnet **out, sw_error *err)
    SW_MUST_CHECK;
void sw_longnet_free(sw_longnet *net);
/* Tokens of a segment in branch i. */
int64_t sw_longnet_segment(const sw_longnet_options *options, int branch);
/* Tokens x [n, b, width], which are let go, -> [n, b, width] behind the last norm. *seen, unless `seen` is NULL: what token 0 looks at in
 * the last layer, [b * heads, n - 1] without a gradient and without itself, for sw_mil_export_attention; n is then at least 2. */
sw_var *sw_longnet_forward(const sw_longnet *net, sw_tape *tape, sw_slab *slab, sw_var *x, const sw_nn_mode *mode, sw_var **seen);

#endif
