/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For args.c: values of options, from text.  -1: it is wrong, and has been
 * reported.
 */
#ifndef IMGD_VALUES_H
#define IMGD_VALUES_H

#include <stdint.h>

struct args;
struct line;

/* A slower client could hold a connection for ages with one request. */
#define CLIENT_RATE_MIN 65536u /* bytes a second */

/* `what` names it in messages. */
int value_unsigned(const char *what, const char *text, unsigned *out);
/* Bytes, at least `min`, perhaps with a suffix. */
int value_size(const char *what, const char *text, uint64_t min, uint64_t *out);
int value_client_requests(struct args *a, const char *text);

int value_log_format(const char *mode);
int value_cache(struct line *l, const char *mode);
int value_discard(struct line *l, const char *mode);
int value_aio(struct line *l, const char *mode);
int value_backing(struct args *a, const char *mode);
int value_detect_zeroes(struct args *a, const char *mode);

#endif
