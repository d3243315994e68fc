/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a Parallels image. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct image *img = fuzz_open("parallels", data, len, 0);

	if (img) {
		fuzz_bitmaps(img);
		img_drop(img);
	}
	fuzz_all("parallels", data, len);
	return 0;
}
