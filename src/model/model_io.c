/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model_io.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static sw_status put_one(const sw_slab *slab, int i, const char *prefix, sw_weights_writer *writer, sw_error *err)
{
    sw_slab *s = (sw_slab *)slab; /* reading values through the accessor that also writers use */
    const sw_tensor *value = sw_slab_value(s, i);
    SW_AUTOFREE void *host = sw_malloc(sw_tensor_bytes(value));
    SW_AUTOFREE char *name = sw_asprintf("%s%s", prefix, sw_slab_name(slab, i));
    if (!host || !name) return sw_nomem(err);
    SW_TRY(sw_tensor_download(value, host, err));
    return sw_weights_writer_add(writer, name, value->dtype, sw_slab_shape(slab, i), host, err);
}

sw_status sw_model_put(const sw_model *model, const char *prefix, int64_t steps, sw_weights_writer *writer,
                       sw_error *err)
{
    static const char var[] = "running_var";
    const sw_slab *slab = sw_model_slab(model);
    sw_shape scalar = {0};
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        const char *name = sw_slab_name(slab, i);
        SW_TRY(put_one(slab, i, prefix, writer, err));
        if (!ends_with(name, var)) continue;
        SW_AUTOFREE char *tracked =
            sw_asprintf("%s%.*snum_batches_tracked", prefix, (int)(strlen(name) - strlen(var)), name);
        if (!tracked) return sw_nomem(err);
        SW_TRY(sw_weights_writer_add(writer, tracked, SW_I64, &scalar, &steps, err));
    }
    return SW_OK;
}

static sw_status wrong_shape(const sw_model *model, const sw_weights *w, const sw_weight *found, int entry,
                             sw_error *err)
{
    char have[128], need[128];
    const sw_slab *slab = sw_model_slab(model);
    bool encoder = strcmp(sw_slab_group(slab, entry), "encoder") == 0;
    const sw_model_options *o = sw_model_get_options(model);
    sw_shape_text(&found->shape, have, sizeof have);
    sw_shape_text(sw_slab_shape(slab, entry), need, sizeof need);
    return sw_error_set(err, SW_E_FORMAT, "%s: %s is %s, but %s %s needs %s; give weights of that architecture or set %s.name",
                        sw_weights_path(w), found->name, have, encoder ? "encoder" : "aggregator",
                        encoder ? o->encoder : o->aggregator, need, encoder ? "encoder" : "aggregator");
}

static sw_status set_entry(sw_model *model, int entry, const sw_weights *w, size_t index, sw_error *err)
{
    const sw_weight *found = sw_weights_get(w, index);
    const sw_shape *shape = sw_slab_shape(sw_model_slab(model), entry);
    if (!sw_shape_equal(&found->shape, shape)) return wrong_shape(model, w, found, entry, err);
    SW_AUTOFREE float *host = sw_malloc((size_t)sw_shape_count(shape) * sizeof *host);
    if (!host) return sw_nomem(err);
    SW_TRY(sw_weights_read_f32(w, index, host, err));
    return sw_tensor_upload_f32(sw_slab_value(sw_model_slab(model), entry), host, err);
}

sw_status sw_model_get(sw_model *model, const char *prefix, const sw_weights *w, sw_error *err)
{
    sw_slab *slab = sw_model_slab(model);
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        SW_AUTOFREE char *name = sw_asprintf("%s%s", prefix, sw_slab_name(slab, i));
        if (!name) return sw_nomem(err);
        int64_t at = sw_weights_find(w, name);
        if (at < 0)
            return sw_error_set(err, SW_E_FORMAT, "%s: holds no tensor %s; it is not a checkpoint of this model",
                                sw_weights_path(w), name);
        SW_TRY(set_entry(model, i, w, (size_t)at, err));
    }
    return SW_OK;
}

/* --- published encoder files */

static const char encoder_prefix[] = "encoder.model.";

