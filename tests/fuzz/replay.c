/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A fuzz target without a fuzzer: runs the files given, and those in the
 * folders given.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "formats/core/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void die(const char *path)
{
	perror(path);
	exit(EXIT_FAILURE);
}

static unsigned replay_file(const char *path, size_t len)
{
	CLEANUP_FREE uint8_t *data = malloc(len + 1);
	FILE *f = fopen(path, "rb");

	if (!f || !data || fread(data, 1, len, f) != len)
		die(path);
	fclose(f);
	LLVMFuzzerTestOneInput(data, len);
	return 1;
}

static unsigned replay(const char *path);

static unsigned replay_folder(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	if (!d)
		die(path);
	while ((entry = readdir(d))) {
		CLEANUP_FREE char *name = NULL;

		if (entry->d_name[0] == '.')
			continue;
		if (asprintf(&name, "%s/%s", path, entry->d_name) < 0)
			die(path);
		n += replay(name);
	}
	closedir(d);
	return n;
}

static unsigned replay(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		die(path);
	if (S_ISDIR(st.st_mode))
		return replay_folder(path);
	return replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++)
		n += replay(argv[i]);
	printf("%u inputs\n", n);
	return n ? EXIT_SUCCESS : EXIT_FAILURE;
}
