#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VDI: qemu-img and 7z read what we write, we what qemu-img writes; resize,
# differencing images, damage and its repair.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/writable.sh"
needs jq qemu-img qemu-io python3 nbdkit nbdsh "$IMGCTL" "$PLUGIN"

noisy_disk 2500000 3M 20000256

# agree FILE RAW: both find the same content, and no fault.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F vdi "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F vdi "$2" "$1"
	expect_exit 0 qemu-img check "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	qemu-img check "$1" >theirs.txt
	"$IMGCTL" check "$1" | diff theirs.txt -
}

# ---- both ways -------------------------------------------------------------

for static in off on; do
	"$IMGCTL" convert -f raw -O vdi -o static=$static disk ours.vdi
	qemu-img convert -f raw -O vdi -o static=$static disk theirs.vdi
	agree ours.vdi disk
	agree theirs.vdi disk
	[ "$(stat -c %s ours.vdi)" = "$(stat -c %s theirs.vdi)" ] ||
		fail "another file size than qemu-img's"
	"$IMGCTL" measure -f raw -O vdi -o static=$static \
		--output=json disk >out
	[ "$(jq .required out)" = "$(stat -c %s ours.vdi)" ] ||
		fail "measure: $(cat out)"
	for f in ours theirs; do
		"$IMGCTL" info --output=json $f.vdi |
			jq -S 'del(.children, ."actual-size", .filename)' >$f
	done
	diff theirs ours
	diff <(qemu-img info --output=json theirs.vdi |
		jq -S 'del(."actual-size", .filename)') ours
done
if command -v 7z >/dev/null; then
	7z x -so ours.vdi 2>/dev/null >back
	cmp -n 20000256 disk back
	"$IMGCTL" convert -f raw -O vdi disk ours.vdi
	7z x -so ours.vdi 2>/dev/null >back
	cmp -n 20000256 disk back
fi
expect_exit 1 "$IMGCTL" create -f vdi big.vdi 0x1fffff8000001
expect_err "Unsupported VDI image size (size is 0x1fffff8000200, max supported"
expect_exit 0 "$IMGCTL" create -f vdi big.vdi 2T
expect_exit 0 qemu-img check big.vdi
rm -f big.vdi

# Written by both in turns, over what the other has written.
for i in 1 2 3 4; do
	for io in "write -P $i $((i * 777))k 70k" "write -z $((i * 3))M 900k" \
		"write -P $((i + 8)) $((i * 3000 + 1))k 1500k"; do
		qemu-io -f vdi -c "$io" theirs.vdi >/dev/null
		qemu-io -f raw -c "$io" disk >/dev/null
	done
	"$IMGCTL" bench -q -f vdi -w -c 1 -s 4096 -o $((i * 4))M \
		--pattern=$((i + 3)) theirs.vdi >/dev/null
	qemu-io -f raw -c "write -P $((i + 3)) $((i * 4))M 4k" disk >/dev/null
	agree theirs.vdi disk
done

# ---- resize ----------------------------------------------------------------

# The map grows in its place, moves behind itself, to where blocks were, and
# back behind the header.
cp theirs.vdi r.vdi
cp disk r.raw
for size in 21M 130M 132M 1300000256 200G 5000000512 90G 12M 40M 3T 512; do
	"$IMGCTL" resize --shrink -q r.vdi $size
	qemu-img resize --shrink -q -f raw r.raw $size
	agree r.vdi r.raw
	qemu-io -f vdi -c "write -P 7 0 512" r.vdi >/dev/null
	qemu-io -f raw -c "write -P 7 0 512" r.raw >/dev/null
done
[ "$(stat -c %s r.vdi)" -le $((4 << 20)) ] || [ "$(field r.vdi 388)" = 1 ] ||
	fail "a shrunk file keeps its blocks"
rm r.vdi r.raw

# A static image stays one.
"$IMGCTL" create -q -f vdi -o static=on s.vdi 3M
"$IMGCTL" resize -q s.vdi 7M
[ "$(field s.vdi 388)" = 7 ] || fail "not all blocks of a static image"
expect_exit 0 qemu-img check s.vdi
expect_exit 1 "$IMGCTL" resize s.vdi 1000000T

# A trim gives space back to the host, in place: a block stays in the map.
head -c 8M noise >full.raw
truncate -s 8M full.raw
"$IMGCTL" convert -f raw -O vdi -S 0 full.raw t.vdi
had=$(stat -c %b t.vdi)
nbdkit -U - "$PLUGIN" discard=unmap t.vdi \
	--run 'PATH=/usr/bin:$PATH nbdsh -u "$uri" -c "h.trim(1 << 20, 1 << 20)"'
