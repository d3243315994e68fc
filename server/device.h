/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of the kernel, /dev/nbdN, as a client of this server: --connect and
 * --disconnect.
 *
 * The server negotiates with itself over socket pairs and hands one end of each
 * to the kernel.  Whoever disconnects the device, this server or another
 * program, the clients leave then as others do.
 */
#ifndef IMGD_DEVICE_H
#define IMGD_DEVICE_H

#include "kernel.h"

#define DEVICE_SOCKETS_MAX 8u

struct clients;

struct device {
	struct kernel kernel;
	char *path;
	uint32_t index;
	int fd[DEVICE_SOCKETS_MAX]; /* that the kernel has, too */
	unsigned fd_n;
};

/* Is it there, and one of these?  device_close() in any case. */
int device_open(struct device *d, const char *path, struct err *e);
/*
 * Serves the export of this name to the device.  `shared`: as many clients may
 * be connected at a time, 0 for no limit; with 1 it gets one connection.  When
 * this returns 0 the device has its size and can be read.
 */
int device_attach(struct device *d, struct clients *cs, const char *export,
    unsigned shared, struct err *e);
/* Unless somebody did: writes what the kernel has not written yet, and
   disconnects.  The clients are served meanwhile. */
int device_detach(struct device *d, struct err *e);
void device_close(struct device *d);

/*
 * Disconnects the device, whoever serves it, after writing what the kernel has
 * not.  When this returns 0 it is free, and a server of this program that it
 * had has ended.  It must not be in use.
 */
int device_disconnect(const char *path, struct err *e);

#endif
