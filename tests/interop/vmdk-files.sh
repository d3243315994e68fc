#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# VMDK: what the files of an image take, which ones a descriptor may name, and
# what becomes of them when a target cannot be completed.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/vmdk.sh"

# ---- what it will take -----------------------------------------------------

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

# ---- descriptors -----------------------------------------------------------

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

# ---- targets of several files ----------------------------------------------

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
