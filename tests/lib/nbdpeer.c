/* SPDX-License-Identifier: BSD-3-Clause */
/* The server over socket pairs: see nbdpeer.h. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "asleep.h"
#include "check.h"
#include "faultfile.h"
#include "formats/core/units.h"
#include "formats/host/hostfile.h"
#include "formats/image.h"
#include "nbdpeer.h"
#include "server/nbd.h"
#include "server/sched.h"

#define TIMEOUT_S 20

uint8_t peer_byte(uint64_t off)
{
	if (off >= PEER_HOLE && off < PEER_DATA)
		return 0;
	return (uint8_t)(off * 7 + (off >> 8) + 1);
}

static void fill(struct hostfile *f, uint64_t from, uint64_t to)
{
	static uint8_t buf[PEER_SIZE];
	struct err e = ERR_INIT;

	for (uint64_t i = from; i < to; i++)
		buf[i - from] = peer_byte(i);
	assert_ok(host_pwrite(f, buf, to - from, from, &e), &e);
}

static void open_image(struct peer *p, bool read_only)
{
	struct img_open how = {
	    .format = "raw",
	    .flags = IMG_O_DISCARD | (read_only ? 0 : IMG_O_RDWR),
	};
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_memory("memory", PEER_SIZE, &e);

	assert_no_error(&e);
	fill(f, 0, PEER_HOLE);
	fill(f, PEER_DATA, PEER_SIZE);
	p->host = faultfile_new(f, &e);
	assert_no_error(&e);
	p->img = img_open_host(p->host, &how, &e);
	assert_no_error(&e);
}

void peer_start(struct peer *p, const struct peer_setup *how)
{
	struct err e = ERR_INIT;

	*p = (struct peer){0};
	open_image(p, how->read_only);
	p->export[0] = (struct export){
	    .name = "",
	    .description = "a test",
	    .img = p->img,
	    .size = PEER_SIZE,
	    .multi_conn = true,
	};
	p->export[1] = p->export[0];
	p->export[1].name = "other";
	p->export[1].authz = how->other_authz;
	p->exports = (struct exports){.item = p->export, .n = 2};
	p->sched = sched_new(4, &e);
	p->shared = (struct conn_shared){
	    .exports = &p->exports,
	    .sched = p->sched,
	    .handshake_ms = how->limit_ms,
	    .creds = how->creds,
	    .tls_optional = how->tls_optional,
	    .authz = how->authz,
	};
	p->clients = clients_new(&p->shared, &e);
	assert_no_error(&e);
}

void peer_end(struct peer *p)
{
	clients_stop(p->clients);
	clients_free(p->clients);
	sched_free(p->sched);
	img_drop(p->img);
}

static void *stop_clients(void *arg)
{
	struct peer_stop *s = arg;

	atomic_store(&s->tid, gettid());
	clients_stop(s->clients);
	return NULL;
}

void peer_stop_begin(struct peer_stop *s, struct peer *p)
{
	s->clients = p->clients;
	atomic_store(&s->tid, 0);
	assert_int_equal(pthread_create(&s->thread, NULL, stop_clients, s), 0);
	asleep_wait(&s->tid);
}

int peer_connect(struct peer *p)
{
	struct timeval limit = {.tv_sec = TIMEOUT_S};
	struct err e = ERR_INIT;
	int fd[2];

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	assert_ok(clients_add(p->clients, fd[0], &e), &e);
	return fd[1];
}

void peer_wait_clients(struct peer *p, unsigned n)
{
	struct pollfd q = {
	    .fd = clients_event_fd(p->clients), .events = POLLIN};

	while (clients_n(p->clients) > n) {
		assert_int_equal(poll(&q, 1, TIMEOUT_S * 1000), 1);
		clients_reap(p->clients);
	}
	assert_int_equal(clients_n(p->clients), n);
}

void peer_expect_image(struct peer *p, uint64_t off, size_t len, int byte)
{
	static uint8_t buf[PEER_SIZE];
	struct err e = ERR_INIT;

	assert_ok(img_pread(p->img, buf, len, off, &e), &e);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte < 0 ? peer_byte(off + i) : byte);
}

/* ---- bytes -------------------------------------------------------------- */

static const struct peer_channel *channel;

void peer_use_channel(const struct peer_channel *c)
{
	channel = c;
}

