/* SPDX-License-Identifier: Apache-2.0 */
/* A slide that is written in several transactions, since it is larger than one may hold in memory. Until its last one its records are
 * of no slide, and a record of its own says so:
 *   "w" slide:u32        nothing
 * What a killed writer leaves of it is taken away by the next one. */
#ifndef SW_STORE_BEGUN_H
#define SW_STORE_BEGUN_H

#include "store/record.h"

/* Within a transaction. */
sw_status sw_begun_put(sw_kv *kv, uint32_t number, sw_error *err) SW_MUST_CHECK;
sw_status sw_begun_remove(sw_kv *kv, uint32_t number, sw_error *err) SW_MUST_CHECK;
/* Takes away all that begun slides have left, in transactions of its own. */
sw_status sw_begun_clean(sw_kv *kv, sw_error *err) SW_MUST_CHECK;
/* How many records belong to begun slides. Readers only. */
sw_status sw_begun_count(sw_kv *kv, int64_t *n_records, sw_error *err) SW_MUST_CHECK;

#endif
