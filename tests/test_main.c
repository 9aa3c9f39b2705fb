/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the registered tests of one program and reports in TAP. Arguments: names to run (default all). */
#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TESTS 512

static struct {
    const char *name;
    sw_test_fn fn;
} tests[MAX_TESTS];
static int n_tests;
static bool failed, skipped;
static char why[512];
static char scratch[256];

void sw_test_register(const char *name, sw_test_fn fn)
{
    if (n_tests == MAX_TESTS) {
        fprintf(stderr, "more than %d tests in one program\n", MAX_TESTS);
        exit(2);
    }
    tests[n_tests].name = name;
    tests[n_tests++].fn = fn;
}

bool sw_test_fail(const char *file, int line, const char *fmt, ...)
{
    va_list ap;
    failed = true;
    printf("# %s:%d: ", file, line);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    return false;
}

void sw_test_skip(const char *fmt, ...)
{
    va_list ap;
    skipped = true;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
}

const char *sw_test_source(void)
{
    return SW_TEST_SOURCE_DIR;
}

const char *sw_test_data(void)
{
    static char path[1024];
    const char *env = getenv("SLIDEWISE_DATA");
    struct stat st;
    if (env && *env) {
        snprintf(path, sizeof path, "%s", env);
    } else {
        snprintf(path, sizeof path, "%s/../../shared/data", SW_TEST_SOURCE_DIR);
    }
    return stat(path, &st) == 0 ? path : NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void remove_scratch(void)
{
    if (scratch[0]) nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *sw_test_dir(void)
{
    if (!scratch[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(scratch, sizeof scratch, "%s/slidewise-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(scratch)) {
            perror(scratch);
            exit(2);
        }
        atexit(remove_scratch);
    }
    return scratch;
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) return true;
    }
    return argc < 2;
}

int main(int argc, char **argv)
{
    int bad = 0, number = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < n_tests; i++) {
        if (!wanted(tests[i].name, argc, argv)) continue;
        failed = skipped = false;
        tests[i].fn();
        number++;
        if (failed) bad++;
        printf("%s %d - %s%s%s\n", failed ? "not ok" : "ok", number, tests[i].name,
               skipped && !failed ? " # SKIP " : "", skipped && !failed ? why : "");
    }
    printf("1..%d\n", number);
    return bad ? 1 : 0;
}
