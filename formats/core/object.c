/* SPDX-License-Identifier: BSD-3-Clause */
/* --object: see object.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "object.h"
#include "secret.h"
#include "units.h"

struct object_type {
	const char *name;
	const char *properties[8]; /* ends with NULL; `x.` stands for x.ANY */
	int (*check)(struct object *x, struct err *e); /* may be NULL */
};

static struct object *objects;

/* ---- types ------------------------------------------------------------- */

/* 0 when the property is not there or one of the words. */
static int check_word(
    struct options *o, const char *key, const char *const *words, struct err *e)
{
	const char *value = options_get(o, key);

	if (!value)
		return 0;
	for (; *words; words++)
		if (!strcmp(value, *words))
			return 0;
	return err_usage(
	    e, "Parameter '%s' does not accept value '%s'", key, value);
}

static int check_secret(struct object *x, struct err *e)
{
	return secret_read(x->properties, &x->secret, &x->secret_len, e);
}

static int check_creds(struct object *x, struct err *e)
{
	static const char *const ends[] = {"client", "server", NULL};
	bool b;

	if (options_bool(x->properties, "verify-peer", &b, e) < 0 ||
	    options_bool(x->properties, "sanity-check", &b, e) < 0)
		return -1;
	return check_word(x->properties, "endpoint", ends, e);
}

static int check_authz_simple(struct object *x, struct err *e)
{
	if (!options_has(x->properties, "identity"))
		return err_usage(e, "Parameter 'identity' is missing");
	return 0;
}

int object_check_rules(struct options *o, struct err *e)
{
	static const char *const policies[] = {"allow", "deny", NULL};
	static const char *const formats[] = {"exact", "glob", NULL};

	if (check_word(o, "policy", policies, e))
		return -1;
	for (unsigned i = 0;; i++) {
		char match[32], policy[32], format[32];

		snprintf(match, sizeof match, "rules.%u.match", i);
		snprintf(policy, sizeof policy, "rules.%u.policy", i);
		snprintf(format, sizeof format, "rules.%u.format", i);
		if (!options_has(o, match))
			return 0;
		if (!options_has(o, policy))
			return err_usage(
			    e, "Parameter '%s' is missing", policy);
		if (check_word(o, policy, policies, e) ||
		    check_word(o, format, formats, e))
			return -1;
	}
}

static int check_authz_list(struct object *x, struct err *e)
{
	return object_check_rules(x->properties, e);
}

/* What is in the file is looked at when it is used. */
static int check_authz_file(struct object *x, struct err *e)
{
	bool b;

	if (!options_has(x->properties, "filename"))
		return err_usage(e, "Parameter 'filename' is missing");
	return options_bool(x->properties, "refresh", &b, e) < 0 ? -1 : 0;
}

static const struct object_type types[] = {
    {"authz-list", {"policy", "rules."}, check_authz_list},
    {"authz-list-file", {"filename", "refresh"}, check_authz_file},
    {"authz-simple", {"identity"}, check_authz_simple},
    {"secret", {"data", "file", "format", "iv", "keyid"}, check_secret},
    {"tls-creds-anon", {"dir", "endpoint", "priority", "verify-peer"},
	check_creds},
    {"tls-creds-psk",
	{"dir", "endpoint", "priority", "username", "verify-peer"},
	check_creds},
    {"tls-creds-x509",
	{"dir", "endpoint", "passwordid", "priority", "sanity-check",
	    "verify-peer"},
	check_creds},
};

static const struct object_type *find_type(const char *name)
{
	for (size_t i = 0; i < ARRAY_N(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

/* ---- help -------------------------------------------------------------- */

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "?");
}

/* As other tools call it. */
static const char *property_type(const char *key)
{
	static const struct {
		const char *key, *type;
	} known[] = {
	    {"endpoint", "QCryptoTLSCredsEndpoint"},
	    {"format", "QCryptoSecretFormat"},
	    {"policy", "QAuthZListPolicy"},
	    {"refresh", "bool"},
	    {"rules.", "QAuthZListRule"},
	    {"sanity-check", "bool"},
	    {"verify-peer", "bool"},
	};

	for (size_t i = 0; i < ARRAY_N(known); i++)
		if (!strcmp(known[i].key, key))
			return known[i].type;
	return "string";
}

/* All types, or the properties of one.  1, or -1. */
static int print_help(const struct object_type *t, char **help, struct err *e)
{
	size_t len;
	FILE *f = open_memstream(help, &len);

	if (!f)
		return err_nomem(e);
	if (t)
		fprintf(f, "%s options:\n", t->name);
	else
		fprintf(f, "List of user creatable objects:\n");
	for (size_t i = 0; t && t->properties[i]; i++)
		fprintf(f, "  %.*s=<%s>\n", (int)strcspn(t->properties[i], "."),
		    t->properties[i], property_type(t->properties[i]));
	for (size_t i = 0; !t && i < ARRAY_N(types); i++)
		fprintf(f, "  %s\n", types[i].name);
	return fclose(f) ? err_nomem(e) : 1;
}

/* ---- making ------------------------------------------------------------ */

static bool has_property(const struct object_type *t, const char *key)
{
	for (unsigned i = 0; t->properties[i]; i++) {
		const char *p = t->properties[i];
		size_t len = strlen(p);

		if (p[len - 1] == '.' ? !strncmp(p, key, len) : !strcmp(p, key))
			return true;
	}
	return !strcmp(key, "qom-type") || !strcmp(key, "id");
}

static bool is_identifier(const char *id)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char others[] = "0123456789-._";

	if (!*id || !strchr(letters, *id))
		return false;
	for (; *id; id++)
		if (!strchr(letters, *id) && !strchr(others, *id))
			return false;
	return true;
}

