/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Four NBD clients at once that write stamps, zero, trim, flush and read at
 * random, and know afterwards what the disk may hold (see stamp.h).
 *
 *	stamper new MODEL SECTORS zero|stamped
 *	stamper fill MODEL FILE			raw file with the first contents
 *	stamper run MODEL URI REQUESTS SEED [PID KILL-AFTER]
 *	stamper verify MODEL FILE		does the raw file fit the model?
 *
 * With PID, that process is killed (-9) when KILL-AFTER requests were answered;
 * the run then ends well when all connections are dead.  Exit codes: 0 all
 * well; 1 the disk is wrong or a request failed; 2 the test cannot be done.
 *
 * One thread drives all connections.  The disk is cut into regions of unequal
 * lengths; a slot owns every SLOTS_N-th of them and has one request under way,
 * so requests that overlap never meet, while those in the same cluster do.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libnbd.h>

#include "stamp.h"

#define CLIENTS_N 4
#define DEPTH	  4
#define SLOTS_N	  (CLIENTS_N * DEPTH)

/* Sectors.  Their number has no factor in common with SLOTS_N, so that every
 * slot gets regions of all lengths. */
static const uint32_t region_lens[] = {48, 3, 200, 13, 130, 1, 700, 45, 90};
#define REGION_LENS_N (sizeof(region_lens) / sizeof(*region_lens))
#define REGION_MAX    700

enum slot_state { IDLE, CHANGE, FLUSH, READ };

struct slot {
	enum slot_state state;
	uint32_t op_ix;	    /* CHANGE                                */
	uint32_t flush_ack; /* FLUSH: answers when it was sent       */
	uint32_t first, n;  /* READ: sectors                         */
	int64_t cookie;
	uint8_t buf[REGION_MAX * SECTOR];
};

struct run {
	struct stamp_model *m;
	struct nbd_handle *nbd[CLIENTS_N];
	bool dead[CLIENTS_N];
	struct slot slots[SLOTS_N];
	uint32_t sent_n, answered_n, errors_n, wanted_n;
	uint64_t rng;
	pid_t kill_pid; /* 0: nobody */
	uint32_t kill_after;
};

static uint32_t rnd(struct run *r, uint32_t below)
{
	r->rng ^= r->rng << 13;
	r->rng ^= r->rng >> 7;
	r->rng ^= r->rng << 17;
	return (uint32_t)((r->rng >> 11) % below);
}

/* A random range in a random region of the slot's. */
static void pick_range(
    struct run *r, unsigned slot_ix, uint32_t *first, uint32_t *n)
{
	uint32_t round_len = 0, start, len;
	uint32_t region, rounds_n;

	for (unsigned i = 0; i < REGION_LENS_N; i++)
		round_len += region_lens[i];
	rounds_n = r->m->sectors_n / round_len;
	region = rnd(r, rounds_n * REGION_LENS_N / SLOTS_N) * SLOTS_N + slot_ix;
	start = region / REGION_LENS_N * round_len;
	for (unsigned i = 0; i < region % REGION_LENS_N; i++)
		start += region_lens[i];
	len = region_lens[region % REGION_LENS_N];
	*n = 1 + rnd(r, len);
	*first = start + rnd(r, len - *n + 1);
}

static enum stamp_kind pick_kind(struct run *r)
{
	uint32_t x = rnd(r, 10);

	return x < 5 ? STAMP_WRITE : x < 8 ? STAMP_ZERO : STAMP_TRIM;
}

static void send_change(struct run *r, struct slot *s, struct nbd_handle *nbd)
{
	bool fua = rnd(r, 8) == 0;
	uint32_t flags = fua ? LIBNBD_CMD_FLAG_FUA : 0;
	enum stamp_kind kind = pick_kind(r);
	uint64_t off = (uint64_t)s->first * SECTOR;
	uint64_t len = (uint64_t)s->n * SECTOR;

	s->state = CHANGE;
	s->op_ix = stamp_add(r->m, kind, fua, s->first, s->n);
	switch (kind) {
	case STAMP_WRITE:
		for (uint32_t i = 0; i < s->n; i++)
			stamp_fill(s->buf + (size_t)i * SECTOR, s->op_ix,
			    s->first + i);
		s->cookie = nbd_aio_pwrite(
		    nbd, s->buf, len, off, NBD_NULL_COMPLETION, flags);
		break;
	case STAMP_ZERO:
		if (rnd(r, 2))
			flags |= LIBNBD_CMD_FLAG_NO_HOLE;
		s->cookie =
		    nbd_aio_zero(nbd, len, off, NBD_NULL_COMPLETION, flags);
		break;
	case STAMP_TRIM:
		s->cookie =
		    nbd_aio_trim(nbd, len, off, NBD_NULL_COMPLETION, flags);
		break;
	}
}

