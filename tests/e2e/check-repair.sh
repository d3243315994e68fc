#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl check -r: against qemu-img, on images with known and with random damage.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs python3

mkdir images
cd images
for name in leaks shared low sound; do
	qemu-img create -q -f qcow2 $name.qcow2 10M
	qemu-io -c 'write -P 1 0 64k' -c 'write -P 2 64k 64k' $name.qcow2 >io.log
done
truncate -s 1M flat.raw
python3 - <<'END'
import struct
def put(path, at, layout, *values):
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(struct.pack(layout, *values))
def counts(path, values):
    for index, n in values.items():
        put(path, 0x20000 + 2 * index, ">H", n)
    with open(path, "r+b") as f:
        f.truncate(9 << 16)
counts("leaks.qcow2", {5: 2, 6: 3, 7: 1, 3: 3})
counts("shared.qcow2", {5: 3, 3: 1, 2: 2, 7: 1})
put("shared.qcow2", 0x40008, ">Q", 1 << 63 | 0x50000)
counts("low.qcow2", {5: 0})
END
cd ..

# agree_on_copies ARGS...: each tool has the images as they are above.
agree_on_copies()
{
	cp images/* ours
	cp images/* theirs
	agree "$@"
}

for how in leaks all; do
	for f in sound leaks shared; do
		agree_on_copies check -r "$how" "$f.qcow2"
		agree_on_copies check --repair="$how" --output=json "$f.qcow2"
	done
	agree_on_copies check -r "$how" -f raw flat.raw
	agree_on_copies check -r "$how" -U sound.qcow2
done

# What is damaged may not be given away.
cp images/low.qcow2 low.qcow2
expect_exit 1 "$IMGCTL" check -r leaks low.qcow2
expect_err 'need to rebuild'
expect_err 'Check failed'
cmp images/low.qcow2 low.qcow2
expect_exit 0 "$IMGCTL" check -r all low.qcow2
expect_out '    1 corruptions'
qemu-img check -q low.qcow2

# The marks go when all is well, and only then.
for bits in 1 2 3; do
	cp images/low.qcow2 marked.qcow2
	printf "\\x0$bits" |
		dd of=marked.qcow2 bs=1 seek=79 conv=notrunc status=none
	expect_exit 1 "$IMGCTL" check -r leaks marked.qcow2
	[ "$(od -An -tx1 -j79 -N1 marked.qcow2)" = " 0$bits" ]
	expect_exit 0 "$IMGCTL" check -r all marked.qcow2
	[ "$(od -An -tx1 -j79 -N1 marked.qcow2)" = " 00" ]
	qemu-img check -q marked.qcow2
done

# Who writes an image that was not closed properly has it repaired first.
cp images/low.qcow2 dirty.qcow2
printf '\x01' | dd of=dirty.qcow2 bs=1 seek=79 conv=notrunc status=none
cp dirty.qcow2 before.qcow2
expect_exit 0 "$IMGCTL" info dirty.qcow2
expect_exit 0 "$IMGCTL" compare dirty.qcow2 images/low.qcow2
cmp dirty.qcow2 before.qcow2
expect_exit 0 "$IMGCTL" snapshot -c s dirty.qcow2
[ "$(od -An -tx1 -j79 -N1 dirty.qcow2)" = " 00" ]
qemu-img check -q dirty.qcow2
qemu-img compare -q dirty.qcow2 images/low.qcow2
# An entry far behind the file.
printf '\x80\0\0\x01\0\0\0\0' |
	dd of=before.qcow2 bs=1 seek=$((0x40008)) conv=notrunc status=none
expect_exit 1 "$IMGCTL" snapshot -c s before.qcow2
expect_err 'could not be repaired: 1 errors'

# A header that counts more snapshots than the file has room for: none is made
# of what lies past its end.
"$IMGCTL" create -q -f qcow2 -o cluster_size=4k many.qcow2 1M
"$IMGCTL" snapshot -c one many.qcow2
"$IMGCTL" snapshot -c two many.qcow2
printf '\0\1\0\0' | dd of=many.qcow2 bs=1 seek=60 conv=notrunc status=none
room=$(($(stat -c %s many.qcow2) / 40))
expect_exit 1 "$IMGCTL" check many.qcow2
expect_err 'of the snapshot table'
expect_exit 0 "$IMGCTL" check -r all many.qcow2
expect_exit 0 qemu-img check many.qcow2
expect_exit 0 "$IMGCTL" snapshot -l many.qcow2
expect_out two
[ "$(wc -l <"$TMP/out")" -lt "$room" ]

# Nobody else may use it, and it must be possible to write it.
expect_exit 1 "$IMGCTL" check -r all \
	--image-opts driver=qcow2,read-only=on,file.filename=images/leaks.qcow2
expect_err 'not opened to be repaired'
hold_lock images/sound.qcow2
expect_exit 1 "$IMGCTL" check -r all images/sound.qcow2
expect_err 'Failed to get "write" lock'

mkdir damage
(cd damage && python3 -B "$SRC/tests/e2e/qcow2-repair.py" "$IMGCTL" 1 45 30)
