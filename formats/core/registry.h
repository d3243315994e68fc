/* SPDX-License-Identifier: BSD-3-Clause */
/* The formats that this build knows, and telling them apart. */
#ifndef IMGD_REGISTRY_H
#define IMGD_REGISTRY_H

#include "../driver.h"

/* NULL when unknown. */
const struct driver *registry_find(const char *name);
/* The i-th in the order that they are listed; NULL past the end. */
const struct driver *registry_at(unsigned i);
/* The driver that recognises the file; raw when none does.  NULL with *e set,
 * also when more than one does. */
const struct driver *registry_probe(struct hostfile *f, struct err *e);
/* The same; *other is one more that claims the file, or NULL. */
const struct driver *registry_guess(
    const struct probe_in *p, const struct driver **other);

#endif
