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

	do
		n = wait && poll(&p, 1, -1) < 0 ? -1 : recv(s->fd, buf, len, 0);
	while (n < 0 && (errno == EINTR || (wait && errno == EAGAIN)));
	return n;
}

static ssize_t socket_writev(
    struct stream *s, const struct iovec *iov, int iov_n, bool more)
{
	int flags = MSG_NOSIGNAL | (more ? MSG_MORE : 0);
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

static ssize_t socket_send_file(
    struct stream *s, int fd, uint64_t off, size_t len)
{
	off_t at = (off_t)off;
	ssize_t n;

	do
		n = sendfile(s->fd, fd, &at, len);
	while (n < 0 && errno == EINTR);
	return n;
}

/* sendfile() has no flag to say that it must not wait: the socket has. */
int stream_socket(struct stream *s, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return err_sys(e, errno, "socket");
	*s = (struct stream){
	    .fd = fd,
	    .read = socket_read,
	    .writev = socket_writev,
	    .send_file = socket_send_file,
	};
	return 0;
}

void stream_close(struct stream *s)
{
	if (s->close)
		s->close(s);
	shutdown(s->fd, SHUT_RDWR);
}
