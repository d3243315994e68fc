/* SPDX-License-Identifier: BSD-3-Clause */
/* Running other programs: see peer.h. */
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/core/cleanup.h"
#include "peer.h"

extern char **environ;

bool peer_have(const char *program)
{
	CLEANUP_FREE char *dirs = strdup(getenv("PATH") ?: "");
	char *rest = dirs, *dir, path[4096];

	while (rest && (dir = strsep(&rest, ":"))) {
		snprintf(path, sizeof path, "%s/%s", dir, program);
		if (!access(path, X_OK))
			return true;
	}
	return false;
}

void peer_needs(const char *program)
{
	if (peer_have(program))
		return;
	printf("needs %s\n", program);
	exit(77);
}

/* All that can be read; what does not fit is passed over. */
static void drain(int fd, char *out, size_t out_len)
{
	char buf[4096];
	size_t have = 0;
	ssize_t n;

	while (
	    (n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR)) {
		size_t fit = n > 0 ? (size_t)n : 0;

		if (fit > out_len - 1 - have)
			fit = out_len - 1 - have;
		memcpy(out + have, buf, fit);
		have += fit;
	}
	out[have] = '\0';
}

static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int peer_run(const char *const *argv, char *out, size_t out_len)
{
	posix_spawn_file_actions_t files;
	int fd[2], rc;
	pid_t pid;

	out[0] = '\0';
	if (pipe(fd))
		return -1;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
	posix_spawn_file_actions_adddup2(&files, fd[1], 1);
	posix_spawn_file_actions_adddup2(&files, fd[1], 2);
	posix_spawn_file_actions_addclose(&files, fd[0]);
	posix_spawn_file_actions_addclose(&files, fd[1]);
	rc = posix_spawnp(
	    &pid, argv[0], &files, NULL, (char **)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&files);
	close(fd[1]);
	if (!rc)
		drain(fd[0], out, out_len);
	close(fd[0]);
	return rc ? -1 : wait_for(pid);
}

int peer_check_as(
    const char *path, const char *format, char *out, size_t out_len)
{
	const char *argv[] = {"qemu-img", "check", "-f", format, path, NULL};
	int rc = peer_run(argv, out, out_len);

	/* A VHDX image with a parent is not even opened. */
	return rc == 63 || strstr(out, "Operation not supported") ? 0 : rc;
}

int peer_check_leaky(
    const char *path, const char *format, char *out, size_t out_len)
{
	int rc;

	/* A leak, and an image that was not closed, are errors to it. */
	if (!strcmp(format, "vdi") || !strcmp(format, "parallels"))
		return 0;
	rc = peer_check_as(path, format, out, out_len);
	return rc == 3 ? 0 : rc;
}

int peer_check(const char *path, char *out, size_t out_len)
{
	return peer_check_as(path, "qcow2", out, out_len);
}

int peer_repair(const char *path, const char *format, char *out, size_t out_len)
{
	const char *argv[] = {
	    "qemu-img", "check", "-r", "all", "-f", format, path, NULL};

	return peer_run(argv, out, out_len);
}
