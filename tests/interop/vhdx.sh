#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VHDX: qemu-img, 7z and libvhdi read what we write, and the other way round;
# differencing disks, sizes, logs that wait to be replayed, damage.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/writable.sh"
needs jq qemu-img qemu-io python3 7z vhdiinfo "$IMGCTL" "$FAILCALL"

noisy_disk 3000000 20M 40M

# same_text ARG...: both programs print the same, but for what only newer ones
# print and for the space that a file takes, which changes by itself.
same_text()
{
	qemu-img "$@" | grep -v '^disk size' >theirs.txt
	"$IMGCTL" "$@" | sed -e '/^Child node/,$d' -e '/^disk size/d' >ours.txt
	diff theirs.txt ours.txt || fail "$*"
}

# same_json ARG...: JSON, likewise.
same_json()
{
	qemu-img "$@" --output=json |
		jq -S 'del(."actual-size")' >theirs.txt
	"$IMGCTL" "$@" --output=json |
		jq -S 'del(.children, ."actual-size")' >ours.txt
	diff theirs.txt ours.txt || fail "$*"
}

# agree FILE RAW: all find the same content, and no fault.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F vhdx "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F vhdx "$2" "$1"
	7z e -so "$1" 2>/dev/null | cmp - "$2" || fail "7z reads $1 otherwise"
	same_text info "$1"
	same_json info "$1"
	same_text check "$1"
	same_json check "$1"
}

# agree_over FILE RAW: a differencing disk, which qemu-img does not open.
agree_over()
{
	expect_exit 0 "$IMGCTL" compare -f raw -F vhdx "$2" "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	7z e -so "$1" 2>/dev/null | cmp - "$2" || fail "7z reads $1 otherwise"
}

# ---- both ways ----------------------------------------------------------------

for options in block_size=0 block_size=1M block_size=2M,log_size=3M \
	block_size=1M,block_state_zero=off block_size=4M,subformat=fixed; do
	"$IMGCTL" convert -f raw -O vhdx -o $options disk ours.vhdx
	qemu-img convert -f raw -O vhdx -o $options disk theirs.vhdx
	agree ours.vhdx disk
	agree theirs.vhdx disk
	"$IMGCTL" measure -f raw -O vhdx -o $options --output=json disk >out
	[ "$(jq .required out)" = "$(stat -c %s ours.vhdx)" ] ||
		fail "measure -o $options: $(cat out)"
	vhdiinfo ours.vhdx >out
	grep -q 'Media size.*(41943040 bytes)' out || fail "vhdiinfo: $(cat out)"
	# Written on by us: what qemu-io writes with 7.2 it may damage.
	cp disk written
	for at in 0 777 30000; do
		"$IMGCTL" bench -q -f vhdx -w -c 1 -s 70656 -o ${at}k \
			--pattern=5 theirs.vhdx >/dev/null
		qemu-io -f raw -c "write -P 5 ${at}k 69k" written >/dev/null
	done
	agree theirs.vhdx written
done

# ---- create ---------------------------------------------------------------------

# refused OPTIONS SIZE: with the same words.
refused()
{
	expect_exit 1 qemu-img create -q -f vhdx -o "$1" none.vhdx "$2"
	sed 's/^qemu-img/imgctl/' err >theirs.txt
	expect_exit 1 "$IMGCTL" create -q -f vhdx -o "$1" none.vhdx "$2"
	diff theirs.txt err || fail "create -o $1 $2"
}
refused log_size=0 3M
refused log_size=4G 3M
refused block_size=3M 3M
refused subformat=odd 3M
refused subformat=odd 65T
refused block_size=3M 65T

# The size of blocks that goes with the size of the disk; rounded options.
for args in '0 1G' '0 1025M' '0 100G' '0 101G' '0 32T' '0 33T' '1000 3M' \
	'512M 3M' '1500000 3M'; do
	set -- $args
	expect_exit 0 qemu-img create -f vhdx -o block_size="$1" a.vhdx "$2"
	cp out theirs.txt
	expect_exit 0 "$IMGCTL" create -f vhdx -o block_size="$1" b.vhdx "$2"
	sed 's/b\.vhdx/a.vhdx/' out | diff theirs.txt -
	[ "$(qemu-img info --output=json a.vhdx | jq '."cluster-size"')" = \
		"$(qemu-img info --output=json b.vhdx | jq '."cluster-size"')" ] ||
		fail "block size of $args"
