#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every imgctl command while one of its system calls fails: see commands.py.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3 "$FAILCALL"

exec python3 "$SRC/tests/crash/commands.py" "$IMGCTL" "$FAILCALL" "$TMP" "$@"
