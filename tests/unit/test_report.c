/* SPDX-License-Identifier: Apache-2.0 */
/* The report: well-formed, self-contained, never broken by hostile names or by what is missing. */
#include "test.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "report/html.h"
#include "slidewise/image.h"
#include "slidewise/report.h"
#include "slidewise/survival.h"

static const char *in(const char *dir, const char *name)
{
    static char path[4][1300];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s%s%s", sw_test_dir(), dir, *name ? "/" : "", name);
    return path[turn];
}

static sw_status put(const char *dir, const char *name, const char *text, sw_error *err)
{
    return sw_file_write(in(dir, name), text, strlen(text), err);
}

/* ---- a small checker: every tag that opens closes, in order ---- */

static bool is_void(const char *tag)
{
    static const char *const list[] = {"meta", "img", "br", "hr", "link", "input"};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        if (strcmp(tag, list[i]) == 0) return true;
    }
    return false;
}

/* NULL: balanced; else what is wrong. */
static const char *unbalanced(const char *html)
{
    static char why[200];
    static char open[64][24];
    int depth = 0;
    for (const char *p = html; (p = strchr(p, '<')) != NULL;) {
        char tag[24] = "";
        bool closing = p[1] == '/';
        const char *name = p + 1 + closing, *end = name;
        if (p[1] == '!') {
            p++;
            continue;
        }
        size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (n == 0 || n >= sizeof tag) {
            snprintf(why, sizeof why, "a bare '<' at \"%.40s\"", p);
            return why;
        }
        memcpy(tag, name, n);
        for (bool quoted = false; *end && (quoted || *end != '>'); end++) {
            if (*end == '"') quoted = !quoted;
            if (*end == '<' ) {
                snprintf(why, sizeof why, "a '<' inside tag %s", tag);
                return why;
            }
        }
        p = end;
        if (closing) {
            if (depth == 0 || strcmp(open[depth - 1], tag) != 0) {
                snprintf(why, sizeof why, "</%s> closes <%s>", tag, depth ? open[depth - 1] : "nothing");
                return why;
            }
            depth--;
        } else if (end[-1] != '/' && !is_void(tag)) {
            if (depth == 64) return "too deep";
            memcpy(open[depth++], tag, sizeof tag);
        }
        if (strcmp(tag, "style") == 0 && !closing) p = strstr(p, "</style>");
    }
    if (depth) {
        snprintf(why, sizeof why, "<%s> stays open", open[depth - 1]);
        return why;
    }
    return NULL;
}

TEST(the_checker_checks)
{
    CHECK(unbalanced("<p>a<br>b<i/></p>") == NULL);
    CHECK_STR(unbalanced("<p><b></p></b>"), "</p> closes <b>");
    CHECK_STR(unbalanced("<p>"), "<p> stays open");
    CHECK_STR(unbalanced("a < b"), "a bare '<' at \"< b\"");
}

/* Anything a browser would fetch. */
static const char *outside_link(const char *html)
{
    static const char *const bad[] = {"http:", "https:", "src=\"//", "url(", "@import", "<script", "<link", "<iframe", "javascript:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strstr(html, bad[i])) return bad[i];
    }
    return NULL;
}

static sw_status report(const char *dir, sw_buf *html, sw_error *err)
{
    SW_TRY(sw_report_write(in(dir, ""), NULL, NULL, err));
    return sw_file_read(in(dir, "report.html"), html, err);
}

TEST(escaping)
{
    SW_CLEANUP(sw_buf_free) sw_buf b = {0};
    sw_html_text(&b, "<a href=\"x\">&'\x01\xff\xc3\xa9");
    CHECK_STR(b.data, "&lt;a href=&quot;x&quot;&gt;&amp;&#39;&#xfffd;&#xfffd;\xc3\xa9");
}

