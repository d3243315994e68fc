/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole host files, for tests: copies of them. */
#ifndef TEST_HOSTIO_H
#define TEST_HOSTIO_H

#include "formats/host/hostfile.h"

/* `to` gets the data and the size of `from`; holes are left out. */
int hostio_copy(struct hostfile *to, struct hostfile *from, struct err *e);
/* The same to a file of that name, made or overwritten. */
int hostio_save(struct hostfile *from, const char *path, struct err *e);
/* The same from a file of that name. */
int hostio_load(struct hostfile *to, const char *path, struct err *e);

#endif
