/* SPDX-License-Identifier: BSD-3-Clause */
/* In place of kernel.c where netlink is not supported. */
#include "kernel.h"

int kernel_open(struct kernel *k, struct err *e)
{
	k->fd = -1;
	return err_unsupported(
	    e, "imgd was built without block devices of the kernel (libmnl)");
}

void kernel_close(struct kernel *k)
{
	(void)k;
}

int kernel_connect(
    struct kernel *k, const struct kernel_device *d, struct err *e)
{
	(void)k, (void)d, (void)e;
	return -1;
}

int kernel_disconnect(struct kernel *k, uint32_t index, struct err *e)
{
	(void)k, (void)index, (void)e;
	return -1;
}

int kernel_connected(struct kernel *k, uint32_t index, struct err *e)
{
	(void)k, (void)index, (void)e;
	return -1;
}
