/* SPDX-License-Identifier: BSD-3-Clause */
/* What a server does as a process among others: see daemon.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"

#include "daemon.h"

/* ---- the background ---------------------------------------------------- */

static int ready_fd = -1; /* the parent waits for a byte from here */

/* The child's errors are on stderr already. */
static void wait_for_child(int fd)
{
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	_exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

int daemon_fork(struct err *e)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_sys(e, errno, "pipe");
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "Failed to fork");
	if (pid) {
		close(fds[1]);
		wait_for_child(fds[0]);
	}
	close(fds[0]);
	ready_fd = fds[1];
	setsid();
	return 0;
}

int daemon_ready(bool quiet, struct err *e)
{
	CLEANUP_FD int null = -1;
	ssize_t n;

	if (ready_fd < 0)
		return 0;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_sys(e, errno, "Failed to open /dev/null");
	if (chdir("/"))
		return err_sys(e, errno, "Failed to change to /");
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (quiet)
		dup2(null, STDERR_FILENO);
	n = write(ready_fd, "", 1);
	close(ready_fd);
	/* A parent that is gone does not mind. */
	return n < 0 && errno != EPIPE ? err_sys(e, errno, "pipe") : 0;
}

/* ---- the pid file ------------------------------------------------------ */

static int write_all(int fd, const char *text)
{
	size_t len = strlen(text);

	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* The folder may be another one later: after a chdir(). */
static char *absolute(const char *file)
{
	CLEANUP_FREE char *cwd = NULL;
	char *path;

	if (file[0] == '/')
		return strdup(file);
	cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&path, "%s/%s", cwd, file) < 0)
		return NULL;
	return path;
}

static int replace_file(const char *path, const char *text, struct err *e)
{
	CLEANUP_FREE char *temp = NULL;
	CLEANUP_FD int fd = -1;

	if (asprintf(&temp, "%s.XXXXXX", path) < 0) {
		temp = NULL;
		return err_nomem(e);
	}
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "Could not create '%s'", path);
	if (fchmod(fd, 0644) || write_all(fd, text) || rename(temp, path)) {
		err_sys(e, errno, "Could not write '%s'", path);
		unlink(temp);
		return -1;
	}
	return 0;
}

/* A device or a pipe is written to, not replaced. */
static int write_special(const char *path, const char *text, struct err *e)
{
	CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write_all(fd, text))
		return err_sys(e, errno, "Could not write '%s'", path);
	return 0;
}

int daemon_write_pid(const char *file, char **path, struct err *e)
{
	char text[32];
	struct stat st;

	snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (!stat(file, &st) && !S_ISREG(st.st_mode))
		return write_special(file, text, e);
	*path = absolute(file);
	if (!*path)
		return err_nomem(e);
	if (!replace_file(*path, text, e))
		return 0;
	free(*path);
	*path = NULL;
	return -1;
}

void daemon_remove_pid(char *path)
{
	if (path)
		unlink(path);
	free(path);
}

/* ---- a command beside -------------------------------------------------- */

static void set_env(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
}

static void exec_shell(const char *command, const struct run_env *env)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	set_env("uri", env->uri);
	set_env("unixsocket", env->unixsocket);
	set_env("port", env->port);
	set_env("exportname", env->exportname);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

int daemon_run(const char *command, const struct run_env *env, struct err *e)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_sys(e, errno, "Failed to fork");
	if (!pid)
		exec_shell(command, env);
	return pid;
}