[ $(((had - $(stat -c %b t.vdi)) * 512)) -ge 900000 ] ||
	fail "a trim gave back nothing"
expect_exit 0 qemu-img check t.vdi
qemu-io -f raw -c 'write -z 1M 1M' full.raw >/dev/null
expect_exit 0 qemu-img compare -f raw -F vdi full.raw t.vdi
[ "$(field t.vdi 388)" = 8 ] || fail "a block has left the file"
rm t.vdi full.raw

# ---- differencing images ---------------------------------------------------

"$IMGCTL" create -q -f vdi diff.vdi 20M
put32 diff.vdi 76 4
put32 diff.vdi 424 305419896
expect_exit 1 "$IMGCTL" map diff.vdi
expect_err "differencing VDI image, whose parent has the UUID 12345678-0000"
expect_exit 0 "$IMGCTL" info diff.vdi
expect_exit 0 "$IMGCTL" check diff.vdi
opts=driver=vdi,file.filename=diff.vdi,backing.driver=raw
opts=$opts,backing.file.filename=disk
expect_exit 0 "$IMGCTL" compare --image-opts "$opts" \
	driver=raw,file.filename=disk
qemu-img convert -f raw -O raw disk content
truncate -s 20M content
"$IMGCTL" bench -q --image-opts -w -c 1 -s 4096 -o 5M --pattern=9 "$opts" \
	>/dev/null
qemu-io -f raw -c "write -P 9 5M 4k" content >/dev/null
expect_exit 0 "$IMGCTL" compare --image-opts "$opts" \
	driver=raw,file.filename=content
# Zeroes hide what is below: a whole block, and a part of one.
cat >opts.json <<'END'
{"driver": "vdi", "file": {"driver": "file", "filename": "diff.vdi"},
"backing": {"driver": "raw", "file": {"driver": "file", "filename": "disk"}}}
END
PATH=/usr/bin:$PATH nbdkit -U - "$PLUGIN" "json:$(cat opts.json)" \
	--run 'nbdsh -u "$uri" -c "h.zero(1 << 20, 0)" \
		-c "h.zero(99999, 1600000)"'
for io in "write -z 0 1M" "write -z 1600000 99999"; do
	qemu-io -f raw -c "$io" content >/dev/null
done
expect_exit 0 "$IMGCTL" compare --image-opts "$opts" \
	driver=raw,file.filename=content
[ "$(field diff.vdi "$(field diff.vdi 340)")" = 4294967294 ] ||
	fail "zeroes are not in the map"

# ---- identities ------------------------------------------------------------

# uuid FILE AT: 392 of the image, 408 of its contents, 424 and 440 of a parent.
uuid()
{
	od -A n -t x1 -j "$2" -N 16 "$1"
}

# make_child FILE PARENT: as VirtualBox does it.
make_child()
{
	"$IMGCTL" create -q -f vdi "$1" 20M
	put32 "$1" 76 4
	dd if="$2" of="$1" bs=1 skip=392 seek=424 count=32 conv=notrunc \
		status=none
}

# over CHILD PARENT
over()
{
	echo "driver=vdi,file.filename=$1,backing.driver=vdi,backing.file.filename=$2"
}

qemu-img convert -f raw -O vdi content p.vdi
cp p.vdi other.vdi
before=$(uuid p.vdi 408)
"$IMGCTL" bench -q -f vdi -c 1 p.vdi >/dev/null
[ "$(uuid p.vdi 408)" = "$before" ] || fail "read, and it is another one"
id=$(uuid p.vdi 392)
"$IMGCTL" bench -q -f vdi -w -c 1 -o 3M --pattern=5 p.vdi >/dev/null
[ "$(uuid p.vdi 408)" != "$before" ] || fail "written, and it is the same"
[ "$(uuid p.vdi 392)" = "$id" ] || fail "the image is another one"
make_child child.vdi p.vdi
make_child sibling.vdi p.vdi
expect_exit 0 "$IMGCTL" compare --image-opts "$(over child.vdi p.vdi)" \
	driver=vdi,file.filename=p.vdi
expect_exit 1 "$IMGCTL" convert -O raw --image-opts \
	"$(over child.vdi other.vdi)" none