/* A ResNet that was made of a list of another one's children is named by their places: those of torchvision's. */
static const char *by_place(const char *name, char *room, size_t size)
{
    static const char list[] = "resnet_head.";
    static const char *const child[] = {"conv1", "bn1", NULL, NULL, "layer1", "layer2", "layer3", "layer4"};
    if (strncmp(name, list, sizeof list - 1) != 0) return name;
    int place = name[sizeof list - 1] - '0';
    if (place < 0 || place > 7 || !child[place] || name[sizeof list] != '.') return name;
    snprintf(room, size, "%s%s", child[place], name + sizeof list);
    return room;
}

enum { NAME_SIZE = 256 };

/* `name` without the prefixes that frameworks put before an encoder's own names; in it, or in `room` [NAME_SIZE]. */
static const char *own_name(const char *name, char *room)
{
    static const char *const prefixes[] = {"state_dict.", "module.", "encoder.", "model.", "backbone.", "resnet."};
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            size_t n = strlen(prefixes[i]);
            if (strncmp(name, prefixes[i], n) != 0) continue;
            name += n;
            again = true;
        }
    }
    return by_place(name, room, NAME_SIZE);
}

static int64_t find_own(const sw_weights *w, const char *own)
{
    char room[NAME_SIZE];
    for (size_t i = 0; i < sw_weights_count(w); i++)
        if (strcmp(own_name(sw_weights_get(w, i)->name, room), own) == 0) return (int64_t)i;
    return -1;
}

/* Where the file holds entry `entry` of the encoder. */
static sw_status locate(const sw_model *model, int entry, const sw_weights *w, size_t *index, sw_error *err)
{
    const sw_slab *slab = sw_model_slab(model);
    const char *own = sw_slab_name(slab, entry) + strlen(encoder_prefix);
    int64_t at = find_own(w, own);
    if (at < 0)
        return sw_error_set(err, SW_E_FORMAT,
                            "%s: holds no tensor %s, which encoder %s needs; give weights of that architecture or set "
                            "encoder.name",
                            sw_weights_path(w), own, sw_model_get_options(model)->encoder);
    const sw_weight *found = sw_weights_get(w, (size_t)at);
    if (!sw_shape_equal(&found->shape, sw_slab_shape(slab, entry))) return wrong_shape(model, w, found, entry, err);
    *index = (size_t)at;
    return SW_OK;
}

/* Is `own` in a part that the encoder has ("layer1") and yet none of its entries? Parts that it lacks (layer4 of one that is cut, fc, an
 * aggregator) are another matter: they are what published files hold besides. */
static bool is_foreign(const sw_slab *slab, const char *own)
{
    const char *dot = strchr(own, '.');
    size_t part = dot ? (size_t)(dot - own) + 1 : 0;
    bool shared = false;
    if (!dot || ends_with(own, ".num_batches_tracked")) return false;
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        if (strcmp(sw_slab_group(slab, i), "encoder") != 0) continue;
        const char *ours = sw_slab_name(slab, i) + strlen(encoder_prefix);
        if (strcmp(ours, own) == 0) return false;
        shared = shared || strncmp(ours, own, part) == 0;
    }
    return shared;
}

/* A deeper network (ResNet-34) has every tensor that a shallower one (ResNet-18) needs, in the same shapes; only what is
 * left over tells that it computes something else. */
static sw_status refuse_foreign(const sw_model *model, const sw_weights *w, sw_error *err)
{
    for (size_t i = 0; i < sw_weights_count(w); i++) {
        char room[NAME_SIZE];
        const char *name = sw_weights_get(w, i)->name;
        if (is_foreign(sw_model_slab(model), own_name(name, room)))
            return sw_error_set(err, SW_E_FORMAT,
                                "%s: holds %s, which encoder %s does not have; give weights of that architecture or set "
                                "encoder.name",
                                sw_weights_path(w), name, sw_model_get_options(model)->encoder);
    }
    return SW_OK;
}

