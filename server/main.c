/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * imgd: serves disk images over NBD.
 *
 * The main thread accepts clients and waits for signals; each client has a
 * thread, and all share worker threads.  At the end (a signal, the last client
 * of a server that is not persistent, the end of --run's command) no client is
 * accepted any more, each finishes what is in flight, and the image is flushed
 * and closed.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/object.h"
#include "core/units.h"

#include "args.h"
#include "authz.h"
#include "clients.h"
#include "daemon.h"
#include "device.h"
#include "exports.h"
#include "list.h"
#include "listen.h"
#include "log.h"
#include "metrics.h"
#include "nbd.h"
#include "notify.h"
#include "sched.h"
#include "tls.h"

#define ARENAS_MAX  8	      /* parts of the heap, shared by all threads */
#define KEPT_LEN    (4 * MiB) /* of free memory, in each of them */
#define WORKERS_MAX 16

struct server {
	struct args args;
	int signal_fd;
	struct tls_creds *creds; /* NULL: no TLS */
	struct authz *authz;	 /* NULL: everybody may connect */
	struct exports exports;
	struct sched *sched;
	struct conn_shared shared;
	struct clients *clients;
	struct listeners listeners;
	struct device device;
	struct metrics *metrics; /* NULL: nobody is to ask */
	char *run_dir;		 /* made for --run's socket; NULL none */
	char *pid_path;
	pid_t run_pid; /* 0: no command runs */
	int exit_code;
	bool over;
};

/* ---- start ------------------------------------------------------------- */

/* Signals come through a file descriptor; threads inherit the mask. */
static int open_signals(struct server *s, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* the write fails, and is told so */
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signal_fd < 0 ? err_sys(e, errno, "signalfd") : 0;
}

static int open_tls(struct server *s, struct err *e)
{
	const struct args *a = &s->args;

	if (a->tls_creds) {
		s->creds = tls_creds_new(a->tls_creds, e);
		if (!s->creds)
			return -1;
	}
	if (a->tls_authz) {
		s->authz = authz_new(a->tls_authz, e);
		if (!s->authz)
			return -1;
	}
	return 0;
}

static int open_exports(struct server *s, struct err *e)
{
	const struct args *a = &s->args;
	bool multi_conn = a->shared != 1;

	if (!a->exports.n && !a->exports_dir)
		return exports_add(&s->exports, &a->image, multi_conn, e);
	if (a->exports_dir && exports_add_folder(&s->exports, a->exports_dir,
				  &a->image, multi_conn, e))
		return -1;
	for (size_t i = 0; i < a->exports.n; i++)
		if (exports_add(
			&s->exports, &a->exports.spec[i], multi_conn, e))
			return -1;
	return 0;
}

/* A private socket for --run, where the user gave no address. */
static int listen_private(struct server *s, int backlog, struct err *e)
{
	char path[sizeof "/tmp/imgd.XXXXXX/socket"];

	s->run_dir = strdup("/tmp/imgd.XXXXXX");
	if (!s->run_dir)
		return err_nomem(e);
	if (!mkdtemp(s->run_dir)) {
		free(take(s->run_dir));
		return err_sys(e, errno, "Failed to make a folder in /tmp");
	}
	snprintf(path, sizeof path, "%s/socket", s->run_dir);
	return listen_unix(&s->listeners, path, backlog, e);
}

static int open_listeners(struct server *s, struct err *e)
{
	const struct args *a = &s->args;
	int backlog = SOMAXCONN, rc = listen_inherited(&s->listeners, e);

	if (rc < 0)
		return -1;
	if (rc && (a->socket || a->host || a->port || a->listen_n ||
		      a->selinux_label))
		return err_usage(e,
		    "-k, -p, -b, --listen and --selinux-label cannot be used "
		    "with socket activation");
	if (rc)
		return 0;
	if (!a->persistent && a->shared && a->shared < SOMAXCONN)
		backlog = (int)a->shared;
	for (unsigned i = 0; i < a->listen_n; i++)
		if (listen_to(&s->listeners, a->listen[i], backlog, e))
			return -1;
	if (a->listen_n && !a->socket && !a->host && !a->port)
		return 0;
	if (a->socket)
		return listen_unix(&s->listeners, a->socket, backlog, e);
	if (a->run && !a->host && !a->port)
		return listen_private(s, backlog, e);
	if (a->device && !a->host && !a->port)
		return 0;
	return listen_tcp(&s->listeners, a->host ? a->host : "0.0.0.0",
	    a->port ? a->port : NBD_PORT, backlog, e);
}

static int open_labelled_listeners(struct server *s, struct err *e)
{
	const char *label = s->args.selinux_label;

	if (label && listen_label(label, e))
		return -1;
	if (open_listeners(s, e))
		return -1;
	return label ? listen_label(NULL, e) : 0;
}

static int start_command(struct server *s, struct err *e)
{
	bool single = s->exports.n == 1 && !s->exports.folder;
	const char *name = single ? s->exports.item[0].name : "";
	CLEANUP_FREE char *uri =
	    listen_uri(&s->listeners, name, s->creds && !s->args.tls_optional);
	struct run_env env = {
	    .uri = uri,
	    .unixsocket = listen_path(&s->listeners),
	    .port = s->listeners.port,
	    .exportname = name,
	};

	if (!s->args.run)
		return 0;
	s->run_pid = daemon_run(s->args.run, &env, e);
	return s->run_pid < 0 ? -1 : 0;
}

static int attach_device(struct server *s, struct err *e)
{
	const struct args *a = &s->args;

	if (!a->device)
		return 0;
	if (device_attach(&s->device, s->clients, a->image.name, a->shared, e))
		return -1;
	if (a->verbose)
		log_info("NBD device %s is now connected to %s", a->device,
		    a->image.file);
	return 0;
}

static int start(struct server *s, struct err *e)
{
	const struct args *a = &s->args;

	if ((a->fork && daemon_fork(e)) || open_signals(s, e) ||
	    (a->device && device_open(&s->device, a->device, e)) ||
	    open_tls(s, e) || open_exports(s, e) ||
	    open_labelled_listeners(s, e))
		return -1;
	s->sched = sched_new(WORKERS_MAX, e);
	if (!s->sched)
		return -1;
	s->shared = (struct conn_shared){
	    .exports = &s->exports,
	    .sched = s->sched,
	    .requests_max = a->client_requests,
	    .client_rate = a->client_rate,
	    .creds = s->creds,
	    .tls_optional = a->tls_optional,
	    .authz = s->authz,
	    .handshake_ms = a->handshake_limit > UINT_MAX / 1000
				? UINT_MAX
				: a->handshake_limit * 1000,
	};
	s->clients = clients_new(&s->shared, e);
	if (!s->clients || attach_device(s, e))
		return -1;
	if (a->metrics) {
		s->metrics = metrics_start(a->metrics, &s->exports, e);
		if (!s->metrics)
			return -1;
	}
	if (a->pid_file && daemon_write_pid(a->pid_file, &s->pid_path, e))
		return -1;
	if (daemon_ready(!a->verbose, e) || start_command(s, e))
		return -1;
	notify_ready();
	return 0;
}

/* ---- service ----------------------------------------------------------- */

static void reap_command(struct server *s)
{
	int status;

	if (!s->run_pid || waitpid(s->run_pid, &status, WNOHANG) != s->run_pid)
		return;
	s->run_pid = 0;
	s->exit_code =
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	s->over = true;
}

static void on_signal(struct server *s)
{
	struct signalfd_siginfo si;

	if (read(s->signal_fd, &si, sizeof si) != sizeof si)
		return;
	if (si.ssi_signo == SIGCHLD)
		reap_command(s);
	else if (si.ssi_signo == SIGUSR1)
		metrics_log(&s->exports);
	else
		s->over = true;
}

static void on_client(struct server *s, int fd)
{
	struct err e = ERR_INIT;
	int client = listen_accept(fd, &e);

	if (client >= 0) {
		if (clients_add(s->clients, client, &e))
			log_err(&e);
	} else if (e.errnum != EAGAIN) {
		log_err(&e);
		/* It stays readable, and may get better: no busy loop. */
		poll(NULL, 0, 100);
	}
}

static void on_leave(struct server *s)
{
	bool negotiated = clients_reap(s->clients);

	if (negotiated && !clients_n(s->clients) && !s->args.persistent)
		s->over = true;
}

static void serve(struct server *s)
{
	struct pollfd p[2 + LISTEN_MAX] = {
	    {.fd = s->signal_fd, .events = POLLIN},
	    {.fd = clients_event_fd(s->clients), .events = POLLIN},
	};
	const struct listeners *l = &s->listeners;

	for (unsigned i = 0; i < l->n; i++)
		p[2 + i] = (struct pollfd){.fd = l->fd[i], .events = POLLIN};
	while (!s->over) {
		unsigned n = clients_n(s->clients);
		bool room = !s->args.shared || n < s->args.shared;

		if (poll(p, room ? 2 + l->n : 2, -1) <= 0)
			continue;
		if (p[0].revents)
			on_signal(s);
		if (p[1].revents)
			on_leave(s);
		for (unsigned i = 0; room && i < l->n && !s->over; i++) {
			if (p[2 + i].revents)
				on_client(s, l->fd[i]);
			room = !s->args.shared ||
			       clients_n(s->clients) < s->args.shared;
		}
	}
}

/* ---- end --------------------------------------------------------------- */

static int stop(struct server *s, struct err *e)
{
	int rc;

	notify_stopping();
	listen_close(&s->listeners);
	if (s->run_dir)
		rmdir(s->run_dir);
	free(take(s->run_dir));
	if (s->run_pid > 0)
		kill(s->run_pid, SIGTERM);
	rc = device_detach(&s->device, e);
	if (s->clients)
		clients_stop(s->clients);
	clients_free(take(s->clients));
	sched_free(take(s->sched));
	metrics_stop(take(s->metrics));
	rc |= exports_close(&s->exports, e);
	tls_creds_free(s->creds);
	authz_free(s->authz);
	device_close(&s->device);
	daemon_remove_pid(take(s->pid_path));
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	return rc;
}

static int disconnect_device(const char *path)
{
	struct err e = ERR_INIT;

	if (device_disconnect(path, &e)) {
		log_err(&e);
		return EXIT_FAILURE;
	}
	printf("%s disconnected\n", path);
	return EXIT_SUCCESS;
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path ? path : "imgd";
}

int main(int argc, char **argv)
{
	struct server s = {.signal_fd = -1, .device.kernel.fd = -1};
	struct err e = ERR_INIT;

	log_init(base_name(argv[0]));
	/* A buffer that was just sent is the next one that is needed: do not
	   give it back to the system meanwhile.  But what is kept must not
	   grow with the processors. */
	mallopt(M_ARENA_MAX, ARENAS_MAX);
	mallopt(M_MMAP_THRESHOLD, KEPT_LEN);
	mallopt(M_TRIM_THRESHOLD, KEPT_LEN);
	if (object_hide(argc, argv, &e)) {
		log_err(&e);
		return EXIT_FAILURE;
	}
	switch (args_parse(&s.args, argc, argv)) {
	case ARGS_EXIT_OK:
		args_clear(&s.args);
		return EXIT_SUCCESS;
	case ARGS_EXIT_FAILURE:
		args_clear(&s.args);
		return EXIT_FAILURE;
	case ARGS_RUN:
		break;
	}
	log_verbose(s.args.verbose);
	if (s.args.list || s.args.disconnect) {
		s.exit_code = s.args.list
				  ? list_run(&s.args)
				  : disconnect_device(s.args.image.file);
		args_clear(&s.args);
		return s.exit_code;
	}
	if (!start(&s, &e))
		serve(&s);
	stop(&s, &e);
	args_clear(&s.args);
	if (!err_is_set(&e))
		return s.exit_code;
	log_err(&e);
	return EXIT_FAILURE;
}