expect_err "other.vdi is not what it was: its modification UUID is"
expect_exit 0 "$IMGCTL" info --image-opts "$(over child.vdi other.vdi)"
# What is in the child is changed, what is not cannot be known.
expect_exit 1 "$IMGCTL" commit --image-opts "$(over child.vdi other.vdi)"
expect_err "is not what it was"
"$IMGCTL" create -q -f vdi other.vdi 20M
expect_exit 1 "$IMGCTL" map --image-opts "$(over child.vdi other.vdi)"
expect_err "other.vdi is not what it was: its UUID is"
# Commit: the parent is another one then, which the child knows.
"$IMGCTL" bench -q --image-opts -w -c 1 -s 4096 -o 7M --pattern=9 \
	"$(over child.vdi p.vdi)" >/dev/null
expect_exit 0 "$IMGCTL" commit -q --image-opts "$(over child.vdi p.vdi)"
[ "$(uuid child.vdi 440)" = "$(uuid p.vdi 408)" ] || fail "child and parent"
expect_exit 0 "$IMGCTL" compare --image-opts "$(over child.vdi p.vdi)" \
	driver=vdi,file.filename=p.vdi
qemu-io -f raw -c "write -P 5 3M 4k" -c "write -P 9 7M 4k" content >/dev/null
expect_exit 0 qemu-img compare -f raw -F vdi content p.vdi
expect_exit 1 "$IMGCTL" convert -O raw --image-opts \
	"$(over sibling.vdi p.vdi)" none
expect_err "p.vdi is not what it was: its modification UUID is"
# Another size is a change, too.
"$IMGCTL" resize -q p.vdi 21M
expect_exit 1 "$IMGCTL" convert -O raw --image-opts \
	"$(over child.vdi p.vdi)" none
# Of contents that the child does not know, any will do.
dd if=/dev/zero of=child.vdi bs=1 seek=440 count=16 conv=notrunc status=none
expect_exit 0 "$IMGCTL" map --image-opts "$(over child.vdi p.vdi)"
expect_exit 0 qemu-img check p.vdi

# ---- damage ----------------------------------------------------------------

# repaired FILE: check finds CORRUPT faults; after check -r nobody does.
repaired()
{
	expect_exit 2 "$IMGCTL" check "$1"
	expect_exit 0 "$IMGCTL" check -r all "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	expect_exit 0 qemu-img check "$1"
}

"$IMGCTL" convert -f raw -O vdi disk sound.vdi
map=$(field sound.vdi 340)
cp sound.vdi bad.vdi # past the end of the file
put32 bad.vdi $((map + 4)) 5000000
expect_exit 1 "$IMGCTL" convert -O raw bad.vdi out.raw
expect_err "the table entry of block 1 points past the end of the file"
repaired bad.vdi
cp sound.vdi bad.vdi # two owners: both keep what they read
put32 bad.vdi $((map + 4)) "$(field bad.vdi "$map")"
"$IMGCTL" convert -O raw bad.vdi before
"$IMGCTL" bench -q -f vdi -w -c 1 -s 4096 -o 1M --pattern=9 bad.vdi >/dev/null
"$IMGCTL" convert -O raw bad.vdi after
cmp -n 1048576 before after # the other one is unharmed
cp sound.vdi bad.vdi
put32 bad.vdi $((map + 4)) "$(field bad.vdi "$map")"
repaired bad.vdi
expect_exit 0 qemu-img compare -f raw -F vdi before bad.vdi
cp sound.vdi bad.vdi # the next block would go where one is
put32 bad.vdi 388 1
repaired bad.vdi
expect_exit 0 qemu-img compare bad.vdi sound.vdi
cp sound.vdi bad.vdi # a block that nobody uses
put32 bad.vdi $((map + 4)) $((0xffffffff))
expect_exit 3 "$IMGCTL" check bad.vdi
expect_exit 0 "$IMGCTL" check -r leaks bad.vdi
expect_exit 0 qemu-img check bad.vdi
[ "$(stat -c %s bad.vdi)" -lt "$(stat -c %s sound.vdi)" ] ||
	fail "the file was not cut"

# A header that contradicts itself is refused with one message.
while read -r at value message; do
	cp sound.vdi bad.vdi
	put32 bad.vdi "$at" "$value"
	expect_exit 1 "$IMGCTL" info -f vdi bad.vdi
	expect_err "$message"
done <<'END'
64 1 Image not in VDI format (bad signature 00000001)
68 65536 unsupported VDI image (version 1.0)
76 7 image type 7 is not one of 1 to 4
340 513 not multiples of 512
340 4294966784 does not lie between the header and the data
344 512 does not lie between the header and the data
360 4096 sector size 4096 is not 512
372 16 does not fit in
376 1000000 block size 1000000 is not a power of two
384 4000000000 does not lie between the header and the data
END
