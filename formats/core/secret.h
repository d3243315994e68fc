/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of a secret object: given as they are, or in a file; in base64, and
 * encrypted with another secret (AES-256-CBC with padding), where it says so.
 */
#ifndef IMGD_SECRET_H
#define IMGD_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "options.h"

/* From its properties.  *data is malloc'd, and a NUL follows its bytes. */
int secret_read(struct options *o, uint8_t **data, size_t *len, struct err *e);

#endif