static void send_request(struct run *r, unsigned slot_ix)
{
	struct slot *s = &r->slots[slot_ix];
	struct nbd_handle *nbd = r->nbd[slot_ix % CLIENTS_N];
	uint32_t x = rnd(r, 16);

	pick_range(r, slot_ix, &s->first, &s->n);
	if (x == 0) {
		s->state = FLUSH;
		s->flush_ack = r->m->acks_n;
		s->cookie = nbd_aio_flush(nbd, NBD_NULL_COMPLETION, 0);
	} else if (x < 4) {
		s->state = READ;
		s->cookie = nbd_aio_pread(nbd, s->buf, (size_t)s->n * SECTOR,
		    (uint64_t)s->first * SECTOR, NBD_NULL_COMPLETION, 0);
	} else {
		send_change(r, s, nbd);
	}
	r->sent_n++;
	if (s->cookie < 0)
		r->dead[slot_ix % CLIENTS_N] = true;
}

static bool check_sectors(
    const struct stamp_model *m, const uint8_t *buf, uint32_t first, uint32_t n)
{
	bool ok = true;

	for (uint32_t i = 0; i < n; i++)
		ok &= stamp_check(m, buf + (size_t)i * SECTOR, first + i);
	return ok;
}

static void answered(struct run *r, struct slot *s)
{
	switch (s->state) {
	case CHANGE:
		stamp_acked(r->m, s->op_ix);
		break;
	case FLUSH:
		stamp_flushed(r->m, s->flush_ack);
		break;
	case READ:
		if (!check_sectors(r->m, s->buf, s->first, s->n))
			r->errors_n++;
		break;
	case IDLE:
		abort();
	}
	s->state = IDLE;
	if (++r->answered_n == r->kill_after && r->kill_pid)
		kill(r->kill_pid, SIGKILL);
}

/* Sending may have found the connection dead, too. */
static bool is_dead(struct run *r, unsigned client_ix)
{
	if (nbd_aio_is_dead(r->nbd[client_ix]) ||
	    nbd_aio_is_closed(r->nbd[client_ix]))
		r->dead[client_ix] = true;
	return r->dead[client_ix];
}

/* Take the answers that came; send new requests in their place. */
static void serve_slot(struct run *r, unsigned slot_ix)
{
	struct slot *s = &r->slots[slot_ix];
	struct nbd_handle *nbd = r->nbd[slot_ix % CLIENTS_N];

	if (s->state != IDLE) {
		int done = nbd_aio_command_completed(nbd, (uint64_t)s->cookie);

		if (done == 0)
			return;
		if (done > 0) {
			answered(r, s);
		} else if (nbd_aio_is_ready(nbd)) {
			warnx("request failed: %s", nbd_get_error());
			r->errors_n++;
			s->state = IDLE;
		}
	}
	if (!is_dead(r, slot_ix % CLIENTS_N) && r->sent_n < r->wanted_n &&
	    r->errors_n == 0)
		send_request(r, slot_ix);
}

static bool is_busy(const struct run *r)
{
	for (unsigned i = 0; i < SLOTS_N; i++)
		if (r->slots[i].state != IDLE && !r->dead[i % CLIENTS_N])
			return true;
	return false;
}

/* Wait until a connection can go on, and let it. */
static void wait_io(struct run *r)
{
	struct pollfd fds[CLIENTS_N];
	unsigned live_n = 0;

	for (unsigned i = 0; i < CLIENTS_N; i++) {
		unsigned dir;

		fds[i] = (struct pollfd){.fd = -1};
		if (is_dead(r, i))
			continue;
		live_n++;
		dir = nbd_aio_get_direction(r->nbd[i]);
		fds[i].fd = nbd_aio_get_fd(r->nbd[i]);
		if (dir & LIBNBD_AIO_DIRECTION_READ)
			fds[i].events |= POLLIN;
		if (dir & LIBNBD_AIO_DIRECTION_WRITE)
			fds[i].events |= POLLOUT;
	}
	if (live_n == 0)
		return;
	if (poll(fds, CLIENTS_N, 60000) <= 0)
		errx(1, "no answer for 60 seconds");
	for (unsigned i = 0; i < CLIENTS_N; i++) {
		/* A failure here shows as a dead connection later. */
		if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
			(void)nbd_aio_notify_read(r->nbd[i]);
		else if (fds[i].revents & POLLOUT)
			(void)nbd_aio_notify_write(r->nbd[i]);
	}
}

