/* SPDX-License-Identifier: BSD-3-Clause */
/* Fields of a qcow2 file: see qcow2raw.h. */
#include "check.h"
#include "formats/core/units.h"
#include "qcow2raw.h"

#define HOST_MASK 0x00fffffffffffe00ull

uint64_t qcow2raw_get64(struct hostfile *f, uint64_t host)
{
	struct err e = ERR_INIT;
	uint8_t buf[8];

	assert_ok(host_pread(f, buf, sizeof buf, host, &e), &e);
	return be64(buf);
}

void qcow2raw_put64(struct hostfile *f, uint64_t host, uint64_t value)
{
	struct err e = ERR_INIT;
	uint8_t buf[8];

	put_be64(buf, value);
	assert_ok(host_pwrite(f, buf, sizeof buf, host, &e), &e);
}

uint64_t qcow2raw_cluster_len(struct hostfile *f)
{
	return 1ull << (qcow2raw_get64(f, 16) & 31);
}

uint64_t qcow2raw_l1(struct hostfile *f)
{
	return qcow2raw_get64(f, 40);
}

uint64_t qcow2raw_reftable(struct hostfile *f)
{
	return qcow2raw_get64(f, 48);
}

uint64_t qcow2raw_l2(struct hostfile *f)
{
	return qcow2raw_get64(f, qcow2raw_l1(f)) & HOST_MASK;
}

uint64_t qcow2raw_refblock(struct hostfile *f)
{
	return qcow2raw_get64(f, qcow2raw_reftable(f));
}

void qcow2raw_set_count(struct hostfile *f, uint64_t host, uint16_t count)
{
	uint64_t cl = host / qcow2raw_cluster_len(f);
	struct err e = ERR_INIT;
	uint8_t buf[2];

	put_be16(buf, count);
	assert_ok(
	    host_pwrite(f, buf, sizeof buf, qcow2raw_refblock(f) + 2 * cl, &e),
	    &e);
}
