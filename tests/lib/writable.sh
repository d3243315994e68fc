# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the tests of writable formats share; after e2e.sh.

# noisy_disk NOISE GAP SIZE: `disk` of SIZE bytes has NOISE bytes that do not
# pack (`noise`), a hole of GAP bytes, the noise again, and a hole to its end.
noisy_disk()
{
	random_file noise "$1"
	{
		cat noise
		head -c "$2" /dev/zero
		cat noise
	} >disk
	truncate -s "$3" disk
	fallocate -d disk
}

# field FILE OFFSET; put32 FILE OFFSET VALUE: 32 bits, little-endian.
field()
{
	od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '
}
put32()
{
	python3 - "$@" <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    f.write(struct.pack("<I", int(sys.argv[3])))
END
}
