/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_<split>.json, and the table for a terminal. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/eval.h"

static void put_metrics(sw_json_writer *w, const sw_evaluation *e)
{
    sw_json_key(w, "metrics");
    sw_json_object(w);
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        const sw_metric_value *v = &e->metric[m];
        sw_json_key(w, sw_metric_name((sw_metric_id)m));
        sw_json_object(w);
        sw_json_put_number(w, "value", v->value);
        sw_json_put_number(w, "mean", v->mean);
        sw_json_put_number(w, "sd", v->sd);
        sw_json_put_number(w, "low", v->low);
        sw_json_put_number(w, "high", v->high);
        sw_json_put_int(w, "undefined", v->undefined);
        sw_json_end_object(w);
    }
    sw_json_end_object(w);
}

static void put_classes(sw_json_writer *w, const sw_evaluation *e)
{
    sw_json_key(w, "per_class");
    sw_json_array(w);
    for (int c = 0; c < e->n_classes; c++) {
        const sw_class_metrics *m = &e->per_class[c];
        sw_json_object(w);
        sw_json_key(w, "class");
        sw_json_string(w, e->class_name[c]);
        sw_json_put_int(w, "support", m->support);
        sw_json_put_int(w, "predicted", m->predicted);
        sw_json_put_number(w, "recall", m->recall);
        sw_json_put_number(w, "specificity", m->specificity);
        sw_json_put_number(w, "precision", m->precision);
        sw_json_put_number(w, "f1", m->f1);
        sw_json_put_number(w, "auc", m->auc);
        sw_json_end_object(w);
    }
    sw_json_end_array(w);
}

static void put_all(sw_json_writer *w, const sw_evaluation *e)
{
    sw_json_object(w);
    sw_json_key(w, "split");
    sw_json_string(w, e->split);
    sw_json_put_int(w, "slides", e->count);
    sw_json_put_int(w, "unlabelled", e->unlabelled);
    sw_json_key(w, "classes");
    sw_json_array(w);
    for (int c = 0; c < e->n_classes; c++) sw_json_string(w, e->class_name[c]);
    sw_json_end_array(w);
    sw_json_put_int(w, "resamples", e->resamples);
    put_metrics(w, e);
    sw_json_key(w, "confusion");
    sw_json_array(w);
    for (int i = 0; i < e->n_classes; i++) {
        sw_json_array(w);
        for (int j = 0; j < e->n_classes; j++) sw_json_int(w, e->confusion[i * e->n_classes + j]);
        sw_json_end_array(w);
    }
    sw_json_end_array(w);
    put_classes(w, e);
    sw_json_put_int(w, "auc_left_out", e->auc_left_out);
    sw_json_end_object(w);
}

static sw_status to_json(const sw_evaluation *eval, sw_buf *buf, sw_error *err)
{
    sw_json_writer w;
    sw_json_begin(&w, buf, 2);
    put_all(&w, eval);
    sw_buf_puts(buf, "\n");
    return sw_buf_status(buf, err);
}

sw_status sw_evaluation_json(const sw_evaluation *eval, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    SW_TRY(to_json(eval, &buf, err));
    *text = SW_STEAL(buf.data);
    return SW_OK;
}

void sw_evaluation_text_free(char *text)
{
    sw_free(text);
}