TEST(empty_run)
{
    SW_CLEANUP(sw_buf_free) sw_buf html = {0};
    sw_error err;
    CHECK_OK(sw_mkdir_p(in("empty", ""), &err));
    CHECK_OK(report("empty", &html, &err));
    CHECK(unbalanced(html.data) == NULL);
    CHECK(outside_link(html.data) == NULL);
    CHECK(strstr(html.data, "There are no predictions with labels in this run, so there are no metrics.") != NULL);
    CHECK(strstr(html.data, "There are no heatmaps in this run") != NULL);
    CHECK(strstr(html.data, "There is no config.yaml in this run.") != NULL);
    CHECK(strstr(html.data, "There is no log.jsonl with epochs in this run.") != NULL);
    CHECK(strstr(html.data, "There is no dataset.json with classes and splits in this run.") != NULL);
}

TEST(missing_run)
{
    sw_error err;
    char expected[1400];
    CHECK_INT(sw_report_write(in("nowhere", ""), NULL, NULL, &err), SW_E_NOT_FOUND);
    snprintf(expected, sizeof expected, "%s is not a directory; give the directory of a run", in("nowhere", ""));
    CHECK_STR(err.message, expected);
}

#define EVIL "</td><script>alert(1)</script>"

static sw_status make_run(const char *dir, sw_error *err)
{
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_CLEANUP(sw_buf_free) sw_buf log = {0};
    SW_CLEANUP(sw_image_free) sw_image image = {0};
    SW_TRY(sw_mkdir_p(in(dir, "heatmaps"), err));
    sw_buf_puts(&csv, "slide_id,case_id,label,predicted,p_benign,\"p_<b>malign & \"\"x\"\"</b>\"\n");
    for (int i = 0; i < 24; i++) {
        bool yes = i % 2, right = i % 5 != 0;
        const char *no = "benign", *is = "\"<b>malign & \"\"x\"\"</b>\"";
        sw_buf_printf(&csv, "\"" EVIL "%d\",case%d,%s,%s,%s\n", i, i / 2, yes ? is : no, yes == right ? is : no,
                      yes == right ? ".3,.7" : ".8,.2");
    }
    SW_TRY(sw_file_write(in(dir, "predictions_test.csv"), csv.data, csv.size, err));
    sw_buf_puts(&log, "{\"event\":\"start\",\"version\":\"0.1\",\"command\":\"slidewise train <x>\",\"selected_on\":\"test\","
                      "\"versions\":{\"oneDNN\":\"3\"}}\n");
    for (int e = 1; e <= 5; e++) {
        sw_buf_printf(&log, "{\"event\":\"epoch\",\"epoch\":%d,\"train_loss\":%g,\"val_loss\":%g,\"lr\":%g,\"seconds\":12,"
                            "\"patches_per_second\":100,\"grad_norm_encoder\":%g,\"attention_entropy_gap\":0.1,\"feature_rank\":7,\"val_auc\":%g,\"val_balanced_accuracy\":0.6,\"best\":%s}\n",
                      e, 1.0 / e, 1.1 / e, 1e-3 / e, 10.0 * e, .5 + .08 * e, e < 5 ? "true" : "false");
    }
    sw_buf_puts(&log, "{\"event\":\"warning\",\"epoch\":2,\"kind\":\"loss\",\"text\":\"epoch 2: <i>went</i> wrong\"}\n");
    sw_buf_puts(&log, "not json\n{\"event\":\"epoch\",\"epo");
    SW_TRY(sw_file_write(in(dir, "log.jsonl"), log.data, log.size, err));
    SW_TRY(put(dir, "config.yaml", "run:\n  out: \"<script>\"\n", err));
    SW_TRY(put(dir, "dataset.json", "{\"classes\":[\"benign\",\"<b>malign\"],\"splits\":{\"<i>\":{\"slides\":3,\"cases\":2,"
                                    "\"per_class\":{\"benign\":1}},\"test\":{\"slides\":24}},\"warnings\":[\"mind <this>\"]}", err));
    SW_TRY(put(dir, "failures.csv", "slide_id,stage,reason\n" EVIL ",tile,no tissue\n", err));
    SW_TRY(sw_image_new(1800, 900, 200, &image, err));
    SW_TRY(sw_image_write(in(dir, "heatmaps/a<b>.png"), &image, err));
    SW_TRY(sw_image_write(in(dir, "heatmaps/a<b>_top.png"), &image, err));
    SW_TRY(put(dir, "heatmaps/broken.png", "this is no picture", err));
    return put(dir, "heatmaps/a<b>.json",
               "{\"slide\":\"a<b>\",\"predicted\":\"<u>\",\"n_patches\":10,\"attention\":{\"threshold\":0.1,\"sparsity\":50,"
               "\"below_mean\":0.6,\"entropy_gap\":0.2,\"gini\":0.4},\"focus\":{\"n_positive\":3,\"n_foci\":2,\"n_found\":1,"
               "\"auc\":0.9,\"top\":5,\"top_hits\":0.4,\"top_expected\":0.3}}", err);
}

