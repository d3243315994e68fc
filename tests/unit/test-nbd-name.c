/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "formats/core/options.h"
#include "formats/host/nbd_name.h"

static const char *text(const char *s)
{
	return s ? s : "-";
}

/* "PATH HOST PORT [EXPORT] TLS USER DIR PSK TRUST" */
static const char *show(const struct nbd_address *a)
{
	static char out[1024];
	static const char *const tls[] = {"plain", "x509", "psk"};

	snprintf(out, sizeof out, "%s %s %s [%s] %s %s %s %s %d", text(a->path),
	    text(a->host), text(a->port), text(a->export), tls[a->tls],
	    text(a->tls_user), text(a->tls_dir), text(a->tls_psk),
	    a->tls_trust);
	return out;
}

static void expect_name(const char *name, const char *want, const char *shown)
{
	struct err e = ERR_INIT;
	struct nbd_address a;
	char *back;

	assert_ok(nbd_parse_name(&a, name, &e), &e);
	assert_string_equal(show(&a), want);
	back = nbd_address_name(&a, &e);
	assert_non_null(back);
	assert_string_equal(back, shown);
	free(back);
	nbd_address_clear(&a);
}

static void uris(void **state)
{
	(void)state;
	expect_name("nbd://h", "- h 10809 [] plain - - - 0", "nbd://h:10809");
	expect_name("nbd://h:1/", "- h 1 [] plain - - - 0", "nbd://h:1");
	expect_name("nbd+tcp://h:65535/a/b//",
	    "- h 65535 [a/b//] plain - - - 0", "nbd://h:65535/a/b//");
	expect_name("nbd://h//x?#f", "- h 10809 [/x] plain - - - 0",
	    "nbd://h:10809//x");
	expect_name(
	    "nbd://[::1]:7/x", "- ::1 7 [x] plain - - - 0", "nbd://[::1]:7/x");
	expect_name("nbd://[fe80::1]/%41%2f%e4",
	    "- fe80::1 10809 [A/\xe4] plain "
	    "- - - 0",
	    "nbd://[fe80::1]:10809/A/\xe4");
	expect_name("nbd+unix:///?socket=/a/b", "/a/b - - [] plain - - - 0",
	    "nbd+unix://?socket=/a/b");
	expect_name("nbd+unix://?socket=s", "s - - [] plain - - - 0",
	    "nbd+unix://?socket=s");
	expect_name("nbd+unix:///my%20x?socket=%2Fa%26b",
	    "/a&b - - [my x] plain - - - 0", "nbd+unix:///my x?socket=/a&b");
	expect_name("nbds://h", "- h 10809 [] x509 - - - 0", "nbds://h:10809");
	expect_name("nbds://me@h:2/x?tls-certificates=/c&tls-verify-peer=0",
	    "- h 2 [x] x509 me /c - 1", "nbds://h:2/x");
	expect_name("nbds+unix://me@/x?tls-psk-file=/k;socket=/s",
	    "/s - - [x] psk me - /k 0", "nbds+unix:///x?socket=/s");
}

static void old_names(void **state)
{
	(void)state;
	expect_name("nbd:h:1", "- h 1 [] plain - - - 0", "nbd://h:1");
	expect_name("nbd:h:nbd:exportname=a b:c",
	    "- h nbd [a b:c] plain - - - 0", "nbd://h:nbd/a b:c");
	expect_name("nbd:[::1]:1:exportname=x", "- ::1 1 [x] plain - - - 0",
	    "nbd://[::1]:1/x");
	expect_name("nbd:unix:/a:b", "/a:b - - [] plain - - - 0",
	    "nbd+unix://?socket=/a:b");
	expect_name("nbd:unix:s:exportname=%41", "s - - [%41] plain - - - 0",
	    "nbd+unix:///%41?socket=s");
}

static void bad_names(void **state)
{
	static const struct {
		const char *name, *message;
	} bad[] = {
	    {"nbd:", "NBD server address missing"},
	    {"nbd:h:1:exportname=", "NBD server address missing"},
	    {"nbd:h", "error parsing address 'h'"},
	    {"nbd:h:", "error parsing address 'h:'"},
	    {"nbd::1", "error parsing address ':1'"},
	    {"nbd://", "no host in ''"},
	    {"nbd://:1", "no host in ':1'"},
	    {"nbd://h:0", "a port is 1 to 65535, not '0'"},
	    {"nbd://h:65536", "a port is 1 to 65535, not '65536'"},
	    {"nbd://h:99999999999999999999", "bad port"},
	    {"nbd://h:http", "bad port 'http'"},
	    {"nbd://[::1", "bad address '[::1'"},
	    {"nbd://[::1]x", "bad address '[::1]x'"},
	    {"nbd://h/%4", "bad escape in '%4'"},
	    {"nbd://h/%", "bad escape in '%'"},
	    {"nbd://h/%zz", "bad escape in '%zz'"},
	    {"nbd://h/a%00b", "bad escape in 'a%00b'"},
	    {"nbd://h/x?socket=s", "unknown parameter 'socket'"},
	    {"nbd://h/?tls-psk-file=k", "unknown parameter 'tls-psk-file'"},
	    {"nbds://h/?x", "unknown parameter 'x'"},
	    {"nbds://h/?tls-verify-peer=maybe", "not 0 or 1: 'maybe'"},
	    {"nbd+unix:///x", "there is no '?socket=PATH'"},
	    {"nbd+unix:///x?socket=", "there is no '?socket=PATH'"},
	    {"nbd+unix://h/x?socket=s", "a Unix socket has no host 'h'"},
	    {"nbd+unix:/x", "no '//' in 'nbd+unix:/x'"},
	    {"nbds:h:1", "no '//' in 'nbds:h:1'"},
	};
	struct err e = ERR_INIT;
	struct nbd_address a;

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_fails(nbd_parse_name(&a, bad[i].name, &e), &e, EINVAL,
		    bad[i].message);
		nbd_address_clear(&a);
	}
	/* No secret goes into a message. */
	assert_int_equal(nbd_parse_name(&a, "nbds://me:hush@h/", &e), -1);
	assert_null(strstr(e.msg, "hush"));
	nbd_address_clear(&a);
}

