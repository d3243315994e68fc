/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk of several files that was made under temporary names gets its own.
 *
 * Where another image is to be replaced, there is a whole one of that name at
 * any moment: first the new descriptor takes its place, with the temporary
 * names of the other files; these get their own names as well; then comes the
 * descriptor with those, and the temporary names go.  What is replaced is put
 * aside, to be put back if that fails.  Where files cannot have two names a
 * crash in between leaves some of both.
 *
 * Else the descriptor is the last to get its name: what is there before is no
 * image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../host/standin.h"
#include "params.h"

struct move {
	struct image *img;
	const char *to;
	bool replace;
	char **name;  /* of each extent, for the descriptor */
	char **path;  /* the same with its folder */
	size_t moved; /* files that have their names */
};

static const char *now(const struct move *m, size_t i)
{
	return vmdk_of(m->img)->extent[i].file->name;
}

static void clear(struct move *m)
{
	for (size_t i = 0; i < vmdk_of(m->img)->n; i++) {
		if (m->name)
			free(m->name[i]);
		if (m->path)
			free(m->path[i]);
	}
	free(m->name);
	free(m->path);
}

static int take_names(struct move *m, struct err *e)
{
	const struct vmdk *v = vmdk_of(m->img);
	const char *slash = strrchr(m->to, '/');
	const struct vmdk_params p = {.flat = v->extent[0].kind == VMDK_FLAT,
	    .split = !strncmp(v->desc.create_type, "twoGb", 5)};

	m->name = calloc(v->n, sizeof(*m->name));
	m->path = calloc(v->n, sizeof(*m->path));
	if (!m->name || !m->path)
		return err_nomem(e);
	for (size_t i = 0; i < v->n; i++) {
		m->name[i] = vmdk_part_name(
		    &p, slash ? slash + 1 : m->to, (unsigned)i + 1, e);
		m->path[i] =
		    m->name[i] ? image_resolve(m->to, m->name[i], e) : NULL;
		if (!m->path[i])
			return -1;
	}
	return 0;
}

/* Owner and mode of what is replaced, where that can be. */
static int take_over(const struct move *m, struct err *e)
{
	const struct vmdk *v = vmdk_of(m->img);

	for (size_t i = 0; i < v->n; i++) {
		struct stat old;

		if (host_sync(v->extent[i].file, e))
			return -1;
		if (!stat(m->path[i], &old) && S_ISREG(old.st_mode))
			standin_take_over(
			    m->path[i], &old, v->extent[i].file->fd);
	}
	return 0;
}

/* ---- one file --------------------------------------------------------------
 */

static int cannot(const char *path, struct err *e)
{
	return err_sys(e, errno, "Could not put '%s' in place", path);
}

/* The name under which is kept what stood where `from` is put. */
static char *aside(const char *from, struct err *e)
{
	char *name;

	if (asprintf(&name, "%s~", from) >= 0)
		return name;
	err_nomem(e);
	return NULL;
}

/* `temp` gets the name `to`, and what had that, if anything, the other. */
static int exchange(const char *temp, const char *to)
{
	if (!renameat2(AT_FDCWD, temp, AT_FDCWD, to, RENAME_EXCHANGE))
		return 0;
	return errno == ENOENT ? rename(temp, to) : -1;
}

/* `from` gets another name; what has it is put aside. */
static int put(const char *from, const char *to, struct err *e)
{
	CLEANUP_FREE char *temp = aside(from, e);
	int rc;

	if (!temp)
		return -1;
	if (link(from, temp))
		return cannot(to, e);
	rc = exchange(temp, to);
	if (!rc)
		return 0;
	cannot(to, e);
	unlink(temp);
	return -1;
}

/* What was put aside has its name again. */
static int put_back(const char *from, const char *to)
{
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *temp = aside(from, &ignored);

	if (!temp)
		return -1;
	if (access(temp, F_OK))
		return unlink(to);
	return exchange(temp, to) || unlink(temp) ? -1 : 0;
}

static void drop_aside(const char *from)
{
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *temp = aside(from, &ignored);

	if (temp)
		unlink(temp);
}

