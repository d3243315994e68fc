#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VMDK: parents and what they are known by, and other sizes of a disk; qemu-img
# finds the same.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/vmdk.sh"

# cid FILE [KEY]
cid()
{
	"$IMGCTL" info --output=json "$1" |
		jq ".\"format-specific\".data.\"${2:-cid}\""
}

# ---- parents ---------------------------------------------------------------

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
make_foreign cowd
cp cowd.vmdk nocid.vmdk
expect_exit 1 "$IMGCTL" create -f vmdk -b nocid.vmdk -F vmdk none.vmdk
expect_err "it has no CID"
cp child.vmdk before
expect_exit 1 "$IMGCTL" rebase -u -b nocid.vmdk -F vmdk child.vmdk
expect_err "it has no CID"
same before child.vmdk

# ---- sizes -----------------------------------------------------------------

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
