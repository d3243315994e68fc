/* SPDX-License-Identifier: BSD-3-Clause */
/* The file that a command makes: see target.h. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/host/standin.h"
#include "signals.h"

/* ---- the temporary file ------------------------------------------------- */

static void forget_temp(struct target *t)
{
	signals_temp_keep();
	free(t->temp);
	t->temp = NULL;
}

static void remove_temp(struct target *t)
{
	if (t->temp && t->many)
		img_remove(t->temp, t->many);
	if (t->temp)
		unlink(t->temp);
	forget_temp(t);
}

static mode_t new_file_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Can the new file stand for the old one?  NULL: there is none. */
static bool take_over(const char *real, const struct stat *old, int fd)
{
	return old ? standin_take_over(real, old, fd)
		   : !fchmod(fd, new_file_mode());
}

/* Where it cannot be made there is none, which is no error. */
static int try_temp(struct target *t, const struct stat *old, struct err *e)
{
	CLEANUP_FD int fd = -1;

	t->temp = standin_pattern(t->real);
	if (!t->temp)
		return err_nomem(e);
	fd = signals_temp_make(t->temp);
	if (fd < 0)
		forget_temp(t);
	else if (!take_over(t->real, old, fd))
		remove_temp(t);
	return 0;
}

/* ---- what is to be replaced --------------------------------------------- */

static int replace_old(
    struct target *t, const char *path, const struct stat *old, struct err *e)
{
	/* Only to hold its lock: there is nothing to flush. */
	const struct img_open how = {
	    .format = "raw", .flags = IMG_O_RDWR, .cache = IMG_CACHE_UNSAFE};

	if (!S_ISREG(old->st_mode) || standin_is_mount_point(path))
		return 0;
	t->held = img_open(t->name, &how, e);
	if (!t->held)
		return -1;
	t->real = realpath(path, NULL);
	if (t->real && try_temp(t, old, e))
		return -1;
	if (!t->temp)
		img_drop(take(t->held));
	return 0;
}

static int make_new(struct target *t, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	CLEANUP_FREE char *dir = strndup(path, (size_t)(base - path));
	CLEANUP_FREE char *real_dir = NULL;
	struct stat link;

	if (!dir)
		return err_nomem(e);
	real_dir = realpath(*dir ? dir : ".", NULL);
	if (!real_dir || !*base || !lstat(path, &link))
		return 0;
	if (asprintf(&t->real, "%s/%s", real_dir, base) < 0) {
		t->real = NULL;
		return err_nomem(e);
	}
	return try_temp(t, NULL, e);
}

/* ---- interface ---------------------------------------------------------- */

int target_begin(struct target *t, const char *name, struct err *e)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
	const char *path = name;
	struct stat old;

	*t = (struct target){.name = name};
	if (!strncmp(name, "file:", 5))
		path = name + 5;
	else if (colon && (!slash || colon < slash))
		return 0; /* not a file */
	if (!stat(path, &old) ? replace_old(t, path, &old, e)
			      : make_new(t, path, e)) {
		target_abandon(t);
		return -1;
	}
	if (!t->temp)
		signals_defer();
	return 0;
}

/* The files are removed in order, so there is no sudden end. */
int target_begin_many(
    struct target *t, const char *name, const char *format, struct err *e)
{
	struct stat st;

	signals_defer();
	if (!lstat(name, &st) && S_ISLNK(st.st_mode))
		*t = (struct target){.name = name};
	else if (target_begin(t, name, e))
		return -1;
	t->many = format;
	return 0;
}

const char *target_path(const struct target *t)
{
	return t->temp ? t->temp : t->name;
}

/* A new file takes no place that another has taken meanwhile. */
static int move(const struct target *t)
{
	if (t->held)
		return rename(t->temp, t->real);
	if (!renameat2(AT_FDCWD, t->temp, AT_FDCWD, t->real, RENAME_NOREPLACE))
		return 0;
	return errno == EINVAL ? rename(t->temp, t->real) : -1;
}

static int move_many(struct target *t, bool durable, struct err *e)
{
	unsigned flags =
	    (t->held ? IMG_MOVE_REPLACE : 0) | (durable ? IMG_MOVE_DURABLE : 0);

	if (img_move(t->temp, t->real, t->many, flags, e))
		return -1;
	forget_temp(t);
	return durable ? standin_sync_folder(t->real, e) : 0;
}

static int put_in_place(struct target *t, bool durable, struct err *e)
{
	if (t->many)
		return move_many(t, durable, e);
	if (durable && standin_sync(t->temp, e))
		return -1;
	if (move(t))
		return err_sys(
		    e, errno, "Could not put '%s' in place", t->name);
	forget_temp(t);
	return durable ? standin_sync_folder(t->real, e) : 0;
}

int target_commit(struct target *t, bool durable, struct err *e)
{
	int rc = t->temp ? put_in_place(t, durable, e) : 0;

	target_name_in(t, e);
	target_abandon(t);
	return rc;
}

void target_abandon(struct target *t)
{
	remove_temp(t);
	img_drop(take(t->held));
	free(take(t->real));
}

void target_name_in(const struct target *t, struct err *e)
{
	char old[sizeof e->msg];
	char *at = t->temp ? strstr(e->msg, t->temp) : NULL;

	if (!at)
		return;
	memcpy(old, e->msg, sizeof old);
	snprintf(at, sizeof e->msg - (size_t)(at - e->msg), "%s%s", t->name,
	    old + (at - e->msg) + strlen(t->temp));
	if (!strstr(t->name, t->temp))
		target_name_in(t, e);
}
