/* SPDX-License-Identifier: BSD-3-Clause */
/* Many transfers of an NBD host file at a time, each one command. */
#include <stdlib.h>
#include <string.h>

#include "../core/units.h"
#include "many.h"
#include "nbd.h"

/* Those of a list of transfers that are of one file. */
struct many_job {
	struct nbd_job job; /* at.off: index of the next one */
	struct hostfile *file;
	struct many_io *io;
	int *error; /* of each, -1: not run */
};

/* The others are cut, or need whole blocks around them. */
static bool is_one_command(const struct hostfile *f, const struct many_io *io)
{
	const struct nbd_store *s = f->priv;

	return io->file == f && !io->done && io->len <= s->facts.max_len &&
	       range_ok(io->off, io->len, host_size(f)) &&
	       (io->write ? f->align == 1 && f->flags & HOST_RDWR
			  : is_aligned(io->off | io->len, f->align));
}

static bool next_transfer(struct nbd_job *job, struct nbd_cmd *cmd)
{
	struct many_job *m = (struct many_job *)job;
	const struct many_io *io = NULL;

	while (job->at.len && !io) {
		if (is_one_command(m->file, &m->io[job->at.off]))
			io = &m->io[job->at.off];
		job->at.off++;
		job->at.len--;
	}
	if (!io)
		return false;
	cmd->error = &m->error[job->at.off - 1];
	*cmd->error = 0;
	cmd->op = io->write ? NBD_OP_WRITE : NBD_OP_READ;
	cmd->flags = io->write ? nbd_durable_flag(m->file->priv) : 0;
	cmd->buf = io->buf;
	cmd->len = io->len;
	cmd->off = io->off;
	return true;
}

static bool any_write(
    const struct hostfile *f, const struct many_io *io, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (io[i].file == f && io[i].write)
			return true;
	return false;
}

void nbd_many(struct hostfile *f, struct many_io *io, size_t n, struct err *e)
{
	struct nbd_store *s = f->priv;
	bool writes = any_write(f, io, n);
	struct many_job m = {
	    .job = {.next = next_transfer,
		.at = {.len = n},
		.cmd = {.op = writes ? NBD_OP_WRITE : NBD_OP_READ}},
	    .file = f,
	    .io = io,
	    .error = malloc(n * sizeof(int))};
	int rc;

	if (!m.error)
		return;
	memset(m.error, 0xff, n * sizeof(int));
	if (writes)
		nbd_status_forget(s->status);
	rc = nbd_run(s, &m.job, e);
	if (rc)
		err_prefix(e, "%s: ", f->name);
	for (size_t i = 0; i < n; i++) {
		if (is_one_command(f, &io[i]))
			io[i].failed = rc;
		io[i].done |= !rc && !m.error[i];
	}
	if (writes)
		nbd_status_forget(s->status);
	free(m.error);
}
