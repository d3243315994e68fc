/* SPDX-License-Identifier: BSD-3-Clause */
/* The formats that this build knows, and telling them apart. */
#ifndef IMGD_REGISTRY_H
#define IMGD_REGISTRY_H

#include "../driver.h"

/* NULL when unknown. */
const struct driver *registry_find(const char *name);
/* The i-th in the order that they are listed; NULL past the end. */
const struct driver *registry_at(unsigned i);
/* The driver that recognises the file best; raw when none does. */
const struct driver *registry_probe(struct hostfile *f, struct err *e);
/* The same from the first bytes, 4096 at most, of a file of that name. */
const struct driver *registry_guess(
    const uint8_t *buf, size_t len, const char *name);

#endif
