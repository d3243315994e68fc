#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# dmg: images with chunks of every type, as qemu-img, 7z and dmg2img read them;
# one that macOS made; damaged ones.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/readonly.sh"
needs 7z dmg2img jq qemu-img nbdkit nbdcopy python3 "$IMGCTL" "$PLUGIN"

# make OUT DISK OPTION...: a dmg of that disk.
make()
{
	python3 "$SRC/tests/lib/udif.py" "$@"
}

# Text, zeroes, noise, and matches of all lengths and distances; an odd number
# of sectors.
python3 - <<'END'
import random
rnd = random.Random(7)
text = "".join("%d %s\n" % (i * i, "etaoin" * (i % 5)) for i in range(9000))
data = text.encode()[:150000] + bytes(140000) + rnd.randbytes(40000)
while len(data) < 450000:
    at, n = rnd.randrange(len(data)), rnd.choice((3, 5, 17, 34, 300, 3000))
    data += data[at:at + n] + rnd.randbytes(rnd.choice((0, 1, 2, 3, 20, 400)))
open("disk", "wb").write((data + b"ab" * 9000)[:913 * 512])
END

# peer_reads CMD...: the peer makes $peer, which is the disk.
peer_reads()
{
	expect_exit 0 "$@"
	same disk peer
	rm -f peer
}

seven_zip()
{
	7z x -tdmg -so "$1" >peer
}

for type in raw zlib bzip2 xz adc bvx1 bvx2 lzvn plain mixed; do
	make "$type.dmg" disk --types="$type" --parts=2
	case $type in raw | zlib)
		peer_reads qemu-img convert -O raw "$type.dmg" peer
	esac
	case $type in raw | zlib | bzip2 | adc)
		peer_reads dmg2img -s "$type.dmg" peer
	esac
	# It does not know blocks of version 1; and what it unpacks of blocks
	# that are not packed is right, but it calls that an error.
	case $type in
	bvx1 | mixed) ;;
	plain)
		seven_zip plain.dmg || true
		same disk peer
		;;
	*) peer_reads seven_zip "$type.dmg" ;;
	esac
	expect_exit 0 "$IMGCTL" convert -O raw "$type.dmg" ours.raw
	same disk ours.raw
	expect_exit 0 "$IMGCTL" check "$type.dmg"
	rm ours.raw
done

# All types in one image, with chunks of every length; and as trailers, tables
# and forks can be.
all=raw,zlib,bzip2,xz,adc,bvx1,bvx2,lzvn,plain,mixed
make all.dmg disk --types=$all --chunk=23 --parts=3
reads_as dmg all.dmg disk
refuses_writes dmg all.dmg
make fork.dmg disk --fork --parts=5
peer_reads qemu-img convert -O raw fork.dmg peer
reads_as dmg fork.dmg disk
make own.dmg disk --own-data --parts=4 --chunk=77 --types=zlib,raw
peer_reads qemu-img convert -O raw own.dmg peer
reads_as dmg own.dmg disk
make first.dmg disk --trailer-first --types=adc,raw
reads_as dmg first.dmg disk
# On a device more bytes follow.
cp own.dmg padded
truncate -s %512 padded
expect_exit 0 "$IMGCTL" compare -f dmg -F raw padded disk

if [ -d "$SAMPLES" ]; then
	file=$(sample simple-dmg.dmg)
	qemu-img convert -f dmg -O raw "$file" theirs.raw
	reads_as dmg "$file" theirs.raw
fi

# ---- block status ---------------------------------------------------------

# status IMAGE: zero and present of what is at byte 204800.
status()
{
	"$IMGCTL" map --output=json "$1" | jq -c '.[] |
		select(.start <= 204800 and .start + .length > 204800) |
		[.zero, .present]'
}

make zero.dmg disk --chunk=32
[ "$(status zero.dmg)" = '[true,true]' ] || fail "zero chunks"
make ignore.dmg disk --chunk=32 --ignore
[ "$(status ignore.dmg)" = '[true,false]' ] || fail "chunks to ignore"
reads_as dmg ignore.dmg disk
make gap.dmg disk --chunk=32 --gap=384:64
[ "$(status gap.dmg)" = '[true,false]' ] || fail "sectors without a chunk"
reads_as dmg gap.dmg disk

# ---- what is refused ------------------------------------------------------

# refused FORMAT FILE MESSAGE
refused()
{
	expect_exit 1 "$IMGCTL" convert -f "$1" -O raw "$2" out.raw
	expect_err "$2"
	expect_err "$3"
}

refused dmg disk "no dmg trailer"
: >empty
refused dmg empty "no dmg trailer"
head -c 100 zlib.dmg >short
refused dmg short "no dmg trailer"
{ printf encrcdsa; head -c 4096 /dev/zero; } >crypt2
expect_exit 1 "$IMGCTL" info crypt2
expect_err "encrypted dmg images (encrcdsa)"
{ head -c 4096 /dev/zero; printf cdsaencr; } >crypt1
expect_exit 1 "$IMGCTL" info crypt1
expect_err "encrypted dmg images (cdsaencr)"

