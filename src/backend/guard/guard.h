/* SPDX-License-Identifier: Apache-2.0 */
/* The guard backend: the reference kernels with every tensor in pages of its own that nobody may touch.
 * Only while a kernel (or an upload or a download) runs are the storages its arguments name opened:
 * what it reads for reading, what it writes for writing. Each storage ends where an untouchable page
 * begins, so that one element too far is a fault. For tests; from one thread at a time. */
#ifndef SW_BACKEND_GUARD_GUARD_H
#define SW_BACKEND_GUARD_GUARD_H

#include "backend/backend.h"

sw_status sw_guard_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err) SW_MUST_CHECK;

/* The kernel that runs behind the guard of `op`; tests put a broken one there. */
sw_kernels *sw_guard_inner(sw_backend *guard, sw_op_id op);

#endif
