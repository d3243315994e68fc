/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * STARTTLS: what is said before it and after it, to whom, and what becomes of
 * clients that do it wrong.  The numbers are the protocol's.
 */
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/object.h"
#include "formats/core/units.h"
#include "nbdpeer.h"
#include "server/authz.h"
#include "server/tls.h"
#include "tmpdir.h"

#define ACK	0x1u
#define POLICY	0x80000002u
#define INVALID 0x80000003u
#define TLS_REQ 0x80000005u
#define UNKNOWN 0x80000006u

enum {
	EXPORT_NAME = 1,
	ABORT,
	LIST,
	STARTTLS = 5,
	INFO,
	GO,
	STRUCTURED,
	LIST_META,
	SET_META,
	EXTENDED
};
enum { READ, WRITE, DISC, FLUSH };

static struct tls_creds *creds;
static struct authz *only_alice;

struct fixture {
	struct peer peer;
	int fd;
};

/* ---- a client's TLS ----------------------------------------------------- */

static gnutls_session_t session;
static gnutls_psk_client_credentials_t client_keys;
static struct peer_channel channel;

static ssize_t channel_send(const void *buf, size_t len)
{
	return gnutls_record_send(session, buf, len);
}

static ssize_t channel_recv(void *buf, size_t len)
{
	return gnutls_record_recv(session, buf, len);
}

/* 0, or what gnutls says. */
static int client_tls(int fd, const char *user, const char *key)
{
	const gnutls_datum_t k = {(uint8_t *)key, (unsigned)strlen(key)};
	int rc;

	gnutls_psk_allocate_client_credentials(&client_keys);
	gnutls_psk_set_client_credentials(
	    client_keys, user, &k, GNUTLS_PSK_KEY_HEX);
	gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
	gnutls_priority_set_direct(
	    session, "NORMAL:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK", NULL);
	gnutls_credentials_set(session, GNUTLS_CRD_PSK, client_keys);
	gnutls_transport_set_int(session, fd);
	do
		rc = gnutls_handshake(session);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	channel = (struct peer_channel){fd, channel_send, channel_recv};
	peer_use_channel(&channel);
	return rc;
}

static void client_end(struct fixture *f)
{
	peer_use_channel(NULL);
	if (session) {
		gnutls_deinit(session);
		gnutls_psk_free_client_credentials(client_keys);
	}
	session = NULL;
	close(f->fd);
}

static void end(struct fixture *f)
{
	client_end(f);
	peer_end(&f->peer);
}

static void connect_plain(struct fixture *f)
{
	f->fd = peer_connect(&f->peer);
	peer_greet(f->fd, 3);
}

static void connect_tls(struct fixture *f, const char *user)
{
	connect_plain(f);
	peer_expect_option(f->fd, STARTTLS, NULL, 0, ACK);
	assert_int_equal(client_tls(f->fd, user,
			     *user == 'a' ? "0123456789abcdef" : "abcdef01"),
	    0);
}

/* ---- before it ---------------------------------------------------------- */

static void test_not_configured(void **state)
{
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){0});
	connect_plain(&f);
	peer_expect_option(f.fd, STARTTLS, "x", 1, INVALID);
	peer_expect_option(f.fd, STARTTLS, NULL, 0, POLICY);
	peer_go(f.fd);
	end(&f);
}

/* The same answer, whatever is asked about whatever export. */
static void test_required(void **state)
{
	static const uint32_t opts[] = {LIST, INFO, GO, STRUCTURED, LIST_META,
	    SET_META, EXTENDED, 4, 77, UINT32_MAX};
	static const char *const data[] = {"\0\0\0\0\0\0", "\0\0\0\2no", "bad"};
	uint8_t first[4096], other[4096];
	struct fixture f;
	size_t len = 0;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds});
	connect_plain(&f);
	for (size_t i = 0; i < ARRAY_N(opts); i++) {
		for (size_t k = 0; k < ARRAY_N(data); k++) {
			uint8_t *b = i + k ? other : first;
			size_t n;

			peer_option(f.fd, opts[i], data[k], k == 2 ? 3 : 6);
			n = peer_option_reply(f.fd, opts[i], TLS_REQ, b);
			len = i + k ? len : n;
			assert_int_equal(n, len);
			assert_memory_equal(b, first, n);
		}
	}
	peer_option(f.fd, EXPORT_NAME, NULL, 0);
	peer_expect_end(f.fd);
	client_end(&f);
	connect_plain(&f);
	peer_expect_option(f.fd, ABORT, NULL, 0, ACK);
	peer_expect_end(f.fd);
	end(&f);
}

/* What somebody put behind STARTTLS in plain text is not taken for an option of
   the client that is encrypted then. */
