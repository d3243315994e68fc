/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of storage and options for it: which kind it is, how it is opened. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../host/nbd_name.h"
#include "open.h"

unsigned open_host_flags(const struct img_open *how)
{
	unsigned flags = HOST_CONNECTIONS(how->connections);

	if (how->flags & IMG_O_RDWR)
		flags |= HOST_RDWR;
	if (how->flags & IMG_O_FORCE_SHARE)
		flags |= HOST_NOLOCK;
	if (how->flags & IMG_O_DEPTH)
		flags |= HOST_DEPTH;
	switch (how->cache) {
	case IMG_CACHE_WRITEBACK:
	case IMG_CACHE_WRITETHROUGH:
		break;
	case IMG_CACHE_NONE:
	case IMG_CACHE_DIRECTSYNC:
		flags |= HOST_DIRECT;
		break;
	case IMG_CACHE_UNSAFE:
		flags |= HOST_NOSYNC;
		break;
	}
	return flags;
}

int open_lock(struct hostfile *f, struct err *e)
{
	unsigned perm = HOST_PERM_READ;

	if (f->flags & HOST_RDWR)
		perm |= HOST_PERM_WRITE | HOST_PERM_RESIZE;
	return host_lock(
	    f, perm, HOST_PERM_READ | HOST_PERM_WRITE_UNCHANGED, e);
}

/* ---- names --------------------------------------------------------------- */

const char *open_plain_path(const char *name, struct err *e)
{
	if (!strncmp(name, "file:", 5))
		return name + 5;
	if (!name_has_protocol(name))
		return name;
	err_set(e, ERR_UNSUPPORTED, ENOTSUP, "Unknown protocol '%.*s'",
	    (int)strcspn(name, ":"), name);
	return NULL;
}

int open_storage_check(const char *name, struct err *e)
{
	return nbd_is_name(name) || open_plain_path(name, e) ? 0 : -1;
}

struct hostfile *open_storage(
    const char *name, unsigned host_flags, struct err *e)
{
	struct nbd_address a;
	const char *path;

	if (!nbd_is_name(name)) {
		path = open_plain_path(name, e);
		return path ? host_open_file(path, host_flags, e) : NULL;
	}
	if (!nbd_parse_name(&a, name, e))
		return host_open_nbd(&a, host_flags, e);
	nbd_address_clear(&a);
	return NULL;
}

char *storage_identity(const char *name)
{
	struct err ignored = ERR_INIT;
	struct nbd_address a;
	char *same = NULL;

	if (!nbd_is_name(name))
		return realpath(name, NULL);
	if (!nbd_parse_name(&a, name, &ignored))
		same = nbd_address_name(&a, &ignored);
	nbd_address_clear(&a);
	return same;
}

int storage_check_kind(const char *name, const char *driver, struct err *e)
{
	bool remote = nbd_is_name(name), wants_device;
	const char *path = remote ? name : open_plain_path(name, e);
	struct stat st = {.st_mode = 0};
	bool device;

	if (!path)
		return -1;
	if (!strcmp(driver, "nbd"))
		return remote ? 0
			      : err_usage(e,
				    "File name string for NBD must start with "
				    "'nbd:'");
	wants_device = !strcmp(driver, "host_device");
	if (!remote && stat(path, &st) && wants_device)
		return err_sys(e, errno, "Could not open '%s'", path);
	device = S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode);
	if (!remote && device == wants_device)
		return 0;
	return err_usage(e, "'%s' driver requires '%s' to be %s", driver, name,
	    wants_device ? "either a character or block device"
			 : "a regular file");
}

/* ---- options ------------------------------------------------------------- */

bool storage_is_driver(const char *name)
{
	return !strcmp(name, "file") || !strcmp(name, "host_device") ||
	       !strcmp(name, "nbd");
}

/* What every kind of storage takes. */
static int common_flags(struct options *o, unsigned *host_flags, struct err *e)
{
	struct node_options node;
	bool yes;

	if (options_bool(o, "cache.direct", &yes, e) == 1)
		*host_flags = yes ? *host_flags | HOST_DIRECT
				  : *host_flags & ~HOST_DIRECT;
	if (options_bool(o, "cache.no-flush", &yes, e) == 1 && yes)
		*host_flags |= HOST_NOSYNC;
	if (options_bool(o, "read-only", &yes, e) == 1 && yes)
		*host_flags &= ~HOST_RDWR;
	if (err_is_set(e) || node_options_read(o, &node, e))
		return -1;
	if (!node.force_share)
		return 0;
	if (*host_flags & HOST_RDWR)
		return err_usage(
		    e, "force-share=on can only be used with read-only images");
	*host_flags |= HOST_NOLOCK;
	return 0;
}

static int check_unused(
    const struct options *o, const char *driver, struct err *e)
{
	const char *unused = options_unused(o);

	return unused ? err_usage(e,
			    "Block protocol '%s' doesn't support the option "
			    "'%s'",
			    driver, unused)
		      : 0;
}

/* What only tunes the other program is checked, and changes nothing here. */
static int file_tuning(struct options *o, struct err *e)
{
	const char *manager = options_get(o, "pr-manager");
	uint64_t batch;
	bool yes;

	if (options_u64(o, "aio-max-batch", &batch, e) < 0 ||
	    options_bool(o, "drop-cache", &yes, e) < 0 ||
	    options_bool(o, "x-check-cache-dropped", &yes, e) < 0)
		return -1;
	return manager ? err_usage(e,
			     "No persistent reservation manager with id '%s'",
			     manager)
		       : 0;
}

static int file_flags(struct options *o, unsigned *host_flags, struct err *e)
{
	const char *locking = options_get(o, "locking");
	const char *aio = options_get(o, "aio");

	if (locking && !strcmp(locking, "off"))
		*host_flags |= HOST_NOLOCK;
	else if (locking && strcmp(locking, "on") && strcmp(locking, "auto"))
		return err_usage(e, "invalid parameter value: %s", locking);
	if (aio && strcmp(aio, "threads") && strcmp(aio, "native") &&
	    strcmp(aio, "io_uring"))
		return err_usage(e, "invalid parameter value: %s", aio);
	if (common_flags(o, host_flags, e) || file_tuning(o, e))
		return -1;
	if (aio && !strcmp(aio, "native") && !(*host_flags & HOST_DIRECT))
		return err_usage(e,
		    "aio=native was specified, but it requires "
		    "cache.direct=on, which was not specified.");
	return 0;
}

static struct hostfile *open_file(
    struct options *o, unsigned host_flags, struct err *e)
{
	const char *path = options_get(o, "filename");

	if (!path) {
		err_usage(e, "The 'file' block driver requires a file name");
		return NULL;
	}
	if (file_flags(o, &host_flags, e) || check_unused(o, "file", e))
		return NULL;
	return host_open_file(path, host_flags, e);
}

static struct hostfile *open_nbd(
    struct options *o, unsigned host_flags, struct err *e)
{
	struct nbd_address a;

	if (!nbd_parse_options(&a, o, e) && !common_flags(o, &host_flags, e) &&
	    !check_unused(o, "nbd", e))
		return host_open_nbd(&a, host_flags, e);
	nbd_address_clear(&a);
	return NULL;
}

struct hostfile *open_file_options(
    struct options *o, unsigned host_flags, struct err *e)
{
	const char *driver = options_get(o, "driver");

	if (driver && !storage_is_driver(driver)) {
		err_unsupported(e, "Unknown driver '%s'", driver);
		return NULL;
	}
	if (driver && !strcmp(driver, "nbd"))
		return open_nbd(o, host_flags, e);
	return open_file(o, host_flags, e);
}