done
rm a.vhdx b.vhdx

# QEMU ends a fixed file where the disk ends, not its last block.
qemu-img create -q -f vhdx -o subformat=fixed,block_size=1M,block_state_zero=off \
	short.vhdx 5357568
expect_exit 0 "$IMGCTL" check short.vhdx
truncate -s -512 short.vhdx
expect_exit 2 "$IMGCTL" check short.vhdx
rm short.vhdx

# ---- block status: most of this disk is nothing --------------------------------

qemu-img create -q -f vhdx large.vhdx 1T
expect_exit 0 "$IMGCTL" map --output=json large.vhdx
[ "$(jq '[.[] | select(.data)] | length' out)" = 0 ] || fail "$(cat out)"

# ---- sizes ----------------------------------------------------------------------

for options in block_size=1M subformat=fixed,block_size=1M; do
	cp disk sized
	"$IMGCTL" convert -f raw -O vhdx -o $options sized sized.vhdx
	for size in 60M 9998336 30M 10M; do
		expect_exit 0 "$IMGCTL" resize -q --shrink sized.vhdx $size
		truncate -s $size sized
		agree sized.vhdx sized
	done
done
# The BAT has to move.
"$IMGCTL" create -q -f vhdx -o block_size=1M sized.vhdx 1G
"$IMGCTL" convert -n -f raw -O vhdx --target-is-zero sized sized.vhdx ||
	fail "convert -n"
expect_exit 0 "$IMGCTL" resize -q sized.vhdx 600G
expect_exit 0 qemu-img check sized.vhdx
truncate -s 600G sized
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx sized sized.vhdx
rm sized sized.vhdx

# ---- differencing disks ----------------------------------------------------------

"$IMGCTL" convert -f raw -O vhdx -o block_size=1M disk base.vhdx
"$IMGCTL" create -q -f vhdx -b base.vhdx -F vhdx \
	-o block_size=2M over.vhdx
cp disk content
# put FILE AT: 70 kB there, in the raw content too.
put()
{
	"$IMGCTL" bench -q -f vhdx -w -c 1 -s 70656 -o "$2" --pattern=7 "$1" \
		>/dev/null
	qemu-io -f raw -c "write -P 7 $2 69k" content >/dev/null
}
agree_over over.vhdx content
for at in 0 1024k 2100k 22500k 39000k; do
	put over.vhdx $at
	agree_over over.vhdx content
done
expect_exit 0 "$IMGCTL" info over.vhdx
expect_out 'backing file: base.vhdx'
expect_out 'backing file format: vhdx'
vhdiinfo over.vhdx >out
grep -q Differential out || fail "vhdiinfo: $(cat out)"

# One more, with another base that reads otherwise, with none, and back again.
cp content kept
"$IMGCTL" create -q -f vhdx -b over.vhdx -F vhdx top.vhdx
put top.vhdx 5M
agree_over top.vhdx content
cp noise other
truncate -s 40M other
qemu-img convert -f raw -O vhdx other other.vhdx
expect_exit 0 "$IMGCTL" rebase -b other.vhdx -F vhdx top.vhdx
agree_over top.vhdx content
expect_exit 0 "$IMGCTL" rebase -b '' top.vhdx
agree top.vhdx content
expect_exit 0 "$IMGCTL" rebase -b other.vhdx -F vhdx top.vhdx
agree_over top.vhdx content
mv kept content
rm top.vhdx

# Into the base: with the overlay as it is, and emptied.  The base is another
# one then: the overlay follows it, others do not.
"$IMGCTL" create -q -f vhdx -b base.vhdx -F vhdx sibling.vhdx
put over.vhdx 33000k
cp base.vhdx base.was
expect_exit 0 "$IMGCTL" commit -q -d over.vhdx
agree base.vhdx content
agree_over over.vhdx content
mv base.vhdx base.now
mv base.was base.vhdx
expect_exit 2 "$IMGCTL" compare over.vhdx over.vhdx
expect_err 'is not what it was'
mv base.now base.vhdx
# Over what lies between: that stays as it is, and goes on.
cp base.vhdx base.was
cp over.vhdx over.was
"$IMGCTL" create -q -f vhdx -b over.vhdx -F vhdx top.vhdx
cp content content.was
put top.vhdx 9M
expect_exit 0 "$IMGCTL" commit -q -b base.vhdx top.vhdx
cmp over.was over.vhdx
expect_exit 0 "$IMGCTL" map over.vhdx
agree_over top.vhdx content
mv content.was content
mv base.was base.vhdx
rm top.vhdx over.was
expect_exit 2 "$IMGCTL" compare sibling.vhdx sibling.vhdx
expect_err 'is not what it was'
expect_exit 0 "$IMGCTL" rebase -u -b base.vhdx -F vhdx sibling.vhdx
expect_exit 0 "$IMGCTL" commit -q over.vhdx
agree_over over.vhdx content
agree base.vhdx content
expect_exit 2 "$IMGCTL" compare sibling.vhdx sibling.vhdx
expect_exit 0 "$IMGCTL" map --output=json over.vhdx
[ "$(jq '[.[] | select(.depth == 0 and .data)] | length' out)" = 0 ] ||
	fail "commit left data: $(cat out)"

