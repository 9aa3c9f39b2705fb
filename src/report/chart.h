/* SPDX-License-Identifier: Apache-2.0 */
/* Charts as inline SVG; colours come from the page's style sheet. */
#ifndef SW_REPORT_CHART_H
#define SW_REPORT_CHART_H

#include "base/buf.h"
#include "slidewise/eval.h"

typedef struct sw_series {
    const char *name;
    const double *x, *y; /* [n]; points whose y is NaN are left out */
    size_t n;
    int color;           /* 1 to 8 of the style sheet */
    bool dashed;
} sw_series;

typedef struct sw_chart {
    const char *title, *x_title;
    double mark_x;          /* a vertical line; NaN: none */
    const char *mark_title;
    bool from_zero;         /* the y axis includes 0 */
    double y_most;          /* the y axis does not go beyond (1 for metrics); NaN: free */
} sw_chart;

/* A line chart; nothing when no series has a point. True: something was drawn. */
bool sw_chart_lines(sw_buf *b, const sw_chart *chart, const sw_series *series, size_t n_series);
/* ROC curves with their bands; names [n]. */
void sw_chart_roc(sw_buf *b, const sw_roc *roc, const char *const *names, const int *colors, size_t n);
/* A small bar from 0 to 1: the interval and the value in it. Nothing where there is no value. */
void sw_chart_interval(sw_buf *b, double value, double low, double high, double width);

#endif
