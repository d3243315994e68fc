#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Packed units as long as they may be, 64 MiB: what reads them takes no more
# memory than docs/formats.md says, and gives the right bytes.
. "$(dirname "$0")/../lib/e2e.sh"
needs python3 nbdcopy "$IMGCTL" "$IMGD"

limit=64 whole=144 # MiB; whole: where the codec cannot unpack in pieces
if grep -qaE '__[at]san_init' "$IMGCTL"; then
	limit=2048 whole=2048 # a sanitizer's own memory
fi

# Two units; each part of the disk differs.
python3 - <<'END'
import random
import struct
import zlib
random.seed(5)
disk = b"".join(random.randbytes(1024).ljust(1 << 16, bytes([i & 255]))
                for i in range(96 * 16))
with open("disk", "wb") as f:
    f.write(disk)
unit = 64 << 20
packed = [zlib.compress(disk[i:i + unit].ljust(unit, b"\0"), 1)
          for i in range(0, len(disk), unit)]
at = [136 + 24, 0, 0]
at[1] = at[0] + len(packed[0])
at[2] = at[1] + len(packed[1])
with open("zlib.cloop", "wb") as f:
    f.write(b"#!/bin/sh\n#V2.0 Format\n".ljust(128, b"\0"))
    f.write(struct.pack(">II3Q", unit, 2, *at) + b"".join(packed))
END
for codec in zlib bzip2 xz; do
	python3 "$SRC/tests/lib/udif.py" $codec.dmg disk --chunk=131072 \
		--types=$codec
done
python3 "$SRC/tests/lib/udif.py" plain.dmg disk --chunk=131000 --types=plain

# within MIB CMD...: it succeeds with so much memory at most.
within()
{
	expect_exit 0 python3 - "$@" <<'END'
import os
import subprocess
import sys
p = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(p.pid, 0)
if status or usage.ru_maxrss > int(sys.argv[1]) << 10:
    sys.exit(f"{usage.ru_maxrss} KiB, status {status}: {sys.argv[2:]}")
END
}

truncate -r disk got
for image in zlib.cloop zlib.dmg bzip2.dmg xz.dmg plain.dmg; do
	most=$limit
	[ $image != plain.dmg ] || most=$whole
	within "$most" "$IMGCTL" convert -m 8 -f ${image#*.} -O raw $image got
	cmp -n "$(stat -c %s disk)" got disk || fail "$image"
	within "$most" "$IMGCTL" check -f ${image#*.} $image
	# shellcheck disable=SC2016
	within "$most" "$IMGD" -e 0 -r -f ${image#*.} $image \
		--run 'nbdcopy --connections=4 "$uri" got'
	cmp -n "$(stat -c %s disk)" got disk || fail "$image"
done
