#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VMDK: qemu-img, 7z and libvmdk read what we write, we what others write; the
# streams are held against VMware's document; parents, sizes, damage, and what
# a hostile descriptor names.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq qemu-img qemu-io python3 "$SRC" "$IMGCTL"
vmdk_py=$SRC/tests/interop/vmdk.py

random_file noise 600064
{
	cat noise
	head -c 1M /dev/zero
	seq 50000
	cat noise
} >disk
truncate -s 12000256 disk
fallocate -d disk
subformats=(monolithicSparse monolithicFlat twoGbMaxExtentSparse
	twoGbMaxExtentFlat streamOptimized)

# agree FILE RAW: both find the same content, and no fault.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F vmdk "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F vmdk "$2" "$1"
	expect_exit 0 qemu-img check "$1"
	expect_exit 0 "$IMGCTL" check "$1"
}

# facts PROGRAM FILE: what info says, without what only one of them has.
facts()
{
	"$1" info --output=json "$2" | jq -S 'del(.children, ."actual-size")'
}

put32()
{
	python3 - "$@" <<'END'
import struct, sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    f.write(struct.pack("<I", int(sys.argv[3])))
END
}

# cid FILE [KEY]
cid()
{
	"$IMGCTL" info --output=json "$1" |
		jq ".\"format-specific\".data.\"${2:-cid}\""
}

# without_cid FILE: it is a random number, and may have fewer digits: then more
# zeroes follow the descriptor.
without_cid()
{
	sed 's/^CID=.*//' "$1" | tr -d '\0'
}

# ---- both ways -------------------------------------------------------------

for sub in "${subformats[@]}"; do
	mkdir ours theirs
	"$IMGCTL" convert -f raw -O vmdk -o subformat="$sub" disk ours/d.vmdk
	qemu-img convert -f raw -O vmdk -o subformat="$sub" disk theirs/d.vmdk
	for d in ours theirs; do
		agree $d/d.vmdk disk
		(cd $d && facts qemu-img d.vmdk) >theirs.txt
		(cd $d && facts "$IMGCTL" d.vmdk) | diff theirs.txt -
		(cd $d && "$IMGCTL" info d.vmdk) | sed '/^Child node/,$d' \
			>ours.txt
		(cd $d && qemu-img info d.vmdk) | sed '/^Child node/,$d' |
			diff - ours.txt
	done
	[ "$(ls ours)" = "$(ls theirs)" ] || fail "other files: $(ls ours)"
	if [ "$sub" != streamOptimized ]; then
		for f in theirs/*; do
			without_cid "$f" >theirs.txt
			without_cid "${f/theirs/ours}" | cmp theirs.txt ||
				[ "$(stat -c %s "$f")" = 512 ] ||
				fail "${f##*/} of $sub differs"
		done 2>/dev/null >/dev/null
	fi
	if command -v 7z >/dev/null; then
		7z x -so ours/d.vmdk 2>/dev/null | cmp - disk
	fi
	if command -v vmdkinfo >/dev/null; then
		expect_exit 0 vmdkinfo ours/d.vmdk
		expect_out "12000256 bytes"
	fi
	# Each writes over what the other has written.
	cp disk copy
	for i in 1 2 3; do
		io=(-c "write -P $i $((i * 3))M 150k")
		[ "$sub" = streamOptimized ] ||
			qemu-io -f vmdk "${io[@]}" ours/d.vmdk >/dev/null
		[ "$sub" = streamOptimized ] ||
			qemu-io -f raw "${io[@]}" copy >/dev/null
		"$IMGCTL" bench -q -f vmdk -w -c 3 -s 70000 -o $((i * 2))M \
			-S 1M --pattern=$((i + 3)) ours/d.vmdk >/dev/null
		"$IMGCTL" bench -q -f raw -w -c 3 -s 70000 -o $((i * 2))M \
			-S 1M --pattern=$((i + 3)) copy >/dev/null
		agree ours/d.vmdk copy
	done
	rm -r ours theirs
done

# The options: the same line, and the same descriptor.
while read -r options; do
	"$IMGCTL" create -f vmdk -o "$options" o.vmdk 100M >ours.txt
	tr -d '\0' <o.vmdk | sed 's/^CID=.*//' >ours
	qemu-img create -f vmdk -o "$options" o.vmdk 100M | diff - ours.txt
	tr -d '\0' <o.vmdk | sed 's/^CID=.*//' | cmp - ours
