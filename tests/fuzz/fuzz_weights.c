/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a weight file: opening and reading must end with values or with a sentence.
 * Run: build-fuzz/tests/fuzz_weights -max_total_time=120 CORPUS tests/golden/weights */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "weights/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MOST = 1 << 16 }; /* elements to read: a view of stride 0 has any number of them */

static void read_values(const sw_weights *w)
{
    sw_error err;
    for (size_t i = 0; i < sw_weights_count(w); i++) {
        int64_t n = sw_shape_count(&sw_weights_get(w, i)->shape);
        if (n < 0) abort();
        if (n > MOST) continue;
        SW_AUTOFREE float *real = sw_malloc((size_t)n * sizeof *real + 1);
        SW_AUTOFREE int64_t *whole = sw_malloc((size_t)n * sizeof *whole + 1);
        bool is_real = sw_weights_read_f32(w, i, real, &err) == SW_OK;
        if ((sw_weights_read_i64(w, i, whole, &err) == SW_OK) == is_real) abort(); /* exactly one of them */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char path[] = "/proc/self/fd/";
    char name[64];
    sw_weights *w = NULL;
    sw_error err = {0};
    int fd = memfd_create("weights", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
    snprintf(name, sizeof name, "%s%d", path, fd);
    if (sw_weights_open(name, &w, &err) == SW_OK) {
        read_values(w);
        sw_weights_close(w);
    } else if (strncmp(err.message, path, sizeof path - 1) != 0 && err.code != SW_E_NOMEM) {
        abort(); /* no sentence that names the file */
    }
    close(fd);
    return sw_mem_live() == 0 ? 0 : (abort(), 0);
}
