#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# bitmap: the same history through imgctl and qemu-img gives the same bitmaps,
# and each reads, and goes on with, what the other made.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs qemu-nbd nbdinfo nbdkit

# bits IMAGE BITMAP...: their extents, as QEMU reads them.
bits()
{
	local image=$1 sock=$TMP/bits.sock pid name
	shift
	rm -f "$sock"
	qemu-nbd -r -t -k "$sock" -f qcow2 "${@/#/--bitmap=}" "$image" &
	pid=$!
	wait_until listening "$sock" || fail "qemu-nbd does not listen"
	for name; do
		echo "$name"
		nbdinfo --map="qemu:dirty-bitmap:$name" \
			"nbd+unix:///?socket=$sock"
	done
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
}

# names, granularities and flags
list()
{
	"$THEIRS" info "$1" | awk '
	$1 == "flags:" { flags = "" }
	$1 ~ /^\[/ && NF == 2 { flags = flags " " $2 }
	$1 == "name:" { name = $2 }
	$1 == "granularity:" { print name, $2 flags }'
}

# same_bitmaps IMAGE: in both folders; and both images are clean.
same_bitmaps()
{
	local dir names
	for dir in ours theirs; do
		list "$dir/$1" >"$dir.list"
		mapfile -t names < <(cut -d' ' -f1 "$dir.list")
		bits "$dir/$1" "${names[@]}" >"$dir.bits"
		expect_exit 0 "$THEIRS" check -q "$dir/$1"
		expect_exit 0 "$OURS" check -q "$dir/$1"
	done
	[ -s theirs.list ] || fail "there are no bitmaps in $1"
	diff -u theirs.list ours.list >&2 || fail "the lists of $1 differ"
	diff -u theirs.bits ours.bits >&2 || fail "the bitmaps of $1 differ"
}

# write_ours IMAGE QEMU-IO-COMMAND...: the writes are done by our plugin.
write_ours()
{
	local image=$1
	shift
	nbdkit --exit-with-parent -U - "$PLUGIN" "$image" format=qcow2 discard=unmap \
		--run 'qemu-io -f raw '"$(printf -- '-c "%s" ' "$@")"' "$uri"' \
		>/dev/null
}

write_theirs()
{
	local image=$1
	shift
	qemu-io -f qcow2 -d unmap "${@/#/-c}" "$image" >/dev/null
}

# ---- what it says and does, side by side -------------------------------------

both "$THEIRS" create -q -f qcow2 a 10M
both "$THEIRS" create -q -f qcow2 large 20M
both "$THEIRS" create -q -f qcow2 -o compat=0.10 old 10M
agree bitmap
agree bitmap a
agree bitmap --add a
agree bitmap a b0
agree bitmap --add a b0 more
agree bitmap --add nosuch b0
agree bitmap --add --image-opts -f qcow2 a b0
agree bitmap --add a b0
agree bitmap --add a b0
agree bitmap --add -g 1M --disable a b1
agree bitmap -g 2G --add a b2
agree bitmap --add a b3 --granularity 512
agree bitmap --add -g 1000 a bad
agree bitmap --add -g 256 a bad
agree bitmap --add -g 4G a bad
agree bitmap --add -g x a bad
agree bitmap --add a ''
agree bitmap --clear -g 64k a b0
agree bitmap --clear -b large a b0
agree bitmap --merge b0 a b0
agree bitmap --merge b1 -F qcow2 a b0
agree bitmap --remove a nosuch
agree bitmap --clear a nosuch
agree bitmap --enable a nosuch
agree bitmap --disable a nosuch
agree bitmap --merge nosuch a b0
agree bitmap --merge nosuch a nosuch
agree bitmap --add large b0
agree bitmap --merge b0 -b large -F qcow2 a b0
agree bitmap --merge b0 -b nosuch a b0
agree bitmap --add --merge nosuch a b7
agree bitmap --remove --add --disable a b7
agree bitmap --disable --disable --enable a b1
agree info a
same_bitmaps a
agree bitmap --remove --image-opts driver=qcow2,file.filename=a b7
agree bitmap --clear --object secret,id=s,data=x a b1
agree measure -O qcow2 a
agree measure -O qcow2 --output json -o cluster_size=4k a
agree snapshot -c s a
agree snapshot -a s a
agree snapshot -a nosuch a
same_bitmaps a

# The names of what cannot have bitmaps are the tools' own.
for dir in ours theirs; do
	truncate -s 1M "$dir/raw"
done
expect_exit 1 "$OURS" bitmap --add ours/old b0
expect_err "Can't make bitmap 'b0' persistent in"
expect_err "Cannot store dirty bitmaps in qcow2 v2 files"
expect_exit 1 "$OURS" bitmap --add -f raw ours/raw b0
expect_err "Operation add on bitmap b0 failed: Can't store persistent bitmaps"
agree bitmap --remove -f raw raw b0
expect_exit 0 "$IMGCTL" --help
grep -qE '^\s+bitmap (.+) filename bitmap' out || fail "not in the help"

# ---- histories -----------------------------------------------------------------

writes=('write -P 1 100k 1000' 'write -P 2 1M 3M' 'write -z 5M 70k'
	'write -P 3 9M 1M')
more_writes=('write -P 4 0 512' 'write -z -u 1500k 2M' 'discard 9M 512k'
	'write -P 5 6M 64k')

# One history with either tool, and with its kind of writes.
history()
{
	local tool=$1 write=$2 image=$3
	"$tool" bitmap --add "$image" a
	"$tool" bitmap --add -g 512 "$image" b
	"$tool" bitmap --add --disable -g 1M "$image" c
	"$write" "$image" "${writes[@]}"
	"$tool" bitmap --merge a --merge b "$image" c
	"$tool" bitmap --clear --disable "$image" a
	"$tool" bitmap --enable "$image" c
	"$write" "$image" "${more_writes[@]}"
	"$tool" bitmap --merge c "$image" b
	"$tool" resize -q "$image" 12345344
	"$tool" bitmap --add -g 4k "$image" d
	"$write" "$image" 'write -P 6 12344832 512'
	"$tool" resize -q --shrink "$image" 8M
	"$tool" resize -q "$image" 9M
	"$tool" bitmap --merge d --merge c "$image" a
	"$tool" bitmap --remove "$image" c
	"$write" "$image" 'write -P 7 8M 512'
}

for o in cluster_size=64k cluster_size=512 cluster_size=2M extended_l2=on; do
	rm -f ours/* theirs/*
	both "$THEIRS" create -q -f qcow2 -o "$o" h 10M
	history "$OURS" write_ours ours/h
	history "$THEIRS" write_theirs theirs/h
	same_bitmaps h
	# Each goes on with the other's.
	mv ours/h swap
	mv theirs/h ours/h
	mv swap theirs/h
	for dir in ours theirs; do
		"$THEIRS" bitmap --remove --add "$dir/h" a
	done
	write_ours ours/h "${writes[@]:0:3}"
	write_theirs theirs/h "${writes[@]:0:3}"
	agree bitmap --merge b --clear --merge d h a
	same_bitmaps h
	expect_exit 0 "$THEIRS" compare ours/h theirs/h
done

# From another file.
both "$THEIRS" create -q -f qcow2 from 9M
both "$THEIRS" bitmap --add -g 128k from x
for dir in ours theirs; do
	write_theirs "$dir/from" 'write 1M 128k' 'write 8M 1M'
done
agree bitmap --merge x -b from -F qcow2 h a
agree bitmap --merge x --source-file from --source-format qcow2 h d
same_bitmaps h

# ---- convert -------------------------------------------------------------------

agree convert --bitmaps -O qcow2 h copy
same_bitmaps copy
agree convert --bitmaps -c -O qcow2 -o cluster_size=4k h copy
same_bitmaps copy
agree convert --bitmaps -O raw h raw
agree convert --bitmaps -O qcow2 -o compat=0.10 h v2
agree convert --bitmaps -O qcow2 h h two
agree convert --skip-broken-bitmaps -O qcow2 h copy
for dir in ours theirs; do
	truncate -s 9M "$dir/raw"
	"$THEIRS" create -q -f qcow2 "$dir/there" 9M
	"$THEIRS" create -q -f qcow2 "$dir/large" 10M
	"$THEIRS" bitmap --add "$dir/large" mine
done
agree convert --bitmaps -f raw -O qcow2 raw copy
agree convert --bitmaps -n -O qcow2 h there
same_bitmaps there
agree convert --bitmaps -n -O qcow2 from there
agree convert --bitmaps -n -O qcow2 from there
agree convert --bitmaps -n -O qcow2 from large
list ours/large >out
[ "$(cat out)" = 'mine 65536 auto' ] || fail "of a failed copy this stays: $(cat out)"
agree measure -O qcow2 h

# ---- what was not closed ---------------------------------------------------------

rm -f ours/* theirs/*
both "$THEIRS" create -q -f qcow2 k 10M
both "$THEIRS" bitmap --add k on
both "$THEIRS" bitmap --add --disable k off

# kill_writer IMAGE: the writer is killed when its first write is done.
kill_writer()
{
	start_nbdkit "$PLUGIN" "$1" format=qcow2
	qemu-io -f raw -c "$2" "$URI" >/dev/null
	kill_server "$SERVER_PID" || true
}
kill_writer ours/k 'read 0 1M'
[ "$(list ours/k)" = $'on 65536 auto\noff 65536' ] ||
	fail "a reader marked the bitmaps"
kill_writer ours/k 'write 1M 64k'
[ "$(list ours/k)" = $'on 65536 in-use auto\noff 65536' ] ||
	fail "the enabled bitmap is not marked: $(list ours/k)"
bits ours/k off >/dev/null
expect_exit 0 "$THEIRS" check -q ours/k
rm -f theirs/k
cp ours/k theirs/k
agree info k
for action in --enable --disable --clear '--merge off'; do
	# shellcheck disable=SC2086
	expect_exit 1 "$OURS" bitmap $action ours/k on
	expect_err "Bitmap 'on' is inconsistent and cannot be used"
done
expect_exit 1 "$OURS" bitmap --merge on ours/k off
expect_err "Operation merge on bitmap off failed: Bitmap 'on' is inconsistent"
expect_exit 1 "$OURS" resize ours/k 20M
expect_err "Bitmap 'on' is inconsistent and cannot be used"
agree bitmap --add k on
agree bitmap --add k new
write_ours ours/k 'write 2M 64k'
write_theirs theirs/k 'write 2M 64k'
[[ $(list ours/k) == *'on 65536 in-use auto'* ]] || fail "the mark is gone"
agree bitmap --remove k on
same_bitmaps k
agree resize -q k 20M
same_bitmaps k

# A copy with and without the broken one.
kill_writer ours/k 'write 1M 64k'
cp ours/k theirs/k
agree convert --bitmaps -O qcow2 k copy
agree convert --bitmaps --skip-broken-bitmaps -O qcow2 k copy
same_bitmaps copy
agree measure -O qcow2 k

# What QEMU left: marked as well.
{ write_theirs ours/k 'write 1M 64k' 'sigraise 9' || true; } 2>/dev/null
expect_exit 1 "$OURS" bitmap --clear ours/k new
expect_err "Bitmap 'new' is inconsistent"
expect_exit 0 "$OURS" bitmap --remove ours/k new
expect_exit 0 "$OURS" bitmap --remove ours/k off
expect_exit 0 "$THEIRS" check -q ours/k
[ -z "$(list ours/k)" ] || fail "bitmaps are left"
