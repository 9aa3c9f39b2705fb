/* SPDX-License-Identifier: Apache-2.0 */
/* Errors: every fallible function returns an sw_status and fills a caller-owned sw_error. */
#ifndef SLIDEWISE_ERROR_H
#define SLIDEWISE_ERROR_H

#include <stdbool.h>

#if defined(__GNUC__)
#define SW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SW_MUST_CHECK __attribute__((warn_unused_result))
#define SW_API __attribute__((visibility("default")))
#else
#define SW_PRINTF(fmt, args)
#define SW_MUST_CHECK
#define SW_API
#endif

typedef enum sw_status {
    SW_OK = 0,
    SW_E_NOMEM,       /* an allocation failed */
    SW_E_INVALID,     /* a value is outside what is allowed */
    SW_E_IO,          /* the operating system refused a read or a write */
    SW_E_NOSPACE,     /* the disk is full */
    SW_E_NOT_FOUND,   /* a file, slide, key or column is missing */
    SW_E_FORMAT,      /* a file's content is not what its format says */
    SW_E_UNSUPPORTED, /* valid, but this build or backend cannot do it */
    SW_E_CANCELLED,   /* the caller asked to stop */
    SW_E_INTERNAL     /* a defect of slidewise */
} sw_status;

/* One sentence that names the file, the value and the mend. */
typedef struct sw_error {
    sw_status code;
    char message[1024]; /* UTF-8, always terminated; longer texts are cut */
} sw_error;

#ifdef __cplusplus
extern "C" {
#endif

/* Stores `code` and the formatted sentence in `err` (which may be NULL); returns `code`. */
SW_API sw_status sw_error_set(sw_error *err, sw_status code, const char *fmt, ...)
    SW_PRINTF(3, 4);

/* Puts "prefix: " before the message that is already in `err`; returns its code. */
SW_API sw_status sw_error_prefix(sw_error *err, const char *fmt, ...) SW_PRINTF(2, 3);

/* Name of a status ("not found"), static storage. */
SW_API const char *sw_status_name(sw_status status);

#ifdef __cplusplus
}
#endif

/* Returns from the calling function when `expr` is not SW_OK. */
#define SW_TRY(expr)                                                                            \
    do {                                                                                        \
        sw_status sw_try_ = (expr);                                                             \
        if (sw_try_ != SW_OK) return sw_try_;                                                   \
    } while (0)

#endif
