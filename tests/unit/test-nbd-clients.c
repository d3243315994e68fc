/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients, byte by byte: many requests at once, clients that leave in the
 * middle or do not read, and a server that ends meanwhile.
 */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "nbdpeer.h"
#include "server/nbd.h"

enum { READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO, STATUS };
enum { FUA = 1, DONE = 1, DATA = 1 };

#define WIRE_ESHUTDOWN 108u

struct fixture {
	struct peer peer;
	int fd;
};

static void begin(struct fixture *f, bool structured)
{
	peer_start(&f->peer, &(struct peer_setup){0});
	f->fd = peer_connect(&f->peer);
	peer_negotiate(f->fd, structured, structured);
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

#define MANY 1000u

struct bytes {
	int fd;
	size_t len;
	uint8_t buf[MANY * (28 + 512)];
};

static void *send_bytes(void *arg)
{
	struct bytes *b = arg;

	for (size_t sent = 0; sent < b->len;) {
		ssize_t n =
		    send(b->fd, b->buf + sent, b->len - sent, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	return NULL;
}

/* A write's bytes follow its header. */
static void put_request(struct bytes *b, uint16_t type, uint16_t flags,
    uint64_t cookie, uint64_t off, uint32_t len)
{
	uint8_t *p = b->buf + b->len;

	put_be32(p, 0x25609513);
	put_be16(p + 4, flags);
	put_be16(p + 6, type);
	put_be64(p + 8, cookie);
	put_be64(p + 16, off);
	put_be32(p + 24, len);
	b->len += 28;
	if (type == WRITE) {
		memset(b->buf + b->len, 0x77, len);
		b->len += len;
	}
}

/* More than the server takes at a time, as fast as it takes them. */
static void test_many(void **state)
{
	static uint8_t seen[MANY], buf[512];
	static struct bytes b;
	struct fixture f;
	pthread_t sender;

	(void)state;
	begin(&f, false);
	for (uint64_t i = 0; i < MANY; i++) {
		if (i % 3)
			put_request(&b, READ, 0, i, i * 512, 512);
		else
			put_request(&b, WRITE, i % 2 ? FUA : 0, i,
			    PEER_HOLE + i * 512, 512);
	}
	b.fd = f.fd;
	pthread_create(&sender, NULL, send_bytes, &b);
	for (size_t n = 0; n < MANY; n++) {
		uint64_t i;

		peer_recv(f.fd, buf, 16);
		assert_int_equal(be32(buf + 4), 0);
		i = be64(buf + 8);
		assert_true(i < MANY && !seen[i]++);
		if (i % 3)
			peer_recv(f.fd, buf, 512);
	}
	pthread_join(sender, NULL);
	for (uint64_t i = 0; i < MANY; i += 3)
		peer_expect_image(&f.peer, PEER_HOLE + i * 512, 512, 0x77);
	end(&f);
}

/* What was asked before a DISC is done and answered. */
static void test_disc(void **state)
{
	static struct bytes b;
	struct fixture f;

	(void)state;
	begin(&f, true);
	put_request(&b, WRITE, FUA, 1, 0, 4096);
	put_request(&b, DISC, 0, 2, 0, 0);
	peer_send(f.fd, b.buf, b.len);
	peer_expect_done(f.fd, 1);
	peer_expect_end(f.fd);
	peer_wait_clients(&f.peer, 0);
	peer_expect_image(&f.peer, 0, 4096, 0x77);
	end(&f);
}

static void test_leave_in_the_middle(void **state)
{
	static const size_t sent[] = {1, 27, 28, 100, 28 + 65536};
	static uint8_t buf[28 + 65536];
	struct fixture f;

	(void)state;
	begin(&f, true);
	for (size_t i = 0; i < ARRAY_N(sent); i++) {
		put_be32(buf, 0x25609513);
		put_be16(buf + 6, WRITE);
		put_be32(buf + 24, 2 * 65536);
		peer_send(f.fd, buf, sent[i]);
		close(f.fd);
		peer_wait_clients(&f.peer, 0);
		f.fd = peer_connect(&f.peer);
		peer_negotiate(f.fd, true, false);
	}
	peer_expect_image(&f.peer, 0, PEER_SIZE, -1);
	end(&f);
}

/* More than the server keeps for a client, in one piece.  The cookies of the
   reads are multiples of 3. */
static void ask_too_much(int fd)
{
	static struct bytes b;

	b.len = 0;
	for (uint64_t i = 0; i < MANY / 3; i++) {
		put_request(&b, READ, 0, 3 * i, 0, PEER_SIZE);
		put_request(&b, FLUSH, 0, 3 * i + 1, 0, 0);
		put_request(&b, STATUS, 0, 3 * i + 2, 0, PEER_SIZE);
	}
	peer_send(fd, b.buf, b.len);
}

/* It asks for far more than it takes, and goes. */
static void test_leave_unread(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, true);
	ask_too_much(f.fd);
	close(f.fd);
	peer_wait_clients(&f.peer, 0);
	f.fd = peer_connect(&f.peer);
	end(&f);
}

/* A client that does not read does not keep others waiting. */
static void test_stalled(void **state)
{
	static uint8_t buf[8 + 4096];
	struct fixture f;
	int other;

	(void)state;
	begin(&f, true);
	ask_too_much(f.fd);
	other = peer_connect(&f.peer);
	peer_negotiate(other, true, false);
	for (uint64_t i = 0; i < 50; i++) {
		peer_request(other, READ, 0, i, i * 4096, 4096);
		peer_expect_chunk(other, i, DONE, DATA, buf, sizeof buf);
		peer_request(other, FLUSH, 0, i, 0, 0);
		peer_expect_done(other, i);
	}
	close(other);
	end(&f);
}

/* Requests that cost next to nothing are limited too: the server stops reading,
   and so the client cannot go on sending. */
static void test_flood(void **state)
{
	static struct bytes b;
	struct fixture f;
	size_t sent = 0;
	ssize_t n;

	(void)state;
	begin(&f, true);
	setsockopt(f.fd, SOL_SOCKET, SO_SNDTIMEO,
	    &(struct timeval){.tv_usec = 500000}, sizeof(struct timeval));
	for (uint64_t i = 0; i < MANY; i++)
		put_request(&b, FLUSH, 0, i, 0, 0);
	do {
		n = send(f.fd, b.buf, b.len, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
	} while (n == (ssize_t)b.len && sent < 100 * b.len);
	assert_true(sent < 100 * b.len);
	end(&f);
}

/* A server that ends answers all that it has taken: what was in flight, and
   ESHUTDOWN for the rest. */
static void test_stop(void **state)
{
	static uint8_t buf[PEER_SIZE];
	unsigned done = 0, refused = 0;
	struct peer_stop stop;
	struct fixture f;

	(void)state;
	begin(&f, false);
	ask_too_much(f.fd);
	assert_int_equal(recv(f.fd, buf, 1, MSG_PEEK), 1);
	peer_stop_begin(&stop, &f.peer);
	for (; recv(f.fd, buf, 1, MSG_PEEK) > 0; done++) {
		peer_recv(f.fd, buf, 16);
		if (be32(buf + 4) == WIRE_ESHUTDOWN)
			refused++;
		else if (!be32(buf + 4) && be64(buf + 8) % 3 == 0)
			peer_recv(f.fd, buf, PEER_SIZE);
	}
	assert_true(refused > 0);
	assert_true(done > refused);
	pthread_join(stop.thread, NULL);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_disc),
	    cmocka_unit_test(test_leave_in_the_middle),
	    cmocka_unit_test(test_leave_unread),
	    cmocka_unit_test(test_stalled),
	    cmocka_unit_test(test_flood),
	    cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
