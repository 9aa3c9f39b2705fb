/* SPDX-License-Identifier: Apache-2.0 */
/* The patches of a slide, some at a time: read, looked at, encoded, or taken over as the slide has them. */
#include "base/mem.h"
#include "slide/slide_patches.h"
#include "store/tile_work.h"

void sw_tile_chunk_free(sw_tile_chunk *chunk)
{
    if (!chunk) return;
    for (int i = 0; i < chunk->count; i++) sw_image_bytes_free(chunk->jpeg[i]);
    sw_free(chunk);
}

static void chunk_free_ptr(sw_tile_chunk **chunk)
{
    sw_tile_chunk_free(*chunk);
    *chunk = NULL;
}

typedef struct encoder {
    sw_tile_job *job;
    sw_tile_chunk *chunk;
    int n; /* patches that are read */
    int index[SW_TILE_CHUNK];
    int64_t xy[2 * SW_TILE_CHUNK];
    int64_t since_ns; /* end of the last encoding */
} encoder;

static const sw_grid *grid_of(const encoder *e)
{
    return &e->job->grid[e->chunk->scale];
}

/* Takes the slide's own tile where patch `i` is one. */
static bool pass_through(const encoder *e, int i)
{
    const sw_tile_settings *s = &e->job->run->options->settings;
    const sw_grid *grid = grid_of(e);
    if (!s->passthrough) return false;
    e->chunk->jpeg[i] = sw_slide_patch_jpeg(e->job->slide, grid->xy + 2 * (e->chunk->first + i), s->patch_px, grid->mpp_um, &e->chunk->size[i]);
    e->chunk->passed[i] = e->chunk->jpeg[i] != NULL;
    return e->chunk->passed[i];
}

static sw_status encode_patch(void *ctx, int at, const uint8_t *rgb, sw_error *err)
{
    encoder *e = ctx;
    const sw_tile_settings *s = &e->job->run->options->settings;
    int i = e->index[at];
    int64_t read = sw_now_ns();
    bool kept = sw_tile_fates_judge(&e->job->fates, e->chunk->scale, e->chunk->first + i, rgb, s->patch_px, &s->artefacts) == SW_LEFT_NOT;
    if (kept && !pass_through(e, i)) {
        SW_TRY(sw_jpeg_encode(rgb, s->patch_px, s->patch_px, s->quality, &e->chunk->jpeg[i], &e->chunk->size[i], err));
    }
    int64_t end = sw_now_ns();
    atomic_fetch_add(&e->job->run->read_ns, read - e->since_ns);
    atomic_fetch_add(&e->job->run->encode_ns, end - read);
    e->since_ns = end;
    return SW_OK;
}

static sw_status note_bad(void *ctx, int at, const sw_error *why, sw_error *err)
{
    encoder *e = ctx;
    int64_t index = e->chunk->first + e->index[at];
    return sw_tile_fates_unreadable(&e->job->fates, e->chunk->scale, index, grid_of(e)->xy + 2 * index, why, err);
}

/* Those that must be read; where artefacts are looked for, all of them. */
static void choose(encoder *e)
{
    bool look = sw_artefact_options_any(&e->job->run->options->settings.artefacts);
    const int64_t *xy = grid_of(e)->xy + 2 * e->chunk->first;
    for (int i = 0; i < e->chunk->count; i++) {
        if (!look && pass_through(e, i)) continue;
        e->xy[2 * e->n] = xy[2 * i];
        e->xy[2 * e->n + 1] = xy[2 * i + 1];
        e->index[e->n++] = i;
    }
}

sw_status sw_tile_job_chunk(sw_tile_job *job, int64_t index, sw_tile_chunk **out, sw_error *err)
{
    size_t side = (size_t)job->run->options->settings.patch_px;
    SW_CLEANUP(chunk_free_ptr) sw_tile_chunk *chunk = sw_calloc(1, sizeof *chunk);
    SW_AUTOFREE uint8_t *rgb = sw_malloc(3 * side * side);
    if (!chunk || !rgb) return sw_nomem(err);
    while (index >= job->chunks_before[chunk->scale + 1]) chunk->scale++;
    chunk->first = (index - job->chunks_before[chunk->scale]) * SW_TILE_CHUNK;
    int64_t left = job->grid[chunk->scale].n_patches - chunk->first;
    chunk->count = left < SW_TILE_CHUNK ? (int)left : SW_TILE_CHUNK;
    encoder e = {.job = job, .chunk = chunk, .since_ns = sw_now_ns()};
    choose(&e);
    SW_TRY(sw_slide_read_patches(job->slide, e.xy, e.n, (int)side, grid_of(&e)->mpp_um, rgb, encode_patch, note_bad, &e, err));
    *out = SW_STEAL(chunk);
    return SW_OK;
}
