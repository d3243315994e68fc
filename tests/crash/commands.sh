#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every imgctl command while system calls fail: see commands/commands.py.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3 "$FAILCALL"

python3 "$SRC/tests/crash/commands/commands.py" "$IMGCTL" "$FAILCALL" \
	"$TMP" "$@"
