/* SPDX-License-Identifier: Apache-2.0 */
#include "report/chart.h"

#include <math.h>
#include <stdio.h>

#include "report/html.h"

#define WIDTH 470.0
#define HEIGHT 290.0
#define LEFT 58.0
#define RIGHT 14.0
#define TOP 34.0
#define BOTTOM 64.0

typedef struct axis {
    double low, high, step;
} axis;

static axis nice_axis(double low, double high, int ticks)
{
    axis a;
    double raw, power, lead;
    if (!(high > low)) {
        double pad = low != 0 ? fabs(low) * 0.1 : 1;
        low -= pad;
        high += pad;
    }
    raw = (high - low) / ticks;
    power = pow(10, floor(log10(raw)));
    lead = raw / power;
    a.step = power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 2.5 ? 2.5 : lead <= 5 ? 5 : 10);
    a.low = floor(low / a.step + 1e-9) * a.step;
    a.high = ceil(high / a.step - 1e-9) * a.step;
    return a;
}

static double place_x(axis a, double x)
{
    return LEFT + (x - a.low) / (a.high - a.low) * (WIDTH - LEFT - RIGHT);
}

static double place_y(axis a, double y)
{
    return HEIGHT - BOTTOM - (y - a.low) / (a.high - a.low) * (HEIGHT - TOP - BOTTOM);
}

static void begin(sw_buf *b, const char *title)
{
    sw_buf_printf(b, "<svg viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" role=\"img\" aria-label=\"", WIDTH, HEIGHT, WIDTH,
                  HEIGHT);
    sw_html_text(b, title);
    sw_buf_printf(b, "\">\n<text class=\"title\" x=\"%g\" y=\"17\">", LEFT);
    sw_html_text(b, title);
    sw_buf_puts(b, "</text>\n");
}

static void draw_axes(sw_buf *b, axis x, axis y, const char *x_title)
{
    double bottom = HEIGHT - BOTTOM, step = y.step;
    for (double v = y.low; v <= y.high + step / 2; v += step) {
        double at = place_y(y, v), shown = fabs(v) < step * 1e-6 ? 0 : v;
        sw_buf_printf(b, "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%.2f\" y2=\"%.2f\"/>", LEFT, WIDTH - RIGHT, at, at);
        sw_buf_printf(b, "<text x=\"%g\" y=\"%.2f\" text-anchor=\"end\">%.4g</text>\n", LEFT - 7, at + 4, shown);
    }
    for (double v = x.low; v <= x.high + x.step / 2; v += x.step) {
        double at = place_x(x, v), shown = fabs(v) < x.step * 1e-6 ? 0 : v;
        sw_buf_printf(b, "<line class=\"axis\" x1=\"%.2f\" x2=\"%.2f\" y1=\"%g\" y2=\"%g\"/>", at, at, bottom, bottom + 4);
        sw_buf_printf(b, "<text x=\"%.2f\" y=\"%g\" text-anchor=\"middle\">%.4g</text>\n", at, bottom + 18, shown);
    }
    sw_buf_printf(b, "<line class=\"axis\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>\n", LEFT, WIDTH - RIGHT, bottom, bottom);
    sw_buf_printf(b, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">", WIDTH - RIGHT, bottom + 34);
    sw_html_text(b, x_title);
    sw_buf_puts(b, "</text>\n");
}

static size_t characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* One entry of the legend; *at moves on. */
static void legend_entry(sw_buf *b, double *at, const char *name, int color, bool dashed)
{
    double y = HEIGHT - 12;
    sw_buf_printf(b, "<line class=\"curve\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%g\" y2=\"%g\" style=\"stroke:var(--c%d)\"%s/>", *at,
                  *at + 18, y - 4, y - 4, color, dashed ? " stroke-dasharray=\"5 3\"" : "");
    sw_buf_printf(b, "<text x=\"%.1f\" y=\"%g\">", *at + 23, y);
    sw_html_text(b, name);
    sw_buf_puts(b, "</text>\n");
    *at += 23 + 6.6 * (double)characters(name) + 16;
}