# trailer_refused OFFSET HEX MESSAGE: with that in the trailer.
trailer_refused()
{
	cp zlib.dmg bad.dmg
	poke bad.dmg $(($(stat -c %s bad.dmg) - 512 + $1)) "$2"
	refused dmg bad.dmg "$3"
}

trailer_refused 60 00000002 'part 1 of a dmg image of 2 files'
trailer_refused 216 7fffffffffffffff 'property list of '
trailer_refused 224 7fffffffffffffff 'allowed are 16777216'
trailer_refused 224 0000000000000010 'no block table in 16 bytes'
trailer_refused 224 0000000000000000 'no block table in 0 bytes'
trailer_refused 48 0000000002000001 'resource fork of 33554433 bytes'
cp zlib.dmg counted.dmg # its chunks say how large the disk is
poke counted.dmg $(($(stat -c %s zlib.dmg) - 512 + 492)) 0000000000000000
reads_as dmg counted.dmg disk
trailer_refused 492 7fffffffffffffff 'a disk of 9223372036854775807 sectors'

# list_refused PYTHON MESSAGE: the list, as a string, or the tables of it.
list_refused()
{
	python3 - "$1" <<'END'
import base64, plistlib, re, struct, sys
image = open("all.dmg", "rb").read()
at, n = struct.unpack(">QQ", image[-296:-280])
text = image[at:at + n]
tables = [bytearray(i["Data"])
          for i in plistlib.loads(text)["resource-fork"]["blkx"]]
def put(table, chunk, field, value):
    at = 204 + 40 * chunk + 8 * field
    tables[table][at:at + 8] = struct.pack(">Q", value)
exec(sys.argv[1])
if tables:
    text = plistlib.dumps({"resource-fork": {"blkx": [
        {"Data": bytes(t)} for t in tables]}})
trailer = bytearray(image[-512:])
trailer[216:232] = struct.pack(">QQ", at, len(text))
open("bad.dmg", "wb").write(image[:at] + text + trailer)
END
	refused dmg bad.dmg "$2"
}

list_refused 'tables[0][4:] = b""' 'dmg block table of 4 bytes'
list_refused 'tables[0][200:204] = b"\xff" * 4' 'for its 4294967295 chunks'
list_refused 'tables[1][8:16] = b"\xff" * 8' 'no disk has so many'
list_refused 'tables[1][8:16] = bytes(8)' 'dmg chunks overlap'
list_refused 'tables.append(tables[1])' 'dmg chunks overlap'
list_refused 'put(0, 2, 2, 131073)' 'allowed are 131072 sectors'
list_refused 'put(0, 2, 2, 1 << 63)' 'no disk has so many'
list_refused 'put(0, 2, 4, 0)' 'allowed are 1 to 67108864 bytes'
list_refused 'put(0, 2, 4, 1 << 40)' 'allowed are 1 to 67108864 bytes'
list_refused 'put(0, 0, 4, 1)' 'they do not fit'
list_refused 'put(0, 2, 3, 1 << 40)' 'bytes at 1099511'
list_refused 'put(0, 2, 3, (1 << 64) - 1)' 'the file has'
list_refused 'put(0, 2, 0, 0x80000099 << 32)' 'type 0x80000099 is not known'
list_refused 'tables = 0; text = text.replace(b"bWlz", b"bWl*")' 'Base64 data'
list_refused 'tables = 0; text = text.replace(b"<data>", b"<date>")' \
	'no block table'
list_refused 'tables = 0; text = text.replace(b"</data>", b"AAA</data>")' \
	'Base64 data'
list_refused 'tables = 0
text = text.replace(b"<array>", b"<!--").replace(b"</array>", b"-->")' \
	'no block table'

# Nothing of a list is expanded.
list='<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
list_refused "tables = 0; text = b'''$list<data>&b;</data>'''" 'Base64 data'

# ---- damaged data ---------------------------------------------------------

# The rest of the disk can be read.
cp all.dmg bad.dmg
poke bad.dmg 30000 "$(printf 'a5%.0s' {1..40})"
expect_exit 2 "$IMGCTL" check bad.dmg
expect_exit 0 "$IMGCTL" check -q all.dmg
# What unpacks all the same has another checksum.
cp raw.dmg bad.dmg
poke bad.dmg 1000 2a
expect_exit 2 "$IMGCTL" check bad.dmg
expect_err 'dmg part at sector 0: its checksum is'
cp raw.dmg bad.dmg
poke bad.dmg $(($(stat -c %s bad.dmg) - 512 + 360)) 0bad0bad
expect_exit 2 "$IMGCTL" check bad.dmg
expect_err 'should be 0bad0bad'
for type in zlib bzip2 xz adc bvx1 bvx2 lzvn; do
	cp "$type.dmg" bad.dmg
	poke bad.dmg 5000 ff00ff00ff00ff00ff00ff00
	expect_exit 2 "$IMGCTL" check bad.dmg
	expect_exit 0 "$IMGCTL" convert --salvage -O raw bad.dmg out.raw
	cmp -i $((457 * 512)) disk out.raw
done
