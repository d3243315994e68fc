#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl commit: the same chains through imgctl and qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/layers.sh"

# committed TOP BASE ARGS...: with both tools; then both files hold the same in
# both folders, and are sound; the base reads as the top did.
committed()
{
	local top=$1 base=$2 f
	shift 2
	bytes_of ours "$top" before
	agree commit "$@"
	for f in "$top" "$base"; do
		bytes_of theirs "$f" after-theirs
		bytes_of ours "$f" after
		same after after-theirs
		case $f in
		*.qcow2) (cd ours && qemu-img check -q "$f") ;;
		esac
	done
	truncate -s "$(stat -c %s before)" after # the base may be longer
	same before after
}

allocated()
{
	qemu-img map --output=json "$1" | grep -c '"depth": 0, "present": true' ||
		true
}

expect_empty()
{
	[ "$(cd ours && allocated "$1")" = 0 ] || fail "$1 is not empty"
}

# ---- geometries ------------------------------------------------------------

n=0
for options in cluster_size=64k cluster_size=512 cluster_size=4k,compat=0.10 \
	cluster_size=2M extended_l2=on cluster_size=16k,extended_l2=on \
	refcount_bits=1 refcount_bits=64,lazy_refcounts=on; do
	n=$((n + 1))
	layer base$n.qcow2 3M - "$options" 'write -P 1 0 300k' 'write -z 1M 64k'
	layer top$n.qcow2 - base$n.qcow2 "$options" 'write -P 2 100k 777k' \
		'write -z 128k 256k' 'write -P 3 1050k 30k' 'write -z 2M 1M' \
		'write -P 4 3100000 512'
	committed top$n.qcow2 base$n.qcow2 top$n.qcow2
	expect_empty top$n.qcow2
done

# A raw base; another cluster size above; odd lengths.
layer flat.raw 1234567 - '' 'write -P 1 0 1M'
layer over.qcow2 - flat.raw cluster_size=16k,extended_l2=on \
	'write -P 2 1024 1024' 'write -z 64k 64k' 'write -P 3 1200000 34000'
committed over.qcow2 flat.raw over.qcow2
expect_empty over.qcow2

# ---- sizes -----------------------------------------------------------------

layer small.raw 100k - '' 'write -P 1 0 100k'
layer large.qcow2 1M small.raw '' 'write -P 2 50k 10k' 'write -P 3 900k 10k'
committed large.qcow2 small.raw large.qcow2
layer small.qcow2 100k - cluster_size=4k 'write -P 1 0 100k'
layer wide.qcow2 5M small.qcow2 '' 'write -P 2 4M 10k'
committed wide.qcow2 small.qcow2 wide.qcow2
layer big.qcow2 5M - '' 'write -P 1 0 5M'
layer short.qcow2 1M big.qcow2 '' 'write -P 2 512k 100k'
committed short.qcow2 big.qcow2 short.qcow2

# What a short layer hides stays hidden.
layer deep.qcow2 2M - '' 'write -P 1 0 2M'
layer cut.qcow2 1M deep.qcow2 '' 'write -P 2 0 64k'
layer grown.qcow2 2M cut.qcow2 '' 'write -P 3 100k 64k'
committed grown.qcow2 cut.qcow2 grown.qcow2

# ---- chains ----------------------------------------------------------------

# chain3 N: three layers, with what each hides of the one below.
chain3()
{
	layer "a$1.qcow2" 2M - '' 'write -P 1 0 2M'
	layer "b$1.qcow2" - "a$1.qcow2" cluster_size=4k 'write -P 2 64k 64k' \
		'write -z 256k 64k'
	layer "c$1.qcow2" - "b$1.qcow2" '' 'write -P 3 96k 64k' \
		'write -P 4 1M 64k'
}

chain3 1
committed c1.qcow2 b1.qcow2 c1.qcow2
expect_empty c1.qcow2
chain3 2
before=$(sha ours/c2.qcow2)
committed c2.qcow2 a2.qcow2 -b a2.qcow2 c2.qcow2
[ "$(sha ours/c2.qcow2)" = "$before" ] || fail "-b changed the top"
chain3 3
committed c3.qcow2 a3.qcow2 -b ./a3.qcow2 c3.qcow2
chain3 4
committed c4.qcow2 b4.qcow2 -b b4.qcow2 c4.qcow2
chain3 5
before=$(sha ours/c5.qcow2)
committed c5.qcow2 b5.qcow2 -d c5.qcow2
[ "$(sha ours/c5.qcow2)" = "$before" ] || fail "-d changed the top"
# By a path from the working folder, or from that of the image.
chain3 6
expect_exit 0 "$IMGCTL" commit -b ours/a6.qcow2 ours/c6.qcow2
expect_exit 0 "$IMGCTL" commit -b "$PWD/ours/b6.qcow2" ours/c6.qcow2

