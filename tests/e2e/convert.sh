#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl convert: every option, against qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

cd theirs
qemu-img create -q -f qcow2 base.qcow2 10M
qemu-io -c 'write -P 1 0 1M' -c 'write -P 2 5M 100k' base.qcow2 >io.log
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2
qemu-io -c 'write -P 3 512k 1M' -c 'write -z 5M 64k' mid.qcow2 >io.log
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2
qemu-io -c 'write -P 4 8M 70k' top.qcow2 >io.log
qemu-img snapshot -c s1 top.qcow2
qemu-io -c 'write -P 5 0 64k' top.qcow2 >io.log
qemu-img convert -O raw top.qcow2 top.raw
truncate -s 1M empty.raw
random_file random.raw 3000320
qemu-img create -q -f qcow2 bitmaps.qcow2 1M
qemu-img bitmap --add bitmaps.qcow2 b0
cd ..
cp -r theirs/. ours/

# same_content: qemu-img finds $1 of both the same, and sound.
same_content()
{
	local rc=0
	qemu-img compare "ours/$1" "theirs/$1" >cmp.log 2>&1 ||
		fail "$1: $(cat cmp.log)"
	if grep -q 'size mismatch' cmp.log; then
		fail "$1: $(cat cmp.log)"
	fi
	(cd ours && qemu-img check -q "$1" 2>"$TMP/check.err") || rc=$?
	[ "$rc" = 0 ] || [ "$rc" = 63 ] || fail "check of $1: $rc"
}

# convert ARGS... TARGET: both do it, with the same result.
convert()
{
	agree convert "$@"
	[ "$(cat ours.rc)" = 'exit code 0' ] || fail "$*: $(cat ours.err)"
	same_content "${!#}"
}

wrong()
{
	agree convert "$@"
	[ "$(cat ours.rc)" = 'exit code 1' ] || fail "no error: $*"
}

# Formats and target options.
for from in top.qcow2 top.raw base.qcow2 empty.raw random.raw; do
	convert "$from" -O raw to.raw
	convert "$from" -O qcow2 to.qcow2
	convert -c "$from" -O qcow2 to.qcow2
done
for o in cluster_size={512,4k,2M} refcount_bits={1,64} extended_l2=on \
	compat=0.10 compression_type=zstd lazy_refcounts \
	preallocation={metadata,falloc,full}; do
	convert -f qcow2 -O qcow2 -o "$o" top.qcow2 to.qcow2
done
for o in cluster_size={512,4k,2M} compat=0.10 compression_type=zstd \
	extended_l2=on; do
	convert -c -O qcow2 -o "$o" top.qcow2 to.qcow2
done
convert -O raw -o preallocation=falloc top.qcow2 to.raw
convert -O raw -o preallocation=full top.qcow2 to.raw
convert -O qcow2 top.qcow2 -o size=20M to.qcow2
agree convert -O qcow2 -o data_file=df.raw,data_file_raw=on top.raw df.qcow2
same ours/df.raw ours/top.raw
(cd ours && qemu-img check -q df.qcow2)

# Several inputs.
convert top.raw empty.raw random.raw -O qcow2 to.qcow2
convert -f raw top.raw random.raw to.raw
both truncate -s -7 random.raw
both truncate -s 100001 empty.raw
for o in '' '-S 0' -c -W '-O raw' '-O raw -S 0'; do
	# shellcheck disable=SC2086
	convert -O qcow2 $o random.raw empty.raw random.raw to
done
both truncate -s +7 random.raw
both truncate -s 1M empty.raw

# How it is done.
for o in '-m 1' '-m 16' -W '-W -c' '-S 0' '-S 64k' '-S 16M' '-S 512' -C \
	'-t none' '-t writeback' '-t writethrough' '-t directsync' \
	'-T none' '-T unsafe' -U --force-share '-r 1G' '-r 0' --salvage -q '-p -q' \
	'--object secret,id=a,data=x'; do
	# shellcheck disable=SC2086
	convert $o -O qcow2 top.qcow2 to.qcow2
