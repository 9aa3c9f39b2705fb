/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as a table for a terminal. */
#include <math.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "slidewise/train.h"

/* "1.82 G" */
static const char *si(double value, char *out, size_t size)
{
    static const char *const unit[] = {"", " k", " M", " G", " T", " P"};
    int k = 0;
    while (value >= 1000.0 && k < 5) {
        value /= 1000.0;
        k++;
    }
    snprintf(out, size, "%.3g%s", value, unit[k]);
    return out;
}

static void put_bags(sw_buf *b, const sw_train_plan *p)
{
    sw_buf_printf(b, "bag            %lld patches, %lld %s a step\n", (long long)p->bag_patches, (long long)p->batch_bags,
                  p->batch_bags == 1 ? "bag" : "bags");
    if (p->train_bags < 0) {
        sw_buf_printf(b, "steps          not known; %lld epochs\n", (long long)p->epochs);
        return;
    }
    sw_buf_printf(b, "bags           %lld train", (long long)p->train_bags);
    sw_buf_printf(b, ", %lld val, %lld test", (long long)p->val_bags, (long long)p->test_bags);
    if (p->val_patches >= 0)
        sw_buf_printf(b, " (%lld and %lld patches)", (long long)p->val_patches, (long long)p->test_patches);
    sw_buf_printf(b, "\nsteps          %lld per epoch, %lld in %lld epochs\n", (long long)p->steps_per_epoch, (long long)p->steps,
                  (long long)p->epochs);
}

static void put_measured(sw_buf *b, const sw_train_plan *p)
{
    char text[32];
    if (isnan(p->memory_bytes)) {
        sw_buf_puts(b, "memory, time   not measured\n");
        return;
    }
    sw_buf_printf(b, "memory         about %s, with %lld patches at once in training\n",
                  sw_bytes_text((int64_t)p->memory_bytes, text, sizeof text), (long long)p->chunk_patches);
    sw_buf_printf(b, "speed          %.3g patches/s in training, %.3g in evaluation (%s, without loading)\n", p->train_patches_per_second,
                  p->eval_patches_per_second, p->device);
    if (p->eval_patches_per_second > 0.0)
        sw_buf_printf(b, "a slide        of 10 000 patches in about %.3g s (without loading)\n", 1e4 / p->eval_patches_per_second);
    if (isnan(p->hours)) return;
    sw_buf_printf(b, p->hours < 0.1 ? "time           about %.2g hours%s\n" : "time           about %.1f hours%s\n", p->hours,
                  p->hours_without_val ? ", and validation besides" : "");
}

sw_status sw_train_plan_text(const sw_train_plan *p, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf b = {0};
    char encoder[32], all[32], patch[32], bag[32];
    sw_buf_printf(&b, "parameters     %s (encoder %s)\n", si((double)p->parameters, all, sizeof all),
                  si((double)p->encoder_parameters, encoder, sizeof encoder));
    if (p->patch_macs == 0.0) sw_buf_printf(&b, "FLOPs          %s per bag (forward; with the gradient about three times as many)\n", si(2.0 * p->bag_macs, bag, sizeof bag));
    else sw_buf_printf(&b, "FLOPs          %s per patch, %s per bag (forward; with the gradient about three times as many)\n",
                  si(2.0 * p->patch_macs, patch, sizeof patch), si(2.0 * p->bag_macs, bag, sizeof bag));
    put_bags(&b, p);
    put_measured(&b, p);
    for (size_t i = 0; i < p->n_notes; i++) sw_buf_printf(&b, "note: %s\n", p->note[i]);
    SW_TRY(sw_buf_status(&b, err));
    *text = b.data;
    b = (sw_buf){0};
    return SW_OK;
}

void sw_train_plan_text_free(char *text)
{
    sw_free(text);
}
