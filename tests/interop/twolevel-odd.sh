#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# QED and QCOW images that neither program makes: features of QED that nobody
# knows, clusters and tables of QCOW at odd places.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io python3 "$IMGCTL" "$IMGD"

random_file noise 65536

# put FILE OFFSET BYTE
put()
{
	printf "\\x$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Features that a program must know: nothing is done with the image.
refuses()
{
	expect_exit 1 "$IMGCTL" "$@"
	expect_err 'Unsupported QED features: 10'
}
"$IMGCTL" convert -f raw -O qed noise known.qed
cp known.qed odd.qed
put odd.qed 16 10
cp odd.qed before
expect_exit 1 qemu-img info -f qed odd.qed
expect_err 'Unsupported QED features: 10'
refuses info -f qed odd.qed
refuses map -f qed odd.qed
refuses check -f qed -r all odd.qed
refuses bench -f qed -w -c 1 odd.qed
refuses resize -f qed odd.qed 1M
same before odd.qed

# Others are kept; those that a change must clear are cleared by it.
cp known.qed odd.qed
put odd.qed 24 a5
put odd.qed 31 5a
put odd.qed 32 a5
put odd.qed 39 5a
cp odd.qed theirs.qed
cp odd.qed before
for cmd in info map check; do
	expect_exit 0 "$IMGCTL" $cmd -f qed odd.qed
done
expect_exit 0 "$IMGCTL" compare -f raw -F qed noise odd.qed
same before odd.qed
expect_exit 0 "$IMGCTL" bench -q -f qed -w -c 1 -s 4096 --pattern=7 odd.qed
expect_exit 0 qemu-io -f qed -c 'write -P 7 0 4k' theirs.qed
same <(head -c 64 theirs.qed) <(head -c 64 odd.qed)
same <(printf '\xa5\0\0\0\0\0\0\x5a\0\0\0\0\0\0\0\0') \
	<(head -c 40 odd.qed | tail -c 16)
expect_exit 0 qemu-img compare -f qed -F qed theirs.qed odd.qed

# A table and three clusters that begin inside aligned ones.  The clusters lie
# side by side, so each has a part of what another one's place is.
python3 - <<'END'
import struct
noise, cluster, l2, data = open("noise", "rb").read(), 4096, 5120, 12288 + 512
image = bytearray(data + 3 * cluster)
struct.pack_into(">4sIQIIQBBHIQQ", image, 0, b"QFI\xfb", 1, 0, 0, 0, 65536,
                 12, 9, 0, 0, 48, l2)
content = bytearray(65536)
for i in range(3):
    at, guest = data + i * cluster, (i + 1) * cluster
    struct.pack_into(">Q", image, l2 + 8 * (i + 1), at)
    image[at:at + cluster] = noise[guest:guest + cluster]
    content[guest:guest + cluster] = noise[guest:guest + cluster]
open("odd.qcow", "wb").write(image)
open("content", "wb").write(content)
END
agree()
{
	expect_exit 0 qemu-img compare -f raw -F qcow content "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F qcow content "$1"
}
agree odd.qcow

# A check says that they are in each other's way; a repair gives each a place
# of its own.
cp odd.qcow repaired.qcow
expect_exit 2 "$IMGCTL" check -f qcow repaired.qcow
expect_err 'cluster with more than one owner'
expect_exit 3 "$IMGCTL" check -f qcow -r all repaired.qcow
agree repaired.qcow

# What the one in the middle gives up is not all its own: what is written next
# must not lie there.
changes=(-c 'write -P 1 4608 512' -c 'write -z 8k 4k' -c flush
	-c 'write -P 2 20k 8k' -c 'write -P 3 12799 1000' -c flush)
expect_exit 0 qemu-io -f raw "${changes[@]}" content
expect_exit 0 "$IMGD" -f qcow --socket="$TMP/sock" odd.qcow --run \
	"qemu-io -f raw $(printf '%q ' "${changes[@]}") \"\$uri\""
agree odd.qcow
