/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may: see authz.h. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/object.h"

#include "authz.h"

struct rule {
	const char *match;
	bool glob, allow;
};

/* The first rule that matches counts. */
struct authz {
	bool allow; /* where none does */
	size_t rule_n;
	struct rule rule[];
};

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

static struct authz *from_list(struct options *o, struct err *e)
{
	struct authz *a;
	size_t n = 0;

	while (rule_get(o, n, "match"))
		n++;
	a = calloc(1, sizeof *a + n * sizeof a->rule[0]);
	if (!a) {
		err_nomem(e);
		return NULL;
	}
	a->allow = is(options_get(o, "policy"), "allow");
	a->rule_n = n;
	for (size_t i = 0; i < n; i++) {
		a->rule[i].match = rule_get(o, i, "match");
		a->rule[i].glob = is(rule_get(o, i, "format"), "glob");
		a->rule[i].allow = is(rule_get(o, i, "policy"), "allow");
	}
	return a;
}

static struct authz *from_identity(struct options *o, struct err *e)
{
	struct authz *a = calloc(1, sizeof *a + sizeof a->rule[0]);

	if (!a) {
		err_nomem(e);
		return NULL;
	}
	a->rule_n = 1;
	a->rule[0].match = options_get(o, "identity");
	a->rule[0].allow = true;
	return a;
}

struct authz *authz_new(const char *id, struct err *e)
{
	const struct object *x = object_find(id);

	if (x && !strcmp(x->type, "authz-list"))
		return from_list(x->properties, e);
	if (x && !strcmp(x->type, "authz-simple"))
		return from_identity(x->properties, e);
	err_usage(e,
	    x ? "Object with id '%s' is not an authorization object"
	      : "No authorization object with id '%s'",
	    id);
	return NULL;
}

void authz_free(struct authz *a)
{
	free(a);
}

static bool matches(const struct rule *r, const char *identity)
{
	return r->glob ? !fnmatch(r->match, identity, 0)
		       : !strcmp(r->match, identity);
}

bool authz_allows(const struct authz *a, const char *identity)
{
	if (!identity)
		return false;
	for (size_t i = 0; i < a->rule_n; i++)
		if (matches(&a->rule[i], identity))
			return a->rule[i].allow;
	return a->allow;
}
