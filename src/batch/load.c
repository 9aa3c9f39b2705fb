/* SPDX-License-Identifier: Apache-2.0 */
#include "batch/load.h"

#include "encoder/normalise.h"

sw_timer sw_timer_start(void)
{
    return (sw_timer){.last_ns = sw_now_ns()};
}

void sw_timer_lap(sw_timer *timer, int64_t *counter)
{
    int64_t now = sw_now_ns();
    *counter += now - timer->last_ns;
    timer->last_ns = now;
}

void sw_timer_add(sw_batch_timing *timing, const sw_timer *timer)
{
    __atomic_fetch_add(&timing->read_ns, timer->read_ns, __ATOMIC_RELAXED);
    __atomic_fetch_add(&timing->decode_ns, timer->decode_ns, __ATOMIC_RELAXED);
    __atomic_fetch_add(&timing->augment_ns, timer->augment_ns, __ATOMIC_RELAXED);
}

const char *sw_batch_timing_limit(const sw_batch_timing *t)
{
    if (t->read_ns > t->decode_ns && t->read_ns > t->augment_ns) return "reading";
    return t->decode_ns >= t->augment_ns ? "decoding" : "augmenting";
}

sw_pixel_rule sw_pixel_rule_of(sw_channel_order order)
{
    sw_pixel_rule rule = {.swap = order == SW_CHANNELS_BGR_AS_REFERENCE};
    sw_normalise(rule.scale, rule.offset);
    return rule;
}

sw_status sw_pixels_to_planes(const sw_pixel_rule *rule, uint8_t *rgb, int patch_px, const sw_crop *crop, int px,
                              float *planes, sw_error *err)
{
    int64_t n = (int64_t)patch_px * patch_px;
    for (int64_t i = 0; rule->swap && i < n; i++) {
        uint8_t red = rgb[3 * i];
        rgb[3 * i] = rgb[3 * i + 2];
        rgb[3 * i + 2] = red;
    }
    return sw_resize_crop(rgb, patch_px, patch_px, crop, px, px, rule->scale, rule->offset, planes, err);
}
