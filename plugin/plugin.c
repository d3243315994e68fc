/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nbdkit-image-plugin: serve a disk image of any format of the core through
 * nbdkit, so that its filters work on all of them.
 *
 * The image is opened once before nbdkit forks, so that whatever is wrong with
 * it is said before a client can connect, and closed again: the other process
 * would keep the file, and its locks, too.  After the fork one handle is shared
 * by every connection.  It is read-only at first, for nbdkit tells only with
 * each connection whether that may write (not with -r, nor below a filter that
 * only reads, such as cow); the first one that may swaps it for a writable one.
 * An image that is only read is thus never locked, marked or changed as one
 * that is written.
 *
 * Locks: served.lock guards the choice of the handle.  The handle does not
 * change while a connection holds it, so requests go without the lock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "plugin/params.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/* Most answers of img_map() that one request for extents may take. */
#define MAP_STEPS_MAX 16384

#define PREFERRED_MIN 4096u
#define PREFERRED_MAX (32u << 20)

static struct params params = PARAMS_INIT;

static struct {
	pthread_mutex_t lock;
	struct image *img;
	unsigned users_n; /* open connections                              */
	bool for_writers; /* img is what connections that may write get    */
	char *description;
} served = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Tell nbdkit's user, and its client, what went wrong. */
static int report(const struct err *e)
{
	nbdkit_error("%s%s%s", e->msg, e->hint[0] ? "\n" : "", e->hint);
	nbdkit_set_error(e->errnum);
	return -1;
}

/* ---- configuration ------------------------------------------------------ */

static int image_config(const char *key, const char *value)
{
	return params_set(&params, key, value);
}

static int image_config_complete(void)
{
	return params_complete(&params);
}

static void print_formats(void)
{
	const struct img_format *f;

	printf("image_formats=");
	for (unsigned i = 0; (f = img_format_at(i)); i++)
		printf("%s%s", i ? " " : "", f->name);
	putchar('\n');
}

/* ---- life of the handle ------------------------------------------------- */

static struct image *open_image(unsigned flags, struct err *e)
{
	struct img_open with = params.how;

	with.flags |= flags;
	return img_open(params.name, &with, e);
}

/* The read-only handle; an earlier connection may have failed to open it. */
static int make_readable(void)
{
	struct err e = ERR_INIT;

	if (!served.img)
		served.img = open_image(0, &e);
	return served.img ? 0 : report(&e);
}

static int image_get_ready(void)
{
	int len;

	if (make_readable() < 0)
		return -1;
	/* Clients see this: no path of the host's. */
	len = asprintf(&served.description, "%s image%s%s",
	    img_format(served.img), params.how.snapshot ? ", snapshot " : "",
	    params.how.snapshot ? params.how.snapshot : "");
	img_drop(take(served.img));
	if (len < 0) {
		served.description = NULL;
		nbdkit_error("asprintf: %m");
		return -1;
	}
	return 0;
}

static int image_after_fork(void)
{
	return make_readable();
}

/* Is this why a file that can be read cannot be written? */
static bool is_read_only(int errnum)
{
	return errnum == EACCES || errnum == EPERM || errnum == EROFS;
}

/*
 * Swap the handle for a writable one.  The read-only one goes first: its locks
 * exclude writers, our own too.  Where the image cannot be written it is
 * served read-only, as nbdkit's own plugins do.
 */
static int make_writable(void)
{
	struct err e = ERR_INIT;

	if (served.users_n > 0) {
		nbdkit_error(
		    "%s: in use by read-only connections", params.name);
		nbdkit_set_error(EBUSY);
		return -1;
	}
	img_drop(take(served.img));
	served.for_writers = false;
	served.img = open_image(IMG_O_RDWR, &e);
	if (!served.img && is_read_only(e.errnum)) {
		nbdkit_debug("read-only: %s", e.msg);
		err_clear(&e);
		served.img = open_image(0, &e);
	}
	served.for_writers = served.img != NULL;
	return served.img ? 0 : report(&e);
}

static void *image_open(int readonly)
{
	struct image *img = NULL;
	int ret;

	pthread_mutex_lock(&served.lock);
	if (!readonly && !params.how.snapshot && !served.for_writers)
		ret = make_writable();
	else
		ret = make_readable();
	if (ret == 0) {
		img = served.img;
		served.users_n++;
	}
	pthread_mutex_unlock(&served.lock);
	return img;
}

static void image_close(void *handle)
{
	(void)handle;
	pthread_mutex_lock(&served.lock);
	served.users_n--;
	pthread_mutex_unlock(&served.lock);
}

static void image_unload(void)
{
	struct err e = ERR_INIT;

	if (served.img && img_close(take(served.img), &e) < 0)
		report(&e);
	free(served.description);
	params_clear(&params);
}

/* ---- facts -------------------------------------------------------------- */

static int64_t image_get_size(void *handle)
{
	return (int64_t)img_size(handle);
}

/* Any byte range is served; whole clusters are best. */
static int image_block_size(
    void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	uint32_t cluster = img_cluster_size(handle);

	*minimum = 1;
	*preferred = PREFERRED_MIN;
	while (*preferred < cluster && *preferred < PREFERRED_MAX)
		*preferred *= 2;
	*maximum = UINT32_MAX; /* nbdkit's own limit holds */
	return 0;
}

