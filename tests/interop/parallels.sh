#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Parallels: qemu-img reads what we write, and the other way round; both magics,
# odd clusters, resize, the in-use mark, dirty bitmaps, damage and its repair.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/writable.sh"
needs jq qemu-img qemu-io python3 "$IMGCTL" "$IMGD"

noisy_disk 2500000 3M 20000256

# agree FILE RAW: both find the same content, and no fault.
agree()
{
	expect_exit 0 qemu-img compare -f raw -F parallels "$2" "$1"
	expect_exit 0 "$IMGCTL" compare -f raw -F parallels "$2" "$1"
	qemu-img check "$1" >theirs.txt
	"$IMGCTL" check "$1" | diff theirs.txt -
}

# ---- both ways -------------------------------------------------------------

for o in cluster_size=1M cluster_size=32256 cluster_size=64k; do
	"$IMGCTL" convert -f raw -O parallels -o $o disk ours
	qemu-img convert -f raw -O parallels -o $o disk theirs
	agree ours disk
	agree theirs disk
	"$IMGCTL" measure -f raw -O parallels -o $o --output=json disk >out
	[ "$(jq .required out)" = "$(stat -c %s theirs)" ] ||
		fail "measure: $(cat out)"
	for f in ours theirs; do
		"$IMGCTL" info --output=json $f |
			jq -S 'del(.children, ."actual-size", .filename)' >$f.f
	done
	diff theirs.f ours.f
	diff <(qemu-img info --output=json theirs |
		jq -S 'del(."actual-size", .filename)') ours.f
	# Written by both in turns, over what the other has written.
	cp disk raw
	for i in 1 2 3 4; do
		for io in "write -P $i $((i * 777))k 70k" \
			"write -P $((i + 8)) $((i * 3000 + 1))k 1500k" \
			"write -z $((i * 3 + 2))M 1M"; do
			qemu-io -f parallels -c "$io" theirs >/dev/null
			qemu-io -f raw -c "$io" raw >/dev/null
		done
		"$IMGCTL" bench -q -f parallels -w -c 1 -s 4096 -o $((i * 4))M \
			--pattern=$((i + 3)) theirs >/dev/null
		qemu-io -f raw -c "write -P $((i + 3)) $((i * 4))M 4k" raw \
			>/dev/null
		agree theirs raw
	done
done
for o in cluster_size=0 cluster_size=2G; do
	expect_exit 1 "$IMGCTL" create -f parallels -o $o big 10M
	expect_exit 1 qemu-img create -f parallels -o $o big 10M
done
expect_exit 1 "$IMGCTL" create -f parallels -o cluster_size=512 big 4T
expect_err "Image size is too large for this cluster size"

# ---- resize ----------------------------------------------------------------

# The BAT grows over the place of the first clusters.
for o in cluster_size=1M cluster_size=1536; do
	cp --sparse=always disk r.raw
	truncate -s 3M r.raw
	"$IMGCTL" convert -f raw -O parallels -o $o r.raw r
	for size in 4M 5000192 60M 12M 3000320 200M 1M 512; do
		"$IMGCTL" resize --shrink -q r $size
		qemu-img resize --shrink -q -f raw r.raw $size
		agree r r.raw
		qemu-io -f parallels -c "write -P 7 0 512" r >/dev/null
		qemu-io -f raw -c "write -P 7 0 512" r.raw >/dev/null
	done
done
"$IMGCTL" resize -q --preallocation=metadata r 5M
expect_exit 0 "$IMGCTL" check r

# ---- options, backing file -------------------------------------------------

opts=driver=parallels,file.filename=theirs
expect_exit 0 "$IMGCTL" map --image-opts \
	$opts,prealloc-size=64M,prealloc-mode=truncate
expect_exit 1 "$IMGCTL" map --image-opts $opts,prealloc-mode=full
expect_err "prealloc-mode"
"$IMGCTL" create -q -f parallels top 20000256
opts=driver=parallels,file.filename=top,backing.driver=raw
opts=$opts,backing.file.filename=disk
expect_exit 0 "$IMGCTL" compare --image-opts $opts driver=raw,file.filename=disk
"$IMGCTL" bench -q --image-opts -w -c 1 -s 4096 -o 5M --pattern=9 $opts \
	>/dev/null