static void test_injection(void **state)
{
	static const char both[] = "IHAVEOPT\0\0\0\5\0\0\0\0"
				   "IHAVEOPT\0\0\0\3\0\0\0\0";
	static const char answer[] = "\0\3\xe8\x89\4\x55\x65\xa9";
	struct fixture f;
	uint8_t b[4096];
	ssize_t n;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds});
	connect_plain(&f);
	peer_send(f.fd, both, sizeof both - 1);
	peer_option_reply(f.fd, STARTTLS, ACK, b);
	while (n = recv(f.fd, b, sizeof b, 0), n > 0)
		assert_null(memmem(b, (size_t)n, answer, 8));
	assert_true(!n || errno == ECONNRESET);
	peer_wait_clients(&f.peer, 0);
	end(&f);
}

/* With a limit that this machine meets until TLS begins. */
static void begin_starttls(struct fixture *f)
{
	struct peer_setup how = {.creds = creds, .limit_ms = 300};
	uint8_t reply[20];

	for (;;) {
		peer_start(&f->peer, &how);
		f->fd = peer_connect(&f->peer);
		if (peer_ask_at_once(f->fd, STARTTLS, reply, sizeof reply))
			break;
		end(f);
		assert_true((how.limit_ms *= 2) < 20000);
	}
	assert_int_equal(be32(reply + 12), ACK);
}

/* One who does not go on is dropped, in the middle of it too. */
static void test_deadline(void **state)
{
	struct fixture f;

	(void)state;
	for (int i = 0; i < 2; i++) {
		begin_starttls(&f);
		send(f.fd, "\x16\3\1\2\0\1", i ? 6 : 0, MSG_NOSIGNAL);
		peer_expect_end(f.fd);
		end(&f);
	}
}

/* ---- after it ----------------------------------------------------------- */

static void test_encrypted(void **state)
{
	static uint8_t buf[PEER_SIZE];
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds});
	connect_tls(&f, "alice");
	peer_expect_option(f.fd, STARTTLS, NULL, 0, INVALID);
	peer_go(f.fd);
	for (int i = 0; i < 3; i++)
		peer_request(f.fd, READ, 0, 1, 0, PEER_SIZE);
	for (int i = 0; i < 3; i++) {
		peer_expect_simple(f.fd, 1, 0);
		peer_recv(f.fd, buf, PEER_SIZE);
		for (size_t k = 0; k < PEER_SIZE; k++)
			assert_int_equal(buf[k], peer_byte(k));
	}
	memset(buf, 0x3c, sizeof buf);
	peer_request(f.fd, WRITE, 0, 2, 0, PEER_SIZE);
	peer_send(f.fd, buf, PEER_SIZE);
	peer_expect_simple(f.fd, 2, 0);
	peer_expect_image(&f.peer, 0, PEER_SIZE, 0x3c);
	peer_request(f.fd, DISC, 0, 3, 0, 0);
	/* the end is TLS's own, which nobody else can forge */
	assert_int_equal(gnutls_record_recv(session, buf, 1), 0);
	end(&f);
}

/* A client that takes its time to read keeps the reply, whole. */
static void test_slow_reader(void **state)
{
	static uint8_t buf[PEER_SIZE];
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds});
	connect_tls(&f, "alice");
	peer_go(f.fd);
	for (uint64_t i = 0; i < 20; i++)
		peer_request(f.fd, READ, 0, i, i, PEER_SIZE - 20);
	usleep(100000);
	for (uint64_t i = 0; i < 20; i++) {
		uint8_t head[16];
		uint64_t off;

		peer_recv(f.fd, head, sizeof head);
		off = be64(head + 8);
		peer_recv(f.fd, buf, PEER_SIZE - 20);
		for (size_t k = 0; k < PEER_SIZE - 20; k++)
			assert_int_equal(buf[k], peer_byte(off + k));
	}
	end(&f);
}

/* What was agreed in plain text counts no more. */
static void test_forgotten(void **state)
{
	struct fixture f;
	uint32_t id;

	(void)state;
	peer_start(&f.peer,
	    &(struct peer_setup){.creds = creds, .tls_optional = true});
	connect_plain(&f);
	peer_expect_option(f.fd, EXTENDED, NULL, 0, ACK);
	peer_set_contexts(f.fd, (const char *[]){"base:allocation"}, 1, &id);
	peer_expect_option(f.fd, STARTTLS, NULL, 0, ACK);
	assert_int_equal(client_tls(f.fd, "alice", "0123456789abcdef"), 0);
	peer_expect_option(f.fd, SET_META, "\0\0\0\0\0\0\0\0", 8, INVALID);
	peer_go(f.fd);
	peer_request(f.fd, FLUSH, 0, 1, 0, 0);
	peer_expect_simple(f.fd, 1, 0);
	end(&f);
}

