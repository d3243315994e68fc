/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LUKS2: a binary header of 4096 bytes and a JSON area, twice, then the area
 * of the key slots, then the data.
 *
 * What the file says is kept as it is (`root`, `bin`), so that a change leaves
 * alone what it does not mean.
 */
#ifndef IMGD_LUKS2_H
#define IMGD_LUKS2_H

#include "luks.h"

#define LUKS2_SECOND_MAGIC "SKUL\xba\xbe"
#define LUKS2_BIN_LEN	   4096u
#define LUKS2_HEADER_MIN   0x4000u /* with the JSON area */
#define LUKS2_HEADER_MAX   0x400000u
#define LUKS2_SLOTS_MAX	   0x8000000u /* bytes of the area of the slots */
#define LUKS2_SLOT_ALIGN   4096u
#define LUKS2_NEW_PAYLOAD  0x1000000u /* of what we make */

/* Fields of the binary header. */
#define LUKS2_LEN_AT	  8u
#define LUKS2_SEQID_AT	  16u
#define LUKS2_SUM_NAME_AT 72u
#define LUKS2_SALT_AT	  104u
#define LUKS2_SALT_LEN	  64u
#define LUKS2_UUID_AT	  168u
#define LUKS2_UUID_LEN	  40u
#define LUKS2_OFFSET_AT	  256u
#define LUKS2_SUM_AT	  448u
#define LUKS2_SUM_LEN	  64u

struct luks2 {
	uint64_t len;	    /* of a copy */
	uint64_t seqid;	    /* of the copy that was read */
	bool second;	    /* that is the second one */
	uint64_t slots_end; /* of the area of the slots */
	json_t *root;	    /* the metadata */
	json_t *digest;	    /* in it: the one of the key of the data */
	uint8_t bin[LUKS2_BIN_LEN];
};

/* luks2.c */
/* Its members are to be set; NULL on failure. */
struct luks2 *luks2_new(struct err *e);
void luks2_free(struct luks2 *v); /* NULL is allowed */
/* The header at its start is of version 2. */
int luks2_read(struct luks *l, struct err *e);
/* It begins as no header: perhaps the second copy is there. */
int luks2_read_second(struct luks *l, struct err *e);
/* The checksum of a copy, whose field for that holds zeroes.  Its length; 0:
 * the hash that it names is not supported. */
size_t luks2_sum(const uint8_t *p, uint64_t len, uint8_t *out);

/* luks2_json.c */
/* What l->v2->root says goes to *l. */
int luks2_metadata(struct luks *l, struct err *e);

/* luks2_write.c */
/* Both copies as l->v2 says, durable; at any time one is whole. */
int luks2_write(struct luks *l, struct err *e);

/* luks2_change.c */
/* As in the metadata, of a slot with these algorithms; NULL: no memory. */
json_t *luks2_slot_json(const struct luks_slot *s, const char *encryption,
    const char *af_hash, const char *kdf_hash);
/* Put the passphrase into the slot; what was in it is lost.  Durable. */
int luks2_add(struct luks *l, unsigned ix, const char *pass, uint64_t iter_ms,
    struct err *e);
int luks2_erase(struct luks *l, unsigned ix, struct err *e);

/* luks2_create.c */
/* The rest of what luks_create() does: names, key and UUID are set. */
int luks2_create(struct luks *l, const struct luks_params *p, struct err *e);

#endif
