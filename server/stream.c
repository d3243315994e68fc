/* SPDX-License-Identifier: BSD-3-Clause */
/* A byte stream over a socket: see stream.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "stream.h"

static ssize_t socket_read(struct stream *s, void *buf, size_t len, bool wait)
{
	struct pollfd p = {.fd = s->fd, .events = POLLIN};
	ssize_t n;

	while ((n = recv(s->fd, buf, len, wait ? 0 : MSG_DONTWAIT)) < 0)
		if (errno == EAGAIN && wait)
			poll(&p, 1, -1);
		else if (errno != EINTR)
			break;
	return n;
}

static ssize_t socket_writev(
    struct stream *s, const struct iovec *iov, int iov_n, bool more)
{
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
	struct msghdr m = {
	    .msg_iov = (struct iovec *)iov,
	    .msg_iovlen = (size_t)iov_n,
	};
	ssize_t n;

	do
		n = sendmsg(s->fd, &m, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

/*
 * sendfile() has no flag to say that it must not wait: the socket has, for
 * good, from the first time on.
 */
static ssize_t socket_send_file(
    struct stream *s, int fd, uint64_t off, size_t len)
{
	off_t at = (off_t)off;
	ssize_t n;

	if (!s->nonblocking && fcntl(s->fd, F_SETFL, O_NONBLOCK))
		return -1;
	s->nonblocking = true;
	do
		n = sendfile(s->fd, fd, &at, len);
	while (n < 0 && errno == EINTR);
	return n;
}

void stream_socket(struct stream *s, int fd)
{
	*s = (struct stream){
	    .fd = fd,
	    .read = socket_read,
	    .writev = socket_writev,
	    .send_file = socket_send_file,
	};
}

void stream_close(struct stream *s)
{
	if (s->close)
		s->close(s);
	shutdown(s->fd, SHUT_RDWR);
}