# Whatever of a commit gets to the files, what is seen stays the same; QEMU
# replays the log of the base, and finds what we find.
mkdir now
"$IMGCTL" create -q -f vhdx -o block_size=1M low.vhdx 3M
"$IMGCTL" bench -q -f vhdx -w -c 1 -s 4096 --pattern=3 low.vhdx
"$IMGCTL" create -q -f vhdx -b low.vhdx -F vhdx high.vhdx
"$IMGCTL" bench -q -f vhdx -w -c 1 -s 4096 -o 2M --pattern=4 high.vhdx
"$IMGCTL" convert -O raw high.vhdx seen
n=0 replayed=0
cut=1
while [ $cut = 1 ]; do
	n=$((n + 1))
	cp low.vhdx high.vhdx now
	cut=0
	LD_PRELOAD=$FAILCALL \
		ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0 \
		FAILCALL_DIR=$PWD/now FAILCALL_CHANGES=1 FAILCALL_NTH=$n \
		"$IMGCTL" commit -q now/high.vhdx 2>/dev/null || cut=1
	expect_exit 0 "$IMGCTL" compare -f raw -F vhdx seen now/high.vhdx
	qemu-img info now/low.vhdx >/dev/null 2>&1 || replayed=$((replayed + 1))
	cp now/low.vhdx log.vhdx
	expect_exit 0 qemu-img check -q -r all log.vhdx
	expect_exit 0 "$IMGCTL" compare -f vhdx -F vhdx log.vhdx now/low.vhdx
done
[ $n -gt 10 ] || fail "commit changes the files $n times"
[ $replayed -gt 0 ] || fail "no log was left to replay"

# Growing shows zeroes, even where the parent has something.
"$IMGCTL" create -q -f vhdx -b base.vhdx -F vhdx small.vhdx 3M
expect_exit 0 "$IMGCTL" resize -q small.vhdx 45M
truncate -s 3M content
truncate -s 45M content
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx content small.vhdx

# Names go from the image's folder; those of Windows, too.
mkdir folder
"$IMGCTL" create -q -f vhdx -b ../base.vhdx -F vhdx folder/away.vhdx
expect_exit 0 "$IMGCTL" compare folder/away.vhdx base.vhdx
expect_exit 0 "$IMGCTL" info folder/away.vhdx
expect_out 'backing file: ../base.vhdx (actual path: folder/../base.vhdx)'
tr -d '\0' <folder/away.vhdx >text
grep -qaF '..\base.vhdx' text ||
	fail "the locator does not have the path as Windows has it"

