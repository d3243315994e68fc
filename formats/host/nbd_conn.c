/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One connection to an NBD server: making it, and moving bytes.
 *
 * Any thread may put commands on a connection.  Of those that wait for an
 * answer one does the poll(), for all, without the lock; the others wait for
 * it.  Who puts a command while there is a poll() ends that with the eventfd,
 * since it may have to wait for something else now.
 *
 * libnbd calls back for every command, with an error where the connection is
 * lost, before a connection is closed: nothing is in flight on one that is not
 * open.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../core/units.h"
#include "nbd.h"

uint64_t nbd_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void nbd_conn_init(struct nbd_conn *c, struct nbd_store *s)
{
	c->store = s;
	c->wake = -1;
	atomic_store(&c->since, UINT64_MAX);
	mutex_init(&c->lock);
	lock_must(pthread_cond_init(&c->changed, NULL));
}

/* Without the name of the function. */
const char *nbd_reason(const struct nbd_lib *lib)
{
	const char *text = lib->get_error(), *colon;

	if (!text)
		return "unknown reason";
	colon = strncmp(text, "nbd_", 4) ? NULL : strstr(text, ": ");
	return colon ? colon + 2 : text;
}

/* ---- waiting ------------------------------------------------------------- */

void nbd_conn_wake(struct nbd_conn *c)
{
	if (c->polling)
		eventfd_write(c->wake, 1);
}

static void drop(struct nbd_conn *c) REQUIRES(&c->lock)
{
	if (c->h)
		c->store->lib->close(c->h);
	c->h = NULL;
	atomic_store(&c->since, UINT64_MAX);
	c->serial++;
	nbd_conn_wake(c);
	lock_must(pthread_cond_broadcast(&c->changed));
}

bool nbd_conn_lost(struct nbd_conn *c)
{
	struct nbd_store *s = c->store;

	if (!c->h)
		return true;
	if (!s->lib->aio_is_dead(c->h) && !s->lib->aio_is_closed(c->h))
		return false;
	/* At once: nobody may flush on the next connection before. */
	if (!s->address.reconnect_s &&
	    atomic_load(&s->changes) != atomic_load(&s->durable))
		atomic_store(&s->lost, true);
	drop(c);
	return true;
}

