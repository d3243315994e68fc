/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the map of an image says, for clients: block status in the contexts
 * that they selected, and the holes in what they read.
 */
#ifndef IMGD_STATUS_H
#define IMGD_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#include "context.h"

struct task;
struct session;

/* A length, and the ID of every context. */
#define STATUS_PAYLOAD_MAX (8 + 4 * CONTEXT_MAX)

/* Bytes of memory that a block status in these contexts may take. */
size_t status_len(uint64_t contexts, bool extended);
/*
 * Takes the length and the contexts of a BLOCK_STATUS from its payload.  0, or
 * the error to answer, with the reason in *why.
 */
uint32_t status_filter(
    struct task *r, const struct session *s, const char **why);
/* Answers a BLOCK_STATUS request. */
int status_answer(struct task *r, const struct session *s, struct err *e);
/*
 * Cuts a read into chunks: data, and holes where the reply may have them and
 * they are worth it.
 */
int status_split(struct task *r, const struct session *s, struct err *e);

#endif
