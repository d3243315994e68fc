#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VHD: qemu-img, 7z and vhdiinfo read what we write, we what qemu-img writes;
# differencing disks; resize; damage and its repair.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/writable.sh"
needs 7z jq nbdkit nbdsh qemu-img qemu-io python3 vhdiinfo "$IMGCTL" "$PLUGIN"

noisy_disk 2500000 3M 20000256

# facts PROGRAM FILE: what info says, without what only newer ones say.
facts()
{
	"$1" info -f vpc --output=json "$2" |
		jq -S 'del(.children, ."actual-size", .filename)'
}

# agree FILE RAW [LEAKS]: everybody finds the same.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F vpc "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F vpc "$2" "$1"
	"$IMGCTL" check -f vpc "$1" >out || [ $? = "${3:-0}" ]
	diff <(facts qemu-img "$1") <(facts "$IMGCTL" "$1")
	diff <(qemu-img map -f vpc --output=json "$1") \
		<("$IMGCTL" map -f vpc --output=json "$1" |
			sed 's/, "compressed": false//')
	vhdiinfo "$1" >info
	grep -q 'Media size' info || fail "vhdiinfo $1"
}

# ---- both ways -------------------------------------------------------------

for options in subformat=dynamic subformat=fixed force_size=on \
	subformat=fixed,force_size=on; do
	"$IMGCTL" convert -f raw -O vpc -o $options disk ours.vhd
	qemu-img convert -f raw -O vpc -o $options disk theirs.vhd
	agree ours.vhd disk
	agree theirs.vhd disk
	[ "$(stat -c %s ours.vhd)" = "$(stat -c %s theirs.vhd)" ] ||
		fail "another file size than qemu-img's"
	"$IMGCTL" measure -f raw -O vpc -o $options --output=json disk >out
	[ "$(jq .required out)" = "$(stat -c %s ours.vhd)" ] ||
		fail "measure: $(cat out)"
	7z x -so ours.vhd 2>/dev/null >back
	cmp -n 20000256 disk back
done
"$IMGCTL" info ours.vhd >out
grep -q 'file format: vpc' out || fail 'fixed disks are recognised'
expect_exit 0 "$IMGCTL" convert -O vhd disk alias.vhd

# Sizes are rounded to the same geometry, headers are the same but for time and
# identifier.
# Where the rules for the geometry change, and here and there.
cat >sizes.py <<'END'
import os, random, subprocess, sys
def image(program, size, options):
    subprocess.run([program, "create", "-q", "-f", "vpc", "-o", options,
                    "sized.vhd", str(size)], check=True)
    with open("sized.vhd", "rb") as f:
        at = f.seek(-512, 2)
        foot = bytearray(f.read())
        f.seek(0)
        head = bytearray(f.read() if at < 10 << 20 else b"")
    # Without the times and the identifiers.
    for b in foot, head, memoryview(head)[-512:]:
        b[24:28] = bytes(len(b[24:28]))
        b[64:84] = bytes(len(b[64:84]))
    os.unlink("sized.vhd")
    return at, bytes(head) if "fixed" not in options else None, bytes(foot)
rnd = random.Random(1)
limits = (17 * 4 * 1024, 17 * 16 * 1024, 31 * 16 * 1024, 65535 * 16 * 63,
          65535 * 16 * 255, 0xff000000)
sizes = [0, 512, 1000, 137438953471] + [
    512 * (l + d) for l in limits for d in (-1009, -17, -1, 0, 1, 68, 4081)
    if l + d <= limits[-1]]
sizes += [int(2 ** rnd.uniform(9, 40)) for _ in range(30)]
for size in sizes:
    for options in "force_size=off", rnd.choice(
            ("force_size=on", "subformat=fixed",
             "subformat=fixed,force_size=on")):
        a, b = (image(p, size, options) for p in ("qemu-img", sys.argv[1]))
        assert a == b, (size, options)
END
python3 sizes.py "$IMGCTL"
# The field that has the size, by who made the image.  Of a program that is not
# known it is the newer field, as QEMU has it since version 10.
while IFS='|' read -r creator want; do
	for subformat in dynamic fixed; do
		qemu-img create -q -f vpc -o subformat=$subformat,force_size=on \
			made.vhd 20000256
		python3 - made.vhd "$creator" <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    at = f.seek(-512, 2)
    b = bytearray(f.read())
    b[28:32] = sys.argv[2].encode()
    b[56:60] = struct.pack(">HBB", 300, 4, 17)
    b[64:68] = bytes(4)
    struct.pack_into(">I", b, 64, ~sum(b) & 0xffffffff)
    f.seek(at)
    f.write(b)
    if b[63] == 3:
        f.seek(0)
        f.write(b)
