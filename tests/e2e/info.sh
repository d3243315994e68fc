#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl info: both layouts, against qemu-img.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

# One folder with images that the peer made.
cd theirs
qemu-img create -q -f qcow2 base.qcow2 10M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 12M
mkdir sub
qemu-img create -q -f qcow2 -b ../mid.qcow2 -F qcow2 sub/top.qcow2
qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
qemu-img create -q -f qcow2 -o cluster_size=4k,refcount_bits=1 c4k.qcow2 1M
qemu-img create -q -f qcow2 -o extended_l2=on,lazy_refcounts=on l2.qcow2 1M
qemu-img create -q -f qcow2 -o compression_type=zstd zstd.qcow2 1M
qemu-img create -q -f qcow2 -o data_file=d.raw,data_file_raw=on df.qcow2 1M
qemu-img create -q -f raw flat.raw 3M
qemu-img create -q -f qcow2 bitmaps.qcow2 1M
qemu-img bitmap --add bitmaps.qcow2 b0
qemu-img bitmap --add --disable -g 4k bitmaps.qcow2 b1
qemu-img create -q -f qcow2 -u -b gone.qcow2 -F qcow2 orphan.qcow2 1M
qemu-img create -q -f qcow2 -u -b 'nbd://host/x' -F raw remote.qcow2 1M
qemu-img create -q -f qcow2 -u -b loop2.qcow2 -F qcow2 loop1.qcow2 1M
qemu-img create -q -f qcow2 -u -b ./sub/../loop1.qcow2 -F qcow2 loop2.qcow2 1M
truncate -s 0 empty.raw
odd_name=$'we\xffird "q\\\x7f\t\x01\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.raw'
truncate -s 1M "$odd_name"
cd ..

for f in base mid sub/top v2 c4k l2 zstd df bitmaps orphan remote loop1; do
	agree_on_theirs info "$f.qcow2"
	agree_on_theirs info --output=json "$f.qcow2"
	agree_on_theirs info --output human -f qcow2 "$f.qcow2"
done
for f in flat.raw empty.raw "$odd_name" file:flat.raw ./flat.raw /dev/null; do
	agree_on_theirs info "$f"
	agree_on_theirs info "$f" --output json
done
agree_on_theirs info --format raw flat.raw --outp json
agree_on_theirs info --format=qcow2 -U base.qcow2
agree_on_theirs info --force-share -- flat.raw

# Chains.
for f in base.qcow2 sub/top.qcow2 flat.raw orphan.qcow2; do
	agree_on_theirs info --backing-chain "$f"
	agree_on_theirs info --backing-chain --output=json "$f"
done
cd theirs
expect_exit 1 timeout 20 "$IMGCTL" info --backing-chain loop1.qcow2
expect_err "loop1.qcow2' creates an infinite loop."
[ ! -s ../out ]
cd ..

# Image options.
agree_on_theirs info --image-opts driver=qcow2,file.filename=mid.qcow2
agree_on_theirs info --image-opts file.filename=mid.qcow2 --output=json
agree_on_theirs info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"mid.qcow2"}}'
agree_on_theirs info 'json: {"file.filename":"base.qcow2"}'
agree_on_theirs info --image-opts -f raw driver=raw,file.filename=flat.raw
expect_exit 1 "$IMGCTL" info --image-opts driver=qcow2,file.filename=theirs/base.qcow2,bogus=1
expect_err "Block format 'qcow2' does not support the option 'bogus'"
expect_exit 1 "$IMGCTL" info --image-opts plain
expect_err "node-name='plain'"

# What is wrong.
agree_on_theirs info
agree_on_theirs info a b
agree_on_theirs info nope
agree_on_theirs info ''
agree_on_theirs info .
agree_on_theirs info a:b
agree_on_theirs info -f bogus base.qcow2
agree_on_theirs info -f qcow2 flat.raw
agree_on_theirs info --output=xml base.qcow2
agree_on_theirs info --output
agree_on_theirs info --bogus base.qcow2
agree_on_theirs info -z base.qcow2
agree_on_theirs info -f
agree_on_theirs info --help=1 base.qcow2
agree_on_theirs info --object bogus,id=x base.qcow2
agree_on_theirs info --object secret base.qcow2
agree_on_theirs info --object secret,id=a,data=x base.qcow2
agree_on_theirs info --object '{"qom-type":"secret","id":"a","data":"x"}' \
	base.qcow2
head -c 90 theirs/base.qcow2 >theirs/short.qcow2
expect_exit 1 "$IMGCTL" info theirs/short.qcow2
[ ! -s out ]

# What the peer does not print yet: the file below, as a child.
expect_exit 0 "$IMGCTL" info --output=json theirs/base.qcow2
python3 - <<'END'
import json, os
x = json.load(open("out"))
child, = x["children"]
info = child["info"]
size = os.stat("theirs/base.qcow2")
assert child["name"] == "file" and info["format"] == "file", x
assert info["filename"] == "theirs/base.qcow2" and info["children"] == [], x
assert info["virtual-size"] == (size.st_size + 511) // 512 * 512, x
assert info["actual-size"] == x["actual-size"] == size.st_blocks * 512, x
assert not info["dirty-flag"], x
assert info["format-specific"] == {"type": "file", "data": {}}, x
END
expect_exit 0 "$IMGCTL" info theirs/flat.raw
printf '%s\n' "Child node '/file':" '    filename: theirs/flat.raw' \
	'    protocol type: file' '    file length: 3 MiB (3145728 bytes)' \
	"    $(grep '^disk size' out)" >want
tail -n 5 out >got
same want got

# Snapshots: columns and members.
qemu-io -c 'write -P 1 0 64k' theirs/base.qcow2 >io.log
qemu-img snapshot -c s1 theirs/base.qcow2
qemu-img snapshot -c 'two words' theirs/base.qcow2
agree_on_theirs info --output=json base.qcow2
expect_exit 0 env TZ=UTC0 "$IMGCTL" info theirs/base.qcow2
grep -qE '^ID      TAG               VM_SIZE                DATE        VM_CLOCK     ICOUNT$' out
grep -qE '^1       s1                    0 B [0-9-]{10} [0-9:]{8}  0000:00:00\.000          0$' out
grep -qE '^2       two words ' out

# Small limits are enough, whatever the image says.
for f in sub/top.qcow2 bitmaps.qcow2 flat.raw; do
	expect_exit 0 prlimit --as=1073741824 --cpu=10 "$IMGCTL" info -U \
		--output=json "theirs/$f"
	[ ! -s err ]
done

# An image in use needs -U.
hold_lock theirs/flat.raw
expect_exit 1 "$IMGCTL" info theirs/flat.raw
expect_err 'Failed to get shared "write" lock'
expect_exit 0 "$IMGCTL" info -U theirs/flat.raw

# Output that cannot be written is an error, and no crash.
expect_exit 1 sh -c '"$1" info theirs/base.qcow2 >/dev/full' - "$IMGCTL"
expect_err 'cannot write to stdout'
expect_exit 1 sh -c '"$1" info theirs/base.qcow2 >&-' - "$IMGCTL"
before=$(sha theirs/base.qcow2)
sh -c '"$1" info theirs/base.qcow2 <&- >&- 2>&-' - "$IMGCTL" || true
[ "$(sha theirs/base.qcow2)" = "$before" ]
