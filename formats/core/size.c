/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sizes as users type them: `1.5G`, `0x1000`, `512b`.
 *
 * A suffix, one of bkmgtpe in either case, is a power of 1024.  A fraction
 * needs a suffix above b, and the result is rounded to the nearest byte.  All
 * arithmetic is on integers, so that 7.9999999999E is what it says.
 */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "options.h"
#include "units.h"

#define FRACTION_DIGITS 19 /* what follows is not half a byte */

struct fraction {
	uint64_t num, den; /* den: a power of ten */
	bool seen;	   /* a digit that is not zero */
};

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

/* The number of digits at *p, which moves past them. */
static size_t scan_digits(
    const char **p, unsigned base, uint64_t *out, bool *overflow)
{
	size_t n = 0;
	unsigned d;

	for (*out = 0; (d = (unsigned)digit_value(**p)) < base; (*p)++, n++) {
		if (!mul_ok(*out, base, out) || !add_ok(*out, d, out))
			*overflow = true;
	}
	return n;
}

static size_t scan_fraction(const char **p, struct fraction *f)
{
	size_t n = 0;

	for (; isdigit((unsigned char)**p); (*p)++, n++) {
		f->seen |= **p != '0';
		if (n >= FRACTION_DIGITS)
			continue;
		f->num = f->num * 10 + (uint64_t)digit_value(**p);
		f->den *= 10;
	}
	return n;
}

/* The power of two that a suffix stands for; -1: not a suffix. */
static int suffix_shift(char c)
{
	static const char suffixes[] = "bkmgtpe";
	const char *at;

	if (!c)
		return 0;
	at = strchr(suffixes, tolower((unsigned char)c));
	return at ? (int)(at - suffixes) * 10 : -1;
}

static int scan_decimal(const char *p, uint64_t *out)
{
	struct fraction f = {.den = 1};
	bool overflow = false;
	unsigned __int128 part;
	size_t digits = scan_digits(&p, 10, out, &overflow);
	int shift;

	if (*p == '.') {
		p++;
		digits += scan_fraction(&p, &f);
	}
	shift = suffix_shift(*p);
	if (!digits || shift < 0 || (*p && p[1]))
		return EINVAL;
	if (f.seen && !shift)
		return EINVAL;
	part = (((unsigned __int128)f.num << shift) * 2 + f.den) / f.den / 2;
	if (overflow || !mul_ok(*out, 1ull << shift, out) ||
	    !add_ok(*out, (uint64_t)part, out))
		return ERANGE;
	return 0;
}

static int scan_hex(const char *p, uint64_t *out)
{
	bool overflow = false;

	if (!scan_digits(&p, 16, out, &overflow) || *p)
		return EINVAL;
	return overflow ? ERANGE : 0;
}

int size_scan(const char *text, uint64_t *out)
{
	const char *p = text;
	bool negative;
	int rc;

	while (isspace((unsigned char)*p))
		p++;
	negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		rc = scan_hex(p + 2, out);
	else
		rc = scan_decimal(p, out);
	return negative && rc != EINVAL ? EDOM : rc;
}

int parse_size(const char *text, const char *what, uint64_t min, uint64_t max,
    uint64_t *out, struct err *e)
{
	uint64_t v = 0;
	int rc = size_scan(text, &v);

	if (rc == EINVAL) {
		err_usage(e,
		    "Invalid %s specified. You may use k, M, G, T, P or E "
		    "suffixes for",
		    what);
		err_hint(e, "kilobytes, megabytes, gigabytes, terabytes, "
			    "petabytes and exabytes.");
		return -1;
	}
	if (rc || v < min || v > max)
		return err_usage(e,
		    "Invalid %s specified. Must be between %llu and %llu.",
		    what, (unsigned long long)min, (unsigned long long)max);
	*out = v;
	return 0;
}