TEST(hostile_run)
{
    SW_CLEANUP(sw_buf_free) sw_buf html = {0};
    sw_error err;
    CHECK_OK(make_run("hostile", &err));
    CHECK_OK(report("hostile", &html, &err));
    const char *wrong = unbalanced(html.data);
    CHECK_STR(wrong ? wrong : "balanced", "balanced");
    const char *link = outside_link(html.data);
    CHECK_STR(link ? link : "none", "none");
    CHECK(strstr(html.data, "<b>") == NULL && strstr(html.data, "<u>") == NULL && strstr(html.data, "alert(1)<") == NULL);
    CHECK(strstr(html.data, "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt;0") != NULL);
    /* what a careful reader must be told */
    CHECK(strstr(html.data, "<li>mind &lt;this&gt;</li>") != NULL);
    CHECK(strstr(html.data, "The epoch was selected on the test split") != NULL);
    CHECK(strstr(html.data, "The test split has only 24 labelled slides") != NULL);
    CHECK(strstr(html.data, "The 24 slides of the test split come from 12 cases.") != NULL);
    CHECK(strstr(html.data, "line 8 is not a JSON object and is left out") != NULL);
    CHECK(strstr(html.data, "line 9 was cut off (a run that was killed?) and is left out") != NULL);
    CHECK(strstr(html.data, "1 slide could not be used; the reasons stand under Data.") != NULL);
    /* pieces */
    CHECK(strstr(html.data, "<strong>Training went wrong</strong>\n<ul>\n<li>epoch 2: &lt;i&gt;went&lt;/i&gt; wrong</li>") != NULL);
    CHECK(strstr(html.data, "Attention: 0 alike on all patches, 1 on one") != NULL);
    CHECK(strstr(html.data, "Rank of a bag&#39;s features") != NULL || strstr(html.data, "Rank of a bag's features") != NULL);
    CHECK(strstr(html.data, "Gradient norms, powers of ten") != NULL);
    CHECK(strstr(html.data, "5 epochs in 60 seconds, 100 patches a second on average; the model is that of epoch 4") != NULL);
    CHECK(strstr(html.data, "aria-label=\"ROC curves\"") != NULL);
    CHECK(strstr(html.data, "data:image/jpeg;base64,") != NULL);
    CHECK(strstr(html.data, "<img width=\"1500\" height=\"750\"") != NULL);
    CHECK(strstr(html.data, "Against the true foci: 1 of 2 found by the top 5 patches") != NULL);
    CHECK(strstr(html.data, "slidewise train &lt;x&gt;") != NULL);
    CHECK(strstr(html.data, "broken.png") != NULL);
}

TEST(damaged_pieces_are_told)
{
    SW_CLEANUP(sw_buf_free) sw_buf html = {0};
    sw_error err;
    CHECK_OK(sw_mkdir_p(in("damaged", ""), &err));
    CHECK_OK(put("damaged", "dataset.json", "{\"classes\":[", &err));
    CHECK_OK(put("damaged", "metrics_test.json", "{\"classes\":[\"a\",\"b\"]}", &err));
    CHECK_OK(put("damaged", "predictions_val.csv", "slide_id,label\n", &err));
    CHECK_OK(report("damaged", &html, &err));
    CHECK(unbalanced(html.data) == NULL);
    CHECK(strstr(html.data, "dataset.json") != NULL);
    CHECK(strstr(html.data, "metrics_test.json: &quot;confusion&quot; is not a table of 2 x 2 counts") != NULL);
    CHECK(strstr(html.data, "predictions_val.csv: column 2 is &quot;label&quot; instead of &quot;case_id&quot;") != NULL);
}