static short wanted_events(const struct nbd_conn *c)
{
	unsigned dir = c->store->lib->aio_get_direction(c->h);

	return (short)((dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
		       (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
}

/* Let libnbd do what it can do now. */
static void notify(struct nbd_conn *c, short events) REQUIRES(&c->lock)
{
	const struct nbd_lib *lib = c->store->lib;
	short wanted = wanted_events(c);
	int rc = 0;

	if (wanted & POLLIN && events & (POLLIN | POLLHUP | POLLERR))
		rc = lib->aio_notify_read(c->h);
	else if (wanted & POLLOUT && events & (POLLOUT | POLLHUP | POLLERR))
		rc = lib->aio_notify_write(c->h);
	if (rc)
		snprintf(c->why, sizeof c->why, "%s", nbd_reason(lib));
	if (events)
		c->alive_ms = nbd_now_ms();
}

/* One poll() of `ms` at most; its events, 0: none. */
static short poll_once(struct nbd_conn *c, int ms) REQUIRES(&c->lock)
{
	struct pollfd fd[2] = {
	    {.fd = c->store->lib->aio_get_fd(c->h), .events = wanted_events(c)},
	    {.fd = c->wake, .events = POLLIN},
	};
	eventfd_t unused;

	c->polling = true;
	mutex_unlock(&c->lock);
	if (poll(fd, 2, ms) < 0)
		fd[0].revents = fd[1].revents = 0;
	mutex_lock(&c->lock);
	c->polling = false;
	if (fd[1].revents)
		eventfd_read(c->wake, &unused);
	return fd[0].revents;
}

/* A server that is silent is as one that is gone. */
static void give_up(struct nbd_conn *c) REQUIRES(&c->lock)
{
	shutdown(c->store->lib->aio_get_fd(c->h), SHUT_RDWR);
	notify(c, POLLHUP);
	c->stalled = true;
	snprintf(c->why, sizeof c->why, "no answer for %llu seconds",
	    (unsigned long long)c->store->address.stall_s);
}

void nbd_conn_wait(struct nbd_conn *c, bool *parked)
{
	uint64_t limit = c->store->address.stall_s * 1000, silent;
	unsigned serial = c->serial;
	short events;

	if (c->polling) {
		*parked = true;
		c->waiters++;
		mutex_wait(&c->lock, &c->changed);
		c->waiters--;
		*parked = false;
		return;
	}
	silent = nbd_now_ms() - c->alive_ms;
	events = poll_once(
	    c, silent < limit ? (int)min_u64(limit - silent, 60000) : 0);
	if (serial == c->serial && events)
		notify(c, events);
	else if (serial == c->serial && nbd_now_ms() - c->alive_ms >= limit)
		give_up(c);
	nbd_conn_lost(c);
	if (c->ended)
		nbd_conn_pass(c);
}

void nbd_conn_pass(struct nbd_conn *c)
{
	c->ended = false;
	if (c->waiters)
		lock_must(pthread_cond_broadcast(&c->changed));
}

/* ---- connecting ---------------------------------------------------------- */

static int connect_failed(
    const struct nbd_store *s, bool shaking, struct err *e)
{
	const struct nbd_address *a = &s->address;
	int errnum = s->lib->get_errno();

	if (shaking && errnum == ENOENT)
		return err_set(e, ERR_SYSTEM, ENOENT,
		    "Requested export not available: the server has no '%s'",
		    a->export);
	if (shaking)
		return err_set(e, ERR_SYSTEM, errnum ? errnum : EIO,
		    "NBD negotiation failed: %s", nbd_reason(s->lib));
	if (errnum)
		return err_sys(e, errnum, "Failed to connect to '%s%s%s'",
		    a->path ? a->path : a->host, a->path ? "" : ":",
		    a->path ? "" : a->port);
	return err_set(e, ERR_SYSTEM, EHOSTUNREACH,
	    "Failed to connect to '%s%s%s': %s", a->path ? a->path : a->host,
	    a->path ? "" : ":", a->path ? "" : a->port, nbd_reason(s->lib));
}

static bool set_tls(const struct nbd_store *s, struct nbd_handle *h)
{
	const struct nbd_address *a = &s->address;
	const struct nbd_lib *lib = s->lib;

	if (a->tls == NBD_TLS_NONE)
		return true;
	if (lib->set_tls(h, LIBNBD_TLS_REQUIRE) ||
	    (a->tls_user && lib->set_tls_username(h, a->tls_user)))
		return false;
	if (a->tls == NBD_TLS_PSK)
		return !lib->set_tls_psk_file(h, a->tls_psk);
	return !(a->tls_dir && lib->set_tls_certificates(h, a->tls_dir)) &&
	       !lib->set_tls_verify_peer(h, !a->tls_trust);
}

/* What the block status is made of. */
static const char *status_context(const struct nbd_store *s)
{
	return s->address.bitmap ? s->address.bitmap
				 : LIBNBD_CONTEXT_BASE_ALLOCATION;
}

static bool start(const struct nbd_store *s, struct nbd_handle *h)
{
	const struct nbd_address *a = &s->address;
	const struct nbd_lib *lib = s->lib;

	if (lib->set_export_name(h, a->export) || !set_tls(s, h) ||
	    lib->add_meta_context(h, status_context(s)) ||
	    (s->wants_depth && lib->add_meta_context(h, NBD_CONTEXT_DEPTH)))
		return false;
	return a->path ? !lib->aio_connect_unix(h, a->path)
		       : !lib->aio_connect_tcp(h, a->host, a->port);
}

/* A host that vanishes is noticed; no effect on a Unix socket. */
static void keep_alive(int fd)
{
	static const struct {
		int level, name, value;
	} opt[] = {
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 20},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 5},
	    {IPPROTO_TCP, TCP_KEEPCNT, 4},
	};

	for (unsigned i = 0; i < ARRAY_N(opt); i++)
		setsockopt(fd, opt[i].level, opt[i].name, &opt[i].value,
		    sizeof opt[i].value);
}

static bool is_connected(int fd)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof peer;

	return !getpeername(fd, (struct sockaddr *)&peer, &len);
}

/* Until commands can be sent. */
static int shake_hands(struct nbd_conn *c, uint64_t ms, struct err *e)
    REQUIRES(&c->lock)
{
	const struct nbd_lib *lib = c->store->lib;
	uint64_t end = nbd_now_ms(), now;
	bool connected;

	end += min_u64(ms, c->store->address.stall_s * 1000);
	while (!lib->aio_is_ready(c->h)) {
		struct pollfd fd;
		int rc = 0;

		now = nbd_now_ms();
		if (now >= end)
			return err_set(e, ERR_SYSTEM, ETIMEDOUT,
			    "NBD server does not answer");
		fd.fd = lib->aio_get_fd(c->h);
		fd.events = wanted_events(c);
		if (poll(&fd, 1, (int)min_u64(end - now, 1000)) <= 0)
			continue;
		/* One step may lead from here to the end of it all. */
		connected = is_connected(fd.fd);
		if (fd.events & POLLIN && fd.revents & ~POLLOUT)
			rc = lib->aio_notify_read(c->h);
		else
			rc = lib->aio_notify_write(c->h);
		if (rc || lib->aio_is_dead(c->h) || lib->aio_is_closed(c->h))
			return connect_failed(c->store, connected, e);
	}
	keep_alive(lib->aio_get_fd(c->h));
	return 0;
}

