/* SPDX-License-Identifier: Apache-2.0 */
/* Work in pieces that do not depend on the number of threads. oneDNN plans a primitive for the threads it will run
 * on, and the plan decides the order of additions: here every primitive is planned for one thread and runs on one,
 * and the threads take pieces. Each has an own door to oneDNN (its scratch memory and memory objects), a lane. */
#ifdef _OPENMP
#include <omp.h>
#endif

#include "backend/cpu/cpu_internal.h"
#include "base/mem.h"

int sw_cpu_thread(void)
{
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

sw_status sw_cpu_lanes_new(sw_cpu *cpu, sw_error *err)
{
    cpu->lane = sw_calloc((size_t)cpu->base.threads, sizeof(sw_dnn *));
    if (!cpu->lane) return sw_nomem(err);
    for (int i = 0; i < cpu->base.threads; i++) SW_TRY(sw_dnn_new(1, &cpu->lane[i], err));
    return SW_OK;
}

void sw_cpu_lanes_trim(sw_cpu *cpu)
{
    for (int i = 0; cpu->lane && i < cpu->base.threads; i++) sw_dnn_trim(cpu->lane[i]);
}

void sw_cpu_lanes_free(sw_cpu *cpu)
{
    for (int i = 0; cpu->lane && i < cpu->base.threads; i++) sw_dnn_free(cpu->lane[i]);
    sw_free(cpu->lane);
    cpu->lane = NULL;
}

sw_status sw_cpu_pieces(sw_cpu *cpu, int64_t count, sw_cpu_piece_fn run, void *ctx, sw_error *err)
{
    sw_status worst = SW_OK;
    int64_t worst_piece = count; /* of several errors the first piece's is told */
#pragma omp parallel for schedule(dynamic) num_threads(cpu->base.threads) if (count > 1)
    for (int64_t piece = 0; piece < count; piece++) {
        sw_error mine = {.code = SW_OK};
        sw_status status = run(cpu->lane[sw_cpu_thread()], ctx, piece, &mine);
        if (status == SW_OK) continue;
#pragma omp critical(sw_cpu_pieces_error)
        if (piece < worst_piece) {
            worst = status;
            worst_piece = piece;
            if (err) *err = mine;
        }
    }
    return worst;
}