/* ---- all ------------------------------------------------------------------
 */

static int put_last(const struct move *m, struct err *e)
{
	const char *from = m->img->file->name;

	if (vmdk_desc_rename(m->img, m->name, e))
		return -1;
	if (m->replace
		? !rename(from, m->to)
		: !renameat2(AT_FDCWD, from, AT_FDCWD, m->to, RENAME_NOREPLACE))
		return 0;
	if (!m->replace && errno == EINVAL && !rename(from, m->to))
		return 0;
	return cannot(m->to, e);
}

/* The image goes, whatever names its files have. */
static void remove_all(const struct move *m)
{
	for (size_t i = 0; i < vmdk_of(m->img)->n; i++) {
		unlink(now(m, i));
		if (i < m->moved)
			unlink(m->path[i]);
	}
	unlink(m->img->file->name);
}

static int move_all(struct move *m, struct err *e)
{
	for (; m->moved < vmdk_of(m->img)->n; m->moved++) {
		const char *to = m->path[m->moved];

		if (!rename(now(m, m->moved), to))
			continue;
		cannot(to, e);
		remove_all(m);
		return -1;
	}
	if (!put_last(m, e))
		return 0;
	remove_all(m);
	return -1;
}

/* The descriptor as it is now, under another name. */
static int copy_descriptor(
    const struct move *m, const char *copy, struct err *e)
{
	const char *text = vmdk_of(m->img)->desc.text;
	struct hostfile *f = host_open_file(
	    copy, HOST_RDWR | HOST_CREATE | HOST_EXCL | m->img->host_flags, e);
	int rc;

	if (!f)
		return -1;
	rc = host_pwrite(f, text, strlen(text), 0, e) || host_sync(f, e);
	return host_close(f, e) || rc ? -1 : 0;
}

static bool all_back(struct move *m, const char *copy)
{
	for (; m->moved; m->moved--)
		if (put_back(now(m, m->moved - 1), m->path[m->moved - 1]))
			return false;
	return !exchange(copy, m->to);
}

/* As it was, and the image goes; or the image stays in the place of the old
 * one, with files of temporary names. */
static void undo(struct move *m, const char *copy)
{
	if (all_back(m, copy)) {
		unlink(copy);
		remove_all(m);
	} else {
		unlink(m->img->file->name);
	}
}

static int replace(struct move *m, const char *copy, struct err *e)
{
	const struct vmdk *v = vmdk_of(m->img);

	for (; m->moved < v->n; m->moved++)
		if (put(now(m, m->moved), m->path[m->moved], e)) {
			undo(m, copy);
			return -1;
		}
	if (put_last(m, e)) {
		undo(m, copy);
		return -1;
	}
	unlink(copy);
	for (size_t i = 0; i < v->n; i++) {
		drop_aside(now(m, i));
		unlink(now(m, i));
	}
	return 0;
}

/* Can files here have two names, and change them with others? */
static bool can_replace(const struct move *m)
{
	struct err ignored = ERR_INIT;
	CLEANUP_FREE char *temp = aside(now(m, 0), &ignored);
	bool can;

	if (!temp || link(now(m, 0), temp))
		return false;
	can = !renameat2(AT_FDCWD, now(m, 0), AT_FDCWD, temp, RENAME_EXCHANGE);
	unlink(temp);
	return can;
}

static int move(struct move *m, struct err *e)
{
	CLEANUP_FREE char *copy = aside(m->img->file->name, e);

	if (!copy || take_names(m, e) || take_over(m, e)) {
		remove_all(m);
		return -1;
	}
	if (!m->replace || !can_replace(m))
		return move_all(m, e);
	if (copy_descriptor(m, copy, e) ||
	    (exchange(copy, m->to) && cannot(m->to, e))) {
		unlink(copy);
		remove_all(m);
		return -1;
	}
	return replace(m, copy, e);
}

int vmdk_move(
    struct image *img, const char *to, bool replace_old, struct err *e)
{
	struct move m = {.img = img, .to = to, .replace = replace_old};
	int rc = move(&m, e);

	clear(&m);
	return rc;
}
