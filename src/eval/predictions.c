/* SPDX-License-Identifier: Apache-2.0 */
/* The table of predictions in memory. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "slidewise/eval.h"

#define SUM_TOLERANCE 1e-3  /* float32 softmax of many classes, printed with few digits, still passes */
#define TIE_TOLERANCE 1e-6  /* a predicted class may lose to rounding of the printed probabilities */

void sw_predictions_free(sw_predictions *preds)
{
    if (!preds) return;
    for (int c = 0; preds->class_name && c < preds->n_classes; c++) sw_free(preds->class_name[c]);
    for (int64_t i = 0; i < preds->count; i++) {
        sw_free(preds->slide_id[i]);
        sw_free(preds->case_id[i]);
    }
    sw_free(preds->class_name);
    sw_free(preds->slide_id);
    sw_free(preds->case_id);
    sw_free(preds->label);
    sw_free(preds->predicted);
    sw_free(preds->probability);
    *preds = (sw_predictions){0};
}

sw_status sw_predictions_begin(sw_predictions *out, int n_classes, const char *const *class_names, sw_error *err)
{
    SW_CLEANUP(sw_predictions_free) sw_predictions p = {0};
    if (n_classes < 2) return sw_error_set(err, SW_E_INVALID, "predictions need at least 2 classes, not %d", n_classes);
    p.class_name = sw_calloc((size_t)n_classes, sizeof *p.class_name);
    if (!p.class_name) return sw_nomem(err);
    for (int c = 0; c < n_classes; c++) {
        if (!class_names[c][0]) return sw_error_set(err, SW_E_INVALID, "class %d has an empty name", c);
        for (int d = 0; d < c; d++) {
            if (strcmp(class_names[c], class_names[d]) == 0) {
                return sw_error_set(err, SW_E_INVALID, "class \"%s\" is named twice", class_names[c]);
            }
        }
        p.class_name[c] = sw_strdup(class_names[c]);
        if (!p.class_name[c]) return sw_nomem(err);
        p.n_classes = c + 1;
    }
    *out = p;
    p = (sw_predictions){0};
    return SW_OK;
}

static sw_status grow(sw_predictions *p, sw_error *err)
{
    size_t n = p->capacity ? (size_t)p->capacity * 2 : 64;
    struct {
        void **array;
        size_t size;
    } parts[] = {
        {(void **)&p->slide_id, sizeof *p->slide_id},   {(void **)&p->case_id, sizeof *p->case_id},
        {(void **)&p->label, sizeof *p->label},         {(void **)&p->predicted, sizeof *p->predicted},
        {(void **)&p->probability, (size_t)p->n_classes * sizeof *p->probability},
    };
    if (p->count < p->capacity) return SW_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        void *bigger = sw_realloc_array(*parts[i].array, n, parts[i].size);
        if (!bigger) return sw_nomem(err);
        *parts[i].array = bigger;
    }
    p->capacity = (int64_t)n;
    return SW_OK;
}

static sw_status check_row(const sw_predictions *p, const char *slide_id, int label, int predicted,
                           const double *probability, sw_error *err)
{
    double sum = 0, most = 0;
    if (!slide_id || !slide_id[0]) return sw_error_set(err, SW_E_INVALID, "a prediction has no slide id");
    for (int c = 0; c < p->n_classes; c++) {
        if (!(probability[c] >= 0 && probability[c] <= 1)) {
            return sw_error_set(err, SW_E_INVALID, "slide \"%s\": the probability of class \"%s\" is %g, not in [0, 1]",
                                slide_id, p->class_name[c], probability[c]);
        }
        sum += probability[c];
        if (probability[c] > most) most = probability[c];
    }
    if (fabs(sum - 1) > SUM_TOLERANCE) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": the probabilities sum to %g, not to 1", slide_id, sum);
    }
    if (label < -1 || label >= p->n_classes) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": label %d is not one of the %d classes", slide_id, label,
                            p->n_classes);
    }
    if (predicted < -1 || predicted >= p->n_classes) {
        return sw_error_set(err, SW_E_INVALID, "slide \"%s\": predicted class %d is not one of the %d classes", slide_id,
                            predicted, p->n_classes);
    }
    if (predicted >= 0 && probability[predicted] < most - TIE_TOLERANCE) {
        return sw_error_set(err, SW_E_INVALID,
                            "slide \"%s\": predicted class \"%s\" has probability %g, but another class has %g", slide_id,
                            p->class_name[predicted], probability[predicted], most);
    }
    return SW_OK;
}

static int argmax(const double *row, int n)
{
    int best = 0;
    for (int c = 1; c < n; c++) {
        if (row[c] > row[best]) best = c;
    }
    return best;
}

sw_status sw_predictions_add(sw_predictions *preds, const char *slide_id, const char *case_id, int label, int predicted,
                             const double *probability, sw_error *err)
{
    SW_AUTOFREE char *slide = NULL;
    SW_AUTOFREE char *kase = NULL;
    int64_t i = preds->count;
    size_t k = (size_t)preds->n_classes;
    if (preds->n_classes < 2) return sw_error_set(err, SW_E_INVALID, "the table of predictions has no classes yet");
    SW_TRY(check_row(preds, slide_id, label, predicted, probability, err));
    SW_TRY(grow(preds, err));
    slide = sw_strdup(slide_id);
    kase = sw_strdup(case_id && case_id[0] ? case_id : slide_id);
    if (!slide || !kase) return sw_nomem(err);
    preds->slide_id[i] = SW_STEAL(slide);
    preds->case_id[i] = SW_STEAL(kase);
    preds->label[i] = label;
    preds->predicted[i] = predicted >= 0 ? predicted : argmax(probability, preds->n_classes);
    memcpy(preds->probability + (size_t)i * k, probability, k * sizeof *probability);
    preds->count++;
    return SW_OK;
}
