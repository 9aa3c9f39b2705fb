/* SPDX-License-Identifier: Apache-2.0 */
/* What the user sees of a running job: a bar on a terminal, a line every ten seconds elsewhere; and the
 * signals that stop it. All of it goes to standard error; standard output is for results. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/thread.h"
#include "cli.h"
#include "table.h"

static const int64_t PLAIN_NS = 10000000000; /* between two lines where there is no terminal */

/* One program, one terminal, one job at a time: this state belongs to the process. The sink's calls are
 * serialised by the library. */
static struct {
    bool quiet;
    bool bar_open;    /* the last line on the terminal is an unfinished bar */
    int64_t plain_ns; /* when the last plain line was written; 0: never */
} terminal;

static volatile sig_atomic_t stop_signal;

bool cli_quiet(void)
{
    return terminal.quiet;
}

void cli_set_quiet(void)
{
    terminal.quiet = true;
}

static void on_signal(int number)
{
    stop_signal = number; /* the handler is one-shot: a second signal ends the program at once */
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file at the limit of its size (ulimit -f) is an error with a sentence, not an end without one */
}

void cli_end_progress(void)
{
    if (terminal.bar_open) fputc('\n', stderr);
    terminal.bar_open = false;
}

/* ---- texts */

/* 12345678 -> "12,345,678" */
static const char *grouped(int64_t value, char out[32])
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%lld", (long long)(value < 0 ? -value : value));
    char *to = out;
    if (value < 0) *to++ = '-';
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

static void put_duration(sw_buf *line, double seconds)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s < 3600) sw_buf_printf(line, "%d:%02d", (int)(s / 60), (int)(s % 60));
    else sw_buf_printf(line, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

static void put_bar(sw_buf *line, double share)
{
    enum { CELLS = 20 };
    int filled = (int)(share * CELLS);
    sw_buf_puts(line, " [");
    for (int i = 0; i < CELLS; i++) sw_buf_puts(line, i < filled ? "=" : i == filled ? ">" : " ");
    sw_buf_puts(line, "]");
}

static void describe(sw_buf *line, const sw_progress *p, bool bar)
{
    char done[32], total[32];
    sw_buf_puts(line, p->job ? p->job : "working");
    if (p->total > 0) {
        double share = (double)p->done / (double)p->total;
        if (share > 1) share = 1;
        if (bar) put_bar(line, share);
        sw_buf_printf(line, " %3d %%  %s/%s", (int)(share * 100), grouped(p->done, done), grouped(p->total, total));
    } else {
        sw_buf_printf(line, "  %s", grouped(p->done, done));
    }
    if (p->unit) sw_buf_printf(line, " %s", p->unit);
    const char *rate_unit = p->rate_unit ? p->rate_unit : p->unit;
    if (p->rate > 0) sw_buf_printf(line, "  %.*f %s/s", p->rate < 10 ? 2 : p->rate < 100 ? 1 : 0, p->rate, rate_unit ? rate_unit : "");
    if (p->eta_s > 0) {
        sw_buf_puts(line, "  ETA ");
        put_duration(line, p->eta_s);
    }
    if (p->limit) sw_buf_printf(line, "  limit: %s", p->limit);
    if (p->detail) sw_buf_printf(line, "  %s", p->detail);
}

/* ---- the sink */

static int columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
    return 80;
}

/* Cuts a line to `width` characters (UTF-8). */
static void cut(sw_buf *line, int width)
{
    int seen = 0;
    for (size_t i = 0; i < line->size; i++) {
        if (((unsigned char)line->data[i] & 0xC0) != 0x80 && seen++ == width) {
            line->data[i] = '\0';
            line->size = i;
        }
    }
}

static void show_bar(const sw_progress *p)
{
    sw_buf line = {0};
    describe(&line, p, true);
    if (!line.failed) {
        cut(&line, columns() - 1);
        fprintf(stderr, "\r%s\033[K", line.data);
        terminal.bar_open = true;
        if (p->total > 0 && p->done >= p->total) cli_end_progress();
        fflush(stderr);
    }
    sw_buf_free(&line);
}

static void show_plain(const sw_progress *p)
{
    int64_t now = sw_now_ns();
    if (terminal.plain_ns == 0) terminal.plain_ns = now; /* quick jobs stay silent */
    if (now - terminal.plain_ns < PLAIN_NS) return;
    terminal.plain_ns = now;
    sw_buf line = {0};
    describe(&line, p, false);
    if (!line.failed) fprintf(stderr, "%s\n", line.data);
    sw_buf_free(&line);
}

static void on_progress(void *ctx, const sw_progress *p)
{
    (void)ctx;
    if (terminal.quiet) return;
    if (isatty(STDERR_FILENO)) show_bar(p);
    else show_plain(p);
}

static void on_log(void *ctx, sw_log_level level, const char *text)
{
    (void)ctx;
    if (terminal.quiet && level != SW_LOG_WARNING) return;
    if (terminal.bar_open) fputs("\r\033[K", stderr);
    terminal.bar_open = false;
    fprintf(stderr, "%s%s\n", level == SW_LOG_WARNING ? "slidewise: warning: " : "", text);
}

static bool on_cancelled(void *ctx)
{
    (void)ctx;
    return stop_signal != 0;
}

const sw_sink *cli_sink(void)
{
    static const sw_sink sink = {.log = on_log, .progress = on_progress, .cancelled = on_cancelled};
    return &sink;
}

int cli_fail(const sw_error *err)
{
    cli_end_progress();
    if (err->code == SW_E_CANCELLED && stop_signal != 0) {
        fprintf(stderr, "slidewise: stopped: %s\n", err->message[0] ? err->message : "cancelled");
        return 128 + stop_signal;
    }
    fprintf(stderr, "slidewise: %s\n", err->message[0] ? err->message : sw_status_name(err->code));
    return 1;
}

int cli_misuse(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("slidewise: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return 2;
}
