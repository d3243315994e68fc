#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl convert and dd on file systems where files can share blocks: data is
# shared where that can be done and asked for by nothing else, and it is the
# same data in any case.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io filefrag losetup
[ "$(id -u)" = 0 ] || skip "needs root, to mount"

random_file random 8388608
random_file tail 100001 2

# mount_new KIND OPTIONS...: a new file system of that kind in $TMP/KIND.
mount_new()
{
	local kind=$1
	command -v "mkfs.$kind" >mkfs.log || return 1
	mkdir "$kind"
	truncate -s 400M "$kind.disk"
	"mkfs.$kind" -q "${@:2}" "$kind.disk" >mkfs.log 2>&1 || return 1
	mount -o loop "$kind.disk" "$kind" 2>mount.log || return 1
	on_exit umount "$TMP/$kind"
}

# Bytes of a file that belong to another one too.
shared_len()
{
	sync "$1"
	filefrag -v "$1" |
		awk '/^ *[0-9]+:/ && /shared/ { sub(":", "", $6); n += $6 }
			END { print n * 4096 }'
}

# converted ARGS... SOURCE TARGET: the target is what the source is.
converted()
{
	local from=${*: -2:1} to=${*: -1} rc=0
	expect_exit 0 "$IMGCTL" convert "$@"
	[ ! -s err ] && [ ! -s out ]
	qemu-img compare -q "$from" "$to" || fail "another disk: $*"
	qemu-img check -q "$to" 2>check.err || rc=$?
	[ "$rc" = 0 ] || [ "$rc" = 63 ] || fail "check: $*"
}

# shares LEN ARGS...: at least so many bytes.
shares()
{
	local len=$1 got
	converted "${@:2}"
	got=$(shared_len "${*: -1}")
	[ "$got" -ge "$len" ] || fail "$got bytes shared: ${*:2}"
}

shares_nothing()
{
	converted "$@"
	[ "$(shared_len "${*: -1}")" = 0 ] || fail "shared: $*"
}