static const struct peer_channel *channel_of(int fd)
{
	return channel && channel->fd == fd ? channel : NULL;
}

void peer_send(int fd, const void *buf, size_t len)
{
	const struct peer_channel *c = channel_of(fd);
	const uint8_t *p = buf;

	while (len) {
		ssize_t n =
		    c ? c->send(p, len) : send(fd, p, len, MSG_NOSIGNAL);

		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

void peer_recv(int fd, void *buf, size_t len)
{
	const struct peer_channel *c = channel_of(fd);
	uint8_t *p = buf;

	while (len) {
		ssize_t n = c ? c->recv(p, len) : recv(fd, p, len, 0);

		assert_true(n > 0);
		p += n;
		len -= (size_t)n;
	}
}

/* A connection closed with bytes unread is reset, which also is its end. */
void peer_expect_end(int fd)
{
	uint8_t byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	if (n < 0)
		assert_int_equal(errno, ECONNRESET);
	else
		assert_int_equal(n, 0);
}

/* ---- negotiation -------------------------------------------------------- */

void peer_greet(int fd, uint32_t client_flags)
{
	uint8_t b[18];

	peer_recv(fd, b, 18);
	assert_memory_equal(b, "NBDMAGICIHAVEOPT", 16);
	assert_int_equal(be16(b + 16), 3);
	put_be32(b, client_flags);
	peer_send(fd, b, 4);
}

void peer_option(int fd, uint32_t opt, const void *data, size_t len)
{
	uint8_t b[16];

	memcpy(b, "IHAVEOPT", 8);
	put_be32(b + 8, opt);
	put_be32(b + 12, (uint32_t)len);
	peer_send(fd, b, sizeof b);
	peer_send(fd, data, len);
}

size_t peer_option_reply(int fd, uint32_t opt, uint32_t type, void *buf)
{
	uint8_t b[20];
	uint32_t len;

	peer_recv(fd, b, sizeof b);
	assert_true(be64(b) == 0x3e889045565a9ull);
	assert_int_equal(be32(b + 8), opt);
	assert_int_equal(be32(b + 12), type);
	len = be32(b + 16);
	assert_true(len <= 4096);
	peer_recv(fd, buf, len);
	return len;
}

void peer_expect_option(
    int fd, uint32_t opt, const void *data, size_t len, uint32_t type)
{
	uint8_t reply[4096];

	peer_option(fd, opt, data, len);
	peer_option_reply(fd, opt, type, reply);
}

void peer_set_contexts(
    int fd, const char *const *names, size_t n, uint32_t *ids)
{
	uint8_t b[4096] = {0};
	size_t at = 8;

	put_be32(b + 4, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(names[i]);

		put_be32(b + at, (uint32_t)len);
		memcpy(b + at + 4, names[i], len);
		at += 4 + len;
	}
	peer_option(fd, NBD_OPT_SET_META_CONTEXT, b, at);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(peer_option_reply(fd, NBD_OPT_SET_META_CONTEXT,
				     NBD_REP_META_CONTEXT, b),
		    4 + strlen(names[i]));
		assert_memory_equal(b + 4, names[i], strlen(names[i]));
		ids[i] = be32(b);
	}
	peer_option_reply(fd, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK, b);
}

uint16_t peer_go(int fd)
{
	static const uint8_t go[6];
	uint8_t b[4096];
	uint16_t flags;

	peer_option(fd, NBD_OPT_GO, go, sizeof go);
	assert_int_equal(
	    peer_option_reply(fd, NBD_OPT_GO, NBD_REP_INFO, b), 12);
	flags = be16(b + 10);
	for (int i = 0; i < 2; i++)
		peer_option_reply(fd, NBD_OPT_GO, NBD_REP_INFO, b);
	peer_option_reply(fd, NBD_OPT_GO, NBD_REP_ACK, b);
	return flags;
}

bool peer_ask_at_once(int fd, uint32_t opt, void *reply, size_t len)
{
	static const uint8_t begin[] = "\0\0\0\3IHAVEOPT";
	uint8_t b[20] = {0}, greeting[18];

	memcpy(b, begin, 12);
	put_be32(b + 12, opt);
	send(fd, b, sizeof b, MSG_NOSIGNAL);
	peer_recv(fd, greeting, sizeof greeting);
	return recv(fd, reply, len, MSG_WAITALL) == (ssize_t)len;
}

void peer_negotiate(int fd, bool structured, bool contexts)
{
	uint32_t id;

	peer_greet(fd, 3);
	if (structured)
		peer_expect_option(
		    fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0, NBD_REP_ACK);
	if (contexts)
		peer_set_contexts(
		    fd, (const char *[]){"base:allocation"}, 1, &id);
	peer_go(fd);
}

/* ---- transmission ------------------------------------------------------- */

void peer_request(int fd, uint16_t type, uint16_t flags, uint64_t cookie,
    uint64_t off, uint32_t len)
{
	uint8_t b[28];

	put_be32(b, 0x25609513);
	put_be16(b + 4, flags);
	put_be16(b + 6, type);
	put_be64(b + 8, cookie);
	put_be64(b + 16, off);
	put_be32(b + 24, len);
	peer_send(fd, b, sizeof b);
}

void peer_expect_simple(int fd, uint64_t cookie, uint32_t error)
{
	uint8_t b[16];

	peer_recv(fd, b, sizeof b);
	assert_int_equal(be32(b), 0x67446698);
	assert_int_equal(be32(b + 4), error);
	assert_true(be64(b + 8) == cookie);
}

size_t peer_expect_chunk(int fd, uint64_t cookie, uint16_t flags, uint16_t type,
    void *buf, size_t max)
{
	uint8_t b[20];
	uint32_t len;

	peer_recv(fd, b, sizeof b);
	assert_int_equal(be32(b), 0x668e33ef);
	assert_int_equal(be16(b + 4), flags);
	assert_int_equal(be16(b + 6), type);
	assert_true(be64(b + 8) == cookie);
	len = be32(b + 16);
	assert_true(len <= max);
	peer_recv(fd, buf, len);
	return len;
}

void peer_expect_done(int fd, uint64_t cookie)
{
	peer_expect_chunk(fd, cookie, 1, 0, NULL, 0);
}

void peer_expect_error(int fd, uint64_t cookie, uint32_t error)
{
	uint8_t b[6 + 4096];
	size_t len = peer_expect_chunk(fd, cookie, 1, 0x8001, b, sizeof b);

	assert_true(len > 6);
	assert_int_equal(be32(b), error);
	assert_int_equal(be16(b + 4), len - 6);
}

/* ---- extended headers --------------------------------------------------- */

int peer_connect_extended(struct peer *p)
{
	int fd = peer_connect(p);

	peer_greet(fd, 3);
	peer_expect_option(fd, NBD_OPT_EXTENDED_HEADERS, NULL, 0, NBD_REP_ACK);
	return fd;
}

void peer_ext_request(
    int fd, const struct peer_request *rq, const void *payload)
{
	uint8_t b[32];

	put_be32(b, 0x21e41c71);
	put_be16(b + 4, rq->flags);
	put_be16(b + 6, rq->type);
	put_be64(b + 8, rq->cookie);
	put_be64(b + 16, rq->off);
	put_be64(b + 24, rq->len);
	peer_send(fd, b, sizeof b);
	if (payload)
		peer_send(fd, payload, rq->len);
}

size_t peer_ext_chunk(int fd, const struct peer_request *rq, uint16_t flags,
    uint16_t type, void *buf, size_t max)
{
	uint8_t b[32];
	uint64_t len;

	peer_recv(fd, b, sizeof b);
	assert_int_equal(be32(b), 0x6e8a278c);
	assert_int_equal(be16(b + 4), flags);
	assert_int_equal(be16(b + 6), type);
	assert_true(be64(b + 8) == rq->cookie);
	assert_true(be64(b + 16) == rq->off);
	len = be64(b + 24);
	assert_true(len <= max);
	peer_recv(fd, buf, len);
	return len;
}

void peer_ext_done(int fd, const struct peer_request *rq)
{
	peer_ext_chunk(fd, rq, 1, 0, NULL, 0);
}

void peer_ext_error(int fd, const struct peer_request *rq, uint32_t error)
{
	uint8_t b[6 + 4096];
	size_t len = peer_ext_chunk(fd, rq, 1, 0x8001, b, sizeof b);

	assert_true(len > 6);
	assert_int_equal(be32(b), error);
	assert_int_equal(be16(b + 4), len - 6);
}
