/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Statistics for others: see metrics.h.
 *
 * A scraper that is slow or silent only keeps other scrapers waiting, and no
 * longer than PATIENCE.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/units.h"

#include "listen.h"
#include "log.h"
#include "metrics.h"
#include "stats.h"

#define BACKLOG	    16
#define PATIENCE    2	 /* seconds, for a scraper's bytes either way */
#define REQUEST_MAX 4096 /* bytes that are looked at for its end      */

struct metrics {
	const struct exports *exports;
	struct listeners listeners;
	int stop_fd;
	pthread_t thread;
};

/* ---- the text ---------------------------------------------------------- */

static uint64_t get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* As the value of a label. */
static void put_quoted(FILE *f, const char *text)
{
	putc('"', f);
	for (; *text; text++) {
		if (*text == '\n')
			fputs("\\n", f);
		else if (*text == '"' || *text == '\\')
			fprintf(f, "\\%c", *text);
		else
			putc(*text, f);
	}
	putc('"', f);
}

static void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* NAME{export="...",LABEL="..."} VALUE; label may be NULL. */
static void put(FILE *f, const char *name, const struct export *x,
    const char *label, const char *value, uint64_t n)
{
	fprintf(f, "%s{export=", name);
	put_quoted(f, x->name);
	if (label)
		fprintf(f, ",%s=\"%s\"", label, value);
	fprintf(f, "} %llu\n", (unsigned long long)n);
}

static void put_requests(const struct export *x, void *f)
{
	for (unsigned k = 0; k < STATS_COMMANDS; k++)
		if (stats_command(k))
			put(f, "imgd_requests_total", x, "command",
			    stats_command(k), get(&x->stats->requests[k]));
}

static void put_errors(const struct export *x, void *f)
{
	put(f, "imgd_request_errors_total", x, NULL, NULL,
	    get(&x->stats->errors));
}

static void put_bytes(const struct export *x, void *f)
{
	static const char name[] = "imgd_bytes_total";

	put(f, name, x, "direction", "read", get(&x->stats->read_len));
	put(f, name, x, "direction", "written", get(&x->stats->written_len));
}

static void put_clients(const struct export *x, void *f)
{
	put(f, "imgd_clients", x, NULL, NULL, x->stats->clients);
}

static void put_clients_ever(const struct export *x, void *f)
{
	put(f, "imgd_clients_total", x, NULL, NULL,
	    get(&x->stats->clients_ever));
}

char *metrics_text(const struct exports *x)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	head(f, "imgd_requests_total", "counter", "Requests answered.");
	exports_each(x, put_requests, f);
	head(f, "imgd_request_errors_total", "counter",
	    "Requests answered with an error.");
	exports_each(x, put_errors, f);
	head(f, "imgd_bytes_total", "counter",
	    "Bytes of guest data read and written.");
	exports_each(x, put_bytes, f);
	head(f, "imgd_clients", "gauge", "Clients that use an export now.");
	exports_each(x, put_clients, f);
	head(f, "imgd_clients_total", "counter", "Clients that used it.");
	exports_each(x, put_clients_ever, f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

static void log_one(const struct export *x, void *data)
{
	const struct stats *s = x->stats;
	uint64_t all = 0;

	(void)data;
	for (unsigned k = 0; k < STATS_COMMANDS; k++)
		all += get(&s->requests[k]);
	log_info("export '%s': %u clients of %llu, %llu requests, "
		 "%llu errors, %llu bytes read, %llu written",
	    x->name, s->clients, (unsigned long long)get(&s->clients_ever),
	    (unsigned long long)all, (unsigned long long)get(&s->errors),
	    (unsigned long long)get(&s->read_len),
	    (unsigned long long)get(&s->written_len));
}

void metrics_log(const struct exports *x)
{
	exports_each(x, log_one, NULL);
}

/* ---- scrapers ---------------------------------------------------------- */

static bool send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* Reads to the empty line that ends a request; what it asks is all the same. */
static void read_request(int fd)
{
	char buf[REQUEST_MAX + 1];
	size_t have = 0;

	while (have < REQUEST_MAX) {
		ssize_t n = recv(fd, buf + have, REQUEST_MAX - have, 0);

		if (n <= 0)
			return;
		have += (size_t)n;
		buf[have] = 0;
		if (strstr(buf, "\r\n\r\n") || strstr(buf, "\n\n"))
			return;
	}
}

static void answer(const struct metrics *m, int fd)
{
	static const char ok[] = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; "
				 "version=0.0.4\r\nConnection: close\r\n\r\n";
	const struct timeval patience = {.tv_sec = PATIENCE};
	CLEANUP_FREE char *text = NULL;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	read_request(fd);
	text = metrics_text(m->exports);
	if (text && send_all(fd, ok, sizeof ok - 1))
		send_all(fd, text, strlen(text));
}

static void *metrics_thread(void *arg)
{
	struct metrics *m = arg;
	const struct listeners *l = &m->listeners;
	struct pollfd p[1 + LISTEN_MAX] = {
	    {.fd = m->stop_fd, .events = POLLIN}};

	for (unsigned i = 0; i < l->n; i++)
		p[1 + i] = (struct pollfd){.fd = l->fd[i], .events = POLLIN};
	while (poll(p, 1 + l->n, -1) < 0 || !p[0].revents) {
		for (unsigned i = 0; i < l->n; i++) {
			struct err e = ERR_INIT;
			CLEANUP_FD int fd = -1;

			if (p[1 + i].revents)
				fd = listen_accept(l->fd[i], &e);
			if (fd >= 0)
				answer(m, fd);
		}
	}
	return NULL;
}

struct metrics *metrics_start(
    const char *address, const struct exports *x, struct err *e)
{
	struct metrics *m = calloc(1, sizeof *m);
	int rc;

	if (!m) {
		err_nomem(e);
		return NULL;
	}
	m->exports = x;
	m->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (m->stop_fd < 0) {
		err_sys(e, errno, "eventfd");
		goto fail;
	}
	if (listen_to(&m->listeners, address, BACKLOG, e))
		goto fail;
	rc = pthread_create(&m->thread, NULL, metrics_thread, m);
	if (!rc)
		return m;
	err_sys(e, rc, "Failed to start a thread");
fail:
	listen_close(&m->listeners);
	if (m->stop_fd >= 0)
		close(m->stop_fd);
	free(m);
	return NULL;
}

void metrics_stop(struct metrics *m)
{
	if (!m)
		return;
	eventfd_write(m->stop_fd, 1);
	pthread_join(m->thread, NULL);
	listen_close(&m->listeners);
	close(m->stop_fd);
	free(m);
}