# The keys of a locator, as Hyper-V has them: which path counts, and the second
# linkage.  The locator is the item with this GUID in the metadata table, at
# 2 MiB.
locate()
{
	python3 - over.vhdx "$@" <<'END'
import struct, sys
name, args = sys.argv[1], sys.argv[2:]
item_id = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")
with open(name, "r+b") as f:
    f.seek(2 << 20)
    table = f.read(65536)
    at = next(i for i in range(32, 65536, 32) if table[i:i + 16] == item_id)
    off, n = struct.unpack_from("<II", table, at + 16)
    f.seek((2 << 20) + off)
    old = f.read(n)
    ko, vo, kl, vl = struct.unpack_from("<IIHH", old, 20)
    link = old[vo:vo + vl].decode("utf-16-le")
    zero = "{%s}" % "-".join("0" * i for i in (8, 4, 4, 4, 12))
    pairs = [p.replace("LINK", link).replace("ZERO", zero).split("=")
             for p in args]
    body, table2 = b"", b""
    for k, v in pairs:
        k, v = k.encode("utf-16-le"), v.encode("utf-16-le")
        base = 20 + 12 * len(pairs) + len(body)
        table2 += struct.pack("<IIHH", base, base + len(k), len(k), len(v))
        body += k + v
    new = old[:18] + struct.pack("<H", len(pairs)) + table2 + body
    f.seek((2 << 20) + off)
    f.write(new)
    f.seek((2 << 20) + at + 20)
    f.write(struct.pack("<I", len(new)))
END
}
cp over.vhdx kept.vhdx
for keys in 'parent_linkage=LINK relative_path=.\base.vhdx' \
	'parent_linkage=ZERO parent_linkage2=LINK relative_path=base.vhdx' \
	'parent_linkage=LINK absolute_win32_path=\\?\D:\x\base.vhdx' \
	'parent_linkage=LINK volume_path=\\?\Volume{0}\x\base.vhdx' \
	'volume_path=\\?\V\no.vhdx relative_path=base.vhdx parent_linkage=LINK'
do
	cp kept.vhdx over.vhdx
	locate $keys
	expect_exit 0 "$IMGCTL" info --output=json over.vhdx
	[ "$(jq -r '."backing-filename"' out)" = base.vhdx ] ||
		fail "$keys: $(cat out)"
	expect_exit 0 "$IMGCTL" compare over.vhdx kept.vhdx
done
# A commit keeps all of them, and makes them name the new base.
cp kept.vhdx over.vhdx
cp base.vhdx base.kept
locate parent_linkage=ZERO parent_linkage2=LINK 'relative_path=.\base.vhdx' \
	'absolute_win32_path=D:\x\base.vhdx'
expect_exit 0 "$IMGCTL" commit -q over.vhdx
expect_exit 0 "$IMGCTL" compare over.vhdx base.vhdx
tr -d '\0' <over.vhdx >text
grep -qaF 'D:\x\base.vhdx' text ||
	fail "commit has lost a path"
mv base.kept base.vhdx
mv kept.vhdx over.vhdx

# A parent that was written since is not the parent any more.
"$IMGCTL" bench -q -f vhdx -w -c 1 base.vhdx >/dev/null
expect_exit 2 "$IMGCTL" compare over.vhdx over.vhdx
expect_err 'is not what it was'
expect_exit 0 "$IMGCTL" rebase -u -b base.vhdx -F vhdx over.vhdx
expect_exit 0 "$IMGCTL" compare over.vhdx base.vhdx
# So is one that is no VHDX at all.
cp base.vhdx base.kept
cp noise base.vhdx
expect_exit 1 "$IMGCTL" map over.vhdx
expect_err "imgctl: Could not open 'over.vhdx': Could not open backing file: \
Could not open 'base.vhdx': Image not in VHDX format"
mv base.kept base.vhdx
# So is one of another size.
cp base.vhdx other.vhdx
"$IMGCTL" resize -q other.vhdx 60M
expect_exit 0 "$IMGCTL" rebase -u -b base.vhdx -F vhdx over.vhdx
cp other.vhdx base.vhdx
expect_exit 2 "$IMGCTL" compare over.vhdx over.vhdx
expect_err 'is not what it was'
expect_exit 0 "$IMGCTL" rebase -u -b base.vhdx -F vhdx over.vhdx
# A name is recorded without the file: then it must become the same one.
expect_exit 0 "$IMGCTL" rebase -u -b moved.vhdx -F vhdx over.vhdx
expect_exit 1 "$IMGCTL" map over.vhdx
expect_err 'moved.vhdx'
mv base.vhdx moved.vhdx
expect_exit 0 "$IMGCTL" compare over.vhdx over.vhdx
mv moved.vhdx base.vhdx
expect_exit 0 "$IMGCTL" rebase -u -b base.vhdx -F vhdx over.vhdx
"$IMGCTL" create -q -f vhdx alone.vhdx 40M
expect_exit 1 "$IMGCTL" rebase -u -b moved.vhdx -F vhdx alone.vhdx
expect_err 'moved.vhdx'
# Nothing but VHDX, and nothing below a fixed one.
expect_exit 1 "$IMGCTL" create -q -f vhdx -b disk -F raw no.vhdx
expect_err 'must be a VHDX image'
expect_exit 1 "$IMGCTL" create -q -f vhdx -b base.vhdx -F vhdx \
	-o subformat=fixed no.vhdx
