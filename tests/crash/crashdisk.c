/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk that can lose power, in one file or several: see crashdisk.h. */
#include <stdlib.h>
#include <sys/stat.h>

#include "check.h"
#include "crashdir.h"
#include "crashdisk.h"

void crashdisk_new(struct crashdisk *d, const struct parts *parts)
{
	struct err e = ERR_INIT;

	*d = (struct crashdisk){0};
	if (parts) {
		assert_int_equal(mkdir("live", 0777), 0);
		parts_make("live", "disk", parts);
		d->host = host_open_file("live/disk.vmdk", HOST_RDWR, &e);
		assert_no_error(&e);
		return;
	}
	d->c = crashfile_new(&e);
	assert_no_error(&e);
	d->host = crashfile_host(d->c);
}

void crashdisk_free(struct crashdisk *d)
{
	host_put(d->host);
	if (d->c)
		crashfile_free(d->c);
	else
		assert_int_equal(system("rm -r live"), 0);
}

void crashdisk_watch(struct crashdisk *d, struct crash_watch *w)
{
	if (d->c)
		crash_watch(d->c, w);
	else
		crashdir_begin("live", w);
}

void crashdisk_watch_end(struct crashdisk *d)
{
	if (d->c)
		crashfile_on_sync(d->c, NULL, NULL);
	else
		crashdir_end();
}

struct hostfile *crashdisk_image(struct crashdisk *d, uint64_t seed)
{
	struct err e = ERR_INIT;
	struct hostfile *f;

	if (d->c) {
		f = crashfile_image(d->c, seed, &e);
	} else {
		crashdir_image("crash", seed);
		f = host_open_file("crash/disk.vmdk", HOST_RDWR, &e);
	}
	assert_no_error(&e);
	return f;
}
