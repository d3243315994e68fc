/* SPDX-License-Identifier: BSD-3-Clause */
/* A folder of exports: see folder.h. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/lock.h"

#include "folder.h"
#include "log.h"
#include "stats.h"

enum state { CLOSED, BUSY, OPEN };

struct entry {
	struct export export; /* first; its image while OPEN */
	struct stats stats;
	char name[NAME_MAX + 1];
	enum state state;
	unsigned refs;
	bool orphan; /* another file has its name, or none */
	dev_t dev;   /* of the file that was opened last */
	ino_t ino;
};

struct folder {
	char *dir;
	struct export_spec base;
	bool multi_conn;
	struct mutex lock;	/* guards all that follows */
	pthread_cond_t changed; /* an entry is not BUSY any more */
	struct entry **entry;
	size_t n;
};

/* ---- files ------------------------------------------------------------- */

/*
 * Is it a file that is an export?  Links are not: they may lead anywhere.  A
 * name with a slash is none of a file.
 */
static bool look(const struct folder *f, const char *name, struct stat *st)
{
	char path[PATH_MAX];

	return name[0] && name[0] != '.' && !strchr(name, '/') &&
	       snprintf(path, sizeof path, "%s/%s", f->dir, name) < PATH_MAX &&
	       !lstat(path, st) &&
	       (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode));
}

static bool is_file_of(const struct entry *n, const struct stat *st)
{
	return n->dev == st->st_dev && n->ino == st->st_ino;
}

static int open_file(const struct folder *f, const struct entry *n,
    struct export *x, struct err *e)
{
	struct export_spec spec = f->base;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", f->dir, n->name);
	spec.name = n->name;
	spec.file = path;
	return export_open(x, &spec, f->multi_conn, e);
}

static void close_file(struct export *x)
{
	struct err e = ERR_INIT;

	if (export_close(x, &e))
		log_err(&e);
}

/* ---- entries ----------------------------------------------------------- */

/* Takes it off the list; its users keep it. */
static void drop(struct folder *f, size_t i) REQUIRES(&f->lock)
{
	struct entry *n = f->entry[i];

	f->entry[i] = f->entry[--f->n];
	n->orphan = true;
	if (n->refs)
		return;
	if (n->state == OPEN)
		close_file(&n->export);
	free(n);
}

static void drop_those_without_file(struct folder *f) REQUIRES(&f->lock)
{
	struct stat st;

	for (size_t i = f->n; i--;) {
		const struct entry *n = f->entry[i];

		if (!n->refs && n->state != BUSY && !look(f, n->name, &st))
			drop(f, i);
	}
}

static struct entry *add(struct folder *f, const char *name) REQUIRES(&f->lock)
{
	struct entry **grown, *n;

	drop_those_without_file(f);
	grown = reallocarray(f->entry, f->n + 1, sizeof *grown);
	if (!grown)
		return NULL;
	f->entry = grown;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	snprintf(n->name, sizeof n->name, "%s", name);
	n->export.name = n->name;
	n->export.stats = &n->stats;
	grown[f->n++] = n;
	return n;
}

/* The place of a name that is not BUSY; n when there is none. */
static size_t find(struct folder *f, const char *name) REQUIRES(&f->lock)
{
	size_t i = 0;

	while (i < f->n) {
		if (strcmp(f->entry[i]->name, name)) {
			i++;
		} else if (f->entry[i]->state == BUSY) {
			mutex_wait(&f->lock, &f->changed);
			i = 0;
		} else {
			break;
		}
	}
	return i;
}

/* The entry of the file that has this name now; NULL: there is no such. */
static struct entry *find_file(struct folder *f, const char *name)
    REQUIRES(&f->lock)
{
	size_t i = find(f, name);
	struct entry *n = i < f->n ? f->entry[i] : NULL;
	struct stat st;
	bool there = look(f, name, &st);

	if (n && (!there || (n->state == OPEN && !is_file_of(n, &st)))) {
		drop(f, i);
		n = NULL;
	}
	if (there && !n)
		n = add(f, name);
	if (there && n) {
		n->dev = st.st_dev;
		n->ino = st.st_ino;
	}
	return n;
}

static void set_state(struct folder *f, struct entry *n, enum state state)
    REQUIRES(&f->lock)
{
	n->state = state;
	lock_must(pthread_cond_broadcast(&f->changed));
}

/* ---- use --------------------------------------------------------------- */

