/* SPDX-License-Identifier: BSD-3-Clause */
/* An image whose storage can be held: see stage.h. */
#include <stdio.h>

#include "check.h"
#include "formats/core/units.h"
#include "stage.h"

void stage_reopen(struct stage *s)
{
	disk_reopen_as(&s->d, &(struct img_open){.format = "qcow2",
				  .flags = IMG_O_RDWR | IMG_O_DISCARD});
}

void stage_new(struct stage *s, struct hostfile *under, const char *options)
{
	struct err e = ERR_INIT;
	char all[128];

	if (!under)
		under = host_open_memory("disk", 0, &e);
	assert_no_error(&e);
	snprintf(all, sizeof all, "cluster_size=%u%s%s", STAGE_CLUSTER,
	    options ? "," : "", options ? options : "");
	s->d = disk_new_on(hold_new(&s->h, under), "qcow2", 2 * MiB, all);
	stage_reopen(s);
}

void stage_free(struct stage *s)
{
	disk_free(&s->d);
}

void stage_write(struct stage *s, uint64_t cl, char letter)
{
	char buf[STAGE_CLUSTER];

	memset(buf, letter, sizeof buf);
	disk_write(&s->d, buf, sizeof buf, cl * STAGE_CLUSTER);
}

void stage_expect(struct stage *s, uint64_t cl, char letter)
{
	char buf[STAGE_CLUSTER];

	memset(buf, letter, sizeof buf);
	disk_expect(&s->d, buf, sizeof buf, cl * STAGE_CLUSTER);
}

void stage_flush(struct stage *s)
{
	struct err e = ERR_INIT;

	assert_ok(img_flush(s->d.img, &e), &e);
}

void stage_trim(struct stage *s, uint64_t cl)
{
	struct err e = ERR_INIT;

	assert_ok(
	    img_trim(s->d.img, STAGE_CLUSTER, cl * STAGE_CLUSTER, 0, &e), &e);
}

uint64_t stage_host(struct stage *s, uint64_t cl)
{
	struct img_extent x;
	struct err e = ERR_INIT;

	assert_ok(
	    img_map(s->d.img, cl * STAGE_CLUSTER, STAGE_CLUSTER, &x, &e), &e);
	return x.has_offset ? x.offset : UINT64_MAX;
}
