/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * --object: see object.h.
 *
 * An object has a type (the first word, or `qom-type`), an `id`, and the
 * properties of its type.  No format that is supported so far refers to one,
 * so they are checked and otherwise not used.
 */
#include "object.h"

#include <stdio.h>
#include <string.h>

#include "formats/image.h"
#include "msg.h"
#include "out.h"

struct object_type {
	const char *name;
	const char *properties[10]; /* ends with NULL */
};

static const struct object_type types[] = {
    {"secret", {"data", "file", "format", "iv", "keyid"}},
    {"tls-creds-anon", {"dir", "endpoint", "priority", "verify-peer"}},
    {"tls-creds-psk",
	{"dir", "endpoint", "priority", "username", "verify-peer"}},
    {"tls-creds-x509", {"dir", "endpoint", "passwordid", "priority",
			   "sanity-check", "verify-peer"}},
};

static const struct object_type *find_type(const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

static bool asks_for_help(const char *word)
{
	return !strcmp(word, "help") || !strcmp(word, "?");
}

static enum object_result list_types(void)
{
	printf("List of user creatable objects:\n");
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		printf("  %s\n", types[i].name);
	return out_flush() ? OBJECT_WRONG : OBJECT_HELP;
}

static enum object_result list_properties(const struct object_type *t)
{
	printf("%s options:\n", t->name);
	for (unsigned i = 0; t->properties[i]; i++)
		printf("  %s\n", t->properties[i]);
	return out_flush() ? OBJECT_WRONG : OBJECT_HELP;
}

static int check_properties(
    const struct object_type *t, struct options *o, struct err *e)
{
	const char *unused;

	if (!options_get(o, "id"))
		return err_usage(e, "Parameter 'id' is missing");
	for (unsigned i = 0; t->properties[i]; i++)
		options_get(o, t->properties[i]);
	unused = options_unused(o);
	if (unused)
		return err_usage(e, "Invalid parameter '%s'", unused);
	return 0;
}

static enum object_result check_one(const char *text, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	const struct object_type *t;
	const char *type;
	int rc;

	if (!o)
		return OBJECT_WRONG;
	rc = text[0] == '{' ? options_parse_json(o, text, e)
			    : options_parse(o, text, "qom-type", e);
	if (rc)
		return OBJECT_WRONG;
	type = options_get(o, "qom-type");
	if (!type) {
		err_usage(e, "Parameter 'qom-type' is missing");
		return OBJECT_WRONG;
	}
	if (asks_for_help(type))
		return list_types();
	t = find_type(type);
	if (!t) {
		err_usage(
		    e, "Parameter 'qom-type' does not accept value '%s'", type);
		return OBJECT_WRONG;
	}
	if (options_has(o, "help") || options_has(o, "?"))
		return list_properties(t);
	return check_properties(t, o, e) ? OBJECT_WRONG : OBJECT_OK;
}

enum object_result object_check(const char *const *list)
{
	for (; list && *list; list++) {
		struct err e = ERR_INIT;
		enum object_result result = check_one(*list, &e);

		if (err_is_set(&e))
			msg_err(&e);
		if (result != OBJECT_OK)
			return result;
	}
	return OBJECT_OK;
}