/* ---- the export ---------------------------------------------------------- */

static int read_facts(
    const struct nbd_conn *c, struct nbd_facts *f, struct err *e)
{
	const struct nbd_store *s = c->store;
	const struct nbd_lib *lib = s->lib;
	int64_t size = lib->get_size(c->h);
	int64_t min, max;

	if (size < 0)
		return err_damaged(
		    e, "NBD server gives no valid size: %s", nbd_reason(lib));
	min = lib->get_block_size(c->h, LIBNBD_SIZE_MINIMUM);
	max = lib->get_block_size(c->h, LIBNBD_SIZE_MAXIMUM);
	*f = (struct nbd_facts){
	    .size = (uint64_t)size,
	    .min_len = min > 1 ? (uint32_t)min : 1,
	    .max_len = max > 0 ? (uint32_t)min_u64((uint64_t)max, 32 * MiB)
			       : (uint32_t)(32 * MiB),
	    .read_only = lib->is_read_only(c->h) > 0,
	    .flush = lib->can_flush(c->h) > 0,
	    .fua = lib->can_fua(c->h) > 0,
	    .trim = lib->can_trim(c->h) > 0,
	    .zero = lib->can_zero(c->h) > 0,
	    .fast_zero = lib->can_fast_zero(c->h) > 0,
	    .multi_conn = lib->can_multi_conn(c->h) > 0,
	    .status = lib->can_meta_context(c->h, status_context(s)) > 0,
	    .depth = s->wants_depth &&
		     lib->can_meta_context(c->h, NBD_CONTEXT_DEPTH) > 0,
	};
	if (s->address.bitmap && !f->status)
		return err_set(e, ERR_SYSTEM, EINVAL,
		    "the NBD server has no '%s' of this export",
		    s->address.bitmap);
	if (!is_pow2(f->min_len) || f->min_len > 65536 ||
	    f->max_len < f->min_len)
		return err_damaged(e,
		    "NBD server wants blocks of %u to %u bytes: the smaller "
		    "one must be a power of two up to 65536",
		    f->min_len, f->max_len);
	if (!is_aligned(f->size, f->min_len))
		return err_damaged(e,
		    "NBD export of %llu bytes is no multiple of its block size "
		    "%u",
		    (unsigned long long)f->size, f->min_len);
	return 0;
}

static int check_facts(
    struct nbd_store *s, const struct nbd_facts *f, struct err *e)
{
	const struct nbd_facts *old = &s->facts;

	if (f->size != old->size)
		return err_set(e, ERR_SYSTEM, EIO,
		    "the NBD export has %llu bytes now, it had %llu",
		    (unsigned long long)f->size, (unsigned long long)old->size);
	if (f->min_len != old->min_len || f->max_len < old->max_len ||
	    f->flush < old->flush || f->fua < old->fua || f->trim < old->trim ||
	    f->zero < old->zero || f->status < old->status ||
	    f->depth < old->depth || f->fast_zero < old->fast_zero ||
	    f->read_only > old->read_only)
		return err_set(e, ERR_SYSTEM, EIO,
		    "the NBD server can do less than it could at first");
	return 0;
}

static int accept_facts(struct nbd_conn *c, struct err *e)
{
	struct nbd_store *s = c->store;
	struct nbd_facts f;

	if (read_facts(c, &f, e))
		return -1;
	if (s->facts.max_len)
		return check_facts(s, &f, e);
	s->facts = f;
	return 0;
}

int nbd_conn_open(struct nbd_conn *c, uint64_t ms, struct err *e)
{
	const struct nbd_lib *lib = c->store->lib;

	if (c->wake < 0)
		c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake < 0)
		return err_sys(e, errno, "%s: eventfd", c->store->name);
	c->h = lib->create();
	if (!c->h)
		return err_nomem(e);
	c->serial++;
	c->why[0] = 0;
	c->stalled = false;
	if (!start(c->store, c->h))
		connect_failed(c->store, false, e);
	else if (!shake_hands(c, ms, e) && !accept_facts(c, e))
		c->alive_ms = nbd_now_ms();
	if (err_is_set(e)) {
		drop(c);
		return -1;
	}
	atomic_store(&c->since, atomic_load(&c->store->changes));
	return 0;
}

void nbd_conn_close(struct nbd_conn *c)
{
	mutex_lock(&c->lock);
	/* A polite end; libnbd sends it at once or not at all. */
	if (c->h)
		c->store->lib->aio_disconnect(c->h, 0);
	drop(c);
	mutex_unlock(&c->lock);
	if (c->wake >= 0)
		close(c->wake);
	pthread_cond_destroy(&c->changed);
	mutex_destroy(&c->lock);
}