/* In red, and only of runs that chose on the test set. */
TEST(selected_on_test_is_told_in_red)
{
    static const char *const log[] = {"{\"event\":\"start\",\"selected_on\":\"test\"}\n{\"event\":\"epoch\",\"epoch\":1,\"train_loss\":0.5}\n",
                                      "{\"event\":\"start\",\"selected_on\":\"val\"}\n{\"event\":\"epoch\",\"epoch\":1,\"train_loss\":0.5}\n"};
    sw_error err;
    CHECK_OK(sw_mkdir_p(in("chosen", ""), &err));
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(sw_buf_free) sw_buf html = {0};
        CHECK_OK(put("chosen", "log.jsonl", log[k], &err));
        CHECK_OK(report("chosen", &html, &err));
        CHECK(unbalanced(html.data) == NULL);
        const char *box = strstr(html.data, "<div class=\"warnings danger\" role=\"alert\"><strong>Selected on the test set</strong>");
        CHECK((box != NULL) == (k == 0));
        CHECK(strstr(html.data, ".danger strong,.danger p{color:var(--bad)}") != NULL);
    }
}

/* Nothing is defined of these, and no number is made up for it. */
TEST(undefined_survival_has_no_nan)
{
    static const char *const table[] = {"case_id,slides,time,event,risk\na,1,1,0,0.5\nb,1,2,0,0.4\nc,1,3,0,0.1\n", /* all censored */
                                        "case_id,slides,time,event,risk\na,1,1,1,0.5\nb,1,2,0,0.5\nc,1,3,1,0.5\n"}; /* constant */
    sw_error err;
    CHECK_OK(sw_mkdir_p(in("censored", ""), &err));
    for (int k = 0; k < 2; k++) {
        SW_CLEANUP(sw_buf_free) sw_buf html = {0}, json = {0};
        sw_survival_options o = {.resamples = 10};
        CHECK_OK(put("censored", "predictions_test.csv", table[k], &err));
        CHECK_OK(sw_survival_eval_run(in("censored", ""), "test", &o, NULL, &err));
        CHECK_OK(report("censored", &html, &err));
        CHECK_OK(sw_file_read(in("censored", "metrics_test.json"), &json, &err));
        CHECK(unbalanced(html.data) == NULL);
        CHECK(!strstr(html.data, ">nan") && !strstr(html.data, ">-nan") && !strstr(html.data, " nan") && !strstr(json.data, "nan"));
        CHECK((strstr(html.data, "The concordance index of the test split is undefined: ") != NULL) == (k == 0));
        CHECK(strstr(html.data, "The log-rank test is undefined: one group is empty, or nobody has the event.") != NULL);
    }
}

/* ---- splits that cannot answer: no number that is none, no chart without a line ---- */

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A word "nan" or "inf" anywhere, a chart that draws nothing, a cell or box without content; NULL: sound. */
static const char *unsound(const char *html)
{
    static char why[200];
    static const char *const words[] = {"nan", "inf", "NaN", "Infinity", "infinity"};
    static const char *const hollow[] = {" d=\"\"", "<div></div>", "<tbody>\n</tbody>", "<td></td>", "<div class=\"big\"></div>",
                                         "<td class=\"n\"></td>"};
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        for (const char *p = html; (p = strstr(p, words[w])) != NULL; p++) {
            if ((p > html && letter(p[-1])) || letter(p[strlen(words[w])])) continue;
            snprintf(why, sizeof why, "\"%.50s\"", p > html + 20 ? p - 20 : html);
            return why;
        }
    }
    for (size_t w = 0; w < sizeof hollow / sizeof *hollow; w++) {
        const char *p = strstr(html, hollow[w]);
        if (p) snprintf(why, sizeof why, "empty: \"%.60s\"", p > html + 20 ? p - 20 : html);
        if (p) return why;
    }
    for (const char *p = html; (p = strstr(p, "<svg")) != NULL; p++) {
        const char *end = strstr(p, "</svg>"), *curve = strstr(p, "d=\"M"), *point = strstr(p, "<circle");
        if (!end || ((!curve || curve > end) && (!point || point > end))) {
            snprintf(why, sizeof why, "nothing is drawn in \"%.120s\"", p);
            return why;
        }
    }
    return NULL;
}

