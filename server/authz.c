/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may: see authz.h.
 *
 * Rules that are in a file are read again when it has changed, which is looked
 * for whenever somebody asks.  Where it cannot be read, nobody may.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/lock.h"
#include "core/object.h"
#include "core/textfile.h"

#include "authz.h"
#include "log.h"

/* A file that was changed less than that ago may change once more at what looks
 * like the same time. */
#define SETTLE_S 2

struct rule {
	const char *match;
	bool glob, allow;
};

/* The first rule that matches counts. */
struct rules {
	bool allow;	       /* where none does                     */
	struct options *owner; /* of the texts; NULL: they stay as is */
	size_t n;
	struct rule rule[];
};

struct authz {
	struct mutex lock;   /* guards all but `path` and `folder` */
	struct rules *rules; /* NULL: nobody may */
	const char *path;    /* of a file that is looked at again, or NULL */
	int folder;	     /* where relative paths begin */
	struct stat seen;    /* of what was read last */
	bool settled;	     /* `seen` tells whether it has changed */
};

/* ---- rules --------------------------------------------------------------- */

static void free_rules(struct rules *r)
{
	if (r)
		options_free(r->owner);
	free(r);
}

static struct rules *new_rules(size_t n, struct err *e)
{
	struct rules *r = calloc(1, sizeof *r + n * sizeof r->rule[0]);

	if (!r) {
		err_nomem(e);
		return NULL;
	}
	r->n = n;
	return r;
}

static bool is(const char *value, const char *word)
{
	return value && !strcmp(value, word);
}

static const char *rule_get(struct options *o, size_t i, const char *key)
{
	char name[48];

	snprintf(name, sizeof name, "rules.%zu.%s", i, key);
	return options_get(o, name);
}

static struct rules *from_list(struct options *o, struct err *e)
{
	struct rules *r;
	size_t n = 0;

	while (rule_get(o, n, "match"))
		n++;
	r = new_rules(n, e);
	if (!r)
		return NULL;
	r->allow = is(options_get(o, "policy"), "allow");
	for (size_t i = 0; i < n; i++) {
		r->rule[i].match = rule_get(o, i, "match");
		r->rule[i].glob = is(rule_get(o, i, "format"), "glob");
		r->rule[i].allow = is(rule_get(o, i, "policy"), "allow");
	}
	return r;
}

static struct rules *from_identity(struct options *o, struct err *e)
{
	struct rules *r = new_rules(1, e);

	if (!r)
		return NULL;
	r->rule[0].match = options_get(o, "identity");
	r->rule[0].allow = true;
	return r;
}

static bool matches(const struct rule *r, const char *identity)
{
	return r->glob ? !fnmatch(r->match, identity, 0)
		       : !strcmp(r->match, identity);
}

static bool rules_allow(const struct rules *r, const char *identity)
{
	if (!identity || !r)
		return false;
	for (size_t i = 0; i < r->n; i++)
		if (matches(&r->rule[i], identity))
			return r->rule[i].allow;
	return r->allow;
}

/* ---- files --------------------------------------------------------------- */

/* Takes the options over. */
static struct rules *from_json(
    struct options *o, const char *text, struct err *e)
{
	struct rules *r = NULL;
	const char *unused;

	if (text[strspn(text, " \t\r\n")] != '{')
		err_usage(e, "not a JSON object");
	else if (!options_parse_json(o, text, e) && !object_check_rules(o, e))
		r = from_list(o, e);
	unused = r ? options_unused(o) : NULL;
	if (unused) {
		err_usage(e, "Parameter '%s' is unexpected", unused);
		free(r);
		r = NULL;
	}
	if (r)
		r->owner = o;
	else
		options_free(o);
	return r;
}

static struct rules *from_file(int folder, const char *path, struct err *e)
{
	struct options *o = options_new(e);
	struct rules *r = NULL;
	uint8_t *text;
	size_t len;

	if (!o)
		return NULL;
	text = textfile_read(folder, path, &len, e);
	if (!text) {
		options_free(o);
		return NULL;
	}
	r = from_json(o, (char *)text, e);
	if (!r)
		err_prefix(e, "%s: ", path);
	free(text);
	return r;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       same_time(a->st_ctim, b->st_ctim);
}

/* Read the rules again, if they may have changed.  What is wrong with them is
 * said once. */
static void refresh(struct authz *a) REQUIRES(&a->lock)
{
	struct err e = ERR_INIT;
	bool same, failed = !a->rules;
	struct stat st = {0};

	if (fstatat(a->folder, a->path, &st, 0))
		st = (struct stat){0};
	same = same_file(&st, &a->seen);
	if (same && a->settled)
		return;
	a->seen = st;
	a->settled = time(NULL) > st.st_ctim.tv_sec + SETTLE_S;
	free_rules(a->rules);
	a->rules = from_file(a->folder, a->path, &e);
	if (!a->rules && !(same && failed))
		log_err(&e);
}

static int open_file(struct authz *a, struct options *o, struct err *e)
{
	bool again = true;

	if (options_bool(o, "refresh", &again, e) < 0)
		return -1;
	a->folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a->folder < 0)
		return err_sys(e, errno, "Unable to open the current folder");
	a->rules = from_file(a->folder, options_get(o, "filename"), e);
	if (again)
		a->path = options_get(o, "filename");
	return a->rules ? 0 : -1;
}

/* ---- objects ------------------------------------------------------------- */

static int load(struct authz *a, const char *id, struct err *e)
{
	const struct object *x = object_find(id);

	if (x && !strcmp(x->type, "authz-list-file"))
		return open_file(a, x->properties, e);
	if (x && !strcmp(x->type, "authz-list"))
		a->rules = from_list(x->properties, e);
	else if (x && !strcmp(x->type, "authz-simple"))
		a->rules = from_identity(x->properties, e);
	else
		err_usage(e,
		    x ? "Object with id '%s' is not an authorization object"
		      : "No authorization object with id '%s'",
		    id);
	return a->rules ? 0 : -1;
}

struct authz *authz_new(const char *id, struct err *e)
{
	struct authz *a = calloc(1, sizeof *a);

	if (!a) {
		err_nomem(e);
		return NULL;
	}
	mutex_init(&a->lock);
	a->folder = -1;
	if (!load(a, id, e))
		return a;
	authz_free(a);
	return NULL;
}

void authz_free(struct authz *a)
{
	if (!a)
		return;
	if (a->folder >= 0)
		close(a->folder);
	free_rules(a->rules);
	mutex_destroy(&a->lock);
	free(a);
}

bool authz_allows(struct authz *a, const char *identity)
{
	bool allowed;

	mutex_lock(&a->lock);
	if (a->path)
		refresh(a);
	allowed = rules_allow(a->rules, identity);
	mutex_unlock(&a->lock);
	return allowed;
}
