/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of whole host files: see hostio.h. */
#include <stdlib.h>

#include "formats/core/cleanup.h"
#include "formats/core/units.h"
#include "hostio.h"

#define COPY_LEN 65536u

/* Bytes [off, end). */
static int copy_data(struct hostfile *to, struct hostfile *from, uint64_t off,
    uint64_t end, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = malloc(COPY_LEN);

	if (!buf)
		return err_nomem(e);
	for (uint64_t len; off < end; off += len) {
		len = min_u64(end - off, COPY_LEN);
		if (host_pread(from, buf, len, off, e) ||
		    host_pwrite(to, buf, len, off, e))
			return -1;
	}
	return 0;
}

int hostio_copy(struct hostfile *to, struct hostfile *from, struct err *e)
{
	uint64_t size = host_size(from);
	struct host_extent x;

	for (uint64_t off = 0; off < size; off += x.len)
		if (host_map(from, off, size - off, &x, e) ||
		    (!x.hole && copy_data(to, from, off, off + x.len, e)))
			return -1;
	return host_truncate(to, size, e);
}

int hostio_save(struct hostfile *from, const char *path, struct err *e)
{
	struct hostfile *to = host_open_file(
	    path, HOST_RDWR | HOST_CREATE | HOST_TRUNC | HOST_NOLOCK, e);
	int rc;

	if (!to)
		return -1;
	rc = hostio_copy(to, from, e);
	return host_close(to, e) ? -1 : rc;
}

int hostio_load(struct hostfile *to, const char *path, struct err *e)
{
	struct hostfile *from = host_open_file(path, HOST_NOLOCK, e);
	int rc;

	if (!from)
		return -1;
	rc = hostio_copy(to, from, e);
	host_put(from);
	return rc;
}
