/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is said to the kernel of its NBD devices, byte for byte, and what is
 * made of its answers.  The kernel is a thread with one answer for each
 * question; it builds and reads messages by itself.
 */
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "formats/core/units.h"
#include "server/kernel.h"

#define FAMILY 0x1234u

/* A message; attributes are appended with put(). */
struct message {
	size_t len;
	uint8_t b[1024];
};

struct fake {
	pthread_t thread;
	int fd;
	struct message question;
	struct message
	    answer;	  /* sent before the acknowledgement; empty: none */
	int error;	  /* of the acknowledgement, an errno value */
	uint32_t seq_off; /* added to the number of the answer */
	bool silent;	  /* closes instead */
};

/* ---- messages ----------------------------------------------------------- */

static void put(struct message *m, uint16_t type, const void *data, size_t len)
{
	const struct nlattr a = {(uint16_t)(sizeof a + len), type};

	memcpy(m->b + m->len, &a, sizeof a);
	memcpy(m->b + m->len + sizeof a, data, len);
	m->len += NLA_ALIGN(sizeof a + len);
}

static void put_nested(
    struct message *m, uint16_t type, const struct message *inner)
{
	put(m, type, inner->b, inner->len);
}

static void send_message(
    struct fake *f, uint16_t type, const void *data, size_t len, uint32_t seq)
{
	const struct nlmsghdr h = {
	    .nlmsg_len = (uint32_t)(sizeof h + len),
	    .nlmsg_type = type,
	    .nlmsg_seq = seq,
	};
	uint8_t b[sizeof h + sizeof f->answer];

	memcpy(b, &h, sizeof h);
	memcpy(b + sizeof h, data, len);
	(void)!send(f->fd, b, sizeof h + len, MSG_NOSIGNAL);
}

static void *fake_thread(void *arg)
{
	struct fake *f = arg;
	struct nlmsghdr h;
	struct nlmsgerr ack = {.error = -f->error};
	uint8_t answer[GENL_HDRLEN + sizeof f->answer.b] = {0};
	ssize_t n = recv(f->fd, f->question.b, sizeof f->question.b, 0);

	f->question.len = n < 0 ? 0 : (size_t)n;
	if (f->silent || f->question.len < sizeof h) {
		shutdown(f->fd, SHUT_RDWR);
		return NULL;
	}
	memcpy(&h, f->question.b, sizeof h);
	ack.msg = h;
	memcpy(answer + GENL_HDRLEN, f->answer.b, f->answer.len);
	if (f->answer.len)
		send_message(f, h.nlmsg_type, answer,
		    GENL_HDRLEN + f->answer.len, h.nlmsg_seq + f->seq_off);
	send_message(f, NLMSG_ERROR, &ack, sizeof ack, h.nlmsg_seq);
	return NULL;
}

static void answer_next(struct fake *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, fake_thread, f), 0);
}

static void done(struct fake *f)
{
	pthread_join(f->thread, NULL);
	f->answer.len = 0;
	f->error = 0;
}

/* The question that came: `cmd` of the family, then these attributes. */
static void expect_question(const struct fake *f, uint16_t family, uint8_t cmd,
    const struct message *attributes)
{
	struct nlmsghdr h;
	struct genlmsghdr g;

	assert_true(f->question.len >= sizeof h + sizeof g);
	memcpy(&h, f->question.b, sizeof h);
	memcpy(&g, f->question.b + sizeof h, sizeof g);
	assert_int_equal(h.nlmsg_len, f->question.len);
	assert_int_equal(h.nlmsg_type, family);
	assert_int_equal(h.nlmsg_flags, NLM_F_REQUEST | NLM_F_ACK);
	assert_int_equal(g.cmd, cmd);
	assert_int_equal(g.version, 1);
	assert_int_equal(
	    f->question.len, sizeof h + sizeof g + attributes->len);
	assert_memory_equal(f->question.b + sizeof h + sizeof g, attributes->b,
	    attributes->len);
}

/* ---- the family --------------------------------------------------------- */

static int use(struct fake *f, struct kernel *k, struct err *e)
{
	int fd[2], rc;

	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd), 0);
	f->fd = fd[1];
	answer_next(f);
	rc = kernel_use(k, fd[0], e);
	done(f);
	return rc;
}

