/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The anti-forensic splitter of LUKS: a key becomes `stripes` times as many
 * bytes, all of which are needed to get it back, so that it is gone when any
 * part of them is overwritten.
 */
#ifndef IMGD_AFSPLIT_H
#define IMGD_AFSPLIT_H

#include <stddef.h>
#include <stdint.h>

#include "../core/err.h"

/* `out` has len * stripes bytes. */
int af_split(int hash, const uint8_t *key, size_t len, uint32_t stripes,
    uint8_t *out, struct err *e);
void af_merge(
    int hash, const uint8_t *in, size_t len, uint32_t stripes, uint8_t *key);

#endif
