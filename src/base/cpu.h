/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine, and the container around us, grant this process. See also sw_cpu_count in thread.h. */
#ifndef SW_BASE_CPU_H
#define SW_BASE_CPU_H

#include <stdbool.h>
#include <stdint.h>

int64_t sw_memory_bytes(void);           /* of the machine, or of the control group if that is less; 0: unknown */
/* Not in use now: what the machine has to give, and no more than its control group still may take (file caches count as
 * free). 0: unknown. */
int64_t sw_memory_available_bytes(void);

/* Resident memory of this process. */
typedef struct sw_process_memory {
    int64_t now, peak;   /* all of it, mapped files too; 0: unknown */
    int64_t own;         /* without the pages of mapped files, which the system takes back as it needs; 0: unknown */
} sw_process_memory;
sw_process_memory sw_process_memory_now(void);

/* Whether this CPU multiplies bfloat16 itself (x86: AVX512_BF16 or AMX-BF16; nothing is known of others). */
bool sw_cpu_has_bf16(void);

#endif