/* ---- who ---------------------------------------------------------------- */

static void test_wrong_key(void **state)
{
	static const struct {
		const char *user, *key;
	} cases[] = {{"alice", "00"}, {"carol", "0123456789abcdef"}};
	struct fixture f;

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds});
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		uint8_t b[1];
		int rc;

		connect_plain(&f);
		peer_expect_option(f.fd, STARTTLS, NULL, 0, ACK);
		/* a client may learn of it only when it reads */
		rc = client_tls(f.fd, cases[i].user, cases[i].key);
		assert_true(rc || gnutls_record_recv(session, b, 1) <= 0);
		client_end(&f);
	}
	peer_wait_clients(&f.peer, 0);
	peer_end(&f.peer);
}

static void test_not_allowed(void **state)
{
	struct fixture f;
	uint8_t b[1];

	(void)state;
	peer_start(
	    &f.peer, &(struct peer_setup){.creds = creds, .authz = only_alice});
	connect_tls(&f, "alice");
	peer_go(f.fd);
	client_end(&f);
	connect_tls(&f, "bob");
	assert_true(gnutls_record_recv(session, b, 1) <= 0);
	peer_wait_clients(&f.peer, 0);
	end(&f);
}

/* The export "other" is not there. */
static void expect_hidden(int fd)
{
	static const char other[] = "\0\0\0\5other\0\0";
	static const char none[] = "\0\0\0\5nonex\0\0";
	uint8_t b[4096], c[4096];
	size_t n;

	peer_option(fd, LIST, NULL, 0);
	n = peer_option_reply(fd, LIST, 2, b);
	assert_null(memmem(b, n, "other", 5));
	peer_option_reply(fd, LIST, ACK, b);
	for (uint32_t opt = INFO; opt <= GO; opt++) {
		peer_option(fd, opt, other, sizeof other - 1);
		n = peer_option_reply(fd, opt, UNKNOWN, b);
		peer_option(fd, opt, none, sizeof none - 1);
		assert_int_equal(peer_option_reply(fd, opt, UNKNOWN, c), n);
		assert_memory_equal(b, c, n);
	}
	peer_expect_option(fd, STRUCTURED, NULL, 0, ACK);
	for (uint32_t opt = LIST_META; opt <= SET_META; opt++)
		peer_expect_option(
		    fd, opt, "\0\0\0\5other\0\0\0\0", 13, UNKNOWN);
	peer_option(fd, EXPORT_NAME, "other", 5);
}

static void test_export_of_one(void **state)
{
	struct fixture f;
	uint8_t b[4096];

	(void)state;
	peer_start(&f.peer, &(struct peer_setup){.creds = creds,
				.tls_optional = true,
				.other_authz = only_alice});
	connect_plain(&f);
	expect_hidden(f.fd);
	peer_expect_end(f.fd);
	client_end(&f);
	connect_tls(&f, "bob");
	expect_hidden(f.fd);
	assert_true(gnutls_record_recv(session, b, 1) <= 0);
	client_end(&f);
	connect_tls(&f, "alice");
	peer_option(f.fd, LIST, NULL, 0);
	peer_option_reply(f.fd, LIST, 2, b);
	peer_option_reply(f.fd, LIST, 2, b);
	assert_memory_equal(b + 4, "other", 5);
	peer_option_reply(f.fd, LIST, ACK, b);
	peer_option(f.fd, EXPORT_NAME, "other", 5);
	peer_recv(f.fd, b, 10);
	end(&f);
}

/* ---- credentials -------------------------------------------------------- */

static void make(const char *text)
{
	struct err e = ERR_INIT;
	char *help;

	assert_ok(object_add(text, &help, &e), &e);
}

static int set_up(void **state)
{
	struct err e = ERR_INIT;
	FILE *f;

	(void)state;
	tmpdir_enter();
	f = fopen("keys.psk", "w");
	assert_non_null(f);
	fprintf(f, "alice:0123456789abcdef\nbob:abcdef01\n");
	fclose(f);
	make("tls-creds-psk,id=psk,endpoint=server,dir=.");
	make("authz-simple,id=alice,identity=alice");
	creds = tls_creds_new("psk", &e);
	assert_no_error(&e);
	only_alice = authz_new("alice", &e);
	assert_no_error(&e);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tls_creds_free(creds);
	authz_free(only_alice);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_not_configured),
	    cmocka_unit_test(test_required),
	    cmocka_unit_test(test_injection),
	    cmocka_unit_test(test_deadline),
	    cmocka_unit_test(test_encrypted),
	    cmocka_unit_test(test_slow_reader),
	    cmocka_unit_test(test_forgotten),
	    cmocka_unit_test(test_wrong_key),
	    cmocka_unit_test(test_not_allowed),
	    cmocka_unit_test(test_export_of_one),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
