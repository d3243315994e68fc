#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# An image that lost its end is refused, or serves what is left: what is written
# to it afterwards, where the lost bytes were, is not taken for them.
. "$(dirname "$0")/../lib/e2e.sh"
needs nbdsh "$IMGD" "$IMGCTL"

cat >client.py <<'END'
import os, sys
BLOCK = 65536
lost = 0

def text(at, word):
    return (b"%s %d " % (word, at) * BLOCK)[:BLOCK]

if os.environ["DO"] == "fill":
    for at in range(0, 4 << 20, BLOCK):
        h.pwrite(text(at, b"old"), at)
    h.flush()
    sys.exit()
# Some may be refused.
written = set(range(0, 4 << 20, BLOCK))
for at in range(4 << 20, 8 << 20, BLOCK):
    try:
        h.pwrite(text(at, b"new"), at)
        written.add(at)
    except nbd.Error:
        lost += 1
h.flush()
for at in range(0, 8 << 20, BLOCK):
    want = text(at, b"old" if at < 4 << 20 else b"new")
    if at not in written:
        want = bytes(BLOCK)
    for part in range(0, BLOCK, 512):
        try:
            got = h.pread(512, at + part)
        except nbd.Error:
            lost += 1
            assert at < 4 << 20, "new block %d was lost" % at
            continue
        if got != want[part:part + 512]:
            assert not any(got), "%d has %r" % (at + part, bytes(got[:20]))
            lost += 1
print("lost", lost)
assert lost, "the test cuts nothing"
END

# cut FORMAT BYTES [OPTIONS]
cut()
{
	echo "$@"
	rm -f disk
	"$IMGCTL" create -q -f "$1" ${3:+-o "$3"} disk 8M
	start_imgd -f "$1" disk
	DO="fill" nbdsh -u "$URI" -c - <client.py
	stop_server
	truncate -s -"$2" disk
	if "$IMGD" -f "$1" disk --run true >refusal 2>&1; then
		start_imgd -f "$1" disk
		DO="cut" nbdsh -u "$URI" -c - <client.py
		stop_server
	else
		cat refusal
	fi
}

for len in 65536 1000448; do
	cut qcow2 $len
	cut qcow $len
	cut qed $len
	cut vdi $len
	cut vhdx $len block_size=1M
	cut vpc $len
	cut parallels $len cluster_size=64k
	cut vmdk $len
	cut vmdk $len subformat=streamOptimized
done
