/* SPDX-License-Identifier: BSD-3-Clause */
/* Looking at the disks that a power failure could leave: see explore.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "crash.h"
#include "explore.h"
#include "hostio.h"
#include "peer.h"
#include "script.h"

#define IMAGES	    4u	/* at each moment */
#define PEER_EVERY  60u /* images */
#define GO_ON_EVERY 9u
#define GO_ON_STEPS 12u
#define GO_ON_STAMP (1ull << 48) /* their versions begin here */

static struct image *open_image(
    struct explore *x, struct hostfile *f, unsigned flags, struct err *e)
{
	const struct img_open how = {
	    .format = x->scene->format, .flags = flags};

	return img_open_host(host_ref(f), &how, e);
}

static void print_finding(void *arg, const char *line)
{
	const struct explore *x = arg;

	print_message("%s: %s\n", x->scene->name, line);
}

static int check_ours(struct explore *x, struct hostfile *f, struct err *e)
{
	struct image *img = open_image(x, f, IMG_O_CHECK, e);
	struct img_check found;
	int rc = img ? img_check(img, &found, NULL, NULL, e) : -1;

	if (img && rc && e->errnum == ENOTSUP) {
		err_clear(e);
		rc = 0;
	} else if (!rc &&
		   (found.corruptions > crash_unclosed_n(x->scene->format) ||
		       found.check_errors)) {
		img_check(img, &found, print_finding, x, e);
		rc = err_damaged(e, "corruption");
	}
	img_drop(img);
	return rc;
}

static int check_plain(struct explore *x, struct hostfile *f, struct err *e)
{
	char out[1024];
	int rc;

	if (hostio_save(f, "crash.img", e))
		return -1;
	rc = peer_check_leaky("crash.img", x->scene->format, out, sizeof out);
	unlink("crash.img");
	x->peer_n++;
	return rc ? err_damaged(e, "qemu-img: %s", out) : 0;
}

/* What crash.img holds, by qemu-img. */
static int read_peer(const struct explore *x, uint8_t *buf, struct err *e)
{
	const char *argv[] = {"qemu-img", "convert", "-f", x->scene->format,
	    "-O", "raw", "crash.img", "crash.raw", NULL};
	struct hostfile *f;
	char out[1024];
	int rc;

	if (peer_run(argv, out, sizeof out))
		return err_damaged(e, "qemu-img convert: %s", out);
	f = host_open_file("crash.raw", 0, e);
	if (!f)
		return -1;
	rc = host_pread(f, buf, x->scene->size, 0, e);
	host_put(f);
	return rc;
}

/* It replays the log, finds nothing wrong then, and reads what is allowed. */
static int check_replay(
    struct explore *x, struct hostfile *f, struct ledger *ledger, struct err *e)
{
	CLEANUP_FREE uint8_t *buf = malloc(x->scene->size);
	char out[1024];
	uint64_t bad;
	int rc;

	if (!buf)
		return err_nomem(e);
	if (hostio_save(f, "crash.img", e))
		return -1;
	x->peer_n++;
	if (peer_repair("crash.img", x->scene->format, out, sizeof out))
		rc = err_damaged(e, "qemu-img: %s", out);
	else
		rc = read_peer(x, buf, e);
	if (!rc && !ledger_allows(ledger, buf, 0, ledger->sector_n, &bad))
		rc = err_damaged(
		    e, "sector %" PRIu64 " is wrong for qemu-img", bad);
	unlink("crash.img");
	unlink("crash.raw");
	return rc;
}

static int check_peer(
    struct explore *x, struct hostfile *f, struct ledger *ledger, struct err *e)
{
	/* It reads no stream that was not closed. */
	if (x->scene->options && strstr(x->scene->options, "streamOptimized"))
		return 0;
	if (strcmp(x->scene->format, "vhdx"))
		return check_plain(x, f, e);
	/* It opens no VHDX image with a parent. */
	return x->scene->base ? 0 : check_replay(x, f, ledger, e);
}

/* Operations on a disk after the crash. */
static int go_on(struct explore *x, struct hostfile *f,
    const struct ledger *ledger, struct err *e)
{
	struct ledger now;
	struct script s = {
	    .ledger = &now, .rng = &x->rng, .version = x->version, .stride = 1};
	int rc;

	s.img = open_image(x, f, IMG_O_RDWR | x->scene->flags, e);
	if (!s.img)
		return -1;
	ledger_copy(&now, ledger);
	rc = script_go_on(&s, GO_ON_STEPS, e);
	x->version = s.version;
	if (img_close(s.img, e))
		rc = -1;
	ledger_free(&now);
	if (!rc)
		rc = check_ours(x, f, e);
	if (rc)
		err_prefix(e, "after the crash: ");
	return rc;
}

static int examine(
    struct explore *x, struct hostfile *f, struct ledger *ledger, struct err *e)
{
	struct image *img = open_image(x, f, 0, e);
	CLEANUP_FREE uint8_t *buf = img ? script_read(img, e) : NULL;
	uint64_t bad;

	img_drop(img);
	if (!buf)
		return -1;
	if (!ledger_allows(ledger, buf, 0, ledger->sector_n, &bad))
		return err_damaged(e, "sector %" PRIu64 " is wrong", bad);
	if (check_ours(x, f, e) ||
	    (x->image_n % PEER_EVERY == 0 && check_peer(x, f, ledger, e)))
		return -1;
	return x->image_n % GO_ON_EVERY ? 0 : go_on(x, f, ledger, e);
}

/* One crash image, with the ledger of the same moment. */
static struct hostfile *take_image(
    struct explore *x, struct ledger *ledger, struct err *e)
{
	struct hostfile *f;

	ledger_freeze(x->ledger);
	f = crashfile_image(x->c, x->seed, e);
	if (f)
		ledger_copy(ledger, x->ledger);
	ledger_thaw(x->ledger);
	return f;
}

static int look_at_one(struct explore *x, struct err *e)
{
	struct ledger ledger;
	struct hostfile *f = take_image(x, &ledger, e);
	int rc;

	if (!f)
		return -1;
	x->image_n++;
	rc = examine(x, f, &ledger, e);
	if (rc)
		err_prefix(e, "image %u, crash seed %" PRIu64 ": ", x->image_n,
		    x->seed);
	host_put(f);
	ledger_free(&ledger);
	return rc;
}

void explore_look(struct explore *x)
{
	mutex_lock(&x->lock);
	for (unsigned i = 0; i < IMAGES && !err_is_set(&x->failed); i++) {
		/* Seed 0 loses all that is not synced, 1 nothing. */
		x->seed = i < 2 ? i : rng_u64(&x->rng) | 2;
		look_at_one(x, &x->failed);
		if (!crashfile_pending(x->c))
			break;
	}
	mutex_unlock(&x->lock);
}

static void on_sync(void *arg, struct crashfile *c, unsigned barrier)
{
	(void)c, (void)barrier;
	explore_look(arg);
}

void explore_init(struct explore *x, const struct scene *scene,
    struct crashfile *c, struct ledger *ledger, uint64_t seed)
{
	*x = (struct explore){.scene = scene,
	    .c = c,
	    .ledger = ledger,
	    .rng = {~seed},
	    .version = GO_ON_STAMP,
	    .failed = ERR_INIT};
	mutex_init(&x->lock);
	crashfile_on_sync(c, on_sync, x);
}

void explore_assert(struct explore *x)
{
	if (err_is_set(&x->failed))
		fail_msg("%s: %s", x->scene->name, x->failed.msg);
}
