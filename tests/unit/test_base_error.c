/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "base/mem.h"
#include "base/text.h"
#include "test.h"

#include <locale.h>
#include <stdlib.h>

TEST(error_keeps_code_and_sentence)
{
    sw_error err = {0};
    CHECK_INT(sw_error_set(&err, SW_E_FORMAT, "%s, line %d: bad", "a.csv", 7), SW_E_FORMAT);
    CHECK_INT(err.code, SW_E_FORMAT);
    CHECK_STR(err.message, "a.csv, line 7: bad");
    CHECK_INT(sw_error_prefix(&err, "slide %s", "x"), SW_E_FORMAT);
    CHECK_STR(err.message, "slide x: a.csv, line 7: bad");
    CHECK_INT(sw_error_set(NULL, SW_E_IO, "%s", "lost"), SW_E_IO);
}

TEST(error_may_quote_its_own_message)
{
    sw_error err = {0};
    CHECK_INT(sw_error_set(&err, SW_E_IO, "inner"), SW_E_IO);
    CHECK_INT(sw_error_set(&err, SW_E_INVALID, "outer (%s)", err.message), SW_E_INVALID);
    CHECK_STR(err.message, "outer (inner)");
}

TEST(error_is_cut_between_characters)
{
    sw_error err = {0};
    char text[2000];
    memset(text, 'a', sizeof(text));
    for (int shift = 0; shift < 2; shift++) { /* two-byte characters at odd and at even places */
        for (size_t i = (size_t)shift; i + 1 < sizeof(text) - 1; i += 2) memcpy(text + i, "\xC3\xA9", 2);
        text[sizeof(text) - 1] = '\0';
        CHECK_INT(sw_error_set(&err, SW_E_IO, "%s", text), SW_E_IO);
        size_t size = strlen(err.message);
        CHECK_INT(size, 1023 - (1023 - (size_t)shift) % 2);
        CHECK_INT((unsigned char)err.message[size - 1], 0xA9);
    }
}

TEST(status_names)
{
    CHECK_STR(sw_status_name(SW_E_NOT_FOUND), "not found");
    CHECK_STR(sw_status_name(SW_E_NOSPACE), "disk full");
    CHECK_STR(sw_status_name((sw_status)99), "unknown status");
}

TEST(the_kth_allocation_fails_once)
{
    int64_t live = sw_mem_live();
    sw_mem_fail_after(2);
    void *first = sw_malloc(8), *second = sw_malloc(8), *third = sw_calloc(2, 4);
    sw_mem_fail_after(0);
    CHECK(first && !second && third);
    CHECK_INT(sw_mem_live(), live + 2);
    sw_free(first);
    sw_free(third);
    CHECK_INT(sw_mem_live(), live);
}

TEST(every_kind_of_allocation_can_fail)
{
    char *old = sw_strdup("kept");
    void *got[6];
    for (int kind = 0; kind < 6; kind++) {
        sw_mem_fail_after(1);
        got[kind] = kind == 0   ? sw_malloc(1)
                    : kind == 1 ? sw_calloc(1, 1)
                    : kind == 2 ? sw_realloc(old, 100)
                    : kind == 3 ? (void *)sw_strdup("x")
                    : kind == 4 ? (void *)sw_asprintf("%d", 1)
                                : sw_aligned_alloc(64, 10);
        sw_mem_fail_after(0);
    }
    for (int kind = 0; kind < 6; kind++) CHECK(!got[kind]);
    CHECK_STR(old, "kept");
    sw_free(old);
}

TEST(sizes_that_overflow_are_refused)
{
    volatile size_t huge = SIZE_MAX / 2; /* volatile: or the compiler warns of what is tested here */
    CHECK(!sw_calloc(huge, 3));
    CHECK(!sw_realloc_array(NULL, huge, 3));
}

