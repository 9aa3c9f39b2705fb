/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine, and the container around us, grant this process. See also sw_cpu_count in thread.h. */
#ifndef SW_BASE_CPU_H
#define SW_BASE_CPU_H

#include <stdint.h>

int64_t sw_memory_bytes(void);           /* of the machine, or of the control group if that is less; 0: unknown */
int64_t sw_memory_available_bytes(void); /* not in use now; never more than sw_memory_bytes(); 0: unknown */

#endif