done <<'END'
adapter_type=ide
adapter_type=lsilogic,hwversion=9
adapter_type=buslogic,toolsversion=12
adapter_type=legacyESX,compat6=on
zeroed_grain=on
END
for bad in adapter_type=scsi subformat=no hwversion=7,compat6=on \
	zeroed_grain=on,subformat=monolithicFlat; do
	expect_exit 1 "$IMGCTL" create -f vmdk -o $bad none.vmdk 1M
	err=$(cat err)
	expect_exit 1 qemu-img create -f vmdk -o $bad none.vmdk 1M
	[ "${err#*: }" = "$(sed 's/^[^:]*: //' err)" ] || fail "other: $err"
done

# ---- streams ---------------------------------------------------------------

# With and without -c, from any source, by any number of threads.
"$IMGCTL" convert -f raw -O vmdk -o subformat=streamOptimized disk s.vmdk
for how in "-c" "-m 1"; do
	# shellcheck disable=SC2086
	"$IMGCTL" convert $how -f raw -O vmdk -o subformat=streamOptimized \
		disk t.vmdk
	python3 "$vmdk_py" walk t.vmdk >out
	expect_out "grains"
	[ "$(tail -c +10241 t.vmdk | sha256sum)" = \
		"$(tail -c +10241 s.vmdk | sha256sum)" ] ||
		fail "$how: other bytes"
done
[ "$(stat -c %s s.vmdk)" -lt 2000000 ] || fail "nothing was packed"
expect_exit 1 "$IMGCTL" convert -c -f raw -O vmdk disk none.vmdk
expect_err "Compression not supported for this kind of vmdk image"
# What qemu-img has begun, with its tables in front, gets a footer.  Where the
# end of the disk cuts a grain it packs a part, which is packed again.
for len in 589824 600064; do
	head -c $len noise >noise2
	truncate -s $len noise2
	qemu-img convert -f raw -O vmdk -o subformat=streamOptimized noise2 \
		q.vmdk
	"$IMGCTL" resize -q q.vmdk 200M
	truncate -s 200M noise2
	"$IMGCTL" bench -q -f vmdk -w -c 1 -s 4096 -o 150M --pattern=7 q.vmdk \
		>/dev/null
	qemu-io -f raw -c "write -P 7 150M 4k" noise2 >/dev/null
	agree q.vmdk noise2
	[ $len = 600064 ] || python3 "$vmdk_py" walk q.vmdk >out
	# Without its footer, as a transfer that broke leaves it.
	truncate -s -1024 q.vmdk
	expect_exit 1 "$IMGCTL" map q.vmdk
	expect_err "there is no footer before the end of the file"
	expect_exit 2 "$IMGCTL" check q.vmdk
	expect_exit 0 "$IMGCTL" check -r all q.vmdk
	agree q.vmdk noise2
	[ $len = 600064 ] || python3 "$vmdk_py" walk q.vmdk >out
done

# ---- what only others write --------------------------------------------------

head -c 3M disk >small.raw
dd if=disk of=small.raw bs=1M count=1 seek=4 skip=1 status=none
for kind in small smallstream unclosed cowd sesparse; do
	python3 "$vmdk_py" make $kind $kind.vmdk small.raw
done
extent()
{
	printf '# Disk DescriptorFile\nversion=1\nCID=12345678\n'
	printf 'parentCID=ffffffff\ncreateType="%s"\n%s\n' "$1" "$2"
}
sectors=$(($(stat -c %s small.raw) / 512))
extent vmfsSparse "RW $sectors VMFSSPARSE \"cowd.vmdk\"" >c.vmdk
extent seSparse "RW $sectors SESPARSE \"sesparse.vmdk\"" >e.vmdk
extent vmfs "RW $sectors VMFS \"small.raw\"" >v.vmdk
for f in small smallstream c v; do
	agree $f.vmdk small.raw
done
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk small.raw e.vmdk
expect_exit 0 qemu-img compare -f raw -F vmdk small.raw e.vmdk
expect_exit 1 "$IMGCTL" bench -q -w -c 1 -f vmdk e.vmdk
expect_err "No write support for seSparse images available"
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk small.raw unclosed.vmdk
for f in small c smallstream unclosed; do
	cp small.raw copy
	for x in "-f vmdk $f.vmdk" "-f raw copy"; do
		# shellcheck disable=SC2086
		"$IMGCTL" bench -q -w -c 5 -s 9000 -S 700000 --pattern=4 $x \
			>/dev/null
	done
	agree $f.vmdk copy