# In a folder of a file system that can share.
test_sharing()
{
	local m=1048576 o size

	# 8 MiB, a hole, 1 MiB, zeroes that are stored, an odd end.
	cp ../random in.raw
	truncate -s 12M in.raw
	dd if=../random bs=1M count=1 status=none >>in.raw
	dd if=/dev/zero bs=64k count=1 status=none >>in.raw
	truncate -s 16M in.raw
	cp in.raw odd.raw
	cat ../tail >>odd.raw
	for size in 64k 4k 2M; do
		qemu-img convert -f raw -O qcow2 -o cluster_size=$size in.raw \
			in-$size.qcow2
		shares $((8 * m)) -O qcow2 -o cluster_size=$size in.raw to
		shares $((8 * m)) in-$size.qcow2 to
		shares $((8 * m)) -O qcow2 in-$size.qcow2 to
	done
	shares $((9 * m)) in.raw to
	same in.raw to
	# What is not a whole block, or does not lie as it would in the target.
	converted odd.raw to
	cmp -n "$(stat -c %s odd.raw)" odd.raw to
	converted -O qcow2 odd.raw to
	shares_nothing -O qcow2 -o cluster_size=512 in.raw to
	qemu-img convert -f raw -O qcow2 -o cluster_size=512 in.raw in-512.qcow2
	converted in-512.qcow2 to
	expect_exit 0 "$IMGCTL" convert odd.raw in.raw to
	cp odd.raw want
	truncate -s %512 want
	cat in.raw >>want
	cmp to want
	expect_exit 0 "$IMGCTL" convert in.raw in-64k.qcow2 to
	cat in.raw in.raw | cmp - to
	[ "$(shared_len to)" -ge $((16 * m)) ]

	# Options that go with it, and those that do not.
	for o in '-m 1' '-m 16' -W -C -p -q '-r 1G' '-t none' '-t writeback' \
		'-t directsync' '-T none' -U '-o extended_l2=on' \
		'-o preallocation=metadata' '-o compat=0.10' --bitmaps; do
		# shellcheck disable=SC2086
		"$IMGCTL" convert $o -O qcow2 in-64k.qcow2 to >log
		qemu-img compare -q in-64k.qcow2 to
		qemu-img check -q to
		[ "$(shared_len to)" -ge $((8 * m)) ] || fail "not shared: $o"
	done
	for o in '-S 4k' '-S 0' -c --salvage '-o preallocation=falloc' \
		'-o preallocation=full'; do
		# shellcheck disable=SC2086
		shares_nothing $o -O qcow2 in-64k.qcow2 to
	done
	# Zeroes inside data are found when they are looked for.
	converted -S 64k in.raw to
	[ "$(stat -c %b to)" -lt "$(stat -c %b in.raw)" ]
	# A target that exists keeps its own space.
	for o in raw qcow2; do
		qemu-img create -q -f $o to 16M
		shares_nothing -n -O $o in.raw to
	done
	# The same for any number of threads.
	for m in 1 5; do
		"$IMGCTL" convert -m $m -O qcow2 in-4k.qcow2 m$m.qcow2
	done
	cmp m1.qcow2 m5.qcow2
	m=1048576

	# Packed units are unpacked, and what is between them is shared.
	seq 1000000 >text
	truncate -s 8M text
	"$IMGCTL" convert -c -O qcow2 text packed.qcow2
	shares_nothing packed.qcow2 to
	qemu-io -c "write -s ../random 0 4M" packed.qcow2 >log
	shares $((4 * m)) packed.qcow2 to
	shares $((4 * m)) -O qcow2 packed.qcow2 to

	# Chains and snapshots.
	qemu-img create -q -f qcow2 -b in.raw -F raw over.qcow2
	qemu-io -c 'write -P 7 1M 1M' -c 'write -z 2M 1M' \
		-c 'write -P 8 3000k 1000' over.qcow2 >log
	qemu-img snapshot -c s1 over.qcow2
	qemu-io -c 'write -P 9 1M 128k' over.qcow2 >log
	shares $((7 * m)) over.qcow2 to
	shares $((7 * m)) -O qcow2 over.qcow2 to
	shares $((896 * 1024)) -O qcow2 -B in.raw -F raw over.qcow2 to
	"$IMGCTL" convert -l s1 over.qcow2 s1.raw
	qemu-img convert -l s1 over.qcow2 want.raw
	cmp s1.raw want.raw
	[ "$(shared_len s1.raw)" -ge $((7 * m)) ]

	# An external data file.
	"$IMGCTL" convert -O qcow2 -o data_file="$PWD/data",data_file_raw=on \
		in.raw to
	cmp data in.raw
	[ "$(shared_len data)" -ge $((8 * m)) ]

	# Part of a disk.
	expect_exit 0 "$IMGCTL" dd if=in.raw of=to bs=1M skip=1 count=8
	dd if=in.raw of=want bs=1M skip=1 count=8 status=none
	cmp to want
	[ "$(shared_len to)" -ge $((7 * m)) ]
	expect_exit 0 "$IMGCTL" dd if=in.raw of=to bs=1000 skip=1 count=7000
	dd if=in.raw of=want bs=1000 skip=1 count=7000 status=none
	truncate -s %512 want
	cmp to want

	# Writing to one file leaves the other one as it is.
	"$IMGCTL" convert -O qcow2 in.raw to
	cp --reflink=never in.raw before.raw
	qemu-io -c 'write -P 3 0 2M' to >log
	cmp in.raw before.raw
	qemu-img convert -O raw to changed.raw
	dd if=/dev/urandom of=in.raw bs=1M seek=2 count=3 conv=notrunc status=none
	qemu-img compare -q -f qcow2 -F raw to changed.raw
	rm -f ./*
}

tested=
if mount_new xfs; then
	(cd xfs && test_sharing)
	# From elsewhere there is nothing to share.
	cp random xfs/other.raw
	"$IMGCTL" convert -O qcow2 random xfs/to
	[ "$(shared_len xfs/to)" = 0 ]
	"$IMGCTL" convert -O qcow2 xfs/other.raw here
	qemu-img compare -q -f qcow2 -F raw here random
	tested+=xfs
fi
if mount_new btrfs; then
	(cd btrfs && test_sharing)
	# Blocks without checksums are not shared with those that have them.
	cp random btrfs/in.raw
	for o in raw qcow2; do
		"$IMGCTL" convert -O $o -o nocow=on btrfs/in.raw btrfs/to
		qemu-img compare -q -f raw -F $o random btrfs/to
		lsattr btrfs/to | grep >/dev/null '^[^ ]*C'
	done
	tested+=btrfs
fi
[ -n "$tested" ] || skip "neither XFS nor btrfs can be mounted here"