TEST(aligned_and_growing)
{
    sw_error err = {0};
    SW_AUTOFREE void *mem = sw_aligned_alloc(64, 3);
    CHECK_INT((uintptr_t)mem % 64, 0);
    SW_AUTOFREE int *items = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 100; i++) {
        CHECK_OK(sw_grow(&items, &capacity, (size_t)i + 1, sizeof(*items), &err));
        items[i] = i;
    }
    CHECK_INT(items[99], 99);
    sw_mem_fail_after(1);
    size_t before = capacity;
    CHECK_INT(sw_grow(&items, &capacity, 10000, sizeof(*items), &err), SW_E_NOMEM);
    CHECK_INT(capacity, before);
    CHECK_STR(err.message, "out of memory");
    CHECK_INT(items[7], 7);
}

TEST(stealing_clears_the_variable)
{
    char *from = sw_strdup("x");
    char *to = SW_STEAL(from);
    CHECK(!from);
    CHECK_STR(to, "x");
    sw_free(to);
}

TEST(buffer_builds_text)
{
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_buf_puts(&buf, "a");
    for (int i = 0; i < 50; i++) sw_buf_printf(&buf, ",%d", i);
    CHECK_INT(buf.size, 141);
    CHECK_INT(buf.data[buf.size], 0);
    sw_buf_clear(&buf);
    CHECK_STR(buf.data, "");
    const char *plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"}; /* RFC 4648, section 10 */
    const char *coded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (int i = 0; i < 7; i++) {
        sw_buf_clear(&buf);
        sw_buf_base64(&buf, plain[i], strlen(plain[i]));
        CHECK_STR(buf.data, coded[i]);
    }
}

TEST(buffer_failure_is_sticky)
{
    sw_error err = {0};
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_mem_fail_after(1);
    sw_buf_puts(&buf, "lost");
    sw_buf_puts(&buf, "also lost");
    CHECK_INT(buf.size, 0);
    CHECK_INT(sw_buf_status(&buf, &err), SW_E_NOMEM);
    sw_buf_clear(&buf);
    CHECK_OK(sw_buf_status(&buf, &err));
}

TEST(numbers_are_strict)
{
    double real = -1;
    int64_t whole = -1;
    CHECK(sw_parse_double("1e-3", &real) && real == 1e-3);
    CHECK(sw_parse_double("-.5", &real) && real == -0.5);
    const char *bad[] = {"", " 1", "1 ", "1,5", "0x10", "nan", "inf", "1e999", "e", "1-", "--1", "12abc"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (sw_parse_double(bad[i], &real)) sw_test_fail(__FILE__, __LINE__, "\"%s\" was taken for a number", bad[i]);
    }
    CHECK(real == -0.5);
    CHECK(sw_parse_int("-9223372036854775808", &whole) && whole == INT64_MIN);
    const char *bad_int[] = {"9223372036854775808", "1.0", "1e3", "", "+", " 2"};
    for (size_t i = 0; i < sizeof(bad_int) / sizeof(bad_int[0]); i++) CHECK(!sw_parse_int(bad_int[i], &whole));
    CHECK(whole == INT64_MIN);
}

TEST(numbers_ignore_the_locale_of_the_host)
{
    /* Comma locales are rarely installed: skip, visibly, where none is. */
    const char *names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "nl_NL.UTF-8"};
    const char *set = NULL;
    for (size_t i = 0; i < 4 && !set; i++) set = setlocale(LC_ALL, names[i]);
    if (!set) SKIP("no locale with a decimal comma is installed");
    double real = 0;
    SW_CLEANUP(sw_buf_free) sw_buf buf = {0};
    sw_buf_printf(&buf, "%.2f", 1.5);
    bool parsed = sw_parse_double("1.5", &real);
    setlocale(LC_ALL, "C");
    CHECK_STR(buf.data, "1.50");
    CHECK(parsed && real == 1.5);
}

TEST(nearest_names)
{
    const char *names[] = {"epochs", "batch_bags", "lr", "weight_decay"};
    CHECK_STR(sw_nearest_name("epoch", names, 4), "epochs");
    CHECK_STR(sw_nearest_name("weigth_decay", names, 4), "weight_decay");
    CHECK_STR(sw_nearest_name("Batch-Bags", names, 4), "batch_bags");
    CHECK(!sw_nearest_name("colour", names, 4));
    CHECK_INT(sw_edit_distance("kitten", "sitting"), 3);
    CHECK_INT(sw_edit_distance("ab", "ba"), 1);
    CHECK_INT(sw_edit_distance("", "abc"), 3);
}