done
python3 "$vmdk_py" walk unclosed.vmdk >/dev/null &&
	fail "written out of order, and the walk does not see it"

# ---- parents -----------------------------------------------------------------

"$IMGCTL" create -q -f vmdk base.vmdk 10M
before=$(cid base.vmdk)
qemu-io -f raw -c "read 0 512" base.vmdk >/dev/null
"$IMGCTL" bench -q -f vmdk -c 1 base.vmdk >/dev/null
[ "$before" = "$(cid base.vmdk)" ] || fail "read, and its CID changed"
"$IMGCTL" bench -q -f vmdk -w -c 1 --pattern=5 base.vmdk >/dev/null
[ "$before" != "$(cid base.vmdk)" ] || fail "written, and its CID is the same"
"$IMGCTL" create -q -f vmdk -b base.vmdk -F vmdk child.vmdk
[ "$(cid child.vmdk parent-cid)" = "$(cid base.vmdk)" ] || fail "parent CID"
expect_exit 0 "$IMGCTL" compare child.vmdk base.vmdk
expect_exit 0 qemu-img compare child.vmdk base.vmdk
"$IMGCTL" convert -O raw base.vmdk was.raw
qemu-io -f vmdk -c "write -P 9 0 4k" base.vmdk >/dev/null
expect_exit 1 "$IMGCTL" convert -O raw child.vmdk none.raw
expect_err "is not what it was: its CID is"
expect_exit 1 qemu-img convert -O raw child.vmdk none.raw
expect_exit 0 "$IMGCTL" info child.vmdk
"$IMGCTL" rebase -q -u -b base.vmdk -F vmdk child.vmdk
expect_exit 0 qemu-img compare child.vmdk base.vmdk
"$IMGCTL" convert -f raw -O vmdk was.raw other.vmdk
"$IMGCTL" rebase -q -b other.vmdk -F vmdk child.vmdk
expect_exit 0 qemu-img compare child.vmdk base.vmdk
"$IMGCTL" commit -q child.vmdk
expect_exit 0 qemu-img compare other.vmdk base.vmdk
# The child reads on, and others are told.
expect_exit 0 "$IMGCTL" compare child.vmdk base.vmdk
expect_exit 0 qemu-img compare child.vmdk base.vmdk
"$IMGCTL" create -q -f qcow2 -b other.vmdk -F vmdk child.qcow2
qemu-io -c "write -P 8 1M 4k" child.qcow2 >/dev/null
"$IMGCTL" commit -q child.qcow2
expect_exit 1 "$IMGCTL" convert -O raw child.vmdk none.raw
expect_err "is not what it was: its CID is"
"$IMGCTL" rebase -q -u -b other.vmdk -F vmdk child.vmdk
"$IMGCTL" resize -q other.vmdk 13M
expect_exit 1 "$IMGCTL" convert -O raw child.vmdk none.raw
expect_err "is not what it was: its CID is"
"$IMGCTL" rebase -q -u -b other.vmdk -F vmdk child.vmdk
# Digits that are not eight: the descriptor gets another line.
cp other.vmdk few.vmdk
sed -i '1,/^CID=/s/^CID=.*/CID=00000abc/' few.vmdk
sed -i '1,/^CID=/s/^CID=00000/CID=/;s/^parentCID=f*$/&     /' few.vmdk
[ "$(cid few.vmdk)" = 2748 ] || fail "few.vmdk: $(cid few.vmdk)"
"$IMGCTL" bench -q -f vmdk -w -c 1 --pattern=5 few.vmdk >/dev/null
[ "$(cid few.vmdk)" != 2748 ] || fail "written, and its CID is the same"
expect_exit 0 qemu-img check -q few.vmdk
"$IMGCTL" rebase -q -b '' child.vmdk
expect_exit 0 "$IMGCTL" compare child.vmdk other.vmdk
[ "$(cid child.vmdk parent-cid)" = 4294967295 ] || fail "it has a parent CID"
expect_exit 1 "$IMGCTL" create -f vmdk -b disk -F raw none.vmdk
expect_err "backing_file must be a vmdk image"