# ---- snapshots, a data file ------------------------------------------------

layer snapbase.qcow2 1M - '' 'write -P 1 0 1M'
both qemu-img snapshot -c below snapbase.qcow2
layer snaptop.qcow2 - snapbase.qcow2 '' 'write -P 2 0 256k'
both qemu-img snapshot -c one snaptop.qcow2
both qemu-io -c 'write -P 3 128k 256k' snaptop.qcow2 2>io.log
committed snaptop.qcow2 snapbase.qcow2 snaptop.qcow2
expect_empty snaptop.qcow2
both qemu-img snapshot -a one snaptop.qcow2
both qemu-img snapshot -a below snapbase.qcow2
qemu-img compare -q ours/snaptop.qcow2 theirs/snaptop.qcow2
qemu-img compare -q ours/snapbase.qcow2 theirs/snapbase.qcow2
layer dbase.qcow2 1M - data_file=dbase.data 'write -P 1 0 1M'
layer dtop.qcow2 - dbase.qcow2 data_file=dtop.data 'write -P 2 100k 256k' \
	'write -z 512k 64k'
committed dtop.qcow2 dbase.qcow2 dtop.qcow2
expect_empty dtop.qcow2

# The space of the top goes back.
layer full.qcow2 20M - '' 'write -P 1 0 64k'
layer heavy.qcow2 - full.qcow2 '' 'write -P 2 0 20M'
committed heavy.qcow2 full.qcow2 heavy.qcow2
[ "$(stat -c %s ours/heavy.qcow2)" -le 400000 ] || fail "the top stays large"

# ---- options ---------------------------------------------------------------

layer obase.qcow2 1M - '' 'write -P 1 0 64k'
layer otop.qcow2 - obase.qcow2 '' 'write -P 2 64k 64k'
agree commit
agree commit a b
agree commit nope
agree commit obase.qcow2
agree commit -f raw otop.qcow2
agree commit -b nope otop.qcow2
agree commit -b otop.qcow2 otop.qcow2
agree commit -r 1x otop.qcow2
agree commit -t nope otop.qcow2
agree commit --image-opts -f qcow2 driver=qcow2,file.filename=otop.qcow2
agree commit -q otop.qcow2
agree commit -q -p otop.qcow2
for cache in none writeback writethrough directsync unsafe; do
	both qemu-io -c 'write -P 3 64k 64k' otop.qcow2 2>io.log
	committed otop.qcow2 obase.qcow2 -t $cache otop.qcow2
done
both qemu-io -c 'write -P 4 64k 64k' otop.qcow2 2>io.log
committed otop.qcow2 obase.qcow2 -f qcow2 otop.qcow2
both qemu-io -c 'write -P 5 64k 64k' otop.qcow2 2>io.log
agree commit --object secret,id=a,data=x --image-opts \
	driver=qcow2,file.filename=otop.qcow2
qemu-img compare -q ours/obase.qcow2 theirs/obase.qcow2

# A rate: 4 MiB at 4 MiB a second.
layer rbase.qcow2 8M - '' 'write -P 1 0 64k'
layer rtop.qcow2 - rbase.qcow2 '' 'write -P 2 0 6M'
began=$(date +%s%N)
committed rtop.qcow2 rbase.qcow2 -r 4M rtop.qcow2
took=$((($(date +%s%N) - began) / 1000000))
[ "$took" -ge 500 ] || fail "the rate was passed over: $took ms"

# Progress: begins at 0, ends at 100.
both qemu-io -c 'write -P 6 64k 64k' otop.qcow2 2>io.log
expect_exit 0 "$IMGCTL" commit -p ours/otop.qcow2
tr '\r' '\n' <out >lines
grep -q '^    (0.00/100%)$' lines
grep -q '^    (100.00/100%)$' lines
tail -n 1 lines | grep >/dev/null '^Image committed.$'

# An image in use, above and below.
hold_lock ours/otop.qcow2
expect_exit 1 "$IMGCTL" commit ours/otop.qcow2
expect_err 'lock'
rm lock.ready
hold_lock ours/rbase.qcow2
expect_exit 1 "$IMGCTL" commit ours/rtop.qcow2
expect_err 'lock'

# A base that cannot grow: nothing is changed.
layer fixed.qcow2 1M - compat=0.10 'write -P 1 0 64k'
both qemu-img snapshot -c s fixed.qcow2
layer ftop.qcow2 2M fixed.qcow2 '' 'write -P 2 0 64k'
cp ours/fixed.qcow2 fixed.before
expect_exit 1 "$IMGCTL" commit ours/ftop.qcow2
expect_err "Can't resize a v2 image which has snapshots"
qemu-img compare -q -s fixed.before ours/fixed.qcow2
