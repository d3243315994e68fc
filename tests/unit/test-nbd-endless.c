/* SPDX-License-Identifier: BSD-3-Clause */
/* A client that has always more to ask, and a server that ends. */
#include <fcntl.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "nbdpeer.h"
#include "server/conn.h"
#include "server/nbd.h"
#include "server/stream.h"

#define ENOUGH (64u << 20) /* bytes */

struct endless {
	struct stream stream; /* the first one: a stream is an endless */
	struct conn *conn;
	size_t len;
};

static ssize_t endless_read(struct stream *s, void *buf, size_t len, bool wait)
{
	static const uint8_t hello[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0";
	static const uint8_t flush[28] = {
	    0x25, 0x60, 0x95, 0x13, [7] = NBD_CMD_FLUSH};
	struct endless *x = (struct endless *)s;
	uint8_t *p = buf;

	(void)wait;
	for (size_t i = 0; i < len; i++, x->len++)
		p[i] = x->len < sizeof hello
			   ? hello[x->len]
			   : flush[(x->len - sizeof hello) % sizeof flush];
	if (x->len > MiB)
		conn_stop(x->conn);
	return x->len < ENOUGH ? (ssize_t)len : 0;
}

static ssize_t endless_writev(
    struct stream *s, const struct iovec *iov, int iov_n, bool more)
{
	ssize_t len = 0;

	(void)s, (void)more;
	for (int i = 0; i < iov_n; i++)
		len += (ssize_t)iov[i].iov_len;
	return len;
}

/* It does not keep a server that is to end. */
static void test_stop_endless(void **state)
{
	struct endless x = {
	    .stream = {.fd = open("/dev/zero", O_RDWR), /* always ready */
		.read = endless_read,
		.writev = endless_writev}};
	struct err e = ERR_INIT;
	struct peer peer;

	(void)state;
	peer_start(&peer, &(struct peer_setup){0});
	x.conn = conn_new(&x.stream, &peer.shared, &e);
	assert_no_error(&e);
	conn_run(x.conn);
	assert_true(conn_negotiated(x.conn));
	assert_true(x.len > MiB && x.len < ENOUGH);
	conn_release(x.conn);
	conn_free(x.conn);
	close(x.stream.fd);
	peer_end(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stop_endless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