TEST(the_second_checker_checks)
{
    CHECK(unsound("<p>an infant</p><svg><path d=\"M1 2\"/></svg>") == NULL);
    CHECK_STR(unsound("<td>-nan</td>"), "\"<td>-nan</td>\"");
    CHECK(unsound("<rect x=\"inf\"/>") && unsound("<svg></svg>") && unsound("<svg><path d=\"\"/></svg>") && unsound("<tr><td></td></tr>"));
}

/* Reports on one table of predictions of the test split, beside a log whose validation measured nothing. */
static sw_status degenerate(const char *name, const char *table, const char *train, sw_buf *html, sw_error *err)
{
    SW_TRY(sw_mkdir_p(in(name, ""), err));
    SW_TRY(put(name, "predictions_test.csv", table, err));
    if (train) SW_TRY(put(name, "predictions_train.csv", train, err));
    SW_TRY(put(name, "log.jsonl",
               "{\"event\":\"start\",\"selected_on\":\"val\"}\n{\"event\":\"epoch\",\"epoch\":1,\"train_loss\":0.5,\"val_loss\":null,"
               "\"val_auc\":null,\"val_c_index\":null,\"lr\":0.001}\n", err));
    SW_TRY(report(name, html, err));
    const char *wrong = unbalanced(html->data) ? unbalanced(html->data) : unsound(html->data);
    if (wrong) return sw_error_set(err, SW_E_INTERNAL, "%s: %s", name, wrong);
    return SW_OK;
}

#define SAYS(html, text) CHECK(strstr((html).data, text) != NULL)

TEST(classes_that_are_absent)
{
    SW_CLEANUP(sw_buf_free) sw_buf three = {0}, one = {0}, single = {0};
    sw_error err;
    CHECK_OK(degenerate("absent", "slide_id,case_id,label,predicted,p_a,p_b,p_c\ns1,s1,a,a,.6,.3,.1\ns2,s2,a,c,.2,.3,.5\n"
                        "s3,s3,b,b,.1,.8,.1\ns4,s4,b,b,.3,.6,.1\n", NULL, &three, &err));
    SAYS(three, "No slide of the test split has the label &quot;c&quot;: nothing can be said about this class.");
    SAYS(three, "<th>c</th><td>0<span>&ndash;</span></td>");
    SAYS(three, "<td class=\"id\">c</td><td class=\"n\">0</td><td class=\"n\">1</td><td class=\"n\">&ndash;</td>");
    SAYS(three, "aria-label=\"ROC curves\"");
    SAYS(three, "<h3>Validation</h3><p class=\"missing\">No epoch of the log has a number for this chart.</p>");
    CHECK_OK(degenerate("alone", "slide_id,case_id,label,predicted,p_a,p_b\ns1,s1,a,a,.6,.4\ns2,s2,a,b,.2,.8\n", NULL, &one, &err));
    SAYS(one, "The AUC of the test split is undefined: all its slides have the label &quot;a&quot;.");
    SAYS(one, "No class has both positive and negative slides: there is no ROC curve.");
    SAYS(one, "No slide of the test split has the label &quot;b&quot;: nothing can be said about this class.");
    SAYS(one, "<div class=\"big\">&ndash;</div><div class=\"ci\">undefined here</div></div>"); /* and no scale */
    CHECK(!strstr(one.data, "aria-label=\"ROC curves\"") && !strstr(one.data, "only one class was drawn"));
    CHECK(!strstr(one.data, "Always naming the commonest class"));
    CHECK_OK(degenerate("single", "slide_id,case_id,label,predicted,p_a,p_b\ns1,s1,a,a,.6,.4\n", NULL, &single, &err));
    SAYS(single, "The test split has a single labelled slide: every resample is that slide again, and the intervals say nothing.");
    SAYS(single, "The AUC of the test split is undefined: all its slides have the label &quot;a&quot;.");
    SAYS(single, "Class &quot;a&quot; has only 1 slide in the test split.");
}

#define RISKS "case_id,slides,time,event,risk"
#define BINS RISKS ",s_2,s_4,s_end\n"
#define UNDEFINED "The concordance index of the test split is undefined: "

