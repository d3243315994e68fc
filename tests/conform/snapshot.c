/* SPDX-License-Identifier: BSD-3-Clause */
/* Internal snapshots of an image under test: see subject.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "hostio.h"
#include "peer.h"
#include "subject.h"

#define FILE_NAME "snapshot.img"

void subject_snapshot(struct subject *s)
{
	char name[16], out[1024];
	const char *argv[] = {
	    "qemu-img", "snapshot", "-c", name, FILE_NAME, NULL};
	uint64_t size = s->oracle.size;
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	snprintf(name, sizeof name, "s%u", s->snapshot_n);
	subject_must(s, hostio_save(s->file, FILE_NAME, &s->e));
	if (peer_run(argv, out, sizeof out))
		subject_fail(s, "qemu-img snapshot: %s", out);
	subject_must(s, host_truncate(s->file, 0, &s->e));
	subject_must(s, hostio_load(s->file, FILE_NAME, &s->e));
	unlink(FILE_NAME);
	memcpy(bytes, s->oracle.data, size);
	s->snapshot[s->snapshot_n++] = bytes;
}

static void read_one(struct subject *s, unsigned i)
{
	uint64_t size = s->oracle.size;
	CLEANUP_FREE uint8_t *buf = malloc(size);
	char name[16];

	assert_non_null(buf);
	snprintf(name, sizeof name, "s%u", i);
	subject_open(
	    s, &(struct img_open){.format = s->g->format, .snapshot = name});
	subject_must(s, img_pread(s->img, buf, size, 0, &s->e));
	for (uint64_t off = 0; off < size; off++)
		if (buf[off] != s->snapshot[i][off])
			subject_fail(s, "snapshot %s: byte %llu is wrong", name,
			    (unsigned long long)off);
	subject_close(s);
}

void subject_read_snapshots(struct subject *s)
{
	for (unsigned i = 0; i < s->snapshot_n; i++)
		read_one(s, i);
}
