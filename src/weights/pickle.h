/* SPDX-License-Identifier: Apache-2.0 */
/* A pickle machine that builds a tree of values and never runs anything: an object that Python would import is only
 * noted, by name, and only if it is one of the few that a PyTorch checkpoint of tensors needs. */
#ifndef SW_WEIGHTS_PICKLE_H
#define SW_WEIGHTS_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "slidewise/error.h"
#include "tensor/tensor.h"

typedef enum sw_pickle_kind {
    SW_PICKLE_NONE,
    SW_PICKLE_BOOL,   /* number */
    SW_PICKLE_INT,    /* number */
    SW_PICKLE_LONG,   /* an integer of more than 64 bits: text, little-endian */
    SW_PICKLE_FLOAT,  /* its value is not kept */
    SW_PICKLE_TEXT,   /* text: str or bytes, not terminated */
    SW_PICKLE_TUPLE,  /* item */
    SW_PICKLE_LIST,   /* item */
    SW_PICKLE_DICT,   /* item: key, value, key, value … (also OrderedDict) */
    SW_PICKLE_GLOBAL, /* global */
    SW_PICKLE_CALL,   /* global, and the arguments in item */
    SW_PICKLE_PERSISTENT, /* item: what identifies an object outside the pickle (a storage) */
    SW_PICKLE_MARK    /* inside the machine only */
} sw_pickle_kind;

typedef enum sw_pickle_role {
    SW_ROLE_DICT,      /* collections.OrderedDict */
    SW_ROLE_TENSOR,    /* torch._utils._rebuild_tensor, _rebuild_tensor_v2 */
    SW_ROLE_PARAMETER, /* torch._utils._rebuild_parameter */
    SW_ROLE_STORAGE,   /* torch.FloatStorage …: dtype */
    SW_ROLE_SIZE,      /* torch.Size */
    SW_ROLE_IGNORED    /* torch.device: no tensor, and harmless */
} sw_pickle_role;

typedef struct sw_pickle_global {
    const char *name; /* "torch.FloatStorage" */
    sw_pickle_role role;
    sw_dtype dtype;
} sw_pickle_global;

typedef struct sw_pickle_value sw_pickle_value;
struct sw_pickle_value {
    sw_pickle_kind kind;
    int64_t number;
    const char *text; /* borrowed from the bytes that were read */
    size_t size;      /* of text */
    const sw_pickle_global *global;
    sw_pickle_value **item; /* values shared within the tree; a list may even hold itself */
    size_t count, capacity;
};

typedef struct sw_pickle {
    sw_pickle_value *root;
    sw_pickle_value **value; /* all values; owned */
    size_t count, capacity;
    size_t used;             /* bytes of the input, up to and with its end mark */
} sw_pickle;

/* Reads one pickle at the start of `bytes`, which must outlive *out. `path` is for messages. *out must be zeroed and is
 * freed by the caller also after a failure. */
sw_status sw_pickle_read(const uint8_t *bytes, size_t size, const char *path, sw_pickle *out, sw_error *err)
    SW_MUST_CHECK;
void sw_pickle_free(sw_pickle *pickle);

bool sw_pickle_is_text(const sw_pickle_value *value, const char *text);

#endif
