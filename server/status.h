/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the map of an image says, for clients: block status in the contexts
 * that they selected, and the holes in what they read.
 */
#ifndef IMGD_STATUS_H
#define IMGD_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct task;
struct session;

/* Name of metadata context i, which is also its ID; NULL past the last. */
const char *status_context(unsigned i);
/* Bytes of memory that the answer to a BLOCK_STATUS may take. */
size_t status_len(const struct session *s);
/* Answers a BLOCK_STATUS request. */
int status_answer(struct task *r, const struct session *s, struct err *e);
/*
 * Cuts a read into chunks: data, and holes where the reply may have them and
 * they are worth it.
 */
int status_split(struct task *r, const struct session *s, struct err *e);

#endif
