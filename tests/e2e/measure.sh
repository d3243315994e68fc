#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# imgctl measure: against qemu-img, and against what convert makes.
. "$(dirname "$0")/../lib/e2e.sh"
. "$SRC/tests/lib/peer.sh"
needs jq

cd theirs
qemu-img create -q -f qcow2 a.qcow2 10M
qemu-io -c 'write -P 1 0 64k' -c 'write -P 2 128k 192k' \
	-c 'write -z 1M 64k' a.qcow2 >io.log
qemu-img snapshot -c s1 a.qcow2
qemu-io -c 'write -P 3 4M 1M' a.qcow2 >io.log
qemu-img convert -O raw a.qcow2 a.raw
qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 over.qcow2 12M
qemu-img create -q -f qcow2 bitmaps.qcow2 1G
qemu-img bitmap --add bitmaps.qcow2 b0
cd ..

for f in a.qcow2 a.raw over.qcow2 bitmaps.qcow2; do
	for to in raw qcow2; do
		agree_on_theirs measure -O "$to" "$f"
		agree_on_theirs measure "$f" -O "$to" --output=json
	done
done
for o in cluster_size={512,4k,2M} refcount_bits={1,64} extended_l2=on \
	compat=0.10 preallocation={metadata,falloc,full} \
	cluster_size=4k,lazy_refcounts=on data_file=x; do
	agree_on_theirs measure -O qcow2 -o "$o" a.qcow2
	agree_on_theirs measure -O qcow2 -o "$o" --size 1G
done
for size in 0 3 1G 1.5T 0x10000; do
	agree measure --size "$size"
	agree measure -O qcow2 --size "$size" --output json
done
agree_on_theirs measure -O qcow2 -l s1 a.qcow2
agree_on_theirs measure -O qcow2 -l snapshot.name=s1 a.qcow2
agree_on_theirs measure -U -f qcow2 a.qcow2
agree_on_theirs measure --force-share a.qcow2
agree_on_theirs measure -f raw -O qcow2 a.raw
agree_on_theirs measure --image-opts driver=qcow2,file.filename=a.qcow2
agree_on_theirs measure --object secret,id=a,data=x a.qcow2

agree_on_theirs measure
agree_on_theirs measure --size 1G a.qcow2
agree_on_theirs measure --size x
agree_on_theirs measure -O bogus --size 1G
agree_on_theirs measure -O qcow2 --size 1G -f raw
agree_on_theirs measure -O qcow2 --size 1G -l s
agree_on_theirs measure -O qcow2 -l nosnap a.qcow2
agree_on_theirs measure --output x a.qcow2
agree_on_theirs measure -O qcow2 -o cluster_size=100 a.qcow2
agree_on_theirs measure a b
agree_on_theirs measure nope
expect_exit 1 "$IMGCTL" measure -O qcow2 -o foo=1 --size 1G
expect_err "Invalid parameter 'foo'"
expect_exit 1 "$IMGCTL" measure --bogus
expect_exit 0 "$IMGCTL" measure -O qcow2 -o help
expect_out cluster_size=

# What it says is what convert makes.
required()
{
	"$IMGCTL" measure --output=json "$@" |
		python3 -c 'import json,sys; print(json.load(sys.stdin)["required"])'
}
for o in cluster_size=64k cluster_size=4k extended_l2=on; do
	"$IMGCTL" convert -O qcow2 -o "$o" theirs/a.raw made.qcow2
	want=$(required -O qcow2 -o "$o" theirs/a.raw)
	got=$(stat -c %s made.qcow2)
	[ "$got" -le "$want" ] || fail "$o: $got bytes, $want measured"
done

# Of other formats it is just that, and with -S 0 what "fully allocated" says.
secret=(--object "secret,id=s,data=hush")
truncate -s 9437696 sparse.raw
for at in 0 1024 7000 18432; do
	dd if=/dev/urandom of=sparse.raw bs=512 seek=$at count=8 conv=notrunc \
		status=none
done
truncate -s 9437696 sparse.raw
while read -r format options; do
	o=(-f raw -O "$format" ${options:+-o "$options"} sparse.raw)
	expect_exit 0 "$IMGCTL" measure "${secret[@]}" --output=json "${o[@]}"
	cp out measured
	for how in required fully-allocated; do
		sparse=()
		[ $how = required ] || sparse=(-S 0)
		rm -f made
		expect_exit 0 "$IMGCTL" convert "${secret[@]}" "${sparse[@]}" \
			"${o[@]}" made
		[ "$(jq ".\"$how\"" measured)" = "$(stat -c %s made)" ] ||
			fail "$format $options: $(stat -c %s made) bytes, $(
			)$(cat measured)"
	done
done <<'END'
qcow
qcow encrypt.format=aes,encrypt.key-secret=s
qed
qed cluster_size=4k,table_size=1
qed cluster_size=1M,table_size=2
vdi
vdi static=on
vpc
vpc force_size=on
vpc subformat=fixed
vpc subformat=fixed,force_size=on
vhdx
vhdx block_size=256M
vhdx block_size=1M,log_size=17M
vhdx block_state_zero=off
vhdx subformat=fixed,block_size=2M
parallels
parallels cluster_size=512
parallels cluster_size=64M
vmdk
vmdk zeroed_grain=on
luks key-secret=s,iter-time=1
luks key-secret=s,iter-time=1,cipher-alg=aes-128
luks key-secret=s,iter-time=1,version=2,pbkdf=pbkdf2
raw
raw preallocation=full
END
