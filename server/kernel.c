/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Netlink: see kernel.h.
 *
 * Each question has an answer of its own, or none, and then an
 * acknowledgement that has the error.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"

#include "kernel.h"

#define MESSAGE_MAX 8192 /* bytes; what the kernel says of a family fits */

union message {
	struct nlmsghdr head;
	uint8_t bytes[MESSAGE_MAX];
};

/* ---- talking ----------------------------------------------------------- */

static void begin(union message *m, uint16_t type, uint8_t cmd, uint8_t version)
{
	struct genlmsghdr *g;

	/* libmnl 1.0.4 leaves what fills an attribute up as it was. */
	memset(m, 0, sizeof *m);
	mnl_nlmsg_put_header(m);
	m->head.nlmsg_type = type;
	m->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g = mnl_nlmsg_put_extra_header(&m->head, sizeof *g);
	g->cmd = cmd;
	g->version = version;
}

static int transmit(const struct kernel *k, const union message *m)
{
	ssize_t n;

	do
		n = send(k->fd, m, m->head.nlmsg_len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

/* Gives what is answered to `look`, up to the acknowledgement; -1 with errno.
   The question is overwritten. */
static int talk(struct kernel *k, union message *m, mnl_cb_t look, void *data)
{
	ssize_t n;
	int rc = 1;

	m->head.nlmsg_seq = ++k->seq;
	if (transmit(k, m))
		return -1;
	while (rc > 0) {
		n = recv(k->fd, m, sizeof *m, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (!n)
			errno = ECONNRESET;
		rc = n <= 0 ? -1
			    : mnl_cb_run(m, (size_t)n, k->seq, 0, look, data);
	}
	return rc;
}

/* ---- the family -------------------------------------------------------- */

static int note_family(const struct nlmsghdr *h, void *data)
{
	uint16_t *family = data;
	const struct nlattr *a;

	mnl_attr_for_each(
	    a, h, sizeof(struct genlmsghdr)) if (mnl_attr_get_type(a) ==
						     CTRL_ATTR_FAMILY_ID &&
						 !mnl_attr_validate(
						     a, MNL_TYPE_U16)) *family =
	    mnl_attr_get_u16(a);
	return MNL_CB_OK;
}

static int find_family(struct kernel *k, struct err *e)
{
	union message m;

	begin(&m, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1);
	mnl_attr_put_strz(&m.head, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME);
	if (talk(k, &m, note_family, &k->family) && errno != ENOENT)
		return err_sys(e, errno,
		    "Failed to ask the kernel for network block devices");
	if (k->family)
		return 0;
	err_unsupported(e, "The kernel has no network block devices");
	err_hint(e, "Load its module: modprobe nbd");
	return -1;
}

int kernel_use(struct kernel *k, int fd, struct err *e)
{
	*k = (struct kernel){.fd = fd};
	if (!find_family(k, e))
		return 0;
	kernel_close(k);
	return -1;
}

int kernel_open(struct kernel *k, struct err *e)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	*k = (struct kernel){.fd = -1};
	/* Connected: nobody else can answer. */
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&kernel, sizeof kernel)) {
		err_sys(e, errno, "netlink");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return kernel_use(k, fd, e);
}

void kernel_close(struct kernel *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

/* ---- devices ----------------------------------------------------------- */

static void put_sockets(union message *m, const struct kernel_device *d)
{
	struct nlattr *all = mnl_attr_nest_start(&m->head, NBD_ATTR_SOCKETS);

	for (unsigned i = 0; i < d->fd_n; i++) {
		struct nlattr *item =
		    mnl_attr_nest_start(&m->head, NBD_SOCK_ITEM);

		mnl_attr_put_u32(&m->head, NBD_SOCK_FD, (uint32_t)d->fd[i]);
		mnl_attr_nest_end(&m->head, item);
	}
	mnl_attr_nest_end(&m->head, all);
}

int kernel_connect(
    struct kernel *k, const struct kernel_device *d, struct err *e)
{
	union message m;

	begin(&m, k->family, NBD_CMD_CONNECT, NBD_GENL_VERSION);
	mnl_attr_put_u32(&m.head, NBD_ATTR_INDEX, d->index);
	mnl_attr_put_u64(&m.head, NBD_ATTR_SIZE_BYTES, d->size);
	mnl_attr_put_u64(&m.head, NBD_ATTR_BLOCK_SIZE_BYTES, KERNEL_BLOCK_LEN);
	mnl_attr_put_u64(&m.head, NBD_ATTR_SERVER_FLAGS, d->flags);
	if (d->timeout_s)
		mnl_attr_put_u64(&m.head, NBD_ATTR_TIMEOUT, d->timeout_s);
	/* Nobody will bring other sockets when these are gone. */
	mnl_attr_put_u64(&m.head, NBD_ATTR_DEAD_CONN_TIMEOUT, 0);
	mnl_attr_put_strz(&m.head, NBD_ATTR_BACKEND_IDENTIFIER, d->backend);
	put_sockets(&m, d);
	return talk(k, &m, NULL, NULL) ? err_sys(e, errno, "nbd%u", d->index)
				       : 0;
}

int kernel_disconnect(struct kernel *k, uint32_t index, struct err *e)
{
	union message m;

	begin(&m, k->family, NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
	mnl_attr_put_u32(&m.head, NBD_ATTR_INDEX, index);
	return talk(k, &m, NULL, NULL) ? err_sys(e, errno, "nbd%u", index) : 0;
}

/* The device that is asked about, and what is known of it. */
struct status {
	uint32_t index;
	bool connected;
};

static void note_device(const struct nlattr *item, struct status *s)
{
	const struct nlattr *a;
	uint32_t index = ~s->index;
	bool connected = false;

	mnl_attr_for_each_nested(a, item)
	{
		if (mnl_attr_get_type(a) == NBD_DEVICE_INDEX &&
		    !mnl_attr_validate(a, MNL_TYPE_U32))
			index = mnl_attr_get_u32(a);
		if (mnl_attr_get_type(a) == NBD_DEVICE_CONNECTED &&
		    !mnl_attr_validate(a, MNL_TYPE_U8))
			connected = mnl_attr_get_u8(a);
	}
	if (index == s->index)
		s->connected = connected;
}

static int note_status(const struct nlmsghdr *h, void *data)
{
	const struct nlattr *list, *item;

	mnl_attr_for_each(list, h, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(list) != NBD_ATTR_DEVICE_LIST)
			continue;
		mnl_attr_for_each_nested(
		    item, list) if (mnl_attr_get_type(item) == NBD_DEVICE_ITEM)
		    note_device(item, data);
	}
	return MNL_CB_OK;
}

int kernel_connected(struct kernel *k, uint32_t index, struct err *e)
{
	struct status s = {.index = index};
	union message m;

	begin(&m, k->family, NBD_CMD_STATUS, NBD_GENL_VERSION);
	mnl_attr_put_u32(&m.head, NBD_ATTR_INDEX, index);
	if (talk(k, &m, note_status, &s))
		return err_sys(e, errno, "nbd%u", index);
	return s.connected;
}