static sw_status each_encoder_entry(sw_model *model, const sw_weights *w, bool set, sw_error *err)
{
    const sw_slab *slab = sw_model_slab(model);
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        size_t at = 0;
        if (strcmp(sw_slab_group(slab, i), "encoder") != 0) continue;
        SW_TRY(locate(model, i, w, &at, err));
        if (set) SW_TRY(set_entry(model, i, w, at, err));
    }
    return SW_OK;
}

sw_status sw_model_load_encoder(sw_model *model, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_TRY(sw_weights_open(path, &w, err));
    SW_TRY(each_encoder_entry(model, w, false, err)); /* a file that does not fit changes nothing */
    SW_TRY(refuse_foreign(model, w, err));
    return each_encoder_entry(model, w, true, err);
}

/* --- published aggregator files */

static const char aggregator_prefix[] = "mil.";

/* `name` without the prefixes of training frameworks, and with the aggregator's own names of parts that files of DTFD's authors call
 * otherwise; in it, or in `room` [NAME_SIZE]. */
static const char *own_part(const char *name, char *room)
{
    static const char *const prefixes[] = {"state_dict.", "module.", "model.", "mil."};
    static const char *const other[][2] = {{"dim_reduction.", "dimReduction."}, {"att_classifier.", "UClassifier."}};
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            size_t n = strlen(prefixes[i]);
            if (strncmp(name, prefixes[i], n) != 0) continue;
            name += n;
            again = true;
        }
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        size_t n = strlen(other[i][0]);
        if (strncmp(name, other[i][0], n) != 0) continue;
        snprintf(room, NAME_SIZE, "%s%s", other[i][1], name + n);
        return room;
    }
    return name;
}

static int64_t find_part(const sw_weights *w, const char *own)
{
    char room[NAME_SIZE];
    for (size_t i = 0; i < sw_weights_count(w); i++)
        if (strcmp(own_part(sw_weights_get(w, i)->name, room), own) == 0) return (int64_t)i;
    return -1;
}

/* Is a file without this entry a whole one: of a model without a classifier, of fewer classes, or one whose buffers are a file of their
 * own? */
static bool may_lack(const sw_slab *slab, int entry, const char *own)
{
    return sw_slab_entry_kind(slab, entry) == SW_BUFFER || strncmp(own, "classifier", 10) == 0 || strncmp(own, "instance_classifiers.", 21) == 0;
}

/* Do they differ only in the number of classes? */
static bool same_but_classes(const sw_shape *have, const sw_shape *need, int classes)
{
    if (have->rank != need->rank) return false;
    for (int i = 0; i < need->rank; i++)
        if (have->dim[i] != need->dim[i] && need->dim[i] != classes) return false;
    return true;
}

static sw_status each_aggregator_entry(sw_model *model, const sw_weights *w, bool set, int *taken, sw_error *err)
{
    const sw_slab *slab = sw_model_slab(model);
    const sw_model_options *o = sw_model_get_options(model);
    *taken = 0;
    for (int i = 0; i < sw_slab_entries(slab); i++) {
        if (strcmp(sw_slab_group(slab, i), "mil") != 0) continue;
        const char *own = sw_slab_name(slab, i) + strlen(aggregator_prefix);
        int64_t at = find_part(w, own);
        if (at < 0 && may_lack(slab, i, own)) continue;
        if (at < 0)
            return sw_error_set(err, SW_E_FORMAT,
                                "%s: holds no tensor %s, which aggregator %s needs; give weights of that architecture or set aggregator.name",
                                sw_weights_path(w), own, o->aggregator);
        const sw_weight *found = sw_weights_get(w, (size_t)at);
        if (!sw_shape_equal(&found->shape, sw_slab_shape(slab, i))) {
            if (same_but_classes(&found->shape, sw_slab_shape(slab, i), o->mil.classes)) continue;
            return wrong_shape(model, w, found, i, err);
        }
        if (set) SW_TRY(set_entry(model, i, w, (size_t)at, err));
        ++*taken;
    }
    return SW_OK;
}

