/* SPDX-License-Identifier: Apache-2.0 */
/* Models in files: published names, so that PyTorch reads what we write and the other way round. */
#ifndef SW_MODEL_MODEL_IO_H
#define SW_MODEL_MODEL_IO_H

#include "model/model.h"
#include "weights/weights.h"

/* Adds every entry under `prefix` and its name, and for each batch norm the integer num_batches_tracked (`steps`). */
sw_status sw_model_put(const sw_model *model, const char *prefix, int64_t steps, sw_weights_writer *writer,
                       sw_error *err) SW_MUST_CHECK;
/* Sets every entry from `prefix` and its name. A missing tensor or another shape is an error that names it. */
sw_status sw_model_get(sw_model *model, const char *prefix, const sw_weights *weights, sw_error *err) SW_MUST_CHECK;

/* The options as JSON text (owned by the caller), and back: what a checkpoint keeps to build its model again. */
sw_status sw_model_options_json(const sw_model_options *options, char **text, sw_error *err) SW_MUST_CHECK;
/* Texts in *out are borrowed from static tables. */
sw_status sw_model_options_parse(const char *text, const char *name_for_errors, sw_model_options *out, sw_error *err)
    SW_MUST_CHECK;

/* Encoder weights of a published file: prefixes of training frameworks are removed, children named by their places
 * (resnet_head.4, as C2C's files have it) known, and what the encoder lacks (fc, layer4 of one that is cut) left out. A missing
 * tensor, another shape, or a tensor that the encoder lacks in a part that it has (layer1.2 of a ResNet-34 for resnet18) is
 * an error that names it, and the model stays as it was. */
sw_status sw_model_load_encoder(sw_model *model, const char *path, sw_error *err) SW_MUST_CHECK;
/* The same for the aggregator, by its own names (docs/weights.md): *taken is how many entries the file gave. Classifiers that the file
 * lacks or has for another number of classes, and buffers that it lacks, stay as they are; anything else is an error. */
sw_status sw_model_load_aggregator(sw_model *model, const char *path, int *taken, sw_error *err) SW_MUST_CHECK;

#endif
