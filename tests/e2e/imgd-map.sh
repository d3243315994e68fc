#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgd: block status is what qemu-nbd says of the same image; imgd:map is what
# imgctl map says.
. "$(dirname "$0")/../lib/e2e.sh"
needs jq qemu-nbd qemu-img qemu-io nbdinfo "$IMGD" "$IMGCTL"

# maps FILE CONTEXT...: what the server says.
maps()
{
	local file=$1 context
	shift
	for context; do
		nbdinfo --map="$context" "$URI"
	done >"$file"
}

# check_map FORMAT IMAGE [BITMAP...]: both servers, all contexts.
check_map()
{
	local contexts=(base:allocation qemu:allocation-depth) args=(-r -A) b
	for b in "${@:3}"; do
		contexts+=("qemu:dirty-bitmap:$b")
		args+=(-B "$b")
	done
	start_imgd "${args[@]}" -f "$1" "$2"
	maps ours "${contexts[@]}"
	python3 "$SRC/tests/e2e/nbd-map.py" "$SOCK" | jq -c '.[]' >ours.json
	stop_server
	start_qemu_nbd "${args[@]}" -f "$1" "$2"
	maps theirs "${contexts[@]}"
	stop_server
	same theirs ours
	"$IMGCTL" map --output=json -f "$1" "$2" | jq -c '.[]' >theirs.json
	same theirs.json ours.json
	echo "$2: $(wc -l <ours) extents"
}

writes=(-c 'write -P 1 100k 300k' -c 'write -z 1M 256k' -c 'write -P 2 5M 1k'
	-c 'write -z -u 5200k 128k' -c 'write -P 3 7M 64k')

qemu-img create -q -f qcow2 a.qcow2 10M
check_map qcow2 a.qcow2
qemu-io "${writes[@]}" a.qcow2 >/dev/null
check_map qcow2 a.qcow2
qemu-img convert -c -O qcow2 a.qcow2 packed.qcow2
check_map qcow2 packed.qcow2
qemu-img create -q -f qcow2 -b packed.qcow2 -F qcow2 top.qcow2 12M
qemu-io -c 'write -z 0 512k' -c 'write -P 4 6M 70k' top.qcow2 >/dev/null
check_map qcow2 top.qcow2
qemu-img convert -O raw a.qcow2 a.raw
check_map raw a.raw

# More extents than one reply holds.
qemu-img create -q -f qcow2 -o cluster_size=512 fine.qcow2 48M
python3 - >commands <<'END'
for i in range(0, 48 << 20, 1024 * 64):
    print("write -q -P 1 %d 512" % i)
END
qemu-io fine.qcow2 <commands >/dev/null
check_map qcow2 fine.qcow2
truncate -s 80M many.raw
python3 - <<'END'
with open("many.raw", "r+b") as f:
    for i in range(0, 80 << 20, 8192):
        f.seek(i)
        f.write(b"x" * 4096)
END
check_map raw many.raw

# What -o leaves out moves everything.
start_imgd -r -f raw -o 102400 a.raw
nbdinfo --map "$URI" >ours
stop_server
start_qemu_nbd -r -f raw -o 102400 a.raw
nbdinfo --map "$URI" >theirs
stop_server
same theirs ours

# Bitmaps: of the image and of the one below it, which is smaller.
qemu-img bitmap --add -g 64k a.qcow2 one
qemu-img bitmap --add -g 1M --disable a.qcow2 two
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 marked.qcow2 16M
qemu-img bitmap --add marked.qcow2 one
qemu-img bitmap --add marked.qcow2 three
qemu-io -c 'write 2M 192k' -c 'write 3M 64k' a.qcow2 >/dev/null
qemu-io -c 'write 9M 64k' -c 'write 15M 1M' marked.qcow2 >/dev/null
# (The reference looks for holes in the files if they are so many that it takes
# the image for a preallocated one; the file systems differ in that.)
for image in a.qcow2 marked.qcow2; do
	cp --sparse=never $image solid
	mv solid $image
done
check_map qcow2 a.qcow2 one two
check_map qcow2 marked.qcow2 one two three

# A bitmap that is exported follows what clients write.
start_imgd -f qcow2 -B three marked.qcow2
expect_exit 0 qemu-io -f raw -c 'write 5M 64k' "$URI"
maps live qemu:dirty-bitmap:three
grep -qE '^ *5242880 +65536 +1 ' live
stop_server
start_qemu_nbd -r -f qcow2 -B three marked.qcow2
maps after qemu:dirty-bitmap:three
stop_server
same live after

# Asked for piece by piece, the map is the same; without extended headers it
# has no offsets.
start_imgd -r -f qcow2 top.qcow2
"$IMGCTL" map --output=json -f qcow2 top.qcow2 | jq -c '.[]' >theirs.json
python3 "$SRC/tests/e2e/nbd-map.py" "$SOCK" 10007 | jq -c '.[]' >ours.json
same theirs.json ours.json
maps ours imgd:map
awk '$3 >= 65536 || int($3 / 16) % 2 { exit 1 }' ours
[ "$(wc -l <ours)" -gt 5 ]
stop_server

expect_exit 1 "$IMGD" -B nope a.qcow2
expect_err "Bitmap 'nope' is not found"
expect_exit 1 "$IMGD" -B one -B one a.qcow2
expect_err "Bitmap 'one' is given twice"
expect_exit 1 "$IMGD" -B one -f raw a.raw
expect_err "Bitmap 'one' is not found"
