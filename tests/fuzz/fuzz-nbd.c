/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target: everything that a client sends, from its first byte to its
 * last, before and after the handshake.  The replies go nowhere.
 *
 * Each input is sent three times: to a server without TLS, to one where TLS is
 * optional, and to one that wants it and lets only `nobody` in.  TLS itself is
 * left out: its handshake is one byte, which says who the client is, and
 * nothing is encrypted.  One of the exports is for `nobody` too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "formats/core/object.h"
#include "formats/core/options.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "formats/image.h"
#include "server/authz.h"
#include "server/conn.h"
#include "server/export.h"
#include "server/sched.h"
#include "server/session.h"
#include "server/stream.h"
#include "server/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct input {
	struct stream stream; /* the first one: a stream is an input */
	const uint8_t *data;
	size_t left;
	bool tls, nobody;
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

/* ---- TLS ----------------------------------------------------------------- */

/* In place of those in tls.c. */

int tls_start(struct stream *s, const struct tls_creds *creds, struct err *e)
{
	must(creds && !((struct input *)s)->tls);
	(void)e;
	return 0;
}

int tls_handshake(struct stream *s, struct err *e)
{
	struct input *in = (struct input *)s;
	uint8_t who = 0xff;

	if (input_read(s, &who, 1, false) != 1 || who > 2)
		return err_usage(e, "no");
	in->tls = true;
	in->nobody = who == 0;
	return 0;
}

char *tls_identity(struct stream *s, struct err *e)
{
	const struct input *in = (struct input *)s;
	uint8_t who = in->data[-1];

	(void)e;
	must(in->tls);
	return who == 2 ? NULL : strdup(who ? "alice" : "nobody");
}

/* ---- exports ------------------------------------------------------------- */

static struct image *open_image(struct hostfile *f, const char *format)
{
	struct img_open how = {
	    .format = format, .flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct err e = ERR_INIT;
	struct image *img = img_open_host(f, &how, &e);

	must(img);
	return img;
}

static struct hostfile *new_file(uint64_t size)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("memory", size, &e);

	must(f);
	return f;
}

/* Lives as long as the process. */
static struct {
	struct sched *sched;
	struct authz *nobody;
	uint8_t *qcow2; /* an image: copied for each input */
	uint64_t qcow2_len;
	int null; /* for poll() */
} all;

/* A qcow2 image with a bitmap `b`. */
static void make_qcow2(void)
{
	struct err e = ERR_INIT;
	struct options *o = options_new(&e);
	struct hostfile *f = new_file(0);
	struct image *img;

	must(o && !options_set(o, "size", "1M", &e) &&
	     !options_set(o, "cluster_size", "4k", &e) &&
	     !img_create_host(f, "qcow2", o, &e));
	options_free(o);
	img = open_image(host_ref(f), "qcow2");
	must(!img_bitmap_add(img, "b", 4096, true, &e) &&
	     !img_pwrite(img, "data", 4, 5000, 0, &e) && !img_close(img, &e));
	all.qcow2_len = host_size(f);
	all.qcow2 = malloc(all.qcow2_len);
	must(all.qcow2 && !host_pread(f, all.qcow2, all.qcow2_len, 0, &e));
	host_put(f);
}

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
	make_qcow2();
}

static struct image *new_qcow2(void)
{
	struct hostfile *f = new_file(0);
	struct err e = ERR_INIT;

	must(!host_pwrite(f, all.qcow2, all.qcow2_len, 0, &e));
	return open_image(f, "qcow2");
}

/* ---- servers ------------------------------------------------------------- */

enum server { PLAIN, OPTIONAL, REQUIRED, SERVER_N };

static void serve(enum server server, const struct exports *exports,
    const uint8_t *data, size_t len)
{
	static const char creds;
	const struct export *hidden = &exports->item[1];
	struct input in = {.data = data, .left = len};
	struct conn_shared shared = {
	    .exports = exports,
	    .sched = all.sched,
	    .creds = server == PLAIN ? NULL : (const struct tls_creds *)&creds,
	    .tls_optional = server == OPTIONAL,
	    .authz = server == REQUIRED ? all.nobody : NULL,
	};
	struct err e = ERR_INIT;
	struct conn *c;

	in.stream = (struct stream){
	    .fd = all.null, .read = input_read, .writev = input_writev};
	c = conn_new(&in.stream, &shared, &e);
	must(c);
	conn_run(c);
	must(server != PLAIN || !in.tls);
	must(server != REQUIRED || in.nobody || !conn_negotiated(c));
	must(in.nobody || conn_session(c)->export != hidden);
	conn_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct export_bitmap bitmap = {
	    .name = "b", .context = "qemu:dirty-bitmap:b"};
	struct export export[] = {
	    {.name = "x", .description = "", .size = MiB, .depth = true},
	    {.name = "hidden", .description = "hidden", .size = MiB},
	    {.name = "",
		.description = "a qcow2 image",
		.size = MiB,
		.bitmap = &bitmap,
		.bitmap_n = 1},
	};
	const struct exports exports = {.item = export, .n = ARRAY_N(export)};

	set_up();
	export[0].img = export[1].img = open_image(new_file(MiB), "raw");
	export[1].authz = all.nobody;
	export[2].img = bitmap.img = new_qcow2();
	for (enum server i = PLAIN; i < SERVER_N; i++)
		serve(i, &exports, data, len);
	img_drop(export[0].img);
	img_drop(export[2].img);
	return 0;
}