cp disk raw
qemu-io -f raw -c "write -P 9 5M 4k" raw >/dev/null
expect_exit 0 "$IMGCTL" compare --image-opts $opts driver=raw,file.filename=raw
expect_exit 0 qemu-img compare --image-opts $opts driver=raw,file.filename=raw

# ---- in use ----------------------------------------------------------------

"$IMGCTL" convert -f raw -O parallels disk sound
[ "$(field sound 44)" = 0 ] || fail "in use after it was closed"
cp sound bad
put32 bad 44 $((0x746f6e59))
expect_exit 2 "$IMGCTL" check bad
expect_err "ERROR image was not closed correctly"
expect_exit 0 "$IMGCTL" compare sound bad
[ "$(field bad 44)" = $((0x746f6e59)) ] || fail "written by a reader"
# A writer repairs it first.
put32 bad 68 5000
truncate -s +3M bad
"$IMGCTL" bench -q -f parallels -w -c 1 -s 512 -o 19M bad >/dev/null
expect_exit 0 "$IMGCTL" check bad
expect_exit 0 qemu-img check bad
cp sound bad
put32 bad 44 $((0x746f6e59))
expect_exit 0 "$IMGCTL" check -r all bad
expect_exit 0 qemu-img check bad
expect_exit 0 qemu-img compare bad sound

# The flag that calls an image empty is passed over, as by QEMU.
cp sound flagged
put32 flagged 52 1
agree flagged disk

# ---- damage ----------------------------------------------------------------

# repaired FILE: check finds CORRUPT faults; after check -r nobody does.
repaired()
{
	expect_exit 2 "$IMGCTL" check "$1"
	expect_exit 0 "$IMGCTL" check -r all "$1"
	expect_exit 0 "$IMGCTL" check "$1"
	expect_exit 0 qemu-img check "$1"
}

cp sound bad # past the end of the file
put32 bad 68 5000000
expect_exit 1 "$IMGCTL" convert -O raw bad out.raw
expect_err "the table entry of block 1 points past the end of the file"
repaired bad
cp sound bad # two owners: both keep what they read
put32 bad 68 "$(field bad 64)"
"$IMGCTL" convert -O raw bad before
"$IMGCTL" bench -q -f parallels -w -c 1 -s 4096 -o 1M --pattern=9 bad >/dev/null
"$IMGCTL" convert -O raw bad after
cmp -n 1048576 before after # the other one is unharmed
cp sound bad
put32 bad 68 "$(field bad 64)"
repaired bad
expect_exit 0 qemu-img compare -f raw -F parallels before bad
cp sound bad # a leak at the end
truncate -s +5M bad
expect_exit 3 "$IMGCTL" check bad
expect_exit 3 qemu-img check bad
expect_exit 0 "$IMGCTL" check -r leaks bad
expect_exit 0 qemu-img check bad
[ "$(stat -c %s bad)" = "$(stat -c %s sound)" ] || fail "the file was not cut"

# A header that contradicts itself is refused with one message.
while read -r at value message; do
	cp sound bad
	put32 bad "$at" "$value"
	expect_exit 1 "$IMGCTL" info -f parallels bad
	expect_err "$message"
done <<'END'
0 1 Image not in Parallels format
16 3 version 3 is not 2
28 0 Invalid image: Zero sectors per track
28 1000000 are too large
32 0 does not fit in 0 clusters
32 4000000000 a BAT of 4000000000 entries does not fit in the file
40 1 does not fit in
END

# ---- dirty bitmaps ---------------------------------------------------------

