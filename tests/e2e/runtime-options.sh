#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Options that an image is opened with: the same ones are taken and refused, in
# the same words, as by the peer; and those that mean something to us do it.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs jq

for dir in ours theirs; do
	"$THEIRS" create -q -f qcow2 $dir/a.qcow2 8M
	qemu-io -c 'write -P 1 0 4M' $dir/a.qcow2 >/dev/null
done

for o in lazy-refcounts=on lazy-refcounts=7 pass-discard-request=on \
	pass-discard-snapshot=off pass-discard-other=on overlap-check=all \
	overlap-check=bogus overlap-check.template=none \
	overlap-check.active-l1=off cache-size=1M l2-cache-size=2M \
	l2-cache-size=x l2-cache-entry-size=4096 l2-cache-entry-size=5 \
	refcount-cache-size=1M cache-clean-interval=100 bogus=1 \
	discard=unmap discard=bogus read-only=on; do
	agree info --image-opts "driver=qcow2,$o,file.filename=a.qcow2"
done

# A part of a raw file.
for o in offset=1M offset=1M,size=1M; do
	agree map --output json --image-opts \
		"driver=raw,$o,file.filename=a.qcow2"
done

for o in offset=100 size=513 offset=9M offset=4M,size=8M; do
	expect_exit 1 "$IMGCTL" map --image-opts \
		"driver=raw,$o,file.filename=ours/a.qcow2"
done

# raw: hints for the file system, and their order in what is printed.
agree create -f raw -o nocow=on,extent_size_hint=1M r.raw 1M
agree create -f raw -o extent_size_hint=8G r2.raw 1M
agree create -f raw -o nocow=perhaps r3.raw 1M

# discard-no-unref: a trim leaves the clusters where they are.
serve_trim()
{
	"$IMGD" -k "$TMP/sock" --image-opts --discard unmap \
		--run 'qemu-io -f raw -c "discard 0 2M" -c "flush" "$uri"' \
		"driver=qcow2,$1file.filename=$2" >/dev/null
}
cp ours/a.qcow2 keep.qcow2
cp ours/a.qcow2 drop.qcow2
serve_trim discard-no-unref=on, keep.qcow2
serve_trim "" drop.qcow2
with_offset()
{
	"$IMGCTL" map --output json "$1" |
		jq '[.[] | select(.start < 2097152 and .offset)] | length'
}
[ "$(with_offset keep.qcow2)" -gt 0 ] || fail "the clusters were given back"
[ "$(with_offset drop.qcow2)" = 0 ] || fail "the clusters were kept"
for f in keep.qcow2 drop.qcow2; do
	expect_exit 0 qemu-io -r -c 'read -P 0 0 2M' -c 'read -P 1 2M 2M' $f
	expect_exit 0 qemu-img check -q $f
done
