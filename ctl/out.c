/* SPDX-License-Identifier: BSD-3-Clause */
/* Results on stdout: see out.h. */
#include "out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "msg.h"

int out_begin(struct out *o)
{
	*o = (struct out){0};
	o->f = open_memstream(&o->text, &o->len);
	return o->f ? 0 : msg_error("out of memory");
}

int out_flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return msg_error("cannot write to stdout: %s", strerror(errno));
}

/*
 * Scripts get names as they are.  A terminal would obey what is in them, and
 * is shown it.
 */
static void put_result(struct out *o)
{
	size_t room = 4 * o->len + 1;
	char *shown = isatty(STDOUT_FILENO) ? malloc(room) : NULL;

	if (!shown) {
		fwrite(o->text, 1, o->len, stdout);
		return;
	}
	err_show(shown, room, o->text, "\n");
	fputs(shown, stdout);
	free(shown);
}

int out_end(struct out *o, int status)
{
	bool complete = !ferror(o->f);

	complete &= !fclose(o->f);
	if (!status && !complete)
		status = msg_error("out of memory");
	if (!status) {
		put_result(o);
		status = out_flush();
	}
	free(o->text);
	return status;
}

const char *out_size(char *buf, uint64_t bytes)
{
	static const char units[][4] = {
	    "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	unsigned i = 0;

	/* 999.5 would be rounded to 1000, which has no three digits. */
	for (; v >= 999.5; i++)
		v /= 1024;
	snprintf(buf, OUT_SIZE_LEN, "%.3g %s", v, units[i]);
	return buf;
}

bool out_wants_json(const char *text, bool *json)
{
	*json = text && !strcmp(text, "json");
	if (!text || *json || !strcmp(text, "human"))
		return true;
	msg_error("--output must be used with human or json as argument.");
	return false;
}