# A parent has another name, that is not there yet, or is a VMDK image.
"$IMGCTL" rebase -q -u -b other.vmdk -F vmdk child.vmdk
"$IMGCTL" rebase -q -u -b later.vmdk -F vmdk child.vmdk
cp child.vmdk before
cp noise later.vmdk
expect_exit 1 "$IMGCTL" rebase -u -b later.vmdk -F vmdk child.vmdk
expect_err "Could not open 'later.vmdk': invalid VMDK image descriptor"
same before child.vmdk
"$IMGCTL" rebase -q -u -b '' child.vmdk

# Its child would be taken for one without a parent.
cp cowd.vmdk nocid.vmdk
expect_exit 1 "$IMGCTL" create -f vmdk -b nocid.vmdk -F vmdk none.vmdk
expect_err "it has no CID"
cp child.vmdk before
expect_exit 1 "$IMGCTL" rebase -u -b nocid.vmdk -F vmdk child.vmdk
expect_err "it has no CID"
same before child.vmdk

# ---- sizes --------------------------------------------------------------------

# Both disks, r.vmdk and r.raw.
resized()
{
	"$IMGCTL" resize -q --shrink r.vmdk "$1"
	"$IMGCTL" resize -q --shrink -f raw r.raw "$1"
	agree r.vmdk r.raw
}

extent_lines()
{
	tr -d '\0' <"$1" | grep -aE '^(RW|RDONLY) '
}

for sub in "${subformats[@]}"; do
	mkdir r
	cd r
	"$IMGCTL" convert -f raw -O vmdk -o subformat="$sub" ../disk r.vmdk
	cp ../disk r.raw
	sizes=(100M 5300M 4G 30M 9000448 40M)
	[ "$sub" != streamOptimized ] || sizes=(100M 30M 9000448 40M 5300M)
	for size in "${sizes[@]}"; do
		resized $size
		# It is described as a new one of that size is.
		"$IMGCTL" create -q -f vmdk -o subformat="$sub" new.vmdk $size
		extent_lines new.vmdk | sed 's/new/r/' >lines
		extent_lines r.vmdk | diff lines - || fail "$sub, $size"
		for f in $(echo new*); do
			[ -e "r${f#new}" ] || fail "$sub, $size: no r${f#new}"
		done
		[ "$(echo r*.vmdk | wc -w)" = "$(echo new* | wc -w)" ] ||
			fail "$sub, $size: $(echo r*)"
		rm new*
		[ "$sub" != streamOptimized ] || python3 "$vmdk_py" walk r.vmdk
	done >out
	# What was cut off does not come back.
	if [ "$sub" != streamOptimized ]; then
		qemu-io -f vmdk -c 'write -P 3 39M 1M' r.vmdk >/dev/null
		qemu-io -f raw -c 'write -P 3 39M 1M' r.raw >/dev/null
	fi
	resized 39500288
	resized 50M
	cd ..
	rm -r r
done

# A stream whose last grains were not written last cannot shrink.
"$IMGCTL" convert -f raw -O vmdk -o subformat=streamOptimized disk r.vmdk
"$IMGCTL" bench -q -f vmdk -w -c 1 -s 64k -o 1M --pattern=7 r.vmdk
cp r.vmdk before
expect_exit 1 "$IMGCTL" resize --shrink r.vmdk 2M
expect_err "its grains are not in the order of the disk"
same before r.vmdk

# A flat file that is longer than its extent, as a crash may leave it.
extent vmfs "RW 2048 VMFS \"long.raw\"" >r.vmdk
head -c 2M /dev/urandom >long.raw
head -c 1M long.raw >r.raw
resized 3M
resized 1536k
resized 2M
[ "$(extent_lines r.vmdk)" = 'RW 4096 VMFS "long.raw"' ] || fail "$(cat r.vmdk)"
for how in falloc full; do
	"$IMGCTL" resize -q r.vmdk 3M
	"$IMGCTL" resize -q --preallocation=$how r.vmdk 5M
	[ "$(stat -c %b long.raw)" -ge 8192 ] || fail "not preallocated"
	resized 3M
done
"$IMGCTL" create -q -f vmdk -o subformat=twoGbMaxExtentFlat p.vmdk 2G
"$IMGCTL" resize -q --preallocation=falloc p.vmdk 2050M
[ "$(stat -c %b p-f002.vmdk)" -ge 4096 ] || fail "not preallocated"
expect_exit 1 "$IMGCTL" resize --preallocation=metadata r.vmdk 4M
"$IMGCTL" create -q -f vmdk p.vmdk 1M
expect_exit 1 "$IMGCTL" resize --preallocation=full p.vmdk 2M
expect_err "cannot be preallocated"
rm p*.vmdk

