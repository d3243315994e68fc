#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# snapshot: the same history through imgctl and qemu-img gives the same disks,
# and each reads what the other made.
. "$(dirname "$0")/../lib/e2e.sh"
needs qemu-img qemu-io jq "$IMGD"

io()
{
	local image=$1
	shift
	qemu-io "${@/#/-c}" "$image" >/dev/null
}

clean()
{
	expect_exit 0 qemu-img check -q "$1"
}

# One history with either tool: $1 is the tool, $2 the image.
history()
{
	local tool=$1 image=$2
	io "$image" 'write -P 1 1000 2000000' 'write -z 128k 256k'
	"$tool" snapshot -c one "$image"
	io "$image" 'write -P 2 50000 1000000'
	"$tool" snapshot -c two "$image"
	io "$image" 'write -P 3 0 4M' 'discard 64k 128k'
	"$tool" snapshot -a one "$image"
	io "$image" 'write -P 4 3M 64k'
	"$tool" snapshot -c three "$image"
	"$tool" snapshot -d one "$image"
}

snapshot_names()
{
	"$1" snapshot -l "$2" | awk 'NR > 2 { print $1, $2, $3, $4 }'
}

for o in cluster_size=65536 cluster_size=512 cluster_size=2M \
	extended_l2=on refcount_bits=4 refcount_bits=64 compat=0.10; do
	rm -f ours theirs
	for image in ours theirs; do
		qemu-img create -q -f qcow2 -o "$o" "$image" 4M
	done
	history "$IMGCTL" ours
	history qemu-img theirs
	clean ours
	clean theirs
	same <(snapshot_names "$IMGCTL" ours) <(snapshot_names qemu-img theirs)
	expect_exit 0 qemu-img compare ours theirs
	for s in two three; do
		for image in ours theirs; do
			qemu-img convert -l "$s" "$image" "$image.raw"
		done
		same ours.raw theirs.raw
	done
	# Either tool goes on with what the other made.
	"$IMGCTL" snapshot -a two theirs
	qemu-img snapshot -a two ours
	expect_exit 0 qemu-img compare ours theirs
	"$IMGCTL" snapshot -d 2 theirs
	qemu-img snapshot -d three ours
	clean ours
	clean theirs
done

# The size comes back too.
qemu-img create -q -f qcow2 sized 4M
io sized 'write -P 7 3M 1M'
"$IMGCTL" snapshot -c small sized
qemu-img resize -q sized 40G
io sized 'write -P 8 39G 64k'
"$IMGCTL" snapshot -a small sized
clean sized
[ "$(qemu-img info --output json sized | grep -c '"virtual-size": 4194304')" -ge 1 ] ||
	fail "the size did not come back"
expect_exit 0 qemu-io -c 'read -P 7 3M 1M' sized

# Counts of one bit have no room for a second owner: refused, nothing changed.
qemu-img create -q -f qcow2 -o refcount_bits=1 narrow 4M
io narrow 'write -P 1 0 1M'
before=$(sha narrow)
expect_exit 1 "$IMGCTL" snapshot -c no narrow
expect_err "Could not create snapshot 'no'"
[ "$(sha narrow)" = "$before" ] || fail "a refused snapshot changed the file"

# Messages and wrong use.
expect_exit 1 "$IMGCTL" snapshot -d nope sized
expect_err "Could not delete snapshot 'nope': snapshot not found"
expect_exit 1 "$IMGCTL" snapshot -a nope sized
expect_err "Could not apply snapshot 'nope'"
expect_exit 1 "$IMGCTL" snapshot -l -c x sized
expect_err "Cannot mix '-l', '-a', '-c', '-d'"
expect_exit 1 "$IMGCTL" snapshot -U -c x sized
truncate -s 1M plain.raw
expect_exit 0 "$IMGCTL" snapshot -l plain.raw
[ ! -s out ] || fail "a raw image has no snapshots"

# Other ways to name the image; objects are accepted.
expect_exit 0 "$IMGCTL" snapshot -l --force-share --object secret,id=a,data=x \
	ours
cp out want
expect_exit 0 "$IMGCTL" snapshot -l --image-opts driver=qcow2,file.filename=ours
same want out

# Bitmaps are about the disk as it is: enabled or not, it does not go back.
qemu-img create -q -f qcow2 bitmaps.qcow2 1M
io bitmaps.qcow2 'write -P 1 0 64k'
qemu-img snapshot -c s1 bitmaps.qcow2
io bitmaps.qcow2 'write -P 2 0 64k'
qemu-img bitmap --add bitmaps.qcow2 b0
for state in enable disable; do
	qemu-img bitmap --$state bitmaps.qcow2 b0
	for which in s1 1 nope; do
		expect_exit 1 qemu-img snapshot -a $which bitmaps.qcow2
		sed 's/^qemu-img: //' err >peer.err
		cp bitmaps.qcow2 before.qcow2
		expect_exit 1 "$IMGCTL" snapshot -a $which bitmaps.qcow2
		expect_err "$(cat peer.err)"
		expect_err 'remove them first'
		same before.qcow2 bitmaps.qcow2
	done
done
expect_exit 0 "$IMGCTL" bitmap --remove bitmaps.qcow2 b0
expect_exit 0 "$IMGCTL" snapshot -a s1 bitmaps.qcow2
io bitmaps.qcow2 'read -P 1 0 64k'

# A write beside a snapshot takes over the subclusters that have data, and what
# is between them, no more: the rest stays the backing file's.
random_file base.raw 4194304
qemu-img create -q -f qcow2 -o cluster_size=1M,extended_l2=on -b base.raw \
	-F raw parts.qcow2
io parts.qcow2 'write -P 5 64k 100' 'write -P 5 1M 1M'
qemu-img snapshot -c s parts.qcow2
cp parts.qcow2 parts.peer.qcow2
write_parts=('write -P 7 333242 513' 'write -P 7 1500k 1000' 'write -P 7 3M 3')
io parts.peer.qcow2 "${write_parts[@]}"
"$IMGD" -f qcow2 -k "$TMP/parts.sock" --run \
	"qemu-io -f raw -c '${write_parts[0]}' -c '${write_parts[1]}' \
	-c '${write_parts[2]}' nbd+unix:///?socket=$TMP/parts.sock" \
	parts.qcow2 >/dev/null
clean parts.qcow2
qemu-img compare -q parts.qcow2 parts.peer.qcow2
for image in parts parts.peer; do
	qemu-img map --output=json $image.qcow2 |
		jq -c '.[] | select(.depth == 0) | [.start, .length]' >$image.map
done
same parts.map parts.peer.map
