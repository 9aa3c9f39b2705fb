/* SPDX-License-Identifier: Apache-2.0 */
/* What an open store is: one LMDB, several that are read as one, patches that stay on their slides, or features of them. */
#ifndef SW_STORE_STORE_PARTS_H
#define SW_STORE_STORE_PARTS_H

#include "store/features.h"
#include "store/kv.h"
#include "store/live.h"
#include "store/record.h"
#include "store/stores.h"

struct sw_store {
    char *path;           /* as it was named; NULL: that of `live` or `features` */
    sw_kv **kv;           /* [n_parts], all open as long as the store */
    sw_store_part *part;  /* [n_parts] */
    size_t n_parts;       /* 0: the patches stay on their slides, or are features */
    bool is_list;         /* the parts stand in a stores.json; false: there is one, the store itself */
    sw_live *live;        /* NULL: they are in the store, or there are */
    sw_features *features; /* in their place */
    sw_setting_list settings;
    sw_record_list slides;
};

/* Opens all that a list names, as one store. */
sw_status sw_store_open_stores(const sw_stores *list, const char *path, sw_store **out, sw_error *err) SW_MUST_CHECK;

#endif
