/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The clients that are connected: see clients.h.
 *
 * A client's thread only runs it and then says that it has; its socket, its
 * memory and its place in the list are the main thread's.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clients.h"
#include "log.h"
#include "stream.h"

struct client {
	struct client *next;
	unsigned number;
	pthread_t thread;
	int event_fd; /* of the list */
	struct stream stream;
	struct conn *conn;
	_Atomic bool left;
};

struct clients {
	const struct conn_shared *shared;
	struct client *head;
	unsigned n;
	unsigned ever; /* the number of the last one */
	int event_fd;
};

struct clients *clients_new(const struct conn_shared *shared, struct err *e)
{
	struct clients *cs = calloc(1, sizeof *cs);

	if (!cs) {
		err_nomem(e);
		return NULL;
	}
	cs->shared = shared;
	cs->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cs->event_fd < 0) {
		err_sys(e, errno, "eventfd");
		free(cs);
		return NULL;
	}
	return cs;
}

void clients_free(struct clients *cs)
{
	if (!cs)
		return;
	assert(!cs->head);
	close(cs->event_fd);
	free(cs);
}

int clients_event_fd(const struct clients *cs)
{
	return cs->event_fd;
}

unsigned clients_n(const struct clients *cs)
{
	return cs->n;
}

static void *client_thread(void *arg)
{
	struct client *c = arg;
	int event_fd = c->event_fd;

	log_client(c->number);
	log_debug("client %u: connected", c->number);
	conn_run(c->conn);
	log_debug("client %u: disconnected", c->number);
	log_export(NULL);
	conn_release(c->conn);
	stream_close(&c->stream);
	c->left = true;
	eventfd_write(event_fd, 1);
	return NULL;
}

static void client_free(struct client *c)
{
	conn_free(c->conn);
	close(c->stream.fd);
	free(c);
}

int clients_add(struct clients *cs, int fd, struct err *e)
{
	struct client *c = calloc(1, sizeof *c);
	int rc;

	if (!c) {
		close(fd);
		return err_nomem(e);
	}
	stream_socket(&c->stream, fd);
	c->number = ++cs->ever;
	c->event_fd = cs->event_fd;
	c->conn = conn_new(&c->stream, cs->shared, e);
	if (!c->conn) {
		client_free(c);
		return -1;
	}
	rc = pthread_create(&c->thread, NULL, client_thread, c);
	if (rc) {
		client_free(c);
		return err_sys(e, rc, "Failed to start a thread for a client");
	}
	c->next = cs->head;
	cs->head = c;
	cs->n++;
	return 0;
}

bool clients_reap(struct clients *cs)
{
	bool negotiated = false;
	eventfd_t n;

	eventfd_read(cs->event_fd, &n);
	for (struct client **p = &cs->head; *p;) {
		struct client *c = *p;

		if (!c->left) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		cs->n--;
		pthread_join(c->thread, NULL);
		negotiated |= conn_negotiated(c->conn);
		client_free(c);
	}
	return negotiated;
}

void clients_stop(struct clients *cs)
{
	struct pollfd p = {.fd = cs->event_fd, .events = POLLIN};

	for (struct client *c = cs->head; c; c = c->next)
		conn_stop(c->conn);
	while (cs->n) {
		poll(&p, 1, -1);
		clients_reap(cs);
	}
}
