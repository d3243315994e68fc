#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# qcow2 and VHDX images that claim what is extreme in one place each: whatever
# is done with them takes little memory and time, and what is said names the
# place, what is there and what may be.
. "$(dirname "$0")/../lib/e2e.sh"
needs python3 "$IMGCTL" "$IMGD"

python3 "$SRC/tests/lib/hostile.py" qcow2 vhdx >list
[ "$(wc -l <list)" -gt 150 ]
python3 "$SRC/tests/e2e/hostile.py" "$IMGCTL" "$IMGD" <list
