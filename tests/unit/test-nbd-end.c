/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How negotiations end that do not come to the point: at their deadline, or
 * with the server.
 */
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "nbdpeer.h"
#include "server/nbd.h"

enum { FLUSH = 3 };

#define WIRE_REP_ERR_SHUTDOWN 0x80000007u

struct fixture {
	struct peer peer;
	int fd;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void end(struct fixture *f)
{
	close(f->fd);
	peer_end(&f->peer);
}

/* ---- the deadline ------------------------------------------------------- */

static void begin_limited(struct fixture *f, unsigned limit_ms)
{
	peer_start(&f->peer, &(struct peer_setup){.limit_ms = limit_ms});
	f->fd = peer_connect(&f->peer);
}

/* Is the server gone before `n` pieces are sent, one each `ms`? */
static bool is_dropped(
    int fd, const void *piece, size_t len, unsigned n, unsigned ms)
{
	static uint8_t reply[1 << 18];
	ssize_t got;

	while (n--) {
		if (send(fd, piece, len, MSG_NOSIGNAL) < 0)
			return true;
		usleep(ms * 1000);
		got = recv(fd, reply, sizeof reply, MSG_DONTWAIT);
		if (!got || (got < 0 && errno != EAGAIN))
			return true;
	}
	return false;
}

/* Neither silence, nor a byte now and then, nor options without end keep a
   connection. */
static void test_deadline(void **state)
{
	static uint8_t options[16 * 1000];
	uint8_t greeting[18];
	struct fixture f;
	int fd;

	(void)state;
	/* What is sent after a deadline finds nobody, as it should. */
	for (size_t i = 0; i < sizeof options; i += 16)
		memcpy(options + i, "IHAVEOPT\0\0\0\3\0\0\0", 16);
	begin_limited(&f, 200);
	peer_recv(f.fd, greeting, sizeof greeting);
	peer_expect_end(f.fd);
	fd = peer_connect(&f.peer);
	send(fd, "\0\0\0\3", 4, MSG_NOSIGNAL);
	peer_recv(fd, greeting, sizeof greeting);
	assert_true(is_dropped(fd, "I", 1, 500, 10));
	close(fd);
	fd = peer_connect(&f.peer);
	send(fd, "\0\0\0\3", 4, MSG_NOSIGNAL);
	peer_recv(fd, greeting, sizeof greeting);
	assert_true(is_dropped(fd, options, sizeof options, 500, 0));
	close(fd);
	peer_wait_clients(&f.peer, 0);
	end(&f);
}

/* The limit is for the negotiation only.  It is one that this machine meets. */
static void test_deadline_met(void **state)
{
	unsigned limit_ms = 200;
	struct fixture f;
	uint8_t export[10];

	(void)state;
	begin_limited(&f, limit_ms);
	while (!peer_ask_at_once(
	    f.fd, NBD_OPT_EXPORT_NAME, export, sizeof export)) {
		end(&f);
		limit_ms *= 2;
		assert_true(limit_ms < 20000);
		begin_limited(&f, limit_ms);
	}
	usleep((limit_ms + 100) * 1000);
	peer_request(f.fd, FLUSH, 0, 1, 0, 0);
	peer_expect_simple(f.fd, 1, 0);
	end(&f);
}

/* ---- a server that ends ------------------------------------------------- */

/* A server that ends does not wait for those who have not begun. */
static void test_stop_in_handshake(void **state)
{
	int64_t began = now_ms();
	struct fixture f;

	(void)state;
	begin_limited(&f, 0);
	peer_greet(f.fd, 3);
	peer_send(f.fd, "IHAV", 4);
	clients_stop(f.peer.clients);
	assert_true(now_ms() - began < 10000);
	peer_expect_end(f.fd);
	end(&f);
}

#define TRIES 100 /* to be quicker than the server, which waits 500 ms */

/* The server ends between the halves of a question: all that it says then. */
static size_t ask_an_end(
    const char *rest, size_t len, uint8_t *reply, size_t max)
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct peer_stop stop;
		int64_t began = now_ms();
		struct fixture f;
		ssize_t n;

		begin_limited(&f, 0);
		peer_greet(f.fd, 3);
		peer_send(f.fd, "IHAVEOPT", 8);
		peer_stop_begin(&stop, &f.peer);
		send(f.fd, rest, len, MSG_NOSIGNAL);
		n = recv(f.fd, reply, max, MSG_WAITALL);
		pthread_join(stop.thread, NULL);
		end(&f);
		if (now_ms() - began < 500)
			return n < 0 ? 0 : (size_t)n;
	}
	fail_msg("it never was quick enough");
	return 0;
}

/* A reply to an option, which is taken from `p`. */
static const uint8_t *expect_reply(
    const uint8_t *p, uint32_t opt, uint32_t type, const char *text)
{
	assert_int_equal(be32(p + 8), opt);
	assert_int_equal(be32(p + 12), type);
	assert_int_equal(be32(p + 16), strlen(text));
	assert_memory_equal(p + 20, text, strlen(text));
	return p + 20 + strlen(text);
}

/* One who asks while the server ends is told, also when half of the question
   came before. */
static void test_stop_is_told(void **state)
{
	static const char rest[] = "\0\0\0\3\0\0\0\0"
				   "IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0"
				   "IHAVEOPT\0\0\0\2\0\0\0";
	static const char told[] = "server is shutting down";
	uint8_t reply[4096];
	const uint8_t *p = reply;
	size_t n;

	(void)state;
	n = ask_an_end(rest, sizeof rest, reply, sizeof reply);
	assert_int_equal(n, 3 * 20 + 2 * strlen(told));
	p = expect_reply(p, NBD_OPT_LIST, WIRE_REP_ERR_SHUTDOWN, told);
	p = expect_reply(p, NBD_OPT_GO, WIRE_REP_ERR_SHUTDOWN, told);
	expect_reply(p, NBD_OPT_ABORT, NBD_REP_ACK, "");
}

/* EXPORT_NAME has no reply but an export. */
static void test_stop_without_word(void **state)
{
	uint8_t reply[16];

	(void)state;
	assert_int_equal(
	    ask_an_end("\0\0\0\1\0\0\0", 8, reply, sizeof reply), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_deadline),
	    cmocka_unit_test(test_deadline_met),
	    cmocka_unit_test(test_stop_in_handshake),
	    cmocka_unit_test(test_stop_is_told),
	    cmocka_unit_test(test_stop_without_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