TEST(survival_that_is_undefined)
{
    const char *const train = RISKS "\nt,1,1,0,0.6\nu,1,9,0,0.5\n";
    SW_CLEANUP(sw_buf_free) sw_buf bins = {0}, cox = {0}, one = {0}, at_once = {0}, start = {0};
    sw_error err;
    CHECK_OK(degenerate("censored_bins", BINS "a,1,1,0,-1,.5,.3,.2\nb,1,3,0,-2,.8,.7,.5\nc,2,5,0,-3,1,1,1\n", BINS
                        "t,1,1,1,-1,.5,.3,.2\nu,1,9,0,-2,.8,.7,.5\n", &bins, &err));
    SAYS(bins, UNDEFINED "all its cases are censored.");
    SAYS(bins, "The log-rank test is undefined: one group is empty, or nobody has the event.");
    CHECK_OK(degenerate("censored_cox", RISKS "\na,1,1,0,.4\nb,1,3,0,.9\n", train, &cox, &err));
    SAYS(cox, UNDEFINED "all its cases are censored.");
    SAYS(cox, "There is no time at which cases and controls could be told apart.");
    CHECK_OK(degenerate("one_case", BINS "a,1,3,1,-1,.5,.3,.2\n", NULL, &one, &err));
    SAYS(one, UNDEFINED "it has no pair of cases that can be compared.");
    CHECK(!strstr(one.data, "rests on few pairs"));
    CHECK_OK(degenerate("at_once", RISKS "\na,1,3,1,.1\nb,1,3,1,.9\n", NULL, &at_once, &err));
    SAYS(at_once, UNDEFINED "it has no pair of cases that can be compared.");
    CHECK_OK(degenerate("at_the_start", RISKS "\na,1,0,1,.1\nb,1,0,0,.9\n", train, &start, &err));
    SAYS(start, "The test split has only 1 event in 2 cases: the concordance index rests on few pairs.");
}
#undef RISKS
#undef BINS
#undef UNDEFINED

TEST(many_classes)
{
    SW_CLEANUP(sw_buf_free) sw_buf csv = {0};
    SW_CLEANUP(sw_buf_free) sw_buf html = {0};
    sw_error err;
    CHECK_OK(sw_mkdir_p(in("many", ""), &err));
    sw_buf_puts(&csv, "slide_id,case_id,label,predicted,p_a,p_b,p_c,p_d\n");
    for (int i = 0; i < 40; i++) {
        int y = i % 3, p = i % 7 ? y : 3; /* class d is only predicted */
        sw_buf_printf(&csv, "s%d,s%d,%c,%c", i, i, 'a' + y, 'a' + p);
        for (int c = 0; c < 4; c++) sw_buf_puts(&csv, c == p ? ",.7" : ",.1");
        sw_buf_puts(&csv, "\n");
    }
    CHECK_OK(sw_file_write(in("many", "predictions_val.csv"), csv.data, csv.size, &err));
    CHECK_OK(report("many", &html, &err));
    CHECK(unbalanced(html.data) == NULL);
    CHECK(strstr(html.data, "No slide of the val split has the label &quot;d&quot;") != NULL);
    CHECK(strstr(html.data, ">c, AUC ") != NULL && strstr(html.data, ">d, AUC ") == NULL);
}

/* Every allocation fails once: the call says so, leaks nothing, and works afterwards. */
TEST(out_of_memory)
{
    sw_report_options opt = sw_report_options_default();
    sw_error err;
    int64_t live;
    sw_status status = SW_E_NOMEM;
    opt.resamples = 3;
    CHECK_OK(make_run("tight", &err));
    CHECK_OK(sw_file_remove(in("tight", "heatmaps/a<b>.png"), &err)); /* pictures would take the test minutes */
    CHECK_OK(sw_file_remove(in("tight", "heatmaps/a<b>_top.png"), &err));
    live = sw_mem_live();
    for (int k = 1; status != SW_OK; k++) {
        CHECK(k < 100000);
        sw_mem_fail_after(k);
        status = sw_report_write(in("tight", ""), NULL, &opt, &err);
        sw_mem_fail_after(0);
        CHECK_INT(sw_mem_live(), live);
        CHECK(status == SW_OK || status == SW_E_NOMEM);
    }
}