# Extents are as long as those before them; files are not written over, nor
# removed when they are used twice; nothing is left of what failed.
extent twoGbMaxExtentFlat 'RW 2048 FLAT "one" 0
RW 1024 FLAT "two" 0' >v.vmdk
truncate -s 1M one
truncate -s 512k two
echo precious >v-f005.vmdk
cp v.vmdk before
expect_exit 1 "$IMGCTL" resize v.vmdk 6M
expect_err "v-f005.vmdk': File exists"
same before v.vmdk
[ "$(echo v-f* two)" = "v-f005.vmdk two" ] || fail "left: $(echo v-f*)"
[ "$(stat -c %s two)" = 524288 ] || fail "the file has another size"
rm v-f005.vmdk
"$IMGCTL" resize -q v.vmdk 4608k
[ "$(extent_lines v.vmdk | tr '\n' ' ')" = "RW 2048 FLAT \"one\" 0 \
RW 2048 FLAT \"two\" 0 RW 2048 FLAT \"v-f003.vmdk\" 0 \
RW 2048 FLAT \"v-f004.vmdk\" 0 RW 1024 FLAT \"v-f005.vmdk\" 0 " ] ||
	fail "$(cat v.vmdk)"
expect_exit 1 "$IMGCTL" resize v.vmdk 4T
expect_err "more than 2048 files"
extent monolithicFlat 'RW 2048 FLAT "one" 0
RW 1024 FLAT "two" 0
RW 1024 FLAT "two" 1024' >v.vmdk
cp v.vmdk before
for size in 1M 1536k 3M; do
	expect_exit 1 "$IMGCTL" resize --shrink v.vmdk $size
	expect_err "has more than one extent in it"
	same before v.vmdk
done
qemu-img convert -O raw v.vmdk v.raw
for x in "-f vmdk v.vmdk" "-f raw v.raw"; do
	# shellcheck disable=SC2086
	"$IMGCTL" bench -q -w -c 3 -s 9000 -o 1M -S 700000 --pattern=4 $x
done
expect_exit 0 qemu-img compare -f raw -F vmdk v.raw v.vmdk
extent vmfsSparse "RW 2048 ZERO" >v.vmdk
expect_exit 1 "$IMGCTL" resize v.vmdk 900M
expect_err "extents of type ZERO cannot be resized"

# COWD, alone (QEMU does not take that) and under a descriptor.  Others put new
# data where its header says.
alone()
{
	expect_exit 0 "$IMGCTL" compare -f raw -F vmdk r.raw r.vmdk
	expect_exit 0 "$IMGCTL" check r.vmdk
}
for f in r.vmdk disk.cowd; do
	cp --sparse=always cowd.vmdk $f
	[ $f = r.vmdk ] ||
		extent vmfsSparse "RW $sectors VMFSSPARSE \"$f\"" >r.vmdk
	qemu-img convert -O raw c.vmdk r.raw
	for size in 3G 1M 600M 512 40M; do
		"$IMGCTL" resize -q --shrink r.vmdk $size
		truncate -s $size r.raw
		free=$(od -A n -t u4 -j 28 -N 4 $f)
		[ $((free * 512)) -ge "$(stat -c %s $f)" ] || fail "$f: $free"
		if [ $f = r.vmdk ]; then alone; else agree r.vmdk r.raw; fi
		half=$(($(stat -c %s r.raw) / 1024 * 512))
		for x in "-f vmdk r.vmdk" "-f raw r.raw"; do
			# shellcheck disable=SC2086
			"$IMGCTL" bench -q -w -c 1 -s 512 -o $half \
				--pattern=4 $x
		done
		if [ $f = r.vmdk ]; then alone; else agree r.vmdk r.raw; fi
		free=$(od -A n -t u4 -j 28 -N 4 $f)
		[ $((free * 512)) = "$(stat -c %s $f)" ] || fail "$f: $free"
	done
	expect_exit 1 "$IMGCTL" resize r.vmdk 2T
	expect_err "have at most 2199023255040 bytes"
	rm r.vmdk
done