sw_status sw_evaluation_write(const sw_evaluation *eval, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    SW_TRY(to_json(eval, &buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}

/* ---- reading ---- */

static sw_status read_classes(const sw_json *root, const char *path, sw_evaluation *e, sw_error *err)
{
    const sw_json *names = sw_json_get(root, "classes");
    size_t k = names ? sw_json_count(names) : 0;
    if (k < 2 || k > 4096) return sw_error_set(err, SW_E_FORMAT, "%s: \"classes\" is not a list of 2 or more names", path);
    e->class_name = sw_calloc(k, sizeof *e->class_name);
    e->confusion = sw_calloc(k * k, sizeof *e->confusion);
    e->per_class = sw_calloc(k, sizeof *e->per_class);
    if (!e->class_name || !e->confusion || !e->per_class) return sw_nomem(err);
    e->n_classes = (int)k;
    for (size_t c = 0; c < k; c++) {
        const char *name = sw_json_text(sw_json_at(names, c), NULL);
        if (!name) return sw_error_set(err, SW_E_FORMAT, "%s: \"classes\" holds something that is not a text", path);
        e->class_name[c] = sw_strdup(name);
        if (!e->class_name[c]) return sw_nomem(err);
    }
    return SW_OK;
}

static sw_status read_confusion(const sw_json *root, const char *path, sw_evaluation *e, sw_error *err)
{
    const sw_json *rows = sw_json_get(root, "confusion");
    for (int i = 0; i < e->n_classes; i++) {
        const sw_json *row = rows ? sw_json_at(rows, (size_t)i) : NULL;
        if (!row || sw_json_count(row) != (size_t)e->n_classes) {
            return sw_error_set(err, SW_E_FORMAT, "%s: \"confusion\" is not a table of %d x %d counts", path, e->n_classes,
                                e->n_classes);
        }
        for (int j = 0; j < e->n_classes; j++) {
            int64_t n = sw_json_integer(sw_json_at(row, (size_t)j), -1);
            if (n < 0) {
                return sw_error_set(err, SW_E_FORMAT, "%s: \"confusion\" holds something that is not a count", path);
            }
            e->confusion[i * e->n_classes + j] = n;
        }
    }
    return SW_OK;
}

static double number_of(const sw_json *object, const char *key)
{
    const sw_json *value = object ? sw_json_get(object, key) : NULL;
    return value ? sw_json_real(value, NAN) : NAN;
}

static sw_status read_numbers(const sw_json *root, const char *path, sw_evaluation *e, sw_error *err)
{
    const sw_json *metrics = sw_json_get(root, "metrics"), *classes = sw_json_get(root, "per_class");
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        const char *name = sw_metric_name((sw_metric_id)m);
        const sw_json *v = metrics ? sw_json_get(metrics, name) : NULL;
        if (!v) return sw_error_set(err, SW_E_FORMAT, "%s: \"metrics\" lacks \"%s\"; run slidewise eval again", path, name);
        e->metric[m] = (sw_metric_value){number_of(v, "value"), number_of(v, "mean"), number_of(v, "sd"),
                                         number_of(v, "low"),   number_of(v, "high"), 0};
        e->metric[m].undefined = sw_json_integer(sw_json_get(v, "undefined"), 0);
    }
    for (int c = 0; c < e->n_classes; c++) {
        const sw_json *m = classes ? sw_json_at(classes, (size_t)c) : NULL;
        sw_class_metrics_of(e->confusion, e->n_classes, c, &e->per_class[c]);
        e->per_class[c].auc = number_of(m, "auc");
    }
    return SW_OK;
}

sw_status sw_evaluation_read(const char *path, sw_evaluation *out, sw_error *err)
{
    SW_CLEANUP(sw_json_free_ptr) sw_json *root = NULL;
    SW_CLEANUP(sw_evaluation_free) sw_evaluation e = {0};
    SW_TRY(sw_json_read(path, &root, err));
    if (!sw_json_is_object(root)) return sw_error_set(err, SW_E_FORMAT, "%s: not an object of metrics", path);
    SW_TRY(read_classes(root, path, &e, err));
    SW_TRY(read_confusion(root, path, &e, err));
    SW_TRY(read_numbers(root, path, &e, err));
    snprintf(e.split, sizeof e.split, "%s", sw_json_text(sw_json_get(root, "split"), ""));
    e.count = sw_json_integer(sw_json_get(root, "slides"), 0);
    e.unlabelled = sw_json_integer(sw_json_get(root, "unlabelled"), 0);
    e.resamples = sw_json_integer(sw_json_get(root, "resamples"), 0);
    e.auc_left_out = (int)sw_json_integer(sw_json_get(root, "auc_left_out"), 0);
    *out = e;
    e = (sw_evaluation){0};
    return SW_OK;
}

/* ---- text ---- */

static void put_value(sw_buf *buf, double value, int width)
{
    if (isnan(value)) {
        sw_buf_printf(buf, "%*s", width, "-");
    } else {
        sw_buf_printf(buf, "%*.4f", width, value);
    }
}

static int name_width(const sw_evaluation *e)
{
    int width = 5;
    for (int c = 0; c < e->n_classes; c++) {
        int n = (int)strlen(e->class_name[c]);
        if (n > width) width = n;
    }
    return width < 24 ? width : 24;
}

static void text_metrics(const sw_evaluation *e, sw_buf *buf)
{
    sw_buf_printf(buf, "%s: %lld slides, %d classes", e->split, (long long)e->count, e->n_classes);
    if (e->unlabelled) sw_buf_printf(buf, ", %lld without a label left out", (long long)e->unlabelled);
    sw_buf_printf(buf, "\n\n  %-18s  %7s", "metric", "value");
    if (e->resamples) sw_buf_printf(buf, "   %-16s  %7s  %7s", "95 % interval", "mean", "sd");
    sw_buf_puts(buf, "\n");
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        const sw_metric_value *v = &e->metric[m];
        sw_buf_printf(buf, "  %-18s  ", sw_metric_title((sw_metric_id)m));
        put_value(buf, v->value, 7);
        if (e->resamples) {
            sw_buf_puts(buf, "   ");
            put_value(buf, v->low, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->high, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->mean, 7);
            sw_buf_puts(buf, "  ");
            put_value(buf, v->sd, 7);
        }
        sw_buf_puts(buf, "\n");
    }
}

