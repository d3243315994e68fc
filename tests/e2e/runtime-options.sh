#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Options that an image is opened with: the same ones are taken and refused, in
# the same words, as by the peer; and those that mean something to us do it.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
. "$SRC/tests/lib/crypt.sh"
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

for o in offset=100 size=513 offset=9M size=x; do
	agree compare --image-opts "driver=raw,$o,file.filename=a.qcow2" \
		driver=raw,file.filename=a.qcow2
done
expect_exit 1 "$IMGCTL" map --image-opts \
	driver=raw,offset=4M,size=8M,file.filename=ours/a.qcow2
expect_err "The sum of offset (4194304) and size (8388608) has to be smaller"

# takes DRIVER OPTION...: both open it with each of them, or refuse it in the
# same words.
takes()
{
	local driver=$1 o
	shift
	for o; do
		agree compare "${secrets[@]}" --image-opts \
			"driver=$driver,$o,file.filename=x.$driver" \
			driver=raw,file.filename=src
	done
}

head -c 300k /dev/urandom >src
truncate -s 1M src
both cp ../src .
for format in raw qcow2 qcow qed vdi vpc vhdx vmdk parallels; do
	o=
	[ $format != vpc ] || o="-o force_size=on"
	# shellcheck disable=SC2086
	both qemu-img convert -f raw -O $format $o src x.$format
done
both "$IMGCTL" convert "${secrets[@]}" -O luks -o key-secret=s,iter-time=1 \
	src x.luks

# Any format, any file.
for format in raw qcow2 vmdk; do
	takes $format auto-read-only=x cache.direct=x cache.no-flush=x \
		discard=x detect-zeroes={x,on,unmap} node-name={n,0n} \
		force-share=x backing=x bogus=1 \
		file.{locking,aio,discard,detect-zeroes,node-name,bogus}=x \
		file.{read-only,auto-read-only,force-share,drop-cache}=x \
		file.{aio-max-batch,x-check-cache-dropped,pr-manager}=x \
		file.{aio=native,aio=io_uring,driver=nope,aio-max-batch=5} \
		file.{force-share=on,drop-cache=on,discard=unmap}
done
takes qcow2 pass-discard-{request,snapshot,other}=x lazy-refcounts=x \
	overlap-check.{main-header,active-l{1,2}}={on,x} \
	overlap-check.{refcount-{table,block},snapshot-table}={on,x} \
	overlap-check.{inactive-l{1,2},bitmap-directory}={on,x} \
	cache-size={0,x} {l2,refcount}-cache-size=2M,cache-size=1M \
	l2-cache-size=1M,refcount-cache-size=1M,cache-size=4M \
	l2-cache-entry-size={512,256,64k,128k,1000} \
	cache-clean-interval={0,900,x,5000000000} data-file=x \
	data-file.filename=x.raw encrypt.format={luks,x}
takes vpc force_size_calc={chs,current_size,x}
takes parallels prealloc-size={64M,0,x} prealloc-mode={falloc,truncate,x}
takes luks key-secret={s,w,none} discard=unmap header=x

# A write of zeroes that is found to be one takes no space, or gives it back.
cp ours/a.qcow2 zeroes.qcow2
for how in on unmap; do
	"$IMGCTL" bench -q -w -c 16 -s 64k --image-opts driver=qcow2,$(
	)detect-zeroes=$how,discard=unmap,file.filename=zeroes.qcow2
	expect_exit 0 qemu-io -r -c 'read -P 0 0 1M' -c 'read -P 1 1M 3M' \
		zeroes.qcow2
	"$IMGCTL" map --output=json zeroes.qcow2 |
		jq -e '.[0].zero and (.[0].data | not) and
			.[0].length == 1048576' >/dev/null ||
		fail "zeroes were written"
	expect_exit 0 qemu-img check -q zeroes.qcow2
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
