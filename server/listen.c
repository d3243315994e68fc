/* SPDX-License-Identifier: BSD-3-Clause */
/* The sockets that clients connect to: see listen.h. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"

#include "listen.h"
#include "nbd.h"

#define SEND_BUFFER_LEN (1 << 20) /* bytes */
#define INHERITED_FD	3 /* the first one that a service manager passes */

static int new_socket(int family, struct err *e)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		err_sys(e, errno, "Failed to create socket");
	return fd;
}

static int too_many(struct err *e)
{
	return err_usage(e, "more than %d sockets to listen on", LISTEN_MAX);
}

int listen_label(const char *label, struct err *e)
{
	int fd =
	    open("/proc/thread-self/attr/sockcreate", O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, label, label ? strlen(label) : 0);

	if (n < 0)
		err_sys(e, errno,
		    "Cannot set SELinux socket create context to "
		    "%s",
		    label ? label : "none");
	if (fd >= 0)
		close(fd);
	return n < 0 ? -1 : 0;
}

/* ---- Unix -------------------------------------------------------------- */

/* A socket that an earlier server left is replaced; nothing else is. */
static int remove_old(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_sys(e, EEXIST, "Failed to bind socket to %s", path);
	if (unlink(path) && errno != ENOENT)
		return err_sys(e, errno, "Failed to unlink socket %s", path);
	return 0;
}

int listen_unix(
    struct listeners *l, const char *path, int backlog, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof a.sun_path) {
		err_usage(e, "UNIX socket path '%s' is too long", path);
		err_hint(
		    e, "Path must be less than %zu bytes", sizeof a.sun_path);
		return -1;
	}
	strcpy(a.sun_path, path);
	if (l->n == LISTEN_MAX)
		return too_many(e);
	if (remove_old(path, e))
		return -1;
	fd = new_socket(AF_UNIX, e);
	if (fd < 0)
		return -1;
	l->fd[l->n++] = fd;
	if (bind(fd, (struct sockaddr *)&a, sizeof a))
		return err_sys(e, errno, "Failed to bind socket to %s", path);
	l->path[l->n - 1] = strdup(path);
	if (!l->path[l->n - 1])
		return err_nomem(e);
	if (listen(fd, backlog))
		return err_sys(e, errno, "Failed to listen on socket");
	return 0;
}

/* ---- TCP --------------------------------------------------------------- */

