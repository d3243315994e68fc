/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of cluster indexes of a file, for "is there live metadata here?" (I4).
 * Memory goes with the members, not with the largest index.
 *
 * Not thread-safe: the owner's meta lock guards it (shared for clusterset_any).
 */
#ifndef IMGD_CLUSTERSET_H
#define IMGD_CLUSTERSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct clusterset_leaf;

struct clusterset {
	struct clusterset_leaf **slot; /* open hash of leaves */
	size_t max, n;
};

void clusterset_init(struct clusterset *s);
void clusterset_destroy(struct clusterset *s);
int clusterset_add(
    struct clusterset *s, uint64_t cl, uint64_t n, struct err *e);
void clusterset_remove(struct clusterset *s, uint64_t cl, uint64_t n);
/* Is any of [cl, cl + n) a member? */
bool clusterset_any(const struct clusterset *s, uint64_t cl, uint64_t n);

#endif
