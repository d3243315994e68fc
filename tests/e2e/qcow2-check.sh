#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl check finds in damaged qcow2 images what qemu-img does; in a huge one
# it needs little memory, and in one with knotted tables little time.
. "$(dirname "$0")/../lib/e2e.sh"
needs prlimit qemu-img qemu-io python3

mkdir damage
(cd damage && python3 "$SRC/tests/e2e/qcow2-damage.py" "$IMGCTL" 1 120)

# Memory: 16 million clusters.
"$IMGCTL" create -q -f qcow2 -o preallocation=metadata big.qcow2 1T
limit=65536
repaired=1T
if grep -q __asan_init "$IMGCTL" || grep -q __tsan_init "$IMGCTL"; then
	limit=$((limit * 16)) # a sanitizer's own memory
	repaired=32G          # and time
fi
# needs_memory LIMIT ARGS...: imgctl check with at most so many KiB
needs_memory()
{
	python3 - "$IMGCTL" "$@" <<'END'
import resource, subprocess, sys
subprocess.run([sys.argv[1], "check"] + sys.argv[3:], check=True)
kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert kib < int(sys.argv[2]), "%d KiB used" % kib
END
}
needs_memory "$limit" -q big.qcow2
if [ "$repaired" != 1T ]; then
	"$IMGCTL" create -q -f qcow2 -o preallocation=metadata big.qcow2 \
		"$repaired"
fi
# The entry of a refcount block is damaged: all counts are made anew.
printf '\001' | dd of=big.qcow2 bs=1 seek=$((0x10007)) conv=notrunc status=none
expect_exit 2 "$IMGCTL" check -q big.qcow2
expect_err 'refcount table entry 0 has reserved bits set'
needs_memory $((limit * 4)) -q -r all big.qcow2
needs_memory "$limit" -q big.qcow2
rm big.qcow2

# Time: an L1 table of 32 MiB that always points to the same full L2 table, and
# thousands of snapshots whose L1 tables are that one.
python3 - <<'END'
import struct
C = 65536
L1_N, SNAPSHOTS = (32 << 20) // 8, 20000
l1, l2, data, snap = 4 * C, 4 * C + L1_N * 8, 0, 0
data = l2 + C
snap = data + C
entry = struct.pack(">QIHHIIQII", l1, L1_N, 1, 1, 0, 0, 0, 0, 16)
entry += struct.pack(">QQ", 0, 1 << 30) + b"ab"
entry += bytes(-len(entry) % 8)
with open("knot.qcow2", "wb") as f:
    f.write(struct.pack(">IIQIIQIIQQIIQ", 0x514649fb, 3, 0, 0, 16, 1 << 30, 0,
                        L1_N, l1, C, 1, SNAPSHOTS, snap))
    f.write(struct.pack(">QQQII", 0, 0, 0, 4, 104))
    f.seek(C)
    f.write(struct.pack(">Q", 2 * C))
    f.seek(l1)
    f.write(struct.pack(">Q", 1 << 63 | l2) * L1_N)
    f.write(struct.pack(">Q", 1 << 63 | data) * (C // 8))
    f.seek(snap)
    f.write(entry * SNAPSHOTS)
    f.truncate((f.tell() + C) // C * C)
END
expect_exit 2 prlimit --cpu=20 timeout 120 "$IMGCTL" check knot.qcow2
expect_err 'ERROR cluster'
