/* SPDX-License-Identifier: BSD-3-Clause */
/* --list: see list.h. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/units.h"

#include "dial.h"
#include "list.h"
#include "log.h"
#include "nbd.h"
#include "query.h"
#include "tls.h"

static const struct {
	uint16_t flag;
	const char *name;
} flag_names[] = {
    {NBD_FLAG_READ_ONLY, "readonly"},
    {NBD_FLAG_SEND_FLUSH, "flush"},
    {NBD_FLAG_SEND_FUA, "fua"},
    {NBD_FLAG_ROTATIONAL, "rotational"},
    {NBD_FLAG_SEND_TRIM, "trim"},
    {NBD_FLAG_SEND_WRITE_ZEROES, "zeroes"},
    {NBD_FLAG_SEND_DF, "df"},
    {NBD_FLAG_CAN_MULTI_CONN, "multi"},
    {NBD_FLAG_SEND_RESIZE, "resize"},
    {NBD_FLAG_SEND_CACHE, "cache"},
    {NBD_FLAG_SEND_FAST_ZERO, "fast-zero"},
    {NBD_FLAG_BLOCK_STATUS_PAYLOAD, "block-status-payload"},
};

static const char *transaction_size(const struct query *q)
{
	return q->extended ? "64-bit" : "32-bit";
}

/* ---- for people -------------------------------------------------------- */

static void print_flags(uint16_t flags)
{
	printf("  flags: 0x%x (", flags);
	for (size_t i = 0; i < ARRAY_N(flag_names); i++)
		if (flags & flag_names[i].flag)
			printf(" %s", flag_names[i].name);
	printf(" )\n");
}

/* A terminal would obey what a server puts into names. */
static void print_text(const char *before, const char *text, const char *after)
{
	char shown[4 * NBD_STRING_MAX + 1];

	if (isatty(STDOUT_FILENO)) {
		err_show(shown, sizeof shown, text, "");
		text = shown;
	}
	printf("%s%s%s", before, text, after);
}

static void print_export(const struct query *q, const struct query_export *x)
{
	print_text(" export: '", x->name, "'\n");
	if (x->description && *x->description)
		print_text("  description: ", x->description, "\n");
	if (x->has_info && x->flags & NBD_FLAG_HAS_FLAGS) {
		printf("  size:  %llu\n", (unsigned long long)x->size);
		print_flags(x->flags);
	}
	if (x->has_sizes) {
		printf("  min block: %u\n", x->min_block);
		printf("  opt block: %u\n", x->opt_block);
		printf("  max block: %u\n", x->max_block);
	}
	printf("  transaction size: %s\n", transaction_size(q));
	if (x->context_n)
		printf("  available meta contexts: %zu\n", x->context_n);
	for (size_t i = 0; i < x->context_n; i++)
		print_text("   ", x->context[i], "\n");
}

static void print_human(const struct query *q)
{
	printf("exports available: %zu\n", q->n);
	for (size_t i = 0; i < q->n; i++)
		print_export(q, &q->export[i]);
}

/* ---- for programs ------------------------------------------------------ */

/* Names need not be text that JSON can hold. */
static json_t *json_text(const char *s)
{
	json_t *text = json_string(s);

	return text ? text : json_string("(not UTF-8)");
}

static json_t *json_flags(uint16_t flags)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_N(flag_names); i++)
		if (flags & flag_names[i].flag)
			json_array_append_new(
			    list, json_string(flag_names[i].name));
	return list;
}

static void json_sizes(json_t *o, const struct query_export *x)
{
	json_object_set_new(o, "min-block", json_integer(x->min_block));
	json_object_set_new(o, "opt-block", json_integer(x->opt_block));
	json_object_set_new(o, "max-block", json_integer(x->max_block));
}

static json_t *json_export(const struct query *q, const struct query_export *x)
{
	json_t *o = json_object(), *contexts = json_array();

	json_object_set_new(o, "name", json_text(x->name));
	if (x->description)
		json_object_set_new(
		    o, "description", json_text(x->description));
	if (x->has_info) {
		json_object_set_new(
		    o, "size", json_integer((json_int_t)x->size));
		json_object_set_new(o, "flags", json_flags(x->flags));
	}
	if (x->has_sizes)
		json_sizes(o, x);
	json_object_set_new(
	    o, "transaction-size", json_string(transaction_size(q)));
	for (size_t i = 0; i < x->context_n; i++)
		json_array_append_new(contexts, json_text(x->context[i]));
	json_object_set_new(o, "meta-contexts", contexts);
	return o;
}

/* jansson's functions take the NULL of one that ran out of memory; the last one
   then fails. */
static int print_json(const struct query *q, struct err *e)
{
	json_t *root = json_object(), *list = json_array();
	int rc;

	json_object_set_new(root, "tls", json_boolean(q->tls));
	for (size_t i = 0; i < q->n; i++)
		json_array_append_new(list, json_export(q, &q->export[i]));
	rc = json_array_size(list) == q->n ? 0 : -1;
	rc |= json_object_set_new(root, "exports", list);
	if (!rc)
		rc = json_dumpf(root, stdout, JSON_INDENT(4));
	json_decref(root);
	putchar('\n');
	return rc ? err_nomem(e) : 0;
}

/* ---- all --------------------------------------------------------------- */

static int dial(const struct args *a, struct err *e)
{
	if (a->socket)
		return dial_unix(a->socket, e);
	return dial_tcp(
	    a->host ? a->host : "0.0.0.0", a->port ? a->port : NBD_PORT, e);
}

static int list(const struct args *a, struct query *q, struct err *e)
{
	struct tls_creds *creds = NULL;
	int fd, rc;

	if (a->tls_creds) {
		creds = tls_client_creds_new(a->tls_creds,
		    a->tls_hostname ? a->tls_hostname : a->host, e);
		if (!creds)
			return -1;
	}
	fd = dial(a, e);
	rc = fd < 0 ? -1 : query_run(q, fd, creds, e);
	tls_creds_free(creds);
	return rc;
}

int list_run(const struct args *a)
{
	struct err e = ERR_INIT;
	struct query q = {0};
	int rc = list(a, &q, &e);

	if (!rc && a->json)
		rc = print_json(&q, &e);
	else if (!rc)
		print_human(&q);
	query_clear(&q);
	if (!rc && fflush(stdout))
		rc = err_sys(&e, errno, "Failed to write to stdout");
	if (rc)
		log_err(&e);
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