/* Opens what was CLOSED.  A client must not be able to fill a log. */
static bool open_entry(struct folder *f, struct entry *n) REQUIRES(&f->lock)
{
	struct export x = n->export;
	struct err e = ERR_INIT;
	bool ok;

	set_state(f, n, BUSY);
	mutex_unlock(&f->lock);
	ok = !open_file(f, n, &x, &e);
	if (!ok) {
		log_debug("%s", e.msg);
		err_clear(&e);
		export_close(&x, &e);
	}
	mutex_lock(&f->lock);
	if (ok) {
		x.stats = &n->stats;
		x.folder = f;
		n->export = x;
	}
	set_state(f, n, ok ? OPEN : CLOSED);
	return ok;
}

static void close_entry(struct folder *f, struct entry *n) REQUIRES(&f->lock)
{
	struct export x = n->export;

	set_state(f, n, BUSY);
	mutex_unlock(&f->lock);
	close_file(&x);
	mutex_lock(&f->lock);
	set_state(f, n, CLOSED);
}

static void unuse(struct folder *f, struct entry *n) REQUIRES(&f->lock)
{
	n->refs--;
	if (n->refs)
		return;
	/* A temporary file would be lost. */
	if (n->state == OPEN && (n->orphan || !f->base.scratch))
		close_entry(f, n);
	if (n->orphan && !n->refs)
		free(n);
}

const struct export *folder_get(struct folder *f, const void *name, size_t len)
{
	char text[NAME_MAX + 1];
	struct entry *n;

	if (len > NAME_MAX || memchr(name, 0, len))
		return NULL;
	memcpy(text, name, len);
	text[len] = 0;
	mutex_lock(&f->lock);
	n = find_file(f, text);
	if (n) {
		n->refs++;
		if (n->state != OPEN && !open_entry(f, n)) {
			unuse(f, n);
			n = NULL;
		}
	}
	mutex_unlock(&f->lock);
	return n ? &n->export : NULL;
}

void folder_put(struct folder *f, const struct export *x)
{
	mutex_lock(&f->lock);
	unuse(f, (struct entry *)x);
	mutex_unlock(&f->lock);
}

void folder_each(struct folder *f,
    void (*fn)(const struct export *x, void *data), void *data)
{
	mutex_lock(&f->lock);
	for (size_t i = 0; i < f->n; i++)
		fn(&f->entry[i]->export, data);
	mutex_unlock(&f->lock);
}

char **folder_names(struct folder *f)
{
	struct dirent **found = NULL;
	int found_n = scandir(f->dir, &found, NULL, alphasort);
	char **names =
	    calloc(found_n < 0 ? 1 : (size_t)found_n + 1, sizeof *names);
	size_t n = 0;
	struct stat st;

	for (int i = 0; i < found_n; i++) {
		if (names && look(f, found[i]->d_name, &st)) {
			names[n] = strdup(found[i]->d_name);
			n += names[n] != NULL;
		}
		free(found[i]);
	}
	free(found);
	return names;
}

void folder_names_free(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/* ---- the folder -------------------------------------------------------- */

static int set_dir(struct folder *f, const char *dir, struct err *e)
{
	DIR *d = opendir(dir);

	if (d) {
		closedir(d);
		f->dir = realpath(dir, NULL);
	}
	return f->dir ? 0 : err_sys(e, errno, "Could not open '%s'", dir);
}

struct folder *folder_new(const char *dir, const struct export_spec *base,
    bool multi_conn, struct err *e)
{
	struct folder *f = calloc(1, sizeof *f);

	if (!f) {
		err_nomem(e);
		return NULL;
	}
	if (set_dir(f, dir, e)) {
		free(f);
		return NULL;
	}
	f->base = *base;
	f->base.quiet = true;
	f->multi_conn = multi_conn;
	mutex_init(&f->lock);
	lock_must(pthread_cond_init(&f->changed, NULL));
	return f;
}

int folder_free(struct folder *f, struct err *e)
{
	int rc = 0;

	mutex_lock(&f->lock);
	for (size_t i = 0; i < f->n; i++) {
		assert(!f->entry[i]->refs);
		if (f->entry[i]->state == OPEN)
			rc |= export_close(&f->entry[i]->export, e);
		free(f->entry[i]);
	}
	free(f->entry);
	mutex_unlock(&f->lock);
	lock_must(pthread_cond_destroy(&f->changed));
	mutex_destroy(&f->lock);
	free(f->dir);
	free(f);
	return rc;
}
