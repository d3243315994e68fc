/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many threads on one image that is on an NBD server, which is killed again and
 * again, or for good.
 *
 * Each thread owns a zone of the disk and knows what is in it, byte for byte.
 * The server is nbdkit with a file, so what it has acknowledged outlives it.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "effort.h"
#include "formats/core/options.h"
#include "formats/core/units.h"
#include "formats/image.h"
#include "rng.h"
#include "tmpdir.h"

#define THREADS	 8u
#define ZONE_LEN MiB
#define LEN_MAX	 100000u
#define KILLS	 EFFORT(6u, 3u)
#define LIVE_US	 EFFORT(150000, 400000) /* of a server */

extern char **environ;

static _Atomic bool over;

struct worker {
	pthread_t thread;
	struct image *img;
	uint64_t start; /* of its zone */
	struct rng rng;
	unsigned done; /* operations */
	const char *wrong;
	struct err e;
	uint8_t model[ZONE_LEN], buf[LEN_MAX];
};

static struct worker workers[THREADS];

/* ---- the server ---------------------------------------------------------- */

/* A socket that is there need not be listened to yet. */
static bool answers(void)
{
	const struct sockaddr_un a = {
	    .sun_family = AF_UNIX, .sun_path = "sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = connect(fd, (const struct sockaddr *)&a, sizeof a);

	close(fd);
	return !rc;
}

/* Where it cannot be run there is nothing to test. */
static pid_t start_server(void)
{
	char *argv[] = {"nbdkit", "-f", "-U", "sock", "file", "disk.raw", NULL};
	bool ready = false;
	pid_t pid;

	unlink("sock");
	if (posix_spawnp(&pid, "nbdkit", NULL, NULL, argv, environ))
		skip();
	for (unsigned i = 0; i < 2000 && !(ready = answers()); i++)
		usleep(10000);
	assert_true(ready);
	return pid;
}

static void kill_server(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct image *open_image(const char *delay)
{
	const struct img_open how = {.flags = IMG_O_RDWR | IMG_O_DISCARD};
	struct err e = ERR_INIT;
	struct options *o = options_new(&e);
	struct image *img;

	assert_no_error(&e);
	assert_ok(options_parse(o,
		      "driver=raw,file.driver=nbd,file.path=sock,"
		      "file.connections=4",
		      NULL, &e),
	    &e);
	assert_ok(options_set(o, "file.reconnect-delay", delay, &e), &e);
	img = img_open_options(o, &how, &e);
	assert_no_error(&e);
	options_free(o);
	return img;
}

/* ---- the threads --------------------------------------------------------- */

static bool all_zero(const uint8_t *p, uint64_t len)
{
	return !len || (!*p && !memcmp(p, p + 1, len - 1));
}

static int check_map(struct worker *w, uint64_t len, uint64_t off)
{
	struct img_extent x;

	if (img_map(w->img, w->start + off, len, &x, &w->e))
		return -1;
	if (!x.len || x.len > len)
		w->wrong = "length of an extent";
	else if (x.zero && !all_zero(w->model + off, x.len))
		w->wrong = "zeroes where there is data";
	return 0;
}

static int step(struct worker *w)
{
	uint64_t off = rng_below(&w->rng, ZONE_LEN);
	uint64_t len = 1 + rng_below(&w->rng, LEN_MAX);
	uint64_t at = w->start + off;

	len = min_u64(len, ZONE_LEN - off);
	switch (rng_below(&w->rng, 8)) {
	case 0:
	case 1:
	case 2:
		rng_fill(&w->rng, w->model + off, len);
		return img_pwrite(w->img, w->model + off, len, at, 0, &w->e);
	case 3:
		memset(w->model + off, 0, len);
		return img_zero(w->img, len, at, IMG_MAY_TRIM, &w->e);
	case 4:
		return check_map(w, len, off);
	case 5:
		return rng_below(&w->rng, 8) ? 0 : img_flush(w->img, &w->e);
	}
	if (img_pread(w->img, w->buf, len, at, &w->e))
		return -1;
	if (memcmp(w->buf, w->model + off, len))
		w->wrong = "contents";
	return 0;
}

/* Until all is over, or something fails. */
static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&over) && !w->wrong && !step(w))
		w->done++;
	return NULL;
}

static void start_workers(struct image *img)
{
	atomic_store(&over, false);
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *w = &workers[i];

		memset(w, 0, sizeof *w);
		w->img = img;
		w->start = i * ZONE_LEN;
		w->rng.state = i + 1;
		w->e = (struct err)ERR_INIT;
		assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
	}
}

static void join_workers(void)
{
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		if (workers[i].wrong)
			fail_msg(
			    "thread %u found wrong %s", i, workers[i].wrong);
}

static void new_disk(void)
{
	FILE *f = fopen("disk.raw", "w");

	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), THREADS * ZONE_LEN), 0);
	fclose(f);
}

static void check_disk(void)
{
	FILE *f = fopen("disk.raw", "r");

	assert_non_null(f);
	for (unsigned i = 0; i < THREADS; i++) {
		static uint8_t zone[ZONE_LEN];

		assert_int_equal(fread(zone, 1, ZONE_LEN, f), ZONE_LEN);
		assert_memory_equal(zone, workers[i].model, ZONE_LEN);
	}
	fclose(f);
}

/* ---- tests --------------------------------------------------------------- */

/* Nobody notices a server that comes back. */
static void test_comes_back(void **state)
{
	struct err e = ERR_INIT;
	struct image *img;
	pid_t pid;

	(void)state;
	new_disk();
	pid = start_server();
	img = open_image("60");
	start_workers(img);
	for (unsigned i = 0; i < KILLS; i++) {
		usleep(LIVE_US);
		kill_server(pid);
		pid = start_server();
	}
	usleep(LIVE_US);
	atomic_store(&over, true);
	join_workers();
	for (unsigned i = 0; i < THREADS; i++) {
		assert_no_error(&workers[i].e);
		assert_true(workers[i].done);
	}
	assert_ok(img_close(img, &e), &e);
	check_disk();
	kill_server(pid);
}

/* Everybody notices one that does not, and says so. */
static void test_stays_away(void **state)
{
	struct err e = ERR_INIT;
	struct image *img;
	pid_t pid;

	(void)state;
	new_disk();
	pid = start_server();
	img = open_image("0");
	/* Something to lose, however late the threads come. */
	assert_ok(img_pwrite(img, "", 1, 0, 0, &e), &e);
	start_workers(img);
	usleep(LIVE_US);
	kill_server(pid);
	join_workers();
	for (unsigned i = 0; i < THREADS; i++)
		assert_true(err_is_set(&workers[i].e));
	/* What was written since the last flush may be gone. */
	assert_int_equal(img_close(img, &e), -1);
	assert_true(err_is_set(&e));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_comes_back),
	    cmocka_unit_test(test_stays_away),
	};

	tmpdir_enter();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