done
expect_exit 0 "$IMGCTL" convert -S 0 ours/top.qcow2 full.raw
[ "$(stat -c '%b' full.raw)" -ge 20480 ]
expect_exit 0 "$IMGCTL" convert ours/top.qcow2 sparse.raw
[ "$(stat -c '%b' sparse.raw)" -lt 10000 ]
# Short holes stay holes where the kernel copies, and nobody looks for zeroes.
truncate -s 4M holes.raw
for ((i = 0; i < 64; i++)); do
	printf x | dd of=holes.raw bs=1 seek=$((i << 16)) conv=notrunc status=none
done
expect_exit 0 "$IMGCTL" convert -C -f raw -O raw holes.raw copied.raw
same holes.raw copied.raw
[ "$(stat -c '%b' copied.raw)" -lt 2048 ]

# The same bytes whatever the number of threads.
for c in '' -c; do
	for m in 1 2 7 16; do
		# shellcheck disable=SC2086
		"$IMGCTL" convert $c -m $m -O qcow2 ours/random.raw m$m.qcow2
		same m1.qcow2 m$m.qcow2
	done
done

# Snapshots and image options.
convert -l s1 top.qcow2 to.raw
convert -l 1 top.qcow2 to.raw
convert -l snapshot.name=s1 top.qcow2 -O qcow2 to.qcow2
convert -l snapshot.id=1,snapshot.name=s1 top.qcow2 to.raw
convert --image-opts driver=qcow2,file.filename=top.qcow2 to.raw
convert 'json:{"driver":"qcow2","file.filename":"mid.qcow2","backing":null}' \
	to.raw

# Overlays: what is below stays below.  (The peer looks at the top layer only:
# it loses what a layer between it and the base has.)
convert -B mid.qcow2 -F qcow2 -O qcow2 top.qcow2 to.qcow2
[ "$(stat -c %b ours/to.qcow2)" -le "$(stat -c %b theirs/to.qcow2)" ]
cd ours
for o in '' -c '-S 0' -W; do
	# shellcheck disable=SC2086
	expect_exit 0 "$IMGCTL" convert $o -O qcow2 -B base.qcow2 -F qcow2 \
		top.qcow2 to.qcow2
	qemu-img compare -q top.qcow2 to.qcow2
	qemu-img check -q to.qcow2
	[ "$(stat -c %s to.qcow2)" -lt 2000000 ]
done
cd ..
convert -O qcow2 -o backing_file=mid.qcow2,backing_fmt=qcow2 top.qcow2 \
	to.qcow2
convert -c -O qcow2 -B mid.qcow2 -F qcow2 top.qcow2 to.qcow2

# Existing targets.
existing()
{
	both cp random.raw to.raw
	both truncate -s 12M to.raw
	both qemu-img create -q -f qcow2 to.qcow2 12M
	both qemu-io -c 'write -P 9 0 12M' to.qcow2 2>io.log
}
existing
convert -n top.qcow2 to.raw
convert -n -O qcow2 top.qcow2 to.qcow2
existing
agree convert -n -t none --target-image-opts top.qcow2 \
	driver=raw,file.filename=to.raw
same_content to.raw
[ "$(cat ours.rc)" = 'exit code 0' ]
both truncate -s 0 to.raw
both truncate -s 12M to.raw
convert -n --target-is-zero top.qcow2 to.raw
both qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 to.qcow2
convert -n -B mid.qcow2 -F qcow2 -O qcow2 top.qcow2 to.qcow2

