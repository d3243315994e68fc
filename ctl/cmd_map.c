/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * map: what stands where.
 *
 * Rows are printed as they are found, since a map may have millions of them.
 */
#include <inttypes.h>
#include <stdio.h>

#include "msg.h"
#include "out.h"
#include "source.h"

struct map_args {
	struct common c;
	const char *start, *length;
};

static void print_json_row(const struct img_extent *x, bool first)
{
	static const char *const word[] = {"false", "true"};

	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, "
	       "\"data\": %s, \"compressed\": %s",
	    first ? "" : ",\n", x->start, x->len, x->depth, word[x->present],
	    word[x->zero], word[x->data], word[x->packed]);
	if (x->has_offset)
		printf(", \"offset\": %" PRIu64, x->offset);
	printf("}");
}

/* Only what a reader of the file itself would find. */
static int print_human_row(const struct img_extent *x)
{
	if (!x->data || x->zero)
		return 0;
	if (!x->has_offset || x->packed)
		return msg_error("File contains external, encrypted or "
				 "compressed clusters.");
	printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", x->start,
	    x->len, x->offset, x->filename);
	return 0;
}

static int print_row(const struct img_extent *x, bool json, bool first)
{
	if (!json)
		return print_human_row(x);
	print_json_row(x, first);
	return 0;
}

/* The rows of [start, end); an empty range gives one row of length 0. */
static int print_rows(
    struct image *img, uint64_t start, uint64_t end, bool json, struct err *e)
{
	struct img_extent x = {.start = start};
	uint64_t off = start;

	do {
		if (off < end && img_map(img, off, end - off, &x, e))
			return -1;
		if (print_row(&x, json, off == start))
			return EXIT_FAILURE;
		off += x.len;
	} while (off < end && !ferror(stdout));
	return 0;
}

static int print_map(struct image *img, uint64_t start, uint64_t end, bool json)
{
	struct err e = ERR_INIT;
	int status;

	printf(json ? "["
		    : "Offset          Length          Mapped to       File\n");
	status = print_rows(img, start, end, json, &e);
	if (!status && json)
		printf("]\n");
	if (status < 0)
		status = msg_err(&e);
	return out_flush() ? EXIT_FAILURE : status;
}

static int read_sizes(
    const struct map_args *a, uint64_t *start, uint64_t *len, struct err *e)
{
	if (a->start &&
	    parse_size(a->start, "start offset", 0, INT64_MAX, start, e))
		return -1;
	if (a->length &&
	    parse_size(a->length, "max length", 0, INT64_MAX, len, e))
		return -1;
	return 0;
}

static int map_run(void *args)
{
	struct map_args *a = args;
	CLEANUP(image) struct image *img = NULL;
	struct err e = ERR_INIT;
	uint64_t start = 0, len = INT64_MAX, end;
	struct source s;
	bool json;

	if (read_sizes(a, &start, &len, &e))
		return msg_err(&e);
	if (!out_wants_json(a->c.output, &json) || !source_one_operand(&a->c) ||
	    !source_opts_valid(&a->c))
		return EXIT_FAILURE;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.flags |= IMG_O_DEPTH;
	img = source_open(&s, &e);
	if (!img)
		return msg_err(&e);
	end = img_size(img);
	if (start < end && len < end - start)
		end = start + len;
	return print_map(img, start, end, json);
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT("format"),
    {'s', "start-offset", "offset", "where to begin (default: 0)",
	offsetof(struct map_args, start)},
    {'l', "max-length", "len", "how many bytes (default: to the end)",
	offsetof(struct map_args, length)},
    OPT_OUTPUT,
    OPT_FORCE_SHARE,
    {0},
};

const struct command cmd_map = {
    .name = "map",
    .operands = "filename",
    .summary = "Print where the data of an image and its backing files is.",
    .notes =
	"The table lists data that is stored as it is: guest offset, length,\n"
	"offset in the file, file.  It fails where data is compressed or\n"
	"encrypted.  JSON lists everything; depth 0 is the image itself.\n",
    .opts = opts,
    .args_len = sizeof(struct map_args),
    .run = map_run,
};