static void begin(struct fake *f, struct kernel *k)
{
	const uint16_t id = FAMILY;
	struct err e = ERR_INIT;

	*f = (struct fake){0};
	put(&f->answer, CTRL_ATTR_FAMILY_NAME, "nbd", 4);
	put(&f->answer, CTRL_ATTR_FAMILY_ID, &id, sizeof id);
	assert_ok(use(f, k, &e), &e);
}

static void end(struct fake *f, struct kernel *k)
{
	kernel_close(k);
	close(f->fd);
}

static void test_family(void **state)
{
	struct message want = {0};
	struct kernel k;
	struct fake f;

	(void)state;
	begin(&f, &k);
	put(&want, CTRL_ATTR_FAMILY_NAME, "nbd", 4);
	expect_question(&f, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &want);
	assert_int_equal(k.family, FAMILY);
	end(&f, &k);
}

/* It says so, has no such number, or has one that is too short. */
static void test_no_family(void **state)
{
	struct err e = ERR_INIT;
	struct kernel k;

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct fake f = {.error = i ? 0 : ENOENT};

		if (i == 2)
			put(&f.answer, CTRL_ATTR_FAMILY_ID, "\1", 1);
		assert_int_equal(use(&f, &k, &e), -1);
		assert_string_equal(
		    e.msg, "The kernel has no network block devices");
		assert_non_null(strstr(e.hint, "modprobe nbd"));
		err_clear(&e);
		close(f.fd);
	}
	for (int i = 0; i < 2; i++) {
		struct fake f = {.error = EPERM, .silent = i};

		assert_fails(use(&f, &k, &e), &e, i ? ECONNRESET : EPERM,
		    "Failed to ask the kernel");
		close(f.fd);
	}
}

/* ---- devices ------------------------------------------------------------ */

/* The attributes that are in every request to connect, up to the flags. */
static struct message device_attributes(const struct kernel_device *d)
{
	const uint64_t block = 512, flags = d->flags;
	struct message m = {0};

	put(&m, NBD_ATTR_INDEX, &d->index, 4);
	put(&m, NBD_ATTR_SIZE_BYTES, &d->size, 8);
	put(&m, NBD_ATTR_BLOCK_SIZE_BYTES, &block, 8);
	put(&m, NBD_ATTR_SERVER_FLAGS, &flags, 8);
	return m;
}

static void add_sockets(struct message *m, const int *fd, unsigned n)
{
	struct message all = {0};

	for (unsigned i = 0; i < n; i++) {
		struct message item = {0};

		put(&item, NBD_SOCK_FD, &fd[i], 4);
		put_nested(&all, NLA_F_NESTED | NBD_SOCK_ITEM, &item);
	}
	put_nested(m, NLA_F_NESTED | NBD_ATTR_SOCKETS, &all);
}

static void test_connect(void **state)
{
	const uint64_t none = 0, day = 86400;
	int fd[KERNEL_SOCKETS_MAX];
	struct err e = ERR_INIT;
	struct kernel k;
	struct fake f;

	(void)state;
	for (int i = 0; i < (int)ARRAY_N(fd); i++)
		fd[i] = 3 + 1000 * i;
	begin(&f, &k);
	for (unsigned n = 1; n <= ARRAY_N(fd); n += ARRAY_N(fd) - 1) {
		const struct kernel_device d = {
		    .index = 7,
		    .size = INT64_MAX,
		    .flags = 0xa56d,
		    .timeout_s = n > 1 ? day : 0,
		    .backend = "imgd-1",
		    .fd = fd,
		    .fd_n = n,
		};
		struct message want = device_attributes(&d);

		if (n > 1)
			put(&want, NBD_ATTR_TIMEOUT, &day, 8);
		put(&want, NBD_ATTR_DEAD_CONN_TIMEOUT, &none, 8);
		put(&want, NBD_ATTR_BACKEND_IDENTIFIER, "imgd-1", 7);
		add_sockets(&want, fd, n);
		answer_next(&f);
		assert_ok(kernel_connect(&k, &d, &e), &e);
		done(&f);
		expect_question(&f, FAMILY, NBD_CMD_CONNECT, &want);
	}
	end(&f, &k);
}

