/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel's network block devices, /dev/nbdN, over generic netlink: the
 * family "nbd" of linux/nbd-netlink.h.
 *
 * The kernel takes sockets that have negotiated already, and does the client's
 * part from there: simple replies, no TLS.
 */
#ifndef IMGD_KERNEL_H
#define IMGD_KERNEL_H

#include <stdint.h>

#include "core/err.h"

#define KERNEL_SOCKETS_MAX 16u
#define KERNEL_BLOCK_LEN   512u

/* One who asks.  Nobody else may at the same time. */
struct kernel {
	int fd;
	uint16_t family; /* the number of "nbd" in this kernel */
	uint32_t seq;
};

/* What a device is to be. */
struct kernel_device {
	uint32_t index;	    /* of /dev/nbdN */
	uint64_t size;	    /* bytes */
	uint16_t flags;	    /* NBD_FLAG_*, as the server said */
	uint64_t timeout_s; /* for one reply; 0: none where it has one socket */
	const char *backend; /* who serves it, for others to read */
	const int *fd;	     /* stay the caller's, who may close them */
	unsigned fd_n;	     /* at most KERNEL_SOCKETS_MAX */
};

int kernel_open(struct kernel *k, struct err *e);
/* Over a socket that is connected to a kernel, which is taken over. */
int kernel_use(struct kernel *k, int fd, struct err *e);
void kernel_close(struct kernel *k);

/* EBUSY: it is connected already.  EPERM: takes CAP_SYS_ADMIN. */
int kernel_connect(
    struct kernel *k, const struct kernel_device *d, struct err *e);
/* Nothing happens to one that is not connected. */
int kernel_disconnect(struct kernel *k, uint32_t index, struct err *e);
/* 1 it is connected; 0; -1 */
int kernel_connected(struct kernel *k, uint32_t index, struct err *e);

#endif