END
		[ "$("$IMGCTL" info -f vpc --output=json made.vhd |
			jq '."virtual-size"')" = "$want" ] ||
			fail "the size of a disk by '$creator'"
		# Unless it is said which one counts.
		for how in chs:10444800 current_size:20000256; do
			[ "$("$IMGCTL" info --output=json --image-opts "$(
				)driver=vpc,force_size_calc=${how%:*},$(
				)file.filename=made.vhd" |
				jq '."virtual-size"')" = ${how#*:} ] ||
				fail "force_size_calc, '$creator': not $how"
		done
		[ "$creator" = 'vs  ' ] ||
			diff <(facts qemu-img made.vhd) \
				<(facts "$IMGCTL" made.vhd)
	done
done <<'END'
qemu|10444800
vpc |10444800
qem2|20000256
win |20000256
d2v |20000256
vs  |20000256
END
for size in 2041G 3T; do
	expect_exit 1 "$IMGCTL" create -f vpc no.vhd $size
	expect_err "The image size is too large for file format 'vpc'"
done
[ ! -e no.vhd ]

# Written by both in turns, over what the other has written.
"$IMGCTL" create -q -f vpc -o force_size=on turns.vhd 20000256
cp --sparse=never /dev/null turns
truncate -s 20000256 turns
for i in 1 2 3 4; do
	for io in "write -P $i $((i * 777))k 70k" "write -z $((i * 3))M 900k" \
		"write -P $((i + 8)) $((i * 3000 + 1))k 1500k"; do
		qemu-io -f vpc -c "$io" turns.vhd >/dev/null
		qemu-io -f raw -c "$io" turns >/dev/null
	done
	"$IMGCTL" bench -q -f vpc -w -c 1 -s 8192 -o $((i * 4 - 1))M \
		--pattern=$((i + 3)) turns.vhd
	qemu-io -f raw -c "write -P $((i + 3)) $((i * 4 - 1))M 8k" turns \
		>/dev/null
done
agree turns.vhd turns

# ---- differencing disks ----------------------------------------------------

mkdir sub
"$IMGCTL" convert -f raw -O vpc -o force_size=on disk sub/base.vhd
"$IMGCTL" create -q -f vpc -b base.vhd -F vpc sub/mid.vhd
"$IMGCTL" create -q -f vpc -b mid.vhd -F vpc sub/top.vhd
cp disk content

