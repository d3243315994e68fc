#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Images that claim what is extreme, of every format (qcow2, VHDX:
# hostile-tables.sh; chains, large disks: hostile-large.sh): whatever is done with
# them takes little memory and time, and gives a right result or one message.
. "$(dirname "$0")/../lib/e2e.sh"
needs python3 "$IMGCTL" "$IMGD"

python3 "$SRC/tests/lib/hostile.py" vdi vpc parallels qed qcow bochs cloop \
	dmg vmdk luks >list
python3 "$SRC/tests/e2e/hostile.py" "$IMGCTL" "$IMGD" <list