# ---- what it will take -----------------------------------------------------------

# All files together, where the names in the descriptor are as long as can be; of
# a stream at most, and little more where nothing can be packed.
long=$(printf 'm%.0s' {1..245}).vmdk
truncate -s $((5 << 30)) large.raw
truncate -s +512 large.raw
dd if=noise of=large.raw bs=1000 seek=3221220 conv=notrunc status=none
truncate -s 3G empty.raw
for src in disk large.raw empty.raw; do
	for sub in "${subformats[@]}"; do
		rm -rf m
		mkdir m
		"$IMGCTL" convert -f raw -O vmdk -o subformat="$sub" $src \
			"m/$long"
		said=$("$IMGCTL" measure -f raw -O vmdk -o subformat="$sub" \
			--output=json $src | jq .required)
		is=$(stat -c %s m/* |
			awk '{ n += $1 } END { printf "%.0f", n }')
		if [ $sub = streamOptimized ] && [ $src != empty.raw ]; then
			[ "$is" -le "$said" ] || fail "$said is less than $is"
			continue
		fi
		[ "$said" = "$is" ] || fail "measure $src $sub: $said, it is $is"
	done
done
rm large.raw empty.raw
"$IMGCTL" convert -f raw -O vmdk -o subformat=streamOptimized noise m.vmdk
said=$("$IMGCTL" measure -f raw -O vmdk -o subformat=streamOptimized \
	--output=json noise | jq .required)
is=$(stat -c %s m.vmdk)
[ "$said" -ge "$is" ] && [ "$said" -le $((is + is / 10)) ] ||
	fail "measure: $said, it is $is"

# ---- damage -------------------------------------------------------------------

# Header, descriptor, directory at 21, its table at 22; the others from 26 on.
"$IMGCTL" convert -f raw -O vmdk disk sound.vmdk
rgt=$(((21 + 1) * 512))
gd=$(od -An -tu4 -j 56 -N 4 sound.vmdk | tr -d ' ')
gt=$(((gd + 1) * 512))
repaired()
{
	expect_exit "$1" "$IMGCTL" check bad.vmdk
	expect_exit 0 "$IMGCTL" check -r "$2" bad.vmdk
	expect_exit 0 "$IMGCTL" check bad.vmdk
	expect_exit 0 qemu-img check bad.vmdk
}
for value in 4294967295 3 "$(od -An -tu4 -j $((gt + 4)) -N 4 sound.vmdk)"; do
	cp sound.vmdk bad.vmdk
	put32 bad.vmdk "$gt" "$value"
	repaired 2 all
	agree bad.vmdk disk # the redundant table knew
done
cp sound.vmdk bad.vmdk
put32 bad.vmdk $rgt 0
repaired 3 leaks
agree bad.vmdk disk
cp sound.vmdk bad.vmdk
put32 bad.vmdk "$gt" 0
put32 bad.vmdk $rgt 0
repaired 3 leaks
# A table, or its entry, that only the redundant directory knows: its grains are
# no leaks, and are not given up.
for where in $((gd * 512)):4294967295:2 $((gd * 512)):0:3 "$gt:0:3" \
	"$gt:3:2"; do
	IFS=: read -r at value rc <<<"$where"
	cp sound.vmdk bad.vmdk
	put32 bad.vmdk "$at" "$value"
	expect_exit "$rc" "$IMGCTL" check bad.vmdk
	[ $at != $((gd * 512)) ] || [ $rc = 3 ] || {
		expect_exit 1 "$IMGCTL" convert -O raw bad.vmdk none.raw
		expect_err "points to no table of the file"
	}
	expect_exit "$rc" "$IMGCTL" check -r leaks bad.vmdk
	expect_exit 0 "$IMGCTL" check -r all bad.vmdk
	agree bad.vmdk disk
done

# ---- descriptors ---------------------------------------------------------------

mkdir sub
cp noise sub/part
n=$(($(stat -c %s noise) / 512))
extent monolithicFlat "RW $n FLAT \"sub/part\" 0" >d.vmdk
expect_exit 0 "$IMGCTL" compare -f raw -F vmdk noise d.vmdk
for name in ../part /etc/passwd sub/../../part nbd://localhost/ file:part ..; do
	extent monolithicFlat "RW $n FLAT \"$name\" 0" >sub/bad.vmdk
	for cmd in info map check; do
		expect_exit 1 "$IMGCTL" $cmd -f vmdk sub/bad.vmdk
		expect_err "names the extent '$name', which is not in the folder"
	done
done
while IFS='|' read -r line message; do
	extent monolithicFlat "$line" >bad.vmdk
	expect_exit 1 "$IMGCTL" info bad.vmdk
	expect_err "$message"
done <<'END'
RW 100 FLAT "none" 0|No such file or directory
RW 100 FLAT noise 0|Invalid extent line: RW 100 FLAT noise 0
RW 100 FLAT "noise"|Invalid extent line
RW 99999999999999999999 ZERO|Invalid extent line
RW 0 ZERO|Invalid extent line
RW 100 FLAT "bad.vmdk" 0|is the descriptor itself
RW 9000000 FLAT "noise" 0|ends before the extent does
END
extent custom "RW 100 ZERO" >bad.vmdk
expect_exit 1 "$IMGCTL" info bad.vmdk
expect_err "Unsupported image type 'custom'"

# ---- targets of several files ---------------------------------------------------

# What cannot be completed leaves nothing, and what stands there as it was.
head -c 3M disk >small2.raw
untouched()
{
	(cd old && find . -type f -exec sha256sum {} + | sort) >want.txt
	(cd work && find . -type f -exec sha256sum {} + | sort) |
		diff want.txt - || fail "$*: changed"
}
at_work()
{
	[ -n "$(find work -name '.t.vmdk.*')" ]
}
for sub in monolithicFlat twoGbMaxExtentFlat twoGbMaxExtentSparse; do
	for old in $sub none monolithicSparse; do
		rm -rf work old
		mkdir old
		[ $old = none ] || "$IMGCTL" convert -f raw -O vmdk \
			-o subformat=$old small2.raw old/t.vmdk
		cp -r old work
		convert=("$IMGCTL" convert -f raw -O vmdk -o "subformat=$sub")
		expect_exit 1 prlimit --fsize=400000 "${convert[@]}" disk \
			work/t.vmdk
		untouched "$sub over $old"
		for sig in INT TERM; do
			env --default-signal=$sig "${convert[@]}" -r 100k \
				disk work/t.vmdk 2>err &
			pid=$!
			wait_until at_work || fail "no temporary file"
			kill -$sig $pid
			rc=0
			wait $pid || rc=$?
			[ $rc = $((128 + $(kill -l $sig))) ] ||
				fail "$sig: ended with $rc"
			untouched "$sub over $old, $sig"
		done
		expect_exit 0 "${convert[@]}" disk work/t.vmdk
		agree work/t.vmdk disk
		[ -z "$(find work -name '.*.??????')" ] || fail "$(ls -A work)"
		[ $old != $sub ] || [ "$(ls work)" = "$(ls old)" ] ||
			fail "$(ls work)"
	done
done
# Owner and mode of each file are kept.
chmod 640 work/t-s001.vmdk
chmod 604 work/t.vmdk
expect_exit 0 "${convert[@]}" small2.raw work/t.vmdk
[ "$(stat -c %a work/t-s001.vmdk work/t.vmdk | tr '\n' ' ')" = "640 604 " ] ||
	fail "other modes"
# A file that is in use.
rm -rf old
cp -r work old
python3 - work/t-s001.vmdk <<'END' &
import fcntl, struct, sys, time
f = open(sys.argv[1], "r+b")
for at in 101, 201:
    fcntl.fcntl(f, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, at, 1, 0))
open("locked", "w")
time.sleep(60)
END
pid=$!
wait_for locked
expect_exit 1 "${convert[@]}" disk work/t.vmdk
expect_err 'Failed to get'
kill $pid
wait $pid || true
untouched "in use"
# Readers look for the files beside a link.
mkdir real
ln -s ../real/t.vmdk work/link.vmdk
expect_exit 0 "${convert[@]}" disk work/link.vmdk
agree work/link.vmdk disk

# ---- samples ---------------------------------------------------------------------

if [ -d "${SAMPLES:-}" ]; then
	for name in ext2.vmdk iotest-version3.vmdk; do
		f=$(sample $name)
		qemu-img convert -O raw "$f" theirs.raw
		expect_exit 0 "$IMGCTL" compare -f raw -F vmdk theirs.raw "$f"
		expect_exit 0 "$IMGCTL" check "$f"
	done
	python3 "$vmdk_py" walk "$f" >out
fi