# scribble IMAGE SEED: write here and there, and the same to the content.
scribble()
{
	cat >scribble.py <<'END'
import random, sys
rnd = random.Random(int(sys.argv[1]))
with open("content", "r+b") as f:
    for i in range(30):
        at = rnd.randrange(20000256)
        data = rnd.randbytes(min(rnd.choice((1, 511, 512, 4096, 300000)),
                                 20000256 - at))
        h.pwrite(data, at)
        f.seek(at)
        f.write(data)
END
	PATH=/usr/bin:$PATH nbdkit -U - "$PLUGIN" "$1" --run \
		"python3 -c 'import nbd; h = nbd.NBD(); import sys
h.connect_uri(sys.argv[2]); exec(open(\"scribble.py\").read())' $2 \"\$uri\""
}

scribble sub/mid.vhd 1
cp content mid.raw
scribble sub/top.vhd 2
expect_exit 0 "$IMGCTL" compare content sub/top.vhd
expect_exit 0 "$IMGCTL" compare mid.raw sub/mid.vhd
expect_exit 0 "$IMGCTL" compare disk sub/base.vhd
for f in base mid top; do
	expect_exit 0 "$IMGCTL" check sub/$f.vhd
	vhdiinfo sub/$f.vhd >info
	grep -q '20000256 bytes' info || fail "$(cat info)"
done
grep -q 'Disk type.*Differen' info || fail "$(cat info)"
grep -q 'Parent filename.*mid.vhd' info || fail "$(cat info)"
# 7z reads the parents too.
(cd sub && 7z x -so top.vhd 2>/dev/null) >back
cmp -n 20000256 content back
expect_exit 0 "$IMGCTL" info --backing-chain sub/top.vhd
expect_out 'backing file: mid.vhd (actual path: sub/mid.vhd)'
expect_out 'image: sub/base.vhd'
"$IMGCTL" map --output=json sub/top.vhd >out
[ "$(jq 'map(.depth) | unique | length' out)" = 3 ] || fail "map: $(cat out)"

# Every kind of name that programs give a parent, and none but the header's.
cp sub/top.vhd kept.vhd
"$IMGCTL" convert -O raw sub/top.vhd seen
mkdir sub/low
while IFS='|' read -r code text want; do
	cp kept.vhd sub/top.vhd
	python3 - sub/top.vhd "$code" "$text" <<'END'
import struct, sys
name, code, text = sys.argv[1:]
b = bytearray(open(name, "rb").read())
text = text.encode("utf-16-le" if code in ("W2ru", "W2ku") else "utf-8")
at = struct.unpack_from(">Q", b, 512 + 576 + 16)[0]
b[at:at + len(text)] = text
struct.pack_into(">4sIIIQ", b, 512 + 576, code.encode(), 512, len(text), 0, at)
b[548:552] = bytes(4)
struct.pack_into(">I", b, 548, ~sum(b[512:1536]) & 0xffffffff)
open(name, "wb").write(b)
END
	expect_exit 0 "$IMGCTL" info --output=json sub/top.vhd
	[ "$(jq -r '."backing-filename"' out)" = "$want" ] ||
		fail "$code $text: $(cat out)"
	expect_exit 0 "$IMGCTL" compare -f raw seen sub/top.vhd
done <<'END'
W2ru|.\mid.vhd|mid.vhd
W2ru|.\low\..\mid.vhd|low/../mid.vhd
W2ku|C:\disks\mid.vhd|mid.vhd
Wi2r|.\mid.vhd|mid.vhd
Wi2k|C:\disks\mid.vhd|mid.vhd
MacX|file://localhost/Users/some%20one/%6did.vhd|mid.vhd
Mac |an alias is not looked at|mid.vhd
END
rmdir sub/low
mv kept.vhd sub/top.vhd

# Another parent than the one that it was made on.
cp sub/base.vhd kept.vhd
"$IMGCTL" create -q -f vpc -o force_size=on sub/base.vhd 20000256
expect_exit 1 "$IMGCTL" convert -O raw sub/mid.vhd back
expect_err 'is not what it was: its unique ID is'
mv kept.vhd sub/base.vhd
# The same one under a name that there is not yet; a disk that has no parent
# needs one that can be looked at.
expect_exit 0 "$IMGCTL" rebase -u -b moved.vhd -F vpc sub/mid.vhd
expect_exit 1 "$IMGCTL" map sub/mid.vhd
expect_err 'moved.vhd'
cp sub/base.vhd sub/moved.vhd
expect_exit 0 "$IMGCTL" compare mid.raw sub/mid.vhd
expect_exit 0 "$IMGCTL" rebase -u -b base.vhd -F vpc sub/mid.vhd
rm sub/moved.vhd
expect_exit 1 "$IMGCTL" rebase -u -b moved.vhd -F vpc sub/base.vhd
expect_err 'moved.vhd'

# Another base that reads otherwise, and none; back into the base.
cp -r sub kept
"$IMGCTL" rebase -b base.vhd -F vpc sub/top.vhd
expect_exit 0 "$IMGCTL" compare content sub/top.vhd
expect_exit 0 "$IMGCTL" check sub/top.vhd
"$IMGCTL" rebase -b '' sub/top.vhd
cp sub/top.vhd alone.vhd
expect_exit 0 "$IMGCTL" compare content alone.vhd
vhdiinfo alone.vhd >info
grep -q 'Disk type.*Dynamic' info || fail "$(cat info)"
rm alone.vhd
expect_exit 0 "$IMGCTL" compare content sub/top.vhd
expect_exit 0 qemu-img compare -f raw -F vpc content sub/top.vhd
rm -r sub
mv kept sub
expect_exit 0 "$IMGCTL" commit -q sub/top.vhd
expect_exit 0 "$IMGCTL" compare content sub/mid.vhd
expect_exit 0 "$IMGCTL" compare content sub/top.vhd
[ "$(stat -c %s sub/top.vhd)" -lt 10000 ] || fail 'top is not empty'

# ---- sizes -----------------------------------------------------------------

for subformat in dynamic fixed; do
	cp disk content
	"$IMGCTL" convert -f raw -O vpc -o subformat=$subformat,force_size=on \
		disk sized.vhd
	for size in 900M 5000192 30M; do
		"$IMGCTL" resize -q --shrink -f vpc sized.vhd $size
		truncate -s $size content
		# The table that has moved stands behind what was given up.
		agree sized.vhd content 3
	done
done

# ---- damage ----------------------------------------------------------------

expect_exit 1 "$IMGCTL" info -f vpc disk
expect_err 'invalid VPC image'
"$IMGCTL" convert -f raw -O vpc -o force_size=on disk good.vhd

# damaged EXIT MESSAGE AFTER CODE: a program changes the bytes b.
damaged()
{
	python3 - "$4" <<'END'
import struct, sys
b = bytearray(open("good.vhd", "rb").read())
def fix(at, size, field):
    b[at + field:at + field + 4] = bytes(4)
    struct.pack_into(">I", b, at + field, ~sum(b[at:at + size]) & 0xffffffff)
exec(sys.argv[1])
open("bad.vhd", "wb").write(b)
END
	expect_exit "$1" "$IMGCTL" check -f vpc bad.vhd
	cat "$TMP/out" >>"$TMP/err"
	expect_err "$2"
	expect_exit "$3" "$IMGCTL" check -f vpc -r all bad.vhd
	expect_exit "$3" "$IMGCTL" check -f vpc bad.vhd
}

damaged 3 'footer at' 0 'del b[-512:]'
expect_exit 0 "$IMGCTL" compare disk bad.vhd
damaged 2 'copy of the VHD footer' 0 'b[64] ^= 1'
expect_exit 0 qemu-img compare -f raw -F vpc disk bad.vhd
damaged 2 'used twice' 0 'b[1540:1544] = b[1536:1540]'
damaged 2 'past the end' 3 'b[1536:1540] = b"\x7f\xff\xff\xff"'
damaged 1 'checksum of the dynamic VHD header' 1 'b[540] ^= 1'
damaged 1 'block size 513' 1 'b[544:548] = b"\0\0\x02\x01"; fix(512, 1024, 36)'
damaged 1 'allocation table of 4294967295 entries' 1 \
	'b[540:544] = b"\xff" * 4; fix(512, 1024, 36)'

# The footer at the end is the only good one, and lies across the place of the
# next one.
"$IMGCTL" create -q -f vpc empty.vhd 20M
python3 - <<'END'
b = bytearray(open("empty.vhd", "rb").read())
b[64] ^= 1
open("bad.vhd", "wb").write(b[:-512] + bytes((2 << 20) + 512 + 30) + b[-512:])
END
expect_exit 0 "$IMGCTL" bench -q -f vpc -w -c 1 --pattern=5 bad.vhd
expect_exit 0 qemu-io -r -f vpc -c 'read -P 5 0 4k' bad.vhd
expect_exit 0 "$IMGCTL" check -f vpc -r all bad.vhd

# The user of a fixed disk may write what another format begins with.
"$IMGCTL" convert -f raw -O vpc -o subformat=fixed,force_size=on disk fixed.vhd
printf 'QFI\xfb\0\0\0\3' | dd of=fixed.vhd conv=notrunc status=none
expect_exit 1 "$IMGCTL" info fixed.vhd
expect_err 'could be a qcow2 image or a vpc image'
expect_exit 0 "$IMGCTL" info -f vpc fixed.vhd

# And that of a disk whose format was guessed may not make a VHD of it.
cp disk guessed
"$IMGCTL" create -q -f vpc -o subformat=fixed,force_size=on foot.vhd 19999744
nbdkit -U - "$PLUGIN" guessed --run 'PATH=/usr/bin:$PATH python3 -c "
import nbd, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
foot = open(\"foot.vhd\", \"rb\").read()[-512:]
h.pwrite(foot[:60], 19999744)
try:
    h.pwrite(foot[60:], 19999744 + 60)
    sys.exit(\"written\")
except nbd.Error as e:
    assert e.errno == \"EPERM\", e
" "$uri"'

# ---- samples ---------------------------------------------------------------

if [ -d "$SAMPLES" ]; then
	file=$(sample virtualpc-dynamic.vhd)
	qemu-img convert -f vpc -O raw "$file" theirs.raw
	expect_exit 0 "$IMGCTL" compare -f raw theirs.raw "$file"
	expect_exit 0 "$IMGCTL" check "$file"
	diff <(facts qemu-img "$file") <(facts "$IMGCTL" "$file")
fi
