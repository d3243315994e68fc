#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl rebase: the same chains through imgctl and qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/layers.sh"

# rebased TOP ARGS...: with both tools; what the image reads is as before, and
# both say the same of it.
rebased()
{
	local top=$1
	shift
	bytes_of ours "$top" before
	agree rebase "$@"
	(cd ours && qemu-img check -q "$top")
	bytes_of ours "$top" after
	same before after
	backing_agrees "$top"
}

backing_agrees()
{
	local dir
	for dir in ours theirs; do
		(cd "$dir" && qemu-img info -U "$1" |
			grep '^backing file') >"backing-$dir" || true
	done
	same backing-ours backing-theirs
}

# Bytes that the image has itself.
own_bytes()
{
	qemu-img map --output=json "$1" | python3 -c '
import json, sys
print(sum(x["length"] for x in json.load(sys.stdin)
    if x["depth"] == 0 and x["present"]))'
}

# ---- geometries -------------------------------------------------------------

layer new.qcow2 3M - '' 'write -P 1 0 200k' 'write -P 7 500k 300k' \
	'write -P 2 2M 1M'
n=0
for options in cluster_size=64k cluster_size=512 cluster_size=4k,compat=0.10 \
	cluster_size=2M extended_l2=on cluster_size=16k,extended_l2=on \
	refcount_bits=1; do
	n=$((n + 1))
	layer old$n.qcow2 3M - "$options" 'write -P 1 0 300k' 'write -z 1M 64k' \
		'write -P 2 2M 512k'
	layer top$n.qcow2 - old$n.qcow2 "$options" 'write -P 3 100k 77k' \
		'write -z 128k 64k' 'write -P 4 2100000 512'
	rebased top$n.qcow2 -b new.qcow2 -F qcow2 top$n.qcow2
	rebased top$n.qcow2 -b '' top$n.qcow2
done

# Nothing is copied that is the same; with extended L2 in subclusters.
layer one.qcow2 1M - '' 'write -P 1 0 1M'
layer two.qcow2 1M - '' 'write -P 1 0 1M' 'write -P 2 130k 1k'
layer fine.qcow2 - one.qcow2 extended_l2=on
rebased fine.qcow2 -b two.qcow2 -F qcow2 fine.qcow2
[ "$(own_bytes ours/fine.qcow2)" = 2048 ]
layer coarse.qcow2 - one.qcow2 ''
rebased coarse.qcow2 -b two.qcow2 -F qcow2 coarse.qcow2
[ "$(own_bytes ours/coarse.qcow2)" = 65536 ]

# ---- sizes -------------------------------------------------------------------

layer small.raw 300k - '' 'write -P 5 0 300k'
layer long.qcow2 5M - '' 'write -P 6 0 5M'
layer mid.qcow2 2M - '' 'write -P 7 100k 1M'
for from in small.raw long.qcow2 mid.qcow2; do
	for to in small.raw long.qcow2 mid.qcow2; do
		layer sized.qcow2 2M "$from" cluster_size=4k 'write -P 8 1M 10k'
		rebased sized.qcow2 -b "$to" -F "${to##*.}" sized.qcow2
	done
done
# From nothing to something.
layer alone.qcow2 2M - '' 'write -P 8 1M 10k'
rebased alone.qcow2 -b mid.qcow2 -F qcow2 alone.qcow2

# ---- chains ------------------------------------------------------------------

layer c0.qcow2 2M - '' 'write -P 1 0 2M'
layer c1.qcow2 1M c0.qcow2 cluster_size=4k 'write -P 2 64k 64k' \
	'write -z 256k 64k'
layer c2.qcow2 2M c1.qcow2 '' 'write -P 3 96k 64k' 'write -P 4 1M 64k'
layer c3.qcow2 - c2.qcow2 '' 'write -P 5 1M 4k'
rebased c3.qcow2 -b c0.qcow2 -F qcow2 c3.qcow2
rebased c3.qcow2 -b c2.qcow2 -F qcow2 c3.qcow2
rebased c3.qcow2 -b '' c3.qcow2

# What is above the shared layer alone is read: a gibibyte below it is not.
layer g0.qcow2 1G - '' 'write -P 1 0 64M'
layer g1.qcow2 - g0.qcow2 '' 'write -P 2 1M 64k'
layer g2.qcow2 - g1.qcow2 ''
rebased g2.qcow2 -b g0.qcow2 -F qcow2 g2.qcow2
[ "$(own_bytes ours/g2.qcow2)" = 65536 ]

# The difference between two disks.
layer first.qcow2 4M - '' 'write -P 1 0 4M'
layer second.qcow2 4M - '' 'write -P 1 0 4M' 'write -P 2 1M 100k'
layer diff.qcow2 - second.qcow2 ''
rebased diff.qcow2 -b first.qcow2 -F qcow2 diff.qcow2
[ "$(own_bytes ours/diff.qcow2)" = 131072 ]

# ---- names -------------------------------------------------------------------

# Relative to the image, and json:.
for dir in ours theirs; do
	mkdir "$dir/sub"
	(cd "$dir/sub" && qemu-img create -q -f qcow2 near.qcow2 1M &&
		qemu-img create -q -f qcow2 -b near.qcow2 -F qcow2 top.qcow2)
done
rebased sub/top.qcow2 -b ../new.qcow2 -F qcow2 sub/top.qcow2
rebased sub/top.qcow2 -b near.qcow2 -F qcow2 sub/top.qcow2
layer named.qcow2 1M one.qcow2 ''
rebased named.qcow2 -b "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"two.qcow2\"}}" \
	-F qcow2 named.qcow2
