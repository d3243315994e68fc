#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What only other programs write: kinds, versions, fields and entries that are
# in neither our images nor those of the peers here.  Where qemu-img reads it,
# it says the same.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/writable.sh"
. "$SRC/tests/lib/readonly.sh" # poke
needs bximage jq qemu-img qemu-io python3 7z "$IMGCTL" "$IMGD"

noisy_disk 700000 2M 4000256

# size FILE FORMAT: of the disk in it.
size()
{
	"$IMGCTL" info -f "$2" --output=json "$1" | jq '."virtual-size"'
}

# write_both FILE FORMAT RAW: the same is written to both.
write_both()
{
	local x
	for x in "-f $2 $1" "-f raw $3"; do
		# shellcheck disable=SC2086
		"$IMGCTL" bench -q -w -c 4 -s 5000 -o 1500000 -S 600000 \
			--pattern=4 $x
	done
}

# ---- VDI ----------------------------------------------------------------------

# make_vdi FILE BLOCK LEAD TYPE SIZE: the disk, with LEAD bytes before each
# block.
make_vdi()
{
	python3 - "$@" <<'END'
import struct, sys
block, lead, kind, size = (int(a) for a in sys.argv[2:])
raw = open("disk", "rb").read()
n = -(-size // block)
data = -(-(512 + 4 * n) // 512) * 512
used, body, table = 0, b"", []
for i in range(n):
    piece = raw[i * block:(i + 1) * block]
    if any(piece):
        body += b"L" * lead + piece.ljust(block, b"\0")
        table.append(used)
        used += 1
    else:
        table.append(0xffffffff)
head = bytearray(512)
head[0:20] = b"<<< some program >>>"
struct.pack_into("<IIII", head, 64, 0xbeda107f, 0x10001, 400, kind)
struct.pack_into("<II", head, 340, 512, data)
struct.pack_into("<I", head, 360, 512)
struct.pack_into("<QIIII", head, 368, size, block, lead, n, used)
head[392:408] = bytes(range(16))
with open(sys.argv[1], "wb") as f:
    f.write((head + struct.pack(f"<{n}I", *table)).ljust(data, b"\0") + body)
END
}

for args in '4096 0' '65536 0' '16777216 0' '1048576 512' '65536 4096'; do
	# shellcheck disable=SC2086
	make_vdi odd.vdi $args 1 4000256
	expect_exit 0 "$IMGCTL" compare -f raw -F vdi disk odd.vdi
	expect_exit 0 "$IMGCTL" check odd.vdi
	cp disk copy
	write_both odd.vdi vdi copy
	expect_exit 0 "$IMGCTL" compare -f raw -F vdi copy odd.vdi
	expect_exit 0 "$IMGCTL" check odd.vdi
	"$IMGCTL" resize -q odd.vdi 30M
	truncate -s 30M copy
	expect_exit 0 "$IMGCTL" compare -f raw -F vdi copy odd.vdi
	expect_exit 0 "$IMGCTL" check odd.vdi
done
# A last sector that is not whole.
make_vdi odd.vdi 1048576 0 1 4000000
[ "$(size odd.vdi vdi)" = 4000256 ] || fail "$(size odd.vdi vdi)"
expect_exit 0 qemu-img compare -f raw -F vdi disk odd.vdi
expect_exit 0 "$IMGCTL" compare -f raw -F vdi disk odd.vdi
# An undo image has a parent, whose UUID it need not have.
make_vdi undo.vdi 1048576 0 3 8000512
expect_exit 1 "$IMGCTL" map undo.vdi
expect_err "differencing VDI image"
truncate -s 8000512 below
printf 'below' | dd of=below bs=1 seek=7000000 conv=notrunc status=none
cp below copy
dd if=disk of=copy bs=1M conv=notrunc status=none
truncate -s 8000512 copy
expect_exit 0 "$IMGCTL" convert -O raw --image-opts driver=vdi,$(
	)file.filename=undo.vdi,backing.driver=raw,backing.file.filename=below got
cmp -n 1048576 disk got
cmp -i 7000000 below got

# ---- QED ----------------------------------------------------------------------

"$IMGCTL" convert -f raw -O qed disk f.qed
poke f.qed 16 08
expect_exit 1 "$IMGCTL" info f.qed
expect_err "Unsupported QED features: 8"
expect_exit 1 qemu-img info f.qed
poke f.qed 16 00
# Unknown autoclear features are cleared by who writes, compatible ones are kept.
poke f.qed 24 2000000000000000
poke f.qed 32 4000000000000000
"$IMGCTL" bench -q -f qed -c 1 f.qed
[ "$(od -An -tx8 -j 24 -N 16 f.qed)" = \
	" 0000000000000020 0000000000000040" ] || fail "changed by a reader"
"$IMGCTL" bench -q -f qed -w -c 1 f.qed
[ "$(od -An -tx8 -j 24 -N 16 f.qed)" = \
	" 0000000000000020 0000000000000000" ] || fail "not cleared by a writer"

# ---- Bochs: version 1, whose size is elsewhere ------------------------------------

bximage -q -func=create -hd=10M -imgmode=flat flat >/dev/null
dd if=noise of=flat bs=4k seek=100 conv=notrunc status=none
bximage -q -func=convert -imgmode=growing flat two.bochs >/dev/null
python3 - <<'END'
b = bytearray(open("two.bochs", "rb").read())
b[64:68] = (0x10000).to_bytes(4, "little")
b[84:96] = b[88:96] + bytes(4)
open("one.bochs", "wb").write(b)
END
expect_exit 0 qemu-img compare -f bochs -F raw one.bochs flat
reads_as bochs one.bochs flat

# ---- Parallels ------------------------------------------------------------------

# Only half of the size counts in the older kind.
"$IMGCTL" convert -f raw -O parallels -o cluster_size=64k disk p
python3 - <<'END'
import struct
b = bytearray(open("p", "rb").read())
b[0:16] = b"WithoutFreeSpace"
n = struct.unpack_from("<I", b, 32)[0]
for at in range(64, 64 + 4 * n, 4):
    entry = struct.unpack_from("<I", b, at)[0]
    struct.pack_into("<I", b, at, entry * 128)
b[40:44] = b[36:40]
b[40:44] = b"\xab\xcd\0\0"
open("old", "wb").write(b)
END
expect_exit 0 qemu-img compare -f raw -F parallels disk old
expect_exit 0 "$IMGCTL" compare -f raw -F parallels disk old
cp disk copy
write_both old parallels copy
expect_exit 0 qemu-img compare -f raw -F parallels copy old
expect_exit 0 "$IMGCTL" check old
# While it is written it says so; and is repaired after whoever died.
start_imgd -f parallels p
nbdsh -u "$URI" -c 'h.pwrite(b"x" * 512, 512)' -c 'h.flush()'
[ "$(od -An -tx4 -j 44 -N 4 p)" = ' 746f6e59' ] || fail "not in use"
kill_server "$SERVER_PID" || true
expect_exit 2 "$IMGCTL" check p
expect_err "image was not closed correctly"
"$IMGCTL" bench -q -f parallels -w -c 1 -s 512 --pattern=120 -o 512 p
[ "$(od -An -tx4 -j 44 -N 4 p)" = ' 00000000' ] || fail "still in use"
expect_exit 0 qemu-img check p
printf 'x%.0s' {1..512} | dd of=disk bs=512 seek=1 conv=notrunc status=none
expect_exit 0 qemu-img compare -f raw -F parallels disk p

# ---- VHD ------------------------------------------------------------------------

# make_vhd FILE BLOCK BITS: a dynamic disk; of each block only the sectors count
# whose bit is set in the bytes BITS, which are repeated.
make_vhd()
{
	python3 - "$@" <<'END'
import struct, sys
block, bits = int(sys.argv[2]), bytes.fromhex(sys.argv[3])
raw = open("disk", "rb").read()
n = -(-len(raw) // block)
bitmap = -(-block // (8 * 512 * 512)) * 512
at = 1536 + -(-4 * n // 512) * 512
body, table = b"", []
for i in range(n):
    piece = raw[i * block:(i + 1) * block]
    if any(piece):
        table.append((at + len(body)) // 512)
        body += (bits * bitmap)[:bitmap] + piece.ljust(block, b"\0")
    else:
        table.append(0xffffffff)
def checked(b, field):
    struct.pack_into(">I", b, field, ~sum(b) & 0xffffffff)
    return bytes(b)
foot = checked(bytearray(struct.pack(
    ">8sIIQI4sI4sQQHBBII16s", b"conectix", 2, 0x10000, 512, 0, b"win ",
    0x60001, b"Wi2k", len(raw), len(raw), 65535, 16, 255, 3, 0,
    bytes(range(16))).ljust(512, b"\0")), 64)
head = checked(bytearray(struct.pack(
    ">8sQQIII", b"cxsparse", (1 << 64) - 1, 1536, 0x10000, n, block).ljust(
        1024, b"\0")), 36)
with open(sys.argv[1], "wb") as f:
    f.write((foot + head + struct.pack(f">{n}I", *table)).ljust(at, b"\xff") +
            body + foot)
END
}

for block in 512 4096 65536 4194304; do
	make_vhd odd.vhd $block ff
	tools=("$IMGCTL" qemu-img)
	# That there is a bitmap also before the shortest blocks QEMU overlooks.
	[ $block != 512 ] || tools=("$IMGCTL")
	cp disk copy
	for tool in "${tools[@]}"; do
		expect_exit 0 "$tool" compare -f raw -F vpc copy odd.vhd
	done
	expect_exit 0 "$IMGCTL" check odd.vhd
	write_both odd.vhd vpc copy
	for tool in "${tools[@]}"; do
		expect_exit 0 "$tool" compare -f raw -F vpc copy odd.vhd
	done
	expect_exit 0 "$IMGCTL" check odd.vhd
done
# Every other sector is not there, whatever the block has; nor is it after its
# neighbour was written.
make_vhd odd.vhd 2097152 aa
python3 - <<'END'
b = bytearray(open("disk", "rb").read())
for at in range(512, len(b), 1024):
    b[at:at + 512] = bytes(512)
b[3 * 512:4 * 512] = b"n" * 512
open("half", "wb").write(b)
END
"$IMGCTL" bench -q -f vpc -w -c 1 -s 512 --pattern=110 -o 1536 odd.vhd
expect_exit 0 "$IMGCTL" compare -f raw -F vpc half odd.vhd
expect_exit 0 "$IMGCTL" check odd.vhd

# Of several names of a parent the first of these counts; an empty file has each
# of them.
"$IMGCTL" create -q -f vpc -o force_size=on base.vhd 4000256
"$IMGCTL" create -q -f vpc -b base.vhd -F vpc over.vhd
while read -r want; do
	python3 - "$want" <<'END'
import struct, sys
codes = ["W2ru", "W2ku", "Wi2r", "Wi2k", "MacX"]
texts = [".\\one.vhd", "C:\\d\\two.vhd", ".\\three.vhd", "C:\\d\\four.vhd",
         "file://localhost/d/fi%76e.vhd"]
names = ["one.vhd", "two.vhd", "three.vhd", "four.vhd", "five.vhd", "six.vhd"]
b = bytearray(open("over.vhd", "rb").read())
b[576:576 + 512] = "six.vhd".encode("utf-16-be").ljust(512, b"\0")
b[512 + 576:512 + 576 + 8 * 24] = bytes(8 * 24)
here = range(names.index(sys.argv[1]), len(codes))
for slot, i in enumerate(reversed(here)):
    text = texts[i].encode("utf-16-le" if i < 2 else "ascii")
    struct.pack_into(">4sIIIQ", b, 512 + 576 + 24 * slot, codes[i].encode(),
                     512, len(text), 0, len(b))
    b += text.ljust(512, b"\0")
b[548:552] = bytes(4)
struct.pack_into(">I", b, 548, ~sum(b[512:1536]) & 0xffffffff)
open("named.vhd", "wb").write(b + b[:512])
END
	[ "$("$IMGCTL" info --output=json named.vhd |
		jq -r '."backing-filename"')" = "$want" ] || fail "not $want"
	expect_exit 1 "$IMGCTL" map named.vhd
	cp base.vhd "$want"
	expect_exit 0 "$IMGCTL" compare named.vhd base.vhd
	rm "$want"
done <<'END'
one.vhd
two.vhd
three.vhd
four.vhd
five.vhd
six.vhd
END

# ---- VMDK -----------------------------------------------------------------------

vmdk_py=$SRC/tests/interop/vmdk.py
extent()
{
	printf '# Disk DescriptorFile\nversion=1\nCID=12345678\n'
	printf 'parentCID=ffffffff\ncreateType="%s"\n%s\n' "$1" "$2"
}

# The number of a grain is cut in two where it has more than 12 bits.
random_file many 18000384
n=$(($(stat -c %s many) / 512))
python3 "$vmdk_py" make sesparse se.vmdk many
extent seSparse "RW $n SESPARSE \"se.vmdk\"" >e.vmdk
expect_exit 0 qemu-img compare -f raw -F vmdk many e.vmdk
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk many e.vmdk
# Its journal is not replayed.
poke se.vmdk $((512 + 24)) 01
for tool in qemu-img "$IMGCTL"; do
	expect_exit 1 "$tool" info e.vmdk
done
expect_err "se.vmdk: seSparse: its journal has to be replayed"
poke se.vmdk $((512 + 24)) 00
poke se.vmdk 8 02
expect_exit 1 "$IMGCTL" info e.vmdk
expect_err "se.vmdk: seSparse: unsupported version 0x200000002"
rm many se.vmdk
# A descriptor with the line ends of Windows, and extents that cannot be written.
n=$(($(stat -c %s disk) / 512))
extent monolithicFlat "RDONLY $n FLAT \"disk\" 0" | sed 's/$/\r/' >d.vmdk
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk disk d.vmdk
before=$(sha disk)
expect_exit 1 "$IMGCTL" bench -q -w -c 1 -f vmdk d.vmdk
expect_err "the descriptor says that extent 0 is read-only"
expect_exit 1 "$IMGCTL" resize d.vmdk 9M
[ "$before" = "$(sha disk)" ] || fail "it was written"
extent monolithicFlat "NOACCESS $n FLAT \"disk\" 0" >d.vmdk
expect_exit 1 "$IMGCTL" info d.vmdk
expect_err "an extent has no access"
# The directory of an ESX extent may be shorter than the disk.
cp disk part
truncate -s 40M part
cp part long
printf 'the second table' | dd of=long bs=1M seek=35 conv=notrunc status=none
python3 "$vmdk_py" make cowd long.vmdk long
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk long long.vmdk
poke long.vmdk 24 01
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk part long.vmdk
rm part long long.vmdk
# Extents of all kinds in one disk; nothing is stored of the zeroes.
python3 "$vmdk_py" make cowd cowd.vmdk disk
python3 "$vmdk_py" make small small.vmdk disk
extent custom "RW $n VMFSSPARSE \"cowd.vmdk\"
RW 2048 ZERO
RW 1000 FLAT \"disk\" 24
RW $n SPARSE \"small.vmdk\"" | sed 's/custom/vmfsSparse/' >d.vmdk
{
	cat disk
	head -c 1M /dev/zero
	dd if=disk bs=512 skip=24 count=1000 status=none
	cat disk
} >all
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk all d.vmdk
expect_exit 1 "$IMGCTL" bench -q -w -c 1 -f vmdk d.vmdk
expect_err "do not begin and end with grains of one length"
# Version 3 without compression.
"$IMGCTL" convert -f raw -O vmdk disk v3.vmdk
poke v3.vmdk 4 03
for tool in qemu-img "$IMGCTL"; do
	expect_exit 0 "$tool" compare -f raw -F vmdk disk v3.vmdk
done
expect_exit 1 "$IMGCTL" bench -q -w -c 1 -f vmdk v3.vmdk
expect_err "VMDK version 3 must be read only"
poke v3.vmdk 4 04
expect_exit 1 "$IMGCTL" info -f vmdk v3.vmdk
expect_err "Unsupported VMDK version 4"

# ---- VHDX -----------------------------------------------------------------------

# Our metadata is at 2 MiB, its items 64 KiB on, the sector size the fourth; the
# BAT is at 3 MiB.  Both disks have sectors of 4096 bytes, and so has the bitmap.
"$IMGCTL" create -q -f vhdx -o block_size=1M base.vhdx 8M
poke base.vhdx 0x210020 00100000
"$IMGCTL" convert -n -f raw -O vhdx --target-is-zero disk base.vhdx
"$IMGCTL" create -q -f vhdx -o block_size=1M -b base.vhdx -F vhdx over.vhdx
poke over.vhdx 0x210020 00100000
cp disk copy
truncate -s 8M copy
write_both over.vhdx vhdx copy
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx copy over.vhdx
expect_exit 0 "$IMGCTL" check over.vhdx
7z e -so over.vhdx 2>err | cmp - copy
# Blocks whose contents are not defined, or unmapped, hide the parent.
poke over.vhdx $((3 << 20)) 0100000000000000
poke over.vhdx $(((3 << 20) + 24)) 0300000000000000
for i in 0 3; do
	dd if=/dev/zero of=copy bs=1M seek=$i count=1 conv=notrunc status=none
done
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx copy over.vhdx
expect_exit 0 "$IMGCTL" check over.vhdx

# unknown REGION-OR-ITEM FLAGS: an entry that nobody knows, required or not.
unknown()
{
	PYTHONPATH=$SRC/tests/lib python3 - "$@" <<'END'
import struct, sys
from crc32c import sealed
guid, flags = bytes(range(16)), int(sys.argv[2])
b = bytearray(open("base.vhdx", "rb").read())
if sys.argv[1] == "item":
    n = struct.unpack_from("<H", b, 0x20000a)[0]
    struct.pack_into("<16sIII", b, 0x200020 + 32 * n, guid, 0x18000, 8, flags)
    struct.pack_into("<H", b, 0x20000a, n + 1)
for at in 0x30000, 0x40000:
    n = struct.unpack_from("<I", b, at + 8)[0]
    if sys.argv[1] == "region":
        struct.pack_into("<16sQII", b, at + 16 + 32 * n, guid, len(b),
                         1 << 20, flags)
        struct.pack_into("<I", b, at + 8, n + 1)
    b[at:at + 0x10000] = sealed(b[at:at + 0x10000])
if sys.argv[1] == "region":
    b += b"private ".ljust(1 << 20, b".")
open("unknown.vhdx", "wb").write(b)
END
}
truncate -s 8M disk
for what in item region; do
	unknown $what 0
	expect_exit 0 "$IMGCTL" compare -f raw -F vhdx disk unknown.vhdx
	cp disk copy
	write_both unknown.vhdx vhdx copy
	expect_exit 0 "$IMGCTL" compare -f raw -F vhdx copy unknown.vhdx
	expect_exit 0 "$IMGCTL" resize -q unknown.vhdx 300M
	expect_exit 0 "$IMGCTL" check unknown.vhdx
	[ $what = item ] || grep -aq 'private \.\.\.\.' unknown.vhdx ||
		fail "the region was overwritten"
	unknown $what "$([ $what = item ] && echo 4 || echo 1)"
	expect_exit 1 "$IMGCTL" info unknown.vhdx
	expect_err "{03020100-0504-0706-0809-0a0b0c0d0e0f} is required, and unknown"
done
