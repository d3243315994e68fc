#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What is allocated after zeroes and trims: the same requests through imgd and
# qemu-io; then both tools say the same of the map.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/layers.sh"
needs nbdsh "$IMGD"

# erased FILE FORMAT REQUEST...: `zero OFF LEN`, `trim OFF LEN`,
# `fill OFF LEN` (with ones).
erased()
{
	local file=$1 format=$2 req nbd=() io=()
	shift 2
	for req; do
		# shellcheck disable=SC2086
		set -- $req
		case $1 in
		zero)
			nbd+=(-c "h.zero($3, $2, nbd.CMD_FLAG_NO_HOLE)")
			io+=(-c "write -z $2 $3")
			;;
		trim)
			nbd+=(-c "h.trim($3, $2)")
			io+=(-c "discard $2 $3")
			;;
		fill)
			nbd+=(-c "h.pwrite(b'\1' * $3, $2)")
			io+=(-c "write -P 1 $2 $3")
			;;
		esac
	done
	start_imgd --discard=unmap -f "$format" "ours/$file"
	nbdsh -u "$URI" "${nbd[@]}"
	stop_server
	(cd theirs && qemu-io -f "$format" -d unmap "${io[@]}" "$file") >io.log
	maps_agree "$file"
}

# Ranges and what they are, neighbours merged: where data lies is the tool's
# choice.
plain_map()
{
	python3 -c '
import json, sys
last = None
for row in json.load(sys.stdin):
    what = [row[k] for k in ("depth", "present", "zero", "data")]
    if what != last:
        print(row["start"], *what)
    last = what' <"$1"
}

maps_agree()
{
	"$IMGCTL" map --output=json "ours/$1" >map.ours
	qemu-img map --output=json "theirs/$1" >map.theirs
	plain_map map.ours >map.ours.plain
	plain_map map.theirs >map.theirs.plain
	diff -u map.theirs.plain map.ours.plain >&2 || fail "maps differ: $1"
	[[ $1 != *.qcow2 ]] || qemu-img check -q "ours/$1"
}

base()
{
	layer base.raw 600k - '' 'write -P 9 0 200k'
	layer base.qcow2 1M - '' 'write -P 9 0 200k' 'write -z 300k 200k'
}

# Zeroes are recorded even where nothing is below; at the edges a cluster
# counts as zeroes if that makes all of it zeroes.
for options in cluster_size=64k cluster_size=512 \
	cluster_size=4k,compat=0.10; do
	layer alone.qcow2 1000k - "$options"
	erased alone.qcow2 qcow2 'zero 100000 200000' 'zero 1023999 1' \
		'fill 400000 10' 'zero 400100 100' 'trim 500000 100000'
	base
	for below in base.raw base.qcow2; do
		layer over.qcow2 1M "$below" "$options"
		erased over.qcow2 qcow2 'zero 100000 65536' 'zero 250000 1' \
			'zero 614399 2' 'zero 700000 200000'
	done
done

# Trimmed: what is below does not show again.
for options in cluster_size=4k cluster_size=4k,compat=0.10 \
	cluster_size=64k,extended_l2=on; do
	base
	layer over.qcow2 1M base.qcow2 "$options"
	erased over.qcow2 qcow2 'fill 65536 65536' 'trim 0 196608' \
		'trim 1000000 48576'
done

# Compressed clusters give their space back.
for options in cluster_size=64k cluster_size=64k,compat=0.10 \
	cluster_size=64k,extended_l2=on; do
	layer packed.qcow2 512k - "$options" 'write -c -P 1 0 512k'
	erased packed.qcow2 qcow2 'trim 65536 131072' 'zero 262144 65536' \
		'zero 458752 65536'
done

# Subclusters.
layer sub.qcow2 1M - cluster_size=64k,extended_l2=on
erased sub.qcow2 qcow2 'fill 0 65536' 'zero 4096 2048' 'zero 10000 4000' \
	'zero 131072 2048' 'zero 200000 10' 'fill 200000 10' 'zero 1040000 8576' \
	'trim 131072 65536'
base
layer sub.qcow2 1M base.qcow2 cluster_size=64k,extended_l2=on
erased sub.qcow2 qcow2 'zero 2048 2048' 'zero 8191 4098' 'fill 20000 1' \
	'zero 21000 5000' 'zero 65536 65536' 'zero 400000 100'

# Zeroes that were written hide a backing file that is named later.
layer later.qcow2 1M - ''
erased later.qcow2 qcow2 'zero 0 65536'
base
agree rebase -u -b base.qcow2 -F qcow2 later.qcow2
maps_agree later.qcow2

# A new raw file has its first block.
for size in 0 100 4096 1M; do
	agree create -f raw new.raw $size
	[ "$(stat -c %b ours/new.raw)" = "$(stat -c %b theirs/new.raw)" ]
done
layer empty.qcow2 1M - ''
agree convert -O raw empty.qcow2 new.raw
[ "$(stat -c %b ours/new.raw)" = "$(stat -c %b theirs/new.raw)" ]
maps_agree new.raw

# convert: a new image is not filled with zeroes, one that exists is.
agree convert -O qcow2 -o preallocation=metadata empty.qcow2 full.qcow2
[ "$(stat -c %b ours/full.qcow2)" = "$(stat -c %b theirs/full.qcow2)" ]
[ "$(grep -c '"data": true' <("$IMGCTL" map --output=json ours/full.qcow2))" = 1 ]
layer there.qcow2 2M - ''
agree convert -n -O qcow2 empty.qcow2 there.qcow2
maps_agree there.qcow2
agree convert -O qcow2 -B base.qcow2 -F qcow2 empty.qcow2 over.qcow2
maps_agree over.qcow2
layer large.qcow2 3M - '' 'write -z 0 3M'
agree convert -O qcow2 -B base.qcow2 -F qcow2 large.qcow2 over.qcow2
maps_agree over.qcow2

# All that is new gets space, also in a cluster that the old end cuts.
layer grown.qcow2 100k - ''
agree resize --preallocation=full grown.qcow2 300k
maps_agree grown.qcow2

# In a data file what is data is zeroed in place; what is around it is mapped
# as zeroes too.
"$IMGCTL" create -q -f qcow2 -o data_file=data.raw ours/outside.qcow2 1M
start_imgd --discard=unmap -f qcow2 ours/outside.qcow2
nbdsh -u "$URI" -c 'h.pwrite(b"\1" * 65536, 262144)' \
	-c 'h.zero(1 << 20, 0, nbd.CMD_FLAG_NO_HOLE)'
stop_server
(cd ours && qemu-img map --output=json outside.qcow2) >map
expect_exit 1 grep '"present": false' map
