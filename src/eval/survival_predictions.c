/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of predicted risks: strict reading, exact writing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/fs.h"
#include "base/mem.h"
#include "slidewise/survival.h"

static const char *const FIXED[] = {"case_id", "slides", "time", "event", "risk"};
enum { COL_CASE, COL_SLIDES, COL_TIME, COL_EVENT, COL_RISK, N_FIXED };

void sw_survival_predictions_free(sw_survival_predictions *p)
{
    if (!p) return;
    for (int64_t i = 0; i < p->count; i++) sw_free(p->case_id[i]);
    sw_free(p->case_id);
    sw_free(p->edge);
    sw_free(p->slides);
    sw_free(p->time);
    sw_free(p->event);
    sw_free(p->risk);
    sw_free(p->survival);
    *p = (sw_survival_predictions){0};
}

sw_status sw_survival_predictions_begin(sw_survival_predictions *out, int bins, const double *edge, sw_error *err)
{
    if (bins < 0 || bins == 1) return sw_error_set(err, SW_E_INVALID, "%d bins of time; there are none or at least 2", bins);
    for (int k = 0; k + 1 < bins; k++) {
        if (!isfinite(edge[k]) || (k > 0 && !(edge[k] > edge[k - 1])))
            return sw_error_set(err, SW_E_INVALID, "the edges between bins of time must rise; number %d is %g", k + 1, edge[k]);
    }
    *out = (sw_survival_predictions){.bins = bins, .edge = sw_calloc((size_t)bins + 1, sizeof *out->edge)};
    if (!out->edge) return sw_nomem(err);
    for (int k = 0; k + 1 < bins; k++) out->edge[k] = edge[k];
    return SW_OK;
}

static sw_status grow_array(void *array, size_t count, size_t size, sw_error *err)
{
    void **at = array;
    void *grown = sw_realloc_array(*at, count, size);
    if (!grown) return sw_nomem(err);
    *at = grown;
    return SW_OK;
}

static sw_status grow(sw_survival_predictions *p, sw_error *err)
{
    if (p->count < p->capacity) return SW_OK;
    size_t n = p->capacity ? 2 * (size_t)p->capacity : 64;
    SW_TRY(grow_array(&p->case_id, n, sizeof *p->case_id, err));
    SW_TRY(grow_array(&p->slides, n, sizeof *p->slides, err));
    SW_TRY(grow_array(&p->time, n, sizeof *p->time, err));
    SW_TRY(grow_array(&p->event, n, sizeof *p->event, err));
    SW_TRY(grow_array(&p->risk, n, sizeof *p->risk, err));
    SW_TRY(grow_array(&p->survival, n, sizeof *p->survival * (size_t)(p->bins + 1), err));
    p->capacity = (int64_t)n;
    return SW_OK;
}

static sw_status check_row(const sw_survival_predictions *p, const char *case_id, int64_t slides, double time, double risk,
                           const double *survival, sw_error *err)
{
    if (!case_id || !case_id[0]) return sw_error_set(err, SW_E_INVALID, "a prediction has no case id");
    if (slides < 1) return sw_error_set(err, SW_E_INVALID, "case \"%s\": %lld slides", case_id, (long long)slides);
    if (!isnan(time) && (!isfinite(time) || time < 0))
        return sw_error_set(err, SW_E_INVALID, "case \"%s\": the time %g is not a number from 0", case_id, time);
    if (!isfinite(risk)) return sw_error_set(err, SW_E_INVALID, "case \"%s\": the risk is not finite", case_id);
    for (int k = 0; k < p->bins; k++) {
        double before = k > 0 ? survival[k - 1] : 1.0;
        if (!(survival[k] >= 0.0 && survival[k] <= before + 1e-6))
            return sw_error_set(err, SW_E_INVALID, "case \"%s\": the survival %g of bin %d is not between 0 and that of the bin before, %g",
                                case_id, survival[k], k + 1, before);
    }
    return SW_OK;
}

sw_status sw_survival_predictions_add(sw_survival_predictions *p, const char *case_id, int64_t slides, double time, bool event,
                                      double risk, const double *survival, sw_error *err)
{
    int64_t i = p->count;
    SW_TRY(check_row(p, case_id, slides, time, risk, survival, err));
    SW_TRY(grow(p, err));
    if (!(p->case_id[i] = sw_strdup(case_id))) return sw_nomem(err);
    p->slides[i] = slides;
    p->time[i] = time;
    p->event[i] = event && !isnan(time);
    p->risk[i] = risk;
    for (int k = 0; k < p->bins; k++) p->survival[i * p->bins + k] = survival[k];
    p->count++;
    return SW_OK;
}

/* The shortest text that reads back as the same number: of times, which are compared. */
static void put_exact(sw_buf *buf, double value)
{
    char text[40];
    double again = NAN;
    for (int digits = 9; digits <= 17 && again != value; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (!sw_parse_double(text, &again)) again = NAN;
    }
    sw_buf_puts(buf, text);
}

sw_status sw_survival_predictions_write(const sw_survival_predictions *p, const char *path, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    for (int f = 0; f < N_FIXED; f++) sw_csv_put(&buf, FIXED[f], f + 1 == N_FIXED && p->bins == 0);
    for (int k = 0; k < p->bins; k++) {
        sw_buf_puts(&buf, "s_");
        if (k + 1 < p->bins) put_exact(&buf, p->edge[k]);
        sw_buf_puts(&buf, k + 1 < p->bins ? "," : "end\n");
    }
    for (int64_t i = 0; i < p->count; i++) {
        sw_csv_put(&buf, p->case_id[i], false);
        sw_buf_printf(&buf, "%lld,", (long long)p->slides[i]);
        if (!isnan(p->time[i])) put_exact(&buf, p->time[i]);
        sw_buf_puts(&buf, isnan(p->time[i]) ? ",," : p->event[i] ? ",1," : ",0,");
        sw_buf_printf(&buf, "%.9g", p->risk[i]);
        for (int k = 0; k < p->bins; k++) sw_buf_printf(&buf, ",%.9g", p->survival[i * p->bins + k]);
        sw_buf_puts(&buf, "\n");
    }
    SW_TRY(sw_buf_status(&buf, err));
    return sw_file_write(path, buf.data, buf.size, err);
}