rebased named.qcow2 -b file:one.qcow2 -F qcow2 named.qcow2

# Where names are kept in another way: behind `./` they are relative still.
for format in vpc vhdx; do
	"$IMGCTL" create -q -f $format "base.$format" 4M
	"$IMGCTL" create -q -f $format -b ".//base.$format" -F $format \
		"top.$format"
	"$IMGCTL" compare -q -f $format -F $format "top.$format" \
		"base.$format"
done

# -u looks at nothing.
layer moved.qcow2 1M one.qcow2 ''
agree rebase -u -b gone.qcow2 -F qcow2 moved.qcow2
backing_agrees moved.qcow2
agree rebase -u -b two.qcow2 -F qcow2 moved.qcow2
backing_agrees moved.qcow2
[ "$(own_bytes ours/moved.qcow2)" = 0 ]
agree rebase -u moved.qcow2
backing_agrees moved.qcow2
agree rebase -u -b one.qcow2 moved.qcow2
agree rebase -u -b one.qcow2 -F nope moved.qcow2
long=$(printf '%01020d' 0)
agree rebase -u -b "$long" -F qcow2 moved.qcow2
backing_agrees moved.qcow2
layer tiny.qcow2 1M - cluster_size=512
agree rebase -u -b "$long" -F qcow2 tiny.qcow2
expect_exit 1 "$IMGCTL" rebase -u -b "${long}0000" -F qcow2 ours/moved.qcow2
expect_err 'the name has 1024 bytes: at most 1023 fit'

# ---- refusals ----------------------------------------------------------------

layer ref.qcow2 1M one.qcow2 ''
layer flat.raw 1M - '' 'write -P 1 0 64k'
before=$(sha ours/ref.qcow2)
agree rebase
agree rebase a b
agree rebase ref.qcow2
agree rebase -F qcow2 ref.qcow2
agree rebase -b two.qcow2 ref.qcow2
agree rebase -b two.qcow2 -F nope ref.qcow2
agree rebase -b nope -F qcow2 ref.qcow2
expect_exit 1 "$IMGCTL" rebase -b flat.raw -F qcow2 ours/ref.qcow2
expect_err "Could not open new backing file 'flat.raw': "
expect_err 'Image is not in qcow2 format'
agree rebase -t nope -b two.qcow2 -F qcow2 ref.qcow2
agree rebase -T nope -b two.qcow2 -F qcow2 ref.qcow2
agree rebase -b two.qcow2 -F qcow2 -f raw flat.raw
agree rebase -b '' flat.raw
agree rebase -u -b '' -f raw flat.raw
agree rebase -b ref.qcow2 -F qcow2 ref.qcow2
expect_exit 1 "$IMGCTL" rebase -U -b ref.qcow2 -F qcow2 ours/ref.qcow2
expect_err 'infinite loop'
[ "$(sha ours/ref.qcow2)" = "$before" ] || fail "a refusal changed the image"
# A missing -F is found before anything is copied.
layer late.qcow2 1M one.qcow2 ''
expect_exit 1 "$IMGCTL" rebase -b nope ours/late.qcow2
expect_err 'backing format must be specified'
rm ours/one.qcow2
expect_exit 1 "$IMGCTL" rebase -b two.qcow2 -F qcow2 ours/late.qcow2
cp theirs/one.qcow2 ours

# ---- the other options --------------------------------------------------------

for cache in none writeback writethrough directsync unsafe; do
	layer opt.qcow2 1M one.qcow2 ''
	rebased opt.qcow2 -t $cache -T $cache -b two.qcow2 -F qcow2 opt.qcow2
done
layer opt.qcow2 1M one.qcow2 ''
rebased opt.qcow2 -q -f qcow2 --object secret,id=a,data=x -b two.qcow2 \
	-F qcow2 opt.qcow2
rebased opt.qcow2 --image-opts -b one.qcow2 -F qcow2 \
	driver=qcow2,file.filename=opt.qcow2
rebased opt.qcow2 -p -u -b one.qcow2 -F qcow2 opt.qcow2
layer opt.qcow2 1M one.qcow2 ''
expect_exit 0 "$IMGCTL" rebase -p -b two.qcow2 -F qcow2 ours/opt.qcow2
tr '\r' '\n' <out >lines
grep -q '^    (0.00/100%)$' lines
grep -q '^    (100.00/100%)$' lines
# Compressed.
for flag in -c --compress; do
	layer packed.qcow2 1M one.qcow2 ''
	expect_exit 0 "$IMGCTL" rebase $flag -b two.qcow2 -F qcow2 \
		ours/packed.qcow2
	[ "$(stat -c %s ours/packed.qcow2)" -lt 400000 ]
	qemu-img compare -q ours/packed.qcow2 ours/one.qcow2
	qemu-img check -q ours/packed.qcow2
	[ "$("$IMGCTL" map --output=json ours/packed.qcow2 |
		grep -c '"compressed": true')" = 1 ]
done
# In use: the new one may be shared, the image not.
hold_lock ours/two.qcow2
layer busy.qcow2 1M one.qcow2 ''
expect_exit 1 "$IMGCTL" rebase -b two.qcow2 -F qcow2 ours/busy.qcow2
expect_err lock
for flag in -U --force-share; do
	layer busy.qcow2 1M one.qcow2 ''
	expect_exit 0 "$IMGCTL" rebase $flag -b two.qcow2 -F qcow2 \
		ours/busy.qcow2
done
rm lock.ready
hold_lock ours/busy.qcow2
expect_exit 1 "$IMGCTL" rebase -U -u -b two.qcow2 -F qcow2 ours/busy.qcow2
expect_err lock
