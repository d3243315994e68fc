/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From one host file to another without passing through this program: a copy
 * by the kernel, which moves the bytes, and a clone, which does not: both
 * files then own the same blocks, until one of them is written.
 */
#include "../core/units.h"
#include "change.h"

int64_t host_copy(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e)
{
	uint64_t src_size = host_size(src);
	int64_t got;
	bool grows;

	len = src_off < src_size ? min_u64(len, src_size - src_off) : 0;
	if (change_check(dst, "copy", dst_off, len, e))
		return -1;
	if (!len || !dst->ops->copy_from)
		return 0;
	grows = change_grows(dst, dst_off + len);
	got = dst->ops->copy_from(dst, dst_off, src, src_off, len, e);
	change_grown(
	    dst, grows, got < 0 ? -1 : got > 0, dst_off + (uint64_t)got);
	return got > 0 && change_done(dst, e) ? -1 : got;
}

uint32_t host_clone_unit(struct hostfile *dst, struct hostfile *src)
{
	return dst->ops->clone_unit && dst->flags & HOST_RDWR
		   ? dst->ops->clone_unit(dst, src)
		   : 0;
}

int host_clone(struct hostfile *dst, uint64_t dst_off, struct hostfile *src,
    uint64_t src_off, uint64_t len, struct err *e)
{
	bool grows;
	int rc;

	if (change_check(dst, "clone", dst_off, len, e))
		return -1;
	if (!len || !dst->ops->clone || !range_ok(src_off, len, host_size(src)))
		return 0;
	grows = change_grows(dst, dst_off + len);
	rc = dst->ops->clone(dst, dst_off, src, src_off, len, e);
	change_grown(dst, grows, rc, dst_off + len);
	return rc > 0 && change_done(dst, e) ? -1 : rc;
}