static int image_can_write(void *handle)
{
	return img_writable(handle);
}

static int image_can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int image_can_cache(void *handle)
{
	(void)handle;
	return NBDKIT_CACHE_NATIVE;
}

static int image_is_rotational(void *handle)
{
	(void)handle;
	return 0;
}

/* For the flags of what every image can do; see the table at the end. */
static int image_always(void *handle)
{
	(void)handle;
	return 1;
}

static const char *image_export_description(void *handle)
{
	(void)handle;
	return served.description;
}

/* ---- requests ----------------------------------------------------------- */

static unsigned fua(uint32_t flags)
{
	return flags & NBDKIT_FLAG_FUA ? IMG_FUA : 0;
}

static int image_pread(
    void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct err e = ERR_INIT;

	(void)flags;
	if (img_pread(handle, buf, count, offset, &e) < 0)
		return report(&e);
	return 0;
}

static int image_pwrite(void *handle, const void *buf, uint32_t count,
    uint64_t offset, uint32_t flags)
{
	struct err e = ERR_INIT;

	if (img_pwrite(handle, buf, count, offset, fua(flags), &e) < 0)
		return report(&e);
	return 0;
}

static int image_flush(void *handle, uint32_t flags)
{
	struct err e = ERR_INIT;

	(void)flags;
	return img_flush(handle, &e) < 0 ? report(&e) : 0;
}

static int image_trim(
    void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct err e = ERR_INIT;

	if (img_trim(handle, count, offset, fua(flags), &e) < 0)
		return report(&e);
	return 0;
}

/* A client may ask for a fast zero just to learn that there is none; that is
 * no error for the log. */
static int image_zero(
    void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct err e = ERR_INIT;
	unsigned how_zero = fua(flags);

	if (flags & NBDKIT_FLAG_MAY_TRIM)
		how_zero |= IMG_MAY_TRIM;
	if (flags & NBDKIT_FLAG_FAST_ZERO)
		how_zero |= IMG_FAST;
	if (img_zero(handle, count, offset, how_zero, &e) == 0)
		return 0;
	if ((how_zero & IMG_FAST) && e.errnum == ENOTSUP) {
		nbdkit_set_error(ENOTSUP);
		return -1;
	}
	return report(&e);
}

static uint32_t extent_type(const struct img_extent *x)
{
	return (x->data ? 0 : NBDKIT_EXTENT_HOLE) |
	       (x->zero ? NBDKIT_EXTENT_ZERO : 0);
}

/* The answer may end early, but not before the first extent. */
static int image_extents(void *handle, uint32_t count, uint64_t offset,
    uint32_t flags, struct nbdkit_extents *extents)
{
	uint64_t end = offset + count;

	for (unsigned i = 0; offset < end && i < MAP_STEPS_MAX; i++) {
		struct err e = ERR_INIT;
		struct img_extent x;

		if (img_map(handle, offset, end - offset, &x, &e) < 0)
			return report(&e);
		if (nbdkit_add_extent(
			extents, x.start, x.len, extent_type(&x)) < 0)
			return -1;
		if (flags & NBDKIT_FLAG_REQ_ONE)
			break;
		offset += x.len;
	}
	return 0;
}

static int image_cache(
    void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct err e = ERR_INIT;

	(void)flags;
	if (img_prefetch(handle, count, offset, &e) < 0)
		return report(&e);
	return 0;
}

static struct nbdkit_plugin plugin = {
    .name = "image",
    .longname = "disk image plugin",
    .version = IMGD_VERSION,
    .description = "Serve disk images: raw, qcow2 and more",
    .unload = image_unload,
    .dump_plugin = print_formats,

    .config = image_config,
    .config_complete = image_config_complete,
    .config_help =
	"[file=]FILE       (required) The disk image.\n"
	"format=FORMAT     Its format; the default is to find out.\n"
	"snapshot=NAME     Serve an internal snapshot, read-only.\n"
	"backing=deny      Refuse an image that names other files.\n"
	"cache=MODE        writeback, none, writethrough, directsync, unsafe.\n"
	"discard=ignore    Keep space that is trimmed.\n"
	"object=OBJECT     A secret: secret,id=ID,file=PATH.",
    .magic_config_key = "file",

    .get_ready = image_get_ready,
    .after_fork = image_after_fork,
    .open = image_open,
    .close = image_close,

    .get_size = image_get_size,
    .block_size = image_block_size,
    .export_description = image_export_description,
    .is_rotational = image_is_rotational,
    .can_write = image_can_write,
    .can_flush = image_always,
    .can_trim = image_always,
    .can_zero = image_always,
    .can_fast_zero = image_always,
    .can_fua = image_can_fua,
    .can_extents = image_always,
    .can_cache = image_can_cache,
    .can_multi_conn = image_always,

    .pread = image_pread,
    .pwrite = image_pwrite,
    .flush = image_flush,
    .trim = image_trim,
    .zero = image_zero,
    .extents = image_extents,
    .cache = image_cache,
};

/* nbdkit's header defines it without declaring it. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)