sw_status sw_model_load_aggregator(sw_model *model, const char *path, int *taken, sw_error *err)
{
    SW_CLEANUP(sw_weights_close_ptr) sw_weights *w = NULL;
    SW_TRY(sw_weights_open(path, &w, err));
    SW_TRY(each_aggregator_entry(model, w, false, taken, err)); /* a file that does not fit changes nothing */
    if (*taken == 0)
        return sw_error_set(err, SW_E_FORMAT, "%s: holds nothing of aggregator %s; give weights of that architecture or set aggregator.name", path,
                            sw_model_get_options(model)->aggregator);
    return each_aggregator_entry(model, w, true, taken, err);
}

/* --- options */

static const char no_encoder[] = "none";
static const char *const act_names[] = {"none", "relu", "gelu"};
static const char *const norm_names[] = {"none", "ln"};
static const char *const pos_names[] = {"auto", "none", "ppeg", "sincos"};
static const char *const pool_names[] = {"attn", "mean", "max"};
static const char *const distill_names[] = {"afs", "maxs", "maxmins", "mas"};
static const char *const plus_names[] = {"off", "fixed", "learnable"};

sw_status sw_model_options_json(const sw_model_options *o, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_json_writer w;
    sw_json_begin(&w, &buf, 0);
    sw_json_object(&w);
    sw_json_put_string(&w, "encoder", o->encoder);
    sw_json_put_string(&w, "aggregator", o->aggregator);
    if (strcmp(o->encoder, no_encoder) == 0) sw_json_put_int(&w, "input_dim", o->mil.input_dim);
    sw_json_put_bool(&w, "frozen", o->frozen);
    if (o->batch_stats) sw_json_put_bool(&w, "batch_stats", true);
    sw_json_put_int(&w, "inner_dim", o->mil.inner_dim);
    sw_json_put_int(&w, "classes", o->mil.classes);
    sw_json_put_int(&w, "heads", o->mil.heads);
    sw_json_put_number(&w, "dropout", o->mil.dropout);
    sw_json_put_string(&w, "act", act_names[o->mil.act]);
    sw_json_put_string(&w, "norm", norm_names[o->mil.norm]);
    sw_json_put_bool(&w, "bias", o->mil.bias);
    sw_json_put_bool(&w, "attn_bias", o->mil.attn_bias);
    sw_json_put_string(&w, "attn_plus", plus_names[o->mil.attn_plus]);
    sw_json_put_number(&w, "alpha", o->mil.alpha);
    sw_json_put_bool(&w, "ffn", o->mil.ffn);
    sw_json_put_number(&w, "attn_hidden", o->mil.attn_hidden);
    if (o->mil.attn_gated) sw_json_put_bool(&w, "attn_gated", true);
    sw_json_put_bool(&w, "embed_new", o->mil.embed_new);
    sw_json_put_int(&w, "hidden", o->mil.hidden);
    sw_json_put_int(&w, "layers", o->mil.layers);
    sw_json_put_string(&w, "pos", pos_names[o->mil.pos]);
    sw_json_put_int(&w, "regions", o->mil.regions);
    sw_json_put_int(&w, "epeg", o->mil.epeg);
    sw_json_put_int(&w, "crmsa", o->mil.crmsa);
    sw_json_put_int(&w, "crmsa_heads", o->mil.crmsa_heads);
    sw_json_put_bool(&w, "subtyping", o->mil.subtyping);
    sw_json_put_bool(&w, "instance_ce", o->mil.instance_ce);
    sw_json_put_int(&w, "instances", o->mil.instances);
    sw_json_put_number(&w, "bag_weight", o->mil.bag_weight);
    sw_json_put_bool(&w, "shortcut", o->mil.shortcut);
    sw_json_put_bool(&w, "cross_bag", o->mil.cross_bag);
    sw_json_put_int(&w, "topk", o->mil.topk);
    sw_json_put_int(&w, "blocks", o->mil.blocks);
    sw_json_put_int(&w, "state", o->mil.state);
    sw_json_put_int(&w, "canvas_rows", o->mil.canvas_rows);
    sw_json_put_int(&w, "canvas_columns", o->mil.canvas_columns);
    sw_json_put_string(&w, "pool", pool_names[o->mil.pool]);
    sw_json_put_bool(&w, "gate_dot", o->mil.gate_dot);
    sw_json_put_int(&w, "groups", o->mil.groups);
    sw_json_put_string(&w, "distill", distill_names[o->mil.distill]);
    sw_json_put_bool(&w, "shuffle", o->mil.shuffle);
    sw_json_put_int(&w, "organ", o->mil.organ);
    sw_json_put_int(&w, "dilations", o->mil.dilations);
    sw_json_put_int(&w, "segment_first", o->mil.segment_first);
    sw_json_put_int(&w, "segment_last", o->mil.segment_last);
    sw_json_end_object(&w);
    SW_TRY(sw_buf_status(&buf, err));
    *text = sw_steal_(&buf.data);
    return SW_OK;
}

