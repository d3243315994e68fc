#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VMDK: qemu-img, 7z and libvmdk read what we write, we what others write; the
# streams are held against VMware's document; damage and its repair.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/vmdk.sh"
. "$SRC/tests/lib/writable.sh" # put32

# facts PROGRAM FILE: what info says, without what only one of them has.
facts()
{
	"$1" info --output=json "$2" | jq -S 'del(.children, ."actual-size")'
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

# ---- what only others write ------------------------------------------------

make_foreign small smallstream unclosed cowd sesparse
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

# ---- damage ----------------------------------------------------------------

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

# ---- samples ---------------------------------------------------------------

if [ -d "${SAMPLES:-}" ]; then
	for name in ext2.vmdk iotest-version3.vmdk; do
		f=$(sample $name)
		qemu-img convert -O raw "$f" theirs.raw
		expect_exit 0 "$IMGCTL" compare -f raw -F vmdk theirs.raw "$f"
		expect_exit 0 "$IMGCTL" check "$f"
	done
	python3 "$vmdk_py" walk "$f" >out
fi
