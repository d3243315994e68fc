/* SPDX-License-Identifier: BSD-3-Clause */
/* Fuzz target: the input is an ADC stream. */
#include "formats/codec/codec.h"
#include "look.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t buf[65536];
	struct err e = ERR_INIT;

	codec_unpack(CODEC_ADC, buf, sizeof buf, data, len, &e);
	err_clear(&e);
	codec_unpack(CODEC_ADC, buf, 512, data, len, &e);
	return 0;
}
