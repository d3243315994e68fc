/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the NBD host file share.
 *
 * A store is an export with a few connections.  A job is what one request of
 * a caller comes to: commands that are in flight together, on one connection.
 */
#ifndef IMGD_NBD_H
#define IMGD_NBD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/lock.h"
#include "../core/range.h"
#include "hostfile.h"
#include "iov.h"
#include "nbd_lib.h"
#include "nbd_name.h"

#define NBD_WINDOW  64u /* commands of a job in flight */
#define NBD_WHY_MAX 160u

#define NBD_CONTEXT_DEPTH "qemu:allocation-depth"

/* ---- commands and jobs --------------------------------------------------- */

enum nbd_op {
	NBD_OP_READ,
	NBD_OP_WRITE,
	NBD_OP_ZERO,
	NBD_OP_TRIM,
	NBD_OP_FLUSH,
	NBD_OP_STATUS,
};

struct nbd_cmd {
	enum nbd_op op;
	uint32_t flags; /* LIBNBD_CMD_FLAG_* */
	void *buf;
	uint64_t len, off;
	nbd_extent_callback extents; /* STATUS */
	int *error;		     /* gets the errno value of a failure */
};

/*
 * Commands come from next() until it says false.  A job whose connection is
 * lost begins again: next() then sees `at` as it was.
 */
struct nbd_job {
	bool (*next)(struct nbd_job *, struct nbd_cmd *);
	struct nbd_place {
		struct iov_walk buf;
		uint64_t off, len;
	} at;
	struct nbd_cmd cmd; /* what all commands of the job have */
	uint64_t piece_len;
	int error;	       /* the first one */
	char why[NBD_WHY_MAX]; /* the connection was lost */
};

/* ---- connections ----------------------------------------------------------
 */

/* What the server said of the export; the same on every connection. */
struct nbd_facts {
	uint64_t size;
	uint32_t min_len, max_len; /* of reads and writes, bytes */
	bool read_only, flush, fua, trim, zero, fast_zero, multi_conn, status,
	    depth;
};

struct nbd_store;

struct nbd_conn {
	struct nbd_store *store;
	_Atomic unsigned jobs;	/* that use it, or wait for it */
	_Atomic uint64_t since; /* changes before it was opened; most: closed */
	struct mutex lock;	/* for what follows, and for calls of libnbd */
	pthread_cond_t changed;
	struct nbd_handle *h; /* NULL: not connected */
	unsigned serial;      /* changes with h */
	unsigned waiters;     /* for somebody else's poll() */
	bool polling;
	bool ended;	       /* a command that somebody is parked for     */
	int wake;	       /* eventfd: ends the poll() */
	uint64_t alive_ms;     /* when it last moved anything */
	bool stalled;	       /* it was lost by silence */
	char why[NBD_WHY_MAX]; /* it was lost; "": not known */
};

struct nbd_store {
	const struct nbd_lib *lib;
	struct nbd_address address;
	const char *name; /* the host file's */
	bool wants_depth; /* of what the server has */
	struct nbd_facts facts;
	_Atomic uint64_t changes; /* acknowledged, not yet durable then     */
	_Atomic uint64_t durable; /* so many of these came before a flush   */
	_Atomic bool lost;	  /* what was written may be gone           */
	_Atomic unsigned conn_n;  /* that may be opened */
	struct nbd_conn conn[NBD_CONN_MAX];
	struct nbd_status *status; /* nbd_status.c */
	struct range_locks blocks; /* of servers with blocks: that change */
};

/* What libnbd says of its last failure in this thread. */
const char *nbd_reason(const struct nbd_lib *lib);
/* A moment, in milliseconds. */
uint64_t nbd_now_ms(void);
void nbd_conn_init(struct nbd_conn *c, struct nbd_store *s);
void nbd_conn_close(struct nbd_conn *c);
/*
 * Connect and shake hands, for `ms` milliseconds at most.  The first time it
 * fills the facts of the store; after that they must be the same.
 */
int nbd_conn_open(struct nbd_conn *c, uint64_t ms, struct err *e)
    REQUIRES(&c->lock);
/*
 * Wait until something happens on the connection, which is open.  Gives the
 * lock up meanwhile.  A connection that is lost is closed.  *parked is true
 * while somebody else does the poll(): set c->ended to be woken.
 */
void nbd_conn_wait(struct nbd_conn *c, bool *parked) REQUIRES(&c->lock);
/* Wake those who wait for somebody else's poll(). */
void nbd_conn_pass(struct nbd_conn *c) REQUIRES(&c->lock);
/* End the poll(), if there is one. */
void nbd_conn_wake(struct nbd_conn *c) REQUIRES(&c->lock);
/* After calls of libnbd: is it lost?  Then it is closed. */
bool nbd_conn_lost(struct nbd_conn *c) REQUIRES(&c->lock);

/*
 * Run a job to its end.  0 with job->error set where commands failed, and -1
 * when there is no connection.
 */
int nbd_run(struct nbd_store *s, struct nbd_job *job, struct err *e);

/* A server that cannot flush makes each write durable, if it can do that. */
static inline uint32_t nbd_durable_flag(const struct nbd_store *s)
{
	return !s->facts.flush && s->facts.fua ? LIBNBD_CMD_FLAG_FUA : 0;
}
/* host_ops.many */
void nbd_many(struct hostfile *f, struct many_io *io, size_t n, struct err *e);

/* ---- block status ---------------------------------------------------------
 */

struct nbd_status *nbd_status_new(struct err *e);
void nbd_status_free(struct nbd_status *st);
int nbd_status_map(struct hostfile *f, uint64_t off, uint64_t len,
    struct host_extent *x, struct err *e);
/* The contents change: before and after every write. */
void nbd_status_forget(struct nbd_status *st);

#endif