# An extension with a bitmap of 64 KiB granules: the second MiB is dirty.
# Where the bits lie is a number; 0: all are clear, 1: all are set.
make_bitmap()
{
	python3 - "$@" <<'END'
import hashlib, struct, sys
name, flags = sys.argv[1], int(sys.argv[2])
with open(name, "r+b") as f:
    head = f.read(64)
    cluster = struct.unpack_from("<I", head, 28)[0] * 512
    sectors = struct.unpack_from("<Q", head, 36)[0]
    f.seek(0, 2)
    at = f.tell()
    assert at % cluster == 0
    bits = bytearray(cluster)
    bits[2:4] = b"\xff\xff"
    where = int(sys.argv[3]) if len(sys.argv) > 3 else (at + cluster) // 512
    data = struct.pack("<Q16sIIQ", sectors, bytes(range(16)), 128, 1, where)
    body = struct.pack("<QQII", 0x20385fae252cb34a, flags, len(data), 0)
    body = (body + data).ljust(cluster - 24, b"\0")
    f.write(struct.pack("<Q", 0xab234cef23dcea87))
    f.write(hashlib.md5(body).digest() + body)
    f.write(bits if where > 1 else b"")
    f.seek(44)
    f.write(struct.pack("<I", 0x312e3276))
    f.seek(56)
    f.write(struct.pack("<Q", at // 512))
END
}

id=00010203-0405-0607-0809-0a0b0c0d0e0f
cat >ask.py <<'END'
import json
h.block_status(h.get_size(), 0, lambda name, off, ext, err: print(json.dumps(
    [[sum(ext[0:i:2]) + off, ext[i], ext[i + 1]]
     for i in range(0, len(ext), 2)], separators=(",", ":"))))
END
while read -r where want; do
	cp sound marked
	# shellcheck disable=SC2086
	make_bitmap marked 0 ${where#bits}
	expect_exit 0 "$IMGCTL" check marked
	expect_exit 0 "$IMGCTL" compare marked sound
	for server in "$IMGD" qemu-nbd; do
		"$server" -r -t -k "$TMP/sock" -B $id -f parallels marked &
		pid=$!
		on_exit kill_server "$pid"
		wait_until listening "$TMP/sock"
		got=$(nbdsh -c "h.add_meta_context('qemu:dirty-bitmap:$id')" \
			-c "h.connect_unix('$TMP/sock')" -c "$(cat ask.py)")
		[ "$got" = "$want" ] || fail "$server: $got"
		kill $pid
		wait $pid || true
		rm -f sock
	done
done <<'END'
0 [[0,20000256,0]]
1 [[0,20000256,1]]
bits [[0,1048576,0],[1048576,1048576,1],[2097152,17903104,0]]
END
# Of an image that was not closed it cannot be trusted.
cp marked unclosed
put32 unclosed 44 $((0x746f6e59))
expect_exit 1 timeout 20 "$IMGD" -r -t -k "$TMP/sock" -B $id -f parallels unclosed
expect_err inconsistent
# Who writes drops the bitmap, and its space is used again.
"$IMGCTL" bench -q -f parallels -w -c 1 -s 512 -o 19M marked >/dev/null
[ "$(field marked 56)" = 0 ] || fail "the bitmap outlived a write"
expect_exit 0 "$IMGCTL" check marked
# Unless that is forbidden.
cp sound marked
make_bitmap marked 1
expect_exit 1 "$IMGCTL" bench -q -f parallels -w -c 1 -s 512 marked
expect_err "every writer must keep"
expect_exit 0 "$IMGCTL" compare marked sound

# ---- images of Parallels itself --------------------------------------------

if [ ! -d "$SAMPLES" ]; then
	echo "no folder with samples (set IMGD_SAMPLES): not tested with these"
	exit 0
fi
needs bzip2
for name in parallels-v1 parallels-v2; do
	file=$(sample $name)
	qemu-img convert -f parallels -O raw "$file" content
	agree "$file" content
	for i in 1 2 3; do
		qemu-io -f raw -c "write -P $i $((i * 500))k 50k" content >/dev/null
		"$IMGCTL" bench -q -f parallels -w -c 1 -s 51200 \
			-o $((i * 500))k --pattern=$i "$file" >/dev/null
		agree "$file" content
	done
	"$IMGCTL" resize -q "$file" 700M
	qemu-img resize -q -f raw content 700M
	agree "$file" content
done