static void draw_series(sw_buf *b, axis x, axis y, const sw_series *s)
{
    size_t drawn = 0;
    double last_x = 0, last_y = 0;
    sw_buf_printf(b, "<path class=\"curve\" style=\"stroke:var(--c%d)\"%s d=\"", s->color,
                  s->dashed ? " stroke-dasharray=\"5 3\"" : "");
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->y[i])) continue;
        last_x = place_x(x, s->x[i]);
        last_y = place_y(y, s->y[i]);
        sw_buf_printf(b, "%s%.2f %.2f", drawn++ ? "L" : "M", last_x, last_y);
    }
    sw_buf_puts(b, "\"/>\n");
    if (drawn == 1) {
        sw_buf_printf(b, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3\" style=\"fill:var(--c%d)\"/>\n", last_x, last_y, s->color);
    }
}

static bool ranges(const sw_chart *chart, const sw_series *series, size_t n_series, axis *x, axis *y)
{
    double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
    for (size_t k = 0; k < n_series; k++) {
        for (size_t i = 0; i < series[k].n; i++) {
            if (!isfinite(series[k].y[i])) continue;
            x_low = fmin(x_low, series[k].x[i]);
            x_high = fmax(x_high, series[k].x[i]);
            y_low = fmin(y_low, series[k].y[i]);
            y_high = fmax(y_high, series[k].y[i]);
        }
    }
    if (!(x_low <= x_high)) return false;
    if (chart->from_zero) y_low = fmin(y_low, 0);
    *y = nice_axis(y_low, y_high, 5);
    if (isfinite(chart->y_most) && y->high > chart->y_most && y_high <= chart->y_most) y->high = chart->y_most;
    *x = nice_axis(x_low, x_high, 6);
    if (x->step < 1) x->step = 1; /* epochs are whole */
    if (x_high > x_low) {
        x->low = x_low;
        x->high = x_high;
        if (x->step > 1) x->low = floor(x_low / x->step) * x->step;
    }
    return true;
}

bool sw_chart_lines(sw_buf *b, const sw_chart *chart, const sw_series *series, size_t n_series)
{
    axis x, y;
    double at = LEFT;
    if (!ranges(chart, series, n_series, &x, &y)) return false;
    begin(b, chart->title);
    draw_axes(b, x, y, chart->x_title);
    if (isfinite(chart->mark_x)) {
        double m = place_x(x, chart->mark_x);
        bool right = m > WIDTH * 0.7;
        sw_buf_printf(b, "<line x1=\"%.2f\" x2=\"%.2f\" y1=\"%g\" y2=\"%g\" style=\"stroke:var(--soft)\" stroke-dasharray=\"2 3\"/>",
                      m, m, TOP, HEIGHT - BOTTOM);
        sw_buf_printf(b, "<text x=\"%.2f\" y=\"%g\" text-anchor=\"%s\">", m + (right ? -5 : 5), TOP + 4, right ? "end" : "start");
        sw_html_text(b, chart->mark_title);
        sw_buf_puts(b, "</text>\n");
    }
    for (size_t k = 0; k < n_series; k++) {
        bool any = false;
        for (size_t i = 0; i < series[k].n; i++) any = any || isfinite(series[k].y[i]);
        if (!any) continue;
        draw_series(b, x, y, &series[k]);
        legend_entry(b, &at, series[k].name, series[k].color, series[k].dashed);
    }
    sw_buf_puts(b, "</svg>\n");
    return true;
}

/* ---- ROC: a square with its own margins ---- */

#define ROC_SIDE 300.0
#define ROC_LEFT 52.0
#define ROC_TOP 14.0

static double roc_x(double fpr)
{
    return ROC_LEFT + fpr * ROC_SIDE;
}

static double roc_y(double tpr)
{
    return ROC_TOP + (1 - tpr) * ROC_SIDE;
}

static void draw_band(sw_buf *b, const sw_roc *r, int color)
{
    if (!r->band) return;
    sw_buf_printf(b, "<path style=\"fill:var(--c%d)\" fill-opacity=\"0.16\" d=\"", color);
    for (int g = 0; g < r->band; g++) {
        sw_buf_printf(b, "%s%.2f %.2f", g ? "L" : "M", roc_x(r->band_fpr[g]), roc_y(r->band_high[g]));
    }
    for (int g = r->band - 1; g >= 0; g--) sw_buf_printf(b, "L%.2f %.2f", roc_x(r->band_fpr[g]), roc_y(r->band_low[g]));
    sw_buf_puts(b, "Z\"/>\n");
}

