/* SPDX-License-Identifier: BSD-3-Clause */
/* Objects, and the rules of those that say who may. */
#include "check.h"
#include "formats/core/object.h"
#include "server/authz.h"

static void make(const char *text)
{
	struct err e = ERR_INIT;
	char *help;

	assert_ok(object_add(text, &help, &e), &e);
}

static void test_rules(void **state)
{
	struct err e = ERR_INIT;
	struct authz *a;

	(void)state;
	make("authz-list,id=l1,policy=allow,"
	     "rules.0.match=CN=bob*,rules.0.policy=allow,rules.0.format=glob,"
	     "rules.1.match=*b*,rules.1.policy=deny,rules.1.format=glob,"
	     "rules.2.match=al*,rules.2.policy=deny");
	make("{\"qom-type\": \"authz-list\", \"id\": \"l2\", \"rules\": "
	     "[{\"match\": \"alice\", \"policy\": \"allow\"}]}");
	a = authz_new("l1", &e);
	assert_no_error(&e);
	assert_true(authz_allows(a, "CN=bobby"));
	assert_false(authz_allows(a, "rob"));
	assert_true(authz_allows(a, "alice"));
	assert_false(authz_allows(a, "al*"));
	assert_false(authz_allows(a, NULL));
	authz_free(a);
	a = authz_new("l2", &e);
	assert_no_error(&e);
	assert_true(authz_allows(a, "alice"));
	assert_false(authz_allows(a, "Alice"));
	assert_false(authz_allows(a, ""));
	authz_free(a);
	make("secret,id=s,data=x");
	assert_null(authz_new("s", &e));
	assert_string_equal(
	    e.msg, "Object with id 's' is not an authorization object");
}

/* Text and base64; nothing of a secret is in a message. */
static void test_secrets(void **state)
{
	static const char *const bad[] = {
	    "secret,id=b,format=base64,data=Z2VoZWlt!",
	    "secret,id=b,format=base64,data=Z2VoZWl",
	    "secret,id=b,format=base64,data=Z2Vo=WltZ",
	    "secret,id=b,format=base64,data=Z2VoZ===",
	    "secret,id=b,format=hex,data=Z2VoZWlt",
	    "secret,id=b,keyid=a,data=Z2VoZWlt",
	    "secret,id=b,data=Z2VoZWlt,file=x",
	    "secret,data=Z2VoZWlt",
	};
	struct err e = ERR_INIT;
	char *help;

	(void)state;
	make("secret,id=plain,data=geheim");
	make("secret,id=six,format=base64,data=Z2Vo ZWlt");
	make("secret,id=five,format=base64,data=Z2VoZWk=");
	make("secret,id=four,format=base64,data=Z2VoZQ==");
	make("secret,id=none,format=base64,data=");
	assert_string_equal(object_secret("plain", &e), "geheim");
	assert_string_equal(object_secret("six", &e), "geheim");
	assert_string_equal(object_secret("five", &e), "gehei");
	assert_string_equal(object_secret("four", &e), "gehe");
	assert_string_equal(object_secret("none", &e), "");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(object_add(bad[i], &help, &e), -1);
		assert_null(strstr(e.msg, "Z2V"));
		err_clear(&e);
	}
	assert_null(object_find("b"));
	assert_null(object_secret("nope", &e));
	assert_string_equal(e.msg, "No secret with id 'nope'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rules),
	    cmocka_unit_test(test_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
