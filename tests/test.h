/* SPDX-License-Identifier: Apache-2.0 */
/* A small TAP test harness: TEST(name) { … }; the main() is in test_main.c. */
#ifndef SW_TEST_H
#define SW_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef void (*sw_test_fn)(void);
void sw_test_register(const char *name, sw_test_fn fn);
/* Records a failure of the running test and returns false. */
bool sw_test_fail(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void sw_test_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Folder of the real data ("../shared/data" beside the checkout, or $SLIDEWISE_DATA); NULL: absent. */
const char *sw_test_data(void);
/* A fresh folder for this test process, removed at exit. */
const char *sw_test_dir(void);
/* Folder tests/ of the source tree. */
const char *sw_test_source(void);

#define TEST(name)                                                                              \
    static void test_##name(void);                                                              \
    __attribute__((constructor)) static void register_##name(void)                              \
    {                                                                                           \
        sw_test_register(#name, test_##name);                                                   \
    }                                                                                           \
    static void test_##name(void)

#define CHECK(cond)                                                                             \
    do {                                                                                        \
        if (!(cond)) {                                                                          \
            sw_test_fail(__FILE__, __LINE__, "%s", #cond);                                      \
            return;                                                                             \
        }                                                                                       \
    } while (0)
#define CHECK_INT(actual, expected)                                                             \
    do {                                                                                        \
        long long a_ = (long long)(actual), e_ = (long long)(expected);                         \
        if (a_ != e_) {                                                                         \
            sw_test_fail(__FILE__, __LINE__, "%s is %lld, expected %lld", #actual, a_, e_);     \
            return;                                                                             \
        }                                                                                       \
    } while (0)
/* |actual - expected| <= tol * max(1e-300, |expected|) or <= abs_tol; NaN fails. */
#define CHECK_NEAR(actual, expected, tol, abs_tol)                                              \
    do {                                                                                        \
        double a_ = (actual), e_ = (expected), d_ = fabs(a_ - e_);                              \
        if (!(d_ <= (tol) * fabs(e_) || d_ <= (abs_tol))) {                                     \
            sw_test_fail(__FILE__, __LINE__, "%s is %.12g, expected %.12g", #actual, a_, e_);   \
            return;                                                                             \
        }                                                                                       \
    } while (0)
#define CHECK_STR(actual, expected)                                                             \
    do {                                                                                        \
        const char *a_ = (actual), *e_ = (expected);                                            \
        if (!a_ || strcmp(a_, e_) != 0) {                                                       \
            sw_test_fail(__FILE__, __LINE__, "%s is\n#   \"%s\", expected\n#   \"%s\"", #actual, a_ ? a_ : "(null)", e_); \
            return;                                                                             \
        }                                                                                       \
    } while (0)
/* For calls that fill `sw_error err`: prints the message. */
#define CHECK_OK(call)                                                                          \
    do {                                                                                        \
        err.message[0] = '\0';                                                                  \
        if ((call) != SW_OK) {                                                                  \
            sw_test_fail(__FILE__, __LINE__, "%s: %s", #call, err.message);                     \
            return;                                                                             \
        }                                                                                       \
    } while (0)
#define SKIP(...)                                                                               \
    do {                                                                                        \
        sw_test_skip(__VA_ARGS__);                                                              \
        return;                                                                                 \
    } while (0)

#endif
