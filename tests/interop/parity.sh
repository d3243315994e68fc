#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The same command lines through qemu-img and imgctl, those of well-known
# programs among them: see parity/parity.py.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3 "$IMGCTL"

export IMGCTL
python3 "$SRC/tests/interop/parity/parity.py" "$TMP"
