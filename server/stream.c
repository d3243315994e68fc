/* SPDX-License-Identifier: BSD-3-Clause */
/* A byte stream over a socket: see stream.h. */
#include <errno.h>
#include <sys/socket.h>

#include "stream.h"

static ssize_t socket_read(struct stream *s, void *buf, size_t len, bool wait)
{
	ssize_t n;

	do
		n = recv(s->fd, buf, len, wait ? 0 : MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t socket_writev(
    struct stream *s, const struct iovec *iov, int iov_n)
{
	struct msghdr m = {
	    .msg_iov = (struct iovec *)iov,
	    .msg_iovlen = (size_t)iov_n,
	};
	ssize_t n;

	do
		n = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

void stream_socket(struct stream *s, int fd)
{
	*s = (struct stream){
	    .fd = fd,
	    .read = socket_read,
	    .writev = socket_writev,
	};
}

void stream_close(struct stream *s)
{
	if (s->close)
		s->close(s);
	shutdown(s->fd, SHUT_RDWR);
}
