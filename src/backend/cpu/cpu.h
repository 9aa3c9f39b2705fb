/* SPDX-License-Identifier: Apache-2.0 */
/* The `cpu` backend: ref's kernel table with fast float32 overrides (oneDNN for convolutions and matrix
 * products, own vector kernels for the rest).
 *
 * Layouts: 0 is plain row-major. 1 is channel-blocked, [n, c/B, h, w, B] with B = 16 (AVX-512) or 8, only for
 * 4-D tensors whose channel count is a multiple of B, so that the byte size is the same. Convolutions write it;
 * batch norm, pools, ReLU and add keep it; every other op gets its inputs put back to plain first. A weight or
 * anything else that a parameter slab holds is always plain.
 *
 * Results are the same bits from run to run at a fixed number of threads; with `deterministic`, at any number. One
 * thread at a time may run kernels; tensors may be made and released from any thread. */
#ifndef SW_BACKEND_CPU_CPU_H
#define SW_BACKEND_CPU_CPU_H

#include "backend/backend.h"

sw_status sw_cpu_backend_new(const sw_backend_options *options, sw_backend **out, sw_error *err) SW_MUST_CHECK;

/* Gives cached free blocks and scratch memory back to the system. */
void sw_cpu_backend_trim(sw_backend *be);

#endif
