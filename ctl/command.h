/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A command of the tool: what it is called, what it takes, what it does.
 *
 * A command describes its options in a table; the parser (opts.c) and the
 * help (help.c) are written once, over that table.  The parser fills a struct
 * of the command's own: an option with a value sets a `const char *` member,
 * one without a `bool`, one that may be repeated a `const char **` (a list
 * that ends with NULL; NULL when the option was not given).  The first member
 * of that struct is a struct common.
 */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct opt {
	char letter;	  /* of the short form; 0: there is none        */
	const char *name; /* of the long form; NULL: there is none      */
	const char *arg;  /* what the value is; NULL: there is no value */
	const char *help; /* one sentence, of any length                */
	size_t field;	  /* offset of the member that it sets          */
	bool repeats;	  /* the member is a list                       */
	/* The list, which such rows share, gets name and value ("": none). */
	bool in_order;
};

/* What the options are that many commands share, and the operands. */
struct common {
	char **operands; /* what is not an option, ends with NULL */
	int operands_n;
	const char **objects;  /* --object                               */
	const char *format;    /* -f: NULL is to probe                   */
	const char *cache;     /* -t                                     */
	const char *src_cache; /* -T                                    */
	const char *output;    /* --output                               */
	bool image_opts;       /* operands are option lists              */
	bool force_share;      /* -U                                     */
	bool quiet;	       /* -q                                     */
	bool progress;	       /* -p                                     */
};

struct command {
	const char *name;
	const char *operands;	/* syntax of what follows the options       */
	const char *summary;	/* one line                                 */
	const char *notes;	/* more for its own help; NULL: none        */
	const struct opt *opts; /* ends with a row of zeroes              */
	size_t args_len;	/* of the command's struct, bytes         */
	/* An operand may look like -5M. */
	bool signed_operand;
	/* `args` is that struct; the result is the exit code. */
	int (*run)(void *args);
	/* Exit code for wrong use of --object; 0 stands for 1. */
	int object_status;
};

/* Rows that several tables have. */
#define COMMON(member) offsetof(struct common, member)
/* clang-format off */
#define OPT_OBJECT                                                             \
	{0, "object", "objectdef",                                             \
	 "define an object that options refer to, such as a secret; `help` "   \
	 "lists the types", COMMON(objects), true}
#define OPT_IMAGE_OPTS                                                         \
	{0, "image-opts", NULL,                                                \
	 "the file name is a list of options, such as "                        \
	 "driver=qcow2,file.filename=disk", COMMON(image_opts)}
#define OPT_FORMAT(long_name)                                                  \
	{'f', long_name, "fmt", "format of the image; found out if not given", \
	 COMMON(format)}
#define OPT_FORCE_SHARE                                                        \
	{'U', "force-share", NULL,                                             \
	 "take no locks and ignore those of others: the image may change "     \
	 "while it is read", COMMON(force_share)}
#define OPT_OUTPUT                                                             \
	{0, "output", "ofmt", "human (default) or json", COMMON(output)}
#define OPT_QUIET {'q', NULL, NULL, "print nothing but errors", COMMON(quiet)}
#define OPT_PROGRESS {'p', NULL, NULL, "show progress", COMMON(progress)}
#define OPT_CACHE(by_default)                                                  \
	{'t', NULL, "cache",                                                   \
	 "cache mode of the target: none, writeback, writethrough, "           \
	 "directsync or unsafe (default: " by_default ")", COMMON(cache)}
#define OPT_SRC_CACHE                                                          \
	{'T', NULL, "src_cache", "cache mode of what is read",                 \
	 COMMON(src_cache)}
/* clang-format on */

extern const struct command cmd_amend;
extern const struct command cmd_bench;
extern const struct command cmd_bitmap;
extern const struct command cmd_check;
extern const struct command cmd_commit;
extern const struct command cmd_compare;
extern const struct command cmd_convert;
extern const struct command cmd_create;
extern const struct command cmd_dd;
extern const struct command cmd_info;
extern const struct command cmd_map;
extern const struct command cmd_measure;
extern const struct command cmd_rebase;
extern const struct command cmd_resize;
extern const struct command cmd_snapshot;
extern const struct command *const commands[]; /* ends with NULL */

#endif
