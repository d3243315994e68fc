/* SPDX-License-Identifier: BSD-3-Clause */
/* The encryption of old: qcow, and qcow2 with crypt method 1. */
#ifndef IMGD_AES_LEGACY_H
#define IMGD_AES_LEGACY_H

#include "cipher.h"

/*
 * AES-128 in CBC mode; the key is the passphrase, cut or padded with zeroes to
 * 16 bytes, and the vector the number of the sector of the disk.  Anybody who
 * has some of the plain text can tell whether a passphrase is right; the image
 * itself cannot.
 */
struct cipher *aes_legacy_cipher(const char *pass, struct err *e);

#endif