/* What the kernel refuses is told with its reason; the next question is
   answered as if nothing had been. */
static void test_refused(void **state)
{
	static const int errors[] = {EBUSY, EPERM, EINVAL, ENOENT};
	const int fd = 3;
	const struct kernel_device d = {
	    .backend = "", .index = 2, .fd = &fd, .fd_n = 1};
	struct err e = ERR_INIT;
	struct kernel k;
	struct fake f;

	(void)state;
	begin(&f, &k);
	for (size_t i = 0; i < ARRAY_N(errors); i++) {
		f.error = errors[i];
		answer_next(&f);
		assert_fails(kernel_connect(&k, &d, &e), &e, errors[i], "nbd2");
		done(&f);
	}
	answer_next(&f);
	assert_ok(kernel_disconnect(&k, 2, &e), &e);
	done(&f);
	f.silent = true;
	answer_next(&f);
	assert_fails(kernel_disconnect(&k, 2, &e), &e, ECONNRESET, "nbd2");
	done(&f);
	end(&f, &k);
}

static void test_disconnect(void **state)
{
	const uint32_t index = 70000;
	struct message want = {0};
	struct err e = ERR_INIT;
	struct kernel k;
	struct fake f;

	(void)state;
	begin(&f, &k);
	put(&want, NBD_ATTR_INDEX, &index, 4);
	answer_next(&f);
	assert_ok(kernel_disconnect(&k, index, &e), &e);
	done(&f);
	expect_question(&f, FAMILY, NBD_CMD_DISCONNECT, &want);
	end(&f, &k);
}

/* ---- status ------------------------------------------------------------- */

/* Adds a device to a list; `cut`: bytes that its last attribute lacks. */
static void add_device(
    struct message *list, uint32_t index, uint8_t connected, size_t cut)
{
	struct message item = {0};

	put(&item, NBD_DEVICE_INDEX, &index, 4);
	put(&item, NBD_DEVICE_CONNECTED, &connected, 1 - cut);
	put_nested(list, NBD_DEVICE_ITEM, &item);
}

static int ask_status(
    struct fake *f, struct kernel *k, const struct message *list)
{
	struct err e = ERR_INIT;
	int rc;

	if (list)
		put_nested(&f->answer, NBD_ATTR_DEVICE_LIST, list);
	answer_next(f);
	rc = kernel_connected(k, 5, &e);
	done(f);
	assert_int_equal(rc < 0, err_is_set(&e));
	return rc;
}

static void test_status(void **state)
{
	const uint32_t index = 5;
	struct message list = {0}, want = {0};
	struct kernel k;
	struct fake f;

	(void)state;
	begin(&f, &k);
	put(&want, NBD_ATTR_INDEX, &index, 4);
	add_device(&list, 5, 1, 0);
	assert_int_equal(ask_status(&f, &k, &list), 1);
	expect_question(&f, FAMILY, NBD_CMD_STATUS, &want);
	list.len = 0;
	add_device(&list, 4, 1, 0);
	add_device(&list, 5, 0, 0);
	add_device(&list, 6, 1, 0);
	assert_int_equal(ask_status(&f, &k, &list), 0);
	add_device(&list, 5, 1, 0);
	assert_int_equal(ask_status(&f, &k, &list), 1);
	/* none, an empty list, one that is cut short */
	assert_int_equal(ask_status(&f, &k, NULL), 0);
	list.len = 0;
	assert_int_equal(ask_status(&f, &k, &list), 0);
	add_device(&list, 5, 1, 1);
	assert_int_equal(ask_status(&f, &k, &list), 0);
	/* the kernel refuses; an answer to another question */
	f.error = EPERM;
	assert_int_equal(ask_status(&f, &k, NULL), -1);
	f.seq_off = 1;
	assert_int_equal(ask_status(&f, &k, &list), -1);
	end(&f, &k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_family),
	    cmocka_unit_test(test_no_family),
	    cmocka_unit_test(test_connect),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_disconnect),
	    cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
