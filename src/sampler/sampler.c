/* SPDX-License-Identifier: Apache-2.0 */
#include "sampler/sampler.h"

#include <math.h>

#include "base/mem.h"
#include "base/rng.h"

static sw_status check_patches(int64_t patches, int n_scales, sw_error *err)
{
    if (patches < 1) {
        return sw_error_set(err, SW_E_INVALID, "bag.patches: %lld; a bag needs at least 1 patch", (long long)patches);
    }
    if (n_scales < 1 || n_scales > SW_CONFIG_MAX_SCALES) {
        return sw_error_set(err, SW_E_INVALID, "bag.scales: %d scales; allowed: 1 to %d", n_scales, SW_CONFIG_MAX_SCALES);
    }
    return SW_OK;
}

sw_status sw_sample_plan_reference(int64_t patches, double divisor, int n_scales, sw_sample_plan *out, sw_error *err)
{
    SW_TRY(check_patches(patches, n_scales, err));
    if (n_scales > 2) {
        return sw_error_set(err, SW_E_INVALID, "bag.scale_rule 'reference' knows one or two scales, not %d; set it to shares and give each of bag.scales a share",
                            n_scales);
    }
    if (!(divisor >= 1)) return sw_error_set(err, SW_E_INVALID, "bag.divisor: %g; it must be at least 1", divisor);
    *out = (sw_sample_plan){.n_scales = n_scales, .total = patches};
    out->n[0] = patches;
    if (n_scales == 2) {
        out->n[0] = (int64_t)floor((double)patches / divisor);
        out->n[1] = patches - out->n[0];
    }
    return SW_OK;
}

sw_status sw_sample_plan_shares(int64_t patches, int n_scales, const double *share, sw_sample_plan *out, sw_error *err)
{
    SW_TRY(check_patches(patches, n_scales, err));
    double sum = 0, rest[SW_CONFIG_MAX_SCALES];
    for (int s = 0; s < n_scales; s++) {
        if (!(share[s] > 0) || !isfinite(share[s])) {
            return sw_error_set(err, SW_E_INVALID, "bag.scales: share %g; every share must be above 0", share[s]);
        }
        sum += share[s];
    }
    *out = (sw_sample_plan){.n_scales = n_scales, .total = patches};
    int64_t left = patches;
    for (int s = 0; s < n_scales; s++) {
        double exact = (double)patches * (share[s] / sum);
        out->n[s] = (int64_t)floor(exact + 1e-9); /* 0.1 + 0.2 must not cost a patch */
        rest[s] = exact - (double)out->n[s];
        left -= out->n[s];
    }
    for (; left > 0; left--) {
        int best = 0;
        for (int s = 1; s < n_scales; s++) {
            if (rest[s] > rest[best] + 1e-9) best = s;
        }
        out->n[best]++;
        rest[best] -= 1;
    }
    return SW_OK;
}

/* `want` of `count` in random order: the first steps of a Fisher-Yates shuffle. */
static sw_status draw_some(sw_rng *rng, int64_t count, int64_t want, int64_t scale, sw_pick *out, sw_error *err)
{
    SW_AUTOFREE int64_t *index = sw_malloc((size_t)count * sizeof(*index));
    if (!index) return sw_nomem(err);
    for (int64_t i = 0; i < count; i++) index[i] = i;
    for (int64_t i = 0; i < want; i++) {
        int64_t j = i + (int64_t)sw_rng_below(rng, (uint64_t)(count - i)), chosen = index[j];
        index[j] = index[i];
        out[i] = (sw_pick){.scale = scale, .patch = chosen};
    }
    return SW_OK;
}

sw_status sw_sample_bag(const sw_sample_plan *plan, const int64_t *count, bool pad, uint64_t seed, uint32_t epoch,
                        uint32_t bag, sw_pick *out, int64_t *n_out, sw_error *err)
{
    int64_t n = 0;
    for (int s = 0; s < plan->n_scales; s++) {
        int64_t want = plan->n[s], have = count[s];
        if (want == 0) continue;
        if (have < 1) return sw_error_set(err, SW_E_INVALID, "no patch at scale %d, of which %lld are asked", s + 1, (long long)want);
        if (have > want) {
            sw_rng rng = sw_rng_stream(seed, SW_RNG_SAMPLE, epoch, bag, (uint32_t)s);
            SW_TRY(draw_some(&rng, have, want, s, out + n, err));
            n += want;
            continue;
        }
        for (int64_t i = 0; i < have; i++) out[n++] = (sw_pick){.scale = s, .patch = i};
        if (!pad) continue;
        sw_rng rng = sw_rng_stream(seed, SW_RNG_PAD, epoch, bag, (uint32_t)s);
        for (int64_t i = have; i < want; i++) {
            out[n++] = (sw_pick){.scale = s, .patch = (int64_t)sw_rng_below(&rng, (uint64_t)have)};
        }
    }
    *n_out = n;
    return SW_OK;
}

void sw_sample_order(uint64_t seed, uint32_t epoch, int64_t *index, int64_t n)
{
    sw_rng rng = sw_rng_stream(seed, SW_RNG_SHUFFLE, epoch, 0, 0);
    sw_rng_shuffle(&rng, index, (size_t)n);
}

int64_t sw_sample_steps(int64_t n, int64_t batch, bool drop_last)
{
    if (n <= 0) return 0;
    if (n < batch) return 1;
    return drop_last ? n / batch : (n + batch - 1) / batch;
}