static void long_export(void **state)
{
	char name[5000] = "nbd://h/";
	struct err e = ERR_INIT;
	struct nbd_address a;

	(void)state;
	memset(name + 8, 'x', 4096);
	assert_ok(nbd_parse_name(&a, name, &e), &e);
	nbd_address_clear(&a);
	memset(name + 8, 'x', 4097);
	assert_fails(nbd_parse_name(&a, name, &e), &e, EINVAL,
	    "NBD export name of 4097 bytes, at most 4096");
	nbd_address_clear(&a);
}

static void other_names(void **state)
{
	static const char *const no[] = {"", "nbd", "nbdx://h", "nbd+ssh://h",
	    "/nbd:x", "disk.img", "NBD://h", "./nbd:a:1"};

	(void)state;
	for (unsigned i = 0; i < sizeof no / sizeof no[0]; i++)
		assert_false(nbd_is_name(no[i]));
	assert_true(nbd_is_name("nbd:x"));
	assert_true(nbd_is_name("nbds+unix://"));
}

/* ---- options --------------------------------------------------------------
 */

static int parse_list(struct nbd_address *a, const char *list, struct err *e)
{
	CLEANUP(options) struct options *o = options_new(e);
	int rc;

	assert_ok(options_parse(o, list, NULL, e), e);
	rc = nbd_parse_options(a, o, e);
	if (!rc)
		assert_null(options_unused(o));
	return rc;
}

static void expect_options(const char *list, const char *want)
{
	struct err e = ERR_INIT;
	struct nbd_address a;

	assert_ok(parse_list(&a, list, &e), &e);
	assert_string_equal(show(&a), want);
	nbd_address_clear(&a);
}

static void option_lists(void **state)
{
	struct err e = ERR_INIT;
	struct nbd_address a;

	(void)state;
	expect_options("host=h", "- h 10809 [] plain - - - 0");
	expect_options(
	    "host=h,port=1,export=/a%41", "- h 1 [/a%41] plain - - - 0");
	expect_options("path=/s", "/s - - [] plain - - - 0");
	expect_options("server.type=unix,server.path=/s,export=x",
	    "/s - - [x] plain - - - 0");
	expect_options("server.type=inet,server.host=::1,server.port=http",
	    "- ::1 http [] plain - - - 0");
	assert_ok(parse_list(&a,
		      "path=s,reconnect-delay=1,open-timeout=2,"
		      "request-timeout=3,connections=4",
		      &e),
	    &e);
	assert_int_equal(a.reconnect_s, 1);
	assert_int_equal(a.open_s, 2);
	assert_int_equal(a.stall_s, 3);
	assert_int_equal(a.conn_max, 4);
	nbd_address_clear(&a);
}

static void bad_options(void **state)
{
	static const struct {
		const char *list, *message;
	} bad[] = {
	    {"export=x", "NBD server address missing"},
	    {"port=1", "port may not be used without host"},
	    {"path=s,port=1", "port may not be used without host"},
	    {"path=s,host=h", "path and host may not be used at the same time"},
	    {"path=s,server.type=unix",
		"Cannot use 'server' and path/host/port at the same time"},
	    {"server.path=s", "Parameter 'type' is missing"},
	    {"server.type=unix", "Parameter 'path' is missing"},
	    {"server.type=inet,server.host=h", "Parameter 'port' is missing"},
	    {"server.type=fd,server.str=x",
		"Parameter 'type' does not accept value 'fd'"},
	    {"server.type=unix,server.path=s,server.host=h",
		"Parameter 'host' is unexpected"},
	    {"path=s,reconnect-delay=x",
		"Parameter 'reconnect-delay' expects a number"},
	    {"path=s,open-timeout=4294967296",
		"Parameter 'open-timeout' is 4294967296, at most 4294967295"},
	    {"path=s,connections=17",
		"Parameter 'connections' is 17, at most 16"},
	    {"path=s,tls-creds=t", "No TLS credentials with id 't'"},
	};
	struct err e = ERR_INIT;
	struct nbd_address a;

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_fails(parse_list(&a, bad[i].list, &e), &e, EINVAL,
		    bad[i].message);
		nbd_address_clear(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(uris),
	    cmocka_unit_test(old_names),
	    cmocka_unit_test(bad_names),
	    cmocka_unit_test(long_export),
	    cmocka_unit_test(other_names),
	    cmocka_unit_test(option_lists),
	    cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
