/* SPDX-License-Identifier: Apache-2.0 */
/* For tests that make the library's allocations fail, one after the other: a store of tiny slides, and the loop over the
 * allocations. What third-party libraries (oneDNN, LMDB, libjpeg) allocate does not pass through base/mem.h and is not made
 * to fail. */
#ifndef SW_TESTS_ALLOC_H
#define SW_TESTS_ALLOC_H

#include "test.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/store.h"
#include "tiny_slide.h"

enum { PX = 16, PATCHES = 4, SLIDES = 3 };

static sw_error err;

/* Calls with allocation `from` failing, then `from + stride`, and so on until none fails any more: the error is returned
 * and nothing leaks. `after` (may be NULL) is called behind each failure. SW_TEST_EVERY=1 in the environment: all of them,
 * whatever the stride. */
typedef struct alloc_loop {
    const char *what;
    sw_status (*call)(void *ctx);
    bool (*after)(void *ctx, int64_t k);
    void *ctx;
    int64_t from, stride, to; /* to: the last one that is tried; 0: no end */
    int64_t most; /* set: the first allocation that is not there */
} alloc_loop;

static inline bool survive(alloc_loop *l)
{
    if (getenv("SW_TEST_EVERY")) l->stride = 1;
    for (int64_t k = l->from;; k += l->stride) {
        int64_t before = sw_mem_live();
        err = (sw_error){0};
        sw_mem_fail_after(k);
        sw_status status = l->call(l->ctx);
        sw_mem_fail_after(0);
        l->most = k;
        if (status == SW_OK) return true;
        if (status != SW_E_NOMEM || err.code != SW_E_NOMEM)
            return sw_test_fail(__FILE__, __LINE__, "%s, allocation %lld: %s", l->what, (long long)k, err.message);
        if (sw_mem_live() != before)
            return sw_test_fail(__FILE__, __LINE__, "%s, allocation %lld: %lld blocks leak", l->what, (long long)k,
                                (long long)(sw_mem_live() - before));
        if (l->after && !l->after(l->ctx, k)) return false;
        if (l->to > 0 && k + l->stride > l->to) return true;
    }
}

/* STORE with slides s0, s1 (training) and s2 (validation) and LABELS in the folder of this test. */
static inline sw_status make_world(char *store, char *labels, size_t size)
{
    static const sw_store_setting_pair settings[] = {{"mpp_um", "1"}, {"patch_px", "16"}, {"overlap_px", "0"},
                                                     {"quality", "95"}, {"whole_image", "yes"}};
    static const char table[] = "slide,label,split\ns0,a,train\ns1,b,train\ns2,a,val\n";
    sw_store_writer *w = NULL;
    snprintf(store, size, "%s/store", sw_test_dir());
    snprintf(labels, size, "%s/labels.csv", sw_test_dir());
    SW_TRY(sw_file_write(labels, table, strlen(table), &err));
    SW_TRY(sw_store_writer_open(store, settings, 5, &w, &err));
    sw_status status = SW_OK;
    for (int i = 0; i < SLIDES && status == SW_OK; i++) status = tiny_slide(w, i, PATCHES, PX, &err);
    sw_store_writer_close(&w);
    return status;
}

#endif
