/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is a dmg image. */
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	fuzz_look("dmg", data, len);
	fuzz_check("dmg", data, len);
	return 0;
}
