/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Host file: an export of an NBD server.
 *
 * Its size is fixed.  Requests are cut into commands that are in flight
 * together, and go straight to and from the caller's buffers.  Nothing of the
 * contents is kept but a little block status (nbd_status.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "../core/cleanup.h"
#include "../core/units.h"
#include "blocks.h"
#include "nbd.h"

#define PIECE_LEN  (256u * 1024u) /* of a large read or write */
#define RANGE_LEN  GiB		  /* of a zero or trim */
#define CONN_N	   4u		  /* connections, if nothing else is said */
#define CONNECT_MS 30000u
#define PAUSE_MS   500u /* between attempts to open */

/* ---- reading and writing ------------------------------------------------- */

static bool next_piece(struct nbd_job *job, struct nbd_cmd *cmd)
{
	uint8_t *piece;

	cmd->len = iov_next(&job->at.buf, job->piece_len, &piece);
	cmd->buf = piece;
	cmd->off = job->at.off;
	job->at.off += cmd->len;
	return cmd->len;
}

static int transfer(struct hostfile *f, enum nbd_op op, const char *verb,
    const struct iovec *iov, int n, uint64_t off, struct err *e)
{
	struct nbd_store *s = f->priv;
	struct nbd_job job = {.next = next_piece,
	    .at = {.buf = {iov, n, 0}, .off = off},
	    .cmd = {.op = op},
	    .piece_len = round_down(
		min_u64(PIECE_LEN, s->facts.max_len), s->facts.min_len)};
	uint64_t len = 0;

	if (op == NBD_OP_WRITE)
		job.cmd.flags |= nbd_durable_flag(s);
	if (nbd_run(s, &job, e)) {
		err_prefix(e, "%s: ", f->name);
		return -1;
	}
	iov_len(iov, n, &len);
	return job.error ? host_fail(f, job.error, verb, len, off, e) : 0;
}

/* ---- blocks of the server -------------------------------------------------
 */

static int read_blocks(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	const struct iovec iov = {buf, len};

	return transfer(f, NBD_OP_READ, "read", &iov, 1, off, e);
}

static int write_blocks(
    struct hostfile *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	const struct iovec iov = {buf, len};

	return transfer(f, NBD_OP_WRITE, "write", &iov, 1, off, e);
}

static const struct block_io block_io = {read_blocks, write_blocks};

/* Does the server take these pieces as they are? */
static bool fits(
    struct hostfile *f, const struct iovec *iov, int n, uint64_t off)
{
	for (int i = 0; i < n; i++)
		off |= iov[i].iov_len;
	return is_aligned(off, f->align);
}

static int remote_readv(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	if (!fits(f, iov, n, off))
		return blocks_readv(f, &block_io, iov, n, off, e);
	return transfer(f, NBD_OP_READ, "read", iov, n, off, e);
}

/* Around every change: two that share a block must not lose anything. */
static void change_begin(
    struct hostfile *f, struct range *r, uint64_t off, uint64_t len)
{
	struct nbd_store *s = f->priv;

	if (f->align > 1)
		range_lock(&s->blocks, r, round_down(off, f->align),
		    round_up(off + len, f->align));
	nbd_status_forget(s->status);
}

static void change_end(struct hostfile *f, struct range *r)
{
	struct nbd_store *s = f->priv;

	nbd_status_forget(s->status);
	if (f->align > 1)
		range_unlock(&s->blocks, r);
}

static int remote_writev(struct hostfile *f, const struct iovec *iov, int n,
    uint64_t off, struct err *e)
{
	uint64_t len = 0;
	struct range r;
	int rc;

	iov_len(iov, n, &len);
	change_begin(f, &r, off, len);
	rc = fits(f, iov, n, off)
		 ? transfer(f, NBD_OP_WRITE, "write", iov, n, off, e)
		 : blocks_writev(f, &block_io, iov, n, off, e);
	change_end(f, &r);
	return rc;
}

/* ---- ranges -------------------------------------------------------------- */

static bool next_range(struct nbd_job *job, struct nbd_cmd *cmd)
{
	cmd->len = min_u64(job->at.len, job->piece_len);
	cmd->off = job->at.off;
	job->at.off += cmd->len;
	job->at.len -= cmd->len;
	return cmd->len;
}

/* Whole blocks.  1 done, 0 the server cannot, -1 failed. */
static int change_blocks(struct hostfile *f, const struct nbd_cmd *cmd,
    const char *verb, struct err *e)
{
	struct nbd_store *s = f->priv;
	struct nbd_job job = {.next = next_range,
	    .at = {.off = cmd->off, .len = cmd->len},
	    .cmd = *cmd,
	    .piece_len = RANGE_LEN};

	job.cmd.flags |= nbd_durable_flag(s);
	if (nbd_run(s, &job, e)) {
		err_prefix(e, "%s: ", f->name);
		return -1;
	}
	if (job.error == ENOTSUP || job.error == EOPNOTSUPP)
		return 0;
	return job.error ? host_fail(f, job.error, verb, cmd->len, cmd->off, e)
			 : 1;
}

/* The whole blocks of a range; false: there are none, and it is divided where a
 * block begins, if one does. */
static bool inner_blocks(const struct hostfile *f, struct nbd_cmd *cmd)
{
	uint64_t end = cmd->off + cmd->len;

	cmd->off = min_u64(round_up(cmd->off, f->align), end);
	end = round_down(end, f->align);
	cmd->len = end > cmd->off ? end - cmd->off : 0;
	return cmd->len;
}

/* Zeroes in [from, to), which is less than a block. */
static int zero_edge(
    struct hostfile *f, uint64_t from, uint64_t to, struct err *e)
{
	static uint8_t zeroes[65536];
	const struct iovec iov = {zeroes, to - from};

	return from < to ? blocks_writev(f, &block_io, &iov, 1, from, e) : 0;
}

static int zero_range(struct hostfile *f, uint64_t off, uint64_t len,
    uint32_t flags, struct err *e)
{
	const struct nbd_store *s = f->priv;
	struct nbd_cmd cmd = {
	    .op = NBD_OP_ZERO, .flags = flags, .off = off, .len = len};
	struct range r;
	int rc;

	if (!s->facts.zero)
		return 0;
	change_begin(f, &r, off, len);
	rc = inner_blocks(f, &cmd) ? change_blocks(f, &cmd, "zero", e) : 1;
	if (rc > 0 && (zero_edge(f, off, cmd.off, e) ||
			  zero_edge(f, cmd.off + cmd.len, off + len, e)))
		rc = -1;
	change_end(f, &r);
	return rc;
}

static int remote_punch(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return zero_range(f, off, len, 0, e);
}

static int remote_zero(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	return zero_range(f, off, len, LIBNBD_CMD_FLAG_NO_HOLE, e);
}

static int remote_zero_fast(
    struct hostfile *f, uint64_t off, uint64_t len, bool punch, struct err *e)
{
	const struct nbd_store *s = f->priv;
	uint32_t flags = punch ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;

	return s->facts.fast_zero ? zero_range(f, off, len,
					flags | LIBNBD_CMD_FLAG_FAST_ZERO, e)
				  : 0;
}

static int remote_discard(
    struct hostfile *f, uint64_t off, uint64_t len, struct err *e)
{
	const struct nbd_store *s = f->priv;
	struct nbd_cmd cmd = {.op = NBD_OP_TRIM, .off = off, .len = len};
	struct range r;
	int rc;

	if (!s->facts.trim || !inner_blocks(f, &cmd))
		return 0;
	change_begin(f, &r, cmd.off, cmd.len);
	rc = change_blocks(f, &cmd, "discard", e);
	change_end(f, &r);
	return rc;
}

/* ---- flush --------------------------------------------------------------- */

static bool next_once(struct nbd_job *job, struct nbd_cmd *cmd)
{
	(void)cmd;
	return job->at.len && job->at.len--;
}

/* The first n changes.  They are not durable while the flush is on its way: if
 * the connection is lost then, another server's word for it is worth nothing.
 */
static void made_durable(struct nbd_store *s, uint64_t n)
{
	uint64_t old = atomic_load(&s->durable);

	while (old < n && !atomic_compare_exchange_weak(&s->durable, &old, n))
		;
}

static int remote_sync(struct hostfile *f, struct err *e)
{
	struct nbd_store *s = f->priv;
	struct nbd_job job = {
	    .next = next_once, .at = {.len = 1}, .cmd = {.op = NBD_OP_FLUSH}};
	uint64_t before = atomic_load(&s->changes);

	if (!s->facts.flush)
		return 0;
	if (!nbd_run(s, &job, e) && !job.error) {
		made_durable(s, before);
		return 0;
	}
	if (job.error)
		return err_sys(e, job.error, "%s: could not sync", f->name);
	err_prefix(e, "%s: could not sync: ", f->name);
	return -1;
}

/* ---- life ---------------------------------------------------------------- */

static int remote_close(struct hostfile *f, struct err *e)
{
	struct nbd_store *s = f->priv;

	(void)e;
	for (unsigned i = 0; i < NBD_CONN_MAX; i++)
		nbd_conn_close(&s->conn[i]);
	range_destroy(&s->blocks);
	nbd_status_free(s->status);
	nbd_address_clear(&s->address);
	free(s);
	return 0;
}

static const struct host_ops nbd_ops = {
    .name = "nbd",
    .readv = remote_readv,
    .writev = remote_writev,
    .sync = remote_sync,
    .map = nbd_status_map,
    .punch = remote_punch,
    .zero = remote_zero,
    .zero_fast = remote_zero_fast,
    .discard = remote_discard,
    .many = nbd_many,
    .close = remote_close,
};

static int connect_first(struct nbd_store *s, struct err *e)
{
	const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
	uint64_t end = nbd_now_ms() + s->address.open_s * 1000;
	struct nbd_conn *c = s->conn;
	int rc;

	mutex_lock(&c->lock);
	while ((rc = nbd_conn_open(c, CONNECT_MS, e)) && nbd_now_ms() < end) {
		err_clear(e);
		nanosleep(&pause, NULL);
	}
	mutex_unlock(&c->lock);
	return rc;
}

/* Takes the address over, also on failure. */
static struct nbd_store *new_store(struct nbd_address *a, struct err *e)
{
	struct nbd_store *s = calloc(1, sizeof *s);

	if (!s) {
		nbd_address_clear(a);
		err_nomem(e);
		return NULL;
	}
	s->address = *a;
	*a = (struct nbd_address){0};
	range_init(&s->blocks);
	atomic_init(&s->conn_n, 1);
	for (unsigned i = 0; i < NBD_CONN_MAX; i++)
		nbd_conn_init(&s->conn[i], s);
	return s;
}

/* Connect, and take what the server says of the export. */
static int start(struct hostfile *f, struct err *e)
{
	struct nbd_store *s = f->priv;
	unsigned most = f->flags / HOST_CONNECTIONS(1u);

	if (!most)
		most = s->address.conn_max ? s->address.conn_max : CONN_N;

	s->name = f->name;
	s->wants_depth = f->flags & HOST_DEPTH && !s->address.bitmap;
	s->lib = nbd_lib_get(e);
	if (!s->lib || !(s->status = nbd_status_new(e)) || connect_first(s, e))
		return -1;
	if (f->flags & HOST_RDWR && s->facts.read_only)
		return err_set(e, ERR_SYSTEM, EROFS,
		    "the NBD server exports it read-only");
	if (s->facts.multi_conn)
		atomic_store(&s->conn_n, (unsigned)min_u64(most, NBD_CONN_MAX));
	f->fixed_size = f->slow_zero = f->remote = true;
	f->align = s->facts.min_len;
	atomic_store(&f->size, s->facts.size);
	return 0;
}

struct hostfile *host_open_nbd(
    struct nbd_address *a, unsigned flags, struct err *e)
{
	CLEANUP_FREE char *name = nbd_address_name(a, e);
	struct nbd_store *s = new_store(a, e);
	struct hostfile *f = NULL;

	if (s && name)
		f = host_new(&nbd_ops, name, flags, e);
	if (!f) {
		if (s)
			nbd_address_clear(&s->address);
		free(s);
		return NULL;
	}
	f->priv = s;
	if (!start(f, e))
		return f;
	host_put(f);
	return NULL;
}
