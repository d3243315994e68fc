/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Image locks: among ourselves against the rule, and against QEMU's tools in
 * both directions, where they are installed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "formats/host/hostfile.h"
#include "rng.h"
#include "tmpdir.h"

#define ALL    HOST_PERM_ALL
#define FILE_N 3

static struct hostfile *open_file(const char *name, unsigned flags)
{
	struct err e = ERR_INIT;
	struct hostfile *f = host_open_file(name, flags, &e);

	assert_no_error(&e);
	return f;
}

/* Whoever uses what another one denies is refused, and keeps what he had. */
static void rule(void **state)
{
	struct hostfile *f[FILE_N];
	unsigned perm[FILE_N] = {0}, shared[FILE_N] = {ALL, ALL, ALL};
	unsigned refused = 0;
	struct rng r = {11};

	(void)state;
	for (unsigned i = 0; i < FILE_N; i++)
		f[i] = open_file("rule", HOST_RDWR | HOST_CREATE);
	for (unsigned step = 0; step < 300; step++) {
		unsigned i = (unsigned)rng_below(&r, FILE_N);
		unsigned want = (unsigned)(rng_u64(&r) & rng_u64(&r) & ALL);
		unsigned share = (unsigned)((rng_u64(&r) | rng_u64(&r)) & ALL);
		struct err e = ERR_INIT;
		bool ok = true;

		for (unsigned j = 0; j < FILE_N; j++)
			ok = ok && (j == i || !((want & ~shared[j]) |
						  (perm[j] & ~share)));
		assert_int_equal(host_lock(f[i], want, share, &e), ok ? 0 : -1);
		if (ok) {
			perm[i] = want;
			shared[i] = share;
		} else {
			assert_int_equal(e.errnum, EAGAIN);
			refused++;
		}
	}
	assert_in_range(refused, 50, 250);
	for (unsigned i = 0; i < FILE_N; i++)
		host_put(f[i]);
}

static void messages(void **state)
{
	struct hostfile *a = open_file("m", HOST_RDWR | HOST_CREATE);
	struct hostfile *b = open_file("m", 0);
	struct hostfile *free_for_all = open_file("m", HOST_NOLOCK);
	struct err e = ERR_INIT;
	char who[64];

	(void)state;
	assert_ok(host_lock(a, HOST_PERM_WRITE | HOST_PERM_WRITE_UNCHANGED,
		      ALL & ~HOST_PERM_READ & ~HOST_PERM_RESIZE, &e),
	    &e);
	assert_fails(host_lock(b, HOST_PERM_READ, ALL, &e), &e, EAGAIN,
	    "Failed to get \"consistent read\" lock");
	assert_fails(host_lock(b, HOST_PERM_RESIZE, ALL, &e), &e, EAGAIN,
	    "Failed to get \"resize\" lock");
	assert_fails(host_lock(b, 0, ALL & ~HOST_PERM_WRITE, &e), &e, EAGAIN,
	    "Failed to get shared \"write\" lock");
	assert_int_equal(
	    host_lock(b, 0, ALL & ~HOST_PERM_WRITE_UNCHANGED, &e), -1);
	assert_string_equal(
	    e.msg, "Failed to get shared \"write unchanged\" lock");
	assert_memory_equal(
	    e.hint, "Is another process using the image [m]?", 39);
	/* The other file of this process. */
	snprintf(who, sizeof who, "process %d (test-host-lock)", getpid());
	assert_non_null(strstr(e.hint, who));
	err_clear(&e);
	assert_ok(host_lock(free_for_all, ALL, 0, &e), &e);

	/* Closing gives up the locks. */
	host_put(a);
	assert_ok(host_lock(b, ALL, 0, &e), &e);
	host_put(b);
	host_put(free_for_all);
}

/* ---- QEMU holds the image ---------------------------------------------- */

static bool have(const char *tool)
{
	char command[64];

	snprintf(command, sizeof command, "command -v %s >/dev/null", tool);
	return !system(command);
}