static void text_notes(const sw_evaluation *e, sw_buf *buf)
{
    if (e->resamples) sw_buf_printf(buf, "  bootstrap: %lld resamples of the slides\n", (long long)e->resamples);
    for (int m = 0; m < SW_METRIC_COUNT; m++) {
        if (e->metric[m].undefined) {
            sw_buf_printf(buf, "  %s: undefined in %lld resamples, which are left out\n", sw_metric_title((sw_metric_id)m),
                          (long long)e->metric[m].undefined);
        }
    }
    if (e->auc_left_out) {
        sw_buf_printf(buf, "  AUC: %d of %d classes have no positive or no negative slide and no curve\n",
                      e->auc_left_out, e->n_classes);
    }
}

static void text_classes(const sw_evaluation *e, sw_buf *buf)
{
    int width = name_width(e);
    sw_buf_printf(buf, "\n  %-*s  %6s  %7s  %11s  %9s  %7s  %7s\n", width, "class", "slides", "recall", "specificity",
                  "precision", "F1", "AUC");
    for (int c = 0; c < e->n_classes; c++) {
        const sw_class_metrics *m = &e->per_class[c];
        sw_buf_printf(buf, "  %-*.*s  %6lld  ", width, width, e->class_name[c], (long long)m->support);
        put_value(buf, m->recall, 7);
        sw_buf_puts(buf, "  ");
        put_value(buf, m->specificity, 11);
        sw_buf_puts(buf, "  ");
        put_value(buf, m->precision, 9);
        sw_buf_puts(buf, "  ");
        put_value(buf, m->f1, 7);
        sw_buf_puts(buf, "  ");
        put_value(buf, m->auc, 7);
        sw_buf_puts(buf, "\n");
    }
}

static void text_confusion(const sw_evaluation *e, sw_buf *buf)
{
    int width = name_width(e), cell = e->n_classes > 12 ? 6 : width > 8 ? width : 8;
    sw_buf_printf(buf, "\n  %-*s  predicted\n  %-*s", width, "", width, "label");
    for (int c = 0; c < e->n_classes; c++) sw_buf_printf(buf, "  %*.*s", cell, cell, e->class_name[c]);
    sw_buf_puts(buf, "\n");
    for (int i = 0; i < e->n_classes; i++) {
        sw_buf_printf(buf, "  %-*.*s", width, width, e->class_name[i]);
        for (int j = 0; j < e->n_classes; j++) {
            sw_buf_printf(buf, "  %*lld", cell, (long long)e->confusion[i * e->n_classes + j]);
        }
        sw_buf_puts(buf, "\n");
    }
}

sw_status sw_evaluation_text(const sw_evaluation *eval, char **text, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    text_metrics(eval, &buf);
    text_notes(eval, &buf);
    text_classes(eval, &buf);
    text_confusion(eval, &buf);
    SW_TRY(sw_buf_status(&buf, err));
    *text = SW_STEAL(buf.data);
    return SW_OK;
}