static void connect_all(struct run *r, const char *uri)
{
	for (unsigned i = 0; i < CLIENTS_N; i++) {
		r->nbd[i] = nbd_create();
		if (!r->nbd[i] || nbd_connect_uri(r->nbd[i], uri) < 0)
			errx(2, "%s", nbd_get_error());
	}
	if (nbd_get_size(r->nbd[0]) != (int64_t)r->m->sectors_n * SECTOR)
		errx(2, "the disk is not of the model's size");
}

static int cmd_run(struct stamp_model *m, char **args, int args_n)
{
	struct run *r = calloc(1, sizeof(*r));
	bool killed;

	if (!r)
		errx(2, "out of memory");
	r->m = m;
	r->wanted_n = (uint32_t)strtoul(args[1], NULL, 0);
	r->rng = strtoull(args[2], NULL, 0) * 2 + 1;
	if (args_n == 5) {
		r->kill_pid = (pid_t)strtol(args[3], NULL, 0);
		r->kill_after = (uint32_t)strtoul(args[4], NULL, 0);
	}
	connect_all(r, args[0]);
	do {
		for (unsigned i = 0; i < SLOTS_N; i++)
			if (!r->dead[i % CLIENTS_N])
				serve_slot(r, i);
		if (is_busy(r))
			wait_io(r);
	} while (is_busy(r));
	killed = r->kill_pid && r->answered_n >= r->kill_after;
	printf("%" PRIu32 " requests answered, %" PRIu32 " errors%s\n",
	    r->answered_n, r->errors_n, killed ? ", server killed" : "");
	if (killed)
		stamp_crashed(m);
	else if (r->answered_n != r->wanted_n)
		r->errors_n++;
	for (unsigned i = 0; i < CLIENTS_N; i++)
		nbd_close(r->nbd[i]);
	return r->errors_n ? 1 : 0;
}

static int cmd_fill(const struct stamp_model *m, const char *path)
{
	FILE *f = fopen(path, "w");
	uint8_t buf[SECTOR] = {0};

	if (!f)
		err(2, "%s", path);
	for (uint32_t i = 0; i < m->sectors_n; i++) {
		if (m->ops[0].kind == STAMP_WRITE)
			stamp_fill(buf, 0, i);
		fwrite(buf, SECTOR, 1, f);
	}
	if (fclose(f) != 0)
		err(2, "%s", path);
	return 0;
}

static int cmd_verify(const struct stamp_model *m, const char *path)
{
	FILE *f = fopen(path, "r");
	uint8_t buf[SECTOR];
	uint32_t bad_n = 0;

	if (!f)
		err(2, "%s", path);
	for (uint32_t i = 0; i < m->sectors_n; i++) {
		if (fread(buf, SECTOR, 1, f) != 1)
			errx(2, "%s: too short", path);
		if (!stamp_check(m, buf, i) && ++bad_n == 20)
			break;
	}
	fclose(f);
	return bad_n ? 1 : 0;
}

int main(int argc, char **argv)
{
	const char *cmd = argc > 3 ? argv[1] : "";
	struct stamp_model *m;
	int ret = 2;

	if (!strcmp(cmd, "new") && argc == 5) {
		m = stamp_new((uint32_t)strtoul(argv[3], NULL, 0),
		    strcmp(argv[4], "zero") ? STAMP_WRITE : STAMP_ZERO);
		stamp_save(m, argv[2]);
		stamp_free(m);
		return 0;
	}
	m = argc > 3 ? stamp_load(argv[2]) : NULL;
	if (!strcmp(cmd, "fill") && argc == 4)
		ret = cmd_fill(m, argv[3]);
	else if (!strcmp(cmd, "verify") && argc == 4)
		ret = cmd_verify(m, argv[3]);
	else if (!strcmp(cmd, "run") && (argc == 6 || argc == 8)) {
		ret = cmd_run(m, argv + 3, argc - 3);
		stamp_save(m, argv[2]);
	} else {
		errx(2, "bad arguments");
	}
	stamp_free(m);
	return ret;
}