static void draw_roc_axes(sw_buf *b)
{
    for (int i = 0; i <= 5; i++) {
        double v = i / 5.0;
        sw_buf_printf(b, "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>", roc_x(0), roc_x(1), roc_y(v), roc_y(v));
        sw_buf_printf(b, "<line class=\"grid\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\"/>", roc_x(v), roc_x(v), roc_y(0), roc_y(1));
        sw_buf_printf(b, "<text x=\"%g\" y=\"%g\" text-anchor=\"end\">%.1f</text>", ROC_LEFT - 7, roc_y(v) + 4, v);
        sw_buf_printf(b, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">%.1f</text>\n", roc_x(v), roc_y(0) + 18, v);
    }
    sw_buf_printf(b, "<line x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" style=\"stroke:var(--soft)\" stroke-dasharray=\"2 4\"/>\n",
                  roc_x(0), roc_x(1), roc_y(0), roc_y(1));
    sw_buf_printf(b, "<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">false positive rate (1 &minus; specificity)</text>\n",
                  roc_x(0.5), roc_y(0) + 36);
    sw_buf_printf(b,
                  "<text x=\"14\" y=\"%g\" text-anchor=\"middle\" transform=\"rotate(-90 14 %g)\">true positive rate "
                  "(sensitivity)</text>\n",
                  roc_y(0.5), roc_y(0.5));
}

void sw_chart_roc(sw_buf *b, const sw_roc *roc, const char *const *names, const int *colors, size_t n)
{
    double width = ROC_LEFT + ROC_SIDE + 20, height = ROC_TOP + ROC_SIDE + 52 + 18 * (double)n;
    sw_buf_printf(b, "<svg viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" role=\"img\" aria-label=\"ROC curves\">\n", width,
                  height, width, height);
    draw_roc_axes(b);
    for (size_t k = 0; k < n; k++) draw_band(b, &roc[k], colors[k]);
    for (size_t k = 0; k < n; k++) {
        double y = ROC_TOP + ROC_SIDE + 58 + 18 * (double)k;
        sw_buf_printf(b, "<path class=\"curve\" style=\"stroke:var(--c%d)\" d=\"", colors[k]);
        for (int64_t i = 0; i < roc[k].points; i++) {
            sw_buf_printf(b, "%s%.2f %.2f", i ? "L" : "M", roc_x(roc[k].fpr[i]), roc_y(roc[k].tpr[i]));
        }
        sw_buf_printf(b, "\"/>\n<line class=\"curve\" x1=\"%g\" x2=\"%g\" y1=\"%g\" y2=\"%g\" style=\"stroke:var(--c%d)\"/>",
                      ROC_LEFT, ROC_LEFT + 18, y - 4, y - 4, colors[k]);
        sw_buf_printf(b, "<text x=\"%g\" y=\"%g\">", ROC_LEFT + 25, y);
        sw_html_text(b, names[k]);
        sw_buf_printf(b, ", AUC %.3f</text>\n", roc[k].auc);
    }
    sw_buf_puts(b, "</svg>\n");
}

void sw_chart_interval(sw_buf *b, double value, double low, double high, double width)
{
    double x0 = fmax(low, 0) * width, x1 = fmin(high, 1) * width;
    if (!isfinite(value)) return; /* an empty scale would look like a value of 0 */
    sw_buf_printf(b, "<svg viewBox=\"0 0 %g 12\" width=\"%g\" height=\"12\" aria-hidden=\"true\">", width, width);
    sw_buf_printf(b, "<rect x=\"0\" y=\"5\" width=\"%g\" height=\"2\" rx=\"1\" style=\"fill:var(--line)\"/>", width);
    if (isfinite(low) && isfinite(high)) {
        sw_buf_printf(b, "<rect x=\"%.2f\" y=\"3\" width=\"%.2f\" height=\"6\" rx=\"3\" style=\"fill:var(--c1)\" "
                         "fill-opacity=\"0.35\"/>",
                      x0, fmax(x1 - x0, 1));
    }
    sw_buf_printf(b, "<circle cx=\"%.2f\" cy=\"6\" r=\"4\" style=\"fill:var(--c1)\"/></svg>",
                  fmin(fmax(value * width, 4), width - 4));
}
