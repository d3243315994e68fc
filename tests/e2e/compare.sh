#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl compare: against qemu-img, with all of its exit codes.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"

cd theirs
truncate -s 10M a.raw
qemu-io -f raw -c 'write -P 1 0 64k' -c 'write -P 2 128k 200k' a.raw >io.log
qemu-img convert -f raw -O qcow2 a.raw a.qcow2
qemu-img convert -f raw -O qcow2 -c a.raw packed.qcow2
cp a.raw differs.raw
qemu-io -f raw -c 'write -P 9 5000000 1' differs.raw >io.log
cp a.raw longer.raw
truncate -s 20M longer.raw
cp longer.raw more.raw
qemu-io -f raw -c 'write -P 9 11000000 1' more.raw >io.log
qemu-img create -q -f qcow2 -b a.raw -F raw over.qcow2
cd ..

for pair in 'a.raw a.raw' 'a.raw a.qcow2' 'a.qcow2 packed.qcow2' \
	'a.raw differs.raw' 'differs.raw a.qcow2' 'a.raw longer.raw' \
	'longer.raw a.raw' 'a.raw more.raw' 'more.raw a.qcow2' \
	'over.qcow2 a.raw' 'nope a.raw' 'a.raw nope' 'a.raw'; do
	for o in '' -q -U --force-share '-T none'; do
		# shellcheck disable=SC2086
		agree_on_theirs compare $o $pair
	done
done
for pair in 'a.raw a.raw' 'a.raw longer.raw' 'longer.raw a.raw' \
	'a.raw a.qcow2' 'a.qcow2 a.qcow2'; do
	# shellcheck disable=SC2086
	agree_on_theirs compare -s $pair
	# shellcheck disable=SC2086
	agree_on_theirs compare -q -s $pair
done
# Bytes that are not at a place of the file as they are: encrypted, or packed
# (which the peer does not tell from that).
aes=driver=qcow2,file.filename=aes.qcow2,encrypt.key-secret=s
(cd theirs && qemu-img convert --object secret,id=s,data=hush -f raw -O qcow2 \
	-o encrypt.format=aes,encrypt.key-secret=s a.raw aes.qcow2)
agree_on_theirs compare -s a.qcow2 packed.qcow2
agree_on_theirs compare --object secret,id=s,data=hush -s --image-opts "$aes" \
	driver=qcow2,file.filename=a.qcow2
[ "$(cat ours.rc)" = 'exit code 1' ] || fail 'the same status'
(cd theirs && expect_exit 1 "$IMGCTL" compare -s --image-opts \
	--object secret,id=s,data=hush "$aes" \
	driver=qcow2,file.filename=packed.qcow2)
expect_out 'block status mismatch'
expect_exit 1 "$IMGCTL" compare -s theirs/a.raw theirs/differs.raw
expect_out 'Strict mode: Offset '
agree_on_theirs compare -f raw -F qcow2 a.raw a.qcow2
agree_on_theirs compare -f raw -F qcow2 a.raw a.raw
agree_on_theirs compare -f raw a.qcow2 a.raw
agree_on_theirs compare -T bogus a.raw a.raw
agree_on_theirs compare --object bogus,id=x a.raw a.raw
agree_on_theirs compare --object secret,id=x,data=y a.raw a.raw
agree_on_theirs compare --bogus a.raw a.raw
agree_on_theirs compare --image-opts driver=raw,file.filename=a.raw \
	file.filename=a.qcow2
agree_on_theirs compare --image-opts -f raw a.raw a.raw

# Progress: the text that scripts match, then the verdict.
expect_exit 0 "$IMGCTL" compare -p theirs/a.raw theirs/a.qcow2
tr '\r' '\n' <out >lines
[ "$(head -n 1 lines)" = '    (0.00/100%)' ]
[ "$(tail -n 3 lines)" = $'    (100.00/100%)\nImages are identical.' ]
expect_exit 1 "$IMGCTL" compare -p theirs/a.raw theirs/differs.raw
tr '\r' '\n' <out >lines
grep -vE '^    \([0-9]+\.[0-9]{2}/100%\)$' lines >rest
[ "$(cat rest)" = 'Content mismatch at offset 4999680!' ]
expect_exit 0 "$IMGCTL" compare -p -q theirs/a.raw theirs/a.qcow2
[ ! -s out ]

# 3: block status fails; 4: data cannot be read.
python3 - <<'END'
import struct
def patch(src, dst, where):
    b = bytearray(open(src, "rb").read())
    where(b)
    open(dst, "wb").write(b)
def l1(b):
    at = struct.unpack_from(">Q", b, 40)[0]
    struct.pack_into(">Q", b, at, 0x8000000000000000 | 0x10001)
def packed(b):
    at = struct.unpack_from(">Q", b, 40)[0]
    l2 = struct.unpack_from(">Q", b, at)[0] & 0xfffffffffffe00
    unit = struct.unpack_from(">Q", b, l2)[0] & ((1 << 54) - 1)
    b[unit:unit + 8] = b"\xff" * 8
patch("theirs/a.qcow2", "bad-map.qcow2", l1)
patch("theirs/packed.qcow2", "bad-data.qcow2", packed)
END
expect_exit 3 "$IMGCTL" compare theirs/a.raw bad-map.qcow2
expect_err 'bad-map.qcow2'
expect_exit 4 "$IMGCTL" compare theirs/a.raw bad-data.qcow2
expect_err 'bad-data.qcow2'
expect_exit 2 sh -c '"$1" compare theirs/a.raw theirs/a.qcow2 >/dev/full' - \
	"$IMGCTL"
