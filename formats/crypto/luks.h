/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUKS: the header of an encrypted disk, versions 1 and 2, wherever it lies: at
 * the start of a file, in a file of its own, in clusters of a qcow2 image.
 *
 * Specifications: "LUKS1 On-Disk Format Specification" 1.2.3 and "LUKS2 On-Disk
 * Format Specification" 1.1, both of the cryptsetup project.
 *
 * Terms: the data is encrypted with the volume key.  Each key slot holds it,
 * split (afsplit.h) and encrypted with a key that is made from a passphrase.
 * The digest tells whether a volume key is the right one.  Places are bytes
 * from the start of the header.
 *
 * Threads: one at a time; keys are in memory only between luks_unlock() and
 * luks_free(), and never in a message.
 */
#ifndef IMGD_LUKS_H
#define IMGD_LUKS_H

#include <jansson.h>

#include "../core/options.h"
#include "../host/hostfile.h"
#include "../image.h"
#include "cipher.h"
#include "hash.h"
#include "kdf.h"

#define LUKS_MAGIC	 "LUKS\xba\xbe"
#define LUKS_MAGIC_LEN	 6u
#define LUKS1_LEN	 592u
#define LUKS1_SLOTS	 8u
#define LUKS_SLOTS_MAX	 32u
#define LUKS_STRIPES	 4000u
#define LUKS_STRIPES_MAX 16000u
#define LUKS_ITER_MS_MAX 3600000u
#define LUKS_SALT_LEN	 32u  /* of what we make */
#define LUKS_DIGEST_MS	 125u /* at most, for telling whether a key is right */
#define LUKS_COST_MAX	 (1ull << 30) /* of all slots: see kdf_cost() */
#define LUKS_TEXT_MAX	 64u /* bytes of a name of an algorithm, and a NUL */
#define LUKS_DIGEST_MAX	 64u

struct luks_slot {
	bool active;
	bool taken; /* by another key; LUKS2 */
	struct kdf kdf;
	uint32_t stripes;
	int af_hash;		 /* 0: not supported */
	uint64_t at, len;	 /* of the split key; len 0: not known */
	uint64_t area_len;	 /* what is set aside for it */
	struct cipher_spec area; /* how that is encrypted; LUKS2 */
	unsigned digest;	 /* LUKS2: which one tells about its key */
	size_t key_len;
	const char *problem; /* why it cannot be used; or NULL */
};

struct luks_digest {
	struct kdf kdf;
	uint8_t value[LUKS_DIGEST_MAX];
	size_t len;
};

struct luks {
	struct hostfile *file; /* of the caller */
	uint64_t host;	       /* where the header begins in it */
	uint64_t room;	       /* bytes that it and the slots may take */
	const char *name;      /* of the image, for messages */
	unsigned version;
	char cipher[LUKS_TEXT_MAX], mode[LUKS_TEXT_MAX], hash[LUKS_TEXT_MAX];
	char uuid[41];
	size_t key_len;
	uint64_t payload;     /* where the data begins */
	uint64_t payload_len; /* 0: up to the end of the file */
	uint32_t sector_len;
	uint64_t first_sector;
	struct luks_slot slot[LUKS_SLOTS_MAX];
	unsigned slot_n;
	unsigned opened; /* the slot that gave the key */
	struct luks_digest digest;
	struct luks2 *v2; /* see luks2.h; NULL: version 1 */
	uint8_t *key;	  /* NULL: locked */
};

/* Does it begin as a LUKS header does, of any version? */
bool luks_is(const uint8_t *buf, size_t len);
/*
 * Read and check a header; nothing is unlocked.  The file stays the caller's,
 * and stays open.  NULL on failure.
 */
struct luks *luks_open(struct hostfile *f, uint64_t host, uint64_t room,
    const char *name, struct err *e);
void luks_free(struct luks *l); /* NULL is allowed */
/* Find the volume key.  May take seconds and much memory. */
int luks_unlock(struct luks *l, const char *pass, struct err *e);
/* For the data of one that is unlocked. */
struct cipher *luks_cipher(const struct luks *l, struct err *e);
/* What `info` shows, in the order in which that is printed; with a member
 * `format`, unless NULL. */
json_t *luks_describe(const struct luks *l, bool detached, const char *format);
/* Are all secrets there that these options name?  NULL with *e set: no. */
const char *luks_secret(struct options *o, const char *key, struct err *e);

/* ---- making ------------------------------------------------------------ */

struct luks_params {
	unsigned version;
	enum kdf_kind kdf;
	char cipher[LUKS_TEXT_MAX], mode[LUKS_TEXT_MAX];
	const char *hash, *secret; /* of the options, of the secret */
	size_t key_len;
	uint64_t iter_ms;
};
/* key-secret, cipher-alg, cipher-mode, ivgen-alg, ivgen-hash-alg, hash-alg,
 * iter-time; `with_version`: and those that LUKS2 can be had with, version and
 * pbkdf.  `prefix` is put before the first of them in messages. */
int luks_params_read(struct options *o, const char *prefix, bool with_version,
    struct luks_params *p, struct err *e);
/* Bytes of the header with all key slots. */
uint64_t luks_header_len(const struct luks_params *p);
/* A new header with one passphrase; the data will begin at `payload`. */
int luks_create(struct hostfile *f, uint64_t host, const char *name,
    const struct luks_params *p, uint64_t payload, struct err *e);

/* ---- changing ---------------------------------------------------------- */

/*
 * state, keyslot, new-secret, old-secret, iter-time.  `force`: also what loses
 * the data, or the key in a slot.  Everything is refused before anything is
 * changed; a crash harms at most the slots that are named.
 */
int luks_amend(struct luks *l, struct options *o, bool force, struct err *e);

/* ---- parts ------------------------------------------------------------- */

/* luks_create.c */
/* Of l->key, `len` bytes. */
int luks_make_digest(
    struct luks *l, size_t len, uint64_t iter_ms, struct err *e);

/* luks1.c */
int luks1_read(struct luks *l, const uint8_t *buf, struct err *e);
/* Header and slots as *l says, durable; a torn write harms nothing. */
int luks1_write(struct luks *l, struct err *e);

/* luks_slot.c */
/* Is `key` (l->key_len bytes) the volume key?  1, 0, -1. */
int luks_digest_test(const struct luks *l, const uint8_t *key, struct err *e);
/* The key that a slot gives for a passphrase: 1, 0 it is another one, -1. */
int luks_slot_open(
    struct luks *l, unsigned ix, const char *pass, uint8_t *key, struct err *e);
/* Put the volume key into a slot, durable; its kdf but for the salt is set. */
int luks_slot_fill(
    struct luks *l, unsigned ix, const char *pass, struct err *e);
/* Overwrite its area, durable. */
int luks_slot_wipe(struct luks *l, const struct luks_slot *s, struct err *e);

/* luks_params.c */
/* Names of users for names of the file; false where there is none. */
bool luks_cipher_alg(const struct luks *l, char *out, size_t size);
/* The parts of a mode, "" where one is missing. */
struct luks_mode {
	char mode[LUKS_TEXT_MAX], iv[LUKS_TEXT_MAX], iv_hash[LUKS_TEXT_MAX];
};
void luks_mode_split(const char *text, struct luks_mode *m);

#endif