/* ---- reading */

static bool has_header(const sw_csv *csv)
{
    if (sw_csv_columns(csv) < N_FIXED) return false;
    for (size_t f = 0; f < N_FIXED; f++) {
        if (strcmp(sw_csv_column_name(csv, f), FIXED[f]) != 0) return false;
    }
    return true;
}

bool sw_survival_predictions_is(const char *path)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    sw_error ignored;
    return sw_csv_read(path, true, &csv, &ignored) == SW_OK && has_header(csv);
}

static sw_status read_header(const sw_csv *csv, sw_survival_predictions *p, sw_error *err)
{
    const char *path = sw_csv_path(csv);
    if (!has_header(csv))
        return sw_error_set(err, SW_E_FORMAT, "%s: a table of predicted risks begins with the columns case_id,slides,time,event,risk", path);
    int bins = (int)(sw_csv_columns(csv) - N_FIXED);
    SW_AUTOFREE double *edge = sw_calloc((size_t)bins + 1, sizeof *edge);
    if (!edge) return sw_nomem(err);
    for (int k = 0; k < bins; k++) {
        const char *name = sw_csv_column_name(csv, (size_t)(N_FIXED + k));
        bool last = k + 1 == bins;
        if (strncmp(name, "s_", 2) == 0 && (last ? strcmp(name, "s_end") == 0 : sw_parse_double(name + 2, &edge[k]))) continue;
        return sw_error_set(err, SW_E_FORMAT, "%s: column \"%s\" is not s_<time>, or s_end for the last", path, name);
    }
    if (sw_survival_predictions_begin(p, bins, edge, err) != SW_OK) return sw_error_prefix(err, "%s", path);
    return SW_OK;
}

static sw_status number(const sw_csv *csv, size_t row, size_t column, double *out, sw_error *err)
{
    const char *cell = sw_csv_cell(csv, row, column);
    if (sw_parse_double(cell, out)) return SW_OK;
    return sw_error_set(err, SW_E_FORMAT, "%s: line %lld: column \"%s\" holds \"%s\", not a number", sw_csv_path(csv),
                        (long long)sw_csv_line(csv, row), sw_csv_column_name(csv, column), cell);
}

static sw_status read_row(const sw_csv *csv, size_t row, double *survival, sw_survival_predictions *p, sw_error *err)
{
    const char *event = sw_csv_cell(csv, row, COL_EVENT), *path = sw_csv_path(csv);
    double slides = 0, time = NAN, risk = 0;
    long long line = (long long)sw_csv_line(csv, row);
    SW_TRY(number(csv, row, COL_SLIDES, &slides, err));
    if (sw_csv_cell(csv, row, COL_TIME)[0]) SW_TRY(number(csv, row, COL_TIME, &time, err));
    SW_TRY(number(csv, row, COL_RISK, &risk, err));
    if (strcmp(event, "0") != 0 && strcmp(event, "1") != 0 && !(event[0] == '\0' && isnan(time)))
        return sw_error_set(err, SW_E_FORMAT, "%s: line %lld: column \"event\" holds \"%s\", neither 0 nor 1", path, line, event);
    for (int k = 0; k < p->bins; k++) SW_TRY(number(csv, row, (size_t)(N_FIXED + k), &survival[k], err));
    if (sw_survival_predictions_add(p, sw_csv_cell(csv, row, COL_CASE), (int64_t)slides, time, event[0] == '1', risk, survival,
                                    err) != SW_OK)
        return sw_error_prefix(err, "%s: line %lld", path, line);
    return SW_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A case that is counted twice would make every interval too narrow. */
static sw_status check_unique(const sw_survival_predictions *p, const char *path, sw_error *err)
{
    SW_AUTOFREE const char **sorted = sw_calloc((size_t)p->count + 1, sizeof *sorted);
    if (!sorted) return sw_nomem(err);
    for (int64_t i = 0; i < p->count; i++) sorted[i] = p->case_id[i];
    qsort(sorted, (size_t)p->count, sizeof *sorted, by_text);
    for (int64_t i = 1; i < p->count; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return sw_error_set(err, SW_E_FORMAT, "%s: case \"%s\" is listed twice", path, sorted[i]);
    }
    return SW_OK;
}

sw_status sw_survival_predictions_read(const char *path, sw_survival_predictions *out, sw_error *err)
{
    SW_CLEANUP(sw_csv_free_ptr) sw_csv *csv = NULL;
    SW_CLEANUP(sw_survival_predictions_free) sw_survival_predictions p = {0};
    SW_TRY(sw_csv_read(path, true, &csv, err));
    SW_TRY(read_header(csv, &p, err));
    SW_AUTOFREE double *survival = sw_calloc((size_t)p.bins + 1, sizeof *survival);
    if (!survival) return sw_nomem(err);
    for (size_t row = 0; row < sw_csv_rows(csv); row++) SW_TRY(read_row(csv, row, survival, &p, err));
    SW_TRY(check_unique(&p, path, err));
    *out = p;
    p = (sw_survival_predictions){0};
    return SW_OK;
}
