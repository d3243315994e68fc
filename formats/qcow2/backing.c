/* SPDX-License-Identifier: BSD-3-Clause */
/* The name of the backing file in the header. */
#include <errno.h>

#include "qcow2.h"

static int check(
    struct image *img, const char *name, const char *format, struct err *e)
{
	const struct qcow2 *q = qcow2_of(img);
	struct err ignored = ERR_INIT;
	struct qcow2_header h = q->h;
	CLEANUP_FREE uint8_t *buf = calloc(1, q->cluster_len);

	if (!buf)
		return err_nomem(e);
	if (name && q->data_raw)
		return err_usage(e,
		    "Backing file and data-file-raw cannot be used at the same "
		    "time");
	if (name && strlen(name) > QCOW2_BACKING_MAX)
		return err_usage(e, "the name has %zu bytes: at most %u fit",
		    strlen(name), QCOW2_BACKING_MAX);
	h.backing = (char *)name;
	h.backing_fmt = (char *)format;
	if (!qcow2_header_pack(&h, buf, q->cluster_len, &ignored))
		return 0;
	return err_set(
	    e, ERR_USAGE, ENOSPC, "No space left in the file header");
}

static int replace_text(char **text, const char *with, struct err *e)
{
	char *copy = NULL;

	if (with && !(copy = strdup(with)))
		return err_nomem(e);
	free(*text);
	*text = copy;
	return 0;
}

int qcow2_set_backing(struct image *img, const char *name, const char *format,
    bool trial, struct err *e)
{
	struct qcow2_header *h = &qcow2_of(img)->h;

	if (check(img, name, format, e))
		return -1;
	if (trial)
		return 0;
	if (replace_text(&h->backing, name, e) ||
	    replace_text(&h->backing_fmt, format, e) ||
	    qcow2_header_switch(img, e))
		return image_fail(img, e);
	return 0;
}