# What is refused.
wrong
wrong a
wrong nope to.raw
wrong top.qcow2
wrong -O bogus top.qcow2 to.raw
wrong -n top.qcow2 nope
wrong -n -O qcow2 top.qcow2 empty.raw
wrong -n top.qcow2 empty.raw
for o in '-m 0' '-m 17' '-m x' '-S 100' '-S 17M' '-S x' '-S 4k -C' '-c -C' \
	'--salvage -C' -c '-c -O qcow2 -o preallocation=full' '-t bogus' \
	'-T bogus' '-r x' --target-is-zero --target-image-opts '-l nosnap' \
	'-n -o cluster_size=4k' '-B base.qcow2 -O qcow2' \
	'-B base.qcow2 -F qcow2' \
	'-o cluster_size=100 -O qcow2' '-l snapshot.id=9' \
	--skip-broken-bitmaps --bitmaps '-f qcow2 --image-opts' \
	'-F qcow2 -O qcow2' '-B base.qcow2 -F qcow2 -O qcow2 base.qcow2' \
	'-l s1 top.qcow2'; do
	# shellcheck disable=SC2086
	wrong $o top.qcow2 to.raw
done
expect_exit 1 "$IMGCTL" convert -o foo=1 ours/top.raw to.raw
expect_err "Invalid parameter 'foo'"
wrong --bitmaps top.raw -O qcow2 to.qcow2
wrong top.qcow2 nodir/to.raw
wrong -O qcow2 top.qcow2 top.qcow2
wrong base.qcow2 top.qcow2 ./top.qcow2

# Only we: an error where the peer says nothing or goes on.
expect_exit 1 "$IMGCTL" convert -n --target-is-zero -B ours/base.qcow2 \
	-F qcow2 -O qcow2 ours/top.qcow2 ours/to.qcow2
expect_err 'Cannot use --target-is-zero when the destination image has a'
"$IMGCTL" create -q -f qcow2 -o data_file=clear.data clear.qcow2 100M
cp clear.qcow2 as-it-was.qcow2
expect_exit 1 "$IMGCTL" convert -n -c -O qcow2 ours/top.raw clear.qcow2
expect_err 'clear.qcow2: Compression not supported for this kind of qcow2 image'
same clear.qcow2 as-it-was.qcow2
expect_exit 1 "$IMGCTL" convert -c -O qcow2 -o data_file=no.data ours/top.raw \
	no.qcow2
expect_err 'Compression and an external data file not supported'
[ ! -e no.qcow2 ] && [ ! -e no.data ]
expect_exit 0 "$IMGCTL" convert -O qcow2 -o help
expect_out 'Supported qcow2 options:'

# Progress: only this text on stdout.
expect_exit 0 "$IMGCTL" convert -p ours/random.raw to.raw
python3 - <<'END'
import re
text = open("out", newline="").read()
assert text.endswith("\r\n"), repr(text)
steps = text[:-1].split("\r")[:-1]
found = [float(re.fullmatch(r"    \((\d+\.\d\d)/100%\)", s)[1]) for s in steps]
assert found[0] == 0 and found[-1] == 100, found
assert found == sorted(found), found
END
expect_exit 1 "$IMGCTL" convert -p -O qcow2 -o cluster_size=100 ours/top.raw x
tail -c 1 out | grep >/dev/null -x ''
expect_exit 0 "$IMGCTL" convert -p -q ours/random.raw to.raw
[ ! -s out ]

# Damaged data: an error; with --salvage a warning and zeroes.
"$IMGCTL" convert -c -O qcow2 ours/top.raw bad.qcow2
python3 - <<'END'
import struct
with open("bad.qcow2", "r+b") as f:
    f.seek(40)
    f.seek(struct.unpack(">Q", f.read(8))[0])
    f.seek(struct.unpack(">Q", f.read(8))[0] & 0xfffffffffffe00)
    f.seek(struct.unpack(">Q", f.read(8))[0] & ((1 << 54) - 1))
    f.write(b"\xff" * 8)
END
cp ours/random.raw kept.raw
expect_exit 1 "$IMGCTL" convert bad.qcow2 kept.raw
same ours/random.raw kept.raw
expect_exit 0 "$IMGCTL" convert --salvage bad.qcow2 saved.raw
expect_err 'warning: error while reading'
cp ours/top.raw want.raw
dd if=/dev/zero of=want.raw bs=64k count=1 conv=notrunc status=none
same want.raw saved.raw
expect_exit 0 "$IMGCTL" convert -q --salvage bad.qcow2 saved.raw
[ ! -s err ]
