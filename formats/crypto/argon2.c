/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Argon2: see argon2.h.
 *
 * The library computes the lanes of a slice as jobs, and waits for them.  Each
 * job is a thread here, or runs at once where there can be no more threads.
 */
#include <pthread.h>

#include "../core/units.h"
#include "argon2.h"
#include "gcrypt.h"

struct job {
	pthread_t thread;
	gcry_kdf_job_fn_t run;
	void *arg;
};

struct jobs {
	struct job job[ARGON2_LANES_MAX];
	unsigned n;
};

static void *job_main(void *arg)
{
	struct job *j = arg;

	j->run(j->arg);
	return NULL;
}

static int dispatch(void *context, gcry_kdf_job_fn_t run, void *arg)
{
	struct jobs *all = context;
	struct job *j = &all->job[all->n];

	if (all->n == ARGON2_LANES_MAX) {
		run(arg);
		return 0;
	}
	*j = (struct job){.run = run, .arg = arg};
	if (pthread_create(&j->thread, NULL, job_main, j))
		run(arg);
	else
		all->n++;
	return 0;
}

static int wait_all(void *context)
{
	struct jobs *all = context;

	while (all->n)
		pthread_join(all->job[--all->n].thread, NULL);
	return 0;
}

static gcry_error_t compute(
    gcry_kdf_hd_t h, const struct kdf *k, uint8_t *out, size_t out_len)
{
	struct jobs all = {.n = 0};
	const gcry_kdf_thread_ops_t ops = {&all, dispatch, wait_all};
	gcry_error_t code = gcry_kdf_compute(h, k->lanes > 1 ? &ops : NULL);

	return code ? code : gcry_kdf_final(h, out_len, out);
}

int argon2_derive(const struct kdf *k, const char *pass, size_t pass_len,
    uint8_t *out, size_t out_len, struct err *e)
{
	const unsigned long param[] = {
	    out_len, k->iterations, k->memory_kib, k->lanes};
	int kind =
	    k->kind == KDF_ARGON2I ? GCRY_KDF_ARGON2I : GCRY_KDF_ARGON2ID;
	gcry_kdf_hd_t h;
	gcry_error_t code;

	code = gcry_kdf_open(&h, GCRY_KDF_ARGON2, kind, param, ARRAY_N(param),
	    pass, pass_len, k->salt, k->salt_len, NULL, 0, NULL, 0);
	if (!code) {
		code = compute(h, k, out, out_len);
		gcry_kdf_close(h);
	}
	return code ? crypto_failed(code, "key derivation", e) : 0;
}
