#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A 2 GiB file system with real files, from raw through every kind of qcow2
# image and both servers back to raw.  At each step the reference tools find
# our image whole and equal, and we theirs.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img nbdcopy nbdkit nbdsh mke2fs e2fsck debugfs \
	"$IMGCTL" "$IMGD" "$PLUGIN"

# agree IMAGE RAW: both tools find no error in it, and that it equals RAW.
agree()
{
	echo "$1"
	expect_exit 0 qemu-img check "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	expect_exit 0 qemu-img compare -f raw "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw "$2" "$1"
}

# Like `same`, but quick over holes.
identical()
{
	expect_exit 0 qemu-img compare -f raw -F raw "$1" "$2"
	[ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ] || fail "other size"
}

# back RAW: what the server at $URI has, byte for byte, and a whole file system.
back()
{
	nbdcopy "$URI" out.raw
	identical "$1" out.raw
	expect_exit 0 e2fsck -fn out.raw
	rm out.raw
}

# Real files: the first of these folders that is there and fits; programs and
# their libraries first, for many small files take minutes to bring in.
for dir in /usr/lib/llvm-* /usr/lib/gcc /usr/share; do
	[ -d "$dir" ] || continue
	[ "$(du -sm "$dir" | cut -f1)" -gt 1600 ] || break
done
mke2fs -q -t ext4 -d "$dir" disk.raw 2G

"$IMGCTL" convert -f raw -O qcow2 disk.raw plain.qcow2
agree plain.qcow2 disk.raw
"$IMGCTL" convert -c -O qcow2 -o compression_type=zlib plain.qcow2 zlib.qcow2
agree zlib.qcow2 disk.raw
rm plain.qcow2
"$IMGCTL" convert -c -O qcow2 -o compression_type=zstd zlib.qcow2 zstd.qcow2
agree zstd.qcow2 disk.raw
rm zlib.qcow2

# An overlay over it that differs by a few files: only the blocks that differ
# are written, through each of the servers.
"$IMGCTL" create -q -f qcow2 -b zstd.qcow2 -F qcow2 top.qcow2
cp --sparse=always disk.raw new.raw
base_sum=$(sha zstd.qcow2)
write_differences()
{
	nbdsh -u "$URI" -c - <<'END'
old, new = open("disk.raw", "rb"), open("new.raw", "rb")
n = 0
for off in range(0, h.get_size(), 65536):
    a, b = old.read(65536), new.read(65536)
    if a != b:
        h.pwrite(b, off)
        n += 1
h.flush()
assert n > 10, n
END
}

random_file big 20000000
debugfs -w -f - new.raw >/dev/null 2>&1 <<'END'
write big big
rmdir /lost+found
END
start_imgd top.qcow2
write_differences
back new.raw
stop_server
agree top.qcow2 new.raw
random_file big 9000001 2
debugfs -w -R 'write big big2' new.raw >/dev/null 2>&1
start_nbdkit "$PLUGIN" top.qcow2
write_differences
back new.raw
stop_server
agree top.qcow2 new.raw
[ "$base_sum" = "$(sha zstd.qcow2)" ]

# Flat again, with both tools.
"$IMGCTL" convert -O raw top.qcow2 out.raw
identical new.raw out.raw
qemu-img convert -O raw top.qcow2 out.raw
identical new.raw out.raw
rm out.raw top.qcow2 zstd.qcow2

# The other direction: the reference's images, read by us.
qemu-img convert -f raw -O qcow2 new.raw theirs.qcow2
agree theirs.qcow2 new.raw
qemu-img convert -c -W -m 4 -O qcow2 -o compression_type=zstd theirs.qcow2 \
	packed.qcow2
agree packed.qcow2 new.raw
qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 top.qcow2
start_imgd --read-only top.qcow2
back new.raw
stop_server
start_nbdkit -r "$PLUGIN" top.qcow2
back new.raw
stop_server
