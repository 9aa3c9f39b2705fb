/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SW_DATASET_CLASSES_H
#define SW_DATASET_CLASSES_H

#include "dataset/dataset_internal.h"

/* Fills n_classes and class_name. */
sw_status sw_dataset_classes(const sw_config *config, const sw_label_table *table, sw_dataset *ds, sw_error *err)
    SW_MUST_CHECK;
/* The class of a row; an unknown one is refused with file, line and the classes there are. */
sw_status sw_dataset_class_of(const sw_dataset *ds, const sw_label_table *table, const sw_label_row *row, int *out,
                              sw_error *err) SW_MUST_CHECK;

#endif