expect_err 'fixed'

# ---- sectors of 4096 bytes, damage -------------------------------------------------

# poke FILE AT HEX: bytes there; "crc AT LEN": a checksum made right again.
poke()
{
	PYTHONPATH=$SRC/tests/lib python3 - "$@" <<'END'
import sys
from crc32c import sealed
with open(sys.argv[1], "r+b") as f:
    at = int(sys.argv[2], 0)
    f.seek(at)
    f.write(bytes.fromhex(sys.argv[3]))
    if len(sys.argv) > 4:
        at, n = int(sys.argv[4], 0), int(sys.argv[5], 0)
        f.seek(at)
        data = sealed(f.read(n))
        f.seek(at)
        f.write(data)
END
}

# Our metadata is at 2 MiB, its items 64 KiB on, in this order: parameters (8
# bytes), size (8), ID (16), sector size.
"$IMGCTL" create -q -f vhdx -o block_size=1M sector.vhdx 40M
poke sector.vhdx 0x210020 00100000
"$IMGCTL" convert -n -f raw -O vhdx --target-is-zero disk sector.vhdx
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx disk sector.vhdx
7z e -so sector.vhdx 2>/dev/null | cmp - disk || fail "7z, sectors of 4096"
expect_exit 1 qemu-img info sector.vhdx

# Two entries with one space, a state that there is not, a block outside: the
# BAT is at 3 MiB.
"$IMGCTL" convert -f raw -O vhdx -o block_size=1M disk bad.vhdx
first=$(od -An -tx1 -j $((3 << 20)) -N 8 bad.vhdx | tr -d ' ')
poke bad.vhdx 0x300008 "$first"
poke bad.vhdx 0x300050 0500000000000000
poke bad.vhdx 0x300058 060000000000ff00
expect_exit 2 "$IMGCTL" check bad.vhdx
expect_exit 1 "$IMGCTL" bench -q -f vhdx -w -c 1 bad.vhdx
expect_err 'belongs to something else'
expect_exit 1 "$IMGCTL" convert -O raw bad.vhdx bad.raw
expect_err 'BAT entry 10'
expect_exit 0 "$IMGCTL" check -r all bad.vhdx
expect_exit 0 "$IMGCTL" check bad.vhdx
expect_exit 0 qemu-img check bad.vhdx
expect_exit 0 "$IMGCTL" bench -q -f vhdx -w -c 1 -o 1M --pattern=9 bad.vhdx
cmp -n $((1 << 20)) disk <(qemu-img convert -f vhdx -O raw bad.vhdx back.raw &&
	cat back.raw) || fail "the other owner has changed"

# One copy of each structure is enough; with none there is no image.
"$IMGCTL" convert -f raw -O vhdx disk bad.vhdx
poke bad.vhdx 0x10000 00
poke bad.vhdx 0x30000 00
expect_exit 0 "$IMGCTL" compare -f raw -F vhdx disk bad.vhdx
expect_exit 2 "$IMGCTL" check bad.vhdx
expect_exit 0 "$IMGCTL" check -r all bad.vhdx
expect_exit 0 "$IMGCTL" check bad.vhdx
poke bad.vhdx 0x20000 00
"$IMGCTL" bench -q -f vhdx -w -c 1 bad.vhdx >/dev/null 2>err ||
	grep -q 'no valid VHDX header' err
poke bad.vhdx 0x40000 00
poke bad.vhdx 0x30000 00
expect_exit 1 "$IMGCTL" info bad.vhdx
expect_err bad.vhdx

# ---- logs of other programs ---------------------------------------------------------

[ -d "$SAMPLES" ] || exit 0
dirty=$(sample iotest-dirtylog-10G-4M.vhdx)
cp "$dirty" replayed.vhdx
expect_exit 0 qemu-img check -r all replayed.vhdx
before=$(sha "$dirty")
expect_exit 2 qemu-img compare -U "$dirty" replayed.vhdx
expect_exit 0 "$IMGCTL" compare "$dirty" replayed.vhdx
[ "$before" = "$(sha "$dirty")" ] || fail "the sample was changed"
expect_exit 0 "$IMGCTL" check -r all "$dirty"
expect_exit 0 qemu-img compare "$dirty" replayed.vhdx
old=$(sample iotest-dynamic-1G.vhdx)
qemu-img convert -O raw "$old" old.raw
agree "$old" old.raw