/* Reads the process id that qemu-nbd left; 0 where there is no qemu-nbd. */
static int start_nbd(void **state)
{
	static int pid;
	FILE *in;

	*state = &pid;
	pid = 0;
	if (!have("qemu-nbd") || !have("qemu-img"))
		return 0;
	if (system("qemu-img create -q -f qcow2 q.qcow2 1M && "
		   "qemu-nbd --fork -t --pid-file=pid -k \"$PWD/s.sock\" "
		   "-f qcow2 q.qcow2"))
		return -1;
	in = fopen("pid", "r");
	if (!in || fscanf(in, "%d", &pid) != 1)
		return -1;
	fclose(in);
	return 0;
}

static int stop_nbd(void **state)
{
	int pid = *(int *)*state;

	return pid ? kill(pid, SIGTERM) : 0;
}

static void qemu_holds(void **state)
{
	int pid = *(int *)*state;
	struct hostfile *f;
	struct err e = ERR_INIT;
	char who[64];

	if (!pid)
		skip();
	f = open_file("q.qcow2", HOST_RDWR);
	assert_ok(host_lock(f, HOST_PERM_READ, ALL, &e), &e);
	assert_fails(host_lock(f, HOST_PERM_WRITE, ALL, &e), &e, EAGAIN,
	    "Failed to get \"write\" lock");
	assert_fails(host_lock(f, HOST_PERM_RESIZE, ALL, &e), &e, EAGAIN,
	    "Failed to get \"resize\" lock");
	assert_int_equal(
	    host_lock(f, HOST_PERM_READ, ALL & ~HOST_PERM_WRITE, &e), -1);
	assert_string_equal(e.msg, "Failed to get shared \"write\" lock");
	snprintf(who, sizeof who, "process %d (qemu-nbd)", pid);
	assert_non_null(strstr(e.hint, who));
	host_put(f);
}

/* ---- we hold it -------------------------------------------------------- */

/* Does a command succeed, or else print `message`?  Other failures fail. */
static bool succeeds(const char *command, const char *message)
{
	char line[512], text[4096] = "";
	FILE *out = popen(command, "r");

	assert_non_null(out);
	while (fgets(line, sizeof line, out))
		strncat(text, line, sizeof text - strlen(text) - 1);
	if (!pclose(out))
		return true;
	if (!strstr(text, message))
		fail_msg("%s: %s", command, text);
	return false;
}

static struct hostfile *open_held(const char *create, const char *name)
{
	if (!have("qemu-io") || !have("qemu-img"))
		skip();
	assert_int_equal(system(create), 0);
	return open_file(name, HOST_RDWR);
}

static void we_write(void **state)
{
	static const char info[] = "qemu-img info w.qcow2 2>&1";
	struct hostfile *f =
	    open_held("qemu-img create -q -f qcow2 w.qcow2 1M", "w.qcow2");
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(host_lock(f, HOST_PERM_READ | HOST_PERM_WRITE,
		      ALL & ~HOST_PERM_WRITE, &e),
	    &e);
	assert_false(succeeds(info, "Failed to get shared \"write\" lock"));
	assert_true(succeeds("qemu-img info -U w.qcow2 2>&1", ""));
	assert_ok(host_lock(f, HOST_PERM_READ, ALL & ~HOST_PERM_WRITE, &e), &e);
	assert_true(succeeds(info, ""));
	host_put(f);
}

static void we_deny(void **state)
{
	static const char write[] = "qemu-io -f raw -c 'write 0 512' w 2>&1";
	static const char resize[] = "qemu-img resize -f raw w 2M 2>&1";
	struct hostfile *f = open_held("truncate -s 1M w", "w");
	struct err e = ERR_INIT;

	(void)state;
	assert_ok(host_lock(f, HOST_PERM_READ, ALL & ~HOST_PERM_WRITE, &e), &e);
	assert_false(succeeds(write, "Failed to get \"write\" lock"));
	assert_ok(
	    host_lock(f, HOST_PERM_READ, ALL & ~HOST_PERM_RESIZE, &e), &e);
	assert_true(succeeds(write, ""));
	assert_false(succeeds(resize, "Failed to get \"resize\" lock"));
	assert_ok(host_lock(f, 0, ALL, &e), &e);
	assert_true(succeeds(resize, ""));
	host_put(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rule),
	    cmocka_unit_test(messages),
	    cmocka_unit_test_setup_teardown(qemu_holds, start_nbd, stop_nbd),
	    cmocka_unit_test(we_write),
	    cmocka_unit_test(we_deny),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
