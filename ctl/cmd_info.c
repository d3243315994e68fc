/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * info: what an image says of itself.
 *
 * No other file that it names is opened.  With --backing-chain its backing
 * files are, one after the other, each by itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "infoprint.h"
#include "msg.h"
#include "out.h"
#include "source.h"

struct info_args {
	struct common c;
	bool chain;
};

struct walk {
	struct out out;
	struct jout json;
	bool as_json;
	/* The files shown so far, by their real paths. */
	char **seen;
	size_t seen_n;
	/* The image that stands below; no name: there is none. */
	char *name, *format;
};

static int note_seen(struct walk *w, const char *path, struct err *e)
{
	CLEANUP_FREE char *real = realpath(path, NULL);
	char **more;

	if (!real)
		real = strdup(path);
	if (!real)
		return err_nomem(e);
	for (size_t i = 0; i < w->seen_n; i++)
		if (!strcmp(w->seen[i], real))
			return err_set(e, ERR_DAMAGED, ELOOP,
			    "Backing file '%s' creates an infinite loop.",
			    path);
	more = reallocarray(w->seen, w->seen_n + 1, sizeof *more);
	if (!more)
		return err_nomem(e);
	w->seen = more;
	w->seen[w->seen_n++] = take(real);
	return 0;
}

static int note_backing(struct walk *w, const struct img_info *i, struct err *e)
{
	free(w->name);
	free(w->format);
	w->name = i->backing_full ? strdup(i->backing_full) : NULL;
	w->format = i->backing_format ? strdup(i->backing_format) : NULL;
	if (i->backing && !i->backing_full)
		return err_usage(e,
		    "%s: cannot determine the path of the backing file '%s'",
		    i->filename, i->backing);
	if ((i->backing && !w->name) || (i->backing_format && !w->format))
		return err_nomem(e);
	return 0;
}

static void print_facts(struct walk *w, const struct facts *x)
{
	if (w->as_json) {
		infoprint_json(&w->json, x);
		return;
	}
	if (w->seen_n > 1)
		fputc('\n', w->out.f);
	infoprint_human(w->out.f, x);
}

/* Print one image; for a chain, note what stands below it. */
static int show(
    struct walk *w, const struct source *s, bool chain, struct err *e)
{
	CLEANUP(image) struct image *img = source_open(s, e);
	struct facts x = {0};
	int rc = -1;

	if (!img)
		return -1;
	if (!img_info(img, &x.info, e) &&
	    !img_snapshots(img, &x.snapshot, &x.snapshot_n, e) &&
	    !note_seen(w, x.info.host_name, e)) {
		print_facts(w, &x);
		rc = chain ? note_backing(w, &x.info, e) : 0;
	}
	img_snapshots_free(x.snapshot, x.snapshot_n);
	img_info_clear(&x.info);
	return rc;
}

static int show_below(struct walk *w, const struct source *above, struct err *e)
{
	CLEANUP_FREE char *name = take(w->name);
	CLEANUP_FREE char *format = take(w->format);
	struct source s = *above;

	s.name = name;
	s.how.format = format;
	s.is_opts = false;
	return show(w, &s, true, e);
}

static int show_chain(struct walk *w, const struct source *s, struct err *e)
{
	int rc;

	if (w->as_json)
		jout_begin(&w->json, NULL, '[');
	rc = show(w, s, true, e);
	while (!rc && w->name)
		rc = show_below(w, s, e);
	if (w->as_json)
		jout_end(&w->json, ']');
	return rc;
}

static void walk_clear(struct walk *w)
{
	for (size_t i = 0; i < w->seen_n; i++)
		free(w->seen[i]);
	free(w->seen);
	free(w->name);
	free(w->format);
}

static int info_run(void *args)
{
	struct info_args *a = args;
	struct walk w = {0};
	struct err e = ERR_INIT;
	struct source s;
	int rc;

	if (!out_wants_json(a->c.output, &w.as_json) ||
	    !source_one_operand(&a->c) || !source_opts_valid(&a->c) ||
	    out_begin(&w.out))
		return EXIT_FAILURE;
	w.json.f = w.out.f;
	s = source_operand(&a->c, a->c.operands[0]);
	s.how.gate = IMG_GATE_METADATA;
	rc = a->chain ? show_chain(&w, &s, &e) : show(&w, &s, false, &e);
	if (w.as_json)
		jout_done(&w.json);
	walk_clear(&w);
	return out_end(&w.out, rc ? msg_err(&e) : EXIT_SUCCESS);
}

static const struct opt opts[] = {
    OPT_OBJECT,
    OPT_IMAGE_OPTS,
    OPT_FORMAT("format"),
    OPT_OUTPUT,
    {0, "backing-chain", NULL,
	"show the backing files too, one after the other",
	offsetof(struct info_args, chain)},
    OPT_FORCE_SHARE,
    {0},
};

const struct command cmd_info = {
    .name = "info",
    .operands = "filename",
    .summary = "Print what an image says of itself: format, sizes, backing "
	       "file, snapshots.",
    .opts = opts,
    .args_len = sizeof(struct info_args),
    .run = info_run,
};
