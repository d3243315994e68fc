/* SPDX-License-Identifier: BSD-3-Clause */
/* Loading libnbd: see nbd_lib.h. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "../core/lock.h"
#include "nbd_lib.h"

#define SONAME "libnbd.so.0"

static struct nbd_lib lib;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char problem[256]; /* why it could not be loaded; "" if it was */

static void *find(void *so, const char *name)
{
	void *f = dlsym(so, name);

	if (!f && !problem[0])
		snprintf(problem, sizeof problem, "%s has no %s", SONAME, name);
	return f;
}

/* It is never unloaded: it may have left threads' data behind. */
static void load(void)
{
	void *so = dlopen(SONAME, RTLD_NOW | RTLD_LOCAL);

	if (!so) {
		const char *text = dlerror();

		snprintf(problem, sizeof problem, "%s",
		    text ? text : "cannot load " SONAME);
		return;
	}
#define NBD_FIND(name) *(void **)&lib.name = find(so, "nbd_" #name);
	NBD_CALLS(NBD_FIND)
#undef NBD_FIND
}

const struct nbd_lib *nbd_lib_get(struct err *e)
{
	lock_must(pthread_once(&once, load));
	if (!problem[0])
		return &lib;
	err_unsupported(e, "NBD needs libnbd: %s", problem);
	return NULL;
}
