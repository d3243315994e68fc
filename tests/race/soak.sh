#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# soak.sh SECONDS: soak.py for so long; SOAK_SECONDS, if it is set, says else.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdsh qemu-img "$IMGD"

PATH=/usr/bin:$PATH TMPDIR=$TMP python3 "$SRC/tests/race/soak.py" "$IMGD" \
	--seconds "${SOAK_SECONDS:-$1}"
