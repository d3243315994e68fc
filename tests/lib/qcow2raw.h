/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fields of a qcow2 file by their place in it, for tests that look at one from
 * outside or damage it.  What fails here fails the test.
 */
#ifndef TEST_QCOW2RAW_H
#define TEST_QCOW2RAW_H

#include <stdint.h>

#include "formats/host/hostfile.h"

uint64_t qcow2raw_get64(struct hostfile *f, uint64_t host);
void qcow2raw_put64(struct hostfile *f, uint64_t host, uint64_t value);

uint64_t qcow2raw_cluster_len(struct hostfile *f);
uint64_t qcow2raw_l1(struct hostfile *f);
uint64_t qcow2raw_reftable(struct hostfile *f);
/* The first L2 table, the first refcount block. */
uint64_t qcow2raw_l2(struct hostfile *f);
uint64_t qcow2raw_refblock(struct hostfile *f);
/* Set the count of the cluster at `host`, which the first block holds; counts
 * of 16 bits. */
void qcow2raw_set_count(struct hostfile *f, uint64_t host, uint16_t count);

#endif
