/* SPDX-License-Identifier: BSD-3-Clause */
/* Connecting to a server: see dial.h. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/cleanup.h"

#include "dial.h"

static int connect_to(int family, const void *addr, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0 || !connect(fd, addr, len))
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int dial_unix(const char *path, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof a.sun_path)
		return err_usage(e, "UNIX socket path '%s' is too long", path);
	strcpy(a.sun_path, path);
	fd = connect_to(AF_UNIX, &a, sizeof a);
	return fd < 0 ? err_sys(e, errno, "Failed to connect to '%s'", path)
		      : fd;
}

int dial_tcp(const char *host, const char *port, struct err *e)
{
	const struct addrinfo want = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list;
	int rc = getaddrinfo(host, port, &want, &list), fd = -1;

	if (rc)
		return err_usage(e, "address resolution failed for %s:%s: %s",
		    host, port, gai_strerror(rc));
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen);
	if (fd < 0)
		err_sys(e, errno, "Failed to connect to '%s:%s'", host, port);
	freeaddrinfo(list);
	return fd;
}
