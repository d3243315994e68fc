/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: everything that a client sends, from its first byte to its
 * last, before and after the handshake.  The replies go nowhere.  One of the
 * exports is not for this client, whatever it asks.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "formats/core/object.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "formats/image.h"
#include "server/authz.h"
#include "server/conn.h"
#include "server/export.h"
#include "server/sched.h"
#include "server/session.h"
#include "server/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
	struct stream stream;
	const uint8_t *data;
	size_t left;
};

static ssize_t input_read(struct stream *s, void *buf, size_t len, bool wait)
{
	struct input *in = (struct input *)s;
	size_t n = min_u64(len, in->left);

	(void)wait;
	memcpy(buf, in->data, n);
	in->data += n;
	in->left -= n;
	return (ssize_t)n;
}

/* So that a sanitizer sees each byte of a reply used. */
static volatile uint8_t looked_at;

static ssize_t input_writev(
    struct stream *s, const struct iovec *iov, int iov_n, bool more)
{
	ssize_t n = 0;

	(void)s, (void)more;
	for (int i = 0; i < iov_n; i++) {
		const uint8_t *p = iov[i].iov_base;

		for (size_t k = 0; k < iov[i].iov_len; k++)
			looked_at = p[k];
		n += (ssize_t)iov[i].iov_len;
	}
	return n;
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct image *new_image(void)
{
	struct img_open how = {
	    .format = "raw", .flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("memory", MiB, &e);
	struct image *img = f ? img_open_host(f, &how, &e) : NULL;

	must(img);
	return img;
}

/* Lives as long as the process. */
static struct {
	struct sched *sched;
	struct authz *nobody;
	int null; /* for poll() */
} all;

static void set_up(void)
{
	struct err e = ERR_INIT;
	char *help;

	if (all.sched)
		return;
	must(!object_add("authz-simple,id=a,identity=nobody", &help, &e));
	all.nobody = authz_new("a", &e);
	all.sched = sched_new(2, &e);
	all.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	must(all.nobody && all.sched && all.null >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct export export[] = {
	    {.name = "x", .description = "", .size = MiB, .depth = true},
	    {.name = "hidden", .description = "hidden", .size = MiB},
	};
	struct exports exports = {.item = export, .n = ARRAY_N(export)};
	struct conn_shared shared = {.exports = &exports};
	struct input in = {.data = data, .left = len};
	struct err e = ERR_INIT;
	struct conn *c;

	set_up();
	shared.sched = all.sched;
	in.stream = (struct stream){
	    .fd = all.null, .read = input_read, .writev = input_writev};
	export[0].img = export[1].img = new_image();
	export[1].authz = all.nobody;
	c = conn_new(&in.stream, &shared, &e);
	must(c);
	conn_run(c);
	must(conn_session(c)->export != &export[1]);
	conn_free(c);
	img_drop(export[0].img);
	return 0;
}