static int check_properties(
    const struct object_type *t, struct object *x, struct err *e)
{
	const char *key, *value;

	x->type = t->name;
	x->id = options_get(x->properties, "id");
	if (!x->id)
		return err_usage(e, "Parameter 'id' is missing");
	if (!is_identifier(x->id)) {
		err_usage(e, "Parameter 'id' expects an identifier");
		err_hint(e, "Identifiers consist of letters, digits, '-', "
			    "'.', '_', starting with a letter.");
		return -1;
	}
	for (unsigned i = 0; options_at(x->properties, i, &key, &value); i++)
		if (!has_property(t, key))
			return err_usage(
			    e, "Parameter '%s' is unexpected", key);
	if (object_find(x->id))
		return err_usage(e,
		    "attempt to add duplicate property '%s' to object (type "
		    "'container')",
		    x->id);
	return t->check ? t->check(x, e) : 0;
}

static int fill(struct object *x, const char *text, char **help, struct err *e)
{
	struct options *o = x->properties = options_new(e);
	const struct object_type *t;
	const char *type;

	if (!o)
		return -1;
	if (text[0] == '{' ? options_parse_json(o, text, e)
			   : options_parse(o, text, "qom-type", e))
		return -1;
	type = options_get(o, "qom-type");
	if (!type)
		return err_usage(e, "Parameter 'qom-type' is missing");
	t = find_type(type);
	if (asks_for_help(type) || options_has(o, "help") ||
	    options_has(o, "?"))
		return print_help(t, help, e);
	if (!t)
		return err_usage(
		    e, "Parameter 'qom-type' does not accept value '%s'", type);
	return check_properties(t, x, e);
}

int object_add(const char *text, char **help, struct err *e)
{
	struct object *x = calloc(1, sizeof *x);
	int rc;

	if (!x)
		return err_nomem(e);
	rc = fill(x, text, help, e);
	if (!rc) {
		x->next = objects;
		objects = x;
		return 0;
	}
	options_free(x->properties);
	free(x->secret);
	free(x);
	return rc;
}

/* ---- the command line -------------------------------------------------- */

/* Is it --object, perhaps cut short, perhaps with its value? */
static bool is_object_option(const char *arg)
{
	size_t len = strcspn(arg, "=");

	return len > 2 && !strncmp(arg, "--object", len);
}

/* Where the secret part of an object's text begins; NULL: there is none. */
static char *secret_part(char *text)
{
	return text[0] == '{' ? text : strstr(text, "data=");
}

int object_hide(int argc, char **argv, struct err *e)
{
	for (int i = 1; i < argc; i++) {
		char *value, *secret;

		if (!is_object_option(argv[i]))
			continue;
		value = strchr(argv[i], '=');
		if (!value && ++i == argc)
			break;
		secret = secret_part(value ? value + 1 : argv[i]);
		if (!secret)
			continue;
		value = strdup(argv[i]);
		if (!value)
			return err_nomem(e);
		memset(secret, '*', strlen(secret));
		argv[i] = value;
	}
	return 0;
}

/* ---- use --------------------------------------------------------------- */

const struct object *object_find(const char *id)
{
	struct object *x = objects;

	while (x && strcmp(x->id, id))
		x = x->next;
	return x;
}

const char *object_secret(const char *id, struct err *e)
{
	const struct object *x = object_find(id);

	if (!x)
		err_usage(e, "No secret with id '%s'", id);
	else if (!x->secret)
		err_usage(e, "Object with id '%s' is not a secret", id);
	return x ? (const char *)x->secret : NULL;
}
