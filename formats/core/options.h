/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Option lists: `a=b,c=d`, `json:{...}` and dotted keys.
 *
 * An options object is an ordered list of key=value strings; nested JSON
 * becomes dotted keys (`file.filename`).  A reader asks for the keys that it
 * knows; options_unused() then names a key that nobody asked for.
 * A key given twice: the last one counts, the others are kept to be checked.
 * Not thread-safe.
 */
#ifndef IMGD_OPTIONS_H
#define IMGD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"
#include "err.h"

struct options;

/* NULL with *e set when out of memory. */
struct options *options_new(struct err *e);
void options_free(struct options *o); /* NULL is allowed */
DEFINE_CLEANUP(options, struct options, options_free)

/* Set a key (replaces it). `value` is copied; NULL removes the key. */
int options_set(
    struct options *o, const char *key, const char *value, struct err *e);
/*
 * Add `a=b,c=d`.  A comma inside a value is doubled.  A word without `=` is
 * `word=on`, `noword` is `word=off`; where `implied` is not NULL the first
 * word is the value of that key.  Where it is NULL, a list that begins or ends
 * with a single comma, or an empty one: "Invalid option list: X".
 */
int options_parse(
    struct options *o, const char *text, const char *implied, struct err *e);
/*
 * Add the members of a JSON object (text after "json:").  Nested objects and
 * arrays become dotted keys; true and false become on and off; null becomes
 * the empty string (`backing: null`).  Strings may be in single quotes.
 */
int options_parse_json(struct options *o, const char *text, struct err *e);

/* The value of a key, marked as used; NULL when it is not there. */
const char *options_get(struct options *o, const char *key);
/* Is the key there?  Does not mark. */
bool options_has(const struct options *o, const char *key);
/*
 * Typed readers: 1 set, 0 not there (*out unchanged), -1 bad value, with the
 * messages of the reference tools:
 * bool: on/off/yes/no/true/false/y/n; size: digits and a suffix
 * (`Parameter 'size' expects a non-negative number below 2^64`).
 */
int options_bool(struct options *o, const char *key, bool *out, struct err *e);
int options_u64(
    struct options *o, const char *key, uint64_t *out, struct err *e);
int options_size(
    struct options *o, const char *key, uint64_t *out, struct err *e);
/*
 * A new object with every key `prefix.REST` as REST (marked as used here).
 * Empty when there is none.
 */
struct options *options_sub(
    struct options *o, const char *prefix, struct err *e);
struct options *options_copy(const struct options *o, struct err *e);
bool options_empty(const struct options *o);
/* The first key that was never asked for, or NULL. */
const char *options_unused(const struct options *o);
/* Walk: the i-th pair (0, 1, ...); false past the end.  Does not mark. */
bool options_at(
    const struct options *o, unsigned i, const char **key, const char **value);
/* The same of values that are not there any more, since their key was given
 * again. */
bool options_replaced_at(
    const struct options *o, unsigned i, const char **key, const char **value);
/* As a `json:{"a":"b",...}` string in malloc'd memory; NULL on ENOMEM. */
char *options_json(const struct options *o, struct err *e);

/* Parse a size as the tools do for plain arguments ("1.5G", "0x1000", "512b").
 * `what` names the value in messages: `Invalid WHAT specified. ...`. */
int parse_size(const char *text, const char *what, uint64_t min, uint64_t max,
    uint64_t *out, struct err *e);

#endif
