#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl check: against qemu-img, on sound and damaged images.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

cd theirs
qemu-img create -q -f qcow2 a.qcow2 10M
qemu-io -c 'write -P 1 0 64k' -c 'write -P 2 128k 192k' a.qcow2 >io.log
qemu-img snapshot -c s1 a.qcow2
qemu-io -c 'write -P 3 64k 128k' a.qcow2 >io.log
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2
qemu-img create -q -f qcow2 empty.qcow2 1G
qemu-img convert -c -O qcow2 a.qcow2 packed.qcow2
qemu-img create -q -f qcow2 -o refcount_bits=1,cluster_size=4k c4k.qcow2 1M
truncate -s 1M flat.raw
# In a data file a cluster may be at byte 0; the first one is zeroed.
for x in off on; do
	qemu-img create -q -f qcow2 \
		-o data_file=$x.data,data_file_raw=$x,extended_l2=$x outside-$x.qcow2 1M
	qemu-io -c 'write -P 1 0 256k' -c 'write -z 0 64k' outside-$x.qcow2 >io.log
done

# Leaks: two clusters counted that nothing refers to.
qemu-img create -q -f qcow2 leaks.qcow2 10M
# Corruption: a data cluster that is not counted, and one counted too often.
qemu-img create -q -f qcow2 corrupt.qcow2 10M
qemu-io -c 'write 0 64k' -c 'write 64k 64k' corrupt.qcow2 >io.log
python3 - <<'END'
import struct
def counts(path, values, size=0):
    with open(path, "r+b") as f:
        f.seek(48)
        table = struct.unpack(">Q", f.read(8))[0]
        f.seek(table)
        block = struct.unpack(">Q", f.read(8))[0]
        for index, n in values.items():
            f.seek(block + 2 * index)
            f.write(struct.pack(">H", n))
        if size:
            f.truncate(size)
counts("leaks.qcow2", {6: 1, 7: 1}, 9 << 16)
counts("corrupt.qcow2", {5: 0, 6: 3})
END
cd ..

for f in a over empty packed c4k leaks corrupt outside-off outside-on; do
	agree_on_theirs check "$f.qcow2"
	agree_on_theirs check --output=json "$f.qcow2"
	agree_on_theirs check -q "$f.qcow2"
done
agree_on_theirs check flat.raw
agree_on_theirs check --output=json -q flat.raw
agree_on_theirs check -f raw a.qcow2
agree_on_theirs check --format=qcow2 -U -T none a.qcow2
agree_on_theirs check --image-opts driver=qcow2,file.filename=a.qcow2
agree_on_theirs check --object secret,id=a,data=x a.qcow2

agree_on_theirs check
agree_on_theirs check nope
agree_on_theirs check -f qcow2 flat.raw
agree_on_theirs check --output x a.qcow2
agree_on_theirs check -T bogus a.qcow2
agree_on_theirs check -r bogus a.qcow2
agree_on_theirs check --repair=bogus a.qcow2
agree_on_theirs check -p a.qcow2
# A check changes nothing, and one that cannot be made is exit code 1.
before=$(sha theirs/corrupt.qcow2)
expect_exit 2 "$IMGCTL" check theirs/corrupt.qcow2
[ "$(sha theirs/corrupt.qcow2)" = "$before" ]
head -c 100 theirs/a.qcow2 >short.qcow2
expect_exit 1 "$IMGCTL" check -f qcow2 short.qcow2
expect_exit 1 sh -c '"$1" check theirs/a.qcow2 >/dev/full' - "$IMGCTL"
hold_lock theirs/empty.qcow2
expect_exit 1 "$IMGCTL" check theirs/empty.qcow2
expect_exit 0 "$IMGCTL" check --force-share theirs/empty.qcow2