static bool choose(const sw_json *root, const char *key, const char *const *names, int n, int *out)
{
    const char *text = sw_json_text(sw_json_get(root, key), "");
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

static const char *known_encoder(const char *name)
{
    if (strcmp(name, no_encoder) == 0) return no_encoder;
    for (size_t i = 0; i < sw_encoder_kinds(); i++)
        if (strcmp(sw_encoder_kind(i)->name, name) == 0) return sw_encoder_kind(i)->name;
    return NULL;
}

static const char *known_aggregator(const char *name)
{
    for (size_t i = 0; i < sw_aggregator_kinds(); i++)
        if (strcmp(sw_aggregator_kind(i)->name, name) == 0) return sw_aggregator_kind(i)->name;
    return NULL;
}

sw_status sw_model_options_parse(const char *text, const char *name, sw_model_options *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *r = NULL;
    sw_model_options o = sw_model_options_default();
    int act = 0, norm = 0, plus = 0, pos = 0, pool = 0, distill = 0; /* models made before there was a choice of pos, pool and distill do not say it */
    SW_TRY(sw_json_parse(text, strlen(text), name, &r, err));
    o.encoder = known_encoder(sw_json_text(sw_json_get(r, "encoder"), ""));
    o.aggregator = known_aggregator(sw_json_text(sw_json_get(r, "aggregator"), ""));
    if (!o.encoder || !o.aggregator || !choose(r, "act", act_names, 3, &act) || !choose(r, "norm", norm_names, 2, &norm) ||
        !choose(r, "attn_plus", plus_names, 3, &plus) || (sw_json_get(r, "pos") && !choose(r, "pos", pos_names, 4, &pos)) ||
        (sw_json_get(r, "pool") && !choose(r, "pool", pool_names, 3, &pool)) ||
        (sw_json_get(r, "distill") && !choose(r, "distill", distill_names, 4, &distill)))
        return sw_error_set(err, SW_E_UNSUPPORTED, "%s: made by a version of slidewise with other models (%s, %s)", name,
                            sw_json_text(sw_json_get(r, "encoder"), "?"), sw_json_text(sw_json_get(r, "aggregator"), "?"));
    o.frozen = sw_json_truth(sw_json_get(r, "frozen"), false);
    o.batch_stats = sw_json_truth(sw_json_get(r, "batch_stats"), false);
    o.mil.input_dim = (int)sw_json_integer(sw_json_get(r, "input_dim"), 0); /* where there is no encoder to tell it */
    o.mil.inner_dim = (int)sw_json_integer(sw_json_get(r, "inner_dim"), 0);
    o.mil.classes = (int)sw_json_integer(sw_json_get(r, "classes"), 0);
    o.mil.heads = (int)sw_json_integer(sw_json_get(r, "heads"), 0);
    o.mil.dropout = sw_json_real(sw_json_get(r, "dropout"), 0.0);
    o.mil.act = (sw_mil_act)act;
    o.mil.norm = (sw_mil_norm)norm;
    o.mil.attn_plus = (sw_attn_plus)plus;
    o.mil.bias = sw_json_truth(sw_json_get(r, "bias"), true);
    o.mil.attn_bias = sw_json_truth(sw_json_get(r, "attn_bias"), false);
    o.mil.alpha = sw_json_real(sw_json_get(r, "alpha"), 1.0);
    o.mil.ffn = sw_json_truth(sw_json_get(r, "ffn"), false);
    o.mil.attn_hidden = sw_json_real(sw_json_get(r, "attn_hidden"), 0.0);
    o.mil.attn_gated = sw_json_truth(sw_json_get(r, "attn_gated"), false);
    o.mil.embed_new = sw_json_truth(sw_json_get(r, "embed_new"), false);
    o.mil.hidden = (int)sw_json_integer(sw_json_get(r, "hidden"), 0);
    o.mil.layers = (int)sw_json_integer(sw_json_get(r, "layers"), o.mil.layers);
    o.mil.pos = (sw_mil_pos)pos;
    o.mil.regions = (int)sw_json_integer(sw_json_get(r, "regions"), o.mil.regions);
    o.mil.epeg = (int)sw_json_integer(sw_json_get(r, "epeg"), o.mil.epeg);
    o.mil.crmsa = (int)sw_json_integer(sw_json_get(r, "crmsa"), o.mil.crmsa);
    o.mil.crmsa_heads = (int)sw_json_integer(sw_json_get(r, "crmsa_heads"), o.mil.crmsa_heads);
    o.mil.subtyping = sw_json_truth(sw_json_get(r, "subtyping"), false);
    o.mil.instance_ce = sw_json_truth(sw_json_get(r, "instance_ce"), false);
    o.mil.instances = (int)sw_json_integer(sw_json_get(r, "instances"), o.mil.instances);
    o.mil.bag_weight = sw_json_real(sw_json_get(r, "bag_weight"), o.mil.bag_weight);
    o.mil.shortcut = sw_json_truth(sw_json_get(r, "shortcut"), false);
    o.mil.cross_bag = sw_json_truth(sw_json_get(r, "cross_bag"), false);
    o.mil.blocks = (int)sw_json_integer(sw_json_get(r, "blocks"), o.mil.blocks);
    o.mil.state = (int)sw_json_integer(sw_json_get(r, "state"), o.mil.state);
    o.mil.canvas_rows = (int)sw_json_integer(sw_json_get(r, "canvas_rows"), 0);
    o.mil.canvas_columns = (int)sw_json_integer(sw_json_get(r, "canvas_columns"), 0);
    o.mil.topk = (int)sw_json_integer(sw_json_get(r, "topk"), o.mil.topk);
    o.mil.pool = (sw_mil_pool)pool;
    o.mil.gate_dot = sw_json_truth(sw_json_get(r, "gate_dot"), false);
    o.mil.groups = (int)sw_json_integer(sw_json_get(r, "groups"), o.mil.groups);
    o.mil.distill = (sw_mil_distill)distill;
    o.mil.shuffle = sw_json_truth(sw_json_get(r, "shuffle"), true);
    o.mil.organ = (int)sw_json_integer(sw_json_get(r, "organ"), o.mil.organ);
    o.mil.dilations = (int)sw_json_integer(sw_json_get(r, "dilations"), o.mil.dilations);
    o.mil.segment_first = (int)sw_json_integer(sw_json_get(r, "segment_first"), o.mil.segment_first);
    o.mil.segment_last = (int)sw_json_integer(sw_json_get(r, "segment_last"), o.mil.segment_last);
    *out = o;
    return SW_OK;
}