/* How clients reach the socket: port 0 has become a port by now. */
static int note_address(struct listeners *l, int fd, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	char host[NI_MAXHOST], port[NI_MAXSERV];
	const char *shown = host;

	if (getsockname(fd, (struct sockaddr *)&a, &len))
		return err_sys(e, errno, "Failed to read a socket's address");
	if (getnameinfo((struct sockaddr *)&a, len, host, sizeof host, port,
		sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
		return err_usage(e, "Failed to print a socket's address");
	if (!strcmp(host, "0.0.0.0") || !strcmp(host, "::"))
		shown = "localhost";
	l->port = strdup(port);
	if (asprintf(&l->host, strchr(shown, ':') ? "[%s]" : "%s", shown) < 0)
		l->host = NULL;
	return l->port && l->host ? 0 : err_nomem(e);
}

static int bind_address(int fd, const struct addrinfo *a, struct err *e)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (a->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (!bind(fd, a->ai_addr, a->ai_addrlen))
		return 0;
	if (errno == EADDRINUSE)
		return err_sys(e, errno, "Failed to find an available port");
	return err_sys(e, errno, "Failed to bind socket");
}

static int listen_address(
    struct listeners *l, const struct addrinfo *a, int backlog, struct err *e)
{
	CLEANUP_FD int fd = new_socket(a->ai_family, e);

	if (fd < 0 || bind_address(fd, a, e))
		return -1;
	if (listen(fd, backlog))
		return err_sys(e, errno, "Failed to listen on socket");
	if (!l->port && note_address(l, fd, e))
		return -1;
	l->fd[l->n++] = fd;
	fd = -1;
	return 0;
}

/* A name may stand for addresses that this machine does not have: one that
   works is enough. */
int listen_tcp(struct listeners *l, const char *host, const char *port,
    int backlog, struct err *e)
{
	struct addrinfo hints = {
	    .ai_flags = AI_PASSIVE,
	    .ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list;
	unsigned before = l->n;
	int rc;

	if (l->n == LISTEN_MAX)
		return too_many(e);
	rc = getaddrinfo(host, port, &hints, &list);
	if (rc)
		return err_usage(e, "address resolution failed for %s:%s: %s",
		    host, port, gai_strerror(rc));
	for (struct addrinfo *a = list; a && l->n < LISTEN_MAX; a = a->ai_next)
		listen_address(l, a, backlog, e);
	freeaddrinfo(list);
	if (l->n == before)
		return -1;
	err_clear(e);
	return 0;
}

/* ---- any --------------------------------------------------------------- */

/* Cuts HOST:PORT or [HOST]:PORT; *port is NULL where none is given. */
static int cut_port(char *host, char **port, struct err *e)
{
	char *end = *host == '[' ? strchr(host, ']') : strrchr(host, ':');

	*port = NULL;
	if (*host == '[') {
		if (!end || (end[1] && end[1] != ':'))
			return err_usage(e, "Invalid address '%s'", host);
		*end++ = 0;
	}
	if (end && *end) {
		*end = 0;
		*port = end + 1;
	}
	return 0;
}

int listen_to(
    struct listeners *l, const char *address, int backlog, struct err *e)
{
	CLEANUP_FREE char *host = NULL;
	char *port;

	if (!strncmp(address, "unix:", 5)) {
		if (address[5] != '/')
			return err_usage(e, "socket path must be absolute");
		return listen_unix(l, address + 5, backlog, e);
	}
	host = strdup(address);
	if (!host)
		return err_nomem(e);
	if (cut_port(host, &port, e))
		return -1;
	return listen_tcp(l, host + (*host == '['),
	    port && *port ? port : NBD_PORT, backlog, e);
}

/* ---- inherited --------------------------------------------------------- */

int listen_inherited(struct listeners *l, struct err *e)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	bool ours = pid && n && strtol(pid, NULL, 10) == (long)getpid();
	long fds = ours ? strtol(n, NULL, 10) : 0;
	struct stat st;

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (fds <= 0)
		return 0;
	if (fds > LISTEN_MAX)
		return too_many(e);
	for (; l->n < (unsigned)fds; l->n++) {
		int fd = INHERITED_FD + (int)l->n;

		if (fstat(fd, &st) || !S_ISSOCK(st.st_mode))
			return err_usage(e,
			    "file descriptor %d of LISTEN_FDS is not a socket",
			    fd);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		l->fd[l->n] = fd;
	}
	return (int)fds;
}

/* ---- all --------------------------------------------------------------- */

int listen_accept(int fd, struct err *e)
{
	int on = 1, len = SEND_BUFFER_LEN,
	    s = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	if (s < 0) {
		if (errno == EINTR || errno == ECONNABORTED)
			errno = EAGAIN;
		return err_sys(e, errno, "Failed to accept a client");
	}
	/* Unix sockets do not grow theirs, and a reply of 256 KiB should leave
	   the server at once. */
	if (setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &len, sizeof len))
		setsockopt(s, SOL_SOCKET, SO_SNDBUF, &len, sizeof len);
	/* TCP only: no delay for small replies; notice peers that vanished. */
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	return s;
}

void listen_close(struct listeners *l)
{
	for (unsigned i = 0; i < l->n; i++) {
		close(l->fd[i]);
		if (l->path[i])
			unlink(l->path[i]);
		free(l->path[i]);
	}
	free(l->host);
	free(l->port);
	*l = (struct listeners){.n = 0};
}

/* Percent-encodes what a URI does not take as it is; malloc'd. */
static char *uri_encode(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
	char *out = malloc(3 * strlen(text) + 1), *p = out;

	if (!out)
		return NULL;
	for (; *text; text++) {
		if (strchr(plain, *text))
			*p++ = *text;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*text);
	}
	*p = 0;
	return out;
}

const char *listen_path(const struct listeners *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->path[i])
			return l->path[i];
	return NULL;
}

char *listen_uri(const struct listeners *l, const char *export_name, bool tls)
{
	const char *scheme = tls ? "nbds" : "nbd";
	const char *unix_path = listen_path(l);
	CLEANUP_FREE char *name = uri_encode(export_name);
	CLEANUP_FREE char *path = uri_encode(unix_path ? unix_path : "");
	char *uri;
	int n = -1;

	if (!name || !path)
		return NULL;
	if (unix_path)
		n = asprintf(
		    &uri, "%s+unix:///%s?socket=%s", scheme, name, path);
	else if (l->port)
		n = asprintf(
		    &uri, "%s://%s:%s/%s", scheme, l->host, l->port, name);
	return n < 0 ? NULL : uri;
}
