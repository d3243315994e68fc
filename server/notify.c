/* SPDX-License-Identifier: BSD-3-Clause */
/* Telling the service manager: see notify.h. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"

#include "notify.h"

/* A name that begins with @ is not in the file system. */
static void notify(const char *text)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *name = getenv("NOTIFY_SOCKET");
	size_t len = name ? strlen(name) : 0;
	CLEANUP_FD int fd = -1;

	if (!len || len >= sizeof a.sun_path)
		return;
	memcpy(a.sun_path, name, len);
	if (*name == '@')
		a.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL,
		    (struct sockaddr *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

/* With --fork it is not the process that was started. */
void notify_ready(void)
{
	char text[64];

	snprintf(text, sizeof text, "READY=1\nMAINPID=%ld\n", (long)getpid());
	notify(text);
}

void notify_stopping(void)
{
	notify("STOPPING=1\n");
}
